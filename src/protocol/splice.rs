//! [`splice`]: changes spans of a body and leaves every other byte alone, without copying them.
//!
//! A client's prompt cache, its key order, its spacing and its numbers survive only if nobody parses and prints the
//! body again. So an edit is a span and new bytes; the body is a rope of shared pieces, cut where an edit stands.
//!
//! Invariant: bytes outside the spans of the edits leave as they came, in the same order.

use std::ops::Range;

use bytes::Bytes;

use super::ask::{Ask, IncludeUsage};
use crate::domain::operation::Operation;

/// New bytes for a span; an empty span inserts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Edit {
    /// Which bytes to replace.
    pub span: Range<usize>,
    /// What to put there.
    pub with: Bytes,
}

/// Applies edits in the order of their spans. `None`: two of them overlap, or one stands outside the body.
#[must_use]
pub fn splice(rope: &[Bytes], mut edits: Vec<Edit>) -> Option<Vec<Bytes>> {
    edits.sort_by_key(|edit| edit.span.start);
    let whole: usize = rope.iter().map(Bytes::len).sum();
    let mut out = Vec::with_capacity(rope.len() + 2 * edits.len());
    let mut cut = Cut { rope, at: 0, start: 0 };
    for edit in edits {
        if edit.span.start < cut.at || edit.span.end < edit.span.start || edit.span.end > whole {
            return None;
        }
        cut.up_to(edit.span.start, Some(&mut out));
        cut.up_to(edit.span.end, None);
        if !edit.with.is_empty() {
            out.push(edit.with);
        }
    }
    cut.up_to(whole, Some(&mut out));
    Some(out)
}

/// The edit that names another model; `None` if the body names none.
#[must_use]
pub fn set_model(ask: &Ask, model: &str) -> Option<Edit> {
    let span = ask.model.as_ref()?.span.clone();
    Some(Edit { span, with: serde_json::to_vec(model).ok()?.into() })
}

