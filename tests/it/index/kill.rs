//! kill -9 in a loop while the index is written, files are dropped and snapshots taken: no acknowledged entry is lost
//! from any sum, and no total is wrong.
//!
//! `TOLLGATE_KILL_ROUNDS` says how many rounds (default 20). The killed process is this test binary itself.

use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use tollgate::clock::Clock;
use tollgate::domain::account::Scope;
use tollgate::domain::entry::Entry;
use tollgate::domain::ids::RequestId;
use tollgate::domain::sums::Sums;
use tollgate::store::clerk::{self, open_sled};
use tollgate::store::{Clerk, Grain, Journal, Ledger, Open, verify};

use super::sample::keep;
use crate::journal::sample::{NOW_MS, close, entry, folder, open, small};

const FOLDER: &str = "TOLLGATE_INDEX_KILL_FOLDER";
const FIRST: &str = "TOLLGATE_INDEX_KILL_FIRST";

/// Rounds after which a new folder is begun.
const ROUNDS_A_FOLDER: u64 = 10;

const DAY_MS: u64 = 86_400_000;

/// The time of a round: days go by, so that files are dropped.
const fn now_ms(round: u64) -> u64 {
    NOW_MS + round % ROUNDS_A_FOLDER * DAY_MS
}

#[test]
fn sums_survive_kills_with_index_and_retention_at_work() {
    let rounds = std::env::var("TOLLGATE_KILL_ROUNDS").map_or(20, |rounds| rounds.parse().unwrap());
    let mut dir = folder();
    let (mut acknowledged, mut dropped) = (0, 0);
    for round in 0..rounds {
        if round % ROUNDS_A_FOLDER == 0 {
            (acknowledged, dir) = (0, folder());
        }
        acknowledged += kill_after(dir.path(), round, 300 + round * 7_919 % 1_613);
        dropped += check(dir.path(), round, acknowledged);
    }
    println!("{rounds} kills, {dropped} archives seen");
}

/// Compares journal, archives, index and totals; returns how many archives there are.
fn check(folder: &Path, round: u64, acknowledged: u64) -> u64 {
    let report = verify(folder).unwrap();
    assert_eq!(report.odd, [], "round {round}");
    let sum = |ledger: &Ledger| {
        let mut sum = Sums::default();
        ledger.fold(0..u64::MAX, Grain::Range, &mut |_, _, sums| sum.join(sums)).unwrap();
        sum
    };
    let naive = sum(&Ledger::of_journal(folder));
    assert!(naive.requests >= acknowledged, "round {round}: {} of {acknowledged}", naive.requests);
    assert_eq!(report.totals.of(&Scope::Organisation).spent, naive.spend, "round {round}");
    assert_eq!(sum(&Ledger::open(folder)), naive, "round {round}");
    let kept = keep(folder, small(), open_sled, None, now_ms(round));
    kept.ready();
    assert_eq!(sum(&kept.ledger(folder)), naive, "round {round}");
    let compared = kept.ledger(folder).compare().unwrap().unwrap();
    assert_eq!(compared.differing, 0, "round {round}");
    kept.stop();
    report.archives
}

/// Lets a process work until it has acknowledged so many entries, kills it, and counts all that it acknowledged.
fn kill_after(folder: &Path, round: u64, acknowledgements: u64) -> u64 {
    let mut child = start(folder, round);
    let output = BufReader::new(child.stdout.take().unwrap());
    let mut seen = 0;
    for line in output.split(b'\n') {
        if line.unwrap() == b"@entry." {
            seen += 1;
        }
        if seen == acknowledgements {
            child.kill().unwrap();
        }
    }
    child.wait().unwrap();
    assert!(seen >= acknowledgements, "the process ended by itself after {seen}");
    seen
}

fn start(folder: &Path, round: u64) -> Child {
    Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "index::kill::works_until_it_is_killed", "--nocapture", "--test-threads=1"])
        .env(FOLDER, folder)
        .env(FIRST, round.to_string())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap()
}

/// The process that is killed; a test that passes at once unless it was started by the one above.
#[test]
fn works_until_it_is_killed() {
    let (Some(folder), Ok(round)) = (std::env::var_os(FOLDER), std::env::var(FIRST)) else { return };
    let round: u64 = round.parse().unwrap();
    let folder = Path::new(&folder);
    let (journal, recovered) = Journal::open(folder, small(), now_ms(round)).unwrap();
    for unfinished in &recovered.unfinished {
        let _ = journal.expire(unfinished, now_ms(round));
    }
    let clock = Clock::Manual(Arc::new(AtomicU64::new(now_ms(round) * 1000)));
    let options = clerk::Options { retention_days: Some(2), open: open_sled, clock };
    let clerk = Clerk::start(folder, journal.tip(), options).unwrap();
    std::thread::spawn(move || {
        loop {
            clerk.round();
            clerk.retain();
        }
    });
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        for number in 0.. {
            work(&journal, round, number).await;
        }
    });
}

async fn work(journal: &Journal, round: u64, number: u64) {
    let mut open: Open = open(number);
    open.at_ms = now_ms(round) + number;
    open.attempt.request = RequestId::new(open.at_ms, u128::from(round * 1_000_000 + number));
    journal.written(journal.admit(&open).unwrap()).await.unwrap();
    let entry: Entry = entry(&open);
    let seat = journal.settle(&close(&open), &entry);
    if number.is_multiple_of(16) { journal.synced(seat).await } else { journal.written(seat).await }.unwrap();
    let mut out = std::io::stdout().lock();
    out.write_all(b"@entry.\n").unwrap();
    out.flush().unwrap();
}
