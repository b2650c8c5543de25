//! Chaos: clients of every kind, faults, reloads, and processes that end in the middle of it all.
//!
//! It takes a minute, in which one process follows the other every ten seconds on one socket, and beside them another one lives all
//! the time. `TOLLGATE_CHAOS_S=600 cargo nextest run chaos --no-capture` takes ten minutes; `TOLLGATE_CHAOS_SEED` another course.

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

/// How long one process lives, of those that follow one another.
const LIFE: Duration = Duration::from_secs(10);

/// Clients of those that follow one another, and of the one that lives on.
const CLIENTS: u64 = 6;
const STEADY_CLIENTS: u64 = 3;

/// What clients may meet, three times of ten.
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

/// Tasks of a process for each of its clients: its connection, an answer that is read to its end without it, the upstream's connection.
const CLIENT_TASKS_MAX: u64 = 16;

/// What a process may have grown by, bytes: the second of two that lived as long as each other.
const GROWTH_MAX: u64 = 32 << 20;

/// What one that lives on may grow by once it is warm, in percent.
const STEADY_GROWTH_MAX: u64 = 10;

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

/// A folder whose config is that of a world full of faults.
async fn place() -> (Arc<Place>, String) {
    let place = Arc::new(Place::new("server.drain_s = 2").await);
    let text = std::fs::read_to_string(place.config()).unwrap();
    let text = text.replace("[upstreams.openai]", "[upstreams.openai]\nidle_timeout_s = 1\nfirst_byte_timeout_s = 2");
    let text = text.replace("retries = 0", "retries = 2").replace("breaker_failures = 0", "breaker_failures = 50");
    let text = format!("{text}\n[money]\ndrain_s_max = 1\n");
    std::fs::write(place.config(), &text).unwrap();
    (place, text)
}

/// Another config of the same kind, which the process takes on a signal.
fn reload(place: &Place, served: &Served, text: &str, dice: &mut Dice) {
    let caps = ["", "[organisation]\ncaps = { day = \"1000\" }\n", "[organisation]\ncaps = { month = \"2000\" }\n"];
    let caps = caps[usize::try_from(dice.roll(3)).unwrap()];
    std::fs::write(place.config(), format!("{text}\n{caps}")).unwrap();
    served.signal("HUP");
}

/// Waits until `more` further requests are answered.
async fn answers(seen: &Seen, more: u64, clients: &[tokio::task::JoinHandle<()>]) {
    let before = seen.answered.load(Ordering::Relaxed);
    let busy = async {
        while seen.answered.load(Ordering::Relaxed) < before + more {
            assert!(!clients.iter().any(tokio::task::JoinHandle::is_finished), "a client broke off");
            pause().await;
        }
    };
    tokio::time::timeout(LONG, busy).await.expect("nobody is answered");
}

fn clients(
    count: u64,
    place: &Arc<Place>,
    address: std::net::SocketAddr,
    seed: u64,
    seen: &Arc<Seen>,
) -> Vec<tokio::task::JoinHandle<()>> {
    let ask = |client| tokio::spawn(ask(place.clone(), address, Dice::new(seed * 1000 + client), seen.clone()));
    (0..count).map(ask).collect()
}

/// Tells clients to stop, and waits until everything is given back and the process has ended.
async fn finish(place: &Place, mut served: Served, clients: Vec<tokio::task::JoinHandle<()>>, seen: &Seen) -> String {
    seen.stop.store(true, Ordering::Relaxed);
    for client in clients {
        tokio::time::timeout(LONG, client).await.expect("a client hangs").unwrap();
    }
    let last = all_is_given_back(place, &served).await;
    end(&mut served).await;
    format!("{}; at the end {last}", books(place, seen))
}

async fn end(served: &mut Served) {
    served.signal("TERM");
    assert_eq!(served.end().await.code(), Some(0), "{}", served.said.lock().unwrap());
    assert!(!served.said.lock().unwrap().contains("panicked"), "{}", served.said.lock().unwrap());
}

