//! Segments: files of frames named by the number of their first record, and the walk from frame to frame.
//!
//! How a damaged end is judged. Frames are appended by one write each, in order, so a killed process leaves at most
//! one frame cut short. A power loss may also lose, zero or garble anything that was not yet synced, in any order,
//! so that even a whole frame may follow a broken one; nobody was told that either is durable, and both are
//! cut. But every frame says how much of its file was durable when it was made. A later frame that vouches for the
//! broken place proves that the disk has lost what was acknowledged, and that is for a human to see.
//!
//! Invariant: what a later frame calls durable is never cut; it stops the start.
//! Invariant: a frame with a right checksum in the wrong place is never cut: no interrupted write makes one.

use std::fmt;
use std::fs::File;
use std::io::{self, BufRead, BufReader, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

use memchr::memmem;

use super::frame::{self, FrameFault, FrameKind, HEADER, Hash, Header};

/// The folder of the segments within the store's.
pub const FOLDER: &str = "journal";

/// One file of the journal.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Segment {
    /// The number of its first record.
    pub first_seq: u64,
    /// Where it is.
    pub path: PathBuf,
}

/// A place where the journal is damaged.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BadFrame {
    /// The file.
    pub segment: PathBuf,
    /// Bytes from its start.
    pub offset: u64,
    /// What is wrong there.
    pub why: FrameFault,
}

/// The end of the last segment, which an interrupted write left behind.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CutTail {
    /// The file.
    pub segment: PathBuf,
    /// Where its last whole frame ends.
    pub offset: u64,
    /// How many bytes come after that.
    pub bytes: u64,
    /// What the first of them are.
    pub why: FrameFault,
}

/// Why there is no next frame.
#[derive(Debug)]
pub enum WalkError {
    /// The file cannot be read.
    Io(io::Error),
    /// There is something else.
    Bad(FrameFault),
}

/// A frame of a walk.
#[derive(Debug)]
pub struct Frame<'a> {
    /// Its numbers.
    pub header: Header,
    /// Where it begins.
    pub offset: u64,
    /// What it holds.
    pub body: &'a [u8],
}

/// Reads a segment's frames in order, and checks that each follows from the one before.
#[derive(Debug)]
pub struct Walk {
    file: BufReader<File>,
    frame: Vec<u8>,
    /// Where the next frame begins.
    pub offset: u64,
    /// The number of the next record.
    pub next_seq: u64,
    /// The hash of the last frame; unknown before the first of a file that is read alone.
    pub head: Option<Hash>,
    /// Whether hashes are computed at all.
    is_chained: bool,
}

/// The path of the segment that begins with record `first_seq`.
pub fn path_of(folder: &Path, first_seq: u64) -> PathBuf {
    folder.join(format!("{first_seq:020}.log"))
}

/// The segments in `folder`, in order; other files are none of ours.
pub fn list(folder: &Path) -> io::Result<Vec<Segment>> {
    let mut segments = Vec::new();
    for file in folder.read_dir()? {
        let path = file?.path();
        let name = path.file_name().and_then(|name| name.to_str()).and_then(|name| name.strip_suffix(".log"));
        let first_seq = name.filter(|digits| digits.len() == 20).and_then(|digits| digits.parse().ok());
        if let Some(first_seq) = first_seq {
            segments.push(Segment { first_seq, path });
        }
    }
    segments.sort_unstable();
    Ok(segments)
}

impl Segment {
    /// Walks it from its start. `head` is the hash of the frame before it, where that is known.
    pub fn walk(&self, head: Option<Hash>) -> io::Result<Walk> {
        Walk::resume(&self.path, 0, self.first_seq, head)
    }

    /// Its bad place.
    pub fn bad(&self, offset: u64, why: FrameFault) -> BadFrame {
        BadFrame { segment: self.path.clone(), offset, why }
    }

    /// Whether what is wrong at `offset` is only an interrupted write, given that this is the last segment.
    pub fn judge(&self, offset: u64, why: FrameFault) -> io::Result<Result<CutTail, BadFrame>> {
        if !why.may_be_torn() {
            return Ok(Err(self.bad(offset, why)));
        }
        let mut tail = Vec::new();
        let mut file = File::open(&self.path)?;
        file.seek(SeekFrom::Start(offset))?;
        file.read_to_end(&mut tail)?;
        // What is vouched for now may have been half written when a reader met it.
        if vouched(&tail) > offset && !is_whole(&self.path, offset)? {
            return Ok(Err(self.bad(offset, why)));
        }
        Ok(Ok(CutTail { segment: self.path.clone(), offset, bytes: tail.len() as u64, why }))
    }
}

impl Walk {
    /// Goes on at `offset`, where record `next_seq` is expected.
    pub fn resume(path: &Path, offset: u64, next_seq: u64, head: Option<Hash>) -> io::Result<Self> {
        let mut file = BufReader::with_capacity(1 << 16, File::open(path)?);
        file.seek(SeekFrom::Start(offset))?;
        Ok(Self { file, frame: Vec::new(), offset, next_seq, head, is_chained: true })
    }

