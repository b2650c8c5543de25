//! OpenAI's chat completions, embeddings, models list and errors, as platform.openai.com/docs/api-reference has them.

use super::ask::{Ask, Blocks, CHOICES_MAX, Format, Tool, ToolChoice, strings, text_of, tokens};
use super::bill::Counted;
use super::brain::{Answer, Choice, Finish, Progress};
use super::faults::Event;
use super::prices;
use super::problem::Problem;
use super::vectors;
use super::{Sheet, sse};
use serde_json::{Value, json};

/// OpenAI's limit of texts in one request for embeddings.
const TEXTS_MAX: usize = 2_048;

/// Reads a request for chat completions.
pub(super) fn read(body: &Value) -> Result<Ask, Problem> {
    let model = model(body)?;
    let messages = body.get("messages").and_then(Value::as_array).ok_or_else(|| Problem::missing("messages"))?;
    let last = messages.last().ok_or_else(|| Problem::invalid(Some("messages"), "'messages' is empty"))?;
    let count = body.get("n").and_then(Value::as_u64).unwrap_or(1);
    if !(1..=CHOICES_MAX).contains(&count) {
        return Err(Problem::invalid(Some("n"), format!("'n' is not between 1 and {CHOICES_MAX}")));
    }
    let mut blocks = Blocks::default();
    body.get("tools").iter().for_each(|tools| blocks.push_each("tools", tools));
    for message in messages {
        let role = message.get("role").and_then(Value::as_str).unwrap_or("user");
        blocks.push(role, message);
    }
    let limit = body.get("max_completion_tokens").filter(|limit| !limit.is_null()).or_else(|| body.get("max_tokens"));
    Ok(Ask {
        model,
        stream: flag(body, "stream"),
        blocks,
        prompt: text_of(last),
        after_tool: matches!(last.get("role").and_then(Value::as_str), Some("tool" | "function")),
        tools: tools(body, |tool| tool.get("function")),
        choice: tool_choice(body.get("tool_choice"), |choice| choice.pointer("/function/name")),
        output_max: limit.and_then(Value::as_u64),
        stops: strings(body.get("stop")),
        count,
        format: format(body.get("response_format"), |format| format.pointer("/json_schema/schema")),
        service_tier: body.get("service_tier").and_then(Value::as_str).map(str::to_owned),
        thinks: false,
        include_usage: body.pointer("/stream_options/include_usage") == Some(&Value::Bool(true)),
    })
}

/// The model's name, which every request of OpenAI's and Anthropic's must carry.
pub(super) fn model(body: &Value) -> Result<String, Problem> {
    match body.get("model") {
        Some(Value::String(model)) if !model.is_empty() => Ok(model.clone()),
        Some(_) | None => Err(Problem::missing("model")),
    }
}

/// Whether a field is `true`.
pub(super) fn flag(body: &Value, name: &str) -> bool {
    body.get(name) == Some(&Value::Bool(true))
}

/// The functions among the tools; `function` finds the object with the name in a tool.
pub(super) fn tools(body: &Value, function: impl Fn(&Value) -> Option<&Value>) -> Vec<Tool> {
    let list = body.get("tools").and_then(Value::as_array).into_iter().flatten();
    let functions = list.filter(|tool| tool.get("type").and_then(Value::as_str) == Some("function"));
    let tool = |found: &Value| {
        let schema = found.get("parameters").cloned().filter(Value::is_object);
        let schema = schema.unwrap_or_else(|| json!({ "type": "object" }));
        Some(Tool { name: found.get("name")?.as_str()?.to_owned(), schema })
    };
    functions.filter_map(|each| tool(function(each)?)).collect()
}

/// OpenAI's `tool_choice`; `name` finds the forced function's name.
pub(super) fn tool_choice(choice: Option<&Value>, name: impl Fn(&Value) -> Option<&Value>) -> ToolChoice {
    match choice {
        Some(Value::String(word)) if word == "none" => ToolChoice::Never,
        Some(choice) => {
            let forced = name(choice).and_then(Value::as_str);
            forced.map_or(ToolChoice::Auto, |name| ToolChoice::Named(name.to_owned()))
        }
        None => ToolChoice::Auto,
    }
}

