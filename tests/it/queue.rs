//! More requests than may be in flight: who waits, whose turn it is, and who is told to come again; and what bodies cost
//! that nobody wants.

use std::sync::Arc;

use http::Request;
use http_body_util::{BodyExt, Full};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tollgate::domain::entry::Outcome;

use crate::raw::{LONG, PATHS, check_refusal};
use crate::world::{KEY, World};

const WHOLE: &str = r#"{"model":"gpt-4o-mini","messages":[{"role":"user","content":"Say hello."}]}"#;
const STREAM: &str = r#"{"model":"gpt-4o-mini","stream":true,"messages":[{"role":"user","content":"Say hello."}]}"#;
const QUIET_KEY: &str = "tg_quiet_0123456789abcdef";

/// A world with one place, and with another team.
async fn narrow(more: &str) -> Arc<World> {
    let extra = "server.in_flight_max = 1\nenv.QUIET_KEY=tg_quiet_0123456789abcdef\n[teams.quiet]\n[keys.quiet]\nteam = \"quiet\"\n\
                 secret = { env = \"QUIET_KEY\" }\n";
    Arc::new(World::start(&format!("{extra}{more}")).await)
}

fn chat(world: &World, key: &str, body: &'static str) -> Request<Full<bytes::Bytes>> {
    let mut request = world.post("/v1/chat/completions", body);
    request.headers_mut().insert("authorization", format!("Bearer {key}").parse().unwrap());
    request
}

/// A stream that is open until the gate `held` is.
async fn hold(world: &World) -> http::Response<hyper::body::Incoming> {
    let mut request = world.post("/v1/chat/completions", STREAM);
    request.headers_mut().insert("x-mock-gate", "held".parse().unwrap());
    world.open(request).await
}

