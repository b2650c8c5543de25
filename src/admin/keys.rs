//! `/admin/v1/keys`: keys that are made, rotated and revoked while the process runs, and those of the config, to be seen.
//!
//! The commands use the same code over the control socket, and without a server on the store itself.
//!
//! Invariant: a secret is in one answer, that of the request which made it.

use std::collections::BTreeMap;
use std::sync::Arc;

use http::{Method, StatusCode};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::zone::age_ms;
use super::{Answer, reply};
use crate::app::{App, keys};
use crate::bank::NotChanged;
use crate::config::moment::{EXAMPLES, moment};
use crate::config::{Config, Key, Rights, Secret, TAG_BYTES_MAX, TAGS_MAX};
use crate::domain::account::Tag;
use crate::domain::json_text::Object;
use crate::domain::key::{Digest, Grant, KeyAct, KeyEvent, KeyFault, KeyState, Kind, Lists};
use crate::domain::utc::Moment;
use crate::telemetry::family::{Title, write_sample};

/// Who acts where nobody says who.
pub(super) const ACTOR: &str = "admin";

/// Bytes of a name, and of an item of a list.
const NAME_BYTES_MAX: usize = 64;
const ITEM_BYTES_MAX: usize = 256;

/// Items of one list.
const ITEMS_MAX: usize = 100;

/// The longest time for which an old secret stays good: 30 days.
const OVERLAP_S_MAX: u64 = 30 * 86_400;

/// A key to be made.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct ToMake {
    /// Its name, which nobody had before.
    pub name: String,
    /// The team that it is billed to.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub team: Option<String>,
    /// The user that it is billed to.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub user: Option<String>,
    /// Tags by name.
    pub tags: BTreeMap<String, String>,
    /// Whether `x-tollgate-user` may name the user.
    pub attribute: bool,
    /// When it ends: a day, a time, or how long from now (`90d`).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub expires: Option<String>,
    /// See [`Kind`]; left out, everything is allowed that `[defaults.key]` allows.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub models: Option<Vec<String>>,
    /// See `models`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub upstreams: Option<Vec<String>>,
    /// See `models`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub operations: Option<Vec<String>>,
    /// See `models`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tools: Option<Vec<String>>,
    /// See `models`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub server_tools: Option<Vec<String>>,
    /// See `models`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub networks: Option<Vec<String>>,
    /// Who makes it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub actor: Option<String>,
    /// Why.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

/// Something to be done to a key that there is.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct ToChange {
    /// For how many seconds the old secret stays good; only where a key is rotated.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub overlap_s: Option<u64>,
    /// Who does it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub actor: Option<String>,
    /// Why.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

impl ToMake {
    /// What is to be written down.
    ///
    /// # Errors
    /// What cannot be as it is said.
    pub fn event(&self, config: &Config, digest: Digest, now_ms: u64) -> Result<KeyEvent, String> {
        check_name(&self.name)?;
        if config.keys.contains_key(self.name.as_str()) {
            return Err(format!("name: the config has a key {:?} already", self.name));
        }
        if let Some(team) =
            self.team.as_deref().filter(|team| !config.teams.is_empty() && !config.teams.contains(*team))
        {
            return Err(format!("team: the config has no team {team:?}"));
        }
        let expires_ms = match self.expires.as_deref().map(|text| (text, ends(text, config, now_ms))) {
            None => None,
            Some((text, None)) => return Err(format!("expires: {text:?} {EXAMPLES}, or a time from now such as 90d")),
            Some((text, Some(at_ms))) if at_ms <= now_ms => return Err(format!("expires: {text:?} is over already")),
            Some((_, Some(at_ms))) => Some(at_ms),
        };
        let named = |text: &Option<String>| text.as_deref().filter(|text| !text.is_empty()).map(Arc::from);
        let (user, team, tags, lists) = (named(&self.user), named(&self.team), self.tags()?, self.lists()?);
        let grant = Grant { user, team, tags, attribute: self.attribute, expires_ms, lists, digest };
        Ok(event(&self.name, self.actor.as_deref(), self.reason.as_deref(), KeyAct::Made(Box::new(grant)), now_ms))
    }

