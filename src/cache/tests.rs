//! Answers are found by their own namespace, and what is in memory stays within its bounds.

use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use tempfile::TempDir;

use super::*;
use crate::clock::Clock;
use crate::domain::money::Usd;
use crate::domain::operation::Operation;
use crate::protocol::facts::Facts;

/// Keys that the room is churned with; the test of a million is one variable away.
const CHURN_VARIABLE: &str = "TOLLGATE_CACHE_CHURN";
const CHURN_KEYS: u64 = 50_000;

fn namespace(name: &str) -> Namespace {
    Namespace::Team(name.into())
}

fn kept(namespace: Namespace, bytes: usize) -> Kept {
    let about = About {
        namespace,
        key: "ci".into(),
        team: None,
        upstream: "openai".into(),
        model: "gpt".into(),
        operation: Operation::ChatCompletions,
    };
    Kept::new(about, vec![b'x'; bytes].into(), Facts::default(), 0, 10)
}

fn key(namespace: &Namespace, number: u64) -> Key {
    let mut maker = KeyMaker::new(namespace);
    maker.part(&number.to_be_bytes());
    maker.finish()
}

#[test]
fn an_answer_is_found_by_its_own_namespace_only() {
    let room = Room::new(1 << 20, None);
    let own = namespace("search");
    let name = key(&own, 1);
    room.keep(name, None, kept(own.clone(), 10));
    let (ages, moment) = (Duration::from_hours(1), Duration::from_millis(5));
    assert!(room.find(&name, &own).is_some_and(|kept| kept.is_fresh(ages, 9) && !kept.is_fresh(ages, 10)));
    assert!(room.find(&name, &own).is_some_and(|kept| kept.is_fresh(moment, 4) && !kept.is_fresh(moment, 5)));
    // Even with the right key, which nobody else can have.
    for other in [namespace("other"), Namespace::Key("search".into()), Namespace::Shared] {
        assert!(room.find(&name, &other).is_none());
        assert_ne!(key(&other, 1), name);
    }
    room.forget(&name);
    assert!(room.find(&name, &own).is_none());
    assert_eq!(room.fill(), Fill::default());
}

#[tokio::test]
async fn what_was_asked_for_before_a_purge_is_not_kept_after_it() {
    let (room, own) = (Room::new(1 << 20, None), namespace("search"));
    let (before, name) = (room.purges(), key(&own, 1));
    room.keep_since(before, name, None, kept(own.clone(), 10));
    assert_eq!(room.purge(Arc::new(|_, _| true)).await, 1);
    room.keep_since(before, name, None, kept(own.clone(), 10));
    assert!(room.find(&name, &own).is_none());
    room.keep_since(room.purges(), name, None, kept(own.clone(), 10));
    assert!(room.find(&name, &own).is_some());
}

#[test]
fn the_parts_of_a_key_do_not_run_together() {
    let of = |parts: &[&str]| {
        let mut maker = KeyMaker::new(&Namespace::Shared);
        parts.iter().for_each(|part| maker.part(part.as_bytes()));
        maker.finish()
    };
    assert_ne!(of(&["ab", "c"]), of(&["a", "bc"]));
    assert_ne!(of(&["a", ""]), of(&["a"]));
    assert_eq!(of(&["a", "b"]), of(&["a", "b"]));
    let text = of(&["a"]).to_string();
    assert_eq!((Key::parse(&text), Key::parse(&text[1..]), Key::parse("x")), (Some(of(&["a"])), None, None));
}

#[tokio::test]
async fn what_is_wanted_is_purged() {
    let room = Room::new(1 << 20, None);
    for number in 0..20 {
        let namespace = namespace(if number % 2 == 0 { "even" } else { "odd" });
        room.keep(key(&namespace, number), None, kept(namespace, 100));
    }
    assert_eq!(room.purge(Arc::new(|_, kept| kept.about.namespace == namespace("even"))).await, 10);
    assert_eq!(room.fill().answers, 10);
    assert!(room.find(&key(&namespace("even"), 4), &namespace("even")).is_none());
    assert!(room.find(&key(&namespace("odd"), 5), &namespace("odd")).is_some());
}

