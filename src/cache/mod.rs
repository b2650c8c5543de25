//! [`Room`]: answers in memory and on the disk, by the key of the request that they answered.
//!
//! It holds what it is given and judges nothing: what may be kept and who may have it is decided before. Answers are weighed
//! in bytes; the least used make room. moka knows no clock of ours, so each answer tells when its time is over.
//!
//! Invariant: an answer is given only to the namespace that it was kept for; the namespace is a part of the key, and is
//! compared once more.
//! Invariant: what is in memory is at most the budget, plus a thirty-second of it that has not been cleared away yet and a
//! sixteenth that waits to be written.

mod key;
mod kept;
mod file;
mod shelf;
pub mod disk;
pub mod flight;

use std::collections::HashSet;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock};

use arc_swap::{ArcSwap, ArcSwapOption};
use moka::sync::Cache;

use disk::Disk;
use kept::Alive;
pub use kept::{About, Kept};
use key::KeyHashes;
pub use key::{Key, KeyMaker, Namespace};

/// A part of the budget after which what is over is cleared away at once.
const CLEARED_AFTER: u64 = 32;

/// A part of the budget that may wait to be written to the disk.
const WAITING_PART: u64 = 16;

/// Bytes of a pointer with its place in the cache's tables, measured with moka 0.12.
const POINTER_BYTES: u64 = 320;

/// Answers by their keys.
type Table = Cache<Key, Slot, KeyHashes>;

/// Says which answers are meant.
pub type Wanted = Arc<dyn Fn(&Key, &Kept) -> bool + Send + Sync>;

/// Answers in memory, and on the disk where there is one.
pub struct Room {
    answers: ArcSwap<Table>,
    budget_bytes: AtomicU64,
    /// Bytes that were put in since the last clearing.
    uncleared: AtomicU64,
    /// Answers that are alive, also those that are on their way out.
    alive: Arc<Alive>,
    disk: Option<Disk>,
    /// Held while all answers are gone through: they are moved or purged by one at a time.
    turn: Mutex<()>,
    /// How many purges have begun. It is held while an answer is kept, so that a purge finds all that was kept before it.
    purges: RwLock<u64>,
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
    /// An empty room for so many bytes, with `disk` behind it.
    #[must_use]
    pub fn new(budget_bytes: u64, disk: Option<Disk>) -> Self {
        Self {
            answers: ArcSwap::from_pointee(table(budget_bytes)),
            budget_bytes: AtomicU64::new(budget_bytes),
            uncleared: AtomicU64::new(0),
            alive: Arc::default(),
            disk,
            turn: Mutex::default(),
            purges: RwLock::default(),
        }
    }

    /// The answer that is in memory under `key` for `namespace`, whatever its age.
    #[must_use]
    pub fn find(&self, key: &Key, namespace: &Namespace) -> Option<Arc<Kept>> {
        self.answers.load().get(key)?.answer().filter(|kept| kept.about.namespace == *namespace)
    }

    /// The answer to the same question in other words, whatever its age.
    #[must_use]
    pub fn find_near(&self, near: &Key, namespace: &Namespace) -> Option<Arc<Kept>> {
        let slot = self.answers.load().get(near)?;
        match slot {
            Slot::Pointer(key) => self.find(&key, namespace),
            Slot::Answer(_) => None,
        }
    }

    /// Whether the answer under `key` may lie on the disk, so that it is worth the wait.
    #[must_use]
    pub fn may_fetch(&self, key: &Key) -> bool {
        self.disk.as_ref().is_some_and(|disk| disk.has(key))
    }

    /// The answer that lies on the disk under `key` for `namespace`; from now on it is in memory as well.
    pub async fn fetch(&self, key: Key, namespace: &Namespace) -> Option<Arc<Kept>> {
        self.bring(key, None, namespace).await
    }

    /// The answer on the disk to the same question in other words.
    pub async fn fetch_near(&self, near: Key, namespace: &Namespace) -> Option<Arc<Kept>> {
        let key = self.disk.as_ref()?.near(&near)?;
        self.bring(key, Some(near), namespace).await
    }

    async fn bring(&self, key: Key, near: Option<Key>, namespace: &Namespace) -> Option<Arc<Kept>> {
        let disk = self.disk.as_ref()?;
        let purges = disk.purges();
        let stored = disk.read(key, near).await.filter(|stored| stored.kept.about.namespace == *namespace)?;
        let kept = Arc::new(stored.kept.counted(&self.alive));
        self.hold(key, stored.near, &kept);
        if disk.purges() == purges {
            return Some(kept);
        }
        self.forget(&key);
        None
    }

    /// Keeps an answer in place of the one before, and lets it be found by `near`, too.
    pub fn keep(&self, key: Key, near: Option<Key>, kept: Kept) {
        let kept = Arc::new(kept.counted(&self.alive));
        self.hold(key, near, &kept);
        if let Some(disk) = &self.disk {
            disk.keep(key, near, kept, self.budget_bytes() / WAITING_PART);
        }
    }

