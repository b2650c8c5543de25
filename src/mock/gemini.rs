//! Google's Gemini API: generate, stream, count and embed, models list and errors, as ai.google.dev/api has them.

use super::ask::{Ask, Blocks, Format, Tool, ToolChoice, strings, text_of, tokens};
use super::bill::Counted;
use super::brain::{Choice, Finish, Progress};
use super::faults::Event;
use super::prices;
use super::problem::Problem;
use super::{Sheet, sse, vectors};
use bytes::Bytes;
use serde_json::{Map, Value, json};

/// Google's limit of `candidateCount`.
const CANDIDATES_MAX: u64 = 8;

/// The numbers of a vector if nothing else is asked for.
const DIMENSIONS: u64 = 3_072;

/// Reads a request to generate for the model that the path names; fields may have either of Google's spellings.
pub(super) fn read(body: &Value, model: &str) -> Result<Ask, Problem> {
    let contents = contents(body)?;
    let last = contents
        .last()
        .ok_or_else(|| Problem::invalid(None, "* GenerateContentRequest.contents: contents is not specified"))?;
    let config = get(body, "generationConfig", "generation_config").unwrap_or(&Value::Null);
    let count = get(config, "candidateCount", "candidate_count").and_then(Value::as_u64).unwrap_or(1);
    if !(1..=CANDIDATES_MAX).contains(&count) {
        return Err(Problem::invalid(None, format!("candidateCount is not between 1 and {CANDIDATES_MAX}")));
    }
    let thinking = get(config, "thinkingConfig", "thinking_config");
    let budget =
        thinking.and_then(|thinking| get(thinking, "thinkingBudget", "thinking_budget")).and_then(Value::as_i64);
    Ok(Ask {
        model: model.to_owned(),
        blocks: blocks(body, &contents),
        prompt: text_of(last),
        after_tool: parts(last).any(|part| get(part, "functionResponse", "function_response").is_some()),
        tools: tools(body),
        choice: tool_choice(body),
        output_max: get(config, "maxOutputTokens", "max_output_tokens").and_then(Value::as_u64),
        stops: strings(get(config, "stopSequences", "stop_sequences")),
        count,
        format: format(config),
        thinks: thinking.is_some() && budget != Some(0),
        ..Ask::default()
    })
}

/// A field in either spelling.
fn get<'a>(value: &'a Value, camel: &str, snake: &str) -> Option<&'a Value> {
    value.get(camel).or_else(|| value.get(snake))
}

/// The contents, also of a request to count tokens, which may wrap a request to generate.
fn contents(body: &Value) -> Result<Vec<Value>, Problem> {
    let inner = body.get("generateContentRequest").unwrap_or(body);
    match inner.get("contents") {
        Some(Value::Array(list)) => Ok(list.clone()),
        Some(Value::Object(one)) => Ok(vec![Value::Object(one.clone())]),
        Some(_) => Err(Problem::invalid(None, "Invalid value at 'contents'")),
        None => Ok(Vec::new()),
    }
}

fn parts(content: &Value) -> impl Iterator<Item = &Value> {
    content.get("parts").and_then(Value::as_array).into_iter().flatten()
}

fn blocks(body: &Value, contents: &[Value]) -> Blocks {
    let mut blocks = Blocks::default();
    body.get("tools").iter().for_each(|tools| blocks.push_each("tools", tools));
    get(body, "systemInstruction", "system_instruction").iter().for_each(|system| blocks.push("system", system));
    for content in contents {
        blocks.push(content.get("role").and_then(Value::as_str).unwrap_or("user"), content);
    }
    blocks
}

fn tools(body: &Value) -> Vec<Tool> {
    let lists = body.get("tools").and_then(Value::as_array).into_iter().flatten();
    let declared = lists.filter_map(|tool| get(tool, "functionDeclarations", "function_declarations")?.as_array());
    let tool = |found: &Value| {
        let schema = get(found, "parametersJsonSchema", "parameters_json_schema").or_else(|| found.get("parameters"));
        let schema = schema.cloned().unwrap_or_else(|| json!({ "type": "object" }));
        Some(Tool { name: found.get("name")?.as_str()?.to_owned(), schema })
    };
    declared.flatten().filter_map(tool).collect()
}

