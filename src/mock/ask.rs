//! [`Ask`]: what a request of any dialect asks for, in one shape; each dialect reads its body into it.
//!
//! Tokens are counted here by the mock's own rule: every four bytes of text, rounded up for each block. It shares no
//! code with Tollgate's metering, so that the two can be compared.

use serde_json::Value;
use std::hash::{DefaultHasher, Hasher};

/// Bytes of text in one token.
pub(super) const BYTES_PER_TOKEN: usize = 4;

/// What an image, a file or a sound counts, in bytes of text: 85 tokens, whatever its size.
const ATTACHMENT_BYTES: usize = 85 * BYTES_PER_TOKEN;

/// What a number or a truth value counts.
const SCALAR_BYTES: usize = 4;

/// Answers to one request that may be asked for; OpenAI's limit for `n`.
pub(super) const CHOICES_MAX: u64 = 128;

/// A request for an answer.
#[derive(Debug, Default)]
pub(super) struct Ask {
    /// The model's name.
    pub(super) model: String,
    /// Whether it is to be streamed.
    pub(super) stream: bool,
    /// The prompt in order: tools, instructions, messages.
    pub(super) blocks: Blocks,
    /// The text that is answered: of the last message.
    pub(super) prompt: String,
    /// Whether the last message is the result of a tool.
    pub(super) after_tool: bool,
    /// The functions that may be called.
    pub(super) tools: Vec<Tool>,
    /// Whether they may, must or must not.
    pub(super) choice: ToolChoice,
    /// The limit of output tokens.
    pub(super) output_max: Option<u64>,
    /// Texts at which the answer ends.
    pub(super) stops: Vec<String>,
    /// How many answers, at least 1.
    pub(super) count: u64,
    /// The form of the answer.
    pub(super) format: Format,
    /// The service tier.
    pub(super) service_tier: Option<String>,
    /// Whether the dialect's way to ask for reasoning was used.
    pub(super) thinks: bool,
    /// OpenAI chat: whether the stream is to say its usage.
    pub(super) include_usage: bool,
}

/// A function that the model may call.
#[derive(Debug)]
pub(super) struct Tool {
    /// Its name.
    pub(super) name: String,
    /// The JSON schema of its arguments.
    pub(super) schema: Value,
}

/// Whether tools are called.
#[derive(Debug, Default, PartialEq)]
pub(super) enum ToolChoice {
    /// The mock calls the first.
    #[default]
    Auto,
    /// None is called.
    Never,
    /// This one is called.
    Named(String),
}

/// The form of an answer.
#[derive(Debug, Default, PartialEq)]
pub(super) enum Format {
    /// Words.
    #[default]
    Text,
    /// Any JSON object.
    Object,
    /// JSON of this schema.
    Schema(Value),
}

/// The prompt as the provider's cache sees it: a row of blocks, each with the hash of all up to it.
#[derive(Debug, Default)]
pub(super) struct Blocks {
    /// In order.
    pub(super) list: Vec<Block>,
    prefix: DefaultHasher,
}

/// One piece of a prompt.
#[derive(Clone, Debug)]
pub(super) struct Block {
    /// Its tokens.
    pub(super) tokens: u64,
    /// Names everything up to its end.
    pub(super) prefix: u64,
    /// Anthropic's `cache_control` on it.
    pub(super) mark: Option<Lifetime>,
}

/// How long a provider's prompt cache keeps what was written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Lifetime {
    /// Five minutes.
    FiveMinutes,
    /// One hour.
    OneHour,
}

impl Blocks {
    /// Adds a block of whatever text `value` holds.
    pub(super) fn push(&mut self, role: &str, value: &Value) {
        self.prefix.write(role.as_bytes());
        let bytes = weigh(value, &mut self.prefix);
        if bytes > 0 {
            let mark = value.get("cache_control").and_then(lifetime);
            self.list.push(Block { tokens: tokens(bytes), prefix: self.prefix.finish(), mark });
        }
    }

