//! Where answers of the Responses API tell what: whole `response` objects and the events that carry them.
//!
//! A top-level `usage` and the reason why a choice ended also serve hosts that answer here in the shape of chat completions
//! (DeepSeek on Azure).
//! Source: OpenAI's openapi.json 2.3.0 (`Response`, `ResponseStreamEvent`).

use super::facts::Ending;
use super::gather::Meaning::{
    Action, Annotation, Code, Error, Finish, Item, Kind, ListedItem, LookedUp, Model, Reason, Refusal, ResponseId,
    ServiceTier, StreamedItem, Text, Usage,
};
use super::gather::{ERROR_BYTES, EventKind, Row, USAGE_BYTES, WORD_BYTES};
use super::scan::Take::{Bytes, Span};

pub(super) const ROWS: &[Row] = &[
    (&["usage"], Bytes(USAGE_BYTES), Usage),
    (&["response", "usage"], Bytes(USAGE_BYTES), Usage),
    (&["id"], Bytes(WORD_BYTES), ResponseId),
    (&["response", "id"], Bytes(WORD_BYTES), ResponseId),
    (&["model"], Bytes(WORD_BYTES), Model),
    (&["response", "model"], Bytes(WORD_BYTES), Model),
    (&["service_tier"], Bytes(WORD_BYTES), ServiceTier),
    (&["response", "service_tier"], Bytes(WORD_BYTES), ServiceTier),
    (&["type"], Bytes(WORD_BYTES), Kind),
    (&["code"], Bytes(WORD_BYTES), Code),
    (&["error"], Bytes(ERROR_BYTES), Error),
    (&["response", "error"], Bytes(ERROR_BYTES), Error),
    (&["status"], Bytes(WORD_BYTES), Finish),
    (&["response", "status"], Bytes(WORD_BYTES), Finish),
    (&["choices", "*", "finish_reason"], Bytes(WORD_BYTES), Finish),
    (&["incomplete_details", "reason"], Bytes(WORD_BYTES), Reason),
    (&["response", "incomplete_details", "reason"], Bytes(WORD_BYTES), Reason),
    (&["output", "*"], Span, ListedItem),
    (&["output", "*", "type"], Bytes(WORD_BYTES), Item),
    (&["output", "*", "action", "type"], Bytes(WORD_BYTES), Action),
    (&["output", "*", "content", "*", "text"], Span, Text),
    (&["output", "*", "arguments"], Span, Text),
    (&["output", "*", "input"], Span, Text),
    (&["response", "output", "*"], Span, ListedItem),
    (&["response", "output", "*", "type"], Bytes(WORD_BYTES), Item),
    (&["response", "output", "*", "action", "type"], Bytes(WORD_BYTES), Action),
    (&["item"], Span, StreamedItem),
    (&["item", "type"], Bytes(WORD_BYTES), Item),
    (&["item", "action", "type"], Bytes(WORD_BYTES), Action),
    (&["delta"], Span, Text),
    // In whole responses, and in `response.refusal.done`.
    (&["output", "*", "content", "*", "refusal"], Span, Refusal),
    (&["response", "output", "*", "content", "*", "refusal"], Span, Refusal),
    (&["refusal"], Span, Refusal),
    // The same for what was found, and in `response.output_text.annotation.added`.
    (&["output", "*", "content", "*", "annotations", "*", "type"], Bytes(WORD_BYTES), Annotation),
    (&["response", "output", "*", "content", "*", "annotations", "*", "type"], Bytes(WORD_BYTES), Annotation),
    (&["annotation", "type"], Bytes(WORD_BYTES), Annotation),
    // xAI, Perplexity.
    (&["citations|search_results", "*"], Span, LookedUp),
    (&["response", "citations|search_results", "*"], Span, LookedUp),
];

/// What an event's `type` says.
pub(super) fn kind(word: &[u8]) -> EventKind {
    match word {
        b"response.completed" | b"response.incomplete" | b"response.failed" | b"response.cancelled" => {
            EventKind::Terminal
        }
        b"error" => EventKind::Error,
        b"response.output_item.done" => EventKind::ItemDone,
        _ => EventKind::Other,
    }
}

/// What a response's `status` says, while it is not still being made.
pub(super) fn ending(status: &[u8]) -> Option<Ending> {
    match status {
        b"completed" | b"stop" => Some(Ending::Stop),
        b"incomplete" | b"length" => Some(Ending::Length),
        b"tool_calls" => Some(Ending::ToolCalls),
        b"content_filter" => Some(Ending::Refusal),
        b"failed" | b"cancelled" => Some(Ending::Failed),
        _ => None,
    }
}

/// Tools that run at the provider, by the type of their output items; of a web search also its actions.
pub(super) const SERVER_TOOLS: [&str; 10] = [
    "web_search_call",
    "file_search_call",
    "code_interpreter_call",
    "image_generation_call",
    "mcp_call",
    "shell_call",
    "x_search_call",
    "web_search_call.search",
    "web_search_call.open_page",
    "web_search_call.find_in_page",
];

/// The index in [`SERVER_TOOLS`] of an output item.
pub(super) fn server_tool(item: &[u8]) -> Option<usize> {
    SERVER_TOOLS.iter().take(7).position(|name| name.as_bytes() == item)
}

/// The index in [`SERVER_TOOLS`] of a web search's action.
pub(super) fn action(word: &[u8]) -> Option<usize> {
    SERVER_TOOLS
        .iter()
        .position(|name| name.strip_prefix("web_search_call.").is_some_and(|name| name.as_bytes() == word))
}

/// Whether an output item asks the client to run a tool.
pub(super) fn is_client_tool(item: &[u8]) -> bool {
    matches!(
        item,
        b"function_call" | b"custom_tool_call" | b"local_shell_call" | b"apply_patch_call" | b"computer_call"
    )
}
