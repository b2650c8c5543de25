//! Choose: what routing sees of a request, and what it makes of it. The rules themselves are in `domain::routing`.
//!
//! Invariant: it changes nothing; the model is put into body or path when the request is sent.

use std::borrow::Cow;
use std::sync::Arc;

use http::header::USER_AGENT;
use http::{HeaderMap, HeaderName};

use super::arrive::Arrival;
use super::compare::{Beginning, Compare};
use super::conversation::{asked, conversation_and_beginning, worded};
use super::course::is_repeated;
use super::housekeeping;
use super::identify::Caller;
use super::learn::{Memory, Trace, route_of};
use super::read::Call;
use super::reserve::MAX_COST;
use crate::app::pins::Place;
use crate::domain::entry::Tier;
use crate::domain::evidence::{Sign, drawn};
use crate::domain::features::Features;
use crate::domain::operation::{Dialect, Operation};
use crate::domain::price::{Cap, Caps, Context, Model};
use crate::domain::refusal::{Cause, Refusal};
use crate::domain::routing::{
    self, AUTO, Case, Classifier, Considered, Decision, Evidence, Extras, Judged, Kit, Lack, Lineup, Mode, Needs,
    NoCandidate, Rule, Verdict,
};
use crate::domain::stamp::{Stamp, TALK_BITS};
use crate::protocol::excerpt::traits_of;
use crate::upstream::provider::Provider;

const ROUTE: HeaderName = HeaderName::from_static("x-tollgate-route");
const TIER: HeaderName = HeaderName::from_static("x-tollgate-tier");
const BETA: HeaderName = HeaderName::from_static("anthropic-beta");

/// Betas that change nothing about which model can answer, as Claude Code sends them: who it is, how it signs in, and how
/// caching, tool streaming and context are handled for every model
/// (<https://platform.claude.com/docs/en/api/beta-headers>). `interleaved-thinking` is ignored by models without it
/// (<https://platform.claude.com/docs/en/build-with-claude/extended-thinking>).
const HARMLESS_BETAS: [&str; 7] = [
    "claude-code-",
    "oauth-",
    "prompt-caching-",
    "extended-cache-ttl-",
    "fine-grained-tool-streaming-",
    "interleaved-thinking-",
    "context-management-",
];

/// How coding agents name themselves (PROTOCOLS, "Clients").
const AGENTS: [&str; 6] = ["claude-cli", "claude-code", "codex", "geminicli", "opencode", "cursor"];

/// Whoever asks the same within this time, in milliseconds, was not content with the answer.
const AT_ONCE_MS: u64 = 60_000;

/// An OpenAI model of one's own.
const FINE_TUNED: &str = "ft:";

/// The models of an upstream that has none.
static NOBODY: Lineup = Lineup { tiers: [const { None }; 3], is_free: false };

/// The model that answers, and why.
#[derive(Clone, Debug)]
pub struct Choice {
    /// The model that is sent.
    pub model: Arc<str>,
    /// How hard the request is, where that was asked.
    pub tier: Option<Tier>,
    /// The rule that chose, for header, ledger and log.
    pub reason: Cow<'static, str>,
    /// What will be learned of it.
    pub trace: Option<Arc<Trace>>,
    /// Whether a judge's word could still change it.
    pub asks_judge: bool,
    /// Who is asked where that model fails at it, and in which tier.
    pub above: Option<(Arc<str>, Tier)>,
}

/// Whether requests of this kind can be answered by another model than the one they name.
pub const fn is_routed(operation: Operation) -> bool {
    matches!(
        operation,
        Operation::ChatCompletions | Operation::Responses | Operation::Messages | Operation::GenerateContent
    )
}

/// The operation whose model a count of tokens is about.
const fn counted(operation: Operation) -> Option<Operation> {
    match operation {
        Operation::CountTokens => Some(Operation::Messages),
        Operation::GeminiCountTokens => Some(Operation::GenerateContent),
        Operation::ResponsesInputTokens => Some(Operation::Responses),
        other if is_routed(other) => Some(other),
        _ => None,
    }
}

