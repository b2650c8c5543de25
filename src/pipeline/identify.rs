//! Identify: whom to answer, and whom to bill.
//!
//! It decides by the head alone, before a byte of the body is read. A Tollgate key that is not known is the end; there
//! is no second chance as somebody else.
//!
//! Invariant: nobody uses an upstream's own credential without a Tollgate key, or loopback where config allows it.

use std::sync::Arc;

use http::HeaderName;

use super::arrive::Arrival;
use super::{credential, home};
use crate::app::{App, keys};
use crate::config::ring::Found;
use crate::config::{Anonymous, Key, Permit, TAG_BYTES_MAX, TAGS_MAX};
use crate::domain::account::{Account, Tag};
use crate::domain::refusal::{Cause, Refusal};

const USER: HeaderName = HeaderName::from_static("x-tollgate-user");
const TAGS: HeaderName = HeaderName::from_static("x-tollgate-tags");

/// The name of a caller from this machine without a key.
const LOCAL: &str = "local";

/// Bytes of a user's name.
const USER_BYTES_MAX: usize = 256;

/// Who calls.
#[derive(Clone, Debug)]
pub struct Caller {
    /// Whom the request is billed to.
    pub account: Account,
    /// Whether the caller may use upstreams' own credentials.
    pub is_trusted: bool,
    /// What it may be used for.
    pub policy: Permit,
}

/// Names and values, sorted by name.
type Tags = Arc<[Tag]>;

/// Finds out who calls.
///
/// # Errors
/// No credential, an unknown Tollgate key, or attribution that cannot be read.
pub fn identify(app: &App, arrival: &Arrival) -> Result<Caller, Refusal> {
    let config = &arrival.snapshot.config;
    let server = &config.server;
    if let Some(secret) = credential::tollgate_key(&arrival.head) {
        return match config.key(&secret) {
            Some(key) => by_key(arrival, key),
            None => by_made_key(app, arrival, &secret),
        };
    }
    if server.anonymous == Anonymous::Loopback && home::is_from_here(arrival.peer, &arrival.head) {
        let account = Account { key: LOCAL.into(), user: None, team: None, tags: Arc::default() };
        let policy = Permit::new(None, config.default_rights.key.clone());
        return Ok(Caller { account: attributed(arrival, account, true)?, is_trusted: true, policy });
    }
    match credential::passed(&arrival.head, arrival.endpoint.dialect) {
        Some(secret) if server.allow_passthrough_credentials => {
            let key = credential::name(&app.pepper, &secret);
            let account = Account { key, user: None, team: None, tags: Arc::default() };
            let policy = Permit::new(None, config.default_rights.passthrough.clone());
            Ok(Caller { account: attributed(arrival, account, false)?, is_trusted: false, policy })
        }
        Some(_) => Err(unauthorized("a Tollgate key (tg_...) is needed; other credentials do not pass here")),
        None => Err(unauthorized("no credential: send a Tollgate key (tg_...) where the API key goes")),
    }
}

fn unauthorized(message: &'static str) -> Refusal {
    Refusal::new(Cause::Unauthorized, message)
}

fn by_key(arrival: &Arrival, key: &Arc<Key>) -> Result<Caller, Refusal> {
    if key.is_over(arrival.at_ms) {
        return Err(unauthorized("this Tollgate key has expired"));
    }
    let account = attributed(arrival, key.account.clone(), key.attribute)?;
    Ok(Caller { account, is_trusted: true, policy: key.permit() })
}

/// A key that was made at run time.
fn by_made_key(app: &App, arrival: &Arrival, secret: &str) -> Result<Caller, Refusal> {
    let config = &arrival.snapshot.config;
    let known = || config.ring.find(&keys::digest(&app.pepper, secret), arrival.at_ms);
    let made = match (!config.ring.is_empty()).then(known).flatten() {
        Some(Found::Good(made)) => made,
        Some(Found::Over) => return Err(unauthorized("this Tollgate key has expired")),
        None => return Err(unauthorized("this Tollgate key is not known, or was revoked")),
    };
    let mut account = made.account.clone();
    if account.team.is_none() {
        account.team = account.user.as_ref().and_then(|user| config.users.get(user)?.clone());
    }
    let policy = Permit::new(made.rights.clone(), config.default_rights.key.clone());
    Ok(Caller { account: attributed(arrival, account, made.attribute)?, is_trusted: true, policy })
}

/// Adds the user and the tags that the request names. A user who is named without the right to it is ignored.
fn attributed(arrival: &Arrival, mut account: Account, may_name_user: bool) -> Result<Account, Refusal> {
    let headers = &arrival.head.headers;
    if !may_name_user && headers.contains_key(USER) {
        tracing::debug!(key = &*account.key, "x-tollgate-user is ignored: this caller may not name users");
    }
    if let Some(user) = headers.get(USER).filter(|_| may_name_user) {
        let user = user.to_str().ok().filter(|user| !user.is_empty() && user.len() <= USER_BYTES_MAX);
        let user = user.ok_or_else(|| malformed("x-tollgate-user is no name of 1 to 256 bytes"))?;
        let known = arrival.snapshot.config.users.get_key_value(user);
        account.user = Some(known.map_or_else(|| user.into(), |(name, _)| name.clone()));
        account.team = account.team.or_else(|| known.and_then(|(_, team)| team.clone()));
    }
    if headers.contains_key(TAGS) {
        account.tags = with_tags(&account.tags, headers.get_all(TAGS).iter())?;
    }
    Ok(account)
}

/// The key's tags and those of the request; the key's own win.
fn with_tags<'a>(own: &[Tag], values: impl Iterator<Item = &'a http::HeaderValue>) -> Result<Tags, Refusal> {
    let mut tags = own.to_vec();
    for value in values {
        let text = value.to_str().map_err(|_| malformed("x-tollgate-tags is not plain text"))?;
        for tag in text.split(',').map(str::trim).filter(|tag| !tag.is_empty()) {
            let (name, value) = tag.split_once('=').ok_or_else(|| malformed("x-tollgate-tags: a tag is name=value"))?;
            if tag.len() > TAG_BYTES_MAX || name.is_empty() {
                return Err(malformed("x-tollgate-tags: a tag has a name and at most 64 bytes"));
            }
            if tags.iter().any(|(known, _)| &**known == name) {
                continue;
            }
            if tags.len() == TAGS_MAX {
                return Err(malformed("x-tollgate-tags: at most 8 tags, those of the key included"));
            }
            tags.push((name.into(), value.into()));
        }
    }
    tags.sort();
    Ok(tags.into())
}

fn malformed(message: &'static str) -> Refusal {
    Refusal::new(Cause::Malformed, message)
}
