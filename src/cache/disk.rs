//! [`Disk`]: kept answers in files, so that they outlive the process.
//!
//! One thread reads the folder at the start and writes from then on, away from requests; a request waits for a file only where
//! its answer lies there and not in memory. Files are private, each is named by its key, which tells nothing, and nothing is
//! synced: what a power cut tears is told by its checksum, and is no answer.
//!
//! Invariant: the files take at most the budget at any time, the one that is being written among them.
//! Invariant: what was purged comes back neither from a file nor from one who was reading it.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use tokio::sync::oneshot;

use super::file::{self, HEAD_BYTES, Stored};
use super::kept::Kept;
use super::shelf::Shelf;
use super::{Fill, Key, Wanted};
use crate::clock::Clock;

/// The folder below the store's.
pub const FOLDER: &str = "cache";

/// A file that is being written.
const WRITING: &str = "writing";

/// Answers that may wait to be written; those beyond stay in memory alone.
const WAITING_MAX: usize = 64;

/// How often files whose time is over are removed where nothing is written.
const SWEPT_EVERY: Duration = Duration::from_secs(60);

/// Bytes of the folders themselves.
const FOLDERS_BYTES: u64 = 17 * 4096;

/// Kept answers in files.
#[derive(Debug)]
pub struct Disk {
    shared: Arc<Shared>,
    jobs: Option<SyncSender<Job>>,
    thread: Option<JoinHandle<()>>,
}

/// How full the disk is, and what it did since the start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Filled {
    /// What lies there.
    pub fill: Fill,
    /// What may.
    pub budget_bytes: u64,
    /// Answers that were not written, since too many waited, or since a file could not be.
    pub skipped: u64,
    /// Files that were not what had been written, and were removed.
    pub damaged: u64,
    /// Whether the folder has been read since the start.
    pub is_read: bool,
}

#[derive(Debug)]
struct Shared {
    folder: PathBuf,
    budget_bytes: u64,
    /// How long an answer past its time may still be of use, milliseconds.
    grace_ms: AtomicU64,
    clock: Clock,
    shelf: Mutex<Shelf>,
    /// Answers that are gone, while their files may not be.
    doomed: Mutex<Vec<Key>>,
    is_read: AtomicBool,
    waiting_bytes: AtomicU64,
    purges: AtomicU64,
    skipped: AtomicU64,
    damaged: AtomicU64,
}

enum Job {
    Keep(Key, Option<Key>, Arc<Kept>),
    Purge(Wanted, oneshot::Sender<Vec<Key>>),
    /// Says when all before it is done.
    Rest(SyncSender<()>),
}

impl Disk {
    /// Opens the folder below `store`, and reads in the background what lies there. An answer may be of use for `grace` after
    /// its time.
    ///
    /// # Errors
    /// The folder or the thread cannot be made.
    pub fn open(store: &Path, budget_bytes: u64, grace: Duration, clock: Clock) -> io::Result<Self> {
        let folder = store.join(FOLDER);
        make_folder(&folder)?;
        let budget_bytes = budget_bytes.saturating_sub(FOLDERS_BYTES);
        let shared = Arc::new(Shared {
            folder,
            budget_bytes,
            grace_ms: AtomicU64::new(millis(grace)),
            clock,
            shelf: Mutex::new(Shelf::new(budget_bytes)),
            doomed: Mutex::default(),
            is_read: AtomicBool::new(false),
            waiting_bytes: AtomicU64::new(0),
            purges: AtomicU64::new(0),
            skipped: AtomicU64::new(0),
            damaged: AtomicU64::new(0),
        });
        let (jobs, waiting) = sync_channel(WAITING_MAX);
        let theirs = shared.clone();
        let thread = thread::Builder::new().name("cache-disk".to_owned()).spawn(move || theirs.work(&waiting))?;
        Ok(Self { shared, jobs: Some(jobs), thread: Some(thread) })
    }

    /// From now on an answer may be of use for `grace` after its time.
    pub fn keep_for(&self, grace: Duration) {
        self.shared.grace_ms.store(millis(grace), Ordering::Relaxed);
    }

