//! `[routing]`: which requested names may be replaced, and the models of each tier.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use super::words::{CLASSIFIER, MODE, TIER};
use crate::config::glob::Glob;
use crate::config::parts::Upstream;
use crate::config::read::Section;
use crate::config::routing::{Judge, Routing, TURNS, Tiers, built_in};
use crate::config::schema::{BOUNDS, JUDGE, ROUTING, TIERS};
use crate::domain::routing::{Bounds, Classifier, Mode};

/// Turns that nobody expects of a conversation.
const TURNS_MAX: u64 = 1_000;

/// Fewer tokens are no answer, and no model gives more.
const OUTPUT_RANGE: std::ops::RangeInclusive<u64> = 16..=10_000_000;

/// How long a judge is waited for, milliseconds.
const DEADLINE_MS: u64 = 600;

/// Longer than anybody waits before a request is even sent.
const DEADLINE_MS_MAX: u64 = 30_000;

/// Tokens of one word, and of the thoughts before it at the most.
const JUDGE_TOKENS: u64 = 8;
const JUDGE_TOKENS_MAX: u64 = 4_096;

pub(super) fn routing(root: &Section<'_>, upstreams: &[Arc<Upstream>]) -> Routing {
    let section = root.section("routing", &ROUTING);
    let tiers = tiers(&section, upstreams);
    Routing {
        mode: section.choice("mode", &MODE, Mode::Observe),
        routable: section.find("routable").map(|_| globs(&section)),
        classifier: section.choice("classifier", &CLASSIFIER, Classifier::Local),
        judge: judge(&section, upstreams, &tiers),
        turns: u32::try_from(section.number("turns", u64::from(TURNS), 1..=TURNS_MAX)).unwrap_or(TURNS),
        escalate: section.flag("escalate", true),
        list_auto: section.flag("list_auto", false),
        max_output: {
            let limits = section.section("max_output", &TIERS);
            TIER.map(|(word, _)| limits.number_maybe(word, OUTPUT_RANGE))
        },
        tiers,
        teams: bounds(&section, "teams"),
        routes: bounds(&section, "routes"),
    }
}

fn judge(routing: &Section<'_>, upstreams: &[Arc<Upstream>], tiers: &BTreeMap<Arc<str>, Tiers>) -> Judge {
    let section = routing.section("judge", &JUDGE);
    let (upstream, model) = (section.text("upstream"), section.text("model").map(Arc::from));
    match upstream {
        Some(name) if !upstreams.iter().any(|upstream| &*upstream.name == name) => {
            section.complain("upstream", format!("there is no upstream {name:?}"));
        }
        Some(name) if model.is_none() && tiers.get(name).is_none_or(|tiers| tiers[0].is_none()) => {
            section.complain(
                "upstream",
                format!("{name:?} has no simple model in [routing.tiers], and no model is named"),
            );
        }
        Some(_) | None => {}
    }
    Judge {
        upstream: upstream.map(Arc::from),
        model,
        deadline: Duration::from_millis(section.number("deadline_ms", DEADLINE_MS, 1..=DEADLINE_MS_MAX)),
        tokens_max: section.number("max_tokens", JUDGE_TOKENS, 1..=JUDGE_TOKENS_MAX),
    }
}

fn globs(section: &Section<'_>) -> Vec<Glob> {
    let glob = |(text, place)| match Glob::parse(text) {
        Ok(glob) => Some(glob),
        Err(error) => {
            section.complain_at(place, "routable", format!("{text:?}: {error}"));
            None
        }
    };
    section.texts("routable").into_iter().filter_map(glob).collect()
}

/// The tiers of each upstream: those that the file names, else those that are built in for its provider.
fn tiers(section: &Section<'_>, upstreams: &[Arc<Upstream>]) -> BTreeMap<Arc<str>, Tiers> {
    let said = section.sections("tiers", &TIERS);
    for (name, section) in &said {
        if !upstreams.iter().any(|upstream| &*upstream.name == *name) {
            section.complain_whole(format!("there is no upstream {name:?}"));
        }
    }
    let of = |upstream: &Arc<Upstream>| {
        let own = said.iter().find(|(name, _)| *name == &*upstream.name);
        let tiers = match own {
            Some((_, section)) => TIER.map(|(word, _)| section.text(word).map(Arc::from)),
            None => built_in(&upstream.provider)?.map(|name| Some(name.into())),
        };
        Some((upstream.name.clone(), tiers))
    };
    upstreams.iter().filter_map(of).collect()
}

fn bounds(section: &Section<'_>, kind: &str) -> BTreeMap<Arc<str>, Bounds> {
    let bound = |(name, section): (&str, Section<'_>)| {
        if kind == "routes" && name.split_once('=').is_none_or(|(tag, _)| tag.is_empty()) {
            section.complain_whole("a route is named by a tag, as in [routing.routes.\"feature=search\"]");
        }
        let tier = |key: &str| section.text(key).map(|_| section.choice(key, &TIER, TIER[1].1));
        let (floor, ceiling) = (tier("floor"), tier("ceiling"));
        if let (Some(floor), Some(ceiling)) = (floor, ceiling)
            && floor > ceiling
        {
            section.complain("floor", "is above the ceiling");
        }
        let mode = section.text("mode").map(|_| section.choice("mode", &MODE, Mode::Observe));
        (name.into(), Bounds { mode, floor, ceiling, max_output: section.number_maybe("max_output", OUTPUT_RANGE) })
    };
    section.sections(kind, &BOUNDS).into_iter().map(bound).collect()
}
