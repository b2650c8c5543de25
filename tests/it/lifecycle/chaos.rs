//! Chaos: clients of every kind, faults, reloads, and processes that end in the middle of it all.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use http_body_util::BodyExt;
use tollgate::domain::entry::Outcome;
use tollgate::store::verify;

use super::{STREAM, WHOLE, post, socket, strangers};
use crate::child::{Place, pause};
use crate::raw::LONG;

const CLIENTS: u64 = 6;

/// How processes are told to end, and what clients may meet.
const FAULTS: [&str; 8] = ["reset", "cut", "stall", "500", "529", "429", "garbage", "error-in-stream"];

/// Numbers that are the same for the same seed.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: u64) -> u64 {
        // splitmix64, by Steele, Lea and Flood.
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut word = self.0;
        word = (word ^ (word >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        word = (word ^ (word >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (word ^ (word >> 31)) % sides
    }
}

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

#[tokio::test(flavor = "multi_thread")]
async fn reloads_and_restarts_under_faults_lose_nobody_and_nothing() {
    let seconds: u64 = std::env::var("TOLLGATE_CHAOS_S").map_or(6, |seconds| seconds.parse().unwrap());
    let seed: u64 = std::env::var("TOLLGATE_CHAOS_SEED").map_or(1, |seed| seed.parse().unwrap());
    println!("TOLLGATE_CHAOS_SEED={seed}");
    let place = Arc::new(Place::new("server.drain_s = 2").await);
    let text = std::fs::read_to_string(place.config()).unwrap();
    let text = text.replace("[upstreams.openai]", "[upstreams.openai]\nidle_timeout_s = 1\nfirst_byte_timeout_s = 5");
    std::fs::write(place.config(), &text).unwrap();
    let (socket, address) = socket();
    let seen = Arc::new(Seen::default());
    let mut served = place.serve_on(&socket).await;
    let clients: Vec<_> = (0..CLIENTS)
        .map(|client| tokio::spawn(ask(place.clone(), address, Dice(seed * 1000 + client), seen.clone())))
        .collect();
    let (mut dice, mut restarts, mut reloads) = (Dice(seed), 0, 0);
    let end = Instant::now() + Duration::from_secs(seconds);
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
        served.signal("TERM");
        assert_eq!(served.end().await.code(), Some(0), "{}", served.said.lock().unwrap());
        assert!(!served.said.lock().unwrap().contains("panicked"), "{}", served.said.lock().unwrap());
        served = place.serve_on(&socket).await;
        restarts += 1;
    }
    seen.stop.store(true, Ordering::Relaxed);
    for client in clients {
        tokio::time::timeout(LONG, client).await.expect("a client hangs").unwrap();
    }
    served.signal("TERM");
    assert_eq!(served.end().await.code(), Some(0), "{}", served.said.lock().unwrap());
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
    println!(
        "{restarts} restarts and {reloads} reloads: {answered} answered, {left} left; billed {}, in the ledger {}",
        bill.fixed(),
        spent.fixed()
    );
}
