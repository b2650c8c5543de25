//! [`Journal`]: how records get in. A push costs an encoding; a write is shared by all who wait for one.
//!
//! Whoever needs its record written lets the other ready tasks push first, and then writes for all of them: one
//! `write` into the page cache takes less time than handing the work to a thread and back. Syncs are the keeper's.
//! Nothing here reads, and nothing here waits for a disk while it holds the queue.
//!
//! Invariant: the close of the last attempt and the entry land in one frame, so that both are there or neither.
//! Invariant: a close or an entry that belongs to an open is always taken, whatever the disk does; what grows too far
//! ahead of the disk is refused as an open, before any money is at stake.
//! Invariant: the first failed write or sync ends all writing; a sync is never tried again, since after a failed one
//! nobody knows what the disk has.

use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::pin::pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use super::books::{Books, Unfinished};
use super::codec::Line;
use super::disk::Disk;
use super::drafts::Drafts;
use super::frame::hex;
use super::keeper::Keeper;
use super::queue::Seat;
use super::record::{Close, Open, RateRecord, Record, Start};
use super::recover::{OpenError, failed, recover};
use super::segment::{self, CutTail, Walk};
use super::shared::{Health, Options, Shared, StoreError};
use super::totals::Totals;
use super::writer::Writer;
use crate::domain::account::Scope;
use crate::domain::entry::Entry;
use crate::domain::key::KeyBook;
use crate::domain::lesson::Lessons;
use crate::domain::money::Usd;

/// How long the clerk waits before it looks again whether its record is durable.
const TIP_WAIT: Duration = Duration::from_millis(2);

/// How long a start waits at least for a lock that somebody else has: a process that ends may share it for a moment with a child
/// that it was just starting, and a supervisor may start the next one a moment early.
const LOCK_WAIT: Duration = Duration::from_millis(500);

/// How long it waits before it tries the lock again.
const LOCK_RETRY: Duration = Duration::from_millis(10);

/// The writing end of the journal of one folder.
#[derive(Debug)]
pub struct Journal {
    shared: Arc<Shared>,
    working: Mutex<Option<Working>>,
}

/// The writing end as the clerk sees it: how far it is durable, and a way to say something.
#[derive(Clone, Debug)]
pub struct Tip(Arc<Shared>);

/// What a journal has until it is shut down.
#[derive(Debug)]
struct Working {
    keeper: JoinHandle<Result<(), StoreError>>,
    /// Keeps other processes out; ends with this one, however that ends.
    lock: Lock,
}

/// The locked file of a folder.
#[derive(Debug)]
struct Lock(File);

/// What a start found.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Recovered {
    /// What each scope has spent.
    pub totals: Totals,
    /// Requests that were dispatched and have no entry: they count at their quote until they expire.
    pub unfinished: Vec<Unfinished>,
    /// The rows of prices that are in the journal already.
    pub rates: Vec<RateRecord>,
    /// The keys that were made at run time.
    pub keys: KeyBook,
    /// By how much total caps were raised.
    pub top_ups: BTreeMap<Scope, Usd>,
    /// What was learned of routes.
    pub lessons: Lessons,
    /// The process that opened the journal before.
    pub last_start: Option<Start>,
    /// What an interrupted write had left, and is gone now.
    pub cut: Option<CutTail>,
}

impl Journal {
    /// Opens the journal in `folder`, or begins one. `now_ms` is the time, unix milliseconds.
    ///
    /// # Errors
    /// Another process has it open, the file system refuses, or something that was durable is damaged.
    pub fn open(folder: &Path, options: Options, now_ms: u64) -> Result<(Self, Recovered), OpenError> {
        let segments = folder.join(segment::FOLDER);
        fs::create_dir_all(&segments).map_err(failed("make", &segments))?;
        let lock = lock(folder, options.lock_wait, &options.given_up)?;
        let disk = options.disk.clone();
        let (end, cut) = recover(&segments)?;
        let (writer, books) = match end {
            Some(end) => (Writer::resume(disk, segments.clone(), &end), end.books),
            None => (Writer::begin(disk, segments.clone(), now_ms), Books::default()),
        };
        let writer = writer.map_err(failed("write to", &segments))?;
        let recovered = Recovered {
            totals: books.totals.clone(),
            unfinished: books.unfinished.values().cloned().collect(),
            rates: books.rates.values().cloned().collect(),
            keys: books.keys.clone(),
            top_ups: books.top_ups.clone(),
            lessons: books.lessons.clone(),
            last_start: books.start.clone(),
            cut,
        };
        let journal = Self::assemble(options, segments.clone(), writer, books, lock);
        Ok((journal.map_err(failed("read", &segments))?, recovered))
    }

