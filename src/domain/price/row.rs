//! [`RateRow`]: every rate that the charges of one model need, and its text, which the journal keeps.
//!
//! Invariant: a row that is read from its own text is equal to it, so that an old charge can be computed again with the
//! prices of its day. The clauses are described in `config/build/prices.py`.

use std::fmt;

use super::rates::{Card, Rates, write_decimal};
use super::schedule::Schedule;
use super::select::Service;
use super::tools::Fee;
use crate::domain::calendar::{instant, parse_instant_ms};
use crate::domain::money::Rate;

/// All rates of a model: in force and past, of every service tier.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RateRow {
    pub(super) now: Dated,
    pub(super) services: Vec<(Service, Card)>,
    /// Each with the instant in unix milliseconds at which it ended, oldest first.
    pub(super) past: Vec<(u64, Dated)>,
    pub(super) times: Vec<(Box<str>, Factor)>,
    pub(super) fees: Vec<(Fee, Rate)>,
    pub(super) sold_by: Option<Box<str>>,
}

/// The standard rates of one span of time.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Dated {
    pub(super) card: Card,
    /// The hours in which `card` holds, and the rates of all others.
    pub(super) off_peak: Option<(Schedule, Rates)>,
}

/// A multiplier as an exact fraction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Factor {
    pub(super) numerator: u64,
    pub(super) denominator: u64,
}

/// The text is no rate row; the clause that could not be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BadRow(pub Box<str>);

impl RateRow {
    /// Reads what [`RateRow::to_text`] wrote.
    pub fn from_text(text: &str) -> Result<Self, BadRow> {
        let mut row = Self::default();
        for clause in text.split("; ") {
            let (name, rest) = clause.split_once(' ').unwrap_or((clause, ""));
            row.read(name, rest).ok_or_else(|| BadRow(clause.into()))?;
        }
        Ok(row)
    }

    /// One line without control characters, the same for equal rows.
    #[must_use]
    pub fn to_text(&self) -> String {
        self.to_string()
    }

    /// The price of one unit other than a token.
    #[must_use]
    pub fn fee(&self, fee: Fee) -> Option<Rate> {
        self.fees.iter().find(|(known, _)| *known == fee).map(|(_, rate)| *rate)
    }

    /// Standard rates in force, below any tier and at peak.
    #[must_use]
    pub const fn standard(&self) -> &Rates {
        &self.now.card.base
    }

    pub(super) fn factor(&self, name: &str) -> Option<Factor> {
        self.times.iter().find(|(known, _)| &**known == name).map(|(_, factor)| *factor)
    }

    pub(super) fn set_fee(&mut self, fee: Fee, rate: Rate) {
        match self.fees.iter_mut().find(|(known, _)| *known == fee) {
            Some((_, known)) => *known = rate,
            None => self.fees.push((fee, rate)),
        }
    }

    fn read(&mut self, name: &str, rest: &str) -> Option<()> {
        match name {
            "base" => self.now.card = Card::parse(rest)?,
            "past" => {
                let (until, card) = rest.split_once(' ').unwrap_or((rest, ""));
                let dated = Dated { card: Card::parse(card)?, off_peak: None };
                self.past.push((parse_instant_ms(until)?, dated));
            }
            "peak" => self.latest().off_peak = Some((Schedule::parse(rest)?, Rates::default())),
            "off_peak" => self.latest().off_peak.as_mut()?.1 = Card::parse(rest)?.base,
            "times" => self.times = pairs(rest, |name, value| Some((name.into(), Factor::parse(value)?)))?,
            "fees" => self.fees = pairs(rest, |name, value| Some((Fee::parse(name)?, Rate::per_unit(value).ok()?)))?,
            "sold_by" => self.sold_by = Some(rest.into()),
            _ => self.services.push((Service::of_card(name)?, Card::parse(rest)?)),
        }
        Some(())
    }

    /// The span of time that a peak clause belongs to: the one before it.
    fn latest(&mut self) -> &mut Dated {
        self.past.last_mut().map_or(&mut self.now, |(_, dated)| dated)
    }
}

impl fmt::Display for RateRow {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "base{}", self.now)?;
        for (service, card) in &self.services {
            write!(out, "; {}{card}", service.name())?;
        }
        for (until_ms, dated) in &self.past {
            write!(out, "; past {}{dated}", instant(*until_ms))?;
        }
        if !self.times.is_empty() {
            out.write_str("; times")?;
        }
        for (name, factor) in &self.times {
            write!(out, " {name} ")?;
            write_decimal(out, factor.numerator, factor.denominator.ilog10())?;
        }
        if !self.fees.is_empty() {
            out.write_str("; fees")?;
        }
        for (fee, rate) in &self.fees {
            write!(out, " {} ", fee.name())?;
            write_decimal(out, rate.pico(), 12)?;
        }
        self.sold_by.as_ref().map_or(Ok(()), |unit| write!(out, "; sold_by {unit}"))
    }
}

impl fmt::Display for Dated {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{}", self.card)?;
        let Some((schedule, rates)) = &self.off_peak else { return Ok(()) };
        write!(out, "; peak{schedule}; off_peak{rates}")
    }
}

impl Factor {
    pub(super) const ONE: Self = Self { numerator: 1, denominator: 1 };

    /// Reads `1.1`; the denominator is a power of ten, of at most four places.
    fn parse(text: &str) -> Option<Self> {
        let (whole, part) = text.split_once('.').unwrap_or((text, ""));
        let places = u32::try_from(part.len()).ok().filter(|places| *places <= 4)?;
        let numerator =
            format!("{whole}{part}").parse::<u64>().ok().filter(|number| (1..=1_000_000).contains(number))?;
        Some(Self { numerator, denominator: 10_u64.pow(places) })
    }

    pub(super) const fn times(self, other: Self) -> Self {
        Self {
            numerator: self.numerator.saturating_mul(other.numerator),
            denominator: self.denominator.saturating_mul(other.denominator),
        }
    }

    pub(super) fn dearer(self, other: Self) -> Self {
        let own = u128::from(self.numerator) * u128::from(other.denominator);
        if own >= u128::from(other.numerator) * u128::from(self.denominator) { self } else { other }
    }
}

impl fmt::Display for BadRow {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "not a clause of a rate row: {:?}", self.0)
    }
}

impl std::error::Error for BadRow {}

fn pairs<T>(text: &str, read: impl Fn(&str, &str) -> Option<T>) -> Option<Vec<T>> {
    let mut words = text.split_ascii_whitespace();
    let mut found = Vec::new();
    while let Some(name) = words.next() {
        found.push(read(name, words.next()?)?);
    }
    Some(found)
}
