//! Writing: one write for many, settling in one frame, recovery, expiry, and who may open.

use tollgate::domain::account::Scope;
use tollgate::domain::entry::Outcome;
use tollgate::domain::ids::AttemptId;
use tollgate::domain::money::Usd;
use tollgate::store::{Journal, OpenError, Options, RateRecord, Reader, Record, Start, StoreError, Unsettled, verify};

use super::sample::{NOW_MS, close, entry, folder, holding, id, open, refusal, reopen, serve, small};

#[tokio::test]
async fn requests_that_wait_together_share_one_write() {
    let folder = folder();
    let options = Options { sync_interval_ms: 60_000, ..Options::default() };
    let (journal, _) = Journal::open(folder.path(), options, NOW_MS).unwrap();
    let journal = std::sync::Arc::new(journal);
    let request = |number| {
        let journal = journal.clone();
        async move { journal.written(journal.admit(&open(number)).unwrap()).await }
    };
    let tasks: Vec<_> = (0..50).map(|number| tokio::spawn(request(number))).collect();
    for task in tasks {
        task.await.unwrap().unwrap();
    }
    let offsets: std::collections::HashSet<_> =
        Reader::open(folder.path()).records().unwrap().map(|located| located.unwrap().offset).collect();
    assert_eq!(offsets.len(), 1, "fifty opens lie in one frame");
}

#[tokio::test]
async fn a_close_and_its_entry_are_written_together() {
    let folder = folder();
    let (journal, _) = reopen(folder.path());
    serve(&journal, 1).await;
    journal.synced(journal.settle(&close(&open(2)), &entry(&open(2)))).await.unwrap();
    let located: Vec<_> = Reader::open(folder.path()).records().unwrap().map(Result::unwrap).collect();
    let frames: Vec<_> = located.iter().map(|located| located.offset).collect();
    assert!(frames[0] < frames[1] && frames[1] == frames[2], "open | close entry: {frames:?}");
    assert_eq!(located[1].record, Record::Close(close(&open(1))));
    assert_eq!(located[2].record, Record::Entry(Box::new(entry(&open(1)))));
    assert_eq!(journal.health().unsynced_records, 0);
}

#[tokio::test]
async fn totals_rates_and_the_last_start_are_there_after_a_restart() {
    let folder = folder();
    let (journal, recovered) = reopen(folder.path());
    assert!(recovered.totals.is_empty() && recovered.last_start.is_none());
    let start = Start { at_ms: NOW_MS, boot_id: "b1".into(), version: "0.1.0".into(), pid: 7 };
    let rate = RateRecord { row: 7, version: "2026-11-01".into(), text: "x".repeat(3000).into() };
    let unsettled = Unsettled { at_ms: NOW_MS, scope: Scope::User("ada".into()), amount: Usd::from_pico(5) };
    journal.written(journal.post(&Record::Start(start.clone())).unwrap()).await.unwrap();
    journal.written(journal.post(&Record::Rate(rate.clone())).unwrap()).await.unwrap();
    journal.written(journal.post(&Record::Unsettled(unsettled)).unwrap()).await.unwrap();
    for number in 1..=300 {
        serve(&journal, number).await;
        if number % 25 == 0 {
            // A segment ends with a sync, and writing alone would be done before the first.
            journal.synced(journal.finish(&refusal(number + 1000))).await.unwrap();
        }
    }
    journal.written(journal.post(&Record::Entry(Box::new(refusal(301)))).unwrap()).await.unwrap();
    journal.shut_down().unwrap();
    let (journal, recovered) = reopen(folder.path());
    let total = |scope| recovered.totals.of(&scope);
    assert_eq!(total(Scope::Organisation).spent, Usd::from_pico(45_150));
    assert_eq!((total(Scope::Organisation).entries, total(Scope::Organisation).unpriced), (313, 0));
    assert_eq!(total(Scope::User("ada".into())).spent, Usd::from_pico(45_155));
    assert_eq!(total(Scope::Key("key1".into())).entries, 105);
    assert_eq!(total(Scope::Tag("feature=search".into())).entries, 313);
    assert_eq!((recovered.rates, recovered.last_start, recovered.cut), (vec![rate], Some(start), None));
    assert!(recovered.unfinished.is_empty());
    drop(journal);
    let report = verify(folder.path()).unwrap();
    assert!(report.segments > 3 && report.snapshots > report.segments, "{report:?}");
    assert_eq!((report.records, report.odd_records), (916, 0));
}

