//! Upstreams and clients that do what nobody should: each costs at most what it is worth, and nobody else anything.

use std::io::Write as _;
use std::net::SocketAddr;
use std::time::Duration;

use http::StatusCode;
use http_body_util::BodyExt;
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tollgate::domain::entry::Outcome;
use tollgate::domain::money::Usd;
use tollgate::domain::tokens::UsageSource;

use crate::again::GOOD;
use crate::raw::{LONG, head};
use crate::wire::{Fake, Reply};
use crate::world::{self, World};

const CHAT: &str = "/v1/chat/completions";
const WHOLE: &str = r#"{"model":"gpt-4o-mini","max_tokens":9,"messages":[{"role":"user","content":"hello"}]}"#;
const STREAM: &str =
    r#"{"model":"gpt-4o-mini","stream":true,"max_tokens":9,"messages":[{"role":"user","content":"hello"}]}"#;

/// The longest silence of an upstream in these tests.
const SILENCE: Duration = Duration::from_secs(2);

async fn before(address: SocketAddr, extra: &str) -> World {
    World::before(address, world::provider().await.1, extra, SILENCE).await
}

/// An upstream that reads a request's head and then does what it likes.
async fn wild<F, A>(act: F) -> SocketAddr
where
    F: Fn(TcpStream) -> A + Send + 'static,
    A: Future<Output = ()> + Send + 'static,
{
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(act(stream));
        }
    });
    address
}

fn good(head: &str) -> String {
    format!("HTTP/1.1 200 OK\r\n{head}content-length: {}\r\n\r\n{GOOD}", GOOD.len())
}

/// What a client gets of an upstream that says `bytes` and closes, whole and streamed; `None`: it is cut.
async fn check(name: &str, bytes: &[u8], expect: [Option<u16>; 2]) {
    let text = bytes.to_vec();
    let fake = Fake::start(move |seen| {
        let mut text = text.clone();
        // Whoever asks for events is told that they come.
        if memchr::memmem::find(&seen.body, b"\"stream\":true").is_some()
            && let Some(at) = memchr::memmem::find(&text, b"application/json")
        {
            text.splice(at..at + 16, *b"text/event-stream");
        }
        Reply::closing(text)
    })
    .await;
    let world = before(fake.address, "").await;
    for (body, expect) in [WHOLE, STREAM].into_iter().zip(expect) {
        let answer = tokio::time::timeout(LONG, world.client.request(world.post(CHAT, body))).await.expect(name);
        let got = match answer {
            Ok(answer) => {
                let (status, body) = (answer.status().as_u16(), answer.into_body().collect().await);
                body.is_ok().then_some(status)
            }
            Err(_) => None,
        };
        assert_eq!(got, expect, "{name}: {body}");
    }
    let entries = world.entries().await;
    assert_eq!((entries.len(), fake.seen().len()), (2, 2), "{name}: nobody is asked twice");
    for entry in &entries {
        assert_eq!(entry.attempts.len(), 1, "{name}");
        // It may have been billed, whatever was heard of it.
        assert!(entry.cost.is_some_and(|cost| cost > Usd::ZERO), "{name} {entry:?}");
    }
    assert!(world.app.bank.standings().iter().all(|standing| standing.held == Usd::ZERO), "{name}");
}

