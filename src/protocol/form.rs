//! [`Form`]: the few fields of a `multipart/form-data` body that matter, read while its bytes arrive (RFC 7578).
//!
//! Files are skipped without being kept. A body that is no form is passed on as it came: what is wrong with it is the
//! provider's business. Refused is only what could be read in two ways: a `model` that is doubled.
//!
//! Invariant: what is found does not depend on how the bytes were split.
//! Invariant: of a body of any size, at most [`HEAD_BYTES_MAX`] and one short field are kept.

use super::ask::{Ask, MODEL_BYTES_MAX, Malformed, ModelSpan};

/// Bytes of one part's headers; a part with more is not understood.
const HEAD_BYTES_MAX: usize = 8 * 1024;

/// Where the reader stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    /// In front of the first delimiter, or in a part whose content does not matter.
    Skipped,
    /// Behind a delimiter: two dashes end the form, anything else ends with the line.
    Delimited,
    /// In a part's headers.
    Head,
    /// In the content of a field that matters.
    Field(Field),
    /// Nothing more is read.
    Over,
}

/// A field that matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Field {
    Model,
    Stream,
    Choices,
}

/// Reads a form.
#[derive(Debug)]
pub(super) struct Form {
    /// A line's end, two dashes and the boundary: what stands between parts.
    delimiter: Vec<u8>,
    /// Bytes of the delimiter that have been seen.
    matched: usize,
    place: Place,
    /// The headers or the field that is being read.
    kept: Vec<u8>,
    /// Where the field begins.
    start: usize,
    model: Option<ModelSpan>,
    stream: bool,
    choices: u64,
    files: u32,
    is_odd: bool,
}

impl Form {
    /// A reader for bodies of this content type, if it is a form with a boundary.
    pub(super) fn of_type(content_type: &str) -> Option<Self> {
        let (kind, parameters) = content_type.split_once(';')?;
        if !kind.trim().eq_ignore_ascii_case("multipart/form-data") {
            return None;
        }
        let boundary = parameter(parameters, "boundary").filter(|text| (1..=70).contains(&text.len()))?;
        let delimiter = [b"\r\n--", boundary.as_bytes()].concat();
        Some(Self {
            delimiter,
            // The first delimiter may open the body.
            matched: 2,
            place: Place::Skipped,
            kept: Vec::new(),
            start: 0,
            model: None,
            stream: false,
            choices: 1,
            files: 0,
            is_odd: false,
        })
    }

    /// Reads on; `base` is the offset of the chunk's first byte.
    pub(super) fn feed(&mut self, chunk: &[u8], base: usize) -> Result<(), Malformed> {
        let mut index = 0;
        while let Some(byte) = chunk.get(index).copied() {
            match self.place {
                Place::Over => return Ok(()),
                Place::Skipped if self.matched == 0 => {
                    // Most of a form is the content of its file.
                    let Some(next) = chunk[index..].iter().position(|byte| *byte == b'\r') else { return Ok(()) };
                    index += next;
                    self.matched = 1;
                }
                Place::Skipped | Place::Field(_) => self.content(byte, base + index)?,
                Place::Delimited => self.delimited(byte),
                Place::Head => self.head(byte, base + index + 1),
            }
            index += 1;
        }
        Ok(())
    }

    /// Puts what was found into `ask`.
    pub(super) fn tell(self, ask: &mut Ask) {
        ask.is_form = true;
        ask.model = self.model;
        ask.stream |= self.stream;
        ask.features.stream = ask.stream;
        ask.choices = ask.choices.max(self.choices);
        ask.odd |= self.is_odd || self.place != Place::Over;
        // The size of what a file holds is not that of its tokens.
        ask.features.documents = self.files;
    }

