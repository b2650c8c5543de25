//! The `limits` of every section that has them.

use std::sync::Arc;

use crate::config::limits::{LimitBook, Limits, is_operation, operation_words};
use crate::config::read::Section;
use crate::config::schema::{DEFAULT, DEFAULT_USER, DEFAULTS, KEY, LIMITS, ORGANISATION, TEAM, USER};

/// More is a mistake, and less than one would refuse everything without saying so.
const MAX: u64 = 1_000_000_000_000;

pub(super) fn limits(root: &Section<'_>) -> LimitBook {
    let own = |(name, section): (&str, Section<'_>)| (Arc::from(name), of(&section));
    let defaults = root.section("defaults", &DEFAULTS);
    let default = |name, keys| of(&defaults.section(name, keys));
    let book = LimitBook {
        any: false,
        organisation: of(&root.section("organisation", &ORGANISATION)),
        teams: root.sections("teams", &TEAM).into_iter().map(own).filter_map(|(name, it)| Some((name, it?))).collect(),
        users: root.sections("users", &USER).into_iter().map(own).collect(),
        keys: root.sections("keys", &KEY).into_iter().map(own).collect(),
        default_key: default("key", &DEFAULT),
        default_user: default("user", &DEFAULT_USER),
        default_passthrough: default("passthrough", &DEFAULT),
    };
    book.looked_through()
}

/// What the section says under `limits`, if that limits anything.
fn of(section: &Section<'_>) -> Option<Arc<Limits>> {
    section.find("limits")?;
    let section = section.section("limits", &LIMITS);
    let number = |key| section.number_maybe(key, 1..=MAX);
    let mut limits = Limits {
        requests_per_minute: number("requests_per_minute"),
        requests_per_day: number("requests_per_day"),
        tokens_per_minute: number("tokens_per_minute"),
        in_flight: number("in_flight"),
        cached_token_percent: section.number("cached_token_percent", 0, 0..=100),
        ..Limits::default()
    };
    for (word, place) in section.names("operations") {
        if !is_operation(word) {
            let message = format!("{word:?} is no operation; known: {}", operation_words());
            section.complain_at(place, "operations", message);
        }
        let operations = section.within("operations");
        limits.operations.extend(operations.number_maybe(word, 1..=MAX).map(|most| (word.into(), most)));
    }
    Some(limits).filter(|limits| !limits.is_empty()).map(Arc::new)
}
