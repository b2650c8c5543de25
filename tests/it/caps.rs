//! Spend caps over real sockets, against the bill that the mock keeps for itself.

mod hostile;
mod routes;
mod scopes;

use std::sync::Arc;

use bytes::Bytes;
use http::{Request, StatusCode};
use http_body_util::{BodyExt, Full};
use serde_json::Value;
use tollgate::domain::adjustment::{Adjustment, Direction};
use tollgate::domain::entry::Entry;
use tollgate::domain::money::Usd;

use super::world::{KEY, World};

const CHAT: &str = "/v1/chat/completions";

fn usd(text: &str) -> Usd {
    Usd::parse(text).unwrap()
}

fn chat(tokens: u64, stream: bool) -> String {
    format!(
        r#"{{"model":"gpt-4o","max_tokens":{tokens},"stream":{stream},"messages":[{{"role":"user","content":"count"}}]}}"#
    )
}

/// Asks like a client that may leave in the middle of a stream.
async fn ask(world: &World, number: u64, tokens: u64, wanted: u64) -> StatusCode {
    let stream = number.is_multiple_of(2);
    let mut request = world.post(CHAT, chat(tokens, stream));
    let length = (wanted * (1 + number % 3) / 2).to_string();
    request.headers_mut().insert("x-mock-tokens", length.parse().unwrap());
    let response = world.open(request).await;
    let status = response.status();
    let mut body = response.into_body();
    if stream && number.is_multiple_of(5) {
        let _first = body.frame().await;
        return status;
    }
    let _whole = body.collect().await;
    status
}

