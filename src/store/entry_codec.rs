//! An [`Entry`] as bytes, with its usage and attempts. The rules of `codec` apply.
//!
//! Invariant: the request id comes first, so that an entry can be found without decoding others.

use super::codec::{
    CodecError, cache_of, code_of_cache, code_of_dialect, code_of_operation, code_of_outcome, code_of_source,
    code_of_tier, dialect_of, operation_of, outcome_of, put_account, put_money, source_of, take_account, take_money,
    tier_of,
};
use super::wire::{Put, Take};
use crate::domain::entry::{Attempt, Entry, FEATURE_BYTES, PriceRef};
use crate::domain::ids::RequestId;
use crate::domain::money::Usd;
use crate::domain::tokens::Usage;

/// Attempt flags: most attempts go where the entry says, and have a price.
pub const SAME_UPSTREAM: u8 = 1;
pub const SAME_MODEL: u8 = 2;
pub const PRICED: u8 = 4;

/// Buckets of a [`Usage`], in the order of their bits on disk.
const BUCKETS: usize = 20;

/// The version of entries that say what the model asked for would have cost; the others are written as before.
pub const COMPARED: u8 = 2;

/// Appends the fields of `entry`.
pub fn put_entry(put: &mut Put<'_>, entry: &Entry) {
    put.raw(&entry.id.0.to_be_bytes());
    put.number(entry.at_ms);
    put_account(put, &entry.account);
    put.byte(code_of_dialect(entry.dialect));
    put.byte(code_of_operation(entry.operation));
    put.text(&entry.upstream);
    put.text(&entry.requested_model);
    put.text(&entry.model);
    put.maybe(entry.served_model.as_deref(), Put::text);
    put.maybe(entry.tier, |put, tier| put.byte(code_of_tier(tier)));
    put.text(&entry.reason);
    put.byte(code_of_cache(entry.cache));
    put.byte(u8::from(entry.stream));
    put.number(u64::from(entry.status));
    put.byte(code_of_outcome(entry.outcome));
    for name in [&entry.requested_service_tier, &entry.service_tier, &entry.geo, &entry.speed] {
        put.maybe(name.as_deref(), Put::text);
    }
    put_usage(put, &entry.usage);
    put.byte(code_of_source(entry.usage_source));
    put.byte(u8::from(entry.overrun));
    put_money(put, entry.cost);
    put.amount(entry.saved.pico());
    put.maybe(entry.price.as_ref(), |put, price| {
        put.text(&price.version);
        put.number(u64::from(price.row));
    });
    put_money(put, entry.quote);
    put.number(u64::from(entry.latency_ms));
    put.maybe(entry.first_byte_ms, |put, ms| put.number(u64::from(ms)));
    put.number(entry.attempts.len() as u64);
    for attempt in &entry.attempts {
        put_attempt(put, attempt, entry);
    }
    put.maybe((entry.features != [0; FEATURE_BYTES]).then_some(&entry.features), |put, features| put.raw(features));
    put.number(u64::from(entry.requests));
    if let Some(baseline) = entry.baseline {
        put.amount(baseline.pico());
    }
}

/// Reads the fields of an entry of this version, in the order in which [`put_entry`] wrote them.
pub fn take_entry(take: &mut Take<'_>, version: u8) -> Result<Entry, CodecError> {
    let mut entry = Entry {
        id: RequestId(u128::from_be_bytes(take.raw()?)),
        at_ms: take.number()?,
        account: take_account(take)?,
        dialect: dialect_of(take.byte()?)?,
        operation: operation_of(take.byte()?)?,
        upstream: take.text()?.into(),
        requested_model: take.text()?.into(),
        model: take.text()?.into(),
        served_model: take_name(take)?,
        tier: take.maybe(|take| tier_of(take.byte()?))?,
        reason: take.text()?.into(),
        cache: cache_of(take.byte()?)?,
        stream: take.flag()?,
        status: take.narrow()?,
        outcome: outcome_of(take.byte()?)?,
        requested_service_tier: take_name(take)?,
        service_tier: take_name(take)?,
        geo: take_name(take)?,
        speed: take_name(take)?,
        usage: take_usage(take)?,
        usage_source: source_of(take.byte()?)?,
        overrun: take.flag()?,
        cost: take_money(take)?,
        saved: Usd::from_pico(take.amount()?),
        baseline: None,
        price: take.maybe(|take| Ok(PriceRef { version: take.text()?.into(), row: take.narrow()? }))?,
        quote: take_money(take)?,
        latency_ms: take.narrow()?,
        first_byte_ms: take.maybe(Take::narrow)?,
        attempts: Vec::new(),
        features: [0; FEATURE_BYTES],
        requests: 0,
    };
    entry.attempts = take.list(|take| take_attempt(take, &entry))?;
    entry.features = take.maybe(Take::raw)?.unwrap_or([0; FEATURE_BYTES]);
    entry.requests = take.narrow()?;
    entry.baseline = if version == COMPARED { Some(Usd::from_pico(take.amount()?)) } else { None };
    Ok(entry)
}

fn take_name(take: &mut Take<'_>) -> Result<Option<Box<str>>, CodecError> {
    take.maybe(|take| take.text().map(Into::into))
}

