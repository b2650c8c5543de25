//! [`Splitter`]: walks a `text/event-stream` as it arrives and hands on what its `data:` lines carry.
//!
//! It knows LF, CRLF and CR, comments, a byte order mark, `event:` and any number of `data:` lines an event, and keeps
//! nothing but 32 bytes of the event's name: a line of 16 MiB costs no memory. It never buffers, alters or drops.
//! Framing: WHATWG HTML, section 9.2.6, "interpreting an event stream".
//!
//! Invariant: for the same bytes, what the sink sees does not depend on how they were split, but for the places at
//! which runs of data are cut.

use memchr::memchr2;

/// The longest event name that is told apart; of a longer one the first bytes are kept.
const NAME_BYTES_MAX: usize = 32;

/// Gets the payload of a stream.
pub trait EventSink {
    /// More of the current event's data; the lines of one event are joined by LF.
    fn data(&mut self, bytes: &[u8]);

    /// An event has ended. `at` is the index in the chunk behind its blank line.
    fn end(&mut self, event: Event<'_>, at: usize);
}

/// What is known of an event at its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Event<'a> {
    /// The value of its `event:` line, at most 32 bytes of it; empty without one.
    pub name: &'a [u8],
    /// Whether it has a `data:` line; a block of comments has none.
    pub has_data: bool,
}

/// A field that matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Field {
    Data,
    Event,
}

impl Field {
    const fn name(self) -> &'static [u8] {
        match self {
            Self::Data => b"data",
            Self::Event => b"event",
        }
    }
}

/// Where in a line the stream stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Line {
    /// Before the first byte of the stream, so many bytes into a byte order mark.
    Mark(usize),
    /// Before its first byte.
    Start,
    /// So many bytes into what may become the name of this field.
    Name(Field, usize),
    /// Behind the colon, where one blank belongs to the framing.
    Blank(Field),
    /// In the value.
    Value(Field),
    /// In a line of no interest.
    Skip,
}

/// The walk over one stream.
#[derive(Debug)]
pub struct Splitter {
    line: Line,
    /// The last byte was CR, so that an LF now belongs to the same line end.
    after_cr: bool,
    /// No byte of an event has come since the last blank line.
    at_boundary: bool,
    has_data: bool,
    name: [u8; NAME_BYTES_MAX],
    name_bytes: usize,
}

impl Default for Splitter {
    fn default() -> Self {
        Self::new()
    }
}