#[test]
fn another_budget_keeps_what_fits_into_it() {
    let (room, own) = (Room::new(1 << 20, None), namespace("search"));
    for number in 0..100 {
        room.keep(key(&own, number), None, kept(own.clone(), 8_000));
    }
    let all = room.fill().answers;
    assert_eq!(all, 100);
    room.resize(1 << 21);
    assert_eq!((room.fill().answers, room.budget_bytes()), (all, 1 << 21));
    assert!((0..100).all(|number| room.find(&key(&own, number), &own).is_some()));
    room.resize(1 << 18);
    let fill = room.fill();
    assert!(fill.bytes <= 1 << 18 && fill.answers > 20, "{fill:?}");
    let found = (0..100).filter(|number| room.find(&key(&own, *number), &own).is_some()).count();
    assert_eq!(found as u64, fill.answers);
    room.keep(key(&own, 200), None, kept(own.clone(), 8_000));
    assert!(room.fill().bytes <= 1 << 18);
}

#[tokio::test]
async fn memory_stays_within_its_budget_whatever_comes() {
    let budget = 4 << 20;
    let room = Arc::new(Room::new(budget, None));
    let keys = std::env::var(CHURN_VARIABLE).ok().and_then(|keys| keys.parse().ok()).unwrap_or(CHURN_KEYS);
    std::thread::scope(|scope| {
        for thread in 0..2 {
            let room = room.clone();
            scope.spawn(move || {
                for number in (thread..keys).step_by(2) {
                    let namespace = namespace(&format!("team-{}", number % 7));
                    let bytes = usize::try_from(number * 7_919 % 60_000).unwrap();
                    room.keep(key(&namespace, number), None, kept(namespace.clone(), bytes));
                    let found = room.find(&key(&namespace, number / 2), &namespace);
                    assert!(found.is_none_or(|kept| kept.about.namespace == namespace));
                    assert!(room.alive_bytes() <= budget + budget / 10, "{} at {number}", room.alive_bytes());
                }
            });
        }
    });
    let fill = room.fill();
    assert!(fill.bytes <= budget && fill.answers > 20, "{fill:?}");
    room.purge(Arc::new(|_, _| true)).await;
    assert_eq!(room.fill(), Fill::default());
}

/// A room with a disk of so many bytes in `folder`, and the hands of its clock.
fn on_disk(folder: &TempDir, bytes: u64) -> (Room, Arc<AtomicU64>) {
    let now_us = Arc::new(AtomicU64::new(5_000));
    let disk = Disk::open(folder.path(), bytes, Duration::ZERO, Clock::Manual(now_us.clone())).unwrap();
    (Room::new(64 << 20, Some(disk)), now_us)
}

fn rest(room: &Room) -> disk::Filled {
    let disk = room.disk().unwrap();
    disk.rest();
    disk.filled()
}

/// Bytes that a folder takes on its file system.
fn taken(folder: &Path) -> u64 {
    let own = std::fs::metadata(folder).unwrap().blocks() * 512;
    let parts = std::fs::read_dir(folder).unwrap().map(|item| item.unwrap().path());
    own + parts
        .map(
            |path| {
                if path.is_dir() { taken(&path) } else { std::fs::metadata(path).map_or(0, |file| file.blocks() * 512) }
            },
        )
        .sum::<u64>()
}

fn files(folder: &Path) -> Vec<PathBuf> {
    let parts = std::fs::read_dir(folder.join(disk::FOLDER)).unwrap().map(|item| item.unwrap().path());
    let parts = parts.filter(|path| path.is_dir());
    parts.flat_map(|part| std::fs::read_dir(part).unwrap().map(|item| item.unwrap().path())).collect()
}

