//! WHAT THE OPERATOR SEES: readiness, numbers, reports, single requests and the config, over HTTP.
//!
//! It changes nothing but keys, and by adjustments and reloads, and it calls no upstream: a probe costs nothing.
//!
//! Reading order: [`access`] says who may come in, `reply` how answers look, [`state`] how the process is, [`query`],
//! [`zone`] and [`report`] what the ledger comes to ([`reprice`]: and would, [`hindsight`]: under another config), [`rows`] its single lines, [`lookup`] what one request was, [`audit`] whether all of it is sound,
//! [`adjust`] how it is corrected, [`top_up`] how prepaid caps are raised, [`actions`] what operators did, [`keys`] who may call, [`export`] and [`reconcile`] what a provider says of the same, `reload` how the config is
//! read again, and `page` what a browser gets; [`routes`] what was learned of routes.
//!
//! Invariant: who may come in is decided from the raw path before anything else is looked at, and a path that does not
//! exist is as closed as one that does.

mod access;
mod reply;
pub mod state;
pub mod query;
pub mod zone;
pub mod report;
pub mod hindsight;
pub mod lookup;
pub mod audit;
pub mod adjust;
pub mod top_up;
pub mod actions;
pub mod keys;
pub mod rows;
pub mod reprice;
mod export_json;
mod export_csv;
pub mod export;
pub mod reconcile;
mod reload;
mod page;
mod alerts;
pub mod cache;
pub mod caps;
mod feedback;
pub mod routes;
mod upstreams;

use std::net::IpAddr;
use std::sync::Arc;

use bytes::Bytes;
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
    Alerts,
    Feedback,
    Routes,
    Config,
    Reload,
    Verify,
    Adjustments,
    TopUps,
    Actions,
    Keys,
    Key(&'a str),
    KeyRotation(&'a str),
    Reconcile,
    Cache,
    CachePurge,
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

/// Where caps stand.
pub const CAPS: &str = "/admin/v1/caps";

/// Where prepaid caps are raised.
pub const TOP_UPS: &str = "/admin/v1/top-ups";

/// Where it stands what operators did.
pub const ACTIONS: &str = "/admin/v1/actions";

/// Where keys are.
pub const KEYS: &str = "/admin/v1/keys";

/// Where it is compared with a provider's export.
pub const RECONCILE: &str = "/admin/v1/ledger/reconcile";

/// Where the cache is looked at.
pub const CACHE: &str = "/admin/v1/cache";

/// Where answers are forgotten.
pub const CACHE_PURGE: &str = "/admin/v1/cache/purge";

/// What was learned of routes.
pub const ROUTES: &str = "/admin/v1/routes";

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
    let takes = route.takes();
    if !takes.split(", ").any(|method| head.method == method) {
        return reply::wrong_method(&format!("{} takes {takes}", head.uri.path()), takes);
    }
    let body = match head.method {
        Method::GET | Method::HEAD => Bytes::new(),
        _ => match Limited::new(body, route.body_bytes_max()).collect().await {
            Ok(body) => body.to_bytes(),
            Err(error) => return reply::error(StatusCode::BAD_REQUEST, "bad_request", &error.to_string()),
        },
    };
    match route {
        Route::Adjustments => adjust::answer(app, &body).await,
        Route::Feedback => feedback::answer(app, &body).await,
        Route::Reconcile => reconcile::answer(app, head.uri.query().unwrap_or_default(), &body).await,
        Route::Reload => reload::answer(app, &body).await,
        Route::TopUps => top_up::answer(app, &body).await,
        Route::Actions => actions::answer(app, head.uri.query().unwrap_or_default()).await,
        Route::Keys => keys::answer(app, &head.method, &body).await,
        Route::Key(name) => keys::answer_one(app, name, &head.method, &body).await,
        Route::KeyRotation(name) => keys::rotate(app, name, &body).await,
        Route::Live => state::live(),
        Route::Ready => state::ready(app),
        Route::Metrics => reply::text(Metrics::MEDIA_TYPE, state::metrics(app)),
        Route::Page => page::page(),
        Route::Report => report::answer(app, head.uri.query().unwrap_or_default()).await,
        Route::Lookup(id) => lookup::answer(app, id).await,
        Route::Caps => caps::answer(app),
        Route::Alerts => alerts::answer(app),
        Route::Routes => routes::answer(app),
        Route::Config => reload::config(app),
        Route::Verify => audit::answer(app).await,
        Route::Cache => cache::stats(app),
        Route::CachePurge => cache::purge(app, &body).await,
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
            CAPS => Self::Caps,
            "/admin/v1/alerts" => Self::Alerts,
            "/admin/v1/feedback" => Self::Feedback,
            ROUTES => Self::Routes,
            VERIFY => Self::Verify,
            ADJUSTMENTS => Self::Adjustments,
            TOP_UPS => Self::TopUps,
            ACTIONS => Self::Actions,
            RECONCILE => Self::Reconcile,
            CACHE => Self::Cache,
            CACHE_PURGE => Self::CachePurge,
            "/admin/v1/config" => Self::Config,
            RELOAD => Self::Reload,
            "/admin/v1/openapi.json" => Self::OpenApi,
            KEYS => Self::Keys,
            other => return Self::of_one(other),
        })
    }

    /// A path that ends in a name.
    fn of_one(path: &'a str) -> Option<Self> {
        let is_name = |name: &&str| !name.is_empty() && !name.contains('/');
        if let Some(id) = path.strip_prefix(REQUESTS) {
            return Some(id).filter(is_name).map(Self::Lookup);
        }
        let key = path.strip_prefix(KEYS)?.strip_prefix('/')?;
        match key.strip_suffix("/rotate") {
            Some(name) => Some(name).filter(is_name).map(Self::KeyRotation),
            None => Some(key).filter(is_name).map(Self::Key),
        }
    }

    /// The largest body that it takes.
    fn body_bytes_max(self) -> usize {
        if self == Self::Reconcile { export::FILE_BYTES_MAX } else { BODY_BYTES_MAX }
    }

    /// The methods that it takes.
    const fn takes(self) -> &'static str {
        match self {
            Self::Adjustments
            | Self::CachePurge
            | Self::TopUps
            | Self::Feedback
            | Self::Reconcile
            | Self::Reload
            | Self::KeyRotation(_) => "POST",
            Self::Keys => "GET, HEAD, POST",
            Self::Key(_) => "GET, HEAD, DELETE",
            Self::Live
            | Self::Ready
            | Self::Metrics
            | Self::Page
            | Self::Report
            | Self::Lookup(_)
            | Self::Caps
            | Self::Actions
            | Self::Alerts
            | Self::Routes
            | Self::Config
            | Self::Verify
            | Self::Cache
            | Self::OpenApi => "GET, HEAD",
        }
    }
}

fn open_api() -> Answer {
    let text = include_str!("openapi.json").replace("$VERSION", env!("CARGO_PKG_VERSION"));
    reply::text(reply::JSON, text)
}
