//! Strings: keys and values in quotes, which most of a scan goes through.

use super::plan::{LEVELS, Plan};
use super::quotes::quote_or_backslash;
use super::{Scanner, Sink, State};

/// The longest key that can be wanted, in raw bytes; a longer key matches nothing.
const KEY_BYTES_MAX: usize = 256;

impl Scanner {
    /// Skips strings for as long as one follows the other, which most of a body is; returns the index behind what was read.
    pub(super) fn strings(
        &mut self,
        plan: &Plan,
        chunk: &[u8],
        from: usize,
        base: usize,
        sink: &mut impl Sink,
    ) -> usize {
        let mut index = from;
        while index < chunk.len() && matches!(self.state, State::Text | State::KeyText) {
            index = self.string(plan, chunk, index, base, sink);
        }
        index
    }

    /// Skips within a string; returns the index behind what was read.
    fn string(&mut self, plan: &Plan, chunk: &[u8], from: usize, base: usize, sink: &mut impl Sink) -> usize {
        let is_key = self.state == State::KeyText;
        let mut index = from;
        if self.escaped {
            self.escaped = false;
            index = self.escape(chunk, index, sink);
        } else if self.hex.is_some() {
            index = self.digits(chunk, index, sink);
        }
        loop {
            let Some(hit) = quote_or_backslash(chunk, index) else {
                self.key_part(is_key, &chunk[from..]);
                return chunk.len();
            };
            if chunk[hit] == b'"' {
                self.at = base + hit;
                if !is_key {
                    self.end_scalar(plan, chunk, base, self.at + 1, sink);
                    return self.follow(plan, chunk, hit + 1);
                }
                self.end_key(plan, &chunk[from..hit]);
                return self.follow_key(plan, chunk, hit + 1, base);
            }
            self.key_has_escape |= is_key;
            if hit + 1 == chunk.len() {
                self.escaped = true;
                self.key_part(is_key, &chunk[from..]);
                return chunk.len();
            }
            index = self.escape(chunk, hit + 1, sink);
        }
    }

    /// Takes the colon behind a key, and the quote of a string, if they follow at once; returns the index behind what was read.
    fn follow_key(&mut self, plan: &Plan, chunk: &[u8], index: usize, base: usize) -> usize {
        match chunk.get(index..) {
            Some([b':', b'"', ..]) => {
                self.at = base + index + 1;
                self.note_start(plan, b'"');
                self.state = State::Text;
                index + 2
            }
            Some([b':', ..]) => {
                self.state = State::Value;
                index + 1
            }
            _ => {
                self.state = State::Colon;
                index
            }
        }
    }

    /// Skips the byte behind a backslash, and the digits behind a `u`.
    fn escape(&mut self, chunk: &[u8], index: usize, sink: &mut impl Sink) -> usize {
        if chunk[index] != b'u' {
            return index + 1;
        }
        self.hex = Some((0, 0));
        self.digits(chunk, index + 1, sink)
    }

    fn digits(&mut self, chunk: &[u8], from: usize, sink: &mut impl Sink) -> usize {
        let mut index = from;
        while let (Some((seen, unit)), Some(&byte)) = (self.hex, chunk.get(index)) {
            let digit = match byte {
                b'0'..=b'9' => byte - b'0',
                b'a'..=b'f' => byte - b'a' + 10,
                b'A'..=b'F' => byte - b'A' + 10,
                // No digit: the provider will complain; here it may well end the string.
                _ => {
                    self.hex = None;
                    return index;
                }
            };
            index += 1;
            let unit = unit << 4 | u16::from(digit);
            self.hex = if seen == 3 { None } else { Some((seen + 1, unit)) };
            if seen == 3 {
                sink.escaped(unit);
            }
        }
        index
    }

    fn key_part(&mut self, is_key: bool, part: &[u8]) {
        if is_key && self.levels.last().is_some_and(|level| level.inside != 0) && self.key.len() <= KEY_BYTES_MAX {
            self.key.extend_from_slice(&part[..part.len().min(KEY_BYTES_MAX + 1)]);
        }
    }

    /// A key ends with `last`, all of it unless a part arrived in an earlier chunk.
    fn end_key(&mut self, plan: &Plan, last: &[u8]) {
        let depth = self.levels.len();
        let inside = self.levels.last().map_or(0, |level| level.inside);
        self.next = 0;
        if inside == 0 || depth > LEVELS {
            return;
        }
        if self.key.is_empty() && !self.key_has_escape {
            self.next = inside & plan.under(depth - 1, last);
            return;
        }
        self.key_part(true, last);
        if self.key.len() <= KEY_BYTES_MAX {
            let key = if self.key_has_escape { &unescaped(&self.key) } else { &self.key };
            self.next = inside & plan.under(depth - 1, key);
        }
    }
}

/// A key without its escapes; one that cannot be read matches nothing.
fn unescaped(raw: &[u8]) -> Vec<u8> {
    let quoted = [b"\"", raw, b"\""].concat();
    serde_json::from_slice::<String>(&quoted).map(String::into_bytes).unwrap_or_default()
}
