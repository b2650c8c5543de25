//! `[cache]` and `[[cache.rules]]`.

use std::time::Duration;

use super::words::{CACHE_MODE, CACHE_SCOPE};
use crate::config::cache::{CACHED, Cache, CacheMode, CachePolicy, CacheRule, CacheScope};
use crate::config::glob::Glob;
use crate::config::limits::covers;
use crate::config::read::Section;
use crate::config::schema::{CACHE, CACHE_RULE};

/// Bytes in a mebibyte and a kibibyte.
const MIB: u64 = 1 << 20;
const KIB: u64 = 1 << 10;

/// Ten years: who wants an answer for ever will have changed the question by then.
const TTL_S_MAX: u64 = 315_360_000;

/// What holds where nothing is said.
const BUILT_IN: CachePolicy = CachePolicy {
    mode: CacheMode::Off,
    store_sampled: false,
    keep_fallbacks: false,
    ttl: Duration::from_secs(3600),
    stale_if_error: Duration::ZERO,
    stale_while_revalidate: Duration::ZERO,
    shadow_percent: 0,
};

pub(super) fn cache(root: &Section<'_>) -> Cache {
    let section = root.section("cache", &CACHE);
    let general = policy(&section, BUILT_IN);
    let cache = Cache {
        memory_bytes: section.number("memory_mib", 256, 1..=1 << 20) * MIB,
        disk_bytes: section.number("disk_mib", 0, 0..=1 << 24) * MIB,
        scope: section.choice("scope", &CACHE_SCOPE, CacheScope::Team),
        answer_bytes_max: bytes(section.number("answer_kib_max", 1024, 1..=1 << 18) * KIB),
        request_bytes_max: bytes(section.number("request_kib_max", 1024, 1..=1 << 18) * KIB),
        join_bytes_max: bytes(section.number("join_kib_max", 1024, 0..=1 << 18) * KIB),
        general,
        rules: section.tables("rules", &CACHE_RULE).iter().map(|section| rule(root, section, general)).collect(),
    };
    if cache.answer_bytes_max as u64 > cache.memory_bytes {
        section.complain("answer_kib_max", "must fit into memory_mib, or the longest answer is never kept");
    }
    cache
}

fn rule(root: &Section<'_>, section: &Section<'_>, general: CachePolicy) -> CacheRule {
    let names = |key| section.texts(key).into_iter().map(|(name, _)| Box::from(name)).collect::<Vec<Box<str>>>();
    for (key, table) in [("upstreams", "upstreams"), ("teams", "teams")] {
        let known: Vec<&str> = root.unchecked(table).into_iter().map(|(name, _)| name).collect();
        for (name, place) in section.texts(key).into_iter().filter(|(name, _)| !known.contains(name)) {
            section.complain_at(place, key, format!("there is no [{table}.{name}]"));
        }
    }
    for (word, place) in section.texts("operations") {
        if !CACHED.iter().any(|operation| covers(word, *operation)) {
            let known: Vec<&str> = CACHED.iter().map(|operation| operation.name()).collect();
            section.complain_at(place, "operations", format!("{word:?} is never cached; known: {}", known.join(", ")));
        }
    }
    let mut models = Vec::new();
    for (text, place) in section.texts("models") {
        match Glob::parse(text) {
            Ok(glob) => models.push(glob),
            Err(error) => section.complain_at(place, "models", error),
        }
    }
    let (operations, upstreams, teams) = (names("operations"), names("upstreams"), names("teams"));
    CacheRule { models, operations, upstreams, teams, policy: policy(section, general) }
}

/// What a section says, and what `general` says where it says nothing.
fn policy(section: &Section<'_>, general: CachePolicy) -> CachePolicy {
    let seconds =
        |key, general: Duration, least| Duration::from_secs(section.number(key, general.as_secs(), least..=TTL_S_MAX));
    CachePolicy {
        mode: section.choice("mode", &CACHE_MODE, general.mode),
        store_sampled: section.flag("store_sampled", general.store_sampled),
        keep_fallbacks: section.flag("keep_fallbacks", general.keep_fallbacks),
        ttl: seconds("ttl_s", general.ttl, 1),
        stale_if_error: seconds("stale_if_error_s", general.stale_if_error, 0),
        stale_while_revalidate: seconds("stale_while_revalidate_s", general.stale_while_revalidate, 0),
        shadow_percent: section.number("shadow_percent", general.shadow_percent, 0..=100),
    }
}

fn bytes(number: u64) -> usize {
    usize::try_from(number).unwrap_or(usize::MAX)
}