/// Chooses the model; `None` where nothing is to be chosen.
///
/// # Errors
/// A header that cannot be read, or an open choice that no model is known to be able to take.
pub fn choose(
    memory: Memory<'_>,
    arrival: &Arrival,
    caller: &Caller,
    call: &Call,
    provider: &Provider,
    requested: &Arc<str>,
    verdict: Verdict,
) -> Result<Option<Choice>, Refusal> {
    let is_auto = **requested == *AUTO;
    let operation = arrival.endpoint.operation;
    let Some(of) = counted(operation).filter(|_| is_auto || is_routed(operation)) else { return Ok(None) };
    let (snapshot, headers) = (&arrival.snapshot, &arrival.head.headers);
    let policy = snapshot.config.routing_policy(&caller.account, requested);
    let lineup = snapshot.lineups.get(&provider.config.name).unwrap_or(&NOBODY);
    let model = snapshot.book.find(&provider.config.provider, None, requested).filter(|_| !is_auto);
    let asked_for = (&**requested, model.as_deref());
    let mut case = case(arrival, caller, call, provider, of, asked_for)?;
    if !is_auto && lineup.is_empty() {
        return Ok(None);
    }
    // What costs time is asked only where it can matter.
    let is_followed = is_auto || policy.mode == Mode::Enforce;
    let is_open = routing::explicit(&case, &policy).is_none();
    // Also whoever names a model teaches how well it does.
    let is_watched = is_auto || policy.mode != Mode::Off;
    let where_to = (&*provider.config.name, &**requested);
    let named = is_open.then(|| conversation_and_beginning(memory.pins, headers, caller, call, where_to));
    let talk = named.filter(|_| is_followed).map(|(talk, _)| talk);
    case.is_housekeeping |= is_open && housekeeping::is_housekeeping(headers, call);
    let before = talk.and_then(|talk| place(memory, talk, call, arrival.at_ms));
    let route = if is_watched { route_of(memory.routes, caller, call) } else { 0 };
    let evidence = match is_open {
        true => Evidence {
            judged: (policy.classifier != Classifier::Llm || !is_followed)
                .then(|| judged(memory, caller, call, route, arrival.at_ms)),
            judge: verdict.tier(),
            pin: before.as_ref().map(|place| place.pin(arrival.at_ms)),
            failed: before.as_ref().and_then(|place| place.failed),
        },
        false => Evidence::default(),
    };
    let mut trace = is_watched.then(|| {
        let stamp = stamp(&case, &evidence, route, named.map(|(talk, _)| talk));
        let compared = model.clone().zip(named.filter(|_| is_followed)).map(|(model, (_, name))| {
            let warm = before.as_ref().filter(|_| !case.is_housekeeping).map_or(0, |place| place.warm(arrival.at_ms));
            let is_first = before.is_none() && !case.has_history();
            let beginning = Beginning::of(name, &call.ask, is_first, case.cache_ttl_s);
            Compare { model, warm: warm.max(memory.pins.shared(name, arrival.at_ms)), beginning }
        });
        Trace::new(memory, stamp, talk, call, compared)
    });
    let may_ask = policy.classifier != Classifier::Local && is_followed && verdict == Verdict::NotAsked;
    let asks_judge = may_ask && routing::hangs_on_judge(&case, &evidence, &policy, lineup);
    let decision = routing::decide(&case, &evidence, &policy, lineup).map_err(refused)?;
    let mut choice = told(decision, is_watched, is_followed, requested);
    let is_last = !case.is_housekeeping && !asks_judge;
    if let (Some(talk), Some(choice)) = (talk.filter(|_| is_last), &choice) {
        let tier = lineup.tier_of(&choice.model).unwrap_or(Tier::Complex);
        let (prompt_tokens, ttl_s) = (case.needs.prompt_tokens, case.cache_ttl_s);
        let (model, at_ms, asked) = (choice.model.clone(), arrival.at_ms, asked(memory.pins, call));
        if let Some(trace) = trace.as_mut().filter(|_| case.has_history()) {
            trace.signs.extend(asked_again(before.as_ref(), asked, arrival));
        }
        memory.pins.set(talk, Place { model, tier, prompt_tokens, at_ms, ttl_s, failed: None, asked, held: 0 });
    }
    if let Some(choice) = choice.as_mut().filter(|_| is_followed && snapshot.config.routing.escalate) {
        // Of a stream the client has seen the beginning by then; whoever limits the cost pays for no second one.
        let may_follow = !call.ask.stream && !headers.contains_key(MAX_COST);
        choice.above = may_follow.then(|| routing::above(&case, &policy, lineup, &choice.model)).flatten();
    }
    if let Some(choice) = &mut choice {
        (choice.trace, choice.asks_judge) = (trace.map(Arc::new), asks_judge);
    }
    Ok(choice)
}

