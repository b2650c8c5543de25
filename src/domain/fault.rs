//! [`Fault`]: on whose side a request failed, the same for the log, the metrics and the reports.
//!
//! Invariant: a request without a fault ended in a whole, good answer.

use super::entry::{Entry, Outcome};

/// Who has to act for a failed request to succeed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Fault {
    /// The client left, or asked for what cannot or may not be answered.
    Client,
    /// The provider failed, was too slow, or had enough of us.
    Upstream,
    /// Tollgate could not serve, or its operator gave it credentials that the provider refuses.
    Tollgate,
}

impl Fault {
    /// The word in metrics and log.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Client => "client",
            Self::Upstream => "upstream",
            Self::Tollgate => "tollgate",
        }
    }

    /// On whose side the request of `entry` failed, or `None` if it did not.
    #[must_use]
    pub fn of(entry: &Entry) -> Option<Self> {
        Self::judge(entry.outcome, entry.status, &entry.account.key)
    }

    /// The same of a request of `key` that ended so.
    #[must_use]
    pub fn judge(outcome: Outcome, status: u16, key: &str) -> Option<Self> {
        match outcome {
            Outcome::Complete | Outcome::CacheHit | Outcome::Joined => None,
            Outcome::ClientAbort => Some(Self::Client),
            Outcome::UpstreamError => Some(Self::of_upstream_error(status, key)),
            Outcome::UpstreamAborted | Outcome::Timeout => Some(Self::Upstream),
            Outcome::Refused if status < 500 => Some(Self::Client),
            Outcome::Refused | Outcome::Unsettled => Some(Self::Tollgate),
        }
    }

    /// A provider's 4xx blames the request, but for the statuses that speak of credentials, credit and load.
    fn of_upstream_error(status: u16, key: &str) -> Self {
        match status {
            401..=403 if key.starts_with("pass:") => Self::Client,
            401..=403 => Self::Tollgate,
            408 | 409 | 425 | 429 => Self::Upstream,
            400..=499 => Self::Client,
            _ => Self::Upstream,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::sample;

    #[test]
    fn each_ending_has_one_side_at_fault() {
        for (outcome, status, key, expect) in [
            (Outcome::Complete, 200, "ci", None),
            (Outcome::CacheHit, 200, "ci", None),
            (Outcome::Joined, 200, "ci", None),
            (Outcome::ClientAbort, 499, "ci", Some(Fault::Client)),
            (Outcome::UpstreamError, 400, "ci", Some(Fault::Client)),
            (Outcome::UpstreamError, 404, "ci", Some(Fault::Client)),
            (Outcome::UpstreamError, 401, "ci", Some(Fault::Tollgate)),
            (Outcome::UpstreamError, 401, "pass:0123", Some(Fault::Client)),
            (Outcome::UpstreamError, 429, "ci", Some(Fault::Upstream)),
            (Outcome::UpstreamError, 529, "ci", Some(Fault::Upstream)),
            (Outcome::UpstreamError, 200, "ci", Some(Fault::Upstream)),
            (Outcome::UpstreamAborted, 502, "ci", Some(Fault::Upstream)),
            (Outcome::Timeout, 504, "ci", Some(Fault::Upstream)),
            (Outcome::Refused, 400, "ci", Some(Fault::Client)),
            (Outcome::Refused, 503, "ci", Some(Fault::Tollgate)),
            (Outcome::Unsettled, 0, "ci", Some(Fault::Tollgate)),
        ] {
            let mut entry = sample::entry();
            (entry.outcome, entry.status, entry.account.key) = (outcome, status, key.into());
            assert_eq!(Fault::of(&entry), expect, "{outcome:?} {status} {key}");
        }
    }
}
