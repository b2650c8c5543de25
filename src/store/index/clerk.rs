//! [`Clerk`]: the thread that keeps the index, and lets go of what is too old. No request ever waits for it.
//!
//! Once a second it reads what has become durable in the journal, sums it in memory, and writes it to the index in one
//! batch. An index that is missing, of another version, damaged, or of another journal is set aside and built again,
//! while reports read the journal itself.
//!
//! Invariant: nothing is in the index that a power loss could take out of the journal.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use super::aside::{self, bytes_in, set_aside};
use super::gather::Standing;
use super::{Gathered, Index, IndexError, Shelf, Tree, guarded, quarter_of};
use crate::clock::Clock;
use crate::store::archive;
use crate::store::follow::Follow;
use crate::store::frame::FrameFault;
use crate::store::journal::Tip;
use crate::store::read::ReadError;
use crate::store::record::Record;
use crate::store::retain::expired;
use crate::store::segment::{self, BadFrame, path_of};

/// How often the index is written.
const ROUND: Duration = Duration::from_secs(1);

/// Rows that are summed in memory before they are written, when much is read at once.
const ROWS_MAX: usize = 1 << 13;

/// Rounds between two flushes, and between two looks at the disk.
const ROUNDS_A_FLUSH: u64 = 10;

/// Rounds between two looks for what is too old.
const ROUNDS_A_RETENTION: u64 = 600;

/// Indexes that may break before the clerk gives up on having one.
const BROKEN_MAX: u64 = 5;

/// Milliseconds of a day.
const DAY_MS: u64 = 86_400_000;

/// Opens an index in a folder; tests bring their own.
pub type OpenIndex = fn(&Path) -> Result<Index, IndexError>;

/// How a store is looked after.
#[derive(Clone, Debug)]
pub struct Options {
    /// Days after which segments become archives; `None` keeps everything.
    pub retention_days: Option<u32>,
    /// What keeps the index.
    pub open: OpenIndex,
    /// The time.
    pub clock: Clock,
}

/// Who works between the clerk's rounds, on its thread.
pub trait Watch: fmt::Debug + Send {
    /// Records before number `until_seq` are durable. With `stop` it is the last time.
    fn round(&mut self, until_seq: u64, stop: bool);
}

/// How the index is, for readiness and metrics.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct State {
    /// Whether reports are answered from it.
    pub is_ready: bool,
    /// The number of the first record that is not in it.
    pub next_seq: u64,
    /// How many indexes were set aside since the start.
    pub set_aside: u64,
    /// Why the last one was, or why the clerk is stuck.
    pub trouble: Option<Box<str>>,
    /// Bytes of the journal's files.
    pub journal_bytes: u64,
    /// Bytes of the index's files.
    pub index_bytes: u64,
    /// Bytes of the archives of dropped segments.
    pub archive_bytes: u64,
    /// Segments that were dropped since the start.
    pub dropped: u64,
}

/// The thread, and what it shares.
#[derive(Debug)]
pub struct Clerk {
    desk: Arc<Desk>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

#[derive(Debug, Default)]
struct Desk {
    shelf: Arc<Shelf>,
    state: Mutex<State>,
    orders: Mutex<Orders>,
    called: Condvar,
}

#[derive(Debug, Default)]
struct Orders {
    stop: bool,
    retain: bool,
    /// Rounds that were finished.
    rounds: u64,
    /// Rounds that are wanted without a wait.
    wanted: u64,
}

/// Says that the thread has ended, however it ended.
struct Ended(Arc<Desk>);

/// What the thread owns.
struct Work {
    folder: PathBuf,
    options: Options,
    tip: Tip,
    desk: Arc<Desk>,
    gathered: Gathered,
    follow: Option<Follow>,
    watch: Option<Box<dyn Watch>>,
}

/// Why a round ended early.
enum Trouble {
    Index(IndexError),
    Journal(ReadError),
}

impl Clerk {
    /// Starts to keep the index of the store in `folder`, whose journal is written at `tip`. Returns at once.
    ///
    /// # Errors
    /// The system gives no thread.
    pub fn start(folder: &Path, tip: Tip, options: Options) -> std::io::Result<Self> {
        Self::watched(folder, tip, options, None)
    }

    /// The same with somebody who works between its rounds.
    ///
    /// # Errors
    /// The system gives no thread.
    pub fn watched(folder: &Path, tip: Tip, options: Options, watch: Option<Box<dyn Watch>>) -> std::io::Result<Self> {
        let desk = Arc::new(Desk::default());
        let work = Work {
            folder: folder.to_owned(),
            options,
            tip,
            desk: desk.clone(),
            gathered: Gathered::default(),
            follow: None,
            watch,
        };
        let thread = thread::Builder::new().name("clerk".into()).spawn(move || work.run())?;
        Ok(Self { desk, thread: Mutex::new(Some(thread)) })
    }

    /// Where readers find the index.
    #[must_use]
    pub fn shelf(&self) -> Arc<Shelf> {
        self.desk.shelf.clone()
    }

    /// How it is.
    #[must_use]
    pub fn state(&self) -> State {
        lock(&self.desk.state).clone()
    }

