//! [`compare`]: what a provider says it will bill beside what the ledger says, by day and model, and the gap between them.
//!
//! Days are those of UTC, as in every provider's export. Providers name models with and without their dates, and some
//! exports write them for people; [`family`] brings them together. It reads no file and no store.
//!
//! Invariant: the rows of each side sum to that side's total; no line of either side is left out.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::calendar::Day;
use super::money::Usd;
use super::sums::Sums;

/// What one side says of a day and a model.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Side {
    /// All prompt tokens, cached ones included.
    pub input: u64,
    /// Of `input`: read from the provider's cache.
    pub cache_read: u64,
    /// Of `input`: written to the provider's cache.
    pub cache_write: u64,
    /// Generated tokens.
    pub output: u64,
    /// What is to be paid.
    pub billed: Usd,
    /// What is taken off it.
    pub credited: Usd,
}

/// A line of one side.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Line {
    /// The day in UTC.
    pub day: Day,
    /// The model, if the line is about one.
    pub model: Option<Arc<str>>,
    /// The numbers.
    pub side: Side,
}

/// A provider's export.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Statement {
    /// Whose it is: the word of `provider` in the config.
    pub provider: &'static str,
    /// Whether it counts tokens.
    pub has_tokens: bool,
    /// Whether it says what they cost.
    pub has_money: bool,
    /// Whether it says that there is more of it elsewhere.
    pub is_partial: bool,
    /// The first day that it is about.
    pub from: Day,
    /// The first day that it is no longer about.
    pub until: Day,
    /// What it says.
    pub lines: Vec<Line>,
}

/// A day and a model on both sides.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pair {
    /// The day in UTC.
    pub day: Day,
    /// The model as the shorter side writes it; `None` for what is about no model, or about all.
    pub model: Option<Arc<str>>,
    /// What the provider says.
    pub provider: Side,
    /// What the ledger says.
    pub ledger: Side,
}

/// Both sides, day by day.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Comparison {
    /// See [`Statement::provider`].
    pub provider: &'static str,
    /// The upstreams of the ledger that were compared.
    pub upstreams: Vec<Arc<str>>,
    /// See [`Statement::has_tokens`].
    pub has_tokens: bool,
    /// See [`Statement::has_money`].
    pub has_money: bool,
    /// See [`Statement::is_partial`].
    pub is_partial: bool,
    /// See [`Statement::from`].
    pub from: Day,
    /// See [`Statement::until`].
    pub until: Day,
    /// By day and model.
    pub rows: Vec<Pair>,
    /// What all of the provider's lines come to.
    pub provider_total: Side,
    /// What all of the ledger's lines come to.
    pub ledger_total: Side,
}

impl Side {
    /// What sums of the ledger come to, adjustments included.
    #[must_use]
    pub const fn of(sums: &Sums) -> Self {
        Self {
            input: sums.input.saturating_add(sums.cache_read).saturating_add(sums.cache_write),
            cache_read: sums.cache_read,
            cache_write: sums.cache_write,
            output: sums.output,
            billed: sums.spend.plus(sums.charged),
            credited: sums.credited,
        }
    }

    /// Adds `more`.
    pub const fn join(&mut self, more: &Self) {
        self.input = self.input.saturating_add(more.input);
        self.cache_read = self.cache_read.saturating_add(more.cache_read);
        self.cache_write = self.cache_write.saturating_add(more.cache_write);
        self.output = self.output.saturating_add(more.output);
        self.billed = self.billed.plus(more.billed);
        self.credited = self.credited.plus(more.credited);
    }

    /// What is to be paid in the end, and whether it is below zero.
    #[must_use]
    pub fn net(&self) -> (Usd, bool) {
        difference(self.billed, self.credited)
    }

    /// By how much more is to be paid than `other` says, and whether that is below zero.
    #[must_use]
    pub fn net_above(&self, other: &Self) -> (Usd, bool) {
        difference(self.billed.plus(other.credited), other.billed.plus(self.credited))
    }
}

/// Puts what `statement` says beside what `upstreams` of the ledger came to. A statement that names no models is compared
/// by day alone.
#[must_use]
pub fn compare(statement: &Statement, upstreams: Vec<Arc<str>>, ledger: &[Line]) -> Comparison {
    let has_models = statement.lines.iter().any(|line| line.model.is_some());
    let mut rows: BTreeMap<(Day, Option<String>), Pair> = BTreeMap::new();
    let (mut provider_total, mut ledger_total) = (Side::default(), Side::default());
    for line in &statement.lines {
        provider_total.join(&line.side);
        pair(&mut rows, line, has_models).provider.join(&line.side);
    }
    for line in ledger {
        ledger_total.join(&line.side);
        pair(&mut rows, line, has_models).ledger.join(&line.side);
    }
    let is_something = |pair: &Pair| (pair.provider, pair.ledger) != (Side::default(), Side::default());
    Comparison {
        provider: statement.provider,
        upstreams,
        has_tokens: statement.has_tokens,
        has_money: statement.has_money,
        is_partial: statement.is_partial,
        from: statement.from,
        until: statement.until,
        rows: rows.into_values().filter(is_something).collect(),
        provider_total,
        ledger_total,
    }
}

