//! [`Pricing`]: what the price of an attempt depends on, kept from the request until its end, and [`Owed`]: what it comes to.
//!
//! Invariant: as soon as a part of the usage has no price, the whole has none.

use std::sync::Arc;

use super::learn::{Trace, tier_of};
use super::metered::Metered;
use super::settle::End;
use crate::app::Snapshot;
use crate::bank::booked::Claim;
use crate::domain::money::Usd;
use crate::domain::operation::Operation;
use crate::domain::price::{self, Context, Model};
use crate::domain::tokens::{Usage, UsageSource};
use crate::protocol::facts::Facts;
use crate::upstream::provider::Provider;

/// Providers whose own word on the cost is the bill (PROTOCOLS: "trust reported cost").
const REPORT_THEIR_COST: [&str; 3] = ["openrouter", "perplexity", "vercel"];

/// Bills at least so many seconds of audio (<https://console.groq.com/docs/speech-to-text>).
const GROQ_SECONDS_MIN: u64 = 10;
const GROQ: &str = "groq";

/// What a price depends on, kept from the request.
#[derive(Debug)]
pub struct Pricing {
    /// The config and the price book that the request arrived under.
    pub snapshot: Arc<Snapshot>,
    /// Where it went.
    pub provider: Arc<Provider>,
    /// What was asked for.
    pub operation: Operation,
    /// The model that was sent.
    pub model: Arc<str>,
    /// What the price book has of it.
    pub known: Option<Arc<Model>>,
    /// Prompt tokens at the most.
    pub input_bound: u64,
    /// Whether reasoning may be billed that is never shown.
    pub may_reason: bool,
    /// Whether the price book says that the model thinks.
    pub thinks: bool,
    /// Whether the answer is streamed, so that a provider can stop in the middle of it.
    pub is_stream: bool,
    /// Whether several answers are asked for at once.
    pub is_many: bool,
    /// The service tier that was asked for.
    pub service_tier: Option<Box<str>>,
    /// Whether a scope with a cap pays: what is not known exactly costs the hold.
    pub is_capped: bool,
    /// The output limit that a cap imposed, in tokens.
    pub output_limit: Option<u64>,
    /// Leave to bill the batch whose results are fetched.
    pub claim: Option<Claim>,
    /// How the hold grows, where a metered cap pays for a stream.
    pub metered: Option<Metered>,
    /// What will be learned of the request.
    pub trace: Option<Arc<Trace>>,
}

/// Usage and its price.
#[derive(Debug, Default)]
pub(super) struct Owed {
    /// What was used.
    pub(super) usage: Usage,
    /// How that is known.
    pub(super) source: UsageSource,
    /// Its price, if all of it has one.
    pub(super) cost: Option<Usd>,
    /// The model whose rates were taken.
    pub(super) model: Option<Arc<Model>>,
}

impl Pricing {
    /// Learns from an answer that has come to its end.
    pub(super) fn learn(&self, end: End, status: u16, facts: &Facts, now_ms: u64) {
        let Some(trace) = self.trace.as_ref().filter(|_| end == End::Complete && status == 200) else { return };
        trace.answered(tier_of(&self.snapshot, &self.provider.config.name, &self.model), self.operation, facts, now_ms);
    }

    /// What the model that was asked for would have cost, with its cache as warm as it would be; `None` where that is unknown.
    pub(super) fn baseline(&self, owed: &Owed, facts: &Facts, at_ms: u64) -> Option<Usd> {
        let compare = self.trace.as_ref()?.compare.as_ref()?;
        if owed.source != UsageSource::Reported || !facts.calls.is_empty() || self.reports_cost() {
            return None;
        }
        let usage = compare.usage(&owed.usage);
        let is_same = |model: &Arc<Model>| Arc::ptr_eq(model, &compare.model) && usage == owed.usage;
        match &owed.model {
            // Most often the model that was asked for has answered, with its cache as warm as it would be.
            Some(model) if is_same(model) => {
                debug_assert_eq!(owed.cost, self.charge(Some(model), &usage, facts, at_ms));
                owed.cost
            }
            Some(_) | None => self.charge(Some(&compare.model), &usage, facts, at_ms),
        }
    }

    /// What an answer would cost whose provider bills it at `at_ms`; `None` where a part of it has no price.
    #[must_use]
    pub fn worth(&self, facts: &Facts, at_ms: u64) -> Option<Usd> {
        if self.operation.is_free() { Some(Usd::ZERO) } else { self.reported(facts, at_ms).cost }
    }

    pub(super) fn reported(&self, facts: &Facts, at_ms: u64) -> Owed {
        let mut usage = facts.usage.clone().unwrap_or_default();
        // What only the total tells was generated, where anything is.
        let untold = if self.operation.generates() { &mut usage.output } else { &mut usage.input };
        *untold = untold.saturating_add(facts.untold_tokens);
        if facts.grounding_queries > 0 {
            usage.add_server_tool("web_search_queries", facts.grounding_queries);
        }
        if usage.seconds > 0 && &*self.provider.config.provider == GROQ {
            usage.seconds = usage.seconds.max(GROQ_SECONDS_MIN);
        }
        let source = UsageSource::Reported;
        let model = self.model(facts.served_model.as_deref());
        if let Some(cost) = facts.reported_cost.filter(|_| self.reports_cost()) {
            let cost = Some(cost.plus(facts.reported_cost_elsewhere.unwrap_or_default()));
            return Owed { usage, source, cost, model: None };
        }
        let cost = match facts.calls.is_empty() {
            true => self.charge(model.as_deref(), &usage, facts, at_ms),
            false => facts
                .calls
                .iter()
                .map(|call| match &call.model {
                    Some(name) => self.charge(self.model(Some(name)).as_deref(), &call.usage, facts, at_ms),
                    None => self.charge(model.as_deref(), &call.usage, facts, at_ms),
                })
                .sum(),
        };
        Owed { usage, source, cost, model }
    }

    pub(super) fn model(&self, served: Option<&str>) -> Option<Arc<Model>> {
        match served.filter(|served| **served != *self.model) {
            Some(served) => self.snapshot.book.find(&self.provider.config.provider, Some(served), &self.model),
            None => self.known.clone(),
        }
    }

    /// What `usage` costs; `None` as soon as a part of it has no price.
    pub(super) fn charge(&self, model: Option<&Model>, usage: &Usage, facts: &Facts, at_ms: u64) -> Option<Usd> {
        if self.provider.config.free {
            return Some(Usd::ZERO);
        }
        let context = Context {
            at_ms,
            service_tier: if facts.batch { Some("batch") } else { facts.service_tier.as_deref() },
            requested_service_tier: self.service_tier.as_deref(),
            geo: facts.geo.as_deref(),
            speed: facts.speed.as_deref(),
            residency: self.provider.residency(),
        };
        let charge = price::charge(model?.row(), usage, &context).ok()?;
        charge.unpriced.is_empty().then_some(charge.cost)
    }

    fn reports_cost(&self) -> bool {
        REPORT_THEIR_COST.contains(&&*self.provider.config.provider)
    }
}