/// Looks at a process that is at work: resident bytes, if it has no more tasks than its clients explain.
async fn look(place: &Place, served: &Served, clients: u64) -> u64 {
    let metrics = metrics(place, served).await;
    let [tasks, in_flight] = ["tollgate_tasks", "tollgate_in_flight"].map(|name| number(&metrics, name));
    assert!(tasks <= TASKS_MAX + clients * CLIENT_TASKS_MAX, "{tasks} tasks");
    // Those that a client has left are read to their end, for a second.
    assert!(in_flight <= clients * 8, "{in_flight} in flight");
    number(&metrics, "process_resident_memory_bytes")
}

/// Processes that follow one another every ten seconds.
async fn one_after_the_other(seconds: u64, seed: u64) {
    let (place, text) = place().await;
    let (socket, address) = socket();
    let seen = Arc::new(Seen::default());
    let mut served = place.serve_on(&socket).await;
    let clients = clients(CLIENTS, &place, address, seed, &seen);
    let (mut dice, mut restarts, mut reloads) = (Dice::new(seed), 0, 0);
    let (end_at, mut born, mut memory) = (Instant::now() + Duration::from_secs(seconds), Instant::now(), Vec::new());
    while Instant::now() < end_at || restarts < 2 {
        for _ in 0..=dice.roll(3) {
            reload(&place, &served, &text, &mut dice);
            reloads += 1;
            answers(&seen, 1 + dice.roll(12), &clients).await;
        }
        while Instant::now() < end_at.min(born + LIFE) {
            look(&place, &served, CLIENTS).await;
            answers(&seen, 5, &clients).await;
        }
        memory.push(look(&place, &served, CLIENTS).await);
        end(&mut served).await;
        served = place.serve_on(&socket).await;
        (born, restarts) = (Instant::now(), restarts + 1);
    }
    let told = finish(&place, served, clients, &seen).await;
    let (first, most) = (memory[memory.len() / 4], *memory[memory.len() / 4..].iter().max().unwrap());
    assert!(most < first + GROWTH_MAX, "{memory:?}");
    let memory: Vec<u64> = memory.iter().map(|bytes| bytes >> 20).collect();
    println!("{restarts} restarts and {reloads} reloads: {told}; MiB before each end {memory:?}");
}

/// A process that lives on: what it takes is flat once it is warm.
async fn on_and_on(seconds: u64, seed: u64) {
    let (place, text) = place().await;
    let seen = Arc::new(Seen::default());
    let served = place.serve().await;
    let clients = clients(STEADY_CLIENTS, &place, served.address, seed + 1, &seen);
    let (mut dice, mut memory) = (Dice::new(seed + 1), Vec::new());
    let end_at = Instant::now() + Duration::from_secs(seconds);
    while Instant::now() < end_at {
        memory.push(look(&place, &served, STEADY_CLIENTS).await);
        if dice.roll(5) == 0 {
            reload(&place, &served, &text, &mut dice);
        }
        answers(&seen, 5, &clients).await;
    }
    let told = finish(&place, served, clients, &seen).await;
    // The most of a quarter, since what is taken goes up and down with the journal's batches and the requests in flight.
    let quarter = |number: usize| {
        let size = (memory.len() / 4).max(1);
        memory.iter().skip(number * size).take(size).max().copied().unwrap_or_default()
    };
    let most: Vec<u64> = (0..4).map(|number| quarter(number) >> 20).collect();
    assert!(most[3] * 100 <= most[1].max(1) * (100 + STEADY_GROWTH_MAX) + 200, "MiB in each quarter: {most:?}");
    println!("one process for {seconds} s: {told}; MiB in each quarter {most:?}, in {} looks", memory.len());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn reloads_and_restarts_under_faults_lose_nobody_and_nothing() {
    let seconds: u64 = std::env::var("TOLLGATE_CHAOS_S").map_or(60, |seconds| seconds.parse().unwrap());
    let seed: u64 = std::env::var("TOLLGATE_CHAOS_SEED").map_or(1, |seed| seed.parse().unwrap());
    println!("TOLLGATE_CHAOS_SEED={seed}");
    tokio::join!(one_after_the_other(seconds, seed), on_and_on(seconds, seed));
}
