//! [`is_sound`]: whether an answer that was to be JSON is JSON: the arguments of the tools that it calls, and its words where the
//! request named a format.
//!
//! It looks for the few strings that matter and leaves the rest of the answer unread; a stream's pieces are joined first.
//!
//! Invariant: it never blames a model without proof: what it does not know, or cannot tell apart, is `None`.

use std::borrow::Cow;

use memchr::memmem;
use serde_json::{Map, Value};

use crate::domain::operation::Operation;

/// What the form of an answer was to be.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Form {
    /// Whether its words were to be JSON.
    pub is_json: bool,
    /// Whether tools may be called.
    pub has_tools: bool,
    /// What the request says of the format, as it came; empty where that is too long to be kept.
    pub format: Box<[u8]>,
}

/// Whether `body`, a whole answer or all events of a stream, has that form; `None` where there is nothing to tell.
#[must_use]
pub fn is_sound(operation: Operation, form: &Form, body: &[u8]) -> Option<bool> {
    let calls = if form.has_tools { calls(operation, body) } else { None };
    let words = if form.is_json { words(operation, form, body) } else { None };
    match (calls, words) {
        (Some(false), _) | (_, Some(false)) => Some(false),
        (calls, words) => calls.or(words),
    }
}

/// Whether the arguments of all calls are JSON objects.
fn calls(operation: Operation, body: &[u8]) -> Option<bool> {
    let name: &[u8] = match operation {
        Operation::ChatCompletions | Operation::Responses => b"\"arguments\"",
        Operation::Messages => b"\"partial_json\"",
        // Theirs are parts of the answer's own JSON.
        _ => return None,
    };
    let said = texts(body, name)?;
    let mut seen = false;
    for arguments in serde_json::Deserializer::from_slice(&said).into_iter::<Map<String, Value>>() {
        if arguments.is_err() {
            // Calls whose pieces alternate read like broken ones.
            let is_one = strings(body, b"\"name\"").nth(1).is_none();
            return (is_one || operation != Operation::ChatCompletions).then_some(false);
        }
        seen = true;
    }
    seen.then_some(true)
}

/// Whether the words are JSON, and an object of the schema that was asked for.
fn words(operation: Operation, form: &Form, body: &[u8]) -> Option<bool> {
    let name: &[u8] = match operation {
        Operation::ChatCompletions => b"\"content\"",
        Operation::Responses | Operation::Messages | Operation::GenerateContent => b"\"text\"",
        _ => return None,
    };
    // Thoughts stand among Gemini's words.
    if operation == Operation::GenerateContent && memmem::find(body, b"\"thought\"").is_some() {
        return None;
    }
    let said = texts(body, name)?;
    let schema = schema(&form.format);
    let mut seen = false;
    // The Responses API says its words again in each of its closing events.
    for value in serde_json::Deserializer::from_slice(&said).into_iter::<Value>() {
        let Ok(value) = value else { return Some(false) };
        if schema.as_ref().is_some_and(|schema| !fits(&value, schema)) {
            return Some(false);
        }
        seen = true;
    }
    seen.then_some(true)
}

/// All texts under a name, joined; `None` where one is no text that can be read.
fn texts(body: &[u8], name: &[u8]) -> Option<Vec<u8>> {
    let mut all = Vec::new();
    for value in strings(body, name) {
        let text = &value[..end_of_text(value)?];
        let text: Cow<'_, str> = serde_json::from_slice(text).ok()?;
        all.extend_from_slice(text.as_bytes());
    }
    Some(all)
}

/// Where a text begins under a name, with all that follows.
fn strings<'a>(body: &'a [u8], name: &'a [u8]) -> impl Iterator<Item = &'a [u8]> {
    memmem::find_iter(body, name).filter_map(move |at| {
        // A quote within a text has a backslash before it.
        let is_within = at > 0 && body[at - 1] == b'\\';
        let value = body[at + name.len()..].trim_ascii_start().strip_prefix(b":")?.trim_ascii_start();
        Some(value).filter(|value| !is_within && value.starts_with(b"\""))
    })
}

/// Where the text ends that `value` begins with, behind its quote.
fn end_of_text(value: &[u8]) -> Option<usize> {
    let mut at = 1;
    loop {
        at += memchr::memchr2(b'"', b'\\', &value[at..])?;
        match value[at] {
            b'"' => return Some(at + 1),
            _ => at += 2,
        }
        if at >= value.len() {
            return None;
        }
    }
}

/// The schema in what a request says of the format.
fn schema(format: &[u8]) -> Option<Map<String, Value>> {
    let Value::Object(mut format) = serde_json::from_slice(format).ok()? else { return None };
    for name in ["json_schema", "schema"] {
        if let Some(Value::Object(inner)) = format.remove(name) {
            format = inner;
        }
    }
    Some(format).filter(|schema| schema.contains_key("properties") || schema.contains_key("required"))
}

/// Whether the first level of `value` is as the schema says: what is required is there, and of the types that are named.
fn fits(value: &Value, schema: &Map<String, Value>) -> bool {
    let Value::Object(object) = value else { return false };
    let required = schema.get("required").and_then(Value::as_array).into_iter().flatten();
    let lacks = |name: &str| !object.contains_key(name);
    if required.filter_map(Value::as_str).any(lacks) {
        return false;
    }
    let properties = schema.get("properties").and_then(Value::as_object).into_iter().flatten();
    properties.into_iter().all(|(name, property)| match (object.get(name), property.get("type")) {
        (Some(value), Some(Value::String(kind))) => {
            is_of(value, kind) || property["nullable"] == true && value.is_null()
        }
        (Some(value), Some(Value::Array(kinds))) => {
            kinds.iter().filter_map(Value::as_str).any(|kind| is_of(value, kind))
        }
        _ => true,
    })
}

