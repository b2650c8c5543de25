//! [`Left`]: requests that a dead process left open, until they are entered as unsettled.
//!
//! Caps count them at their quote from the start on; here stands only when the ledger says so. Nothing here frees money:
//! that takes an adjustment.
//!
//! Invariant: each of them is given out once, and only what an earlier process opened can be in here: a request of this
//! one never expires.

use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use super::lock;
use crate::domain::ids::RequestId;
use crate::store::Unfinished;

/// What has no entry yet.
#[derive(Debug)]
pub(super) struct Left {
    waiting: Mutex<Vec<Unfinished>>,
    /// Given out, and not yet in the ledger.
    entering: AtomicUsize,
    /// When this process began, unix milliseconds.
    started_ms: u64,
    /// How old an open record may become.
    expiry_ms: AtomicU64,
}

impl Left {
    /// What a start at `started_ms` found.
    pub(super) fn new(found: &[Unfinished], started_ms: u64, expiry_ms: u64) -> Self {
        Self {
            waiting: Mutex::new(found.to_vec()),
            entering: AtomicUsize::new(0),
            started_ms,
            expiry_ms: AtomicU64::new(expiry_ms),
        }
    }

    /// From now on they expire at another age.
    pub(super) fn set_expiry(&self, expiry_ms: u64) {
        self.expiry_ms.store(expiry_ms, Ordering::Relaxed);
    }

    /// How many have no entry yet.
    pub(super) fn count(&self) -> usize {
        let waiting = lock(&self.waiting);
        waiting.len() + self.entering.load(Ordering::Acquire)
    }

    /// One that was given out has its entry.
    pub(super) fn entered(&self) {
        self.entering.fetch_sub(1, Ordering::AcqRel);
    }

    /// Those that are old enough at `now_ms`.
    pub(super) fn due(&self, now_ms: u64) -> Vec<Unfinished> {
        let expiry_ms = self.expiry_ms.load(Ordering::Relaxed);
        // A clock that was set back must not keep them for ever.
        let is_due = |opened_ms: u64| opened_ms.min(self.started_ms).saturating_add(expiry_ms) <= now_ms;
        self.take(|one| one.attempts.first().is_none_or(|(open, _)| is_due(open.at_ms)))
    }

    /// This one, whatever its age.
    pub(super) fn one(&self, id: RequestId) -> Option<Unfinished> {
        self.take(|one| one.attempts.first().is_some_and(|(open, _)| open.attempt.request == id)).pop()
    }

    fn take(&self, wanted: impl Fn(&Unfinished) -> bool) -> Vec<Unfinished> {
        let mut waiting = lock(&self.waiting);
        if waiting.is_empty() {
            return Vec::new();
        }
        let taken: Vec<_> = waiting.extract_if(.., |one| wanted(one)).collect();
        self.entering.fetch_add(taken.len(), Ordering::AcqRel);
        taken
    }
}
