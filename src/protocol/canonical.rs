//! [`canonical`]: a request's JSON in the one form that all its spellings have, to be hashed and never sent.
//!
//! Members have one order, white space is gone, escapes are resolved and numbers have one form; what the caller names is left
//! out. The form is a prefix code of its own, in which each string tells its length, so that two requests have the same form
//! only if they say the same. On the way it is seen whether the request asks for chance, and whether it reaches for what is not in it.
//!
//! Invariant: a body whose meaning depends on who reads it (a member that is given twice, a number or a text that is no JSON) has
//! no form.

mod pointer;

use std::ops::Range;

use pointer::points_elsewhere;

use super::live::looks_up;
use super::scan::quote_or_backslash;

/// Deeper values have no form; requests have about ten levels.
const DEPTH_MAX: usize = 128;

/// The one form of a request.
#[derive(Clone, Debug)]
pub struct Canonical {
    /// The form, but for the order of the root's members.
    out: Vec<u8>,
    /// The root's members in `out`, in their order, if it is an object.
    root: Option<Vec<Member>>,
    /// How much chance is asked for.
    pub temperature: Temperature,
    /// Whether the request points to something that is not in it, has something looked up, or wants its answer to be stored.
    pub reaches_out: bool,
}

/// How much chance is asked for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Temperature {
    /// Nothing is said: the provider's own, which is above zero.
    #[default]
    Absent,
    /// None.
    Zero,
    /// Some, or something that cannot be read.
    Above,
}

/// What is left out of the form.
#[derive(Clone, Copy, Debug, Default)]
pub struct Omissions<'a> {
    /// Members of the root.
    pub members: &'a [&'a str],
    /// A member of an object at the root, which goes as well if nothing else is in it, or if it is null.
    pub inner: Option<(&'a str, &'a str)>,
}

/// The one form of a body that is JSON; `None` where it has none.
#[must_use]
pub fn canonical(body: &[u8], omissions: Omissions<'_>) -> Option<Canonical> {
    let mut writer = Writer {
        body,
        at: 0,
        out: Vec::with_capacity(body.len() + body.len() / 4),
        members: Vec::new(),
        root: None,
        scratch: Vec::new(),
        omissions,
        temperature: Temperature::Absent,
        reaches_out: false,
        has_controls: has_control(body),
    };
    writer.value(Place { depth: 0, top: Top::Plain, key: 0..0 })?;
    writer.blanks();
    let Writer { at, out, root, temperature, reaches_out, .. } = writer;
    (at == body.len()).then_some(Canonical { out, root, temperature, reaches_out })
}

impl Canonical {
    /// The form in parts: the root's members in their order, or what stands there instead. They are not moved together, since
    /// one of them is nearly everything.
    pub fn parts(&self) -> impl Iterator<Item = &[u8]> {
        let whole = if self.root.is_some() { &[][..] } else { &self.out };
        let members = self.root.iter().flatten().map(|member| &self.out[member.start..member.end]);
        std::iter::once(whole).chain(members)
    }

    /// The form in one piece.
    #[must_use]
    pub fn form(&self) -> Vec<u8> {
        self.parts().collect::<Vec<_>>().concat()
    }
}

/// The member of the root below which a value stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Top {
    Plain,
    /// Gemini's settings, the answer's form among them.
    Settings,
    /// Tools and forms, with their schemas, and what the caller notes: nothing that is named there is fetched. Of tools that run
    /// at the provider no answer is kept anyway.
    Declared,
    /// The object from which a member is left out.
    Shortened,
}

/// Where a value stands.
#[derive(Clone, Debug)]
struct Place {
    /// Levels above it.
    depth: usize,
    top: Top,
    /// Where the key of its member stands in the output, or of the member whose array it stands in.
    key: Range<usize>,
}

/// Where a member of an open object stands in the output: its key without the head, and its end.
#[derive(Clone, Copy, Debug)]
struct Member {
    start: usize,
    key_end: usize,
    end: usize,
}

/// Objects with so many members are looked through pair by pair.
const PAIRED_MAX: usize = 12;

/// Bytes in front of a string's text: its mark and its length.
const STRING_HEAD: usize = 5;