/// The request as the rules see it, before anything about it is looked up that costs time.
fn case<'a>(
    arrival: &Arrival,
    caller: &Caller,
    call: &'a Call,
    provider: &'a Provider,
    of: Operation,
    (requested, model): (&'a str, Option<&'a Model>),
) -> Result<Case<'a>, Refusal> {
    let (headers, features) = (&arrival.head.headers, &call.ask.features);
    let lineup = arrival.snapshot.lineups.get(&provider.config.name).unwrap_or(&NOBODY);
    let is_auto = *requested == *AUTO;
    Ok(Case {
        features,
        needs: needs(of, is_auto, call, headers),
        requested,
        requested_model: model,
        is_auto,
        opted_out: is_opted_out(headers)?,
        floor: wanted_tier(headers)?,
        is_agent: is_agent(headers) || features.tools >= 8,
        is_housekeeping: is_probe(call) || arrival.endpoint.operation != of,
        is_bulk: requested.starts_with(FINE_TUNED) || call.ask.service_tier.as_deref() == Some("batch"),
        allowed: allowed(caller, lineup),
        cache_ttl_s: call.ask.cache_ttl_s,
        caches: features.caches || arrival.endpoint.dialect != Dialect::Anthropic,
        context: context(arrival, call, provider),
    })
}

/// The models that could answer, what each likely costs, and why one cannot; for whoever wants to know.
///
/// # Errors
/// A header that cannot be read.
pub fn considered(
    arrival: &Arrival,
    caller: &Caller,
    call: &Call,
    provider: &Provider,
    requested: &str,
) -> Result<Vec<Considered>, Refusal> {
    let snapshot = &arrival.snapshot;
    let (of, lineup) = (counted(arrival.endpoint.operation), snapshot.lineups.get(&provider.config.name));
    let Some((of, lineup)) = of.zip(lineup) else { return Ok(Vec::new()) };
    let model = snapshot.book.find(&provider.config.provider, None, requested).filter(|_| *requested != *AUTO);
    let case = case(arrival, caller, call, provider, of, (requested, model.as_deref()))?;
    let policy = snapshot.config.routing_policy(&caller.account, requested);
    Ok(routing::considered(&case, &policy, lineup))
}

fn refused(none: NoCandidate) -> Refusal {
    let cause = match none.0 {
        Lack::Absent => Cause::NoUpstream,
        Lack::Forbidden => Cause::Forbidden,
        Lack::Cap(_) | Lack::Context | Lack::Output | Lack::Endpoint | Lack::Special(_) => Cause::Malformed,
    };
    Refusal::new(cause, none.to_string()).about("model")
}

/// The most tokens that config lets an answer have, where the client asks for more or says nothing. Tokens that may be
/// thought come on top, since providers refuse a limit that is not above them
/// (<https://platform.claude.com/docs/en/build-with-claude/extended-thinking>).
pub fn output_limit(
    arrival: &Arrival,
    caller: &Caller,
    call: &Call,
    requested: &str,
    tier: Option<Tier>,
) -> Option<u64> {
    let config = &arrival.snapshot.config;
    if !config.routing.limits_output() || !is_routed(arrival.endpoint.operation) {
        return None;
    }
    let policy = config.routing_policy(&caller.account, requested);
    if *requested != *AUTO && policy.mode != Mode::Enforce {
        return None;
    }
    let limit = policy.output_limit(tier)?.saturating_add(call.ask.thinking_budget);
    call.ask.output_limit.is_none_or(|asked| asked > limit).then_some(limit)
}

