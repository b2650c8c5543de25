//! What those who push records share with the keeper: the queue, the writer, and how far both are.
//!
//! Invariant: the writer is locked before the queue, and the queue for no longer than an encoding or a swap.
//! Invariant: once `failed` is set, no byte is written and nothing is synced again.

use std::fmt;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, TryLockError};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::sync::futures::Notified;

use super::codec::Line;
use super::disk::{Disk, RealDisk};
use super::queue::{Queue, Seat};
use super::writer::{Point, Writer};

/// How a journal is kept.
#[derive(Clone, Debug)]
pub struct Options {
    /// Milliseconds between two syncs.
    pub sync_interval_ms: u64,
    /// A segment ends after so many bytes, or with its day.
    pub segment_bytes: u64,
    /// A snapshot is taken after so many bytes.
    pub snapshot_bytes: u64,
    /// Opens are refused while more records than this are not yet durable.
    pub unsynced_records_max: u64,
    /// Opens are refused while more bytes than this are not yet durable.
    pub unsynced_bytes_max: u64,
    /// How long the folder may be another process's before it is refused.
    pub lock_wait: Duration,
    /// Set once nobody waits for the folder any more.
    pub given_up: Arc<AtomicBool>,
    /// The file system.
    pub disk: Arc<dyn Disk>,
}

/// Why a record is not taken or not written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StoreError {
    /// The disk cannot keep up.
    Behind {
        /// Records that are not yet durable.
        records: u64,
        /// Their bytes.
        bytes: u64,
    },
    /// Writing has ended for good.
    Failed(Arc<str>),
}

/// How a journal is, for readiness and metrics.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Health {
    /// Why writing has ended, if it has.
    pub failed: Option<Arc<str>>,
    /// The number of the next record.
    pub next_seq: u64,
    /// Records that are not yet written.
    pub unwritten_records: u64,
    /// Records that are not yet durable.
    pub unsynced_records: u64,
    /// Their bytes.
    pub unsynced_bytes: u64,
    /// Syncs since the start.
    pub syncs: u64,
}

/// The queue, the writer, and how far both are.
#[derive(Debug)]
pub struct Shared {
    /// How the journal is kept.
    pub options: Options,
    /// The folder of the segments.
    pub folder: PathBuf,
    queue: Mutex<Queue>,
    /// Wakes the keeper, which waits with the queue.
    work: Condvar,
    writer: Mutex<Writer>,
    /// The number of the first record that is not written.
    written: AtomicU64,
    /// The number of the first record that is not durable.
    synced: AtomicU64,
    synced_bytes: AtomicU64,
    syncs: AtomicU64,
    /// Bytes of the last segment that are durable.
    durable: AtomicU64,
    /// The keeper holds the writer for longer than a write.
    busy: AtomicBool,
    /// Whether the queue knows why nothing can be written any more.
    failed: AtomicBool,
    progress: Notify,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            sync_interval_ms: 5,
            segment_bytes: 64 << 20,
            snapshot_bytes: 8 << 20,
            unsynced_records_max: 1 << 16,
            unsynced_bytes_max: 64 << 20,
            lock_wait: Duration::ZERO,
            given_up: Arc::default(),
            disk: Arc::new(RealDisk),
        }
    }
}

impl Shared {
    /// Shares `writer`, all of which is durable.
    pub fn new(options: Options, folder: PathBuf, writer: Writer, latest_ms: u64) -> Self {
        let point = writer.point();
        Self {
            options,
            folder,
            queue: Mutex::new(Queue::new(point.next_seq, latest_ms)),
            work: Condvar::new(),
            writer: Mutex::new(writer),
            written: AtomicU64::new(point.next_seq),
            synced: AtomicU64::new(point.next_seq),
            synced_bytes: AtomicU64::new(0),
            syncs: AtomicU64::new(0),
            durable: AtomicU64::new(point.len),
            busy: AtomicBool::new(false),
            failed: AtomicBool::new(false),
            progress: Notify::new(),
        }
    }

    /// The record that was pushed last, if there is one.
    pub fn latest(&self) -> Option<Seat> {
        self.queue().latest()
    }

