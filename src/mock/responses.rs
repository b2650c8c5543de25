//! OpenAI's responses, as platform.openai.com/docs/api-reference/responses has them, with all events of their streams.

use super::ask::{Ask, Blocks, text_of};
use super::bill::Counted;
use super::brain::{Answer, Choice, Finish, Progress};
use super::faults::Event;
use super::openai::{flag, format, model, tool_choice, tools};
use super::prices;
use super::problem::Problem;
use super::{Sheet, sse};
use serde_json::{Value, json};

/// Reads a request.
pub(super) fn read(body: &Value) -> Result<Ask, Problem> {
    let model = model(body)?;
    let input = body.get("input").ok_or_else(|| Problem::missing("input"))?;
    let mut blocks = Blocks::default();
    for name in ["tools", "instructions"] {
        body.get(name).iter().for_each(|value| blocks.push_each(name, value));
    }
    blocks.push_each("input", input);
    let last = input.as_array().and_then(|items| items.last()).unwrap_or(input);
    Ok(Ask {
        model,
        stream: flag(body, "stream"),
        blocks,
        prompt: text_of(last),
        after_tool: last.get("type").and_then(Value::as_str).is_some_and(|kind| kind.ends_with("_call_output")),
        tools: tools(body, |tool| Some(tool)),
        choice: tool_choice(body.get("tool_choice"), |choice| choice.get("name")),
        output_max: body.get("max_output_tokens").and_then(Value::as_u64),
        count: 1,
        format: format(body.pointer("/text/format"), |format| format.get("schema")),
        service_tier: body.get("service_tier").and_then(Value::as_str).map(str::to_owned),
        thinks: body.pointer("/reasoning/effort").and_then(Value::as_str).is_some_and(|effort| effort != "none"),
        ..Ask::default()
    })
}

/// A whole response.
pub(super) fn whole(sheet: &Sheet<'_>, body: &Value) -> Value {
    let items = items(sheet, "completed", true);
    response(sheet, body, ending(sheet.answer), items, sheet.usage)
}

/// The events of a streamed response.
pub(super) fn stream(sheet: &Sheet<'_>, body: &Value) -> Vec<Event> {
    let mut events = Events { list: Vec::new() };
    let started = || json!({ "response": response(sheet, body, "in_progress", Vec::new(), None) });
    events.push("response.created", started(), 0);
    events.push("response.in_progress", started(), 0);
    let whole = items(sheet, "completed", true);
    for (index, (open, done)) in items(sheet, "in_progress", false).into_iter().zip(whole.iter().cloned()).enumerate() {
        let reasoning = sheet.answer.reasoning;
        events.push("response.output_item.added", json!({ "output_index": index, "item": open }), reasoning);
        if let Some(choice) = sheet.answer.choices.first().filter(|_| done["type"] != "reasoning") {
            deltas(&mut events, sheet, choice, index, &done);
        }
        let output = events.list.last().map_or(0, |event| event.output);
        events.push("response.output_item.done", json!({ "output_index": index, "item": done }), output);
    }
    let status = ending(sheet.answer);
    let last = json!({ "response": response(sheet, body, status, whole, sheet.usage) });
    let output = sheet.answer.tokens();
    events.push(if status == "completed" { "response.completed" } else { "response.incomplete" }, last, output);
    events.list
}

/// What a stream ends with that fails.
pub(super) fn failure(sheet: &Sheet<'_>, body: &Value, problem: &Problem) -> bytes::Bytes {
    let mut failed = response(sheet, body, "failed", Vec::new(), None);
    failed["error"] = json!({ "code": "server_error", "message": problem.message });
    sse::event("response.failed", &json!({ "type": "response.failed", "sequence_number": 0, "response": failed }))
}

/// Events with their running numbers.
struct Events {
    list: Vec<Event>,
}

impl Events {
    fn push(&mut self, kind: &str, mut event: Value, output: u64) {
        event["type"] = json!(kind);
        event["sequence_number"] = json!(self.list.len());
        self.list.push(Event { bytes: sse::event(kind, &event), output });
    }
}