    fn tags(&self) -> Result<Arc<[Tag]>, String> {
        if self.tags.len() > TAGS_MAX {
            return Err(format!("tags: at most {TAGS_MAX}"));
        }
        let odd = |text: &str| text.is_empty() || text.contains(|letter: char| letter == ',' || letter.is_control());
        for (name, value) in &self.tags {
            if odd(name) || odd(value) || name.contains('=') || name.len() + 1 + value.len() > TAG_BYTES_MAX {
                let rule = "a tag is NAME=VALUE without commas, in at most 64 bytes";
                return Err(format!("tags: {name:?}: {rule}"));
            }
        }
        Ok(self.tags.iter().map(|(name, value)| (name.as_str().into(), value.as_str().into())).collect())
    }

    fn lists(&self) -> Result<Lists, String> {
        let mut lists = Lists::default();
        for (kind, said) in [
            (Kind::Models, &self.models),
            (Kind::Upstreams, &self.upstreams),
            (Kind::Operations, &self.operations),
            (Kind::Tools, &self.tools),
            (Kind::ServerTools, &self.server_tools),
            (Kind::Networks, &self.networks),
        ] {
            let Some(said) = said else { continue };
            if said.len() > ITEMS_MAX || said.iter().any(|item| item.len() > ITEM_BYTES_MAX) {
                return Err(format!("{}: at most {ITEMS_MAX} items of {ITEM_BYTES_MAX} bytes", kind.name()));
            }
            lists.set(kind, Some(said.iter().map(|item| item.as_str().into()).collect()));
        }
        Rights::of(&lists).map_err(|(kind, why)| format!("{}: {why}", kind.name()))?;
        Ok(lists)
    }
}

impl ToChange {
    /// A rotation, as it is to be written down.
    ///
    /// # Errors
    /// The overlap is too long.
    pub fn rotation(&self, name: &str, digest: Digest, now_ms: u64) -> Result<KeyEvent, String> {
        let overlap_s = self.overlap_s.unwrap_or(0);
        if overlap_s > OVERLAP_S_MAX {
            return Err(format!("overlap_s: at most {OVERLAP_S_MAX}"));
        }
        let act = KeyAct::Rotated { digest, overlap_until_ms: now_ms.saturating_add(overlap_s * 1000) };
        Ok(event(name, self.actor.as_deref(), self.reason.as_deref(), act, now_ms))
    }

    /// A revocation, as it is to be written down.
    ///
    /// # Errors
    /// There is no overlap when a key is revoked.
    pub fn revocation(&self, name: &str, now_ms: u64) -> Result<KeyEvent, String> {
        match self.overlap_s {
            Some(_) => Err("overlap_s: a key is revoked at once".to_owned()),
            None => Ok(event(name, self.actor.as_deref(), self.reason.as_deref(), KeyAct::Revoked, now_ms)),
        }
    }
}

/// Every key as JSON: those of the config first.
#[must_use]
pub fn list(config: &Config, now_ms: u64) -> String {
    let mut out = String::new();
    {
        let mut object = Object::open(&mut out);
        let mut list = object.list("keys");
        config.keys.values().for_each(|key| write_configured(key, now_ms, &mut list.object()));
        for (name, state) in &config.ring.book().0 {
            write_made(name, state, now_ms, &mut list.object());
        }
    }
    out + "\n"
}

/// One key as JSON, with its secret where it was just made; `None` if there is none.
#[must_use]
pub fn show(config: &Config, name: &str, secret: Option<&Secret>, now_ms: u64) -> Option<String> {
    let mut out = String::new();
    let book = config.ring.book();
    {
        let mut object = Object::open(&mut out);
        match (config.keys.get(name), book.0.get(name)) {
            (Some(key), _) => write_configured(key, now_ms, &mut object),
            (None, Some(state)) => write_made(name, state, now_ms, &mut object),
            (None, None) => return None,
        }
        if let Some(secret) = secret {
            object.text("secret", secret.expose());
        }
    }
    Some(out + "\n")
}

/// `/admin/v1/keys`
pub(super) async fn answer(app: &App, method: &Method, body: &[u8]) -> Answer {
    let config = &app.snapshot.load_full().config;
    let now_ms = app.clock.now_ms();
    if *method != Method::POST {
        return reply::text(reply::JSON, list(config, now_ms));
    }
    let asked: ToMake = match parsed(body) {
        Ok(asked) => asked,
        Err(why) => return bad(&why),
    };
    let Ok(secret) = keys::secret(&app.mint) else { return no_randomness() };
    match asked.event(config, keys::digest(&app.pepper, secret.expose()), now_ms) {
        Ok(event) => change(app, config, event, Some(&secret)).await,
        Err(why) => bad(&why),
    }
}