#[tokio::test]
async fn heads_and_frames_that_are_none_are_told_as_failures() {
    let bad = [Some(502); 2];
    let ok = "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n";
    check("a huge head", format!("{ok}x: {}\r\n\r\n", "y".repeat(2 << 20)).as_bytes(), bad).await;
    let many: String = (0..5_000).map(|number| format!("x-{number}: y\r\n")).collect();
    check("thousands of headers", format!("{ok}{many}\r\n").as_bytes(), bad).await;
    check("two lengths", format!("{ok}content-length: 5\r\ncontent-length: 7\r\n\r\nhello").as_bytes(), bad).await;
    check("a length below zero", format!("{ok}content-length: -5\r\n\r\nhello").as_bytes(), bad).await;
    check("a header of control characters", format!("{ok}x: \x01\x02\r\n\r\n").as_bytes(), bad).await;
    check("no HTTP", b"SSH-2.0-OpenSSH_9.9\r\n", bad).await;
    check("HTTP of the future", b"HTTP/9.1 200 OK\r\n\r\n", bad).await;
    let chunked = format!("{ok}transfer-encoding: chunked\r\n\r\n");
    for (name, chunks, whole) in [
        ("no chunk", "zz\r\nhello\r\n", Some(502)),
        ("a chunk of more than there is", "fffffffffffffffff\r\nhello", Some(502)),
        // What has begun can only be cut.
        ("a chunk that ends late", "5\r\nhellooooo\r\n0\r\n\r\n", None),
        ("no last chunk", "5\r\nhello\r\n", None),
    ] {
        // A stream has begun by then, and ends with the dialect's error.
        check(name, format!("{chunked}{chunks}").as_bytes(), [whole, Some(200)]).await;
    }
}

#[tokio::test]
async fn what_comes_before_and_behind_an_answer_does_not_spoil_it() {
    let hints = "HTTP/1.1 103 Early Hints\r\nlink: </x>; rel=preload\r\n\r\n".repeat(500);
    let json = "content-type: application/json\r\n";
    check("early hints", format!("HTTP/1.1 100 Continue\r\n\r\n{hints}{}", good(json)).as_bytes(), [Some(200); 2])
        .await;
    let chunk = format!("{:x}\r\n{GOOD}\r\n", GOOD.len());
    let trailers = "0\r\nx-checksum: 1\r\nx-cost: 2\r\n\r\n";
    let chunked =
        format!("HTTP/1.1 200 OK\r\n{json}transfer-encoding: chunked\r\ntrailer: x-cost\r\n\r\n{chunk}{trailers}");
    check("trailers", chunked.as_bytes(), [Some(200); 2]).await;
    check("more than was promised", format!("{}and more", good(json)).as_bytes(), [Some(200); 2]).await;
}

/// Endless bytes, each a moment after the last, until nobody listens.
async fn drip(mut stream: TcpStream, first: &[u8], next: &[u8]) {
    let _head = stream.read(&mut [0; 4096]).await;
    let mut ticks = tokio::time::interval(Duration::from_millis(100));
    let mut is_heard = stream.write_all(first).await.is_ok();
    while is_heard {
        ticks.tick().await;
        is_heard = stream.write_all(next).await.is_ok();
    }
}

#[tokio::test]
async fn heads_that_never_end_are_given_up() {
    for next in ["x", "HTTP/1.1 103 Early Hints\r\n\r\n"] {
        let first = if next == "x" { "HTTP/1.1 200 OK\r\nx: " } else { "" };
        let address = wild(move |stream| drip(stream, first.as_bytes(), next.as_bytes())).await;
        let world = before(address, "").await;
        let answer = tokio::time::timeout(LONG, world.send(world.post(CHAT, WHOLE))).await.expect("no end");
        assert_eq!(answer.status, StatusCode::GATEWAY_TIMEOUT, "{}", answer.text());
        let entry = world.entries().await.pop().unwrap();
        assert_eq!((entry.outcome, entry.usage_source), (Outcome::Timeout, UsageSource::Assumed));
    }
}

#[tokio::test]
async fn a_body_that_never_ends_has_the_time_of_a_whole_answer() {
    let first = "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ntransfer-encoding: chunked\r\n\r\n";
    let address = wild(move |stream| drip(stream, first.as_bytes(), b"1\r\n \r\n")).await;
    let world = before(address, "upstream.total_timeout_s = 3").await;
    let answer = tokio::time::timeout(LONG, world.open(world.post(CHAT, WHOLE))).await.expect("no head");
    let body = tokio::time::timeout(LONG, answer.into_body().collect()).await.expect("no end");
    assert!(body.is_err(), "what has begun can only be cut");
    let entry = world.entries().await.pop().unwrap();
    assert_eq!((entry.outcome, entry.usage_source), (Outcome::Timeout, UsageSource::Assumed));
}