struct Writer<'a> {
    body: &'a [u8],
    at: usize,
    out: Vec<u8>,
    /// Members of all open objects, innermost last.
    members: Vec<Member>,
    root: Option<Vec<Member>>,
    scratch: Vec<u8>,
    omissions: Omissions<'a>,
    temperature: Temperature,
    reaches_out: bool,
    /// Whether there are control characters at all: line breaks between values, or what no string may have.
    has_controls: bool,
}

impl<'a> Writer<'a> {
    /// Writes the value at hand.
    fn value(&mut self, place: Place) -> Option<()> {
        self.blanks();
        match *self.body.get(self.at)? {
            b'{' if place.depth < DEPTH_MAX => self.object(place.depth, place.top),
            b'[' if place.depth < DEPTH_MAX => self.array(&place),
            b'"' => self.text(&place),
            b't' => self.word(b"true"),
            b'f' => self.word(b"false"),
            b'n' => self.word(b"null"),
            b'-' | b'0'..=b'9' => self.number(),
            _ => None,
        }
    }

    fn object(&mut self, depth: usize, top: Top) -> Option<()> {
        self.at += 1;
        let (base, start) = (self.members.len(), self.out.len());
        self.out.push(b'{');
        let mut is_first = true;
        while self.goes_on(b'}', is_first)? {
            is_first = false;
            self.member(depth, top)?;
        }
        self.sort(base)?;
        if depth == 0 {
            self.root = Some(std::mem::take(&mut self.members));
        } else {
            self.gather(base, start + 1);
            self.members.truncate(base);
        }
        self.out.push(b'}');
        Some(())
    }

    fn member(&mut self, depth: usize, top: Top) -> Option<()> {
        self.blanks();
        let start = self.out.len();
        self.string()?;
        let key_end = self.out.len();
        self.blanks();
        (*self.body.get(self.at)? == b':').then(|| self.at += 1)?;
        let key = start + STRING_HEAD..key_end;
        let below = if depth == 0 { self.kind_of(&self.out[key.clone()]) } else { top };
        self.value(Place { depth: depth + 1, top: below, key })?;
        self.look(depth, top, start, key_end);
        if self.is_omitted(depth, top, start, key_end) {
            self.out.truncate(start);
        } else {
            self.members.push(Member { start, key_end, end: self.out.len() });
        }
        Some(())
    }

    fn kind_of(&self, key: &[u8]) -> Top {
        match key {
            _ if self.omissions.inner.is_some_and(|(outer, _)| outer.as_bytes() == key) => Top::Shortened,
            b"generationConfig" | b"generation_config" => Top::Settings,
            b"tools" | b"functions" | b"response_format" | b"text" | b"output_format" | b"output_config" => {
                Top::Declared
            }
            b"guided_json" | b"structured_outputs" | b"metadata" => Top::Declared,
            _ => Top::Plain,
        }
    }

    /// Learns from the member that has been written from `start` on, and its value from `key_end` on.
    fn look(&mut self, depth: usize, top: Top, start: usize, key_end: usize) {
        let (key, value) = (&self.out[start + STRING_HEAD..key_end], &self.out[key_end..]);
        if depth == 0 && (looks_up(key) || key == b"store") {
            self.reaches_out |= !matches!(value, b"n" | b"f");
        }
        if key == b"temperature" && (depth == 0 || depth == 1 && top == Top::Settings) {
            let said = match value {
                b"n" => Temperature::Absent,
                b"#0;" => Temperature::Zero,
                _ => Temperature::Above,
            };
            self.temperature = self.temperature.max(said);
        }
    }

    fn is_omitted(&self, depth: usize, top: Top, start: usize, key_end: usize) -> bool {
        let (key, value) = (&self.out[start + STRING_HEAD..key_end], &self.out[key_end..]);
        let inner = self.omissions.inner.filter(|_| depth <= 1);
        match depth {
            0 => {
                let is_void = matches!(value, [b'n'] | [b'{', b'}']);
                self.omissions.members.iter().any(|name| name.as_bytes() == key)
                    || is_void && inner.is_some_and(|(outer, _)| outer.as_bytes() == key)
            }
            1 => top == Top::Shortened && inner.is_some_and(|(_, inner)| inner.as_bytes() == key),
            _ => false,
        }
    }