#[tokio::test]
async fn what_was_in_flight_is_reported_and_expires_at_its_quote() {
    let folder = folder();
    let (journal, _) = reopen(folder.path());
    let first = open(4);
    let mut second = open(4);
    second.attempt.ordinal = 1;
    journal.written(journal.admit(&first).unwrap()).await.unwrap();
    journal.close(&close(&first));
    journal.written(journal.admit(&second).unwrap()).await.unwrap();
    drop(journal);

    let (journal, recovered) = reopen(folder.path());
    let [unfinished] = &recovered.unfinished[..] else { panic!("{recovered:?}") };
    assert_eq!(unfinished.attempts, [(first.clone(), Some(close(&first))), (second, None)]);
    assert_eq!(unfinished.quote(), Some(Usd::from_pico(4 + 8)));
    assert_eq!(recovered.totals.of(&Scope::Organisation).spent, Usd::ZERO, "the caller holds it until it expires");
    let (seat, entry) = journal.expire(unfinished, NOW_MS + 900_000).unwrap();
    journal.synced(seat).await.unwrap();
    assert_eq!((entry.outcome, entry.cost, entry.at_ms), (Outcome::Unsettled, Some(Usd::from_pico(12)), first.at_ms));
    assert_eq!(entry.attempts.len(), 2);
    drop(journal);
    assert_eq!(holding(folder.path()).spent, Usd::from_pico(12));
    assert!(reopen(folder.path()).1.unfinished.is_empty());
}

#[tokio::test]
async fn a_request_counts_once_however_often_it_is_settled() {
    let folder = folder();
    let (journal, _) = reopen(folder.path());
    serve(&journal, 9).await;
    journal.settle(&close(&open(9)), &entry(&open(9)));
    journal.shut_down().unwrap();
    let (_journal, recovered) = reopen(folder.path());
    assert_eq!(recovered.totals.of(&Scope::Organisation).spent, Usd::from_pico(9));
    let report = verify(folder.path()).unwrap();
    assert_eq!(report.odd_records, 2, "a second close and a second entry");
}

#[test]
fn a_second_opener_is_refused_by_name() {
    let folder = folder();
    let (journal, _) = reopen(folder.path());
    let Err(error) = Journal::open(folder.path(), small(), NOW_MS) else { panic!("opened twice") };
    assert!(matches!(error, OpenError::InUse { pid: Some(pid), .. } if pid == std::process::id()), "{error}");
    assert!(error.to_string().contains("is used by another process (pid "), "{error}");
    drop(journal);
    reopen(folder.path());
}

#[tokio::test]
async fn opens_are_refused_when_the_disk_is_behind_but_settling_is_not() {
    let folder = folder();
    let options = Options { unsynced_records_max: 3, sync_interval_ms: 60_000, ..Options::default() };
    let (journal, _) = Journal::open(folder.path(), options, NOW_MS).unwrap();
    let mut last = journal.admit(&open(0)).unwrap();
    for number in 1..4 {
        last = journal.admit(&open(number)).unwrap();
    }
    assert!(matches!(journal.admit(&open(4)), Err(StoreError::Behind { records: 4, .. })));
    journal.settle(&close(&open(0)), &entry(&open(0)));
    journal.synced(last).await.unwrap();
    journal.admit(&open(4)).unwrap();
    drop(journal);
    let holding = holding(folder.path());
    assert_eq!((holding.opens.len(), holding.entries.contains(&id(0))), (5, true));
}

#[test]
fn an_attempt_of_nobody_is_told() {
    let folder = folder();
    let (journal, _) = reopen(folder.path());
    let mut stray = close(&open(1));
    stray.attempt = AttemptId { request: id(77), ordinal: 3 };
    journal.close(&stray);
    journal.shut_down().unwrap();
    let report = verify(folder.path()).unwrap();
    assert_eq!(report.odd[0].what, "an attempt was closed that was not open");
}

#[tokio::test]
async fn after_a_shut_down_nobody_waits_in_vain() {
    let folder = folder();
    let (journal, _) = reopen(folder.path());
    serve(&journal, 1).await;
    assert_eq!(journal.shut_down(), Ok(()));
    assert_eq!(journal.shut_down(), Ok(()));
    let stopped = Err(StoreError::Failed("it was shut down".into()));
    let seat = journal.close(&close(&open(1)));
    assert_eq!((journal.written(seat).await, journal.synced(seat).await), (stopped.clone(), stopped));
    assert!(journal.admit(&open(2)).is_err());
}
