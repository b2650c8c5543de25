//! The keys of `[upstreams.NAME]` that say what is done where it fails, is slow or stays silent.

use std::ops::RangeInclusive;
use std::time::Duration;

use super::server::seconds;
use super::words::BALANCE;
use crate::config::read::Section;
use crate::config::resilience::{ApiKey, Balance, Breaking, Patience, Retries, Sharing};
use crate::config::schema::API_KEY;
use crate::config::secret::Vault;
use crate::domain::operation::Dialect;

/// Claude Code warns its user after 20 s without a byte, and Anthropic's own pings come about every 30 s (FIELD-NOTES 49).
const ANTHROPIC_KEEP_ALIVE_S: u64 = 15;

/// Credentials of one upstream; a request remembers which it has tried.
const API_KEYS_MAX: usize = 32;

/// The largest share of one among equals.
const WEIGHT: RangeInclusive<u64> = 1..=1_000;

/// `api_key`, or several under `api_keys`.
pub(super) fn api_keys(section: &Section<'_>, vault: &Vault<'_>) -> Vec<ApiKey> {
    if section.find("api_keys").is_none() {
        return vault.secret(section, "api_key").map(|secret| ApiKey { secret, weight: 1 }).into_iter().collect();
    }
    if section.find("api_key").is_some() {
        section.complain("api_keys", "there is an api_key as well; put it into the list");
    }
    let tables = section.tables("api_keys", &API_KEY);
    if tables.is_empty() || tables.len() > API_KEYS_MAX {
        section.complain("api_keys", format!("must name from 1 to {API_KEYS_MAX} credentials"));
    }
    let read = |table: &Section<'_>| {
        let secret = vault.fetch(section, "api_keys", table)?;
        Some(ApiKey { secret, weight: number32(table, "weight", 1, WEIGHT) })
    };
    let keys: Vec<ApiKey> = tables.iter().filter_map(read).collect();
    let is_twice = |at: usize, key: &ApiKey| keys[..at].iter().any(|other| other.secret.matches(key.secret.expose()));
    if keys.iter().enumerate().any(|(at, key)| is_twice(at, key)) {
        section.complain("api_keys", "two of them are the same credential");
    }
    keys
}

pub(super) fn sharing(section: &Section<'_>) -> Sharing {
    let group = section.text("group");
    if group == Some("") {
        section.complain("group", "must be a word that equal upstreams have in common");
    }
    if group.is_none() && section.find("weight").is_some() {
        section.complain("weight", "does nothing without group");
    }
    Sharing {
        group: group.map(Into::into),
        weight: number32(section, "weight", 1, WEIGHT),
        balance: section.choice("balance", &BALANCE, Balance::LeastBusy),
        cooldown: seconds(section, "credential_cooldown_s", 60),
    }
}

pub(super) fn retries(section: &Section<'_>) -> Retries {
    Retries {
        max: number32(section, "retries", 2, 0..=10),
        wait_max: seconds(section, "retry_wait_s_max", 10),
        budget_percent: section.number("retry_budget_percent", 10, 0..=100),
        unanswered: section.flag("retry_unanswered", false),
    }
}

pub(super) fn breaking(section: &Section<'_>) -> Breaking {
    Breaking {
        failures: number32(section, "breaker_failures", 5, 0..=1_000_000),
        window: seconds(section, "breaker_window_s", 30),
        cooldown: seconds(section, "breaker_cooldown_s", 60),
    }
}

pub(super) fn patience(section: &Section<'_>, dialect: Dialect) -> Patience {
    let default_s = if dialect == Dialect::Anthropic { ANTHROPIC_KEEP_ALIVE_S } else { 0 };
    let keep_alive_s = section.number("keep_alive_s", default_s, 0..=3_600);
    if dialect == Dialect::Gemini && keep_alive_s > 0 {
        section.complain("keep_alive_s", "Google's SDKs take anything but data for an error, so that there is none");
    }
    Patience {
        answer: seconds(section, "total_timeout_s", 120),
        thinking: seconds(section, "thinking_timeout_s", 600),
        other: seconds(section, "other_timeout_s", 30),
        keep_alive: (keep_alive_s > 0).then(|| Duration::from_secs(keep_alive_s)),
    }
}

fn number32(section: &Section<'_>, key: &str, default: u64, range: RangeInclusive<u64>) -> u32 {
    u32::try_from(section.number(key, default, range)).unwrap_or(u32::MAX)
}
