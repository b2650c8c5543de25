//! [`quote`]: the most that a call can cost, known before it is made.
//!
//! Invariant: every choice that is left to the provider (cache writes, hour, service tier, place) is taken at its dearest.

use super::charge::{Context, Unpriced, audio, check_units, total};
use super::rates::{Bucket, Rates};
use super::row::{Factor, RateRow};
use super::select::{Moment, Named, Service, unit};
use super::tools::{self, Fee};
use crate::domain::money::{Rate, Usd};

/// The most that a call can use.
#[derive(Clone, Copy, Debug, Default)]
pub struct Bounds<'a> {
    /// Prompt tokens of every kind together.
    pub input: u64,
    /// Generated tokens of every kind together.
    pub output: u64,
    /// Seconds of audio, for models priced by duration.
    pub seconds: u64,
    /// Search units of a rerank call.
    pub search_units: u64,
    /// Calls of tools that run at the provider, by name.
    pub tools: &'a [(&'a str, u64)],
    /// What the prompt can hold.
    pub prompt: Prompt,
    /// Who decides what the request leaves open.
    pub open_choices: OpenChoices,
}

/// What a prompt can hold.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Prompt {
    /// Any kind of token.
    #[default]
    Any,
    /// Nothing but text: rates of audio, images and video cannot apply.
    Text,
}

/// Who decides the service tier and the place of a request that does not say.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OpenChoices {
    /// Settings of the provider's account, which may pick a dearer one (OpenAI's `auto` is the project's tier).
    #[default]
    Account,
    /// Nobody: the provider serves its standard.
    Standard,
}

/// The most that a call within `bounds` can cost at the rates of `row`. Of `context` only what is known before the call
/// counts: `requested_service_tier`, the geo and speed that were asked for, residency, and the time.
pub fn quote(row: &RateRow, bounds: &Bounds<'_>, context: &Context<'_>) -> Result<Usd, Unpriced> {
    check_units(row, bounds.seconds, bounds.search_units)?;
    let factor = multiplier(row, bounds, context);
    let audio =
        audio(row, bounds.seconds, false).or_else(|no_fee| if bounds.input > 0 { Ok(0) } else { Err(no_fee) })?;
    let fees = fees(row, bounds)?;
    let moment = row.moment(context.at_ms);
    let mut tokens = 0;
    // The answer may come in another hour than the request, where hours have prices.
    let hours = if moment.dated.off_peak.is_some() { &[false, true][..] } else { &[false] };
    for service in services(row, bounds, context)? {
        for off_peak in hours {
            tokens = dearest(row, Moment { off_peak: *off_peak, ..moment }, service, bounds)?.max(tokens);
        }
    }
    Ok(total(tokens, factor, audio, fees))
}

/// The service tiers that can be billed: what was asked for, and the standard, which an upstream may fall back to.
fn services(row: &RateRow, bounds: &Bounds<'_>, context: &Context<'_>) -> Result<Vec<Service>, Unpriced> {
    let asked = context.requested_service_tier;
    Ok(match Named::parse(asked) {
        Named::Known(service) => vec![Service::Standard, service],
        Named::Unknown => return Err(Unpriced::Service(asked.unwrap_or_default().into())),
        Named::Open => match bounds.open_choices {
            OpenChoices::Standard => vec![Service::Standard],
            OpenChoices::Account => {
                let by_account = |service: &Service| matches!(service, Service::Flex | Service::Priority);
                let known = row.services.iter().map(|(service, _)| *service).filter(by_account);
                std::iter::once(Service::Standard).chain(known).collect()
            }
        },
    })
}

/// The dearest use of the bounds on every side of every threshold: a tier can be cheaper than what is below it.
fn dearest(row: &RateRow, moment: Moment<'_>, service: Service, bounds: &Bounds<'_>) -> Result<u128, Unpriced> {
    let own = row.services.iter().filter(|(known, _)| *known == service).flat_map(|(_, card)| &card.tiers);
    let thresholds = moment.dated.card.tiers.iter().chain(own).map(|(above, _)| *above);
    let mut most = 0;
    for input_total in thresholds.filter(|above| *above < bounds.input).map(|above| above + 1).chain([0]) {
        let (rates, _) = row.rates(moment, service, input_total, &mut Vec::new());
        let input = cost(&rates, input_buckets(bounds.prompt), bounds.input)?;
        let output = cost(&rates, &[Bucket::Output, Bucket::AudioOut, Bucket::ImageOut], bounds.output)?;
        most = input.saturating_add(output).max(most);
    }
    Ok(most)
}

fn cost(rates: &Rates, buckets: &[Bucket], tokens: u64) -> Result<u128, Unpriced> {
    if tokens == 0 {
        return Ok(0);
    }
    let dearest: Option<Rate> = buckets.iter().filter_map(|bucket| unit(rates, *bucket)).max();
    dearest.map(|rate| rate.times(tokens).pico()).ok_or(Unpriced::NoRate(buckets[0]))
}

const fn input_buckets(prompt: Prompt) -> &'static [Bucket] {
    const ALL: [Bucket; 11] = [
        Bucket::Input,
        Bucket::CacheRead,
        Bucket::CacheWrite,
        Bucket::CacheWrite5m,
        Bucket::CacheWrite1h,
        Bucket::CacheWrite12h,
        Bucket::AudioIn,
        Bucket::ImageIn,
        Bucket::VideoIn,
        Bucket::AudioCacheRead,
        Bucket::ImageCacheRead,
    ];
    match prompt {
        Prompt::Any => &ALL,
        Prompt::Text => ALL.split_at(6).0,
    }
}

fn multiplier(row: &RateRow, bounds: &Bounds<'_>, context: &Context<'_>) -> Factor {
    let asked = row.multiplier(context, &mut Vec::new());
    match (bounds.open_choices, context.geo) {
        (OpenChoices::Account, None) => asked.times(row.largest("geo.")),
        (OpenChoices::Account, Some(_)) | (OpenChoices::Standard, _) => asked,
    }
}

fn fees(row: &RateRow, bounds: &Bounds<'_>) -> Result<Usd, Unpriced> {
    let mut sum = Usd::ZERO;
    for (name, calls) in bounds.tools {
        sum = sum + tools::bounded(row, name, *calls).ok_or_else(|| Unpriced::Tool((*name).into()))?;
    }
    if bounds.search_units > 0 {
        let query = row.fee(Fee::Query).ok_or(Unpriced::NoFee("search_units"))?;
        sum = sum + query.times(bounds.search_units);
    }
    Ok(sum)
}
