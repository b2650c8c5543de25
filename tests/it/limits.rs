//! Rate limits as clients meet them: over sockets, with a clock that the tests set.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use http::Request;
use http_body_util::Full;
use tollgate::app::Surroundings;
use tollgate::clock::Clock;
use tollgate::domain::entry::Outcome;

use crate::world::{Answer, World};

/// A Tuesday in 2026.
const START_US: u64 = 1_795_000_000_000_000;

/// A world and the hands of its clock.
async fn world(limits: &str) -> (World, Arc<AtomicU64>) {
    let now_us = Arc::new(AtomicU64::new(START_US));
    let surroundings = Surroundings { clock: Clock::Manual(now_us.clone()), ..Surroundings::default() };
    (World::on(limits, surroundings).await, now_us)
}

fn chat(world: &World, output_tokens: u64) -> Request<Full<bytes::Bytes>> {
    world.post("/v1/chat/completions", chat_body(output_tokens))
}

/// A request whose text has 4 bytes: one token, and the answer's.
fn chat_body(output_tokens: u64) -> String {
    format!(
        r#"{{"model":"gpt-5-mini","max_completion_tokens":{output_tokens},"messages":[{{"role":"user","content":"hi"}}]}}"#
    )
}

fn with(mut request: Request<Full<bytes::Bytes>>, headers: &[(&'static str, &str)]) -> Request<Full<bytes::Bytes>> {
    for (name, value) in headers {
        request.headers_mut().insert(*name, value.parse().unwrap());
    }
    request
}

fn number(answer: &Answer, header: &str) -> u64 {
    answer.header(header).parse().unwrap_or_else(|_| panic!("{header}: {answer:?}"))
}

fn remaining(answer: &Answer, what: &str) -> u64 {
    number(answer, &format!("x-tollgate-ratelimit-remaining-{what}"))
}

/// A free request with a key's credential, by which the limits are read.
async fn models(world: &World) -> Answer {
    let mut request = world.post("/v1/models", "");
    *request.method_mut() = http::Method::GET;
    world.send(request).await
}

#[tokio::test]
async fn a_minute_holds_its_requests_and_retry_after_is_true() {
    let (world, now_us) = world("[keys.ci.limits]\nrequests_per_minute = 3").await;
    for left in [2, 1, 0] {
        now_us.fetch_add(7_000_000, Ordering::Relaxed);
        let answer = world.send(chat(&world, 5)).await;
        assert_eq!((answer.status.as_u16(), remaining(&answer, "requests")), (200, left), "{answer:?}");
    }
    for _ in 0..5 {
        let answer = world.send(chat(&world, 5)).await;
        assert_eq!(answer.status, 429);
        // 14 of 60 seconds have passed since the first.
        assert_eq!((answer.header("retry-after"), answer.header("retry-after-ms")), ("46", "46000"));
        assert_eq!(answer.header("x-tollgate-refused"), "rate_limited");
        assert_eq!(number(&answer, "x-tollgate-ratelimit-limit-requests"), 3);
        assert_eq!(number(&answer, "x-tollgate-ratelimit-reset-requests"), 60);
    }
    now_us.fetch_add(45_999_000, Ordering::Relaxed);
    assert_eq!(world.send(chat(&world, 5)).await.header("retry-after-ms"), "1");
    now_us.fetch_add(1_000, Ordering::Relaxed);
    assert_eq!(world.send(chat(&world, 5)).await.status, 200);
    assert_eq!(world.send(chat(&world, 5)).await.header("retry-after"), "7");
    let refused: u32 = world
        .entries()
        .await
        .iter()
        .filter(|entry| entry.outcome == Outcome::Refused && &*entry.reason == "rate_limited")
        .map(|entry| entry.requests)
        .sum();
    assert_eq!((refused, world.mock.requests_total()), (7, 4));
    let metrics = world.app.metrics.render();
    assert!(
        metrics.contains("tollgate_rate_limited_total{scope=\"key\",limit=\"requests_per_minute\"} 7"),
        "{metrics}"
    );
}

#[tokio::test]
async fn fifty_calls_of_fifty_tokens_at_a_hundred_a_minute_are_two() {
    let (world, _) = world("[teams.search.limits]\ntokens_per_minute = 100\nin_flight = 40").await;
    let send = |_| {
        let request = with(chat(&world, 49), &[("x-mock-gate", "shut"), ("x-mock-tokens", "49")]);
        let client = world.client.clone();
        tokio::spawn(async move { client.request(request).await.unwrap().status().as_u16() })
    };
    let calls: Vec<_> = (0..50).map(send).collect();
    let (mut admitted, mut refused) = (Vec::new(), 0);
    // 48 are refused while two stand before the gate.
    for call in calls {
        admitted.push(call);
    }
    while refused < 48 {
        let before = admitted.len();
        let mut waiting = Vec::new();
        for call in admitted {
            if call.is_finished() {
                assert_eq!(call.await.unwrap(), 429);
                refused += 1;
            } else {
                waiting.push(call);
            }
        }
        admitted = waiting;
        assert!(before >= admitted.len());
        tokio::task::yield_now().await;
    }
    world.mock.gate("shut").open();
    for call in admitted {
        assert_eq!(call.await.unwrap(), 200);
    }
    world.settled().await;
    assert_eq!(world.mock.requests_total(), 2);
}

#[tokio::test]
async fn tokens_are_corrected_by_the_usage_that_is_reported() {
    let (world, _) = world("[keys.ci.limits]\ntokens_per_minute = 100000\nrequests_per_day = 1000").await;
    let mut left = 100_000;
    for stream in ["", ",\"stream\":true"] {
        for max in [20, 4_000] {
            let body = chat_body(max).replace(",\"messages\"", &format!("{stream},\"messages\""));
            let headers = [("x-mock-tokens", "300")];
            let answer = world.send(with(world.post("/v1/chat/completions", body), &headers)).await;
            assert_eq!(answer.status, 200);
            assert_eq!(remaining(&answer, "tokens"), left - 1 - max, "reserved");
            world.settled().await;
            let usage = world.entries().await.last().unwrap().usage.clone();
            left -= usage.input_total() + usage.output;
            assert_eq!(remaining(&models(&world).await, "tokens"), left, "{usage:?}");
        }
    }
    assert!(left < 100_000 - 600);
}

#[tokio::test]
async fn what_failed_or_was_left_gives_back_its_place_and_its_tokens() {
    let limits = "[keys.ci.limits]\ntokens_per_minute = 1000\nin_flight = 1";
    let (world, _) = world(limits).await;
    let quiet = |answer: &Answer| (remaining(answer, "tokens"), remaining(answer, "in-flight"));
    for fault in ["500", "429", "reset"] {
        let answer = world.send(with(chat(&world, 900), &[("x-mock-fault", fault)])).await;
        assert!(answer.status.as_u16() >= 429, "{answer:?}");
        assert_eq!(quiet(&answer), (99, 0), "{answer:?}");
        world.settled().await;
        let now = models(&world).await;
        // Nobody knows what a request cost whose answer broke off: it stays at its estimate.
        assert_eq!(quiet(&now), (if fault == "reset" { 99 } else { 1000 }, 0), "{fault}");
        world.settled().await;
    }
}

#[tokio::test]
async fn a_client_that_leaves_gives_back_its_place_in_flight() {
    let (world, _) = world("[keys.ci.limits]\nin_flight = 1").await;
    let request = with(chat(&world, 9), &[("x-mock-gate", "shut")]);
    let client = world.client.clone();
    let call = tokio::spawn(async move { client.request(request).await });
    while world.mock.gate("shut").arrived() == 0 {
        tokio::task::yield_now().await;
    }
    let answer = world.send(chat(&world, 9)).await;
    assert_eq!((answer.status.as_u16(), answer.header("retry-after")), (429, "1"));
    assert!(answer.text().contains("\"limit\":\"in_flight\""), "{}", answer.text());
    call.abort();
    world.mock.gate("shut").open();
    world.settled().await;
    assert_eq!(world.send(chat(&world, 9)).await.status, 200);
}

#[tokio::test]
async fn what_one_limit_refuses_no_other_has_counted() {
    let limits = "[organisation.limits]\nrequests_per_minute = 10\n[keys.ci.limits]\nrequests_per_day = 50\n\
                  operations = { embeddings = 1, chat = 4 }";
    let (world, now_us) = world(limits).await;
    let embed = || world.post("/v1/embeddings", r#"{"model":"text-embedding-3-small","input":"x"}"#);
    assert_eq!(world.send(embed()).await.status, 200);
    for _ in 0..30 {
        let answer = world.send(embed()).await;
        assert_eq!(answer.status, 429);
        assert!(answer.text().contains("operations.embeddings"), "{}", answer.text());
    }
    let answer = world.send(chat(&world, 5)).await;
    assert_eq!(answer.status, 200);
    // The tightest: 3 of 4 chats; of the day 48 of 50.
    assert_eq!((remaining(&answer, "requests"), remaining(&answer, "requests-day")), (3, 48));
    now_us.fetch_add(60_000_000, Ordering::Relaxed);
    let answer = world.send(embed()).await;
    assert_eq!((answer.status.as_u16(), remaining(&answer, "requests-day")), (200, 47));
}

#[tokio::test]
async fn a_prompt_above_the_limit_is_refused_for_good() {
    let (world, _) = world("[users.ada.limits]\ntokens_per_minute = 100").await;
    let long = format!(
        r#"{{"model":"claude-haiku-4-5","max_tokens":5,"messages":[{{"role":"user","content":"{}"}}]}}"#,
        "word ".repeat(100)
    );
    let answer = world.send(with(world.post("/v1/messages", long), &[("x-tollgate-user", "ada")])).await;
    assert_eq!((answer.status.as_u16(), answer.header("x-should-retry")), (413, "false"));
    assert_eq!(answer.header("retry-after"), "");
    assert!(answer.text().contains("the user \\\"ada\\\""), "{}", answer.text());
    // An output limit alone above it is no reason: the estimate is cut.
    let wide = with(chat(&world, 128_000), &[("x-tollgate-user", "ada")]);
    assert_eq!(world.send(wide).await.status, 200);
}

#[tokio::test]
async fn callers_that_config_does_not_name_have_the_defaults() {
    let open = "[defaults.passthrough.limits]\nrequests_per_minute = 1\n[defaults.user.limits]\nrequests_per_minute = 2\n\
                [users.ada]\n[upstreams.open]\nbase_url = \"http://PROVIDER\"\ndialect = \"openai\"\n";
    let (world, _) = world(&open.replace("http://PROVIDER", "http://127.0.0.1:9")).await;
    let by = |credential: &str| {
        let request = world.post("/u/open/v1/chat/completions", chat_body(5));
        with(request, &[("authorization", &format!("Bearer {credential}"))])
    };
    // The upstream is not there: what counts is the request.
    assert_eq!(world.send(by("sk-one")).await.status, 502);
    assert_eq!(world.send(by("sk-one")).await.status, 429);
    assert_eq!(world.send(by("sk-two")).await.status, 502);
    let named = |user| with(chat(&world, 5), &[("x-tollgate-user", user)]);
    for (user, statuses) in [("eve", [200, 200, 429]), ("bob", [200, 200, 429]), ("ada", [200, 200, 200])] {
        for status in statuses {
            assert_eq!(world.send(named(user)).await.status, status, "{user}");
        }
    }
}

#[tokio::test]
async fn each_dialect_says_it_in_its_own_words() {
    let (world, now_us) = world("[organisation.limits]\nrequests_per_day = 1").await;
    assert_eq!(models(&world).await.status, 200);
    now_us.fetch_add(3_600_000_000, Ordering::Relaxed);
    let messages = r#"{"model":"claude-haiku-4-5","max_tokens":5,"messages":[{"role":"user","content":"hi"}]}"#;
    for (path, body, kind) in [
        ("/v1/chat/completions", chat_body(5), "\"type\":\"rate_limit_error\""),
        ("/v1/messages", messages.to_owned(), "\"type\":\"rate_limit_error\""),
        ("/v1beta/models/gemini-2.5-flash:generateContent", r#"{"contents":[]}"#.to_owned(), "RESOURCE_EXHAUSTED"),
    ] {
        let answer = world.send(world.post(path, body)).await;
        let text = answer.text();
        let _: serde_json::Value = serde_json::from_str(text).unwrap();
        // No SDK waits for 23 hours, so it is told not to try.
        let heads = (answer.header("retry-after"), answer.header("x-should-retry"));
        assert_eq!((answer.status.as_u16(), heads), (429, ("82800", "false")), "{text}");
        for part in [kind, "organisation", "requests_per_day", "1 requests a day and has 0 left; try again in 82800 s"]
        {
            assert!(text.contains(part), "{part} is not in {text}");
        }
    }
}

#[tokio::test]
async fn an_answer_without_a_limit_is_reserved_by_its_model() {
    let (world, _) = world("[teams.search.limits]\ntokens_per_minute = 100000").await;
    for (model, tokens) in [("gpt-4o", 1_001), ("gpt-5-mini", 4_001), ("nobody-knows-it", 1_001)] {
        let before = remaining(&models(&world).await, "tokens");
        let body = format!(r#"{{"model":"{model}","messages":[{{"role":"user","content":"hi"}}]}}"#);
        let held = with(world.post("/v1/chat/completions", body), &[("x-mock-gate", model)]);
        let client = world.client.clone();
        let asked = tokio::spawn(client.request(held));
        world.mock.gate(model).wait_for_arrivals(1).await;
        assert_eq!(before - remaining(&models(&world).await, "tokens"), tokens, "{model}");
        world.mock.gate(model).open();
        drop(asked.await.unwrap().unwrap());
        world.settled().await;
    }
}
