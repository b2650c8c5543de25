//! `[prices."MODEL"]`: what the built-in book does not know or does not know right.

use std::collections::BTreeMap;

use crate::config::parts::PriceOverride;
use crate::config::read::Section;
use crate::config::schema::PRICE;
use crate::domain::money::{MoneyError, Rate};

/// More tokens than any model takes; beyond is a typing mistake.
const TOKENS_MAX: u64 = 1_000_000_000;

pub(super) fn prices(root: &Section<'_>) -> BTreeMap<Box<str>, PriceOverride> {
    let sections = root.sections("prices", &PRICE);
    sections.iter().map(|(model, section)| ((*model).into(), price(section))).collect()
}

fn price(section: &Section<'_>) -> PriceOverride {
    let rate = |key| dollars(section, key, Rate::per_million);
    PriceOverride {
        input: rate("input"),
        output: rate("output"),
        reasoning_out: rate("reasoning_out"),
        cache_read: rate("cache_read"),
        cache_write: rate("cache_write"),
        cache_write_5m: rate("cache_write_5m"),
        cache_write_1h: rate("cache_write_1h"),
        cache_write_12h: rate("cache_write_12h"),
        audio_in: rate("audio_in"),
        audio_out: rate("audio_out"),
        audio_cache_read: rate("audio_cache_read"),
        image_in: rate("image_in"),
        image_out: rate("image_out"),
        image_cache_read: rate("image_cache_read"),
        video_in: rate("video_in"),
        web_search_per_call: dollars(section, "web_search_per_call", Rate::per_unit),
        max_output: section.number_maybe("max_output", 1..=TOKENS_MAX),
        context: section.number_maybe("context", 1..=TOKENS_MAX),
    }
}

fn dollars(section: &Section<'_>, key: &str, parse: fn(&str) -> Result<Rate, MoneyError>) -> Option<Rate> {
    if section.find(key)?.value.text().is_none() {
        section.complain(key, "prices are strings, as in \"1.20\", so that they stay exact");
        return None;
    }
    section.parsed(key, parse)
}
