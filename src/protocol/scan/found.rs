//! What a scanner shows, and why it stops.

use std::fmt;

/// A value at a wanted path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Found<'a> {
    /// Offset of its first byte, counted from the scanner's start.
    pub start: usize,
    /// Offset behind its last byte.
    pub end: usize,
    /// Its raw JSON text, cut at the limit of [`Take::Bytes`](super::Take::Bytes); empty for [`Take::Span`](super::Take::Span).
    pub raw: &'a [u8],
    /// The byte it begins with, which tells its kind: `{`, `[`, `"`, `t`, `f`, `n`, or the start of a number.
    pub first: u8,
}

/// Gets what the scanner finds, in the order in which values end.
pub trait Sink {
    /// The value at the path of pattern number `which` has ended.
    fn found(&mut self, which: usize, value: Found<'_>);

    /// A string holds `\uXXXX`, which stands for this UTF-16 unit.
    fn escaped(&mut self, unit: u16) {
        let _ = unit;
    }
}

/// Why bytes are no JSON.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ScanError {
    /// Offset of the byte that does not fit.
    pub at: usize,
    /// What is wrong with it.
    pub what: &'static str,
}

impl fmt::Display for ScanError {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{} (byte {})", self.what, self.at)
    }
}

impl std::error::Error for ScanError {}
