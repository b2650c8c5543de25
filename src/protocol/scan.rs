//! [`Scanner`]: walks JSON once, as it arrives, and shows the values at the paths of a [`Plan`].
//!
//! It takes bytes in any splits, builds no tree, skips strings with SIMD, keeps nothing but the values it was asked
//! for, and those only up to their limit: a request of 64 MiB or an event of 16 MiB costs it a few hundred bytes.
//! Structure is checked (brackets, commas, colons, literals), the grammar of numbers and the contents of strings are
//! left to the provider.
//!
//! Invariant: for the same bytes, found values and offsets do not depend on how the bytes were split.

mod closing;
mod found;
mod plan;
mod quotes;
mod strings;
mod word;

pub use closing::ArrayPlace;
pub use found::{Found, ScanError, Sink};
use plan::{LEVELS, keep_limit};
pub use plan::{Pattern, Plan, Take};
pub(super) use quotes::quote_or_backslash;
use word::Word;

/// Deeper values are refused: providers refuse them earlier, and each level costs memory.
pub const DEPTH_MAX: usize = 512;

/// Levels of nearly every body: for those there is room from the start.
const LEVELS_USUAL: usize = 8;

/// What may come next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// A value.
    Value,
    /// The first value of an array, or its end.
    FirstElement,
    /// The first key of an object, or its end.
    FirstKey,
    /// A key behind a comma.
    Key,
    /// The colon behind a key.
    Colon,
    /// A comma, or the end of the container.
    Next,
    /// The rest of a string that is a value.
    Text,
    /// The rest of a string that is a key.
    KeyText,
    /// The rest of a number.
    Number,
    /// The rest of `true`, `false` or `null`.
    Literal { word: Word, seen: u8 },
    /// The value has ended; only white space may follow.
    Done,
}

/// An open container.
#[derive(Clone, Copy, Debug)]
struct Level {
    is_object: bool,
    /// Patterns whose path leads through this container.
    inside: u64,
    /// Patterns whose value this container is.
    whole: u64,
    start: usize,
}

/// The walk over one JSON value.
#[derive(Debug)]
pub struct Scanner {
    state: State,
    /// The last byte was a backslash within a string.
    escaped: bool,
    /// Digits of `\uXXXX` read so far and their value.
    hex: Option<(u8, u16)>,
    /// Offset of the next byte.
    at: usize,
    levels: Vec<Level>,
    /// Patterns that the value to come serves.
    next: u64,
    /// Start and first byte of the scalar being read.
    start: usize,
    first: u8,
    key: Vec<u8>,
    key_has_escape: bool,
    /// Which value is being kept, from where, and its bytes before this chunk.
    keeping: Option<Keep>,
    kept: Vec<u8>,
}

#[derive(Clone, Copy, Debug)]
struct Keep {
    start: usize,
    limit: usize,
    /// Levels that were open when it began.
    depth: usize,
}

impl Default for Scanner {
    fn default() -> Self {
        Self::new()
    }
}

impl Scanner {
    /// A scanner at the start of a value.
    #[must_use]
    pub fn new() -> Self {
        Self {
            state: State::Value,
            escaped: false,
            hex: None,
            at: 0,
            levels: Vec::with_capacity(LEVELS_USUAL),
            next: u64::MAX,
            start: 0,
            first: 0,
            key: Vec::new(),
            key_has_escape: false,
            keeping: None,
            kept: Vec::new(),
        }
    }

    /// Starts over at offset 0, keeping its memory.
    pub fn reset(&mut self) {
        self.state = State::Value;
        self.escaped = false;
        self.hex = None;
        self.at = 0;
        self.levels.clear();
        self.next = u64::MAX;
        self.keeping = None;
        self.kept.clear();
    }

    /// Whether a whole value has been read.
    #[must_use]
    pub fn is_done(&self) -> bool {
        self.state == State::Done
    }

    /// How many bytes have been read.
    #[must_use]
    pub const fn offset(&self) -> usize {
        self.at
    }

    /// Reads on.
    ///
    /// # Errors
    /// The first byte that does not fit. The scanner is of no use afterwards.
    pub fn feed(&mut self, plan: &Plan, chunk: &[u8], sink: &mut impl Sink) -> Result<(), ScanError> {
        let base = self.at;
        let mut index = 0;
        while let Some(&byte) = chunk.get(index) {
            index = match self.state {
                State::Text | State::KeyText => self.strings(plan, chunk, index, base, sink),
                State::Number | State::Literal { .. } => self.scalar(plan, chunk, index, base, sink)?,
                _ if matches!(byte, b' ' | b'\n' | b'\r' | b'\t') => index + 1,
                _ => {
                    self.at = base + index;
                    self.token(plan, byte, chunk, base, sink)?;
                    self.follow(plan, chunk, index + 1)
                }
            };
        }
        if let Some(keep) = self.keeping {
            self.keep(keep, chunk, base, chunk.len());
        }
        self.at = base + chunk.len();
        Ok(())
    }

