//! Route: which upstream and which model.

use std::borrow::Cow;
use std::sync::{Arc, OnceLock};

use super::arrive::Arrival;
use super::identify::Caller;
use super::learn::{Memory, Trace};
use super::read::Call;
use super::{choose, equals};
use crate::app::App;
use crate::config::Permit;
use crate::domain::entry::{Entry, Tier};
use crate::domain::price::Cap;
use crate::domain::refusal::{Cause, Refusal};
use crate::domain::routing::{Rule, Verdict};
use crate::protocol::ask::reads_json;
use crate::upstream::credentials::Turn;
use crate::upstream::provider::Provider;

/// Where a request goes.
#[derive(Clone, Debug)]
pub struct Decision {
    /// The model that was asked for; empty where the operation has none.
    pub requested: Arc<str>,
    /// How hard the request is, where that was asked.
    pub tier: Option<Tier>,
    /// Whether a judge's word could still change where it goes.
    pub asks_judge: bool,
    /// Where it goes first.
    pub first: Candidate,
    /// Where it goes if that fails, in this order.
    pub others: Vec<Candidate>,
    /// Which of our credentials it prefers.
    pub turn: Turn,
    /// What its caller may ask for, where it goes elsewhere.
    pub whose: Whose,
    /// Where it goes if the first gives an answer that is none, and in which tier.
    pub above: Option<Box<(Candidate, Tier)>>,
    /// Where it goes since a cap has no room for its own model, and what is told if that does not help.
    pub lowered: OnceLock<Box<Lowered>>,
}

/// What a request's caller may ask for.
#[derive(Clone, Debug)]
pub struct Whose {
    /// Whether the caller may use upstreams' own credentials.
    pub is_trusted: bool,
    /// What its key may be used for.
    pub policy: Permit,
}

/// A cheaper candidate that was found for a request.
#[derive(Clone, Debug)]
pub struct Lowered {
    /// Who is asked.
    pub candidate: Candidate,
    /// The refusal that it is to prevent.
    pub refusal: Refusal,
}

/// One upstream and one model that may serve a request.
#[derive(Clone, Debug)]
pub struct Candidate {
    /// The upstream.
    pub provider: Arc<Provider>,
    /// The model that is sent.
    pub model: Arc<str>,
    /// The rule that chose it.
    pub reason: Cow<'static, str>,
    /// At most so many tokens in its answer, where config says so and the client did not say less.
    pub output_limit: Option<u64>,
    /// What will be learned of the request.
    pub trace: Option<Arc<Trace>>,
}

/// Chooses, with what a judge has said.
///
/// # Errors
/// No upstream serves the dialect, the caller has no credential for the one that does, or no model can be chosen.
pub fn route(
    app: &App,
    arrival: &Arrival,
    caller: &Caller,
    call: &Call,
    verdict: Verdict,
) -> Result<Decision, Refusal> {
    let mut decision = decide(Memory::of(app), arrival, caller, call, verdict)?;
    equals::share(app, arrival, caller, call, &mut decision);
    Ok(decision)
}

/// The same before work is shared among equals, which depends on how busy they are.
///
/// # Errors
/// As with [`route`].
pub fn decide(
    memory: Memory<'_>,
    arrival: &Arrival,
    caller: &Caller,
    call: &Call,
    verdict: Verdict,
) -> Result<Decision, Refusal> {
    let requested: Arc<str> = match (&call.ask.model, arrival.endpoint.model(&arrival.path)) {
        (Some(model), _) => (*model.text).into(),
        (None, Some(in_path)) => (*in_path).into(),
        (None, None) => Arc::default(),
    };
    let dialect = arrival.endpoint.dialect;
    let (provider, reason) = match &arrival.named {
        Some(named) => (named, "named upstream"),
        None => {
            let found = arrival.snapshot.provider_for(dialect, &requested).ok_or_else(|| {
                let message = format!("no upstream speaks {}", dialect.name());
                Refusal::new(Cause::NoUpstream, message)
            })?;
            (found, "requested model")
        }
    };
    if provider.has_credential() && !caller.is_trusted {
        let message = "this upstream uses Tollgate's own credential: a Tollgate key (tg_...) is needed";
        return Err(Refusal::new(Cause::Unauthorized, message));
    }
    let choice = choose::choose(memory, arrival, caller, call, provider, &requested, verdict)?;
    let asks_judge = choice.as_ref().is_some_and(|choice| choice.asks_judge);
    let above = choice.as_ref().and_then(|choice| choice.above.clone());
    let (model, tier, reason, mut trace) = match choice {
        Some(choice) if choice.reason == Rule::Requested.name() => {
            (choice.model, choice.tier, reason.into(), choice.trace)
        }
        Some(choice) => (choice.model, choice.tier, choice.reason, choice.trace),
        None => (requested.clone(), None, reason.into(), None),
    };
    let output_limit = choose::output_limit(arrival, caller, call, &requested, tier);
    if let (Some(limit), Some(trace)) = (output_limit, trace.as_mut().and_then(Arc::get_mut)) {
        // Where config cuts an answer off, no model has failed.
        trace.own_limit = Some(limit);
    }
    let first = Candidate { provider: provider.clone(), model, reason, trace, output_limit };
    let first = equals::allowed(arrival, caller, first);
    let above = above.map(|(model, tier)| {
        let output_limit = choose::output_limit(arrival, caller, call, &requested, Some(tier));
        let (provider, trace) = (first.provider.clone(), first.trace.clone());
        Box::new((Candidate { provider, model, reason: Rule::Escalated.name().into(), trace, output_limit }, tier))
    });
    let others = match &arrival.named {
        // Whoever names an upstream means that one.
        Some(_) => Vec::new(),
        None => others(arrival, caller, call, &first),
    };
    let whose = Whose { is_trusted: caller.is_trusted, policy: caller.policy.clone() };
    let turn = Turn::Any;
    let lowered = OnceLock::new();
    Ok(Decision { requested, tier, asks_judge, first, others, turn, whose, above, lowered })
}

