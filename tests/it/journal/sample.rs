//! Records to write, and a look at what a folder holds.

use std::collections::HashSet;
use std::path::Path;

use tempfile::TempDir;
use tollgate::domain::account::{Account, Scope};
use tollgate::domain::entry::{Attempt, CacheUse, Entry, FEATURE_BYTES, Outcome, PriceRef, Tier};
use tollgate::domain::ids::{AttemptId, RequestId};
use tollgate::domain::money::Usd;
use tollgate::domain::operation::{Dialect, Operation};
use tollgate::domain::tokens::{Usage, UsageSource};
use tollgate::store::{Close, Journal, Open, Options, Reader, Record, Recovered, verify};

/// A Sunday in 2026.
pub const NOW_MS: u64 = 1_795_000_000_000;

/// The id of request `number`, a millisecond after the one before.
pub fn id(number: u64) -> RequestId {
    RequestId::new(NOW_MS + number, u128::from(number))
}

/// The open record of request `number`, which costs as many pico-dollars.
pub fn open(number: u64) -> Open {
    Open {
        attempt: AttemptId { request: id(number), ordinal: 0 },
        at_ms: id(number).at_ms(),
        account: account(number),
        upstream: "openai".into(),
        model: "gpt-5-mini".into(),
        quote: Some(Usd::from_pico(u128::from(number) * 2)),
        operation: Operation::ChatCompletions,
        dialect: Dialect::OpenAi,
    }
}

pub fn account(number: u64) -> Account {
    Account {
        key: format!("key{}", number % 3).into(),
        user: Some("ada".into()),
        team: None,
        tags: [("feature".into(), "search".into())].into(),
    }
}

/// The close of `open` at half its quote.
pub fn close(open: &Open) -> Close {
    Close {
        attempt: open.attempt,
        at_ms: open.at_ms + 5,
        status: 200,
        outcome: Outcome::Complete,
        usage_source: UsageSource::Reported,
        cost: open.quote.map(|quote| Usd::from_pico(quote.pico() / 2)),
    }
}

/// The entry of the request with the one attempt `open`.
pub fn entry(open: &Open) -> Entry {
    let close = close(open);
    Entry {
        id: open.attempt.request,
        at_ms: open.at_ms,
        account: open.account.clone(),
        dialect: open.dialect,
        operation: open.operation,
        upstream: open.upstream.clone(),
        requested_model: "gpt-5".into(),
        model: open.model.clone(),
        served_model: Some("gpt-5-mini-2025-08-07".into()),
        tier: Some(Tier::Simple),
        reason: "tier simple".into(),
        cache: CacheUse::Miss,
        stream: true,
        status: 200,
        outcome: Outcome::Complete,
        requested_service_tier: None,
        service_tier: Some("default".into()),
        geo: None,
        speed: None,
        usage: Usage { input: 1200, output: 310, reasoning: 64, ..Usage::default() },
        usage_source: UsageSource::Reported,
        overrun: false,
        cost: close.cost,
        saved: Usd::ZERO,
        price: Some(PriceRef { version: "2026-11-01".into(), row: 7 }),
        quote: open.quote,
        latency_ms: 2140,
        first_byte_ms: Some(310),
        attempts: vec![Attempt {
            ordinal: 0,
            upstream: open.upstream.clone(),
            model: open.model.clone(),
            status: 200,
            outcome: Outcome::Complete,
            usage_source: UsageSource::Reported,
            cost: close.cost,
        }],
        features: [9; FEATURE_BYTES],
        requests: 1,
    }
}

/// An entry of request `number` that was refused before any dispatch.
pub fn refusal(number: u64) -> Entry {
    Entry { cost: Some(Usd::ZERO), attempts: Vec::new(), outcome: Outcome::Refused, ..entry(&open(number)) }
}

/// Segments and snapshots so small that a test sees many.
pub fn small() -> Options {
    Options { sync_interval_ms: 1, segment_bytes: 40_000, snapshot_bytes: 9_000, ..Options::default() }
}

/// A folder in memory where there is one: these tests sync much.
pub fn folder() -> TempDir {
    let memory = Path::new("/dev/shm");
    if memory.is_dir() { TempDir::new_in(memory).unwrap() } else { TempDir::new().unwrap() }
}

pub fn reopen(folder: &Path) -> (Journal, Recovered) {
    Journal::open(folder, small(), NOW_MS).unwrap()
}

/// Opens and settles request `number`, and waits until both are written.
pub async fn serve(journal: &Journal, number: u64) {
    let open = open(number);
    let seat = journal.admit(&open).unwrap();
    journal.written(seat).await.unwrap();
    let seat = journal.settle(&close(&open), &entry(&open));
    journal.written(seat).await.unwrap();
}

/// What a folder holds, by numbers of requests.
#[derive(Debug, Default, PartialEq)]
pub struct Holding {
    pub opens: HashSet<RequestId>,
    pub entries: HashSet<RequestId>,
    pub spent: Usd,
}

/// Reads everything, and checks that the totals of a start and of `verify` are the sum of it.
pub fn holding(folder: &Path) -> Holding {
    let mut holding = Holding::default();
    for located in Reader::open(folder).records().unwrap() {
        match located.unwrap().record {
            Record::Open(open) => {
                holding.opens.insert(open.attempt.request);
            }
            Record::Entry(entry) => {
                assert!(holding.entries.insert(entry.id), "entered twice");
                holding.spent = holding.spent.plus(entry.cost.unwrap_or_default());
            }
            Record::Close(_)
            | Record::Rate(_)
            | Record::Start(_)
            | Record::Unsettled(_)
            | Record::Adjustment(_)
            | Record::Dropped(_)
            | Record::Key(_)
            | Record::TopUp(_)
            | Record::Lesson(_)
            | Record::Reloaded(_) => {}
        }
    }
    let report = verify(folder).unwrap();
    assert_eq!(report.odd, []);
    assert_eq!(report.totals.of(&Scope::Organisation).spent, holding.spent);
    let (journal, recovered) = reopen(folder);
    assert_eq!(recovered.totals, report.totals);
    let unfinished: Vec<_> = recovered.unfinished.iter().map(|one| one.attempts[0].0.attempt.request).collect();
    assert_eq!(unfinished, report.unfinished);
    journal.shut_down().unwrap();
    holding
}
