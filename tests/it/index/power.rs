//! Power losses of the whole store: journal, archives and index, with retention and snapshots at work.
//!
//! Every write, sync and change of a name of journal and archives is recorded, and a folder is made as a disk may have it
//! after the power went at any moment: what was not yet synced is kept, lost, zeroed or garbled sector by sector, and
//! names whose folder was not yet synced may be as before. The index, which is no authority, is that of another moment,
//! torn, or gone.

use std::collections::{BTreeMap, HashSet};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use tollgate::app::{App, Surroundings};
use tollgate::clock::Clock;
use tollgate::config::Config;
use tollgate::domain::account::Scope;
use tollgate::domain::cap::Window;
use tollgate::domain::ids::RequestId;
use tollgate::domain::money::Usd;
use tollgate::domain::sums::Sums;
use tollgate::store::clerk::{self, open_sled};
use tollgate::store::disk::{Disk, LogFile, RealDisk};
use tollgate::store::{Clerk, Grain, Journal, Ledger, Open, Options, Reader, Record, verify};

use super::sample::keep;
use crate::harness::environment;
use crate::journal::sample::{NOW_MS, close, entry, folder, open, small};

/// Caps whose windows end within what retention keeps, and caps that count what it has dropped.
const CAPS: &str = r#"
[organisation]
caps = { total = "9", day = "9", rolling = [{ usd = "9", hours = 30 }, { usd = "9", hours = 240 }] }
[defaults.key]
caps = { total = "9", rolling = [{ usd = "9", hours = 150 }] }
[models."gpt-*"]
caps = { total = "9" }
"#;

/// Bytes that a disk writes as a whole.
const SECTOR: usize = 512;

/// Moments at which the power goes.
const CUTS: usize = 300;

/// Requests that are served meanwhile.
const REQUESTS: u64 = 260;

/// Twenty requests a day.
const STEP_MS: u64 = 86_400_000 / 20;

/// What happened, in order. A file is known by the number of its creation.
#[derive(Clone, Debug)]
enum Event {
    Written(usize, Vec<u8>),
    Synced(usize),
    Named(PathBuf, usize),
    Renamed(PathBuf, PathBuf),
    Removed(PathBuf),
    FolderSynced(PathBuf),
    /// The index was copied as it then was.
    Copied,
    /// Somebody was told that this open is durable.
    Held(RequestId),
    /// Somebody was told that this request's entry is durable.
    Entered(RequestId),
}

#[derive(Clone, Debug, Default)]
struct Recording(Arc<Mutex<Vec<Event>>>, Arc<AtomicU64>);

#[derive(Debug)]
struct RecordedFile(Recording, usize, Box<dyn LogFile>);

impl Recording {
    fn note(&self, event: Event) {
        self.0.lock().unwrap().push(event);
    }
}

impl Disk for Recording {
    fn create(&self, path: &Path) -> io::Result<Box<dyn LogFile>> {
        let file = RealDisk.create(path)?;
        let number = usize::try_from(self.1.fetch_add(1, Ordering::SeqCst)).unwrap();
        self.note(Event::Named(path.to_owned(), number));
        Ok(Box::new(RecordedFile(self.clone(), number, file)))
    }

    fn append(&self, path: &Path) -> io::Result<Box<dyn LogFile>> {
        RealDisk.append(path)
    }

    fn sync_folder(&self, path: &Path) -> io::Result<()> {
        self.note(Event::FolderSynced(path.to_owned()));
        Ok(())
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        fs::rename(from, to)?;
        self.note(Event::Renamed(from.to_owned(), to.to_owned()));
        Ok(())
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        fs::remove_file(path)?;
        self.note(Event::Removed(path.to_owned()));
        Ok(())
    }
}

impl LogFile for RecordedFile {
    fn write(&self, bytes: &[u8]) -> io::Result<usize> {
        self.0.note(Event::Written(self.1, bytes.to_vec()));
        self.2.write(bytes)
    }

    fn sync(&self) -> io::Result<()> {
        // What is written while a sync runs need not be part of it, so the sync counts from its beginning.
        let begun = self.0.0.lock().unwrap().len();
        self.2.sync()?;
        self.0.0.lock().unwrap().insert(begun, Event::Synced(self.1));
        Ok(())
    }
}

/// Numbers that look random and can be had again.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(self.0 >> 33).unwrap() % sides
    }
}

/// A disk at some moment.
#[derive(Default)]
struct Replay {
    files: BTreeMap<usize, (Vec<u8>, usize)>,
    names: BTreeMap<PathBuf, usize>,
    /// Changes of names that are not durable yet, each in its folder.
    pending: Vec<(PathBuf, Event)>,
    copies: usize,
    held: Vec<RequestId>,
    entered: Vec<RequestId>,
}

impl Replay {
    fn of(events: &[Event]) -> Self {
        let mut replay = Self::default();
        for event in events {
            replay.apply(event);
        }
        replay
    }

