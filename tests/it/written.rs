//! The answer that an operator has written for the time when nobody answers.

use http_body_util::BodyExt;
use tollgate::domain::entry::Outcome;
use tollgate::domain::money::Usd;
use tollgate::mock::Settings;

use crate::world::{Answer, World};

/// Nobody is asked for a minute once three attempts have failed, also where nobody else is there.
const RESTS: &str = "upstream.retries = 1\nupstream.breaker_failures = 3\nupstream.breaker_cooldown_s = 3600\n";

const TEXT: &str = "Not now. Try later.";
const CHAT: (&str, &str) =
    ("/v1/chat/completions", r#"{"model":"gpt-4o-mini","messages":[{"role":"user","content":"hi"}]}"#);

/// Each dialect's request, whole and streamed.
fn asks() -> Vec<(String, String)> {
    let mut asks = Vec::new();
    let messages = r#"{"model":"claude-3-haiku-20240307","max_tokens":9,"messages":[{"role":"user","content":"hi"}]}"#;
    for (path, body) in [CHAT, ("/v1/responses", r#"{"model":"gpt-4o-mini","input":"hi"}"#), ("/v1/messages", messages)]
    {
        asks.push((path.to_owned(), body.to_owned()));
        asks.push((path.to_owned(), body.replacen('{', "{\"stream\":true,", 1)));
    }
    for verb in ["generateContent", "streamGenerateContent?alt=sse", "streamGenerateContent"] {
        let body = r#"{"contents":[{"parts":[{"text":"hi"}]}]}"#;
        asks.push((format!("/v1beta/models/gemini-2.0-flash:{verb}"), body.to_owned()));
    }
    asks
}

async fn world(fault: &str) -> World {
    let models = ["gpt-*", "claude-*", "gemini-*", "text-*"];
    let sections = models.map(|glob| format!("[models.\"{glob}\"]\nfallback_answer = \"{TEXT}\"\n"));
    let world = World::start(&format!("{RESTS}{}", sections.concat())).await;
    world.mock.set(Settings::default().with_json(&serde_json::json!({ "fault": fault })).unwrap());
    world
}

async fn ask(world: &World, (path, body): (&str, &str)) -> Answer {
    let mut request = world.post(path, body.to_owned());
    request.headers_mut().insert("anthropic-version", "2023-06-01".parse().unwrap());
    world.send(request).await
}

#[tokio::test]
async fn where_nobody_answers_the_written_text_does_in_the_client_s_own_form() {
    for (path, body) in asks() {
        let world = world("503").await;
        // The first ones meet the error, the last ones an open breaker.
        for attempts in [2, 1, 0] {
            let answer = ask(&world, (&path, &body)).await;
            assert_eq!(answer.status, 200, "{path} {}", answer.text());
            assert!(answer.text().contains(TEXT), "{path} {}", answer.text());
            assert_eq!(answer.header("x-tollgate-reason"), "static answer", "{path}");
            let cause = if attempts == 0 { "upstream_down" } else { "upstream_unreachable" };
            assert_eq!(answer.header("x-tollgate-refused"), cause, "{path}");
            assert_eq!(answer.header("x-tollgate-attempts"), if attempts > 1 { "2" } else { "" }, "{path}");
            let is_stream = body.contains("stream") || path.contains("alt=sse");
            assert_eq!(answer.header("content-type").starts_with("text/event-stream"), is_stream, "{path}");
            let entry = world.entries().await.pop().unwrap();
            assert_eq!(
                (&*entry.reason, entry.status, entry.attempts.len()),
                ("static answer", 200, attempts),
                "{path}"
            );
            assert_eq!((entry.outcome, entry.cost), (Outcome::UpstreamError, Some(Usd::ZERO)), "{path}");
        }
        assert!(world.mock.bill().lines().is_empty(), "{path}");
    }
}

#[tokio::test]
async fn what_the_client_did_wrong_and_what_has_no_text_stay_errors() {
    let bad = world("400").await;
    let answer = ask(&bad, CHAT).await;
    assert_eq!((answer.status.as_u16(), answer.header("x-tollgate-refused")), (400, ""));
    let down = world("503").await;
    let answer = ask(&down, ("/v1/embeddings", r#"{"model":"text-embedding-3-small","input":"hi"}"#)).await;
    assert_eq!((answer.status.as_u16(), answer.header("x-tollgate-refused")), (503, ""));
    let good = world("none").await;
    let answer = ask(&good, CHAT).await;
    assert_eq!((answer.status.as_u16(), answer.header("x-tollgate-refused")), (200, ""));
    assert_ne!(answer.header("x-tollgate-reason"), "static answer");
    // A stream that has begun is never replaced.
    let cut = world("cut").await;
    let stream = CHAT.1.replacen('{', "{\"stream\":true,", 1);
    let body = cut.open(cut.post(CHAT.0, stream)).await.into_body().collect().await.unwrap().to_bytes();
    assert!(!String::from_utf8_lossy(&body).contains(TEXT));
}
