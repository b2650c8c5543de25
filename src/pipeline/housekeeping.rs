//! Housekeeping: calls that a client makes for itself, such as a title for a conversation, and not for what a human asked.
//!
//! They are told by the client's own word, by a limit of one token, or by the words with which known clients ask for a title. A
//! human who asks for a title in such words gets one from the cheapest model, too.
//!
//! Invariant: a request with tools or with calls in its history is none, whatever its words.

use std::sync::LazyLock;

use http::{HeaderMap, HeaderName};
use memchr::memmem::{self, Finder};

use super::conversation::beginning;
use super::read::Call;

/// What Claude Code says of a request where it is asked to: `CLAUDE_CODE_GATEWAY_HINT_HEADERS=1`
/// (<https://code.claude.com/docs/en/llm-gateway>).
const CLASS: HeaderName = HeaderName::from_static("x-claude-code-request-class");

/// Titles, topics and summaries of one line.
const AUXILIARY: &[u8] = b"auxiliary";

/// Bytes of a text in which the words are looked for.
const LOOKED_AT_BYTES: usize = 400;

/// Texts that are looked at: the first of the system prompt, and the first of the ask.
const TEXTS_MAX: usize = 4;

/// The words, in lower case, behind a shorter one of theirs that is looked for first. Sources, all public: opencode
/// (`title.txt`), Vercel's chatbot template (`titlePrompt`), Open WebUI (`DEFAULT_TITLE_GENERATION_PROMPT_TEMPLATE`, `DEFAULT_TAGS_GENERATION_PROMPT_TEMPLATE`), Claude Code (its topic and
/// title prompts), LibreChat (`titleInstruction`).
const WORDS: [(&str, &[&str]); 4] = [
    (
        "title",
        &[
            "you are a title generator",
            "generate a short title based on the first message",
            "word title with an emoji summarizing",
            "5-word-or-less title for the conversation",
        ],
    ),
    ("tags", &["broad tags categorizing the main themes of the chat"]),
    ("topic", &["analyze if this message indicates a new conversation topic"]),
    ("coding", &["summarize this coding conversation in under 50 characters"]),
];

/// What looks for the short ones; to make one costs more than to use it.
static FINDERS: LazyLock<[Finder<'static>; WORDS.len()]> = LazyLock::new(|| WORDS.map(|(word, _)| Finder::new(word)));

/// Whether a request is housekeeping.
pub fn is_housekeeping(headers: &HeaderMap, call: &Call) -> bool {
    if headers.get(CLASS).is_some_and(|class| class.as_bytes() == AUXILIARY) {
        return true;
    }
    let features = &call.ask.features;
    if features.tools > 0 || features.calls > 0 || call.ask.spoken.turns > 1 {
        return false;
    }
    let rope = call.plain.as_ref().unwrap_or(&call.pieces);
    let spoken = &call.ask.spoken;
    let spans = spoken.system.iter().take(TEXTS_MAX).chain(spoken.ask.iter().take(TEXTS_MAX));
    let mut text = Vec::with_capacity(LOOKED_AT_BYTES);
    spans.into_iter().any(|span| {
        text.clear();
        beginning(rope, span, LOOKED_AT_BYTES, |piece| text.extend_from_slice(piece));
        text.make_ascii_lowercase();
        is_of_a_client(&text)
    })
}

/// Whether a text, in lower case, holds words with which a client asks for itself.
fn is_of_a_client(text: &[u8]) -> bool {
    let holds = |words: &&str| memmem::find(text, words.as_bytes()).is_some();
    FINDERS.iter().zip(WORDS).any(|(short, (_, words))| short.find(text).is_some() && words.iter().any(holds))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_words_are_found_behind_their_short_ones() {
        for words in WORDS.iter().flat_map(|(_, words)| *words) {
            assert!(is_of_a_client(format!("well, {words}: go on").as_bytes()), "{words}");
        }
        assert!(!is_of_a_client(b"which tags and titles has this topic on coding?"));
    }
}