/// `/admin/v1/keys/NAME`
pub(super) async fn answer_one(app: &App, name: &str, method: &Method, body: &[u8]) -> Answer {
    let config = &app.snapshot.load_full().config;
    let now_ms = app.clock.now_ms();
    if *method != Method::DELETE {
        let shown = show(config, name, None, now_ms).map(|shown| with_limits(app, config, name, shown));
        return shown.map_or_else(|| absent(name), |shown| reply::text(reply::JSON, shown));
    }
    match parsed::<ToChange>(body).and_then(|asked| asked.revocation(name, now_ms)) {
        Ok(event) => change(app, config, event, None).await,
        Err(why) => bad(&why),
    }
}

/// What is `shown` of a key, and how its limits stand.
fn with_limits(app: &App, config: &Config, name: &str, shown: String) -> String {
    let Some(account) = config.account_of(name) else { return shown };
    let mut out = String::new();
    {
        let mut object = Object::open(&mut out);
        let mut list = object.list("limits");
        for (scope, limit, level) in app.limiter.levels(&config.limits.parties(&account)) {
            let mut row = list.object();
            row.text("scope", scope.kind()).text("name", scope.name()).text("limit", &limit);
            row.number("max", level.limit).number("remaining", level.remaining).number("reset_ms", level.reset_ms);
        }
    }
    // The one object goes on in the other.
    let (head, tail) = (shown.trim_end().strip_suffix('}'), out.strip_prefix('{'));
    head.zip(tail).map_or(shown.clone(), |(head, tail)| format!("{head},{tail}\n"))
}

/// `/admin/v1/keys/NAME/rotate`
pub(super) async fn rotate(app: &App, name: &str, body: &[u8]) -> Answer {
    let config = &app.snapshot.load_full().config;
    let asked: ToChange = match parsed(body) {
        Ok(asked) => asked,
        Err(why) => return bad(&why),
    };
    let Ok(secret) = keys::secret(&app.mint) else { return no_randomness() };
    match asked.rotation(name, keys::digest(&app.pepper, secret.expose()), app.clock.now_ms()) {
        Ok(event) => change(app, config, event, Some(&secret)).await,
        Err(why) => bad(&why),
    }
}

async fn change(app: &App, config: &Config, event: KeyEvent, secret: Option<&Secret>) -> Answer {
    let (name, is_new) = (event.key.clone(), matches!(event.act, KeyAct::Made(_)));
    if config.keys.contains_key(&name) {
        let message = format!("the key {name:?} is one of the config: change it there and reload");
        return reply::error(StatusCode::CONFLICT, "conflict", &message);
    }
    let revokes = event.act == KeyAct::Revoked;
    match app.bank.change_key(&config.ring, event).await {
        Ok(()) => {
            if is_new && let Err(error) = app.bank.recount(|| app.snapshot.load().config.clone()).await {
                tracing::error!(%error, key = &*name, "caps do not count what this name has spent before");
            }
            let shown = show(config, &name, secret, app.clock.now_ms()).unwrap_or_default();
            let mut answer = reply::text(reply::JSON, shown);
            *answer.status_mut() = if is_new { StatusCode::CREATED } else { StatusCode::OK };
            answer
        }
        Err(NotChanged::Fault(KeyFault::Absent)) => absent(&name),
        Err(NotChanged::Fault(fault @ (KeyFault::Known | KeyFault::Revoked))) => {
            reply::error(StatusCode::CONFLICT, "conflict", &format!("{name:?}: {fault}"))
        }
        Err(NotChanged::Unwritten(error)) => {
            let rest = if revokes { "; the key is refused until this process ends, and comes back then" } else { "" };
            let message = format!("the ledger cannot be written: {error}{rest}");
            reply::error(StatusCode::SERVICE_UNAVAILABLE, "store_unavailable", &message)
        }
    }
}

/// Adds how many keys there are.
pub(super) fn write_metrics(app: &App, out: &mut String) {
    let (config, now_ms) = (&app.snapshot.load().config, app.clock.now_ms());
    let name = "tollgate_keys";
    Title { name, kind: "gauge", help: "Keys by where they come from and what became of them" }.write(out);
    let of_config = |is_over| config.keys.values().filter(|key| key.is_over(now_ms) == is_over).count();
    let book = config.ring.book();
    let of_store = |status| book.0.values().filter(|state| status_of(state, now_ms) == status).count();
    for (source, status, count) in [
        ("config", "live", of_config(false)),
        ("config", "expired", of_config(true)),
        ("store", "live", of_store("live")),
        ("store", "expired", of_store("expired")),
        ("store", "revoked", of_store("revoked")),
    ] {
        write_sample(name, &format!("source=\"{source}\",status=\"{status}\""), count, out);
    }
}

