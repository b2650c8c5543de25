//! What rate limits still count of the time before the start: requests a day, as the ledger tells them.
//!
//! A minute is over before anybody could profit from a restart; a day is not.
//!
//! Invariant: where no limit looks back a day, nothing is read.

use crate::config::Config;
use crate::domain::account::Account;
use crate::domain::entry::Outcome;
use crate::limits::Limiter;
use crate::store::{ReadError, Reader, Record, Recovered};

const DAY_MS: u64 = 86_400_000;

/// Counts the requests of the last day that had been admitted. One that was refused after that, by a cap, is not told apart from
/// one that never was admitted, and is not counted.
pub(super) fn recall(config: &Config, recovered: &Recovered, limiter: &Limiter, now_ms: u64) -> Result<(), ReadError> {
    if !config.limits.looks_back_a_day() {
        return Ok(());
    }
    let count = |account: &Account, at_ms: u64| {
        let age_us = now_ms.saturating_sub(at_ms).saturating_mul(1000);
        limiter.recall(&config.limits.parties(account), age_us);
    };
    for located in Reader::open(&config.store.path).range(now_ms.saturating_sub(DAY_MS), u64::MAX)? {
        if let Record::Entry(entry) = located?.record
            && (entry.outcome != Outcome::Refused || !entry.attempts.is_empty())
        {
            count(&entry.account, entry.at_ms);
        }
    }
    for request in &recovered.unfinished {
        if let Some((open, _)) = request.attempts.first() {
            count(&open.account, open.at_ms);
        }
    }
    Ok(())
}
