//! [`excerpt`]: the words of an ask, read where the pass over the body found them: plain text without JSON escapes, and
//! without what a harness put around the human's words.
//!
//! Coding agents put reminders, environments and repository instructions into the user's turn, in tags of their own.
//! They say nothing about how hard the ask is, and they are long. Of a long ask only the first and the last
//! [`EDGE_BYTES`] are read.
//!
//! Invariant: it reads at most the ask's texts and makes at most twice [`EDGE_BYTES`] and a little of text, in whole
//! characters.

use std::borrow::Cow;
use std::ops::Range;

use bytes::Bytes;
use memchr::{memchr, memchr2, memmem};

use super::ask::Ask;
use crate::domain::classify::{Traits, View, traits};

/// Bytes that are read of each end of an ask.
pub const EDGE_BYTES: usize = 2_000;

/// Tags whose contents a harness wrote. Sources: Claude Code (`system-reminder`, `command-*`, `local-command-*`,
/// `ide_*`, `task-notification`), Codex (`environment_context`, `user_instructions`, `INSTRUCTIONS`, `turn_aborted`,
/// `permissions`), Gemini CLI (`session_context`, `hook_context`), Cline and Roo (`environment_details`), Cursor
/// (`user_info`, `project_layout`, `additional_data`, `attached_files`, `open_and_recently_viewed_files`, `rules`).
const HARNESS_TAGS: [&str; 26] = [
    "system-reminder",
    "system_reminder",
    "command-message",
    "command-name",
    "command-args",
    "local-command-caveat",
    "local-command-stdout",
    "local-command-stderr",
    "task-notification",
    "ide_opened_file",
    "ide_selection",
    "ide_diagnostics",
    "environment_context",
    "user_instructions",
    "INSTRUCTIONS",
    "turn_aborted",
    "permissions",
    "session_context",
    "hook_context",
    "environment_details",
    "user_info",
    "project_layout",
    "additional_data",
    "attached_files",
    "open_and_recently_viewed_files",
    "rules",
];

/// What Codex puts before the instructions of a repository.
const AGENTS_HEADING: &[u8] = b"# AGENTS.md instructions";

/// The words of an ask.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Excerpt<'a> {
    /// UTF-8, its ends if it is long.
    pub text: Cow<'a, [u8]>,
    /// Bytes of the whole ask, escapes included, without the harness's.
    pub whole_bytes: usize,
}

/// Reads the texts that stand at these spans of a body.
#[must_use]
pub fn excerpt<'a>(rope: &'a [Bytes], spans: &[Range<usize>]) -> Excerpt<'a> {
    if let Some(text) = plain(rope, spans) {
        return Excerpt { text: Cow::Borrowed(text), whole_bytes: text.len() };
    }
    let texts: Vec<Cow<'_, [u8]>> = spans.iter().filter_map(|span| slice(rope, span)).collect();
    let texts: Vec<&[u8]> = texts.iter().map(|text| human(inner(text))).filter(|text| !text.is_empty()).collect();
    let whole_bytes = texts.iter().map(|text| text.len()).sum::<usize>();
    let mut text = Vec::with_capacity(whole_bytes.min(2 * EDGE_BYTES) + 16);
    if whole_bytes <= 2 * EDGE_BYTES {
        texts.iter().for_each(|part| add(part, usize::MAX, &mut text));
    } else {
        head(&texts, &mut text);
        tail(&texts, &mut text);
    }
    without_harness(&mut text);
    Excerpt { text: Cow::Owned(text), whole_bytes }
}

/// The ask where it lies, which is as most are: one text that came in one piece, is not long, and holds no escape and no tag.
fn plain<'a>(rope: &'a [Bytes], spans: &[Range<usize>]) -> Option<&'a [u8]> {
    let [span] = spans else { return None };
    // A longer one would be gathered here for nothing.
    if span.len() > 2 * EDGE_BYTES {
        return None;
    }
    let Cow::Borrowed(text) = slice(rope, span)? else { return None };
    let text = human(inner(text));
    memchr2(b'\\', b'<', text).is_none().then_some(text)
}

/// What the classifier looks at of a request whose body is `rope`.
#[must_use]
pub fn traits_of(rope: &[Bytes], ask: &Ask) -> Traits {
    let Excerpt { text, whole_bytes } = excerpt(rope, &ask.spoken.ask);
    traits(View { text: &text, whole_bytes, features: &ask.features, turns: ask.spoken.turns })
}

/// The bytes at a span, copied only where they arrived in pieces.
#[must_use]
pub fn slice<'a>(rope: &'a [Bytes], span: &Range<usize>) -> Option<Cow<'a, [u8]>> {
    let (mut at, mut joined) = (0, Vec::new());
    for piece in rope {
        let (start, end) = (at, at + piece.len());
        at = end;
        if end <= span.start {
            continue;
        }
        if start <= span.start && span.end <= end {
            return piece.get(span.start - start..span.end - start).map(Cow::Borrowed);
        }
        let part = piece.get(span.start.saturating_sub(start)..span.end.min(end) - start)?;
        joined.extend_from_slice(part);
        if span.end <= end {
            return Some(Cow::Owned(joined));
        }
    }
    None
}