    /// Writes an answer down, later, unless more than `waiting_max` bytes would wait.
    pub(super) fn keep(&self, key: Key, near: Option<Key>, kept: Arc<Kept>, waiting_max: u64) {
        let (shared, bytes) = (&self.shared, kept.weight());
        let waiting = shared.waiting_bytes.fetch_add(bytes, Ordering::Relaxed) + bytes;
        let jobs = self.jobs.as_ref().filter(|_| waiting <= waiting_max);
        if jobs.is_some_and(|jobs| jobs.try_send(Job::Keep(key, near, kept)).is_ok()) {
            return;
        }
        shared.waiting_bytes.fetch_sub(bytes, Ordering::Relaxed);
        shared.skipped.fetch_add(1, Ordering::Relaxed);
        // What lies there is older than what was to be written.
        if shared.shelf().remove(&key) || !shared.is_read() {
            shared.doomed().push(key);
        }
    }

    /// Whether an answer may lie under `key`.
    pub(super) fn has(&self, key: &Key) -> bool {
        let over_ms = self.shared.over_ms();
        self.shared.shelf().touch(key, over_ms) || !self.shared.is_read()
    }

    /// The key of the answer to the same question in other words.
    pub(super) fn near(&self, near: &Key) -> Option<Key> {
        self.shared.shelf().near(near)
    }

    /// How many purges there were: an answer that was read before the last may not be given.
    pub(super) fn purges(&self) -> u64 {
        self.shared.purges.load(Ordering::Acquire)
    }

    /// Reads what lies under `key`; with `near`, only if it answers that question.
    pub(super) async fn read(&self, key: Key, near: Option<Key>) -> Option<Stored> {
        let shared = self.shared.clone();
        tokio::task::spawn_blocking(move || shared.take(&key, near.as_ref())).await.ok()?
    }

    /// Removes what `wanted` says, and gives the keys of it.
    pub(super) async fn purge(&self, wanted: Wanted) -> Vec<Key> {
        self.shared.purges.fetch_add(1, Ordering::AcqRel);
        let (told, gone) = oneshot::channel();
        let Some(jobs) = self.jobs.clone() else { return Vec::new() };
        // The queue may be full, and nobody else may wait for that here.
        let sent = tokio::task::spawn_blocking(move || jobs.send(Job::Purge(wanted, told)).is_ok()).await;
        let gone = if sent.unwrap_or(false) { gone.await.unwrap_or_default() } else { Vec::new() };
        self.shared.purges.fetch_add(1, Ordering::AcqRel);
        gone
    }

    /// Waits until all is written that waits to be, and the folder has been read.
    pub fn rest(&self) {
        let (told, rested) = sync_channel(1);
        if self.jobs.as_ref().is_some_and(|jobs| jobs.send(Job::Rest(told)).is_ok()) {
            // An error says that the thread is gone, and writes nothing any more.
            let _rested = rested.recv();
        }
    }

    /// How full it is.
    #[must_use]
    pub fn filled(&self) -> Filled {
        let shared = &self.shared;
        let shelf = shared.shelf();
        Filled {
            fill: Fill { answers: shelf.len() as u64, bytes: shelf.bytes() },
            budget_bytes: shared.budget_bytes,
            skipped: shared.skipped.load(Ordering::Relaxed),
            damaged: shared.damaged.load(Ordering::Relaxed),
            is_read: shared.is_read(),
        }
    }
}

impl Drop for Disk {
    /// What waits is written, which is a matter of a few files.
    fn drop(&mut self) {
        drop(self.jobs.take());
        if let Some(thread) = self.thread.take() {
            // A panic in it has been told by itself.
            let _ended = thread.join();
        }
    }
}

impl Shared {
    fn shelf(&self) -> MutexGuard<'_, Shelf> {
        self.shelf.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn doomed(&self) -> MutexGuard<'_, Vec<Key>> {
        self.doomed.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn is_read(&self) -> bool {
        self.is_read.load(Ordering::Acquire)
    }

