//! [`said`]: the text of a whole answer, to be compared with that of another. For whoever has time: it builds trees.

use serde_json::Value;

use crate::domain::operation::Operation;

/// The text of an answer of `operation`; `None` where it has none that can be read.
#[must_use]
pub fn said(operation: Operation, content_type: &str, body: &[u8]) -> Option<String> {
    let mut text = String::new();
    if content_type.starts_with("text/event-stream") {
        for line in std::str::from_utf8(body).ok()?.lines() {
            let Some(Ok(event)) = line.strip_prefix("data:").map(|data| serde_json::from_str(data.trim())) else {
                continue;
            };
            add(operation, &event, &mut text);
        }
    } else {
        match serde_json::from_slice(body).ok()? {
            Value::Array(parts) => parts.iter().for_each(|part| add(operation, part, &mut text)),
            whole => add(operation, &whole, &mut text),
        }
    }
    Some(text).filter(|text| !text.trim().is_empty())
}

/// Adds what one value or event says.
fn add(operation: Operation, value: &Value, text: &mut String) {
    let each = |list: &Value, name: &str, text: &mut String| {
        let parts = list.as_array().into_iter().flatten();
        parts
            .filter(|part| part["thought"] != true)
            .filter_map(|part| part[name].as_str())
            .for_each(|part| text.push_str(part));
    };
    match operation {
        Operation::ChatCompletions => {
            for choice in value["choices"].as_array().into_iter().flatten() {
                let parts = [&choice["message"]["content"], &choice["delta"]["content"]];
                parts.into_iter().filter_map(Value::as_str).for_each(|part| text.push_str(part));
            }
        }
        Operation::Messages => {
            each(&value["content"], "text", text);
            text.push_str(value["delta"]["text"].as_str().unwrap_or_default());
        }
        Operation::Responses => {
            if value["type"] == "response.output_text.delta" {
                text.push_str(value["delta"].as_str().unwrap_or_default());
            }
            value["output"].as_array().into_iter().flatten().for_each(|item| each(&item["content"], "text", text));
        }
        Operation::GenerateContent => {
            let candidates = value["candidates"].as_array().into_iter().flatten();
            candidates.for_each(|candidate| each(&candidate["content"]["parts"], "text", text));
        }
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_dialect_says_the_same() {
        let stream = "text/event-stream; charset=utf-8";
        for (operation, kind, body) in [
            (Operation::ChatCompletions, "application/json", r#"{"choices":[{"message":{"content":"It is 5."}}]}"#),
            (
                Operation::ChatCompletions,
                stream,
                "data: {\"choices\":[{\"delta\":{\"content\":\"It \"}}]}\n\ndata: {\"choices\":[{\"delta\":{\"content\":\"is 5.\"}}]}\n\ndata: [DONE]\n\n",
            ),
            (Operation::Messages, "application/json", r#"{"content":[{"type":"text","text":"It is 5."}]}"#),
            (
                Operation::Messages,
                stream,
                "event: content_block_delta\ndata: {\"delta\":{\"type\":\"text_delta\",\"text\":\"It is 5.\"}}\n\n",
            ),
            (Operation::Responses, "application/json", r#"{"output":[{"content":[{"text":"It is 5."}]}]}"#),
            (
                Operation::Responses,
                stream,
                "data: {\"type\":\"response.output_text.delta\",\"delta\":\"It is 5.\"}\n\ndata: {\"type\":\"response.completed\"}\n\n",
            ),
            (
                Operation::GenerateContent,
                "application/json",
                r#"[{"candidates":[{"content":{"parts":[{"text":"hm","thought":true},{"text":"It is"}]}}]},{"candidates":[{"content":{"parts":[{"text":" 5."}]}}]}]"#,
            ),
        ] {
            assert_eq!(said(operation, kind, body.as_bytes()).as_deref(), Some("It is 5."), "{operation:?} {kind}");
        }
        assert_eq!(said(Operation::ChatCompletions, "application/json", b"{"), None);
    }
}
