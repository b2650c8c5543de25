//! Reads a provider's usage or cost export into a [`Statement`]; what it does not know by shape it refuses, naming what it
//! knows. It asks no provider: whoever has the export brings it.
//!
//! The shapes are those of the administration interfaces (`export_json`) and of the files that the consoles give
//! (`export_csv`). A file may hold several pages one after the other, also of usage and of costs.
//!
//! Invariant: a number that cannot be read is an error with its place, and never zero.

use std::fmt;

use super::{export_csv, export_json};
use crate::domain::calendar::Day;
use crate::domain::money::Usd;
use crate::domain::reconcile::{Line, Side, Statement};

/// The largest export: a month of hours of a hundred models by key is a tenth of it.
pub const FILE_BYTES_MAX: usize = 32 << 20;

/// Decimals of a pico-dollar.
const DECIMALS: i32 = 12;

/// The longest number that is read.
const DIGITS_MAX: usize = 60;

/// Why an export cannot be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum BadExport {
    /// It is no shape that is known. What it looks like.
    Unknown(Box<str>),
    /// Something in it is wrong.
    Bad {
        /// Where: a line of CSV, or a path in JSON.
        place: Box<str>,
        /// What.
        what: Box<str>,
    },
    /// It is about nothing.
    Empty,
    /// It is of two providers.
    Mixed,
}

/// A statement in the making.
#[derive(Debug, Default)]
pub struct Reading {
    provider: Option<&'static str>,
    has_tokens: bool,
    has_money: bool,
    /// Whether the last page says that there is another.
    pub is_partial: bool,
    days: Option<(Day, Day)>,
    lines: Vec<Line>,
}

/// Reads an export.
///
/// # Errors
/// It is of no known shape, damaged, or about nothing.
pub fn read(bytes: &[u8]) -> Result<Statement, BadExport> {
    let bytes = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes);
    let text = std::str::from_utf8(bytes).map_err(|_| BadExport::Unknown("no UTF-8 text".into()))?;
    let mut reading = Reading::default();
    match text.trim_start().chars().next() {
        None => return Err(BadExport::Empty),
        Some('{' | '[') => export_json::read(text, &mut reading)?,
        Some(_) => export_csv::read(text, &mut reading)?,
    }
    let (provider, (from, until)) = reading.provider.zip(reading.days).ok_or(BadExport::Empty)?;
    Ok(Statement {
        provider,
        has_tokens: reading.has_tokens,
        has_money: reading.has_money,
        is_partial: reading.is_partial,
        from,
        until,
        lines: reading.lines,
    })
}

impl Reading {
    /// The file is `provider`'s.
    pub fn of(&mut self, provider: &'static str) -> Result<(), BadExport> {
        if *self.provider.get_or_insert(provider) == provider { Ok(()) } else { Err(BadExport::Mixed) }
    }

    /// The file says something, or nothing, of `day`.
    pub fn touch(&mut self, day: Day) {
        let (from, until) = self.days.get_or_insert((day, Day(day.0 + 1)));
        (*from, *until) = ((*from).min(day), (*until).max(Day(day.0 + 1)));
    }

    /// So many tokens of `model` on `day`.
    pub fn tokens(&mut self, day: Day, model: Option<&str>, side: Side) {
        self.has_tokens = true;
        self.line(day, model, side);
    }

    /// So much money for `model` on `day`.
    pub fn money(&mut self, day: Day, model: Option<&str>, (amount, is_negative): (Usd, bool)) {
        self.has_money = true;
        let mut side = Side::default();
        *(if is_negative { &mut side.credited } else { &mut side.billed }) = amount;
        self.line(day, model, side);
    }

    fn line(&mut self, day: Day, model: Option<&str>, side: Side) {
        self.touch(day);
        let model = model.map(str::trim).filter(|model| !model.is_empty()).map(Into::into);
        self.lines.push(Line { day, model, side });
    }
}

