//! [`Shelf`]: which answers lie on the disk, how much room they take, and which have to go first.
//!
//! It touches no file.
//!
//! Invariant: what lies there, with what is about to, is at most the budget.

use std::collections::{BTreeMap, HashMap};

use super::Key;

/// Bytes in which a file system hands out room.
const BLOCK_BYTES: u64 = 4096;

/// Bytes of a file's name in its folder, rounded up.
const NAME_BYTES: u64 = 256;

/// What lies on the disk.
#[derive(Debug)]
pub(super) struct Shelf {
    budget_bytes: u64,
    bytes: u64,
    places: HashMap<Key, Place>,
    /// By when they were last used.
    order: BTreeMap<u64, Key>,
    /// The answers to questions in other words.
    near: HashMap<Key, Key>,
    next: u64,
}

#[derive(Clone, Copy, Debug)]
struct Place {
    bytes: u64,
    until_ms: u64,
    used: u64,
    near: Option<Key>,
}

/// The room that a file of so many bytes takes.
pub(super) const fn room_of(bytes: u64) -> u64 {
    bytes.next_multiple_of(BLOCK_BYTES) + NAME_BYTES
}

impl Shelf {
    pub(super) fn new(budget_bytes: u64) -> Self {
        let (places, order, near) = (HashMap::new(), BTreeMap::new(), HashMap::new());
        Self { budget_bytes, bytes: 0, places, order, near, next: 0 }
    }

    pub(super) fn len(&self) -> usize {
        self.places.len()
    }

    pub(super) const fn bytes(&self) -> u64 {
        self.bytes
    }

    /// The answer under `key` is used. Whether there is one whose time is not over.
    pub(super) fn touch(&mut self, key: &Key, now_ms: u64) -> bool {
        let used = self.next;
        let Some(place) = self.places.get_mut(key).filter(|place| now_ms < place.until_ms) else { return false };
        self.order.remove(&place.used);
        self.order.insert(used, *key);
        place.used = used;
        self.next += 1;
        true
    }

    /// The answer to the same question in other words.
    pub(super) fn near(&self, near: &Key) -> Option<Key> {
        self.near.get(near).copied()
    }

    /// Puts down a file of so many bytes, for which there is room.
    pub(super) fn put(&mut self, key: Key, near: Option<Key>, bytes: u64, until_ms: u64) {
        self.remove(&key);
        let place = Place { bytes: room_of(bytes), until_ms, used: self.next, near };
        self.next += 1;
        self.bytes += place.bytes;
        self.order.insert(place.used, key);
        if let Some(near) = near {
            self.near.insert(near, key);
        }
        self.places.insert(key, place);
    }

    /// Whether it was there.
    pub(super) fn remove(&mut self, key: &Key) -> bool {
        let Some(place) = self.places.remove(key) else { return false };
        self.bytes -= place.bytes;
        self.order.remove(&place.used);
        if let Some(near) = place.near
            && self.near.get(&near) == Some(key)
        {
            self.near.remove(&near);
        }
        true
    }

    /// Takes off what has to go so that `bytes` more find room: what is over, then what was not used for longest. Nothing if there never is
    /// so much room.
    pub(super) fn make_room(&mut self, bytes: u64, now_ms: u64) -> Option<Vec<Key>> {
        let wanted = room_of(bytes);
        if wanted > self.budget_bytes {
            return None;
        }
        let mut gone = Vec::new();
        if self.bytes + wanted > self.budget_bytes {
            gone = self.expired(now_ms);
        }
        while self.bytes + wanted > self.budget_bytes {
            let (_, key) = self.order.first_key_value()?;
            let key = *key;
            self.remove(&key);
            gone.push(key);
        }
        Some(gone)
    }

    /// Takes off what is over.
    pub(super) fn expired(&mut self, now_ms: u64) -> Vec<Key> {
        let over: Vec<Key> =
            self.places.iter().filter(|(_, place)| now_ms >= place.until_ms).map(|(key, _)| *key).collect();
        for key in &over {
            self.remove(key);
        }
        over
    }

    pub(super) fn keys(&self) -> Vec<Key> {
        self.places.keys().copied().collect()
    }
}
