//! [`Repeats`]: how often the same request has come, to tell a loop from work.
//!
//! A table of fixed size, indexed by what a request looks like. Two requests that share a place take it from each
//! other, so that a loop may be told late, but never one that is not there: a place holds the whole fingerprint.

use std::hash::{BuildHasher, RandomState};
use std::sync::{Mutex, PoisonError};

/// Places, each with a lock of its own.
const PLACES: usize = 8192;

/// The last bytes of a body that tell it apart from others, besides its length.
const TAIL_BYTES: usize = 16 * 1024;

/// The table.
#[derive(Debug)]
pub(super) struct Repeats {
    places: Vec<Mutex<Place>>,
    hashing: RandomState,
}

#[derive(Clone, Copy, Debug, Default)]
struct Place {
    print: u64,
    since_ms: u64,
    count: u64,
}

/// How a request stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Count {
    /// How often it has come in this window, this time included.
    pub count: u64,
    /// When the window ends, unix milliseconds.
    pub ends_ms: u64,
}

impl Repeats {
    pub(super) fn new() -> Self {
        Self { places: (0..PLACES).map(|_| Mutex::default()).collect(), hashing: RandomState::new() }
    }

    /// What a request looks like: who sends it, where, how long it is, and how it ends. Keyed by chance, so that no caller
    /// can make requests that look like another's.
    pub(super) fn print<'a>(
        &self,
        key: &str,
        path: &str,
        body: impl DoubleEndedIterator<Item = &'a [u8]> + Clone,
    ) -> u64 {
        let length: usize = body.clone().map(<[u8]>::len).sum();
        let mut skip = length.saturating_sub(TAIL_BYTES);
        let mut tail = crc32fast::Hasher::new();
        for piece in body {
            let from = skip.min(piece.len());
            skip -= from;
            tail.update(&piece[from..]);
        }
        self.hashing.hash_one((key, path, length, tail.finalize()))
    }

    /// What a call of a tool looks like: whose, in which conversation, of which tool, and with what.
    pub(super) fn print_call(&self, key: &str, place: (u64, u64), arguments: &[u8]) -> u64 {
        self.hashing.hash_one(("call", key, place, arguments))
    }

    /// Counts a request.
    pub(super) fn count(&self, print: u64, now_ms: u64, window_ms: u64) -> Count {
        let mut place = self.place(print);
        if place.print != print || now_ms.saturating_sub(place.since_ms) >= window_ms {
            *place = Place { print, since_ms: now_ms, count: 0 };
        }
        place.count += 1;
        Count { count: place.count, ends_ms: place.since_ms.saturating_add(window_ms) }
    }

    fn place(&self, print: u64) -> std::sync::MutexGuard<'_, Place> {
        let index = usize::try_from(print % PLACES as u64).unwrap_or(0);
        self.places[index].lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nobody_can_know_what_another_s_requests_look_like() {
        let body = || [b"hello".as_slice()].into_iter();
        assert_ne!(Repeats::new().print("a", "/v1", body()), Repeats::new().print("a", "/v1", body()));
    }

    #[test]
    fn what_is_sent_and_who_sends_it_tell_requests_apart() {
        let repeats = Repeats::new();
        let whole = |key: &str, path: &str, text: &str| repeats.print(key, path, [text.as_bytes()].into_iter());
        let one = whole("a", "/v1", "hello");
        assert_eq!(one, repeats.print("a", "/v1", ["he".as_bytes(), b"", b"llo"].into_iter()), "however it is cut");
        let others = [
            whole("b", "/v1", "hello"),
            whole("a", "/v2", "hello"),
            whole("a", "/v1", "hellx"),
            whole("a", "/v1", " hello"),
        ];
        assert!(others.iter().all(|other| *other != one));
        let long = |first: &str| whole("a", "/v1", &format!("{first}{}", "x".repeat(TAIL_BYTES)));
        assert_eq!(
            (long("a") == long("b"), long("a") == long("ab")),
            (true, false),
            "what lies far back counts by its length"
        );
    }

    #[test]
    fn a_window_begins_with_the_first() {
        let repeats = Repeats::new();
        let count = |now_ms| repeats.count(7, now_ms, 1_000).count;
        assert_eq!([count(5), count(6), count(1_004), count(1_005), count(1_006)], [1, 2, 3, 1, 2]);
        assert_eq!(repeats.count(8, 1_006, 1_000).count, 1);
    }
}
