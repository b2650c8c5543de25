//! Recall: whether an identical request has been answered before, and if so the same answer again, byte for byte.
//!
//! It looks only where policy would keep the answer: everything that can change it is in the key, nothing that it points to
//! lies elsewhere, and no chance is asked for unless config says that this is welcome. What cannot be told is asked anew.
//!
//! Invariant: an answer goes only to the namespace that it was kept for, and each hit has its own ledger entry of no cost.

use bytes::Bytes;
use http::header::{ACCEPT_ENCODING, CACHE_CONTROL, HeaderName};
use http::{HeaderMap, Response};

use super::afresh::{Afresh, REVALIDATE};
use super::arrive::Arrival;
use super::body::Body;
use super::identify::Caller;
use super::keep::Recording;
use super::parcel::usage_edit;
use super::read::Call;
use super::replay::Replay;
use super::respond::Told;
use super::route::Candidate;
use crate::app::App;
use crate::bank::tab::Tab;
use crate::cache::{About, Kept, Key, KeyMaker, Namespace};
use crate::config::{CacheCase, CachePolicy, CacheScope};
use crate::domain::cap::{Capped, Enforcement, OnExceed};
use crate::domain::entry::CacheUse;
use crate::domain::operation::Operation;
use crate::domain::refusal::{Cause, Refusal};
use crate::protocol::ask::IncludeUsage;
use crate::protocol::canonical::{Omissions, Temperature, canonical};
use crate::protocol::strip::UsageEvents;
use crate::upstream::headers::query_key;

/// What a client wants of the cache.
const CACHE: HeaderName = HeaderName::from_static("x-tollgate-cache");

/// Headers of a request that can change its answer, by what they begin with: versions, betas and accounts.
const TELLING: [&str; 3] = ["anthropic-", "openai-", "x-goog-"];

/// Of those, the ones that cannot: a credential, which is another's namespace, and what names the client's library.
const SILENT: [&str; 2] = ["x-goog-api-key", "x-goog-api-client"];

/// Members that name the end user or the conversation to the provider, in chat completions and their like, where no
/// answer repeats them. Responses repeats them, so that there they count.
const NAMES: [&str; 7] =
    ["model", "stream", "user", "safety_identifier", "prompt_cache_key", "prompt_cache_retention", "metadata"];

/// The same in messages, whose only metadata is the user's id.
const MESSAGES: [&str; 3] = ["model", "stream", "metadata"];

/// What stands in the key by itself.
const PLAIN: [&str; 2] = ["model", "stream"];

/// What a client wants of the cache.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Wish {
    Use,
    Bypass,
    Refresh,
    Only,
}

/// What came of the search.
#[derive(Debug)]
pub enum Recalled {
    /// The answer. The request has its entry.
    Answer(Response<Body>),
    /// The upstream has to be asked; what it answers may be kept.
    Ask(Tab, Option<Box<Recording>>),
    /// The same, and identical requests may wait for it.
    Share(Tab, Box<Recording>, Key),
    /// The answer, and the request has to be asked once more in the background.
    Renew(Response<Body>, Afresh),
}

/// A request whose answer may be kept.
#[derive(Debug)]
struct Case {
    key: Key,
    namespace: Namespace,
    /// Whether its stream tells usage that the client does not want to see.
    usage_events: UsageEvents,
}

impl Case {
    /// The name of requests that are answered by the same bytes, with the usage event or without it.
    fn name(&self) -> Key {
        let mut name = KeyMaker::new(&self.namespace);
        name.part(self.key.bytes());
        name.part(&[u8::from(self.usage_events == UsageEvents::Drop)]);
        name.finish()
    }
}

/// Looks for an answer. `told` is what the head of one would say.
///
/// # Errors
/// Only a kept answer was wanted and there is none, or the ledger cannot take the entry. The request has its entry.
pub fn recall(
    app: &App,
    arrival: &Arrival,
    caller: &Caller,
    call: &Call,
    candidate: &Candidate,
    told: &mut Told,
    mut tab: Tab,
) -> Result<Recalled, Refusal> {
    let is_on = arrival.snapshot.config.cache.is_on();
    let wish = match wish(&arrival.head.headers) {
        Ok(wish) => wish,
        Err(refusal) => return Err(refused(tab, refusal)),
    };
    if !is_on && wish != Wish::Only {
        return Ok(Recalled::Ask(tab, None));
    }
    let policy = if wish == Wish::Bypass { None } else { policy_of(arrival, caller, call, candidate) };
    let case = policy.and_then(|policy| Some((policy, case_of(arrival, caller, call, candidate, policy)?)));
    let Some((policy, case)) = case else {
        told.cache = Some(CacheUse::Bypass);
        return match wish {
            Wish::Only => Err(refused(tab, not_cached("this request is never answered from the cache"))),
            Wish::Use | Wish::Bypass | Wish::Refresh => Ok(Recalled::Ask(tab, None)),
        };
    };
    let found = if wish == Wish::Refresh { None } else { app.cache.find(&case.key, &case.namespace) };
    let replay = |kept| Replay::new(kept, case.usage_events, arrival, call, candidate);
    let old = match found {
        Some(kept) if kept.is_fresh(arrival.at_ms) => {
            return replay(kept).give(CacheUse::Hit, told, tab).map(Recalled::Answer);
        }
        old => old,
    };
    let recording = |spare| Box::new(recording(app, arrival, caller, candidate, policy, &case, spare));
    if let Some(kept) = old.clone().filter(|kept| may_be_renewed(policy, wish, kept, arrival)) {
        let response = replay(kept).give(CacheUse::Stale, told, tab)?;
        let afresh = Afresh { recording: recording(None), name: case.name(), reason: REVALIDATE };
        return Ok(Recalled::Renew(response, afresh));
    }
    (told.cache, tab.entry().cache) = (Some(CacheUse::Miss), CacheUse::Miss);
    if wish == Wish::Only {
        return Err(refused(tab, not_cached("no answer to this request is kept")));
    }
    let recording = recording(old.filter(|kept| kept.is_within(policy.stale_if_error, arrival.at_ms)).map(replay));
    match wish == Wish::Use && may_be_shared(arrival, caller, call, candidate) {
        true => Ok(Recalled::Share(tab, recording, case.name())),
        false => Ok(Recalled::Ask(tab, Some(recording))),
    }
}