/// Who is asked where the first has failed: those whom config names, as far as they can take the request.
fn others(arrival: &Arrival, caller: &Caller, call: &Call, first: &Candidate) -> Vec<Candidate> {
    let snapshot = &arrival.snapshot;
    let chain = snapshot.config.fallbacks_of(&first.model);
    // Most requests have none, and none of this is worked out for them.
    if chain.is_empty() {
        return Vec::new();
    }
    let dialect = arrival.endpoint.dialect;
    let mut others: Vec<Candidate> = Vec::with_capacity(chain.len());
    for fallback in chain {
        let model = fallback.model.as_ref().unwrap_or(&first.model);
        let provider = match &fallback.upstream {
            Some(name) => snapshot.provider(name),
            None => snapshot.provider_for(dialect, model),
        };
        let Some(provider) = provider.filter(|provider| provider.config.dialect == dialect) else { continue };
        let is_same = |other: &Candidate| Arc::ptr_eq(&other.provider, provider) && other.model == *model;
        if is_same(first) || others.iter().any(is_same) || !may_ask(caller.is_trusted, first, provider) {
            continue;
        }
        // What is stored is stored at one upstream, and signatures are those of one model.
        let features = &call.ask.features;
        let moves = !Arc::ptr_eq(provider, &first.provider);
        if (features.stored_context && moves) || (features.signed_reasoning && *model != first.model) {
            continue;
        }
        if *model == first.model || can_take(arrival, call, provider, model) {
            let (provider, model, trace) = (provider.clone(), model.clone(), first.trace.clone());
            let output_limit = first.output_limit;
            others.push(Candidate { provider, model, reason: "fallback".into(), trace, output_limit });
        }
    }
    others
}

/// A credential of the client goes to no upstream that it was not meant for, and ours serves none but our own callers.
pub fn may_ask(is_trusted: bool, first: &Candidate, provider: &Arc<Provider>) -> bool {
    Arc::ptr_eq(&first.provider, provider) || (is_trusted && provider.has_credential())
}

/// Whether another model can be named in the request, and can do what it asks for as far as the price book knows.
fn can_take(arrival: &Arrival, call: &Call, provider: &Provider, model: &str) -> bool {
    let operation = arrival.endpoint.operation;
    if !reads_json(operation) || (call.ask.model.is_none() && arrival.endpoint.model_in_path.is_none()) {
        return false;
    }
    let Some(known) = arrival.snapshot.book.find(&provider.config.provider, None, model) else { return true };
    let features = &call.ask.features;
    let lacks = |wanted: bool, cap: Cap| wanted && !known.can(cap);
    // Text has about four bytes a token, so that what is three times too long certainly does not fit.
    let text_tokens = u64::from(features.text_bytes) / 12;
    !lacks(features.tools > 0, Cap::Tools)
        && !lacks(features.images > 0, Cap::Vision)
        && !lacks(features.documents > 0, Cap::Pdf)
        && !lacks(features.audios > 0, Cap::AudioIn)
        && known.context_window().is_none_or(|window| text_tokens <= window)
}

impl Candidate {
    /// Notes in the ledger's entry that the request goes here.
    pub fn note(&self, entry: &mut Entry) {
        entry.upstream = self.provider.config.name.clone();
        entry.model = self.model.clone();
        if *entry.reason != *self.reason {
            entry.reason = (*self.reason).into();
        }
        if let Some(trace) = &self.trace {
            trace.note(entry);
        }
    }
}