    /// Adds a block for each element of an array, or one for anything else but null.
    pub(super) fn push_each(&mut self, role: &str, value: &Value) {
        match value {
            Value::Array(list) => list.iter().for_each(|part| self.push(role, part)),
            Value::Null => {}
            Value::String(_) | Value::Object(_) | Value::Bool(_) | Value::Number(_) => self.push(role, value),
        }
    }

    /// Tokens of all blocks, at least 1.
    pub(super) fn tokens(&self) -> u64 {
        self.list.iter().map(|block| block.tokens).sum::<u64>().max(1)
    }
}

/// Tokens of so many bytes of text.
pub(super) fn tokens(bytes: usize) -> u64 {
    bytes.div_ceil(BYTES_PER_TOKEN) as u64
}

/// The lifetime that a `cache_control` object asks for.
pub(super) fn lifetime(control: &Value) -> Option<Lifetime> {
    let one_hour = control.get("ttl").and_then(Value::as_str) == Some("1h");
    control.is_object().then_some(if one_hour { Lifetime::OneHour } else { Lifetime::FiveMinutes })
}

/// All text in `value`, in order, one piece a line: a string, or the `text` of content parts.
pub(super) fn text_of(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Array(parts) => parts.iter().map(text_of).filter(|text| !text.is_empty()).collect::<Vec<_>>().join("\n"),
        Value::Object(part) => {
            let inner = ["text", "content", "parts", "output", "response"].iter().find_map(|name| part.get(*name));
            inner.map(text_of).unwrap_or_default()
        }
        Value::Null | Value::Bool(_) | Value::Number(_) => String::new(),
    }
}

/// The strings of `value`, which is one of them or a list of them.
pub(super) fn strings(value: Option<&Value>) -> Vec<String> {
    match value {
        Some(Value::String(one)) => vec![one.clone()],
        Some(Value::Array(list)) => list.iter().filter_map(Value::as_str).map(str::to_owned).collect(),
        Some(_) | None => Vec::new(),
    }
}

/// The text in `value` that a model would read, in bytes, and its hash. What only names or frames is left out.
fn weigh(value: &Value, hash: &mut DefaultHasher) -> usize {
    match value {
        Value::Null => 0,
        Value::Bool(_) | Value::Number(_) => {
            hash.write(value.to_string().as_bytes());
            SCALAR_BYTES
        }
        Value::String(text) => {
            hash.write(text.as_bytes());
            text.len()
        }
        Value::Array(list) => list.iter().map(|inner| weigh(inner, hash)).sum(),
        Value::Object(members) => members.iter().map(|(name, inner)| member(name, inner, hash)).sum(),
    }
}

fn member(name: &str, inner: &Value, hash: &mut DefaultHasher) -> usize {
    match name {
        "type" | "role" | "id" | "call_id" | "tool_call_id" | "tool_use_id" | "cache_control" | "signature"
        | "thoughtSignature" | "mime_type" | "mimeType" | "media_type" | "detail" | "strict" => 0,
        "source" | "image_url" | "input_audio" | "file" | "file_data" | "inlineData" | "inline_data" | "fileData"
        | "file_url" => {
            hash.write(inner.to_string().as_bytes());
            ATTACHMENT_BYTES
        }
        _ => weigh(inner, hash),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn check(value: Value, expect: u64) {
        let mut blocks = Blocks::default();
        blocks.push_each("user", &value);
        assert_eq!(blocks.tokens(), expect, "{value}");
    }

    #[test]
    fn four_bytes_are_a_token_in_each_block() {
        check(json!("12345"), 2);
        check(json!([{"type": "text", "text": "1234"}, {"type": "text", "text": "1"}]), 2);
        check(json!({"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}}), 85);
        check(json!(null), 1);
    }

    #[test]
    fn a_prefix_names_all_before_it() {
        let blocks = |texts: &[&str]| {
            let mut blocks = Blocks::default();
            texts.iter().for_each(|text| blocks.push("user", &json!(text)));
            blocks.list.iter().map(|block| block.prefix).collect::<Vec<_>>()
        };
        assert_eq!(blocks(&["a", "b"])[0], blocks(&["a", "c"])[0]);
        assert_ne!(blocks(&["a", "b"])[1], blocks(&["c", "b"])[1]);
    }
}
