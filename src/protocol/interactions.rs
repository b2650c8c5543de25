//! Where answers of Gemini's interactions tell what, and what their `usage` says.
//!
//! Whole interactions, and the events that carry them: every step may tell the usage so far, and the last one wins.
//! Source: ai.google.dev/api/interactions-api (`Usage`, `InteractionSseEvent`) and recorded answers.

use serde::Deserialize;

use super::counts::{Count, Lenient, Text, usage_fields};
use super::facts::{Ending, Facts};
use super::gather::Meaning::{
    Error, Finish, Item, Kind, Model, ServiceTier, Text as Generated, ToolText, Usage as Told,
};
use super::gather::{ERROR_BYTES, EventKind, Row, USAGE_BYTES, WORD_BYTES};
use super::scan::Take::{Bytes, Span};
use crate::domain::tokens::Usage;

pub(super) const ROWS: &[Row] = &[
    (&["usage"], Bytes(USAGE_BYTES), Told),
    (&["interaction", "usage"], Bytes(USAGE_BYTES), Told),
    (&["metadata", "usage"], Bytes(USAGE_BYTES), Told),
    (&["model"], Bytes(WORD_BYTES), Model),
    (&["interaction", "model"], Bytes(WORD_BYTES), Model),
    (&["service_tier"], Bytes(WORD_BYTES), ServiceTier),
    (&["interaction", "service_tier"], Bytes(WORD_BYTES), ServiceTier),
    (&["event_type"], Bytes(WORD_BYTES), Kind),
    (&["status"], Bytes(WORD_BYTES), Finish),
    (&["interaction", "status"], Bytes(WORD_BYTES), Finish),
    (&["error"], Bytes(ERROR_BYTES), Error),
    (&["interaction", "error"], Bytes(ERROR_BYTES), Error),
    (&["step", "type"], Bytes(WORD_BYTES), Item),
    (&["delta", "text"], Span, Generated),
    (&["delta", "arguments"], Span, ToolText),
    (&["steps|outputs", "*", "type"], Bytes(WORD_BYTES), Item),
    (&["steps|outputs", "*", "text"], Span, Generated),
    (&["steps|outputs", "*", "content", "*", "text"], Span, Generated),
    (&["steps|outputs", "*", "arguments"], Span, ToolText),
];

/// What an event's `event_type` says.
pub(super) fn kind(word: &[u8]) -> EventKind {
    match word {
        b"interaction.completed" | b"interaction.complete" => EventKind::Terminal,
        b"error" => EventKind::Error,
        _ => EventKind::Other,
    }
}

/// What an interaction's `status` says, while it is not still being made.
pub(super) fn ending(status: &[u8]) -> Option<Ending> {
    match status {
        b"completed" => Some(Ending::Stop),
        b"incomplete" => Some(Ending::Length),
        b"requires_action" => Some(Ending::ToolCalls),
        b"failed" | b"cancelled" => Some(Ending::Failed),
        _ => None,
    }
}

usage_fields! {
    /// What is read of it.
    InteractionUsage {
        total_input_tokens: Count,
        total_cached_tokens: Count,
        total_output_tokens: Count,
        total_thought_tokens: Count,
        /// Before 2026-05 `total_reasoning_tokens`.
        total_reasoning_tokens: Count,
        total_tool_use_tokens: Count,
        total_tokens: Count,
        input_tokens_by_modality: Lenient<Option<Vec<Part>>>,
        cached_tokens_by_modality: Lenient<Option<Vec<Part>>>,
        output_tokens_by_modality: Lenient<Option<Vec<Part>>>,
    }
}

/// Tokens of one modality.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Part {
    modality: Text,
    tokens: Count,
}

impl InteractionUsage {
    /// Puts the buckets into `facts`. Thoughts lie outside of the output, tool prompts outside of the input. Of the prompt
    /// only audio is told apart: no model that interacts has another price for images or video.
    pub(super) fn tell(&self, facts: &mut Facts) {
        let (prompt, tool_prompt) = (self.total_input_tokens.get(), self.total_tool_use_tokens.get());
        let cached = self.total_cached_tokens.get().min(prompt);
        let reasoning = self.total_thought_tokens.or_larger(self.total_reasoning_tokens).get();
        let output = self.total_output_tokens.get().saturating_add(reasoning);
        let usage = Usage {
            input: (prompt - cached).saturating_add(tool_prompt),
            cache_read: cached,
            output,
            reasoning,
            audio_in: tokens_of(&self.input_tokens_by_modality, "audio").min(prompt),
            audio_cached: tokens_of(&self.cached_tokens_by_modality, "audio").min(cached),
            audio_out: tokens_of(&self.output_tokens_by_modality, "audio").min(output),
            image_out: tokens_of(&self.output_tokens_by_modality, "image").min(output),
            tool_prompt,
            ..Usage::default()
        };
        let told = usage.input_total().saturating_add(output);
        facts.untold_tokens = self.total_tokens.get().saturating_sub(told);
        facts.usage = Some(usage);
    }
}

fn tokens_of(parts: &Lenient<Option<Vec<Part>>>, modality: &str) -> u64 {
    let parts = parts.0.as_deref().unwrap_or_default().iter();
    let of = |part: &&Part| part.modality.0.as_deref().is_some_and(|name| name.eq_ignore_ascii_case(modality));
    parts.filter(of).fold(0, |sum, part| sum.saturating_add(part.tokens.get()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn thoughts_and_tool_prompts_are_billed_once() {
        let report = r#"{"total_tokens":1983,"total_input_tokens":22,"total_cached_tokens":2,"total_output_tokens":590,
            "input_tokens_by_modality":[{"modality":"text","tokens":12},{"modality":"audio","tokens":10}],
            "total_tool_use_tokens":198,"total_thought_tokens":1173}"#;
        let mut facts = Facts::default();
        serde_json::from_str::<InteractionUsage>(report).unwrap().tell(&mut facts);
        let expect = Usage {
            input: 218,
            cache_read: 2,
            output: 1763,
            reasoning: 1173,
            audio_in: 10,
            tool_prompt: 198,
            ..Usage::default()
        };
        assert_eq!((facts.usage, facts.untold_tokens), (Some(expect), 0));
    }
}
