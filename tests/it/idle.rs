//! An upstream that closes idle sockets whenever it likes: a request may then find its connection gone, and is sent again
//! only if nobody can have seen it. And connections that grow old on our side.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
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
use tollgate::upstream::names::Names;

use crate::again::GOOD;
use crate::dice::Dice;
use crate::raw::LONG;
use crate::wire::{Fake, Reply};
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
    /// Requests that came in the moment of a close, and were read instead.
    late: AtomicU64,
}

/// Whether there is anything to read, by the system's own word.
fn has_come(stream: &TcpStream) -> bool {
    socket2::SockRef::from(stream).peek(&mut [std::mem::MaybeUninit::uninit()]).is_ok_and(|count| count > 0)
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
            let wait = if buffer.is_empty() && !has_come(&stream) { kept } else { LONG };
            match tokio::time::timeout(wait, stream.read_buf(&mut buffer)).await {
                Ok(Ok(1..)) => {}
                Ok(_) => return,
                // It closes what is idle: what has come, and has not been told to it yet, is read (as servers do that look at
                // their sockets before their timers).
                Err(_) if has_come(&stream) => {
                    seen.late.fetch_add(1, Ordering::Relaxed);
                }
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
    let [connections, closed, late] =
        [&seen.connections, &seen.closed, &seen.late].map(|count| count.load(Ordering::Relaxed));
    let again = world.app.metrics.render();
    let again = again.lines().find(|line| line.contains("kind=\"connection\"") || line.contains("\"connection\""));
    println!(
        "{total} requests on {connections} connections, of which the upstream closed {closed}: {errors} errors, no second call; \
         {late} came in the moment of a close; turned back and sent elsewhere: {again:?}"
    );
    // Few of many: a connection that is in use again and again outlives most draws.
    assert!(closed >= 10, "{closed} of {connections}");
    assert!(errors * 10_000 <= total.max(10_000), "{errors}");
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

/// Two sockets with the same port on two addresses.
async fn two_places() -> (TcpListener, TcpListener, u16) {
    loop {
        let four = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let port = four.local_addr().unwrap().port();
        // Somebody else may have that one.
        if let Ok(six) = TcpListener::bind((Ipv6Addr::LOCALHOST, port)).await {
            return (four, six, port);
        }
    }
}

#[tokio::test]
async fn a_name_that_moves_is_followed() {
    let (four, six, port) = two_places().await;
    let closes = Arc::new(AtomicU64::new(0));
    let place = |listener| {
        let closes = closes.clone();
        Fake::on(listener, move |_| {
            let is_last = closes.load(Ordering::Relaxed) > 0;
            let close = if is_last { "connection: close\r\n" } else { "" };
            let reply = Reply::whole("200 OK", &format!("content-type: application/json\r\n{close}"), GOOD);
            Reply { closes: is_last, ..reply }
        })
    };
    let (old, new) = (place(four), place(six));
    let known = Arc::new(Mutex::new(HashMap::new()));
    let moves = |address: IpAddr| _ = known.lock().unwrap().insert("provider.test".to_owned(), address);
    let now_us = Arc::new(AtomicU64::new(1_795_000_000_000_000));
    let (clock, names) = (Clock::Manual(now_us.clone()), Names::Given(known.clone()));
    let extra = format!(
        "[upstreams.moving]\ndialect = \"openai\"\nprovider = \"openai\"\napi_key = {{ env = \"PROVIDER_KEY\" }}\n\
         base_url = \"http://provider.test:{port}\"\nretries = 0\npool_age_s = 300\n"
    );
    let world = World::on(&extra, Surroundings { clock, names, ..Surroundings::default() }).await;
    let ask = async || {
        let request = world.post("/u/moving/v1/chat/completions", r#"{"model":"gpt-4o-mini","messages":[]}"#);
        (world.send(request).await.status.as_u16(), old.seen().len(), new.seen().len())
    };
    world.app.renew_connections();
    moves(Ipv4Addr::LOCALHOST.into());
    assert_eq!(ask().await, (200, 1, 0));
    // A connection that lives is used on, for its time.
    moves(Ipv6Addr::LOCALHOST.into());
    assert_eq!(ask().await, (200, 2, 0));
    now_us.fetch_add(300_000_000, Ordering::Relaxed);
    world.app.renew_connections();
    assert_eq!(ask().await, (200, 2, 1));
    // Once the new place closes its connections, whoever comes next asks for the name.
    closes.store(1, Ordering::Relaxed);
    assert_eq!(ask().await, (200, 2, 2));
    moves(Ipv4Addr::LOCALHOST.into());
    assert_eq!(ask().await, (200, 3, 2));
    known.lock().unwrap().clear();
    assert_eq!(ask().await, (502, 3, 2));
    let last = world.entries().await.pop().unwrap();
    assert_eq!((last.outcome, last.cost), (Outcome::UpstreamAborted, Some(tollgate::domain::money::Usd::ZERO)));
}
