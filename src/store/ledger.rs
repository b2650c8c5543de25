//! [`Ledger`]: the same entries, arranged for questions: what they come to, and where one of them is.
//!
//! With an index it reads the roll-ups up to the index's place, and the journal after it; without one it reads the
//! journal. Both come to the same, so that nobody has to know which it was.
//!
//! Invariant: an entry counts once: in a roll-up, in an archive, or as read from the journal.

use std::collections::HashMap;
use std::io;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::archive;
use super::brief::{entry_id, is_attempt};
use super::codec::{CodecError, decode};
use super::follow::Follow;
use super::frame::{self, FrameFault, FrameKind, hex};
use super::index::aside;
use super::index::clerk::open_sled;
use super::index::compare::{CompareError, Compared, compare};
use super::index::{Index, Place, QUARTER_MS, Shelf, Stretch, counted, guarded, quarter_of};
use super::indexed::{Indexed, inner_quarters};
use super::read::{Found, ID_SKEW_MS, ReadError, Reader, stop};
use super::record::Record;
use super::segment::{BadFrame, FOLDER, Segment, Walk, WalkError, path_of};
use crate::domain::adjustment::Adjustment;
use crate::domain::entry::Entry;
use crate::domain::ids::RequestId;
use crate::domain::subject::Subject;
use crate::domain::sums::Sums;

/// What the ledger of one folder says.
#[derive(Clone, Debug)]
pub struct Ledger {
    folder: PathBuf,
    shelf: Arc<Shelf>,
}

/// How finely a question tells times apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Grain {
    /// Only what is in the range of time, and what is not.
    Range,
    /// Each day of UTC.
    Day,
    /// Each quarter of an hour.
    Quarter,
}

/// What takes the answer: a time, a subject, and what it came to then.
pub type Each<'a> = dyn FnMut(u64, &Subject, &Sums) + 'a;

/// A line of the ledger.
#[derive(Debug)]
pub enum Told<'a> {
    /// A request, with the hash of its record in hexadecimal.
    Entry(&'a Entry, &'a str),
    /// A correction, with the hash of its record in hexadecimal.
    Adjustment(&'a Adjustment, &'a str),
    /// What retention has dropped, of a subject in the quarter of an hour that begins at a time in unix milliseconds.
    Archived(u64, &'a Subject, &'a Sums),
}

/// How often an index is read again because a segment that it names is gone.
const RETRIES: usize = 5;

/// What arrived in quarters of an hour that a range cuts.
type Cut = HashMap<(u32, Subject), Sums>;

impl Ledger {
    /// The ledger of the store in `folder`, with the index that its clerk keeps.
    #[must_use]
    pub fn new(folder: &Path, shelf: Arc<Shelf>) -> Self {
        Self { folder: folder.to_owned(), shelf }
    }

    /// The ledger of the store in `folder`, which need not exist, and which no server of this process keeps.
    ///
    /// An index that is there and whole is used; if it is not, the journal is read.
    #[must_use]
    pub fn open(folder: &Path) -> Self {
        let path = aside::path(folder);
        let shelf = Shelf::default();
        if path.is_dir() {
            let index = guarded(|| {
                let index = open_sled(&path)?;
                index.check_days()?;
                Ok(index)
            });
            shelf.put(index.ok().filter(|index| fits(folder, index)));
        }
        Self::new(folder, Arc::new(shelf))
    }

    /// The ledger without any index.
    #[must_use]
    pub fn of_journal(folder: &Path) -> Self {
        Self::new(folder, Arc::default())
    }

    /// Compares the index with the journal, row by row; `None` where there is no index that can be used.
    ///
    /// # Errors
    /// The journal is damaged or cannot be read.
    pub fn compare(&self) -> Result<Option<Compared>, ReadError> {
        let compared = self.shelf.read(|index| match compare(&self.folder, index) {
            Ok(compared) => Ok(Ok(compared)),
            Err(CompareError::Journal(error)) => Ok(Err(error)),
            Err(CompareError::Index(error)) => Err(error),
        });
        compared.transpose()
    }

