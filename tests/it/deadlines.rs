//! One time for the whole: a wait that would pass it is not begun, attempts share it, and a connection that does not come about is
//! given up. And what was never processed, by the upstream's own word, costs nothing and may be sent again.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use http::StatusCode;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tollgate::domain::entry::Outcome;
use tollgate::domain::money::Usd;
use tollgate::domain::tokens::UsageSource;

use crate::again::{GOOD, backup};
use crate::wire::{Fake, Reply};
use crate::world::{self, World};

const CHAT: &str = "/v1/chat/completions";
const WHOLE: &str = r#"{"model":"gpt-4o-mini","max_tokens":9,"messages":[{"role":"user","content":"hello"}]}"#;

#[tokio::test]
async fn a_wait_beyond_the_time_for_the_whole_is_not_begun() {
    for (headers, status, attempts) in
        [("retry-after: 9\r\n", 429, 1), ("retry-after-ms: 9000\r\n", 429, 1), ("retry-after-ms: 9\r\n", 200, 2)]
    {
        let next = AtomicUsize::new(0);
        let fake = Fake::start(move |_| match next.fetch_add(1, Ordering::Relaxed) {
            0 => Reply::whole("429 Slow down", headers, "{}"),
            _ => Reply::whole("200 OK", "content-type: application/json\r\n", GOOD),
        })
        .await;
        let extra = "upstream.retries = 3\nupstream.total_timeout_s = 8\nupstream.retry_wait_s_max = 60";
        let world = World::before(fake.address, world::provider().await.1, extra, world::PATIENCE).await;
        let answer = world.send(world.post(CHAT, WHOLE)).await;
        assert_eq!((answer.status.as_u16(), fake.seen().len()), (status, attempts), "{headers}");
    }
}

#[tokio::test]
async fn all_attempts_share_one_time() {
    let extra = "upstream.retries = 9\nupstream.total_timeout_s = 1\nupstream.retry_budget_percent = 100";
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let _head = stream.read(&mut [0; 4096]).await;
            // It thinks about each no for a while.
            let _over = tokio::time::timeout(Duration::from_millis(400), std::future::pending::<()>()).await;
            let no = "HTTP/1.1 503 No\r\nconnection: close\r\ncontent-length: 2\r\n\r\n{}";
            let _written = stream.write_all(no.as_bytes()).await;
        }
    });
    let world = World::before(address, world::provider().await.1, extra, world::PATIENCE).await;
    let answer = world.send(world.post(CHAT, WHOLE)).await;
    assert!([503, 504].contains(&answer.status.as_u16()), "{}", answer.text());
    // Ten attempts would take four seconds.
    let entry = world.entries().await.pop().unwrap();
    assert!((1..=4).contains(&entry.attempts.len()), "{:?}", entry.attempts);
}

#[tokio::test]
async fn what_was_sent_and_got_no_answer_is_sent_again_only_if_config_says_so() {
    for (said, status, calls) in [(false, 502, 1), (true, 200, 2)] {
        let world = World::start(&format!("upstream.retries = 2\nupstream.retry_unanswered = {said}")).await;
        let mut request = world.post(CHAT, WHOLE);
        for (name, value) in [("x-mock-fault", "reset"), ("x-mock-fault-times", "1"), ("x-mock-fault-key", "once")] {
            request.headers_mut().insert(name, value.parse().unwrap());
        }
        assert_eq!(world.send(request).await.status.as_u16(), status);
        assert_eq!(world.mock.requests_total(), calls);
        let entry = world.entries().await.pop().unwrap();
        assert_eq!(entry.attempts.len() as u64, calls);
        // Both may be billed, and both are: each has its own line on the bill and in the ledger.
        assert_eq!(world.mock.bill().lines().len() as u64, calls);
        assert!(entry.cost.unwrap() >= world.mock.bill().total() && entry.usage_source.is_estimated(), "{entry:?}");
    }
}

