//! Foresee: what would become of a request, without sending it: the stages of any other up to the hold, for `tollgate explain`.
//!
//! Invariant: nothing is held, written or sent, and what is decided is decided by the functions that serve.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

use bytes::Bytes;
use http::{HeaderMap, Request};

use super::arrive::{Arrival, place};
use super::case::keys;
use super::choose::considered;
use super::identify::Caller;
use super::learn::Memory;
use super::permit;
use super::read::Call;
use super::reserve::quoted;
use super::route::{Decision, decide};
use crate::app::Snapshot;
use crate::cache::Key;
use crate::domain::ids::RequestId;
use crate::domain::money::Usd;
use crate::domain::refusal::{Cause, Refusal};
use crate::domain::routing::{Considered, Verdict};
use crate::limits::gate::Gate;
use crate::protocol::ask::Reader;

/// What would become of a request.
#[derive(Debug)]
pub struct Foreseen {
    /// Where it would go.
    pub decision: Decision,
    /// Which models there are for it.
    pub considered: Vec<Considered>,
    /// The most that it can cost; `None` where that has no bound or no price.
    pub quote: Option<Usd>,
    /// What its answer would be kept under, and the same question in other words.
    pub keys: [Option<Key>; 2],
    /// Whether config keeps such answers.
    pub is_kept: bool,
}

/// A request as if it had arrived from this machine.
///
/// # Errors
/// The path is not served.
pub fn arrival(snapshot: &Arc<Snapshot>, path: &str, headers: &HeaderMap, at_ms: u64) -> Result<Arrival, Refusal> {
    let odd = |_| Refusal::new(Cause::Malformed, "the path is no path");
    let (mut head, ()) = Request::post(path).body(()).map_err(odd)?.into_parts();
    head.headers.clone_from(headers);
    let (endpoint, path, named) = place(snapshot, &head).map_err(|(_, refusal)| refusal)?;
    let (id, peer) = (RequestId::default(), IpAddr::V4(Ipv4Addr::LOCALHOST));
    Ok(Arrival { id, at_ms, at_us: 0, snapshot: snapshot.clone(), head, body: None, peer, endpoint, path, named })
}

/// A body as if it had been read.
///
/// # Errors
/// It is no JSON, or not what the operation takes.
pub fn call(arrival: &Arrival, body: Bytes) -> Result<Call, Refusal> {
    let mut reader = Reader::new(&arrival.endpoint);
    reader.feed(&body).map_err(Refusal::from)?;
    let ask = reader.finish()?;
    Ok(Call { pieces: vec![body], plain: None, ask, memory: Gate::new(0).empty() })
}

/// Goes through the stages.
///
/// # Errors
/// It would be refused.
pub fn foresee(memory: Memory<'_>, arrival: &Arrival, caller: &Caller, call: &Call) -> Result<Foreseen, Refusal> {
    permit::body(arrival, caller, call)?;
    let mut decision = decide(memory, arrival, caller, call, Verdict::NotAsked)?;
    permit::decision(arrival, caller, &mut decision)?;
    let first = &decision.first;
    let considered = considered(arrival, caller, call, &first.provider, &decision.requested)?;
    let (quote, (keys, is_kept)) = (quoted(arrival, call, first), keys(arrival, caller, call, first));
    Ok(Foreseen { decision, considered, quote, keys, is_kept })
}