impl BadExport {
    /// Something at `place` is wrong.
    pub fn bad(place: impl fmt::Display, what: impl fmt::Display) -> Self {
        Self::Bad { place: place.to_string().into(), what: what.to_string().into() }
    }
}

/// Dollars in a decimal number such as `0.06`, `-1.5` or `1.2e-7`, and whether they are below zero; what is finer than a
/// pico-dollar is rounded to the nearest. With `cents` the number counts hundredths.
pub fn amount(text: &str, unit: Unit) -> Option<(Usd, bool)> {
    let text = text.trim();
    let (is_negative, text) = text.strip_prefix('-').map_or((false, text), |text| (true, text));
    let (number, exponent) = match text.split_once(['e', 'E']) {
        Some((number, exponent)) => (number, exponent.parse::<i32>().ok().filter(|exponent| exponent.abs() < 100)?),
        None => (text, 0),
    };
    let (whole, part) = number.split_once('.').unwrap_or((number, ""));
    let digits = format!("{whole}{part}");
    if whole.is_empty() || digits.len() > DIGITS_MAX || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let shift = DECIMALS + exponent - i32::try_from(part.len()).ok()? - if unit == Unit::Cents { 2 } else { 0 };
    scaled(&digits, shift).map(|pico| (Usd::from_pico(pico), is_negative))
}

/// What a number counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unit {
    /// Dollars.
    Dollars,
    /// Hundredths of a dollar.
    Cents,
}

/// `digits` times ten to the power of `shift`, rounded to the nearest.
fn scaled(digits: &str, shift: i32) -> Option<u128> {
    let digits = digits.trim_start_matches('0');
    let cut = usize::try_from(-shift).unwrap_or(0);
    if cut > digits.len() {
        return Some(0);
    }
    let (kept, rest) = digits.split_at(digits.len() - cut);
    let zeros = "0".repeat(usize::try_from(shift).unwrap_or(0));
    let whole: u128 = format!("0{kept}{zeros}").parse().ok()?;
    let is_up = rest.as_bytes().first().is_some_and(|digit| *digit >= b'5');
    whole.checked_add(u128::from(is_up))
}

impl fmt::Display for BadExport {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unknown(what) => write!(
                out,
                "{what} is no export that is known; known are pages of OpenAI's /v1/organization/usage/completions, \
                 /embeddings and /costs, pages of Anthropic's /v1/organizations/usage_report/messages and /cost_report, \
                 and the CSV files of usage and cost of both consoles"
            ),
            Self::Bad { place, what } => write!(out, "{place}: {what}"),
            Self::Empty => out.write_str("the export is about no day"),
            Self::Mixed => out.write_str("the export is of two providers; bring one at a time"),
        }
    }
}

impl std::error::Error for BadExport {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amounts_are_read_to_the_pico_dollar() {
        let check = |text, unit, expect: Option<(u128, bool)>| {
            assert_eq!(amount(text, unit).map(|(usd, below)| (usd.pico(), below)), expect, "{text}");
        };
        check("0.06", Unit::Dollars, Some((60_000_000_000, false)));
        check("0.003835980000000000000000000000", Unit::Dollars, Some((3_835_980_000, false)));
        check("-1.5", Unit::Dollars, Some((1_500_000_000_000, true)));
        check("1.25e-7", Unit::Dollars, Some((125_000, false)));
        check("2E2", Unit::Dollars, Some((200_000_000_000_000, false)));
        check("123.45", Unit::Cents, Some((1_234_500_000_000, false)));
        check("0.0000000000005", Unit::Dollars, Some((1, false)));
        check("0.0000000000004", Unit::Dollars, Some((0, false)));
        check("1e-90", Unit::Dollars, Some((0, false)));
        check("0", Unit::Cents, Some((0, false)));
        for text in ["", "-", ".5", "1,5", "NaN", "$5", "1e", "1e400", "--1", &"9".repeat(61)] {
            check(text, Unit::Dollars, None);
        }
    }
}
