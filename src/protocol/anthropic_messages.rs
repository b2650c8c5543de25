//! Where answers of Anthropic's Messages API tell what, and what its `usage` says.
//!
//! In a stream, `message_start` tells the input, and `message_delta` everything so far: its numbers are cumulative and
//! replace those of the start, which server tools may make far too small.
//! Source: the types of anthropic-sdk-python and recorded answers.

use serde::Deserialize;

use super::counts::{Count, Lenient, Named, Text, usage_fields};
use super::facts::{BilledCall, Ending, Facts};
use super::gather::Meaning::{
    Block, Error, Finish, Item, Kind, Model, Reasoning, StartUsage, Text as Generated, Usage as Closing,
};
use super::gather::{ERROR_BYTES, EventKind, Row, USAGE_BYTES, WORD_BYTES};
use super::scan::Take::{Bytes, Span};
use crate::domain::tokens::Usage;

pub(super) const ROWS: &[Row] = &[
    (&["usage"], Bytes(USAGE_BYTES), Closing),
    (&["message", "usage"], Bytes(USAGE_BYTES), StartUsage),
    (&["model"], Bytes(WORD_BYTES), Model),
    (&["message", "model"], Bytes(WORD_BYTES), Model),
    (&["type"], Bytes(WORD_BYTES), Kind),
    (&["index"], Bytes(WORD_BYTES), Block),
    (&["error"], Bytes(ERROR_BYTES), Error),
    (&["stop_reason"], Bytes(WORD_BYTES), Finish),
    (&["delta", "stop_reason"], Bytes(WORD_BYTES), Finish),
    (&["content_block", "type"], Bytes(WORD_BYTES), Item),
    (&["content", "*", "type"], Bytes(WORD_BYTES), Item),
    (&["delta", "text"], Span, Generated),
    (&["delta", "thinking"], Span, Reasoning),
    (&["delta", "partial_json"], Span, Generated),
    (&["content", "*", "text"], Span, Generated),
    (&["content", "*", "thinking"], Span, Reasoning),
    (&["content", "*", "input"], Span, Generated),
];

/// What an event's `type` says.
pub(super) fn kind(word: &[u8]) -> EventKind {
    match word {
        b"message_stop" => EventKind::Terminal,
        b"error" => EventKind::Error,
        b"content_block_start" => EventKind::BlockStart,
        b"content_block_stop" => EventKind::BlockStop,
        _ => EventKind::Other,
    }
}

/// What a `stop_reason` says. `pause_turn` wants to be asked to go on, and so may what comes to be.
pub(super) fn ending(reason: &[u8]) -> Option<Ending> {
    Some(match reason {
        b"" => return None,
        b"max_tokens" | b"model_context_window_exceeded" => Ending::Length,
        b"tool_use" => Ending::ToolCalls,
        b"refusal" => Ending::Refusal,
        b"end_turn" | b"stop_sequence" => Ending::Stop,
        _ => Ending::Other,
    })
}

usage_fields! {
    /// What is read of it.
    AnthropicUsage {
        input_tokens: Count,
        cache_read_input_tokens: Count,
        cache_creation_input_tokens: Count,
        cache_creation: Lenient<Written>,
        output_tokens: Count,
        output_tokens_details: Lenient<OutputDetails>,
        server_tool_use: Lenient<Named>,
        service_tier: Text,
        inference_geo: Text,
        speed: Text,
        iterations: Lenient<Option<Vec<Pass>>>,
    }
}

usage_fields! {
    /// Written tokens by lifetime.
    Written {
        ephemeral_5m_input_tokens: Count,
        ephemeral_1h_input_tokens: Count,
    }
}

usage_fields! {
    /// Parts of the output.
    OutputDetails {
        thinking_tokens: Count,
    }
}

/// One pass of the model within a call.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Pass {
    r#type: Text,
    model: Text,
    input_tokens: Count,
    cache_read_input_tokens: Count,
    cache_creation_input_tokens: Count,
    cache_creation: Lenient<Written>,
    output_tokens: Count,
    output_tokens_details: Lenient<OutputDetails>,
}

impl Pass {
    fn usage(&self, untold: UntoldWrites) -> Usage {
        buckets(
            [self.input_tokens, self.cache_read_input_tokens, self.cache_creation_input_tokens, self.output_tokens],
            &self.cache_creation.0,
            &self.output_tokens_details.0,
            untold,
        )
    }
}

/// The lifetime of cache writes that the answer does not tell.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum UntoldWrites {
    /// Anthropic's default.
    #[default]
    FiveMinutes,
    /// What the request asked for.
    OneHour,
}

