//! [`End`]: how an attempt ended, and what its client is told then.

use crate::bank::tab::STATUS_CLIENT_LEFT;
use crate::domain::refusal::{Cause, Refusal};

/// What is said of a stream that is cut and cannot be ended properly.
const OUT_OF_MONEY: &str = "the spend cap has no room for the rest of this answer";

/// How an attempt ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// The upstream's answer came to its end.
    Complete,
    /// The client left; what could be read of the rest has been read.
    ClientLeft,
    /// The client left before a byte of its request was sent on: nothing can be billed.
    Withdrawn,
    /// The upstream broke off, after it had taken at least a part of the request.
    BrokenOff,
    /// The upstream was silent for too long, or has not come to the end of a whole answer in time.
    Silent,
    /// This process ends.
    Cut,
    /// A metered cap has no room for the rest of the stream.
    OutOfMoney,
    /// No connection, or none that took a byte: nothing can be billed.
    Unreachable,
}

impl End {
    /// What the client of a stream is told.
    #[must_use]
    pub const fn message(self) -> &'static str {
        match self {
            Self::Silent => "the upstream was silent for too long",
            Self::Cut => "tollgate is shutting down",
            Self::OutOfMoney => OUT_OF_MONEY,
            Self::Complete | Self::ClientLeft | Self::Withdrawn | Self::BrokenOff | Self::Unreachable => {
                "the upstream broke off its answer"
            }
        }
    }

    /// What a client is told that has not got a head yet.
    #[must_use]
    pub fn refusal(self) -> Refusal {
        match self {
            Self::Silent => Refusal::new(Cause::UpstreamTimeout, "the upstream did not answer in time"),
            Self::Cut => Refusal::new(Cause::Draining, "tollgate is shutting down").after(1),
            Self::OutOfMoney => Refusal::new(Cause::CapExceeded, OUT_OF_MONEY),
            Self::Unreachable => Refusal::new(Cause::UpstreamUnreachable, "the upstream cannot be reached"),
            Self::Complete | Self::ClientLeft | Self::Withdrawn | Self::BrokenOff => {
                Refusal::new(Cause::UpstreamUnreachable, "the upstream broke off its answer")
            }
        }
    }

    /// The status of a request that got no answer because of this.
    #[must_use]
    pub const fn status_without_answer(self) -> u16 {
        match self {
            Self::Complete | Self::BrokenOff | Self::Unreachable => 502,
            Self::OutOfMoney => 400,
            Self::Cut => 503,
            Self::Silent => 504,
            Self::ClientLeft | Self::Withdrawn => STATUS_CLIENT_LEFT,
        }
    }
}
