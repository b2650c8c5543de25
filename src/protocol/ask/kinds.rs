//! What items, blocks and tools are by their types, as the providers' schemas name them.
//!
//! A kind that is not known counts as a stored thing or a document, whose size the body does not tell; an unknown
//! tool counts as one that runs at the provider.

use super::values;

/// What an item of the Responses API is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum ItemKind {
    #[default]
    Message,
    Call,
    Result,
    Image,
    Stored,
    Plain,
}

/// What a content block holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Plain,
    Signed,
    Call,
    Result,
    Image,
    Document,
    Audio,
    Video,
}

/// What an item of the Responses API is by its type.
pub(super) fn item_kind(raw: &[u8]) -> ItemKind {
    match values::string(raw).as_deref() {
        Some("message" | "reasoning" | "additional_tools" | "compaction" | "compaction_summary") => ItemKind::Message,
        Some("function_call" | "custom_tool_call") => ItemKind::Call,
        Some("function_call_output" | "custom_tool_call_output") => ItemKind::Result,
        Some("image_generation_call" | "computer_call_output") => ItemKind::Image,
        Some(kind) if kind.ends_with("_call") || kind.ends_with("_output") || kind.starts_with("mcp_") => {
            ItemKind::Plain
        }
        // `item_reference`, and whatever comes to be: its size is not in the body.
        Some(_) | None => ItemKind::Stored,
    }
}

/// Whether an item of the Responses API is nobody's message: what the model thought, or a conversation made short.
pub(super) fn is_thought(raw: &[u8]) -> bool {
    raw.starts_with(b"\"reasoning") || raw.starts_with(b"\"compaction") || raw.starts_with(b"\"additional_tools")
}

/// What a block holds by its type.
pub(super) fn block_kind(raw: &[u8]) -> Kind {
    match values::string(raw).as_deref() {
        Some("thinking" | "redacted_thinking") => Kind::Signed,
        Some("tool_use") => Kind::Call,
        Some("tool_result") => Kind::Result,
        Some("image" | "image_url" | "input_image") => Kind::Image,
        Some("input_audio" | "audio") => Kind::Audio,
        Some("video" | "video_url" | "input_video") => Kind::Video,
        Some(
            "text"
            | "input_text"
            | "output_text"
            | "summary_text"
            | "reasoning_text"
            | "refusal"
            | "server_tool_use"
            | "mcp_tool_use"
            | "mcp_tool_result"
            | "web_search_tool_result"
            | "web_search_result"
            | "search_result"
            | "tool_search_tool_result"
            | "tool_reference"
            | "tool_addition"
            | "compaction"
            | "reference"
            | "code_execution_tool_result"
            | "bash_code_execution_tool_result"
            | "text_editor_code_execution_tool_result",
        ) => Kind::Plain,
        Some(_) | None => Kind::Document,
    }
}

/// What a block holds by its media type.
pub(super) fn mime_kind(raw: &[u8]) -> Kind {
    let text = values::string(raw).unwrap_or_default();
    match text.split('/').next() {
        Some("image") => Kind::Image,
        Some("audio") => Kind::Audio,
        Some("video") => Kind::Video,
        Some(_) | None => Kind::Document,
    }
}

/// Whether the client runs tools of this type. Anthropic dates its types, as in `bash_20250124`.
pub(in crate::protocol) fn runs_at_client(kind: &str) -> bool {
    let dated = kind.trim_end_matches(|letter: char| letter.is_ascii_digit()).trim_end_matches('_');
    matches!(
        dated,
        "function"
            | "custom"
            | "namespace"
            | "bash"
            | "text_editor"
            | "computer"
            | "memory"
            | "local_shell"
            | "apply_patch"
            | "computer_use"
            | "computer_use_preview"
    )
}
