//! What may be in use at once, and how much within a minute or a day.
//!
//! [`Limiter::admit`] checks all limits of a caller together and takes of all or of none; what it gives is a [`Grant`],
//! which a request holds until it is settled.
//!
//! Not governor, which Tollgate paces loops with (`alerts::pace`): a GCRA that takes a burst of the whole limit at once lets
//! twice the limit less one through in the first span (119 of `per_minute(60)`), and with a smaller burst it refuses what fits,
//! while these limits say what passes within any 60 seconds or 24 hours. A state store of our own lets it give tokens back and
//! go into debt, but not that. And its `check` decides and takes in one, so that limits asked one after the other would have to
//! be given back by hand where a later one refuses. One mutex over windows of integers keeps both promises, in less than a
//! microsecond.

pub mod gate;
pub mod queue;
mod window;
mod tally;
mod local;
mod grant;

use std::sync::Arc;

pub use grant::Grant;
pub use local::{Local, UNNAMED_MAX};

use crate::clock::Clock;
use crate::config::limits::{Limits, Parties, covers};
use crate::domain::account::Scope;
use crate::domain::limit::{Level, Limited, Standing};
use crate::domain::operation::Operation;

/// Where requests are counted.
#[derive(Clone, Debug)]
pub enum Limiter {
    /// In this process. A restart begins at nothing, but for requests a day, which the ledger tells.
    Local(Arc<Local>),
}

/// What a request needs of its limits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Need {
    /// What is asked for.
    pub operation: Operation,
    /// Tokens of the prompt, estimated.
    pub input_tokens: u64,
    /// Tokens of the answer, estimated.
    pub output_tokens: u64,
}

/// Why a request is not admitted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Denied {
    /// Not now.
    Later(Box<Limited>),
    /// Never: the prompt alone is above the tokens a minute of this scope.
    Never(Scope, u64),
}

impl Limiter {
    /// Counts in this process.
    #[must_use]
    pub fn local(clock: Clock) -> Self {
        Self::Local(Arc::new(Local::new(clock)))
    }

    /// Takes of all the parties' limits what `need` needs, or of none.
    ///
    /// # Errors
    /// A limit that stands in the way.
    pub fn admit(&self, parties: &Parties, need: Need) -> Result<(Grant, Standing), Denied> {
        match self {
            Self::Local(local) => local.admit(parties, need),
        }
    }
}

impl Limiter {
    /// Counts a request that another process admitted `age_us` ago, in limits that look back so far.
    pub fn recall(&self, parties: &Parties, age_us: u64) {
        match self {
            Self::Local(local) => local.recall(parties, age_us),
        }
    }

    /// How each limit of the parties stands, with whose it is and its key in the config; nothing is taken.
    #[must_use]
    pub fn levels(&self, parties: &Parties) -> Vec<(Scope, Box<str>, Level)> {
        match self {
            Self::Local(local) => local.levels(parties),
        }
    }
}

impl Need {
    /// All tokens.
    const fn tokens(self) -> u64 {
        self.input_tokens.saturating_add(self.output_tokens)
    }
}

/// The limits of single operations that count `operation`.
fn covered(limits: &Limits, operation: Operation) -> impl Iterator<Item = (&str, u64)> {
    let all = limits.operations.iter().map(|(word, limit)| (&**word, *limit));
    all.filter(move |(word, _)| covers(word, operation))
}