#[tokio::test]
async fn an_upstream_that_never_reads_costs_its_time_and_no_more() {
    let address = wild(|stream| async move {
        // It is held open, and nothing is taken from it.
        std::future::pending::<()>().await;
        drop(stream);
    })
    .await;
    let world = before(address, "").await;
    let text = "x".repeat(12 << 20);
    for body in [WHOLE.to_owned(), WHOLE.replace("hello", &text)] {
        let answer = tokio::time::timeout(LONG, world.send(world.post(CHAT, body))).await.expect("no end");
        assert_eq!(answer.status, StatusCode::GATEWAY_TIMEOUT, "{}", answer.text());
    }
    let entries = world.entries().await;
    assert!(entries.iter().all(|entry| entry.outcome == Outcome::Timeout && entry.attempts.len() == 1), "{entries:?}");
    assert_eq!(world.app.body_memory.used(), 0, "every byte is given back");
}

#[tokio::test]
async fn an_answer_before_the_request_was_read_is_the_answer() {
    let address = wild(|mut stream| async move {
        let _some = stream.read(&mut [0; 1024]).await;
        let refusal = "HTTP/1.1 413 Too Large\r\nconnection: close\r\ncontent-length: 2\r\n\r\n{}";
        let _written = stream.write_all(refusal.as_bytes()).await;
        // It is read all the same, as a server does that wants its word to be heard.
        let mut rest = vec![0; 1 << 16];
        while stream.read(&mut rest).await.is_ok_and(|count| count > 0) {}
    })
    .await;
    let world = before(address, "").await;
    let body = WHOLE.replace("hello", &"x".repeat(12 << 20));
    let answer = tokio::time::timeout(LONG, world.send(world.post(CHAT, body))).await.expect("no end");
    assert_eq!((answer.status.as_u16(), answer.text()), (413, "{}"));
    let entry = world.entries().await.pop().unwrap();
    assert_eq!((entry.status, entry.cost, entry.attempts.len()), (413, Some(Usd::ZERO), 1));
}

#[tokio::test]
async fn a_bomb_passes_as_it_came_and_is_not_kept() {
    let mut bomb = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
    let piece = vec![b' '; 1 << 20];
    (0..256).for_each(|_| bomb.write_all(&piece).unwrap());
    let bomb = bomb.finish().unwrap();
    let length = bomb.len();
    let fake = Fake::start(move |_| {
        Reply::whole("200 OK", "content-type: application/json\r\ncontent-encoding: gzip\r\n", &bomb)
    })
    .await;
    let world =
        World::before(fake.address, world::provider().await.1, "[cache]\nmode = \"exact\"\n", world::PATIENCE).await;
    let answer = tokio::time::timeout(LONG, world.send(world.post(CHAT, WHOLE))).await.expect("no end");
    assert_eq!((answer.status.as_u16(), answer.body.len()), (200, length));
    let entry = world.entries().await.pop().unwrap();
    assert!(entry.usage_source.is_estimated() && entry.cost.is_some_and(|cost| cost > Usd::ZERO), "{entry:?}");
}

#[tokio::test]
async fn hundreds_of_clients_that_say_nothing_keep_nobody_out() {
    let world = World::start("server.header_timeout_s = 3").await;
    let mut silent = Vec::new();
    for number in 0..800 {
        let mut stream = TcpStream::connect(world.address).await.unwrap();
        // Some have begun a head, and go no further.
        if number % 2 == 0 {
            stream.write_all(b"POST /v1/chat/completions HTTP/1.1\r\nhost: x").await.unwrap();
        }
        silent.push(stream);
    }
    assert_eq!(world.send(world.post(CHAT, WHOLE)).await.status, 200);
    for mut stream in silent {
        let mut said = Vec::new();
        let _ended = tokio::time::timeout(LONG, stream.read_to_end(&mut said)).await.expect("it is held for ever");
        assert!(said.is_empty() || said.starts_with(b"HTTP/1.1 408"), "{}", String::from_utf8_lossy(&said));
    }
    assert_eq!(world.send(world.post(CHAT, WHOLE)).await.status, 200);
}

