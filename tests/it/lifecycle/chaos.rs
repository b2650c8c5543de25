//! Chaos: clients of every kind, faults, reloads, and processes that end in the middle of it all.
//!
//! `TOLLGATE_CHAOS_S=600 cargo nextest run chaos --no-capture` runs it for ten minutes, each process for ten seconds;
//! `TOLLGATE_CHAOS_SEED` takes another course. By default it is short, and processes end after a few answers.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use http_body_util::BodyExt;
use tollgate::domain::entry::Outcome;
use tollgate::store::verify;

use super::{STREAM, WHOLE, post, socket, strangers};
use crate::child::{Place, Served, pause};
use crate::dice::Dice;
use crate::raw::LONG;

const CLIENTS: u64 = 6;

/// How processes are told to end, and what clients may meet.
const FAULTS: [&str; 15] = [
    "reset",
    "reset-before",
    "reset-mid",
    "cut",
    "stall",
    "hang",
    "hang-head",
    "wrong-length",
    "500",
    "503",
    "529",
    "429",
    "garbage",
    "truncated-json",
    "error-in-stream",
];

/// Tasks of a process that serves nobody: its listeners, its clocks and its commands.
const TASKS_MAX: u64 = 24;

/// What a process may have grown by, bytes: the second of two that lived as long as each other.
const GROWTH_MAX: u64 = 32 << 20;

#[derive(Default)]
struct Seen {
    stop: AtomicBool,
    answered: AtomicU64,
    left: AtomicU64,
}

/// Asks until it is told to stop. Every request is answered: whole, or with an error that its status or its stream tells.
async fn ask(place: Arc<Place>, address: std::net::SocketAddr, mut dice: Dice, seen: Arc<Seen>) {
    let client = strangers();
    while !seen.stop.load(Ordering::Relaxed) {
        let is_stream = dice.roll(2) == 0;
        let mut headers = vec![("x-mock-chunks", "8"), ("x-mock-chunk-ms", "20")];
        let fault = FAULTS[usize::try_from(dice.roll(FAULTS.len() as u64)).unwrap()];
        let has_fault = dice.roll(10) < 3;
        if has_fault {
            headers.push(("x-mock-fault", fault));
        }
        let request = client.request(post(address, if is_stream { STREAM } else { WHOLE }, &headers));
        let answer = tokio::time::timeout(LONG, request).await.expect("a request hangs");
        let answer = answer.unwrap_or_else(|error| panic!("refused without a word: {error:?}"));
        let status = answer.status().as_u16();
        assert!([200, 429, 500, 502, 503, 504, 529].contains(&status), "{status}");
        let mut body = answer.into_body();
        if dice.roll(8) == 0 {
            let _first = tokio::time::timeout(LONG, body.frame()).await.expect("an answer hangs");
            seen.left.fetch_add(1, Ordering::Relaxed);
            continue;
        }
        let whole = tokio::time::timeout(LONG, body.collect()).await.expect("an answer hangs");
        // A provider that breaks off in the middle breaks off the client's answer as well, where nothing else can be said.
        assert!(whole.is_ok() || has_fault, "cut without a reason: {:?}", whole.map(drop));
        seen.answered.fetch_add(1, Ordering::Relaxed);
    }
    drop(place);
}

async fn metrics(place: &Place, served: &Served) -> String {
    let request = http::Request::get(format!("http://{}/metrics", served.admin)).body(Default::default()).unwrap();
    let body = place.client.request(request).await.unwrap().into_body();
    String::from_utf8(body.collect().await.unwrap().to_bytes().to_vec()).unwrap()
}

/// A number without labels.
fn number(metrics: &str, name: &str) -> u64 {
    let line = metrics.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    line.unwrap_or_else(|| panic!("{name}\n{metrics}")).parse().unwrap()
}

/// Waits until nothing is taken of anything that requests take: places, money, connections, credentials, tasks.
async fn all_is_given_back(place: &Place, served: &Served) -> String {
    let deadline = Instant::now() + LONG;
    loop {
        let metrics = metrics(place, served).await;
        let names = ["tollgate_in_flight", "tollgate_waiting", "tollgate_connections", "tollgate_tasks"];
        let [in_flight, waiting, connections, tasks] = names.map(|name| number(&metrics, name));
        let held =
            |line: &&str| line.starts_with("tollgate_cap_held_usd{") || line.starts_with("tollgate_credential_busy{");
        let held: Vec<&str> = metrics.lines().filter(held).filter(|line| !line.ends_with(" 0")).collect();
        if (in_flight, waiting, connections) == (0, 0, 0) && tasks <= TASKS_MAX && held.is_empty() {
            return format!("{tasks} tasks and nothing taken");
        }
        assert!(Instant::now() < deadline, "{in_flight} {waiting} {connections} {tasks} {held:?}");
        pause().await;
    }
}

