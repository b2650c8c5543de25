//! The keys that each section may hold: those that this version enforces, and those of later versions.
//!
//! A key that would do nothing is refused: a cap that was accepted and not enforced is worse than none.
//!
//! Invariant: a key stands under `now` only if something in this version obeys it.

use std::sync::LazyLock;

use crate::domain::price::Override;

/// The keys of one kind of section.
pub(super) struct Keys {
    /// Keys that this version obeys.
    pub now: &'static [&'static str],
    /// Keys of the documented config that this version does not obey yet.
    pub later: &'static [&'static str],
}

/// What a section that holds nothing else may say of its callers.
const POLICY: Keys = Keys { now: &["limits", "caps", "on_exceed", "enforcement", "alerts"], later: &[] };

pub(super) const ROOT: Keys = Keys {
    now: &[
        "server",
        "store",
        "money",
        "log",
        "network",
        "upstreams",
        "organisation",
        "defaults",
        "teams",
        "users",
        "keys",
        "prices",
        "models",
        "tags",
        "alerts",
        "cache",
        "routing",
    ],
    later: &[],
};

pub(super) const SERVER: Keys = Keys {
    now: &[
        "listen",
        "tls",
        "socket_mode",
        "admin_listen",
        "admin_token",
        "allow_passthrough_credentials",
        "anonymous",
        "unknown_paths",
        "body_limit_mib",
        "body_memory_mib",
        "body_timeout_s",
        "connections_max",
        "in_flight_max",
        "queue_max",
        "queue_wait_s",
        "header_timeout_s",
        "header_bytes_max",
        "http2_streams_max",
        "write_timeout_s",
        "drain_s",
        "threads",
    ],
    later: &[],
};

pub(super) const SERVER_TLS: Keys = Keys { now: &["cert", "key", "client_ca", "handshake_timeout_s"], later: &[] };

pub(super) const NETWORK: Keys = Keys { now: &["ca_file", "proxy"], later: &[] };

pub(super) const STORE: Keys = Keys {
    now: &["path", "lock_wait_s", "sync_interval_ms", "segment_mib", "unsynced_records_max", "retention_days"],
    later: &[],
};

pub(super) const MONEY: Keys = Keys {
    now: &[
        "time_zone",
        "refusal_status",
        "on_client_abort",
        "drain_s_max",
        "drain_mib_max",
        "hold_expiry_s",
        "unsynced_share",
        "metered_tokens",
    ],
    later: &[],
};

pub(super) const LOG: Keys = Keys { now: &["format", "level", "path"], later: &[] };

pub(super) const UPSTREAM: Keys = Keys {
    now: &[
        "preset",
        "dialect",
        "base_url",
        "api_key",
        "api_keys",
        "group",
        "weight",
        "balance",
        "credential_cooldown_s",
        "models",
        "include_usage",
        "provider",
        "free",
        "drop_version",
        "http2",
        "proxy",
        "ca_file",
        "client_cert",
        "client_key",
        "connect_timeout_s",
        "first_byte_timeout_s",
        "idle_timeout_s",
        "total_timeout_s",
        "thinking_timeout_s",
        "other_timeout_s",
        "keep_alive_s",
        "pool_idle_s",
        "pool_age_s",
        "pool_max_idle",
        "retries",
        "retry_wait_s_max",
        "retry_budget_percent",
        "retry_unanswered",
        "breaker_failures",
        "breaker_window_s",
        "breaker_cooldown_s",
    ],
    later: &[],
};

pub(super) const CACHE: Keys = Keys {
    now: &[
        "mode",
        "store_sampled",
        "keep_fallbacks",
        "ttl_s",
        "stale_if_error_s",
        "stale_while_revalidate_s",
        "shadow_percent",
        "memory_mib",
        "disk_mib",
        "scope",
        "answer_kib_max",
        "request_kib_max",
        "join_kib_max",
        "rules",
    ],
    later: &[],
};

pub(super) const CACHE_RULE: Keys = Keys {
    now: &[
        "models",
        "operations",
        "upstreams",
        "teams",
        "mode",
        "store_sampled",
        "keep_fallbacks",
        "ttl_s",
        "stale_if_error_s",
        "stale_while_revalidate_s",
        "shadow_percent",
    ],
    later: &[],
};

pub(super) const ORGANISATION: Keys = POLICY;

pub(super) const DEFAULTS: Keys = Keys { now: &["key", "user", "passthrough"], later: &[] };

/// Callers without a section of their own.
pub(super) const DEFAULT: Keys = Keys {
    now: &[
        "limits",
        "caps",
        "on_exceed",
        "enforcement",
        "alerts",
        "models",
        "upstreams",
        "operations",
        "tools",
        "server_tools",
        "networks",
    ],
    later: &[],
};

pub(super) const DEFAULT_USER: Keys = POLICY;

pub(super) const ALERTS: Keys = Keys {
    now: &[
        "webhooks",
        "window_s",
        "requests_min",
        "again_after_s",
        "p95_latency_s",
        "error_percent",
        "context_percent",
        "request_usd",
        "tool_success_percent",
        "completion_percent",
        "escalation_percent",
        "unusual_factor",
        "unusual_usd_min",
        "repeats",
        "repeat_window_s",
        "on_repeat",
    ],
    later: &[],
};