    /// Takes the record of an attempt that is about to leave.
    ///
    /// # Errors
    /// The disk is too far behind, or has failed. Either way nothing may be dispatched.
    pub fn admit(&self, open: &Open) -> Result<Seat, StoreError> {
        self.shared.push_if_able(Line::Open(open))
    }

    /// Takes the close of an attempt after which another may follow.
    pub fn close(&self, close: &Close) -> Seat {
        self.shared.push(&[Line::Close(close)])
    }

    /// Takes the close of a request's last attempt together with its entry.
    pub fn settle(&self, close: &Close, entry: &Entry) -> Seat {
        self.shared.push(&[Line::Close(close), Line::Entry(entry)])
    }

    /// Takes the entry of a request whose attempts are all closed.
    pub fn finish(&self, entry: &Entry) -> Seat {
        self.shared.push(&[Line::Entry(entry)])
    }

    /// Takes any other record: an entry of a request that was never dispatched, a rate, a start.
    ///
    /// # Errors
    /// The disk is too far behind, or has failed.
    pub fn post(&self, record: &Record) -> Result<Seat, StoreError> {
        self.shared.push_if_able(record.into())
    }

    /// Says why no entry can be taken, if none can.
    ///
    /// # Errors
    /// The disk has failed, or is too far behind.
    pub fn able(&self) -> Result<(), StoreError> {
        self.shared.able_to_take()
    }

    /// Ends a request that an earlier process left unfinished, at its quote. Returns the entry.
    pub fn expire(&self, unfinished: &Unfinished, now_ms: u64) -> Option<(Seat, Entry)> {
        let (closes, entry) = unfinished.expire(now_ms)?;
        let mut lines: Vec<Line<'_>> = closes.iter().map(Line::Close).collect();
        lines.push(Line::Entry(&entry));
        let seat = self.shared.push(&lines);
        Some((seat, entry))
    }

    /// Whether writing has ended for good.
    #[must_use]
    pub fn has_failed(&self) -> bool {
        self.shared.has_failed()
    }

    /// Whether the record survives a killed process.
    #[must_use]
    pub fn is_written(&self, seat: Seat) -> bool {
        self.shared.is_written(seat)
    }

    /// Returns when the record survives a killed process.
    ///
    /// # Errors
    /// Writing has failed; the record is only in memory.
    pub async fn written(&self, seat: Seat) -> Result<(), StoreError> {
        if self.shared.is_written(seat) {
            return Ok(());
        }
        // Whoever is ready to run pushes now and shares the write.
        tokio::task::yield_now().await;
        while !self.shared.is_written(seat) && !self.shared.try_write()? {
            let mut progress = pin!(self.shared.progress());
            progress.as_mut().enable();
            // The keeper may have become free since, without anybody to tell.
            if self.shared.is_written(seat) || self.shared.try_write()? {
                return Ok(());
            }
            progress.await;
        }
        Ok(())
    }

    /// Returns when the record survives a power loss.
    ///
    /// # Errors
    /// Writing has failed; nobody knows whether the record is on the disk.
    pub async fn synced(&self, seat: Seat) -> Result<(), StoreError> {
        loop {
            let mut progress = pin!(self.shared.progress());
            progress.as_mut().enable();
            if self.shared.is_synced(seat) {
                return Ok(());
            }
            self.shared.hurry()?;
            progress.await;
        }
    }

    /// Returns when everything that was pushed before survives a power loss.
    ///
    /// # Errors
    /// Writing has failed; nobody knows whether the last records are on the disk.
    pub async fn flush(&self) -> Result<(), StoreError> {
        match self.shared.latest() {
            Some(seat) => self.synced(seat).await,
            None => Ok(()),
        }
    }

    /// How far it is, for whoever reads it while it is written.
    #[must_use]
    pub fn tip(&self) -> Tip {
        Tip(self.shared.clone())
    }

    /// The number of the first record that is not durable.
    #[must_use]
    pub fn unsynced(&self) -> u64 {
        self.shared.synced_seq()
    }