/// One entry each, and the bill of the provider within what was estimated.
fn books(place: &Place, seen: &Seen) -> String {
    let report = verify(place.folder.path()).unwrap();
    assert!(report.unfinished.is_empty() && report.odd_records == 0 && report.tail.is_none(), "{report:?}");
    let entries = place.entries();
    let [answered, left] = [&seen.answered, &seen.left].map(|count| count.load(Ordering::Relaxed));
    assert!(entries.iter().all(|entry| entry.outcome != Outcome::Unsettled));
    let requests: u64 = entries.iter().map(|entry| u64::from(entry.requests)).sum();
    assert_eq!(requests, answered + left, "one entry each");
    let spent: tollgate::domain::money::Usd = entries.iter().filter_map(|entry| entry.cost).sum();
    let bill = place.mock.bill().total();
    assert!(bill <= spent, "billed {}, in the ledger {}", bill.fixed(), spent.fixed());
    // What was reported is on the bill to the last digit, so that only estimates can be above it.
    let exact = entries.iter().filter(|entry| !entry.usage_source.is_estimated()).filter_map(|entry| entry.cost);
    let exact: tollgate::domain::money::Usd = exact.sum();
    assert!(exact <= bill, "billed {}, reported {}", bill.fixed(), exact.fixed());
    let (bill, exact, spent) = (bill.fixed(), exact.fixed(), spent.fixed());
    format!("{answered} answered, {left} left; billed {bill}, reported {exact}, with estimates {spent}")
}

#[tokio::test(flavor = "multi_thread")]
async fn reloads_and_restarts_under_faults_lose_nobody_and_nothing() {
    let seconds: u64 = std::env::var("TOLLGATE_CHAOS_S").map_or(6, |seconds| seconds.parse().unwrap());
    let seed: u64 = std::env::var("TOLLGATE_CHAOS_SEED").map_or(1, |seed| seed.parse().unwrap());
    println!("TOLLGATE_CHAOS_SEED={seed}");
    let place = Arc::new(Place::new("server.drain_s = 2").await);
    let text = std::fs::read_to_string(place.config()).unwrap();
    let text = text.replace("[upstreams.openai]", "[upstreams.openai]\nidle_timeout_s = 1\nfirst_byte_timeout_s = 2");
    let text = text.replace("retries = 0", "retries = 2").replace("breaker_failures = 0", "breaker_failures = 50");
    let text = format!("{text}\n[money]\ndrain_s_max = 1\n");
    std::fs::write(place.config(), &text).unwrap();
    let (socket, address) = socket();
    let seen = Arc::new(Seen::default());
    let mut served = place.serve_on(&socket).await;
    let clients: Vec<_> = (0..CLIENTS)
        .map(|client| tokio::spawn(ask(place.clone(), address, Dice::new(seed * 1000 + client), seen.clone())))
        .collect();
    let (mut dice, mut restarts, mut reloads) = (Dice::new(seed), 0, 0);
    let end = Instant::now() + Duration::from_secs(seconds);
    let (life_s, mut born, mut memory) = (if seconds > 20 { 10 } else { 0 }, Instant::now(), Vec::new());
    while Instant::now() < end || restarts < 2 {
        for _ in 0..=dice.roll(3) {
            let caps =
                ["", "[organisation]\ncaps = { day = \"1000\" }\n", "[organisation]\ncaps = { month = \"2000\" }\n"];
            let caps = caps[usize::try_from(dice.roll(3)).unwrap()];
            std::fs::write(place.config(), format!("{text}\n{caps}")).unwrap();
            served.signal("HUP");
            reloads += 1;
            let before = seen.answered.load(Ordering::Relaxed);
            let more = 1 + dice.roll(12);
            let busy = async {
                while seen.answered.load(Ordering::Relaxed) < before + more {
                    assert!(!clients.iter().any(tokio::task::JoinHandle::is_finished), "a client broke off");
                    pause().await;
                }
            };
            tokio::time::timeout(LONG, busy).await.expect("nobody is answered");
        }
        while life_s > 0 && Instant::now() < end.min(born + Duration::from_secs(life_s)) {
            pause().await;
        }
        memory.push(number(&metrics(&place, &served).await, "process_resident_memory_bytes"));
        served.signal("TERM");
        assert_eq!(served.end().await.code(), Some(0), "{}", served.said.lock().unwrap());
        assert!(!served.said.lock().unwrap().contains("panicked"), "{}", served.said.lock().unwrap());
        served = place.serve_on(&socket).await;
        (born, restarts) = (Instant::now(), restarts + 1);
    }
    seen.stop.store(true, Ordering::Relaxed);
    for client in clients {
        tokio::time::timeout(LONG, client).await.expect("a client hangs").unwrap();
    }
    let last = all_is_given_back(&place, &served).await;
    served.signal("TERM");
    assert_eq!(served.end().await.code(), Some(0), "{}", served.said.lock().unwrap());
    let told = books(&place, &seen);
    let (first, most) = (memory[memory.len() / 4], *memory[memory.len() / 4..].iter().max().unwrap());
    assert!(most < first + GROWTH_MAX, "{memory:?}");
    let memory: Vec<u64> = memory.iter().map(|bytes| bytes >> 20).collect();
    println!("{restarts} restarts and {reloads} reloads: {told}; at the end {last}; MiB before each end {memory:?}");
}
