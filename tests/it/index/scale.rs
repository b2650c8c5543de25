//! How large and how fast: `TOLLGATE_ENTRIES` says with how many entries (default 10,000).
//!
//! `TOLLGATE_ENTRIES=1000000 cargo test --release --test it index::scale -- --nocapture`

use std::path::Path;
use std::time::{Duration, Instant};

use tempfile::TempDir;
use tollgate::admin;
use tollgate::admin::report::Request;
use tollgate::admin::reprice::Prices;
use tollgate::admin::zone::Zone;
use tollgate::app::{App, Surroundings};
use tollgate::config::Config;
use tollgate::domain::entry::Entry;
use tollgate::store::clerk::{self, open_sled};
use tollgate::store::{Clerk, Close, Grain, Journal, Ledger, Options, Record, verify};

use super::sample::{Kept, entry_at};
use crate::harness::environment;
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

/// How long the whole program takes until it can serve from the store in `folder`.
fn whole_start(what: &str, folder: &Path) -> Duration {
    let text = format!(
        "[teams.search]\n[keys.ci]\nsecret = {{ env = \"KEY\" }}\nteam = \"search\"\n[store]\npath = {folder:?}\n[log]\nlevel = \"error\"\n"
    );
    let config = Config::parse(&text, "tollgate.toml", &environment()).unwrap();
    let (app, took) = timed(what, || App::open(config, Surroundings::default()).unwrap());
    drop(app);
    took
}

/// The journal as a killed process leaves it.
fn killed(folder: &Path) -> TempDir {
    let image = crate::journal::sample::folder();
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
    let folder = folder();
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
    let image = killed(folder.path());
    timed("stop", || kept.stop());
    for (what, folder) in [("whole start, unclean", image.path()), ("whole start, clean", folder.path())] {
        let took = whole_start(what, folder);
        assert!(entries > 10_000 || took < Duration::from_secs(5), "{what}: {took:?}");
    }
    drop(image);
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
