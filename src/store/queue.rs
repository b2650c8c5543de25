//! The queue of records that were pushed and not yet written: one buffer, already in the form of a frame.
//!
//! It does no I/O, so that the lock around it is held for an encoding and no longer.
//!
//! Invariant: records are numbered in the order in which they were pushed, without gaps.

use std::sync::Arc;

use super::codec::Line;
use super::frame::{self, HEADER};

/// A buffer that a burst has grown beyond this is given back.
const SPARE_BYTES_MAX: usize = 1 << 20;

/// A record's place in the journal.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Seat(pub(super) u64);

/// What was pushed and not yet written.
#[derive(Debug)]
pub struct Queue {
    frame: Vec<u8>,
    count: u32,
    /// The number of the next record.
    pub next_seq: u64,
    /// Bytes pushed since the start.
    pub bytes: u64,
    /// The latest time in any record.
    pub latest_ms: u64,
    /// Whether the keeper knows that there is work.
    pub scheduled: bool,
    /// Whether somebody waits for a sync.
    pub urgent: bool,
    /// Whether the keeper should end.
    pub stopped: bool,
    /// Why nothing can be written any more.
    pub failed: Option<Arc<str>>,
}

/// What [`Queue::take`] took.
#[derive(Clone, Copy, Debug)]
pub struct Batch {
    /// How many records.
    pub count: u32,
    /// The latest time in any record so far.
    pub latest_ms: u64,
    /// Bytes pushed since the start, these included.
    pub bytes: u64,
}

impl Seat {
    /// The record's number, from 1.
    #[must_use]
    pub const fn number(self) -> u64 {
        self.0
    }
}

impl Queue {
    /// An empty queue whose first record will be `next_seq`.
    pub fn new(next_seq: u64, latest_ms: u64) -> Self {
        Self {
            frame: vec![0; HEADER],
            count: 0,
            next_seq,
            bytes: 0,
            latest_ms,
            scheduled: false,
            urgent: false,
            stopped: false,
            failed: None,
        }
    }

    /// The record that was pushed last, if there is one.
    pub fn latest(&self) -> Option<Seat> {
        self.next_seq.checked_sub(1).filter(|seq| *seq > 0).map(Seat)
    }

    /// Bytes that wait to be written.
    pub const fn waiting_bytes(&self) -> u64 {
        self.frame.len() as u64
    }

    /// Appends a record.
    pub fn push(&mut self, line: Line<'_>) -> Seat {
        let before = self.frame.len();
        frame::put_record(line, &mut self.frame);
        self.bytes += (self.frame.len() - before) as u64;
        self.latest_ms = self.latest_ms.max(line.at_ms());
        self.count += 1;
        let seat = Seat(self.next_seq);
        self.next_seq += 1;
        seat
    }

    /// Swaps everything into `frame`, whose first bytes are left free for a header; `None` if there is nothing.
    pub fn take(&mut self, frame: &mut Vec<u8>) -> Option<Batch> {
        if self.count == 0 {
            return None;
        }
        if frame.capacity() > SPARE_BYTES_MAX {
            *frame = Vec::new();
        }
        frame.clear();
        frame.resize(HEADER, 0);
        std::mem::swap(&mut self.frame, frame);
        let count = std::mem::take(&mut self.count);
        Some(Batch { count, latest_ms: self.latest_ms, bytes: self.bytes })
    }

    /// Puts back what could not be written, before what was pushed since: it stays known as long as the process.
    pub fn put_back(&mut self, frame: &mut Vec<u8>, batch: Batch) {
        frame.extend_from_slice(&self.frame[HEADER..]);
        std::mem::swap(&mut self.frame, frame);
        self.count += batch.count;
    }
}