/// A JSON string without its quotes.
fn inner(text: &[u8]) -> &[u8] {
    text.strip_prefix(b"\"").and_then(|text| text.strip_suffix(b"\"")).unwrap_or_default()
}

/// A text, still escaped, behind what a harness put before it.
fn human(mut text: &[u8]) -> &[u8] {
    loop {
        text = trimmed(text);
        let Some(after) = behind_harness(text) else { return text };
        text = after;
    }
}

/// A text without white space before it, escaped or not.
fn trimmed(mut text: &[u8]) -> &[u8] {
    loop {
        text = match text {
            [b' ', rest @ ..] | [b'\\', b'n' | b'r' | b't', rest @ ..] => rest,
            _ => return text,
        };
    }
}

/// What follows the tag of a harness with which a text begins; a tag that never closes takes all.
fn behind_harness(text: &[u8]) -> Option<&[u8]> {
    let tag = match text {
        [b'<', rest @ ..] => tag_of(rest)?,
        _ if text.starts_with(AGENTS_HEADING) => "INSTRUCTIONS",
        _ => return None,
    };
    Some(end_of(text, tag).map_or(&[], |end| &text[end..]))
}

/// The harness's tag with which this begins.
fn tag_of(text: &[u8]) -> Option<&'static str> {
    let is_tag =
        |tag: &&str| text.strip_prefix(tag.as_bytes()).is_some_and(|rest| matches!(rest.first(), Some(b'>' | b' ')));
    HARNESS_TAGS.into_iter().find(is_tag)
}

/// Where the closing tag ends.
fn end_of(text: &[u8], tag: &str) -> Option<usize> {
    let mut from = 0;
    while let Some(at) = memmem::find(&text[from..], b"</") {
        let name = from + at + 2;
        if text[name..].strip_prefix(tag.as_bytes()).is_some_and(|rest| rest.first() == Some(&b'>')) {
            return Some(name + tag.len() + 1);
        }
        from = name;
    }
    None
}

/// Takes tags of a harness out that stand behind the human's words, escapes gone.
fn without_harness(text: &mut Vec<u8>) {
    let mut from = 0;
    while let Some(at) = memchr(b'<', &text[from..]) {
        let start = from + at;
        let Some(tag) = tag_of(&text[start + 1..]) else {
            from = start + 1;
            continue;
        };
        let end = end_of(&text[start..], tag).map_or(text.len(), |end| start + end);
        text.drain(start..end);
        from = start;
    }
}

/// Adds the first bytes of an ask.
fn head(texts: &[&[u8]], out: &mut Vec<u8>) {
    for text in texts {
        if out.len() >= EDGE_BYTES {
            return;
        }
        add(text, EDGE_BYTES, out);
    }
}

/// Adds the last bytes of an ask.
fn tail(texts: &[&[u8]], out: &mut Vec<u8>) {
    let (mut missing, mut first) = (EDGE_BYTES, texts.len());
    while missing > 0 && first > 0 {
        first -= 1;
        let text = texts[first];
        if text.len() > missing {
            let from = text.len() - missing;
            add(&text[from + boundary(&text[from..])..], usize::MAX, out);
            first += 1;
            break;
        }
        missing -= text.len();
        if first == 0 || missing == 0 {
            break;
        }
    }
    texts[first..].iter().for_each(|text| add(text, usize::MAX, out));
}

/// How far it is to a byte that is surely no part of an escape and begins a character.
fn boundary(text: &[u8]) -> usize {
    let is_clear = |byte: &u8| {
        !byte.is_ascii_hexdigit() && !matches!(byte, b'\\' | b'"' | b'/' | b'n' | b'r' | b't' | b'u' | 0x80..=0xbf)
    };
    text.iter().position(is_clear).unwrap_or(text.len())
}

/// Adds a JSON string's text without its escapes, in a line of its own, until there is `limit` of it all.
fn add(mut raw: &[u8], limit: usize, out: &mut Vec<u8>) {
    if out.last().is_some_and(|last| *last != b'\n') {
        out.push(b'\n');
    }
    while out.len() < limit {
        let plain = memchr(b'\\', raw).unwrap_or(raw.len());
        let fits = plain.min(limit - out.len());
        let fits = (fits..plain).find(|at| raw[*at] & 0xc0 != 0x80).unwrap_or(plain);
        out.extend_from_slice(&raw[..fits]);
        if fits < plain || plain == raw.len() {
            return;
        }
        raw = unescape(&raw[plain..], out);
    }
}

