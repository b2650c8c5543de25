//! THE INDEX: what the journal sums to, arranged for questions. It may be lost at any time; the journal may not.
//!
//! It holds roll-ups (what each subject came to in each quarter of an hour, which is as fine as time zones are, and in
//! each day) and stretches (where in the journal to look for what arrived when). Both are written as absolute values together with
//! the place up to which the journal was read, in one batch, by one thread that no request waits for.
//!
//! Reading order: `row` says what is kept and how it looks in bytes, `memory` and `tree` keep it, `gather` sums records
//! into it, [`clerk`] is the thread that does so, and `aside` what happens to an index that cannot be trusted.
//!
//! Invariant: an index and the journal after its place come to the same as the journal alone.

mod row;
mod memory;
mod tree;
mod gather;
pub mod aside;
pub mod clerk;
pub mod compare;

use std::fmt;
use std::ops::Range;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{PoisonError, RwLock};

pub use compare::{CompareError, Compared};
pub use gather::{Gathered, counted};
pub use memory::Memory;
pub use row::{
    Applied, Mark, Piece, Place, QUARTER_MS, QUARTERS_A_DAY, RowKey, Span, Stretch, Writing, put_place, put_subject,
    put_sums, quarter_of, take_place, take_subject, take_sums,
};
pub use tree::Tree;

use crate::domain::subject::Subject;
use crate::domain::sums::Sums;

/// Where roll-ups and stretches are kept.
#[derive(Debug)]
pub enum Index {
    /// In files that sled looks after.
    Sled(Tree),
    /// In memory: the reference that the other is compared with.
    Memory(Box<Memory>),
}

/// Why an index cannot be used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum IndexError {
    /// Another process reads it just now.
    Busy,
    /// It cannot be read or written, or holds what nobody wrote.
    Broken(Box<str>),
}

/// The index that readers and the clerk share; `None` until it can be trusted.
#[derive(Debug, Default)]
pub struct Shelf(RwLock<Option<Index>>);

impl Index {
    /// How far it has come; `None` if nothing was ever written.
    pub fn applied(&self) -> Result<Option<Applied>, IndexError> {
        match self {
            Self::Sled(tree) => tree.applied(),
            Self::Memory(memory) => Ok(memory.applied()),
        }
    }

    /// What a row holds.
    pub fn sums(&self, key: RowKey) -> Result<Option<Sums>, IndexError> {
        match self {
            Self::Sled(tree) => tree.sums(key),
            Self::Memory(memory) => Ok(memory.sums(key)),
        }
    }

    /// Gives every row of the spans with these numbers. Those of a subject may come in parts, and newer ones after older
    /// ones only for the most part.
    pub fn rows(&self, span: Span, numbers: Range<u32>, each: &mut dyn FnMut(RowKey, Sums)) -> Result<(), IndexError> {
        match self {
            Self::Sled(tree) => tree.rows(span, numbers, each),
            Self::Memory(memory) => {
                memory.rows(span, numbers, each);
                Ok(())
            }
        }
    }

    /// Gives the rows that stand alone.
    pub fn unpacked(
        &self,
        span: Span,
        numbers: Range<u32>,
        each: &mut dyn FnMut(RowKey, Sums),
    ) -> Result<(), IndexError> {
        match self {
            Self::Sled(tree) => tree.unpacked(span, numbers, each),
            Self::Memory(memory) => {
                memory.unpacked(span, numbers, each);
                Ok(())
            }
        }
    }

    /// The subject of a mark in a row.
    pub fn subject(&self, mark: Mark) -> Result<Subject, IndexError> {
        let subject = match self {
            Self::Sled(tree) => tree.subject(mark)?,
            Self::Memory(memory) => memory.subject(mark),
        };
        subject.ok_or_else(|| IndexError::broken("a row has no subject"))
    }

    /// Every stretch, in the order of the journal.
    pub fn stretches(&self) -> Result<Vec<Stretch>, IndexError> {
        match self {
            Self::Sled(tree) => tree.stretches(),
            Self::Memory(memory) => Ok(memory.stretches()),
        }
    }

    /// Writes all of `writing`, or nothing.
    pub fn write(&mut self, writing: &Writing) -> Result<(), IndexError> {
        match self {
            Self::Sled(tree) => tree.write(writing),
            Self::Memory(memory) => {
                memory.write(writing);
                Ok(())
            }
        }
    }

    /// Hands what was written to the disk; what is lost is read from the journal again.
    pub fn flush(&self) -> Result<(), IndexError> {
        match self {
            Self::Sled(tree) => tree.flush(),
            Self::Memory(_) => Ok(()),
        }
    }

    /// Whether its rows are as many, and come to as much, as was written with them.
    pub fn check(&self) -> Result<(), IndexError> {
        let expect = self.applied()?.map_or((0, Sums::default()), |applied| (applied.rows, applied.total));
        let (rows, total) = self.total(Span::Quarter)?;
        if expect != (rows, total) {
            return Err(IndexError::broken("its rows do not come to its total"));
        }
        self.check_days()
    }

    /// Whether its days come to what was written with them, which is quickly done.
    pub fn check_days(&self) -> Result<(), IndexError> {
        let expect = self.applied()?.map_or(Sums::default(), |applied| applied.total);
        let (_, total) = self.total(Span::Day)?;
        if expect == total { Ok(()) } else { Err(IndexError::broken("its days do not come to its total")) }
    }

    fn total(&self, span: Span) -> Result<(u64, Sums), IndexError> {
        let (mut rows, mut total) = (0, Sums::default());
        self.rows(span, 0..u32::MAX, &mut |_, sums| {
            rows += 1;
            total.join(&sums);
        })?;
        Ok((rows, total))
    }
}

impl Shelf {
    /// Lets `read` look at the index, if there is one. `None` if there is none, or if it turns out to be broken.
    pub fn read<T>(&self, read: impl FnOnce(&Index) -> Result<T, IndexError>) -> Option<T> {
        let shelf = self.0.read().unwrap_or_else(PoisonError::into_inner);
        let index = shelf.as_ref()?;
        guarded(|| read(index)).ok()
    }

    /// Whether there is an index that can be trusted.
    #[must_use]
    pub fn is_filled(&self) -> bool {
        self.0.read().unwrap_or_else(PoisonError::into_inner).is_some()
    }

    /// Lets `write` change the index, if there is one.
    pub(super) fn write<T>(
        &self,
        write: impl FnOnce(&mut Index) -> Result<T, IndexError>,
    ) -> Option<Result<T, IndexError>> {
        let mut shelf = self.0.write().unwrap_or_else(PoisonError::into_inner);
        let index = shelf.as_mut()?;
        Some(guarded(|| write(index)))
    }

    /// Puts an index there, or takes it away.
    pub(super) fn put(&self, index: Option<Index>) -> Option<Index> {
        let mut shelf = self.0.write().unwrap_or_else(PoisonError::into_inner);
        std::mem::replace(&mut *shelf, index)
    }
}

/// Does what sled is asked to do. On damaged files it may panic; that must cost an index and not a process.
pub(super) fn guarded<T>(work: impl FnOnce() -> Result<T, IndexError>) -> Result<T, IndexError> {
    catch_unwind(AssertUnwindSafe(work)).unwrap_or_else(|_| Err(IndexError::broken("it panicked")))
}

impl IndexError {
    pub(super) fn broken(why: &str) -> Self {
        Self::Broken(why.into())
    }
}

impl fmt::Display for IndexError {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Busy => out.write_str("another process reads the index"),
            Self::Broken(why) => write!(out, "the index cannot be used: {why}"),
        }
    }
}

impl std::error::Error for IndexError {}
