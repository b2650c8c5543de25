//! Requests that are written to cost more than they seem to: the worst case is held for what a provider may make of them, or they
//! are refused.

use std::io::Write;

use flate2::write::GzEncoder;
use tollgate::domain::money::Usd;

use crate::world::World;

const CHAT: &str = "/v1/chat/completions";
const RESPONSES: &str = "/v1/responses";
const MESSAGES: &str = "/v1/messages";
const GEMINI: &str = "/v1beta/models/gemini-2.5-pro:generateContent";
const EMBED: &str = "/v1beta/models/gemini-embedding-001:embedContent";

/// What gpt-4o costs for all that it can put out, 16,384 tokens at $10 a million, and for its whole context, 128,000 at $2.50.
const WHOLE_OUTPUT: &str = "0.16384";
const WHOLE_CONTEXT: &str = "0.32";

/// At least so much is held, or it is refused for this reason.
#[derive(Clone, Copy, Debug)]
enum Fate {
    Held(&'static str),
    Refused(&'static str),
}

use Fate::{Held, Refused};

fn chat(more: &str) -> String {
    format!(r#"{{"model":"gpt-4o","messages":[{{"role":"user","content":"hi"}}]{more}}}"#)
}

fn block(block: &str) -> String {
    format!(r#"{{"model":"gpt-4o","max_tokens":9,"messages":[{{"role":"user","content":[{block}]}}]}}"#)
}

/// Sends each under a cap with room for anything that has a bound.
async fn check(cases: &[(&str, String, Fate)]) {
    let world = World::start("server.unknown_paths = \"forward\"\n[organisation]\ncaps = { day = \"1000\" }").await;
    for (path, body, fate) in cases {
        let mut request = world.post(path, body.clone());
        request.headers_mut().insert("anthropic-version", "2023-06-01".parse().unwrap());
        judge(&world, request, *fate, &format!("{path} {body}")).await;
    }
}

async fn judge(world: &World, request: http::Request<http_body_util::Full<bytes::Bytes>>, fate: Fate, about: &str) {
    let before = world.mock.requests_total();
    let answer = world.send(request).await;
    let (refused, text) = (answer.header("x-tollgate-refused").to_owned(), answer.text().to_owned());
    let asked = world.mock.requests_total() > before;
    match fate {
        Held(least) => {
            let id = answer.header("x-tollgate-request-id").to_owned();
            let entries = world.entries().await;
            let quote = entries.iter().find(|entry| entry.id.to_string() == id).and_then(|entry| entry.quote);
            let is_enough = quote.is_some_and(|quote| quote >= Usd::parse(least).unwrap());
            assert!(asked && is_enough, "{about}: {quote:?} is less than {least}; {refused} {text}");
        }
        Refused(why) => assert!(!asked && text.contains(why), "{about}: not {why} but {refused:?} {text}"),
    }
}

#[tokio::test]
async fn a_limit_that_may_be_none_is_none() {
    let limits = ["", "null", "0", "-1", "1.5", "1e9", "\"9\"", "true", "[9]", "{}", "999999999999999999999999999999"];
    let field = |name: &str, limit: &str| match limit {
        "" => String::new(),
        limit => format!(",\"{name}\":{limit}"),
    };
    let mut cases = Vec::new();
    for limit in limits {
        cases.push((CHAT, chat(&field("max_tokens", limit)), Held(WHOLE_OUTPUT)));
        cases.push((CHAT, chat(&field("max_completion_tokens", limit)), Held(WHOLE_OUTPUT)));
        let responses = format!(r#"{{"model":"gpt-4o","input":"hi"{}}}"#, field("max_output_tokens", limit));
        cases.push((RESPONSES, responses, Held(WHOLE_OUTPUT)));
        if limit == "\"9\"" {
            // Google's parser takes it for a number.
            continue;
        }
        // 65,536 tokens at $10 a million.
        let settings = field("maxOutputTokens", limit).replacen(',', "", 1);
        let gemini = format!(r#"{{"contents":[{{"parts":[{{"text":"hi"}}]}}],"generationConfig":{{{settings}}}}}"#);
        cases.push((GEMINI, gemini, Held("0.655")));
    }
    // Which of two counts is the parser's choice.
    for both in [
        r#","max_tokens":9,"max_tokens":16000"#,
        r#","max_tokens":16000,"max_tokens":9"#,
        r#","max_tokens":9,"max_completion_tokens":99999"#,
        r#","max_tokens":9,"max\u005ftokens":16384"#,
    ] {
        cases.push((CHAT, chat(both), Held("0.16")));
    }
    let twice = r#"{"contents":[{"parts":[{"text":"hi"}]}],"generationConfig":{"maxOutputTokens":9},"generation_config":{"maxOutputTokens":65536}}"#;
    cases.push((GEMINI, twice.into(), Held("0.655")));
    check(&cases).await;
}

#[tokio::test]
async fn answers_count_as_often_as_they_may_be_made() {
    let n = |n: &str| chat(&format!(",\"max_tokens\":1000{n}"));
    let candidates = |settings: &str| {
        format!(
            r#"{{"contents":[{{"parts":[{{"text":"hi"}}]}}],"generationConfig":{{"maxOutputTokens":1000{settings}}}}}"#
        )
    };
    check(&[
        (CHAT, n(",\"n\":128"), Held("1.28")),
        (CHAT, n(",\"n\":\"128\""), Held("1.28")),
        (CHAT, n(",\"\\u006e\":128"), Held("1.28")),
        (CHAT, n(",\"n\":128,\"n\":1"), Held("1.28")),
        (CHAT, n(",\"n\":0"), Held("0.01")),
        (CHAT, n(",\"n\":-1"), Refused("odd_field")),
        (CHAT, n(",\"n\":1.5"), Refused("odd_field")),
        (CHAT, n(",\"n\":99999999999999999999999999"), Refused("spend cap")),
        (GEMINI, candidates(",\"candidateCount\":8"), Held("0.08")),
        (GEMINI, candidates(",\"candidate_count\":8"), Held("0.08")),
        ("/v1/completions", r#"{"model":"gpt-3.5-turbo-instruct","prompt":["a","b","c"],"max_tokens":1000,"best_of":20}"#.into(), Held("0.12")),
        (CHAT, chat(",\"max_tokens\":9,\"service_tier\":\"priority\",\"service_tier\":\"default\""), Refused("odd_field")),
        (MESSAGES, r#"{"model":"claude-haiku-4-5","max_tokens":9,"messages":[{"role":"user","content":"hi"}],"speed":"fast","speed":"standard"}"#.into(), Refused("odd_field")),
    ])
    .await;
}

#[tokio::test]
async fn what_the_body_does_not_hold_is_the_whole_context() {
    let context = Held(WHOLE_CONTEXT);
    let responses = |more: &str| format!(r#"{{"model":"gpt-4o","input":"hi","max_output_tokens":16{more}}}"#);
    let embed = |part: &str| format!(r#"{{"content":{{"parts":[{part}]}}}}"#);
    let system = r#"{"contents":[{"parts":[{"text":"hi"}]}],"generationConfig":{"maxOutputTokens":9},"systemInstruction":{"parts":[{"fileData":{"fileUri":"https://x/1"}}]}}"#;
    check(&[
        (RESPONSES, responses(r#","previous_response_id":"resp_1""#), context),
        (RESPONSES, responses(r#","conversation":"conv_1""#), context),
        (RESPONSES, responses(r#","prompt":{"id":"pmpt_1"}"#), context),
        (RESPONSES, responses("").replace(r#""hi""#, r#"[{"type":"item_reference","id":"msg_1"}]"#), context),
        (RESPONSES, responses("").replace(r#""hi""#, r#"[{"type":"what_comes_to_be","id":"x"}]"#), context),
        (CHAT, block(r#"{"type":"input_audio","input_audio":{"data":"AA==","format":"wav"}}"#), context),
        (CHAT, block(r#"{"type":"file","file":{"file_id":"file-1"}}"#), context),
        (CHAT, block(r#"{"type":"what_comes_to_be","x":1}"#), context),
        // 50,000 tokens, the most of any model, at $2.50 a million.
        (CHAT, block(r#"{"type":"image_url","image_url":{"url":"https://x/1.png"}}"#), Held("0.125")),
        (CHAT, chat(r#","max_tokens":9,"prediction":{"type":"content","content":"a"}"#), Held("0.0004")),
        // A million tokens at the price of a long prompt, $2.50.
        (GEMINI, system.into(), Held("2.5")),
        // 2,048 tokens at $0.15 a million.
        (EMBED, embed(r#"{"fileData":{"fileUri":"https://x/1"}}"#), Held("0.0003")),
        (EMBED, embed(r#"{"inline_data":{"mime_type":"audio/wav","data":"AA=="}}"#), Held("0.0003")),
    ])
    .await;
}

#[tokio::test]
async fn another_encoding_or_method_hides_nothing() {
    let world = World::start("server.unknown_paths = \"forward\"\n[organisation]\ncaps = { day = \"1000\" }").await;
    let mut packed = GzEncoder::new(Vec::new(), flate2::Compression::fast());
    packed.write_all(chat(",\"max_tokens\":1000,\"n\":128").as_bytes()).unwrap();
    let mut request = world.post(CHAT, packed.finish().unwrap());
    request.headers_mut().insert("content-encoding", "gzip".parse().unwrap());
    judge(&world, request, Held("1.28"), "packed").await;
    // Google's APIs would make a cache of it.
    let mut request = world.post("/v1beta/cachedContents", r#"{"model":"models/gemini-2.5-pro","contents":[]}"#);
    *request.method_mut() = http::Method::GET;
    request.headers_mut().insert("x-http-method-override", "POST".parse().unwrap());
    judge(&world, request, Refused("unbounded: unknown_path"), "overridden").await;
    let mut request = world.post(CHAT, chat(",\"max_tokens\":1000"));
    request.headers_mut().insert("x-http-method-override", "POST".parse().unwrap());
    judge(&world, request, Held("0.01"), "the same method").await;
}
