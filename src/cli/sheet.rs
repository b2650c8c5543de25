//! What applies to one key, of the config or made at run time, and what a request with it would meet now.
//!
//! Caps, limits and rights are those of the file that is checked; what is spent, held and left is told by the server of the
//! store, or read from the store where none runs.

use std::fmt::Write;
use std::sync::Arc;

use serde_json::Value;

use super::{control, tell};
use crate::admin::caps;
use crate::admin::keys::show;
use crate::admin::{CAPS, KEYS};
use crate::bank::standings;
use crate::clock::Clock;
use crate::config::{Config, Secret, Upstream};
use crate::domain::account::{Account, Scope, Tag};
use crate::domain::cap::{Capped, Enforcement, Limit, OnExceed};
use crate::domain::key::Kind;
use crate::store::{Journal, Options};

/// What is known of a key besides the file.
#[derive(Default)]
struct Now {
    /// The key, as `/admin/v1/keys/NAME` shows it.
    key: Value,
    /// Every cap, as `/admin/v1/caps` shows them.
    caps: Value,
}

/// The sheet of the key `id`, one line for each fact.
///
/// # Errors
/// There is no such key, or the server does not answer.
pub async fn of(config: &Config, id: &str) -> Result<String, String> {
    let folder = &config.store.path;
    let target = format!("{KEYS}/{id}");
    let is_plain = id.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.@".contains(&byte));
    let told = match is_plain {
        true => control::ask(folder, &target).await.map_err(|error| format!("the server does not answer: {error}"))?,
        false => None,
    };
    let mut now = match told {
        Some(key) => {
            let caps = control::ask(folder, CAPS).await.map_err(|error| error.to_string())?;
            Now { key: json(&key.body), caps: caps.map(|caps| json(&caps.body)).unwrap_or_default() }
        }
        None if folder.exists() => alone(config, id).unwrap_or_else(|why| {
            tell(&format!("what was spent is not known: {why}"));
            Now::default()
        }),
        None => Now::default(),
    };
    // The file has the last word on its own keys.
    if let Some(key) = show(config, id, None, Clock::system().now_ms()).filter(|_| config.keys.contains_key(id)) {
        let limits = now.key["limits"].take();
        now.key = json(key.as_bytes());
        now.key["limits"] = limits;
    }
    match now.key["key"].as_str() {
        Some(_) => Ok(written(config, id, &now)),
        None => {
            let known: Vec<&str> = config.keys.keys().map(|id| &**id).collect();
            let known = if known.is_empty() { "none".to_owned() } else { known.join(", ") };
            Err(format!("neither the config nor the store has a key {id:?}; known: {known}; see `tollgate keys list`"))
        }
    }
}

/// The same from the files of a store that nobody serves.
fn alone(config: &Config, id: &str) -> Result<Now, String> {
    let now_ms = Clock::system().now_ms();
    let opened = Journal::open(&config.store.path, Options::default(), now_ms);
    let (_journal, recovered) = opened.map_err(|error| error.to_string())?;
    let _unusable = config.ring.fill(recovered.keys.clone());
    let standings = standings(config, &recovered, now_ms).map_err(|error| error.to_string())?;
    let key = show(config, id, None, now_ms).unwrap_or_default();
    Ok(Now { key: json(key.as_bytes()), caps: json(caps::list(&standings).as_bytes()) })
}

fn written(config: &Config, id: &str, now: &Now) -> String {
    let (key, mut out) = (&now.key, String::new());
    let text = |name: &str| key[name].as_str().filter(|text| !text.is_empty()).unwrap_or("none").to_owned();
    let tags: Vec<Tag> = key["tags"].as_object().into_iter().flatten().filter_map(tag).collect();
    let shown: Vec<String> = tags.iter().map(|(name, value)| format!("{name}={value}")).collect();
    let secrets = config.keys.get(id).map(|key| key.secrets.iter().map(described_secret).collect::<Vec<_>>());
    let secret = secrets.map_or_else(|| "*** made at run time".to_owned(), |secrets| secrets.join(", or "));
    let attribute = match key["attribute"].as_bool() {
        Some(true) => "x-tollgate-user is billed",
        Some(false) | None => "x-tollgate-user is ignored",
    };
    for (name, value) in [
        ("key", id.to_owned()),
        ("status", text("status")),
        ("secret", secret),
        ("team", text("team")),
        ("user", text("user")),
        ("tags", if shown.is_empty() { "none".to_owned() } else { shown.join(", ") }),
        ("attribute", attribute.to_owned()),
        ("expires", key["expires_at"].as_str().unwrap_or("never").to_owned()),
    ] {
        line(name, &value, &mut out);
    }
    rights(config, id, key, &mut out);
    let name = |name: &str| key[name].as_str().map(Arc::from);
    let user: Option<Arc<str>> = name("user");
    let team = name("team").or_else(|| config.users.get(user.as_ref()?)?.clone());
    let account = Account { key: id.into(), user, team, tags: tags.into() };
    caps_of(config, &account, &now.caps, &mut out);
    limits(config, &account, &key["limits"], &mut out);
    config.upstreams.iter().for_each(|upstream| line("upstream", &described(upstream), &mut out));
    out
}