fn status_of(state: &KeyState, now_ms: u64) -> &'static str {
    match state.revoked_ms {
        Some(_) => "revoked",
        None if state.is_live(now_ms) => "live",
        None => "expired",
    }
}

fn event(name: &str, actor: Option<&str>, reason: Option<&str>, act: KeyAct, at_ms: u64) -> KeyEvent {
    let actor = actor.map(str::trim).filter(|actor| !actor.is_empty()).unwrap_or(ACTOR);
    KeyEvent { at_ms, key: name.into(), actor: actor.into(), reason: reason.unwrap_or_default().trim().into(), act }
}

fn check_name(name: &str) -> Result<(), String> {
    let fits = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.@".contains(&byte);
    if name.is_empty() || name.len() > NAME_BYTES_MAX || !name.bytes().all(fits) || name.starts_with('.') {
        return Err(format!("name: 1 to {NAME_BYTES_MAX} letters, digits and -_.@ that do not begin with a dot"));
    }
    if name == "local" { Err("name: \"local\" is the name of callers without a key".to_owned()) } else { Ok(()) }
}

/// A moment, or a time from now.
fn ends(text: &str, config: &Config, now_ms: u64) -> Option<u64> {
    let from_now = age_ms(text).map(|wait_ms| now_ms.saturating_add(wait_ms));
    from_now.or_else(|| moment(text, &config.money.time_zone))
}

fn write_configured(key: &Key, now_ms: u64, object: &mut Object<'_>) {
    let account = &key.account;
    object.text("key", &account.key).text("source", "config");
    object.text("status", if key.is_over(now_ms) { "expired" } else { "live" });
    write_whom(account.team.as_deref(), account.user.as_deref(), &account.tags, object);
    object.truth("attribute", key.attribute);
    moment_or_null("expires_at", key.expires_ms, object);
    write_lists(&key.permit().lists(), object);
}

fn write_made(name: &str, state: &KeyState, now_ms: u64, object: &mut Object<'_>) {
    let grant = &state.grant;
    object.text("key", name).text("source", "store").text("status", status_of(state, now_ms));
    write_whom(grant.team.as_deref(), grant.user.as_deref(), &grant.tags, object);
    object.truth("attribute", grant.attribute);
    moment_or_null("expires_at", grant.expires_ms, object);
    write_lists(&grant.lists, object);
    object.shown("created_at", Moment(state.made_ms)).text("created_by", &state.made_by);
    moment_or_null("rotated_at", state.rotated_ms, object);
    let overlap = state.previous.map(|(_, until_ms)| until_ms).filter(|until_ms| *until_ms > now_ms);
    moment_or_null("old_secret_until", overlap, object);
    moment_or_null("revoked_at", state.revoked_ms, object);
}

fn write_whom(team: Option<&str>, user: Option<&str>, tags: &[Tag], object: &mut Object<'_>) {
    object.text_or_null("team", team).text_or_null("user", user);
    let mut own = object.object("tags");
    for (name, value) in tags {
        own.text(name, value);
    }
}

fn write_lists(lists: &Lists, object: &mut Object<'_>) {
    for kind in Kind::ALL {
        match lists.of(kind) {
            None => {
                object.null(kind.name());
            }
            Some(list) => {
                let mut out = object.list(kind.name());
                for item in list {
                    out.text(item);
                }
            }
        }
    }
}

fn moment_or_null(name: &str, at_ms: Option<u64>, object: &mut Object<'_>) {
    object.text_or_null(name, at_ms.map(|at_ms| Moment(at_ms).to_string()).as_deref());
}

/// What a body says; nothing is said by an empty one.
pub(super) fn parsed<T: DeserializeOwned + Default>(body: &[u8]) -> Result<T, String> {
    if body.is_empty() {
        return Ok(T::default());
    }
    serde_json::from_slice(body).map_err(|error| error.to_string())
}

pub(super) fn bad(message: &str) -> Answer {
    reply::error(StatusCode::BAD_REQUEST, "bad_request", message)
}

fn absent(name: &str) -> Answer {
    reply::error(StatusCode::NOT_FOUND, "not_found", &format!("{name:?}: {}", KeyFault::Absent))
}

fn no_randomness() -> Answer {
    reply::error(StatusCode::INTERNAL_SERVER_ERROR, "no_randomness", "the system gives no random numbers")
}