    /// The same, unless a purge has begun since there were so many.
    pub fn keep_since(&self, purges: u64, key: Key, near: Option<Key>, kept: Kept) {
        let now = self.purges.read().unwrap_or_else(PoisonError::into_inner);
        if *now == purges {
            self.keep(key, near, kept);
        }
    }

    fn hold(&self, key: Key, near: Option<Key>, kept: &Arc<Kept>) {
        self.put(key, Slot::Answer(Arc::new(ArcSwapOption::new(Some(kept.clone())))), kept.weight());
        if let Some(near) = near {
            self.put(near, Slot::Pointer(key), POINTER_BYTES);
        }
    }

    fn put(&self, key: Key, slot: Slot, weight: u64) {
        let answers = self.answers.load();
        answers.insert(key, slot);
        let uncleared = self.uncleared.fetch_add(weight, Ordering::Relaxed) + weight;
        if uncleared > self.budget_bytes() / CLEARED_AFTER {
            self.uncleared.store(0, Ordering::Relaxed);
            answers.run_pending_tasks();
        }
    }

    /// Forgets the answer in memory under `key`.
    fn forget(&self, key: &Key) {
        self.answers.load().invalidate(key);
    }

    /// Gives the room another budget, and keeps what fits into it.
    pub fn resize(&self, budget_bytes: u64) {
        let _turn = self.turn.lock().unwrap_or_else(PoisonError::into_inner);
        if self.budget_bytes.swap(budget_bytes, Ordering::Relaxed) == budget_bytes {
            return;
        }
        let before = self.answers.swap(Arc::new(table(budget_bytes)));
        // What it is about to evict is empty afterwards, and nothing to be moved.
        before.run_pending_tasks();
        let answers = self.answers.load();
        for (key, slot) in before.iter().filter(|(_, slot)| slot.is_full()) {
            answers.entry(*key).or_insert(slot);
        }
        answers.run_pending_tasks();
    }

    /// How many purges have begun: what was asked for before one is not kept after it.
    #[must_use]
    pub fn purges(&self) -> u64 {
        *self.purges.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// Forgets what `wanted` says, on the disk as well, and says how many answers that were.
    pub async fn purge(&self, wanted: Wanted) -> u64 {
        *self.purges.write().unwrap_or_else(PoisonError::into_inner) += 1;
        let mut gone = self.purge_memory(&wanted);
        if let Some(disk) = &self.disk {
            gone.extend(disk.purge(wanted.clone()).await);
            // Somebody may have been given one from the disk in between.
            gone.extend(self.purge_memory(&wanted));
        }
        gone.len() as u64
    }

    fn purge_memory(&self, wanted: &Wanted) -> HashSet<Key> {
        let _turn = self.turn.lock().unwrap_or_else(PoisonError::into_inner);
        let answers = self.answers.load();
        let mut gone = HashSet::new();
        for (key, slot) in answers.iter() {
            if slot.answer().is_some_and(|kept| wanted(&key, &kept)) {
                answers.invalidate(&*key);
                gone.insert(*key);
            }
        }
        answers.run_pending_tasks();
        gone
    }

    /// The bytes that it may take.
    #[must_use]
    pub fn budget_bytes(&self) -> u64 {
        self.budget_bytes.load(Ordering::Relaxed)
    }

    /// How full it is now.
    #[must_use]
    pub fn fill(&self) -> Fill {
        self.answers.load().run_pending_tasks();
        Fill { answers: self.alive.answers.load(Ordering::Relaxed), bytes: self.alive_bytes() }
    }

    /// Bytes of all answers that are alive, also of those that a client still reads.
    #[must_use]
    pub fn alive_bytes(&self) -> u64 {
        self.alive.bytes.load(Ordering::Relaxed)
    }

    /// The disk behind it.
    #[must_use]
    pub const fn disk(&self) -> Option<&Disk> {
        self.disk.as_ref()
    }
}

fn table(budget_bytes: u64) -> Table {
    Cache::builder()
        .max_capacity(budget_bytes)
        .weigher(|_, slot: &Slot| u32::try_from(slot.weight()).unwrap_or(u32::MAX))
        .eviction_listener(|_, slot, _| slot.clear())
        .build_with_hasher(KeyHashes::default())
}

impl Slot {
    fn answer(&self) -> Option<Arc<Kept>> {
        match self {
            Self::Answer(slot) => slot.load_full(),
            Self::Pointer(_) => None,
        }
    }

    fn is_full(&self) -> bool {
        match self {
            Self::Answer(slot) => slot.load().is_some(),
            Self::Pointer(_) => true,
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
        write!(out, "Room({} of {} bytes)", self.alive_bytes(), self.budget_bytes())
    }
}

#[cfg(test)]
mod tests;
