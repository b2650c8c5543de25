//! [`Entries`]: the numbers that are taken from the ledger's entries.
//!
//! Invariant: money is summed in pico-dollars and printed as a decimal, never as a rounded float.

use super::family::{Family, Histogram, Label, Title, write_sample};
use super::labels::{error_reason, saved_by, status_class};
use super::places::{Known, Places};
use super::routed::Routed;
use crate::domain::entry::{CacheUse, Entry, Outcome, difference};
use crate::domain::fault::Fault;
use crate::domain::money::Usd;
use crate::domain::tokens::Usage;

/// What is known from entries.
#[derive(Debug)]
pub(super) struct Entries {
    requests: Family<u64>,
    errors: Family<u64>,
    durations: Family<Durations>,
    spends: Family<Spend>,
    cache: Family<u64>,
    cache_checks: Family<u64>,
    /// By the place of the word in [`CacheUse::ALL`].
    pub cache_counts: [u64; CacheUse::ALL.len()],
    saved: Family<Usd>,
    lost: Family<Usd>,
    routed: Routed,
    known: Known,
    unpriced: u64,
    estimated: Usd,
}

#[derive(Debug, Default)]
struct Durations {
    whole: Histogram,
    first_byte: Histogram,
}

#[derive(Debug, Default)]
struct Spend {
    tokens: [u64; BUCKETS.len()],
    cost: Usd,
}

