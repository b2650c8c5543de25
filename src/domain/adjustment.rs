//! [`Adjustment`]: a correction of the ledger, which is a new line and never an edit.
//!
//! It counts at the time at which it was posted, so that a report of a past month stays what it was.

use super::account::{Account, Scope};
use super::ids::RequestId;
use super::money::Usd;
use std::sync::Arc;

/// Money that somebody added to the books, or took off them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Adjustment {
    /// Its own name.
    pub id: RequestId,
    /// When it was posted, unix milliseconds.
    pub at_ms: u64,
    /// Whose spend it corrects.
    pub account: Account,
    /// The upstream that billed otherwise, or empty.
    pub upstream: Arc<str>,
    /// The model it is about, or empty.
    pub model: Arc<str>,
    /// Whether the spend becomes more or less.
    pub direction: Direction,
    /// By how much.
    pub amount: Usd,
    /// Who posted it.
    pub actor: Box<str>,
    /// Why.
    pub reason: Box<str>,
    /// The request that it corrects, if it is about a single one.
    pub request: Option<RequestId>,
}

/// Prepaid money: from now on the `total` cap of a scope is higher by so much.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TopUp {
    /// Its own name.
    pub id: RequestId,
    /// When it was posted, unix milliseconds.
    pub at_ms: u64,
    /// Whose cap.
    pub scope: Scope,
    /// By how much.
    pub amount: Usd,
    /// Who posted it.
    pub actor: Box<str>,
    /// Why.
    pub reason: Box<str>,
}

/// Which way money goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Direction {
    /// More was spent than the entries say.
    Charge,
    /// Less was spent than the entries say.
    Credit,
}

impl Direction {
    /// The word in ledger and interface.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Charge => "charge",
            Self::Credit => "credit",
        }
    }

    /// The direction of a word.
    #[must_use]
    pub fn named(word: &str) -> Option<Self> {
        [Self::Charge, Self::Credit].into_iter().find(|direction| direction.name() == word)
    }
}