/// What the names of one model have in common: `Claude Haiku 4.5` and `claude-haiku-4-5-20251001` are of one family.
#[must_use]
pub fn family(model: &str) -> String {
    let name: String = model.trim().to_lowercase();
    let name = name.strip_prefix("models/").unwrap_or(&name).replace([' ', '.'], "-");
    let name = name.strip_suffix("-latest").unwrap_or(&name);
    without_date(name).to_owned()
}

fn pair<'a>(rows: &'a mut BTreeMap<(Day, Option<String>), Pair>, line: &Line, has_models: bool) -> &'a mut Pair {
    let model = line.model.as_ref().filter(|_| has_models);
    let key = (line.day, model.map(|model| family(model)));
    let blank = || Pair { day: line.day, model: model.cloned(), provider: Side::default(), ledger: Side::default() };
    let pair = rows.entry(key).or_insert_with(blank);
    let is_shorter = |known: &Arc<str>, new: &&Arc<str>| (new.len(), new) < (known.len(), &known);
    if let Some(model) = model.filter(|model| pair.model.as_ref().is_some_and(|known| is_shorter(known, model))) {
        pair.model = Some(model.clone());
    }
    pair
}

/// Without `-20251001` or `-2024-07-18` at its end.
fn without_date(name: &str) -> &str {
    let is_date = |digits: &str| digits.bytes().all(|byte| byte.is_ascii_digit()) && digits.starts_with("20");
    let at =
        |from_end: usize| name.len().checked_sub(from_end).filter(|place| *place > 0 && name.is_char_boundary(*place));
    if let Some(date) = at(11).and_then(|place| name[place..].strip_prefix('-'))
        && date.as_bytes()[4] == b'-'
        && date.as_bytes()[7] == b'-'
        && is_date(&date.replace('-', ""))
    {
        return &name[..name.len() - 11];
    }
    if let Some(date) = at(9).and_then(|place| name[place..].strip_prefix('-'))
        && is_date(date)
    {
        return &name[..name.len() - 9];
    }
    name
}

fn difference(one: Usd, other: Usd) -> (Usd, bool) {
    if one < other { (other.less(one), true) } else { (one.less(other), false) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_names_of_one_model_are_one_family() {
        for (one, other) in [
            ("claude-haiku-4-5-20251001", "Claude Haiku 4.5"),
            ("gpt-4o-mini-2024-07-18", "gpt-4o-mini"),
            ("gpt-4.1", "gpt-4.1-2025-04-14"),
            ("claude-3-5-haiku-latest", "claude-3-5-haiku-20241022"),
            ("models/gemini-2.5-pro", "gemini-2.5-pro"),
        ] {
            assert_eq!(family(one), family(other), "{one}");
        }
        for (one, other) in [("gpt-4o", "gpt-4o-mini"), ("gpt-4", "gpt-4-0613"), ("é-20251001", "20251001")] {
            assert_ne!(family(one), family(other), "{one}");
        }
    }

    #[test]
    fn both_sides_keep_their_totals() {
        let side = |input, pico| Side { input, billed: Usd::from_pico(pico), ..Side::default() };
        let line = |day, model: Option<&str>, side| Line { day: Day(day), model: model.map(Into::into), side };
        let statement = Statement {
            provider: "openai",
            has_tokens: true,
            has_money: true,
            is_partial: false,
            from: Day(7),
            until: Day(9),
            lines: vec![
                line(7, Some("a-2024-07-18"), side(10, 5)),
                line(8, None, side(1, 1)),
                line(8, None, side(0, 0)),
            ],
        };
        let ledger = [line(7, Some("a"), side(9, 6)), line(8, Some("b"), side(3, 3))];
        let compared = compare(&statement, vec!["openai".into()], &ledger);
        let rows: Vec<_> = compared
            .rows
            .iter()
            .map(|row| (row.day.0, row.model.as_deref(), row.provider.input, row.ledger.input))
            .collect();
        assert_eq!(rows, [(7, Some("a"), 10, 9), (8, None, 1, 0), (8, Some("b"), 0, 3)]);
        assert_eq!((compared.provider_total, compared.ledger_total), (side(11, 6), side(12, 9)));
        assert_eq!(compared.provider_total.net_above(&compared.ledger_total), (Usd::from_pico(3), true));
    }
}