/// A request to `base`, where no connection comes about: it costs nothing, and is asked for twice.
async fn check_unreachable(base: &str) {
    let extra = format!(
        "[upstreams.mute]\ndialect = \"openai\"\nprovider = \"openai\"\napi_key = {{ env = \"PROVIDER_KEY\" }}\n\
         base_url = \"{base}\"\nconnect_timeout_s = 1\nretries = 1\n"
    );
    let world = World::start(&extra).await;
    let answer = world.send(world.post("/u/mute/v1/chat/completions", WHOLE)).await;
    assert_eq!((answer.status, answer.header("x-tollgate-refused")), (StatusCode::BAD_GATEWAY, "upstream_unreachable"));
    let entry = world.entries().await.pop().unwrap();
    assert_eq!((entry.outcome, entry.cost, entry.attempts.len()), (Outcome::UpstreamAborted, Some(Usd::ZERO), 2));
}

#[tokio::test]
async fn a_connection_that_does_not_come_about_is_given_up() {
    // A server that takes connections and never speaks TLS.
    let mute = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = mute.local_addr().unwrap();
    let held = tokio::spawn(async move {
        let mut held = Vec::new();
        while let Ok((stream, _)) = mute.accept().await {
            held.push(stream);
        }
    });
    check_unreachable(&format!("https://{address}")).await;
    held.abort();
    // One whose line of connections is full, so that the system does not answer.
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind(SocketAddr::from(([127, 0, 0, 1], 0))).unwrap();
    let full = socket.listen(1).unwrap();
    let address = full.local_addr().unwrap();
    let mut line = Vec::new();
    while let Ok(connected) = tokio::time::timeout(Duration::from_millis(300), TcpStream::connect(address)).await {
        line.push(connected.unwrap());
        assert!(line.len() < 64, "the line is never full");
    }
    check_unreachable(&format!("http://{address}")).await;
}

/// A frame of HTTP/2.
fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
    [&length[1..], &[kind, flags], &stream.to_be_bytes(), payload].concat()
}

/// How an upstream turns a stream down before it has looked at it (RFC 9113, 8.7).
#[derive(Clone, Copy, Debug)]
enum No {
    RefusedStream,
    GoAway,
}

/// Speaks HTTP/2: says no to the first request, and answers all others.
async fn refusing(mut stream: TcpStream, no: No, asked: Arc<AtomicUsize>) -> std::io::Result<()> {
    let mut preface = [0; 24];
    stream.read_exact(&mut preface).await?;
    stream.write_all(&frame(4, 0, 0, &[])).await?;
    loop {
        let mut head = [0; 9];
        stream.read_exact(&mut head).await?;
        let length = u32::from_be_bytes([0, head[0], head[1], head[2]]);
        let (kind, flags) = (head[3], head[4]);
        let number = u32::from_be_bytes([head[5], head[6], head[7], head[8]]);
        let mut payload = vec![0; usize::try_from(length).unwrap()];
        stream.read_exact(&mut payload).await?;
        match kind {
            // The peer's settings are taken note of.
            4 if flags == 0 => stream.write_all(&frame(4, 1, 0, &[])).await?,
            // Headers.
            1 if asked.fetch_add(1, Ordering::Relaxed) == 0 => match no {
                No::RefusedStream => stream.write_all(&frame(3, 0, number, &7_u32.to_be_bytes())).await?,
                No::GoAway => stream.write_all(&frame(7, 0, 0, &[0; 8])).await?,
            },
            // The end of a body: `:status: 200`, and all of the answer.
            0 if flags & 1 > 0 => {
                let answer = [frame(1, 4, number, &[0x88]), frame(0, 1, number, GOOD.as_bytes())].concat();
                stream.write_all(&answer).await?;
            }
            _ => {}
        }
    }
}

