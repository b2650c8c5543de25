//! [`canned`]: an answer that an operator has written beforehand, in the form that its client waits for.
//!
//! It claims no tokens and comes from no provider; whoever sends it says so in its head.

use serde_json::{Value, json};

use crate::domain::operation::Operation;

/// What an answer is made of.
#[derive(Clone, Copy, Debug)]
pub struct Canned<'a> {
    /// What was asked for.
    pub operation: Operation,
    /// Whether as a stream.
    pub is_stream: bool,
    /// Whether a stream of Google's has events (`alt=sse`); else it is an array.
    pub has_events: bool,
    /// The model that was asked for.
    pub model: &'a str,
    /// What the operator has written.
    pub text: &'a str,
    /// Tollgate's name of the request.
    pub request_id: &'a str,
    /// Seconds since 1970.
    pub now_s: u64,
}

/// Whether an answer to `operation` is text that somebody reads.
#[must_use]
pub const fn is_spoken(operation: Operation) -> bool {
    matches!(
        operation,
        Operation::ChatCompletions | Operation::Responses | Operation::Messages | Operation::GenerateContent
    )
}

/// The media type and the bytes of the answer; nothing where an operation has no text as its answer.
#[must_use]
pub fn canned(answer: &Canned<'_>) -> Option<(&'static str, String)> {
    let (operation, is_stream) = (answer.operation, answer.is_stream);
    let form = if operation == Operation::ChatCompletions {
        if is_stream { events(chat_events(answer)) } else { whole(&chat(answer)) }
    } else if operation == Operation::Responses {
        if is_stream { events(response_events(answer)) } else { whole(&response(answer, "completed")) }
    } else if operation == Operation::Messages {
        let said = || message(answer, json!([block(answer.text)]), json!("end_turn"));
        if is_stream { events(message_events(answer)) } else { whole(&said()) }
    } else if operation == Operation::GenerateContent {
        match (is_stream, answer.has_events) {
            (true, true) => events(format!("data: {}\r\n\r\n", gemini(answer))),
            (true, false) => whole(&json!([gemini(answer)])),
            (false, _) => whole(&gemini(answer)),
        }
    } else {
        return None;
    };
    Some(form)
}

fn events(text: String) -> (&'static str, String) {
    ("text/event-stream; charset=utf-8", text)
}

fn whole(body: &Value) -> (&'static str, String) {
    ("application/json", body.to_string())
}

fn chat(answer: &Canned<'_>) -> Value {
    json!({
        "id": format!("chatcmpl-{}", answer.request_id),
        "object": "chat.completion",
        "created": answer.now_s,
        "model": answer.model,
        "choices": [{
            "index": 0,
            "message": {"role": "assistant", "content": answer.text, "refusal": null},
            "logprobs": null,
            "finish_reason": "stop",
        }],
        "usage": {"prompt_tokens": 0, "completion_tokens": 0, "total_tokens": 0},
    })
}

fn chat_events(answer: &Canned<'_>) -> String {
    let chunk = |delta: Value, finish: Value| {
        let choice = json!({"index": 0, "delta": delta, "logprobs": null, "finish_reason": finish});
        let chunk = json!({
            "id": format!("chatcmpl-{}", answer.request_id),
            "object": "chat.completion.chunk",
            "created": answer.now_s,
            "model": answer.model,
            "choices": [choice],
        });
        format!("data: {chunk}\n\n")
    };
    let text = chunk(json!({"role": "assistant", "content": answer.text}), Value::Null);
    text + &chunk(json!({}), json!("stop")) + "data: [DONE]\n\n"
}

/// A response with every field that openapi.json 2.3.0 requires.
fn response(answer: &Canned<'_>, status: &str) -> Value {
    let is_done = status == "completed";
    let output = if is_done { json!([item(answer, "completed")]) } else { json!([]) };
    let usage = json!({
        "input_tokens": 0,
        "input_tokens_details": {"cached_tokens": 0},
        "output_tokens": 0,
        "output_tokens_details": {"reasoning_tokens": 0},
        "total_tokens": 0,
    });
    json!({
        "id": format!("resp_{}", answer.request_id),
        "object": "response",
        "created_at": answer.now_s,
        "status": status,
        "error": null,
        "incomplete_details": null,
        "instructions": null,
        "metadata": {},
        "model": answer.model,
        "output": output,
        "parallel_tool_calls": true,
        "temperature": null,
        "tool_choice": "auto",
        "tools": [],
        "top_p": null,
        "usage": if is_done { usage } else { Value::Null },
    })
}

fn item(answer: &Canned<'_>, status: &str) -> Value {
    let content = if status == "completed" { json!([part(answer.text)]) } else { json!([]) };
    let id = format!("msg_{}", answer.request_id);
    json!({"id": id, "type": "message", "status": status, "role": "assistant", "content": content})
}

