//! Keep: an answer is written down as it passes, and kept once it turns out to be whole and good.
//!
//! It costs the answer a pointer a frame; the copy is made at the end, when it is known that it is wanted.
//!
//! Invariant: kept are only whole answers of status 200 that are known to have ended by themselves: no error, no limit reached,
//! no refusal, no call of a tool, nothing looked up, nobody left, and under the key of the upstream and the model that gave it:
//! what a fallback says is never what the first would have said.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::header::{CONTENT_ENCODING, CONTENT_TYPE};
use http::response::Parts;
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};

use super::arrive::Arrival;
use super::case::Case;
use super::read::Call;
use super::recall::policy_for;
use super::replay::Replay;
use super::route::Candidate;
use crate::cache::flight::Paid;
use crate::cache::{About, Kept, Key, Room};
use crate::domain::entry::CacheUse;
use crate::domain::money::Usd;
use crate::domain::near::answers::agree;
use crate::protocol::facts::{Ending, Facts};
use crate::protocol::said::said;

/// Headers that are given again: what the body is, and by which names the provider knows the answer.
const KEPT: [HeaderName; 6] = [
    CONTENT_TYPE,
    CONTENT_ENCODING,
    HeaderName::from_static("request-id"),
    HeaderName::from_static("x-request-id"),
    HeaderName::from_static("openai-version"),
    HeaderName::from_static("openai-model"),
];

/// An answer that is written down as it passes.
#[derive(Debug)]
pub struct Recording {
    room: Arc<Room>,
    key: Key,
    about: About,
    ttl: Duration,
    bytes_max: usize,
    /// Purges of the room before it was asked.
    purges: u64,
    /// Where others wait to be told what it cost.
    paid: Option<Paid>,
    /// What may be given if nobody answers.
    pub spare: Option<Replay>,
    /// The key by which the same question in other words finds the answer.
    pub near: Option<Key>,
    /// What the client was given for this question, to be compared with the answer.
    pub given: Option<Arc<Kept>>,
    is_success: bool,
    /// Gone once it is known that the answer is not kept.
    tape: Option<Tape>,
}

#[derive(Debug, Default)]
struct Tape {
    headers: Vec<(HeaderName, HeaderValue)>,
    pieces: Vec<Bytes>,
    bytes: usize,
}

impl Recording {
    /// A recording that will be kept under `key`, unless it has more than `bytes_max` bytes or the room is purged meanwhile.
    #[must_use]
    pub fn new(room: Arc<Room>, key: Key, about: About, ttl: Duration, bytes_max: usize) -> Self {
        let tape = Some(Tape::default());
        let (paid, spare, near, given, purges) = (None, None, None, None, room.purges());
        Self { room, key, about, ttl, bytes_max, purges, paid, spare, near, given, is_success: false, tape }
    }

    /// Tells `paid` what the answer cost, if it turns out to be whole and good.
    pub fn tell_cost(&mut self, paid: Paid) {
        self.paid = Some(paid);
    }

    /// Somebody else answers than was asked first: the answer is kept as theirs, where policy says so, or not at all.
    #[must_use]
    pub fn of_other(mut self: Box<Self>, arrival: &Arrival, call: &Call, other: &Candidate) -> Box<Self> {
        // What was given came from another, with which it is not compared.
        self.given = None;
        let team = self.about.team.clone();
        let kept = policy_for(arrival, call, other, team.as_deref())
            .filter(|policy| policy.keep_fallbacks)
            .and_then(|policy| Some((policy.ttl, Case::within(arrival, call, other, policy, &self.about.namespace)?)));
        match kept {
            Some((ttl, case)) => {
                (self.ttl, self.key, self.near) = (ttl, case.key, case.near);
                (self.about.upstream, self.about.model) = (other.provider.config.name.clone(), other.model.clone());
            }
            None => self.tape = None,
        }
        self
    }