    /// Says that no byte follows, which is what ends a number at the root.
    ///
    /// # Errors
    /// The value is not whole.
    pub fn finish(&mut self, plan: &Plan, sink: &mut impl Sink) -> Result<(), ScanError> {
        if self.state == State::Number && self.levels.is_empty() {
            self.end_scalar(plan, &[], self.at, self.at, sink);
        }
        if self.is_done() { Ok(()) } else { Err(self.wrong("the text ends within a value")) }
    }

    fn wrong(&self, what: &'static str) -> ScanError {
        ScanError { at: self.at, what }
    }

    /// A byte outside strings, numbers and literals; `self.at` is its offset.
    fn token(
        &mut self,
        plan: &Plan,
        byte: u8,
        chunk: &[u8],
        base: usize,
        sink: &mut impl Sink,
    ) -> Result<(), ScanError> {
        match (self.state, byte) {
            (State::FirstElement, b']') | (State::FirstKey, b'}') => self.close(plan, chunk, base, sink),
            (State::Value | State::FirstElement, _) => return self.begin(plan, byte),
            (State::FirstKey | State::Key, b'"') => self.begin_key(),
            (State::Colon, b':') => self.state = State::Value,
            (State::Next, b',') => self.comma(plan),
            (State::Next, b'}' | b']') => {
                let is_object = self.levels.last().is_some_and(|level| level.is_object);
                if is_object != (byte == b'}') {
                    return Err(self.wrong("this bracket closes nothing"));
                }
                self.close(plan, chunk, base, sink);
            }
            (State::Done, _) => return Err(self.wrong("something follows the value")),
            (State::FirstKey | State::Key, _) => return Err(self.wrong("a key in quotes belongs here")),
            (State::Colon, _) => return Err(self.wrong("a colon belongs here")),
            (State::Next, _) => return Err(self.wrong("a comma or a closing bracket belongs here")),
            (State::Text | State::KeyText | State::Number | State::Literal { .. }, _) => {}
        }
        Ok(())
    }

    /// Takes what nearly always follows at once, so that it is not asked of each byte what it may be: a comma behind a value, and
    /// the quote of a key. Returns the index behind what was read.
    fn follow(&mut self, plan: &Plan, chunk: &[u8], from: usize) -> usize {
        let mut index = from;
        if self.state == State::Next && chunk.get(index) == Some(&b',') {
            self.comma(plan);
            index += 1;
        }
        if matches!(self.state, State::FirstKey | State::Key) && chunk.get(index) == Some(&b'"') {
            self.begin_key();
            index += 1;
        }
        index
    }

    /// A comma behind a value.
    fn comma(&mut self, plan: &Plan) {
        if self.levels.last().is_some_and(|level| level.is_object) {
            self.state = State::Key;
        } else {
            self.next = self.element(plan);
            self.state = State::Value;
        }
    }

    /// The quote before a key.
    fn begin_key(&mut self) {
        self.key.clear();
        self.key_has_escape = false;
        self.state = State::KeyText;
    }

    /// The first byte of a value.
    fn begin(&mut self, plan: &Plan, byte: u8) -> Result<(), ScanError> {
        let whole = self.note_start(plan, byte);
        self.state = match byte {
            b'{' | b'[' => return self.open(plan, byte == b'{', whole),
            b'"' => State::Text,
            b't' => State::Literal { word: Word::True, seen: 1 },
            b'f' => State::Literal { word: Word::False, seen: 1 },
            b'n' => State::Literal { word: Word::Null, seen: 1 },
            b'-' | b'0'..=b'9' => State::Number,
            _ => return Err(self.wrong("a value belongs here")),
        };
        Ok(())
    }

    /// Notes where a value begins, and keeps it from here on if it is wanted; returns the patterns whose value it is.
    fn note_start(&mut self, plan: &Plan, byte: u8) -> u64 {
        let depth = self.levels.len();
        let whole = if depth == 0 || depth > LEVELS { 0 } else { self.next & plan.ends[depth - 1] };
        if whole != 0 && self.keeping.is_none() {
            self.keeping = keep_limit(plan, whole).map(|limit| Keep { start: self.at, limit, depth });
            self.kept.clear();
        }
        self.start = self.at;
        self.first = byte;
        whole
    }