    /// Reads on without a look at the chain, which `verify` checks: checksums alone take a third of the time.
    pub fn unchained(self) -> Self {
        Self { head: None, is_chained: false, ..self }
    }

    /// Whether the frame here has this hash and ends where the next record has this number; goes behind it if so.
    pub fn stands_at(&mut self, end: u64, next_seq: u64, head: &Hash) -> io::Result<bool> {
        match self.read() {
            Ok(true) => {}
            Ok(false) | Err(WalkError::Bad(_)) => return Ok(false),
            Err(WalkError::Io(error)) => return Err(error),
        }
        let stands = self.offset + self.frame.len() as u64 == end && frame::hash(&self.frame) == *head;
        (self.offset, self.next_seq, self.head) = (end, next_seq, Some(*head));
        Ok(stands)
    }

    /// Whether the file goes on here.
    pub fn has_more(&mut self) -> io::Result<bool> {
        Ok(!self.file.fill_buf()?.is_empty())
    }

    /// The next frame, or `None` where the file ends between two frames.
    pub fn step(&mut self) -> Result<Option<Frame<'_>>, WalkError> {
        let offset = self.offset;
        let header = self.advance()?;
        Ok(header.map(|header| Frame { header, offset, body: self.body() }))
    }

    /// Goes behind the next frame, and returns its header.
    pub fn advance(&mut self) -> Result<Option<Header>, WalkError> {
        if !self.read()? {
            return Ok(None);
        }
        let header = frame::check(&self.frame).map_err(WalkError::Bad)?;
        self.follows(&header).map_err(WalkError::Bad)?;
        self.offset += self.frame.len() as u64;
        self.next_seq += u64::from(header.count);
        self.head = self.is_chained.then(|| frame::hash(&self.frame));
        Ok(Some(header))
    }

    /// Whether the frame before this place has this hash; where none was read yet, nothing speaks against it.
    pub fn ends_with(&self, head: &Hash) -> bool {
        self.frame.is_empty() || frame::hash(&self.frame) == *head
    }

    /// The hash of the frame before this place.
    pub fn hash(&self) -> Hash {
        self.head.unwrap_or_else(|| frame::hash(&self.frame))
    }

    /// What the frame before this place holds.
    pub fn body(&self) -> &[u8] {
        self.frame.get(HEADER..).unwrap_or_default()
    }

    /// Reads one frame's bytes; false at the end of the file.
    fn read(&mut self) -> Result<bool, WalkError> {
        self.frame.clear();
        if self.fill(HEADER as u64)? == 0 {
            return Ok(false);
        }
        let header = self.frame.first_chunk().ok_or(WalkError::Bad(FrameFault::Incomplete))?;
        let length = u64::from(frame::body_length(header).map_err(WalkError::Bad)?);
        if self.fill(length)? < length {
            return Err(WalkError::Bad(FrameFault::Incomplete));
        }
        Ok(true)
    }

    fn fill(&mut self, bytes: u64) -> Result<u64, WalkError> {
        let read = (&mut self.file).take(bytes).read_to_end(&mut self.frame).map_err(WalkError::Io)?;
        Ok(read as u64)
    }

    fn follows(&self, header: &Header) -> Result<(), FrameFault> {
        if header.first_seq != self.next_seq {
            return Err(FrameFault::Sequence);
        }
        if self.head.is_some_and(|head| head != header.previous) {
            return Err(FrameFault::Chain);
        }
        if self.offset == 0 && header.kind != FrameKind::Snapshot {
            return Err(FrameFault::FirstFrame);
        }
        Ok(())
    }
}

/// Whether there is a whole frame at `offset` by now.
fn is_whole(path: &Path, offset: u64) -> io::Result<bool> {
    let mut walk = Walk::resume(path, offset, 0, None)?;
    match walk.read() {
        Ok(read) => Ok(read && frame::check(&walk.frame).is_ok()),
        Err(WalkError::Io(error)) => Err(error),
        Err(WalkError::Bad(_)) => Ok(false),
    }
}

/// How far whole frames anywhere in `tail` say that their file was durable.
fn vouched(tail: &[u8]) -> u64 {
    let frame_at = |start: usize| {
        let (header, rest) = tail[start..].split_first_chunk()?;
        let length = frame::body_length(header).ok()? as usize;
        rest.get(..length)?;
        frame::check(&tail[start..start + HEADER + length]).ok()
    };
    memmem::find_iter(tail, frame::MAGIC).filter_map(frame_at).map(|header| header.synced).max().unwrap_or(0)
}

impl fmt::Display for WalkError {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Io(error) => write!(out, "{error}"),
            Self::Bad(why) => write!(out, "{why}"),
        }
    }
}

impl fmt::Display for BadFrame {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            out,
            "journal segment {} is damaged at byte {}: {}; \"tollgate ledger verify\" shows more",
            self.segment.display(),
            self.offset,
            self.why
        )
    }
}

impl std::error::Error for BadFrame {}

impl fmt::Display for CutTail {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            out,
            "journal segment {} ends in {} bytes of an interrupted write from byte {}: {}",
            self.segment.display(),
            self.bytes,
            self.offset,
            self.why
        )
    }
}
