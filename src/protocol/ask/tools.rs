//! [`Turns`]: which tool results the last turn of a conversation brings, with the names of their tools.
//!
//! A body holds a conversation from its beginning. Only the last calls and the last results are kept: a new call
//! after results, or a message that is neither, begins a new turn.
//!
//! Invariant: at most [`RESULTS_MAX`] calls and results are kept, whatever the body holds.

use super::ToolResult;
use super::values;

/// Calls and results kept of one turn.
const RESULTS_MAX: usize = 64;

/// The longest name kept, in bytes.
pub(super) const NAME_BYTES_MAX: usize = 128;

/// The turns of a conversation, as far as tools go. Ids and names are raw JSON strings.
#[derive(Debug, Default)]
pub(super) struct Turns {
    /// Ids and names of the calls and results, one behind the other.
    bytes: Vec<u8>,
    calls: Vec<Mark>,
    results: Vec<(Mark, Option<bool>)>,
    are_parallel: bool,
}

/// Where in `bytes` an id and a name begin and end.
#[derive(Clone, Copy, Debug)]
struct Mark {
    id: usize,
    name: usize,
    end: usize,
}

impl Turns {
    /// The model called a tool.
    pub(super) fn call(&mut self, id: &[u8], name: &[u8]) {
        if !self.results.is_empty() {
            self.clear();
        }
        if self.calls.len() < RESULTS_MAX {
            let mark = self.mark(id, name);
            self.calls.push(mark);
        }
        self.are_parallel |= self.calls.len() > 1;
    }

    /// Whether the model ever called several tools before it had a result.
    pub(super) const fn are_parallel(&self) -> bool {
        self.are_parallel
    }

    /// A tool answered; the name is empty if the result does not tell it.
    pub(super) fn result(&mut self, id: &[u8], name: &[u8], is_error: Option<bool>) {
        if self.results.len() < RESULTS_MAX {
            let mark = self.mark(id, name);
            self.results.push((mark, is_error));
        }
    }

    /// A message without calls and results ended.
    pub(super) fn other(&mut self) {
        if !self.results.is_empty() {
            self.clear();
        }
    }

    /// Whether the last message brought results.
    pub(super) fn in_loop(&self) -> bool {
        !self.results.is_empty()
    }

    /// The results of the last turn.
    pub(super) fn results(&self) -> Vec<ToolResult> {
        let name = |mark: Mark| {
            let (id, own) = (&self.bytes[mark.id..mark.name], &self.bytes[mark.name..mark.end]);
            let called = || self.calls.iter().find(|call| self.bytes[call.id..call.name] == *id && !id.is_empty());
            let raw = if own.is_empty() { called().map_or(id, |call| &self.bytes[call.name..call.end]) } else { own };
            shortened(raw)
        };
        self.results.iter().map(|(mark, is_error)| ToolResult { name: name(*mark), is_error: *is_error }).collect()
    }

    fn clear(&mut self) {
        self.bytes.clear();
        self.calls.clear();
        self.results.clear();
    }

    fn mark(&mut self, id: &[u8], name: &[u8]) -> Mark {
        let start = self.bytes.len();
        self.bytes.extend_from_slice(id);
        let middle = self.bytes.len();
        self.bytes.extend_from_slice(name);
        Mark { id: start, name: middle, end: self.bytes.len() }
    }
}

/// The text of a raw JSON string that may have been cut.
fn shortened(raw: &[u8]) -> Box<str> {
    if let Some(text) = values::boxed(raw) {
        return text;
    }
    let inner = raw.strip_prefix(b"\"").unwrap_or(raw);
    let text = String::from_utf8_lossy(&inner[..inner.len().min(NAME_BYTES_MAX)]);
    text.trim_end_matches(char::REPLACEMENT_CHARACTER).into()
}
