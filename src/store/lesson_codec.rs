//! What was learned of routes, as bytes. The rules of `codec` apply.

use super::codec::{CodecError, code_of_tier, tier_of};
use super::wire::{Put, Take};
use crate::domain::evidence::Outcomes;
use crate::domain::lesson::{Learned, Lesson, Lessons};

/// Appends the fields of `lesson`.
pub fn put_lesson(put: &mut Put<'_>, lesson: &Lesson) {
    put.number(lesson.at_ms);
    put.number(lesson.route);
    put.byte(code_of_tier(lesson.tier));
    put.number(u64::from(lesson.good));
    put.number(u64::from(lesson.bad));
}

/// See [`put_lesson`].
pub fn take_lesson(take: &mut Take<'_>) -> Result<Lesson, CodecError> {
    Ok(Lesson {
        at_ms: take.number()?,
        route: take.number()?,
        tier: tier_of(take.byte()?)?,
        good: take.narrow()?,
        bad: take.narrow()?,
    })
}

/// Appends what is known of all routes; part of snapshots.
pub fn put_lessons(put: &mut Put<'_>, lessons: &Lessons) {
    put.number(lessons.len() as u64);
    for (route, learned) in lessons.iter() {
        put.number(route);
        put.number(learned.at_ms);
        for outcomes in &learned.outcomes {
            put.number(u64::from(outcomes.good));
            put.number(u64::from(outcomes.bad));
        }
    }
}

/// See [`put_lessons`].
pub fn take_lessons(take: &mut Take<'_>) -> Result<Lessons, CodecError> {
    let outcomes = |take: &mut Take<'_>| Ok(Outcomes { good: take.narrow()?, bad: take.narrow()? });
    let one = |take: &mut Take<'_>| {
        let (route, at_ms) = (take.number()?, take.number()?);
        Ok((route, Learned { at_ms, outcomes: [outcomes(take)?, outcomes(take)?, outcomes(take)?] }))
    };
    let mut lessons = Lessons::default();
    take.list(one)?.into_iter().for_each(|(route, learned)| lessons.put(route, learned));
    Ok(lessons)
}
