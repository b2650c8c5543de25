//! Answers that are given only once, whatever the request allows: calls, refusals, odd endings, and what was looked up.

use std::sync::{Arc, Mutex};

use super::{CHAT, ask};
use crate::wire::{Fake, Reply};
use crate::world::{self, World};

const SAMPLED: &str = "[cache]\nmode = \"exact\"\nstore_sampled = true\n";

/// A Tollgate before an upstream that says what it is told.
pub struct Puppet {
    pub world: World,
    says: Arc<Mutex<(&'static str, String)>>,
}

impl Puppet {
    pub async fn start(extra: &str) -> Self {
        let says = Arc::<Mutex<(&'static str, String)>>::default();
        let words = says.clone();
        let fake = Fake::start(move |_| {
            let (content_type, body) = words.lock().unwrap().clone();
            Reply::whole("200 OK", &format!("content-type: {content_type}\r\n"), body)
        });
        let world = World::before(fake.await.address, world::provider().await.1, extra, world::PATIENCE).await;
        Self { world, says }
    }

    /// Asks twice what is answered with `answer`, a body or events; says whether the second was given what the first was.
    pub async fn keeps(&self, path: &str, body: &str, answer: &str) -> bool {
        let content_type = if answer.starts_with('{') { "application/json" } else { "text/event-stream" };
        *self.says.lock().unwrap() = (content_type, answer.to_owned());
        let mut again = String::new();
        for _ in 0..2 {
            let answer = ask(&self.world, path, body).await;
            assert_eq!(answer.1.status, 200, "{body} {answer:?}");
            again = answer.0;
        }
        again == "hit"
    }
}

fn events(data: &[&str]) -> String {
    data.iter().map(|data| format!("data: {data}\n\n")).collect()
}

/// A question that nobody has asked before.
fn question(path: &str, number: usize, stream: bool) -> String {
    let said = format!(r#"[{{"role":"user","content":"question {number}"}}]"#);
    match path {
        "/v1/responses" => format!(r#"{{"model":"gpt-4o","stream":{stream},"input":{said}}}"#),
        "/v1/messages" => format!(r#"{{"model":"claude","max_tokens":9,"stream":{stream},"messages":{said}}}"#),
        _ => format!(r#"{{"model":"gpt-4o","stream":{stream},"messages":{said}}}"#),
    }
}

async fn check(path: &str, cases: impl IntoIterator<Item = (String, bool)>) {
    let puppet = Puppet::start(SAMPLED).await;
    for (number, (answer, is_kept)) in cases.into_iter().enumerate() {
        let body = question(path, number, !answer.starts_with('{'));
        assert_eq!(puppet.keeps(path, &body, &answer).await, is_kept, "{answer}");
    }
}

/// A chat completion, and the same in events.
fn chats(message: &str, finish: &str, rest: &str, is_kept: bool) -> [(String, bool); 2] {
    let usage = r#""usage":{"prompt_tokens":9,"completion_tokens":1}"#;
    let rest = if rest.is_empty() { usage.to_owned() } else { rest.replace("USAGE", usage) };
    let whole = format!(r#"{{"choices":[{{"index":0,"message":{message},"finish_reason":{finish}}}],{rest}}}"#);
    let delta = format!(r#"{{"choices":[{{"index":0,"delta":{message},"finish_reason":null}}]}}"#);
    let last = format!(r#"{{"choices":[{{"index":0,"delta":{{}},"finish_reason":{finish}}}],{rest}}}"#);
    [(whole, is_kept), (events(&[&delta, &last, "[DONE]"]), is_kept)]
}

#[tokio::test]
async fn calls_and_refusals_beside_a_stop_are_not_kept() {
    let cases = [
        (r#"{"content":"hi"}"#, true),
        (r#"{"content":"hi","refusal":null,"function_call":null,"tool_calls":null,"annotations":[]}"#, true),
        (r#"{"content":"hi","refusal":"","tool_calls":[]}"#, true),
        (r#"{"content":null,"function_call":{"name":"f","arguments":"{}"}}"#, false),
        (r#"{"content":null,"function_call":{"name":"","arguments":"{"}}"#, false),
        (r#"{"content":null,"tool_calls":[{"type":"function","function":{"name":"f","arguments":""}}]}"#, false),
        (r#"{"content":null,"tool_calls":[{"type":"custom","custom":{"name":"f","input":"x"}}]}"#, false),
        (r#"{"content":null,"refusal":"I cannot help with that."}"#, false),
    ];
    check(CHAT, cases.into_iter().flat_map(|(message, is_kept)| chats(message, r#""stop""#, "", is_kept))).await;
}

#[tokio::test]
async fn what_is_not_known_to_have_ended_by_itself_is_not_kept() {
    let ended = ["stop", "STOP", "eos", "eos_token", "end_turn", "stop_sequence", "COMPLETE"];
    let odd = "insufficient_system_resource sensitive network_error abort cancelled timeout safety recitation MAX_TOKENS LENGTH \
               max_output_tokens length content_filter error Stop whatever";
    let words = ended.into_iter().map(|word| (word, true)).chain(odd.split_whitespace().map(|word| (word, false)));
    let chats = words.flat_map(|(word, is_kept)| chats(r#"{"content":"hi"}"#, &format!("{word:?}"), "", is_kept));
    let failed =
        r#"{"choices":[{"message":{"content":"hi"},"finish_reason":"stop","error":{"code":502,"message":"x"}}]}"#;
    check(CHAT, chats.chain([(failed.to_owned(), false)])).await;
    let message = |word: &str| {
        let usage = r#""usage":{"input_tokens":9,"output_tokens":1}"#;
        let start = format!(r#"{{"type":"message_start","message":{{"model":"claude",{usage}}}}}"#);
        let text = r#"{"type":"content_block_delta","delta":{"type":"text_delta","text":"hi"}}"#;
        let delta = format!(r#"{{"type":"message_delta","delta":{{"stop_reason":"{word}"}},{usage}}}"#);
        let whole =
            format!(r#"{{"type":"message","content":[{{"type":"text","text":"hi"}}],"stop_reason":"{word}",{usage}}}"#);
        [whole, events(&[&start, text, &delta, r#"{"type":"message_stop"}"#])]
    };
    let words =
        [("end_turn", true), ("stop_sequence", true), ("pause_turn", false), ("refusal", false), ("new", false)];
    check("/v1/messages", words.iter().flat_map(|(word, is_kept)| message(word).map(|answer| (answer, *is_kept))))
        .await;
}

/// A response, and the same in events of which the last lists nothing.
fn responses(part: &str, event: &str, rest: &str, is_kept: bool) -> [(String, bool); 3] {
    let usage = r#""usage":{"input_tokens":9,"output_tokens":1}"#;
    let output = format!(r#"[{{"type":"message","content":[{part}]}}]"#);
    let response = |output: &str| format!(r#"{{"id":"r","status":"completed","output":{output},{usage}{rest}}}"#);
    let last = |output: &str| format!(r#"{{"type":"response.completed","response":{}}}"#, response(output));
    let deltas = r#"{"type":"response.output_text.delta","delta":"hi"}"#;
    let listed = events(&[deltas, &last(&output)]);
    [(response(&output), is_kept), (listed, is_kept), (events(&[deltas, event, &last("[]")]), is_kept)]
}

#[tokio::test]
async fn a_response_that_refuses_or_quotes_the_web_is_not_kept() {
    let nothing = r#"{"type":"response.in_progress"}"#;
    let cases = [
        responses(r#"{"type":"output_text","text":"hi","annotations":[]}"#, nothing, "", true),
        responses(
            r#"{"type":"refusal","refusal":"I cannot."}"#,
            r#"{"type":"response.refusal.done","refusal":"I cannot."}"#,
            "",
            false,
        ),
        responses(
            r#"{"type":"output_text","text":"hi","annotations":[{"type":"url_citation","url":"https://x"}]}"#,
            r#"{"type":"response.output_text.annotation.added","annotation":{"type":"url_citation","url":"https://x"}}"#,
            "",
            false,
        ),
        responses(r#"{"type":"output_text","text":"hi"}"#, nothing, r#","citations":["https://x"]"#, false),
    ];
    check("/v1/responses", cases.into_iter().flatten()).await;
}

#[tokio::test]
async fn what_was_looked_up_is_not_kept() {
    let said = r#"{"content":"hi","role":"assistant"}"#;
    let stop = r#""stop""#;
    let used = |count: &str| format!(r#""usage":{{"prompt_tokens":9,"completion_tokens":1,{count}}}"#);
    let with = |more: &str| format!(r#"{{"content":"hi",{more}}}"#);
    let cases = [
        chats(said, stop, &used(r#""num_sources_used":0,"num_search_queries":null"#), true),
        chats(said, stop, &used(r#""num_sources_used":3"#), false),
        chats(said, stop, &used(r#""num_search_queries":1"#), false),
        chats(said, stop, r#""citations":[],"search_results":null,USAGE"#, true),
        chats(said, stop, r#""citations":["https://x"],USAGE"#, false),
        chats(said, stop, r#""search_results":[{"url":"https://x"}],USAGE"#, false),
        chats(&with(r#""annotations":[{"type":"url_citation","url_citation":{}}]"#), stop, "", false),
        chats(&with(r#""executed_tools":[]"#), stop, "", true),
        chats(&with(r#""executed_tools":[{"type":"search"}]"#), stop, "", false),
        chats(&with(r#""context":{"citations":[{}]}"#), stop, "", false),
    ];
    check(CHAT, cases.into_iter().flatten()).await;
}
