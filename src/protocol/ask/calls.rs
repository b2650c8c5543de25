//! [`Recent`]: the last calls of tools in a conversation, so that a model that calls the same thing again and again is noticed.
//!
//! Invariant: at most [`CALLS_MAX`] calls are kept, and of each only its place.

use std::ops::Range;

/// Calls that are kept.
pub const CALLS_MAX: usize = 6;

/// A call of a tool.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CallSpan {
    /// A hash of the tool's name.
    pub name: u64,
    /// Where its arguments stand; empty if they are not told.
    pub arguments: Range<usize>,
}

/// The last calls.
#[derive(Debug, Default)]
pub(super) struct Recent(Vec<CallSpan>);

impl Recent {
    pub(super) fn add(&mut self, name: &[u8], arguments: Range<usize>) {
        if self.0.len() == CALLS_MAX {
            self.0.remove(0);
        }
        // FNV-1a: names are short, and nothing depends on them but a count.
        let name = name
            .iter()
            .fold(0xcbf2_9ce4_8422_2325, |hash: u64, byte| (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3));
        self.0.push(CallSpan { name, arguments });
    }

    pub(super) fn take(&mut self) -> Vec<CallSpan> {
        std::mem::take(&mut self.0)
    }
}
