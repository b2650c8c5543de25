//! An upstream that closes idle sockets whenever it likes: a request may then find its connection gone, and is sent again
//! only if nobody can have seen it. And connections that grow old on our side.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use http::StatusCode;
use http_body_util::BodyExt;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tollgate::app::Surroundings;
use tollgate::clock::Clock;
use tollgate::domain::entry::Outcome;
use tollgate::domain::tokens::UsageSource;

use crate::again::GOOD;
use crate::dice::Dice;
use crate::raw::LONG;
use crate::world::{self, World};

/// How long Tollgate keeps an unused connection; the upstream keeps it for anything up to twice as long.
const KEPT_MS: u64 = 1_000;

const STREAM: &str = r#"{"model":"gpt-4o-mini","stream":true,"messages":[{"role":"user","content":"hello"}]}"#;

/// Clients, and requests of each.
const CLIENTS: u64 = 100;

/// 600 requests, or as many as `TOLLGATE_IDLE_REQUESTS` says: 10000 take about a minute.
fn requests() -> u64 {
    std::env::var("TOLLGATE_IDLE_REQUESTS").map_or(600, |count| count.parse().unwrap())
}

/// What the upstream has seen.
#[derive(Default)]
struct Seen {
    /// Requests that were read whole, by their number.
    calls: Mutex<HashMap<String, u64>>,
    connections: AtomicU64,
    closed: AtomicU64,
}

async fn upstream(seen: Arc<Seen>) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let number = seen.connections.fetch_add(1, Ordering::Relaxed);
            tokio::spawn(serve(stream, Dice::new(number), seen.clone()));
        }
    });
    address
}

