//! [`Scores`]: what the classifier said of asks that came lately, so that the same ask is not weighed again: a question that
//! is answered from the cache, a request that is repeated, the steps of an agent between two human turns.
//!
//! It holds no word of an ask, only a hash that changes with each process. Whose ask it is counts in the hash, so that nobody
//! can tell from the time that an answer takes what others ask.
//!
//! Invariant: it takes the same memory whatever is asked; a newer ask takes the place of an older one.

use std::sync::{Mutex, PoisonError};

use foldhash::quality::RandomState;

use crate::domain::classify::Score;

/// Asks that are remembered.
const ASKS_MAX: usize = 4_096;

/// What was said of asks.
#[derive(Debug)]
pub struct Scores {
    places: Box<[Mutex<Option<Known>>]>,
    /// Makes the names of asks: of all that the classifier looks at, and of whose ask it is.
    pub hash: RandomState,
}

/// An ask and what was said of it.
#[derive(Clone, Copy, Debug)]
struct Known {
    ask: u64,
    score: Score,
}

impl Default for Scores {
    fn default() -> Self {
        Self { places: (0..ASKS_MAX).map(|_| Mutex::default()).collect(), hash: RandomState::default() }
    }
}

impl Scores {
    /// What was said of the ask of this name, or else what `weigh` says now.
    pub fn of(&self, ask: u64, weigh: impl FnOnce() -> Score) -> Score {
        // Any bits of a hash are as good as others.
        let [low, high, ..] = ask.to_le_bytes();
        let place = &self.places[usize::from(u16::from_le_bytes([low, high])) % ASKS_MAX];
        let known = *place.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = known.filter(|known| known.ask == ask) {
            return known.score;
        }
        let score = weigh();
        *place.lock().unwrap_or_else(PoisonError::into_inner) = Some(Known { ask, score });
        score
    }
}

#[cfg(test)]
mod tests {
    use std::hash::BuildHasher;

    use super::*;
    use crate::domain::entry::Tier;

    fn score(failure_ppm: u32) -> Score {
        Score { failure_ppm, tier_ppm: [failure_ppm; 3], tier: Tier::Medium, is_sure: false }
    }

    #[test]
    fn an_ask_is_weighed_once_and_again_when_its_place_was_taken() {
        let scores = Scores::default();
        assert_eq!(scores.of(7, || score(1)), score(1));
        assert_eq!(scores.of(7, || unreachable!("it is known")), score(1));
        let other = 7 + ASKS_MAX as u64;
        assert_eq!(scores.of(other, || score(2)), score(2), "what shares a place is another ask");
        assert_eq!(scores.of(7, || score(3)), score(3), "the newer one took its place");
    }

    #[test]
    fn names_are_of_one_process() {
        let [one, other] = [Scores::default(), Scores::default()].map(|scores| scores.hash.hash_one("ask"));
        assert_ne!(one, other);
    }
}