/// What the key may be used for: its own lists, and in place of those that it does not have, the defaults.
fn rights(config: &Config, id: &str, key: &Value, out: &mut String) {
    let before = out.len();
    let defaults = config.default_rights.key.as_ref().filter(|_| !config.keys.contains_key(id)).map(|own| own.lists());
    for kind in Kind::ALL {
        let own = key[kind.name()].as_array().map(|items| items.iter().filter_map(Value::as_str).collect::<Vec<_>>());
        let default = || Some(defaults.as_ref()?.of(kind)?.iter().map(|item| &**item).collect());
        let Some(items) = own.or_else(default) else { continue };
        let items = if items.is_empty() { "none".to_owned() } else { items.join(", ") };
        line("only", &format!("{}: {items}", kind.name()), out);
    }
    if out.len() == before {
        line("only", "no list: everything is allowed", out);
    }
}

/// The caps that every request of the key meets; those of models only if it asks for one.
fn caps_of(config: &Config, account: &Account, now: &Value, out: &mut String) {
    let mut found = config.capped(account, "");
    found.retain(|capped| !matches!(capped.scope, Scope::Model(_) | Scope::Tag(_)));
    for (tag, policy) in &config.caps.tags {
        let carries = |(name, value): &Tag| tag.split_once('=').is_some_and(|(n, v)| n == &**name && v == &**value);
        if account.tags.iter().any(carries) {
            found.push(Capped { scope: Scope::Tag(tag.clone()), policy: policy.clone() });
        }
    }
    found.extend(config.caps.models.iter().map(|(_, capped)| capped.clone()));
    if found.is_empty() {
        return line("caps", "none", out);
    }
    for capped in found {
        for limit in &capped.policy.limits {
            line("cap", &cap(&capped, limit, now), out);
        }
    }
}

fn cap(capped: &Capped, limit: &Limit, now: &Value) -> String {
    let (kind, name, window) = (capped.scope.kind(), capped.scope.name(), limit.window.to_string());
    let is_it = |row: &&Value| row["scope"] == kind && row["name"] == name && row["window"] == *window;
    let row = now["caps"].as_array().into_iter().flatten().find(is_it);
    let usd = |field: &str| row.and_then(|row| row[field].as_str()).unwrap_or("0").to_owned();
    // What was topped up counts, which the file does not say.
    let most = row.and_then(|row| row["cap_usd"].as_str()).map_or_else(|| limit.usd.to_string(), str::to_owned);
    let left = row.map_or_else(|| most.clone(), |_| usd("left_usd"));
    let whose = format!("{kind} {name}");
    let mut text = format!(
        "{}, {window}: ${most}, ${} spent, ${} held, ${left} left",
        whose.trim_end(),
        usd("spent_usd"),
        usd("held_usd")
    );
    if let Some(at) = row.and_then(|row| row["resets_at"].as_str()) {
        text.push_str(&format!("; resets {at}"));
    }
    text.push_str(match &capped.policy.on_exceed {
        OnExceed::Refuse => "; then refused",
        OnExceed::Shrink => "; then limited to the affordable output",
        OnExceed::Downgrade(_) => "; then sent for ",
        OnExceed::CacheOnly => "; then answered from the cache alone",
    });
    if let OnExceed::Downgrade(model) = &capped.policy.on_exceed {
        text.push_str(model);
    }
    if capped.policy.enforcement == Enforcement::Metered {
        text.push_str("; metered");
    }
    text
}

/// A line for each scope whose limits the key's requests count in, and one for each of them that is told as it stands.
fn limits(config: &Config, account: &Account, now: &Value, out: &mut String) {
    let parties = config.limits.parties(account);
    for party in parties.iter().flatten() {
        let whose = format!("{} {}", party.scope.kind(), party.scope.name());
        line("limits", &format!("{}: {}", whose.trim_end(), party.limits), out);
        let is_of = |row: &&Value| row["scope"] == party.scope.kind() && row["name"] == party.scope.name();
        for row in now.as_array().into_iter().flatten().filter(is_of) {
            let number = |name: &str| row[name].as_u64().unwrap_or(0);
            let (limit, remaining, max) =
                (row["limit"].as_str().unwrap_or_default(), number("remaining"), number("max"));
            line("now", &format!("{}: {limit}: {remaining} of {max} left", whose.trim_end()), out);
        }
    }
    if parties.iter().all(Option::is_none) {
        line("limits", "none", out);
    }
}

fn tag((name, value): (&String, &Value)) -> Option<Tag> {
    Some((name.as_str().into(), value.as_str()?.into()))
}

fn json(text: &[u8]) -> Value {
    serde_json::from_slice(text).unwrap_or_default()
}

fn described_secret(secret: &Secret) -> String {
    format!("{secret} from {}", secret.origin())
}

fn described(upstream: &Upstream) -> String {
    let origins: Vec<&str> = upstream.api_keys.iter().map(|key| key.secret.origin()).collect();
    let credential = match origins.is_empty() {
        true => "no api_key: callers send their own provider key as well".to_owned(),
        false => format!("api_key from {}", origins.join(" or ")),
    };
    let models: Vec<&str> = upstream.models.iter().map(|glob| glob.as_str()).collect();
    let models = match models.is_empty() {
        true => String::new(),
        false => format!(", models {}", models.join(" ")),
    };
    format!("{} ({}, {}{models}), {credential}", upstream.name, upstream.dialect.name(), upstream.base_url)
}

fn line(name: &str, value: &str, out: &mut String) {
    // A String takes everything.
    let _ = writeln!(out, "{name:<10} {value}");
}
