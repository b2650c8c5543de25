//! [`Pins`]: which model each conversation is on, and what its provider's prompt cache likely holds.
//!
//! It holds no word of a conversation, only a hash that changes with each process.
//!
//! Beside them it remembers the beginnings of prompts that many conversations share: what the cache of the model that they all ask
//! for would hold of them, had none of them been sent elsewhere.
//!
//! Invariant: at most [`PINS_MAX`] conversations are remembered, whatever clients do; those that were quiet longest go first.

use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};
use std::sync::{Arc, Mutex, PoisonError};

use foldhash::quality::RandomState as Quick;

use crate::domain::entry::Tier;
use crate::domain::routing::Pin;

/// Conversations that are remembered.
pub const PINS_MAX: usize = 65_536;

const SHARDS: usize = 16;

/// Shared beginnings that are remembered.
const SHARED_MAX: usize = 8_192;

/// How long a conversation is remembered at least: signed thinking binds it to its model longer than any cache lives.
const KEPT_MS: u64 = 3_600_000;

/// How long a provider keeps a prompt where nobody asks for longer, milliseconds.
const CACHED_MS: u64 = 300_000;

/// The models of conversations.
#[derive(Debug, Default)]
pub struct Pins {
    shards: [Mutex<HashMap<u64, Place, Quick>>; SHARDS],
    shared: Mutex<HashMap<u64, Shared, Quick>>,
    /// Makes the hashes of conversations. Keyed by chance, since the ledger tells a part of them.
    pub hash: RandomState,
    /// Makes the hashes of their texts, which are long.
    pub text: Quick,
}

/// Where a conversation was seen last.
#[derive(Clone, Debug)]
pub struct Place {
    /// The model that was sent.
    pub model: Arc<str>,
    /// Its tier.
    pub tier: Tier,
    /// Prompt tokens of the last request.
    pub prompt_tokens: u64,
    /// When that came, unix milliseconds.
    pub at_ms: u64,
    /// For how long its prompt is cached, in seconds; 0 is the provider's default.
    pub ttl_s: u32,
    /// The tier whose answer has failed, until the conversation goes on.
    pub failed: Option<Tier>,
    /// A hash of what was asked last.
    pub asked: u64,
    /// Prompt tokens of the last answer that a provider's cache holds, as they were metered.
    pub held: u64,
}

/// A beginning that many prompts share.
#[derive(Clone, Copy, Debug)]
struct Shared {
    tokens: u64,
    /// Whether a provider has told so many, or they were counted from bytes.
    is_seen: bool,
    at_ms: u64,
    ttl_s: u32,
}

impl Pins {
    /// Where a conversation is, if it is remembered.
    #[must_use]
    pub fn get(&self, conversation: u64, now_ms: u64) -> Option<Place> {
        let shard = self.shard(conversation).lock().unwrap_or_else(PoisonError::into_inner);
        shard.get(&conversation).filter(|place| !place.is_over(now_ms)).cloned()
    }

    /// Changes what is remembered of a conversation, if anything is.
    pub fn tell(&self, conversation: u64, change: impl FnOnce(&mut Place)) {
        let mut shard = self.shard(conversation).lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(place) = shard.get_mut(&conversation) {
            change(place);
        }
    }

    /// Remembers where a conversation is.
    pub fn set(&self, conversation: u64, place: Place) {
        let mut shard = self.shard(conversation).lock().unwrap_or_else(PoisonError::into_inner);
        if shard.len() >= PINS_MAX / SHARDS && !shard.contains_key(&conversation) {
            let now_ms = place.at_ms;
            shard.retain(|_, known| !known.is_over(now_ms));
            if shard.len() >= PINS_MAX / SHARDS {
                let mut times: Vec<u64> = shard.values().map(|known| known.at_ms).collect();
                let half = times.len() / 2;
                let (_, middle, _) = times.select_nth_unstable(half);
                let middle = *middle;
                shard.retain(|_, known| known.at_ms > middle);
            }
        }
        shard.insert(conversation, place);
    }

    /// The name under which what an answer of the Responses API goes on to is remembered.
    #[must_use]
    pub fn of_response(&self, id: &str) -> u64 {
        self.hash.hash_one(("response", id))
    }

    /// Remembers where the conversation `talk` is under the id of its last answer as well, which the next request may name.
    pub fn follow(&self, talk: u64, response: &str) {
        let place = self.shard(talk).lock().unwrap_or_else(PoisonError::into_inner).get(&talk).cloned();
        if let Some(place) = place {
            self.set(self.of_response(response), place);
        }
    }

    /// Tokens of a shared beginning that the cache of the model asked for would hold by now.
    #[must_use]
    pub fn shared(&self, beginning: u64, now_ms: u64) -> u64 {
        let shared = self.shared.lock().unwrap_or_else(PoisonError::into_inner);
        shared.get(&beginning).map_or(0, |shared| {
            let is_warm = now_ms.saturating_sub(shared.at_ms) <= cached_ms(shared.ttl_s);
            if is_warm { shared.tokens } else { 0 }
        })
    }