    /// Waits until a whole round was made that began after this call; for tests and commands.
    pub fn round(&self) {
        self.ask(|_| {});
    }

    /// Looks for what is too old now, and waits until that is done.
    pub fn retain(&self) {
        self.ask(|orders| orders.retain = true);
    }

    /// Writes what there is, and ends. Dropping does the same.
    pub fn stop(&self) {
        lock(&self.desk.orders).stop = true;
        self.desk.called.notify_all();
        if let Some(thread) = lock(&self.thread).take() {
            // A panic was printed, and costs an index at most.
            let _ = thread.join();
        }
    }

    fn ask(&self, change: impl FnOnce(&mut Orders)) {
        let mut orders = lock(&self.desk.orders);
        change(&mut orders);
        // A round that runs now may have begun before.
        let until = orders.rounds + 2;
        orders.wanted = until;
        self.desk.called.notify_all();
        let pending = |orders: &mut Orders| orders.rounds < until && !orders.stop;
        drop(self.desk.called.wait_while(orders, pending).unwrap_or_else(PoisonError::into_inner));
    }
}

impl Drop for Ended {
    fn drop(&mut self) {
        lock(&self.0.orders).stop = true;
        self.0.called.notify_all();
    }
}

impl Drop for Clerk {
    fn drop(&mut self) {
        self.stop();
    }
}

impl Work {
    fn run(mut self) {
        let _ended = Ended(self.desk.clone());
        let mut round: u64 = 0;
        loop {
            let stop = self.wait(round);
            let done = self.round(round, stop);
            self.tell(done);
            if let Some(watch) = &mut self.watch {
                watch.round(self.tip.synced_seq(), stop);
            }
            let mut orders = lock(&self.desk.orders);
            orders.rounds += 1;
            drop(orders);
            self.desk.called.notify_all();
            if stop {
                break;
            }
            round += 1;
        }
        // Files are closed here, so that the next process finds them free.
        drop(self.desk.shelf.put(None));
    }

    /// Waits for the next second; the first round begins at once. True if it is the last.
    fn wait(&self, round: u64) -> bool {
        let wait = if round == 0 { Duration::ZERO } else { ROUND };
        let orders = lock(&self.desk.orders);
        let idle = |orders: &mut Orders| !orders.stop && orders.rounds >= orders.wanted;
        let waited = self.desk.called.wait_timeout_while(orders, wait, idle);
        let (orders, _) = waited.unwrap_or_else(PoisonError::into_inner);
        orders.stop
    }

    fn round(&mut self, round: u64, stop: bool) -> Result<(), Trouble> {
        if self.follow.is_none() && lock(&self.desk.state).set_aside < BROKEN_MAX {
            self.open()?;
        }
        self.catch_up()?;
        if stop || round.is_multiple_of(ROUNDS_A_FLUSH) {
            self.desk.shelf.write(|index| index.flush()).transpose().map_err(Trouble::Index)?;
            self.measure();
        }
        let asked = std::mem::take(&mut lock(&self.desk.orders).retain);
        if asked || round.is_multiple_of(ROUNDS_A_RETENTION) && !stop {
            self.retain()?;
            self.measure();
        }
        Ok(())
    }

    /// Finds an index that fits the journal, or begins one.
    fn open(&mut self) -> Result<(), Trouble> {
        let path = aside::path(&self.folder);
        let open = self.options.open;
        let index = guarded(|| {
            let index = open(&path)?;
            index.check()?;
            Ok(index)
        });
        let index = index.map_err(Trouble::Index)?;
        let applied = guarded(|| index.applied()).map_err(Trouble::Index)?;
        self.gathered = Gathered::default();
        let follow = match applied {
            Some(applied) => {
                let follow = Follow::resume(&self.folder, &applied.place).map_err(Trouble::Journal)?;
                let other = || Trouble::Index(IndexError::broken("it is not of this journal"));
                // Checksums are looked at; the chain is, where it was left off and wherever somebody verifies.
                Some(follow.ok_or_else(other)?.unchained())
            }
            None => {
                let oldest = self.gather_archives().map_err(Trouble::Journal)?;
                let follow = Follow::from_start(&self.folder).map_err(Trouble::Journal)?;
                self.gathered.drop_before(oldest, 0);
                follow.map(Follow::unchained)
            }
        };
        self.follow = follow;
        self.desk.shelf.put(Some(index));
        Ok(())
    }

    /// Counts the archives of segments that are gone. Returns the number of the first record that is left.
    fn gather_archives(&mut self) -> Result<u64, ReadError> {
        let io = |error| ReadError::Io { path: self.folder.join(archive::FOLDER), error };
        let mut oldest = 0;
        for first_seq in archive::list(&self.folder).map_err(io)? {
            if path_of(&self.folder.join(segment::FOLDER), first_seq).exists() {
                continue;
            }
            let (archive, _) = archive::read(&self.folder, first_seq)?;
            for (quarter, subject, sums) in archive.rows {
                self.gathered.count(quarter, subject, &sums);
            }
            oldest = archive.next_seq;
            self.gathered.drop_before(oldest, quarter_of(archive.latest_ms) + 1);
        }
        Ok(oldest)
    }

