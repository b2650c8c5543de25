//! [`Indexed`]: what an index knows of a range of time, merged while it is read.
//!
//! A million requests of thousands of subjects are nearly as many rows of quarters. A question tells few of them apart, so
//! that rows are merged by what the question keeps of their subjects, one span after the other, and never stand in memory
//! all at once.
//!
//! Invariant: what is given comes to the same as the rows that were read, whatever was merged.

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};
use std::mem;
use std::ops::Range;

use super::index::{Applied, Index, IndexError, Mark, QUARTER_MS, QUARTERS_A_DAY, Span, Stretch, quarter_of};
use super::ledger::Grain;
use crate::domain::subject::Subject;
use crate::domain::sums::Sums;

/// What an index knows of a range of time.
pub struct Indexed {
    /// How far it has come.
    pub applied: Applied,
    /// When, which class, and what it came to.
    pub rows: Vec<(u64, usize, Sums)>,
    /// What is told apart.
    pub classes: Vec<Subject>,
    /// Where to look for what arrived in a quarter that the range cuts.
    pub stretches: Vec<Stretch>,
}

/// Rows on their way to being merged.
#[derive(Default)]
struct Merging {
    rows: Vec<(u64, usize, Sums)>,
    /// The marks of a class have the same number.
    numbers: HashMap<Mark, usize, BuildHasherDefault<ByMark>>,
    /// The span that is being read, and what each mark or class comes to in it.
    start_ms: u64,
    open: Vec<Option<Sums>>,
    touched: Vec<usize>,
}

/// Marks are hashes already.
#[derive(Default)]
struct ByMark(u64);

impl Indexed {
    /// `None` if nothing was ever written to the index.
    pub fn read(
        index: &Index,
        range: &Range<u64>,
        grain: Grain,
        keep: &dyn Fn(&Subject) -> Subject,
    ) -> Result<Option<Self>, IndexError> {
        let Some(applied) = index.applied()? else { return Ok(None) };
        let inner = inner_quarters(range, applied.dropped_quarter);
        let (mut merging, mut classes) = (Merging::default(), Classes::default());
        for (span, numbers) in spans(&inner, grain) {
            let mut failed = None;
            index.rows(span, numbers, &mut |key, sums| {
                // A question without times is one span from the beginning to the end.
                let start_ms = if grain == Grain::Range { 0 } else { key.start_ms() };
                let class = match merging.numbers.get(&key.mark) {
                    Some(class) => *class,
                    None => match classes.of(index, key.mark, keep) {
                        Ok(class) => {
                            merging.numbers.insert(key.mark, class);
                            class
                        }
                        Err(error) => return failed = Some(error),
                    },
                };
                merging.add(start_ms, class, &sums);
            })?;
            failed.map_or(Ok(()), Err)?;
        }
        merging.close();
        let edges = edges(range, &inner);
        let touches =
            |stretch: &Stretch| edges.iter().any(|edge| stretch.from_ms < edge.end && stretch.to_ms >= edge.start);
        let stretches = if edges.is_empty() { Vec::new() } else { index.stretches()? };
        let stretches = stretches.into_iter().filter(touches).collect();
        // Without times the rows are of some moment of the range; of an empty one there are none.
        let mut rows = merging.rows;
        if grain == Grain::Range {
            rows.iter_mut().for_each(|row| row.0 = u64::from(inner.start) * QUARTER_MS);
        }
        Ok(Some(Self { applied, rows, classes: classes.list, stretches }))
    }
}

impl Hasher for ByMark {
    fn write(&mut self, bytes: &[u8]) {
        if let Some(first) = bytes.first_chunk() {
            self.0 = u64::from_le_bytes(*first);
        }
    }

    fn write_usize(&mut self, _length: usize) {}

    fn finish(&self) -> u64 {
        self.0
    }
}

/// What is told apart, with its numbers.
#[derive(Default)]
struct Classes {
    list: Vec<Subject>,
    numbers: HashMap<Subject, usize>,
}

impl Classes {
    fn of(&mut self, index: &Index, mark: Mark, keep: &dyn Fn(&Subject) -> Subject) -> Result<usize, IndexError> {
        let class = keep(&index.subject(mark)?);
        if let Some(number) = self.numbers.get(&class) {
            return Ok(*number);
        }
        self.list.push(class.clone());
        self.numbers.insert(class, self.list.len() - 1);
        Ok(self.list.len() - 1)
    }
}

impl Merging {
    fn add(&mut self, start_ms: u64, class: usize, sums: &Sums) {
        if start_ms != self.start_ms {
            self.close();
            self.start_ms = start_ms;
        }
        if self.open.len() <= class {
            self.open.resize(class + 1, None);
        }
        match &mut self.open[class] {
            Some(known) => known.join(sums),
            none => {
                *none = Some(sums.clone());
                self.touched.push(class);
            }
        }
    }

    /// Ends the span that was being read.
    fn close(&mut self) {
        for class in mem::take(&mut self.touched) {
            if let Some(sums) = self.open[class].take() {
                self.rows.push((self.start_ms, class, sums));
            }
        }
    }
}

/// The quarters of an hour that are answered from roll-ups: those that the range covers whole, and of what is only in
/// archives also the one in which it begins.
pub fn inner_quarters(range: &Range<u64>, dropped_quarter: u32) -> Range<u32> {
    let (from, until) = (quarter_of(range.start), quarter_of(range.end));
    let from_is_whole = range.start.is_multiple_of(QUARTER_MS) || from < dropped_quarter;
    let from = if from_is_whole { from } else { from + 1 };
    from..until.max(from)
}

/// The rows that `inner` consists of: whole days where they are fine enough, and the quarters before and after them.
fn spans(inner: &Range<u32>, grain: Grain) -> Vec<(Span, Range<u32>)> {
    let days = inner.start.div_ceil(QUARTERS_A_DAY)..inner.end / QUARTERS_A_DAY;
    if grain == Grain::Quarter || days.is_empty() {
        return vec![(Span::Quarter, inner.clone())];
    }
    let (first, last) = (days.start * QUARTERS_A_DAY, days.end * QUARTERS_A_DAY);
    vec![(Span::Quarter, inner.start..first), (Span::Day, days), (Span::Quarter, last..inner.end)]
}

/// The parts of `range` that are outside of `inner`.
fn edges(range: &Range<u64>, inner: &Range<u32>) -> Vec<Range<u64>> {
    let (start, end) = (u64::from(inner.start) * QUARTER_MS, u64::from(inner.end) * QUARTER_MS);
    let edges = if inner.is_empty() { [range.clone(), 0..0] } else { [range.start..start, end..range.end] };
    edges.into_iter().filter(|edge| !edge.is_empty()).collect()
}