    /// A byte of a part's content, or of the delimiter behind it.
    fn content(&mut self, byte: u8, at: usize) -> Result<(), Malformed> {
        if self.delimiter.get(self.matched) == Some(&byte) {
            self.matched += 1;
            if self.matched == self.delimiter.len() {
                self.end_field()?;
                self.matched = 0;
                self.kept.clear();
                self.place = Place::Delimited;
            }
            return Ok(());
        }
        // No part of the delimiter but its first byte can begin it again.
        let seen = std::mem::take(&mut self.matched);
        if matches!(self.place, Place::Field(_)) {
            self.kept.extend_from_slice(&self.delimiter[..seen]);
        }
        if byte == b'\r' {
            self.matched = 1;
        } else if matches!(self.place, Place::Field(_)) {
            self.kept.push(byte);
        }
        if self.kept.len() <= MODEL_BYTES_MAX {
            return Ok(());
        }
        if self.place == Place::Field(Field::Model) {
            return Err(refusal(at, "\"model\" is too long"));
        }
        // A yes or a number is never that long.
        self.kept.clear();
        self.place = Place::Skipped;
        self.is_odd = true;
        Ok(())
    }

    fn delimited(&mut self, byte: u8) {
        self.kept.push(byte);
        if self.kept == b"--" {
            self.place = Place::Over;
        } else if byte == b'\n' {
            self.kept.clear();
            self.place = Place::Head;
        } else if self.kept.len() > HEAD_BYTES_MAX {
            self.give_up();
        }
    }

    fn head(&mut self, byte: u8, next: usize) {
        self.kept.push(byte);
        if self.kept.ends_with(b"\r\n\r\n") || self.kept == b"\r\n" {
            self.place = self.part();
            self.start = next;
            self.kept.clear();
            self.matched = 0;
        } else if self.kept.len() > HEAD_BYTES_MAX {
            self.give_up();
        }
    }

    /// What the headers announce.
    fn part(&mut self) -> Place {
        let Ok(text) = std::str::from_utf8(&self.kept) else { return Place::Skipped };
        let is_named = |line: &&str| line.split_once(':').is_some_and(|(name, _)| is_disposition(name));
        let Some((_, disposition)) = text.lines().find(is_named).and_then(|line| line.split_once(';')) else {
            return Place::Skipped;
        };
        if parameter(disposition, "filename").is_some() || parameter(disposition, "filename*").is_some() {
            self.files += 1;
            return Place::Skipped;
        }
        match parameter(disposition, "name") {
            Some("model") => Place::Field(Field::Model),
            Some("stream") => Place::Field(Field::Stream),
            Some("n") => Place::Field(Field::Choices),
            Some(_) | None => Place::Skipped,
        }
    }

    fn end_field(&mut self) -> Result<(), Malformed> {
        let Place::Field(field) = self.place else { return Ok(()) };
        let text = std::str::from_utf8(&self.kept).unwrap_or_default();
        match field {
            Field::Model if self.model.is_some() => return Err(refusal(self.start, "\"model\" is given twice")),
            Field::Model if text.is_empty() => return Err(refusal(self.start, "\"model\" must be a text")),
            Field::Model => {
                self.model = Some(ModelSpan { text: text.into(), span: self.start..self.start + self.kept.len() });
            }
            Field::Stream => self.stream |= matches!(text.trim(), "true" | "True" | "1"),
            Field::Choices => match text.trim().parse::<u64>() {
                Ok(choices) => self.choices = self.choices.max(choices),
                Err(_) => self.is_odd = true,
            },
        }
        Ok(())
    }

    fn give_up(&mut self) {
        self.place = Place::Over;
        self.is_odd = true;
    }
}

fn is_disposition(name: &str) -> bool {
    name.trim().eq_ignore_ascii_case("content-disposition")
}

fn refusal(at: usize, what: &'static str) -> Malformed {
    Malformed { at, what, param: Some("model") }
}

/// The value of `name` among parameters as in `name="model"; filename="a; b.png"`, without its quotes.
fn parameter<'a>(parameters: &'a str, name: &str) -> Option<&'a str> {
    let mut rest = parameters;
    loop {
        let (known, behind) = rest.split_once('=')?;
        let (value, next) = match behind.strip_prefix('"') {
            Some(quoted) => {
                let end = closing_quote(quoted)?;
                (&quoted[..end], quoted[end + 1..].trim_start().strip_prefix(';').unwrap_or_default())
            }
            None => {
                let (value, next) = behind.split_once(';').unwrap_or((behind, ""));
                (value.trim(), next)
            }
        };
        if known.trim().eq_ignore_ascii_case(name) {
            return Some(value);
        }
        rest = next;
    }
}