    /// Takes records that belong together, and that have their place already.
    pub fn push(&self, lines: &[Line<'_>]) -> Seat {
        self.push_into(self.queue(), lines)
    }

    /// Takes a record if the disk works and keeps up.
    pub fn push_if_able(&self, line: Line<'_>) -> Result<Seat, StoreError> {
        let queue = self.queue();
        self.keeps_up(&queue)?;
        Ok(self.push_into(queue, &[line]))
    }

    /// Whether a record would be taken now.
    pub fn able_to_take(&self) -> Result<(), StoreError> {
        self.keeps_up(&self.queue())
    }

    fn keeps_up(&self, queue: &Queue) -> Result<(), StoreError> {
        if let Some(cause) = &queue.failed {
            return Err(StoreError::Failed(cause.clone()));
        }
        let records = queue.next_seq - self.synced.load(Ordering::Acquire);
        let bytes = queue.bytes - self.synced_bytes.load(Ordering::Acquire);
        if records > self.options.unsynced_records_max || bytes > self.options.unsynced_bytes_max {
            return Err(StoreError::Behind { records, bytes });
        }
        Ok(())
    }

    /// Whether the record is in the page cache.
    pub fn is_written(&self, seat: Seat) -> bool {
        self.written.load(Ordering::Acquire) > seat.0
    }

    /// Whether the record is on the disk.
    pub fn is_synced(&self, seat: Seat) -> bool {
        self.synced.load(Ordering::Acquire) > seat.0
    }

    /// The number of the first record that is not on the disk.
    pub fn synced_seq(&self) -> u64 {
        self.synced.load(Ordering::Acquire)
    }

    /// Whether writing has ended; without a lock, since each request asks.
    pub fn has_failed(&self) -> bool {
        self.failed.load(Ordering::Acquire)
    }

    /// An error if writing has ended.
    pub fn able(&self) -> Result<(), StoreError> {
        self.queue().failed.clone().map_or(Ok(()), |cause| Err(StoreError::Failed(cause)))
    }

    /// Asks the keeper for a sync without delay.
    pub fn hurry(&self) -> Result<(), StoreError> {
        self.able()?;
        self.queue().urgent = true;
        self.work.notify_one();
        Ok(())
    }

    /// Asks the keeper to write and sync what there is, and to end.
    pub fn stop(&self) {
        self.queue().stopped = true;
        self.work.notify_one();
    }

    /// Nothing is written from now on, though nothing went wrong.
    pub fn end(&self) {
        self.queue().failed.get_or_insert_with(|| "it was shut down".into());
        self.failed.store(true, Ordering::Release);
        self.progress.notify_waiters();
    }

    /// Resolves at the next sync, at the end of a long hold of the writer, or at a failure.
    pub fn progress(&self) -> Notified<'_> {
        self.progress.notified()
    }

    /// Waits for something to do, and then for more to come with it; true if it is the last.
    pub fn wait_for_work(&self) -> bool {
        let interval = Duration::from_millis(self.options.sync_interval_ms);
        let idle = |queue: &mut Queue| !queue.scheduled && !queue.urgent && !queue.stopped;
        let queue = self.work.wait_while(self.queue(), idle).unwrap_or_else(PoisonError::into_inner);
        let calm = |queue: &mut Queue| !queue.urgent && !queue.stopped;
        let waited = self.work.wait_timeout_while(queue, interval, calm);
        let (mut queue, _) = waited.unwrap_or_else(PoisonError::into_inner);
        queue.scheduled = false;
        queue.urgent = false;
        queue.stopped
    }

    /// Writes everything that was pushed; false if the keeper needs the writer for longer.
    pub fn try_write(&self) -> Result<bool, StoreError> {
        let mut writer = match self.writer.try_lock() {
            Ok(writer) => writer,
            Err(TryLockError::Poisoned(poisoned)) => poisoned.into_inner(),
            Err(TryLockError::WouldBlock) if self.busy.load(Ordering::Acquire) => {
                self.able()?;
                return Ok(false);
            }
            Err(TryLockError::WouldBlock) => self.writer(),
        };
        self.flush(&mut writer)?;
        Ok(true)
    }

