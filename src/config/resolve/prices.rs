//! `[prices."MODEL"]`: what the built-in book does not know or does not know right.

use std::collections::BTreeMap;

use crate::config::read::Section;
use crate::config::schema::PRICE;
use crate::domain::price::{Cap, Caps, Override};

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
