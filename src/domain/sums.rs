//! [`Sums`]: what some entries and adjustments come to together. The one place that says how an entry counts.
//!
//! Invariant: sums are added in any order and in any parts, and come to the same.

use super::adjustment::{Adjustment, Direction};
use super::entry::{CacheUse, Entry};
use super::fault::Fault;
use super::money::Usd;

/// What the entries of a row come to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Sums {
    /// Requests of clients.
    pub requests: u64,
    /// Of them: those that did not end in a whole, good answer.
    pub errors: u64,
    /// What providers bill for those that have a price, as it was metered.
    pub spend: Usd,
    /// Fresh prompt tokens.
    pub input: u64,
    /// Generated tokens.
    pub output: u64,
    /// Of `output`: tokens of reasoning.
    pub reasoning: u64,
    /// Prompt tokens read from a provider's cache.
    pub cache_read: u64,
    /// Prompt tokens written to a provider's cache, for whatever time.
    pub cache_write: u64,
    /// What cache and router saved.
    pub saved: Usd,
    /// Of `saved`: what came from the cache, or from sharing an identical request's answer.
    pub saved_by_cache: Usd,
    /// Of `spend`: what rests on counted or assumed usage.
    pub estimated: Usd,
    /// Requests without a price: while there are any, `spend` is incomplete.
    pub unpriced: u64,
    /// What adjustments added to the spend.
    pub charged: Usd,
    /// What adjustments took off it.
    pub credited: Usd,
}

impl Sums {
    /// What one entry comes to.
    #[must_use]
    pub fn of(entry: &Entry) -> Self {
        let mut sums = Self::default();
        sums.add(entry);
        sums
    }

    /// What one adjustment comes to.
    #[must_use]
    pub fn of_adjustment(adjustment: &Adjustment) -> Self {
        match adjustment.direction {
            Direction::Charge => Self { charged: adjustment.amount, ..Self::default() },
            Direction::Credit => Self { credited: adjustment.amount, ..Self::default() },
        }
    }

    /// Counts one entry.
    pub fn add(&mut self, entry: &Entry) {
        let usage = &entry.usage;
        let requests = u64::from(entry.requests);
        let cost = entry.cost.unwrap_or_default();
        let written = usage.input_total().saturating_sub(usage.input).saturating_sub(usage.cache_read);
        count(&mut self.requests, requests);
        count(&mut self.errors, if Fault::of(entry).is_some() { requests } else { 0 });
        count(&mut self.unpriced, if entry.cost.is_none() { requests } else { 0 });
        count(&mut self.input, usage.input);
        count(&mut self.output, usage.output);
        count(&mut self.reasoning, usage.reasoning);
        count(&mut self.cache_read, usage.cache_read);
        count(&mut self.cache_write, written);
        self.spend = self.spend.plus(cost);
        self.saved = self.saved.plus(entry.saved);
        match entry.cache {
            CacheUse::Hit | CacheUse::Near | CacheUse::Stale | CacheUse::Joined => {
                self.saved_by_cache = self.saved_by_cache.plus(entry.saved);
            }
            CacheUse::Bypass | CacheUse::Miss | CacheUse::Confirmed | CacheUse::FalseHit => {}
        }
        if entry.usage_source.is_estimated() {
            self.estimated = self.estimated.plus(cost);
        }
    }

    /// Counts what `more` comes to.
    pub fn join(&mut self, more: &Self) {
        let Self {
            requests,
            errors,
            spend,
            input,
            output,
            reasoning,
            cache_read,
            cache_write,
            saved,
            saved_by_cache,
            estimated,
            unpriced,
            charged,
            credited,
        } = more;
        for (sum, more) in [
            (&mut self.requests, requests),
            (&mut self.errors, errors),
            (&mut self.input, input),
            (&mut self.output, output),
            (&mut self.reasoning, reasoning),
            (&mut self.cache_read, cache_read),
            (&mut self.cache_write, cache_write),
            (&mut self.unpriced, unpriced),
        ] {
            count(sum, *more);
        }
        for (sum, more) in [
            (&mut self.spend, spend),
            (&mut self.saved, saved),
            (&mut self.saved_by_cache, saved_by_cache),
            (&mut self.estimated, estimated),
            (&mut self.charged, charged),
            (&mut self.credited, credited),
        ] {
            *sum = sum.plus(*more);
        }
    }

    /// What the router saved.
    #[must_use]
    pub const fn saved_by_routing(&self) -> Usd {
        self.saved.less(self.saved_by_cache)
    }

    /// The spend with all adjustments: an amount, and whether it is below zero.
    #[must_use]
    pub fn net(&self) -> (Usd, bool) {
        let owed = self.spend.plus(self.charged);
        if owed < self.credited { (self.credited.less(owed), true) } else { (owed.less(self.credited), false) }
    }

    /// The estimated part of the spend in hundredths of a percent, rounded to the nearest; 0 where nothing was spent.
    #[must_use]
    pub fn estimated_share(&self) -> u128 {
        share(self.estimated.pico(), self.spend.pico())
    }

    /// The part of the requests that has no price, in the same unit.
    #[must_use]
    pub fn unpriced_share(&self) -> u128 {
        share(self.unpriced.into(), self.requests.into())
    }
}

fn share(part: u128, whole: u128) -> u128 {
    part.saturating_mul(10_000).saturating_add(whole / 2).checked_div(whole).unwrap_or(0)
}

fn count(sum: &mut u64, more: u64) {
    *sum = sum.saturating_add(more);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_share_is_rounded_to_a_hundredth_of_a_percent() {
        let share = |estimated, spend| {
            let (spend, estimated) = (Usd::from_pico(spend), Usd::from_pico(estimated));
            Sums { spend, estimated, ..Sums::default() }.estimated_share()
        };
        assert_eq!([share(0, 0), share(1, 3), share(2, 3), share(5, 5)], [0, 3_333, 6_667, 10_000]);
    }

    #[test]
    fn credits_may_be_more_than_what_was_spent() {
        let sums = |spend, charged, credited| Sums {
            spend: Usd::from_pico(spend),
            charged: Usd::from_pico(charged),
            credited: Usd::from_pico(credited),
            ..Sums::default()
        };
        assert_eq!(sums(5, 2, 3).net(), (Usd::from_pico(4), false));
        assert_eq!(sums(1, 0, 3).net(), (Usd::from_pico(2), true));
    }
}