    /// Sorts the members from `base` on into the one order that they have: the shortest first, and then by their keys. So what is
    /// long (the content of a message) is where most clients write it anyway, and need not be moved.
    fn sort(&mut self, base: usize) -> Option<()> {
        let (out, members) = (&self.out, &mut self.members[base..]);
        let key = |member: &Member| &out[member.start + STRING_HEAD..member.key_end];
        if has_twins(members, key) {
            return None;
        }
        members.sort_unstable_by(|one, other| {
            let lengths = (one.end - one.start).cmp(&(other.end - other.start));
            lengths.then_with(|| key(one).cmp(key(other)))
        });
        Some(())
    }

    /// Moves the members from `base` on, which begin at `start`, to where their order wants them.
    fn gather(&mut self, base: usize, start: usize) {
        let (mut sorted, mut at) = (&self.members[base..], start);
        while let Some((member, others)) = sorted.split_first().filter(|(member, _)| member.start == at) {
            (at, sorted) = (member.end, others);
        }
        self.scratch.clear();
        for member in sorted {
            self.scratch.extend_from_slice(&self.out[member.start..member.end]);
        }
        self.out[at..].copy_from_slice(&self.scratch);
    }

    fn array(&mut self, place: &Place) -> Option<()> {
        self.at += 1;
        self.out.push(b'[');
        let mut is_first = true;
        while self.goes_on(b']', is_first)? {
            is_first = false;
            self.value(Place { depth: place.depth + 1, ..place.clone() })?;
        }
        self.out.push(b']');
        Some(())
    }

    /// Whether another element follows in a container that ends with `end`; its comma or end is passed.
    fn goes_on(&mut self, end: u8, is_first: bool) -> Option<bool> {
        self.blanks();
        let byte = *self.body.get(self.at)?;
        if byte == end {
            self.at += 1;
            return Some(false);
        }
        if !is_first {
            (byte == b',').then(|| self.at += 1)?;
        }
        Some(true)
    }

    fn blanks(&mut self) {
        while matches!(self.body.get(self.at), Some(b' ' | b'\n' | b'\r' | b'\t')) {
            self.at += 1;
        }
    }

    fn word(&mut self, word: &[u8]) -> Option<()> {
        self.body[self.at..].starts_with(word).then_some(())?;
        self.at += word.len();
        self.out.push(word[0]);
        Some(())
    }

    /// A string that is no key.
    fn text(&mut self, place: &Place) -> Option<()> {
        let start = self.out.len() + STRING_HEAD;
        self.string()?;
        let may_point = matches!(place.top, Top::Plain | Top::Shortened);
        self.reaches_out |= may_point && points_elsewhere(&self.out[place.key.clone()], &self.out[start..]);
        Some(())
    }

    fn string(&mut self) -> Option<()> {
        (*self.body.get(self.at)? == b'"').then(|| self.at += 1)?;
        let start = self.out.len();
        let (piece, end) = self.piece()?;
        self.out.extend_from_slice(&string_head(piece.len())?);
        self.out.extend_from_slice(piece);
        // Most strings have no escape, and are written by now.
        if end == b'"' {
            return Some(());
        }
        loop {
            self.escape()?;
            let (piece, end) = self.piece()?;
            self.out.extend_from_slice(piece);
            if end == b'"' {
                break;
            }
        }
        let head = string_head(self.out.len() - start - STRING_HEAD)?;
        self.out[start..start + STRING_HEAD].copy_from_slice(&head);
        Some(())
    }

    /// What stands in a string before its next quote or backslash, which is passed, and which of the two it is.
    fn piece(&mut self) -> Option<(&'a [u8], u8)> {
        let body = self.body;
        let hit = quote_or_backslash(body, self.at)?;
        let piece = &body[self.at..hit];
        self.at = hit + 1;
        (!self.has_controls || !has_control(piece)).then_some((piece, body[hit]))
    }

    /// What stands behind a backslash.
    fn escape(&mut self) -> Option<()> {
        let letter = *self.body.get(self.at)?;
        self.at += 1;
        let byte = match letter {
            b'"' | b'\\' | b'/' => letter,
            b'b' => 8,
            b'f' => 12,
            b'n' => b'\n',
            b'r' => b'\r',
            b't' => b'\t',
            b'u' => return self.unit(),
            _ => return None,
        };
        self.out.push(byte);
        Some(())
    }

