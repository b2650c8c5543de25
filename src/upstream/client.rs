//! [`Client`]: a pool of connections to upstreams, plain or over TLS.
//!
//! It sends a request once. A connection that the upstream had already closed before a byte was written is replaced
//! without a word, which is the only repetition that cannot be billed.

use std::sync::Arc;
use std::time::Duration;

use http::Request;
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use rustls::{ClientConfig, RootCertStore};

use super::rope::Rope;

/// The answer's head to come.
pub type ResponseFuture = legacy::ResponseFuture;

/// Why a request has no answer.
pub type SendError = legacy::Error;

/// Connections to one upstream.
#[derive(Clone, Debug)]
pub struct Client(legacy::Client<HttpsConnector<HttpConnector>, Rope>);

/// How long connections are waited for and kept.
#[derive(Clone, Copy, Debug)]
pub struct ClientOptions {
    /// Longest wait for the TCP connection.
    pub connect_timeout: Duration,
    /// How long an unused connection is kept; below the providers' own keep-alive, so that we close first.
    pub idle_timeout: Duration,
    /// Unused connections kept at the most.
    pub idle_max: usize,
}

impl Client {
    /// A pool with the public certificate authorities.
    ///
    /// # Errors
    /// The TLS library refuses its own defaults.
    pub fn new(options: ClientOptions) -> Result<Self, rustls::Error> {
        let mut roots = RootCertStore::empty();
        roots.extend(webpki_roots::TLS_SERVER_ROOTS.iter().cloned());
        Self::with_roots(options, roots)
    }

    /// A pool that trusts `roots`.
    ///
    /// # Errors
    /// The TLS library refuses its own defaults.
    pub fn with_roots(options: ClientOptions, roots: RootCertStore) -> Result<Self, rustls::Error> {
        // ring rather than aws-lc-rs: it needs no cmake, and the journal already hashes with it.
        let tls = ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
            .with_safe_default_protocol_versions()?
            .with_root_certificates(roots)
            .with_no_client_auth();
        let mut tcp = HttpConnector::new();
        tcp.enforce_http(false);
        tcp.set_nodelay(true);
        tcp.set_connect_timeout(Some(options.connect_timeout));
        let connector =
            HttpsConnectorBuilder::new().with_tls_config(tls).https_or_http().enable_http1().wrap_connector(tcp);
        let client = legacy::Client::builder(TokioExecutor::new())
            .pool_timer(TokioTimer::new())
            .pool_idle_timeout(options.idle_timeout)
            .pool_max_idle_per_host(options.idle_max)
            .build(connector);
        Ok(Self(client))
    }

    /// Sends a request; its URI names the upstream.
    pub fn send(&self, request: Request<Rope>) -> ResponseFuture {
        self.0.request(request)
    }
}
