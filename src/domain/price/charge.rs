//! [`charge`]: what metered usage costs.
//!
//! Everything is an integer: pico-dollars for a token, multipliers as fractions; the sum is rounded up once, at the end.
//!
//! Invariant: a charge says in its notes where it had to take a rate that the provider did not state.

use std::fmt;

use super::rates::{Bucket, Rates};
use super::row::{Factor, RateRow};
use super::select::{Named, Service, unit};
use super::tools::{self, Fee};
use crate::domain::money::Usd;
use crate::domain::tokens::Usage;

/// Seconds of an hour: audio is priced by the hour and counted in seconds.
const HOUR_S: u128 = 3600;

/// What a price depends on besides usage.
#[derive(Clone, Copy, Debug, Default)]
pub struct Context<'a> {
    /// When, in unix milliseconds: dated prices, peak hours. DeepSeek prices a request by its end.
    pub at_ms: u64,
    /// The service tier that the response names.
    pub service_tier: Option<&'a str>,
    /// The service tier that the request asked for; counts only where the response names none.
    pub requested_service_tier: Option<&'a str>,
    /// Anthropic's `inference_geo`.
    pub geo: Option<&'a str>,
    /// The place of OpenAI's regional host (`us`, `eu`), or `regional` for a cloud's regional endpoint.
    pub residency: Option<&'a str>,
    /// Anthropic's `speed`.
    pub speed: Option<&'a str>,
}

/// The price of known usage.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Charge {
    /// What the provider will bill.
    pub cost: Usd,
    /// The service tier whose rates were taken.
    pub service: Service,
    /// The threshold of the long-context tier, if the request was above one.
    pub above_input_tokens: Option<u64>,
    /// What had to be assumed; empty for nearly every charge.
    pub notes: Vec<Note>,
    /// Executed tool calls and other units without a known fee: not in `cost`, and not silently free.
    pub unpriced: Vec<(Box<str>, u64)>,
}

/// Something about a charge that the provider did not state.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Note {
    /// The service tier has a name that nobody knows: the dearest of the model's tiers was taken.
    UnknownService,
    /// The model has no price for the service tier: standard rates were taken.
    ServiceAtStandard,
    /// The service tier has no past prices: the dearer of its own and the standard rates of that time were taken.
    ServiceOfAnotherDate,
    /// The service tier has no long-context price: the dearer of its own and the standard tier was taken.
    ServiceWithoutTier,
    /// Paid in advance; the cost is what it would have been at standard rates.
    Prepaid,
    /// A place without a price: the dearest place of the model was taken.
    UnknownPlace,
    /// A speed without a price.
    UnknownSpeed,
    /// Tokens read from a cache, where the model has no price for it: priced as plain input.
    ReadAsInput,
    /// Tokens written to a cache for a time that has no price: priced as the writes that have one.
    WriteAtOtherLifetime,
}

/// Why there is no charge.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Unpriced {
    /// Tokens of a kind that has no rate.
    NoRate(Bucket),
    /// Units that have no fee, by their bucket's name.
    NoFee(&'static str),
    /// The model is sold by a unit that usage does not count.
    SoldBy(Box<str>),
    /// The model is sold by a unit of which none was counted.
    NotCounted(Fee),
    /// A tool whose fee is not known; only a quote is refused for it.
    Tool(Box<str>),
    /// A service tier whose price cannot be bounded, since nobody knows its name; only a quote is refused for it.
    Service(Box<str>),
}

/// Prices `usage` at the rates of `row`.
pub fn charge(row: &RateRow, usage: &Usage, context: &Context<'_>) -> Result<Charge, Unpriced> {
    check_units(row, usage.seconds, usage.search_units)?;
    match Named::parse(context.service_tier.or(context.requested_service_tier)) {
        Named::Open => charge_service(row, usage, context, Service::Standard),
        Named::Known(service) => charge_service(row, usage, context, service),
        Named::Unknown => {
            let mut dearest = charge_service(row, usage, context, Service::Standard)?;
            for (service, _) in &row.services {
                let other = charge_service(row, usage, context, *service)?;
                dearest = if other.cost > dearest.cost { other } else { dearest };
            }
            dearest.notes.push(Note::UnknownService);
            Ok(dearest)
        }
    }
}

/// Refuses models that are sold by a unit which was not counted.
pub(super) fn check_units(row: &RateRow, seconds: u64, search_units: u64) -> Result<(), Unpriced> {
    if let Some(unit) = &row.sold_by {
        return Err(Unpriced::SoldBy(unit.clone()));
    }
    let missing = [(Fee::Hour, seconds), (Fee::Query, search_units)]
        .into_iter()
        .find(|(fee, counted)| *counted == 0 && row.fee(*fee).is_some() && !row.standard().any_paid());
    missing.map_or(Ok(()), |(fee, _)| Err(Unpriced::NotCounted(fee)))
}

