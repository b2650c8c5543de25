//! Replay: an answer that is kept, given again: byte for byte, at no cost, with an entry of its own.
//!
//! It judges nothing: whether the answer may be given, and as what, is decided before.

use std::collections::VecDeque;
use std::sync::Arc;

use bytes::Bytes;
use http::Response;
use http::header::{CONTENT_TYPE, HeaderValue};

use super::arrive::Arrival;
use super::body::Body;
use super::pricing::Pricing;
use super::read::Call;
use super::respond::{HEADERS_USUAL, Told, write_cost};
use super::route::Candidate;
use crate::bank::tab::Tab;
use crate::cache::Kept;
use crate::domain::entry::{CacheUse, Outcome};
use crate::domain::money::Usd;
use crate::domain::refusal::Refusal;
use crate::protocol::meter::{Head, Meter};
use crate::protocol::strip::{UsageEvents, Watch};

/// An answer that may be given again.
#[derive(Debug)]
pub struct Replay {
    kept: Arc<Kept>,
    /// Whether its stream tells usage that the client does not want to see.
    usage_events: UsageEvents,
    /// What it would have cost now.
    saved: Usd,
}

impl Replay {
    /// `kept` for this request.
    #[must_use]
    pub fn new(
        kept: Arc<Kept>,
        usage_events: UsageEvents,
        arrival: &Arrival,
        call: &Call,
        candidate: &Candidate,
    ) -> Self {
        let saved = worth(arrival, call, candidate, &kept);
        Self { kept, usage_events, saved }
    }

    /// What is saved by it.
    #[must_use]
    pub const fn saved(&self) -> Usd {
        self.saved
    }

    /// Answers with it, as a `cache` of the ledger's words.
    ///
    /// # Errors
    /// The ledger cannot take the entry. The request has its entry.
    pub fn give(self, cache: CacheUse, told: &mut Told, mut tab: Tab) -> Result<Response<Body>, Refusal> {
        let Self { kept, usage_events, saved } = self;
        told.cache = Some(cache);
        let elapsed_ms = tab.elapsed_ms();
        let entry = tab.entry();
        (entry.cache, entry.status, entry.saved) = (cache, 200, saved);
        (entry.upstream, entry.model) = (kept.about.upstream.clone(), kept.about.model.clone());
        entry.first_byte_ms = Some(elapsed_ms);
        entry.served_model.clone_from(&kept.facts.served_model);
        // Attempts that failed before have a cost, and it stays.
        let cost: Option<Usd> = entry.attempts.iter().map(|attempt| attempt.cost).sum();
        tab.answer(Outcome::CacheHit)?;
        let mut response = Response::new(Body::whole(replayed(&kept, usage_events)));
        let headers = response.headers_mut();
        // Room for all of them at once, since a map that grows moves what it has.
        headers.reserve(kept.headers.len() + HEADERS_USUAL);
        headers.extend(kept.headers.iter().cloned());
        told.write(headers);
        if let Some(cost) = cost {
            write_cost(cost, headers);
        }
        Ok(response)
    }
}

/// What the answer would have cost now, or where nothing was reported what it was charged.
fn worth(arrival: &Arrival, call: &Call, candidate: &Candidate, kept: &Kept) -> Usd {
    if !kept.facts.usage_final {
        return kept.cost.unwrap_or_default();
    }
    let pricing = Pricing {
        snapshot: arrival.snapshot.clone(),
        provider: candidate.provider.clone(),
        operation: arrival.endpoint.operation,
        model: candidate.model.clone(),
        known: arrival.snapshot.book.find(&candidate.provider.config.provider, None, &candidate.model),
        input_bound: 0,
        may_reason: false,
        thinks: false,
        is_stream: call.ask.stream,
        is_many: call.ask.choices > 1,
        service_tier: call.ask.service_tier.clone(),
        is_capped: false,
        output_limit: None,
        claim: None,
        metered: None,
        trace: None,
    };
    pricing.worth(&kept.facts, arrival.at_ms).unwrap_or_default()
}

/// The bytes for this client: without the usage event if it did not ask for that.
fn replayed(kept: &Kept, usage_events: UsageEvents) -> Bytes {
    let content_type = kept.headers.iter().find(|(name, _)| *name == CONTENT_TYPE).map(|(_, value)| value);
    let content_type = content_type.and_then(|value: &HeaderValue| value.to_str().ok()).unwrap_or_default();
    if usage_events == UsageEvents::Pass || content_type.starts_with("application/json") {
        return kept.bytes.clone();
    }
    let meter = Meter::new(kept.about.operation, Head { status: 200, content_type, content_encoding: "" });
    let (mut watch, mut out) = (Watch::new(meter, usage_events), VecDeque::new());
    watch.feed(kept.bytes.clone(), &mut out);
    watch.release(&mut out);
    if out.len() == 1 { out.pop_front().unwrap_or_default() } else { out.make_contiguous().concat().into() }
}
