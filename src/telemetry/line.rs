//! The lines of the request log: one wide `llm_call` for each request, one `tool_call` for each tool result seen.
//!
//! They name who, what, how long and how much; never a prompt, an answer, an argument of a tool or a secret.
//!
//! Invariant: one event is one line of JSON without control characters, whatever clients put into names.

use crate::domain::entry::Entry;
use crate::domain::entry_json::{write_account, write_cost};
use crate::domain::fault::Fault;
use crate::domain::json_text::Object;
use crate::domain::tokens::Usage;
use crate::domain::utc::Moment;

/// The result of a tool that a client sent back to a model.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ToolResult {
    /// The tool's name.
    pub name: Box<str>,
    /// Whether the client did not mark it as an error.
    pub success: bool,
}

/// Appends the `llm_call` line of `entry`; `timestamp` is the arrival, as `at` in the ledger.
pub fn write_llm_call(entry: &Entry, out: &mut String) {
    let mut object = Object::open(out);
    object.text("event", "llm_call").shown("timestamp", Moment(entry.at_ms)).shown("request_id", entry.id);
    object.text("model", &entry.model).text("requested_model", &entry.requested_model);
    object.text_or_null("served_model", entry.served_model.as_deref());
    write_tokens(&entry.usage, &mut object);
    object.count("latency_ms", entry.latency_ms.into());
    match entry.first_byte_ms {
        Some(first_byte_ms) => object.count("first_byte_ms", first_byte_ms.into()),
        None => object.null("first_byte_ms"),
    };
    let fault = Fault::of(entry);
    object.truth("success", fault.is_none()).text_or_null("fault", fault.map(Fault::name));
    write_cost(entry.cost, &mut object);
    let (saved, is_negative) = entry.saved_in_all();
    match is_negative {
        true => object.shown("saved_usd", format_args!("-{saved}")),
        false => object.shown("saved_usd", saved),
    };
    write_account(&entry.account, &mut object);
    object.text("upstream", &entry.upstream).text("operation", entry.operation.name());
    object.text("dialect", entry.dialect.name()).count("status", entry.status.into());
    object.text("outcome", entry.outcome.name()).text("reason", &entry.reason);
    object.text_or_null("tier", entry.tier.map(|tier| tier.name()));
    object.text("usage_source", entry.usage_source.name()).truth("stream", entry.stream);
    object.text("cache", entry.cache.name()).count("attempts", entry.attempts.len() as u64);
    if entry.requests != 1 {
        object.count("requests", entry.requests.into());
    }
    drop(object);
    out.push('\n');
}

/// Appends the `tool_call` line of a tool result that came with the request of `entry`.
pub fn write_tool_call(entry: &Entry, tool: &ToolResult, out: &mut String) {
    let mut object = Object::open(out);
    object.text("event", "tool_call").shown("timestamp", Moment(entry.at_ms)).shown("request_id", entry.id);
    object.text("name", &tool.name).truth("success", tool.success).text("model", &entry.model);
    write_account(&entry.account, &mut object);
    drop(object);
    out.push('\n');
}

/// As in reports: input without what a provider's cache read or wrote.
fn write_tokens(usage: &Usage, object: &mut Object<'_>) {
    let written = usage.input_total().saturating_sub(usage.input).saturating_sub(usage.cache_read);
    object.count("input_tokens", usage.input).count("output_tokens", usage.output);
    object.count("cache_read_tokens", usage.cache_read).count("cache_write_tokens", written);
    object.count("reasoning_tokens", usage.reasoning);
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::domain::entry::Outcome;
    use crate::domain::sample;

    fn llm_call(entry: &Entry) -> Value {
        let mut out = String::new();
        write_llm_call(entry, &mut out);
        assert!(out.ends_with('\n') && !out[..out.len() - 1].contains(char::is_control), "{out:?}");
        serde_json::from_str(&out).unwrap()
    }

    #[test]
    fn a_call_says_who_what_how_long_and_how_much() {
        let expect = json!({
            "event": "llm_call", "timestamp": "2026-11-22T13:00:00.123Z", "request_id": "01m81nf47v0000000000000001",
            "model": "claude-haiku-5-5", "requested_model": "claude-opus-5-5", "served_model": "claude-haiku-5-5-20261001",
            "input_tokens": 100, "output_tokens": 30, "cache_read_tokens": 20, "cache_write_tokens": 7,
            "reasoning_tokens": 4, "latency_ms": 812, "first_byte_ms": 240, "success": true, "fault": null,
            "cost_usd": "0.001234500000", "saved_usd": "0", "key": "ci", "user": null, "team": "search",
            "upstream": "anthropic", "operation": "messages", "dialect": "anthropic", "status": 200,
            "outcome": "complete", "reason": "tier", "tier": "simple", "usage_source": "reported", "stream": true,
            "cache": "miss", "attempts": 1,
        });
        assert_eq!(llm_call(&sample::entry()), expect);
    }

    #[test]
    fn a_failure_names_the_side_and_an_unknown_cost_is_null() {
        let mut entry = sample::entry();
        (entry.outcome, entry.cost, entry.requests) = (Outcome::Timeout, None, 3);
        let line = llm_call(&entry);
        let said = ["success", "fault", "cost_usd", "outcome", "requests"].map(|name| line[name].clone());
        assert_eq!(json!(said), json!([false, "upstream", null, "timeout", 3]));
    }

    #[test]
    fn no_name_can_forge_a_line() {
        let mut entry = sample::entry();
        entry.model = "x\"}\n{\"event\":\"llm_call\"\r\u{9b}31m".into();
        assert_eq!(llm_call(&entry)["model"], json!(&*entry.model));
    }

    #[test]
    fn a_tool_result_has_a_line_of_its_own() {
        let mut out = String::new();
        write_tool_call(&sample::entry(), &ToolResult { name: "get_\"weather\"".into(), success: false }, &mut out);
        let value: Value = serde_json::from_str(&out).unwrap();
        let said = ["event", "request_id", "name", "success"].map(|name| value[name].clone());
        assert_eq!(json!(said), json!(["tool_call", "01m81nf47v0000000000000001", "get_\"weather\"", false]));
    }
}
