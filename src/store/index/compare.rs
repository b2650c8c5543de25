//! [`compare`]: whether an index holds what the journal says, row by row. It changes nothing.

use std::collections::BTreeMap;
use std::path::Path;

use super::gather::Gathered;
use super::row::{RowKey, Span, quarter_of};
use super::{Index, IndexError, Memory};
use crate::domain::sums::Sums;
use crate::store::archive;
use crate::store::follow::Follow;
use crate::store::frame::FrameFault;
use crate::store::index::gather::Standing;
use crate::store::read::ReadError;
use crate::store::segment::{FOLDER, path_of};

/// What a comparison found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Compared {
    /// Rows of the index.
    pub rows: u64,
    /// The number of the first record that the index does not know.
    pub next_seq: u64,
    /// Rows that are missing, too many, or that hold other sums.
    pub differing: u64,
}

/// What a comparison stumbled over.
#[derive(Debug)]
pub enum CompareError {
    /// The index.
    Index(IndexError),
    /// The journal or an archive.
    Journal(ReadError),
}

/// Compares `index` with the journal and the archives of the store in `folder`, up to where the index has come.
pub fn compare(folder: &Path, index: &Index) -> Result<Compared, CompareError> {
    let Some(applied) = index.applied().map_err(CompareError::Index)? else { return Ok(Compared::default()) };
    let place = applied.place;
    let expect = sums(folder, place.next_seq).map_err(CompareError::Journal)?;
    let mut known: BTreeMap<RowKey, Sums> = BTreeMap::new();
    let mut expected: BTreeMap<RowKey, Sums> = BTreeMap::new();
    for span in [Span::Quarter, Span::Day] {
        // Rows may come in parts.
        let mut know = |key: RowKey, sums: Sums| known.entry(key).or_default().join(&sums);
        index.rows(span, 0..u32::MAX, &mut know).map_err(CompareError::Index)?;
        expect.rows(span, 0..u32::MAX, &mut |key, sums| expected.entry(key).or_default().join(&sums));
    }
    let rows = known.len() as u64;
    let differing = expected.into_iter().filter(|(key, sums)| known.remove(key).as_ref() != Some(sums)).count();
    Ok(Compared { rows, next_seq: place.next_seq, differing: (differing + known.len()) as u64 })
}

/// What the journal and the archives come to before record `until_seq`.
fn sums(folder: &Path, until_seq: u64) -> Result<Box<Memory>, ReadError> {
    let mut gathered = Gathered::default();
    let io = |error| ReadError::Io { path: folder.join(archive::FOLDER), error };
    for first_seq in archive::list(folder).map_err(io)? {
        if path_of(&folder.join(FOLDER), first_seq).exists() {
            continue;
        }
        let (archive, _) = archive::read(folder, first_seq)?;
        for (quarter, subject, sums) in archive.rows {
            gathered.count(quarter, subject, &sums);
        }
        gathered.drop_before(archive.next_seq, quarter_of(archive.latest_ms) + 1);
    }
    let mut index = Index::Memory(Box::default());
    let Some(mut follow) = Follow::from_start(folder)? else { return Ok(Box::default()) };
    while let Some(frame) = follow.step(until_seq)? {
        let standing =
            Standing { segment: frame.segment, offset: frame.offset, end: frame.end, first_seq: frame.first_seq };
        let counted = gathered.frame(standing, frame.body);
        counted.map_err(|error| {
            let path = path_of(&folder.join(FOLDER), standing.segment);
            let why = FrameFault::Record(error);
            ReadError::Bad(crate::store::segment::BadFrame { segment: path, offset: standing.offset, why })
        })?;
    }
    if let Some(place) = follow.place() {
        // Writing to memory cannot fail.
        let _ = gathered.write(&mut index, place);
    }
    match index {
        Index::Memory(memory) => Ok(memory),
        Index::Sled(_) => Ok(Box::default()),
    }
}
