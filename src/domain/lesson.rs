//! [`Lesson`]: what was learned of a route at one time, and [`Lessons`]: all that is known of all routes.
//!
//! A route is a hash of who asks, the system prompt, the tools and the answer's format; nothing of them can be read from it,
//! and no two teams share one.
//!
//! Invariant: at most [`ROUTES_MAX`] routes are known, whatever callers do; those of which nothing was heard for longest go
//! first. What is old counts half as much after each [`HALF_LIFE_MS`].
//! Invariant: the same lessons in the same order come to the same.

use std::collections::BTreeMap;

use super::entry::Tier;
use super::evidence::Outcomes;

/// Routes that are known.
pub const ROUTES_MAX: usize = 4_096;

/// After so long without news, what is known of a route counts half, milliseconds.
pub const HALF_LIFE_MS: u64 = 30 * 86_400_000;

/// One eighth of the routes goes at once, so that it is not done for each new one.
const GONE_AT_ONCE: usize = ROUTES_MAX / 8;

/// What became of some requests of a route on one tier.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lesson {
    /// The route; never 0.
    pub route: u64,
    /// The tier of the model that answered.
    pub tier: Tier,
    /// What did what was asked, in 256ths of an outcome.
    pub good: u32,
    /// What did not.
    pub bad: u32,
    /// When, unix milliseconds.
    pub at_ms: u64,
}

/// What is known of one route.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Learned {
    /// What became of its requests, by tier, simple first.
    pub outcomes: [Outcomes; 3],
    /// When the last of it was heard, unix milliseconds.
    pub at_ms: u64,
}

/// What is known of all routes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Lessons(BTreeMap<u64, Learned>);

impl Lessons {
    /// Adds a lesson.
    pub fn apply(&mut self, lesson: &Lesson) {
        if self.0.len() >= ROUTES_MAX && !self.0.contains_key(&lesson.route) {
            self.forget();
        }
        let learned = self.0.entry(lesson.route).or_default();
        *learned = learned.aged(lesson.at_ms);
        learned.at_ms = learned.at_ms.max(lesson.at_ms);
        learned.outcomes[lesson.tier as usize].add(lesson.good, lesson.bad);
    }

    /// What is known of a route by now.
    #[must_use]
    pub fn of(&self, route: u64, now_ms: u64) -> Option<[Outcomes; 3]> {
        self.0.get(&route).map(|learned| learned.aged(now_ms).outcomes)
    }

    /// Puts a route there as it was.
    pub fn put(&mut self, route: u64, learned: Learned) {
        self.0.insert(route, learned);
    }

    /// All of them, by their numbers.
    pub fn iter(&self) -> impl Iterator<Item = (u64, &Learned)> {
        self.0.iter().map(|(route, learned)| (*route, learned))
    }

    /// How many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    fn forget(&mut self) {
        let mut oldest: Vec<(u64, u64)> = self.0.iter().map(|(route, learned)| (learned.at_ms, *route)).collect();
        oldest.sort_unstable();
        for (_, route) in oldest.into_iter().take(GONE_AT_ONCE) {
            self.0.remove(&route);
        }
    }
}

impl Learned {
    fn aged(mut self, now_ms: u64) -> Self {
        let halvings = u32::try_from(now_ms.saturating_sub(self.at_ms) / HALF_LIFE_MS).unwrap_or(u32::MAX).min(31);
        for outcomes in &mut self.outcomes {
            (outcomes.good, outcomes.bad) = (outcomes.good >> halvings, outcomes.bad >> halvings);
        }
        self
    }
}

#[cfg(test)]
mod tests {
    use super::super::evidence::WHOLE;
    use super::*;

    fn lesson(route: u64, at_ms: u64) -> Lesson {
        Lesson { route, tier: Tier::Simple, good: 8 * WHOLE, bad: 4 * WHOLE, at_ms }
    }

    #[test]
    fn what_is_old_counts_half() {
        let mut lessons = Lessons::default();
        lessons.apply(&lesson(7, 1_000));
        let counts = |lessons: &Lessons, now_ms| {
            lessons.of(7, now_ms).map(|[simple, _, _]| (simple.good / WHOLE, simple.bad / WHOLE))
        };
        assert_eq!(counts(&lessons, 1_000), Some((8, 4)));
        assert_eq!(counts(&lessons, 1_000 + HALF_LIFE_MS), Some((4, 2)));
        assert_eq!(counts(&lessons, u64::MAX), Some((0, 0)));
        lessons.apply(&lesson(7, 1_000 + HALF_LIFE_MS));
        assert_eq!(counts(&lessons, 1_000 + HALF_LIFE_MS), Some((12, 6)));
        assert_eq!(lessons.of(8, 0), None);
    }

    #[test]
    fn memory_is_bounded_and_the_latest_stay() {
        let mut lessons = Lessons::default();
        (1..=3 * ROUTES_MAX as u64).for_each(|number| lessons.apply(&lesson(number, number)));
        assert!(lessons.len() <= ROUTES_MAX && lessons.of(3 * ROUTES_MAX as u64, 0).is_some());
    }
}
