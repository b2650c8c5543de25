//! [`terminal_error`]: ends an answer that its provider will not end, so that the client sees an error and neither a
//! success nor a reset.
//!
//! It never says `[DONE]` and never makes up the rest of an answer. A whole JSON body cannot be ended: it is cut.

use bytes::Bytes;
use serde_json::{Value, json};

use super::meter::Position;
use crate::domain::operation::Operation;

/// What has to be sent behind what was sent, for a streamed answer to `operation` that stands at `position`; nothing
/// where there is no way to end it. `message` is shown to the user, `request_id` is Tollgate's, `now_s` are seconds since 1970.
#[must_use]
pub fn terminal_error(
    operation: Operation,
    position: &Position,
    message: &str,
    request_id: &str,
    now_s: u64,
) -> Option<Bytes> {
    match position {
        // Without `alt=sse` Google streams an array, which nothing announces.
        Position::Start if operation == Operation::GenerateContent => Some(array_end(b"[", false, message)),
        Position::Start | Position::Unknown => None,
        Position::Events { at_boundary } => {
            let event = event(operation, message, request_id, now_s)?;
            // The blank line ends what has come of an event.
            Some(Bytes::from(if *at_boundary { event } else { format!("\n\n{event}") }))
        }
        Position::Between { comma } => Some(array_end(b"", *comma, message)),
        Position::Within { closing } => Some(array_end(closing, true, message)),
    }
}

fn event(operation: Operation, message: &str, request_id: &str, now_s: u64) -> Option<String> {
    match operation {
        Operation::ChatCompletions | Operation::Completions => {
            let error = json!({"message": message, "type": "server_error", "param": null, "code": "upstream_aborted"});
            Some(format!("data: {}\n\n", json!({ "error": error })))
        }
        Operation::Responses => {
            let data = json!({"type": "response.failed", "sequence_number": 0, "response": response(message, request_id, now_s)});
            Some(format!("event: response.failed\ndata: {data}\n\n"))
        }
        Operation::Messages => {
            let error = json!({"type": "api_error", "message": message});
            let data = json!({"type": "error", "error": error, "request_id": request_id});
            Some(format!("event: error\ndata: {data}\n\n"))
        }
        Operation::Interactions => {
            let data = json!({"event_type": "error", "error": {"code": "unavailable", "message": message}});
            Some(format!("event: error\ndata: {data}\n\n"))
        }
        // Google frames its events with CRLF; its clients take LF as well.
        Operation::GenerateContent => Some(format!("data: {}\r\n\r\n", google(message))),
        Operation::Embeddings
        | Operation::CountTokens
        | Operation::GeminiCountTokens
        | Operation::EmbedContent
        | Operation::ResponsesInputTokens
        | Operation::StoredResponse
        | Operation::ImageGenerations
        | Operation::ImageEdits
        | Operation::ImageVariations
        | Operation::Transcriptions
        | Operation::Translations
        | Operation::Speech
        | Operation::Moderations
        | Operation::Files
        | Operation::FileContent
        | Operation::Batches
        | Operation::StoredBatch
        | Operation::BatchResults
        | Operation::CachedContents
        | Operation::StoredCache
        | Operation::StoredInteraction
        | Operation::Models
        | Operation::Unknown => None,
    }
}

/// A failed response with every field that openapi.json 2.3.0 requires.
fn response(message: &str, request_id: &str, now_s: u64) -> Value {
    json!({
        "id": format!("resp_{request_id}"),
        "object": "response",
        "created_at": now_s,
        "status": "failed",
        "error": {"code": "server_error", "message": message},
        "incomplete_details": null,
        "instructions": null,
        "metadata": {},
        "model": "",
        "output": [],
        "parallel_tool_calls": true,
        "temperature": null,
        "tool_choice": "auto",
        "tools": [],
        "top_p": null,
        "usage": null,
    })
}

/// google.rpc.Status, as Google sends it.
fn google(message: &str) -> Value {
    json!({"error": {"code": 503, "message": message, "status": "UNAVAILABLE"}})
}

fn array_end(closing: &[u8], comma: bool, message: &str) -> Bytes {
    let comma = if comma { "," } else { "" };
    let error = format!("{comma}{}]", google(message));
    [closing, error.as_bytes()].concat().into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::meter::{Head, Meter};

    const MESSAGE: &str = "the \"provider\" closed\nthe connection";

    fn ended(operation: Operation, sent: &str) -> String {
        let mut meter = Meter::new(operation, Head { status: 200, ..Head::default() });
        meter.feed(sent.as_bytes());
        let end = terminal_error(operation, &meter.position(), MESSAGE, "req_1", 7).unwrap_or_default();
        format!("{sent}{}", String::from_utf8_lossy(&end))
    }

    #[test]
    fn a_stream_ends_with_the_dialects_own_error() {
        for (operation, sent, event) in [
            (Operation::ChatCompletions, "data: {\"choices\":[]}\n\n", "error"),
            (Operation::ChatCompletions, "data: {\"choices\":[", "error"),
            (Operation::Responses, "event: a\ndata: {}\n\n", "response"),
            (Operation::Responses, "event: a\r\ndata: {\"", "response"),
            (Operation::Messages, "event: ping\ndata: {}\n", "error"),
            (Operation::GenerateContent, "data: {}\r\n\r\n", "error"),
        ] {
            let text = ended(operation, sent).replace("\r\n", "\n");
            let last = text.trim_end().rsplit("\n\n").next().unwrap();
            let data = last.lines().find_map(|line| line.strip_prefix("data: ")).unwrap();
            let data: Value = serde_json::from_str(data).unwrap();
            let error = if event == "response" { &data["response"]["error"] } else { &data["error"] };
            assert_eq!(error["message"], MESSAGE, "{text}");
            let mut meter = Meter::new(operation, Head { status: 200, ..Head::default() });
            meter.feed(text.as_bytes());
            let facts = meter.end();
            assert!(facts.terminal && facts.error.is_some(), "{operation:?}: {facts:?}");
        }
    }

    #[test]
    fn an_array_is_closed_behind_an_error() {
        for sent in ["", "[", "[{}", "[{},", "[{\"a\":[1,\"te", "[{\"a\":tr", "[{\"a\\"] {
            let elements: Vec<Value> = serde_json::from_str(&ended(Operation::GenerateContent, sent)).unwrap();
            assert_eq!(elements.last().unwrap()["error"]["status"], "UNAVAILABLE", "{sent}");
        }
    }

    #[test]
    fn a_whole_body_has_no_such_thing() {
        for sent in ["", "{\"id\":", "{}"] {
            assert_eq!(ended(Operation::ChatCompletions, sent), sent);
        }
    }
}
