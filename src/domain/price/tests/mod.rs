//! Tests of the price book: golden charges, laws over the whole book, and how models are found.

mod book;
mod golden;
mod laws;

use super::*;
use crate::domain::calendar::parse_instant_ms;
use crate::domain::money::Usd;
use crate::domain::tokens::Usage;

/// A time after every dated price of the book, on a Sunday.
const NOW: &str = "2026-11-22T12:00:00Z";

fn ms(instant: &str) -> u64 {
    parse_instant_ms(instant).unwrap()
}

fn now<'a>() -> Context<'a> {
    Context { at_ms: ms(NOW), ..Context::default() }
}

fn usd(text: &str) -> Usd {
    Usd::parse(text).unwrap()
}

/// Prices usage of `PROVIDER/ID`.
fn price(model: &str, usage: &Usage, context: &Context<'_>) -> Result<Charge, Unpriced> {
    let (provider, id) = model.split_once('/').unwrap();
    let model = Book::builtin().find(provider, None, id).unwrap_or_else(|| panic!("{model} is not in the book"));
    charge(model.row(), usage, context)
}

/// A charge that had nothing to assume.
fn check(model: &str, usage: &Usage, context: &Context<'_>, cost: &str) {
    let charge = price(model, usage, context).unwrap();
    assert_eq!(
        (charge.cost, &charge.notes[..], &charge.unpriced[..]),
        (usd(cost), &[][..], &[][..]),
        "{model} {usage:?}"
    );
}
