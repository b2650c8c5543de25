//! [`keep_alive`]: what tells the client of a stream that its silent upstream still works.
//!
//! Invariant: it stands between two events only, and no client that follows the specification sees an event in it.

use super::meter::Position;
use crate::domain::operation::Operation;

/// What can be put into a stream that answers `operation` and stands at `position`; nothing where no client is known to take it
/// (FIELD-NOTES, keep-alive matrix: Google's SDKs take anything but data for an error).
#[must_use]
pub const fn keep_alive(operation: Operation, position: &Position) -> Option<&'static [u8]> {
    if !matches!(position, Position::Start | Position::Events { at_boundary: true }) {
        return None;
    }
    match operation {
        // As Anthropic sends it (https://docs.anthropic.com/en/docs/build-with-claude/streaming#ping-events).
        Operation::Messages => Some(b"event: ping\ndata: {\"type\": \"ping\"}\n\n"),
        Operation::ChatCompletions | Operation::Completions | Operation::Responses => Some(b": keep-alive\n\n"),
        Operation::GenerateContent
        | Operation::Interactions
        | Operation::Embeddings
        | Operation::CountTokens
        | Operation::GeminiCountTokens
        | Operation::EmbedContent
        | Operation::ResponsesInputTokens
        | Operation::StoredResponse
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
        | Operation::StoredInteraction
        | Operation::Models
        | Operation::Unknown => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::meter::{Head, Meter};

    const STREAM: &str = "event: message_start\ndata: {\"type\":\"message_start\"}\n\nevent: ping\ndata: {}\n\n";

    #[test]
    fn it_never_stands_within_an_event() {
        for cut in 0..=STREAM.len() {
            let head = Head { status: 200, content_type: "text/event-stream", content_encoding: "" };
            let mut meter = Meter::new(Operation::Messages, head);
            meter.feed(&STREAM.as_bytes()[..cut]);
            let is_between = cut == 0 || STREAM[..cut].ends_with("\n\n");
            let said = keep_alive(Operation::Messages, &meter.position());
            assert_eq!(said.is_some(), is_between, "{:?}", &STREAM[..cut]);
        }
    }

    #[test]
    fn google_s_clients_get_none() {
        for operation in Operation::ALL {
            let takes = ["messages", "chat.completions", "completions", "responses"].contains(&operation.name());
            assert_eq!(keep_alive(operation, &Position::Start).is_some(), takes, "{}", operation.name());
        }
    }
}