/// A bucket of tokens: its label and its number. Only buckets that exclude each other, so that they can be summed.
type Bucket = (&'static str, fn(&Usage) -> u64);

const BUCKETS: [Bucket; 7] = [
    ("input", |usage| usage.input),
    ("cache_read", |usage| usage.cache_read),
    ("cache_write", |usage| usage.cache_write),
    ("cache_write_5m", |usage| usage.cache_write_5m),
    ("cache_write_1h", |usage| usage.cache_write_1h),
    ("cache_write_12h", |usage| usage.cache_write_12h),
    ("output", |usage| usage.output),
];

impl Entries {
    pub(super) fn new() -> Self {
        Self {
            requests: Family::new(&["dialect", "operation", "upstream", "model", "team", "status_class", "outcome"]),
            errors: Family::new(&["fault", "reason"]),
            durations: Family::new(&["dialect", "operation"]),
            spends: Family::new(&["model", "team"]),
            cache: Family::new(&["result", "model", "team"]),
            cache_counts: [0; CacheUse::ALL.len()],
            cache_checks: Family::new(&["result", "operation", "upstream", "model"]),
            saved: Family::new(&["by", "model", "team"]),
            lost: Family::new(&["by", "model", "team"]),
            routed: Routed::new(),
            known: Known::new(),
            unpriced: 0,
            estimated: Usd::ZERO,
        }
    }

    /// Counts a request that has ended.
    pub(super) fn record(&mut self, entry: &Entry) {
        let (model, team) = (Label::Open(&entry.model), Label::Open(entry.account.team.as_deref().unwrap_or("")));
        let times = u64::from(entry.requests);
        let places = self.places(entry);
        *self.requests.of(places.requests) += times;
        if let Some(fault) = Fault::of(entry) {
            *self.errors.at(&[Label::Known(fault.name()), error_reason(entry)]) += times;
        }
        let durations = self.durations.of(places.durations);
        durations.whole.observe(entry.latency_ms, times);
        if let Some(first_byte_ms) = entry.first_byte_ms {
            durations.first_byte.observe(first_byte_ms, times);
        }
        if let Some(place) = places.routed {
            *self.routed.decisions.of(place) += times;
        }
        let spend = self.spends.of(places.spends);
        for (sum, (_, tokens)) in spend.tokens.iter_mut().zip(BUCKETS) {
            *sum = sum.saturating_add(tokens(&entry.usage));
        }
        // Whoever waited in vain was served by nobody.
        let is_in_vain = entry.cache == CacheUse::Joined && entry.outcome != Outcome::Joined;
        let at = CacheUse::ALL.iter().position(|known| *known == entry.cache).filter(|_| !is_in_vain);
        at.into_iter().for_each(|at| self.cache_counts[at] += times);
        match entry.cache {
            CacheUse::Confirmed | CacheUse::FalseHit => *self.cache_checks.of(places.cache) += times,
            _ => *self.cache.of(places.cache) += times,
        }
        if entry.saved != Usd::ZERO {
            let saved = self.saved.at(&[Label::Known(saved_by(entry)), model, team]);
            *saved = saved.plus(entry.saved);
        }
        if let (Some(baseline), Some(cost)) = (entry.baseline, entry.cost) {
            let (amount, is_loss) = difference(baseline, cost);
            let by = Label::Known("routing");
            let sums = if is_loss { &mut self.lost } else { &mut self.saved };
            let sum = sums.at(&[by, model, team]);
            *sum = sum.plus(amount);
        }
        let cost = entry.cost.unwrap_or_default();
        spend.cost = spend.cost.plus(cost);
        self.unpriced += if entry.cost.is_none() { times } else { 0 };
        if entry.usage_source.is_estimated() {
            self.estimated = self.estimated.plus(cost);
        }
    }

    /// Where the request counts.
    fn places(&mut self, entry: &Entry) -> Places {
        if let Some(places) = self.known.find(entry) {
            return places;
        }
        let (model, team) = (Label::Open(&entry.model), Label::Open(entry.account.team.as_deref().unwrap_or("")));
        let (dialect, operation) = (Label::Known(entry.dialect.name()), Label::Known(entry.operation.name()));
        let (class, outcome) = (Label::Known(status_class(entry.status)), Label::Known(entry.outcome.name()));
        let (upstream, cache) = (Label::Known(&entry.upstream), Label::Known(entry.cache.name()));
        let places = Places {
            requests: self.requests.place(&[dialect, operation, upstream, model, team, class, outcome]),
            durations: self.durations.place(&[dialect, operation]),
            spends: self.spends.place(&[model, team]),
            cache: match entry.cache {
                CacheUse::Confirmed | CacheUse::FalseHit => {
                    self.cache_checks.place(&[cache, operation, upstream, model])
                }
                _ => self.cache.place(&[cache, model, team]),
            },
            routed: self.routed.place(entry),
        };
        self.known.remember(entry, places);
        places
    }

    /// Writes all of them.
    pub(super) fn write(&self, out: &mut String) {
        let requests = counter("tollgate_requests_total", "Requests that have ended");
        write_counts(requests, &self.requests, out);
        let errors =
            counter("tollgate_errors_total", "Requests without a whole, good answer, by the side that has to act");
        write_counts(errors, &self.errors, out);
        let histogram = |name, help, of: fn(&Durations) -> &Histogram, out: &mut String| {
            Title { name, kind: "histogram", help }.write(out);
            self.durations.sorted().iter().for_each(|(labels, value)| of(value).write(name, labels, out));
        };
        let help = "From the arrival of a request to the last byte of its answer";
        histogram("tollgate_request_duration_seconds", help, |durations| &durations.whole, out);
        let help = "From the arrival of a request to the first byte of the body of its answer";
        histogram("tollgate_first_byte_seconds", help, |durations| &durations.first_byte, out);
        self.write_spends(out);
        let cache = counter("tollgate_cache_requests_total", "Requests by what the cache did for them");
        write_counts(cache, &self.cache, out);
        let checks = "Near hits that were asked again, by whether the new answer says about the same";
        write_counts(counter("tollgate_cache_checks_total", checks), &self.cache_checks, out);
        let title =
            counter("tollgate_saved_usd_total", "What providers would have billed without the cache or the router");
        title.write(out);
        self.saved.sorted().iter().for_each(|(labels, saved)| write_sample(title.name, labels, saved, out));
        let title =
            counter("tollgate_lost_usd_total", "What routing cost more than the models asked for, their caches warm");
        title.write(out);
        self.lost.sorted().iter().for_each(|(labels, lost)| write_sample(title.name, labels, lost, out));
        let routed =
            counter("tollgate_routing_decisions_total", "Requests by what routing decided, or would have decided");
        write_counts(routed, &self.routed.decisions, out);
        let unpriced = "Requests without a price: they are missing from the cost";
        counter("tollgate_unpriced_requests_total", unpriced).write_alone(self.unpriced, out);
        let estimated = "Cost that rests on counted or assumed usage";
        counter("tollgate_estimated_cost_usd_total", estimated).write_alone(self.estimated, out);
    }

    fn write_spends(&self, out: &mut String) {
        let series = self.spends.sorted();
        let title = counter("tollgate_tokens_total", "Tokens in buckets that exclude each other");
        title.write(out);
        for (labels, spend) in &series {
            for ((bucket, _), tokens) in BUCKETS.iter().zip(spend.tokens).filter(|(_, tokens)| *tokens > 0) {
                write_sample(title.name, &format!("bucket=\"{bucket}\",{labels}"), tokens, out);
            }
        }
        let title = counter("tollgate_cost_usd_total", "What providers bill, as far as it has a price");
        title.write(out);
        series.iter().for_each(|(labels, spend)| write_sample(title.name, labels, spend.cost, out));
    }
}

/// Writes the series of a family of counts.
pub(super) fn write_counts(title: Title, family: &Family<u64>, out: &mut String) {
    title.write(out);
    family.sorted().iter().for_each(|(labels, count)| write_sample(title.name, labels, count, out));
}

/// The title of a counter.
pub(super) const fn counter(name: &'static str, help: &'static str) -> Title {
    Title { name, kind: "counter", help }
}
