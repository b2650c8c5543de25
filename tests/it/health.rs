//! What attempts say of their upstream: also those whose clients have left, those that fail behind a good head, and those
//! that try out whether it is back.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::io::AsyncReadExt;
use tollgate::app::Surroundings;
use tollgate::clock::Clock;
use tollgate::domain::entry::Outcome;
use tollgate::domain::tokens::UsageSource;
use tollgate::upstream::breaker::State;

use crate::again::{GOOD, backup};
use crate::raw::LONG;
use crate::wire::{self, Fake, Reply};
use crate::world::{self, KEY, World};

const CHAT: &str = "/v1/chat/completions";
const STREAM: &str = r#"{"model":"gpt-4o-mini","stream":true,"messages":[{"role":"user","content":"Say hello."}]}"#;
const WHOLE: &str = r#"{"model":"gpt-4o-mini","messages":[{"role":"user","content":"Say hello."}]}"#;
const EVENTS: &str = "content-type: text/event-stream\r\n";
const JSON: &str = "content-type: application/json\r\n";
const TEXT: &str = "data: {\"id\":\"c\",\"object\":\"chat.completion.chunk\",\"model\":\"gpt-4o-mini\",\"choices\":[{\"index\":0,\"delta\":{\"content\":\"hi\"},\"finish_reason\":null}]}\n\n";
const LAST: &str = "data: {\"id\":\"c\",\"object\":\"chat.completion.chunk\",\"model\":\"gpt-4o-mini\",\"choices\":[{\"index\":0,\"delta\":{},\"finish_reason\":\"stop\"}]}\n\ndata: [DONE]\n\n";
const OVERLOADED: &str = "data: {\"error\":{\"message\":\"m\",\"type\":\"overloaded_error\"}}\n\n";
const INVALID: &str = "data: {\"error\":{\"message\":\"m\",\"type\":\"invalid_request_error\"}}\n\n";

/// How long an upstream may be silent where one is.
const SILENCE: Duration = Duration::from_millis(300);

fn stream(pieces: &[&str]) -> Reply {
    Reply::chunked("200 OK", EVENTS, pieces.iter().map(|piece| piece.as_bytes()))
}

/// A stream whose connection ends behind its first event.
fn cut() -> Reply {
    let mut reply = stream(&[TEXT]);
    reply.pieces.pop();
    Reply { closes: true, ..reply }
}

fn states(world: &World) -> Vec<(String, State)> {
    let breakers = world.app.snapshot.load().provider("openai").unwrap().breakers.clone();
    breakers.states(world.app.clock.ticks_us()).into_iter().map(|(name, state)| (name.to_string(), state)).collect()
}

fn opened(world: &World) -> u64 {
    world.app.snapshot.load().provider("openai").unwrap().breakers.opened()
}

