//! An [`Entry`] as the one JSON object that users see: for one request, and as a line of an export.
//!
//! Names and order of the fields are a contract with users (INTERFACE.md). One field is written only where it says
//! something: `requests`, in an entry that counts several refusals of one key together. It writes no
//! prompt and no secret, since an entry holds none.

use super::account::Account;
use super::entry::{Attempt, Entry};
use super::json_text::Object;
use super::money::Usd;
use super::subject::Subject;
use super::sums::Sums;
use super::tokens::Usage;
use super::utc::Moment;

/// What a line says of requests that have none of their own any more.
pub const DROPPED: &str = "dropped by retention: what is left of a quarter of an hour";

/// Appends `entry` to `out`, as one line without its end; `entry_hash` is the journal's hash of it, in hex.
pub fn write_entry(entry: &Entry, entry_hash: &str, out: &mut String) {
    let mut object = Object::open(out);
    write_who(entry, &mut object);
    write_what(entry, &mut object);
    write_usage(&entry.usage, object.object("usage"));
    write_charge(entry, &mut object);
    let mut attempts = object.list("attempts");
    for attempt in &entry.attempts {
        write_attempt(attempt, attempts.object());
    }
    drop(attempts);
    if entry.requests != 1 {
        object.number("requests", entry.requests);
    }
    object.text("entry_hash", entry_hash);
}

/// Appends what retention has left of the requests of `subject` in the quarter of an hour that begins at `at_ms`, as one line
/// without its end.
pub fn write_dropped(at_ms: u64, subject: &Subject, sums: &Sums, out: &mut String) {
    let mut object = Object::open(out);
    object.number("dropped_requests", sums.requests).shown("at", Moment(at_ms));
    write_account(&subject.account(), &mut object);
    let mut tags = object.object("tags");
    for (name, value) in subject.tags.iter() {
        tags.text(name, value);
    }
    drop(tags);
    object.text_or_null("operation", subject.operation.map(|operation| operation.name()));
    object.text("upstream", &subject.upstream).text("requested_model", &subject.requested_model);
    object.text("model", &subject.model).text_or_null("tier", subject.tier.map(|tier| tier.name()));
    object.text("reason", DROPPED).text_or_null("cache", subject.cache.map(|cache| cache.name()));
    for (name, units) in [
        ("errors", sums.errors),
        ("unpriced", sums.unpriced),
        ("input", sums.input),
        ("cache_read", sums.cache_read),
        ("cache_write", sums.cache_write),
        ("output", sums.output),
        ("reasoning", sums.reasoning),
    ] {
        object.number(name, units);
    }
    object.shown("cost_usd", sums.spend.fixed()).shown("saved_usd", sums.saved);
    object.shown("charged_usd", sums.charged.fixed()).shown("credited_usd", sums.credited.fixed());
}

fn write_who(entry: &Entry, object: &mut Object<'_>) {
    object.shown("request_id", entry.id).shown("at", Moment(entry.at_ms));
    write_account(&entry.account, object);
    let mut tags = object.object("tags");
    for (name, value) in entry.account.tags.iter() {
        tags.text(name, value);
    }
}

/// Key, user and team, as entries and log lines say them.
pub fn write_account(account: &Account, object: &mut Object<'_>) {
    object.text("key", &account.key);
    object.text_or_null("user", account.user.as_deref()).text_or_null("team", account.team.as_deref());
}

fn write_what(entry: &Entry, object: &mut Object<'_>) {
    object.text("dialect", entry.dialect.name()).text("operation", entry.operation.name());
    object.text("upstream", &entry.upstream).text("requested_model", &entry.requested_model);
    object.text("model", &entry.model).text_or_null("served_model", entry.served_model.as_deref());
    object.text_or_null("tier", entry.tier.map(|tier| tier.name())).text("reason", &entry.reason);
    object.text("cache", entry.cache.name()).truth("stream", entry.stream);
    object.number("status", entry.status).text("outcome", entry.outcome.name());
    object.text_or_null("requested_service_tier", entry.requested_service_tier.as_deref());
    object.text_or_null("service_tier", entry.service_tier.as_deref());
    object.text_or_null("geo", entry.geo.as_deref()).text_or_null("speed", entry.speed.as_deref());
}

fn write_usage(usage: &Usage, mut object: Object<'_>) {
    for (name, units) in [
        ("input", usage.input),
        ("cache_read", usage.cache_read),
        ("cache_write", usage.cache_write),
        ("cache_write_5m", usage.cache_write_5m),
        ("cache_write_1h", usage.cache_write_1h),
        ("cache_write_12h", usage.cache_write_12h),
        ("output", usage.output),
        ("reasoning", usage.reasoning),
        ("audio_in", usage.audio_in),
        ("audio_out", usage.audio_out),
        ("audio_cached", usage.audio_cached),
        ("image_in", usage.image_in),
        ("image_out", usage.image_out),
        ("image_cached", usage.image_cached),
        ("video_in", usage.video_in),
        ("document_in", usage.document_in),
        ("tool_prompt", usage.tool_prompt),
        ("stored_tokens", usage.stored_tokens),
        ("seconds", usage.seconds),
        ("search_units", usage.search_units),
    ] {
        object.number(name, units);
    }
    let mut tools = object.object("server_tools");
    for (name, calls) in &usage.server_tools {
        tools.number(name, calls);
    }
}