    /// Answers whose time ended before this are of no use.
    fn over_ms(&self) -> u64 {
        self.clock.now_ms().saturating_sub(self.grace_ms.load(Ordering::Relaxed))
    }

    fn work(&self, jobs: &Receiver<Job>) {
        self.read_folder();
        loop {
            let job = jobs.recv_timeout(SWEPT_EVERY);
            let doomed = std::mem::take(&mut *self.doomed());
            doomed.iter().for_each(|key| self.remove(key));
            match job {
                Ok(Job::Keep(key, near, kept)) => {
                    self.write(&key, near, &kept);
                    self.waiting_bytes.fetch_sub(kept.weight(), Ordering::Relaxed);
                }
                Ok(Job::Purge(wanted, told)) => {
                    // Nobody may wait for it any more.
                    let _told = told.send(self.purge(&wanted));
                }
                Ok(Job::Rest(told)) => drop(told.send(())),
                Err(RecvTimeoutError::Timeout) => {
                    let over = self.shelf().expired(self.over_ms());
                    over.iter().for_each(|key| self.remove(key));
                }
                Err(RecvTimeoutError::Disconnected) => return,
            }
        }
    }

    /// Learns what lies in the folder, the oldest first, and removes what is nothing or is too much.
    fn read_folder(&self) {
        let _nothing = fs::remove_file(self.folder.join(WRITING));
        let mut known = Vec::new();
        each_file(&self.folder, |path, key| match key.and_then(|key| Some((key, label_of(path, &key)?))) {
            Some((key, (label, bytes))) => known.push((label, key, bytes)),
            None => self.discard(path),
        });
        known.sort_by_key(|(label, ..)| label.kept_ms);
        for (label, key, bytes) in known {
            let gone = self.shelf().make_room(bytes, self.over_ms());
            gone.iter().flatten().for_each(|key| self.remove(key));
            match gone {
                Some(_) => self.shelf().put(key, label.near, bytes, label.expires_ms),
                None => self.remove(&key),
            }
        }
        self.is_read.store(true, Ordering::Release);
    }

    fn write(&self, key: &Key, near: Option<Key>, kept: &Kept) {
        let Some(file) = file::write(key, near.as_ref(), kept) else { return self.skip(key, None) };
        let bytes = file.len() as u64;
        let gone = self.shelf().make_room(bytes, self.over_ms());
        let Some(gone) = gone else { return self.skip(key, None) };
        gone.iter().for_each(|key| self.remove(key));
        let (writing, path) = (self.folder.join(WRITING), path_of(&self.folder, key));
        match write_file(&writing, &path, &file) {
            Ok(()) => self.shelf().put(*key, near, bytes, kept.expires_ms),
            Err(error) => {
                let _nothing = fs::remove_file(&writing);
                self.skip(key, Some(&error));
            }
        }
    }

    /// Counts an answer that is not written, and removes an older one, which is not to outlive it.
    fn skip(&self, key: &Key, error: Option<&io::Error>) {
        let skipped = self.skipped.fetch_add(1, Ordering::Relaxed);
        if let Some(error) = error.filter(|_| skipped.is_power_of_two() || skipped == 0) {
            tracing::warn!(%error, skipped = skipped + 1, "an answer cannot be kept on the disk");
        }
        self.shelf().remove(key);
        self.remove(key);
    }

    /// The answer under `key`, checked.
    fn take(&self, key: &Key, near: Option<&Key>) -> Option<Stored> {
        let path = path_of(&self.folder, key);
        let Ok(bytes) = fs::read(&path) else {
            self.shelf().remove(key);
            return None;
        };
        let Some(mut stored) = file::read(&bytes, key) else {
            self.shelf().remove(key);
            self.discard(&path);
            return None;
        };
        if near.is_some() && near != stored.near.as_ref() || stored.kept.expires_ms <= self.over_ms() {
            return None;
        }
        file::learn(&mut stored.kept);
        Some(stored)
    }