fn put_attempt(put: &mut Put<'_>, attempt: &Attempt, entry: &Entry) {
    let flag = |set: bool, bit: u8| if set { bit } else { 0 };
    let same_upstream = attempt.upstream == entry.upstream;
    let same_model = attempt.model == entry.model;
    let priced = attempt.cost.is_some();
    put.byte(flag(same_upstream, SAME_UPSTREAM) | flag(same_model, SAME_MODEL) | flag(priced, PRICED));
    put.byte(attempt.ordinal);
    if !same_upstream {
        put.text(&attempt.upstream);
    }
    if !same_model {
        put.text(&attempt.model);
    }
    put.number(u64::from(attempt.status));
    put.byte(code_of_outcome(attempt.outcome));
    put.byte(code_of_source(attempt.usage_source));
    if let Some(cost) = attempt.cost {
        put.amount(cost.pico());
    }
}

fn take_attempt(take: &mut Take<'_>, entry: &Entry) -> Result<Attempt, CodecError> {
    let flags = attempt_flags(take)?;
    Ok(Attempt {
        ordinal: take.byte()?,
        upstream: if flags & SAME_UPSTREAM != 0 { entry.upstream.clone() } else { take.text()?.into() },
        model: if flags & SAME_MODEL != 0 { entry.model.clone() } else { take.text()?.into() },
        status: take.narrow()?,
        outcome: outcome_of(take.byte()?)?,
        usage_source: source_of(take.byte()?)?,
        cost: if flags & PRICED != 0 { Some(Usd::from_pico(take.amount()?)) } else { None },
    })
}

/// Goes past an attempt.
pub fn skip_attempt(take: &mut Take<'_>) -> Result<(), CodecError> {
    let flags = attempt_flags(take)?;
    take.byte()?;
    for same in [SAME_UPSTREAM, SAME_MODEL] {
        if flags & same == 0 {
            take.skip_text()?;
        }
    }
    take.number()?;
    take.raw::<2>()?;
    if flags & PRICED != 0 {
        take.amount()?;
    }
    Ok(())
}

/// What of an attempt is written.
pub fn attempt_flags(take: &mut Take<'_>) -> Result<u8, CodecError> {
    match take.byte()? {
        flags if flags > (SAME_UPSTREAM | SAME_MODEL | PRICED) => {
            Err(CodecError::UnknownCode { what: "attempt flags", code: flags })
        }
        flags => Ok(flags),
    }
}

/// A bit for each bucket that is not zero, then those buckets, then the server tools.
fn put_usage(put: &mut Put<'_>, usage: &Usage) {
    let buckets = buckets(usage);
    let mask = buckets.iter().rev().fold(0, |mask, bucket| (mask << 1) | u64::from(*bucket != 0));
    put.number(mask);
    for bucket in buckets.into_iter().filter(|bucket| *bucket != 0) {
        put.number(bucket);
    }
    put.number(usage.server_tools.len() as u64);
    for (name, calls) in &usage.server_tools {
        put.text(name);
        put.number(*calls);
    }
}

fn take_usage(take: &mut Take<'_>) -> Result<Usage, CodecError> {
    let buckets = take_buckets(take)?;
    let server_tools = take.list(|take| Ok((take.text()?.into(), take.number()?)))?;
    Ok(usage_of(buckets, server_tools))
}

/// The same without the server tools, which count nowhere but in the price.
pub fn take_brief_usage(take: &mut Take<'_>) -> Result<Usage, CodecError> {
    let buckets = take_buckets(take)?;
    for _ in 0..take.number()? {
        take.skip_text()?;
        take.number()?;
    }
    Ok(usage_of(buckets, Vec::new()))
}

fn take_buckets(take: &mut Take<'_>) -> Result<[u64; BUCKETS], CodecError> {
    let mask = take.number()?;
    if mask >> BUCKETS != 0 {
        return Err(CodecError::TooLarge);
    }
    let mut buckets = [0; BUCKETS];
    for (place, bucket) in buckets.iter_mut().enumerate() {
        if mask & (1 << place) != 0 {
            *bucket = take.number()?;
        }
    }
    Ok(buckets)
}

/// The buckets in the order of their bits; taken apart by name, so that a new bucket cannot be forgotten.
fn buckets(usage: &Usage) -> [u64; BUCKETS] {
    let Usage {
        input,
        cache_read,
        cache_write,
        cache_write_5m,
        cache_write_1h,
        cache_write_12h,
        output,
        reasoning,
        audio_in,
        audio_out,
        audio_cached,
        image_in,
        image_out,
        image_cached,
        video_in,
        document_in,
        tool_prompt,
        stored_tokens,
        seconds,
        search_units,
        server_tools: _,
    } = *usage;
    [
        input,
        cache_read,
        cache_write,
        cache_write_5m,
        cache_write_1h,
        cache_write_12h,
        output,
        reasoning,
        audio_in,
        audio_out,
        audio_cached,
        image_in,
        image_out,
        image_cached,
        video_in,
        document_in,
        tool_prompt,
        stored_tokens,
        seconds,
        search_units,
    ]
}

/// The reverse of [`buckets`].
fn usage_of(buckets: [u64; BUCKETS], server_tools: Vec<(Box<str>, u64)>) -> Usage {
    let [
        input,
        cache_read,
        cache_write,
        cache_write_5m,
        cache_write_1h,
        cache_write_12h,
        output,
        reasoning,
        audio_in,
        audio_out,
        audio_cached,
        image_in,
        image_out,
        image_cached,
        video_in,
        document_in,
        tool_prompt,
        stored_tokens,
        seconds,
        search_units,
    ] = buckets;
    Usage {
        input,
        cache_read,
        cache_write,
        cache_write_5m,
        cache_write_1h,
        cache_write_12h,
        output,
        reasoning,
        audio_in,
        audio_out,
        audio_cached,
        image_in,
        image_out,
        image_cached,
        video_in,
        document_in,
        tool_prompt,
        stored_tokens,
        seconds,
        search_units,
        server_tools,
    }
}
