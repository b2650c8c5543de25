//! [`Budget`]: how many requests may be sent again, as a share of the traffic, so that an outage is not multiplied.
//!
//! Invariant: repetitions that do not help are at most the share of first attempts, and a handful that is always there to
//! begin with.

use std::sync::atomic::{AtomicU64, Ordering};

/// What one repetition costs.
const REPETITION: u64 = 1_000;

/// Repetitions that can be made before any traffic.
const AT_FIRST: u64 = 10 * REPETITION;

/// No more is saved than this.
const SAVED_MAX: u64 = 100 * REPETITION;

/// Repetitions that are left, in thousandths.
#[derive(Debug)]
pub struct Budget {
    left: AtomicU64,
    /// What each first attempt adds.
    share: u64,
}

impl Budget {
    /// Repetitions of at most `percent` of the traffic.
    #[must_use]
    pub const fn new(percent: u64) -> Self {
        let left = if percent == 0 { 0 } else { AT_FIRST };
        Self { left: AtomicU64::new(left), share: percent * REPETITION / 100 }
    }

    /// A first attempt is made.
    pub fn earn(&self) {
        self.add(self.share);
    }

    /// So many repetitions that were taken have led to a good answer, and do not count.
    pub fn give_back(&self, repetitions: u32) {
        self.add(REPETITION * u64::from(repetitions));
    }

    fn add(&self, more: u64) {
        let add = |left: u64| (left < SAVED_MAX).then(|| left.saturating_add(more).min(SAVED_MAX));
        let _full = self.left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, add);
    }

    /// Takes a repetition, if there is one left.
    #[must_use]
    pub fn spend(&self) -> bool {
        let take = |left: u64| left.checked_sub(REPETITION);
        self.left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, take).is_ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn repetitions_are_a_share_of_the_traffic() {
        let budget = Budget::new(10);
        let spent = || std::iter::from_fn(|| budget.spend().then_some(())).count();
        assert_eq!(spent(), 10);
        (0..55).for_each(|_| budget.earn());
        assert_eq!(spent(), 5);
        (0..10_000).for_each(|_| budget.earn());
        assert_eq!(spent(), 100);
        assert!((0..5).all(|_| !budget.spend()));
        budget.give_back(2);
        assert_eq!(spent(), 2);
        let none = Budget::new(0);
        none.earn();
        assert!(!none.spend());
    }
}