    /// Writes everything that was pushed, as one frame.
    pub fn flush(&self, writer: &mut Writer) -> Result<(), StoreError> {
        let mut queue = self.queue();
        if let Some(cause) = &queue.failed {
            return Err(StoreError::Failed(cause.clone()));
        }
        let Some(batch) = queue.take(&mut writer.frame) else { return Ok(()) };
        drop(queue);
        if let Err(error) = writer.append(batch, self.durable.load(Ordering::Acquire)) {
            self.queue().put_back(&mut writer.frame, batch);
            return self.must("write to the journal", Err(error));
        }
        self.written.store(writer.point().next_seq, Ordering::Release);
        Ok(())
    }

    /// Makes everything up to `point` durable, and tells who waits for it.
    pub fn sync(&self, point: &Point) -> Result<(), StoreError> {
        if self.durable() == point.len && self.synced.load(Ordering::Acquire) == point.next_seq {
            return Ok(());
        }
        self.must("sync the journal", point.file.sync())?;
        self.durable.store(point.len, Ordering::Release);
        self.synced_bytes.store(point.bytes, Ordering::Release);
        self.synced.store(point.next_seq, Ordering::Release);
        self.syncs.fetch_add(1, Ordering::Relaxed);
        self.progress.notify_waiters();
        Ok(())
    }

    /// Bytes of the last segment that are durable.
    pub fn durable(&self) -> u64 {
        self.durable.load(Ordering::Acquire)
    }

    /// A new segment has begun, of which nothing is durable. The caller holds the writer.
    pub fn forget_durable(&self) {
        self.durable.store(0, Ordering::Release);
    }

    /// Holds the writer for longer than a write; requests wait for it without blocking their thread.
    pub fn keep_busy<T>(&self, work: impl FnOnce(&mut Writer) -> T) -> T {
        self.busy.store(true, Ordering::Release);
        let done = work(&mut self.writer());
        self.busy.store(false, Ordering::Release);
        self.progress.notify_waiters();
        done
    }

    /// The result, or the end of all writing.
    pub fn must<T, E: fmt::Display>(&self, what: &str, result: Result<T, E>) -> Result<T, StoreError> {
        result.map_err(|error| {
            let cause: Arc<str> = format!("cannot {what}: {error}").into();
            let cause = self.queue().failed.get_or_insert(cause).clone();
            self.failed.store(true, Ordering::Release);
            self.progress.notify_waiters();
            StoreError::Failed(cause)
        })
    }

    /// How it is.
    pub fn health(&self) -> Health {
        let (written, synced) = (self.written.load(Ordering::Acquire), self.synced.load(Ordering::Acquire));
        let synced_bytes = self.synced_bytes.load(Ordering::Acquire);
        let queue = self.queue();
        Health {
            failed: queue.failed.clone(),
            next_seq: queue.next_seq,
            unwritten_records: queue.next_seq - written,
            unsynced_records: queue.next_seq - synced,
            unsynced_bytes: queue.bytes - synced_bytes,
            syncs: self.syncs.load(Ordering::Relaxed),
        }
    }

    /// The end of the journal, for one write.
    pub fn writer(&self) -> MutexGuard<'_, Writer> {
        self.writer.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn queue(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn push_into(&self, mut queue: MutexGuard<'_, Queue>, lines: &[Line<'_>]) -> Seat {
        let mut seat = Seat(queue.next_seq);
        // What can never be written is not kept without end either.
        if queue.failed.is_some() && queue.waiting_bytes() > self.options.unsynced_bytes_max {
            return seat;
        }
        for line in lines {
            seat = queue.push(*line);
        }
        let wake = !std::mem::replace(&mut queue.scheduled, true);
        drop(queue);
        if wake {
            self.work.notify_one();
        }
        seat
    }
}

impl fmt::Display for StoreError {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Behind { records, bytes } => {
                write!(out, "the journal is behind: {records} records of {bytes} bytes wait for the disk")
            }
            Self::Failed(cause) => write!(out, "the journal has stopped: {cause}"),
        }
    }
}

impl std::error::Error for StoreError {}
