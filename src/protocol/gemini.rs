//! Where answers of Gemini's generate and embed calls tell what, and what its `usageMetadata` says.
//!
//! Whole bodies, server-sent events and the elements of a JSON array (`streamGenerateContent` without `alt=sse`) have
//! the same shape; each tells the usage so far, and the last one wins.
//! Source: ai.google.dev/api/generate-content (`UsageMetadata`, `FinishReason`) and recorded answers.

use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;

use super::counts::{Count, Lenient, Merge, Text, usage_fields};
use super::facts::{Ending, Facts};
use super::gather::Meaning::{
    Blocked, Error, Finish, Model, Query, Reasoned, Text as Generated, ToolText, Usage as Metadata,
};
use super::gather::{ERROR_BYTES, Row, USAGE_BYTES, WORD_BYTES};
use super::scan::Take::{Bytes, Span};
use crate::domain::tokens::Usage;

pub(super) const ROWS: &[Row] = &[
    (&["usageMetadata"], Bytes(USAGE_BYTES), Metadata),
    (&["modelVersion"], Bytes(WORD_BYTES), Model),
    (&["error"], Bytes(ERROR_BYTES), Error),
    (&["promptFeedback", "blockReason"], Bytes(WORD_BYTES), Blocked),
    (&["candidates", "*", "finishReason"], Bytes(WORD_BYTES), Finish),
    (&["candidates", "*", "content", "parts", "*", "text"], Span, Generated),
    (&["candidates", "*", "content", "parts", "*", "thought"], Bytes(4), Reasoned),
    (&["candidates", "*", "content", "parts", "*", "functionCall"], Span, ToolText),
    (&["candidates", "*", "content", "parts", "*", "executableCode", "code"], Span, Generated),
    (&["candidates", "*", "groundingMetadata", "webSearchQueries", "*"], Span, Query),
];

/// What the answer to a new context cache tells.
pub(super) const CACHE_ROWS: &[Row] = &[
    (&["usageMetadata"], Bytes(USAGE_BYTES), Metadata),
    (&["model"], Bytes(WORD_BYTES), Model),
    (&["error"], Bytes(ERROR_BYTES), Error),
];

/// What a `finishReason` or a `blockReason` says.
pub(super) fn ending(reason: &[u8]) -> Option<Ending> {
    Some(match reason {
        b"" | b"FINISH_REASON_UNSPECIFIED" | b"BLOCK_REASON_UNSPECIFIED" => return None,
        b"STOP" => Ending::Stop,
        b"MAX_TOKENS" => Ending::Length,
        b"SAFETY"
        | b"RECITATION"
        | b"LANGUAGE"
        | b"BLOCKLIST"
        | b"PROHIBITED_CONTENT"
        | b"SPII"
        | b"IMAGE_SAFETY"
        | b"IMAGE_PROHIBITED_CONTENT"
        | b"IMAGE_RECITATION" => Ending::Refusal,
        _ => Ending::Failed,
    })
}

/// What a `finishReason` says that is told by its number, as some relays do and `$alt=json;enum-encoding=int` asks for. Google's
/// two APIs number the reasons alike up to 5 and then apart (`generative_service.proto`, `content.proto` of `aiplatform`); of
/// those only what both call a refusal is taken for one.
pub(super) const fn numbered_ending(number: &[u8]) -> Option<Ending> {
    Some(match number {
        b"1" => Ending::Stop,
        b"2" => Ending::Length,
        b"3" | b"4" | b"6" | b"7" | b"8" => Ending::Refusal,
        [b'1'..=b'9', ..] => Ending::Failed,
        _ => return None,
    })
}

/// What a `blockReason` says, as a word or as a number.
pub(super) fn blocked(reason: &[u8], raw: &[u8]) -> Option<Ending> {
    ending(reason).or_else(|| matches!(raw, [b'1'..=b'9', ..]).then_some(Ending::Refusal))
}

usage_fields! {
    /// What is read of it.
    GeminiUsage {
        #[serde(rename = "promptTokenCount")]
        prompt: Count,
        #[serde(rename = "cachedContentTokenCount")]
        cached: Count,
        #[serde(rename = "candidatesTokenCount")]
        candidates: Count,
        #[serde(rename = "thoughtsTokenCount")]
        thoughts: Count,
        #[serde(rename = "toolUsePromptTokenCount")]
        tool_prompt: Count,
        #[serde(rename = "totalTokenCount")]
        total: Count,
        #[serde(rename = "promptTokensDetails")]
        prompt_details: Lenient<Option<Vec<Part>>>,
        #[serde(rename = "cacheTokensDetails")]
        cached_details: Lenient<Option<Vec<Part>>>,
        #[serde(rename = "candidatesTokensDetails")]
        candidates_details: Lenient<Option<Vec<Part>>>,
        #[serde(rename = "serviceTier")]
        service_tier: Text,
        #[serde(rename = "trafficType")]
        traffic_type: Text,
    }
}

/// Tokens of one modality.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Part {
    modality: Modality,
    #[serde(rename = "tokenCount")]
    tokens: Count,
}

/// A modality, sent as its name or as its number in the protocol buffer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Modality {
    #[default]
    Other,
    Image,
    Video,
    Audio,
    Document,
}

impl<'de> Deserialize<'de> for Modality {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Ok(match <&RawValue>::deserialize(deserializer)?.get() {
            r#""IMAGE""# | "2" => Self::Image,
            r#""VIDEO""# | "3" => Self::Video,
            r#""AUDIO""# | "4" => Self::Audio,
            r#""DOCUMENT""# | "5" => Self::Document,
            _ => Self::Other,
        })
    }
}