fn tool_choice(body: &Value) -> ToolChoice {
    let config = get(body, "toolConfig", "tool_config");
    let calling = config.and_then(|config| get(config, "functionCallingConfig", "function_calling_config"));
    let Some(calling) = calling else { return ToolChoice::Auto };
    let allowed = strings(get(calling, "allowedFunctionNames", "allowed_function_names"));
    match (calling.get("mode").and_then(Value::as_str), allowed.into_iter().next()) {
        (Some("NONE"), _) => ToolChoice::Never,
        (Some("ANY"), Some(name)) => ToolChoice::Named(name),
        (Some(_) | None, _) => ToolChoice::Auto,
    }
}

fn format(config: &Value) -> Format {
    let mime = get(config, "responseMimeType", "response_mime_type").and_then(Value::as_str);
    let schema = get(config, "responseJsonSchema", "response_json_schema");
    match (mime, schema.or_else(|| get(config, "responseSchema", "response_schema"))) {
        (Some("application/json"), Some(schema)) => Format::Schema(schema.clone()),
        (Some("application/json"), None) => Format::Object,
        (Some(_) | None, _) => Format::Text,
    }
}

/// A whole answer, printed with lines and indents as Google does.
pub(super) fn whole(sheet: &Sheet<'_>) -> String {
    let each = |(index, choice): (usize, &Choice)| candidate(index, part(choice, &choice.text), Some(choice));
    let candidates = sheet.answer.choices.iter().enumerate().map(each).collect();
    let spoken = sheet.answer.choices.iter().map(Choice::tokens).sum();
    let body = chunk(sheet, candidates, spoken);
    serde_json::to_string_pretty(&body).unwrap_or_else(|_| body.to_string())
}

/// The framing of a stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Frames {
    /// With `alt=sse`.
    Events,
    /// One JSON array.
    Array,
}

/// The events of a streamed answer. Each says the usage so far.
pub(super) fn stream(sheet: &Sheet<'_>, frames: Frames) -> Vec<Event> {
    let mut chunks: Vec<(Value, u64)> = Vec::new();
    let mut spoken = 0;
    for (index, choice) in sheet.answer.choices.iter().enumerate() {
        let pieces = if choice.call.is_some() { vec![choice.text.as_str()] } else { choice.pieces(sheet.chunks) };
        let mut progress = Progress::new(spoken, choice);
        let last = pieces.len().saturating_sub(1);
        for (place, piece) in pieces.iter().enumerate() {
            let now = progress.add(piece);
            let ended = (place == last).then_some(choice);
            let now = if place == last { spoken + choice.tokens() } else { now };
            chunks.push((chunk(sheet, vec![candidate(index, part(choice, piece), ended)], now), now));
        }
        if pieces.is_empty() {
            chunks.push((chunk(sheet, vec![candidate(index, part(choice, ""), Some(choice))], spoken), spoken));
        }
        spoken += choice.tokens();
    }
    let count = chunks.len();
    let frame = |(place, (chunk, now)): (usize, (Value, u64))| Event {
        bytes: framed(&chunk, frames, place == 0, place + 1 == count),
        output: now + sheet.answer.reasoning,
    };
    chunks.into_iter().enumerate().map(frame).collect()
}

fn framed(chunk: &Value, frames: Frames, first: bool, last: bool) -> Bytes {
    match frames {
        Frames::Events => sse::crlf(chunk),
        Frames::Array => {
            let open = if first { "[" } else { ",\r\n" };
            let close = if last { "\n]\n" } else { "\n" };
            format!("{open}{}{close}", serde_json::to_string_pretty(chunk).unwrap_or_else(|_| chunk.to_string())).into()
        }
    }
}

fn part(choice: &Choice, piece: &str) -> Value {
    match &choice.call {
        Some(name) => json!({ "functionCall": { "name": name, "args": choice.arguments() } }),
        None => json!({ "text": piece }),
    }
}

fn candidate(index: usize, part: Value, ended: Option<&Choice>) -> Value {
    let mut body = json!({ "content": { "parts": [part], "role": "model" }, "index": index });
    if let Some(choice) = ended {
        body["finishReason"] = json!(match choice.finish {
            Finish::Stop | Finish::Sequence(_) | Finish::Call => "STOP",
            Finish::Length => "MAX_TOKENS",
        });
    }
    body
}

fn chunk(sheet: &Sheet<'_>, candidates: Vec<Value>, spoken: u64) -> Value {
    let mut body = json!({
        "candidates": candidates,
        "modelVersion": sheet.model,
        "responseId": sheet.id("mock"),
    });
    if let Some(counted) = sheet.usage {
        body["usageMetadata"] = usage(counted, spoken, sheet.answer.reasoning);
    }
    body
}