fn write_charge(entry: &Entry, object: &mut Object<'_>) {
    object.text("usage_source", entry.usage_source.name()).truth("overrun", entry.overrun);
    write_cost(entry.cost, object);
    let (saved, is_negative) = entry.saved_in_all();
    object.shown("saved_usd", format_args!("{}{saved}", if is_negative { "-" } else { "" }));
    match entry.baseline {
        Some(baseline) => object.shown("baseline_usd", baseline),
        None => object.null("baseline_usd"),
    };
    object.text_or_null("price_version", entry.price.as_ref().map(|price| &*price.version));
    match entry.quote {
        Some(quote) => object.shown("quote_usd", quote),
        None => object.null("quote_usd"),
    };
    object.number("latency_ms", entry.latency_ms).number_or_null("first_byte_ms", entry.first_byte_ms);
}

/// The cost with all its decimals, or null where it is unpriced.
pub fn write_cost(cost: Option<Usd>, object: &mut Object<'_>) {
    match cost {
        Some(cost) => object.shown("cost_usd", cost.written()),
        None => object.null("cost_usd"),
    };
}

fn write_attempt(attempt: &Attempt, mut object: Object<'_>) {
    let status = (attempt.status > 0).then_some(attempt.status);
    object.number("ordinal", attempt.ordinal).text("upstream", &attempt.upstream).text("model", &attempt.model);
    object.number_or_null("status", status).text("outcome", attempt.outcome.name());
    object.text("usage_source", attempt.usage_source.name());
    write_cost(attempt.cost, &mut object);
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::domain::sample;

    fn written(entry: &Entry) -> String {
        let mut out = String::new();
        write_entry(entry, "00ff", &mut out);
        out
    }

    #[test]
    fn an_entry_reads_as_the_interface_says() {
        let expect = concat!(
            r#"{"request_id":"01m81nf47v0000000000000001","at":"2026-11-22T13:00:00.123Z","key":"ci","user":null,"#,
            r#""team":"search","tags":{"env":"prod","feature":"search"},"dialect":"anthropic","operation":"messages","#,
            r#""upstream":"anthropic","requested_model":"claude-opus-5-5","model":"claude-haiku-5-5","#,
            r#""served_model":"claude-haiku-5-5-20261001","tier":"simple","reason":"tier","cache":"miss","#,
            r#""stream":true,"status":200,"outcome":"complete","requested_service_tier":null,"#,
            r#""service_tier":"default","geo":null,"speed":null,"usage":{"input":100,"cache_read":20,"#,
            r#""cache_write":0,"cache_write_5m":7,"cache_write_1h":0,"cache_write_12h":0,"output":30,"#,
            r#""reasoning":4,"audio_in":0,"audio_out":0,"audio_cached":0,"image_in":0,"image_out":0,"#,
            r#""image_cached":0,"video_in":0,"document_in":0,"tool_prompt":0,"stored_tokens":0,"seconds":0,"#,
            r#""search_units":0,"server_tools":{}},"usage_source":"reported","overrun":false,"#,
            r#""cost_usd":"0.001234500000","saved_usd":"0","baseline_usd":null,"price_version":"2026-11-20","quote_usd":"0.02","#,
            r#""latency_ms":812,"first_byte_ms":240,"attempts":[{"ordinal":0,"upstream":"anthropic","#,
            r#""model":"claude-haiku-5-5","status":200,"outcome":"complete","usage_source":"reported","#,
            r#""cost_usd":"0.001234500000"}],"entry_hash":"00ff"}"#,
        );
        assert_eq!(written(&sample::entry()), expect);
    }

    #[test]
    fn what_is_unknown_is_null_and_never_zero() {
        let mut entry = sample::entry();
        (entry.cost, entry.quote, entry.price, entry.first_byte_ms, entry.tier) = (None, None, None, None, None);
        (entry.attempts[0].status, entry.attempts[0].cost) = (0, None);
        let value: Value = serde_json::from_str(&written(&entry)).unwrap();
        for path in ["/cost_usd", "/quote_usd", "/price_version", "/first_byte_ms", "/tier", "/user", "/geo"] {
            assert_eq!(value.pointer(path), Some(&Value::Null), "{path}");
        }
        assert_eq!(value["attempts"][0]["status"], Value::Null);
        assert_eq!(value["attempts"][0]["cost_usd"], Value::Null);
    }

    #[test]
    fn names_from_outside_cannot_break_the_line() {
        let mut entry = sample::entry();
        entry.requested_model = "evil\",\"cost_usd\":\"0\n\u{1b}[2J".into();
        entry.usage.add_server_tool("web\\search", 2);
        let line = written(&entry);
        let value: Value = serde_json::from_str(&line).unwrap();
        assert!(!line.chars().any(char::is_control));
        assert_eq!(value["requested_model"], json!(&*entry.requested_model));
        assert_eq!(value["usage"]["server_tools"], json!({"web\\search": 2}));
    }

    #[test]
    fn refusals_counted_together_say_how_many_they_are() {
        let mut entry = sample::entry();
        entry.requests = 41;
        let value: Value = serde_json::from_str(&written(&entry)).unwrap();
        assert_eq!(value["requests"], 41);
    }
}
