//! [`Reader`]: the journal as anybody may read it, also while another process writes.
//!
//! It takes no lock and changes nothing. At the end of the last segment it stops before a frame that is not whole.
//!
//! Invariant: a record is never given twice, and never before the whole frame that holds it was checked.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

use super::books::Books;
use super::brief::entry_id;
use super::codec::decode;
use super::frame::{self, FrameFault, FrameKind, hex};
use super::record::Record;
use super::recover::first_snapshot;
use super::segment::{self, BadFrame, FOLDER, Segment, Walk, WalkError};
use crate::domain::entry::Entry;
use crate::domain::ids::RequestId;

/// How long a request may take before its first open record is written, or altogether if it has none: reading a large body
/// over a thin line, limits, waiting for an identical request. A day more of the journal is read for it.
const BEFORE_OPEN_MS: u64 = 86_400_000;

/// How often a list of segments is made anew because one of them is gone.
const RETRIES: usize = 5;

/// How far the time in an id may be from the time in its entry.
pub(super) const ID_SKEW_MS: u64 = 60_000;

/// Reads the journal of one folder.
#[derive(Clone, Debug)]
pub struct Reader {
    folder: PathBuf,
}

/// A record and where it stands.
#[derive(Clone, Debug, PartialEq)]
pub struct Located {
    /// The file.
    pub segment: PathBuf,
    /// Where its frame begins.
    pub offset: u64,
    /// Its number.
    pub seq: u64,
    /// The record.
    pub record: Record,
}

/// An entry and its fingerprint.
#[derive(Clone, Debug, PartialEq)]
pub struct Found {
    /// The entry.
    pub entry: Entry,
    /// SHA-256 of its bytes in the journal, in hexadecimal.
    pub hash: String,
}

/// Why the journal cannot be read on.
#[derive(Debug)]
pub enum ReadError {
    /// The file system refuses.
    Io {
        /// Where.
        path: PathBuf,
        /// Why.
        error: io::Error,
    },
    /// It is damaged.
    Bad(BadFrame),
}

/// The records of some segments, in order.
#[derive(Debug)]
pub struct Records {
    segments: std::vec::IntoIter<Segment>,
    /// The last segment of all may end in half a frame.
    last: Option<Segment>,
    current: Option<(Segment, Walk)>,
    /// The records of the frame that was read last, the next one at the end.
    ready: Vec<Located>,
    from_ms: u64,
    to_ms: u64,
    wanted: Option<RequestId>,
    hash: String,
}

impl Reader {
    /// A reader of the store in `folder`, which need not exist yet.
    #[must_use]
    pub fn open(folder: &Path) -> Self {
        Self { folder: folder.join(FOLDER) }
    }

    /// Every record, in the order in which they were written.
    ///
    /// # Errors
    /// The folder cannot be read.
    pub fn records(&self) -> Result<Records, ReadError> {
        self.range(0, u64::MAX)
    }

    /// The records whose time is at or after `from_ms` and before `to_ms` (unix milliseconds), and all rates.
    ///
    /// An entry's time is the arrival of its request. Segments without any such record are not read.
    ///
    /// # Errors
    /// The folder cannot be read, or the first frame of a segment is damaged.
    pub fn range(&self, from_ms: u64, to_ms: u64) -> Result<Records, ReadError> {
        let (all, chosen) = self.segments(from_ms, to_ms)?;
        let last = all.into_iter().next_back();
        let segments = chosen.into_iter();
        let (ready, hash) = (Vec::new(), String::new());
        Ok(Records { segments, last, current: None, ready, from_ms, to_ms, wanted: None, hash })
    }

    /// The records from number `seq` on, and some before it.
    ///
    /// # Errors
    /// The folder cannot be read.
    pub fn from_seq(&self, seq: u64) -> Result<Records, ReadError> {
        let mut records = self.range(0, u64::MAX)?;
        let mut segments: Vec<Segment> = records.segments.collect();
        let before = segments.iter().filter(|segment| segment.first_seq <= seq).count();
        segments.drain(..before.saturating_sub(1));
        records.segments = segments.into_iter();
        Ok(records)
    }

    /// The records of one segment whose time is at or after `from_ms`, and all rates. `last` is the last segment of all.
    pub(super) fn of_segment(
        &self,
        segment: &Segment,
        last: Option<&Segment>,
        from_ms: u64,
    ) -> Result<Records, ReadError> {
        let walk = segment.walk(None).map_err(|error| ReadError::Io { path: segment.path.clone(), error })?.unchained();
        Ok(Records {
            segments: Vec::new().into_iter(),
            last: last.cloned(),
            current: Some((segment.clone(), walk)),
            ready: Vec::new(),
            from_ms,
            to_ms: u64::MAX,
            wanted: None,
            hash: String::new(),
        })
    }

    /// All segments, and those of them that may hold a record of the time asked for.
    pub(super) fn segments(&self, from_ms: u64, to_ms: u64) -> Result<(Vec<Segment>, Vec<Segment>), ReadError> {
        for _ in 0..RETRIES {
            let all = match segment::list(&self.folder) {
                Ok(segments) => segments,
                Err(error) if error.kind() == io::ErrorKind::NotFound => Vec::new(),
                Err(error) => return Err(ReadError::Io { path: self.folder.clone(), error }),
            };
            if (from_ms, to_ms) == (0, u64::MAX) {
                return Ok((all.clone(), all));
            }
            match choose(all.clone(), from_ms, to_ms) {
                // Retention has just dropped it.
                Err(ReadError::Io { error, .. }) if error.kind() == io::ErrorKind::NotFound => {}
                chosen => return Ok((all, chosen?)),
            }
        }
        let error = io::Error::other("its segments keep vanishing");
        Err(ReadError::Io { path: self.folder.clone(), error })
    }