/// Answers until the connection has been idle for a time that is drawn anew after each answer.
async fn serve(mut stream: TcpStream, mut dice: Dice, seen: Arc<Seen>) {
    stream.set_nodelay(true).unwrap();
    let (mut buffer, mut is_fresh) = (Vec::new(), true);
    loop {
        let kept = if is_fresh { LONG } else { Duration::from_millis(dice.roll(2 * KEPT_MS)) };
        let end = loop {
            if let Some(end) = buffer.windows(4).position(|four| four == b"\r\n\r\n") {
                break end + 4;
            }
            let wait = if buffer.is_empty() { kept } else { LONG };
            match tokio::time::timeout(wait, stream.read_buf(&mut buffer)).await {
                Ok(Ok(1..)) => {}
                Ok(_) => return,
                Err(_) => {
                    seen.closed.fetch_add(1, Ordering::Relaxed);
                    return;
                }
            }
        };
        let head = String::from_utf8(buffer[..end].to_vec()).unwrap().to_lowercase();
        let value = |name: &str| head.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": ")).unwrap();
        let (length, number) = (value("content-length").parse::<usize>().unwrap(), value("x-number").to_owned());
        while buffer.len() < end + length {
            if stream.read_buf(&mut buffer).await.is_ok_and(|count| count == 0) {
                return;
            }
        }
        buffer.drain(..end + length);
        *seen.calls.lock().unwrap().entry(number).or_default() += 1;
        let answer = format!(
            "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n{GOOD}",
            GOOD.len()
        );
        if stream.write_all(answer.as_bytes()).await.is_err() {
            return;
        }
        is_fresh = false;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sockets_that_close_at_any_moment_cause_no_second_call() {
    let (seen, total) = (Arc::new(Seen::default()), requests());
    let address = upstream(seen.clone()).await;
    let extra = "upstream.retries = 2\nupstream.pool_idle_s = 1";
    let world = Arc::new(World::before(address, world::provider().await.1, extra, world::PATIENCE).await);
    let clients = (0..CLIENTS).map(|client| {
        let world = world.clone();
        tokio::spawn(async move {
            let (mut dice, mut errors) = (Dice::new(client + 1_000_000), 0);
            for turn in 0..total / CLIENTS {
                let mut request = world.post("/v1/chat/completions", r#"{"model":"gpt-4o-mini","messages":[]}"#);
                let number = format!("{client}-{turn}");
                request.headers_mut().insert("x-number", number.parse().unwrap());
                let answer = world.client.request(request).await.unwrap();
                let status = answer.status();
                answer.into_body().collect().await.unwrap();
                assert!(status == StatusCode::OK || status == StatusCode::BAD_GATEWAY, "{status}");
                errors += u64::from(status != StatusCode::OK);
                // The client thinks, so that the connection is idle.
                let thought = Duration::from_millis(dice.roll(KEPT_MS + KEPT_MS / 4));
                let _over = tokio::time::timeout(thought, std::future::pending::<()>()).await;
            }
            errors
        })
    });
    let mut errors = 0;
    for client in clients.collect::<Vec<_>>() {
        errors += client.await.unwrap();
    }
    let calls = seen.calls.lock().unwrap().clone();
    assert!(calls.values().all(|count| *count == 1), "{:?}", calls.iter().find(|(_, count)| **count > 1));
    let entries = world.entries().await;
    assert_eq!(entries.len() as u64, total / CLIENTS * CLIENTS);
    // An error is one of a request of which bytes were written, and is charged as one that may be billed.
    let failed: Vec<_> = entries.iter().filter(|entry| entry.status != 200).collect();
    assert_eq!(failed.len() as u64, errors);
    for entry in failed {
        assert_eq!((entry.outcome, entry.usage_source), (Outcome::UpstreamAborted, UsageSource::Assumed), "{entry:?}");
        assert_eq!(entry.attempts.len(), 1, "{entry:?}");
    }
    let [connections, closed] = [&seen.connections, &seen.closed].map(|count| count.load(Ordering::Relaxed));
    println!(
        "{total} requests on {connections} connections, of which the upstream closed {closed}: {errors} errors, no second call"
    );
    // Few of many: a connection that is in use again and again outlives most draws.
    assert!(closed >= 10, "{closed} of {connections}");
    assert!(errors * 100 <= total, "{errors}");
}

#[tokio::test]
async fn connections_grow_old_and_what_is_under_way_on_them_goes_on() {
    let (seen, now_us) = (Arc::new(Seen::default()), Arc::new(AtomicU64::new(1_795_000_000_000_000)));
    let address = upstream(seen.clone()).await;
    let surroundings = Surroundings { clock: Clock::Manual(now_us.clone()), ..Surroundings::default() };
    let (folder, extra) = (tempfile::tempdir().unwrap(), "upstream.pool_age_s = 300\nupstream.pool_idle_s = 3600");
    let world = World::in_folder(address, world::provider().await.1, extra, surroundings, folder).await;
    let ask = async |number: u64| {
        let mut request = world.post("/v1/chat/completions", r#"{"model":"gpt-4o-mini","messages":[]}"#);
        request.headers_mut().insert("x-number", number.into());
        world.send(request).await.status
    };
    for (number, passed_s, connections) in [(1, 0, 1), (2, 299, 1), (3, 1, 2), (4, 1, 2), (5, 300, 3)] {
        now_us.fetch_add(passed_s * 1_000_000, Ordering::Relaxed);
        // The server does so each second.
        world.app.renew_connections();
        assert_eq!(ask(number).await, 200);
        assert_eq!(seen.connections.load(Ordering::Relaxed), connections, "{number}");
    }
    let (provider, mock) = world::provider().await;
    let world = World::before(provider, mock, "", world::PATIENCE).await;
    let mut request = world.post("/v1/chat/completions", STREAM);
    request.headers_mut().insert("x-mock-gate", "held".parse().unwrap());
    let held = world.open(request).await;
    let provider = world.app.snapshot.load().provider("openai").unwrap().clone();
    for hours in [1, 2] {
        provider.renew_connections(hours * 3_600_000_000);
    }
    world.mock.gate("held").open();
    assert!(held.into_body().collect().await.unwrap().to_bytes().ends_with(b"data: [DONE]\n\n"));
}
