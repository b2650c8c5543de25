//! Anthropic's messages, count of tokens, models list and errors, as docs.anthropic.com/en/api has them.

use super::ask::{Ask, Blocks, Format, Tool, ToolChoice, lifetime, strings, text_of};
use super::bill::Counted;
use super::brain::{Answer, Choice, Finish, Progress, pieces};
use super::faults::Event;
use super::openai::{flag, model};
use super::prices;
use super::problem::Problem;
use super::{Sheet, sse};
use serde_json::{Value, json};

/// Whether the request is for an answer or only for its count of tokens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Purpose {
    /// `max_tokens` is required.
    Answer,
    /// It is not.
    Count,
}

/// Reads a request.
pub(super) fn read(body: &Value, purpose: Purpose) -> Result<Ask, Problem> {
    let model = model(body).map_err(required)?;
    let messages =
        body.get("messages").and_then(Value::as_array).ok_or_else(|| required(Problem::missing("messages")))?;
    let last = messages.last().ok_or_else(|| Problem::invalid(None, "messages: at least one message is required"))?;
    let output_max = body.get("max_tokens").and_then(Value::as_u64);
    if output_max.is_none_or(|max| max == 0) && purpose == Purpose::Answer {
        return Err(required(Problem::missing("max_tokens")));
    }
    let format = body.pointer("/output_config/format").or_else(|| body.get("output_format"));
    Ok(Ask {
        model,
        stream: flag(body, "stream"),
        blocks: blocks(body, messages),
        prompt: prompt(last),
        after_tool: parts(last).any(|part| part.get("type").and_then(Value::as_str) == Some("tool_result")),
        tools: tools(body),
        choice: tool_choice(body.get("tool_choice")),
        output_max,
        stops: strings(body.get("stop_sequences")),
        count: 1,
        format: format
            .and_then(|format| format.get("schema"))
            .map_or(Format::Text, |found| Format::Schema(found.clone())),
        thinks: matches!(body.pointer("/thinking/type").and_then(Value::as_str), Some("enabled" | "adaptive")),
        ..Ask::default()
    })
}

fn required(problem: Problem) -> Problem {
    Problem { message: format!("{}: Field required", problem.param.unwrap_or("body")), ..problem }
}

fn parts(message: &Value) -> impl Iterator<Item = &Value> {
    message.get("content").and_then(Value::as_array).into_iter().flatten()
}

/// The text that is answered; what a client adds for its own purposes stays in.
fn prompt(last: &Value) -> String {
    last.get("content").map(text_of).unwrap_or_default()
}

fn blocks(body: &Value, messages: &[Value]) -> Blocks {
    let mut blocks = Blocks::default();
    for name in ["tools", "system"] {
        body.get(name).iter().for_each(|value| blocks.push_each(name, value));
    }
    for message in messages {
        let role = message.get("role").and_then(Value::as_str).unwrap_or("user");
        message.get("content").iter().for_each(|content| blocks.push_each(role, content));
    }
    // On the request itself it marks the last block.
    if let (Some(mark), Some(last)) = (body.get("cache_control").and_then(lifetime), blocks.list.last_mut()) {
        last.mark = last.mark.max(Some(mark));
    }
    blocks
}

/// The tools that the client runs: those with a schema; Anthropic's own have none.
fn tools(body: &Value) -> Vec<Tool> {
    let list = body.get("tools").and_then(Value::as_array).into_iter().flatten();
    let tool = |tool: &Value| {
        Some(Tool { name: tool.get("name")?.as_str()?.to_owned(), schema: tool.get("input_schema")?.clone() })
    };
    list.filter_map(tool).collect()
}

fn tool_choice(choice: Option<&Value>) -> ToolChoice {
    let word = |name: &str| choice.and_then(|choice| choice.get(name)).and_then(Value::as_str);
    match (word("type"), word("name")) {
        (Some("none"), _) => ToolChoice::Never,
        (Some("tool"), Some(name)) => ToolChoice::Named(name.to_owned()),
        (Some(_) | None, _) => ToolChoice::Auto,
    }
}

/// A whole message.
pub(super) fn whole(sheet: &Sheet<'_>, ask: &Ask) -> Value {
    let mut content = Vec::new();
    if ask.thinks && sheet.answer.reasoning > 0 {
        content.push(json!({ "type": "thinking", "thinking": sheet.answer.thought, "signature": SIGNATURE }));
    }
    if let Some(choice) = sheet.answer.choices.first() {
        content.push(match &choice.call {
            Some(name) => {
                let id = sheet.tool_use_id();
                json!({ "type": "tool_use", "id": id, "name": name, "input": choice.arguments() })
            }
            None => json!({ "type": "text", "text": choice.text }),
        });
    }
    let counted = sheet.usage.map(|counted| usage(counted, sheet.answer.tokens()));
    message(sheet, content, Some(sheet.answer), counted)
}

/// What stands for the signature of a thought.
const SIGNATURE: &str = "bW9jayBzaWduYXR1cmU=";

