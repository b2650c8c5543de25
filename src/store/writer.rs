//! The end of the last segment: the only place where bytes get into a journal.
//!
//! Each frame is one `write`. A short write is an error like any other: nothing may follow half a frame.
//!
//! Invariant: after the first error nothing is written again; the caller sees to that.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use super::books::Books;
use super::disk::{Disk, LogFile};
use super::frame::{self, FrameKind, HEADER, Hash, Header};
use super::queue::Batch;
use super::recover::End;
use super::segment::{Segment, path_of};

/// Milliseconds of a UTC day.
const DAY_MS: u64 = 86_400_000;

/// The last segment, open for appending.
#[derive(Debug)]
pub struct Writer {
    disk: Arc<dyn Disk>,
    folder: PathBuf,
    file: Arc<dyn LogFile>,
    segment: Segment,
    day: u64,
    len: u64,
    since_snapshot: u64,
    snapshot_len: u64,
    next_seq: u64,
    head: Hash,
    latest_ms: u64,
    bytes: u64,
    appended: bool,
    /// The frame in the making; between two frames a buffer to swap with the queue's.
    pub frame: Vec<u8>,
}

/// How far a journal is written.
#[derive(Clone, Debug)]
pub struct Point {
    /// The last segment.
    pub file: Arc<dyn LogFile>,
    /// Its length.
    pub len: u64,
    /// The number of the next record.
    pub next_seq: u64,
    /// Bytes of records since the start.
    pub bytes: u64,
}

impl Writer {
    /// Goes on where a journal ends.
    pub fn resume(disk: Arc<dyn Disk>, folder: PathBuf, end: &End) -> io::Result<Self> {
        let file = disk.append(&end.segment.path)?.into();
        Ok(Self {
            disk,
            folder,
            file,
            segment: end.segment.clone(),
            day: end.made_ms / DAY_MS,
            len: end.len,
            since_snapshot: end.since_snapshot,
            snapshot_len: 0,
            next_seq: end.next_seq,
            head: end.head,
            latest_ms: end.books.at_ms,
            bytes: 0,
            appended: false,
            frame: Vec::new(),
        })
    }

    /// Begins a journal.
    pub fn begin(disk: Arc<dyn Disk>, folder: PathBuf, now_ms: u64) -> io::Result<Self> {
        let segment = Segment { first_seq: 1, path: path_of(&folder, 1) };
        let file = disk.create(&segment.path)?.into();
        let mut writer = Self {
            disk,
            folder,
            file,
            segment,
            day: now_ms / DAY_MS,
            len: 0,
            since_snapshot: 0,
            snapshot_len: 0,
            next_seq: 1,
            head: Hash::default(),
            latest_ms: 0,
            bytes: 0,
            appended: false,
            frame: Vec::new(),
        };
        writer.snapshot(&Books::default(), now_ms, 0)?;
        writer.file.sync()?;
        writer.sync_folder()?;
        Ok(writer)
    }

    /// How far it is written.
    pub fn point(&self) -> Point {
        Point { file: self.file.clone(), len: self.len, next_seq: self.next_seq, bytes: self.bytes }
    }

    /// The last segment and the hash of its last frame.
    pub const fn place(&self) -> (&Segment, Hash) {
        (&self.segment, self.head)
    }

    /// Writes the batch in `self.frame`. `synced` bytes of the segment are durable.
    pub fn append(&mut self, batch: Batch, synced: u64) -> io::Result<()> {
        self.write(FrameKind::Batch, batch.count, synced)?;
        self.latest_ms = batch.latest_ms;
        self.bytes = batch.bytes;
        Ok(())
    }

    /// Writes a frame without records if anything was written, so that the frames before it are vouched for.
    pub fn vouch(&mut self, synced: u64) -> io::Result<()> {
        if !self.appended {
            return Ok(());
        }
        self.frame.clear();
        self.frame.resize(HEADER, 0);
        self.write(FrameKind::Batch, 0, synced)
    }

    /// Writes what all records so far sum to.
    pub fn snapshot(&mut self, books: &Books, made_ms: u64, synced: u64) -> io::Result<()> {
        self.frame.clear();
        self.frame.resize(HEADER, 0);
        books.encode(made_ms, &mut self.frame);
        let len = self.frame.len() as u64;
        self.write(FrameKind::Snapshot, 0, synced)?;
        self.since_snapshot = 0;
        self.snapshot_len = len;
        Ok(())
    }

    /// Whether so much was written since the last snapshot that another is worth its bytes.
    pub fn snapshot_is_due(&self, snapshot_bytes: u64) -> bool {
        self.since_snapshot >= snapshot_bytes.max(2 * self.snapshot_len)
    }

    /// Whether the segment is full, or of another day than its last record.
    pub fn segment_is_due(&self, segment_bytes: u64) -> bool {
        let other = self.len >= segment_bytes || self.latest_ms / DAY_MS > self.day;
        other && self.next_seq > self.segment.first_seq
    }

    /// Begins the next segment with a snapshot. The caller has synced this one, and syncs the next and its folder.
    pub fn turn(&mut self, books: &Books) -> io::Result<()> {
        let path = path_of(&self.folder, self.next_seq);
        self.file = self.disk.create(&path)?.into();
        self.segment = Segment { first_seq: self.next_seq, path };
        self.day = self.latest_ms / DAY_MS;
        self.len = 0;
        self.snapshot(books, self.latest_ms, 0)
    }

    /// The latest time in any written record.
    pub const fn latest_ms(&self) -> u64 {
        self.latest_ms
    }

    /// Makes the names of the segments durable.
    pub fn sync_folder(&self) -> io::Result<()> {
        self.disk.sync_folder(&self.folder)
    }

    fn write(&mut self, kind: FrameKind, count: u32, synced: u64) -> io::Result<()> {
        let header = Header { kind, count, first_seq: self.next_seq, synced, previous: self.head };
        let hash = frame::seal(&mut self.frame, &header);
        let (length, written) = (self.frame.len(), self.file.write(&self.frame)?);
        if written != length {
            return Err(io::Error::other(format!("short write of {written} of {length} bytes")));
        }
        self.head = hash;
        self.len += length as u64;
        self.since_snapshot += length as u64;
        self.next_seq += u64::from(count);
        self.appended = true;
        Ok(())
    }
}
