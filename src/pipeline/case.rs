//! Case: a request whose answer may be kept, and the keys of that answer.
//!
//! Everything that can change the answer is in the key, nothing that the request points to lies elsewhere, and no chance is asked
//! for unless config says that this is welcome.
//!
//! Invariant: whatever is not known to leave the answer as it is, is in the key.

use bytes::Bytes;
use http::HeaderMap;
use http::header::ACCEPT_ENCODING;

use super::arrive::Arrival;
use super::identify::Caller;
use super::parcel::usage_edit;
use super::read::Call;
use super::recall::policy_for;
use super::route::Candidate;
use super::telling;
use crate::cache::{Key, KeyMaker, Namespace};
use crate::config::{CacheMode, CachePolicy, CacheScope};
use crate::domain::operation::Operation;
use crate::protocol::ask::IncludeUsage;
use crate::protocol::canonical::{Temperature, canonical};
use crate::protocol::strip::UsageEvents;
use crate::protocol::wording::{asked, omissions};
use crate::upstream::headers::query_key;

/// A request whose answer may be kept.
#[derive(Debug)]
pub struct Case {
    /// The key of the answer.
    pub key: Key,
    /// The key of answers to the same question in other words, where policy looks for these.
    pub near: Option<Key>,
    /// Who may have the answer.
    pub namespace: Namespace,
    /// Whether its stream tells usage that the client does not want to see.
    pub usage_events: UsageEvents,
}

impl Case {
    /// The name of requests that are answered by the same bytes, with the usage event or without it.
    #[must_use]
    pub const fn name(&self) -> Key {
        self.key.variant(matches!(self.usage_events, UsageEvents::Drop))
    }

    /// The request's case, if it has a key and policy lets its answer be kept.
    #[must_use]
    pub fn of(
        arrival: &Arrival,
        caller: &Caller,
        call: &Call,
        candidate: &Candidate,
        policy: &CachePolicy,
    ) -> Option<Self> {
        let namespace = namespace(caller, arrival.snapshot.config.cache.scope);
        Self::within(arrival, call, candidate, policy, &namespace)
    }

    /// The same for a namespace that is known.
    #[must_use]
    pub fn within(
        arrival: &Arrival,
        call: &Call,
        candidate: &Candidate,
        policy: &CachePolicy,
        namespace: &Namespace,
    ) -> Option<Self> {
        let cache = &arrival.snapshot.config.cache;
        let operation = arrival.endpoint.operation;
        let text = whole(call.plain.as_ref().unwrap_or(&call.pieces), cache.request_bytes_max)?;
        let body = canonical(&text, omissions(operation))?;
        let is_certain = body.temperature == Temperature::Zero || !operation.generates();
        if body.reaches_out || !(is_certain || policy.store_sampled) {
            return None;
        }
        let is_spliced = usage_edit(operation, call, candidate).is_some();
        let tells_usage = is_spliced || call.ask.include_usage == IncludeUsage::Explicit(true);
        let mut around = around(arrival, call, candidate, namespace);
        around.part(&[u8::from(tells_usage)]);
        let question = if policy.mode == CacheMode::Near { asked(operation, &text, &call.ask) } else { None };
        let near = question.map(|question| {
            let mut near = around.clone();
            near.part(b"near");
            near.part(&question.around);
            near.part(question.form.as_bytes());
            near.finish()
        });
        body.parts().for_each(|part| around.part(part));
        let usage_events = if is_spliced { UsageEvents::Drop } else { UsageEvents::Pass };
        Some(Self { key: around.finish(), near, namespace: namespace.clone(), usage_events })
    }
}

/// What the answer would be kept under, and the same question in other words, if config kept as much as it can; none where no config
/// keeps it. Beside them whether this one does.
#[must_use]
pub fn keys(arrival: &Arrival, caller: &Caller, call: &Call, candidate: &Candidate) -> ([Option<Key>; 2], bool) {
    let policy = policy_for(arrival, call, candidate, caller.account.team.as_deref());
    let of = |policy: &CachePolicy| Case::of(arrival, caller, call, candidate, policy);
    let general = arrival.snapshot.config.cache.general;
    let most = of(&CachePolicy { mode: CacheMode::Near, store_sampled: true, ..general });
    let keys = most.map_or([None; 2], |case| [Some(case.key), case.near]);
    (keys, policy.and_then(of).is_some())
}

/// A key with all that can change the answer but the body.
fn around(arrival: &Arrival, call: &Call, candidate: &Candidate, namespace: &Namespace) -> KeyMaker {
    let (config, operation) = (&candidate.provider.config, arrival.endpoint.operation);
    let mut key = KeyMaker::new(namespace);
    key.part(config.name.as_bytes());
    key.part(config.base_url.authority.as_str().as_bytes());
    key.part(config.base_url.prefix.as_bytes());
    key.part(candidate.model.as_bytes());
    key.part(&candidate.output_limit.unwrap_or(0).to_be_bytes());
    key.part(arrival.endpoint.dialect.name().as_bytes());
    key.part(operation.name().as_bytes());
    key.part(&[u8::from(call.ask.stream)]);
    let (before, behind) = around_model(arrival);
    key.part(before.as_bytes());
    key.part(behind.as_bytes());
    add_query(arrival.head.uri.query().unwrap_or_default(), &mut key);
    add_headers(&arrival.head.headers, operation, &mut key);
    key
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
    telling::add(headers, key);
    // Where the client's own goes to the upstream, the answer may come compressed.
    if !operation.generates() {
        headers.get_all(ACCEPT_ENCODING).iter().for_each(|value| key.part(value.as_bytes()));
    }
    key.part(b"");
}
