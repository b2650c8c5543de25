//! WHAT THE OPERATOR SEES: readiness, numbers, reports, single requests and the config, over HTTP.
//!
//! It reads and never changes anything, and it calls no upstream: a probe costs nothing.
//!
//! Reading order: [`access`] says who may come in, `reply` how answers look, [`state`] how the process is, [`query`],
//! [`zone`] and [`report`] what the ledger comes to, `lookup` what one request was, and `page` what a browser gets.
//!
//! Invariant: who may come in is decided from the raw path before anything else is looked at, and a path that does not
//! exist is as closed as one that does.

mod access;
mod reply;
pub mod state;
pub mod query;
pub mod zone;
pub mod report;
pub mod lookup;
mod page;
mod caps;

use std::net::IpAddr;
use std::sync::Arc;

use bytes::Bytes;
use http::{Method, Request, Response, StatusCode};
use http_body_util::Full;

use crate::app::App;
use crate::telemetry::metrics::Metrics;

/// What is answered with.
pub type Answer = Response<Full<Bytes>>;

/// Where a request came in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Door {
    /// The admin listener.
    Tcp {
        /// Who connected.
        peer: IpAddr,
    },
    /// The control socket in the store's folder: whoever may open it may do everything.
    Socket,
}

/// What can be asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Route<'a> {
    Live,
    Ready,
    Metrics,
    Page,
    Report,
    Lookup(&'a str),
    Caps,
    Config,
    OpenApi,
}

/// Where reports are.
pub const REPORT: &str = "/admin/v1/report";

/// Where a request is looked up by its id.
pub const REQUESTS: &str = "/admin/v1/requests/";

/// Answers one request. Its body is not read: nothing here takes one.
pub async fn answer<B>(app: &Arc<App>, door: Door, request: Request<B>) -> Answer {
    let head = request.into_parts().0;
    let route = Route::of(head.uri.path());
    if let Err(denied) = access::check(&app.admin_token, door, &head, route) {
        return denied.answer();
    }
    let Some(route) = route else {
        let message = format!("there is no {}; see /admin/v1/openapi.json", head.uri.path());
        return reply::error(StatusCode::NOT_FOUND, "not_found", &message);
    };
    if head.method != Method::GET && head.method != Method::HEAD {
        return reply::wrong_method();
    }
    match route {
        Route::Live => state::live(),
        Route::Ready => state::ready(app),
        Route::Metrics => reply::text(Metrics::MEDIA_TYPE, state::metrics(app)),
        Route::Page => page::page(),
        Route::Report => report::answer(app, head.uri.query().unwrap_or_default()).await,
        Route::Lookup(id) => lookup::answer(app, id).await,
        Route::Caps => caps::answer(app),
        Route::Config => reply::text("application/toml; charset=utf-8", app.snapshot.load().config.render_starred()),
        Route::OpenApi => open_api(),
    }
}

impl<'a> Route<'a> {
    fn of(path: &'a str) -> Option<Self> {
        Some(match path {
            "/livez" => Self::Live,
            "/readyz" => Self::Ready,
            "/metrics" => Self::Metrics,
            "/" => Self::Page,
            REPORT => Self::Report,
            "/admin/v1/caps" => Self::Caps,
            "/admin/v1/config" => Self::Config,
            "/admin/v1/openapi.json" => Self::OpenApi,
            other => Self::Lookup(other.strip_prefix(REQUESTS).filter(|id| !id.is_empty() && !id.contains('/'))?),
        })
    }
}

fn open_api() -> Answer {
    let text = include_str!("openapi.json").replace("$VERSION", env!("CARGO_PKG_VERSION"));
    reply::text(reply::JSON, text)
}
