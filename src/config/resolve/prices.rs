//! `[prices."MODEL"]`: what the built-in book does not know or does not know right.

use std::collections::BTreeMap;

use crate::config::read::Section;
use crate::config::schema::PRICE;
use crate::domain::price::{Cap, Caps, Override};
use crate::domain::routing;

/// More tokens than any model takes; beyond is a typing mistake.
const TOKENS_MAX: u64 = 1_000_000_000;

pub(super) fn prices(root: &Section<'_>) -> BTreeMap<Box<str>, Override> {
    let sections = root.sections("prices", &PRICE);
    sections.iter().map(|(model, section)| ((*model).into(), price(section))).collect()
}

fn price(section: &Section<'_>) -> Override {
    let mut price = Override::default();
    price.max_output = section.number_maybe("max_output", 1..=TOKENS_MAX);
    price.context = section.number_maybe("context", 1..=TOKENS_MAX);
    price.can = section.find("can").map(|_| caps(section));
    price.endpoints = section.find("endpoints").map(|_| endpoints(section));
    for field in Override::fields() {
        let Some(node) = section.find(field) else { continue };
        if node.value.text().is_none() {
            section.complain(field, "prices are strings, as in \"1.20\", so that they stay exact");
            continue;
        }
        section.parsed(field, |dollars| price.set(field, dollars));
    }
    price
}

/// The paths, of those on which routing looks for models.
fn endpoints(section: &Section<'_>) -> Box<str> {
    let known = |(word, place): (&str, &_)| {
        let is_known = routing::endpoints().any(|known| known == word);
        if !is_known {
            let known: Vec<_> = routing::endpoints().collect();
            section.complain_at(place, "endpoints", format!("{word:?}: known are {}", known.join(", ")));
        }
        is_known.then(|| word.to_owned())
    };
    section.texts("endpoints").into_iter().filter_map(known).collect::<Vec<_>>().join(" ").into()
}

fn caps(section: &Section<'_>) -> Caps {
    let cap = |(word, place)| {
        let cap = Cap::parse(word);
        if cap.is_none() {
            let known: Vec<_> = Cap::ALL.iter().map(|cap| cap.name()).collect();
            section.complain_at(place, "can", format!("{word:?}: known are {}", known.join(", ")));
        }
        cap
    };
    section.texts("can").into_iter().filter_map(cap).collect()
}
