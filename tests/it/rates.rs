//! Success rates: the same seeded faults for direct calls, through Tollgate, and through Tollgate with somebody to fall back
//! to. `cargo nextest run rates --no-capture` prints the table that stands in the README.

use std::fmt::Write;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use http::Request;
use http_body_util::{BodyExt, Full};
use tollgate::app::Surroundings;
use tollgate::clock::Clock;

use crate::again::{GOOD, backup};
use crate::dice::Dice;
use crate::wire::{Fake, Reply};
use crate::world::{self, World};

/// Requests of each cell, and how many are under way at once.
const REQUESTS: u64 = 200;
const AT_ONCE: u64 = 20;

/// How long whoever hangs is waited for.
const HANG: Duration = Duration::from_secs(1);

/// What goes wrong with one call in ten, each on its own.
const FAULTS: [&str; 11] =
    ["429", "500", "503", "529", "reset-before", "reset", "hang", "cut", "stall", "error-in-stream", "garbage"];

const BODY: &str = r#"{"model":"gpt-4o-mini","max_tokens":9,"messages":[{"role":"user","content":"hello"}]}"#;

/// Which calls fail, and how.
#[derive(Clone, Copy)]
enum Schedule {
    /// One call in ten.
    One(&'static str),
    /// One call in ten, each with another of all faults.
    Mixed,
    /// Every call of the middle third.
    Outage,
}

impl Schedule {
    /// The fault of the request with this number, and how many calls of it are struck.
    fn of(self, number: u64) -> Option<(&'static str, u64)> {
        let mut dice = Dice::new(number.wrapping_mul(7_919));
        let strikes = std::iter::from_fn(|| (dice.roll(10) == 0).then_some(())).count() as u64;
        let fault = match self {
            Self::Outage => return (REQUESTS / 3..REQUESTS * 2 / 3).contains(&number).then_some(("503", u64::MAX)),
            Self::One(fault) => fault,
            Self::Mixed => FAULTS[usize::try_from(dice.roll(FAULTS.len() as u64)).unwrap()],
        };
        (strikes > 0).then_some((fault, strikes))
    }

    const fn name(self) -> &'static str {
        match self {
            Self::One(fault) => fault,
            Self::Mixed => "all of these, mixed",
            Self::Outage => "503 for a third of the time",
        }
    }
}

/// Whether the client got all of a good answer.
async fn is_good(answer: http::Response<hyper::body::Incoming>, is_stream: bool) -> bool {
    if answer.status() != 200 {
        return false;
    }
    let Ok(Ok(body)) = tokio::time::timeout(HANG * 5, answer.into_body().collect()).await else { return false };
    let body = body.to_bytes();
    match is_stream {
        true => body.ends_with(b"data: [DONE]\n\n") && memchr(&body, b"\"error\"").is_none(),
        false => serde_json::from_slice::<serde_json::Value>(&body).is_ok_and(|body| body["choices"].is_array()),
    }
}

fn memchr(body: &[u8], word: &[u8]) -> Option<usize> {
    body.windows(word.len()).position(|window| window == word)
}

/// The good answers, percent.
async fn rate(schedule: Schedule, target: SocketAddr, client: &Arc<World>, now_us: &Arc<AtomicU64>) -> u64 {
    // An outage is one of a time, so that its requests come one after another.
    let at_once = if matches!(schedule, Schedule::Outage) { 1 } else { AT_ONCE };
    let workers: Vec<_> = (0..at_once)
        .map(|worker| {
            let (client, now_us) = (client.clone(), now_us.clone());
            tokio::spawn(async move {
                let mut good = 0;
                for number in (worker..REQUESTS).step_by(usize::try_from(at_once).unwrap()) {
                    let is_stream = number % 2 == 0;
                    let body = if is_stream { BODY.replacen('{', "{\"stream\":true,", 1) } else { BODY.to_owned() };
                    let mut request = Request::post(format!("http://{target}/v1/chat/completions"))
                        .header("authorization", format!("Bearer {}", world::KEY))
                        .header("content-type", "application/json");
                    if let Some((fault, times)) = schedule.of(number) {
                        request = request.header("x-mock-fault", fault).header("x-mock-fault-times", times);
                        request = request.header("x-mock-fault-key", format!("{}-{number}", schedule.name()));
                    }
                    let request = request.body(Full::new(bytes::Bytes::from(body))).unwrap();
                    let answer = tokio::time::timeout(HANG * 5, client.client.request(request)).await;
                    good += match answer {
                        Ok(Ok(answer)) => u64::from(is_good(answer, is_stream).await),
                        Ok(Err(_)) | Err(_) => 0,
                    };
                    now_us.fetch_add(1_000_000, Ordering::Relaxed);
                }
                good
            })
        })
        .collect();
    let mut good = 0;
    for worker in workers {
        good += worker.await.unwrap();
    }
    good * 100 / REQUESTS
}