/// Whether an old answer is given while another is asked for.
fn may_be_renewed(policy: &CachePolicy, wish: Wish, kept: &Kept, arrival: &Arrival) -> bool {
    wish == Wish::Use && kept.is_within(policy.stale_while_revalidate, arrival.at_ms)
}

/// What writes the answer down; `spare` may be given if there is none.
fn recording(
    app: &App,
    arrival: &Arrival,
    caller: &Caller,
    candidate: &Candidate,
    policy: &CachePolicy,
    case: &Case,
    spare: Option<Replay>,
) -> Recording {
    let about = About {
        namespace: case.namespace.clone(),
        key: caller.account.key.clone(),
        team: caller.account.team.clone(),
        upstream: candidate.provider.config.name.clone(),
        model: candidate.model.clone(),
        operation: arrival.endpoint.operation,
    };
    let bytes_max = arrival.snapshot.config.cache.answer_bytes_max;
    let mut recording = Recording::new(app.cache.clone(), case.key, about, policy.ttl, bytes_max);
    recording.spare = spare;
    recording
}

/// Whether identical requests may wait for the answer. Offered tools may be called, and such an answer is nobody else's; nor is
/// one that the leader's own money may shorten.
fn may_be_shared(arrival: &Arrival, caller: &Caller, call: &Call, candidate: &Candidate) -> bool {
    let config = &arrival.snapshot.config;
    let shortens = |capped: &Capped| {
        capped.policy.on_exceed != OnExceed::Refuse || capped.policy.enforcement != Enforcement::Ceiling
    };
    config.cache.join_bytes_max > 0
        && call.ask.features.tools == 0
        && !config.capped(&caller.account, &candidate.model).iter().any(shortens)
}

fn not_cached(message: &'static str) -> Refusal {
    Refusal::new(Cause::NotCached, message)
}

fn refused(tab: Tab, refusal: Refusal) -> Refusal {
    tab.refuse(&refusal);
    refusal
}

/// What the client wants: by our own header, else as HTTP says it (RFC 9111, 5.2.1).
fn wish(headers: &HeaderMap) -> Result<Wish, Refusal> {
    if let Some(value) = headers.get(CACHE) {
        return match value.as_bytes() {
            b"off" => Ok(Wish::Bypass),
            b"refresh" => Ok(Wish::Refresh),
            b"only" => Ok(Wish::Only),
            _ => Err(Refusal::new(Cause::Malformed, "x-tollgate-cache is none of off, refresh and only")),
        };
    }
    let Some(value) = headers.get(CACHE_CONTROL).and_then(|value| value.to_str().ok()) else { return Ok(Wish::Use) };
    let says = |word: &str| value.split(',').any(|part| part.trim().eq_ignore_ascii_case(word));
    Ok(match () {
        () if says("no-store") => Wish::Bypass,
        () if says("only-if-cached") => Wish::Only,
        () if says("no-cache") || says("max-age=0") => Wish::Refresh,
        () => Wish::Use,
    })
}

/// What holds for the request, if anything may be kept of it as far as its kind tells.
fn policy_of<'a>(arrival: &'a Arrival, caller: &Caller, call: &Call, candidate: &Candidate) -> Option<&'a CachePolicy> {
    let case = CacheCase {
        operation: arrival.endpoint.operation,
        model: &candidate.model,
        upstream: &candidate.provider.config.name,
        team: caller.account.team.as_deref(),
    };
    let (ask, features) = (&call.ask, &call.ask.features);
    // What runs at the provider, what it stored before, and what it does later is not in the request.
    let is_elsewhere = !ask.server_tools.is_empty() || features.stored_context || features.background;
    // Of several answers only the ending of the last is known.
    let is_many = ask.choices > 1 || case.operation == Operation::Completions && features.messages > 1;
    let is_odd = ask.odd || ask.outside_passes || ask.include_usage == IncludeUsage::Odd || features.audio_out;
    if is_elsewhere || is_many || is_odd {
        return None;
    }
    arrival.snapshot.config.cache.policy(case)
}

