//! Recall: whether an identical request has been answered before, or a near-identical one where policy says so, and if so the
//! same answer again, byte for byte.
//!
//! It looks only where policy would keep the answer. What cannot be told is asked anew.
//!
//! Invariant: an answer goes only to the namespace that it was kept for, and each hit has its own ledger entry of no cost.

use std::sync::Arc;

use http::header::{CACHE_CONTROL, HeaderName};
use http::{HeaderMap, Response};

use super::admit::admit_kept;
use super::afresh::{Afresh, REVALIDATE, SHADOW};
use super::arrive::Arrival;
use super::body::Body;
use super::case::Case;
use super::identify::Caller;
use super::keep::Recording;
use super::read::Call;
use super::replay::Replay;
use super::reserve::runs_on_its_own;
use super::respond::Told;
use super::route::Candidate;
use crate::app::App;
use crate::bank::tab::Tab;
use crate::cache::{About, Kept, Key};
use crate::config::{CacheCase, CachePolicy, Config};
use crate::domain::account::Account;
use crate::domain::cap::{Capped, Enforcement, OnExceed};
use crate::domain::entry::CacheUse;
use crate::domain::operation::Operation;
use crate::domain::refusal::{Cause, Refusal};
use crate::protocol::ask::IncludeUsage;
use crate::protocol::live::searches;

/// What a client wants of the cache.
const CACHE: HeaderName = HeaderName::from_static("x-tollgate-cache");

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
    /// The upstream has to be asked; what it answers may be kept. By this name identical requests may wait for it.
    Ask(Tab, Option<Box<Recording>>, Option<Key>),
    /// The answer, and the request has to be asked once more in the background.
    Renew(Response<Body>, Afresh),
}

/// Looks for an answer. `told` is what the head of one would say.
///
/// # Errors
/// Only a kept answer was wanted and there is none, or the ledger cannot take the entry. The request has its entry.
pub async fn recall(
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
        return Ok(Recalled::Ask(tab, None, None));
    }
    let policy =
        if wish == Wish::Bypass { None } else { policy_for(arrival, call, candidate, caller.account.team.as_deref()) };
    let case = policy.and_then(|policy| Some((policy, Case::of(arrival, caller, call, candidate, policy)?)));
    let Some((policy, case)) = case else {
        told.cache = Some(CacheUse::Bypass);
        return match wish {
            Wish::Only => Err(refused(tab, not_cached("this request is never answered from the cache"))),
            Wish::Use | Wish::Bypass | Wish::Refresh => Ok(Recalled::Ask(tab, None, None)),
        };
    };
    let is_looked_for = wish != Wish::Refresh;
    let found = if is_looked_for { find(app, &case).await } else { None };
    let replay = |kept| Replay::new(kept, case.usage_events, arrival, call, candidate);
    let is_short = told.admission.is_short;
    let give = |kept, cache, told: &mut Told, mut tab| {
        if is_short {
            match admit_kept(app, arrival, &caller.account, &mut tab) {
                Ok(admission) => told.admission = admission,
                Err(refusal) => return Err(refused(tab, refusal)),
            }
        }
        replay(kept).give(cache, told, tab)
    };
    if let Some(kept) = found.clone().filter(|kept| kept.is_fresh(policy.ttl, arrival.at_ms)) {
        return give(kept, CacheUse::Hit, told, tab).map(Recalled::Answer);
    }
    let near = match case.near.filter(|_| is_looked_for) {
        Some(near) => find_near(app, near, &case).await,
        None => None,
    };
    let recording = || recording(app, arrival, caller, candidate, policy, &case);
    if let Some(kept) = near.clone().filter(|kept| kept.is_fresh(policy.ttl, arrival.at_ms)) {
        let response = give(kept.clone(), CacheUse::Near, told, tab)?;
        if is_short || wish != Wish::Use || app.mint.dice() % 100 >= policy.shadow_percent {
            return Ok(Recalled::Answer(response));
        }
        let mut recording = Box::new(recording());
        (recording.given, recording.near) = (Some(kept), None);
        return Ok(Recalled::Renew(response, Afresh { recording, name: case.name(), reason: SHADOW }));
    }
    let old = found.or(near);
    if let Some(kept) = old.clone().filter(|kept| may_be_renewed(policy, wish, kept, arrival)) {
        let response = give(kept, CacheUse::Stale, told, tab)?;
        if is_short {
            return Ok(Recalled::Answer(response));
        }
        let afresh = Afresh { recording: Box::new(recording()), name: case.name(), reason: REVALIDATE };
        return Ok(Recalled::Renew(response, afresh));
    }
    (told.cache, tab.entry().cache) = (Some(CacheUse::Miss), CacheUse::Miss);
    if wish == Wish::Only {
        return Err(refused(tab, not_cached("no answer to this request is kept")));
    }
    let mut recording = Box::new(recording());
    recording.spare = old.filter(|kept| kept.is_within(policy.ttl, policy.stale_if_error, arrival.at_ms)).map(replay);
    let is_shared = wish == Wish::Use && may_be_shared(arrival, caller, call, candidate);
    Ok(Recalled::Ask(tab, Some(recording), is_shared.then(|| case.name())))
}

