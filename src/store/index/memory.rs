//! [`Memory`]: an index of two maps and a list, which is what every other kind of index must behave like.

use std::collections::{BTreeMap, HashMap};
use std::ops::Range;

use super::row::{Applied, Mark, Piece, RowKey, Span, Stretch, Writing};
use crate::domain::subject::Subject;
use crate::domain::sums::Sums;

/// An index that ends with the process.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Memory {
    rows: BTreeMap<RowKey, Sums>,
    pieces: BTreeMap<(u32, u64, u32), Piece>,
    subjects: HashMap<Mark, Subject>,
    stretches: BTreeMap<u64, Stretch>,
    applied: Option<Applied>,
}

impl Memory {
    /// See [`super::Index::applied`].
    #[must_use]
    pub fn applied(&self) -> Option<Applied> {
        self.applied.clone()
    }

    /// See [`super::Index::sums`].
    #[must_use]
    pub fn sums(&self, key: RowKey) -> Option<Sums> {
        self.rows.get(&key).cloned()
    }

    /// See [`super::Index::rows`].
    pub fn rows(&self, span: Span, numbers: Range<u32>, each: &mut dyn FnMut(RowKey, Sums)) {
        if span == Span::Quarter {
            for piece in self.pieces.range((numbers.start, 0, 0)..(numbers.end, 0, 0)).map(|(_, piece)| piece) {
                let key = |mark| RowKey { span, number: piece.quarter, mark };
                piece.rows.iter().for_each(|(mark, sums)| each(key(*mark), sums.clone()));
            }
        }
        self.unpacked(span, numbers, each);
    }

    /// See [`super::Index::unpacked`].
    pub fn unpacked(&self, span: Span, numbers: Range<u32>, each: &mut dyn FnMut(RowKey, Sums)) {
        let first = |number| RowKey { span, number, mark: Mark::default() };
        for (key, sums) in self.rows.range(first(numbers.start)..first(numbers.end)) {
            each(*key, sums.clone());
        }
    }

    /// See [`super::Index::subject`].
    #[must_use]
    pub fn subject(&self, mark: Mark) -> Option<Subject> {
        self.subjects.get(&mark).cloned()
    }

    /// See [`super::Index::stretches`].
    #[must_use]
    pub fn stretches(&self) -> Vec<Stretch> {
        self.stretches.values().cloned().collect()
    }

    /// See [`super::Index::write`].
    pub fn write(&mut self, writing: &Writing) {
        for key in &writing.packed {
            self.rows.remove(key);
        }
        let pieces = writing.pieces.iter();
        self.pieces.extend(pieces.map(|piece| ((piece.quarter, piece.seq, piece.part), piece.clone())));
        self.rows.extend(writing.rows.iter().cloned());
        self.subjects.extend(writing.subjects.iter().cloned());
        self.stretches.extend(writing.stretches.iter().map(|stretch| (stretch.first_seq, stretch.clone())));
        self.stretches = self.stretches.split_off(&writing.forget_before);
        self.applied = Some(writing.applied.clone());
    }
}
