//! Tampering: any byte that is changed, in any frame, is found by `verify` with its segment and where the frame begins.

use std::fs;
use std::path::{Path, PathBuf};

use tollgate::domain::account::Scope;
use tollgate::domain::adjustment::{Adjustment, Direction};
use tollgate::domain::money::Usd;
use tollgate::store::{FrameFault, Journal, Options, RateRecord, ReadError, Record, Start, Unsettled, verify};

use super::sample::{NOW_MS, account, folder, id, open, refusal, serve};

/// What every frame begins with.
const MAGIC: &[u8] = b"TgJ";

/// Bytes before a frame's body.
const HEADER: usize = 64;

/// A journal of two segments with a record of every kind but that of a dropped file, and a snapshot in the middle.
async fn write(folder: &Path) {
    let options = Options { sync_interval_ms: 0, snapshot_bytes: 700, segment_bytes: 5_000, ..Options::default() };
    let (journal, _) = Journal::open(folder, options, NOW_MS).unwrap();
    let adjustment = Adjustment {
        id: id(90),
        at_ms: NOW_MS,
        account: account(1),
        upstream: "openai".into(),
        model: "gpt-5-mini".into(),
        direction: Direction::Credit,
        amount: Usd::from_pico(7),
        actor: "ada".into(),
        reason: "refund".into(),
        request: Some(id(1)),
    };
    let records = [
        Record::Start(Start { at_ms: NOW_MS, boot_id: "boot".into(), version: "1".into(), pid: 7 }),
        Record::Rate(RateRecord { row: 7, version: "2026-11-01".into(), text: "input 1".into() }),
        Record::Entry(Box::new(refusal(50))),
        Record::Unsettled(Unsettled { at_ms: NOW_MS, scope: Scope::Organisation, amount: Usd::from_pico(9) }),
        Record::Adjustment(Box::new(adjustment)),
        Record::Open(open(60)),
    ];
    for record in &records {
        let seat = journal.post(record).unwrap();
        journal.synced(seat).await.unwrap();
    }
    for number in 0..14 {
        serve(&journal, number).await;
        journal.flush().await.unwrap();
    }
    journal.shut_down().unwrap();
}

/// Where the frames of a segment begin.
fn frames(bytes: &[u8]) -> Vec<usize> {
    let mut starts = Vec::new();
    let mut at = 0;
    while at < bytes.len() {
        assert_eq!(&bytes[at..at + 3], MAGIC);
        starts.push(at);
        at += HEADER + u32::from_le_bytes(bytes[at + 4..at + 8].try_into().unwrap()) as usize;
    }
    starts
}

fn segments(folder: &Path) -> Vec<PathBuf> {
    let mut paths: Vec<_> = fs::read_dir(folder.join("journal")).unwrap().map(|file| file.unwrap().path()).collect();
    paths.sort();
    paths
}

/// What `verify` complains of: a segment, an offset, and whether it takes it for a write that was cut off.
fn found(folder: &Path) -> Option<(PathBuf, u64, bool)> {
    match verify(folder) {
        Err(ReadError::Bad(bad)) => Some((bad.segment, bad.offset, false)),
        Err(error @ ReadError::Io { .. }) => panic!("{error}"),
        Ok(report) => report.tail.map(|tail| (tail.segment, tail.offset, true)),
    }
}

#[tokio::test]
async fn a_changed_byte_anywhere_is_found_with_its_place() {
    let folder = folder();
    write(folder.path()).await;
    let report = verify(folder.path()).unwrap();
    assert_eq!((report.odd.as_slice(), &report.tail), ([].as_slice(), &None));
    assert!(report.segments >= 2 && report.snapshots >= 3 && report.frames >= 30, "{report:?}");
    let paths = segments(folder.path());
    let mut changed = 0;
    for path in &paths {
        let whole = fs::read(path).unwrap();
        let starts = frames(&whole);
        let (is_last, end) = (paths.last() == Some(path), starts[starts.len() - 1]);
        for place in 0..whole.len() {
            let mut bytes = whole.clone();
            bytes[place] ^= [0x01, 0x80, 0xff][place % 3];
            fs::write(path, &bytes).unwrap();
            let start = *starts.iter().rfind(|start| **start <= place).unwrap();
            // The very last frame is vouched for by none: it looks like a write that was cut off, and is named as one.
            let expect = (path.clone(), start as u64, is_last && start == end);
            assert_eq!(found(folder.path()), Some(expect), "byte {place} of {}", path.display());
            changed += 1;
        }
        fs::write(path, &whole).unwrap();
    }
    println!("{changed} changed bytes");
    assert!(found(folder.path()).is_none());
}

#[tokio::test]
async fn who_mends_the_checksum_breaks_the_chain() {
    let folder = folder();
    write(folder.path()).await;
    let paths = segments(folder.path());
    for path in &paths {
        let whole = fs::read(path).unwrap();
        let starts = frames(&whole);
        for (place, start) in starts.iter().enumerate() {
            let end = starts.get(place + 1).copied().unwrap_or(whole.len());
            let is_very_last = paths.last() == Some(path) && end == whole.len();
            if is_very_last {
                // Only who keeps the head elsewhere can prove that the last frame is what it was.
                continue;
            }
            let mut bytes = whole.clone();
            // The number of durable bytes: nothing but checksum and chain depends on it.
            bytes[start + 24] ^= 1;
            bytes[start + 8..start + 12].fill(0);
            let checksum = crc32fast::hash(&bytes[*start..end]);
            bytes[start + 8..start + 12].copy_from_slice(&checksum.to_le_bytes());
            fs::write(path, &bytes).unwrap();
            let Err(ReadError::Bad(bad)) = verify(folder.path()) else { panic!("frame {place} of {}", path.display()) };
            assert_eq!(bad.why, FrameFault::Chain);
            let next =
                paths.iter().position(|other| other == path).map(|place| &paths[(place + 1).min(paths.len() - 1)]);
            let expect = if end == whole.len() { (next.unwrap(), 0) } else { (path, end as u64) };
            assert_eq!((&bad.segment, bad.offset), expect);
        }
        fs::write(path, &whole).unwrap();
    }
}
