//! Retention: old files go, what they came to stays, and the chain is only abridged.

use std::fs;

use tollgate::domain::account::Scope;
use tollgate::domain::entry::Entry;
use tollgate::store::clerk::open_sled;
use tollgate::store::{Ledger, verify};

use super::sample::{entry_at, folded, keep, naive};
use crate::journal::sample::{NOW_MS, folder, small};

const DAY_MS: u64 = 86_400_000;

#[test]
fn old_files_go_and_their_sums_stay() {
    let folder = folder();
    let entries: Vec<Entry> = (0..900).map(|number| entry_at(number, number * 10 * DAY_MS / 900)).collect();
    let until_ms = NOW_MS + 10 * DAY_MS;
    let kept = keep(folder.path(), small(), open_sled, Some(3), until_ms);
    for some in entries.chunks(10) {
        kept.post(some.iter().cloned());
    }
    kept.clerk.round();
    let before = verify(folder.path()).unwrap();
    kept.clerk.retain();
    let state = kept.clerk.state();
    assert!(state.dropped >= 4, "{state:?}");
    let after = verify(folder.path()).unwrap();
    assert_eq!((&after.odd, after.segments + state.dropped), (&before.odd, before.segments));
    assert_eq!(after.totals.of(&Scope::Organisation), before.totals.of(&Scope::Organisation));
    assert!(after.archives == state.dropped && state.journal_bytes < 200_000, "{state:?}");
    let expect = naive(&entries, 0..u64::MAX);
    assert_eq!(folded(&kept.ledger(folder.path()), 0..u64::MAX), expect);
    assert_eq!(folded(&Ledger::of_journal(folder.path()), 0..u64::MAX), expect);
    let days = NOW_MS - NOW_MS % DAY_MS + DAY_MS..NOW_MS - NOW_MS % DAY_MS + 9 * DAY_MS;
    assert_eq!(folded(&kept.ledger(folder.path()), days.clone()), naive(&entries, days));
    assert!(kept.ledger(folder.path()).find(entries[0].id).unwrap().is_none(), "its row is gone");
    assert!(kept.ledger(folder.path()).find(entries[899].id).unwrap().is_some());
    kept.stop();
    // An index that is lost afterwards is built from archives and what is left.
    fs::remove_dir_all(folder.path().join("index")).unwrap();
    let kept = keep(folder.path(), small(), open_sled, Some(3), until_ms);
    kept.ready();
    assert_eq!(folded(&kept.ledger(folder.path()), 0..u64::MAX), expect);
    kept.stop();
}

#[test]
fn a_changed_or_missing_archive_is_found() {
    let folder = folder();
    let entries: Vec<Entry> = (0..900).map(|number| entry_at(number, number * 10 * DAY_MS / 900)).collect();
    let kept = keep(folder.path(), small(), open_sled, Some(3), NOW_MS + 10 * DAY_MS);
    for some in entries.chunks(10) {
        kept.post(some.iter().cloned());
    }
    kept.clerk.retain();
    kept.stop();
    assert!(verify(folder.path()).unwrap().archives > 2);
    let mut archives: Vec<_> =
        folder.path().join("archive").read_dir().unwrap().map(|file| file.unwrap().path()).collect();
    archives.sort();
    for path in [&archives[0], &archives[1], archives.last().unwrap()] {
        let bytes = fs::read(path).unwrap();
        for at in [0, 5, bytes.len() / 2, bytes.len() - 1] {
            let mut bad = bytes.clone();
            bad[at] ^= 1;
            fs::write(path, bad).unwrap();
            let error = verify(folder.path()).unwrap_err().to_string();
            assert!(error.contains(&path.display().to_string()), "{error}");
        }
        fs::remove_file(path).unwrap();
        assert!(verify(folder.path()).is_err());
        fs::write(path, bytes).unwrap();
    }
    verify(folder.path()).unwrap();
}
