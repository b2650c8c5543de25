//! What a meter learns, in every framing, split and coding.

use std::io::Write;

use proptest::prelude::*;

use super::*;
use crate::domain::tokens::Usage;
use crate::protocol::facts::Ending;

const OK: Head<'_> = Head { status: 200, content_type: "", content_encoding: "" };

fn learn(operation: Operation, head: Head<'_>, chunks: &[&[u8]]) -> Facts {
    let mut meter = Meter::new(operation, head);
    chunks.iter().for_each(|chunk| meter.feed(chunk));
    meter.end()
}

/// The facts of `text`, which must not depend on where it is cut.
fn facts(operation: Operation, text: &str) -> Facts {
    let whole = learn(operation, OK, &[text.as_bytes()]);
    for cut in 0..=text.len() {
        let (left, right) = text.as_bytes().split_at(cut);
        assert_eq!(learn(operation, OK, &[left, right]), whole, "{text} cut at {cut}");
    }
    let bytes: Vec<&[u8]> = text.as_bytes().chunks(1).collect();
    assert_eq!(learn(operation, OK, &bytes), whole, "{text} byte by byte");
    whole
}

fn counts(facts: &Facts) -> Option<(u64, u64)> {
    facts.usage.as_ref().map(|usage| (usage.input, usage.output))
}

fn events(data: &[&str]) -> String {
    data.iter().map(|data| format!("data: {data}\n\n")).collect()
}

#[test]
fn a_chat_stream_tells_the_same_as_the_whole_answer() {
    let usage = r#"{"prompt_tokens":9,"completion_tokens":4,"total_tokens":13}"#;
    let whole = facts(
        Operation::ChatCompletions,
        &format!(
            r#"   {{"model":"gpt-x","choices":[{{"message":{{"content":"hello","refusal":null}},"finish_reason":"stop"}}],
                "usage":{usage},"service_tier":"flex"}}"#
        ),
    );
    let stream = facts(
        Operation::ChatCompletions,
        &events(&[
            r#"{"model":"gpt-x","choices":[{"delta":{"content":"he"},"finish_reason":null}],"usage":null}"#,
            r#"{"model":"gpt-x","choices":[{"delta":{"content":"llo"},"finish_reason":null}],"service_tier":"flex"}"#,
            r#"{"model":"gpt-x","choices":[{"delta":{},"finish_reason":"stop"}]}"#,
            &format!(r#"{{"model":"gpt-x","choices":[],"usage":{usage}}}"#),
            "[DONE]",
        ]),
    );
    assert_eq!(whole, stream);
    assert_eq!((counts(&whole), whole.text_bytes, whole.usage_final), (Some((9, 4)), 5, true));
    assert_eq!((whole.ending, whole.terminal, whole.broken), (Some(Ending::Stop), true, false));
    assert_eq!((whole.served_model.as_deref(), whole.service_tier.as_deref()), (Some("gpt-x"), Some("flex")));
}

#[test]
fn a_zero_of_the_provider_is_a_zero_and_silence_is_not() {
    let zero = r#"{"usage":{"prompt_tokens":0,"completion_tokens":0}}"#;
    assert_eq!(facts(Operation::ChatCompletions, zero).usage, Some(Usage::default()));
    for silent in [r#"{"usage":null}"#, "{}", r#"{"usage":[]}"#, r#"{"x":{"usage":{"prompt_tokens":1}}}"#, "", "  "] {
        let facts = facts(Operation::ChatCompletions, silent);
        assert_eq!((facts.usage, facts.usage_final, facts.broken), (None, false, false));
    }
}

#[test]
fn the_start_of_an_anthropic_stream_is_not_its_usage() {
    let start = concat!(
        "event: message_start\ndata: {\"type\":\"message_start\",\"message\":{\"model\":\"claude\",",
        "\"usage\":{\"input_tokens\":25,\"output_tokens\":1}}}   \n\n",
        "event: content_block_delta\ndata: {\"type\":\"content_block_delta\",\"delta\":{\"text\":\"hey\"}}\n\n"
    );
    let cut = facts(Operation::Messages, start);
    assert_eq!((counts(&cut), cut.usage_final, cut.terminal, cut.text_bytes), (Some((25, 1)), false, false, 3));
    let end = concat!(
        "event: message_delta\ndata: {\"type\":\"message_delta\",\"delta\":{\"stop_reason\":\"max_tokens\"},",
        "\"usage\":{\"output_tokens\":15}}\n\nevent: message_stop\ndata: {\"type\":\"message_stop\"}\n\n"
    );
    let whole = facts(Operation::Messages, &format!("{start}{end}"));
    assert_eq!((counts(&whole), whole.usage_final, whole.terminal), (Some((25, 15)), true, true));
    assert_eq!((whole.ending, whole.served_model.as_deref()), (Some(Ending::Length), Some("claude")));
}

