//! [`Gate`]: a counted resource with a limit, such as connections or bytes of bodies in memory.
//!
//! Invariant: what was taken is given back exactly once, by dropping its [`Place`].

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// A counted resource with a limit.
#[derive(Clone, Debug)]
pub struct Gate {
    used: Arc<AtomicUsize>,
    max: Arc<AtomicUsize>,
}

/// A part of a [`Gate`] that is in use; given back when dropped.
#[derive(Debug)]
pub struct Place {
    used: Arc<AtomicUsize>,
    amount: usize,
}

impl Gate {
    /// A gate for `max` at once.
    #[must_use]
    pub fn new(max: usize) -> Self {
        Self { used: Arc::default(), max: Arc::new(AtomicUsize::new(max)) }
    }

    /// From now on it is for `max` at once; what is in use stays so.
    pub fn resize(&self, max: usize) {
        self.max.store(max, Ordering::Relaxed);
    }

    /// Takes one, unless all are in use.
    #[must_use]
    pub fn take(&self) -> Option<Place> {
        let mut place = Place { used: self.used.clone(), amount: 0 };
        self.widen(&mut place, 1).then_some(place)
    }

    /// Makes `place` larger by `amount`, unless that is too much.
    #[must_use]
    pub fn widen(&self, place: &mut Place, amount: usize) -> bool {
        let before = self.used.fetch_add(amount, Ordering::AcqRel);
        if before.saturating_add(amount) > self.max.load(Ordering::Relaxed) {
            self.used.fetch_sub(amount, Ordering::AcqRel);
            return false;
        }
        place.amount += amount;
        true
    }

    /// An empty place, to be widened.
    #[must_use]
    pub fn empty(&self) -> Place {
        Place { used: self.used.clone(), amount: 0 }
    }

    /// How much is in use.
    #[must_use]
    pub fn used(&self) -> usize {
        self.used.load(Ordering::Acquire)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.used.fetch_sub(self.amount, Ordering::AcqRel);
    }
}
