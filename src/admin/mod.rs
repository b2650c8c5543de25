//! WHAT THE OPERATOR SEES: readiness, numbers, reports, single requests and the config, over HTTP.
//!
//! It changes nothing but by adjustments and reloads, and it calls no upstream: a probe costs nothing.
//!
//! Reading order: [`access`] says who may come in, `reply` how answers look, [`state`] how the process is, [`query`],
//! [`zone`] and [`report`] what the ledger comes to ([`reprice`]: and would), [`rows`] its single lines, [`lookup`] what one request was, [`audit`] whether all of it is sound,
//! [`adjust`] how it is corrected, [`export`] and [`reconcile`] what a provider says of the same, `reload` how the config is
//! read again, and `page` what a browser gets.
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
pub mod audit;
pub mod adjust;
pub mod rows;
pub mod reprice;
mod export_json;
mod export_csv;
pub mod export;
pub mod reconcile;
mod reload;
mod page;
mod caps;
mod upstreams;

use std::net::IpAddr;
use std::sync::Arc;

use http::request::Parts;
use http::{Method, Request, Response, StatusCode};
use http_body::Body;
use http_body_util::{BodyExt, Limited};

pub use reply::Page;

use crate::app::App;
use crate::telemetry::metrics::Metrics;

/// What is answered with.
pub type Answer = Response<Page>;

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
    Reload,
    Verify,
    Adjustments,
    Reconcile,
    OpenApi,
}

/// Where reports are.
pub const REPORT: &str = "/admin/v1/report";

/// Where a request is looked up by its id.
pub const REQUESTS: &str = "/admin/v1/requests/";

/// Where the ledger is checked.
pub const VERIFY: &str = "/admin/v1/ledger/verify";

/// Where it is corrected.
pub const ADJUSTMENTS: &str = "/admin/v1/adjustments";

/// Where it is compared with a provider's export.
pub const RECONCILE: &str = "/admin/v1/ledger/reconcile";

/// Where the config is read again.
pub const RELOAD: &str = "/admin/v1/reload";

/// The largest body of a request, but for exports.
const BODY_BYTES_MAX: usize = 64 << 10;

/// Answers one request. A body is read only where one is taken, and after the caller was let in.
pub async fn answer<B>(app: &Arc<App>, door: Door, request: Request<B>) -> Answer
where
    B: Body<Error: Into<Box<dyn std::error::Error + Send + Sync>>>,
{
    let (head, body) = request.into_parts();
    let route = Route::of(head.uri.path());
    if let Err(denied) = access::check(&app.admin_token.load(), door, &head, route) {
        return denied.answer();
    }
    let Some(route) = route else {
        let message = format!("there is no {}; see /admin/v1/openapi.json", head.uri.path());
        return reply::error(StatusCode::NOT_FOUND, "not_found", &message);
    };
    if matches!(route, Route::Adjustments | Route::Reconcile) {
        return post(app, route, &head, body).await;
    }
    if route == Route::Reload {
        return match head.method {
            Method::POST => reload::answer(app).await,
            _ => reply::wrong_method("a reload is asked for with POST", "POST"),
        };
    }
    if head.method != Method::GET && head.method != Method::HEAD {
        return reply::wrong_method("this can only be read, with GET", "GET, HEAD");
    }
    match route {
        Route::Live => state::live(),
        Route::Ready => state::ready(app),
        Route::Metrics => reply::text(Metrics::MEDIA_TYPE, state::metrics(app)),
        Route::Page => page::page(),
        Route::Report => report::answer(app, head.uri.query().unwrap_or_default()).await,
        Route::Lookup(id) => lookup::answer(app, id).await,
        Route::Caps => caps::answer(app),
        Route::Config => reload::config(app),
        Route::Verify => audit::answer(app).await,
        Route::OpenApi | Route::Adjustments | Route::Reconcile | Route::Reload => open_api(),
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
            VERIFY => Self::Verify,
            ADJUSTMENTS => Self::Adjustments,
            RECONCILE => Self::Reconcile,
            "/admin/v1/config" => Self::Config,
            RELOAD => Self::Reload,
            "/admin/v1/openapi.json" => Self::OpenApi,
            other => Self::Lookup(other.strip_prefix(REQUESTS).filter(|id| !id.is_empty() && !id.contains('/'))?),
        })
    }
}

/// What takes a body.
async fn post<B>(app: &Arc<App>, route: Route<'_>, head: &Parts, body: B) -> Answer
where
    B: Body<Error: Into<Box<dyn std::error::Error + Send + Sync>>>,
{
    if head.method != Method::POST {
        return reply::wrong_method("this is posted, with POST", "POST");
    }
    let bytes_max = if route == Route::Reconcile { export::FILE_BYTES_MAX } else { BODY_BYTES_MAX };
    let body = match Limited::new(body, bytes_max).collect().await {
        Ok(body) => body.to_bytes(),
        Err(error) => return reply::error(StatusCode::BAD_REQUEST, "bad_request", &error.to_string()),
    };
    if route == Route::Reconcile {
        return reconcile::answer(app, head.uri.query().unwrap_or_default(), &body).await;
    }
    adjust::answer(app, &body).await
}

fn open_api() -> Answer {
    let text = include_str!("openapi.json").replace("$VERSION", env!("CARGO_PKG_VERSION"));
    reply::text(reply::JSON, text)
}