#[tokio::test]
async fn a_stream_that_was_refused_before_it_was_looked_at_costs_nothing_and_is_sent_again() {
    for no in [No::RefusedStream, No::GoAway] {
        for (retries, status, cost) in [(0, 502, Some(Usd::ZERO)), (1, 200, None)] {
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            let (address, asked) = (listener.local_addr().unwrap(), Arc::new(AtomicUsize::new(0)));
            let counted = asked.clone();
            tokio::spawn(async move {
                while let Ok((stream, _)) = listener.accept().await {
                    tokio::spawn(refusing(stream, no, counted.clone()));
                }
            });
            let extra = format!("upstream.retries = {retries}\nupstream.http2 = true");
            let world = World::before(address, world::provider().await.1, &extra, world::PATIENCE).await;
            let answer = world.send(world.post(CHAT, WHOLE)).await;
            assert_eq!(answer.status.as_u16(), status, "{no:?} {}", answer.text());
            let entry = world.entries().await.pop().unwrap();
            assert_eq!(entry.attempts.len(), retries + 1, "{no:?}");
            assert_eq!(entry.attempts[0].cost, Some(Usd::ZERO), "{no:?}");
            match cost {
                Some(cost) => assert_eq!(entry.cost, Some(cost), "{no:?}"),
                None => assert_eq!(entry.usage_source, UsageSource::Reported, "{no:?}"),
            }
        }
    }
}

/// The time that one attempt's head has where it is short.
const HEAD: Duration = Duration::from_millis(800);

/// An upstream that answers after 700 ms, each time as `said` says; without a word for it, never.
async fn slow(said: &'static [&'static str]) -> (SocketAddr, Arc<AtomicUsize>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let (address, calls) = (listener.local_addr().unwrap(), Arc::new(AtomicUsize::new(0)));
    let count = calls.clone();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let nth = count.fetch_add(1, Ordering::Relaxed);
            tokio::spawn(async move {
                let _head = stream.read(&mut [0; 4096]).await;
                let wait = if said.get(nth).is_some() { HEAD * 7 / 8 } else { world::PATIENCE };
                let _over = tokio::time::timeout(wait, std::future::pending::<()>()).await;
                let _written = stream.write_all(said.get(nth).unwrap_or(&"").as_bytes()).await;
                if said.get(nth).is_some_and(|said| said.contains("content-length: 99")) {
                    std::future::pending::<()>().await;
                }
            });
        }
    });
    (address, calls)
}

const NO: &str = "HTTP/1.1 503 No\r\nretry-after-ms: 1\r\nconnection: close\r\ncontent-length: 2\r\n\r\n{}";
/// Its body never comes.
const HALF: &str = "HTTP/1.1 503 No\r\nretry-after-ms: 1\r\nconnection: close\r\ncontent-length: 99\r\n\r\n{";

#[tokio::test]
async fn the_heads_of_all_attempts_at_a_stream_have_one_time() {
    let stream = WHOLE.replacen('{', "{\"stream\":true,", 1);
    let (address, calls) = slow(&[NO, NO]).await;
    let extra = "upstream.retries = 9\nupstream.retry_budget_percent = 100";
    let world = World::before(address, world::provider().await.1, extra, HEAD).await;
    let begun = std::time::Instant::now();
    let answer = world.send(world.post(CHAT, stream)).await;
    // The last answer of an upstream, after twice the time of one attempt: the third had what was left.
    assert_eq!((answer.status.as_u16(), answer.text()), (503, "{}"));
    assert!((HEAD * 2..HEAD * 3).contains(&begun.elapsed()), "{:?}", begun.elapsed());
    assert_eq!(calls.load(Ordering::Relaxed), 3);
}

#[tokio::test]
async fn no_attempt_begins_when_the_time_is_over_and_a_stalled_error_is_not_waited_for() {
    for (said, status, text) in [(&[HALF][..], 504, "in time"), (&[NO, HALF], 503, "{}")] {
        let (address, calls) = slow(said).await;
        let extra = "upstream.retries = 5\nupstream.retry_budget_percent = 100\nupstream.total_timeout_s = 2";
        let world = World::before(address, world::provider().await.1, extra, world::PATIENCE).await;
        let begun = std::time::Instant::now();
        let answer = world.send(world.post(CHAT, WHOLE)).await;
        assert!(begun.elapsed() < Duration::from_secs(3), "{:?}", begun.elapsed());
        assert!(answer.status.as_u16() == status && answer.text().contains(text), "{}", answer.text());
        let entry = world.entries().await.pop().unwrap();
        assert_eq!((entry.attempts.len(), entry.status), (said.len(), status), "{entry:?}");
        assert_eq!(calls.load(Ordering::Relaxed), said.len());
    }
}