/// Direct, through Tollgate, and with a fallback; each with a provider of its own, so that all meet the same faults.
async fn row(schedule: Schedule) -> [u64; 3] {
    let (direct, _) = world::provider().await;
    let bare = through("").await;
    let other = well().await;
    let helped = through(&backup(other.address)).await;
    [
        rate(schedule, direct, &bare.0, &bare.1).await,
        rate(schedule, bare.0.address, &bare.0, &bare.1).await,
        rate(schedule, helped.0.address, &helped.0, &helped.1).await,
    ]
}

/// A provider with which nothing goes wrong, whatever a request asks for.
async fn well() -> Fake {
    let stream = "data: {\"choices\":[{\"index\":0,\"delta\":{\"content\":\"hi\"},\"finish_reason\":\"stop\"}]}\n\n\
                  data: {\"choices\":[],\"usage\":{\"prompt_tokens\":9,\"completion_tokens\":1,\"total_tokens\":10}}\n\n\
                  data: [DONE]\n\n";
    Fake::start(move |seen| match memchr(&seen.body, b"\"stream\":true") {
        Some(_) => Reply::chunked("200 OK", "content-type: text/event-stream\r\n", [stream.as_bytes()]),
        None => Reply::whole("200 OK", "content-type: application/json\r\n", GOOD),
    })
    .await
}

/// A Tollgate with its defaults, but for how long it waits; on a clock that each request moves by a second, so that what is
/// counted within a time has that time.
async fn through(extra: &str) -> (Arc<World>, Arc<AtomicU64>) {
    let now_us = Arc::new(AtomicU64::new(1_795_000_000_000_000));
    let surroundings = Surroundings { clock: Clock::Manual(now_us.clone()), ..Surroundings::default() };
    let defaults = "upstream.retries = 2\nupstream.breaker_failures = 5\n";
    (Arc::new(World::hasty(&format!("{defaults}{extra}"), surroundings).await), now_us)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn fewer_requests_fail_than_without_tollgate() {
    let schedules = FAULTS.map(Schedule::One).into_iter().chain([Schedule::Mixed, Schedule::Outage]);
    let mut table = "| faults | direct | through Tollgate | with a fallback |\n|---|--:|--:|--:|\n".to_owned();
    let mut rows = Vec::new();
    for schedule in schedules {
        let [direct, bare, helped] = row(schedule).await;
        writeln!(table, "| {} | {direct}% | {bare}% | {helped}% |", schedule.name()).unwrap();
        rows.push((schedule.name(), direct, bare, helped));
    }
    println!("{table}");
    for (name, direct, bare, helped) in rows {
        // Where nobody else is there, a breaker keeps requests away for a second at the most.
        let lost = if name.starts_with("503 for") { 1 } else { 0 };
        assert!(bare + lost >= direct && helped >= direct, "{name}\n{table}");
        if ["429", "500", "503", "529"].contains(&name) {
            assert!(bare > direct && helped >= 99, "{name}\n{table}");
        }
        if name.starts_with("503 for") {
            assert!(direct < 70 && helped >= 99, "{name}\n{table}");
        }
    }
}
