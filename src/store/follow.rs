//! [`Follow`]: the frames of the journal from a place on, across segments, as far as they are written.
//!
//! Invariant: each frame is given once, whole and checked; a frame that is being written is not there yet.

use std::fs;
use std::path::{Path, PathBuf};

use super::brief::is_attempt;
use super::codec::decode;
use super::frame::{self, FrameFault, FrameKind};
use super::index::Place;
use super::read::{ReadError, stop};
use super::record::Record;
use super::segment::{self, BadFrame, FOLDER, Segment, Walk, WalkError, path_of};
use super::skim::Skim;

/// Reads the journal of one folder in order.
#[derive(Debug)]
pub struct Follow {
    folder: PathBuf,
    segment: Segment,
    walk: Walk,
    /// Where the last frame began.
    frame: u64,
}

/// A frame with records.
#[derive(Debug)]
pub struct Followed<'a> {
    /// The number of the first record of its segment.
    pub segment: u64,
    /// Where it begins.
    pub offset: u64,
    /// Where it ends.
    pub end: u64,
    /// The number of its first record.
    pub first_seq: u64,
    /// Its records; nothing in a snapshot.
    pub body: &'a [u8],
}

/// What counts in sums: everything but opens and closes, whose entry has them.
#[derive(Debug)]
pub enum Counts<'a> {
    /// What there is to count of an entry.
    Entry(&'a Skim<'a>),
    /// A record of another kind.
    Other(&'a Record),
}

impl Follow {
    /// From the first segment that is there; `None` if there is none.
    pub fn from_start(folder: &Path) -> Result<Option<Self>, ReadError> {
        let folder = folder.join(FOLDER);
        let segments = match segment::list(&folder) {
            Ok(segments) => segments,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(ReadError::Io { path: folder, error }),
        };
        let Some(segment) = segments.into_iter().next() else { return Ok(None) };
        let walk = segment.walk(None).map_err(|error| ReadError::Io { path: segment.path.clone(), error })?;
        Ok(Some(Self { folder, segment, walk, frame: 0 }))
    }

    /// From `place` on; `None` if the journal is another one, or ends before it.
    pub fn resume(folder: &Path, place: &Place) -> Result<Option<Self>, ReadError> {
        let folder = folder.join(FOLDER);
        let segment = Segment { first_seq: place.segment, path: path_of(&folder, place.segment) };
        let io = |error| ReadError::Io { path: segment.path.clone(), error };
        match fs::metadata(&segment.path) {
            Ok(file) if file.len() >= place.offset => {}
            Ok(_) => return Ok(None),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(io(error)),
        }
        // The frame before says whether this is the journal that the place is of.
        let mut walk = Walk::resume(&segment.path, place.frame, 0, None).map_err(io)?;
        if !walk.stands_at(place.offset, place.next_seq, &place.head).map_err(io)? {
            return Ok(None);
        }
        Ok(Some(Self { folder, segment, walk, frame: place.frame }))
    }

    /// The next frame, as long as it has records before `until_seq` or none; `None` if there is nothing more yet.
    ///
    /// # Errors
    /// The journal is damaged or cannot be read.
    pub fn step(&mut self, until_seq: u64) -> Result<Option<Followed<'_>>, ReadError> {
        if self.walk.next_seq >= until_seq || !self.is_at_frame()? {
            return Ok(None);
        }
        let offset = self.walk.offset;
        let header = match self.walk.advance() {
            Ok(Some(header)) => header,
            Ok(None) => return Ok(None),
            Err(error) => return self.judge(offset, error).map(|()| None),
        };
        self.frame = offset;
        let body = if header.kind == FrameKind::Batch { self.walk.body() } else { &[] };
        let (segment, end) = (self.segment.first_seq, self.walk.offset);
        Ok(Some(Followed { segment, offset, end, first_seq: header.first_seq, body }))
    }

    /// Gives what counts of the next frame, as long as it has records before `until_seq` or none; false if there is nothing
    /// more yet.
    ///
    /// # Errors
    /// The journal is damaged or cannot be read.
    pub fn counted(&mut self, until_seq: u64, each: &mut dyn FnMut(Counts<'_>)) -> Result<bool, ReadError> {
        let folder = self.folder.clone();
        let Some(frame) = self.step(until_seq)? else { return Ok(false) };
        let bad = |error| {
            let why = FrameFault::Record(error);
            ReadError::Bad(BadFrame { segment: path_of(&folder, frame.segment), offset: frame.offset, why })
        };
        for bytes in frame::records(frame.body) {
            let bytes = bytes.map_err(bad)?;
            if is_attempt(bytes) {
                continue;
            }
            match Skim::of(bytes).map_err(bad)? {
                Some(entry) => each(Counts::Entry(&entry)),
                None => each(Counts::Other(&decode(bytes).map_err(bad)?)),
            }
        }
        Ok(true)
    }

    /// Where it is, also where hashes are not computed; `None` before the first frame.
    #[must_use]
    pub fn place_hashed(&self) -> Option<Place> {
        let place = |head| Place {
            segment: self.segment.first_seq,
            frame: self.frame,
            offset: self.walk.offset,
            next_seq: self.walk.next_seq,
            head,
        };
        (self.walk.offset > 0).then(|| place(self.walk.hash()))
    }

    /// Where it is; `None` before the first frame, or where hashes were not computed.
    #[must_use]
    pub fn place(&self) -> Option<Place> {
        let head = self.walk.head?;
        self.place_hashed().map(|place| Place { head, ..place })
    }

    /// The number of the next record.
    #[must_use]
    pub const fn next_seq(&self) -> u64 {
        self.walk.next_seq
    }

    /// Reads on without a look at the chain.
    #[must_use]
    pub fn unchained(self) -> Self {
        Self { walk: self.walk.unchained(), ..self }
    }

    /// Whether there are bytes to read, here or at the start of the next segment, to which it then turns.
    fn is_at_frame(&mut self) -> Result<bool, ReadError> {
        let io = |path: &Path| {
            let path = path.to_owned();
            move |error| ReadError::Io { path, error }
        };
        if self.walk.has_more().map_err(io(&self.segment.path))? {
            return Ok(true);
        }
        let next = Segment { first_seq: self.walk.next_seq, path: path_of(&self.folder, self.walk.next_seq) };
        if next.first_seq == self.segment.first_seq || !next.path.exists() {
            return Ok(false);
        }
        let walk = next.walk(self.walk.head).map_err(io(&next.path))?;
        self.walk = if self.walk.head.is_none() { walk.unchained() } else { walk };
        (self.segment, self.frame) = (next, 0);
        self.walk.has_more().map_err(io(&self.segment.path))
    }

    /// What an error means: nothing, where a write is under way at the end of the journal.
    fn judge(&self, offset: u64, error: WalkError) -> Result<(), ReadError> {
        let follows = path_of(&self.folder, self.walk.next_seq);
        let is_last = follows == self.segment.path || !follows.exists();
        if matches!(error, WalkError::Bad(FrameFault::Chain | FrameFault::Sequence)) {
            return stop(&self.segment, offset, error, false);
        }
        stop(&self.segment, offset, error, is_last)
    }
}