    /// `\uXXXX`, and its other half if it is one. A half alone is written as the three bytes that no text can hold.
    fn unit(&mut self) -> Option<()> {
        let first = self.hex()?;
        if (0xD800..0xDC00).contains(&first) && self.body[self.at..].starts_with(b"\\u") {
            let before = self.at;
            self.at += 2;
            let second = self.hex()?;
            if (0xDC00..0xE000).contains(&second) {
                let point = 0x1_0000 + ((first - 0xD800) << 10) + (second - 0xDC00);
                return self.letter(char::from_u32(point)?);
            }
            self.at = before;
        }
        match char::from_u32(first) {
            Some(letter) => self.letter(letter),
            None => {
                let bytes = first.to_be_bytes();
                let high = 0x80 | (bytes[2] & 0x0F) << 2 | bytes[3] >> 6;
                self.out.extend_from_slice(&[0xE0 | bytes[2] >> 4, high, 0x80 | bytes[3] & 0x3F]);
                Some(())
            }
        }
    }

    fn letter(&mut self, letter: char) -> Option<()> {
        self.out.extend_from_slice(letter.encode_utf8(&mut [0; 4]).as_bytes());
        Some(())
    }

    fn hex(&mut self) -> Option<u32> {
        let digits = self.body.get(self.at..self.at + 4)?;
        self.at += 4;
        digits.iter().try_fold(0, |sum, digit| Some(sum << 4 | char::from(*digit).to_digit(16)?))
    }

    /// A number as sign, digits without zeros at either end, and the power of ten of the last: `1.50e1` is `15`.
    fn number(&mut self) -> Option<()> {
        let rest = &self.body[self.at..];
        let is_end = |byte: &u8| !matches!(byte, b'0'..=b'9' | b'+' | b'-' | b'.' | b'e' | b'E');
        let text = &rest[..rest.iter().position(is_end).unwrap_or(rest.len())];
        self.at += text.len();
        let (is_negative, text) = text.strip_prefix(b"-").map_or((false, text), |text| (true, text));
        let (digits, power) = match text.iter().position(|byte| matches!(byte, b'e' | b'E')) {
            Some(at) => (&text[..at], std::str::from_utf8(&text[at + 1..]).ok()?.parse::<i64>().ok()?),
            None => (text, 0),
        };
        let point = digits.iter().position(|byte| *byte == b'.');
        let (whole, part) = point.map_or((digits, &[][..]), |at| (&digits[..at], &digits[at + 1..]));
        let is_odd = matches!(whole, [] | [b'0', _, ..]) || point.is_some() && part.is_empty();
        if is_odd || !whole.iter().chain(part).all(u8::is_ascii_digit) {
            return None;
        }
        self.out.push(b'#');
        let start = self.out.len();
        self.out.extend(whole.iter().chain(part).skip_while(|digit| **digit == b'0'));
        let kept = self.out[start..].iter().rposition(|digit| *digit != b'0').map_or(0, |last| last + 1);
        let zeros = self.out.len() - start - kept;
        self.out.truncate(start + kept);
        let power = power.checked_sub(i64::try_from(part.len()).ok()?)?.checked_add(i64::try_from(zeros).ok()?)?;
        if kept == 0 {
            self.out.extend_from_slice(b"0;");
            return Some(());
        }
        if is_negative {
            self.out.insert(start, b'-');
        }
        if power != 0 {
            self.out.push(b'e');
            self.out.extend_from_slice(power.to_string().as_bytes());
        }
        self.out.push(b';');
        Some(())
    }
}

/// The mark of a string and its length.
fn string_head(length: usize) -> Option<[u8; STRING_HEAD]> {
    let [a, b, c, d] = u32::try_from(length).ok()?.to_be_bytes();
    Some([b'"', a, b, c, d])
}

/// Whether there is a control character, which JSON does not allow within strings. The least byte is looked for, since that is done
/// for many at once.
fn has_control(text: &[u8]) -> bool {
    text.iter().fold(u8::MAX, |least, byte| least.min(*byte)) < b' '
}

/// Whether a member is given twice.
fn has_twins<'a>(members: &[Member], key: impl Fn(&Member) -> &'a [u8]) -> bool {
    if members.len() <= PAIRED_MAX {
        let is_twin = |place: usize| members[..place].iter().any(|before| key(before) == key(&members[place]));
        return (1..members.len()).any(is_twin);
    }
    let mut keys: Vec<&[u8]> = members.iter().map(key).collect();
    keys.sort_unstable();
    keys.windows(2).any(|two| two[0] == two[1])
}

#[cfg(test)]
mod tests;