async fn until(what: impl Fn() -> bool) {
    let waited = async {
        while !what() {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(LONG, waited).await.expect("it never came");
}

#[tokio::test]
async fn those_beyond_the_limit_wait_and_each_team_has_its_turn() {
    let world = narrow("").await;
    let held = hold(&world).await;
    let mut waiting = Vec::new();
    for key in [crate::world::KEY; 4].into_iter().chain([QUIET_KEY; 2]) {
        let (own, before) = (world.clone(), world.app.requests.waiting());
        waiting.push(tokio::spawn(async move { own.send(chat(&own, key, WHOLE)).await }));
        until(|| world.app.requests.waiting() > before).await;
    }
    let metrics = tollgate::admin::state::metrics(&world.app);
    assert!(metrics.contains("tollgate_waiting 6\n"), "{metrics}");
    world.mock.gate("held").open();
    held.into_body().collect().await.unwrap();
    for answer in waiting {
        assert_eq!(answer.await.unwrap().status, 200);
    }
    let entries = world.entries().await;
    let order: Vec<&str> = entries.iter().skip(1).map(|entry| &*entry.account.key).collect();
    assert_eq!(order, ["ci", "quiet", "ci", "quiet", "ci", "ci"]);
    assert_eq!((world.app.requests.used(), world.app.requests.waiting()), (0, 0));
    let metrics = tollgate::admin::state::metrics(&world.app);
    assert!(metrics.contains("tollgate_queued_total{team=\"search\",how=\"served\"} 4"), "{metrics}");
}

#[tokio::test]
async fn where_the_line_is_full_or_too_slow_clients_are_told_when_to_come_again() {
    let world = narrow("server.queue_max = 1\nserver.queue_wait_s = 1").await;
    let held = hold(&world).await;
    for (dialect, path) in PATHS {
        let answer = world.send(world.post(path, WHOLE)).await;
        check_refusal(dialect, &answer, 503);
        assert_eq!((answer.header("retry-after"), answer.header("x-tollgate-refused")), ("1", "overloaded"));
    }
    let (own, before) = (world.clone(), world.app.requests.waiting());
    let waiting = tokio::spawn(async move { own.send(chat(&own, QUIET_KEY, WHOLE)).await });
    until(|| world.app.requests.waiting() > before || waiting.is_finished()).await;
    assert_eq!(world.send(chat(&world, QUIET_KEY, WHOLE)).await.status, 503);
    assert_eq!(waiting.await.unwrap().status, 503);
    world.mock.gate("held").open();
    held.into_body().collect().await.unwrap();
    let entries = world.entries().await;
    let refused = entries.iter().filter(|entry| &*entry.reason == "overloaded" && entry.outcome == Outcome::Refused);
    assert_eq!((refused.count(), entries.len()), (5, 6));
    let metrics = tollgate::admin::state::metrics(&world.app);
    for how in ["late\"} 3", "late\"} 1"] {
        assert!(metrics.contains(&format!("how=\"{how}")), "{metrics}");
    }
}

#[tokio::test]
async fn a_loud_team_gives_way_to_a_quiet_one_where_the_line_is_full() {
    let world = narrow("server.queue_max = 3").await;
    let held = hold(&world).await;
    let metrics = || tollgate::admin::state::metrics(&world.app);
    let mut waiting = Vec::new();
    for key in [crate::world::KEY; 3].into_iter().chain([QUIET_KEY]) {
        let (own, before) = (world.clone(), world.app.requests.waiting());
        waiting.push(tokio::spawn(async move { own.send(chat(&own, key, WHOLE)).await }));
        until(|| world.app.requests.waiting() > before || metrics().contains("displaced")).await;
    }
    // The latest of the loud team makes room, and its next one finds none.
    let latest = waiting.remove(2).await.unwrap();
    check_refusal(PATHS[0].0, &latest, 503);
    assert_eq!((latest.header("retry-after"), latest.header("x-tollgate-refused")), ("5", "overloaded"));
    assert_eq!(world.send(chat(&world, crate::world::KEY, WHOLE)).await.status, 503);
    assert_eq!(world.app.requests.waiting(), 3);
    world.mock.gate("held").open();
    held.into_body().collect().await.unwrap();
    for answer in waiting {
        assert_eq!(answer.await.unwrap().status, 200);
    }
    for how in ["displaced\"} 1", "full\"} 1"] {
        assert!(metrics().contains(&format!("team=\"search\",how=\"{how}")), "{}", metrics());
    }
}

#[tokio::test]
async fn whoever_leaves_the_line_leaves_no_place_behind() {
    let world = narrow("").await;
    let held = hold(&world).await;
    let own = world.clone();
    let waiting = tokio::spawn(async move { own.send(chat(&own, QUIET_KEY, WHOLE)).await });
    until(|| world.app.requests.waiting() == 1).await;
    waiting.abort();
    until(|| world.app.requests.waiting() == 0).await;
    world.mock.gate("held").open();
    held.into_body().collect().await.unwrap();
    let entries = world.entries().await;
    let left = entries.iter().find(|entry| &*entry.account.key == "quiet").unwrap();
    assert_eq!((left.outcome, left.status, left.attempts.len()), (Outcome::ClientAbort, 499, 0));
    assert_eq!(world.send(chat(&world, QUIET_KEY, WHOLE)).await.status, 200);
}

/// Sends a body of 64 MiB without a known key, announced as `framing` says, and gives how much of it was taken.
async fn taken(world: &World, framing: &str, piece: &[u8]) -> (u64, String) {
    let mut stream = TcpStream::connect(world.address).await.unwrap();
    let head = format!(
        "POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\nauthorization: Bearer tg_nobody_knows_this_key\r\n{framing}\r\n\r\n"
    );
    stream.write_all(head.as_bytes()).await.unwrap();
    let (mut reading, mut writing) = stream.split();
    let (mut sent, mut answer) = (0, Vec::new());
    let write = async {
        while sent < 64 << 20 && writing.write_all(piece).await.is_ok() {
            sent += piece.len() as u64;
        }
        std::future::pending::<()>().await;
    };
    tokio::select! {
        _ended = tokio::time::timeout(LONG, reading.read_to_end(&mut answer)) => {}
        () = write => {}
    }
    (sent, String::from_utf8_lossy(&answer).into_owned())
}

#[tokio::test]
async fn bodies_of_strangers_are_not_read_to_their_end() {
    let world = World::start("").await;
    let piece = vec![b' '; 64 * 1024];
    let (sent, answer) = taken(&world, &format!("content-length: {}", 64 << 20), &piece).await;
    assert!(sent < 32 << 20, "{sent}");
    // A client that listens while it sends reads why.
    assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 401"), "{answer}");
    let chunk = [b"10000\r\n", &piece[..], b"\r\n"].concat();
    let (sent, _) = taken(&world, "transfer-encoding: chunked", &chunk).await;
    assert!(sent < 32 << 20, "{sent}");
    // What an SDK sends is read, so that it sees the refusal.
    let mut request = world.post("/v1/chat/completions", WHOLE.replace("Say", &"Say ".repeat(200_000)));
    request.headers_mut().insert("authorization", "Bearer tg_nobody_knows_this_key".parse().unwrap());
    assert_eq!(world.send(request).await.status, 401);
}

#[tokio::test]
async fn whoever_waits_while_the_process_is_cut_is_sent_nowhere() {
    let world = narrow("upstream.breaker_failures = 1\n").await;
    let held = hold(&world).await;
    let (own, before) = (world.clone(), world.app.requests.waiting());
    let waiting: Vec<_> = [KEY, QUIET_KEY, KEY]
        .map(|key| {
            let own = own.clone();
            tokio::spawn(async move { own.send(chat(&own, key, WHOLE)).await })
        })
        .into();
    until(|| world.app.requests.waiting() == before + 3).await;
    // What is cut makes room.
    world.app.drain.advance(tollgate::drain::Phase::Cutting);
    held.into_body().collect().await.unwrap();
    for answer in waiting {
        let answer = answer.await.unwrap();
        assert_eq!((answer.status.as_u16(), answer.header("x-tollgate-refused")), (503, "draining"));
        assert_eq!(answer.header("retry-after"), "1");
    }
    assert_eq!(world.mock.requests_total(), 1);
    let entries = world.entries().await;
    let refused = entries.iter().filter(|entry| entry.outcome == Outcome::Refused && entry.attempts.is_empty());
    assert_eq!((refused.count(), entries.len()), (3, 4));
    let breakers = world.app.snapshot.load().provider("openai").unwrap().breakers.clone();
    assert!(breakers.states(world.app.clock.ticks_us()).is_empty());
}