/// The sum of tokens at a multiplier, hours of audio counted in seconds, and fees; rounded up once.
pub(super) fn total(tokens_pico: u128, factor: Factor, audio_pico_hours: u128, fees: Usd) -> Usd {
    let (numerator, denominator) = (u128::from(factor.numerator), u128::from(factor.denominator));
    let tokens = tokens_pico.saturating_mul(numerator).saturating_mul(HOUR_S);
    let audio = audio_pico_hours.saturating_mul(denominator);
    let fraction = tokens.saturating_add(audio).div_ceil(denominator.saturating_mul(HOUR_S).max(1));
    Usd::from_pico(fraction) + fees
}

/// What `seconds` of audio cost, times the seconds of an hour. Where tokens were counted they are what is billed.
pub(super) fn audio(row: &RateRow, seconds: u64, has_tokens: bool) -> Result<u128, Unpriced> {
    let by_tokens = has_tokens && row.standard().any_paid();
    match row.fee(Fee::Hour) {
        _ if seconds == 0 || by_tokens => Ok(0),
        Some(hour) => Ok(hour.times(seconds).pico()),
        None => Err(Unpriced::NoFee("seconds")),
    }
}

fn charge_service(row: &RateRow, usage: &Usage, context: &Context<'_>, service: Service) -> Result<Charge, Unpriced> {
    let mut notes = Vec::new();
    let (rates, above) = row.rates(row.moment(context.at_ms), service, usage.input_total(), &mut notes);
    let tokens = tokens_pico(&rates, usage, &mut notes)?;
    let factor = row.multiplier(context, &mut notes);
    let audio = audio(row, usage.seconds, usage.input_total() > 0)?;
    let mut fees = tools::executed(row, usage);
    if usage.search_units > 0 {
        let query = row.fee(Fee::Query).ok_or(Unpriced::NoFee("search_units"))?;
        fees.total = fees.total + query.times(usage.search_units);
    }
    if usage.stored_tokens > 0 {
        // Storage is billed by the hour, and no catalogue prices it.
        fees.unpriced.push(("stored_tokens".into(), usage.stored_tokens));
    }
    let cost = total(tokens, factor, audio, fees.total);
    Ok(Charge { cost, service, above_input_tokens: above, notes, unpriced: fees.unpriced })
}

/// The tokens at their rates, in pico-dollars before any multiplier.
fn tokens_pico(rates: &Rates, usage: &Usage, notes: &mut Vec<Note>) -> Result<u128, Unpriced> {
    let mut sum = 0_u128;
    for (bucket, tokens) in buckets(usage).into_iter().filter(|(_, tokens)| *tokens > 0) {
        let rate = unit(rates, bucket).ok_or(Unpriced::NoRate(bucket))?;
        sum = sum.saturating_add(rate.times(tokens).pico());
        notes.extend(note(rates, bucket));
    }
    Ok(sum)
}

fn note(rates: &Rates, bucket: Bucket) -> Option<Note> {
    match bucket {
        Bucket::CacheRead => rates.get(bucket).is_none().then_some(Note::ReadAsInput),
        Bucket::CacheWrite1h | Bucket::CacheWrite12h => {
            let other = rates.get(bucket).is_none() && unit(rates, bucket) != rates.get(Bucket::Input);
            other.then_some(Note::WriteAtOtherLifetime)
        }
        _ => None,
    }
}

/// Usage by price: each part is taken out of its whole, and never more than the whole. What a provider calls audio or
/// image tokens of the prompt includes those that were read from its cache.
fn buckets(usage: &Usage) -> [(Bucket, u64); 14] {
    let mut input = usage.input;
    let mut read = usage.cache_read;
    let mut output = usage.output;
    let take = |whole: &mut u64, part: u64| {
        let part = part.min(*whole);
        *whole -= part;
        part
    };
    [
        (Bucket::AudioIn, take(&mut input, usage.audio_in.saturating_sub(usage.audio_cached))),
        (Bucket::ImageIn, take(&mut input, usage.image_in.saturating_sub(usage.image_cached))),
        (Bucket::VideoIn, take(&mut input, usage.video_in)),
        (Bucket::Input, input),
        (Bucket::AudioCacheRead, take(&mut read, usage.audio_cached)),
        (Bucket::ImageCacheRead, take(&mut read, usage.image_cached)),
        (Bucket::CacheRead, read),
        (Bucket::CacheWrite, usage.cache_write),
        (Bucket::CacheWrite5m, usage.cache_write_5m),
        (Bucket::CacheWrite1h, usage.cache_write_1h),
        (Bucket::CacheWrite12h, usage.cache_write_12h),
        (Bucket::AudioOut, take(&mut output, usage.audio_out)),
        (Bucket::ImageOut, take(&mut output, usage.image_out)),
        (Bucket::Output, output),
    ]
}

impl fmt::Display for Unpriced {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoRate(bucket) => write!(out, "no price for {} tokens", bucket.name()),
            Self::NoFee(unit) => write!(out, "no price for {unit}"),
            Self::SoldBy(unit) => write!(out, "sold by the {unit}, which usage does not count"),
            Self::NotCounted(fee) => write!(out, "sold by the {}, of which none was counted", fee.name()),
            Self::Tool(name) => write!(out, "no price for the tool {name:?}"),
            Self::Service(name) => write!(out, "no price for the service tier {name:?}"),
        }
    }
}

impl std::error::Error for Unpriced {}