/// The events of a streamed message.
pub(super) fn stream(sheet: &Sheet<'_>, ask: &Ask) -> Vec<Event> {
    let mut events = Events { list: Vec::new() };
    // Output counts from 1 on: a placeholder that the last event replaces.
    let start = message(sheet, Vec::new(), None, sheet.usage.map(|counted| usage(counted, 1)));
    events.push("message_start", json!({ "message": start }), 0);
    let mut index = 0;
    if ask.thinks && sheet.answer.reasoning > 0 {
        think(&mut events, sheet.answer);
        index = 1;
    }
    if let Some(choice) = sheet.answer.choices.first() {
        speak(&mut events, sheet, choice, index);
    }
    let (reason, sequence) = stop(sheet.answer);
    let mut end = json!({ "delta": { "stop_reason": reason, "stop_sequence": sequence } });
    let output = sheet.answer.tokens();
    if let Some(counted) = sheet.usage {
        end["usage"] = json!({
            "input_tokens": counted.input,
            "cache_creation_input_tokens": counted.cache_write_5m + counted.cache_write_1h,
            "cache_read_input_tokens": counted.cache_read,
            "output_tokens": output,
        });
    }
    events.push("message_delta", end, output);
    events.push("message_stop", json!({}), output);
    events.list
}

struct Events {
    list: Vec<Event>,
}

impl Events {
    fn push(&mut self, kind: &str, mut event: Value, output: u64) {
        event["type"] = json!(kind);
        let blanks = self.list.len() * 5 % 13;
        self.list.push(Event { bytes: sse::padded(kind, &event, blanks), output });
    }
}

fn think(events: &mut Events, answer: &Answer) {
    let block = json!({ "type": "thinking", "thinking": "", "signature": "" });
    events.push("content_block_start", json!({ "index": 0, "content_block": block }), 0);
    events.push("ping", json!({}), 0);
    let mut bytes = 0;
    for piece in pieces(&answer.thought, 4) {
        bytes += piece.len();
        let delta = json!({ "type": "thinking_delta", "thinking": piece });
        events.push("content_block_delta", json!({ "index": 0, "delta": delta }), super::ask::tokens(bytes));
    }
    let signed = json!({ "type": "signature_delta", "signature": SIGNATURE });
    events.push("content_block_delta", json!({ "index": 0, "delta": signed }), answer.reasoning);
    events.push("content_block_stop", json!({ "index": 0 }), answer.reasoning);
}

fn speak(events: &mut Events, sheet: &Sheet<'_>, choice: &Choice, index: usize) {
    let mut output = sheet.answer.reasoning;
    let mut progress = Progress::new(output, choice);
    let block = match &choice.call {
        Some(name) => json!({ "type": "tool_use", "id": sheet.tool_use_id(), "name": name, "input": {} }),
        None => json!({ "type": "text", "text": "" }),
    };
    events.push("content_block_start", json!({ "index": index, "content_block": block }), output);
    if index == 0 {
        events.push("ping", json!({}), output);
    }
    for piece in choice.pieces(sheet.chunks) {
        output = progress.add(piece);
        let delta = match &choice.call {
            Some(_) => json!({ "type": "input_json_delta", "partial_json": piece }),
            None => json!({ "type": "text_delta", "text": piece }),
        };
        events.push("content_block_delta", json!({ "index": index, "delta": delta }), output);
    }
    events.push("content_block_stop", json!({ "index": index }), output);
}

fn message(sheet: &Sheet<'_>, content: Vec<Value>, answer: Option<&Answer>, usage: Option<Value>) -> Value {
    let (reason, sequence) = answer.map_or((None, None), |answer| {
        let (reason, sequence) = stop(answer);
        (Some(reason), sequence)
    });
    let mut body = json!({
        "id": sheet.id("msg_mock"),
        "type": "message",
        "role": "assistant",
        "model": sheet.model,
        "content": content,
        "stop_reason": reason,
        "stop_sequence": sequence,
    });
    if let Some(usage) = usage {
        body["usage"] = usage;
    }
    body
}

fn stop(answer: &Answer) -> (&'static str, Option<&str>) {
    match answer.choices.first().map(|choice| &choice.finish) {
        Some(Finish::Length) => ("max_tokens", None),
        Some(Finish::Sequence(text)) => ("stop_sequence", Some(text)),
        Some(Finish::Call) => ("tool_use", None),
        Some(Finish::Stop) | None => ("end_turn", None),
    }
}

/// `input_tokens` is only what was neither read from nor written to the cache.
fn usage(counted: &Counted, output: u64) -> Value {
    json!({
        "input_tokens": counted.input,
        "cache_creation_input_tokens": counted.cache_write_5m + counted.cache_write_1h,
        "cache_read_input_tokens": counted.cache_read,
        "cache_creation": {
            "ephemeral_5m_input_tokens": counted.cache_write_5m,
            "ephemeral_1h_input_tokens": counted.cache_write_1h,
        },
        "output_tokens": output,
        "service_tier": "standard",
    })
}

/// The list of models, or one of them.
pub(super) fn models(one: Option<&str>) -> Value {
    let entry =
        |id: &str| json!({ "type": "model", "id": id, "display_name": id, "created_at": "2026-01-01T00:00:00Z" });
    match one {
        Some(id) => entry(id),
        None => {
            let list: Vec<Value> = prices::names(&["claude-"]).map(entry).collect();
            let ends = (list.first().map(|first| first["id"].clone()), list.last().map(|last| last["id"].clone()));
            json!({ "data": list, "has_more": false, "first_id": ends.0, "last_id": ends.1 })
        }
    }
}

/// The error body.
pub(super) fn error(problem: &Problem, request_id: &str) -> Value {
    let kind = match problem.status.as_u16() {
        401 => "authentication_error",
        402 => "billing_error",
        403 => "permission_error",
        404 => "not_found_error",
        409 => "conflict_error",
        413 => "request_too_large",
        429 => "rate_limit_error",
        504 => "timeout_error",
        529 => "overloaded_error",
        500.. => "api_error",
        _ => "invalid_request_error",
    };
    json!({ "type": "error", "error": { "type": kind, "message": problem.message }, "request_id": request_id })
}