impl GeminiUsage {
    /// Takes over a later report. One whose total adds up is whole: what it leaves out is zero, as protocol buffers
    /// leave out zeros. Of any other the fields that it has win.
    pub(super) fn follow_with(&mut self, mut later: Self) {
        if later.total.0 == Some(later.sum()) {
            later.service_tier.0 = later.service_tier.0.or_else(|| self.service_tier.0.take());
            later.traffic_type.0 = later.traffic_type.0.or_else(|| self.traffic_type.0.take());
            *self = later;
        } else {
            self.merge(later);
        }
    }

    /// Puts the tokens of a new context cache into `facts`: they are stored, which has a price of its own.
    pub(super) fn tell_stored(&self, facts: &mut Facts) {
        facts.usage = Some(Usage { stored_tokens: self.total.get(), ..Usage::default() });
    }

    fn sum(&self) -> u64 {
        [self.prompt, self.candidates, self.thoughts, self.tool_prompt]
            .iter()
            .fold(0, |sum, count| sum.saturating_add(count.get()))
    }

    /// Puts the buckets into `facts`. Thoughts lie outside of the candidates, tool prompts outside of the prompt.
    pub(super) fn tell(&self, facts: &mut Facts) {
        let (prompt, tool_prompt) = (self.prompt.get(), self.tool_prompt.get());
        let cached = self.cached.get().min(prompt);
        let output = self.candidates.get().saturating_add(self.thoughts.get());
        let usage = Usage {
            input: (prompt - cached).saturating_add(tool_prompt),
            cache_read: cached,
            output,
            reasoning: self.thoughts.get(),
            audio_in: tokens_of(&self.prompt_details, Modality::Audio).min(prompt),
            image_in: tokens_of(&self.prompt_details, Modality::Image).min(prompt),
            video_in: tokens_of(&self.prompt_details, Modality::Video).min(prompt),
            document_in: tokens_of(&self.prompt_details, Modality::Document).min(prompt),
            audio_cached: tokens_of(&self.cached_details, Modality::Audio).min(cached),
            image_cached: tokens_of(&self.cached_details, Modality::Image).min(cached),
            audio_out: tokens_of(&self.candidates_details, Modality::Audio).min(output),
            image_out: tokens_of(&self.candidates_details, Modality::Image).min(output),
            tool_prompt,
            ..Usage::default()
        };
        let told = usage.input_total().saturating_add(output);
        facts.untold_tokens = self.total.get().saturating_sub(told);
        facts.service_tier = self.service_tier.0.clone().or_else(|| self.traffic_type.0.clone());
        facts.usage = Some(usage);
    }
}

fn tokens_of(parts: &Lenient<Option<Vec<Part>>>, modality: Modality) -> u64 {
    let parts = parts.0.as_deref().unwrap_or_default();
    parts.iter().filter(|part| part.modality == modality).fold(0, |sum, part| sum.saturating_add(part.tokens.get()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(report: &str, expect: &Usage) {
        let mut facts = Facts::default();
        serde_json::from_str::<GeminiUsage>(report).unwrap().tell(&mut facts);
        assert_eq!(facts.usage.as_ref(), Some(expect), "{report}");
        assert_eq!(facts.untold_tokens, 0);
    }

    #[test]
    fn thoughts_and_tool_prompts_are_billed_once() {
        check(
            r#"{"promptTokenCount":95,"candidatesTokenCount":66,"thoughtsTokenCount":132,"toolUsePromptTokenCount":439,
                "totalTokenCount":732}"#,
            &Usage { input: 534, output: 198, reasoning: 132, tool_prompt: 439, ..Usage::default() },
        );
    }

    #[test]
    fn a_later_report_that_adds_up_is_whole() {
        let told = |reports: &[&str]| {
            let mut merged = GeminiUsage::default();
            reports.iter().for_each(|report| merged.follow_with(serde_json::from_str(report).unwrap()));
            let mut facts = Facts::default();
            merged.tell(&mut facts);
            (facts.usage.map(|usage| (usage.input, usage.output)), facts.service_tier)
        };
        let first = r#"{"promptTokenCount":9,"candidatesTokenCount":21,"totalTokenCount":30,"serviceTier":"flex"}"#;
        let whole = r#"{"promptTokenCount":87,"thoughtsTokenCount":78,"totalTokenCount":165}"#;
        assert_eq!(told(&[first, whole]), (Some((87, 78)), Some("flex".into())));
        assert_eq!(told(&[first, r#"{"promptTokenCount":10}"#]), (Some((10, 21)), Some("flex".into())));
    }

    #[test]
    fn modalities_come_as_names_and_as_numbers() {
        let expect = Usage {
            input: 100,
            cache_read: 200,
            audio_in: 50,
            audio_cached: 20,
            image_in: 9,
            output: 7,
            image_out: 4,
            ..Usage::default()
        };
        for (audio, image) in [("\"AUDIO\"", "\"IMAGE\""), ("4", "2")] {
            let details = |modality: &str, tokens: u64| format!(r#"{{"modality":{modality},"tokenCount":{tokens}}}"#);
            let report = format!(
                r#"{{"promptTokenCount":300,"cachedContentTokenCount":200,"candidatesTokenCount":7,
                    "promptTokensDetails":[{},{},{{"modality":null}}],"cacheTokensDetails":[{}],"candidatesTokensDetails":[{}]}}"#,
                details(audio, 50),
                details(image, 9),
                details(audio, 20),
                details(image, 4)
            );
            check(&report, &expect);
        }
    }
}
