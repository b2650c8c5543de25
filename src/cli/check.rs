//! `tollgate check`: the config as it is meant, or everything that is wrong with it.

use std::fmt::Write;

use super::args::{Check, EXIT_FAILED};
use super::{load, print, tell};
use crate::config::{Config, Key, Secret, Upstream};
use crate::domain::account::{Account, Scope};
use crate::domain::cap::OnExceed;

/// Prints the config, or what applies to one key, and returns the exit code.
#[must_use]
pub fn run(args: &Check) -> u8 {
    let config = match load(&args.config) {
        Ok(config) => config,
        Err(exit) => return exit,
    };
    let Some(id) = &args.key else {
        let file = config.file.as_ref().map_or("built-in defaults".to_owned(), |file| file.display().to_string());
        let exit = print(config.render_starred());
        tell(&format!("{file}: ok, config {}", config.hash()));
        return exit;
    };
    match config.keys.get(id.as_str()) {
        Some(key) => print(sheet(&config, key)),
        None => {
            let known: Vec<&str> = config.keys.keys().map(|id| &**id).collect();
            let known = if known.is_empty() { "there are none".to_owned() } else { known.join(", ") };
            tell(&format!("the config has no key {id:?}; known: {known}"));
            EXIT_FAILED
        }
    }
}

/// What applies to a key, one line each.
fn sheet(config: &Config, key: &Key) -> String {
    let account = &key.account;
    let tags: Vec<String> = account.tags.iter().map(|(name, value)| format!("{name}={value}")).collect();
    let attribute = match key.attribute {
        true => "x-tollgate-user is billed",
        false => "x-tollgate-user is ignored",
    };
    let none = |text: &str| if text.is_empty() { "none".to_owned() } else { text.to_owned() };
    let mut out = String::new();
    for (name, value) in [
        ("key", account.key.to_string()),
        ("secret", key.secrets.iter().map(described_secret).collect::<Vec<_>>().join(", or ")),
        ("team", none(account.team.as_deref().unwrap_or_default())),
        ("user", none(account.user.as_deref().unwrap_or_default())),
        ("tags", none(&tags.join(", "))),
        ("attribute", attribute.to_owned()),
    ] {
        line(name, &value, &mut out);
    }
    caps(config, key, &mut out);
    limits(config, account, &mut out);
    config.upstreams.iter().for_each(|upstream| line("upstream", &described(upstream), &mut out));
    out
}

/// The caps that every request of the key meets; those of models only if it asks for one.
fn caps(config: &Config, key: &Key, out: &mut String) {
    let mut found = config.capped(&key.account, "");
    found.retain(|capped| !matches!(capped.scope, Scope::Model(_)));
    found.extend(config.caps.models.iter().map(|(_, capped)| capped.clone()));
    if found.is_empty() {
        return line("caps", "none", out);
    }
    for capped in found {
        let limits: Vec<String> =
            capped.policy.limits.iter().map(|limit| format!("{} ${}", limit.window, limit.usd)).collect();
        let near = match &capped.policy.on_exceed {
            OnExceed::Refuse => "then refused".to_owned(),
            OnExceed::Shrink => "then limited to the affordable output".to_owned(),
            OnExceed::Downgrade(model) => format!("then sent for {model}"),
            OnExceed::CacheOnly => "then answered from the cache alone".to_owned(),
        };
        line("cap", &format!("{} {}: {}; {near}", capped.scope.kind(), capped.scope.name(), limits.join(", ")), out);
    }
}

/// A line for each scope whose limits the key's requests count in.
fn limits(config: &Config, account: &Account, out: &mut String) {
    let parties = config.limits.parties(account);
    for party in parties.iter().flatten() {
        let whose = format!("{} {}", party.scope.kind(), party.scope.name());
        line("limits", &format!("{}: {}", whose.trim_end(), party.limits), out);
    }
    if parties.iter().all(Option::is_none) {
        line("limits", "none", out);
    }
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