    fn purge(&self, wanted: &Wanted) -> Vec<Key> {
        let mut gone = Vec::new();
        let keys = self.shelf().keys();
        for key in keys {
            let path = path_of(&self.folder, &key);
            match fs::read(&path).ok().and_then(|bytes| file::read(&bytes, &key)) {
                Some(stored) if wanted(&key, &stored.kept) => gone.push(key),
                Some(_) => continue,
                None => self.discard(&path),
            }
            self.shelf().remove(&key);
            self.remove(&key);
        }
        gone
    }

    fn remove(&self, key: &Key) {
        // It may be gone, which is what is wanted.
        let _gone = fs::remove_file(path_of(&self.folder, key));
    }

    /// Removes what is no answer.
    fn discard(&self, path: &Path) {
        self.damaged.fetch_add(1, Ordering::Relaxed);
        let _gone = fs::remove_file(path);
    }
}

/// Removes what `wanted` says from the folder below `store`, on which no server runs, and says how many that were.
///
/// # Errors
/// A file that cannot be removed.
pub fn purge(store: &Path, wanted: impl Fn(&Key, &Kept) -> bool) -> io::Result<u64> {
    let (mut gone, mut failed) = (0, None);
    each_file(&store.join(FOLDER), |path, key| {
        let stored = key.and_then(|key| Some((key, file::read(&fs::read(path).ok()?, &key)?)));
        let is_answer = stored.is_some();
        if stored.is_none_or(|(key, stored)| wanted(&key, &stored.kept)) {
            match fs::remove_file(path) {
                Ok(()) => gone += u64::from(is_answer),
                Err(error) => failed = Some(error),
            }
        }
    });
    failed.map_or(Ok(gone), Err)
}

/// How full the folder below `store` is, on which no server runs; `None` if there is none.
#[must_use]
pub fn fill(store: &Path) -> Option<Fill> {
    let folder = store.join(FOLDER);
    folder.is_dir().then(|| {
        let mut fill = Fill::default();
        each_file(&folder, |path, _| {
            fill.answers += 1;
            fill.bytes += super::shelf::room_of(fs::metadata(path).map_or(0, |file| file.len()));
        });
        fill
    })
}

/// Removes the folder below `store`, since answers are not to be kept there any more.
pub fn clear(store: &Path) {
    let folder = store.join(FOLDER);
    if folder.is_dir()
        && let Err(error) = fs::remove_dir_all(&folder)
    {
        tracing::warn!(%error, "the answers that were kept on the disk cannot be removed");
    }
}

/// Shows every file that may be an answer, with the key that it is named by.
fn each_file(folder: &Path, mut seen: impl FnMut(&Path, Option<Key>)) {
    for part in fs::read_dir(folder).into_iter().flatten().flatten() {
        for file in fs::read_dir(part.path()).into_iter().flatten().flatten() {
            let key = file.file_name().to_str().and_then(Key::parse);
            seen(&file.path(), key.filter(|key| path_of(folder, key) == file.path()));
        }
    }
}

/// What the head of a file says, and how long the file is.
fn label_of(path: &Path, key: &Key) -> Option<(file::Label, u64)> {
    let mut opened = File::open(path).ok()?;
    let mut head = [0; HEAD_BYTES];
    opened.read_exact(&mut head).ok()?;
    Some((file::label(&head, key)?, opened.metadata().ok()?.len()))
}

fn path_of(folder: &Path, key: &Key) -> PathBuf {
    let name = key.to_string();
    folder.join(&name[..1]).join(&name)
}

fn write_file(writing: &Path, path: &Path, bytes: &[u8]) -> io::Result<()> {
    if let Some(folder) = path.parent() {
        make_folder(folder)?;
    }
    let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(writing)?;
    file.write_all(bytes)?;
    drop(file);
    fs::rename(writing, path)
}

fn make_folder(folder: &Path) -> io::Result<()> {
    match DirBuilder::new().mode(0o700).create(folder) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        made => made,
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
