//! The keeper: the thread that writes what nobody waits for, syncs, and takes snapshots, off every request's path.
//!
//! It sleeps while nothing is pushed. The first push after that wakes it; it then waits one interval, so that a
//! request that waits for its own write has done it and one sync serves many, or starts at once if somebody waits for
//! a sync. It sums the records by reading back what was written, so that a snapshot is the sum of the file. It checks that
//! each frame is whole and follows in number; the chain only where a snapshot will vouch for what is before it, since a
//! second hash of everything costs as much as all the summing.
//!
//! Invariant: the lock of the writer is held over a sync only when a segment ends, right after another sync.

use std::sync::Arc;

use super::drafts::Drafts;
use super::frame::{self, FrameFault, FrameKind};
use super::segment::{Walk, WalkError};
use super::shared::{Shared, StoreError};
use super::writer::{Point, Writer};

/// Bytes of records that are left for the next round before they are summed.
const UNSUMMED_BYTES: u64 = 1 << 16;

/// What the thread owns.
#[derive(Debug)]
pub struct Keeper {
    /// What it shares with those who push.
    pub shared: Arc<Shared>,
    /// The sum of all records before `walk`.
    pub drafts: Drafts,
    /// Reads back what was written.
    pub walk: Walk,
}

impl Keeper {
    /// Works until it is told to stop, or something fails.
    pub fn run(mut self) -> Result<(), StoreError> {
        while !self.shared.wait_for_work() {
            self.round()?;
        }
        self.round()?;
        self.finish()
    }

    /// Writes and syncs, and then whatever is due.
    fn round(&mut self) -> Result<(), StoreError> {
        let shared = self.shared.clone();
        let point = self.advance()?;
        if point.len - self.walk.offset >= UNSUMMED_BYTES {
            self.sum(point.len)?;
        }
        let (segment_is_due, snapshot_is_due) = {
            let (writer, options) = (shared.writer(), &shared.options);
            (writer.segment_is_due(options.segment_bytes), writer.snapshot_is_due(options.snapshot_bytes))
        };
        if !segment_is_due && !snapshot_is_due {
            return Ok(());
        }
        // What came in during the last sync is dealt with now, so that little is left for when requests must wait.
        let point = self.advance()?;
        self.sum(point.len)?;
        if !segment_is_due {
            return shared.keep_busy(|writer| self.snapshot(writer));
        }
        shared.keep_busy(|writer| self.turn(writer))?;
        let synced_folder = shared.options.disk.sync_folder(&shared.folder);
        shared.must("sync the folder of the journal", synced_folder)?;
        let point = shared.writer().point();
        shared.sync(&point)
    }

    /// Writes and syncs what was pushed.
    fn advance(&self) -> Result<Point, StoreError> {
        let point = {
            let mut writer = self.shared.writer();
            self.shared.flush(&mut writer)?;
            writer.point()
        };
        self.shared.sync(&point)?;
        Ok(point)
    }

    /// Vouches for the last frames, so that damage to them can be told from a write cut short.
    fn finish(&mut self) -> Result<(), StoreError> {
        let shared = self.shared.clone();
        let mut writer = shared.writer();
        let vouched = writer.vouch(shared.durable());
        shared.must("write to the journal", vouched)?;
        let synced = writer.point().file.sync();
        shared.must("sync the journal", synced)
    }

    fn snapshot(&mut self, writer: &mut Writer) -> Result<(), StoreError> {
        let shared = self.shared.clone();
        shared.flush(writer)?;
        self.sum_all(writer)?;
        let durable = shared.durable();
        let books = shared.must("sum the journal", self.drafts.books())?;
        books.totals.bound();
        shared.must("write a snapshot", writer.snapshot(books, writer.latest_ms(), durable))?;
        self.sum(writer.point().len)
    }

    fn turn(&mut self, writer: &mut Writer) -> Result<(), StoreError> {
        let shared = self.shared.clone();
        shared.flush(writer)?;
        let point = writer.point();
        self.sum_all(writer)?;
        shared.sync(&point)?;
        let books = shared.must("sum the journal", self.drafts.books())?;
        books.totals.bound();
        shared.must("begin a segment of the journal", writer.turn(books))?;
        shared.forget_durable();
        let (segment, _) = writer.place();
        self.walk = shared.must("read back the journal", segment.walk(None))?.unchained();
        self.sum(writer.point().len)
    }

    /// Sums all that was written, whose last frame must be the one that was meant.
    fn sum_all(&mut self, writer: &Writer) -> Result<(), StoreError> {
        self.sum(writer.point().len)?;
        let (_, head) = writer.place();
        let ends_with = if self.walk.ends_with(&head) { Ok(()) } else { Err(FrameFault::Chain) };
        self.shared.must("read back the journal", ends_with)
    }

    /// Sums what was written up to `len`, which is the end of a frame.
    fn sum(&mut self, len: u64) -> Result<(), StoreError> {
        while self.walk.offset < len {
            let summed = self.sum_frame();
            self.shared.must("read back the journal", summed)?;
        }
        Ok(())
    }

    fn sum_frame(&mut self) -> Result<(), WalkError> {
        let frame = self.walk.step()?.ok_or(WalkError::Bad(FrameFault::Incomplete))?;
        match frame.header.kind {
            FrameKind::Snapshot => self.drafts.mark_snapshot(),
            FrameKind::Batch => {
                for record in frame::records(frame.body) {
                    let applied = record.and_then(|record| self.drafts.apply(record));
                    applied.map_err(|error| WalkError::Bad(FrameFault::Record(error)))?;
                }
            }
        }
        Ok(())
    }
}
