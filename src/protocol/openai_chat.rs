//! Where answers of chat completions tell what: whole bodies and `chat.completion.chunk` events alike.
//!
//! Source: OpenAI's openapi.json 2.3.0 (`CreateChatCompletionResponse`, `CreateChatCompletionStreamResponse`).

use super::facts::Ending;
use super::gather::Meaning::{Choice, Choices, Error, Finish, Model, Reasoning, ServiceTier, Text, ToolText, Usage};
use super::gather::{ERROR_BYTES, Row, USAGE_BYTES, WORD_BYTES};
use super::scan::Take::{Bytes, Span};

pub(super) const ROWS: &[Row] = &[
    (&["usage"], Bytes(USAGE_BYTES), Usage),
    // Groq.
    (&["x_groq", "usage"], Bytes(USAGE_BYTES), Usage),
    (&["model"], Bytes(WORD_BYTES), Model),
    (&["service_tier"], Bytes(WORD_BYTES), ServiceTier),
    (&["error"], Bytes(ERROR_BYTES), Error),
    (&["choices"], Span, Choices),
    (&["choices", "*"], Span, Choice),
    (&["choices", "*", "finish_reason"], Bytes(WORD_BYTES), Finish),
    (&["choices", "*", "delta", "content"], Span, Text),
    (&["choices", "*", "delta", "reasoning_content"], Span, Reasoning),
    (&["choices", "*", "delta", "reasoning"], Span, Reasoning),
    (&["choices", "*", "delta", "refusal"], Span, Text),
    (&["choices", "*", "delta", "tool_calls", "*", "function", "name"], Span, ToolText),
    (&["choices", "*", "delta", "tool_calls", "*", "function", "arguments"], Span, ToolText),
    (&["choices", "*", "message", "content"], Span, Text),
    (&["choices", "*", "message", "reasoning_content"], Span, Reasoning),
    (&["choices", "*", "message", "reasoning"], Span, Reasoning),
    (&["choices", "*", "message", "refusal"], Span, Text),
    (&["choices", "*", "message", "tool_calls", "*", "function", "name"], Span, ToolText),
    (&["choices", "*", "message", "tool_calls", "*", "function", "arguments"], Span, ToolText),
    (&["choices", "*", "text"], Span, Text),
];

/// What a `finish_reason` says; providers have more words for it than OpenAI.
pub(super) fn ending(reason: &[u8]) -> Option<Ending> {
    Some(match reason {
        b"" => return None,
        b"length" | b"max_tokens" | b"model_length" => Ending::Length,
        b"tool_calls" | b"function_call" | b"tool_use" => Ending::ToolCalls,
        b"content_filter" | b"refusal" => Ending::Refusal,
        b"error" => Ending::Failed,
        _ => Ending::Stop,
    })
}
