//! Who may come in: the control socket's users, whoever has the token, and everybody for what tells nothing.
//!
//! A web page that a user of this machine happens to read could ask for `http://127.0.0.1:4001` as well. So a browser
//! must come from this listener's own page (`Origin`), and under a name that no foreign DNS server can point here
//! (`Host`).
//!
//! Invariant: every error ends the request; nothing falls through to another way in.

use std::net::IpAddr;

use http::header::{AUTHORIZATION, HOST, HeaderMap, HeaderName, ORIGIN};
use http::request::Parts;
use http::uri::Authority;
use http::{HeaderValue, StatusCode};

use super::{Answer, Door, Route, reply};
use crate::config::Secret;

/// Why a request stays outside.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Denied {
    /// It comes from another site, or under a name that may be another's.
    Foreign(&'static str),
    /// It has no token, or not ours.
    NoToken,
}

/// Lets a request in, or says why not.
pub fn check(token: &Secret, door: Door, head: &Parts, route: Option<Route<'_>>) -> Result<(), Denied> {
    let peer = match door {
        Door::Socket => return Ok(()),
        Door::Tcp { peer } => peer.to_canonical(),
    };
    is_at_home(head).map_err(Denied::Foreign)?;
    if is_open(route, peer) || presented(&head.headers).is_some_and(|presented| token.matches(presented)) {
        return Ok(());
    }
    Err(Denied::NoToken)
}

impl Denied {
    /// What whoever asked is told.
    pub fn answer(self) -> Answer {
        match self {
            Self::Foreign(message) => reply::error(StatusCode::FORBIDDEN, "forbidden", message),
            Self::NoToken => reply::unauthorized(),
        }
    }
}

/// What needs no token: probes from everywhere; numbers and the page, which shows nothing by itself, on this machine.
const fn is_open(route: Option<Route<'_>>, peer: IpAddr) -> bool {
    match route {
        Some(Route::Live | Route::Ready) => true,
        Some(Route::Metrics | Route::Page) => peer.is_loopback(),
        Some(
            Route::Report
            | Route::Cache
            | Route::CachePurge
            | Route::Lookup(_)
            | Route::Caps
            | Route::Alerts
            | Route::Routes
            | Route::Feedback
            | Route::Config
            | Route::Reload
            | Route::Verify
            | Route::Adjustments
            | Route::TopUps
            | Route::Actions
            | Route::Keys
            | Route::Key(_)
            | Route::KeyRotation(_)
            | Route::Reconcile
            | Route::OpenApi,
        )
        | None => false,
    }
}

/// The token in the one `Authorization` header.
fn presented(headers: &HeaderMap) -> Option<&str> {
    let (scheme, token) = only(headers, AUTHORIZATION).ok()??.to_str().ok()?.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| token.trim())
}

/// Checks under which name, and from which page, the listener is asked.
fn is_at_home(head: &Parts) -> Result<(), &'static str> {
    const FOREIGN_HOST: &str =
        "the Host must be localhost or an IP address: other names may be pointed here by anybody";
    let host = only(&head.headers, HOST).map_err(|()| FOREIGN_HOST)?;
    let foreign_host = host.is_some_and(|host| authority(host).is_none_or(|authority| !is_own(&authority)));
    if foreign_host || head.uri.authority().is_some_and(|authority| !is_own(authority)) {
        return Err(FOREIGN_HOST);
    }
    let origin = only(&head.headers, ORIGIN).map_err(|()| "there is more than one Origin")?;
    let Some(origin) = origin else { return Ok(()) };
    let from =
        origin.to_str().ok().and_then(|origin| origin.strip_prefix("http://").or(origin.strip_prefix("https://")));
    let same = from.zip(host).is_some_and(|(from, host)| host.as_bytes().eq_ignore_ascii_case(from.as_bytes()));
    if same { Ok(()) } else { Err("pages of another origin may not ask") }
}

/// The value of a header that may stand there once.
fn only(headers: &HeaderMap, name: HeaderName) -> Result<Option<&HeaderValue>, ()> {
    let mut values = headers.get_all(name).iter();
    let first = values.next();
    if values.next().is_some() { Err(()) } else { Ok(first) }
}

fn authority(host: &HeaderValue) -> Option<Authority> {
    host.to_str().ok()?.parse().ok()
}

/// Whether no DNS server has a say in the name: an IP address (that of the listener is always one) or `localhost`.
fn is_own(authority: &Authority) -> bool {
    let host = authority.host();
    let bare = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
    let no_user = !authority.as_str().contains('@');
    no_user && (bare.parse::<IpAddr>().is_ok() || host.eq_ignore_ascii_case("localhost"))
}