    fn open(&mut self, plan: &Plan, is_object: bool, whole: u64) -> Result<(), ScanError> {
        if self.levels.len() >= DEPTH_MAX {
            return Err(self.wrong("nested too deeply"));
        }
        let inside = if self.levels.len() < LEVELS && self.keeping.is_none() { self.next } else { 0 };
        self.levels.push(Level { is_object, inside, whole, start: self.at });
        if is_object {
            self.state = State::FirstKey;
        } else {
            self.next = self.element(plan);
            self.state = State::FirstElement;
        }
        Ok(())
    }

    /// The patterns that an element of the innermost array serves.
    fn element(&self, plan: &Plan) -> u64 {
        let depth = self.levels.len();
        let inside = self.levels.last().map_or(0, |level| level.inside);
        if inside == 0 || depth > LEVELS { 0 } else { inside & plan.any[depth - 1] }
    }

    /// The innermost container ends at `self.at`.
    fn close(&mut self, plan: &Plan, chunk: &[u8], base: usize, sink: &mut impl Sink) {
        let Some(level) = self.levels.pop() else { return };
        let first = if level.is_object { b'{' } else { b'[' };
        self.end_value(plan, level.whole, (level.start, self.at + 1, first), chunk, base, sink);
    }

    /// Reads on in a number or a literal; returns the index behind what was read.
    fn scalar(
        &mut self,
        plan: &Plan,
        chunk: &[u8],
        index: usize,
        base: usize,
        sink: &mut impl Sink,
    ) -> Result<usize, ScanError> {
        let byte = chunk[index];
        self.at = base + index;
        if let State::Literal { word, seen } = self.state {
            let rest = word.rest(seen);
            if chunk[index..].starts_with(rest) {
                let end = index + rest.len();
                self.end_scalar(plan, chunk, base, base + end, sink);
                return Ok(self.follow(plan, chunk, end));
            }
            if rest[0] != byte {
                return Err(self.wrong("a value belongs here"));
            }
            self.state = State::Literal { word, seen: seen + 1 };
            return Ok(index + 1);
        }
        let is_end = |byte: &u8| !matches!(byte, b'0'..=b'9' | b'+' | b'-' | b'.' | b'e' | b'E');
        let Some(length) = chunk[index..].iter().position(is_end) else { return Ok(chunk.len()) };
        self.at = base + index + length;
        self.end_scalar(plan, chunk, base, self.at, sink);
        Ok(self.follow(plan, chunk, index + length))
    }

    /// The scalar that began at `self.start` ends before offset `end`.
    fn end_scalar(&mut self, plan: &Plan, chunk: &[u8], base: usize, end: usize, sink: &mut impl Sink) {
        let depth = self.levels.len();
        let whole = if depth == 0 || depth > LEVELS { 0 } else { self.next & plan.ends[depth - 1] };
        self.end_value(plan, whole, (self.start, end, self.first), chunk, base, sink);
    }

    fn end_value(
        &mut self,
        plan: &Plan,
        whole: u64,
        (start, end, first): (usize, usize, u8),
        chunk: &[u8],
        base: usize,
        sink: &mut impl Sink,
    ) {
        self.state = if self.levels.is_empty() { State::Done } else { State::Next };
        if whole == 0 {
            return;
        }
        let keep = self.keeping.filter(|keep| keep.start == start && keep.depth == self.levels.len());
        let kept: &[u8] = match keep {
            // What began in this chunk is shown as it lies there.
            Some(keep) if keep.start >= base => &chunk[keep.start - base..end - base],
            Some(keep) => {
                self.keep(keep, chunk, base, end - base);
                &self.kept
            }
            None => &[],
        };
        if keep.is_some() {
            self.keeping = None;
        }
        let mut rest = whole;
        while rest != 0 {
            let which = rest.trailing_zeros() as usize;
            rest &= rest - 1;
            let raw = match plan.takes[which] {
                Take::Bytes(limit) => &kept[..kept.len().min(limit)],
                Take::Span => &[],
            };
            sink.found(which, Found { start, end, raw, first });
        }
    }

    /// Adds the bytes of `chunk` before index `to` to the value being kept.
    fn keep(&mut self, keep: Keep, chunk: &[u8], base: usize, to: usize) {
        let from = keep.start.saturating_sub(base);
        let part = chunk.get(from..to).unwrap_or_default();
        let room = keep.limit.saturating_sub(self.kept.len());
        self.kept.extend_from_slice(&part[..part.len().min(room)]);
    }
}

#[cfg(test)]
mod tests;
