//! Arrive: a request's head, taken apart. Nothing of the body has been read, nobody is trusted.

use std::net::IpAddr;
use std::sync::Arc;

use http::header::UPGRADE;
use http::request::Parts;
use http::{HeaderName, Method, Request};
use hyper::body::Incoming;

use crate::app::{App, Snapshot};
use crate::config::UnknownPaths;
use crate::domain::ids::RequestId;
use crate::domain::operation::{Dialect, Operation};
use crate::domain::refusal::{Cause, Refusal};
use crate::protocol::endpoint::{Endpoint, Hints, climbs, strip_upstream_prefix};
use crate::upstream::headers::{X_GOOG_API_KEY, query_key};
use crate::upstream::provider::Provider;

const ANTHROPIC_VERSION: HeaderName = HeaderName::from_static("anthropic-version");

/// Bytes of a path that a refusal repeats.
const PATH_BYTES_TOLD: usize = 200;

/// A request as it arrived.
#[derive(Debug)]
pub struct Arrival {
    /// Its name everywhere.
    pub id: RequestId,
    /// When it came, unix milliseconds.
    pub at_ms: u64,
    /// When it came, on the clock's ticks.
    pub at_us: u64,
    /// The config that it is served by, whatever is loaded later.
    pub snapshot: Arc<Snapshot>,
    /// Method, address and headers.
    pub head: Parts,
    /// The body, unread; gone once it flows on to an upstream.
    pub body: Option<Incoming>,
    /// Who connected.
    pub peer: IpAddr,
    /// What is asked for, in which dialect.
    pub endpoint: Endpoint,
    /// The path to ask the upstream for.
    pub path: Box<str>,
    /// The upstream that the path names, by `/u/NAME/`.
    pub named: Option<Arc<Provider>>,
}

/// Why a request goes no further than its head, and how to say so.
#[derive(Debug)]
pub struct TurnedAway {
    /// The request's name.
    pub id: RequestId,
    /// The dialect to refuse it in.
    pub dialect: Dialect,
    /// The refusal.
    pub refusal: Refusal,
    /// The body, to be read out so that the client reads the refusal.
    pub body: Incoming,
}

/// Takes a request's head apart.
///
/// # Errors
/// The path is not served, or asks for a WebSocket.
pub fn arrive(app: &App, request: Request<Incoming>, peer: IpAddr) -> Result<Arrival, Box<TurnedAway>> {
    let (at_ms, at_us) = (app.clock.now_ms(), app.clock.ticks_us());
    let id = app.mint.request_id(at_ms);
    let snapshot = app.snapshot.load_full();
    let (head, body) = request.into_parts();
    match place(&snapshot, &head) {
        Ok((endpoint, path, named)) => {
            Ok(Arrival { id, at_ms, at_us, snapshot, head, body: Some(body), peer, endpoint, path, named })
        }
        Err((dialect, refusal)) => Err(Box::new(TurnedAway { id, dialect, refusal, body })),
    }
}

/// The operation, the path to ask the upstream for, and the upstream that the client named.
pub type Target = (Endpoint, Box<str>, Option<Arc<Provider>>);

/// What a head asks for: the operation, the path to ask the upstream for, and the upstream if it is named.
///
/// # Errors
/// The path is not served, or asks for a WebSocket.
pub fn place(snapshot: &Snapshot, head: &Parts) -> Result<Target, (Dialect, Refusal)> {
    let hints = Hints {
        anthropic_version: head.headers.contains_key(ANTHROPIC_VERSION),
        goog_key: head.headers.contains_key(X_GOOG_API_KEY)
            || head.uri.query().is_some_and(|query| query.split('&').any(|pair| query_key(pair).is_some())),
    };
    let asked = head.uri.path();
    let (named, path) = match strip_upstream_prefix(asked) {
        Some((name, rest)) => {
            let nearest =
                || Endpoint::of(head.method.as_str(), rest, hints).map_or_else(|miss| miss.dialect, |at| at.dialect);
            let unnamed =
                || (nearest(), Refusal::new(Cause::NotFound, format!("no upstream is named {:?}", told(name))));
            (Some(snapshot.provider(name).ok_or_else(unnamed)?), rest)
        }
        None => (None, asked),
    };
    let endpoint = match named {
        Some(provider) => Endpoint::of_upstream(head.method.as_str(), path, provider.config.dialect),
        None => served(snapshot, head, path, hints)?,
    };
    let is_unfit = climbs(path) || matches!(head.method, Method::CONNECT | Method::TRACE);
    if endpoint.operation == Operation::Unknown && is_unfit {
        return Err((endpoint.dialect, not_served(head, path)));
    }
    if head.method == Method::GET && head.headers.contains_key(UPGRADE) {
        return Err((endpoint.dialect, no_websocket()));
    }
    Ok((endpoint, path.into(), named.cloned()))
}

/// What a path without an upstream's name asks for.
fn served(snapshot: &Snapshot, head: &Parts, path: &str, hints: Hints) -> Result<Endpoint, (Dialect, Refusal)> {
    let miss = match Endpoint::of(head.method.as_str(), path, hints) {
        Ok(endpoint) => return Ok(endpoint),
        Err(miss) => miss,
    };
    if head.headers.contains_key(UPGRADE) {
        return Err((miss.dialect, no_websocket()));
    }
    if snapshot.config.server.unknown_paths == UnknownPaths::Forward {
        return Ok(Endpoint::of_upstream(head.method.as_str(), path, miss.dialect));
    }
    let refusal = match miss.allow {
        Some(allow) => Refusal::new(Cause::MethodNotAllowed, format!("{} takes {allow}", told(path))).takes(allow),
        None => not_served(head, path),
    };
    Err((miss.dialect, refusal))
}

fn not_served(head: &Parts, path: &str) -> Refusal {
    Refusal::new(Cause::NotFound, format!("{} {} is not served here", head.method, told(path)))
}

/// As much of a path as a refusal repeats.
fn told(path: &str) -> &str {
    let end = (0..=PATH_BYTES_TOLD.min(path.len())).rev().find(|at| path.is_char_boundary(*at));
    &path[..end.unwrap_or(0)]
}

/// Codex opens a WebSocket first and goes on with POST at once, but only after this status.
fn no_websocket() -> Refusal {
    Refusal::new(Cause::UpgradeRequired, "websockets are not served here; use POST")
}
