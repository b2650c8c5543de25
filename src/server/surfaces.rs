//! Surfaces: which part of Tollgate a request of a client is for.

use std::net::SocketAddr;
use std::sync::Arc;

use bytes::Bytes;
use http::header::{CACHE_CONTROL, CONTENT_TYPE, HeaderValue};
use http::{Method, Request, Response, StatusCode};
use hyper::body::Incoming;

use super::accept::Answered;
use crate::admin::{self, Door, Page};
use crate::app::App;
use crate::drain::Phase;
use crate::pipeline;
use crate::pipeline::body::Body;

/// Answers a client.
pub async fn client(app: Arc<App>, peer: SocketAddr, request: Request<Incoming>) -> Answered<Body> {
    match probed(&app, &request) {
        Some(response) => Ok(response),
        // A pointer, since hyper moves what it is given into the connection.
        None => Ok(Box::pin(pipeline::answer(app, peer.ip(), request)).await),
    }
}

/// Answers an operator over TCP.
pub async fn admin(app: Arc<App>, peer: SocketAddr, request: Request<Incoming>) -> Answered<Page> {
    Ok(admin::answer(&app, Door::Tcp { peer: peer.ip() }, request).await)
}

/// Answers a command of the same user over the control socket.
pub async fn control(app: Arc<App>, request: Request<Incoming>) -> Answered<Page> {
    Ok(admin::answer(&app, Door::Socket, request).await)
}

/// What a probe is told; nothing is said to anything else.
fn probed(app: &App, request: &Request<Incoming>) -> Option<Response<Body>> {
    match (request.method(), request.uri().path()) {
        (&Method::GET | &Method::HEAD, "/livez" | "/health") | (&Method::HEAD, "/") => {
            Some(probe(StatusCode::OK, "ok\n"))
        }
        (&Method::GET | &Method::HEAD, "/readyz") => Some(ready(app)),
        _ => None,
    }
}

/// Whether requests can be served; no provider is asked.
fn ready(app: &App) -> Response<Body> {
    let ready = admin::state::ready(app).status();
    match app.bank.health().failed {
        _ if ready == StatusCode::OK => probe(
            ready, "ok
",
        ),
        Some(cause) => probe(
            ready,
            format!(
                "the ledger cannot be written: {cause}
"
            ),
        ),
        None if app.drain.phase() > Phase::Serving => probe(
            ready,
            "shutting down
",
        ),
        None => probe(
            ready,
            "the ledger's disk cannot keep up
",
        ),
    }
}

fn probe(status: StatusCode, text: impl Into<Bytes>) -> Response<Body> {
    let mut response = Response::new(Body::whole(text));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
    response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}
