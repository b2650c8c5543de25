//! Power losses: every write and sync is recorded, and a disk is made as it may look after the power went.
//!
//! What was not yet synced is kept, lost, zeroed or garbled sector by sector; a file whose folder was not yet synced
//! may be missing.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use tollgate::domain::ids::RequestId;
use tollgate::store::disk::{Disk, LogFile, RealDisk};
use tollgate::store::{Journal, Options};

use super::sample::{NOW_MS, close, entry, folder, holding, id, open, reopen, serve, small};

/// Bytes that a disk writes as a whole.
const SECTOR: usize = 512;

/// What happened, in order.
#[derive(Clone, Debug)]
enum Event {
    Created(PathBuf),
    Written(PathBuf, Vec<u8>),
    Synced(PathBuf),
    FolderSynced,
    /// Somebody was told that this request's entry is durable.
    Acknowledged(RequestId),
}

type Events = Arc<Mutex<Vec<Event>>>;

#[derive(Debug)]
struct Recording(Events);

#[derive(Debug)]
struct RecordedFile(Events, PathBuf, Box<dyn LogFile>);

impl Disk for Recording {
    fn create(&self, path: &Path) -> io::Result<Box<dyn LogFile>> {
        self.0.lock().unwrap().push(Event::Created(path.to_owned()));
        Ok(Box::new(RecordedFile(self.0.clone(), path.to_owned(), RealDisk.create(path)?)))
    }

    fn append(&self, path: &Path) -> io::Result<Box<dyn LogFile>> {
        RealDisk.append(path)
    }

    fn sync_folder(&self, _: &Path) -> io::Result<()> {
        self.0.lock().unwrap().push(Event::FolderSynced);
        Ok(())
    }
}

impl LogFile for RecordedFile {
    fn write(&self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().push(Event::Written(self.1.clone(), bytes.to_vec()));
        self.2.write(bytes)
    }

    fn sync(&self) -> io::Result<()> {
        // What is written while a sync runs need not be part of it, so the sync counts from its beginning.
        let synced = self.0.lock().unwrap().len();
        self.2.sync()?;
        self.0.lock().unwrap().insert(synced, Event::Synced(self.1.clone()));
        Ok(())
    }
}

/// A file as the disk has it.
#[derive(Clone, Debug, Default)]
struct OnDisk {
    bytes: Vec<u8>,
    synced: usize,
    named: bool,
}

/// Numbers that look random and can be had again.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(self.0 >> 33).unwrap() % sides
    }
}

/// The files after `events`, and whose entries were acknowledged.
fn replay(events: &[Event]) -> (BTreeMap<PathBuf, OnDisk>, Vec<RequestId>) {
    let (mut files, mut acknowledged) = (BTreeMap::<PathBuf, OnDisk>::new(), Vec::new());
    for event in events {
        match event {
            Event::Created(path) => drop(files.insert(path.clone(), OnDisk::default())),
            Event::Written(path, bytes) => files.get_mut(path).unwrap().bytes.extend_from_slice(bytes),
            Event::Synced(path) => {
                let file = files.get_mut(path).unwrap();
                file.synced = file.bytes.len();
            }
            Event::FolderSynced => files.values_mut().for_each(|file| file.named = true),
            Event::Acknowledged(id) => acknowledged.push(*id),
        }
    }
    (files, acknowledged)
}

/// Loses what the power loss may take from `file`.
fn lose(file: &mut OnDisk, dice: &mut Dice) {
    let unsure = file.bytes.len() - file.synced;
    file.bytes.truncate(file.synced + dice.roll(unsure + 1));
    let end = file.bytes.len();
    let mut start = file.synced;
    while start < end {
        let next = end.min((start / SECTOR + 1) * SECTOR);
        match dice.roll(4) {
            0 => file.bytes[start..next].fill(0),
            1 => file.bytes[start..next].iter_mut().for_each(|byte| *byte ^= 0xa5),
            _ => {}
        }
        start = next;
    }
}

async fn events() -> Vec<Event> {
    let events = Events::default();
    let folder = folder();
    let options = Options { disk: Arc::new(Recording(events.clone())), sync_interval_ms: 0, ..small() };
    let (journal, _) = Journal::open(folder.path(), options, NOW_MS).unwrap();
    for number in 0..250 {
        let open = open(number);
        let seat = journal.admit(&open).unwrap();
        journal.written(seat).await.unwrap();
        let seat = journal.settle(&close(&open), &entry(&open));
        if number % 3 == 0 {
            journal.synced(seat).await.unwrap();
            events.lock().unwrap().push(Event::Acknowledged(id(number)));
        } else {
            journal.written(seat).await.unwrap();
        }
    }
    journal.shut_down().unwrap();
    let events = events.lock().unwrap();
    events.clone()
}

#[tokio::test]
async fn what_was_synced_survives_a_power_loss_at_any_point() {
    let events = events().await;
    let mut dice = Dice(2026);
    for round in 0..200 {
        let cut = dice.roll(events.len() + 1);
        let (files, acknowledged) = replay(&events[..cut]);
        let image = folder();
        fs::create_dir(image.path().join("journal")).unwrap();
        for (path, mut file) in files {
            if !file.named && dice.roll(2) == 0 {
                continue;
            }
            lose(&mut file, &mut dice);
            fs::write(image.path().join("journal").join(path.file_name().unwrap()), &file.bytes).unwrap();
        }
        let (journal, _) = reopen(image.path());
        serve(&journal, 1_000).await;
        journal.shut_down().unwrap();
        let holding = holding(image.path());
        for id in acknowledged {
            assert!(holding.entries.contains(&id), "round {round}, cut {cut}: a durable entry is lost");
        }
        assert!(holding.entries.contains(&id(1_000)));
    }
}
