//! How large and how fast: `TOLLGATE_ENTRIES` says with how many entries (default 10,000).
//!
//! `TOLLGATE_ENTRIES=1000000 cargo test --release --test it index::scale -- --nocapture`

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::{Duration, Instant};

use tempfile::TempDir;
use tollgate::admin;
use tollgate::admin::report::Request;
use tollgate::admin::reprice::Prices;
use tollgate::admin::zone::Zone;
use tollgate::app::{App, Surroundings};
use tollgate::bank::local::Standing;
use tollgate::clock::Clock;
use tollgate::config::Config;
use tollgate::domain::cap::Window;
use tollgate::domain::entry::Entry;
use tollgate::domain::money::Usd;
use tollgate::store::clerk::{self, open_sled};
use tollgate::store::{Clerk, Close, Grain, Journal, Ledger, Options, Record, verify};

use super::sample::{Kept, entry_at};
use crate::harness::environment;
use crate::journal::sample::{self, NOW_MS, close, folder, open};

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
        let entry = paid(number, number * 30 * 86_400_000 / entries);
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

/// Request `number` of one of 200 users, with an attempt that cost something.
fn paid(number: u64, after_ms: u64) -> Entry {
    let mut entry = entry_at(number, after_ms);
    entry.account.user = Some(format!("user-{}", number * 7_919 % 200).into());
    entry.attempts = sample::entry(&open(number)).attempts;
    entry.attempts[0].cost = entry.cost;
    entry
}

fn report(ledger: &Ledger) -> u64 {
    let mut requests = 0;
    ledger.fold(0..u64::MAX, Grain::Range, &mut |_, _, sums| requests += sums.requests).unwrap();
    requests
}

fn start(folder: &std::path::Path) -> Kept {
    let (journal, _) = Journal::open(folder, Options::default(), NOW_MS).unwrap();
    let options = clerk::Options { retention_days: None, open: open_sled, clock: Clock::system() };
    let clerk = Clerk::start(folder, journal.tip(), options).unwrap();
    Kept { journal, clerk }
}

/// Caps that count a month and for ever.
const CAPS: &str = "[organisation]\ncaps = { day = \"9e9\", month = \"9e9\", total = \"9e9\" }\n[defaults.user]\ncaps = { month = \"9e9\" }\n";

/// How long the whole program takes until it can serve from the store in `folder`, and what it then says was spent.
fn whole_start(what: &str, folder: &Path, caps: &str, now_ms: u64) -> (Duration, Vec<Standing>) {
    let text = format!(
        "[teams.search]\n[keys.ci]\nsecret = {{ env = \"KEY\" }}\nteam = \"search\"\n{}[store]\npath = {folder:?}\n[log]\nlevel = \"error\"\n",
        caps.replace("9e9", "9000000000")
    );
    let config = Config::parse(&text, "tollgate.toml", &environment()).unwrap();
    let clock = Clock::Manual(Arc::new(AtomicU64::new(now_ms * 1000)));
    let surroundings = Surroundings { clock, ..Surroundings::default() };
    let (app, took) = timed(what, || App::open(config, surroundings).unwrap());
    let standings = app.bank.standings();
    // What caps have counted is kept while it runs, some hundred thousand records a second.
    let next_seq = app.bank.health().next_seq;
    for _ in 0..next_seq >> 18 {
        app.clerk.round();
    }
    (took, standings)
}

/// Bytes of the last segment.
fn last_segment(folder: &Path) -> u64 {
    let segments = std::fs::read_dir(folder.join("journal")).unwrap().map(|file| file.unwrap());
    segments.max_by_key(std::fs::DirEntry::file_name).unwrap().metadata().unwrap().len()
}

/// Writes until the last segment is as good as full.
fn fill(kept: &Kept, folder: &Path, from: u64, at_ms: u64) -> u64 {
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let mut number = from;
    while last_segment(folder) < 60 << 20 {
        for _ in 0..1_000 {
            kept.journal.post(&Record::Entry(Box::new(paid(number, at_ms)))).unwrap();
            number += 1;
        }
        runtime.block_on(kept.journal.flush()).unwrap();
    }
    number - from
}