/// The deltas of a message or of a call's arguments.
fn deltas(events: &mut Events, sheet: &Sheet<'_>, choice: &Choice, index: usize, done: &Value) {
    let mut progress = Progress::new(sheet.answer.reasoning, choice);
    let mut output = sheet.answer.reasoning;
    let place = |mut event: Value| {
        event["output_index"] = json!(index);
        event["item_id"] = done["id"].clone();
        event
    };
    if choice.call.is_some() {
        for piece in choice.pieces(sheet.chunks) {
            output = progress.add(piece);
            events.push("response.function_call_arguments.delta", place(json!({ "delta": piece })), output);
        }
        let whole = place(json!({ "arguments": choice.text, "name": choice.call }));
        events.push("response.function_call_arguments.done", whole, output);
        return;
    }
    let part = |text: &str| place(json!({ "content_index": 0, "part": output_text(text) }));
    events.push("response.content_part.added", part(""), output);
    for piece in choice.pieces(sheet.chunks) {
        output = progress.add(piece);
        let delta = json!({ "content_index": 0, "delta": piece, "logprobs": [], "obfuscation": "xxxx" });
        events.push("response.output_text.delta", place(delta), output);
    }
    let whole = json!({ "content_index": 0, "text": choice.text, "logprobs": [] });
    events.push("response.output_text.done", place(whole), output);
    events.push("response.content_part.done", part(&choice.text), output);
}

fn output_text(text: &str) -> Value {
    json!({ "type": "output_text", "text": text, "annotations": [], "logprobs": [] })
}

/// The items of the output: reasoning if there was some, then a message or a call.
fn items(sheet: &Sheet<'_>, status: &str, filled: bool) -> Vec<Value> {
    let reasoning = json!({ "id": sheet.id("rs_mock"), "type": "reasoning", "summary": [] });
    let mut items: Vec<Value> = (sheet.answer.reasoning > 0).then_some(reasoning).into_iter().collect();
    let Some(choice) = sheet.answer.choices.first() else { return items };
    let text = if filled { choice.text.as_str() } else { "" };
    items.push(match &choice.call {
        Some(name) => json!({
            "id": sheet.id("fc_mock"),
            "type": "function_call",
            "status": status,
            "call_id": sheet.call_id(0),
            "name": name,
            "arguments": text,
        }),
        None => {
            let content = if filled { vec![output_text(text)] } else { Vec::new() };
            let id = sheet.id("msg_mock");
            json!({ "id": id, "type": "message", "status": status, "role": "assistant", "content": content })
        }
    });
    items
}

fn ending(answer: &Answer) -> &'static str {
    let cut = answer.choices.iter().any(|choice| choice.finish == Finish::Length);
    if cut { "incomplete" } else { "completed" }
}

/// The response object, which also repeats what was asked for.
fn response(sheet: &Sheet<'_>, body: &Value, status: &str, output: Vec<Value>, counted: Option<&Counted>) -> Value {
    let asked = |name: &str, usual: Value| body.get(name).filter(|value| !value.is_null()).cloned().unwrap_or(usual);
    let incomplete = (status == "incomplete").then(|| json!({ "reason": "max_output_tokens" }));
    let completed_at = (status == "completed").then_some(sheet.created_s);
    json!({
        "id": sheet.id("resp_mock"),
        "object": "response",
        "created_at": sheet.created_s,
        "completed_at": completed_at,
        "status": status,
        "background": false,
        "error": null,
        "incomplete_details": incomplete,
        "instructions": asked("instructions", Value::Null),
        "max_output_tokens": asked("max_output_tokens", Value::Null),
        "model": sheet.model,
        "output": output,
        "parallel_tool_calls": asked("parallel_tool_calls", json!(true)),
        "previous_response_id": asked("previous_response_id", Value::Null),
        "reasoning": asked("reasoning", json!({ "effort": null, "summary": null })),
        "service_tier": prices::served_tier(sheet.service_tier),
        "store": asked("store", json!(true)),
        "temperature": asked("temperature", json!(1.0)),
        "text": asked("text", json!({ "format": { "type": "text" } })),
        "tool_choice": asked("tool_choice", json!("auto")),
        "tools": asked("tools", json!([])),
        "top_p": asked("top_p", json!(1.0)),
        "truncation": "disabled",
        "usage": counted.map(|counted| usage(counted, sheet.answer)),
        "user": asked("user", Value::Null),
        "metadata": asked("metadata", json!({})),
    })
}

/// `input_tokens` contains what was read from and written to the cache, `output_tokens` the reasoning.
fn usage(counted: &Counted, answer: &Answer) -> Value {
    let mut details = json!({ "cached_tokens": counted.cache_read });
    if counted.cache_write > 0 {
        details["cache_write_tokens"] = json!(counted.cache_write);
    }
    json!({
        "input_tokens": counted.input_total(),
        "input_tokens_details": details,
        "output_tokens": answer.tokens(),
        "output_tokens_details": { "reasoning_tokens": answer.reasoning },
        "total_tokens": counted.input_total() + answer.tokens(),
    })
}