/// Whether a value is of a type by its name, which Gemini writes in capitals.
fn is_of(value: &Value, kind: &str) -> bool {
    match &*kind.to_ascii_lowercase() {
        "string" => value.is_string(),
        "number" => value.is_number(),
        "integer" => value.is_i64() || value.is_u64(),
        "boolean" => value.is_boolean(),
        "array" => value.is_array(),
        "object" => value.is_object(),
        "null" => value.is_null(),
        _ => true,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SCHEMA: &str = r#"{"type":"json_schema","json_schema":{"name":"a","schema":{"type":"object","properties":{"a":{"type":"string"},"n":{"type":["integer","null"]}},"required":["a"]}}}"#;

    fn form(format: &str) -> Form {
        Form { is_json: true, has_tools: true, format: format.as_bytes().into() }
    }

    #[test]
    fn arguments_are_told_apart() {
        for (operation, body, expect) in [
            (
                Operation::ChatCompletions,
                r#"{"choices":[{"message":{"tool_calls":[{"function":{"name":"f","arguments":"{\"a\":\"x\\\"y\"}"}}]}}]}"#,
                Some(true),
            ),
            (
                Operation::ChatCompletions,
                r#"{"choices":[{"message":{"tool_calls":[{"function":{"name":"f","arguments" : "{\"a\":"}}]}}]}"#,
                Some(false),
            ),
            (
                Operation::ChatCompletions,
                r#"{"choices":[{"message":{"tool_calls":[{"function":{"name":"f","arguments":"[1]"}}]}}]}"#,
                Some(false),
            ),
            (
                Operation::ChatCompletions,
                r#"{"choices":[{"message":{"content":"He said \"arguments\": \"{\" and left"}}]}"#,
                None,
            ),
            (
                Operation::ChatCompletions,
                r#"{"choices":[{"message":{"tool_calls":[{"function":{"name":"f","arguments":"{}"}},{"function":{"name":"g","arguments":"{}"}}]}}]}"#,
                Some(true),
            ),
            // Pieces of two calls in turn cannot be told from broken ones.
            (
                Operation::ChatCompletions,
                "data: {\"name\":\"f\",\"arguments\":\"{\"}\n\ndata: {\"name\":\"g\",\"arguments\":\"{\"}\n\ndata: {\"arguments\":\"}\"}\n\n",
                None,
            ),
            (
                Operation::ChatCompletions,
                "data: {\"name\":\"f\",\"arguments\":\"{\\\"a\"}\n\ndata: {\"arguments\":\"\\\":1}\"}\n\n",
                Some(true),
            ),
            (
                Operation::Messages,
                "data: {\"partial_json\":\"{\\\"a\\\"\"}\n\ndata: {\"partial_json\":\":1\"}\n\n",
                Some(false),
            ),
            (Operation::Messages, "data: {\"partial_json\":\"\"}\n\n", None),
            (
                Operation::Responses,
                "data: {\"arguments\":\"{}\"}\n\ndata: {\"item\":{\"arguments\":\"{}\"}}\n\n",
                Some(true),
            ),
            (Operation::GenerateContent, r#"{"functionCall":{"args":{}}}"#, None),
        ] {
            let tools = Form { is_json: false, ..form("") };
            assert_eq!(is_sound(operation, &tools, body.as_bytes()), expect, "{body}");
        }
    }

    #[test]
    fn words_are_held_against_the_format() {
        let chat = |text: &str| format!(r#"{{"choices":[{{"message":{{"content":{}}}}}]}}"#, Value::from(text));
        for (format, text, expect) in [
            (SCHEMA, r#"{"a":"x"}"#, Some(true)),
            (SCHEMA, r#"{"a":"x","n":null,"more":[]}"#, Some(true)),
            (SCHEMA, r#"{"n":1}"#, Some(false)),
            (SCHEMA, r#"{"a":1}"#, Some(false)),
            (SCHEMA, r#"{"a":"x","n":1.5}"#, Some(false)),
            (SCHEMA, "```json\n{}\n```", Some(false)),
            (SCHEMA, "", None),
            (r#"{"type":"json_object"}"#, r#"{"b":1}"#, Some(true)),
            (r#"{"type":"json_object"}"#, r#"{"b":1"#, Some(false)),
            ("", "[1]", Some(true)),
            (r#"{"type":"OBJECT","properties":{"a":{"type":"STRING"}}}"#, r#"{"a":2}"#, Some(false)),
        ] {
            let body = chat(text);
            assert_eq!(is_sound(Operation::ChatCompletions, &form(format), body.as_bytes()), expect, "{format} {text}");
        }
        let gemini = r#"{"candidates":[{"content":{"parts":[{"text":"hm","thought":true},{"text":"{}"}]}}]}"#;
        assert_eq!(is_sound(Operation::GenerateContent, &form(""), gemini.as_bytes()), None);
    }

    #[test]
    fn nothing_makes_it_panic() {
        let whole = r#"data: {"arguments" : "{\"a\":\"\\\\\"}","content":"\u00e9\\","text":"x"}"#;
        for operation in
            [Operation::ChatCompletions, Operation::Messages, Operation::Responses, Operation::GenerateContent]
        {
            for cut in 0..=whole.len() {
                let _told = is_sound(operation, &form(SCHEMA), &whole.as_bytes()[..cut]);
            }
        }
    }
}