    /// A prompt with this beginning was sent: the provider has told that so many tokens of it were cached, or they are `likely`.
    pub fn share(&self, beginning: u64, seen: Option<u64>, likely: u64, (at_ms, ttl_s): (u64, u32)) {
        let mut all = self.shared.lock().unwrap_or_else(PoisonError::into_inner);
        if all.len() >= SHARED_MAX && !all.contains_key(&beginning) {
            let mut times: Vec<u64> = all.values().map(|shared| shared.at_ms).collect();
            let half = times.len() / 2;
            let (_, middle, _) = times.select_nth_unstable(half);
            let middle = *middle;
            all.retain(|_, shared| shared.at_ms > middle);
        }
        let shared = all.entry(beginning).or_insert(Shared { tokens: likely, is_seen: false, at_ms, ttl_s });
        (shared.at_ms, shared.ttl_s) = (shared.at_ms.max(at_ms), ttl_s);
        if let Some(seen) = seen {
            // The same question asked twice finds more than the beginning.
            shared.tokens = if shared.is_seen { shared.tokens.min(seen) } else { seen };
            shared.is_seen = true;
        }
    }

    /// Conversations that are remembered.
    #[must_use]
    pub fn len(&self) -> usize {
        self.shards.iter().map(|shard| shard.lock().unwrap_or_else(PoisonError::into_inner).len()).sum()
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    fn shard(&self, conversation: u64) -> &Mutex<HashMap<u64, Place, Quick>> {
        &self.shards[usize::try_from(self.text.hash_one(conversation) % SHARDS as u64).unwrap_or(0)]
    }
}

impl Place {
    /// Prompt tokens that the cache of a model would hold by now that had answered all along.
    #[must_use]
    pub fn warm(&self, now_ms: u64) -> u64 {
        if now_ms.saturating_sub(self.at_ms) <= self.cached_ms() { self.held } else { 0 }
    }

    /// The model, and what its provider's prompt cache holds by now.
    #[must_use]
    pub fn pin(&self, now_ms: u64) -> Pin {
        let is_warm = now_ms.saturating_sub(self.at_ms) <= self.cached_ms();
        let cached = if is_warm { self.prompt_tokens } else { 0 };
        Pin { model: self.model.clone(), tier: self.tier, cached }
    }

    const fn cached_ms(&self) -> u64 {
        cached_ms(self.ttl_s)
    }

    fn is_over(&self, now_ms: u64) -> bool {
        now_ms.saturating_sub(self.at_ms) > self.cached_ms().max(KEPT_MS)
    }
}

/// How long a provider keeps a prompt for which so many seconds were asked.
const fn cached_ms(ttl_s: u32) -> u64 {
    let asked_ms = ttl_s as u64 * 1000;
    if asked_ms > CACHED_MS { asked_ms } else { CACHED_MS }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(at_ms: u64) -> Place {
        Place {
            model: "m".into(),
            tier: Tier::Simple,
            prompt_tokens: 900,
            at_ms,
            ttl_s: 0,
            failed: None,
            asked: 0,
            held: 0,
        }
    }

    #[test]
    fn a_pin_outlives_its_cache_and_then_goes() {
        let pins = Pins::default();
        pins.set(7, place(1_000));
        let cached = |at_ms| pins.get(7, at_ms).map(|place| place.pin(at_ms).cached);
        assert_eq!((cached(301_000), cached(301_001), cached(3_601_001)), (Some(900), Some(0), None));
        pins.set(8, Place { ttl_s: 7_200, ..place(1_000) });
        assert_eq!(pins.get(8, 7_201_000).map(|place| place.pin(7_201_000).cached), Some(900));
    }

    #[test]
    fn names_say_nothing_to_who_does_not_know_the_key() {
        let names = [Pins::default(), Pins::default()].map(|pins| (pins.of_response("r"), pins.hash.hash_one("talk")));
        assert!(names[0].0 != names[1].0 && names[0].1 != names[1].1, "the ledger tells a part of them");
    }

    #[test]
    fn memory_is_bounded_and_the_latest_stay() {
        let pins = Pins::default();
        for number in 0..2 * PINS_MAX as u64 {
            pins.set(number, place(number));
        }
        assert!(pins.len() <= PINS_MAX);
        assert!(pins.get(2 * PINS_MAX as u64 - 1, 2 * PINS_MAX as u64).is_some());
    }

    #[test]
    fn a_shared_beginning_is_warm_for_as_long_as_its_cache_lives() {
        let pins = Pins::default();
        pins.share(7, None, 1_280, (1_000, 0));
        assert_eq!((pins.shared(7, 301_000), pins.shared(7, 301_001), pins.shared(8, 0)), (1_280, 0, 0));
        for (seen, expect) in [(Some(1_152), 1_152), (Some(4_096), 1_152), (None, 1_152), (Some(1_024), 1_024)] {
            pins.share(7, seen, 9_000, (400_000, 0));
            assert_eq!(pins.shared(7, 400_001), expect, "{seen:?}");
        }
        (0..3 * SHARED_MAX as u64).for_each(|number| pins.share(number, None, 1, (number, 0)));
        assert!(pins.shared.lock().unwrap().len() <= SHARED_MAX);
    }
}
