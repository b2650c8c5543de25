//! [`Gathered`]: what some frames come to, summed in memory until it is written.
//!
//! Invariant: what was gathered belongs to the index only together with the place up to which it was gathered.

use std::collections::{BTreeMap, HashMap};

use super::row::{
    Applied, Mark, PIECE_ROWS, Piece, Place, QUARTERS_A_DAY, RowKey, Span, Stretch, Writing, mark_of, quarter_of,
};
use super::{Index, IndexError};
use crate::domain::subject::Subject;
use crate::domain::sums::Sums;
use crate::store::brief::{Brief, is_attempt};
use crate::store::codec::{CodecError, decode};
use crate::store::frame;
use crate::store::record::Record;

/// A stretch that is longer than this ends: as much is read to find one request.
const STRETCH_BYTES: u64 = 1 << 16;

/// Quarters of an hour whose rows stand alone, since more will be added to them.
const QUARTERS_OPEN: u32 = 4;

/// Subjects whose marks are remembered when nothing is new of them.
const MARKS_MAX: usize = 1 << 16;

/// Sums that are not yet written.
#[derive(Debug, Default)]
pub struct Gathered {
    /// By quarter of an hour.
    rows: HashMap<(u32, Mark), Sums>,
    /// Subjects that may be new.
    subjects: HashMap<Mark, Subject>,
    /// The marks of subjects that are no longer new, or among `subjects`, by what [`Brief::put_name`] puts.
    marks: HashMap<Box<[u8]>, Mark>,
    name: Vec<u8>,
    /// All but the last are complete.
    stretches: Vec<Stretch>,
    forget_before: u64,
    dropped_quarter: u32,
    is_dirty: bool,
}

/// Rows of quarters that are over.
type Packing = BTreeMap<u32, Vec<(Mark, Sums)>>;

/// Where a frame stands.
#[derive(Clone, Copy, Debug)]
pub struct Standing {
    /// The number of the first record of its segment.
    pub segment: u64,
    /// Where it begins.
    pub offset: u64,
    /// Where it ends.
    pub end: u64,
    /// The number of its first record.
    pub first_seq: u64,
}

impl Gathered {
    /// How many rows are touched.
    #[must_use]
    pub fn len(&self) -> usize {
        self.rows.len()
    }