    fn apply(&mut self, event: &Event) {
        match event {
            Event::Written(file, bytes) => self.files.entry(*file).or_default().0.extend_from_slice(bytes),
            Event::Synced(file) => {
                let (bytes, synced) = self.files.entry(*file).or_default();
                *synced = bytes.len();
            }
            Event::Named(path, _) | Event::Removed(path) | Event::Renamed(_, path) => {
                self.pending.push((path.parent().unwrap().to_owned(), event.clone()));
            }
            Event::FolderSynced(folder) => {
                for (_, event) in self.pending.extract_if(.., |(of, _)| of == folder).collect::<Vec<_>>() {
                    self.rename(event);
                }
            }
            Event::Copied => self.copies += 1,
            Event::Held(id) => self.held.push(*id),
            Event::Entered(id) => self.entered.push(*id),
        }
    }

    fn rename(&mut self, event: Event) {
        match event {
            Event::Named(path, file) => drop(self.names.insert(path, file)),
            Event::Removed(path) => drop(self.names.remove(&path)),
            Event::Renamed(from, to) => {
                if let Some(file) = self.names.remove(&from) {
                    self.names.insert(to, file);
                }
            }
            other => unreachable!("{other:?} changes no name"),
        }
    }

    /// Makes `image` what the power loss left of `store`.
    fn lose(&mut self, store: &Path, image: &Path, dice: &mut Dice) {
        for (_, event) in std::mem::take(&mut self.pending) {
            if dice.roll(2) == 0 {
                self.rename(event);
            }
        }
        for (path, file) in &self.names {
            let (bytes, synced) = self.files.entry(*file).or_default();
            tear(bytes, *synced, dice);
            let target = image.join(path.strip_prefix(store).unwrap());
            fs::create_dir_all(target.parent().unwrap()).unwrap();
            fs::write(target, bytes).unwrap();
        }
        fs::create_dir_all(image.join("journal")).unwrap();
    }
}

/// Loses what the power loss may take from a file.
fn tear(bytes: &mut Vec<u8>, synced: usize, dice: &mut Dice) {
    bytes.truncate(synced + dice.roll(bytes.len() - synced + 1));
    let end = bytes.len();
    let mut start = synced;
    while start < end {
        let next = end.min((start / SECTOR + 1) * SECTOR);
        match dice.roll(4) {
            0 => bytes[start..next].fill(0),
            1 => bytes[start..next].iter_mut().for_each(|byte| *byte ^= 0xa5),
            _ => {}
        }
        start = next;
    }
}

/// Puts an index of any moment into `image`, whole or torn, or none.
fn put_index(copies: &Path, count: usize, image: &Path, dice: &mut Dice) {
    if count == 0 || dice.roll(6) == 0 {
        return;
    }
    copy(&copies.join(dice.roll(count).to_string()), &image.join("index"));
    if dice.roll(2) == 0 {
        let path = image.join("index/db");
        let mut bytes = fs::read(&path).unwrap();
        let synced = dice.roll(bytes.len() + 1);
        tear(&mut bytes, synced, dice);
        fs::write(path, bytes).unwrap();
    }
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for item in fs::read_dir(from).unwrap() {
        let item = item.unwrap();
        let target = to.join(item.file_name());
        match item.file_type() {
            Ok(kind) if kind.is_dir() => copy(&item.path(), &target),
            // It may vanish while the index is at work.
            _ => drop(fs::copy(item.path(), target)),
        }
    }
}

fn opened(number: u64) -> Open {
    let mut open = open(number);
    open.at_ms = NOW_MS + number * STEP_MS;
    open.attempt.request = RequestId::new(open.at_ms, number.into());
    open
}

async fn events(store: &Path, copies: &Path) -> Vec<Event> {
    let disk = Recording::default();
    let options = Options { disk: Arc::new(disk.clone()), segment_bytes: 12_000, snapshot_bytes: 4_000, ..small() };
    let (journal, _) = Journal::open(store, options, NOW_MS).unwrap();
    let now_us = Arc::new(AtomicU64::new(NOW_MS * 1000));
    let keeping = clerk::Options { retention_days: Some(3), open: open_sled, clock: Clock::Manual(now_us.clone()) };
    let clerk = Clerk::start(store, journal.tip(), keeping).unwrap();
    let mut count = 0;
    for number in 0..REQUESTS {
        let open = opened(number);
        now_us.store(open.at_ms * 1000, Ordering::SeqCst);
        let seat = journal.admit(&open).unwrap();
        if number % 5 == 0 {
            journal.synced(seat).await.unwrap();
            disk.note(Event::Held(open.attempt.request));
        }
        journal.written(seat).await.unwrap();
        let seat = journal.settle(&close(&open), &entry(&open));
        if number % 3 == 0 {
            journal.synced(seat).await.unwrap();
            disk.note(Event::Entered(open.attempt.request));
        } else {
            journal.written(seat).await.unwrap();
        }
        if number % 20 == 19 {
            clerk.retain();
            copy(&store.join("index"), &copies.join(count.to_string()));
            disk.note(Event::Copied);
            count += 1;
        }
    }
    assert!(clerk.state().dropped > 3, "{:?}", clerk.state());
    clerk.stop();
    journal.shut_down().unwrap();
    let events = disk.0.lock().unwrap();
    events.clone()
}

