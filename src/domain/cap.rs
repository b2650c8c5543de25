//! Caps: how much may be spent in which window, and what a request is told that does not fit.
//!
//! No clock and no time zone: when a window begins is the bank's business.

use std::fmt;

use super::account::Scope;
use super::calendar::instant;
use super::money::Usd;

/// The time over which spend is counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Window {
    /// A calendar day.
    Day,
    /// A calendar week from Monday.
    Week,
    /// A calendar month.
    Month,
    /// The last so many hours, in 60 buckets, of which the oldest is counted whole.
    Rolling {
        /// How many hours.
        hours: u32,
    },
    /// Everything ever spent: prepaid money.
    Total,
}

/// So much in one window.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limit {
    /// The window.
    pub window: Window,
    /// The most that may be spent in it.
    pub usd: Usd,
}

/// What happens to a request whose worst case does not fit.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum OnExceed {
    /// It is refused.
    #[default]
    Refuse,
    /// Its output is limited to what is affordable, if that is enough to be of use.
    Shrink,
    /// It is sent for this model instead, if that one can take it.
    Downgrade(std::sync::Arc<str>),
    /// It is answered from the cache, also with an old answer, or refused.
    CacheOnly,
}

/// How strictly a cap holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Enforcement {
    /// Everything that a request may cost is held before it is sent: no spend passes the cap.
    #[default]
    Ceiling,
    /// A stream is held as it grows, and cut where the money ends: spend passes the cap by no more than what is
    /// generated before the cut reaches the provider.
    Metered,
}

/// A part of an amount, between nothing and all of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Share(u64);

/// The caps of one scope.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Policy {
    /// All of them hold at once.
    pub limits: Vec<Limit>,
    /// What happens near them.
    pub on_exceed: OnExceed,
    /// Parts of them at which operators are told, in ascending order.
    pub alerts: Vec<Share>,
    /// How strictly they hold.
    pub enforcement: Enforcement,
}

/// A scope that has caps.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Capped {
    /// What is counted. A pattern of models stands as a model with the pattern's text.
    pub scope: Scope,
    /// Its caps.
    pub policy: std::sync::Arc<Policy>,
}

/// Why a request does not fit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Exceeded {
    /// The scope; none for the limit that the request names for itself.
    pub scope: Option<Scope>,
    /// The window; none for a single request.
    pub window: Option<Window>,
    /// The cap.
    pub cap: Usd,
    /// What was spent in the window.
    pub spent: Usd,
    /// What requests in flight may yet cost.
    pub held: Usd,
    /// What this request may cost.
    pub quote: Usd,
    /// When the window ends, unix milliseconds.
    pub resets_ms: Option<u64>,
    /// What the scope's policy says.
    pub on_exceed: OnExceed,
}

impl Policy {
    /// The smallest of its caps.
    #[must_use]
    pub fn least(&self) -> Usd {
        self.limits.iter().map(|limit| limit.usd).min().unwrap_or_default()
    }
}

impl OnExceed {
    /// What stands before the model in the file.
    const DOWNGRADE: &'static str = "downgrade:";

    /// Reads the policy as it stands in the file.
    ///
    /// # Errors
    /// It is none of them.
    pub fn parse(text: &str) -> Result<Self, &'static str> {
        let model = text.strip_prefix(Self::DOWNGRADE).map(str::trim);
        match (text, model) {
            ("refuse", _) => Ok(Self::Refuse),
            ("shrink", _) => Ok(Self::Shrink),
            ("cache-only", _) => Ok(Self::CacheOnly),
            (_, Some(model)) if !model.is_empty() => Ok(Self::Downgrade(model.into())),
            _ => Err("must be \"refuse\", \"shrink\", \"cache-only\" or \"downgrade:MODEL\""),
        }
    }

    /// Which policy counts where several caps have no room, the lowest first: a cheaper model may fit all of them; one that
    /// refuses is not helped by a shorter answer.
    #[must_use]
    pub const fn rank(&self) -> u8 {
        match self {
            Self::Downgrade(_) => 0,
            Self::Refuse => 1,
            Self::CacheOnly => 2,
            Self::Shrink => 3,
        }
    }
}

impl fmt::Display for OnExceed {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Refuse => out.write_str("refuse"),
            Self::Shrink => out.write_str("shrink"),
            Self::CacheOnly => out.write_str("cache-only"),
            Self::Downgrade(model) => write!(out, "{}{model}", Self::DOWNGRADE),
        }
    }
}

impl Share {
    /// All of it.
    const WHOLE: u64 = 1_000_000_000_000;

    /// Reads a part such as `0.01`.
    ///
    /// # Errors
    /// No decimal, or above 1.
    pub fn parse(text: &str) -> Result<Self, &'static str> {
        let parts = Usd::parse(text).ok().and_then(|parts| u64::try_from(parts.pico()).ok());
        parts.filter(|parts| *parts <= Self::WHOLE).map(Self).ok_or("must be a decimal from 0 to 1, such as 0.01")
    }

    /// This part of `amount`, rounded down.
    #[must_use]
    pub const fn of(self, amount: Usd) -> Usd {
        let (parts, whole) = (self.0 as u128, Self::WHOLE as u128);
        match amount.pico().checked_mul(parts) {
            Some(product) => Usd::from_pico(product / whole),
            None => Usd::from_pico(amount.pico() / whole * parts),
        }
    }
}

impl Default for Share {
    /// One in a hundred.
    fn default() -> Self {
        Self(Self::WHOLE / 100)
    }
}

impl fmt::Display for Share {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        Usd::from_pico(u128::from(self.0)).fmt(out)
    }
}

impl Exceeded {
    /// What is left.
    #[must_use]
    pub const fn room(&self) -> Usd {
        self.cap.less(self.spent).less(self.held)
    }

    /// The kind of scope and its name, for machines.
    #[must_use]
    pub fn scope_words(&self) -> (&'static str, &str) {
        self.scope.as_ref().map_or(("request", ""), |scope| (scope.kind(), scope.name()))
    }

    /// When the window ends, as a UTC time stamp.
    #[must_use]
    pub fn resets(&self) -> Option<String> {
        self.resets_ms.map(instant)
    }
}

impl fmt::Display for Window {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Day => out.write_str("day"),
            Self::Week => out.write_str("week"),
            Self::Month => out.write_str("month"),
            Self::Rolling { hours } => write!(out, "rolling_{hours}h"),
            Self::Total => out.write_str("total"),
        }
    }
}

impl fmt::Display for Exceeded {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Some((scope, window)) = self.scope.as_ref().zip(self.window) else {
            return write!(
                out,
                "this request may cost up to ${}, more than the ${} of x-tollgate-max-cost-usd",
                self.quote, self.cap
            );
        };
        let (kind, name) = (scope.kind(), scope.name());
        write!(out, "the spend cap of the {kind}")?;
        if !name.is_empty() {
            write!(out, " {name:?}")?;
        }
        write!(out, " ({window}, ${}) has no room for this request, which may cost up to ${}", self.cap, self.quote)?;
        write!(out, ": ${} spent, ${} held for requests in flight", self.spent, self.held)?;
        match self.resets() {
            Some(at) => write!(out, "; it resets at {at}"),
            None => out.write_str("; it does not reset"),
        }
    }
}
