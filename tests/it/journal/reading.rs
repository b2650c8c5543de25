//! Reading while another writes: ranges of time, one request, and an end that is being written.

use std::fs::OpenOptions;
use std::io::Write;
use std::path::Path;

use tollgate::domain::entry::Entry;
use tollgate::domain::ids::RequestId;
use tollgate::store::{Journal, Reader, Record, verify};

use super::sample::{NOW_MS, folder, id, refusal, reopen, serve, small};

const DAY_MS: u64 = 86_400_000;

/// The times of the entries in a range.
fn times(folder: &Path, from_ms: u64, to_ms: u64) -> Vec<u64> {
    let records = Reader::open(folder).range(from_ms, to_ms).unwrap();
    let entry = |record| if let Record::Entry(entry) = record { Some(entry.at_ms) } else { None };
    records.filter_map(|located| entry(located.unwrap().record)).collect()
}

fn entry_at(at_ms: u64) -> Record {
    Record::Entry(Box::new(Entry { id: RequestId::new(at_ms, 1), at_ms, ..refusal(0) }))
}

#[tokio::test]
async fn a_range_reads_the_days_it_needs_and_a_day_ends_a_segment() {
    let folder = folder();
    let (journal, _) = reopen(folder.path());
    let first = NOW_MS - NOW_MS % DAY_MS;
    let mut expect = Vec::new();
    for day in 0..5 {
        for hour in [0, 1, 12, 23] {
            let at_ms = first + day * DAY_MS + hour * 3_600_000;
            journal.synced(journal.post(&entry_at(at_ms)).unwrap()).await.unwrap();
            expect.push(at_ms);
        }
    }
    for (from_ms, to_ms) in [(0, u64::MAX), (first, first + DAY_MS), (first + DAY_MS, first + 3 * DAY_MS), (0, 0)] {
        let inside: Vec<_> = expect.iter().copied().filter(|at_ms| (from_ms..to_ms).contains(at_ms)).collect();
        assert_eq!(times(folder.path(), from_ms, to_ms), inside);
    }
    journal.shut_down().unwrap();
    assert_eq!(verify(folder.path()).unwrap().segments, 5);
    let mut files: Vec<_> =
        std::fs::read_dir(folder.path().join("journal")).unwrap().map(|file| file.unwrap().path()).collect();
    files.sort();
    OpenOptions::new().append(true).open(&files[4]).unwrap().write_all(b"TgJ\x01 half a frame").unwrap();
    assert_eq!(times(folder.path(), 0, u64::MAX), expect, "half a frame at the end is not there yet");
    // The first record of a day still lies in the segment of the day before: it is what ends it.
    OpenOptions::new().append(true).open(&files[0]).unwrap().write_all(b"damage").unwrap();
    assert_eq!(times(folder.path(), first + 2 * DAY_MS, u64::MAX), expect[8..], "other days are not read");
    let records = Reader::open(folder.path()).records().unwrap();
    assert!(records.last().unwrap().is_err_and(|error| error.to_string().contains("is damaged at byte")));
}

#[test]
fn a_reader_follows_a_writer_and_never_stumbles() {
    let folder = folder();
    let (journal, _) = reopen(folder.path());
    let writer = std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(async {
            for number in 0..1000 {
                serve(&journal, number).await;
            }
        });
    });
    let mut seen = 0;
    while seen < 3000 {
        let numbers: Vec<_> =
            Reader::open(folder.path()).records().unwrap().map(|located| located.unwrap().seq).collect();
        assert!(numbers.len() >= seen && numbers.iter().copied().eq(1..=numbers.len() as u64), "{seen}");
        seen = numbers.len();
        assert_eq!(verify(folder.path()).unwrap().odd, []);
    }
    writer.join().unwrap();
}

#[tokio::test]
async fn a_request_is_found_by_its_id_with_the_hash_of_its_bytes() {
    let folder = folder();
    let (journal, _) = reopen(folder.path());
    for number in 0..200 {
        serve(&journal, number).await;
    }
    let reader = Reader::open(folder.path());
    let found = reader.find(id(150)).unwrap().unwrap();
    assert_eq!((found.entry.id, found.hash.len()), (id(150), 64));
    assert_ne!(found.hash, reader.find(id(151)).unwrap().unwrap().hash);
    assert_eq!(reader.find(id(150)).unwrap().unwrap().hash, found.hash);
    assert_eq!(reader.find(id(9000)).unwrap(), None);
    assert_eq!(reader.find(RequestId::default()).unwrap(), None);
}

#[test]
fn an_entry_that_settles_days_later_is_found_in_the_window_of_its_arrival() {
    use super::sample::{close, entry, open};
    let folder = folder();
    let (journal, _) = reopen(folder.path());
    let late = open(5);
    journal.admit(&late).unwrap();
    journal.shut_down().unwrap();
    for day in 1..4 {
        let (journal, _) = Journal::open(folder.path(), small(), NOW_MS + day * DAY_MS).unwrap();
        journal.post(&entry_at(NOW_MS + day * DAY_MS)).unwrap();
        journal.shut_down().unwrap();
    }
    let (journal, _) = reopen(folder.path());
    journal.settle(&close(&late), &entry(&late));
    journal.shut_down().unwrap();
    assert_eq!(times(folder.path(), NOW_MS, NOW_MS + 1000), [late.at_ms]);
}

#[test]
fn a_folder_that_is_not_there_holds_nothing() {
    let folder = folder();
    let nowhere = folder.path().join("none");
    assert_eq!(Reader::open(&nowhere).records().unwrap().count(), 0);
    assert!(verify(&nowhere).is_err());
}
