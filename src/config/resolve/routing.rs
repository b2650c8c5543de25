//! `[routing]`: which requested names may be replaced, and the models of each tier.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::words::{MODE, TIER};
use crate::config::glob::Glob;
use crate::config::parts::Upstream;
use crate::config::read::Section;
use crate::config::routing::{Routing, TURNS, Tiers, built_in};
use crate::config::schema::{BOUNDS, ROUTING, TIERS};
use crate::domain::routing::{Bounds, Mode};

/// Turns that nobody expects of a conversation.
const TURNS_MAX: u64 = 1_000;

pub(super) fn routing(root: &Section<'_>, upstreams: &[Arc<Upstream>]) -> Routing {
    let section = root.section("routing", &ROUTING);
    Routing {
        mode: section.choice("mode", &MODE, Mode::Observe),
        routable: section.find("routable").map(|_| globs(&section)),
        turns: u32::try_from(section.number("turns", u64::from(TURNS), 1..=TURNS_MAX)).unwrap_or(TURNS),
        tiers: tiers(&section, upstreams),
        teams: bounds(&section, "teams"),
        routes: bounds(&section, "routes"),
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
        (name.into(), Bounds { mode, floor, ceiling, max_output: None })
    };
    section.sections(kind, &BOUNDS).into_iter().map(bound).collect()
}
