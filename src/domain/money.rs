//! Money as integers: [`Usd`] counts pico-dollars, [`Rate`] pico-dollars for one unit.
//!
//! X dollars for a million tokens are X * 10^6 pico-dollars a token, an exact integer for prices of up to
//! six decimals, so that tokens times rate needs no division, no rounding and no float.
//!
//! Invariant: money is never negative; its direction is in the name of the field (`held`, `spent`, `saved`).

use std::fmt;
use std::iter::Sum;
use std::ops::Add;

/// Pico-dollars in one dollar.
const PICO: u128 = 1_000_000_000_000;

/// Decimals of a dollar down to a pico-dollar.
const DECIMALS: usize = 12;

/// An amount of money in pico-dollars (10^-12 USD).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Usd(u128);

/// A price for one unit (a token, a second, a call) in pico-dollars.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Rate(u64);

/// Why a text is not an amount of money.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MoneyError {
    /// Not digits with at most one decimal point; signs and exponents are refused as well.
    NotADecimal,
    /// More decimals than the unit can hold.
    TooFine,
    /// Larger than the unit can hold.
    TooLarge,
}

impl Usd {
    /// No money.
    pub const ZERO: Self = Self(0);

    /// The amount of `pico` pico-dollars.
    #[must_use]
    pub const fn from_pico(pico: u128) -> Self {
        Self(pico)
    }

    /// The amount in pico-dollars.
    #[must_use]
    pub const fn pico(self) -> u128 {
        self.0
    }

    /// Reads dollars such as `"12.50"`, with at most twelve decimals.
    pub fn parse(text: &str) -> Result<Self, MoneyError> {
        decimal(text, 12).map(Self)
    }

    /// The sum, or the largest amount there is: a total never wraps to a small one.
    #[must_use]
    pub const fn plus(self, other: Self) -> Self {
        Self(self.0.saturating_add(other.0))
    }

    /// What is left of `self` after `other`, or nothing.
    #[must_use]
    pub const fn less(self, other: Self) -> Self {
        Self(self.0.saturating_sub(other.0))
    }

    /// This amount times `numerator / denominator`, rounded up.
    #[must_use]
    pub const fn scaled_up(self, numerator: u64, denominator: u64) -> Self {
        match self.0.checked_mul(numerator as u128) {
            Some(product) => Self(product.div_ceil(denominator as u128)),
            None => Self(u128::MAX),
        }
    }

    /// Dollars with all twelve decimals, as in `"0.001234500000"`.
    #[must_use]
    pub fn fixed(self) -> String {
        self.written().as_str().to_owned()
    }

    /// All of its digits. They are written for each request, which the formatter takes ten times as long for.
    pub(super) const fn written(self) -> Written {
        let (mut whole, mut rest) = (self.0 / PICO, (self.0 % PICO) as u64);
        let mut text = [b'.'; Written::BYTES];
        let mut start = Written::BYTES;
        while start > Written::BYTES - DECIMALS {
            start -= 1;
            text[start] = b'0' + (rest % 10) as u8;
            rest /= 10;
        }
        // The point is there already.
        start -= 1;
        loop {
            start -= 1;
            text[start] = b'0' + (whole % 10) as u8;
            whole /= 10;
            if whole == 0 {
                return Written { text, start };
            }
        }
    }
}

/// An amount in digits.
pub(super) struct Written {
    text: [u8; Self::BYTES],
    start: usize,
}

impl Written {
    /// The digits of the largest amount, with its point.
    const BYTES: usize = 40;

    fn as_str(&self) -> &str {
        std::str::from_utf8(&self.text[self.start..]).unwrap_or_default()
    }
}

impl fmt::Display for Written {
    /// Dollars with all twelve decimals.
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(self.as_str())
    }
}

impl fmt::Display for Usd {
    /// Dollars without needless zeros, as in `"0.0012345"` and `"5"`.
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let written = self.written();
        let fixed = written.as_str();
        out.pad(fixed.trim_end_matches('0').trim_end_matches('.'))
    }
}

impl Add for Usd {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        self.plus(other)
    }
}

