//! Where answers about images and audio tell what, and the lines of a batch's results.
//!
//! Sources: OpenAI's openapi.json 2.3.0 (`ImagesResponse`, `ImageGenCompletedEvent`, `CreateTranscriptionResponseJson`,
//! `CreateTranscriptionResponseVerboseJson`, `SpeechAudioDoneEvent`, `BatchRequestOutput`) and
//! docs.anthropic.com/en/api/retrieving-message-batch-results.

use super::gather::Meaning::{Duration, Error, Kind, Model, ResultLine, ServiceTier, Usage};
use super::gather::{ERROR_BYTES, EventKind, Row, USAGE_BYTES, WORD_BYTES};
use super::scan::Take::{Bytes, Span};

pub(super) const ROWS: &[Row] = &[
    (&["usage"], Bytes(USAGE_BYTES), Usage),
    (&["model"], Bytes(WORD_BYTES), Model),
    (&["service_tier"], Bytes(WORD_BYTES), ServiceTier),
    (&["type"], Bytes(WORD_BYTES), Kind),
    (&["error"], Bytes(ERROR_BYTES), Error),
];

pub(super) const AUDIO_ROWS: &[Row] = &[
    (&["usage"], Bytes(USAGE_BYTES), Usage),
    (&["model"], Bytes(WORD_BYTES), Model),
    (&["type"], Bytes(WORD_BYTES), Kind),
    (&["error"], Bytes(ERROR_BYTES), Error),
    (&["duration"], Bytes(40), Duration),
];

/// What tells a line of a batch's results from a line of any other file.
pub(super) const RESULT_ROWS: &[Row] =
    &[(&["response", "status_code"], Span, ResultLine), (&["result", "type"], Span, ResultLine)];

/// What an event's `type` says.
pub(super) fn kind(word: &[u8]) -> EventKind {
    match word {
        b"image_generation.completed" | b"image_edit.completed" | b"transcript.text.done" | b"speech.audio.done" => {
            EventKind::Terminal
        }
        b"error" => EventKind::Error,
        _ => EventKind::Other,
    }
}