/// OpenAI's format of an answer; `schema` finds the JSON schema.
pub(super) fn format(format: Option<&Value>, schema: impl Fn(&Value) -> Option<&Value>) -> Format {
    let Some(format) = format else { return Format::Text };
    match format.get("type").and_then(Value::as_str) {
        Some("json_object") => Format::Object,
        Some("json_schema") => schema(format).map_or(Format::Object, |schema| Format::Schema(schema.clone())),
        Some(_) | None => Format::Text,
    }
}

/// A whole completion.
pub(super) fn whole(sheet: &Sheet<'_>) -> Value {
    let choices: Vec<Value> = sheet
        .answer
        .choices
        .iter()
        .enumerate()
        .map(|(index, choice)| {
            let content = if choice.call.is_some() { Value::Null } else { json!(choice.text) };
            let mut message = json!({ "role": "assistant", "content": content, "refusal": null, "annotations": [] });
            if let Some(name) = &choice.call {
                let function = json!({ "name": name, "arguments": choice.text });
                message["tool_calls"] =
                    json!([{ "id": sheet.call_id(index), "type": "function", "function": function }]);
            }
            json!({ "index": index, "message": message, "logprobs": null, "finish_reason": finish(choice) })
        })
        .collect();
    let mut body = envelope(sheet, "chat.completion", choices);
    if let Some(counted) = sheet.usage {
        body["usage"] = usage(counted, sheet.answer);
    }
    body
}

/// The events of a streamed completion.
pub(super) fn stream(sheet: &Sheet<'_>, include_usage: bool) -> Vec<Event> {
    let mut events = Vec::new();
    let mut output = sheet.answer.reasoning;
    for (index, choice) in sheet.answer.choices.iter().enumerate() {
        let mut progress = Progress::new(output, choice);
        let mut delta = |delta: Value, finish: Value, output| {
            let choice = json!({ "index": index, "delta": delta, "logprobs": null, "finish_reason": finish });
            events.push(Event { bytes: chunk(sheet, vec![choice], include_usage), output });
        };
        match &choice.call {
            None => delta(json!({ "role": "assistant", "content": "", "refusal": null }), Value::Null, output),
            Some(name) => {
                let function = json!({ "name": name, "arguments": "" });
                let call = json!({ "index": 0, "id": sheet.call_id(index), "type": "function", "function": function });
                let first = json!({ "role": "assistant", "content": null, "tool_calls": [call] });
                delta(first, Value::Null, output);
            }
        }
        for piece in choice.pieces(sheet.chunks) {
            let said = match &choice.call {
                None => json!({ "content": piece }),
                Some(_) => json!({ "tool_calls": [{ "index": 0, "function": { "arguments": piece } }] }),
            };
            delta(said, Value::Null, progress.add(piece));
        }
        output += choice.tokens();
        delta(json!({}), json!(finish(choice)), output);
    }
    if let Some(counted) = sheet.usage.filter(|_| include_usage) {
        let mut last = envelope(sheet, "chat.completion.chunk", Vec::new());
        last["usage"] = usage(counted, sheet.answer);
        events.push(Event { bytes: sse::data(&last), output });
    }
    events.push(Event { bytes: sse::DONE, output });
    events
}

fn chunk(sheet: &Sheet<'_>, choices: Vec<Value>, include_usage: bool) -> bytes::Bytes {
    let mut body = envelope(sheet, "chat.completion.chunk", choices);
    if include_usage {
        // OpenAI sends a null in each chunk but the last when it was asked for usage, and no field when not.
        body["usage"] = Value::Null;
    }
    // Padding against attacks on the lengths of packets; clients ignore it.
    body["obfuscation"] = json!("x".repeat(usize::try_from(sheet.number % 13).unwrap_or(0) + 1));
    sse::data(&body)
}

fn envelope(sheet: &Sheet<'_>, object: &str, choices: Vec<Value>) -> Value {
    json!({
        "id": sheet.id("chatcmpl-mock"),
        "object": object,
        "created": sheet.created_s,
        "model": sheet.model,
        "service_tier": prices::served_tier(sheet.service_tier),
        "system_fingerprint": "fp_mock",
        "choices": choices,
    })
}

fn finish(choice: &Choice) -> &'static str {
    match &choice.finish {
        Finish::Stop | Finish::Sequence(_) => "stop",
        Finish::Length => "length",
        Finish::Call => "tool_calls",
    }
}