/// Where a quoted text ends; a backslash hides the next byte.
fn closing_quote(text: &str) -> Option<usize> {
    let mut is_hidden = false;
    text.bytes().position(|byte| {
        let ends = byte == b'"' && !is_hidden;
        is_hidden = byte == b'\\' && !is_hidden;
        ends
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const TYPE: &str = "multipart/form-data; boundary=xYz";

    fn read(body: &[u8], step: usize) -> Result<Ask, Malformed> {
        let mut form = Form::of_type(TYPE).unwrap();
        let mut base = 0;
        for chunk in body.chunks(step) {
            form.feed(chunk, base)?;
            base += chunk.len();
        }
        let mut ask = Ask { choices: 1, ..Ask::default() };
        form.tell(&mut ask);
        Ok(ask)
    }

    fn part(head: &str, content: &str) -> String {
        format!("--xYz\r\nContent-Disposition: form-data; {head}\r\n\r\n{content}\r\n")
    }

    fn check(body: &str, expect: Result<Option<&str>, &str>) {
        for step in [1, 2, 3, 7, 64, body.len().max(1)] {
            let found = read(body.as_bytes(), step);
            let told =
                found.as_ref().map(|ask| ask.model.as_ref().map(|model| &*model.text)).map_err(|wrong| wrong.what);
            assert_eq!(told, expect, "{body:?} by {step}");
            if let Some(model) = found.ok().and_then(|ask| ask.model) {
                assert_eq!(&body[model.span], &*model.text);
            }
        }
    }

    #[test]
    fn the_model_is_found_wherever_it_stands() {
        let file = part("name=\"file\"; filename=\"a.wav\"\r\nContent-Type: audio/wav", "RIFF\r\n--xY\r\n\r--x\0");
        let model = part("name=\"model\"", "whisper-1");
        check(&format!("{file}{model}--xYz--\r\n"), Ok(Some("whisper-1")));
        check(&format!("{model}{file}--xYz--"), Ok(Some("whisper-1")));
        check(&format!("preamble\r\n{model}--xYz--"), Ok(Some("whisper-1")));
        check(&format!("{}--xYz--", part("name=model", "m\r\nx")), Ok(Some("m\r\nx")));
        check(&format!("{file}--xYz--"), Ok(None));
        check("", Ok(None));
        check("{\"model\":\"m\"}", Ok(None));
    }

    #[test]
    fn a_model_that_could_be_read_in_two_ways_is_refused() {
        let model = part("name=\"model\"", "a");
        check(&format!("{model}{model}--xYz--"), Err("\"model\" is given twice"));
        check(&part("name=\"model\"", &"m".repeat(600)), Err("\"model\" is too long"));
        check(&format!("{}--xYz--", part("name=\"model\"", "")), Err("\"model\" must be a text"));
        let hidden = part("filename=\"x; name=\\\"model\\\"\"; name=\"file\"", "evil");
        check(&format!("{hidden}{model}--xYz--"), Ok(Some("a")));
    }

    #[test]
    fn other_fields_are_read_and_a_broken_form_is_marked() {
        let fields = [part("name=\"stream\"", "true"), part("name=\"n\"", "3"), part("name=\"prompt\"", "p")].concat();
        let ask = read(format!("{fields}--xYz--").as_bytes(), 5).unwrap();
        assert_eq!((ask.stream, ask.choices, ask.is_form, ask.odd), (true, 3, true, false));
        assert!(read(fields.as_bytes(), 5).unwrap().odd, "without an end");
        assert_eq!(Form::of_type("multipart/form-data").map(|_| ()), None);
        assert_eq!(Form::of_type("application/json; boundary=x").map(|_| ()), None);
        assert!(Form::of_type("Multipart/Form-Data; charset=utf-8; boundary=\"a b\"").is_some());
    }
}
