//! How large and how fast: `TOLLGATE_ENTRIES` says with how many entries (default 10,000).
//!
//! `TOLLGATE_ENTRIES=1000000 cargo test --release --test it index::scale -- --nocapture`

use std::time::{Duration, Instant};

use tollgate::domain::entry::Entry;
use tollgate::store::clerk::{self, open_sled};
use tollgate::store::{Clerk, Close, Grain, Journal, Ledger, Options, Record, verify};

use super::sample::{Kept, entry_at};
use crate::journal::sample::{NOW_MS, close, folder, open};

fn timed<T>(what: &str, work: impl FnOnce() -> T) -> (T, Duration) {
    let start = Instant::now();
    let done = work();
    let took = start.elapsed();
    println!("{what}: {:.1} ms", took.as_secs_f64() * 1e3);
    (done, took)
}

/// A month of requests of some thousand subjects, each with its open, close and entry.
fn write(kept: &Kept, entries: u64) {
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    for number in 0..entries {
        let after_ms = number * 30 * 86_400_000 / entries;
        let mut entry: Entry = entry_at(number, after_ms);
        entry.account.user = Some(format!("user-{}", number * 7_919 % 200).into());
        let mut open = open(number);
        (open.attempt.request, open.at_ms) = (entry.id, entry.at_ms);
        let closed = Close { attempt: open.attempt, at_ms: entry.at_ms, ..close(&open) };
        loop {
            match kept.journal.post(&Record::Open(open.clone())) {
                Ok(_) => break,
                Err(_) => runtime.block_on(kept.journal.flush()).unwrap(),
            }
        }
        kept.journal.settle(&closed, &entry);
    }
    runtime.block_on(kept.journal.flush()).unwrap();
}

fn report(ledger: &Ledger) -> u64 {
    let mut requests = 0;
    ledger.fold(0..u64::MAX, Grain::Range, &mut |_, _, sums| requests += sums.requests).unwrap();
    requests
}

fn start(folder: &std::path::Path) -> Kept {
    let (journal, _) = Journal::open(folder, Options::default(), NOW_MS).unwrap();
    let options = clerk::Options { retention_days: None, open: open_sled, clock: tollgate::clock::Clock::system() };
    let clerk = Clerk::start(folder, journal.tip(), options).unwrap();
    Kept { journal, clerk }
}

#[test]
fn many_entries_are_reported_at_once() {
    let entries = std::env::var("TOLLGATE_ENTRIES").map_or(10_000, |entries| entries.parse().unwrap());
    let folder = folder();
    let kept = start(folder.path());
    timed("write", || write(&kept, entries));
    timed("index", || kept.clerk.round());
    assert_eq!(timed("report from the index", || report(&kept.ledger(folder.path()))).0, entries);
    let by_hour = timed("report by hour from the index", || {
        let mut requests = 0;
        let ledger = kept.ledger(folder.path());
        ledger.fold(0..u64::MAX, Grain::Quarter, &mut |_, _, sums| requests += sums.requests).unwrap();
        requests
    });
    assert_eq!(by_hour.0, entries);
    assert_eq!(timed("report from the journal", || report(&Ledger::of_journal(folder.path()))).0, entries);
    let id = entry_at(entries / 2, entries / 2 * 30 * 86_400_000 / entries).id;
    assert!(timed("find a request", || kept.ledger(folder.path()).find(id)).0.unwrap().is_some());
    timed("stop", || kept.stop());
    let (kept, took) = timed("start after a clean stop", || start(folder.path()));
    assert!(entries > 10_000 || took < Duration::from_secs(2));
    timed("index is ready", || kept.clerk.round());
    let state = kept.clerk.state();
    println!("{entries} entries: journal {} bytes, index {} bytes", state.journal_bytes, state.index_bytes);
    kept.stop();
    let ledger = timed("open the index by a command", || Ledger::open(folder.path())).0;
    assert_eq!(timed("report by a command", || report(&ledger)).0, entries);
    timed("verify", || verify(folder.path()).unwrap());
}