    /// Reads what has become durable and writes it.
    fn catch_up(&mut self) -> Result<(), Trouble> {
        let until = self.tip.synced_seq();
        let Some(follow) = &mut self.follow else { return Ok(()) };
        loop {
            let more = gather(follow, &mut self.gathered, until).map_err(Trouble::Journal)?;
            if !self.gathered.is_empty()
                && let Some(place) = follow.place_hashed()
            {
                let gathered = &mut self.gathered;
                let written = self.desk.shelf.write(|index| gathered.write(index, place));
                written.transpose().map_err(Trouble::Index)?;
            }
            if !more {
                return Ok(());
            }
        }
    }

    /// Archives and removes what is older than is to be kept.
    fn retain(&mut self) -> Result<(), Trouble> {
        let Some(days) = self.options.retention_days else { return Ok(()) };
        let now_ms = self.options.clock.now_ms();
        let before_ms = now_ms.saturating_sub(u64::from(days) * DAY_MS);
        // Without an index its rows cannot be marked; the next one is built from archives.
        if self.follow.is_none() {
            return Ok(());
        }
        let disk = self.tip.disk();
        for old in expired(&self.folder, before_ms).map_err(Trouble::Journal)? {
            let (dropped, quarter) = old.archive(&*disk, &self.folder, now_ms).map_err(Trouble::Journal)?;
            let next_seq = dropped.next_seq;
            if !self.tip.post_durably(&Record::Dropped(dropped)) {
                return Ok(());
            }
            self.gathered.drop_before(next_seq, quarter + 1);
            self.catch_up()?;
            let path = self.folder.join(segment::FOLDER);
            old.remove(&*disk).map_err(|error| Trouble::Journal(ReadError::Io { path, error }))?;
            lock(&self.desk.state).dropped += 1;
        }
        Ok(())
    }

    fn measure(&self) {
        let bytes = |name| bytes_in(&self.folder.join(name));
        let (journal, index, archive) = (bytes(segment::FOLDER), bytes(aside::FOLDER), bytes(archive::FOLDER));
        let mut state = lock(&self.desk.state);
        (state.journal_bytes, state.index_bytes, state.archive_bytes) = (journal, index, archive);
    }

    /// Draws the consequences of a round.
    fn tell(&mut self, done: Result<(), Trouble>) {
        let mut trouble: Option<Box<str>> = None;
        match done {
            Ok(()) => {}
            Err(Trouble::Index(IndexError::Busy)) => trouble = Some("another process reads the index".into()),
            Err(Trouble::Index(error @ IndexError::Broken(_))) => {
                trouble = Some(error.to_string().into());
                self.give_up(&error);
            }
            Err(Trouble::Journal(error)) => {
                let why: Box<str> = error.to_string().into();
                // It may be that a file is being made; if not, `verify` says what is wrong with it.
                if lock(&self.desk.state).trouble.as_ref() != Some(&why) {
                    tracing::warn!(%error, "the index cannot follow the journal");
                }
                trouble = Some(why);
                self.follow = None;
                drop(self.desk.shelf.put(None));
            }
        }
        let mut state = lock(&self.desk.state);
        state.next_seq = self.follow.as_ref().map_or(0, Follow::next_seq);
        state.is_ready = self.desk.shelf.is_filled();
        state.trouble = trouble.or_else(|| state.trouble.take().filter(|_| !state.is_ready));
    }

    /// Sets the index aside; the next round begins another one.
    fn give_up(&mut self, error: &IndexError) {
        self.follow = None;
        // Closing what is broken may panic as well.
        let _ = guarded(|| {
            drop(self.desk.shelf.put(None));
            Ok(())
        });
        lock(&self.desk.state).set_aside += 1;
        match set_aside(&self.folder) {
            Ok(()) => tracing::warn!(%error, "the index is set aside and built again from the journal"),
            Err(aside) => tracing::warn!(%error, %aside, "the index is broken and cannot be set aside"),
        }
        let mut orders = lock(&self.desk.orders);
        orders.wanted = orders.wanted.max(orders.rounds + 2);
    }
}

/// Reads until there is enough to write, or nothing is left: then false.
fn gather(follow: &mut Follow, gathered: &mut Gathered, until_seq: u64) -> Result<bool, ReadError> {
    while gathered.len() < ROWS_MAX {
        let Some(frame) = follow.step(until_seq)? else { return Ok(false) };
        let standing =
            Standing { segment: frame.segment, offset: frame.offset, end: frame.end, first_seq: frame.first_seq };
        gathered.frame(standing, frame.body).map_err(|error| {
            let segment = PathBuf::from(format!("{:020}.log", standing.segment));
            ReadError::Bad(BadFrame { segment, offset: standing.offset, why: FrameFault::Record(error) })
        })?;
    }
    Ok(true)
}

/// Opens the index in files.
pub fn open_sled(folder: &Path) -> Result<Index, IndexError> {
    Tree::open(folder).map(Index::Sled)
}

/// A poisoned lock holds data that is whole after each step, so that it may be used.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
