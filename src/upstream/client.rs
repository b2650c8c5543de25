//! [`Client`]: a pool of connections to one upstream, plain or over TLS, straight or through a proxy's tunnel.
//!
//! It sends a request once. One that meets a connection which the upstream has closed before a byte was written is sent on another
//! without a word, or turned back: the only repetition that cannot be billed.

use std::time::Duration;

use http::Request;
use hyper_util::client::legacy;
use hyper_util::rt::{TokioExecutor, TokioTimer};

use super::connect::{Direct, Tunnelled, direct, tunnelled};
use super::names::Names;
use super::rope::Rope;
use super::trust;
use super::wire::TurnedBack;
use crate::config::{BaseUrl, Way};

/// Bytes that one answer over HTTP/2 may be ahead of its client.
const STREAM_WINDOW_BYTES: u32 = 1 << 20;

/// Bytes that all answers on one HTTP/2 connection may be ahead, so that one slow client does not stop the others.
const CONNECTION_WINDOW_BYTES: u32 = 64 << 20;

/// How often an HTTP/2 connection in use is asked whether it is still there, and how long it may take to say so.
const PING_INTERVAL: Duration = Duration::from_secs(20);
const PING_WAIT: Duration = Duration::from_secs(20);

/// The answer's head to come.
pub type ResponseFuture = legacy::ResponseFuture;

/// Why a request has no answer.
pub type SendError = legacy::Error;

/// Why there can be no connections.
pub type SetupError = Box<dyn std::error::Error + Send + Sync>;

/// Connections to one upstream.
#[derive(Clone, Debug)]
#[expect(clippy::large_enum_variant, reason = "there is one for each upstream, and it is never moved")]
pub enum Client {
    /// Straight to it.
    Direct(legacy::Client<Direct, Rope>, Box<Pool<Direct>>),
    /// Through a proxy.
    Tunnelled(legacy::Client<Tunnelled, Rope>, Box<Pool<Tunnelled>>),
}

/// What a pool is made of.
#[derive(Clone, Debug)]
pub struct Pool<C> {
    builder: legacy::Builder,
    connector: C,
}

/// How long connections are waited for and kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ClientOptions {
    /// Longest wait for a connection, with the tunnel and TLS.
    pub connect_timeout: Duration,
    /// How long an unused connection is kept; below the providers' own keep-alive, so that we close first.
    pub idle_timeout: Duration,
    /// Unused connections kept at the most.
    pub idle_max: usize,
}

impl Client {
    /// A pool for `base`, which is found by `names` and reached by `way`.
    ///
    /// # Errors
    /// A certificate or key of the config that cannot be used.
    pub fn new(options: ClientOptions, base: &BaseUrl, way: &Way, names: Names) -> Result<Self, SetupError> {
        let tls = trust::client(way)?;
        // Without TLS nothing can be negotiated: HTTP/2 is either known to be spoken or not used.
        let http2_only = way.http2 && base.scheme == http::uri::Scheme::HTTP;
        let builder = builder(options, http2_only);
        let wait = options.connect_timeout;
        Ok(match trust::proxy(base, way) {
            None => Self::direct(Pool { builder, connector: direct(tls, way.http2, wait, names) }),
            Some(proxy) => Self::tunnelled(Pool { builder, connector: tunnelled(tls, way.http2, wait, names, &proxy) }),
        })
    }

    /// Sends a request; its URI names the upstream.
    pub fn send(&self, request: Request<Rope>) -> ResponseFuture {
        match self {
            Self::Direct(client, _) => client.request(request),
            Self::Tunnelled(client, _) => client.request(request),
        }
    }

    /// The same without any connection.
    #[must_use]
    pub fn emptied(&self) -> Self {
        match self {
            Self::Direct(_, pool) => Self::direct(Pool::clone(pool)),
            Self::Tunnelled(_, pool) => Self::tunnelled(Pool::clone(pool)),
        }
    }

    fn direct(pool: Pool<Direct>) -> Self {
        Self::Direct(pool.builder.build(pool.connector.clone()), Box::new(pool))
    }

    fn tunnelled(pool: Pool<Tunnelled>) -> Self {
        Self::Tunnelled(pool.builder.build(pool.connector.clone()), Box::new(pool))
    }
}

/// Whether the upstream had closed the connection before any byte of the request was written to it.
#[must_use]
pub fn is_turned_back(error: &SendError) -> bool {
    causes(error).any(|cause| {
        let io = cause.downcast_ref::<std::io::Error>().and_then(std::io::Error::get_ref);
        io.is_some_and(|inner| inner.is::<TurnedBack>())
    })
}

/// Whether the upstream says over HTTP/2 that it has not looked at the request and never will (RFC 9113, 8.7).
#[must_use]
pub fn is_unread(error: &SendError) -> bool {
    causes(error).any(|cause| {
        cause.downcast_ref::<h2::Error>().is_some_and(|error| {
            let is_refused = error.is_reset() && error.reason() == Some(h2::Reason::REFUSED_STREAM);
            error.is_remote() && (is_refused || error.is_go_away())
        })
    })
}

fn causes(error: &SendError) -> impl Iterator<Item = &(dyn std::error::Error + 'static)> {
    std::iter::successors(std::error::Error::source(error), |cause| cause.source())
}

fn builder(options: ClientOptions, http2_only: bool) -> legacy::Builder {
    let mut builder = legacy::Client::builder(TokioExecutor::new());
    builder
        .timer(TokioTimer::new())
        .pool_timer(TokioTimer::new())
        .pool_idle_timeout(options.idle_timeout)
        .pool_max_idle_per_host(options.idle_max)
        .http2_only(http2_only)
        .http2_initial_stream_window_size(STREAM_WINDOW_BYTES)
        .http2_initial_connection_window_size(CONNECTION_WINDOW_BYTES)
        .http2_keep_alive_interval(PING_INTERVAL)
        .http2_keep_alive_timeout(PING_WAIT);
    builder
}