/// The request's key, if it has one and policy lets its answer be kept.
fn case_of(
    arrival: &Arrival,
    caller: &Caller,
    call: &Call,
    candidate: &Candidate,
    policy: &CachePolicy,
) -> Option<Case> {
    let cache = &arrival.snapshot.config.cache;
    let operation = arrival.endpoint.operation;
    let text = whole(call.plain.as_ref().unwrap_or(&call.pieces), cache.request_bytes_max)?;
    let members: &[&str] = match operation {
        Operation::ChatCompletions | Operation::Completions | Operation::Embeddings => &NAMES,
        Operation::Messages => &MESSAGES,
        _ => &PLAIN,
    };
    let body = canonical(&text, Omissions { members, inner: Some(("stream_options", "include_usage")) })?;
    let is_certain = body.temperature == Temperature::Zero || !operation.generates();
    if body.points_elsewhere || !(is_certain || policy.store_sampled) {
        return None;
    }
    let is_asked = call.ask.include_usage == IncludeUsage::Explicit(true);
    let is_spliced = usage_edit(operation, call, candidate).is_some();
    let namespace = namespace(caller, cache.scope);
    let (config, tells_usage) = (&candidate.provider.config, is_asked || is_spliced);
    let mut key = KeyMaker::new(&namespace);
    key.part(config.name.as_bytes());
    key.part(config.base_url.authority.as_str().as_bytes());
    key.part(config.base_url.prefix.as_bytes());
    key.part(candidate.model.as_bytes());
    key.part(&candidate.output_limit.unwrap_or(0).to_be_bytes());
    key.part(arrival.endpoint.dialect.name().as_bytes());
    key.part(operation.name().as_bytes());
    key.part(&[u8::from(call.ask.stream), u8::from(tells_usage)]);
    let (before, behind) = around_model(arrival);
    key.part(before.as_bytes());
    key.part(behind.as_bytes());
    add_query(arrival.head.uri.query().unwrap_or_default(), &mut key);
    add_headers(&arrival.head.headers, operation, &mut key);
    key.part(&body.form);
    let usage_events = if is_spliced { UsageEvents::Drop } else { UsageEvents::Pass };
    Some(Case { key: key.finish(), namespace, usage_events })
}

/// A body in one piece, unless it is too long.
fn whole(pieces: &[Bytes], bytes_max: usize) -> Option<Bytes> {
    let length: usize = pieces.iter().map(Bytes::len).sum();
    match pieces {
        _ if length > bytes_max => None,
        [piece] => Some(piece.clone()),
        pieces => Some(pieces.concat().into()),
    }
}

/// Who shares the answer. Whoever calls with a credential of its own has to show at the provider that it is good, and
/// shares nothing.
fn namespace(caller: &Caller, scope: CacheScope) -> Namespace {
    let account = &caller.account;
    match (scope, &account.team) {
        (CacheScope::Shared, _) if caller.is_trusted => Namespace::Shared,
        (CacheScope::Team, Some(team)) if caller.is_trusted => Namespace::Team(team.clone()),
        (CacheScope::Shared | CacheScope::Team | CacheScope::Key, _) => Namespace::Key(account.key.clone()),
    }
}

/// The path in front of the model and behind it, since the model that is sent is in the key by itself.
fn around_model(arrival: &Arrival) -> (&str, &str) {
    let path = &*arrival.path;
    let model = arrival.endpoint.model_in_path.clone();
    model.and_then(|span| Some((path.get(..span.start)?, path.get(span.end..)?))).unwrap_or((path, ""))
}

/// Every pair but the credential, as they came.
fn add_query(query: &str, key: &mut KeyMaker) {
    for pair in query.split('&').filter(|pair| !pair.is_empty() && query_key(pair).is_none()) {
        key.part(pair.as_bytes());
    }
    key.part(b"");
}

fn add_headers(headers: &HeaderMap, operation: Operation, key: &mut KeyMaker) {
    let is_telling = |name: &HeaderName| {
        let name = name.as_str();
        TELLING.iter().any(|start| name.starts_with(start)) && !SILENT.contains(&name)
    };
    let mut telling: Vec<_> = headers.iter().filter(|(name, _)| is_telling(name)).collect();
    telling.sort_by_key(|(name, _)| name.as_str());
    for (name, value) in telling {
        key.part(name.as_str().as_bytes());
        key.part(value.as_bytes());
    }
    key.part(b"");
    // Where the client's own goes to the upstream, the answer may come compressed.
    if !operation.generates() {
        headers.get_all(ACCEPT_ENCODING).iter().for_each(|value| key.part(value.as_bytes()));
    }
    key.part(b"");
}