fn sum(ledger: &Ledger) -> Sums {
    let mut sum = Sums::default();
    ledger.fold(0..u64::MAX, Grain::Range, &mut |_, _, sums| sum.join(sums)).unwrap();
    sum
}

/// Checks the store in `image` after the loss.
fn check(image: &Path, replay: &Replay, with_index: bool) {
    let now_ms = NOW_MS + REQUESTS * STEP_MS;
    let (journal, recovered) = Journal::open(image, small(), now_ms).unwrap();
    journal.shut_down().unwrap();
    let report = verify(image).unwrap();
    assert_eq!((report.odd.as_slice(), &report.tail), ([].as_slice(), &None));
    assert_eq!(recovered.totals, report.totals);
    let naive = sum(&Ledger::of_journal(image));
    assert_eq!(recovered.totals.of(&Scope::Organisation).spent, naive.spend);
    let mut entries = HashSet::new();
    for located in Reader::open(image).records().unwrap() {
        if let Record::Entry(entry) = located.unwrap().record {
            assert!(entries.insert(entry.id), "entered twice");
        }
    }
    let archived = naive.requests - entries.len() as u64;
    let gone = replay.entered.iter().filter(|id| !entries.contains(id)).count() as u64;
    assert!(gone <= archived, "{gone} acknowledged entries are lost, {archived} are archived");
    assert!(archived == 0 || report.archives > 0);
    // Whoever is capped has spent at least what was acknowledged, and what is held counts at its quote.
    let held: Usd = recovered.unfinished.iter().filter_map(|one| one.quote()).sum();
    let told: HashSet<_> = replay.entered.iter().chain(&replay.held).collect();
    let owed: Usd = told.iter().map(|id| close(&opened((id.at_ms() - NOW_MS) / STEP_MS)).cost.unwrap()).sum();
    assert!(naive.spend.plus(held) >= owed, "a cap is open again");
    assert_eq!(sum(&Ledger::open(image)), naive);
    if with_index {
        let kept = keep(image, small(), open_sled, Some(3), now_ms);
        kept.ready();
        assert_eq!(sum(&kept.ledger(image)), naive);
        assert_eq!(kept.ledger(image).compare().unwrap().unwrap().differing, 0);
        kept.clerk.retain();
        assert_eq!(sum(&kept.ledger(image)), naive);
        kept.stop();
        assert_eq!(verify(image).unwrap().odd, []);
    }
    caps(image, now_ms, &told);
}

/// What caps count after the loss is never less than what was acknowledged, in any window of any scope.
fn caps(image: &Path, now_ms: u64, told: &HashSet<&RequestId>) {
    let text = format!("{CAPS}\n[store]\npath = {image:?}\nretention_days = 3\n[log]\nlevel = \"error\"\n");
    let config = Config::parse(&text, "tollgate.toml", &environment()).unwrap();
    let clock = Clock::Manual(Arc::new(AtomicU64::new(now_ms * 1000)));
    let app = App::open(config, Surroundings { clock, ..Surroundings::default() }).unwrap();
    let standings = app.bank.standings();
    let keys: HashSet<_> = told.iter().map(|id| opened((id.at_ms() - NOW_MS) / STEP_MS).account.key).collect();
    assert!(keys.into_iter().all(|key| standings.iter().any(|one| one.scope == Scope::Key(key.clone()))));
    for standing in standings {
        let since_ms = match standing.window {
            Window::Total => 0,
            Window::Rolling { hours } => now_ms - u64::from(hours) * 3_600_000,
            Window::Day => now_ms - now_ms % 86_400_000,
            Window::Week | Window::Month => now_ms - 86_400_000,
        };
        let counts = |open: &Open| match &standing.scope {
            Scope::Key(key) => open.account.key == *key,
            _ => true,
        };
        let opens = told.iter().map(|id| opened((id.at_ms() - NOW_MS) / STEP_MS));
        let owed: Usd =
            opens.filter(|open| open.at_ms >= since_ms && counts(open)).filter_map(|open| close(&open).cost).sum();
        let counted = standing.spent.plus(standing.held);
        assert!(counted >= owed, "{:?} {}: {counted} of {owed}", standing.scope, standing.window);
    }
}

#[tokio::test]
async fn the_whole_store_survives_a_power_loss_at_any_point() {
    let (store, copies) = (folder(), folder());
    let events = events(store.path(), copies.path()).await;
    let count = events.iter().filter(|event| matches!(event, Event::Copied)).count();
    let mut dice = Dice(2026);
    for round in 0..CUTS {
        let cut = dice.roll(events.len() + 1);
        let mut replay = Replay::of(&events[..cut]);
        let image = folder();
        replay.lose(store.path(), image.path(), &mut dice);
        put_index(copies.path(), count, image.path(), &mut dice);
        println!("round {round}, cut {cut} of {}", events.len());
        check(image.path(), &replay, round % 6 == 0);
    }
}