/// Adds what the escape stands for with which this begins; returns the rest.
fn unescape<'a>(raw: &'a [u8], out: &mut Vec<u8>) -> &'a [u8] {
    let (byte, length) = match raw.get(1) {
        Some(b'n') => (b'\n', 2),
        Some(b't') => (b'\t', 2),
        Some(b'r') => (b'\r', 2),
        Some(b'b' | b'f') => (b' ', 2),
        Some(b'u') => return unescape_unit(raw, out),
        Some(byte) => (*byte, 2),
        None => return &[],
    };
    out.push(byte);
    raw.get(length..).unwrap_or_default()
}

/// The same for `\uXXXX`, or two of them.
fn unescape_unit<'a>(raw: &'a [u8], out: &mut Vec<u8>) -> &'a [u8] {
    let unit = |raw: &[u8]| {
        let digits = raw.strip_prefix(b"\\u").and_then(|rest| rest.get(..4))?;
        u16::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()
    };
    let Some(first) = unit(raw) else { return raw.get(2..).unwrap_or_default() };
    let second = raw.get(6..).and_then(unit);
    let units = [first, second.unwrap_or(0)];
    let mut characters = char::decode_utf16(units);
    let (character, length) = match characters.next() {
        Some(Ok(character)) => (character, 6 * character.len_utf16()),
        Some(Err(_)) | None => (char::REPLACEMENT_CHARACTER, 6),
    };
    out.extend_from_slice(character.encode_utf8(&mut [0; 4]).as_bytes());
    raw.get(length..).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// The excerpt of these texts, whichever way their body arrived.
    fn read(texts: &[&str]) -> String {
        let (mut body, mut spans) = (String::from("["), Vec::new());
        for text in texts {
            let json = serde_json::to_string(text).unwrap();
            spans.push(body.len()..body.len() + json.len());
            body.push_str(&json);
        }
        let one = [Bytes::from(body.clone())];
        let whole = excerpt(&one, &spans);
        let pieces: Vec<_> = body.as_bytes().chunks(7).map(Bytes::copy_from_slice).collect();
        assert_eq!(excerpt(&pieces, &spans), whole, "in sevens");
        String::from_utf8(whole.text.into_owned()).unwrap()
    }

    #[test]
    fn what_a_harness_wrote_is_left_out() {
        for (texts, expect) in [
            (&["What is 2 + 2?"][..], "What is 2 + 2?"),
            (&["<system-reminder>\nToday's date is\n</system-reminder>\n", "fix \"it\""], "fix \"it\""),
            (&["<system-reminder>a</system-reminder>\n\n<ide_opened_file>b</ide_opened_file>\nfix it"], "fix it"),
            (&["fix it\n<system-reminder>a <b> c</system-reminder>"], "fix it\n"),
            (
                &["# AGENTS.md instructions for /w\n\n<INSTRUCTIONS>\nBe tidy.\n</INSTRUCTIONS>", "add a test"],
                "add a test",
            ),
            (&["<environment_context>\n  <cwd>/w</cwd>\n</environment_context>"], ""),
            (&["<task>write it</task>\n<environment_details>x</environment_details>"], "<task>write it</task>\n"),
            (&["<p>Is <system> a tag?</p>"], "<p>Is <system> a tag?</p>"),
            (&["<rules>never closed", "hello"], "hello"),
            (&["one", "two\u{1f642}\t\u{e9}\\"], "one\ntwo\u{1f642}\t\u{e9}\\"),
            (&[], ""),
        ] {
            assert_eq!(read(texts), expect, "{texts:?}");
        }
    }

    #[test]
    fn escapes_are_read() {
        let body = br#""\u00e9\ud83d\ude42\ud83dx\u12\/\"""#;
        let rope = [Bytes::from_static(body)];
        let found = excerpt(&rope, std::slice::from_ref(&(0..body.len())));
        assert_eq!(String::from_utf8(found.text.into_owned()).unwrap(), "é🙂\u{fffd}x12/\"");
    }

    #[test]
    fn of_a_long_ask_both_ends_are_read() {
        let long = format!("{} middle {}", "first ".repeat(1_000), "last ".repeat(1_000));
        let text = read(&[&long, "the end"]);
        assert!(text.len() <= 2 * EDGE_BYTES + 16, "{}", text.len());
        assert!(text.starts_with("first first") && text.ends_with("last \nthe end") && !text.contains("middle"));
    }

    proptest! {
        #[test]
        fn any_text_is_read_in_whole_characters(texts in proptest::collection::vec(".{0,40}|[a-f\\\\\"é\u{1f642}]{0,3000}", 0..5)) {
            let texts: Vec<&str> = texts.iter().map(|text| &**text).collect();
            let text = read(&texts);
            prop_assert!(text.len() <= 2 * EDGE_BYTES + 64);
        }
    }
}