#[tokio::test]
async fn what_lies_on_the_disk_is_found_by_its_own_namespace_after_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    let (own, other) = (namespace("search"), namespace("other"));
    let (name, near) = (key(&own, 1), key(&own, 2));
    let (room, _) = on_disk(&folder, 1 << 20);
    let mut answer = kept(own.clone(), 10);
    answer.headers = vec![(http::header::CONTENT_TYPE, "text/plain".parse().unwrap())];
    answer.cost = Some(Usd::from_pico(u128::MAX));
    room.keep(name, Some(near), answer);
    assert_eq!((rest(&room).fill.answers, rest(&room).skipped), (1, 0));
    drop(room);
    let mode = |path: &Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
    let file = files(folder.path()).pop().unwrap();
    assert_eq!(
        (mode(&file), mode(file.parent().unwrap()), mode(&folder.path().join(disk::FOLDER))),
        (0o600, 0o700, 0o700)
    );
    let (room, now_us) = on_disk(&folder, 1 << 20);
    // Before the folder has been read, and after.
    for _ in 0..2 {
        assert!(room.find(&name, &own).is_none() && room.may_fetch(&name));
        assert!(room.fetch(name, &other).await.is_none() && room.fetch(name, &Namespace::Shared).await.is_none());
        assert!(room.find(&name, &own).is_none());
        rest(&room);
    }
    let found = room.fetch(name, &own).await.unwrap();
    let expect = kept(own.clone(), 10);
    assert_eq!((&found.bytes, &found.about, found.kept_ms, found.expires_ms), (&expect.bytes, &expect.about, 0, 10));
    assert_eq!(
        (found.cost, &found.headers[..]),
        (Some(Usd::from_pico(u128::MAX)), &[(http::header::CONTENT_TYPE, "text/plain".parse().unwrap())][..])
    );
    assert!(room.find(&name, &own).is_some() && room.find_near(&near, &own).is_some(), "it is in memory now");
    assert!(room.fetch_near(near, &own).await.is_some() && room.fetch_near(name, &own).await.is_none());
    assert!(room.fetch_near(near, &other).await.is_none());
    now_us.store(10_000, Ordering::Relaxed);
    assert!(!room.may_fetch(&name) && room.fetch(name, &own).await.is_none(), "its time is over");
}

#[tokio::test]
async fn a_file_that_differs_in_a_bit_or_a_byte_is_no_answer() {
    let folder = tempfile::tempdir().unwrap();
    let own = namespace("search");
    let name = key(&own, 1);
    let (room, _) = on_disk(&folder, 1 << 20);
    room.keep(name, Some(key(&own, 2)), kept(own.clone(), 40));
    rest(&room);
    drop(room);
    let path = files(folder.path()).pop().unwrap();
    let whole = std::fs::read(&path).unwrap();
    assert!(file::read(&whole, &name).is_some() && file::read(&whole, &key(&own, 3)).is_none());
    for place in 0..whole.len() {
        for bit in 0..8 {
            let mut bad = whole.clone();
            bad[place] ^= 1 << bit;
            assert!(file::read(&bad, &name).is_none(), "{place} {bit}");
        }
        assert!(file::read(&whole[..place], &name).is_none(), "{place}");
    }
    assert!(file::read(&[&whole[..], b"x"].concat(), &name).is_none());
    // In a whole room such a file is a miss, and is removed.
    for place in [0, 20, 50, 80, 110, whole.len() - 1] {
        let mut bad = whole.clone();
        bad[place] ^= 1;
        std::fs::write(&path, &bad).unwrap();
        let (room, _) = on_disk(&folder, 1 << 20);
        rest(&room);
        assert!(
            room.fetch(name, &own).await.is_none() && room.fetch_near(key(&own, 2), &own).await.is_none(),
            "{place}"
        );
        assert_eq!((rest(&room).fill.answers, rest(&room).damaged, path.exists()), (0, 1, false), "{place}");
    }
    // A file under another's name, and what was left of one that was being written.
    let strange = path.with_file_name(key(&own, 9).to_string());
    std::fs::write(&strange, &whole).unwrap();
    std::fs::write(folder.path().join(disk::FOLDER).join("writing"), &whole[..9]).unwrap();
    let (room, _) = on_disk(&folder, 1 << 20);
    assert_eq!(rest(&room).fill.answers, 0);
    assert!(!strange.exists() && !folder.path().join(disk::FOLDER).join("writing").exists());
}