async fn run(world: &Arc<World>, clients: u64, requests: u64, tokens: u64, wanted: u64) -> (u64, u64) {
    let tasks: Vec<_> = (0..clients)
        .map(|client| {
            let world = world.clone();
            tokio::spawn(async move {
                let (mut served, mut refused) = (0, 0);
                for number in 0..requests {
                    match ask(&world, client * 7 + number, tokens, wanted).await {
                        StatusCode::OK => served += 1,
                        StatusCode::BAD_REQUEST => refused += 1,
                        other => panic!("{other}"),
                    }
                }
                (served, refused)
            })
        })
        .collect();
    let mut sum = (0, 0);
    for task in tasks {
        let (served, refused) = task.await.unwrap();
        sum = (sum.0 + served, sum.1 + refused);
    }
    world.settled().await;
    sum
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn many_clients_never_pass_a_small_cap() {
    let world = Arc::new(World::start("[organisation]\ncaps = { day = \"0.5\" }").await);
    let (served, refused) = run(&world, 40, 20, 2_000, 400).await;
    let billed = world.mock.bill().total();
    assert!(served > 20 && refused > 20, "{served} served, {refused} refused");
    assert!(billed <= usd("0.5"), "billed {billed}");
    let standing = world.app.bank.standings().remove(0);
    assert_eq!(standing.held, Usd::ZERO);
    let entries = world.entries().await;
    assert_eq!(standing.spent, entries.iter().filter_map(|entry| entry.cost).sum());
    assert!(billed <= standing.spent, "billed {billed}, spent {}", standing.spent);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn shrinking_uses_the_last_cents() {
    let world = Arc::new(World::start("[organisation]\ncaps = { day = \"1\" }\non_exceed = \"shrink\"").await);
    // A quote is below half a cent: 0.0025 a thousand tokens in, 0.01 out.
    let (served, refused) = run(&world, 32, 24, 300, 100_000).await;
    let (billed, spent) = (world.mock.bill().total(), world.app.bank.standings().remove(0).spent);
    assert!(served > 20 && refused > 0, "{served} served, {refused} refused");
    assert!(billed <= usd("1") && spent <= usd("1"), "billed {billed}, spent {spent}");
    assert!(billed >= usd("0.97"), "billed {billed}");
}

#[tokio::test]
async fn near_the_cap_the_output_is_limited_in_every_dialect() {
    for (path, body, field) in [
        (CHAT, r#"{"model":"gpt-4o","messages":[{"role":"user","content":"hi"}]}"#, "/max_completion_tokens"),
        (CHAT, r#"{"model":"gpt-4o","max_tokens":9000,"messages":[{"role":"user","content":"hi"}]}"#, "/max_tokens"),
        ("/v1/responses", r#"{"model":"gpt-4o","input":"hi"}"#, "/max_output_tokens"),
        (
            "/v1/messages",
            r#"{"model":"claude-haiku-4-5","max_tokens":60000,"messages":[{"role":"user","content":"hi"}]}"#,
            "/max_tokens",
        ),
        (
            "/v1beta/models/gemini-2.5-pro:generateContent",
            r#"{"contents":[{"role":"user","parts":[{"text":"hi"}]}],"generationConfig":{"temperature":0}}"#,
            "/generationConfig/maxOutputTokens",
        ),
    ] {
        let world = World::start("[organisation]\ncaps = { day = \"0.02\" }\non_exceed = \"shrink\"").await;
        let mut request = world.post(path, body);
        if path.contains("messages") {
            request.headers_mut().insert("anthropic-version", "2023-06-01".parse().unwrap());
        }
        let answer = world.send(request).await;
        assert_eq!(answer.status, 200, "{path}: {}", answer.text());
        let limit: u64 = answer.header("x-tollgate-max-tokens").parse().unwrap();
        let sent: Value = serde_json::from_slice(&world.mock.requests()[0].body).unwrap();
        assert_eq!(sent.pointer(field), Some(&Value::from(limit)), "{path}: {sent}");
        assert!(limit >= 256);
    }
}

#[tokio::test]
async fn an_exhausted_key_reaches_no_upstream_on_any_route() {
    let world = World::start(
        "server.unknown_paths = \"forward\"\n[teams.search2]\n[organisation]\ncaps = { month = \"0.0000001\" }",
    )
    .await;
    let media = r#"{"model":"gpt-4o","messages":[{"role":"user","content":"hi"}],"max_tokens":9}"#;
    for (path, body) in [
        (CHAT, media),
        ("/chat/completions", media),
        ("/u/openai/v1/chat/completions", media),
        ("/v1/responses", r#"{"model":"gpt-4o","input":"hi"}"#),
        ("/v1/responses", r#"{"model":"gpt-4o","input":"hi","background":true}"#),
        ("/v1/embeddings", r#"{"model":"text-embedding-3-small","input":"hi"}"#),
        ("/v1/messages", r#"{"model":"claude-haiku-4-5","max_tokens":9,"messages":[{"role":"user","content":"hi"}]}"#),
        ("/v1/completions", r#"{"model":"gpt-3.5-turbo-instruct","prompt":"hi","max_tokens":9}"#),
        ("/v1/anything", "{}"),
        ("/v1beta/models/gemini-2.5-pro:generateContent", r#"{"contents":[{"role":"user","parts":[{"text":"hi"}]}]}"#),
        (
            "/v1beta/models/gemini-2.5-pro:streamGenerateContent",
            r#"{"contents":[{"role":"user","parts":[{"text":"hi"}]}]}"#,
        ),
        ("/v1beta/models/gemini-embedding-001:embedContent", r#"{"content":{"parts":[{"text":"hi"}]}}"#),
        (CHAT, r#"{"model":"nobody-knows-it","max_tokens":9,"messages":[{"role":"user","content":"hi"}]}"#),
        (
            CHAT,
            r#"{"model":"gpt-4o","max_tokens":9,"messages":[{"role":"user","content":"hi"}],"web_search_options":{}}"#,
        ),
    ] {
        let answer = world.send(world.post(path, body)).await;
        assert_eq!(answer.status, 400, "{path} {body}: {}", answer.text());
        assert_eq!(answer.header("x-should-retry"), "false", "{path}");
        assert_eq!(answer.header("retry-after"), "", "{path}");
    }
    assert_eq!(world.mock.requests_total(), 0);
    let mut count = world.post(
        "/v1/messages/count_tokens",
        r#"{"model":"claude-haiku-4-5","messages":[{"role":"user","content":"hi"}]}"#,
    );
    count.headers_mut().insert("anthropic-version", "2023-06-01".parse().unwrap());
    assert_eq!(world.send(count).await.status, 200, "counting is free");
}

#[tokio::test]
async fn what_has_no_bound_is_refused_under_a_cap_however_much_room_there_is() {
    let world = World::start("server.unknown_paths = \"forward\"\n[organisation]\ncaps = { day = \"1000000\" }").await;
    for (path, body, why) in [
        ("/v1/images/generations", r#"{"model":"gpt-image-1","prompt":"x"}"#, "media"),
        ("/v1/images/edits", r#"{"model":"gpt-image-1","prompt":"x"}"#, "media"),
        ("/v1/audio/speech", r#"{"model":"tts-1","input":"x","voice":"alloy"}"#, "media"),
        ("/v1/batches", "{}", "batch"),
        ("/v1/messages/batches", "{}", "batch"),
        ("/v1beta/interactions", r#"{"model":"gemini-2.5-pro","input":"hi"}"#, "interactions"),
        ("/v1beta/cachedContents", r#"{"model":"models/gemini-2.5-pro","contents":[]}"#, "stored_cache"),
        ("/v1/anything", "{}", "unknown_path"),
        ("/v1/responses", r#"{"model":"gpt-4o","input":"hi","background":true}"#, "background"),
    ] {
        let answer = world.send(world.post(path, body)).await;
        assert_eq!(answer.status, 400, "{path}: {}", answer.text());
        assert_eq!(answer.header("x-tollgate-refused"), "unbounded", "{path}: {}", answer.text());
        assert!(answer.text().contains(&format!("unbounded: {why}: ")), "{path}: {}", answer.text());
    }
    for path in ["/v1/files/file-1/content", "/v1/messages/batches/b1/results"] {
        let mut request = world.post(path, "");
        *request.method_mut() = http::Method::GET;
        let answer = world.send(request).await;
        assert!(answer.text().contains("unbounded: batch: "), "{path}: {} {}", answer.status, answer.text());
    }
    assert_eq!(world.mock.requests_total(), 0);
    for path in ["/v1/files", "/v1/batches", "/v1/batches/b1", "/v1/models"] {
        let mut request = world.post(path, "");
        *request.method_mut() = http::Method::GET;
        let answer = world.send(request).await;
        assert_eq!(answer.header("x-tollgate-refused"), "", "{path} is free: {}", answer.text());
    }
    assert!(world.mock.requests_total() > 0);
}

#[tokio::test]
async fn a_correction_makes_and_takes_room() {
    let world = World::start("[organisation]\ncaps = { day = \"1\" }").await;
    let at_ms = world.app.clock.now_ms();
    let mut adjustment = Adjustment {
        id: world.app.mint.request_id(at_ms),
        at_ms,
        account: Entry::blank().account,
        upstream: "".into(),
        model: "".into(),
        direction: Direction::Charge,
        amount: usd("1"),
        actor: "ada".into(),
        reason: "billed otherwise".into(),
        request: None,
    };
    let snapshot = world.app.snapshot.load();
    world.app.bank.adjust(&adjustment, &snapshot.config).await.unwrap();
    assert_eq!(world.send(world.post(CHAT, chat(9, false))).await.status, 400);
    adjustment.direction = Direction::Credit;
    world.app.bank.adjust(&adjustment, &snapshot.config).await.unwrap();
    assert_eq!(world.send(world.post(CHAT, chat(9, false))).await.status, 200);
}

#[tokio::test]
async fn a_refusal_says_which_cap_and_what_to_do() {
    let world = World::start("[models.\"gpt-*\"]\ncaps = { day = \"0.001\" }\n[money]\nrefusal_status = 402").await;
    let answer = world.send(world.post(CHAT, chat(2_000, false))).await;
    assert_eq!(answer.status, 402);
    let body: Value = serde_json::from_slice(&answer.body).unwrap();
    let error = &body["error"];
    assert_eq!((&error["type"], &error["code"]), (&"insufficient_quota".into(), &"insufficient_quota".into()));
    let told = &error["tollgate"];
    assert_eq!((&told["scope"], &told["name"], &told["window"]), (&"model".into(), &"gpt-*".into(), &"day".into()));
    assert_eq!((&told["cap_usd"], &told["spent_usd"]), (&"0.001".into(), &"0".into()));
    let message = error["message"].as_str().unwrap();
    assert!(message.contains(answer.header("x-tollgate-request-id")), "{message}");
    assert!(message.contains(told["resets_at"].as_str().unwrap()), "{message}");
    assert_eq!(world.entries().await[0].status, 402);
}

#[tokio::test]
async fn a_request_may_limit_its_own_cost() {
    let world = World::start("").await;
    let with = |max: &str| -> Request<Full<Bytes>> {
        let mut request = world.post(CHAT, chat(1_000, false));
        request.headers_mut().insert("x-tollgate-max-cost-usd", max.parse().unwrap());
        request
    };
    for (max, status) in [("0.05", 200), ("0.001", 400), ("much", 400)] {
        assert_eq!(world.send(with(max)).await.status, status, "{max} with {KEY}");
    }
    assert_eq!(world.mock.requests_total(), 1);
}

#[tokio::test]
async fn a_model_that_costs_nothing_stays_usable() {
    let extra = "[organisation]\ncaps = { day = \"0\" }\n[prices.\"local-llm\"]\ninput = \"0\"\noutput = \"0\"\nmax_output = 100\ncontext = 1000";
    let world = World::start(extra).await;
    let answer =
        world.send(world.post(CHAT, r#"{"model":"local-llm","messages":[{"role":"user","content":"hi"}]}"#)).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    assert_eq!(world.send(world.post(CHAT, chat(9, false))).await.status, 400);
}
