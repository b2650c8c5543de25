//! How long answers may take, and what clients of silent streams get meanwhile.

use http::Request;
use http_body_util::{BodyExt, Full};
use tollgate::config::{Config, Environment};
use tollgate::domain::entry::Outcome;
use tollgate::domain::operation::Operation;
use tollgate::domain::tokens::UsageSource;
use tollgate::mock::Settings;

use crate::wire::{Fake, Reply};
use crate::world::{self, World};

const CHAT: (&str, &str) =
    ("/v1/chat/completions", r#"{"model":"gpt-4o-mini","messages":[{"role":"user","content":"hi"}]}"#);
const RESPONSES: (&str, &str) = ("/v1/responses", r#"{"model":"gpt-4o-mini","input":"hi"}"#);
const MESSAGES: (&str, &str) = (
    "/v1/messages",
    r#"{"model":"claude-3-haiku-20240307","max_tokens":9,"messages":[{"role":"user","content":"hi"}]}"#,
);
const GENERATE: (&str, &str) =
    ("/v1beta/models/gemini-2.0-flash:generateContent", r#"{"contents":[{"parts":[{"text":"hi"}]}]}"#);
const EMBEDDINGS: (&str, &str) = ("/v1/embeddings", r#"{"model":"text-embedding-3-small","input":"hi"}"#);

const PING: &str = "event: ping\ndata: {\"type\": \"ping\"}\n\n";
const COMMENT: &str = ": keep-alive\n\n";

fn post(world: &World, (path, body): (&str, &str)) -> Request<Full<bytes::Bytes>> {
    let mut request = world.post(path, body.to_owned());
    request.headers_mut().insert("anthropic-version", "2023-06-01".parse().unwrap());
    request
}

fn settings(json: serde_json::Value) -> Settings {
    Settings::default().with_json(&json).unwrap()
}

/// A whole answer that does not come, or stops in the middle, ends after its second with 504 in its own dialect.
async fn check_whole(ask: (&str, &str), error: fn(&serde_json::Value) -> bool) {
    let world = World::start("upstream.total_timeout_s = 1\nupstream.other_timeout_s = 1").await;
    for fault in ["hang", "stall"] {
        world.mock.set(settings(serde_json::json!({ "fault": fault })));
        let answer = world.send(post(&world, ask)).await;
        assert_eq!(answer.status, 504, "{ask:?} {fault} {}", answer.text());
        assert_eq!(answer.header("x-tollgate-refused"), "upstream_timeout");
        assert!(error(&serde_json::from_str(answer.text()).unwrap()), "{}", answer.text());
    }
    for entry in world.entries().await {
        assert_eq!((entry.status, entry.outcome), (504, Outcome::Timeout), "{entry:?}");
        assert_eq!((entry.attempts.len(), entry.usage_source), (1, UsageSource::Assumed), "{entry:?}");
    }
}

#[tokio::test]
async fn a_whole_answer_has_its_time_and_no_more() {
    let openai: fn(&serde_json::Value) -> bool = |body| body["error"]["message"].is_string();
    check_whole(CHAT, openai).await;
    check_whole(RESPONSES, openai).await;
    check_whole(EMBEDDINGS, openai).await;
    check_whole(MESSAGES, |body| body["type"] == "error" && body["error"]["message"].is_string()).await;
    check_whole(GENERATE, |body| body["error"]["code"] == 504).await;
}

/// Opens a stream whose upstream falls silent behind `after` events, waits for keep-alives, lets it go on, and gives all of it.
async fn silent_stream(world: &World, ask: (&str, &str), after: &str, keep_alives: usize, text: &str) -> String {
    world.mock.set(settings(serde_json::json!({"gate": "silent", "gate-after": after, "chunks": 6, "tokens": 12})));
    let response = world.open(post(world, ask)).await;
    assert_eq!(response.status(), 200);
    let (mut body, mut all) = (response.into_body(), String::new());
    while let Some(frame) = body.frame().await {
        all += std::str::from_utf8(&frame.unwrap().into_data().unwrap()).unwrap();
        if all.matches(text).count() >= keep_alives {
            world.mock.gate("silent").open();
        }
    }
    all
}

/// A world whose models go to upstreams with keep-alives each second, and no time for whole answers.
async fn lively() -> World {
    let upstream = |name: &str, dialect: &str, models: &str| {
        format!(
            "[upstreams.{name}]\ndialect = \"{dialect}\"\nprovider = \"{dialect}\"\nmodels = [\"{models}\"]\nretries = 0\n\
             base_url = \"http://PROVIDER\"\napi_key = {{ env = \"PROVIDER_KEY\" }}\nkeep_alive_s = 1\ntotal_timeout_s = 1\n"
        )
    };
    World::start(&(upstream("lively", "openai", "gpt-*") + &upstream("vivid", "anthropic", "claude-*"))).await
}

#[tokio::test]
async fn silent_streams_are_kept_alive_between_events_and_outlive_whole_answers() {
    for (ask, said) in [(MESSAGES, PING), (CHAT, COMMENT), (RESPONSES, COMMENT)] {
        let body = ask.1.replacen('{', "{\"stream\":true,", 1);
        for after in ["0", "3"] {
            let world = lively().await;
            let got = silent_stream(&world, (ask.0, &body), after, 2, said).await;
            let count = got.matches(said).count();
            assert!(count >= 2, "{got}");
            let place = got.find(said).unwrap();
            assert!(place == 0 || got[..place].ends_with("\n\n"), "{got}");
            for data in got.lines().filter_map(|line| line.strip_prefix("data: ")).filter(|data| *data != "[DONE]") {
                assert!(serde_json::from_str::<serde_json::Value>(data).is_ok(), "{data:?} in {got}");
            }
            let entry = world.entries().await.pop().unwrap();
            assert_eq!((entry.outcome, entry.usage_source), (Outcome::Complete, UsageSource::Reported), "{got}");
            let metrics = tollgate::admin::state::metrics(&world.app);
            assert!(metrics.contains(&format!("tollgate_keep_alives_total {count}\n")), "{metrics}");
        }
    }
}

#[test]
fn answers_have_their_time_by_what_they_are() {
    let parse = |extra: &str| {
        let keys = ["openai", "anthropic", "gemini"]
            .map(|dialect| format!("[upstreams.{dialect}]\ndialect = \"{dialect}\"\n{extra}"));
        Config::parse(&keys.concat(), "t", &Environment::default())
    };
    let config = parse("").unwrap();
    let patience = config.upstreams[0].patience;
    let longest =
        |operation, is_stream, thinks| patience.longest(operation, is_stream, thinks).map(|longest| longest.as_secs());
    for operation in [Operation::ChatCompletions, Operation::Messages, Operation::Responses, Operation::GenerateContent]
    {
        assert_eq!([longest(operation, false, false), longest(operation, false, true)], [Some(120), Some(600)]);
        assert_eq!(longest(operation, true, true), None);
    }
    for operation in [Operation::Embeddings, Operation::Models, Operation::CountTokens, Operation::Moderations] {
        assert_eq!(longest(operation, false, true), Some(30), "{}", operation.name());
    }
    assert_eq!(longest(Operation::BatchResults, false, false), None);
    let lively: Vec<_> = config.upstreams.iter().map(|upstream| upstream.patience.keep_alive.is_some()).collect();
    assert_eq!(lively, [false, true, false]);
    assert!(parse("keep_alive_s = 5\n").unwrap_err().to_string().contains("upstreams.gemini.keep_alive_s"));
}

/// A stream whose last event is there, and whose connection stays open.
fn left_open(pieces: &[&str]) -> Reply {
    let event = "content-type: text/event-stream\r\n";
    let mut reply = Reply::chunked("200 OK", event, pieces.iter().map(|piece| piece.as_bytes()));
    reply.pieces.pop();
    reply
}

#[tokio::test]
async fn a_stream_that_has_said_all_ends_though_its_connection_stays_open() {
    let text = "data: {\"id\":\"c\",\"object\":\"chat.completion.chunk\",\"model\":\"gpt-4o-mini\",\"choices\":[{\"index\":0,\"delta\":{\"content\":\"hi\"},\"finish_reason\":\"stop\"}]}\n\n";
    let usage = "data: {\"id\":\"c\",\"object\":\"chat.completion.chunk\",\"model\":\"gpt-4o-mini\",\"choices\":[],\"usage\":{\"prompt_tokens\":9,\"completion_tokens\":1,\"total_tokens\":10}}\n\n";
    let (done, behind) = ("data: [DONE]\n\n", ": what comes at once behind it passes\n\n");
    let body = CHAT.1.replacen('{', "{\"stream\":true,\"stream_options\":{\"include_usage\":true},", 1);
    for is_cut in [false, true] {
        let fake = Fake::start(move |_| left_open(&[text, usage, done, behind])).await;
        let extra = "upstream.breaker_failures = 1\n[cache]\nmode = \"exact\"\nstore_sampled = true\n";
        let world = World::before(fake.address, world::provider().await.1, extra, world::PATIENCE).await;
        let begun = std::time::Instant::now();
        let response = world.open(post(&world, (CHAT.0, &body))).await;
        let (mut got, expect) = (String::new(), [text, usage, done, behind].concat());
        let mut left = response.into_body();
        while got.len() < expect.len() {
            got += std::str::from_utf8(&left.frame().await.unwrap().unwrap().into_data().unwrap()).unwrap();
        }
        if is_cut {
            world.app.drain.advance(tollgate::drain::Phase::Cutting);
        }
        got += std::str::from_utf8(&left.collect().await.unwrap().to_bytes()).unwrap();
        assert_eq!(got, expect);
        assert!(begun.elapsed() < std::time::Duration::from_secs(30), "{:?}", begun.elapsed());
        let entry = world.entries().await.pop().unwrap();
        assert_eq!((entry.outcome, entry.usage_source), (Outcome::Complete, UsageSource::Reported), "{entry:?}");
        assert_eq!(world.app.snapshot.load().provider("openai").unwrap().breakers.opened(), 0);
        if !is_cut {
            let again = world.send(post(&world, (CHAT.0, &body))).await;
            assert_eq!((again.header("x-tollgate-cache"), again.text(), fake.seen().len()), ("hit", &*expect, 1));
        }
    }
}

#[tokio::test]
async fn where_several_answer_the_end_of_the_first_is_not_that_of_all() {
    let event = "data: {\"candidates\":[{\"content\":{\"parts\":[{\"text\":\"hi\"}],\"role\":\"model\"},\"finishReason\":\"STOP\",\"index\":0}],\"usageMetadata\":{\"promptTokenCount\":9,\"candidatesTokenCount\":5,\"totalTokenCount\":14},\"modelVersion\":\"gemini-2.5-flash\"}\r\n\r\n";
    for (count, outcome) in [(1, Outcome::Complete), (2, Outcome::ClientAbort)] {
        let fake = Fake::start(move |_| left_open(&[event])).await;
        let caps = "[organisation.caps]\nday = \"10\"\n";
        let silence = std::time::Duration::from_millis(300);
        let world = World::before(fake.address, world::provider().await.1, caps, silence).await;
        let body = format!(
            r#"{{"contents":[{{"parts":[{{"text":"hi"}}]}}],"generationConfig":{{"candidateCount":{count},"maxOutputTokens":900}}}}"#
        );
        let path = "/v1beta/models/gemini-2.5-flash:streamGenerateContent?alt=sse";
        let response = world.open(post(&world, (path, &body))).await;
        let mut left = response.into_body();
        left.frame().await.unwrap().unwrap();
        drop(left);
        let entry = world.entries().await.pop().unwrap();
        let is_reported = entry.usage_source == UsageSource::Reported;
        assert_eq!((entry.outcome, is_reported), (outcome, count == 1), "{entry:?}");
    }
}