    /// Whether there is nothing to write.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        !self.is_dirty
    }

    /// Counts the records of a frame.
    pub fn frame(&mut self, standing: Standing, body: &[u8]) -> Result<(), CodecError> {
        let (mut from_ms, mut to_ms) = (u64::MAX, 0);
        for bytes in frame::records(body) {
            let bytes = bytes?;
            if is_attempt(bytes) {
                continue;
            }
            let at_ms = match Brief::of(bytes)? {
                Some(brief) => {
                    self.entry(&brief, bytes)?;
                    brief.at_ms
                }
                None => {
                    let Some((at_ms, subject, sums)) = counted(&decode(bytes)?) else { continue };
                    self.count(quarter_of(at_ms), subject, &sums);
                    at_ms
                }
            };
            (from_ms, to_ms) = (from_ms.min(at_ms), to_ms.max(at_ms));
        }
        self.lengthen(standing, from_ms, to_ms);
        Ok(())
    }

    /// Counts what a subject came to.
    pub fn count(&mut self, quarter: u32, subject: Subject, sums: &Sums) {
        let mark = mark_of(&subject);
        self.subjects.entry(mark).or_insert(subject);
        self.rows.entry((quarter, mark)).or_default().join(sums);
        self.is_dirty = true;
    }

    /// Counts an entry, which is decoded only where its subject is new.
    fn entry(&mut self, brief: &Brief<'_>, bytes: &[u8]) -> Result<(), CodecError> {
        brief.put_name(&mut self.name);
        let mark = match self.marks.get(self.name.as_slice()) {
            Some(mark) => *mark,
            None => self.learn(bytes)?,
        };
        self.rows.entry((quarter_of(brief.at_ms), mark)).or_default().count(&brief.figures());
        self.is_dirty = true;
        Ok(())
    }

    /// Remembers the mark of the entry's subject by `name`.
    fn learn(&mut self, bytes: &[u8]) -> Result<Mark, CodecError> {
        let Some((_, subject, _)) = counted(&decode(bytes)?) else { return Err(CodecError::Short) };
        let mark = mark_of(&subject);
        self.subjects.entry(mark).or_insert(subject);
        self.marks.insert(self.name.as_slice().into(), mark);
        Ok(mark)
    }

    /// What is of this quarter and before is no longer in the journal, nor are records before `first_seq`.
    pub fn drop_before(&mut self, first_seq: u64, quarter: u32) {
        self.forget_before = self.forget_before.max(first_seq);
        self.dropped_quarter = self.dropped_quarter.max(quarter);
        self.is_dirty = true;
    }

    /// Everything, as it is to be written over what `index` holds, and empties itself.
    pub fn write(&mut self, index: &mut Index, place: Place) -> Result<(), IndexError> {
        let before = index.applied()?;
        let (mut total, mut count, dropped) =
            before.map_or((Sums::default(), 0, 0), |applied| (applied.total, applied.rows, applied.dropped_quarter));
        let newest = self.rows.keys().map(|(quarter, _)| *quarter).max();
        let over = newest.unwrap_or(0).saturating_sub(QUARTERS_OPEN);
        let (mut rows, mut packed, mut packing) = (Vec::new(), Vec::new(), Packing::new());
        let mut days: HashMap<(u32, Mark), Sums> = HashMap::new();
        index.unpacked(Span::Quarter, 0..over, &mut |key, sums| {
            packed.push(key);
            packing.entry(key.number).or_default().push((key.mark, sums));
        })?;
        for ((quarter, mark), more) in &self.rows {
            total.join(more);
            days.entry((quarter / QUARTERS_A_DAY, *mark)).or_default().join(more);
            if *quarter < over {
                count += 1;
                packing.entry(*quarter).or_default().push((*mark, more.clone()));
                continue;
            }
            let key = RowKey { span: Span::Quarter, number: *quarter, mark: *mark };
            let known = index.sums(key)?;
            count += u64::from(known.is_none());
            rows.push((key, sum(known, more)));
        }
        for ((number, mark), more) in &days {
            let key = RowKey { span: Span::Day, number: *number, mark: *mark };
            rows.push((key, sum(index.sums(key)?, more)));
        }
        let pieces = pieces(packing, place.next_seq);
        let applied = Applied { place, total, rows: count, dropped_quarter: dropped.max(self.dropped_quarter) };
        let subjects = self.subjects.iter().map(|(mark, subject)| (*mark, subject.clone())).collect();
        let (stretches, forget_before) = (self.stretches.clone(), self.forget_before);
        index.write(&Writing { rows, packed, pieces, subjects, stretches, forget_before, applied })?;
        self.rows.clear();
        self.subjects.clear();
        if self.marks.len() >= MARKS_MAX {
            self.marks.clear();
        }
        self.is_dirty = false;
        // The last stretch may still grow; it will be written again as it then is.
        self.stretches.drain(..self.stretches.len().saturating_sub(1));
        Ok(())
    }

    fn lengthen(&mut self, standing: Standing, from_ms: u64, to_ms: u64) {
        let Standing { segment, offset, end, first_seq } = standing;
        self.is_dirty = true;
        let is_near = |last: &&mut Stretch| last.segment == segment && offset - last.offset < STRETCH_BYTES;
        let open = self.stretches.last_mut().filter(is_near);
        match open {
            Some(last) => {
                (last.from_ms, last.to_ms) = (last.from_ms.min(from_ms), last.to_ms.max(to_ms));
                last.end = end;
            }
            None => self.stretches.push(Stretch { first_seq, segment, offset, end, from_ms, to_ms }),
        }
    }
}

fn sum(known: Option<Sums>, more: &Sums) -> Sums {
    let mut sums = known.unwrap_or_default();
    sums.join(more);
    sums
}

/// Cuts what is packed into pieces, each named by the place at which it is written.
fn pieces(packing: Packing, seq: u64) -> Vec<Piece> {
    let mut pieces = Vec::new();
    for (quarter, rows) in packing {
        let parts = (0..).zip(rows.chunks(PIECE_ROWS));
        pieces.extend(parts.map(|(part, rows)| Piece { quarter, seq, part, rows: rows.to_vec() }));
    }
    pieces
}

/// What a record counts as in reports, and when; `None` for one that does not count.
#[must_use]
pub fn counted(record: &Record) -> Option<(u64, Subject, Sums)> {
    match record {
        Record::Entry(entry) => Some((entry.at_ms, Subject::of(entry), Sums::of(entry))),
        Record::Adjustment(adjustment) => {
            let sums = Sums::of_adjustment(adjustment);
            Some((adjustment.at_ms, Subject::of_adjustment(adjustment), sums))
        }
        Record::Open(_)
        | Record::Close(_)
        | Record::Rate(_)
        | Record::Start(_)
        | Record::Unsettled(_)
        | Record::Dropped(_)
        | Record::Key(_)
        | Record::TopUp(_)
        | Record::Lesson(_)
        | Record::Reloaded(_) => None,
    }
}