/// `prompt_tokens` contains what was read from and written to the cache, `completion_tokens` the reasoning.
fn usage(counted: &Counted, answer: &Answer) -> Value {
    let mut details = json!({ "cached_tokens": counted.cache_read, "audio_tokens": 0 });
    if counted.cache_write > 0 {
        details["cache_write_tokens"] = json!(counted.cache_write);
    }
    json!({
        "prompt_tokens": counted.input_total(),
        "completion_tokens": answer.tokens(),
        "total_tokens": counted.input_total() + answer.tokens(),
        "prompt_tokens_details": details,
        "completion_tokens_details": {
            "reasoning_tokens": answer.reasoning,
            "audio_tokens": 0,
            "accepted_prediction_tokens": 0,
            "rejected_prediction_tokens": 0,
        },
    })
}

/// Answers a request for embeddings; also says how many tokens it has.
pub(super) fn embeddings(body: &Value, show_usage: bool) -> Result<(String, u64), Problem> {
    let model = model(body)?;
    let input = body.get("input").ok_or_else(|| Problem::missing("input"))?;
    let texts = texts(input).ok_or_else(|| Problem::invalid(Some("input"), "'$.input' is invalid."))?;
    if texts.is_empty() || texts.len() > TEXTS_MAX {
        return Err(Problem::invalid(Some("input"), format!("'input' has not between 1 and {TEXTS_MAX} elements")));
    }
    let usual = if model.contains("large") { 3_072 } else { 1_536 };
    let dimensions = body.get("dimensions").and_then(Value::as_u64).unwrap_or(usual);
    let size = usize::try_from(dimensions).unwrap_or(0);
    if !vectors::fit(texts.len(), dimensions) {
        return Err(Problem::invalid(Some("dimensions"), "'dimensions' is out of range"));
    }
    let as_base64 = body.get("encoding_format").and_then(Value::as_str) == Some("base64");
    let show = if as_base64 { vectors::as_base64 } else { vectors::as_json };
    let rows: Vec<String> = texts
        .iter()
        .enumerate()
        .map(|(index, (text, _))| {
            let vector = show(&vectors::vector(text, size));
            format!("{{\"object\":\"embedding\",\"index\":{index},\"embedding\":{vector}}}")
        })
        .collect();
    let count = texts.iter().map(|(_, tokens)| tokens).sum::<u64>();
    let usage = match show_usage {
        true => format!(",\"usage\":{{\"prompt_tokens\":{count},\"total_tokens\":{count}}}"),
        false => String::new(),
    };
    Ok((format!("{{\"object\":\"list\",\"data\":[{}],\"model\":{}{usage}}}", rows.join(","), json!(model)), count))
}

/// The texts to embed with their tokens: a string, tokens, or a list of either.
fn texts(input: &Value) -> Option<Vec<(String, u64)>> {
    match input {
        Value::String(text) => Some(vec![(text.clone(), tokens(text.len()).max(1))]),
        Value::Array(list) if list.iter().any(Value::is_number) => Some(vec![(input.to_string(), list.len() as u64)]),
        Value::Array(list) => {
            let each = list.iter().map(|one| texts(one).filter(|_| one.is_string() || is_tokens(one)));
            each.collect::<Option<Vec<_>>>().map(|found| found.into_iter().flatten().collect())
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::Object(_) => None,
    }
}

fn is_tokens(value: &Value) -> bool {
    value.as_array().is_some_and(|list| !list.is_empty() && list.iter().all(Value::is_u64))
}

/// The list of models, or one of them.
pub(super) fn models(one: Option<&str>) -> Value {
    let entry = |id: &str| json!({ "id": id, "object": "model", "created": 1_700_000_000, "owned_by": "mock" });
    match one {
        Some(id) => entry(id),
        None => {
            let list: Vec<Value> = prices::names(&["gpt-", "o3", "o4", "text-"]).map(entry).collect();
            json!({ "object": "list", "data": list })
        }
    }
}

/// The error body: all four fields are required.
pub(super) fn error(problem: &Problem) -> Value {
    let kind = match problem.status.as_u16() {
        429 => "requests",
        500.. => "server_error",
        _ => "invalid_request_error",
    };
    let (message, param, code) = (&problem.message, problem.param, problem.code);
    json!({ "error": { "message": message, "type": kind, "param": param, "code": code } })
}
