//! [`apiece`]: what a token of each kind costs in a request, for those who compare models.
//!
//! It holds no fees and no multipliers, since those are the same for whichever of a provider's models answers, or unknown.

use super::charge::Context;
use super::rates::Bucket;
use super::row::RateRow;
use super::select::{Named, Service, unit};
use crate::domain::money::{Rate, Usd};

/// What one token costs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Apiece {
    /// A fresh prompt token.
    pub input: Rate,
    /// A prompt token that the provider's prompt cache has.
    pub cache_read: Rate,
    /// A prompt token that goes into the provider's prompt cache; where that costs nothing more, a fresh one.
    pub cache_write: Rate,
    /// A generated token.
    pub output: Rate,
}

impl Apiece {
    /// What a request costs with so many tokens of each kind.
    #[must_use]
    pub const fn times(&self, cached: u64, written: u64, fresh: u64, output: u64) -> Usd {
        let prompt = self.cache_read.times(cached).plus(self.cache_write.times(written)).plus(self.input.times(fresh));
        prompt.plus(self.output.times(output))
    }
}

/// The rates of `row` for a request of `input_total` prompt tokens whose prefix is cached for `ttl_s` seconds (0: the
/// provider's default). `None` where the prompt or the answer has no price.
#[must_use]
pub fn apiece(row: &RateRow, input_total: u64, ttl_s: u32, context: &Context<'_>) -> Option<Apiece> {
    let service = match Named::parse(context.requested_service_tier) {
        Named::Known(service) => service,
        Named::Open | Named::Unknown => Service::Standard,
    };
    let (rates, _) = row.rates(row.moment(context.at_ms), service, input_total, &mut Vec::new());
    let write = match ttl_s {
        0..=300 => Bucket::CacheWrite5m,
        301..=3_600 => Bucket::CacheWrite1h,
        3_601.. => Bucket::CacheWrite12h,
    };
    let input = unit(&rates, Bucket::Input)?;
    Some(Apiece {
        input,
        cache_read: unit(&rates, Bucket::CacheRead).unwrap_or(input),
        cache_write: unit(&rates, write).unwrap_or(input),
        output: unit(&rates, Bucket::Output)?,
    })
}
