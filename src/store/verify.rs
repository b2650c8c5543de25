//! [`verify`]: reads the whole journal and checks everything that can be checked. It changes nothing.
//!
//! Invariant: a report without odd records means: every frame whole, chained and numbered, every snapshot the
//! sum of the records before it, every attempt opened and closed once.

use std::path::{Path, PathBuf};

use super::books::Books;
use super::codec::decode;
use super::frame::{self, FrameFault, FrameKind, Hash, hex};
use super::read::ReadError;
use super::segment::{self, CutTail, FOLDER, Segment, WalkError};
use super::totals::Totals;
use crate::domain::ids::RequestId;

/// Odd records that are listed; more are only counted.
const ODD_LISTED_MAX: usize = 100;

/// What a journal holds.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Report {
    /// How many files.
    pub segments: u64,
    /// How many frames.
    pub frames: u64,
    /// How many records.
    pub records: u64,
    /// How many snapshots, each of which was compared with the sum of the records before it.
    pub snapshots: u64,
    /// What each scope has spent.
    pub totals: Totals,
    /// Requests that were dispatched and have no entry.
    pub unfinished: Vec<RequestId>,
    /// How many records contradict others and were left out of the totals.
    pub odd_records: u64,
    /// The first of them.
    pub odd: Vec<Odd>,
    /// The hash of the last frame, in hexadecimal.
    pub head: String,
    /// Half a frame at the end: a write that is under way, or was interrupted.
    pub tail: Option<CutTail>,
}

/// A record that contradicts others.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Odd {
    /// The file.
    pub segment: PathBuf,
    /// Where its frame begins.
    pub offset: u64,
    /// What is odd.
    pub what: &'static str,
}

/// The state of a check.
struct Check {
    report: Report,
    books: Option<Books>,
    head: Option<Hash>,
    next_seq: Option<u64>,
}

/// Checks the journal of the store in `folder`. It may be in use.
///
/// # Errors
/// The journal cannot be read, or is damaged: the error says where and how.
pub fn verify(folder: &Path) -> Result<Report, ReadError> {
    let folder = folder.join(FOLDER);
    let segments = segment::list(&folder).map_err(|error| ReadError::Io { path: folder.clone(), error })?;
    let mut check = Check { report: Report::default(), books: None, head: None, next_seq: None };
    let last = segments.last().cloned();
    for segment in &segments {
        check.segment(segment, last.as_ref() == Some(segment))?;
    }
    let Check { mut report, books, head, .. } = check;
    let books = books.unwrap_or_default();
    report.unfinished = books.unfinished.keys().copied().collect();
    report.totals = books.totals;
    report.head = head.as_ref().map(hex).unwrap_or_default();
    Ok(report)
}

impl Check {
    fn segment(&mut self, segment: &Segment, is_last: bool) -> Result<(), ReadError> {
        let io = |error| ReadError::Io { path: segment.path.clone(), error };
        let bad = |offset, why| ReadError::Bad(segment.bad(offset, why));
        if self.next_seq.is_some_and(|next| next != segment.first_seq) {
            return Err(bad(0, FrameFault::Sequence));
        }
        let mut walk = segment.walk(self.head).map_err(io)?;
        loop {
            let offset = walk.offset;
            match walk.step() {
                Ok(Some(frame)) => self.frame(segment, offset, frame.header.kind, frame.body)?,
                Ok(None) => break,
                Err(WalkError::Io(error)) => return Err(io(error)),
                Err(WalkError::Bad(why)) if is_last => {
                    self.report.tail = Some(segment.judge(offset, why).map_err(io)?.map_err(ReadError::Bad)?);
                    break;
                }
                Err(WalkError::Bad(why)) => return Err(bad(offset, why)),
            }
        }
        self.head = walk.head.or(self.head);
        self.report.segments += 1;
        self.next_seq = Some(walk.next_seq);
        Ok(())
    }

    fn frame(&mut self, segment: &Segment, offset: u64, kind: FrameKind, body: &[u8]) -> Result<(), ReadError> {
        let bad = |why| ReadError::Bad(segment.bad(offset, why));
        self.report.frames += 1;
        match kind {
            FrameKind::Snapshot => self.snapshot(body).map_err(bad),
            FrameKind::Batch => {
                for record in frame::records(body) {
                    let record = record.and_then(decode).map_err(|error| bad(FrameFault::Record(error)))?;
                    self.report.records += 1;
                    if let Some(what) = self.books.get_or_insert_default().apply(record) {
                        self.odd(segment, offset, what);
                    }
                }
                Ok(())
            }
        }
    }

    fn snapshot(&mut self, body: &[u8]) -> Result<(), FrameFault> {
        self.report.snapshots += 1;
        let (snapshot, _) = Books::decode(body).map_err(FrameFault::Record)?;
        // What came before the first segment that is kept is taken from its snapshot.
        let books = self.books.get_or_insert_with(|| snapshot.clone());
        books.mark_snapshot();
        if *books == snapshot { Ok(()) } else { Err(FrameFault::Snapshot) }
    }

    fn odd(&mut self, segment: &Segment, offset: u64, what: &'static str) {
        self.report.odd_records += 1;
        if self.report.odd.len() < ODD_LISTED_MAX {
            self.report.odd.push(Odd { segment: segment.path.clone(), offset, what });
        }
    }
}