#[test]
fn a_response_counts_its_server_tools_once() {
    let item = r#"{"type":"web_search_call","action":{"type":"search"}}"#;
    let message = r#"{"type":"message","content":[{"type":"output_text","text":"hi"}]}"#;
    let response = format!(
        r#"{{"status":"completed","model":"gpt-x","output":[{item},{message}],"usage":{{"input_tokens":3,"output_tokens":2}}}}"#
    );
    let done = format!(r#"{{"type":"response.output_item.done","item":{item}}}"#);
    let stream = events(&[
        r#"{"type":"response.created","response":{"status":"in_progress","usage":null,"output":[]}}"#,
        &format!(r#"{{"type":"response.output_item.added","item":{item}}}"#),
        &done,
        r#"{"type":"response.output_text.delta","delta":"hi","obfuscation":"xxxx"}"#,
        &format!(r#"{{"type":"response.completed","response":{response}}}"#),
    ]);
    let (whole, stream) = (facts(Operation::Responses, &response), facts(Operation::Responses, &stream));
    assert_eq!(whole, stream);
    let tools = |facts: &Facts| facts.usage.clone().unwrap_or_default().server_tools;
    assert_eq!(tools(&whole), [("web_search_call".into(), 1), ("web_search_call.search".into(), 1)]);
    let unlisted = events(&[
        &done,
        r#"{"type":"response.completed","response":{"status":"completed","output":[],"usage":{"input_tokens":3}}}"#,
    ]);
    assert_eq!(tools(&facts(Operation::Responses, &unlisted)), tools(&whole));
}

#[test]
fn gemini_tells_the_same_as_events_as_array_and_whole() {
    let first = r#"{"candidates":[{"content":{"parts":[{"text":"a"}]}}],"usageMetadata":{"promptTokenCount":4}}"#;
    let last = r#"{"candidates":[{"content":{"parts":[{"text":"bc"}]},"finishReason":"STOP"}],"modelVersion":"g",
        "usageMetadata":{"promptTokenCount":4,"candidatesTokenCount":2,"totalTokenCount":6}}"#;
    let last = last.replace('\n', "");
    let array = facts(Operation::GenerateContent, &format!("[{first}\r\n,\r\n{last}]"));
    let stream = facts(Operation::GenerateContent, &format!("data: {first}\r\n\r\ndata: {last}\r\n\r\n"));
    assert_eq!(array, stream);
    assert_eq!((counts(&array), array.text_bytes, array.usage_final, array.terminal), (Some((4, 2)), 3, true, true));
    let cut = facts(Operation::GenerateContent, &format!("data: {first}\r\n\r\n"));
    assert_eq!((counts(&cut), cut.usage_final, cut.terminal), (Some((4, 0)), false, false));
    let whole = facts(Operation::GenerateContent, &last);
    assert_eq!((counts(&whole), whole.ending), (Some((4, 2)), Some(Ending::Stop)));
}

#[test]
fn gemini_tells_why_it_ended_by_word_or_by_number() {
    let ending = |reason: &str| {
        let text = format!(r#"{{"candidates":[{{"content":{{"parts":[{{"text":"a"}}]}},"finishReason":{reason}}}]}}"#);
        facts(Operation::GenerateContent, &text).ending
    };
    let refused = |reason: &str| {
        facts(Operation::GenerateContent, &format!(r#"{{"promptFeedback":{{"blockReason":{reason}}}}}"#)).ending
    };
    for (word, number, expect) in [
        ("\"STOP\"", "1", Some(Ending::Stop)),
        ("\"MAX_TOKENS\"", "2", Some(Ending::Length)),
        ("\"SAFETY\"", "3", Some(Ending::Refusal)),
        ("\"RECITATION\"", "4", Some(Ending::Refusal)),
        ("\"OTHER\"", "5", Some(Ending::Failed)),
        ("\"MALFORMED_FUNCTION_CALL\"", "10", Some(Ending::Failed)),
        ("\"FINISH_REASON_UNSPECIFIED\"", "0", None),
        ("null", "-1", None),
    ] {
        assert_eq!((ending(word), ending(number)), (expect, expect), "{word} {number}");
    }
    // The first of these numbers is a refusal, and not the end of an answer.
    for (reason, expect) in
        [("\"SAFETY\"", Some(Ending::Refusal)), ("1", Some(Ending::Refusal)), ("0", None), ("null", None)]
    {
        assert_eq!(refused(reason), expect, "{reason}");
    }
}

#[test]
fn an_error_inside_a_success_is_told() {
    for (operation, text, code) in [
        (
            Operation::ChatCompletions,
            "event: error\ndata: {\"error\":{\"code\":\"tool_use_failed\"}}\n\n",
            "tool_use_failed",
        ),
        (Operation::ChatCompletions, "data: {\"choices\":[{}],\"error\":{\"code\":400}}\n\n", "400"),
        (
            Operation::Messages,
            "data: {\"type\":\"error\",\"error\":{\"type\":\"overloaded_error\"}}\n\n",
            "overloaded_error",
        ),
        (Operation::Responses, "data: {\"type\":\"error\",\"code\":\"x\",\"message\":\"m\"}\n\n", "x"),
        (
            Operation::Responses,
            "data: {\"type\":\"response.failed\",\"response\":{\"status\":\"failed\",\"error\":{\"code\":\"y\"}}}\n\n",
            "y",
        ),
        (Operation::GenerateContent, "[{\"error\":{\"code\":503,\"status\":\"UNAVAILABLE\"}}]", "UNAVAILABLE"),
    ] {
        let facts = facts(operation, text);
        assert_eq!((facts.error.as_deref(), facts.ending), (Some(code), Some(Ending::Failed)), "{text}");
        assert!(facts.terminal && facts.usage.is_none() && !facts.broken, "{text}");
    }
}

#[test]
fn the_body_of_an_error_is_never_metered() {
    let text = r#"{"error":{"code":"rate_limit_exceeded"},"usage":{"prompt_tokens":5,"completion_tokens":5}}"#;
    let facts = learn(Operation::ChatCompletions, Head { status: 429, ..OK }, &[text.as_bytes()]);
    assert_eq!((facts.usage, facts.error.as_deref()), (None, Some("rate_limit_exceeded")));
}

#[test]
fn what_cannot_be_read_is_unknown() {
    for text in
        [r#"{"usage":{"prompt_tokens":"#, r#"{"usage":}"#, "data: {\"choices\":[}\n\n", "data: {\"choices\":\n\n"]
    {
        let facts = facts(Operation::ChatCompletions, text);
        assert!(facts.broken && facts.usage.is_none(), "{text}");
    }
    for text in ["data: hello\n\n", ": only a comment\n\n", "data:\n\n", "<html>", "data: \"x\"\n\n"] {
        let facts = facts(Operation::ChatCompletions, text);
        assert!(!facts.broken && facts.usage.is_none(), "{text}");
    }
    let after =
        facts(Operation::ChatCompletions, "data: {]\n\ndata: {\"usage\":{\"prompt_tokens\":1}}\n\ndata: [DONE]\n\n");
    assert_eq!((counts(&after), after.broken, after.usage_final), (Some((1, 0)), true, true));
}

#[test]
fn an_event_of_16_mib_is_metered_in_little_memory() {
    let mut meter = Meter::new(Operation::ChatCompletions, OK);
    meter.feed(b"data: {\"choices\":[{\"delta\":{\"content\":\"");
    let piece = vec![b'x'; 64 * 1024];
    (0..256).for_each(|_| meter.feed(&piece));
    assert!(!meter.at_event_boundary());
    meter.feed(b"\"},\"finish_reason\":\"stop\"}],\"usage\":{\"prompt_tokens\":2,\"completion_tokens\":3}}\n\n");
    assert!(meter.at_event_boundary());
    let facts = meter.end();
    assert_eq!((counts(&facts), facts.text_bytes, facts.usage_final), (Some((2, 3)), 16 << 20, true));
}

/// Every coding of the same bytes.
fn codings(text: &[u8]) -> Vec<(&'static str, Vec<u8>)> {
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    let mut deflate = flate2::write::ZlibEncoder::new(Vec::new(), flate2::Compression::default());
    gzip.write_all(text).unwrap();
    deflate.write_all(text).unwrap();
    vec![
        ("gzip", gzip.finish().unwrap()),
        ("deflate", deflate.finish().unwrap()),
        ("zstd", zstd::encode_all(text, 3).unwrap()),
        ("br", stored_brotli(text)),
        (" identity ", text.to_vec()),
    ]
}

/// Brotli's uncompressed meta-blocks (RFC 7932, section 9.2), since there is no encoder here.
fn stored_brotli(text: &[u8]) -> Vec<u8> {
    let mut bits = Bits::default();
    bits.push(0, 1); // WBITS = 16
    for block in text.chunks(1 << 16) {
        bits.push(0, 1); // not last
        bits.push(0, 2); // four nibbles of length
        bits.push(u32::try_from(block.len() - 1).unwrap(), 16);
        bits.push(1, 1); // uncompressed
        bits.bytes_after_align(block);
    }
    bits.push(0b11, 2); // last and empty
    bits.finish()
}

#[derive(Default)]
struct Bits {
    bytes: Vec<u8>,
    used: u32,
}

impl Bits {
    fn push(&mut self, value: u32, count: u32) {
        for bit in 0..count {
            if self.used.is_multiple_of(8) {
                self.bytes.push(0);
            }
            let last = self.bytes.last_mut().unwrap();
            *last |= u8::from(value >> bit & 1 == 1) << (self.used % 8);
            self.used += 1;
        }
    }

    fn bytes_after_align(&mut self, bytes: &[u8]) {
        self.bytes.extend_from_slice(bytes);
        self.used = 0;
    }

    fn finish(self) -> Vec<u8> {
        self.bytes
    }
}

#[test]
fn a_compressed_answer_is_metered_all_the_same() {
    let text = events(&[
        r#"{"choices":[{"delta":{"content":"hello"},"finish_reason":"stop"}]}"#,
        r#"{"choices":[],"usage":{"prompt_tokens":7,"completion_tokens":8}}"#,
        "[DONE]",
    ]);
    let plain = learn(Operation::ChatCompletions, OK, &[text.as_bytes()]);
    for (coding, bytes) in codings(text.as_bytes()) {
        let head = Head { content_encoding: coding, ..OK };
        for size in [1, 7, bytes.len()] {
            let chunks: Vec<&[u8]> = bytes.chunks(size).collect();
            assert_eq!(learn(Operation::ChatCompletions, head, &chunks), plain, "{coding} in pieces of {size}");
        }
        if coding.trim() == "identity" {
            continue;
        }
        let cut = learn(Operation::ChatCompletions, head, &[&bytes[..bytes.len() / 2]]);
        assert!(cut.broken && !cut.terminal, "{coding}");
        let garbled = learn(Operation::ChatCompletions, head, &[b"no such thing, never"]);
        assert!(garbled.broken && garbled.usage.is_none(), "{coding}");
    }
    let unknown = learn(Operation::ChatCompletions, Head { content_encoding: "gzip, br", ..OK }, &[text.as_bytes()]);
    assert!(unknown.broken && unknown.usage.is_none());
}

#[test]
fn what_is_not_metered_is_left_alone() {
    let text = r#"{"usage":{"prompt_tokens":1}}"#;
    for operation in [Operation::Models, Operation::CountTokens, Operation::Unknown] {
        assert_eq!(facts(operation, text), Facts::default());
    }
    let head = Head { content_type: "audio/mpeg", ..OK };
    assert_eq!(learn(Operation::ChatCompletions, head, &[text.as_bytes()]), Facts::default());
}

proptest! {
    #[test]
    fn whole_and_streamed_answers_cost_the_same_in_any_splits(
        texts in prop::collection::vec("[a-z\"\\\\\n\u{e9}\u{1f600} ]{0,12}", 1..8),
        prompt in 0_u64..100_000, completion in 0_u64..100_000, cached in 0_u64..1_000, reasoning in 0_u64..1_000,
        line_end in prop::sample::select(vec!["\n", "\r\n", "\r"]),
        sizes in prop::collection::vec(1_usize..40, 1..20),
    ) {
        let json = |text: &str| serde_json::to_string(text).unwrap();
        let usage = format!(
            r#"{{"prompt_tokens":{prompt},"completion_tokens":{completion},"prompt_tokens_details":{{"cached_tokens":{cached}}},
            "completion_tokens_details":{{"reasoning_tokens":{reasoning}}}}}"#
        ).replace('\n', "");
        let whole = format!(
            r#"{{"choices":[{{"message":{{"content":"{}"}},"finish_reason":"stop"}}],"usage":{usage}}}"#,
            texts.iter().map(|text| { let text = json(text); text[1..text.len() - 1].to_owned() }).collect::<String>()
        );
        let mut stream = String::new();
        for text in &texts {
            stream += &format!("data: {{\"choices\":[{{\"delta\":{{\"content\":{}}}}}]}}{line_end}{line_end}", json(text));
        }
        stream += &format!("data: {{\"choices\":[{{\"delta\":{{}},\"finish_reason\":\"stop\"}}]}}{line_end}{line_end}");
        stream += &format!("data: {{\"choices\":[],\"usage\":{usage}}}{line_end}{line_end}data: [DONE]{line_end}{line_end}");
        let mut rest = stream.as_bytes();
        let mut meter = Meter::new(Operation::ChatCompletions, OK);
        for size in sizes.iter().cycle() {
            let (piece, left) = rest.split_at((*size).min(rest.len()));
            meter.feed(piece);
            rest = left;
            if rest.is_empty() {
                break;
            }
        }
        prop_assert_eq!(meter.end(), learn(Operation::ChatCompletions, OK, &[whole.as_bytes()]));
    }
}
