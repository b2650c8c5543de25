//! `caps`, `on_exceed` and `enforcement` of every scope. Where a section may also have limits, their reader checks its keys.

use std::sync::Arc;

use super::words::ENFORCEMENT;
use crate::config::caps::{Caps, Named};
use crate::config::glob::Glob;
use crate::config::read::Section;
use crate::config::schema::{CAPPED, CAPS, MODEL, ROLLING};
use crate::domain::account::Scope;
use crate::domain::cap::{Capped, Enforcement, Limit, OnExceed, Policy, Share, Window};
use crate::domain::money::Usd;

/// Rolling caps of one scope.
const ROLLING_MAX: usize = 4;

/// Parts of a cap at which operators are told.
const ALERTS_MAX: usize = 16;

pub(super) fn caps(root: &Section<'_>) -> Caps {
    let organisation = root.within("organisation");
    let defaults = root.within("defaults");
    let default = |name| policy(&defaults.within(name));
    Caps {
        organisation: policy(&organisation),
        teams: named(root, "teams"),
        users: named(root, "users"),
        keys: named(root, "keys"),
        models: models(root),
        tags: tags(root),
        default_key: default("key"),
        default_user: default("user"),
        default_passthrough: default("passthrough"),
    }
}

fn named(root: &Section<'_>, kind: &str) -> Named {
    root.unchecked(kind).iter().filter_map(|(name, section)| Some(((*name).into(), policy(section)?))).collect()
}

fn tags(root: &Section<'_>) -> Named {
    let sections = root.sections("tags", &CAPPED);
    for (tag, section) in &sections {
        if !tag.split_once('=').is_some_and(|(name, value)| !name.is_empty() && !value.is_empty()) {
            section.complain_whole("a tag is named as in [tags.\"feature=search\"]");
        }
    }
    sections.iter().filter_map(|(tag, section)| Some(((*tag).into(), policy(section)?))).collect()
}

fn models(root: &Section<'_>) -> Vec<(Glob, Capped)> {
    let sections = root.sections("models", &MODEL);
    let model = |(pattern, section): &(&str, Section<'_>)| match Glob::parse(pattern) {
        Ok(glob) => Some((glob, Capped { scope: Scope::Model((*pattern).into()), policy: policy(section)? })),
        Err(error) => {
            section.complain_whole(error);
            None
        }
    };
    sections.iter().filter_map(model).collect()
}

/// The caps of a section; none if it has none.
fn policy(section: &Section<'_>) -> Option<Arc<Policy>> {
    let on_exceed = on_exceed(section);
    let enforcement = section.choice("enforcement", &ENFORCEMENT, Enforcement::Ceiling);
    let alerts = alerts(section);
    let caps = section.section("caps", &CAPS);
    let mut limits = Vec::new();
    for (key, window) in
        [("day", Window::Day), ("week", Window::Week), ("month", Window::Month), ("total", Window::Total)]
    {
        limits.extend(amount(&caps, key).map(|usd| Limit { window, usd }));
    }
    let rolling = caps.tables("rolling", &ROLLING);
    if rolling.len() > ROLLING_MAX {
        caps.complain("rolling", format!("at most {ROLLING_MAX}"));
    }
    for table in rolling {
        let hours = table.number_maybe("hours", 1..=8_784);
        let Some((hours, usd)) = hours.zip(amount(&table, "usd")) else {
            caps.complain("rolling", "each is { usd = \"5.00\", hours = 5 }");
            continue;
        };
        let window = Window::Rolling { hours: u32::try_from(hours).unwrap_or(u32::MAX) };
        if limits.iter().any(|limit| limit.window == window) {
            caps.complain("rolling", format!("{hours} hours are given twice"));
        }
        limits.push(Limit { window, usd });
    }
    if limits.is_empty() {
        if section.find("caps").is_some() {
            section.complain("caps", "names no cap; as in caps = { day = \"20.00\" }");
        }
        for key in ["on_exceed", "enforcement"].into_iter().filter(|key| section.find(key).is_some()) {
            section.complain(key, "there are no caps here that it could apply to");
        }
        if section.find("alerts").is_some() {
            section.complain("alerts", "there are no caps here that they could be parts of");
        }
        return None;
    }
    Some(Arc::new(Policy { limits, on_exceed, enforcement, alerts }))
}

/// The parts of a cap that `alerts` names, the smallest first.
fn alerts(section: &Section<'_>) -> Vec<Share> {
    let mut shares = section.decimals("alerts", Share::parse);
    if shares.len() > ALERTS_MAX {
        section.complain("alerts", format!("at most {ALERTS_MAX}"));
    }
    shares.sort_unstable();
    shares.dedup();
    shares
}

fn on_exceed(section: &Section<'_>) -> OnExceed {
    section.parsed("on_exceed", OnExceed::parse).unwrap_or_default()
}

fn amount(section: &Section<'_>, key: &str) -> Option<Usd> {
    section.parsed(key, Usd::parse)
}