impl Splitter {
    /// A splitter at the start of a stream.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            line: Line::Mark(0),
            after_cr: false,
            at_boundary: true,
            has_data: false,
            name: [0; NAME_BYTES_MAX],
            name_bytes: 0,
        }
    }

    /// Whether nothing of an unfinished event has arrived.
    #[must_use]
    pub const fn at_boundary(&self) -> bool {
        self.at_boundary
    }

    /// Reads on.
    pub fn feed(&mut self, chunk: &[u8], sink: &mut impl EventSink) {
        let mut index = 0;
        while index < chunk.len() {
            index = match self.line {
                Line::Mark(seen) => self.mark(seen, chunk, index),
                Line::Start => self.start(chunk, index, sink),
                Line::Name(field, seen) => self.field_name(field, seen, chunk, index, sink),
                Line::Blank(field) => {
                    self.line = Line::Value(field);
                    index + usize::from(chunk[index] == b' ')
                }
                Line::Value(field) => self.value(field, chunk, index, sink),
                Line::Skip => self.skip(chunk, index),
            };
        }
    }

    /// Says that no byte follows; an event without its blank line ends here.
    pub fn finish(&mut self, sink: &mut impl EventSink) {
        if !self.at_boundary {
            self.end_event(0, sink);
        }
    }

    fn mark(&mut self, seen: usize, chunk: &[u8], index: usize) -> usize {
        const MARK: [u8; 3] = [0xEF, 0xBB, 0xBF];
        if chunk[index] == MARK[seen] {
            self.line = if seen + 1 == MARK.len() { Line::Start } else { Line::Mark(seen + 1) };
            return index + 1;
        }
        self.at_boundary = seen == 0;
        self.line = if seen == 0 { Line::Start } else { Line::Skip };
        index
    }

    fn start(&mut self, chunk: &[u8], index: usize, sink: &mut impl EventSink) -> usize {
        let byte = chunk[index];
        if std::mem::take(&mut self.after_cr) && byte == b'\n' {
            return index + 1;
        }
        if byte == b'\n' {
            self.end_event(index + 1, sink);
            return index + 1;
        }
        if byte == b'\r' {
            let lf_follows = chunk.get(index + 1) == Some(&b'\n');
            self.after_cr = !lf_follows;
            self.end_event(index + 1 + usize::from(lf_follows), sink);
            return index + 1 + usize::from(lf_follows);
        }
        self.at_boundary = false;
        if chunk[index..].starts_with(b"data: ") {
            self.begin_value(Field::Data, sink);
            return index + 6;
        }
        self.line = match byte {
            b'd' => Line::Name(Field::Data, 1),
            b'e' => Line::Name(Field::Event, 1),
            _ => Line::Skip,
        };
        index + 1
    }

    fn field_name(
        &mut self,
        field: Field,
        seen: usize,
        chunk: &[u8],
        index: usize,
        sink: &mut impl EventSink,
    ) -> usize {
        let byte = chunk[index];
        match field.name().get(seen) {
            Some(expected) if *expected == byte => self.line = Line::Name(field, seen + 1),
            None if byte == b':' => {
                self.begin_value(field, sink);
                self.line = Line::Blank(field);
            }
            // A field without a colon has an empty value.
            None if matches!(byte, b'\n' | b'\r') => {
                self.begin_value(field, sink);
                return index;
            }
            Some(_) | None => {
                self.line = Line::Skip;
                return index;
            }
        }
        index + 1
    }

    fn begin_value(&mut self, field: Field, sink: &mut impl EventSink) {
        match field {
            Field::Data if self.has_data => sink.data(b"\n"),
            Field::Data => self.has_data = true,
            Field::Event => self.name_bytes = 0,
        }
        self.line = Line::Value(field);
    }

    fn value(&mut self, field: Field, chunk: &[u8], index: usize, sink: &mut impl EventSink) -> usize {
        let rest = &chunk[index..];
        let end = memchr2(b'\n', b'\r', rest);
        let part = &rest[..end.unwrap_or(rest.len())];
        match field {
            Field::Data if part.is_empty() => {}
            Field::Data => sink.data(part),
            Field::Event => {
                let room = &mut self.name[self.name_bytes..];
                let taken = part.len().min(room.len());
                room[..taken].copy_from_slice(&part[..taken]);
                self.name_bytes += taken;
            }
        }
        end.map_or(chunk.len(), |end| self.end_line(chunk, index + end))
    }

    fn skip(&mut self, chunk: &[u8], index: usize) -> usize {
        memchr2(b'\n', b'\r', &chunk[index..]).map_or(chunk.len(), |end| self.end_line(chunk, index + end))
    }

    /// The line ends with the CR or LF at `index`.
    fn end_line(&mut self, chunk: &[u8], index: usize) -> usize {
        self.after_cr = chunk[index] == b'\r';
        self.line = Line::Start;
        index + 1
    }

    fn end_event(&mut self, at: usize, sink: &mut impl EventSink) {
        sink.end(Event { name: &self.name[..self.name_bytes], has_data: self.has_data }, at);
        self.line = Line::Start;
        self.at_boundary = true;
        self.has_data = false;
        self.name_bytes = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, Default, PartialEq)]
    struct Seen {
        events: Vec<(String, String, usize)>,
        data: Vec<u8>,
        base: usize,
    }

    impl EventSink for Seen {
        fn data(&mut self, bytes: &[u8]) {
            self.data.extend_from_slice(bytes);
        }

        fn end(&mut self, event: Event<'_>, at: usize) {
            let name = String::from_utf8_lossy(event.name).into_owned();
            let data = String::from_utf8(std::mem::take(&mut self.data)).unwrap();
            assert!(event.has_data || data.is_empty());
            self.events.push((name, data, self.base + at));
        }
    }

    fn split(chunks: &[&[u8]]) -> (Seen, bool) {
        let (mut splitter, mut seen) = (Splitter::new(), Seen::default());
        for chunk in chunks {
            splitter.feed(chunk, &mut seen);
            seen.base += chunk.len();
        }
        let at_boundary = splitter.at_boundary();
        splitter.finish(&mut seen);
        (seen, at_boundary)
    }

    fn check(text: &str, expect: &[(&str, &str)], at_boundary: bool) {
        let names_and_data = |seen: &Seen| -> Vec<(String, String)> {
            seen.events.iter().map(|(name, data, _)| (name.clone(), data.clone())).collect()
        };
        let (whole, boundary) = split(&[text.as_bytes()]);
        let expect: Vec<_> = expect.iter().map(|(name, data)| ((*name).to_owned(), (*data).to_owned())).collect();
        assert_eq!((names_and_data(&whole), boundary), (expect, at_boundary), "{text:?}");
        for cut in 0..=text.len() {
            let (left, right) = text.as_bytes().split_at(cut);
            let (again, boundary) = split(&[left, right]);
            assert_eq!((names_and_data(&again), boundary), (names_and_data(&whole), at_boundary), "{text:?} at {cut}");
        }
        let bytes: Vec<&[u8]> = text.as_bytes().chunks(1).collect();
        assert_eq!(names_and_data(&split(&bytes).0), names_and_data(&whole), "{text:?} byte by byte");
    }

    #[test]
    fn events_are_found_in_any_framing_and_any_split() {
        check("data: {}\n\n", &[("", "{}")], true);
        check("data:{}\r\n\r\ndata: 2\r\n\r\n", &[("", "{}"), ("", "2")], true);
        check("data: 1\r\rdata:  2\r\r", &[("", "1"), ("", " 2")], true);
        check("\u{feff}event: ping\ndata: {}\n\n", &[("ping", "{}")], true);
        check("event:a\nevent: b\nid: 7\nretry: 1\ndata: x\ndata:\ndata\ndata: y\n\n", &[("b", "x\n\n\ny")], true);
        check(": note\n\ndata: 1\n\n", &[("", ""), ("", "1")], true);
        check("database: 1\ndat: 2\nevents: 3\nDATA: 4\n\n", &[("", "")], true);
        check("data: a\r\n\ndata: b\n\r\n", &[("", "a"), ("", "b")], true);
    }

    #[test]
    fn a_last_event_needs_no_blank_line() {
        check("data: 1\n\ndata: 2\n", &[("", "1"), ("", "2")], false);
        check("data: 1", &[("", "1")], false);
        check("", &[], true);
        check("da", &[("", "")], false);
    }

    #[test]
    fn an_event_ends_behind_its_blank_line() {
        let ends = |text: &str| split(&[text.as_bytes()]).0.events.iter().map(|event| event.2).collect::<Vec<_>>();
        assert_eq!(ends("data: 1\n\ndata: 2\n\n"), [9, 18]);
        assert_eq!(ends("data: 1\r\n\r\ndata: 2\r\n\r\n"), [11, 22]);
        assert_eq!(ends("data: 1\r\rdata: 2\r\r"), [9, 18]);
    }

    #[test]
    fn a_long_name_is_cut() {
        let text = format!("event: {}\ndata: 1\n\n", "n".repeat(100));
        assert_eq!(split(&[text.as_bytes()]).0.events[0].0.len(), NAME_BYTES_MAX);
    }
}