async fn until(ready: impl Fn() -> bool) {
    let wait = async {
        while !ready() {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(LONG, wait).await.expect("it never came");
}

/// A world before `fake` whose clock stands until it is moved, with somebody else to ask.
async fn at_rest(fake: &Fake, other: &Fake) -> (World, Arc<AtomicU64>) {
    let now_us = Arc::new(AtomicU64::new(1_795_000_000_000_000));
    let surroundings = Surroundings { clock: Clock::Manual(now_us.clone()), ..Surroundings::default() };
    let (mock, folder) = (world::provider().await.1, tempfile::tempdir().unwrap());
    let extra = format!("upstream.breaker_failures = 5\n{}", backup(other.address));
    (World::in_folder(fake.address, mock, &extra, surroundings, folder).await, now_us)
}

#[tokio::test]
async fn an_upstream_that_hangs_fails_also_where_its_clients_give_up_first() {
    for (fault, sends) in [("hang", STREAM), ("hang", WHOLE), ("stall", STREAM), ("cut", STREAM)] {
        let world = World::impatient("upstream.breaker_failures = 3", SILENCE).await;
        let gate = world.mock.gate("cut");
        for left in 1..=3 {
            let fault = format!("x-mock-fault: {fault}");
            let key = format!("authorization: Bearer {KEY}");
            let lines = [&*key, &fault, "x-mock-gate: cut", "x-mock-gate-after: 1", "x-mock-fault-after: 2"];
            let lines = if fault.ends_with("cut") { &lines[..] } else { &lines[..2] };
            let mut client = wire::send(world.address, &format!("POST {CHAT}"), lines, sends).await;
            until(|| world.mock.requests().len() == left).await;
            if fault.ends_with("cut") || fault.ends_with("stall") {
                assert!(client.read(&mut [0; 64]).await.unwrap() > 0);
            }
        }
        gate.open();
        until(|| opened(&world) == 1).await;
        for entry in world.entries().await {
            let known = (entry.outcome, entry.status, entry.usage_source.is_estimated());
            assert_eq!((known.0, known.2), (Outcome::ClientAbort, true), "{fault} {entry:?}");
        }
    }
}

#[tokio::test]
async fn a_client_that_leaves_an_upstream_which_is_well_says_nothing() {
    let world = World::start("upstream.breaker_failures = 1").await;
    let gate = world.mock.gate("held");
    let lines = [format!("authorization: Bearer {KEY}"), "x-mock-gate: held".into()];
    drop(wire::send(world.address, &format!("POST {CHAT}"), &[&*lines[0], &*lines[1]], STREAM).await);
    gate.wait_for_arrivals(1).await;
    gate.open();
    let entry = world.entries().await.pop().unwrap();
    assert_eq!((entry.outcome, entry.usage_source), (Outcome::ClientAbort, UsageSource::Reported));
    assert!(states(&world).is_empty());
}

#[tokio::test]
async fn an_upstream_that_cuts_its_streams_is_asked_about_ever_more_rarely() {
    for bad in [cut as fn() -> Reply, || stream(&[OVERLOADED]), || stream(&[TEXT, OVERLOADED])] {
        let is_bad = Arc::new(AtomicU64::new(1));
        let how = is_bad.clone();
        let fake = Fake::start(move |_| match how.load(Ordering::Relaxed) {
            0 => stream(&[TEXT, LAST]),
            _ => bad(),
        })
        .await;
        let other = Fake::start(|_| stream(&[TEXT, LAST])).await;
        let (world, now_us) = at_rest(&fake, &other).await;
        for _ in 0..600 {
            now_us.fetch_add(1_000_000, Ordering::Relaxed);
            assert_eq!(world.send(world.post(CHAT, STREAM)).await.status, 200);
        }
        world.settled().await;
        let asked = fake.seen().len();
        assert!((5 + 10..=5 + 16).contains(&asked), "{asked} attempts in ten minutes");
        assert_eq!(opened(&world), 1);
        is_bad.store(0, Ordering::Relaxed);
        now_us.fetch_add(60_000_000, Ordering::Relaxed);
        assert!(world.send(world.post(CHAT, STREAM)).await.text().contains("[DONE]"));
        world.settled().await;
        assert_eq!(states(&world), [("gpt-4o-mini".to_owned(), State::Closed)]);
    }
}

#[tokio::test]
async fn errors_of_the_request_within_a_stream_and_operations_that_are_not_there_are_no_failures() {
    for reply in [|| stream(&[INVALID]), || Reply::whole("501 Never", JSON, "{}")] {
        let fake = Fake::start(move |_| reply()).await;
        let world = World::before(fake.address, world::provider().await.1, "upstream.breaker_failures = 1", LONG).await;
        for _ in 0..3 {
            world.send(world.post(CHAT, STREAM)).await;
        }
        world.settled().await;
        assert_eq!((states(&world), fake.seen().len()), (Vec::new(), 3));
    }
}

#[tokio::test]
async fn one_operation_that_fails_stops_no_other() {
    let fake = Fake::start(|seen| match seen.target.starts_with("/v1/files") {
        true => Reply::whole("503 No", JSON, "{}"),
        false => Reply::whole("200 OK", JSON, r#"{"object":"list","data":[]}"#),
    })
    .await;
    let extra = "upstream.breaker_failures = 2\nupstream.retries = 0";
    let world = World::before(fake.address, world::provider().await.1, extra, LONG).await;
    let get = |path: &str| {
        let mut request = world.post(path, "");
        *request.method_mut() = http::Method::GET;
        world.send(request)
    };
    for expect in ["", "", "upstream_down"] {
        let answer = get("/v1/files").await;
        assert_eq!((answer.status.as_u16(), answer.header("x-tollgate-refused")), (503, expect));
    }
    assert_eq!(get("/v1/models").await.status, 200);
    assert_eq!(states(&world), [("files".to_owned(), State::Open)]);
}

#[tokio::test]
async fn a_probe_that_hangs_keeps_nobody_from_an_upstream_that_is_back() {
    for leaves in [false, true] {
        let calls = Arc::new(AtomicU64::new(0));
        let count = calls.clone();
        // Five failures, a probe that gets no answer, and good ones.
        let fake = Fake::start(move |_| match count.fetch_add(1, Ordering::Relaxed) {
            0..5 => Reply::whole("503 No", "x-should-retry: false\r\n", "{}"),
            5 => Reply::default(),
            _ => Reply::whole("200 OK", JSON, GOOD),
        })
        .await;
        let other = Fake::start(|_| Reply::whole("200 OK", JSON, GOOD)).await;
        let (world, now_us) = at_rest(&fake, &other).await;
        let world = Arc::new(world);
        for _ in 0..5 {
            assert_eq!(world.send(world.post(CHAT, WHOLE)).await.status, 200);
        }
        now_us.fetch_add(5_000_000, Ordering::Relaxed);
        let own = world.clone();
        let hanging = tokio::spawn(async move { own.open(own.post(CHAT, WHOLE)).await });
        until(|| fake.seen().len() == 6).await;
        if leaves {
            hanging.abort();
        }
        // Until its time is over others are asked, and then one finds out.
        let mut late_s = 0;
        while fake.seen().len() == 6 {
            assert_eq!(world.send(world.post(CHAT, WHOLE)).await.status, 200);
            now_us.fetch_add(1_000_000, Ordering::Relaxed);
            late_s += 1;
        }
        assert!((5..=11).contains(&late_s), "{late_s}");
        world.send(world.post(CHAT, WHOLE)).await;
        assert_eq!(states(&world), [("gpt-4o-mini".to_owned(), State::Closed)]);
        hanging.abort();
    }
}
