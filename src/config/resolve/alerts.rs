//! `[alerts]`.

use std::time::Duration;

use http::Uri;

use super::connections::way;
use super::words::{ON_REPEAT, SHAPE};
use crate::config::alerts::{Alerts, OnRepeat, Shape, Webhook};
use crate::config::connections::Network;
use crate::config::raw::Value;
use crate::config::read::Section;
use crate::config::schema::{ALERTS, WEBHOOK};
use crate::config::secret::{Secret, Secrets, Vault};
use crate::domain::money::Usd;

/// Webhooks that can be configured.
const WEBHOOKS_MAX: usize = 16;

pub(super) fn alerts(root: &Section<'_>, network: &Network, vault: &Vault<'_>) -> Alerts {
    let section = root.section("alerts", &ALERTS);
    let built_in = Alerts::default();
    let seconds = |key, default: Duration, max| Duration::from_secs(section.number(key, default.as_secs(), 1..=max));
    let percent = |key, default: Option<u64>| some(section.number(key, default.unwrap_or(0), 0..=100));
    let usd = |key, default: Option<Usd>| section.parsed(key, Usd::parse).or(default);
    Alerts {
        webhooks: webhooks(&section, network, vault),
        window: seconds("window_s", built_in.window, 86_400),
        requests_min: section.number("requests_min", built_in.requests_min, 1..=1_000_000),
        again_after: seconds("again_after_s", built_in.again_after, 7 * 86_400),
        p95_latency_ms: some(section.number("p95_latency_s", 10, 0..=86_400) * 1000),
        error_percent: percent("error_percent", built_in.error_percent),
        context_percent: percent("context_percent", built_in.context_percent),
        request_usd: usd("request_usd", built_in.request_usd).filter(|usd| *usd > Usd::ZERO),
        tool_success_percent: percent("tool_success_percent", built_in.tool_success_percent),
        completion_percent: percent("completion_percent", built_in.completion_percent),
        escalation_percent: percent("escalation_percent", built_in.escalation_percent),
        unusual_factor: some(section.number("unusual_factor", built_in.unusual_factor.unwrap_or(0), 0..=1_000)),
        unusual_usd_min: usd("unusual_usd_min", Some(built_in.unusual_usd_min)).unwrap_or(Usd::ZERO),
        repeats: some(section.number("repeats", built_in.repeats.unwrap_or(0), 0..=1_000_000)),
        repeat_window: seconds("repeat_window_s", built_in.repeat_window, 86_400),
        on_repeat: section.choice("on_repeat", &ON_REPEAT, OnRepeat::Alert),
    }
}

/// A limit of 0 is none.
fn some(number: u64) -> Option<u64> {
    Some(number).filter(|number| *number > 0)
}

fn webhooks(section: &Section<'_>, network: &Network, vault: &Vault<'_>) -> Vec<Webhook> {
    let tables = section.tables("webhooks", &WEBHOOK);
    if tables.len() > WEBHOOKS_MAX {
        section.complain("webhooks", format!("at most {WEBHOOKS_MAX}"));
    }
    let webhook = |table: &Section<'_>| {
        let (uri, hidden) = address(table, vault)?;
        let secret = vault.secret(table, "secret");
        let shape = table.choice("format", &SHAPE, Shape::Json);
        Some(Webhook { uri, hidden, shape, secret, way: way(table, network, vault) })
    };
    tables.iter().filter_map(webhook).collect()
}

/// The address, in the file or, where it holds a secret, somewhere else.
fn address(table: &Section<'_>, vault: &Vault<'_>) -> Option<(Uri, Option<Secret>)> {
    let hidden = match table.find("url").map(|node| &node.value) {
        None => {
            table.complain("url", "missing; as in url = \"https://example.com/hook\" or url = { env = \"NAME\" }");
            return None;
        }
        Some(Value::Table(_)) => Some(vault.secret(table, "url")?),
        Some(_) => None,
    };
    let uri = match &hidden {
        // A command that only looks into the ledger has no secrets.
        Some(_) if vault.secrets == Secrets::LeftOut => Uri::from_static("http://left.out"),
        Some(secret) => read(secret.expose()).map_err(|why| table.complain("url", why)).ok()?,
        None => table.parsed("url", read)?,
    };
    Some((uri, hidden))
}

fn read(text: &str) -> Result<Uri, &'static str> {
    let uri = text.parse::<Uri>().map_err(|_| "not a URL such as \"https://example.com/hook\"")?;
    let is_http = matches!(uri.scheme_str(), Some("http" | "https"));
    let host = uri.authority().filter(|authority| !authority.host().is_empty() && !authority.as_str().contains('@'));
    if is_http && host.is_some() { Ok(uri) } else { Err("must be http:// or https:// with a host and no password") }
}
