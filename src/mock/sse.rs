//! Server-sent events as the providers frame them.

use bytes::Bytes;
use serde_json::Value;

/// How OpenAI's chat streams end.
pub(super) const DONE: Bytes = Bytes::from_static(b"data: [DONE]\n\n");

/// An event without a name.
pub(super) fn data(json: &Value) -> Bytes {
    format!("data: {json}\n\n").into()
}

/// An event with a name.
pub(super) fn event(name: &str, json: &Value) -> Bytes {
    format!("event: {name}\ndata: {json}\n\n").into()
}

/// An event as Anthropic sends it: with so many blanks before the last brace, which are part of the JSON.
pub(super) fn padded(name: &str, json: &Value, blanks: usize) -> Bytes {
    let text = json.to_string();
    let inner = text.strip_suffix('}').unwrap_or(&text);
    format!("event: {name}\ndata: {inner}{:blanks$}}}\n\n", "").into()
}

/// An event as Google frames it, with carriage returns.
pub(super) fn crlf(json: &Value) -> Bytes {
    format!("data: {json}\r\n\r\n").into()
}