    /// The entry of a request.
    ///
    /// # Errors
    /// The journal is damaged or cannot be read.
    pub fn find(&self, id: RequestId) -> Result<Option<Found>, ReadError> {
        let at_ms = id.at_ms();
        let mut records = self.range(at_ms.saturating_sub(ID_SKEW_MS), at_ms.saturating_add(ID_SKEW_MS))?;
        records.wanted = Some(id);
        while let Some(located) = records.next().transpose()? {
            if let Record::Entry(entry) = located.record {
                return Ok(Some(Found { entry: *entry, hash: records.hash }));
            }
        }
        Ok(None)
    }
}

impl Iterator for Records {
    type Item = Result<Located, ReadError>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            if let Some(located) = self.ready.pop() {
                return Some(Ok(located));
            }
            match self.read_frame() {
                Ok(true) => {}
                Ok(false) => return None,
                Err(error) => {
                    self.current = None;
                    self.segments = Vec::new().into_iter();
                    return Some(Err(error));
                }
            }
        }
    }
}

impl Records {
    /// Reads frames until one has a record that is asked for; false at the end.
    fn read_frame(&mut self) -> Result<bool, ReadError> {
        let Some((segment, mut walk)) = self.current.take() else {
            let Some(segment) = self.segments.next() else { return Ok(false) };
            let walk =
                segment.walk(None).map_err(|error| ReadError::Io { path: segment.path.clone(), error })?.unchained();
            self.current = Some((segment, walk));
            return Ok(true);
        };
        let (offset, seq) = (walk.offset, walk.next_seq);
        match walk.step() {
            Ok(Some(frame)) => {
                if frame.header.kind == FrameKind::Batch {
                    self.keep(&segment, offset, seq, frame.body)?;
                }
                self.current = Some((segment, walk));
            }
            Ok(None) => {}
            Err(error) => stop(&segment, offset, error, self.last.as_ref() == Some(&segment))?,
        }
        Ok(true)
    }

    fn keep(&mut self, segment: &Segment, offset: u64, seq: u64, body: &[u8]) -> Result<(), ReadError> {
        let bad = |error| ReadError::Bad(segment.bad(offset, FrameFault::Record(error)));
        for (seq, bytes) in (seq..).zip(frame::records(body)) {
            let bytes = bytes.map_err(bad)?;
            if self.wanted.is_some() && entry_id(bytes) != self.wanted {
                continue;
            }
            let record = decode(bytes).map_err(bad)?;
            let at_ms = record.at_ms();
            if !matches!(record, Record::Rate(_)) && !(self.from_ms..self.to_ms).contains(&at_ms) {
                continue;
            }
            if self.wanted.is_some() {
                self.hash = hex(&frame::hash(bytes));
            }
            self.ready.push(Located { segment: segment.path.clone(), offset, seq, record });
        }
        self.ready.reverse();
        Ok(())
    }
}

/// What an error at the end of a walk means: nothing, where a write is under way or was interrupted.
pub(super) fn stop(segment: &Segment, offset: u64, error: WalkError, is_last: bool) -> Result<(), ReadError> {
    let io = |error| ReadError::Io { path: segment.path.clone(), error };
    let why = match error {
        WalkError::Io(error) => return Err(io(error)),
        WalkError::Bad(why) => why,
    };
    if !is_last {
        return Err(ReadError::Bad(segment.bad(offset, why)));
    }
    segment.judge(offset, why).map_err(io)?.map(drop).map_err(ReadError::Bad)
}

/// The segments that may hold a record of the time asked for.
///
/// A segment's first snapshot says the latest time of any record before it, and which requests were in flight.
fn choose(segments: Vec<Segment>, from_ms: u64, to_ms: u64) -> Result<Vec<Segment>, ReadError> {
    let mut chosen: Vec<Segment> = Vec::new();
    for segment in segments {
        let Some(before) = books_before(&segment)? else {
            // It is being made, and may hold anything.
            chosen.push(segment);
            break;
        };
        if before.at_ms < from_ms {
            chosen.clear();
        }
        if may_hold_before(&before, to_ms) {
            chosen.push(segment);
        }
    }
    Ok(chosen)
}

/// Whether a record after `before` can have a time before `to_ms`.
fn may_hold_before(before: &Books, to_ms: u64) -> bool {
    let in_flight = || before.unfinished.keys().any(|id| id.at_ms().saturating_sub(ID_SKEW_MS) < to_ms);
    before.at_ms < to_ms.saturating_add(BEFORE_OPEN_MS) || in_flight()
}

/// The books with which a segment begins; `None` while it is being made.
pub(super) fn books_before(segment: &Segment) -> Result<Option<Books>, ReadError> {
    match first_snapshot(segment) {
        Ok((books, _)) => Ok(Some(books)),
        Err(WalkError::Io(error)) => Err(ReadError::Io { path: segment.path.clone(), error }),
        Err(WalkError::Bad(why)) if why.may_be_torn() => Ok(None),
        Err(WalkError::Bad(why)) => Err(ReadError::Bad(segment.bad(0, why))),
    }
}

impl fmt::Display for ReadError {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Io { path, error } => write!(out, "cannot read {}: {error}", path.display()),
            Self::Bad(bad) => write!(out, "{bad}"),
        }
    }
}

impl std::error::Error for ReadError {}
