//! [`Routes`]: what was learned of routes, where requests look it up and where ended requests leave what they showed.
//!
//! What callers say themselves is journaled at once; what answers only hint at is gathered here and journaled by the tick, a
//! record a route at most, so that nothing is written on a request's path. A killed process loses a second of hints.
//!
//! Invariant: no lock is held over anything but a look into a table.

use std::collections::{BTreeMap, HashSet, VecDeque};
use std::sync::{Mutex, PoisonError, RwLock};

use crate::domain::entry::Tier;
use crate::domain::evidence::Outcomes;
use crate::domain::fingerprint::Fingerprint;
use crate::domain::ids::RequestId;
use crate::domain::lesson::{Learned, Lesson, Lessons};

/// Hints that wait to be journaled; more routes than this in a second are learned of without a trace on disk.
const WAITING_MAX: usize = 4_096;

/// Requests that are known to have been told of, so that the same one does not count twice.
const TOLD_MAX: usize = 65_536;

/// What the key of fingerprints is derived for.
const PURPOSE: &[u8] = b"tollgate routes\0";

/// What was learned of routes.
#[derive(Debug)]
pub struct Routes {
    key: [u64; 2],
    lessons: RwLock<Lessons>,
    waiting: Mutex<BTreeMap<(u64, Tier), (u32, u32)>>,
    told: Mutex<(HashSet<RequestId>, VecDeque<RequestId>)>,
}

/// The key of fingerprints in a store with this pepper.
#[must_use]
pub fn fingerprint_key(pepper: &ring::hmac::Key) -> [u64; 2] {
    let tag = ring::hmac::sign(pepper, PURPOSE);
    let word = |from: usize| tag.as_ref()[from..from + 8].iter().fold(0, |sum, byte| sum << 8 | u64::from(*byte));
    [word(0), word(8)]
}

impl Routes {
    /// Routes with what the store knows.
    #[must_use]
    pub fn new(key: [u64; 2], lessons: Lessons) -> Self {
        Self { key, lessons: RwLock::new(lessons), waiting: Mutex::default(), told: Mutex::default() }
    }

    /// A hash for the name of a route.
    #[must_use]
    pub const fn fingerprint(&self) -> Fingerprint {
        Fingerprint::new(self.key)
    }

    /// What is known of a route.
    #[must_use]
    pub fn of(&self, route: u64, now_ms: u64) -> Option<[Outcomes; 3]> {
        self.lessons.read().unwrap_or_else(PoisonError::into_inner).of(route, now_ms)
    }

    /// Learns something that is journaled by whoever says it.
    pub fn learn(&self, lesson: &Lesson) {
        self.lessons.write().unwrap_or_else(PoisonError::into_inner).apply(lesson);
    }

    /// Learns what an answer hints at, which [`Routes::take`] gives to the journal.
    pub fn hint(&self, lesson: &Lesson) {
        self.learn(lesson);
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        if waiting.len() < WAITING_MAX {
            let (good, bad) = waiting.entry((lesson.route, lesson.tier)).or_default();
            (*good, *bad) = (good.saturating_add(lesson.good), bad.saturating_add(lesson.bad));
        }
    }

    /// The hints that nobody has journaled yet.
    #[must_use]
    pub fn take(&self, now_ms: u64) -> Vec<Lesson> {
        let waiting = std::mem::take(&mut *self.waiting.lock().unwrap_or_else(PoisonError::into_inner));
        let lesson = |((route, tier), (good, bad))| Lesson { route, tier, good, bad, at_ms: now_ms };
        waiting.into_iter().map(lesson).collect()
    }

    /// Whether nobody has told of this request before.
    pub fn is_news(&self, request: RequestId) -> bool {
        let mut told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        let (known, order) = &mut *told;
        if !known.insert(request) {
            return false;
        }
        order.push_back(request);
        if order.len() > TOLD_MAX
            && let Some(oldest) = order.pop_front()
        {
            known.remove(&oldest);
        }
        true
    }

    /// How many routes are known.
    #[must_use]
    pub fn len(&self) -> usize {
        self.lessons.read().unwrap_or_else(PoisonError::into_inner).len()
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// All routes, by their numbers.
    #[must_use]
    pub fn all(&self) -> Vec<(u64, Learned)> {
        let lessons = self.lessons.read().unwrap_or_else(PoisonError::into_inner);
        lessons.iter().map(|(route, learned)| (route, *learned)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hints_are_gathered_and_a_request_is_told_of_once() {
        let routes = Routes::new([1, 2], Lessons::default());
        let lesson = Lesson { route: 5, tier: Tier::Medium, good: 3, bad: 1, at_ms: 10 };
        (0..2).for_each(|_| routes.hint(&lesson));
        routes.learn(&lesson);
        assert_eq!(routes.of(5, 10).unwrap()[1], Outcomes { good: 9, bad: 3 });
        assert_eq!(routes.take(11), [Lesson { good: 6, bad: 2, at_ms: 11, ..lesson }]);
        assert!(routes.take(12).is_empty());
        assert_eq!(
            [routes.is_news(RequestId(1)), routes.is_news(RequestId(1)), routes.is_news(RequestId(2))],
            [true, false, true]
        );
    }
}