/// A folder in memory, or on a disk where it would take too much of that.
fn roomy(entries: u64) -> TempDir {
    if entries > 1_000_000 { TempDir::new().unwrap() } else { folder() }
}

/// The journal as a killed process leaves it.
fn killed(folder: &Path, entries: u64) -> TempDir {
    let image = roomy(entries);
    std::fs::create_dir(image.path().join("journal")).unwrap();
    for file in std::fs::read_dir(folder.join("journal")).unwrap() {
        let path = file.unwrap().path();
        std::fs::copy(&path, image.path().join("journal").join(path.file_name().unwrap())).unwrap();
    }
    image
}

#[test]
fn many_entries_are_reported_at_once() {
    let entries = std::env::var("TOLLGATE_ENTRIES").map_or(10_000, |entries| entries.parse().unwrap());
    let folder = roomy(entries);
    let kept = start(folder.path());
    timed("write", || write(&kept, entries));
    timed("index", || kept.clerk.round());
    assert_eq!(timed("report from the index", || report(&kept.ledger(folder.path()))).0, entries);
    let prices = Prices::of(&Config::parse("", "tollgate.toml", &environment()).unwrap());
    for query in ["by=team,model", "by=day&tz=Europe/Berlin", "by=hour&tz=Asia/Kolkata", "by=user,day&tz=Asia/Kolkata"]
    {
        let pairs = tollgate::admin::query::pairs(query).unwrap();
        let pairs = pairs.iter().map(|(name, value)| (name.as_str(), value.as_str()));
        let request = Request::parse(pairs, &Zone::utc(), NOW_MS).unwrap();
        let ledger = kept.ledger(folder.path());
        let table = timed(query, || admin::report::run(&ledger, &request, &prices)).0.unwrap();
        assert_eq!(table.total.requests, entries);
    }
    assert_eq!(timed("report from the journal", || report(&Ledger::of_journal(folder.path()))).0, entries);
    let id = entry_at(entries / 2, entries / 2 * 30 * 86_400_000 / entries).id;
    assert!(timed("find a request", || kept.ledger(folder.path()).find(id)).0.unwrap().is_some());
    let now_ms = NOW_MS + 30 * 86_400_000;
    let more = if entries < 1_000_000 { 0 } else { fill(&kept, folder.path(), entries, 30 * 86_400_000) };
    println!("last segment: {} bytes", last_segment(folder.path()));
    let image = killed(folder.path(), entries);
    timed("stop", || kept.stop());
    let spent: Usd = (0..entries).map(|number| paid(number, 0)).filter_map(|entry| entry.cost).sum();
    for (what, folder) in [("unclean", image.path()), ("clean", folder.path())] {
        for (caps, about) in [("", "no caps"), (CAPS, "new caps"), (CAPS, "the same caps")] {
            let (took, standings) = whole_start(&format!("whole start, {what}, {about}"), folder, caps, now_ms);
            assert!(entries > 10_000 || took < Duration::from_secs(5), "{what}: {took:?}");
            let total = standings.iter().find(|one| one.window == Window::Total);
            assert!(more > 0 || total.is_none_or(|total| total.spent == spent), "{total:?}");
        }
    }
    drop(image);
    let (kept, took) = timed("start after a clean stop", || start(folder.path()));
    assert!(entries > 10_000 || took < Duration::from_secs(2));
    timed("index is ready", || kept.clerk.round());
    let state = kept.clerk.state();
    println!("{entries} entries: journal {} bytes, index {} bytes", state.journal_bytes, state.index_bytes);
    kept.stop();
    let ledger = timed("open the index by a command", || Ledger::open(folder.path())).0;
    assert_eq!(timed("report by a command", || report(&ledger)).0, entries + more);
    timed("verify", || verify(folder.path()).unwrap());
}
