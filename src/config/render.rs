//! The resolved config as TOML with its secrets starred, for `check` and for the config's hash.
//!
//! Invariant: what is printed reads back as the same config once the stars are replaced by the secrets' sources.

use std::fmt::{self, Display, Write};
use std::sync::Arc;
use std::time::Duration;

use super::alerts::Alerts;
use super::cache::{Cache, CachePolicy};
use super::caps::Caps;
use super::connections::{Authorities, Network, ServerTls};
use super::glob::Glob;
use super::limits::Limits;
use super::parts::{Config, Key, Upstream};
use super::resilience::{ApiKey, Chain, Fallbacks};
use super::resolve::words;
use super::rights::Rights;
use super::routing::Routing;
use super::secret::Secret;
use crate::domain::cap::{Policy, Share, Window};
use crate::domain::key::Kind;
use crate::domain::price::Override;
use crate::domain::utc::Moment;

/// Bytes in a mebibyte.
const MIB: u64 = 1 << 20;

/// Writes all of `config`.
pub(super) fn starred(config: &Config) -> String {
    let mut out = String::new();
    // Writing into a String cannot fail.
    let _ = Page(&mut out).config(config);
    out
}

struct Page<'a>(&'a mut String);

impl Page<'_> {
    fn config(&mut self, config: &Config) -> fmt::Result {
        self.server(config)?;
        self.network(&config.network)?;
        for upstream in &config.upstreams {
            self.upstream(upstream)?;
        }
        let limits = &config.limits;
        self.policies(config)?;
        for team in &config.teams {
            self.head("teams", team)?;
            self.limits(limits.teams.get(team).map(|limits| &**limits))?;
            self.caps(config.caps.teams.get(team))?;
        }
        // A user whom only a key names has no section, so that the defaults apply.
        for (user, team) in config.users.iter().filter(|(user, _)| limits.users.contains_key(*user)) {
            self.head("users", user)?;
            self.maybe("team", team.as_deref().map(quoted))?;
            self.limits(limits.users.get(user).and_then(Option::as_deref))?;
            self.caps(config.caps.users.get(user))?;
        }
        for (id, key) in &config.keys {
            self.key(id, key)?;
            self.limits(limits.keys.get(id).and_then(Option::as_deref))?;
            self.caps(config.caps.keys.get(id))?;
        }
        self.other_caps(&config.caps, &config.fallbacks)?;
        self.alerts(&config.alerts)?;
        self.cache(&config.cache)?;
        self.routing(&config.routing)?;
        config.prices.iter().try_for_each(|(model, price)| self.price(model, price))
    }

    fn server(&mut self, config: &Config) -> fmt::Result {
        let (server, store, money, log) = (&config.server, &config.store, &config.money, &config.log);
        self.0.write_str("[server]\n")?;
        self.line("listen", quoted(&server.listen))?;
        self.line("socket_mode", quoted(format_args!("{:o}", server.socket_mode)))?;
        self.line("admin_listen", quoted(server.admin_listen))?;
        self.secret("admin_token", server.admin_token.as_ref())?;
        self.line("allow_passthrough_credentials", server.allow_passthrough_credentials)?;
        self.line("anonymous", word(&words::ANONYMOUS, server.anonymous))?;
        self.line("unknown_paths", word(&words::UNKNOWN_PATHS, server.unknown_paths))?;
        self.line("body_limit_mib", server.body_limit_bytes / MIB)?;
        self.line("body_memory_mib", server.body_memory_bytes / MIB)?;
        self.line("body_timeout_s", server.body_timeout.as_secs())?;
        self.line("connections_max", server.connections_max)?;
        self.line("in_flight_max", server.in_flight_max.unwrap_or(0))?;
        self.line("queue_max", server.queue_max)?;
        self.line("queue_wait_s", server.queue_wait.as_secs())?;
        self.line("header_timeout_s", server.header_timeout.as_secs())?;
        self.line("header_bytes_max", server.header_bytes_max)?;
        self.line("http2_streams_max", server.http2_streams_max)?;
        self.line("write_timeout_s", server.write_timeout.as_secs())?;
        self.line("drain_s", server.drain.as_secs())?;
        self.line("threads", server.threads.unwrap_or(0))?;
        self.tls(server.tls.as_ref())?;
        self.0.write_str("\n[store]\n")?;
        self.line("path", quoted(store.path.display()))?;
        self.line("lock_wait_s", store.lock_wait.as_secs())?;
        self.line("sync_interval_ms", store.sync_interval.as_millis())?;
        self.line("segment_mib", store.segment_bytes / MIB)?;
        self.line("unsynced_records_max", store.unsynced_records_max)?;
        self.line("retention_days", store.retention_days.unwrap_or(0))?;
        self.0.write_str("\n[money]\n")?;
        self.line("time_zone", quoted(money.time_zone.iana_name().unwrap_or("UTC")))?;
        self.line("refusal_status", money.refusal_status)?;
        self.line("on_client_abort", word(&words::ON_CLIENT_ABORT, money.on_client_abort))?;
        self.line("drain_s_max", money.drain_max.as_secs())?;
        self.line("drain_mib_max", money.drain_bytes_max / MIB)?;
        self.line("hold_expiry_s", money.hold_expiry.as_secs())?;
        self.line("unsynced_share", money.unsynced_share)?;
        self.line("metered_tokens", money.metered_tokens)?;
        self.0.write_str("\n[log]\n")?;
        self.line("format", word(&words::LOG_FORMAT, log.format))?;
        self.line("level", word(&words::LOG_LEVEL, log.level))?;
        self.maybe("path", log.path.as_ref().map(|path| quoted(path.display())))
    }

    fn tls(&mut self, tls: Option<&ServerTls>) -> fmt::Result {
        let Some(tls) = tls else { return Ok(()) };
        self.0.write_str("\n[server.tls]\n")?;
        self.line("cert", quoted(&tls.identity.cert))?;
        self.line("key", quoted(&tls.identity.key))?;
        self.authorities("client_ca", tls.client_ca.as_deref())?;
        self.line("handshake_timeout_s", tls.handshake_timeout.as_secs())
    }

    fn network(&mut self, network: &Network) -> fmt::Result {
        self.0.write_str("\n[network]\n")?;
        self.authorities("ca_file", network.ca.as_deref())?;
        self.line("proxy", word(&words::PROXY, network.proxy))
    }

    fn authorities(&mut self, key: &str, authorities: Option<&Authorities>) -> fmt::Result {
        self.maybe(key, authorities.map(|authorities| quoted(&authorities.path)))
    }

    fn upstream(&mut self, upstream: &Upstream) -> fmt::Result {
        self.head("upstreams", &upstream.name)?;
        self.line("dialect", quoted(upstream.dialect.name()))?;
        self.line("base_url", quoted(&upstream.base_url))?;
        self.api_keys(&upstream.api_keys)?;
        let models: Vec<String> = upstream.models.iter().map(|glob| quoted(glob.as_str())).collect();
        self.line("models", format_args!("[{}]", models.join(", ")))?;
        self.line("include_usage", word(&words::INCLUDE_USAGE, upstream.include_usage))?;
        self.line("provider", quoted(&upstream.provider))?;
        self.line("free", upstream.free)?;
        self.line("drop_version", upstream.drop_version)?;
        let way = &upstream.way;
        self.line("http2", way.http2)?;
        self.line("proxy", word(&words::PROXY, way.proxy_use))?;
        self.authorities("ca_file", way.ca[1].as_deref())?;
        self.maybe("client_cert", way.identity.as_ref().map(|identity| quoted(&identity.cert)))?;
        self.maybe("client_key", way.identity.as_ref().map(|identity| quoted(&identity.key)))?;
        let seconds = |wait: Duration| wait.as_secs();
        self.line("connect_timeout_s", seconds(upstream.connect_timeout))?;
        self.line("first_byte_timeout_s", seconds(upstream.first_byte_timeout))?;
        self.line("idle_timeout_s", seconds(upstream.idle_timeout))?;
        let patience = &upstream.patience;
        self.line("total_timeout_s", seconds(patience.answer))?;
        self.line("thinking_timeout_s", seconds(patience.thinking))?;
        self.line("other_timeout_s", seconds(patience.other))?;
        self.line("keep_alive_s", patience.keep_alive.map_or(0, seconds))?;
        self.line("pool_idle_s", seconds(upstream.pool_idle))?;
        self.line("pool_age_s", seconds(upstream.pool_age))?;
        self.line("pool_max_idle", upstream.pool_max_idle)?;
        let (retries, breaking) = (&upstream.retries, &upstream.breaking);
        self.line("retries", retries.max)?;
        self.line("retry_wait_s_max", seconds(retries.wait_max))?;
        self.line("retry_budget_percent", retries.budget_percent)?;
        self.line("retry_unanswered", retries.unanswered)?;
        self.line("breaker_failures", breaking.failures)?;
        self.line("breaker_window_s", seconds(breaking.window))?;
        self.line("breaker_cooldown_s", seconds(breaking.cooldown))?;
        let sharing = &upstream.sharing;
        self.maybe("group", sharing.group.as_deref().map(quoted))?;
        self.maybe("weight", sharing.group.as_ref().map(|_| sharing.weight))?;
        self.line("balance", word(&words::BALANCE, sharing.balance))?;
        self.line("credential_cooldown_s", seconds(sharing.cooldown))
    }

    fn api_keys(&mut self, keys: &[ApiKey]) -> fmt::Result {
        match keys {
            [] => Ok(()),
            [only] if only.weight == 1 => self.secret("api_key", Some(&only.secret)),
            several => {
                let weights: Vec<String> = several
                    .iter()
                    .map(|key| format!("{{ env = \"{}\", weight = {} }}", key.secret, key.weight))
                    .collect();
                let origins: Vec<&str> = several.iter().map(|key| key.secret.origin()).collect();
                self.line("api_keys", format_args!("[{}]  # {}", weights.join(", "), origins.join(", ")))
            }
        }
    }

    fn key(&mut self, id: &str, key: &Key) -> fmt::Result {
        self.head("keys", id)?;
        match &key.secrets[..] {
            [secret] => self.secret("secret", Some(secret))?,
            several => {
                let stars: Vec<String> = several.iter().map(quoted).collect();
                let origins: Vec<&str> = several.iter().map(Secret::origin).collect();
                self.line("secret", format_args!("[{}]  # {}", stars.join(", "), origins.join(", ")))?;
            }
        }
        self.maybe("team", key.account.team.as_deref().map(quoted))?;
        self.maybe("user", key.account.user.as_deref().map(quoted))?;
        let tags: Vec<String> =
            key.account.tags.iter().map(|(name, value)| format!("{} = {}", quoted(name), quoted(value))).collect();
        self.maybe("tags", Some(tags.join(", ")).filter(|tags| !tags.is_empty()).map(|tags| format!("{{ {tags} }}")))?;
        self.line("attribute", key.attribute)?;
        self.maybe("expires", key.expires_ms.map(|at_ms| quoted(Moment(at_ms))))?;
        self.rights(key.rights.as_deref())
    }

    fn rights(&mut self, rights: Option<&Rights>) -> fmt::Result {
        let Some(rights) = rights else { return Ok(()) };
        let lists = rights.lists();
        Kind::ALL.into_iter().try_for_each(|kind| {
            let list = lists.of(kind).map(|list| list.iter().map(quoted).collect::<Vec<_>>().join(", "));
            self.maybe(kind.name(), list.map(|list| format!("[{list}]")))
        })
    }

    /// The sections that hold nothing but what callers are allowed.
    fn policies(&mut self, config: &Config) -> fmt::Result {
        let (caps, limits) = (&config.caps, &config.limits);
        let rights = &config.default_rights;
        for (section, caps, limits, rights) in [
            ("organisation", &caps.organisation, &limits.organisation, &None),
            ("defaults.key", &caps.default_key, &limits.default_key, &rights.key),
            ("defaults.user", &caps.default_user, &limits.default_user, &None),
            ("defaults.passthrough", &caps.default_passthrough, &limits.default_passthrough, &rights.passthrough),
        ] {
            if caps.is_some() || limits.is_some() || rights.is_some() {
                writeln!(self.0, "\n[{section}]")?;
                self.limits(limits.as_deref())?;
                self.caps(caps.as_ref())?;
                self.rights(rights.as_deref())?;
            }
        }
        Ok(())
    }

    fn limits(&mut self, limits: Option<&Limits>) -> fmt::Result {
        self.maybe("limits", limits.map(|limits| format!("{{ {limits} }}")))
    }

    /// The caps of what callers ask for and are marked with.
    fn other_caps(&mut self, caps: &Caps, fallbacks: &Fallbacks) -> fmt::Result {
        let chain_of = |glob: &Glob| fallbacks.iter().find(|(known, _)| known == glob).map(|(_, chain)| chain);
        for (glob, capped) in &caps.models {
            self.head("models", glob.as_str())?;
            self.caps(Some(&capped.policy))?;
            if let Some(chain) = chain_of(glob) {
                self.fallback(chain)?;
            }
        }
        for (glob, chain) in fallbacks.iter().filter(|(glob, _)| caps.models.iter().all(|(known, _)| known != glob)) {
            self.head("models", glob.as_str())?;
            self.fallback(chain)?;
        }
        for (tag, policy) in &caps.tags {
            self.head("tags", tag)?;
            self.caps(Some(policy))?;
        }
        Ok(())
    }

    fn fallback(&mut self, chain: &Chain) -> fmt::Result {
        let said: Vec<String> = chain.others.iter().map(|fallback| quoted(&fallback.said)).collect();
        self.maybe("fallback", (!said.is_empty()).then(|| format!("[{}]", said.join(", "))))?;
        self.maybe("fallback_answer", chain.answer.as_deref().map(quoted))
    }

    fn caps(&mut self, policy: Option<&Arc<Policy>>) -> fmt::Result {
        let Some(policy) = policy else { return Ok(()) };
        let (mut fixed, mut rolling) = (Vec::new(), Vec::new());
        for limit in &policy.limits {
            match limit.window {
                Window::Rolling { hours } => {
                    rolling.push(format!("{{ usd = {}, hours = {hours} }}", quoted(limit.usd)));
                }
                window @ (Window::Day | Window::Week | Window::Month | Window::Total) => {
                    fixed.push(format!("{window} = {}", quoted(limit.usd)));
                }
            }
        }
        if !rolling.is_empty() {
            fixed.push(format!("rolling = [{}]", rolling.join(", ")));
        }
        self.line("caps", format_args!("{{ {} }}", fixed.join(", ")))?;
        self.line("on_exceed", quoted(&policy.on_exceed))?;
        self.line("enforcement", word(&words::ENFORCEMENT, policy.enforcement))?;
        match policy.alerts.is_empty() {
            true => Ok(()),
            false => self.line("alerts", format_args!("[{}]", decimals(&policy.alerts))),
        }
    }

    fn alerts(&mut self, alerts: &Alerts) -> fmt::Result {
        self.0.write_str("\n[alerts]\n")?;
        self.line("window_s", alerts.window.as_secs())?;
        self.line("requests_min", alerts.requests_min)?;
        self.line("again_after_s", alerts.again_after.as_secs())?;
        self.line("p95_latency_s", alerts.p95_latency_ms.unwrap_or(0) / 1000)?;
        self.line("error_percent", alerts.error_percent.unwrap_or(0))?;
        self.line("context_percent", alerts.context_percent.unwrap_or(0))?;
        self.line("request_usd", quoted(alerts.request_usd.unwrap_or_default()))?;
        self.line("tool_success_percent", alerts.tool_success_percent.unwrap_or(0))?;
        self.line("completion_percent", alerts.completion_percent.unwrap_or(0))?;
        self.line("escalation_percent", alerts.escalation_percent.unwrap_or(0))?;
        self.line("unusual_factor", alerts.unusual_factor.unwrap_or(0))?;
        self.line("unusual_usd_min", quoted(alerts.unusual_usd_min))?;
        self.line("repeats", alerts.repeats.unwrap_or(0))?;
        self.line("repeat_window_s", alerts.repeat_window.as_secs())?;
        self.line("on_repeat", word(&words::ON_REPEAT, alerts.on_repeat))?;
        for webhook in &alerts.webhooks {
            self.0.write_str("\n[[alerts.webhooks]]\n")?;
            match &webhook.hidden {
                Some(secret) => self.secret("url", Some(secret))?,
                None => self.line("url", quoted(&webhook.uri))?,
            }
            self.line("format", word(&words::SHAPE, webhook.shape))?;
            self.secret("secret", webhook.secret.as_ref())?;
        }
        Ok(())
    }

    fn routing(&mut self, routing: &Routing) -> fmt::Result {
        self.0.write_str("\n[routing]\n")?;
        self.line("mode", word(&words::MODE, routing.mode))?;
        let globs = |globs: &Vec<Glob>| globs.iter().map(|glob| quoted(glob.as_str())).collect::<Vec<_>>().join(", ");
        self.maybe("routable", routing.routable.as_ref().map(|routable| format!("[{}]", globs(routable))))?;
        self.line("classifier", word(&words::CLASSIFIER, routing.classifier))?;
        self.line("turns", routing.turns)?;
        self.line("escalate", routing.escalate)?;
        self.line("list_auto", routing.list_auto)?;
        if routing.max_output.iter().any(Option::is_some) {
            self.0.write_str("\n[routing.max_output]\n")?;
            for ((tier, _), limit) in words::TIER.iter().zip(routing.max_output) {
                self.maybe(tier, limit)?;
            }
        }
        let judge = &routing.judge;
        self.0.write_str("\n[routing.judge]\n")?;
        self.maybe("upstream", judge.upstream.as_ref().map(quoted))?;
        self.maybe("model", judge.model.as_ref().map(quoted))?;
        self.line("deadline_ms", judge.deadline.as_millis())?;
        self.line("max_tokens", judge.tokens_max)?;
        for (upstream, tiers) in &routing.tiers {
            self.head("routing.tiers", upstream)?;
            for ((tier, _), model) in words::TIER.iter().zip(tiers) {
                self.maybe(tier, model.as_ref().map(quoted))?;
            }
        }
        for (kind, all) in [("routing.teams", &routing.teams), ("routing.routes", &routing.routes)] {
            for (name, bounds) in all {
                self.head(kind, name)?;
                self.maybe("mode", bounds.mode.map(|mode| word(&words::MODE, mode)))?;
                self.maybe("floor", bounds.floor.map(|tier| word(&words::TIER, tier)))?;
                self.maybe("ceiling", bounds.ceiling.map(|tier| word(&words::TIER, tier)))?;
                self.maybe("max_output", bounds.max_output)?;
            }
        }
        Ok(())
    }

    fn cache(&mut self, cache: &Cache) -> fmt::Result {
        self.0.write_str("\n[cache]\n")?;
        self.cache_policy(&cache.general)?;
        self.line("memory_mib", cache.memory_bytes / MIB)?;
        self.line("disk_mib", cache.disk_bytes / MIB)?;
        self.line("scope", word(&words::CACHE_SCOPE, cache.scope))?;
        self.line("answer_kib_max", cache.answer_bytes_max / 1024)?;
        self.line("request_kib_max", cache.request_bytes_max / 1024)?;
        self.line("join_kib_max", cache.join_bytes_max / 1024)?;
        for rule in &cache.rules {
            self.0.write_str("\n[[cache.rules]]\n")?;
            self.list("models", rule.models.iter().map(Glob::as_str))?;
            self.list("operations", rule.operations.iter().map(|word| &**word))?;
            self.list("upstreams", rule.upstreams.iter().map(|name| &**name))?;
            self.list("teams", rule.teams.iter().map(|name| &**name))?;
            self.cache_policy(&rule.policy)?;
        }
        Ok(())
    }

    fn cache_policy(&mut self, policy: &CachePolicy) -> fmt::Result {
        self.line("mode", word(&words::CACHE_MODE, policy.mode))?;
        self.line("store_sampled", policy.store_sampled)?;
        self.line("keep_fallbacks", policy.keep_fallbacks)?;
        self.line("ttl_s", policy.ttl.as_secs())?;
        self.line("stale_if_error_s", policy.stale_if_error.as_secs())?;
        self.line("stale_while_revalidate_s", policy.stale_while_revalidate.as_secs())?;
        self.line("shadow_percent", policy.shadow_percent)
    }

    /// A list that means nothing when it is empty.
    fn list<'a>(&mut self, key: &str, items: impl Iterator<Item = &'a str>) -> fmt::Result {
        let items: Vec<String> = items.map(quoted).collect();
        self.maybe(key, Some(items.join(", ")).filter(|items| !items.is_empty()).map(|items| format!("[{items}]")))
    }

    fn price(&mut self, model: &str, price: &Override) -> fmt::Result {
        self.head("prices", model)?;
        price.prices().try_for_each(|(field, dollars)| self.line(field, quoted(dollars)))?;
        self.maybe("max_output", price.max_output)?;
        self.maybe("context", price.context)?;
        let caps = price.can.map(|caps| caps.all().map(|cap| quoted(cap.name())).collect::<Vec<_>>().join(", "));
        self.maybe("can", caps.map(|caps| format!("[{caps}]")))?;
        let paths = price.endpoints.as_deref().map(|paths| paths.split(' ').map(quoted).collect::<Vec<_>>().join(", "));
        self.maybe("endpoints", paths.map(|paths| format!("[{paths}]")))
    }

    fn head(&mut self, kind: &str, name: &str) -> fmt::Result {
        let bare = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
        let is_bare = !name.is_empty() && name.bytes().all(bare);
        writeln!(self.0, "\n[{kind}.{}]", if is_bare { name.to_owned() } else { quoted(name) })
    }

    fn line(&mut self, key: &str, value: impl Display) -> fmt::Result {
        writeln!(self.0, "{key} = {value}")
    }

    fn maybe(&mut self, key: &str, value: Option<impl Display>) -> fmt::Result {
        value.map_or(Ok(()), |value| self.line(key, value))
    }

    fn secret(&mut self, key: &str, secret: Option<&Secret>) -> fmt::Result {
        self.maybe(key, secret.map(|secret| format!("\"{secret}\"  # {}", secret.origin())))
    }
}

/// Decimal fractions as a list holds them, with a point each.
fn decimals(shares: &[Share]) -> String {
    let texts: Vec<String> = shares.iter().map(ToString::to_string).collect();
    texts.join(", ")
}

/// The word of `member` in the file, quoted.
fn word<T: Copy + PartialEq>(words: &[(&str, T)], member: T) -> String {
    words.iter().find(|(_, known)| *known == member).map_or(String::new(), |(word, _)| quoted(word))
}

/// A TOML basic string.
fn quoted(text: impl Display) -> String {
    let mut out = String::from("\"");
    for letter in text.to_string().chars() {
        match letter {
            '"' | '\\' => out.extend(['\\', letter]),
            control if control.is_control() => out.push_str(&format!("\\u{:04X}", u32::from(control))),
            plain => out.push(plain),
        }
    }
    out.push('"');
    out
}