pub(super) const WEBHOOK: Keys = Keys { now: &["url", "format", "secret", "ca_file", "proxy"], later: &[] };

pub(super) const MODEL: Keys =
    Keys { now: &["caps", "on_exceed", "enforcement", "fallback", "fallback_answer", "alerts"], later: &["limits"] };

/// Tags, which are limited by nothing but caps.
pub(super) const CAPPED: Keys = Keys { now: &["caps", "on_exceed", "enforcement", "alerts"], later: &["limits"] };

pub(super) const CAPS: Keys = Keys { now: &["day", "week", "month", "total", "rolling"], later: &[] };

pub(super) const ROLLING: Keys = Keys { now: &["usd", "hours"], later: &[] };

pub(super) const LIMITS: Keys = Keys {
    now: &[
        "requests_per_minute",
        "requests_per_day",
        "tokens_per_minute",
        "in_flight",
        "operations",
        "cached_token_percent",
    ],
    later: &[],
};

pub(super) const TEAM: Keys = POLICY;

pub(super) const USER: Keys =
    Keys { now: &["team", "limits", "caps", "on_exceed", "enforcement", "alerts"], later: &[] };

pub(super) const KEY: Keys = Keys {
    now: &[
        "secret",
        "team",
        "user",
        "tags",
        "attribute",
        "limits",
        "caps",
        "on_exceed",
        "enforcement",
        "alerts",
        "expires",
        "models",
        "upstreams",
        "operations",
        "tools",
        "server_tools",
        "networks",
    ],
    later: &[],
};

/// The prices of an [`Override`] and its limits. The list is made and leaked once.
pub(super) static PRICE: LazyLock<Keys> = LazyLock::new(|| {
    let names: Vec<_> = Override::fields().chain(["max_output", "context", "can", "endpoints"]).collect();
    Keys { now: names.leak(), later: &[] }
});

pub(super) const ROUTING: Keys = Keys {
    now: &[
        "mode",
        "routable",
        "classifier",
        "judge",
        "turns",
        "escalate",
        "list_auto",
        "max_output",
        "tiers",
        "teams",
        "routes",
    ],
    later: &[],
};

pub(super) const JUDGE: Keys = Keys { now: &["upstream", "model", "deadline_ms", "max_tokens"], later: &[] };

pub(super) const TIERS: Keys = Keys { now: &["simple", "medium", "complex"], later: &[] };

/// What a team or a route may narrow.
pub(super) const BOUNDS: Keys = Keys { now: &["mode", "floor", "ceiling", "max_output"], later: &[] };

/// One of several credentials of an upstream.
pub(super) const API_KEY: Keys = Keys { now: &["env", "file", "command", "timeout_s", "weight"], later: &[] };

pub(super) const SECRET: Keys = Keys { now: &["env", "file", "command", "timeout_s"], later: &[] };

/// The sections whose keys have one fixed name, for hints across sections.
const FIXED: [(&str, &Keys); 7] = [
    ("alerts", &ALERTS),
    ("cache", &CACHE),
    ("server", &SERVER),
    ("network", &NETWORK),
    ("store", &STORE),
    ("money", &MONEY),
    ("log", &LOG),
];

/// What is wrong with `name` as one of `keys`, or nothing.
pub(super) fn complaint(name: &str, keys: &Keys) -> Option<String> {
    if keys.now.contains(&name) {
        return None;
    }
    if keys.later.contains(&name) {
        return Some("not enforced by this version of tollgate, so it is refused rather than ignored".to_owned());
    }
    let near = keys.now.iter().chain(keys.later).map(|known| (distance(name, known), known)).min();
    if let Some((_, known)) = near.filter(|(edits, known)| *edits <= 1 + known.len() / 4) {
        return Some(format!("unknown key; did you mean \"{known}\"?"));
    }
    let elsewhere = FIXED.iter().find(|(_, keys)| keys.now.contains(&name));
    Some(match (elsewhere, keys.now.is_empty()) {
        (Some((section, _)), _) => format!("unknown key here; did you mean {section}.{name}?"),
        (None, true) => "unknown key; there are none here in this version".to_owned(),
        (None, false) => format!("unknown key; known here: {}", keys.now.join(", ")),
    })
}

/// Insertions, deletions and replacements that turn one word into the other.
fn distance(from: &str, to: &str) -> usize {
    let to: Vec<char> = to.chars().collect();
    let mut row: Vec<usize> = (0..=to.len()).collect();
    for (index, letter) in from.chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = index + 1;
        for (at, other) in to.iter().enumerate() {
            let replaced = diagonal + usize::from(letter != *other);
            diagonal = row[at + 1];
            row[at + 1] = replaced.min(diagonal + 1).min(row[at] + 1);
        }
    }
    row[to.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn edits_are_counted() {
        for (from, to, edits) in [("listne", "listen", 2), ("", "ab", 2), ("same", "same", 0), ("cap", "caps", 1)] {
            assert_eq!(distance(from, to), edits, "{from} {to}");
        }
    }
}