    /// How it is.
    #[must_use]
    pub fn health(&self) -> Health {
        self.shared.health()
    }

    /// The hash of the last frame, in hexadecimal: who keeps it elsewhere can prove that nothing before it changed.
    #[must_use]
    pub fn head(&self) -> String {
        hex(&self.shared.writer().place().1)
    }

    /// Writes and syncs everything, and ends: whatever is pushed later is not written. Waits for the disk.
    ///
    /// Dropping does the same and keeps quiet about errors.
    ///
    /// # Errors
    /// Writing has failed, now or earlier.
    pub fn shut_down(&self) -> Result<(), StoreError> {
        let working = self.working.lock().unwrap_or_else(PoisonError::into_inner).take();
        let Some(Working { keeper, lock }) = working else { return Ok(()) };
        self.shared.stop();
        let done = keeper.join().unwrap_or_else(|_| Err(StoreError::Failed("the journal's thread broke off".into())));
        // Only when nothing can be written any more, and nobody is in the middle of a write, may another begin.
        self.shared.end();
        drop(self.shared.writer());
        drop(lock);
        done
    }

    fn assemble(options: Options, folder: PathBuf, writer: Writer, books: Books, lock: Lock) -> io::Result<Self> {
        let (segment, _) = writer.place();
        let point = writer.point();
        let walk = Walk::resume(&segment.path, point.len, point.next_seq, None)?.unchained();
        let shared = Arc::new(Shared::new(options, folder, writer, books.at_ms));
        let keeper = Keeper { shared: shared.clone(), drafts: Drafts::new(books), walk };
        let keeper = thread::Builder::new().name("journal".into()).spawn(move || keeper.run())?;
        Ok(Self { shared, working: Mutex::new(Some(Working { keeper, lock })) })
    }
}

impl Tip {
    /// The number of the first record that is not durable.
    #[must_use]
    pub fn synced_seq(&self) -> u64 {
        self.0.synced_seq()
    }

    /// The file system that it is written to.
    #[must_use]
    pub fn disk(&self) -> Arc<dyn Disk> {
        self.0.options.disk.clone()
    }

    /// Takes a record and waits until it is durable; false if that does not come to pass. Never for requests.
    #[must_use]
    pub fn post_durably(&self, record: &Record) -> bool {
        let Ok(seat) = self.0.push_if_able(record.into()) else { return false };
        while !self.0.is_synced(seat) {
            if self.0.hurry().is_err() {
                return false;
            }
            thread::sleep(TIP_WAIT);
        }
        true
    }
}

impl Drop for Journal {
    fn drop(&mut self) {
        // Nobody is left to tell; what could not be written was never acknowledged.
        let _ = self.shut_down();
    }
}

impl Drop for Lock {
    /// Closing the file is not enough while a child that is just being started still shares it.
    fn drop(&mut self) {
        // If this fails, closing does it a moment later.
        let _ = self.0.unlock();
    }
}

/// Locks the store's folder for this process, or says which process has it.
fn lock(folder: &Path, wait: Duration, given_up: &AtomicBool) -> Result<Lock, OpenError> {
    let path = folder.join("lock");
    let opened = OpenOptions::new().read(true).write(true).create(true).truncate(false).open(&path);
    let mut file = opened.map_err(failed("open", &path))?;
    match patiently(&file, wait.max(LOCK_WAIT), given_up) {
        Ok(()) => {
            let id = std::process::id().to_string();
            file.set_len(0).and_then(|()| file.write_all(id.as_bytes())).map_err(failed("write to", &path))?;
            Ok(Lock(file))
        }
        Err(TryLockError::WouldBlock) => {
            let mut id = String::new();
            // The id is only for the message.
            let _ = file.read_to_string(&mut id);
            Err(OpenError::InUse { folder: folder.to_owned(), pid: id.parse().ok() })
        }
        Err(TryLockError::Error(error)) => Err(failed("lock", &path)(error)),
    }
}

/// Locks `file`, if need be after a moment, and not once it is `given_up`.
fn patiently(file: &File, longest: Duration, given_up: &AtomicBool) -> Result<(), TryLockError> {
    let asked = Instant::now();
    let is_left = || asked.elapsed() < longest && !given_up.load(Ordering::Relaxed);
    loop {
        match file.try_lock() {
            Err(TryLockError::WouldBlock) if is_left() => thread::sleep(LOCK_RETRY),
            locked => return locked,
        }
    }
}