/// `promptTokenCount` contains what was cached; thoughts are outside of `candidatesTokenCount`.
fn usage(counted: &Counted, spoken: u64, thoughts: u64) -> Value {
    let prompt = counted.input_total();
    let mut fields = Map::new();
    fields.insert("promptTokenCount".to_owned(), json!(prompt));
    fields.insert("candidatesTokenCount".to_owned(), json!(spoken));
    fields.insert("totalTokenCount".to_owned(), json!(prompt + spoken + thoughts));
    fields.insert("promptTokensDetails".to_owned(), json!([{ "modality": "TEXT", "tokenCount": prompt }]));
    if thoughts > 0 {
        fields.insert("thoughtsTokenCount".to_owned(), json!(thoughts));
    }
    if counted.cache_read > 0 {
        fields.insert("cachedContentTokenCount".to_owned(), json!(counted.cache_read));
        let details = json!([{ "modality": "TEXT", "tokenCount": counted.cache_read }]);
        fields.insert("cacheTokensDetails".to_owned(), details);
    }
    Value::Object(fields)
}

/// Counts the tokens of a request.
pub(super) fn count(body: &Value) -> Result<Value, Problem> {
    let inner = body.get("generateContentRequest").unwrap_or(body);
    let total = blocks(inner, &contents(body)?).tokens();
    Ok(json!({ "totalTokens": total, "promptTokensDetails": [{ "modality": "TEXT", "tokenCount": total }] }))
}

/// Answers one request for an embedding, or a batch of them; also says how many tokens it has.
pub(super) fn embeddings(body: &Value, model: &str, show_usage: bool) -> Result<(String, u64), Problem> {
    let batch = body.get("requests").and_then(Value::as_array);
    let requests: Vec<&Value> = batch.map_or_else(|| vec![body], |list| list.iter().collect());
    let count = requests.len();
    let mut rows = Vec::with_capacity(count);
    let mut total = 0;
    for request in requests {
        let content = request.get("content").ok_or_else(|| Problem::invalid(None, "content is not specified"))?;
        let dimensions = get(request, "outputDimensionality", "output_dimensionality").and_then(Value::as_u64);
        let dimensions = dimensions.unwrap_or(DIMENSIONS);
        if !vectors::fit(count, dimensions) {
            return Err(Problem::invalid(None, "outputDimensionality is out of range"));
        }
        let text = text_of(content);
        total += tokens(text.len()).max(1);
        let vector = vectors::vector(&text, usize::try_from(dimensions).unwrap_or(0));
        rows.push(format!("{{\"values\":{}}}", vectors::as_json(&vector)));
    }
    // The first model of the family does not say its usage, the second does.
    let usage = match show_usage && !model.ends_with("embedding-001") {
        true => format!(",\"usageMetadata\":{{\"promptTokenCount\":{total}}}"),
        false => String::new(),
    };
    let rows = rows.join(",");
    let vectors = if batch.is_some() { format!("\"embeddings\":[{rows}]") } else { format!("\"embedding\":{rows}") };
    Ok((format!("{{{vectors}{usage}}}"), total))
}

/// The list of models, or one of them.
pub(super) fn models(one: Option<&str>) -> Value {
    let entry = |id: &str| {
        json!({
            "name": format!("models/{id}"),
            "version": "001",
            "displayName": id,
            "inputTokenLimit": 1_048_576,
            "outputTokenLimit": 65_536,
            "supportedGenerationMethods": ["generateContent", "countTokens", "embedContent"],
        })
    };
    match one {
        Some(id) => entry(id),
        None => json!({ "models": prices::names(&["gemini-"]).map(entry).collect::<Vec<_>>() }),
    }
}

/// The error body: google.rpc.Status.
pub(super) fn error(problem: &Problem) -> Value {
    let word = match problem.status.as_u16() {
        401 => "UNAUTHENTICATED",
        403 => "PERMISSION_DENIED",
        404 => "NOT_FOUND",
        409 => "ABORTED",
        429 => "RESOURCE_EXHAUSTED",
        499 => "CANCELLED",
        501 => "UNIMPLEMENTED",
        503 => "UNAVAILABLE",
        504 => "DEADLINE_EXCEEDED",
        500.. => "INTERNAL",
        _ => "INVALID_ARGUMENT",
    };
    json!({ "error": { "code": problem.status.as_u16(), "message": problem.message, "status": word } })
}
