//! Bodies that nobody can forward: each is refused in its dialect, recorded, and never reaches a provider.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use http::Request;
use http_body_util::Full;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tollgate::app::Surroundings;
use tollgate::clock::Clock;
use tollgate::domain::entry::Outcome;
use tollgate::domain::operation::Dialect;

use super::raw::{LONG, PATHS, Reply, ask, check_refusal, check_shape, head};
use super::world::{KEY, World};

const MIB: usize = 1 << 20;

/// A body of `length` bytes or a little more that is well-formed.
fn long(length: usize) -> Vec<u8> {
    let mut body = br#"{"model":"gpt-4o-mini","messages":[{"role":"user","content":""#.to_vec();
    body.resize(body.len() + length, b'a');
    body.extend_from_slice(br#""}]}"#);
    body
}

/// A body whose arrays are nested so deep.
fn deep(depth: usize) -> Vec<u8> {
    [br#"{"model":"x","x":"#.to_vec(), vec![b'['; depth], vec![b']'; depth], b"}".to_vec()].concat()
}

#[tokio::test]
async fn what_is_no_request_is_refused_in_its_dialect() {
    let world = World::start("").await;
    let bodies: Vec<Vec<u8>> = vec![
        b"".to_vec(),
        b" ".to_vec(),
        b"{".to_vec(),
        b"{]".to_vec(),
        b"[]".to_vec(),
        b"null".to_vec(),
        b"\"text\"".to_vec(),
        b"{\"model\":\"a\"} x".to_vec(),
        b"{\"model\":\"a\",}".to_vec(),
        b"{'model':'a'}".to_vec(),
        b"\xff\xfe\x00".to_vec(),
        b"{\"model\":\"\xff\xfe\"}".to_vec(),
        b"{\"model\":\"\xed\xa0\x80\"}".to_vec(),
        b"\xef\xbb\xbf{\"model\":\"a\"}".to_vec(),
        deep(100_000),
        deep(513),
    ];
    for (dialect, path) in PATHS {
        for body in &bodies {
            let answer = world.send(world.post(path, body.clone())).await;
            check_refusal(dialect, &answer, 400);
        }
    }
    assert_eq!(world.mock.requests_total(), 0);
}

#[tokio::test]
async fn a_model_that_cannot_be_routed_is_refused_and_named() {
    let world = World::start("").await;
    let long_name = format!(r#"{{"model":"{}"}}"#, "a".repeat(600));
    for (dialect, path) in &PATHS[..2] {
        for body in [
            r#"{"model":"a","model":"b"}"#,
            r#"{"model":"a","m\u006fdel":"a"}"#,
            r#"{"model":1}"#,
            r#"{"model":["a"]}"#,
            r#"{"model":{"a":1}}"#,
            r#"{"model":true}"#,
            &long_name,
        ] {
            let answer = world.send(world.post(path, body.to_owned())).await;
            check_refusal(*dialect, &answer, 400);
            assert!(answer.text().contains("model"), "{}", answer.text());
        }
    }
    assert_eq!(world.mock.requests_total(), 0);
}

#[tokio::test]
async fn names_with_line_breaks_stay_out_of_heads_and_logs() {
    let world = World::start("").await;
    let evil = r"gpt-4o-mini\r\nx-evil: 1\n{\u0000\u2028";
    for (_, path) in &PATHS[..2] {
        let body = format!(r#"{{"model":"{evil}","max_tokens":5,"messages":[{{"role":"user","content":"x"}}]}}"#);
        let answer = world.send(world.post(path, body)).await;
        assert!(answer.headers.get("x-evil").is_none(), "{answer:?}");
        assert!(serde_json::from_slice::<serde_json::Value>(&answer.body).is_ok(), "{answer:?}");
    }
    let answer = world.send(world.post("/v1beta/models/a%0d%0ax-evil:%201:generateContent", "{}")).await;
    check_refusal(Dialect::Gemini, &answer, 404);
    let entries = world.entries().await;
    assert_eq!(entries.len(), 2);
    assert!(entries.iter().all(|entry| entry.model.contains("\r\n")), "the ledger says what was asked for");
    assert!(world.app.scribe.catch_up(LONG));
    let log = std::fs::read_to_string(world.folder.path().join("requests.log")).unwrap();
    assert_eq!(log.lines().filter(|line| serde_json::from_str::<serde_json::Value>(line).is_ok()).count(), 3, "{log}");
    assert_eq!(log.lines().count(), 3);
}

#[tokio::test]
async fn a_body_beyond_the_limit_is_refused_and_the_client_can_read_it() {
    let world = World::start("").await;
    let answer = world.send(world.post("/v1/messages", long(65 * MIB))).await;
    check_refusal(Dialect::Anthropic, &answer, 413);
    assert!(answer.text().contains("64 MiB"), "{}", answer.text());
    let chunked =
        [head("POST", "/v1/chat/completions", "transfer-encoding: chunked\r\n").into_bytes(), chunks(&long(65 * MIB))];
    let reply = ask(world.address, &chunked.concat()).await;
    assert_eq!((reply.status, reply.header("x-should-retry")), (413, "false"));
    check_shape(Dialect::OpenAi, &reply.body, 413, "");
    // A head that promises too much is refused before the body is wanted, also from one that nobody knows.
    let unknown = long(65 * MIB);
    let request = Request::post(format!("http://{}/v1/chat/completions", world.address));
    let request = request.header("authorization", "Bearer tg_nobody").body(Full::new(unknown.into())).unwrap();
    check_refusal(Dialect::OpenAi, &world.send(request).await, 401);
    assert_eq!(world.app.body_memory.used(), 0);
    assert_eq!(world.entries().await.len(), 2);
    assert_eq!(world.mock.requests_total(), 0);
}

fn chunks(body: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(body.len() + 4096);
    for chunk in body.chunks(MIB) {
        out.extend_from_slice(format!("{:x}\r\n", chunk.len()).as_bytes());
        out.extend_from_slice(chunk);
        out.extend_from_slice(b"\r\n");
    }
    out.extend_from_slice(b"0\r\n\r\n");
    out
}

#[tokio::test]
async fn a_body_of_the_limit_passes() {
    let world = World::start("server.body_limit_mib = 1\nserver.body_memory_mib = 1").await;
    let body = long(MIB - 65);
    assert_eq!(body.len(), MIB);
    let answer = world.send(world.post("/v1/chat/completions", body)).await;
    assert_eq!(answer.status, 200, "{answer:?}");
    check_refusal(Dialect::OpenAi, &world.send(world.post("/v1/chat/completions", long(MIB))).await, 413);
    world.settled().await;
    assert_eq!(world.app.body_memory.used(), 0);
}

#[tokio::test]
async fn bodies_in_memory_are_bounded_together() {
    let world = World::start("server.body_limit_mib = 1\nserver.body_memory_mib = 1").await;
    let body = long(MIB / 2);
    let mut first = TcpStream::connect(world.address).await.unwrap();
    let first_head = head("POST", "/v1/chat/completions", &format!("content-length: {}\r\n", body.len()));
    first.write_all(first_head.as_bytes()).await.unwrap();
    first.write_all(&body[..body.len() - 1]).await.unwrap();
    let held = async {
        while world.app.body_memory.used() < body.len() - 1 {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(LONG, held).await.expect("the first body is never held");
    let answer = world.send(world.post("/v1/messages", long(MIB / 2 + 1024))).await;
    check_refusal(Dialect::Anthropic, &answer, 503);
    assert_eq!(answer.header("retry-after"), "1");
    first.write_all(&body[body.len() - 1..]).await.unwrap();
    let mut bytes = Vec::new();
    first.read_to_end(&mut bytes).await.unwrap();
    assert_eq!(Reply::split(&mut bytes).unwrap().status, 200);
    world.settled().await;
    assert_eq!(world.app.body_memory.used(), 0, "every byte is given back");
}

#[tokio::test]
async fn a_body_that_never_comes_is_not_waited_for_for_ever() {
    let world = World::start("server.body_timeout_s = 1").await;
    for (dialect, path) in PATHS {
        let bytes = head("POST", path, "content-length: 100\r\n") + r#"{"model":"#;
        let reply = ask(world.address, bytes.as_bytes()).await;
        assert_eq!((reply.status, reply.header("x-should-retry")), (408, ""));
        check_shape(dialect, &reply.body, 408, reply.header("x-tollgate-request-id"));
    }
    let entries = world.entries().await;
    assert!(entries.iter().all(|entry| entry.outcome == Outcome::Refused && &*entry.reason == "body_timeout"));
    assert_eq!(entries.len(), 3);
}

#[tokio::test]
async fn one_byte_a_moment_is_too_slow_as_well() {
    let world = World::start("server.body_timeout_s = 1").await;
    let mut stream = TcpStream::connect(world.address).await.unwrap();
    stream.write_all(head("POST", "/v1/messages", "content-length: 100000\r\n").as_bytes()).await.unwrap();
    let (mut from, mut to) = stream.split();
    let drip = async {
        let mut ticks = tokio::time::interval(std::time::Duration::from_millis(50));
        loop {
            ticks.tick().await;
            if to.write_all(b" ").await.is_err() {
                return std::future::pending::<()>().await;
            }
        }
    };
    let mut bytes = Vec::new();
    tokio::select! {
        () = drip => {}
        _ended = tokio::time::timeout(LONG, from.read_to_end(&mut bytes)) => {}
    }
    assert_eq!(Reply::split(&mut bytes).unwrap().status, 408);
}

#[tokio::test]
async fn a_body_that_breaks_off_has_an_entry() {
    let world = World::start("").await;
    let mut stream = TcpStream::connect(world.address).await.unwrap();
    let begun = head("POST", "/v1/messages", "content-length: 100\r\n") + "{";
    stream.write_all(begun.as_bytes()).await.unwrap();
    let begun = async {
        while world.app.metrics.in_flight.get() == 0 {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(LONG, begun).await.unwrap();
    drop(stream);
    let entries = world.entries().await;
    assert_eq!(entries.len(), 1, "{entries:?}");
    assert!(entries[0].attempts.is_empty());
    for broken in ["zz\r\n", "5\r\n{\"mod", "ffffffffffffffffff\r\n"] {
        let bytes = head("POST", "/v1/messages", "transfer-encoding: chunked\r\n") + broken;
        let mut stream = TcpStream::connect(world.address).await.unwrap();
        stream.write_all(bytes.as_bytes()).await.unwrap();
        stream.shutdown().await.unwrap();
        let mut answer = Vec::new();
        let _ended = tokio::time::timeout(LONG, stream.read_to_end(&mut answer)).await.expect("no end");
    }
    world.settled().await;
}

/// A clock that stands until the test moves it.
fn manual() -> (Arc<AtomicU64>, Surroundings) {
    let now_us = Arc::new(AtomicU64::new(1_795_000_020_000_000));
    (now_us.clone(), Surroundings { clock: Clock::Manual(now_us), ..Surroundings::default() })
}

#[tokio::test]
async fn refusals_beyond_ten_a_minute_are_counted_in_one_entry() {
    let (now_us, surroundings) = manual();
    let world = World::on("", surroundings).await;
    for _ in 0..25 {
        check_refusal(Dialect::OpenAi, &world.send(world.post("/v1/embeddings", "{")).await, 400);
    }
    // Somebody else's refusals are counted on their own, and nobody's are not.
    let with = |credential: &str| {
        let request = Request::post(format!("http://{}/v1/embeddings", world.address));
        request.header("authorization", format!("Bearer {credential}")).body(Full::new("{".into())).unwrap()
    };
    check_refusal(Dialect::OpenAi, &world.send(with("sk-somebody")).await, 400);
    check_refusal(Dialect::OpenAi, &world.send(with("tg_nobody")).await, 401);
    assert_eq!(world.entries().await.len(), 11);
    now_us.fetch_add(60_000_000, Ordering::Relaxed);
    world.app.bank.tick();
    let entries = world.entries().await;
    assert_eq!(entries.iter().map(|entry| u64::from(entry.requests)).sum::<u64>(), 26);
    let of_ci: Vec<u64> =
        entries.iter().filter(|entry| &*entry.account.key == "ci").map(|entry| u64::from(entry.requests)).collect();
    assert_eq!(of_ci, [[1; 10].as_slice(), &[15]].concat());
    assert!(entries.iter().all(|entry| entry.outcome == Outcome::Refused && &*entry.reason == "malformed"));
    world.app.scribe.catch_up(LONG);
    let metrics = world.app.metrics.render();
    assert!(metrics.contains("tollgate_requests_total"), "{metrics}");
    assert!(!metrics.contains(KEY));
}