impl Sum for Usd {
    fn sum<I: Iterator<Item = Self>>(amounts: I) -> Self {
        amounts.fold(Self::ZERO, Self::plus)
    }
}

impl Rate {
    /// Nothing for each unit: a price of zero, which is not the same as no price.
    pub const FREE: Self = Self(0);

    /// The rate of `pico` pico-dollars a unit.
    #[must_use]
    pub const fn from_pico(pico: u64) -> Self {
        Self(pico)
    }

    /// Pico-dollars a unit.
    #[must_use]
    pub const fn pico(self) -> u64 {
        self.0
    }

    /// Reads dollars for a million units, such as `"0.15"`, with at most six decimals.
    pub fn per_million(text: &str) -> Result<Self, MoneyError> {
        let pico = decimal(text, 6)?;
        u64::try_from(pico).map(Self).map_err(|_| MoneyError::TooLarge)
    }

    /// Reads dollars for one unit, such as `"0.01"` for one web search.
    pub fn per_unit(text: &str) -> Result<Self, MoneyError> {
        let pico = decimal(text, 12)?;
        u64::try_from(pico).map(Self).map_err(|_| MoneyError::TooLarge)
    }

    /// What `units` cost.
    #[must_use]
    pub const fn times(self, units: u64) -> Usd {
        Usd(self.0 as u128 * units as u128)
    }
}

impl fmt::Display for MoneyError {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(match self {
            Self::NotADecimal => "not a decimal number such as \"12.50\"",
            Self::TooFine => "more decimals than can be kept",
            Self::TooLarge => "too large",
        })
    }
}

impl std::error::Error for MoneyError {}

/// The number in `text` times `10^places`.
fn decimal(text: &str, places: usize) -> Result<u128, MoneyError> {
    let (whole, part) = text.split_once('.').unwrap_or((text, "0"));
    let digits = |part: &str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
    if !digits(whole) || !digits(part) {
        return Err(MoneyError::NotADecimal);
    }
    let part = part.trim_end_matches('0');
    if part.len() > places {
        return Err(MoneyError::TooFine);
    }
    let scaled = format!("{whole}{part:0<places$}");
    scaled.parse().map_err(|_| MoneyError::TooLarge)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dollars_are_read_and_printed_exactly() {
        for (text, pico, fixed, short) in [
            ("0", 0, "0.000000000000", "0"),
            ("0.0012345", 1_234_500_000, "0.001234500000", "0.0012345"),
            ("5.00", 5 * PICO, "5.000000000000", "5"),
            ("0.000000000001", 1, "0.000000000001", "0.000000000001"),
        ] {
            let amount = Usd::parse(text).unwrap();
            assert_eq!((amount.pico(), amount.fixed().as_str()), (pico, fixed));
            assert_eq!(amount.to_string(), short);
        }
    }

    #[test]
    fn what_is_no_decimal_is_refused() {
        for text in ["", ".", "1.", ".5", "-1", "+1", "1e3", "1,5", " 1", "1.5.2", "NaN", "0x10"] {
            assert_eq!(Usd::parse(text), Err(MoneyError::NotADecimal), "{text}");
        }
        assert_eq!(Usd::parse("0.0000000000001"), Err(MoneyError::TooFine));
        assert_eq!(Usd::parse(&"9".repeat(40)), Err(MoneyError::TooLarge));
    }

    #[test]
    fn a_price_for_a_million_is_an_integer_for_each() {
        assert_eq!(Rate::per_million("0.15").unwrap().pico(), 150_000);
        assert_eq!(Rate::per_million("2.50").unwrap().times(1_000_000), Usd::parse("2.5").unwrap());
        assert_eq!(Rate::per_million("0.0000001"), Err(MoneyError::TooFine));
        assert_eq!(Rate::per_unit("0.01").unwrap().times(3), Usd::parse("0.03").unwrap());
    }

    #[test]
    fn a_fraction_rounds_up_once() {
        assert_eq!(Usd::from_pico(10).scaled_up(11, 10), Usd::from_pico(11));
        assert_eq!(Usd::from_pico(1).scaled_up(11, 10), Usd::from_pico(2));
    }
}
