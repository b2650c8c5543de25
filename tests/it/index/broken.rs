//! An index that is gone, empty, garbled, old, of another journal, or that makes sled panic: nobody is kept waiting, it
//! is built again, and reports stay equal.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Instant;

use tollgate::domain::entry::Entry;
use tollgate::store::clerk::open_sled;
use tollgate::store::{Index, IndexError};

use super::sample::{Kept, entry_at, folded, keep, naive};
use crate::journal::sample::{NOW_MS, folder, small};

fn entries() -> Vec<Entry> {
    (0..500).map(|number| entry_at(number, number * 11_000)).collect()
}

fn files(folder: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for file in folder.read_dir().unwrap() {
        let path = file.unwrap().path();
        if path.is_dir() { files.extend(self::files(&path)) } else { files.push(path) }
    }
    files.sort();
    files
}

/// The tree of an index; sled lets go of its lock a little after it was closed.
fn tree(index: &Path) -> sled::Db {
    let start = Instant::now();
    loop {
        match sled::open(index) {
            Ok(db) => return db,
            Err(error) => assert!(start.elapsed().as_secs() < 10, "{error}"),
        }
        std::thread::yield_now();
    }
}

/// A store whose index was closed in order.
fn closed(folder: &Path) {
    let kept = keep(folder, small(), open_sled, None, NOW_MS);
    kept.post(entries());
    kept.clerk.round();
    assert!(kept.clerk.state().is_ready);
    kept.stop();
}

/// Damages the index, starts, and compares; returns how many indexes were set aside.
fn after(damage: impl FnOnce(&Path)) -> u64 {
    let folder = folder();
    closed(folder.path());
    damage(&folder.path().join("index"));
    let kept = keep(folder.path(), small(), open_sled, None, NOW_MS);
    let equal = |kept: &Kept| {
        assert_eq!(folded(&kept.ledger(folder.path()), 0..u64::MAX), naive(&entries(), 0..u64::MAX));
    };
    equal(&kept);
    kept.ready();
    equal(&kept);
    let state = kept.clerk.state();
    assert!(state.is_ready, "{state:?}");
    assert_eq!(state.next_seq, kept.journal.health().next_seq);
    kept.stop();
    state.set_aside
}

#[test]
fn a_whole_index_is_used_again() {
    assert_eq!(after(|_| {}), 0);
}

#[test]
fn a_lost_index_is_built_again() {
    assert_eq!(after(|index| fs::remove_dir_all(index).unwrap()), 0);
    assert!(after(|index| files(index).iter().for_each(|file| fs::write(file, b"").unwrap())) <= 1);
    assert!(after(|index| fs::remove_file(index.join("db")).unwrap()) <= 1);
}

#[test]
fn a_garbled_index_is_set_aside() {
    for seed in 0..12_usize {
        let _ = after(|index| {
            let db = index.join("db");
            let mut bytes = fs::read(&db).unwrap();
            let length = bytes.len();
            for number in 0..40 {
                let at = (seed * 7_919 + number * 104_729) % length;
                bytes[at] ^= 0xa5;
            }
            fs::write(db, bytes).unwrap();
        });
    }
}

#[test]
fn a_cut_index_is_set_aside_or_caught_up() {
    for part in 1..6 {
        let _ = after(|index| {
            let db = index.join("db");
            let bytes = fs::read(&db).unwrap();
            fs::write(db, &bytes[..bytes.len() * part / 6]).unwrap();
        });
    }
}

#[test]
fn an_index_of_another_version_is_set_aside() {
    let set_aside = after(|index| {
        let db = tree(index);
        let mut applied = db.get(b"A").unwrap().unwrap().to_vec();
        applied[0] = 77;
        db.insert(b"A", applied).unwrap();
        db.flush().unwrap();
    });
    assert_eq!(set_aside, 1);
}

#[test]
fn an_index_that_lost_or_changed_rows_is_set_aside() {
    let row = |db: &sled::Db| db.scan_prefix(b"R").next().unwrap().unwrap();
    let lost = after(|index| {
        let db = tree(index);
        db.remove(row(&db).0).unwrap();
        db.flush().unwrap();
    });
    let changed = after(|index| {
        let db = tree(index);
        let (key, value) = row(&db);
        let mut value = value.to_vec();
        value[0] ^= 1;
        db.insert(key, value).unwrap();
        db.flush().unwrap();
    });
    assert_eq!((lost, changed), (1, 1));
}

#[test]
fn an_index_of_another_journal_is_set_aside() {
    let folder = folder();
    closed(folder.path());
    fs::remove_dir_all(folder.path().join("journal")).unwrap();
    let kept = keep(folder.path(), small(), open_sled, None, NOW_MS);
    let others: Vec<Entry> = (0..40).map(|number| entry_at(number + 1_000, number)).collect();
    kept.post(others.iter().cloned());
    kept.ready();
    assert_eq!(kept.clerk.state().set_aside, 1);
    assert_eq!(folded(&kept.ledger(folder.path()), 0..u64::MAX), naive(&others, 0..u64::MAX));
    assert!(folder.path().join("index-set-aside").is_dir());
    kept.stop();
}

#[test]
fn a_panic_at_open_costs_no_report() {
    fn panics(_: &Path) -> Result<Index, IndexError> {
        panic!("as sled does on some damaged files")
    }
    let folder = folder();
    closed(folder.path());
    let kept = keep(folder.path(), small(), panics, None, NOW_MS);
    kept.clerk.round();
    let state = kept.clerk.state();
    assert!(!state.is_ready && state.set_aside > 0 && state.trouble.is_some(), "{state:?}");
    assert_eq!(folded(&kept.ledger(folder.path()), 0..u64::MAX), naive(&entries(), 0..u64::MAX));
    kept.stop();
}

#[test]
fn while_a_command_reads_the_index_a_start_does_without() {
    let folder = folder();
    closed(folder.path());
    let reading = tree(&folder.path().join("index"));
    let kept = keep(folder.path(), small(), open_sled, None, NOW_MS);
    let state = kept.clerk.state();
    assert_eq!((state.is_ready, state.set_aside), (false, 0), "{state:?}");
    assert_eq!(folded(&kept.ledger(folder.path()), 0..u64::MAX), naive(&entries(), 0..u64::MAX));
    drop(reading);
    kept.ready();
    kept.stop();
}