    /// The head has come from `upstream`, which was asked for `model`.
    pub fn begin(&mut self, head: &Parts, upstream: &str, model: &str) {
        self.is_success = head.status.is_success();
        if head.status != StatusCode::OK || upstream != &*self.about.upstream || model != &*self.about.model {
            self.tape = None;
        }
        if let Some(tape) = &mut self.tape {
            tape.headers = kept_headers(&head.headers);
        }
    }

    /// A piece of the body has come.
    pub fn push(&mut self, piece: &Bytes) {
        let Some(tape) = &mut self.tape else { return };
        tape.bytes += piece.len();
        tape.pieces.push(piece.clone());
        if tape.bytes > self.bytes_max {
            self.tape = None;
        }
    }

    /// Whether the answer says what the client was given for a near-identical question, if that is to be found out.
    #[must_use]
    pub fn verdict(&self, facts: &Facts) -> Option<CacheUse> {
        let (given, tape) = (self.given.as_ref()?, self.tape.as_ref()?);
        is_good(facts, self.about.operation.generates()).then_some(())?;
        let operation = self.about.operation;
        let text = |headers: &[(HeaderName, HeaderValue)], body: &[u8]| {
            let header =
                |name| headers.iter().find(|(known, _)| *known == name).and_then(|(_, value)| value.to_str().ok());
            let is_plain = matches!(header(CONTENT_ENCODING), None | Some("identity"));
            is_plain.then(|| said(operation, header(CONTENT_TYPE).unwrap_or_default(), body)).flatten()
        };
        let (one, other) = (text(&given.headers, &given.bytes)?, text(&tape.headers, &tape.pieces.concat())?);
        Some(if agree(&one, &other) { CacheUse::Confirmed } else { CacheUse::FalseHit })
    }

    /// The body has come to its end, this was learned from it, and so much was charged for it.
    pub fn keep(self, facts: Facts, cost: Option<Usd>, now_ms: u64) {
        if let Some(paid) = self.paid.filter(|_| self.is_success && facts.error.is_none()) {
            // Nobody else tells it.
            let _told = paid.set(cost);
        }
        let Some(tape) = self.tape.filter(|_| is_good(&facts, self.about.operation.generates())) else { return };
        let ttl_ms = u64::try_from(self.ttl.as_millis()).unwrap_or(u64::MAX);
        // A copy, since a piece holds on to the whole buffer that it was read into.
        let mut kept = Kept::new(self.about, tape.pieces.concat().into(), facts, now_ms, now_ms.saturating_add(ttl_ms));
        (kept.headers, kept.cost) = (tape.headers, cost);
        self.room.keep_since(self.purges, self.key, self.near, kept);
    }
}

/// Copies, since a value holds on to the whole buffer that its head was read into.
fn kept_headers(headers: &HeaderMap) -> Vec<(HeaderName, HeaderValue)> {
    let of = |name: HeaderName| {
        let value = headers.get(&name)?;
        Some((name, HeaderValue::from_bytes(value.as_bytes()).ok()?))
    };
    KEPT.into_iter().filter_map(of).collect()
}

/// Whether an answer may be given again.
fn is_good(facts: &Facts, generates: bool) -> bool {
    let is_whole = facts.terminal && facts.error.is_none() && !facts.broken && !facts.pending && !facts.batch;
    let has_tools = facts.usage.as_ref().is_some_and(|usage| !usage.server_tools.is_empty());
    let is_of_its_moment = facts.looked_up || facts.grounding_queries > 0 || has_tools;
    is_whole && !is_of_its_moment && (!generates || facts.ending == Some(Ending::Stop))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kept_headers_hold_on_to_no_buffer_of_a_connection() {
        let buffer = Bytes::from(vec![b'x'; 8192]);
        let mut headers = HeaderMap::new();
        for name in KEPT {
            headers.insert(name, HeaderValue::from_maybe_shared(buffer.slice(100..140)).unwrap());
        }
        let kept = kept_headers(&headers);
        drop(headers);
        assert_eq!(kept.len(), KEPT.len());
        assert!(kept.iter().all(|(_, value)| value.as_bytes() == [b'x'; 40]) && buffer.is_unique());
    }
}
