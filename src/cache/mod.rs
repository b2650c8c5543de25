//! [`Room`]: answers in memory, by the key of the request that they answered.
//!
//! It holds what it is given and judges nothing: what may be kept and who may have it is decided before. Answers are weighed
//! in bytes; the least used make room. moka knows no clock of ours, so each answer tells when its time is over.
//!
//! Invariant: an answer is given only to the namespace that it was kept for; the namespace is a part of the key, and is
//! compared once more.
//! Invariant: what is in memory is at most the budget, plus a thirty-second of it that has not been cleared away yet.

mod key;
mod kept;
pub mod flight;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use arc_swap::ArcSwapOption;
use moka::sync::Cache;

use kept::Alive;
pub use kept::{About, Kept};
pub use key::{Key, KeyMaker, Namespace};

/// A part of the budget after which what is over is cleared away at once.
const CLEARED_AFTER: u64 = 32;

/// Bytes of a pointer with its place in the cache's tables, measured with moka 0.12.
const POINTER_BYTES: u64 = 320;

/// Answers in memory.
pub struct Room {
    answers: Cache<Key, Slot>,
    budget_bytes: u64,
    /// Bytes that were put in since the last clearing.
    uncleared: AtomicU64,
    /// Answers that are alive, also those that are on their way out.
    alive: Arc<Alive>,
}

/// What lies under a key.
#[derive(Clone)]
enum Slot {
    /// An answer, until it is evicted. moka drops its values in batches of dozens, later, when no thread can look at them any
    /// more; what they hold is dropped at once.
    Answer(Arc<ArcSwapOption<Kept>>),
    /// The key of the answer to the same question in other words.
    Pointer(Key),
}

/// How full a room is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Fill {
    /// Answers.
    pub answers: u64,
    /// Bytes of them.
    pub bytes: u64,
}

impl Room {
    /// An empty room for so many bytes.
    #[must_use]
    pub fn new(budget_bytes: u64) -> Self {
        let answers = Cache::builder()
            .max_capacity(budget_bytes)
            .weigher(|_, slot: &Slot| u32::try_from(slot.weight()).unwrap_or(u32::MAX))
            .eviction_listener(|_, slot, _| slot.clear())
            .build();
        Self { answers, budget_bytes, uncleared: AtomicU64::new(0), alive: Arc::default() }
    }

    /// The answer that was kept under `key` for `namespace`, whatever its age.
    #[must_use]
    pub fn find(&self, key: &Key, namespace: &Namespace) -> Option<Arc<Kept>> {
        self.answers.get(key)?.answer().filter(|kept| kept.about.namespace == *namespace)
    }

    /// The answer to the same question in other words, whatever its age.
    #[must_use]
    pub fn find_near(&self, near: &Key, namespace: &Namespace) -> Option<Arc<Kept>> {
        match self.answers.get(near)? {
            Slot::Pointer(key) => self.find(&key, namespace),
            Slot::Answer(_) => None,
        }
    }

    /// Keeps an answer in place of the one before.
    pub fn keep(&self, key: Key, kept: Kept) {
        let kept = kept.counted(&self.alive);
        let weight = kept.weight();
        self.put(key, Slot::Answer(Arc::new(ArcSwapOption::from_pointee(kept))), weight);
    }

    /// Lets the answer under `key` be found by `near`, too.
    pub fn point(&self, near: Key, key: Key) {
        self.put(near, Slot::Pointer(key), POINTER_BYTES);
    }

    fn put(&self, key: Key, slot: Slot, weight: u64) {
        self.answers.insert(key, slot);
        let uncleared = self.uncleared.fetch_add(weight, Ordering::Relaxed) + weight;
        if uncleared > self.budget_bytes / CLEARED_AFTER {
            self.uncleared.store(0, Ordering::Relaxed);
            self.answers.run_pending_tasks();
        }
    }

    /// Forgets the answer under `key`.
    pub fn forget(&self, key: &Key) {
        self.answers.invalidate(key);
    }

    /// Forgets what `is_wanted` says, and says how many that were.
    pub fn purge(&self, is_wanted: impl Fn(&Key, &Kept) -> bool) -> u64 {
        let mut gone = 0;
        for (key, slot) in &self.answers {
            if slot.answer().is_some_and(|kept| is_wanted(&key, &kept)) {
                self.answers.invalidate(&*key);
                gone += 1;
            }
        }
        self.answers.run_pending_tasks();
        gone
    }

    /// The bytes that it may take.
    #[must_use]
    pub const fn budget_bytes(&self) -> u64 {
        self.budget_bytes
    }

    /// How full it is now.
    #[must_use]
    pub fn fill(&self) -> Fill {
        self.answers.run_pending_tasks();
        Fill { answers: self.alive.answers.load(Ordering::Relaxed), bytes: self.alive_bytes() }
    }

    /// Bytes of all answers that are alive, also of those that a client still reads.
    #[must_use]
    pub fn alive_bytes(&self) -> u64 {
        self.alive.bytes.load(Ordering::Relaxed)
    }
}

impl Slot {
    fn answer(&self) -> Option<Arc<Kept>> {
        match self {
            Self::Answer(slot) => slot.load_full(),
            Self::Pointer(_) => None,
        }
    }

    fn weight(&self) -> u64 {
        match self {
            Self::Answer(slot) => slot.load().as_ref().map_or(0, |kept| kept.weight()),
            Self::Pointer(_) => POINTER_BYTES,
        }
    }

    fn clear(&self) {
        if let Self::Answer(slot) = self {
            slot.store(None);
        }
    }
}

impl std::fmt::Debug for Room {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(out, "Room({} of {} bytes)", self.alive_bytes(), self.budget_bytes)
    }
}

#[cfg(test)]
mod tests;