impl AnthropicUsage {
    /// Puts the buckets, and the passes that are billed one by one, into `facts`.
    pub(super) fn tell(&self, untold: UntoldWrites, facts: &mut Facts) {
        let mut usage = buckets(
            [self.input_tokens, self.cache_read_input_tokens, self.cache_creation_input_tokens, self.output_tokens],
            &self.cache_creation.0,
            &self.output_tokens_details.0,
            untold,
        );
        for (name, calls) in self.server_tool_use.0.0.iter().filter(|(_, calls)| *calls > 0) {
            usage.add_server_tool(name, *calls);
        }
        let passes = self.iterations.0.as_deref().unwrap_or_default();
        // The top level is the sum of the passes called `message` only; any other pass makes it fall short.
        if passes.iter().any(|pass| pass.r#type.0.as_deref().is_some_and(|kind| kind != "message")) {
            let call = |pass: &Pass| BilledCall { model: pass.model.0.clone(), usage: pass.usage(untold) };
            facts.calls = passes.iter().map(call).collect();
        }
        facts.usage = Some(usage);
        facts.service_tier.clone_from(&self.service_tier.0);
        facts.geo.clone_from(&self.inference_geo.0);
        facts.speed.clone_from(&self.speed.0);
    }
}

fn buckets(
    [input, cache_read, cache_write, output]: [Count; 4],
    written: &Written,
    details: &OutputDetails,
    untold: UntoldWrites,
) -> Usage {
    let (five_minutes, one_hour) = (written.ephemeral_5m_input_tokens.get(), written.ephemeral_1h_input_tokens.get());
    let rest = cache_write.get().saturating_sub(five_minutes.saturating_add(one_hour));
    let (rest_5m, rest_1h) = match untold {
        UntoldWrites::FiveMinutes => (rest, 0),
        UntoldWrites::OneHour => (0, rest),
    };
    Usage {
        input: input.get(),
        cache_read: cache_read.get(),
        cache_write_5m: five_minutes.saturating_add(rest_5m),
        cache_write_1h: one_hour.saturating_add(rest_1h),
        output: output.get(),
        reasoning: details.thinking_tokens.get().min(output.get()),
        ..Usage::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::counts::Merge;

    fn told(reports: &[&str], untold: UntoldWrites) -> Facts {
        let mut merged = AnthropicUsage::default();
        for report in reports {
            merged.merge(serde_json::from_str(report).unwrap());
        }
        let mut facts = Facts::default();
        merged.tell(untold, &mut facts);
        facts
    }

    #[test]
    fn a_cumulative_report_replaces_the_start_field_by_field() {
        let start = r#"{"input_tokens":2479,"cache_read_input_tokens":5,"cache_creation_input_tokens":1000,"output_tokens":1,
            "cache_creation":{"ephemeral_5m_input_tokens":600,"ephemeral_1h_input_tokens":400},"service_tier":"standard"}"#;
        let delta = r#"{"input_tokens":404500,"output_tokens":90,"server_tool_use":{"web_search_requests":3,"web_fetch_requests":0}}"#;
        let facts = told(&[start, delta], UntoldWrites::FiveMinutes);
        let mut expect = Usage {
            input: 404_500,
            cache_read: 5,
            cache_write_5m: 600,
            cache_write_1h: 400,
            output: 90,
            ..Usage::default()
        };
        expect.add_server_tool("web_search_requests", 3);
        assert_eq!(facts.usage, Some(expect));
        assert_eq!(facts.service_tier.as_deref(), Some("standard"));
    }

    #[test]
    fn writes_of_untold_lifetime_have_the_one_asked_for() {
        let reports = [
            r#"{"cache_creation_input_tokens":0,"cache_creation":{"ephemeral_5m_input_tokens":0,"ephemeral_1h_input_tokens":0}}"#,
            r#"{"cache_creation_input_tokens":17269}"#,
        ];
        let written = |untold| told(&reports, untold).usage.map(|usage| (usage.cache_write_5m, usage.cache_write_1h));
        assert_eq!(written(UntoldWrites::FiveMinutes), Some((17_269, 0)));
        assert_eq!(written(UntoldWrites::OneHour), Some((0, 17_269)));
    }

    #[test]
    fn passes_outside_the_top_level_are_billed_one_by_one() {
        let passes = r#"{"input_tokens":162,"output_tokens":9,"iterations":[
            {"type":"compaction","input_tokens":99000,"output_tokens":195},{"type":"message","input_tokens":162,"output_tokens":9},
            {"type":"advisor_message","model":"claude-fable-5","input_tokens":5,"cache_creation_input_tokens":2,"output_tokens":1}]}"#;
        let calls = told(&[passes], UntoldWrites::FiveMinutes).calls;
        let seen: Vec<_> =
            calls.iter().map(|call| (call.model.as_deref(), call.usage.input, call.usage.cache_write_5m)).collect();
        assert_eq!(seen, [(None, 99_000, 0), (None, 162, 0), (Some("claude-fable-5"), 5, 2)]);
        let only_messages = r#"{"iterations":[{"type":"message","input_tokens":1}]}"#;
        assert_eq!(told(&[only_messages], UntoldWrites::FiveMinutes).calls, []);
    }
}
