//! [`Grant`]: what an admitted request has taken of its limits, until it is settled.
//!
//! Invariant: places in flight are given back exactly once, on every path, by dropping the grant. With them go the
//! tokens that were reserved, unless [`Grant::settle`] said what was used.

use std::sync::Arc;

use super::local::{Local, Share};
use super::tally::Reserved;
use crate::domain::tokens::{Usage, UsageSource};

/// What was taken of each party's limits.
#[derive(Debug)]
pub struct Grant {
    local: Arc<Local>,
    /// Gone once they are given back.
    shares: [Option<Share>; 4],
}

impl Grant {
    pub(super) const fn new(local: Arc<Local>, shares: [Option<Share>; 4]) -> Self {
        Self { local, shares }
    }

    /// Ends the request with the tokens that it used. Where nobody knows, what was reserved stays taken; of what was
    /// bounded by bytes no more than that counts, since the bound is several times too high.
    pub fn settle(mut self, source: UsageSource, usage: &Usage) {
        self.end(|reserved| match source {
            UsageSource::None => 0,
            UsageSource::Assumed => reserved.amount,
            UsageSource::Reported => weighed(usage, reserved.cached_percent),
            UsageSource::Counted => weighed(usage, reserved.cached_percent).min(reserved.amount),
        });
    }

    fn end(&mut self, used: impl Fn(&Reserved) -> u64) {
        let shares = std::mem::take(&mut self.shares);
        if shares.iter().any(Option::is_some) {
            self.local.give_back(shares, used);
        }
    }
}

impl Drop for Grant {
    fn drop(&mut self) {
        self.end(|_| 0);
    }
}

/// The tokens of a request, those from the provider's prompt cache weighed; rounded up.
fn weighed(usage: &Usage, cached_percent: u64) -> u64 {
    let fresh = usage.input_total().saturating_sub(usage.cache_read);
    let cached = usage.cache_read.saturating_mul(cached_percent).div_ceil(100);
    fresh.saturating_add(cached).saturating_add(usage.output)
}
