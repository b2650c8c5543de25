//! [`Tree`]: an index in sled 0.34, whose rules are these: one database, one tree, one thread that writes.
//!
//! sled alone may not hold money: what it calls written may be gone after a kill, and it may open empty or panic after
//! a power loss (MONEY.md, section 1). So nothing here is believed before [`super::Index::check`], and nothing here is
//! ever the only copy.
//!
//! Invariant: a batch is there with the place it was written for, or neither is.

use std::fmt;
use std::fs;
use std::ops::Range;
use std::path::Path;

use super::IndexError;
use super::row::{
    APPLIED, Applied, Mark, Piece, RowKey, STRETCH, Span, Stretch, Writing, piece_prefix, put_subject, put_sums,
    stretch_key, subject_key, take_subject, take_sums,
};
use crate::domain::subject::Subject;
use crate::domain::sums::Sums;
use crate::store::wire::{Put, Take};

/// Bytes of pages that sled may keep in memory.
const CACHE_BYTES: u64 = 32 << 20;

/// An index in a folder.
pub struct Tree {
    db: sled::Db,
}

impl Tree {
    /// Opens the index in `folder`, or begins one. It may panic.
    pub fn open(folder: &Path) -> Result<Self, IndexError> {
        fs::create_dir_all(folder).map_err(|error| broken(&error))?;
        let config = sled::Config::new().path(folder).cache_capacity(CACHE_BYTES).mode(sled::Mode::LowSpace);
        // The clerk flushes when it has nothing else to do.
        let opened = config.flush_every_ms(None).open();
        let db = opened.map_err(|error| {
            let is_locked = error.to_string().contains("could not acquire lock");
            if is_locked { IndexError::Busy } else { broken(&error) }
        })?;
        Ok(Self { db })
    }

    pub(super) fn applied(&self) -> Result<Option<Applied>, IndexError> {
        let Some(bytes) = self.db.get(APPLIED).map_err(|error| broken(&error))? else {
            return if self.db.is_empty() {
                Ok(None)
            } else {
                Err(IndexError::broken("it does not say how far it is"))
            };
        };
        Applied::of_bytes(&bytes).map(Some).map_err(|error| broken(&error))
    }

    pub(super) fn sums(&self, key: RowKey) -> Result<Option<Sums>, IndexError> {
        let bytes = self.db.get(key.to_bytes()).map_err(|error| broken(&error))?;
        bytes.map(|bytes| sums(&bytes)).transpose()
    }

    pub(super) fn rows(
        &self,
        span: Span,
        numbers: Range<u32>,
        each: &mut dyn FnMut(RowKey, Sums),
    ) -> Result<(), IndexError> {
        if span == Span::Quarter {
            for piece in self.db.range(piece_prefix(numbers.start)..piece_prefix(numbers.end)) {
                let (key, value) = piece.map_err(|error| broken(&error))?;
                Piece::read(&key, &value, each).map_err(|error| broken(&error))?;
            }
        }
        self.unpacked(span, numbers, each)
    }

    pub(super) fn unpacked(
        &self,
        span: Span,
        numbers: Range<u32>,
        each: &mut dyn FnMut(RowKey, Sums),
    ) -> Result<(), IndexError> {
        let first = |number: u32| {
            let mut key = [span.prefix(); 5];
            key[1..].copy_from_slice(&number.to_be_bytes());
            key
        };
        for row in self.db.range(first(numbers.start)..first(numbers.end)) {
            let (key, value) = row.map_err(|error| broken(&error))?;
            let key = RowKey::of_bytes(&key).ok_or_else(|| IndexError::broken("a key has another length"))?;
            each(key, sums(&value)?);
        }
        Ok(())
    }

    pub(super) fn subject(&self, mark: Mark) -> Result<Option<Subject>, IndexError> {
        let bytes = self.db.get(subject_key(mark)).map_err(|error| broken(&error))?;
        bytes.map(|bytes| take_subject(&mut Take(&bytes)).map_err(|error| broken(&error))).transpose()
    }

    pub(super) fn stretches(&self) -> Result<Vec<Stretch>, IndexError> {
        let stretch = |row: sled::Result<(sled::IVec, sled::IVec)>| {
            let (key, value) = row.map_err(|error| broken(&error))?;
            Stretch::of_bytes(&key, &value).map_err(|error| broken(&error))
        };
        self.db.scan_prefix([STRETCH]).map(stretch).collect()
    }

    pub(super) fn write(&self, writing: &Writing) -> Result<(), IndexError> {
        let mut batch = sled::Batch::default();
        let mut bytes = Vec::new();
        for (key, sums) in &writing.rows {
            bytes.clear();
            put_sums(&mut Put(&mut bytes), sums);
            batch.insert(&key.to_bytes(), bytes.as_slice());
        }
        for key in &writing.packed {
            batch.remove(&key.to_bytes());
        }
        for piece in &writing.pieces {
            batch.insert(&piece.key(), piece.to_bytes());
        }
        for (mark, subject) in &writing.subjects {
            bytes.clear();
            put_subject(&mut Put(&mut bytes), subject);
            batch.insert(&subject_key(*mark), bytes.as_slice());
        }
        for stretch in &writing.stretches {
            batch.insert(&stretch_key(stretch.first_seq), stretch.to_bytes());
        }
        for gone in self.db.range(stretch_key(0)..stretch_key(writing.forget_before)).keys() {
            batch.remove(gone.map_err(|error| broken(&error))?);
        }
        batch.insert(APPLIED, writing.applied.to_bytes());
        self.db.apply_batch(batch).map_err(|error| broken(&error))
    }

    pub(super) fn flush(&self) -> Result<(), IndexError> {
        self.db.flush().map(drop).map_err(|error| broken(&error))
    }
}

impl fmt::Debug for Tree {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("Tree").finish_non_exhaustive()
    }
}

fn sums(bytes: &[u8]) -> Result<Sums, IndexError> {
    let mut take = Take(bytes);
    take_sums(&mut take).and_then(|sums| take.end().map(|()| sums)).map_err(|error| broken(&error))
}

fn broken(error: &dyn fmt::Display) -> IndexError {
    IndexError::Broken(error.to_string().into())
}
