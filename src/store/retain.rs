//! Retention: segments that are older than what is to be kept become archives, whole files at a time.
//!
//! The order is: the archive is durable; the journal says what was dropped, durably; the index forgets where it was;
//! the file goes. A process that dies in between leaves a segment and its archive, and the segment wins.

use std::path::Path;

use super::archive::{self, Archive};
use super::codec::decode;
use super::disk::Disk;
use super::frame::{self, FrameFault, FrameKind, Hash};
use super::index::{Gathered, Place, quarter_of};
use super::index::{Index, RowKey, Span};
use super::moved::Aside;
use super::read::{ReadError, books_before};
use super::record::{Dropped, Record};
use super::segment::{self, Segment, WalkError};
use crate::domain::account::Scope;
use crate::domain::money::Usd;

/// A segment that may go.
#[derive(Debug)]
pub struct Expired {
    segment: Segment,
    /// The number of the first record after it.
    next_seq: u64,
}

/// The segments of the store in `folder` that hold nothing of `before_ms` or later, oldest first.
///
/// What was in flight at a segment's end is in the snapshots that follow it, so that it needs no older file.
pub fn expired(folder: &Path, before_ms: u64) -> Result<Vec<Expired>, ReadError> {
    let folder = folder.join(segment::FOLDER);
    let segments = segment::list(&folder).map_err(|error| ReadError::Io { path: folder, error })?;
    let mut found = Vec::new();
    for pair in segments.windows(2) {
        // The last time of any record of a segment stands in the snapshot with which the next one begins.
        match books_before(&pair[1])? {
            Some(books) if books.at_ms < before_ms => {}
            Some(_) | None => break,
        }
        found.push(Expired { segment: pair[0].clone(), next_seq: pair[1].first_seq });
    }
    Ok(found)
}

impl Expired {
    /// Writes its archive, and returns what the journal is to say of it and the last quarter that it counts in.
    pub fn archive(&self, disk: &dyn Disk, folder: &Path, now_ms: u64) -> Result<(Dropped, u32), ReadError> {
        let mut archive = self.sums()?;
        archive.previous = self.previous(folder)?;
        let path = folder.join(archive::FOLDER);
        let sums = archive::write(disk, folder, &archive).map_err(|error| ReadError::Io { path, error })?;
        let dropped = Dropped { at_ms: now_ms, next_seq: archive.next_seq, head: archive.head, sums };
        Ok((dropped, quarter_of(archive.latest_ms)))
    }

    /// Removes the segment.
    pub fn remove(&self, disk: &dyn Disk) -> std::io::Result<()> {
        disk.remove(&self.segment.path)?;
        self.segment.path.parent().map_or(Ok(()), |folder| disk.sync_folder(folder))
    }

    /// What the segment comes to.
    fn sums(&self) -> Result<Archive, ReadError> {
        let io = |error| ReadError::Io { path: self.segment.path.clone(), error };
        let bad = |offset, why| ReadError::Bad(self.segment.bad(offset, why));
        let mut walk = self.segment.walk(None).map_err(io)?;
        let mut gathered = Gathered::default();
        let (mut unsettled, mut aside) = (Usd::ZERO, Aside::default());
        let mut place =
            Place { segment: self.segment.first_seq, frame: 0, offset: 0, next_seq: 0, head: Hash::default() };
        loop {
            let offset = walk.offset;
            match walk.step() {
                Ok(Some(step)) if step.header.kind == FrameKind::Batch => {
                    let counted = aside.frame(step.body).and_then(|()| count(&mut gathered, step.body));
                    unsettled = unsettled.plus(counted.map_err(|error| bad(offset, FrameFault::Record(error)))?);
                }
                Ok(Some(_)) => {}
                Ok(None) => break,
                Err(WalkError::Io(error)) => return Err(io(error)),
                Err(WalkError::Bad(why)) => return Err(bad(offset, why)),
            }
            (place.offset, place.next_seq) = (walk.offset, walk.next_seq);
        }
        let head = walk.head.unwrap_or_default();
        if walk.next_seq != self.next_seq {
            return Err(bad(walk.offset, FrameFault::Sequence));
        }
        let mut index = Index::Memory(Box::default());
        let written = gathered.write(&mut index, place);
        let rows = written.and_then(|()| rows(&index)).map_err(|_| bad(0, FrameFault::Snapshot))?;
        let latest = rows.last().map_or(0, |(quarter, ..)| u64::from(*quarter) * super::index::QUARTER_MS);
        let (first_seq, next_seq) = (self.segment.first_seq, self.next_seq);
        let mut archive =
            Archive { first_seq, next_seq, head, latest_ms: latest, unsettled, rows, ..Archive::default() };
        aside.finish(&mut archive);
        Ok(archive)
    }

    /// The hash of the archive before.
    fn previous(&self, folder: &Path) -> Result<Hash, ReadError> {
        let list =
            archive::list(folder).map_err(|error| ReadError::Io { path: folder.join(archive::FOLDER), error })?;
        let before = list.into_iter().rfind(|first_seq| *first_seq < self.segment.first_seq);
        before.map_or(Ok(Hash::default()), |first_seq| archive::read(folder, first_seq).map(|(_, hash)| hash))
    }
}

/// Counts a frame's records, and returns what of them was posted to the whole organisation.
fn count(gathered: &mut Gathered, body: &[u8]) -> Result<Usd, super::codec::CodecError> {
    let mut unsettled = Usd::ZERO;
    for bytes in frame::records(body) {
        let record = decode(bytes?)?;
        if let Record::Unsettled(posted) = &record
            && posted.scope == Scope::Organisation
        {
            unsettled = unsettled.plus(posted.amount);
        }
        if let Some((at_ms, subject, sums)) = super::index::counted(&record) {
            gathered.count(quarter_of(at_ms), subject, &sums);
        }
    }
    Ok(unsettled)
}

type Rows = Vec<(u32, crate::domain::subject::Subject, crate::domain::sums::Sums)>;

fn rows(index: &Index) -> Result<Rows, super::index::IndexError> {
    let mut keyed: Vec<(RowKey, crate::domain::sums::Sums)> = Vec::new();
    index.rows(Span::Quarter, 0..u32::MAX, &mut |key, sums| keyed.push((key, sums)))?;
    keyed.sort_by_key(|(key, _)| *key);
    keyed.into_iter().map(|(key, sums)| Ok((key.number, index.subject(key.mark)?, sums))).collect()
}