/// What the request takes of a model. Where the choice is open, what it goes on from is no obstacle: whichever model answered
/// before, the API takes another behind it (<https://platform.openai.com/docs/guides/conversation-state>).
fn needs(of: Operation, is_auto: bool, call: &Call, headers: &HeaderMap) -> Needs {
    let goes_on = is_auto && call.ask.previous_response.is_some();
    let features = Features { stored_context: call.ask.features.stored_context && !goes_on, ..call.ask.features };
    Needs::of(of, &features, &extras(call, headers))
}

/// Where the conversation is: by the response that it goes on from, else by its name or its first words.
fn place(memory: Memory<'_>, talk: u64, call: &Call, at_ms: u64) -> Option<Place> {
    let answered = call.ask.previous_response.as_ref().map(|id| memory.pins.of_response(id));
    answered.and_then(|answered| memory.pins.get(answered, at_ms)).or_else(|| memory.pins.get(talk, at_ms))
}

/// Why `model` of `provider` is not known to be able to take the place of the model that a request names; none if it is.
pub fn lack(arrival: &Arrival, call: &Call, provider: &Provider, model: &str) -> Option<Lack> {
    let Some(known) = arrival.snapshot.book.find(&provider.config.provider, None, model) else {
        return Some(Lack::Absent);
    };
    let (features, operation) = (&call.ask.features, arrival.endpoint.operation);
    if features.signed_reasoning {
        return Some(Lack::Special("the thinking of another model"));
    }
    let needs = Needs::of(operation, features, &extras(call, &arrival.head.headers));
    let lack = Kit::of(&known).lacks(&needs);
    // Of older models the catalogues say no paths at all; whoever names one in a policy vouches for it.
    let is_vouched = lack == Some(Lack::Endpoint) && is_routed(operation) && known.endpoints().next().is_none();
    lack.filter(|_| !is_vouched)
}

/// What a decision means for the request: where it is only observed, the model stays and the ledger says what it would be.
fn told(decision: Decision, is_watched: bool, is_followed: bool, requested: &Arc<str>) -> Option<Choice> {
    let rule = decision.rule.name();
    if decision.rule == Rule::Requested && !is_watched {
        return None;
    }
    let (model, reason) = match decision.model {
        Some(model) if is_followed => (model, rule.into()),
        Some(model) => (requested.clone(), format!("observed: {model}, {rule}").into()),
        None if is_followed || decision.tier.is_none() => (requested.clone(), rule.into()),
        None => (requested.clone(), Rule::Requested.name().into()),
    };
    Some(Choice { model, tier: decision.tier, reason, trace: None, asks_judge: false, above: None })
}

/// What routing saw, for the ledger.
fn stamp(case: &Case<'_>, evidence: &Evidence, route: u64, talk: Option<u64>) -> Stamp {
    Stamp {
        route,
        talk: talk.map_or(0, |talk| (talk >> (64 - TALK_BITS)).max(1)),
        score: evidence.judged.map_or(0, |judged| judged.score),
        judged: evidence.judged.map(|judged| (judged.tier, judged.is_sure)),
        is_agent: case.is_agent,
        is_housekeeping: case.is_housekeeping,
        sampling: case.needs.caps.has(Cap::Sampling),
        parallel_tools: case.needs.caps.has(Cap::ParallelTools),
        special: case.needs.special.is_some(),
    }
}

/// Whether somebody asks the same again at once, and not a program of its own accord.
fn asked_again(before: Option<&Place>, asked: u64, arrival: &Arrival) -> Option<Sign> {
    let place = before.filter(|place| place.asked == asked)?;
    let is_at_once = arrival.at_ms.saturating_sub(place.at_ms) <= AT_ONCE_MS;
    (is_at_once && !is_repeated(&arrival.head.headers)).then_some(Sign::AskedAgain)
}

