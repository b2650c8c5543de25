//! [`Sums`]: what some entries and adjustments come to together. The one place that says how an entry counts.
//!
//! Invariant: sums are added in any order and in any parts, and come to the same.

use super::adjustment::{Adjustment, Direction};
use super::entry::{CacheUse, Entry, difference};
use super::fault::Fault;
use super::money::Usd;
use super::tokens::Usage;

/// What of an entry counts, borrowed from whoever has it.
#[derive(Clone, Copy, Debug)]
pub struct Figures<'a> {
    /// How many requests it stands for.
    pub requests: u32,
    /// Whether it ended in anything but a whole, good answer.
    pub is_error: bool,
    /// What was metered.
    pub usage: &'a Usage,
    /// What the provider bills, if it has a price.
    pub cost: Option<Usd>,
    /// Whether that rests on counted or assumed usage.
    pub is_estimated: bool,
    /// What the response cache saved.
    pub saved: Usd,
    /// What the response cache did.
    pub cache: CacheUse,
    /// Whether routing sent it to another model than it asked for.
    pub is_replaced: bool,
    /// What that model would have cost, where that is known.
    pub baseline: Option<Usd>,
}

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
    /// What the response cache saved, with what came from sharing an identical request's answer.
    pub saved: Usd,
    /// The same; kept apart in what was written before routing was told otherwise.
    pub saved_by_cache: Usd,
    /// Requests whose model routing changed, or whose conversation it had moved before.
    pub routed: u64,
    /// Of them: those of which it is known what the model asked for would have cost.
    pub compared: u64,
    /// What that would have cost.
    pub baseline: Usd,
    /// What those cost.
    pub compared_cost: Usd,
    /// Of `spend`: what rests on counted or assumed usage.
    pub estimated: Usd,
    /// Requests without a price: while there are any, `spend` is incomplete.
    pub unpriced: u64,
    /// What adjustments added to the spend.
    pub charged: Usd,
    /// What adjustments took off it.
    pub credited: Usd,
}

impl<'a> Figures<'a> {
    /// What of `entry` counts.
    #[must_use]
    pub fn of(entry: &'a Entry) -> Self {
        Self {
            requests: entry.requests,
            is_error: Fault::of(entry).is_some(),
            usage: &entry.usage,
            cost: entry.cost,
            is_estimated: entry.usage_source.is_estimated(),
            saved: entry.saved,
            cache: entry.cache,
            is_replaced: entry.tier.is_some() && entry.model != entry.requested_model && !entry.attempts.is_empty(),
            baseline: entry.baseline,
        }
    }
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
        self.count(&Figures::of(entry));
    }

    /// Counts what is known of one entry.
    pub fn count(&mut self, figures: &Figures<'_>) {
        let usage = figures.usage;
        let requests = u64::from(figures.requests);
        let cost = figures.cost.unwrap_or_default();
        let written = usage.input_total().saturating_sub(usage.input).saturating_sub(usage.cache_read);
        count(&mut self.requests, requests);
        count(&mut self.errors, if figures.is_error { requests } else { 0 });
        count(&mut self.unpriced, if figures.cost.is_none() { requests } else { 0 });
        count(&mut self.input, usage.input);
        count(&mut self.output, usage.output);
        count(&mut self.reasoning, usage.reasoning);
        count(&mut self.cache_read, usage.cache_read);
        count(&mut self.cache_write, written);
        self.spend = self.spend.plus(cost);
        self.saved = self.saved.plus(figures.saved);
        match figures.cache {
            CacheUse::Hit | CacheUse::Near | CacheUse::Stale | CacheUse::Joined => {
                self.saved_by_cache = self.saved_by_cache.plus(figures.saved);
            }
            CacheUse::Bypass | CacheUse::Miss | CacheUse::Confirmed | CacheUse::FalseHit => {}
        }
        count(&mut self.routed, if figures.is_replaced || figures.baseline.is_some() { requests } else { 0 });
        if let (Some(baseline), Some(cost)) = (figures.baseline, figures.cost) {
            count(&mut self.compared, requests);
            (self.baseline, self.compared_cost) = (self.baseline.plus(baseline), self.compared_cost.plus(cost));
        }
        if figures.is_estimated {
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
            routed,
            compared,
            baseline,
            compared_cost,
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
            (&mut self.routed, routed),
            (&mut self.compared, compared),
        ] {
            count(sum, *more);
        }
        for (sum, more) in [
            (&mut self.spend, spend),
            (&mut self.saved, saved),
            (&mut self.saved_by_cache, saved_by_cache),
            (&mut self.baseline, baseline),
            (&mut self.compared_cost, compared_cost),
            (&mut self.estimated, estimated),
            (&mut self.charged, charged),
            (&mut self.credited, credited),
        ] {
            *sum = sum.plus(*more);
        }
    }

    /// What routing saved against the models asked for, as far as that is known: an amount, and whether it is below zero.
    #[must_use]
    pub const fn saved_by_routing(&self) -> (Usd, bool) {
        difference(self.baseline, self.compared_cost)
    }

    /// What routing and the response cache saved together.
    #[must_use]
    pub const fn saved_in_all(&self) -> (Usd, bool) {
        difference(self.saved.plus(self.baseline), self.compared_cost)
    }

    /// The part of the routed requests that could be compared, in hundredths of a percent.
    #[must_use]
    pub fn compared_share(&self) -> u128 {
        share(self.compared.into(), self.routed.into())
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
