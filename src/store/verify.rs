//! [`verify`]: reads the whole journal and checks everything that can be checked. It changes nothing.
//!
//! Invariant: a report without odd records means: every frame whole, chained and numbered, every snapshot the
//! sum of the records before it, every attempt opened and closed once.

use std::io;
use std::path::{Path, PathBuf};

use super::archive;
use super::books::Books;
use super::codec::decode;
use super::frame::{self, FrameFault, FrameKind, Hash, hex};
use super::index::counted;
use super::read::ReadError;
use super::record::Record;
use super::segment::{self, CutTail, FOLDER, Segment, WalkError};
use super::totals::Totals;
use crate::domain::account::Scope;
use crate::domain::ids::RequestId;
use crate::domain::money::Usd;
use crate::domain::sums::Sums;

/// How often a check begins anew because retention has dropped a segment meanwhile.
const RETRIES: usize = 3;

/// Odd records that are listed; more are only counted.
const ODD_LISTED_MAX: usize = 100;

/// What a journal holds.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Report {
    /// How many files.
    pub segments: u64,
    /// How many segments are gone and have left their sums.
    pub archives: u64,
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
#[derive(Default)]
struct Check {
    report: Report,
    books: Option<Books>,
    head: Option<Hash>,
    next_seq: Option<u64>,
    /// What all entries and adjustments come to, and what was posted as unsettled to the whole organisation.
    sums: Sums,
    unsettled: Usd,
}

/// An archive that was read: the number of the record after it, the hash of its segment's last frame, and its own.
type Kept = (u64, Hash, Hash);

/// Checks the journal of the store in `folder`. It may be in use.
///
/// # Errors
/// The journal cannot be read, or is damaged: the error says where and how.
pub fn verify(folder: &Path) -> Result<Report, ReadError> {
    for _ in 0..RETRIES {
        match attempt(folder) {
            Err(ReadError::Io { error, .. }) if error.kind() == io::ErrorKind::NotFound => {}
            done => return done,
        }
    }
    attempt(folder)
}

fn attempt(folder: &Path) -> Result<Report, ReadError> {
    let path = folder.join(FOLDER);
    let segments = segment::list(&path).map_err(|error| ReadError::Io { path, error })?;
    let mut check = Check::default();
    let oldest = segments.first().map_or(1, |segment| segment.first_seq);
    let kept = check.archives(folder, oldest)?;
    if let Some(first) = segments.first().filter(|first| check.next_seq.unwrap_or(1) != first.first_seq) {
        return Err(ReadError::Bad(first.bad(0, FrameFault::Sequence)));
    }
    let last = segments.last().cloned();
    for segment in &segments {
        check.segment(segment, last.as_ref() == Some(segment))?;
    }
    check.dropped(folder, &kept)?;
    check.totals(folder);
    let Check { mut report, books, head, .. } = check;
    let books = books.unwrap_or_default();
    report.unfinished = books.unfinished.keys().copied().collect();
    report.totals = books.totals;
    report.head = head.as_ref().map(hex).unwrap_or_default();
    Ok(report)
}

impl Check {
    /// Reads the archives of what was dropped; those before record `oldest` stand in for their segments.
    fn archives(&mut self, folder: &Path, oldest: u64) -> Result<Vec<Kept>, ReadError> {
        let io = |error| ReadError::Io { path: folder.join(archive::FOLDER), error };
        let mut kept: Vec<Kept> = Vec::new();
        for first_seq in archive::list(folder).map_err(io)? {
            let (archive, hash) = archive::read(folder, first_seq)?;
            let (next_seq, _, before) = kept.last().copied().unwrap_or((1, Hash::default(), Hash::default()));
            if (next_seq, before) != (archive.first_seq, archive.previous) {
                return Err(ReadError::Bad(archive::bad(folder, first_seq, FrameFault::Chain)));
            }
            kept.push((archive.next_seq, archive.head, hash));
            if first_seq >= oldest {
                continue;
            }
            archive.rows.iter().for_each(|(_, _, sums)| self.sums.join(sums));
            self.unsettled = self.unsettled.plus(archive.unsettled);
            (self.next_seq, self.head) = (Some(archive.next_seq), Some(archive.head));
            self.report.archives += 1;
        }
        Ok(kept)
    }

    /// What the journal says of the last that was dropped must be what is there.
    fn dropped(&self, folder: &Path, kept: &[Kept]) -> Result<(), ReadError> {
        let said = self.books.as_ref().and_then(|books| books.dropped.as_ref());
        let is_there = match said {
            Some(said) => kept.contains(&(said.next_seq, said.head, said.sums)),
            None => self.report.archives == 0,
        };
        let bad = || ReadError::Bad(archive::bad(folder, kept.len() as u64, FrameFault::Chain));
        if is_there { Ok(()) } else { Err(bad()) }
    }

    /// What the organisation has spent must be the sum of all entries.
    fn totals(&mut self, folder: &Path) {
        let whole = self.books.as_ref().map(|books| books.totals.of(&Scope::Organisation)).unwrap_or_default();
        let spent = self.sums.spend.plus(self.sums.charged).plus(self.unsettled);
        if self.report.odd_records == 0 && (whole.spent, whole.credited) != (spent, self.sums.credited) {
            self.report.odd_records += 1;
            let what = "the totals are not the sum of the entries";
            self.report.odd.push(Odd { segment: folder.to_owned(), offset: 0, what });
        }
    }

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
                    self.count(&record);
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
        if !snapshot.totals.is_unbounded() {
            books.totals.bound();
        }
        if *books == snapshot { Ok(()) } else { Err(FrameFault::Snapshot) }
    }

    fn count(&mut self, record: &Record) {
        if let Some((_, _, sums)) = counted(record) {
            self.sums.join(&sums);
        }
        if let Record::Unsettled(posted) = record
            && posted.scope == Scope::Organisation
        {
            self.unsettled = self.unsettled.plus(posted.amount);
        }
    }

    fn odd(&mut self, segment: &Segment, offset: u64, what: &'static str) {
        self.report.odd_records += 1;
        if self.report.odd.len() < ODD_LISTED_MAX {
            self.report.odd.push(Odd { segment: segment.path.clone(), offset, what });
        }
    }
}