    /// Gives all that came to anything at a time in `range` (unix milliseconds), in parts of any size and order.
    ///
    /// Where a part of the range is so old that only archives are left, its ends are rounded down to quarter hours.
    ///
    /// # Errors
    /// The journal or an archive is damaged or cannot be read: part of a sum would be a wrong sum.
    pub fn fold(&self, range: Range<u64>, grain: Grain, each: &mut Each<'_>) -> Result<(), ReadError> {
        self.fold_as(range, grain, &Subject::clone, each)
    }

    /// The same for a question that does not tell all subjects apart: those that become the same by `keep` may be given
    /// together, as one of which `keep` makes the same again.
    ///
    /// # Errors
    /// See [`Ledger::fold`].
    pub fn fold_as(
        &self,
        range: Range<u64>,
        grain: Grain,
        keep: &dyn Fn(&Subject) -> Subject,
        each: &mut Each<'_>,
    ) -> Result<(), ReadError> {
        let Some((indexed, cut)) = self.indexed(&range, grain, keep)? else { return self.fold_journal(range, each) };
        for (at_ms, class, sums) in &indexed.rows {
            each(*at_ms, &indexed.classes[*class], sums);
        }
        for ((quarter, subject), sums) in &cut {
            each(u64::from(*quarter) * QUARTER_MS, subject, sums);
        }
        self.after(&indexed.applied.place, &mut |record| {
            if let Some((at_ms, subject, sums)) = counted(record).filter(|(at_ms, ..)| range.contains(at_ms)) {
                each(at_ms, &subject, &sums);
            }
        })
    }

