//! Upstreams that fail: who is asked again, who instead, who is left alone, and what that costs.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use http::Request;
use http_body_util::Full;
use tollgate::app::Surroundings;
use tollgate::clock::Clock;
use tollgate::domain::entry::{Entry, Outcome};
use tollgate::domain::money::Usd;
use tollgate::store::Record;

use crate::wire::{Fake, Reply};
use crate::world::{self, Answer, World};

const WHOLE: &str = r#"{"model":"gpt-4o-mini","messages":[{"role":"user","content":"Say hello."}]}"#;
const JSON: &str = "content-type: application/json\r\n";
/// A whole answer of OpenAI's.
pub const GOOD: &str = r#"{"id":"c","object":"chat.completion","model":"gpt-4o-mini","choices":[{"index":0,"message":{"role":"assistant","content":"hi"},"finish_reason":"stop"}],"usage":{"prompt_tokens":9,"completion_tokens":1,"total_tokens":10}}"#;

/// The config of another upstream for the same models, asked when the first has failed.
pub fn backup(address: SocketAddr) -> String {
    format!(
        "[upstreams.backup]\ndialect = \"openai\"\nprovider = \"openai\"\nmodels = [\"none\"]\n\
         include_usage = \"splice\"\napi_key = {{ env = \"PROVIDER_KEY\" }}\nbase_url = \"http://{address}\"\nretries = 0\n\
         [models.\"gpt-*\"]\nfallback = [\"backup\"]\n"
    )
}

async fn before(fake: &Fake, extra: &str) -> World {
    World::before(fake.address, world::provider().await.1, extra, world::PATIENCE).await
}

fn chat(world: &World) -> Request<Full<bytes::Bytes>> {
    world.post("/v1/chat/completions", WHOLE)
}

/// An upstream that gives each of `replies` once, and then a good answer.
async fn failing(replies: &[(&'static str, &'static str)]) -> Fake {
    let (replies, next) = (replies.to_vec(), AtomicUsize::new(0));
    Fake::start(move |_| match replies.get(next.fetch_add(1, Ordering::Relaxed)) {
        Some((status, headers)) => Reply::whole(status, headers, format!("{{\"error\": \"{status}\"}}")),
        None => Reply::whole("200 OK", JSON, GOOD),
    })
    .await
}

fn statuses(entry: &Entry) -> Vec<u16> {
    entry.attempts.iter().map(|attempt| attempt.status).collect()
}

/// Sends one request to an upstream that fails as `replies` say; expects the client's status, and those of the attempts.
async fn check(
    replies: &[(&'static str, &'static str)],
    header: (&str, &str),
    expect: u16,
    attempts: &[u16],
) -> Answer {
    let fake = failing(replies).await;
    let world = before(&fake, "upstream.retries = 2").await;
    let mut request = chat(&world);
    request.headers_mut().insert(header.0.parse::<http::HeaderName>().unwrap(), header.1.parse().unwrap());
    let answer = world.send(request).await;
    assert_eq!(answer.status, expect, "{replies:?} {}", answer.text());
    let records = world.records().await;
    let entry = world.entries().await.pop().unwrap();
    assert_eq!((statuses(&entry), entry.status), (attempts.to_vec(), expect), "{replies:?}");
    let count = |is: fn(&Record) -> bool| records.iter().filter(|record| is(record)).count();
    assert_eq!(count(|record| matches!(record, Record::Open(_))), attempts.len());
    assert_eq!(count(|record| matches!(record, Record::Close(_))), attempts.len());
    assert_eq!(count(|record| matches!(record, Record::Entry(_))), 1);
    assert_eq!(entry.cost, entry.attempts.iter().map(|attempt| attempt.cost).sum::<Option<Usd>>());
    let seen = fake.seen();
    assert_eq!(seen.len(), attempts.len());
    assert!(seen.iter().all(|seen| seen.body == WHOLE.as_bytes() && seen.header(header.0) == header.1), "{seen:?}");
    answer
}

