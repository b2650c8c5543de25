//! `models`, `upstreams`, `operations`, `tools`, `server_tools` and `networks` of keys, and when a key expires.

use std::sync::Arc;

use jiff::tz::TimeZone;

use crate::config::glob::Glob;
use crate::config::moment::{EXAMPLES, moment};
use crate::config::parts::Upstream;
use crate::config::read::Section;
use crate::config::rights::{DefaultRights, Rights};
use crate::config::schema::DEFAULTS;
use crate::domain::key::{Kind, Lists};

/// What the section allows, if it does not allow everything.
pub(super) fn rights(section: &Section<'_>) -> Option<Arc<Rights>> {
    let mut lists = Lists::default();
    for kind in Kind::ALL {
        if section.find(kind.name()).is_none() {
            continue;
        }
        let mut list = Vec::new();
        for (text, place) in section.texts(kind.name()) {
            let mut alone = Lists::default();
            alone.set(kind, Some([text.into()].into()));
            if let Err((_, why)) = Rights::of(&alone) {
                section.complain_at(place, kind.name(), why);
            } else {
                list.push(text.into());
            }
        }
        lists.set(kind, Some(list.into()));
    }
    Rights::of(&lists).unwrap_or_default()
}

/// What callers may do whom no section names.
pub(super) fn defaults(root: &Section<'_>) -> DefaultRights {
    let defaults = root.section("defaults", &DEFAULTS);
    DefaultRights { key: rights(&defaults.within("key")), passthrough: rights(&defaults.within("passthrough")) }
}

/// A key that may use only upstreams that do not exist can use none, which nobody means.
pub(super) fn check_upstreams(section: &Section<'_>, upstreams: &[Arc<Upstream>]) {
    for (text, place) in section.texts(Kind::Upstreams.name()) {
        let is_one = |upstream: &Arc<Upstream>| Glob::parse(text).is_ok_and(|glob| glob.matches(&upstream.name));
        if !upstreams.iter().any(is_one) {
            let known: Vec<&str> = upstreams.iter().map(|upstream| &*upstream.name).collect();
            let message = format!("no upstream is called {text:?}; there are {}", known.join(", "));
            section.complain_at(place, Kind::Upstreams.name(), message);
        }
    }
}

/// When the key of the section ends, unix milliseconds.
pub(super) fn expires(section: &Section<'_>, zone: &TimeZone) -> Option<u64> {
    section.parsed("expires", |text| moment(text, zone).ok_or(EXAMPLES))
}