/// The answer that is kept, whatever its age. One on the disk takes its time.
async fn find(app: &App, case: &Case) -> Option<Arc<Kept>> {
    match app.cache.find(&case.key, &case.namespace) {
        None if app.cache.may_fetch(&case.key) => Box::pin(app.cache.fetch(case.key, &case.namespace)).await,
        found => found,
    }
}

/// The same to the question in other words.
async fn find_near(app: &App, near: Key, case: &Case) -> Option<Arc<Kept>> {
    match app.cache.find_near(&near, &case.namespace) {
        None if app.cache.disk().is_some() => Box::pin(app.cache.fetch_near(near, &case.namespace)).await,
        found => found,
    }
}

/// Whether an old answer is given while another is asked for.
fn may_be_renewed(policy: &CachePolicy, wish: Wish, kept: &Kept, arrival: &Arrival) -> bool {
    wish == Wish::Use && kept.is_within(policy.ttl, policy.stale_while_revalidate, arrival.at_ms)
}

/// What writes the answer down.
fn recording(
    app: &App,
    arrival: &Arrival,
    caller: &Caller,
    candidate: &Candidate,
    policy: &CachePolicy,
    case: &Case,
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
    recording.near = case.near;
    recording
}

/// Whether identical requests may wait for the answer. Offered tools may be called, and such an answer is nobody else's; nor is
/// one that the leader's own money may shorten.
fn may_be_shared(arrival: &Arrival, caller: &Caller, call: &Call, candidate: &Candidate) -> bool {
    let config = &arrival.snapshot.config;
    config.cache.join_bytes_max > 0
        && call.ask.features.tools == 0
        && !may_shorten(config, &caller.account, &candidate.model)
}

/// Whether money may shorten an answer of `model`, or have another model give it.
pub fn may_shorten(config: &Config, account: &Account, model: &str) -> bool {
    let shortens = |capped: &Capped| {
        capped.policy.on_exceed != OnExceed::Refuse || capped.policy.enforcement != Enforcement::Ceiling
    };
    config.capped(account, model).iter().any(shortens)
}

fn not_cached(message: &'static str) -> Refusal {
    Refusal::new(Cause::NotCached, message)
}

fn refused(tab: Tab, refusal: Refusal) -> Refusal {
    tab.refuse(&refusal);
    refusal
}

/// What the client wants: by our own header, else as HTTP says it (RFC 9111, 5.2.1), on however many lines.
fn wish(headers: &HeaderMap) -> Result<Wish, Refusal> {
    let mut ours = headers.get_all(CACHE).iter();
    if let Some(value) = ours.next() {
        if ours.any(|other| other != value) {
            return Err(Refusal::new(Cause::Malformed, "x-tollgate-cache is given twice, and differs"));
        }
        return match value.as_bytes() {
            b"off" => Ok(Wish::Bypass),
            b"refresh" => Ok(Wish::Refresh),
            b"only" => Ok(Wish::Only),
            _ => Err(Refusal::new(Cause::Malformed, "x-tollgate-cache is none of off, refresh and only")),
        };
    }
    if !headers.contains_key(CACHE_CONTROL) {
        return Ok(Wish::Use);
    }
    let lines = || headers.get_all(CACHE_CONTROL).iter().filter_map(|value| value.to_str().ok());
    let says = |word: &str| lines().any(|line| line.split(',').any(|part| part.trim().eq_ignore_ascii_case(word)));
    Ok(match () {
        () if says("no-store") => Wish::Bypass,
        () if says("only-if-cached") => Wish::Only,
        () if says("no-cache") || says("max-age=0") => Wish::Refresh,
        () => Wish::Use,
    })
}

/// What holds for the request, if anything may be kept of it as far as its kind tells.
pub fn policy_for<'a>(
    arrival: &'a Arrival,
    call: &Call,
    candidate: &Candidate,
    team: Option<&str>,
) -> Option<&'a CachePolicy> {
    let case = CacheCase {
        operation: arrival.endpoint.operation,
        model: &candidate.model,
        upstream: &candidate.provider.config.name,
        team,
    };
    let (ask, features) = (&call.ask, &call.ask.features);
    // What runs at the provider, what it stored before, and what it does later is not in the request.
    let is_elsewhere = !ask.server_tools.is_empty() || features.stored_context || features.background;
    let is_live = runs_on_its_own(&candidate.provider.config.provider, &candidate.model) || searches(&candidate.model);
    // Of several answers only the ending of the last is known.
    let is_many = ask.choices > 1 || case.operation == Operation::Completions && features.messages > 1;
    let is_odd = ask.odd || ask.outside_passes || ask.include_usage == IncludeUsage::Odd || features.audio_out;
    if is_elsewhere || is_many || is_odd || is_live {
        return None;
    }
    arrival.snapshot.config.cache.policy(case)
}
