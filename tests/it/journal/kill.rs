//! kill -9 in a loop: what was acknowledged is there, the totals are the sum, the chain is whole.
//!
//! `TOLLGATE_KILL_ROUNDS` says how many rounds (default 20). The killed process is this test binary itself.

use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;

use tollgate::domain::ids::RequestId;
use tollgate::store::Journal;

use super::sample::{NOW_MS, close, entry, folder, holding, open, reopen, small};

const FOLDER: &str = "TOLLGATE_KILL_FOLDER";
const FIRST: &str = "TOLLGATE_KILL_FIRST";

/// Rounds after which a new folder is begun.
const ROUNDS_A_FOLDER: u64 = 10;

#[test]
fn everything_acknowledged_survives_kills() {
    let rounds = std::env::var("TOLLGATE_KILL_ROUNDS").map_or(20, |rounds| rounds.parse().unwrap());
    let mut dir = folder();
    let (mut opens, mut entries) = (Vec::new(), Vec::new());
    let mut total = 0;
    for round in 0..rounds {
        if round % ROUNDS_A_FOLDER == 0 {
            total += entries.len();
            (opens, entries, dir) = (Vec::new(), Vec::new(), folder());
        }
        // Any number will do, as long as rounds differ and a failure can be repeated.
        let acknowledgements = 1 + round * 7919 % 613;
        kill_after(dir.path(), round, acknowledgements, &mut opens, &mut entries);
        let holding = holding(dir.path());
        assert!(opens.iter().all(|id| holding.opens.contains(id)), "round {round}: an acknowledged open is lost");
        assert!(entries.iter().all(|id| holding.entries.contains(id)), "round {round}: an acknowledged entry is lost");
        let (journal, recovered) = reopen(dir.path());
        for unfinished in &recovered.unfinished {
            let _ = journal.expire(unfinished, NOW_MS);
        }
        journal.shut_down().unwrap();
    }
    total += entries.len();
    println!("{rounds} kills, {total} acknowledged entries, none lost");
}

/// Lets a process work until it has acknowledged so much, kills it, and collects all that it acknowledged.
fn kill_after(
    folder: &Path,
    round: u64,
    acknowledgements: u64,
    opens: &mut Vec<RequestId>,
    entries: &mut Vec<RequestId>,
) {
    let mut child = start(folder, round);
    let output = BufReader::new(child.stdout.take().unwrap());
    let mut seen = 0;
    for line in output.split(b'\n') {
        let line = String::from_utf8(line.unwrap()).unwrap();
        // A line that the kill cut short has no end mark.
        let Some((kind, id)) = line.strip_prefix('@').and_then(|line| line.strip_suffix('.')?.split_once(' ')) else {
            continue;
        };
        if kind == "open" { &mut *opens } else { &mut *entries }.push(id.parse().unwrap());
        seen += 1;
        if seen == acknowledgements {
            child.kill().unwrap();
        }
    }
    child.wait().unwrap();
    assert!(seen >= acknowledgements, "the process ended by itself after {seen}");
}

fn start(folder: &Path, round: u64) -> Child {
    Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "journal::kill::works_until_it_is_killed", "--nocapture", "--test-threads=1"])
        .env(FOLDER, folder)
        .env(FIRST, (round * 1_000_000).to_string())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap()
}

/// The process that is killed; a test that passes at once unless it was started by the one above.
#[test]
fn works_until_it_is_killed() {
    let (Some(folder), Ok(first)) = (std::env::var_os(FOLDER), std::env::var(FIRST)) else { return };
    let (journal, _) = Journal::open(Path::new(&folder), small(), NOW_MS).unwrap();
    let journal = Arc::new(journal);
    let first: u64 = first.parse().unwrap();
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let workers = (0..8).map(|worker| runtime.spawn(work(journal.clone(), first + worker * 100_000)));
    for worker in workers.collect::<Vec<_>>() {
        runtime.block_on(worker).unwrap();
    }
}

async fn work(journal: Arc<Journal>, first: u64) {
    for number in first.. {
        let open = open(number);
        journal.written(journal.admit(&open).unwrap()).await.unwrap();
        tell("open", open.attempt.request);
        let seat = journal.settle(&close(&open), &entry(&open));
        if number % 16 == 0 { journal.synced(seat).await } else { journal.written(seat).await }.unwrap();
        tell("entry", open.attempt.request);
    }
}

fn tell(kind: &str, id: RequestId) {
    let mut out = std::io::stdout().lock();
    out.write_all(format!("@{kind} {id}.\n").as_bytes()).unwrap();
    out.flush().unwrap();
}
