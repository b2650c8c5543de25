//! Stores with an index, and what their ledgers say.

use std::collections::BTreeMap;
use std::ops::Range;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Instant;

use tollgate::clock::Clock;
use tollgate::domain::entry::Entry;
use tollgate::domain::subject::Subject;
use tollgate::domain::sums::Sums;
use tollgate::store::clerk::{self, OpenIndex};
use tollgate::store::{Clerk, Grain, Journal, Ledger, Options, Record};

use crate::journal::sample::NOW_MS;

/// Milliseconds of a quarter of an hour.
pub const QUARTER_MS: u64 = 900_000;

/// A journal with its clerk.
pub struct Kept {
    pub journal: Journal,
    pub clerk: Clerk,
}

/// What came to what: by quarter of an hour and subject.
pub type Folded = BTreeMap<(u64, Subject), Sums>;

/// Opens the store in `folder` at `now_ms`, and waits until the clerk has made a round.
pub fn keep(folder: &Path, options: Options, open: OpenIndex, retention_days: Option<u32>, now_ms: u64) -> Kept {
    let (journal, _) = Journal::open(folder, options, now_ms).unwrap();
    let clock = Clock::Manual(Arc::new(AtomicU64::new(now_ms * 1000)));
    let clerk = Clerk::start(folder, journal.tip(), clerk::Options { retention_days, open, clock }).unwrap();
    clerk.round();
    Kept { journal, clerk }
}

impl Kept {
    /// The ledger as a server of this store sees it.
    pub fn ledger(&self, folder: &Path) -> Ledger {
        Ledger::new(folder, self.clerk.shelf())
    }

    /// Writes `entries`, waits until they are durable, and optionally until they are in the index.
    pub fn post(&self, entries: impl IntoIterator<Item = Entry>) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        for entry in entries {
            self.journal.post(&Record::Entry(Box::new(entry))).unwrap();
        }
        runtime.block_on(self.journal.flush()).unwrap();
    }

    /// Waits until the index is ready: sled lets go of its lock a little after an index was closed.
    pub fn ready(&self) {
        let start = Instant::now();
        while !self.clerk.state().is_ready {
            assert!(start.elapsed().as_secs() < 20, "{:?}", self.clerk.state());
            self.clerk.round();
        }
        self.clerk.round();
    }

    pub fn stop(self) {
        self.clerk.stop();
        self.journal.shut_down().unwrap();
    }
}

/// All that a ledger says of a range, by quarters.
pub fn folded(ledger: &Ledger, range: Range<u64>) -> Folded {
    let mut folded = Folded::new();
    let mut count = |at_ms: u64, subject: &Subject, sums: &Sums| {
        folded.entry((at_ms / QUARTER_MS, subject.clone())).or_default().join(sums);
    };
    ledger.fold(range.clone(), Grain::Quarter, &mut count).unwrap();
    let (mut total, mut coarse) = (Sums::default(), Sums::default());
    folded.values().for_each(|sums| total.join(sums));
    ledger.fold(range.clone(), Grain::Range, &mut |_, _, sums| coarse.join(sums)).unwrap();
    assert_eq!(total, coarse, "both grains come to the same");
    let (mut days, mut quarters) = (Folded::new(), Folded::new());
    let day = |at_ms: u64| at_ms / QUARTER_MS / 96;
    let mut count = |at_ms, subject: &Subject, sums: &Sums| {
        days.entry((day(at_ms), subject.clone())).or_default().join(sums);
    };
    ledger.fold(range, Grain::Day, &mut count).unwrap();
    for ((quarter, subject), sums) in &folded {
        quarters.entry((quarter / 96, subject.clone())).or_default().join(sums);
    }
    assert_eq!(days, quarters, "days come to what their quarters do");
    folded
}

/// The same without any of the store's code.
pub fn naive(entries: &[Entry], range: Range<u64>) -> Folded {
    let mut folded = Folded::new();
    for entry in entries.iter().filter(|entry| range.contains(&entry.at_ms)) {
        folded.entry((entry.at_ms / QUARTER_MS, Subject::of(entry))).or_default().add(entry);
    }
    folded
}

/// Entry `number`, so many milliseconds after the start of the sample.
pub fn entry_at(number: u64, after_ms: u64) -> Entry {
    use crate::journal::sample::refusal;
    let mut entry = refusal(number);
    entry.at_ms = NOW_MS + after_ms;
    entry.id = tollgate::domain::ids::RequestId::new(entry.at_ms, number.into());
    entry.cost =
        (!number.is_multiple_of(7)).then(|| tollgate::domain::money::Usd::from_pico((number * 1_000_003).into()));
    entry.model = format!("model-{}", number % 5).into();
    entry.account.team = (!number.is_multiple_of(3)).then(|| format!("team-{}", number % 3).into());
    entry
}
