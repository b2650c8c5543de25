//! What is meant: the only validator. It turns the tree of what was said into a [`Config`], and complains about
//! everything that is wrong at once.
//!
//! Invariant: what it returns needs no further check; the rooms that use a config do not validate.

mod connections;
mod server;
mod upstreams;
mod callers;
mod limits;
mod caps;
mod alerts;
mod cache;
mod rights;
mod prices;
mod routing;
mod fallbacks;
mod resilience;

use super::error::Complaints;
use super::parts::Config;
use super::raw::Entry;
use super::read::Section;
use super::ring::Lent;
use super::secret::Vault;

/// What resolving depends on besides what was said.
pub(super) struct Setting<'a> {
    /// Whether there is no config file, so that callers on this machine need no key.
    pub without_file: bool,
    /// Where secrets come from.
    pub vault: Vault<'a>,
}

/// The config that `tree` means. It is only good if nothing was complained about.
pub(super) fn config(tree: &[Entry], setting: &Setting<'_>, complaints: &Complaints) -> Config {
    let root = Section::root(tree, complaints);
    let server = server::server(&root, setting);
    let network = connections::network(&root, &setting.vault);
    let upstreams = upstreams::upstreams(&root, &network, &setting.vault);
    let routing = routing::routing(&root, &upstreams);
    let money = server::money(&root);
    let callers = callers::callers(&root, setting, &upstreams, &money.time_zone);
    let (store, caps) = (server::store(&root), caps::caps(&root));
    let alerts = alerts::alerts(&root, &network, &setting.vault);
    Config {
        file: None,
        server,
        store,
        money,
        log: server::log(&root),
        network,
        fallbacks: fallbacks::fallbacks(&root, &upstreams),
        upstreams,
        teams: callers.teams,
        users: callers.users,
        keys: callers.keys,
        limits: limits::limits(&root),
        prices: prices::prices(&root),
        caps,
        alerts,
        routing,
        cache: cache::cache(&root),
        default_rights: rights::defaults(&root),
        ring: Lent::default(),
        by_digest: callers.by_digest,
    }
}

/// The members of a closed set by the words they have in the file.
pub(super) mod words {
    use super::super::alerts::{OnRepeat, Shape};
    use super::super::cache::{CacheMode, CacheScope};
    use super::super::connections::ProxyUse;
    use super::super::parts::{Anonymous, IncludeUsage, LogFormat, LogLevel, OnClientAbort, UnknownPaths};
    use super::super::resilience::Balance;
    use crate::domain::cap::Enforcement;
    use crate::domain::entry::Tier;
    use crate::domain::operation::Dialect;
    use crate::domain::routing::{Classifier, Mode};

    pub(in super::super) const ANONYMOUS: [(&str, Anonymous); 2] =
        [("off", Anonymous::Off), ("loopback", Anonymous::Loopback)];
    pub(in super::super) const UNKNOWN_PATHS: [(&str, UnknownPaths); 2] =
        [("refuse", UnknownPaths::Refuse), ("forward", UnknownPaths::Forward)];
    pub(in super::super) const ON_CLIENT_ABORT: [(&str, OnClientAbort); 2] =
        [("drain", OnClientAbort::Drain), ("cancel", OnClientAbort::Cancel)];
    pub(in super::super) const ON_REPEAT: [(&str, OnRepeat); 3] =
        [("alert", OnRepeat::Alert), ("throttle", OnRepeat::Throttle), ("refuse", OnRepeat::Refuse)];
    pub(in super::super) const SHAPE: [(&str, Shape); 2] = [("json", Shape::Json), ("slack", Shape::Slack)];
    pub(in super::super) const MODE: [(&str, Mode); 3] =
        [("off", Mode::Off), ("observe", Mode::Observe), ("enforce", Mode::Enforce)];
    pub(in super::super) const CLASSIFIER: [(&str, Classifier); 3] =
        [("local", Classifier::Local), ("llm", Classifier::Llm), ("hybrid", Classifier::Hybrid)];
    pub(in super::super) const TIER: [(&str, Tier); 3] =
        [("simple", Tier::Simple), ("medium", Tier::Medium), ("complex", Tier::Complex)];
    pub(in super::super) const ENFORCEMENT: [(&str, Enforcement); 2] =
        [("ceiling", Enforcement::Ceiling), ("metered", Enforcement::Metered)];
    pub(in super::super) const INCLUDE_USAGE: [(&str, IncludeUsage); 2] =
        [("splice", IncludeUsage::Splice), ("keep", IncludeUsage::Keep)];
    pub(in super::super) const LOG_FORMAT: [(&str, LogFormat); 2] =
        [("json", LogFormat::Json), ("text", LogFormat::Text)];
    pub(in super::super) const LOG_LEVEL: [(&str, LogLevel); 4] =
        [("error", LogLevel::Error), ("warn", LogLevel::Warn), ("info", LogLevel::Info), ("debug", LogLevel::Debug)];
    pub(in super::super) const CACHE_MODE: [(&str, CacheMode); 3] =
        [("off", CacheMode::Off), ("exact", CacheMode::Exact), ("near", CacheMode::Near)];
    pub(in super::super) const CACHE_SCOPE: [(&str, CacheScope); 3] =
        [("key", CacheScope::Key), ("team", CacheScope::Team), ("shared", CacheScope::Shared)];
    pub(in super::super) const PROXY: [(&str, ProxyUse); 2] = [("env", ProxyUse::Environment), ("off", ProxyUse::Off)];
    pub(in super::super) const BALANCE: [(&str, Balance); 2] =
        [("least-busy", Balance::LeastBusy), ("weighted", Balance::Weighted)];
    pub(in super::super) const DIALECT: [(&str, Dialect); 3] =
        [("openai", Dialect::OpenAi), ("anthropic", Dialect::Anthropic), ("gemini", Dialect::Gemini)];
}
