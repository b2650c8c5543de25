//! [`Override`]: prices and limits of the operator, which go before the book field by field.

use std::fmt;

use super::model::Caps;
use super::rates::{Bucket, Rates};
use super::row::RateRow;
use super::tools::Fee;
use crate::domain::money::{MoneyError, Rate, Usd};

/// What an operator says about one model. What it does not say stays as the book has it: also tiers, service tiers,
/// off-peak rates and multipliers.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Override {
    pub(super) rates: Rates,
    pub(super) fees: Vec<(Fee, Rate)>,
    /// Tokens of the prompt window.
    pub context: Option<u64>,
    /// Tokens that an answer can have.
    pub max_output: Option<u64>,
    /// The paths where it is served, in place of what the book says, with spaces between them.
    pub endpoints: Option<Box<str>>,
    /// What it can do, in place of what the book says.
    pub can: Option<Caps>,
}

/// Why a field cannot be set.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum BadOverride {
    /// There is no such field.
    UnknownField,
    /// The price cannot be read.
    Price(MoneyError),
}

impl Override {
    /// Every field that takes a price: dollars for a million tokens, and dollars for one unit.
    pub fn fields() -> impl Iterator<Item = &'static str> {
        Bucket::ALL.into_iter().map(Bucket::name).chain(Fee::ALL.into_iter().map(Fee::name))
    }

    /// Sets the price `field` to a decimal such as `"1.20"`.
    pub fn set(&mut self, field: &str, price: &str) -> Result<(), BadOverride> {
        if let Some(bucket) = Bucket::parse(field) {
            self.rates.set(bucket, Rate::per_million(price).map_err(BadOverride::Price)?);
            return Ok(());
        }
        let fee = Fee::parse(field).ok_or(BadOverride::UnknownField)?;
        let rate = Rate::per_unit(price).map_err(BadOverride::Price)?;
        self.fees.retain(|(known, _)| *known != fee);
        self.fees.push((fee, rate));
        Ok(())
    }

    /// The prices that are set: each field with the dollars that [`Override::set`] takes for it.
    pub fn prices(&self) -> impl Iterator<Item = (&'static str, Usd)> {
        let tokens = Bucket::ALL.into_iter().filter_map(|bucket| Some((bucket.name(), self.rates.get(bucket)?)));
        let tokens = tokens.map(|(field, rate)| (field, rate.times(1_000_000)));
        tokens.chain(self.fees.iter().map(|(fee, rate)| (fee.name(), rate.times(1))))
    }

    /// Puts these prices over those of `row`, for every time: the operator knows what it pays.
    pub(super) fn apply(&self, row: &mut RateRow) {
        let spans = row.past.iter_mut().map(|(_, dated)| dated);
        for dated in spans.chain([&mut row.now]) {
            dated.card.base = self.rates.over(&dated.card.base);
        }
        for (fee, rate) in &self.fees {
            row.set_fee(*fee, *rate);
        }
        if !self.rates.is_empty() || !self.fees.is_empty() {
            row.sold_by = None;
        }
    }
}

impl fmt::Display for BadOverride {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::UnknownField => out.write_str("no such price"),
            Self::Price(error) => write!(out, "{error}"),
        }
    }
}

impl std::error::Error for BadOverride {}
