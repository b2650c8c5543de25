//! What a start does: find the end of the journal, judge it, and sum what lies since the last snapshot.
//!
//! The checksums of the whole last segment are checked (at most one day or 64 MiB), but only from its newest snapshot on
//! the chain is followed and records are decoded. Earlier segments are not read: `verify` reads them, and every chain.
//!
//! Invariant: when this returns, everything that it read is durable, also if an earlier process failed to sync it:
//! pages that a failed fdatasync left clean in memory are written again before anybody relies on them.

use std::fmt;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use super::books::Books;
use super::codec::decode;
use super::frame::{self, FrameFault, FrameKind, Hash};
use super::segment::{self, BadFrame, CutTail, Segment, Walk, WalkError};

/// Why a journal cannot be opened.
#[derive(Debug)]
pub enum OpenError {
    /// Another process writes to it.
    InUse {
        /// The store's folder.
        folder: PathBuf,
        /// The process, if it left its id.
        pid: Option<u32>,
    },
    /// The file system refused something.
    Io {
        /// What.
        what: &'static str,
        /// Where.
        path: PathBuf,
        /// Why.
        error: io::Error,
    },
    /// Something that was durable is damaged.
    Bad(BadFrame),
}

/// The end of a journal.
#[derive(Debug)]
pub struct End {
    /// The last segment.
    pub segment: Segment,
    /// When it was begun, unix milliseconds.
    pub made_ms: u64,
    /// Where its last frame ends.
    pub len: u64,
    /// How many of its bytes follow the newest snapshot.
    pub since_snapshot: u64,
    /// The number of the next record.
    pub next_seq: u64,
    /// The hash of the last frame.
    pub head: Hash,
    /// What all records sum to.
    pub books: Books,
}

/// Finds the end of the journal in `folder`, or `None` if it has no records; cuts what an interrupted write left.
pub fn recover(folder: &Path) -> Result<(Option<End>, Option<CutTail>), OpenError> {
    let mut segments = segment::list(folder).map_err(failed("list", folder))?;
    let newest = segments.last().cloned();
    let mut cut = None;
    while let Some(last) = segments.pop() {
        let scan = scan(&last)?;
        if let Some(tail) = &scan.tail {
            // A file is synced as a whole before the next one is made, so that only the newest can be torn.
            if newest.as_ref() != Some(&last) {
                return Err(OpenError::Bad(last.bad(tail.offset, tail.why.clone())));
            }
            cut.clone_from(&scan.tail);
        }
        let Some(snapshot) = &scan.snapshot else {
            fs::remove_file(&last.path).map_err(failed("remove", &last.path))?;
            continue;
        };
        settle_file(&last.path, &scan).map_err(failed("repair", &last.path))?;
        let end = sum(last, &scan, snapshot)?;
        return Ok((Some(end), cut));
    }
    Ok((None, cut))
}

/// An error of the file system as an [`OpenError`].
pub fn failed(what: &'static str, path: &Path) -> impl FnOnce(io::Error) -> OpenError {
    move |error| OpenError::Io { what, path: path.to_owned(), error }
}

/// What checking a segment's frames found.
struct Scan {
    /// The newest snapshot.
    snapshot: Option<Place>,
    /// Where the last frame ends.
    len: u64,
    /// How much of the file a frame calls durable.
    vouched: u64,
    /// What comes after the last frame, if anything does.
    tail: Option<CutTail>,
}

/// Where a frame lies, and what came before it.
struct Place {
    offset: u64,
    seq: u64,
    previous: Hash,
}

fn scan(segment: &Segment) -> Result<Scan, OpenError> {
    let mut walk = segment.walk(None).map_err(failed("open", &segment.path))?.unchained();
    let mut scan = Scan { snapshot: None, len: 0, vouched: 0, tail: None };
    loop {
        match walk.step() {
            Ok(Some(frame)) => {
                scan.vouched = scan.vouched.max(frame.header.synced);
                if frame.header.kind == FrameKind::Snapshot {
                    let header = frame.header;
                    scan.snapshot =
                        Some(Place { offset: frame.offset, seq: header.first_seq, previous: header.previous });
                }
            }
            Ok(None) => break,
            Err(WalkError::Io(error)) => return Err(failed("read", &segment.path)(error)),
            Err(WalkError::Bad(why)) => {
                let verdict = segment.judge(walk.offset, why).map_err(failed("read", &segment.path))?;
                scan.tail = Some(verdict.map_err(OpenError::Bad)?);
                break;
            }
        }
    }
    scan.len = walk.offset;
    Ok(scan)
}

