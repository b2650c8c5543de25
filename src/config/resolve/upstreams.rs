//! `[upstreams.NAME]`: where requests go.
//!
//! Invariant: an upstream's origin comes from here only; nothing that a client sends can change it.

use std::sync::Arc;
use std::time::Duration;

use http::Uri;
use http::uri::Scheme;

use super::connections;
use super::resilience;
use super::server::{count, seconds};
use super::words::{DIALECT, INCLUDE_USAGE};
use crate::config::connections::Network;
use crate::config::glob::Glob;
use crate::config::hosts;
use crate::config::parts::{BaseUrl, IncludeUsage, Upstream};
use crate::config::presets::{self, Preset};
use crate::config::read::Section;
use crate::config::schema::UPSTREAM;
use crate::config::secret::Vault;
use crate::domain::operation::Dialect;

pub(super) fn upstreams(root: &Section<'_>, network: &Network, vault: &Vault<'_>) -> Vec<Arc<Upstream>> {
    let sections = root.sections("upstreams", &UPSTREAM);
    sections.iter().filter_map(|(name, section)| upstream(name, section, network, vault)).map(Arc::new).collect()
}

fn upstream(name: &str, section: &Section<'_>, network: &Network, vault: &Vault<'_>) -> Option<Upstream> {
    if name.is_empty() || !name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte)) {
        section.complain_whole("the name stands in the path /u/NAME/, so it takes only letters, digits, - _ and .");
    }
    let preset = preset_of(section);
    let api_keys = resilience::api_keys(section, vault);
    let models = globs(section, preset);
    let dialect = section.text("dialect").map(|_| section.choice("dialect", &DIALECT, Dialect::OpenAi));
    let provider = section.text("provider").map(Arc::from);
    let timeouts = [("connect_timeout_s", 10), ("first_byte_timeout_s", 600), ("idle_timeout_s", 600)];
    let [connect_timeout, first_byte_timeout, idle_timeout] =
        timeouts.map(|(key, default)| seconds(section, key, default));
    let pool_idle = Duration::from_secs(section.number("pool_idle_s", 15, 0..=3_600));
    let pool_age = Duration::from_secs(section.number("pool_age_s", 300, 0..=86_400));
    let pool_max_idle = count(section, "pool_max_idle", 256, 0..=100_000);
    let free = section.flag("free", false);
    let drop_version = section.flag("drop_version", preset.is_some_and(|preset| preset.drops_version));
    let base_url = base_url(name, section, preset)?;
    let way = connections::way(section, network, vault);
    let known = hosts::provider(&base_url.authority.host().to_ascii_lowercase());
    let known = preset.map(|preset| (preset.provider, preset.dialect)).or(known);
    let dialect = dialect.or(known.map(|(_, dialect)| dialect)).unwrap_or(Dialect::OpenAi);
    let provider: Arc<str> = provider.unwrap_or_else(|| known.map_or(by_name(name), |(provider, _)| provider).into());
    let include_usage = include_usage(section, dialect, &provider, known.map(|(provider, _)| provider));
    Some(Upstream {
        name: name.into(),
        dialect,
        base_url,
        api_keys,
        models,
        include_usage,
        provider,
        free,
        drop_version,
        way,
        connect_timeout,
        first_byte_timeout,
        idle_timeout,
        patience: resilience::patience(section, dialect),
        pool_idle,
        pool_age,
        pool_max_idle,
        retries: resilience::retries(section),
        breaking: resilience::breaking(section),
        sharing: resilience::sharing(section),
    })
}

fn preset_of(section: &Section<'_>) -> Option<&'static Preset> {
    let name = section.text("preset")?;
    let found = presets::preset(name);
    if found.is_none() {
        let names: Vec<_> = presets::PRESETS.iter().map(|preset| preset.name).collect();
        section.complain("preset", format!("no such preset; there are {}", names.join(", ")));
    }
    found
}

fn globs(section: &Section<'_>, preset: Option<&Preset>) -> Vec<Glob> {
    if let Some(preset) = preset.filter(|_| section.find("models").is_none()) {
        return preset.models.iter().filter_map(|text| Glob::parse(text).ok()).collect();
    }
    let glob = |(text, place)| match Glob::parse(text) {
        Ok(glob) => Some(glob),
        Err(error) => {
            section.complain_at(place, "models", format!("{text:?}: {error}"));
            None
        }
    };
    section.texts("models").into_iter().filter_map(glob).collect()
}

/// Only OpenAI and Azure are known to accept the option everywhere and to end with the event that it asks for.
fn include_usage(section: &Section<'_>, dialect: Dialect, provider: &str, host: Option<&str>) -> IncludeUsage {
    let takes_it = [Some(provider), host].into_iter().flatten().any(|name| matches!(name, "openai" | "azure"));
    let default = if dialect == Dialect::OpenAi && takes_it { IncludeUsage::Splice } else { IncludeUsage::Keep };
    let chosen = section.choice("include_usage", &INCLUDE_USAGE, default);
    if chosen == IncludeUsage::Splice && dialect != Dialect::OpenAi {
        section.complain("include_usage", "only the dialect \"openai\" has this option; the others always send usage");
    }
    chosen
}

/// The provider of an upstream whose host is not known.
fn by_name(name: &str) -> &str {
    if name == "gemini" { "google" } else { name }
}

fn base_url(name: &str, section: &Section<'_>, preset: Option<&Preset>) -> Option<BaseUrl> {
    if section.find("base_url").is_some() {
        return section.parsed("base_url", parse_base_url);
    }
    let built_in = || hosts::BUILT_IN.iter().find(|(known, ..)| *known == name).map(|(_, url, _)| *url);
    let known = match preset {
        Some(preset) => preset.base_url,
        None => built_in(),
    };
    if known.is_none() {
        let example = preset.map_or("https://api.deepseek.com", |preset| preset.example);
        section.complain("base_url", format!("missing; as in base_url = \"{example}\""));
    }
    parse_base_url(known?).ok()
}

fn parse_base_url(text: &str) -> Result<BaseUrl, &'static str> {
    const NOT_A_URL: &str = "not a URL such as \"https://api.openai.com\"";
    if text.contains(['?', '#']) {
        return Err("must have no query and no fragment; requests bring their own");
    }
    let parts = text.parse::<Uri>().map_err(|_| NOT_A_URL)?.into_parts();
    let (Some(scheme), Some(authority)) = (parts.scheme, parts.authority) else { return Err(NOT_A_URL) };
    if scheme != Scheme::HTTP && scheme != Scheme::HTTPS {
        return Err("must start with http:// or https://");
    }
    if authority.as_str().contains('@') {
        return Err("must hold no credentials; name them with api_key = { env = \"NAME\" }");
    }
    if authority.host().is_empty() || (authority.port().is_some() && authority.port_u16().is_none()) {
        return Err(NOT_A_URL);
    }
    let prefix = parts.path_and_query.map_or(String::new(), |path| path.path().trim_end_matches('/').to_owned());
    if ["/v1", "/v1beta"].iter().any(|version| prefix.ends_with(version)) {
        return Err("must not end with the API version; the path of each request brings it along");
    }
    Ok(BaseUrl { scheme, authority, prefix: prefix.into() })
}