#[tokio::test]
async fn an_attempt_that_hangs_leaves_time_for_the_next_where_config_lets_it_follow() {
    let stream = WHOLE.replacen('{', "{\"stream\":true,", 1);
    for body in [WHOLE, &stream] {
        for (said, status, calls) in [(false, 504, 1), (true, 200, 2)] {
            let extra = format!("upstream.retries = 2\nupstream.retry_unanswered = {said}");
            let world = World::impatient(&extra, HEAD).await;
            let mut request = world.post(CHAT, body.to_owned());
            for (name, value) in [("x-mock-fault", "hang"), ("x-mock-fault-times", "1"), ("x-mock-fault-key", "once")] {
                request.headers_mut().insert(name, value.parse().unwrap());
            }
            assert_eq!(world.send(request).await.status.as_u16(), status, "{said} {body}");
            assert_eq!(world.mock.requests_total(), calls);
            let entry = world.entries().await.pop().unwrap();
            assert_eq!(entry.attempts.len() as u64, calls);
            assert!(entry.cost.unwrap() >= world.mock.bill().total(), "{entry:?}");
        }
    }
}

#[tokio::test]
async fn who_waited_long_for_a_connection_or_a_head_asks_somebody_else() {
    let mute = TcpListener::bind("127.0.0.1:0").await.unwrap();
    for (scheme, extra) in [("https", ""), ("http", "retry_unanswered = true\n")] {
        let other = Fake::start(|_| Reply::whole("200 OK", "content-type: application/json\r\n", GOOD)).await;
        let extra = format!(
            "[upstreams.mute]\ndialect = \"openai\"\nprovider = \"openai\"\napi_key = {{ env = \"PROVIDER_KEY\" }}\n\
             base_url = \"{scheme}://{}\"\nmodels = [\"gpt-*\"]\nconnect_timeout_s = 1\n{extra}{}",
            mute.local_addr().unwrap(),
            backup(other.address)
        );
        // A connection that does not come about has no less time than a head.
        let world = World::before(other.address, world::provider().await.1, &extra, Duration::from_secs(1)).await;
        let answer = world.send(world.post(CHAT, WHOLE)).await;
        assert_eq!(
            (answer.status.as_u16(), answer.header("x-tollgate-reason")),
            (200, "fallback"),
            "{}",
            answer.text()
        );
        let entry = world.entries().await.pop().unwrap();
        let asked: Vec<_> = entry.attempts.iter().map(|attempt| &*attempt.upstream).collect();
        assert_eq!(asked, ["mute", "backup"], "{scheme}");
    }
}

#[tokio::test]
async fn an_attempt_that_had_little_time_says_nothing_of_its_upstream() {
    let mute = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let upstream = |name: &str, models: &str| {
        format!(
            "[upstreams.{name}]\ndialect = \"openai\"\nprovider = \"openai\"\napi_key = {{ env = \"PROVIDER_KEY\" }}\n\
             base_url = \"http://{}\"\nmodels = [\"{models}\"]\ntotal_timeout_s = 1\nretry_unanswered = true\n",
            mute.local_addr().unwrap()
        )
    };
    let extra = upstream("first", "gpt-*") + &upstream("late", "none") + "[models.\"gpt-*\"]\nfallback = [\"late\"]\n";
    let world = World::before(world::provider().await.0, world::provider().await.1, &extra, HEAD).await;
    // A second for both, of which the first takes most.
    assert_eq!(world.send(world.post(CHAT, WHOLE)).await.status, 504);
    assert_eq!(world.entries().await.pop().unwrap().attempts.len(), 2);
    let snapshot = world.app.snapshot.load();
    let troubled = |name: &str| snapshot.provider(name).unwrap().breakers.states(world.app.clock.ticks_us()).len();
    assert_eq!([troubled("first"), troubled("late")], [1, 0]);
}