/// Cuts the file after its last frame, and writes again what no frame calls durable.
fn settle_file(path: &Path, scan: &Scan) -> io::Result<()> {
    let mut file = OpenOptions::new().read(true).write(true).open(path)?;
    file.set_len(scan.len)?;
    let mut unsure = Vec::new();
    file.seek(SeekFrom::Start(scan.vouched))?;
    file.read_to_end(&mut unsure)?;
    file.seek(SeekFrom::Start(scan.vouched))?;
    file.write_all(&unsure)?;
    file.sync_all()?;
    path.parent().map_or(Ok(()), |folder| File::open(folder)?.sync_all())
}

/// Sums the records from the newest snapshot to the end.
fn sum(segment: Segment, scan: &Scan, snapshot: &Place) -> Result<End, OpenError> {
    let fault = |offset, why| OpenError::Bad(segment.bad(offset, why));
    let made_ms = first_made_ms(&segment)?;
    let mut walk = Walk::resume(&segment.path, snapshot.offset, snapshot.seq, Some(snapshot.previous))
        .map_err(failed("open", &segment.path))?;
    let mut books = Books::default();
    let mut head = snapshot.previous;
    let mut snapshot_end = snapshot.offset;
    while walk.offset < scan.len {
        let offset = walk.offset;
        let step = walk.step().map_err(|error| match error {
            WalkError::Io(error) => failed("read", &segment.path)(error),
            WalkError::Bad(why) => fault(offset, why),
        })?;
        let Some(frame) = step else { break };
        match frame.header.kind {
            FrameKind::Snapshot => {
                (books, _) = Books::decode(frame.body).map_err(|error| fault(offset, FrameFault::Record(error)))?;
                snapshot_end = walk.offset;
            }
            FrameKind::Batch => {
                for record in frame::records(frame.body) {
                    let record = record.and_then(decode).map_err(|error| fault(offset, FrameFault::Record(error)))?;
                    books.apply(record);
                }
            }
        }
        head = walk.head.unwrap_or(head);
    }
    let since_snapshot = scan.len - snapshot_end;
    Ok(End { segment, made_ms, len: scan.len, since_snapshot, next_seq: walk.next_seq, head, books })
}

/// When the segment was begun: its first frame says.
fn first_made_ms(segment: &Segment) -> Result<u64, OpenError> {
    let (_, made_ms) = first_snapshot(segment).map_err(|error| match error {
        WalkError::Io(error) => failed("read", &segment.path)(error),
        WalkError::Bad(why) => OpenError::Bad(segment.bad(0, why)),
    })?;
    Ok(made_ms)
}

/// The books with which a segment begins, and when that was.
pub fn first_snapshot(segment: &Segment) -> Result<(Books, u64), WalkError> {
    let mut walk = segment.walk(None).map_err(WalkError::Io)?;
    let frame = walk.step()?.ok_or(WalkError::Bad(FrameFault::Incomplete))?;
    Books::decode(frame.body).map_err(|error| WalkError::Bad(FrameFault::Record(error)))
}

impl fmt::Display for OpenError {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::InUse { folder, pid: Some(pid) } => {
                write!(out, "the store in {} is used by another process (pid {pid})", folder.display())
            }
            Self::InUse { folder, pid: None } => {
                write!(out, "the store in {} is used by another process", folder.display())
            }
            Self::Io { what, path, error } => write!(out, "cannot {what} {}: {error}", path.display()),
            Self::Bad(bad) => write!(out, "{bad}"),
        }
    }
}

impl std::error::Error for OpenError {}
