//! [`spent`]: everything that has counted since a moment, also what retention has dropped.
//!
//! Invariant: each record is given once: by itself, or within the archive that stands in for its segment.

use std::io;
use std::path::Path;

use super::archive::{self, Archive};
use super::index::{QUARTER_MS, quarter_of};
use super::read::{Located, ReadError, Reader};
use super::segment::Segment;

/// Something that counts.
#[derive(Clone, Copy, Debug)]
pub enum Spent<'a> {
    /// A record of the time asked for.
    Record(&'a Located),
    /// What is left of a segment, of which some may be of an earlier time.
    Archive(&'a Archive),
}

/// Gives everything of the store in `folder` whose time is `from_ms` (unix milliseconds) or later, archives first.
///
/// # Errors
/// The journal or an archive is damaged or cannot be read: part of a sum would be a wrong sum.
pub fn spent(folder: &Path, from_ms: u64, each: &mut dyn FnMut(Spent<'_>)) -> Result<(), ReadError> {
    let reader = Reader::open(folder);
    // Archives are looked for after segments: one or the other is there.
    let (all, chosen) = reader.segments(from_ms, u64::MAX)?;
    gone(folder, &all, from_ms, each)?;
    for segment in chosen {
        match reader.of_segment(&segment, all.last(), from_ms) {
            Ok(records) => {
                for located in records {
                    each(Spent::Record(&located?));
                }
            }
            // Retention has just dropped it.
            Err(ReadError::Io { error, .. }) if error.kind() == io::ErrorKind::NotFound => {
                archived(folder, segment.first_seq, from_ms, each)?;
            }
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// Gives the archives alone.
///
/// # Errors
/// See [`spent`].
pub fn archives(folder: &Path, from_ms: u64, each: &mut dyn FnMut(Spent<'_>)) -> Result<(), ReadError> {
    let (all, _) = Reader::open(folder).segments(0, u64::MAX)?;
    gone(folder, &all, from_ms, each)
}

/// Gives the archives of segments that are not among `all`.
fn gone(folder: &Path, all: &[Segment], from_ms: u64, each: &mut dyn FnMut(Spent<'_>)) -> Result<(), ReadError> {
    let io = |error| ReadError::Io { path: folder.join(archive::FOLDER), error };
    for first_seq in archive::list(folder).map_err(io)? {
        if !all.iter().any(|segment| segment.first_seq == first_seq) {
            archived(folder, first_seq, from_ms, each)?;
        }
    }
    Ok(())
}

fn archived(folder: &Path, first_seq: u64, from_ms: u64, each: &mut dyn FnMut(Spent<'_>)) -> Result<(), ReadError> {
    let (archive, _) = archive::read(folder, first_seq)?;
    let last =
        archive.moved.iter().map(|moved| moved.quarter).chain(archive.posted.iter().map(|posted| posted.0)).max();
    let last = last.unwrap_or(0).max(quarter_of(archive.latest_ms));
    if u64::from(last + 1) * QUARTER_MS > from_ms {
        each(Spent::Archive(&archive));
    }
    Ok(())
}