#[tokio::test]
async fn a_client_that_closes_its_half_has_left_and_is_charged_like_one() {
    let world = World::start("").await;
    for body in [WHOLE, STREAM] {
        let mut stream = TcpStream::connect(world.address).await.unwrap();
        let more = format!("x-mock-chunks: 4\r\nx-mock-chunk-ms: 100\r\ncontent-length: {}\r\n", body.len());
        stream.write_all((head("POST", CHAT, &more) + body).as_bytes()).await.unwrap();
        let begun = async {
            while world.mock.requests_total() == 0 {
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(LONG, begun).await.unwrap();
        stream.shutdown().await.unwrap();
        let mut answer = Vec::new();
        let _ended = tokio::time::timeout(LONG, stream.read_to_end(&mut answer)).await.expect("no end");
    }
    let entries = world.entries().await;
    assert_eq!(entries.len(), 2);
    let spent: Usd = entries.iter().filter_map(|entry| entry.cost).sum();
    assert!(spent >= world.mock.bill().total() && spent > Usd::ZERO, "{entries:?}");
}

/// One HTTP/2 connection, whose streams may hold `window` bytes that nobody has read.
async fn http2(
    world: &World,
    window: u32,
) -> hyper::client::conn::http2::SendRequest<http_body_util::Full<bytes::Bytes>> {
    let stream = TcpStream::connect(world.address).await.unwrap();
    let mut builder = hyper::client::conn::http2::Builder::new(TokioExecutor::new());
    builder.initial_stream_window_size(window);
    let (sender, connection) = builder.handshake(TokioIo::new(stream)).await.unwrap();
    tokio::spawn(connection);
    sender
}

#[tokio::test]
async fn streams_that_are_reset_as_fast_as_they_are_opened_leave_nothing_behind() {
    let world = World::start("[money]\ndrain_s_max = 1\n").await;
    let mut began = 0;
    for _ in 0..10 {
        let mut sender = http2(&world, 65_535).await;
        for _ in 0..100 {
            // A server that has had enough closes the connection.
            if sender.ready().await.is_err() {
                break;
            }
            let mut answer = Box::pin(sender.send_request(world.post(CHAT, STREAM)));
            let _sent = futures_once(answer.as_mut()).await;
            began += 1;
            tokio::task::yield_now().await;
        }
    }
    assert!(began > 0);
    assert_eq!(world.send(world.post(CHAT, WHOLE)).await.status, 200);
    let entries = world.entries().await;
    assert!(entries.len() <= began + 1, "{} entries of {began}", entries.len());
    let spent: Usd = entries.iter().filter_map(|entry| entry.cost).sum();
    assert!(world.mock.bill().total() <= spent);
    assert!(world.app.bank.standings().iter().all(|standing| standing.held == Usd::ZERO));
}

/// Polls once, so that a request is on its way.
async fn futures_once<F: Future + Unpin>(mut future: F) -> bool {
    std::future::poll_fn(|context| std::task::Poll::Ready(std::pin::Pin::new(&mut future).poll(context).is_ready()))
        .await
}

#[tokio::test]
async fn a_stream_that_nobody_reads_stops_no_other_on_its_connection() {
    let world = World::start("server.write_timeout_s = 2\n[money]\non_client_abort = \"cancel\"").await;
    let sender = http2(&world, 1_000).await;
    let mut request = world.post(CHAT, STREAM);
    for (name, value) in [("x-mock-tokens", "100000"), ("x-mock-chunks", "20000")] {
        request.headers_mut().insert(name, value.parse().unwrap());
    }
    let unread = sender.clone().send_request(request).await.unwrap();
    for _ in 0..5 {
        let answer = sender.clone().send_request(world.post(CHAT, WHOLE)).await.unwrap();
        assert!(answer.collect().await.unwrap().to_bytes().ends_with(b"}"));
    }
    // It is given up after its time, and settled.
    let entries = world.entries().await;
    assert_eq!(entries.len(), 6);
    assert_eq!(entries.iter().filter(|entry| entry.outcome == Outcome::ClientAbort).count(), 1, "{entries:?}");
    drop(unread);
}