fn part(text: &str) -> Value {
    json!({"type": "output_text", "text": text, "annotations": [], "logprobs": []})
}

fn response_events(answer: &Canned<'_>) -> String {
    let at = |mut event: Value| {
        event["item_id"] = json!(format!("msg_{}", answer.request_id));
        (event["output_index"], event["content_index"]) = (json!(0), json!(0));
        event
    };
    let events = [
        ("response.created", json!({"response": response(answer, "in_progress")})),
        ("response.in_progress", json!({"response": response(answer, "in_progress")})),
        ("response.output_item.added", json!({"output_index": 0, "item": item(answer, "in_progress")})),
        ("response.content_part.added", at(json!({"part": part("")}))),
        ("response.output_text.delta", at(json!({"delta": answer.text, "logprobs": []}))),
        ("response.output_text.done", at(json!({"text": answer.text, "logprobs": []}))),
        ("response.content_part.done", at(json!({"part": part(answer.text)}))),
        ("response.output_item.done", json!({"output_index": 0, "item": item(answer, "completed")})),
        ("response.completed", json!({"response": response(answer, "completed")})),
    ];
    let event = |(number, (name, mut data)): (usize, (&str, Value))| {
        (data["type"], data["sequence_number"]) = (json!(name), json!(number));
        format!("event: {name}\ndata: {data}\n\n")
    };
    events.into_iter().enumerate().map(event).collect()
}

fn block(text: &str) -> Value {
    json!({"type": "text", "text": text})
}

fn message(answer: &Canned<'_>, content: Value, stop_reason: Value) -> Value {
    json!({
        "id": format!("msg_{}", answer.request_id),
        "type": "message",
        "role": "assistant",
        "model": answer.model,
        "content": content,
        "stop_reason": stop_reason,
        "stop_sequence": null,
        "usage": {"input_tokens": 0, "output_tokens": 0},
    })
}

fn message_events(answer: &Canned<'_>) -> String {
    let events = [
        ("message_start", json!({"message": message(answer, json!([]), Value::Null)})),
        ("content_block_start", json!({"index": 0, "content_block": block("")})),
        ("content_block_delta", json!({"index": 0, "delta": {"type": "text_delta", "text": answer.text}})),
        ("content_block_stop", json!({"index": 0})),
        (
            "message_delta",
            json!({"delta": {"stop_reason": "end_turn", "stop_sequence": null}, "usage": {"output_tokens": 0}}),
        ),
        ("message_stop", json!({})),
    ];
    let event = |(name, mut data): (&str, Value)| {
        data["type"] = json!(name);
        format!("event: {name}\ndata: {data}\n\n")
    };
    events.into_iter().map(event).collect()
}

fn gemini(answer: &Canned<'_>) -> Value {
    json!({
        "candidates": [{
            "content": {"parts": [{"text": answer.text}], "role": "model"},
            "finishReason": "STOP",
            "index": 0,
        }],
        "usageMetadata": {"promptTokenCount": 0, "candidatesTokenCount": 0, "totalTokenCount": 0},
        "modelVersion": answer.model,
        "responseId": answer.request_id,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::meter::{Head, Meter};

    const TEXT: &str = "Not now.\nTry \"later\".";

    fn check(operation: Operation, is_stream: bool, has_events: bool) {
        let answer =
            Canned { operation, is_stream, has_events, model: "m", text: TEXT, request_id: "01", now_s: 1_795_000_000 };
        let (content_type, body) = canned(&answer).unwrap();
        assert_eq!(content_type.starts_with("text/event-stream"), is_stream && has_events, "{body}");
        assert!(body.contains(r#"Not now.\nTry \"later\"."#), "{body}");
        let mut meter = Meter::new(operation, Head { status: 200, content_type, content_encoding: "" });
        meter.feed(body.as_bytes());
        // Whatever reads real answers takes it for a whole one without tokens.
        let facts = meter.end();
        assert!(facts.error.is_none() && !facts.broken, "{facts:?}");
        assert!(!is_stream || facts.terminal, "{facts:?}");
        assert_eq!(facts.usage.unwrap_or_default().output, 0);
        for data in body.lines().filter_map(|line| line.strip_prefix("data: ")).filter(|data| *data != "[DONE]") {
            assert!(serde_json::from_str::<Value>(data).is_ok(), "{data}");
        }
    }

    #[test]
    fn it_has_the_form_of_a_real_answer() {
        let spoken =
            [Operation::ChatCompletions, Operation::Responses, Operation::Messages, Operation::GenerateContent];
        for operation in spoken {
            check(operation, false, true);
            check(operation, true, true);
        }
        check(Operation::GenerateContent, true, false);
        let embeddings = Canned {
            operation: Operation::Embeddings,
            is_stream: false,
            has_events: false,
            model: "m",
            text: TEXT,
            request_id: "01",
            now_s: 0,
        };
        assert!(canned(&embeddings).is_none());
    }
}
