//! Where answers of chat completions tell what: whole bodies and `chat.completion.chunk` events alike.
//!
//! Source: OpenAI's openapi.json 2.3.0 (`CreateChatCompletionResponse`, `CreateChatCompletionStreamResponse`).

use super::facts::Ending;
use super::gather::Meaning::{
    Annotation, Choice, Choices, Error, Finish, LookedUp, Model, Reasoning, Refusal, ServiceTier, Text, ToolText, Usage,
};
use super::gather::{ERROR_BYTES, Row, USAGE_BYTES, WORD_BYTES};
use super::scan::Take::{Bytes, Span};

/// Where a choice says something, whole or in an event.
const SAID: &str = "delta|message";

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
    // OpenRouter: a provider behind it failed in the middle (<https://openrouter.ai/docs/api/reference/overview>).
    (&["choices", "*", "error"], Bytes(ERROR_BYTES), Error),
    (&["choices", "*", SAID, "content"], Span, Text),
    (&["choices", "*", SAID, "reasoning_content"], Span, Reasoning),
    (&["choices", "*", SAID, "reasoning"], Span, Reasoning),
    (&["choices", "*", SAID, "refusal"], Span, Text),
    (&["choices", "*", SAID, "refusal"], Span, Refusal),
    (&["choices", "*", SAID, "tool_calls", "*", "function|custom", "name"], Span, ToolText),
    (&["choices", "*", SAID, "tool_calls", "*", "function|custom", "arguments|input"], Span, ToolText),
    // What was there before `tool_calls`, and comes to those who offer `functions`.
    (&["choices", "*", SAID, "function_call", "name|arguments"], Span, ToolText),
    (&["choices", "*", "text"], Span, Text),
    // Perplexity (<https://docs.perplexity.ai/docs/sonar/openai-compatibility>), xAI.
    (&["citations|search_results", "*"], Span, LookedUp),
    // OpenAI's search models, OpenRouter.
    (&["choices", "*", SAID, "annotations", "*", "type"], Bytes(WORD_BYTES), Annotation),
    // Groq (<https://console.groq.com/docs/compound>).
    (&["choices", "*", SAID, "executed_tools", "*"], Span, LookedUp),
    // Azure, with `data_sources` (<https://learn.microsoft.com/azure/ai-services/openai/references/on-your-data>).
    (&["choices", "*", SAID, "context"], Span, LookedUp),
];

/// What a `finish_reason` says; providers have more words for it than OpenAI, and new ones come. Of one that nobody knows it is
/// not sure that the answer is whole: DeepSeek's `insufficient_system_resource`, Zhipu's `sensitive` and `network_error`, vLLM's
/// `abort`, Google's `SAFETY`.
pub(super) fn ending(reason: &[u8]) -> Option<Ending> {
    Some(match reason {
        b"" => return None,
        b"stop" | b"end_turn" | b"stop_sequence" | b"eos" | b"eos_token" => Ending::Stop,
        b"STOP" | b"COMPLETE" | b"STOP_SEQUENCE" => Ending::Stop,
        b"length" | b"max_tokens" | b"model_length" => Ending::Length,
        b"tool_calls" | b"function_call" | b"tool_use" => Ending::ToolCalls,
        b"content_filter" | b"refusal" => Ending::Refusal,
        b"error" => Ending::Failed,
        _ => Ending::Other,
    })
}
