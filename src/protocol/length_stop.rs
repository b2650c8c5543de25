//! [`length_stop`]: ends a stream as its provider would have ended it at its output limit, since the money for more is
//! not there.
//!
//! It says nothing that was not so: no text, and no usage but where a dialect's event cannot do without.

use bytes::Bytes;
use serde_json::{Value, json};

use crate::domain::operation::Operation;

/// Where a stream stands that is to end.
#[derive(Clone, Copy, Debug)]
pub struct Stand<'a> {
    /// What was asked for.
    pub operation: Operation,
    /// Tollgate's name for the request.
    pub request_id: &'a str,
    /// The model that answers.
    pub model: &'a str,
    /// Seconds since 1970.
    pub now_s: u64,
    /// The content block that is open (Anthropic).
    pub open_block: Option<u32>,
    /// Bytes of text that have come: not fewer than their tokens.
    pub text_bytes: u64,
}

/// The events that end a stream whose last event was whole; nothing where there are none.
#[must_use]
pub fn length_stop(stand: &Stand<'_>) -> Option<Bytes> {
    let text = match stand.operation {
        Operation::ChatCompletions => chat(
            stand,
            &json!([{"index": 0, "delta": {}, "logprobs": null, "finish_reason": "length"}]),
            ["chatcmpl", "chat.completion.chunk"],
        ),
        Operation::Completions => chat(
            stand,
            &json!([{"index": 0, "text": "", "logprobs": null, "finish_reason": "length"}]),
            ["cmpl", "text_completion"],
        ),
        Operation::Responses => named("response.incomplete", &response(stand)),
        Operation::Messages => message(stand),
        // Google frames its events with CRLF.
        Operation::GenerateContent => format!(
            "data: {}\r\n\r\n",
            json!({
                "candidates": [{"content": {"parts": [{"text": ""}], "role": "model"}, "finishReason": "MAX_TOKENS", "index": 0}],
                "modelVersion": stand.model,
            })
        ),
        _ => return None,
    };
    Some(text.into())
}

fn chat(stand: &Stand<'_>, choices: &Value, [id, object]: [&str; 2]) -> String {
    let chunk = json!({
        "id": format!("{id}-{}", stand.request_id),
        "object": object,
        "created": stand.now_s,
        "model": stand.model,
        "choices": choices,
    });
    format!("data: {chunk}\n\ndata: [DONE]\n\n")
}

/// An incomplete response with every field that openapi.json 2.3.0 requires.
fn response(stand: &Stand<'_>) -> Value {
    json!({
        "type": "response.incomplete",
        "sequence_number": 0,
        "response": {
            "id": format!("resp_{}", stand.request_id),
            "object": "response",
            "created_at": stand.now_s,
            "status": "incomplete",
            "error": null,
            "incomplete_details": {"reason": "max_output_tokens"},
            "instructions": null,
            "metadata": {},
            "model": stand.model,
            "output": [],
            "parallel_tool_calls": true,
            "temperature": null,
            "tool_choice": "auto",
            "tools": [],
            "top_p": null,
            "usage": null,
        },
    })
}

/// What ends a message: its open block, the reason, the message.
fn message(stand: &Stand<'_>) -> String {
    let block = stand.open_block.map_or(String::new(), |index| {
        named("content_block_stop", &json!({"type": "content_block_stop", "index": index}))
    });
    let delta = json!({
        "type": "message_delta",
        "delta": {"stop_reason": "max_tokens", "stop_sequence": null},
        "usage": {"output_tokens": stand.text_bytes},
    });
    let stop = named("message_stop", &json!({"type": "message_stop"}));
    format!("{block}{}{stop}", named("message_delta", &delta))
}

fn named(event: &str, data: &Value) -> String {
    format!("event: {event}\ndata: {data}\n\n")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::facts::Ending;
    use crate::protocol::meter::{Head, Meter};

    #[test]
    fn every_dialect_reads_it_as_a_length_stop() {
        let started = "event: content_block_start\ndata: {\"type\":\"content_block_start\",\"index\":3,\"content_block\":{\"type\":\"text\",\"text\":\"\"}}\n\n";
        for (operation, sent) in [
            (Operation::ChatCompletions, "data: {\"choices\":[{\"index\":0,\"delta\":{\"content\":\"a\"}}]}\n\n"),
            (Operation::Completions, "data: {\"choices\":[{\"index\":0,\"text\":\"a\"}]}\n\n"),
            (Operation::Responses, "event: response.created\ndata: {\"type\":\"response.created\"}\n\n"),
            (Operation::Messages, started),
            (Operation::GenerateContent, "data: {\"candidates\":[]}\r\n\r\n"),
        ] {
            let mut meter = Meter::new(operation, Head { status: 200, ..Head::default() });
            meter.feed(sent.as_bytes());
            let open_block = meter.open_block();
            assert_eq!(open_block, Some(3).filter(|_| operation == Operation::Messages));
            let stand = Stand { operation, request_id: "r", model: "m", now_s: 1, open_block, text_bytes: 9 };
            meter.feed(&length_stop(&stand).unwrap());
            assert_eq!((meter.open_block(), meter.is_terminal()), (None, true), "{operation:?}");
            let facts = meter.end();
            assert!(facts.ending == Some(Ending::Length) && !facts.broken, "{operation:?}: {facts:?}");
        }
    }
}