/// The edit that asks for usage in a stream of chat completions; `None` where the client has said what it wants.
#[must_use]
pub fn ask_for_usage(ask: &Ask) -> Option<Edit> {
    let (span, with) = match &ask.include_usage {
        IncludeUsage::Absent if ask.is_empty => {
            (ask.insert_at..ask.insert_at, r#""stream_options":{"include_usage":true}"#)
        }
        IncludeUsage::Absent => (ask.insert_at..ask.insert_at, r#""stream_options":{"include_usage":true},"#),
        IncludeUsage::Null(span) => (span.clone(), r#"{"include_usage":true}"#),
        IncludeUsage::Without { insert_at, is_empty: true } => (*insert_at..*insert_at, r#""include_usage":true"#),
        IncludeUsage::Without { insert_at, is_empty: false } => (*insert_at..*insert_at, r#""include_usage":true,"#),
        IncludeUsage::Explicit(_) | IncludeUsage::Odd => return None,
    };
    Some(Edit { span, with: Bytes::from_static(with.as_bytes()) })
}

/// The field of chat completions that limits the output.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ChatLimit {
    /// `max_completion_tokens`: OpenAI's own, which its reasoning models insist on.
    MaxCompletionTokens,
    /// `max_tokens`, which everybody else knows.
    MaxTokens,
}

/// The edits that limit the output to `tokens`: in the fields that the client used, else in the operation's own.
///
/// `None` where the limit has no place: an operation without output, or a body that parsers may read differently.
#[must_use]
pub fn set_output_limit(
    ask: &Ask,
    rope: &[Bytes],
    operation: Operation,
    chat: ChatLimit,
    tokens: u64,
) -> Option<Vec<Edit>> {
    if ask.limit_is_odd || ask.is_empty {
        return None;
    }
    let given = || ask.limit_spans.iter().chain(&ask.null_limits).cloned();
    let number: Bytes = tokens.to_string().into();
    if given().next().is_some() {
        return Some(given().map(|span| Edit { span, with: number.clone() }).collect());
    }
    let at = |at: usize, text: String| Edit { span: at..at, with: text.into() };
    let name = match (operation, chat) {
        (Operation::ChatCompletions, ChatLimit::MaxCompletionTokens) => "max_completion_tokens",
        (Operation::ChatCompletions, ChatLimit::MaxTokens) | (Operation::Completions | Operation::Messages, _) => {
            "max_tokens"
        }
        (Operation::Responses, _) => "max_output_tokens",
        (Operation::GenerateContent, _) => return settings_limit(ask, rope, tokens).map(|edit| vec![edit]),
        (
            Operation::StoredResponse
            | Operation::ResponsesInputTokens
            | Operation::Embeddings
            | Operation::CountTokens
            | Operation::GeminiCountTokens
            | Operation::EmbedContent
            | Operation::ImageGenerations
            | Operation::ImageEdits
            | Operation::ImageVariations
            | Operation::Transcriptions
            | Operation::Translations
            | Operation::Speech
            | Operation::Moderations
            | Operation::Files
            | Operation::FileContent
            | Operation::Batches
            | Operation::StoredBatch
            | Operation::BatchResults
            | Operation::CachedContents
            | Operation::StoredCache
            | Operation::Interactions
            | Operation::StoredInteraction
            | Operation::Models
            | Operation::Unknown,
            _,
        ) => return None,
    };
    Some(vec![at(ask.insert_at, format!("\"{name}\":{tokens},"))])
}

/// The output limit of Gemini, which stands in an object of its own.
fn settings_limit(ask: &Ask, rope: &[Bytes], tokens: u64) -> Option<Edit> {
    let limit = format!("\"maxOutputTokens\":{tokens}");
    let Some(span) = ask.settings.clone() else {
        let text = format!("\"generationConfig\":{{{limit}}},");
        return Some(Edit { span: ask.insert_at..ask.insert_at, with: text.into() });
    };
    let mut bytes = rope.iter().flat_map(|piece| piece.iter().copied()).skip(span.start);
    match bytes.next()? {
        b'{' => {
            let first = bytes.find(|byte| !matches!(byte, b' ' | b'\n' | b'\r' | b'\t'))?;
            let comma = if first == b'}' { "" } else { "," };
            Some(Edit { span: span.start + 1..span.start + 1, with: format!("{limit}{comma}").into() })
        }
        b'n' => Some(Edit { span, with: format!("{{{limit}}}").into() }),
        _ => None,
    }
}

/// The path with another model in it, percent-encoded. `None`: the range is not in the path.
#[must_use]
pub fn splice_path(path: &str, model_in_path: Range<usize>, model: &str) -> Option<String> {
    let (before, after) = (path.get(..model_in_path.start)?, path.get(model_in_path.end..)?);
    let mut spliced = String::with_capacity(path.len() + model.len());
    spliced.push_str(before);
    for byte in model.bytes() {
        if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~' | b'@') {
            spliced.push(char::from(byte));
        } else {
            spliced.push('%');
            spliced.extend([byte >> 4, byte & 15].map(|digit| char::from(b"0123456789ABCDEF"[usize::from(digit)])));
        }
    }
    spliced.push_str(after);
    Some(spliced)
}

/// A place in a rope.
struct Cut<'r> {
    /// The pieces from the place on; the first may have begun before it.
    rope: &'r [Bytes],
    at: usize,
    /// Where the first piece begins.
    start: usize,
}

impl Cut<'_> {
    /// Goes on to offset `to`, putting what lies between into `out`.
    fn up_to(&mut self, to: usize, mut out: Option<&mut Vec<Bytes>>) {
        while self.at < to {
            let Some((piece, rest)) = self.rope.split_first() else { return };
            let from = self.at - self.start;
            let end = piece.len().min(to - self.start);
            if let Some(out) = out.as_deref_mut()
                && from < end
            {
                out.push(piece.slice(from..end));
            }
            self.at = self.start + end;
            if end == piece.len() {
                self.start += piece.len();
                self.rope = rest;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(pieces: &[&str], edits: &[(Range<usize>, &str)], expect: Option<&str>) {
        let rope: Vec<_> = pieces.iter().map(|piece| Bytes::copy_from_slice(piece.as_bytes())).collect();
        let edits =
            edits.iter().map(|(span, with)| Edit { span: span.clone(), with: Bytes::copy_from_slice(with.as_bytes()) });
        let out = splice(&rope, edits.collect());
        assert_eq!(out.map(|out| String::from_utf8(out.concat()).unwrap()).as_deref(), expect);
    }

    #[test]
    fn edits_replace_insert_and_delete_across_pieces() {
        check(&["abc", "", "def"], &[], Some("abcdef"));
        check(&["abc", "def"], &[(2..4, "X")], Some("abXef"));
        check(&["abc", "def"], &[(5..6, "Y"), (0..0, "X"), (3..3, "-")], Some("Xabc-deY"));
        check(&["abc", "def"], &[(0..6, "")], Some(""));
        check(&[], &[(0..0, "X")], Some("X"));
        check(&["abc"], &[(0..2, "X"), (1..3, "Y")], None);
        check(&["abc"], &[(2..4, "X")], None);
    }

    #[test]
    fn what_is_not_edited_is_shared_not_copied() {
        let body = Bytes::from(vec![b'x'; 100]);
        let out =
            splice(std::slice::from_ref(&body), vec![Edit { span: 50..51, with: Bytes::from_static(b"y") }]).unwrap();
        assert_eq!((out[0].as_ptr(), out[2].as_ptr()), (body.as_ptr(), body[51..].as_ptr()));
    }

    #[test]
    fn a_model_in_a_path_is_encoded() {
        let path = "/v1beta/models/gemini-3-pro:generateContent";
        assert_eq!(
            splice_path(path, 15..27, "a/b c:ü").as_deref(),
            Some("/v1beta/models/a%2Fb%20c%3A%C3%BC:generateContent")
        );
        assert_eq!(
            splice_path(path, 15..27, "gemini-3-flash").as_deref(),
            Some("/v1beta/models/gemini-3-flash:generateContent")
        );
        assert_eq!(splice_path(path, 15..99, "x"), None);
    }
}