    /// Gives every entry whose request arrived in `range` (unix milliseconds) and every adjustment posted in it, in the
    /// order of the journal, until `each` returns false; before them what archives hold of the range.
    ///
    /// # Errors
    /// The journal or an archive is damaged or cannot be read.
    pub fn tell(&self, range: Range<u64>, each: &mut dyn FnMut(Told<'_>) -> bool) -> Result<(), ReadError> {
        // Archives are looked for after segments: one or the other is there.
        let (all, chosen) = Reader::open(&self.folder).segments(range.start, range.end)?;
        let mut goes_on = true;
        self.fold_archives(&all, &range, &mut |at_ms, subject, sums| {
            goes_on = goes_on && each(Told::Archived(at_ms, subject, sums));
        })?;
        for segment in chosen {
            let walk = match segment.walk(None) {
                _ if !goes_on => break,
                Ok(walk) => walk.unchained(),
                Err(error) if error.kind() == io::ErrorKind::NotFound => {
                    self.fold_archive(segment.first_seq, &range, &mut |at_ms, subject, sums| {
                        goes_on = goes_on && each(Told::Archived(at_ms, subject, sums));
                    })?;
                    continue;
                }
                Err(error) => return Err(ReadError::Io { path: segment.path, error }),
            };
            goes_on = read_segment(&segment, walk, all.last() == Some(&segment), &mut |bytes| {
                let hash = || hex(&frame::hash(bytes));
                Ok(match decode(bytes)? {
                    Record::Entry(entry) if range.contains(&entry.at_ms) => each(Told::Entry(&entry, &hash())),
                    Record::Adjustment(posted) if range.contains(&posted.at_ms) => {
                        each(Told::Adjustment(&posted, &hash()))
                    }
                    _ => true,
                })
            })?;
        }
        Ok(())
    }

    /// The entry of a request.
    ///
    /// # Errors
    /// The journal is damaged or cannot be read.
    pub fn find(&self, id: RequestId) -> Result<Option<Found>, ReadError> {
        let near = id.at_ms().saturating_sub(ID_SKEW_MS)..id.at_ms().saturating_add(ID_SKEW_MS);
        let looked = self.shelf.read(|index| {
            let Some(applied) = index.applied()? else { return Ok(None) };
            Ok(Some((applied.place, index.stretches()?)))
        });
        let Some((place, stretches)) = looked.flatten() else {
            return Reader::open(&self.folder).find(id);
        };
        let mut found = None;
        for stretch in stretches.iter().filter(|stretch| stretch.from_ms < near.end && stretch.to_ms >= near.start) {
            match self.frames(stretch, u64::MAX, &mut |body| pick(body, id, &mut found)) {
                // Retention has dropped it since.
                Err(ReadError::Io { error, .. }) if error.kind() == io::ErrorKind::NotFound => {}
                read => read?,
            }
            if found.is_some() {
                return Ok(found);
            }
        }
        let Some(follow) = Follow::resume(&self.folder, &place)? else { return Reader::open(&self.folder).find(id) };
        let mut follow = follow.unchained();
        while let Some(frame) = follow.step(u64::MAX)? {
            pick(frame.body, id, &mut found).map_err(|why| self.bad(frame.segment, frame.offset, why))?;
        }
        Ok(found)
    }

    /// What the index knows, and what the journal says of the quarters that the range cuts. `None` without an index.
    fn indexed(
        &self,
        range: &Range<u64>,
        grain: Grain,
        keep: &dyn Fn(&Subject) -> Subject,
    ) -> Result<Option<(Indexed, Cut)>, ReadError> {
        for _ in 0..RETRIES {
            let Some(indexed) = self.shelf.read(|index| Indexed::read(index, range, grain, keep)).flatten() else {
                return Ok(None);
            };
            match self.cut(range, &indexed) {
                // Retention has just dropped a segment, of which the index knows by now.
                Err(ReadError::Io { error, .. }) if error.kind() == io::ErrorKind::NotFound => {}
                cut => return Ok(Some((indexed, cut?))),
            }
        }
        Ok(None)
    }

    fn cut(&self, range: &Range<u64>, indexed: &Indexed) -> Result<Cut, ReadError> {
        let inner = inner_quarters(range, indexed.applied.dropped_quarter);
        let is_edge = |at_ms| range.contains(&at_ms) && !inner.contains(&quarter_of(at_ms));
        let mut cut = Cut::new();
        let mut count = |record: &Record| {
            if let Some((at_ms, subject, sums)) = counted(record).filter(|(at_ms, ..)| is_edge(*at_ms)) {
                cut.entry((quarter_of(at_ms), subject)).or_default().join(&sums);
            }
        };
        for stretch in &indexed.stretches {
            self.frames(stretch, indexed.applied.place.next_seq, &mut |body| records(body, &mut count))?;
        }
        Ok(cut)
    }

    fn fold_journal(&self, range: Range<u64>, each: &mut Each<'_>) -> Result<(), ReadError> {
        // Archives are looked for after segments: one or the other is there.
        let (all, chosen) = Reader::open(&self.folder).segments(range.start, range.end)?;
        self.fold_archives(&all, &range, each)?;
        for segment in chosen {
            match segment.walk(None) {
                Ok(walk) => fold_segment(&segment, walk.unchained(), all.last() == Some(&segment), &range, each)?,
                Err(error) if error.kind() == io::ErrorKind::NotFound => {
                    self.fold_archive(segment.first_seq, &range, each)?;
                }
                Err(error) => return Err(ReadError::Io { path: segment.path, error }),
            }
        }
        Ok(())
    }

    /// Gives what the archives of segments hold that are not among `all`.
    fn fold_archives(&self, all: &[Segment], range: &Range<u64>, each: &mut Each<'_>) -> Result<(), ReadError> {
        let io = |error| ReadError::Io { path: self.folder.join(archive::FOLDER), error };
        for first_seq in archive::list(&self.folder).map_err(io)? {
            if !all.iter().any(|segment| segment.first_seq == first_seq) {
                self.fold_archive(first_seq, range, each)?;
            }
        }
        Ok(())
    }

    fn fold_archive(&self, first_seq: u64, range: &Range<u64>, each: &mut Each<'_>) -> Result<(), ReadError> {
        let quarters = quarter_of(range.start)..quarter_of(range.end);
        let (archive, _) = archive::read(&self.folder, first_seq)?;
        for (quarter, subject, sums) in archive.rows.iter().filter(|(quarter, ..)| quarters.contains(quarter)) {
            each(u64::from(*quarter) * QUARTER_MS, subject, sums);
        }
        Ok(())
    }

    fn frames(
        &self,
        stretch: &Stretch,
        until_seq: u64,
        each: &mut dyn FnMut(&[u8]) -> Result<(), FrameFault>,
    ) -> Result<(), ReadError> {
        let path = path_of(&self.folder.join(FOLDER), stretch.segment);
        let io = |error| ReadError::Io { path: path.clone(), error };
        let mut walk = Walk::resume(&path, stretch.offset, stretch.first_seq, None).map_err(io)?.unchained();
        while walk.offset < stretch.end && walk.next_seq < until_seq {
            let offset = walk.offset;
            let bad = |why| ReadError::Bad(BadFrame { segment: path.clone(), offset, why });
            let frame = match walk.step() {
                Ok(Some(frame)) => frame,
                Ok(None) => return Err(bad(FrameFault::Incomplete)),
                Err(WalkError::Io(error)) => return Err(io(error)),
                Err(WalkError::Bad(why)) => return Err(bad(why)),
            };
            if frame.header.kind == FrameKind::Batch {
                each(frame.body).map_err(bad)?;
            }
        }
        Ok(())
    }

    /// Gives the records after `place`.
    fn after(&self, place: &Place, each: &mut dyn FnMut(&Record)) -> Result<(), ReadError> {
        let Some(follow) = Follow::resume(&self.folder, place)? else {
            let why = FrameFault::Chain;
            return Err(self.bad(place.segment, place.offset, why));
        };
        let mut follow = follow.unchained();
        while let Some(frame) = follow.step(u64::MAX)? {
            records(frame.body, each).map_err(|why| self.bad(frame.segment, frame.offset, why))?;
        }
        Ok(())
    }

    fn bad(&self, segment: u64, offset: u64, why: FrameFault) -> ReadError {
        ReadError::Bad(BadFrame { segment: path_of(&self.folder.join(FOLDER), segment), offset, why })
    }
}

/// Whether the index is one of the journal in `folder`.
fn fits(folder: &Path, index: &Index) -> bool {
    let applied = guarded(|| index.applied());
    let Ok(Some(applied)) = applied else { return false };
    matches!(Follow::resume(folder, &applied.place), Ok(Some(_)))
}

fn fold_segment(
    segment: &Segment,
    walk: Walk,
    is_last: bool,
    range: &Range<u64>,
    each: &mut Each<'_>,
) -> Result<(), ReadError> {
    let read = read_segment(segment, walk, is_last, &mut |bytes| {
        if let Some((at_ms, subject, sums)) = counted(&decode(bytes)?).filter(|(at_ms, ..)| range.contains(at_ms)) {
            each(at_ms, &subject, &sums);
        }
        Ok(true)
    });
    read.map(drop)
}

/// Gives the bytes of each record but opens and closes, until `each` says no: then false.
fn read_segment(
    segment: &Segment,
    mut walk: Walk,
    is_last: bool,
    each: &mut dyn FnMut(&[u8]) -> Result<bool, CodecError>,
) -> Result<bool, ReadError> {
    loop {
        let offset = walk.offset;
        let bad = |error| ReadError::Bad(segment.bad(offset, FrameFault::Record(error)));
        let frame = match walk.step() {
            Ok(Some(frame)) => frame,
            Ok(None) => return Ok(true),
            Err(error) => return stop(segment, offset, error, is_last).map(|()| true),
        };
        if frame.header.kind == FrameKind::Snapshot {
            continue;
        }
        for bytes in frame::records(frame.body) {
            let bytes = bytes.map_err(bad)?;
            if !is_attempt(bytes) && !each(bytes).map_err(bad)? {
                return Ok(false);
            }
        }
    }
}

fn records(body: &[u8], each: &mut dyn FnMut(&Record)) -> Result<(), FrameFault> {
    for bytes in frame::records(body) {
        let bytes = bytes.map_err(FrameFault::Record)?;
        if !is_attempt(bytes) {
            each(&decode(bytes).map_err(FrameFault::Record)?);
        }
    }
    Ok(())
}

fn pick(body: &[u8], id: RequestId, found: &mut Option<Found>) -> Result<(), FrameFault> {
    for bytes in frame::records(body) {
        let bytes = bytes.map_err(FrameFault::Record)?;
        if found.is_none()
            && entry_id(bytes) == Some(id)
            && let Record::Entry(entry) = decode(bytes).map_err(FrameFault::Record)?
        {
            *found = Some(Found { entry: *entry, hash: hex(&frame::hash(bytes)) });
        }
    }
    Ok(())
}
