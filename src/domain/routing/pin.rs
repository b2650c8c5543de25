//! [`Pin`]: the model of a conversation, and [`pays`]: whether another would be cheaper in spite of the provider's prompt
//! cache, which another model does not share.
//!
//! Invariant: money is counted in integers and both sides are priced for the same tokens.

use std::sync::Arc;

use crate::domain::entry::Tier;
use crate::domain::money::Usd;
use crate::domain::price::Apiece;

/// Where a conversation is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pin {
    /// The model that answered last.
    pub model: Arc<str>,
    /// Its tier.
    pub tier: Tier,
    /// Tokens that the provider's prompt cache holds of it; 0 once that is cold.
    pub cached: u64,
}

/// What the turns of a conversation are expected to take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Turns {
    /// Tokens that the warm model reads from its cache on the next turn.
    pub cached: u64,
    /// Tokens that are new on each turn.
    pub fresh: u64,
    /// Tokens that are answered on each turn.
    pub output: u64,
    /// How many turns, the next one included; at least one.
    pub count: u32,
    /// Whether the provider caches what it has seen.
    pub caches: bool,
}

/// A switch must save so many hundredths of what staying costs.
const GAIN_PERCENT: u64 = 10;

impl Turns {
    /// What these turns cost on a model whose cache holds the conversation.
    #[must_use]
    pub fn warm(&self, rates: &Apiece) -> Usd {
        (0..self.count.max(1)).map(|turn| self.turn(turn, self.cached, rates)).fold(Usd::ZERO, Usd::plus)
    }

    /// What they cost on a model that has not seen it: all of it once, and from then on out of its cache.
    #[must_use]
    pub fn cold(&self, rates: &Apiece) -> Usd {
        let first = self.prompt(0, self.cached.saturating_add(self.fresh), rates);
        let first = first.plus(rates.output.times(self.output));
        (1..self.count.max(1)).map(|turn| self.turn(turn, self.cached, rates)).fold(first, Usd::plus)
    }

    /// What the cold prefix costs more than the warm one would have, on the model that is switched to.
    #[must_use]
    pub fn cache_loss(&self, rates: &Apiece) -> Usd {
        self.prompt(0, self.cached, rates).less(self.prompt(self.cached, 0, rates))
    }

    /// One turn, after so many others.
    fn turn(&self, after: u32, cached: u64, rates: &Apiece) -> Usd {
        let grown = cached.saturating_add(u64::from(after).saturating_mul(self.fresh.saturating_add(self.output)));
        self.prompt(grown, self.fresh, rates).plus(rates.output.times(self.output))
    }

    fn prompt(&self, cached: u64, fresh: u64, rates: &Apiece) -> Usd {
        match self.caches {
            true => rates.times(cached, fresh, 0, 0),
            false => rates.times(0, 0, cached.saturating_add(fresh), 0),
        }
    }
}

/// Whether leaving a warm model for a cold one saves enough over the turns that are expected.
#[must_use]
pub fn pays(turns: &Turns, warm: &Apiece, cold: &Apiece) -> bool {
    let (stay, leave) = (turns.warm(warm), turns.cold(cold));
    leave.scaled_up(100, 100 - GAIN_PERCENT) <= stay && leave < stay
}