/// What the local classifier says of the last human ask, drawn towards what was learned of the route.
fn judged(memory: Memory<'_>, caller: &Caller, call: &Call, route: u64, now_ms: u64) -> Judged {
    let rope = call.plain.as_ref().unwrap_or(&call.pieces);
    let weigh = || memory.weights.score(&traits_of(rope, &call.ask));
    let score = memory.scores.of(worded(memory.scores, &caller.account, call), weigh);
    let score = match memory.routes.of(route, now_ms).filter(|_| route != 0) {
        Some(learned) => drawn(score, &learned),
        None => score,
    };
    let thousandths = u16::try_from(score.failure_ppm / 1_000).unwrap_or(u16::MAX);
    Judged { tier: score.tier, score: thousandths, is_sure: score.is_sure }
}

/// Which tiers' models the caller's key may use.
fn allowed(caller: &Caller, lineup: &Lineup) -> [bool; 3] {
    let policy = &caller.policy;
    let may = |contender: &routing::Contender| !policy.limits_models() || policy.allows_model(&contender.name);
    lineup.tiers.each_ref().map(|tier| tier.as_ref().is_some_and(may))
}

/// What features do not tell.
fn extras(call: &Call, headers: &HeaderMap) -> Extras {
    let ask = &call.ask;
    let mut server_tools = Caps::default();
    let mut unknown_tool = false;
    for tool in &ask.server_tools {
        match &*tool.kind {
            kind if kind.starts_with("web_search") => server_tools = server_tools.with(Cap::WebSearch),
            _ => unknown_tool = true,
        }
    }
    let odd = [
        (ask.odd, "a field of an odd form"),
        (unknown_tool, "a tool that runs at the provider"),
        (ask.outside_passes, "passes beside the answer"),
        (ask.prediction_bytes > 0, "a predicted output"),
        (ask.speed.is_some(), "a speed"),
        (ask.rare_effort, "this reasoning effort"),
        (has_rare_beta(headers), "this anthropic-beta"),
    ];
    Extras {
        image_bytes: ask.image_bytes,
        parallel_tools: ask.parallel_tools,
        sampling: ask.sampling,
        server_tools,
        special: odd.iter().find(|(is_asked, _)| *is_asked).map(|(_, what)| *what),
    }
}

fn context<'a>(arrival: &Arrival, call: &'a Call, provider: &'a Provider) -> Context<'a> {
    Context {
        at_ms: arrival.at_ms,
        requested_service_tier: call.ask.service_tier.as_deref(),
        geo: call.ask.geo.as_deref(),
        speed: call.ask.speed.as_deref(),
        residency: provider.residency(),
        ..Context::default()
    }
}

/// A quota probe: a single token is no answer to anything.
fn is_probe(call: &Call) -> bool {
    call.ask.output_limit.is_some_and(|limit| limit <= 1)
}

fn is_agent(headers: &HeaderMap) -> bool {
    let agent = headers.get(USER_AGENT).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let starts = |name: &&str| agent.get(..name.len()).is_some_and(|start| start.eq_ignore_ascii_case(name));
    AGENTS.iter().any(starts)
}

fn has_rare_beta(headers: &HeaderMap) -> bool {
    let texts = headers.get_all(BETA).iter().map(|value| value.to_str().unwrap_or("?"));
    let mut betas = texts.flat_map(|text| text.split(',')).map(str::trim).filter(|beta| !beta.is_empty());
    betas.any(|beta| !HARMLESS_BETAS.iter().any(|known| beta.starts_with(known)))
}

fn is_opted_out(headers: &HeaderMap) -> Result<bool, Refusal> {
    match headers.get(ROUTE).map(http::HeaderValue::as_bytes) {
        None => Ok(false),
        Some(b"off") => Ok(true),
        Some(_) => Err(Refusal::new(Cause::Malformed, "x-tollgate-route takes only: off")),
    }
}

fn wanted_tier(headers: &HeaderMap) -> Result<Option<Tier>, Refusal> {
    let Some(value) = headers.get(TIER) else { return Ok(None) };
    let known = Tier::ALL.iter().find(|tier| tier.name().as_bytes() == value.as_bytes());
    let odd = || Refusal::new(Cause::Malformed, "x-tollgate-tier takes simple, medium or complex");
    known.copied().map(Some).ok_or_else(odd)
}