#[tokio::test]
async fn errors_that_pass_are_asked_again_and_the_last_one_reaches_the_client() {
    let none = ("idempotency-key", "k-1");
    let answer = check(&[("503 Service Unavailable", "")], none, 200, &[503, 200]).await;
    assert_eq!((answer.header("x-tollgate-attempts"), answer.text()), ("2", GOOD));
    check(&[("529 Overloaded", ""), ("500 Oops", "")], none, 200, &[529, 500, 200]).await;
    let all = [("429 Slow down", "retry-after: 0\r\n"), ("502 Bad", ""), ("504 Late", "x-its-own: 1\r\n")];
    let answer = check(&all, none, 504, &[429, 502, 504]).await;
    assert_eq!((answer.header("x-its-own"), answer.text()), ("1", r#"{"error": "504 Late"}"#));
    check(&[("408 Late", "")], none, 200, &[408, 200]).await;
    check(&[("409 Conflict", "retry-after-ms: 1\r\n")], none, 200, &[409, 200]).await;
    check(&[("400 Bad", "x-should-retry: true\r\n")], none, 200, &[400, 200]).await;
}

#[tokio::test]
async fn answers_waits_and_refusals_of_the_upstream_are_respected() {
    let none = ("idempotency-key", "k-1");
    for status in ["400 Bad", "401 No", "403 No", "404 None", "409 Conflict", "422 Odd", "501 Never"] {
        let number = status[..3].parse().unwrap();
        check(&[(status, "")], none, number, &[number]).await;
    }
    let answer = check(&[("429 Slow down", "retry-after: 11\r\n")], none, 429, &[429]).await;
    assert_eq!((answer.header("retry-after"), answer.header("x-tollgate-attempts")), ("11", ""));
    check(&[("503 No", "retry-after: 99999999999999999999\r\n")], none, 503, &[503]).await;
    check(&[("503 No", "x-should-retry: false\r\n")], none, 503, &[503]).await;
    check(&[("503 No", "")], ("x-stainless-retry-count", "1"), 503, &[503]).await;
    check(&[("503 No", "")], ("x-stainless-retry-count", "0"), 200, &[503, 200]).await;
}

#[tokio::test]
async fn retries_are_a_share_of_the_traffic() {
    let fake = Fake::start(|_| Reply::whole("503 No", "", "{}")).await;
    let world = before(&fake, "upstream.retries = 1\nupstream.retry_budget_percent = 20").await;
    for _ in 0..60 {
        assert_eq!(world.send(chat(&world)).await.status, 503);
    }
    // Ten that are there to begin with, and a fifth of sixty.
    assert_eq!(fake.seen().len(), 60 + 22);
    let metrics = tollgate::admin::state::metrics(&world.app);
    assert!(metrics.contains(r#"tollgate_attempts_again_total{upstream="openai",kind="retry"} 22"#), "{metrics}");
    assert!(metrics.contains(r#"kind="budget"} 38"#), "{metrics}");
}

#[tokio::test]
async fn somebody_else_answers_and_is_named() {
    let (fake, other) = (failing(&[("503 No", ""); 9]).await, failing(&[]).await);
    let world = before(&fake, &format!("upstream.retries = 1\n{}", backup(other.address))).await;
    let answer = world.send(chat(&world)).await;
    assert_eq!((answer.status.as_u16(), answer.text()), (200, GOOD));
    assert_eq!((answer.header("x-tollgate-reason"), answer.header("x-tollgate-attempts")), ("fallback", "3"));
    let entry = world.entries().await.pop().unwrap();
    assert_eq!((&*entry.upstream, &*entry.reason, entry.outcome), ("backup", "fallback", Outcome::Complete));
    assert_eq!(statuses(&entry), [503, 503, 200]);
    let asked: Vec<_> = entry.attempts.iter().map(|attempt| &*attempt.upstream).collect();
    assert_eq!(asked, ["openai", "openai", "backup"]);
    // Whoever names an upstream means that one.
    let named = world.send(world.post("/u/openai/v1/chat/completions", WHOLE)).await;
    assert_eq!((named.status.as_u16(), other.seen().len()), (503, 1));
}

#[tokio::test]
async fn another_model_is_put_into_the_body_and_where_no_cap_has_room_for_it_the_error_stands() {
    let fallback = "[models.\"gpt-4o-mini\"]\nfallback = [\"gpt-4o\"]\n";
    let fake = failing(&[("503 No", "")]).await;
    let world = before(&fake, fallback).await;
    let answer = world.send(chat(&world)).await;
    assert_eq!((answer.status.as_u16(), answer.header("x-tollgate-model")), (200, "gpt-4o"));
    assert_eq!(answer.header("x-tollgate-requested-model"), "gpt-4o-mini");
    let sent = String::from_utf8(fake.seen()[1].body.clone()).unwrap();
    assert_eq!(sent, WHOLE.replace("gpt-4o-mini", "gpt-4o"));
    let entry = world.entries().await.pop().unwrap();
    assert_eq!((&*entry.requested_model, &*entry.model), ("gpt-4o-mini", "gpt-4o"));

    let fake = failing(&[("503 No", "x-its-own: 1\r\n")]).await;
    let capped = format!("{fallback}[models.\"gpt-4o\"]\ncaps = {{ day = \"0.000001\" }}\n");
    let world = before(&fake, &capped).await;
    let answer = world.send(chat(&world)).await;
    assert_eq!((answer.status.as_u16(), answer.header("x-its-own")), (503, "1"));
    assert_eq!((answer.text(), answer.header("x-tollgate-model")), (r#"{"error": "503 No"}"#, "gpt-4o-mini"));
    let entry = world.entries().await.pop().unwrap();
    assert_eq!((entry.status, &*entry.model, statuses(&entry)), (503, "gpt-4o-mini", vec![503]));
    assert_eq!((entry.outcome, entry.cost), (Outcome::UpstreamError, Some(Usd::ZERO)));
    assert!(world.app.bank.standings().iter().all(|standing| standing.held == Usd::ZERO));
}

#[tokio::test]
async fn a_client_s_own_credential_goes_to_no_other_upstream() {
    let (fake, other) = (failing(&[("503 No", "")]).await, failing(&[]).await);
    let pass = format!(
        "[upstreams.theirs]\ndialect = \"openai\"\nbase_url = \"http://{}\"\nmodels = [\"gpt-*\"]\nretries = 0\n{}",
        fake.address,
        backup(other.address)
    );
    let world = before(&fake, &pass).await;
    let mut request = chat(&world);
    request.headers_mut().insert("authorization", "Bearer sk-theirs".parse().unwrap());
    assert_eq!(world.send(request).await.status, 503);
    assert_eq!((fake.seen().len(), other.seen().len()), (1, 0));
}

/// A world whose clock stands until it is moved.
async fn at_rest(provider: SocketAddr, extra: &str) -> (World, Arc<AtomicU64>) {
    let now_us = Arc::new(AtomicU64::new(1_795_000_000_000_000));
    let surroundings = Surroundings { clock: Clock::Manual(now_us.clone()), ..Surroundings::default() };
    let (mock, folder) = (world::provider().await.1, tempfile::tempdir().unwrap());
    (World::in_folder(provider, mock, extra, surroundings, folder).await, now_us)
}

#[tokio::test]
async fn an_upstream_that_fails_is_left_alone_until_it_is_back() {
    let fake = failing(&[("500 Oops", ""); 6]).await;
    let (world, now_us) = at_rest(fake.address, "upstream.breaker_failures = 5").await;
    for _ in 0..5 {
        assert_eq!(world.send(chat(&world)).await.status, 500);
    }
    let refused = world.send(chat(&world)).await;
    assert_eq!((refused.status.as_u16(), refused.header("x-tollgate-refused")), (503, "upstream_down"));
    assert_eq!((refused.header("retry-after"), fake.seen().len()), ("1", 5));
    // Another model of the same upstream is not concerned.
    let ready = tollgate::admin::state::ready(&world.app);
    let ready = http_body_util::BodyExt::collect(ready.into_body()).await.unwrap().to_bytes();
    let expect = r#""breakers":[{"upstream":"openai","model":"gpt-4o-mini","state":"open"}]"#;
    assert!(String::from_utf8_lossy(&ready).contains(expect), "{ready:?}");
    let metrics = tollgate::admin::state::metrics(&world.app);
    assert!(metrics.contains(r#"tollgate_breaker_open{upstream="openai",model="gpt-4o-mini"} 1"#), "{metrics}");
    now_us.fetch_add(1_000_000, Ordering::Relaxed);
    // Nobody else is there, so that one attempt a second finds out; the first one still fails.
    assert_eq!(world.send(chat(&world)).await.status, 500);
    assert_eq!(world.send(chat(&world)).await.status, 503);
    now_us.fetch_add(1_000_000, Ordering::Relaxed);
    for _ in 0..3 {
        assert_eq!(world.send(chat(&world)).await.status, 200);
    }
    assert_eq!(fake.seen().len(), 9);
    let entries = world.entries().await;
    assert_eq!(entries.iter().filter(|entry| entry.attempts.is_empty()).count(), 2);
}

/// Nobody listens: the refusal names so many attempts and the model that was asked last.
async fn check_told(extra: &str, attempts: &str, model: &str) {
    let nobody = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let world = World::before(nobody, world::provider().await.1, extra, world::PATIENCE).await;
    let answer = world.send(chat(&world)).await;
    assert_eq!((answer.status.as_u16(), answer.header("x-tollgate-refused")), (502, "upstream_unreachable"));
    let told = ["x-tollgate-attempts", "x-tollgate-model"].map(|name| answer.header(name));
    assert_eq!(told, [attempts, model], "{extra}");
    let entry = world.entries().await.pop().unwrap();
    assert_eq!((entry.attempts.len().max(1), &*entry.model), (attempts.parse().unwrap_or(1), model));
}

#[tokio::test]
async fn our_own_no_says_what_was_tried() {
    check_told("upstream.retries = 0", "", "gpt-4o-mini").await;
    check_told("upstream.retries = 1", "2", "gpt-4o-mini").await;
    let fallback = "upstream.retries = 0\n[models.\"gpt-4o-mini\"]\nfallback = [\"gpt-4o\"]\n";
    check_told(fallback, "2", "gpt-4o").await;
    // The same where others may wait for the answer, too.
    check_told(&format!("{fallback}[cache]\nmode = \"exact\"\nstore_sampled = true\n"), "2", "gpt-4o").await;
    let world = World::start("[models.\"gpt-4o-mini\"]\ncaps = { day = \"0.0000001\" }\n").await;
    let answer = world.send(chat(&world)).await;
    assert_eq!((answer.status.as_u16(), answer.header("x-tollgate-model")), (400, ""));
}

#[tokio::test]
async fn another_protocol_is_no_answer() {
    let switch = "HTTP/1.1 101 Switching Protocols\r\nupgrade: websocket\r\nconnection: upgrade\r\n\r\nraw";
    let fake = Fake::start(|seen| match seen.header("x-again") {
        "1" => Reply::whole("200 OK", JSON, GOOD),
        _ => Reply { pieces: vec![switch.as_bytes().to_vec()], closes: false },
    })
    .await;
    let world = before(&fake, "upstream.retries = 2").await;
    for (dialect, path) in crate::raw::PATHS {
        let answer = world.send(world.post(path, WHOLE)).await;
        crate::raw::check_refusal(dialect, &answer, 502);
        assert_eq!(answer.header("x-tollgate-refused"), "upstream_unreachable");
        let entry = world.entries().await.pop().unwrap();
        assert_eq!((entry.outcome, entry.status, entry.attempts.len()), (Outcome::UpstreamAborted, 502, 1));
        // It may have been billed all the same.
        assert!(entry.cost != Some(Usd::ZERO), "{entry:?}");
    }
    // What comes behind it on that connection is nobody's answer.
    let mut request = chat(&world);
    request.headers_mut().insert("x-again", "1".parse().unwrap());
    assert_eq!(world.send(request).await.text(), GOOD);
}
