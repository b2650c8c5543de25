//! [`Shape`]: which tables read the answers to an operation.
//!
//! Invariant: every table is a plan; a test says so.

use std::sync::LazyLock;

use super::facts::Ending;
use super::gather::{EventKind, Row};
use super::scan::{Pattern, Plan};
use super::{anthropic_messages, gemini, interactions, openai_chat, openai_embeddings, openai_media, openai_responses};
use crate::domain::operation::Operation;

/// The shape of an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Shape {
    Chat,
    Responses,
    Embeddings,
    Messages,
    Gemini,
    Interactions,
    /// A new context cache of Gemini.
    Cache,
    Images,
    /// Transcriptions and translations.
    Audio,
    Speech,
    /// A line of an Anthropic batch's results.
    MessagesLine,
    /// A line of an OpenAI batch's results, whatever the batch asked for: all its answers tell their usage alike.
    ResponsesLine,
}

/// All shapes, in the order of their plans.
const ALL: [Shape; 12] = [
    Shape::Chat,
    Shape::Responses,
    Shape::Embeddings,
    Shape::Messages,
    Shape::Gemini,
    Shape::Interactions,
    Shape::Cache,
    Shape::Images,
    Shape::Audio,
    Shape::Speech,
    Shape::MessagesLine,
    Shape::ResponsesLine,
];

static PLANS: LazyLock<[Plan; 12]> = LazyLock::new(|| ALL.map(|shape| plan(shape.rows(), &[])));
static GEMINI_ELEMENTS: LazyLock<Plan> = LazyLock::new(|| plan(gemini::ROWS, &["*"]));
static MESSAGES_LINE: LazyLock<Vec<Row>> = LazyLock::new(|| line(anthropic_messages::ROWS, &["result", "message"]));
static RESPONSES_LINE: LazyLock<Vec<Row>> = LazyLock::new(|| line(openai_responses::ROWS, &["response", "body"]));

/// The plan of a table, below `root`. A table that is no plan finds nothing.
fn plan(rows: &[Row], root: &[&'static str]) -> Plan {
    let patterns: Vec<_> = rows.iter().map(|(path, take, _)| ([root, path].concat(), *take)).collect();
    let patterns: Vec<_> = patterns.iter().map(|(path, take)| Pattern { path, take: *take }).collect();
    Plan::new(&patterns).unwrap_or_default()
}

/// The table of an answer that stands below `root` in a line of a batch's results. It is made and leaked once.
fn line(rows: &[Row], root: &[&'static str]) -> Vec<Row> {
    let below = |(path, take, meaning): &Row| {
        let path: &'static [&'static str] = [root, path].concat().leak();
        (path, *take, *meaning)
    };
    rows.iter().map(below).chain(openai_media::RESULT_ROWS.iter().copied()).collect()
}

impl Shape {
    /// The shape of the answers to `operation`, if they are metered.
    pub(super) const fn of(operation: Operation) -> Option<Self> {
        match operation {
            Operation::ChatCompletions | Operation::Completions => Some(Self::Chat),
            Operation::Responses | Operation::StoredResponse => Some(Self::Responses),
            Operation::Embeddings | Operation::Batches | Operation::StoredBatch => Some(Self::Embeddings),
            Operation::Messages => Some(Self::Messages),
            Operation::GenerateContent | Operation::EmbedContent => Some(Self::Gemini),
            Operation::Interactions | Operation::StoredInteraction => Some(Self::Interactions),
            Operation::CachedContents => Some(Self::Cache),
            Operation::ImageGenerations | Operation::ImageEdits | Operation::ImageVariations => Some(Self::Images),
            Operation::Transcriptions | Operation::Translations => Some(Self::Audio),
            Operation::Speech => Some(Self::Speech),
            Operation::BatchResults
            | Operation::FileContent
            | Operation::CountTokens
            | Operation::GeminiCountTokens
            | Operation::ResponsesInputTokens
            | Operation::Moderations
            | Operation::Files
            | Operation::StoredCache
            | Operation::Models
            | Operation::Unknown => None,
        }
    }

    /// The shape of the lines in answers to `operation`, if it tells the results of batches.
    pub(super) const fn of_lines(operation: Operation) -> Option<Self> {
        if matches!(operation, Operation::BatchResults) {
            Some(Self::MessagesLine)
        } else if matches!(operation, Operation::FileContent) {
            Some(Self::ResponsesLine)
        } else {
            None
        }
    }

    pub(super) fn plan(self) -> &'static Plan {
        &PLANS[self as usize]
    }

    /// The plan for a JSON array of answers, where the dialect has such a thing.
    pub(super) fn elements(self) -> Option<&'static Plan> {
        if self == Self::Gemini { Some(&GEMINI_ELEMENTS) } else { None }
    }

    pub(super) fn rows(self) -> &'static [Row] {
        match self {
            Self::Chat => openai_chat::ROWS,
            Self::Responses => openai_responses::ROWS,
            Self::Embeddings => openai_embeddings::ROWS,
            Self::Messages => anthropic_messages::ROWS,
            Self::Gemini => gemini::ROWS,
            Self::Interactions => interactions::ROWS,
            Self::Cache => gemini::CACHE_ROWS,
            Self::Images | Self::Speech => openai_media::ROWS,
            Self::Audio => openai_media::AUDIO_ROWS,
            Self::MessagesLine => &MESSAGES_LINE,
            Self::ResponsesLine => &RESPONSES_LINE,
        }
    }

    pub(super) fn ending(self, reason: &[u8], raw: &[u8]) -> Option<Ending> {
        match self {
            Self::Chat => openai_chat::ending(reason),
            Self::Responses | Self::ResponsesLine => openai_responses::ending(reason),
            Self::Messages | Self::MessagesLine => anthropic_messages::ending(reason),
            Self::Gemini => gemini::ending(reason).or_else(|| gemini::numbered_ending(raw)),
            Self::Interactions => interactions::ending(reason),
            Self::Embeddings | Self::Cache | Self::Images | Self::Audio | Self::Speech => None,
        }
    }

    pub(super) fn kind(self, word: &[u8]) -> EventKind {
        match self {
            Self::Responses => openai_responses::kind(word),
            Self::Messages => anthropic_messages::kind(word),
            Self::Interactions => interactions::kind(word),
            Self::Images | Self::Audio | Self::Speech => openai_media::kind(word),
            Self::Chat | Self::Embeddings | Self::Gemini | Self::Cache | Self::MessagesLine | Self::ResponsesLine => {
                EventKind::Other
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_table_is_a_plan() {
        for (index, shape) in ALL.into_iter().enumerate() {
            assert_eq!(shape as usize, index);
            let patterns: Vec<_> = shape.rows().iter().map(|(path, take, _)| Pattern { path, take: *take }).collect();
            assert!(Plan::new(&patterns).is_ok(), "{shape:?}");
        }
        assert!(gemini::ROWS.iter().all(|(path, ..)| path.len() < 8), "elements need one level more");
    }
}