#[tokio::test]
async fn the_disk_stays_within_its_budget_whatever_comes() {
    let folder = tempfile::tempdir().unwrap();
    let (budget, own) = (1 << 20, namespace("search"));
    let (room, now_us) = on_disk(&folder, budget);
    let place = folder.path().join(disk::FOLDER);
    let mut most = 0;
    for number in 0..3_000_u64 {
        let bytes = usize::try_from(number * 7_919 % 30_000).unwrap();
        room.keep(key(&own, number % 1_500), None, kept(own.clone(), bytes));
        if number % 100 == 0 {
            rest(&room);
            most = most.max(taken(&place));
        }
    }
    let filled = rest(&room);
    assert!(
        most <= budget && filled.fill.bytes <= filled.budget_bytes && filled.fill.answers > 20,
        "{most} {filled:?}"
    );
    assert_eq!(files(folder.path()).len() as u64, filled.fill.answers);
    drop(room);
    // A smaller budget holds from the start on.
    let (room, _) = on_disk(&folder, budget / 4);
    let smaller = rest(&room);
    assert!(taken(&place) <= budget / 4 && smaller.fill.answers > 1, "{smaller:?}");
    assert_eq!(files(folder.path()).len() as u64, smaller.fill.answers);
    now_us.store(20_000, Ordering::Relaxed);
    assert_eq!(room.purge(Arc::new(|_, _| true)).await, smaller.fill.answers);
    assert_eq!((rest(&room).fill, files(folder.path()).len()), (Fill::default(), 0));
}

#[tokio::test]
async fn what_was_purged_or_replaced_does_not_come_back_from_the_disk() {
    let folder = tempfile::tempdir().unwrap();
    let (even, odd) = (namespace("even"), namespace("odd"));
    let (room, _) = on_disk(&folder, 4 << 20);
    let whose = |number: u64| if number.is_multiple_of(2) { &even } else { &odd };
    for number in 0..40 {
        room.keep(key(whose(number), number), None, kept(whose(number).clone(), 100));
    }
    rest(&room);
    drop(room);
    let (room, _) = on_disk(&folder, 4 << 20);
    // One of them is in memory, too, and counts once.
    assert!(room.fetch(key(&even, 4), &even).await.is_some());
    let theirs = even.clone();
    assert_eq!(room.purge(Arc::new(move |_, kept| kept.about.namespace == theirs)).await, 20);
    for number in 0..40 {
        let found = room.fetch(key(whose(number), number), whose(number)).await;
        assert_eq!(found.is_some(), number % 2 == 1, "{number}");
    }
    // What cannot be written takes the older one with it.
    let mut odd_answer = kept(odd.clone(), 10);
    odd_answer.headers = vec![(http::header::CONTENT_TYPE, http::HeaderValue::from_bytes(b"\xff").unwrap())];
    room.keep(key(&odd, 1), None, odd_answer);
    assert_eq!((rest(&room).skipped, rest(&room).fill.answers), (1, 19));
    drop(room);
    let (room, _) = on_disk(&folder, 4 << 20);
    assert!(room.fetch(key(&odd, 1), &odd).await.is_none() && room.fetch(key(&odd, 3), &odd).await.is_some());
    drop(room);
    assert_eq!(disk::fill(folder.path()).unwrap().answers, 19);
    assert_eq!(disk::purge(folder.path(), |name, _| *name == key(&odd, 3)).unwrap(), 1);
    disk::clear(folder.path());
    assert_eq!(disk::fill(folder.path()), None);
}
