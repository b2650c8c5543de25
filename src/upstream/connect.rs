//! Connect: how a connection to an upstream comes about, within one time limit for all of its steps.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use http::Uri;
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::client::legacy::connect::proxy::Tunnel;
use hyper_util::client::proxy::matcher::Intercept;
use rustls::ClientConfig;
use tower_service::Service;

use super::names::Names;
use super::wire::Wire;

/// Connects straight.
pub type Direct = Limited<HttpsConnector<HttpConnector<Names>>>;

/// Connects through a proxy, which may itself be reached over TLS.
pub type Tunnelled = Limited<HttpsConnector<Tunnel<HttpsConnector<HttpConnector<Names>>>>>;

type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// A connector with a time limit.
#[derive(Clone, Debug)]
pub struct Limited<C> {
    connector: C,
    wait: Duration,
}

/// A connection took too long.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TooSlow;

/// A connector without a proxy.
#[must_use]
pub fn direct(tls: ClientConfig, http2: bool, wait: Duration, names: Names) -> Direct {
    Limited { connector: secured(tls, http2, tcp(wait, names)), wait }
}

/// A connector that asks `proxy` for a tunnel first.
#[must_use]
pub fn tunnelled(tls: ClientConfig, http2: bool, wait: Duration, names: Names, proxy: &Intercept) -> Tunnelled {
    // CONNECT is sent over HTTP/1.1, whatever is spoken in the tunnel.
    let to_proxy = secured(tls.clone(), false, tcp(wait, names));
    let tunnel = Tunnel::new(proxy.uri().clone(), to_proxy);
    let tunnel = match proxy.basic_auth() {
        Some(credential) => tunnel.with_auth(credential.clone()),
        None => tunnel,
    };
    Limited { connector: secured(tls, http2, tunnel), wait }
}

fn tcp(wait: Duration, names: Names) -> HttpConnector<Names> {
    let mut tcp = HttpConnector::new_with_resolver(names);
    tcp.enforce_http(false);
    tcp.set_nodelay(true);
    // Shared among the addresses of a name, so that a dead one leaves time for the next.
    tcp.set_connect_timeout(Some(wait));
    tcp
}

fn secured<C>(tls: ClientConfig, http2: bool, inner: C) -> HttpsConnector<C> {
    let builder = HttpsConnectorBuilder::new().with_tls_config(tls).https_or_http().enable_http1();
    match http2 {
        true => builder.enable_http2().wrap_connector(inner),
        false => builder.wrap_connector(inner),
    }
}

impl<C> Service<Uri> for Limited<C>
where
    C: Service<Uri>,
    C::Future: Send + 'static,
    C::Error: Into<BoxError>,
{
    type Response = Wire<C::Response>;
    type Error = BoxError;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, BoxError>> + Send>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        self.connector.poll_ready(context).map_err(Into::into)
    }

    fn call(&mut self, target: Uri) -> Self::Future {
        let connection = tokio::time::timeout(self.wait, self.connector.call(target));
        Box::pin(async { connection.await.map_err(|_| TooSlow)?.map(Wire::new).map_err(Into::into) })
    }
}

impl std::fmt::Display for TooSlow {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.write_str("the connection took too long")
    }
}

impl std::error::Error for TooSlow {}
