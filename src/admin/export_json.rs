//! The pages of the administration interfaces, as JSON: one, a list of them, or one after the other.
//!
//! OpenAI (<https://developers.openai.com/api/docs/api-reference/usage>): `{"object":"page","data":[{"object":"bucket",
//! "start_time":unix seconds,"results":[..]}],"has_more"}`. A result of `organization.usage.completions.result` has
//! `input_tokens` (text, cached ones included), `input_cached_tokens`, `input_audio_tokens`, `output_tokens` (text),
//! `output_audio_tokens` and, with `group_by=model`, `model`; one of embeddings has `input_tokens` alone. One of
//! `organization.costs.result` has `amount: {value, currency}` and, with `group_by=line_item`, `line_item`, which begins
//! with the model.
//!
//! Anthropic (<https://platform.claude.com/docs/en/api/admin/usage_report/retrieve_messages> and `/cost_report`):
//! `{"data":[{"starting_at":RFC 3339,"ending_at","results":[..]}],"has_more"}`. A result of usage has
//! `uncached_input_tokens`, `cache_read_input_tokens`, `cache_creation: {ephemeral_5m_input_tokens,
//! ephemeral_1h_input_tokens}`, `output_tokens` and `model`; one of costs has `amount`, a decimal text in the lowest unit
//! of `currency`, so that `"123.45"` in USD is 1.2345 dollars, and `model`.

use serde_json::{Deserializer, Value};

use super::export::{BadExport, Reading, Unit, amount};
use crate::domain::calendar::Day;
use crate::domain::reconcile::Side;

/// Seconds of a day.
const DAY_SECONDS: u64 = 86_400;

/// Reads every page in `text`.
pub fn read(text: &str, reading: &mut Reading) -> Result<(), BadExport> {
    for (number, value) in Deserializer::from_str(text).into_iter::<Value>().enumerate() {
        let value = value.map_err(|error| BadExport::bad("JSON", error))?;
        match value {
            Value::Array(pages) => {
                for page in &pages {
                    self::page(page, number, reading)?;
                }
            }
            page => self::page(&page, number, reading)?,
        }
    }
    Ok(())
}

fn page(page: &Value, number: usize, reading: &mut Reading) -> Result<(), BadExport> {
    let Some(buckets) = page["data"].as_array() else {
        return Err(BadExport::Unknown("JSON without a list \"data\" of buckets".into()));
    };
    reading.is_partial = page["has_more"] == true;
    for (place, bucket) in buckets.iter().enumerate() {
        let place = format!("page {}, data[{place}]", number + 1);
        let Some(results) = bucket["results"].as_array() else {
            return Err(BadExport::Unknown("JSON whose \"data\" has no \"results\"".into()));
        };
        let read: fn(&Value, Day, &str, &mut Reading) -> Result<(), BadExport> = match bucket["start_time"].is_u64() {
            true => openai,
            false => anthropic,
        };
        let day = day(bucket, &place)?;
        reading.of(if bucket["start_time"].is_u64() { "openai" } else { "anthropic" })?;
        reading.touch(day);
        for (number, result) in results.iter().enumerate() {
            read(result, day, &format!("{place}.results[{number}]"), reading)?;
        }
    }
    Ok(())
}

fn day(bucket: &Value, place: &str) -> Result<Day, BadExport> {
    if let Some(seconds) = bucket["start_time"].as_u64() {
        let day = u32::try_from(seconds / DAY_SECONDS).ok().filter(|day| *day < u32::MAX);
        return day.map(Day).ok_or_else(|| BadExport::bad(place, "start_time is no time"));
    }
    let Some(text) = bucket["starting_at"].as_str() else {
        return Err(BadExport::Unknown("JSON whose buckets have neither start_time nor starting_at".into()));
    };
    let day = text.get(..10).and_then(Day::parse);
    day.ok_or_else(|| BadExport::bad(place, format!("starting_at: {text:?} is no time")))
}

fn openai(result: &Value, day: Day, place: &str, reading: &mut Reading) -> Result<(), BadExport> {
    let kind = result["object"].as_str().unwrap_or_default();
    if kind == "organization.costs.result" {
        in_dollars(&result["amount"]["currency"], place)?;
        let value = &result["amount"]["value"];
        let text = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
        let amount = amount(&text, Unit::Dollars);
        let amount = amount.ok_or_else(|| BadExport::bad(place, format!("amount.value: {value} is no amount")))?;
        reading.money(day, result["line_item"].as_str().map(model_of_item), amount);
        return Ok(());
    }
    if result.get("input_tokens").is_none() {
        return Err(BadExport::Unknown(format!("a result {kind:?}, which counts no tokens,").into()));
    }
    let count = |name| count(result, name, place);
    let side = Side {
        input: count("input_tokens")?.saturating_add(count("input_audio_tokens")?),
        cache_read: count("input_cached_tokens")?,
        output: count("output_tokens")?.saturating_add(count("output_audio_tokens")?),
        ..Side::default()
    };
    reading.tokens(day, result["model"].as_str(), side);
    Ok(())
}

fn anthropic(result: &Value, day: Day, place: &str, reading: &mut Reading) -> Result<(), BadExport> {
    let model = result["model"].as_str();
    if let Some(text) = result["amount"].as_str() {
        in_dollars(&result["currency"], place)?;
        let amount = amount(text, Unit::Cents);
        let amount = amount.ok_or_else(|| BadExport::bad(place, format!("amount: {text:?} is no amount")))?;
        reading.money(day, model, amount);
        return Ok(());
    }
    if result.get("uncached_input_tokens").is_none() {
        return Err(BadExport::Unknown("JSON whose results have neither uncached_input_tokens nor amount".into()));
    }
    let (written, read) = (&result["cache_creation"], count(result, "cache_read_input_tokens", place)?);
    let written = count(written, "ephemeral_5m_input_tokens", place)?.saturating_add(count(
        written,
        "ephemeral_1h_input_tokens",
        place,
    )?);
    let fresh = count(result, "uncached_input_tokens", place)?;
    let side = Side {
        input: fresh.saturating_add(read).saturating_add(written),
        cache_read: read,
        cache_write: written,
        output: count(result, "output_tokens", place)?,
        ..Side::default()
    };
    reading.tokens(day, model, side);
    Ok(())
}

/// The model that a line item such as `gpt-4o-mini-2024-07-18, cached input` begins with.
pub fn model_of_item(item: &str) -> &str {
    item.split_once(", ").map_or(item, |(model, _)| model)
}

fn in_dollars(currency: &Value, place: &str) -> Result<(), BadExport> {
    let is_usd = currency.as_str().is_some_and(|currency| currency.eq_ignore_ascii_case("usd"));
    if is_usd { Ok(()) } else { Err(BadExport::bad(place, format!("the currency is {currency} and not USD"))) }
}

/// A number of tokens; one that is left out or null was not counted.
fn count(result: &Value, name: &str, place: &str) -> Result<u64, BadExport> {
    match &result[name] {
        Value::Null => Ok(0),
        value => value.as_u64().ok_or_else(|| BadExport::bad(place, format!("{name}: {value} is no count"))),
    }
}
