//! What to look for in the bodies of each dialect, and what it means.
//!
//! Paths follow the providers' published schemas; Gemini's fields are taken in both spellings, since Google's parser
//! takes both. A row shows a value's span, or as well its first bytes.

use std::sync::LazyLock;

use super::MODEL_BYTES_MAX;
use super::tools::NAME_BYTES_MAX;
use crate::domain::operation::Operation;
use crate::protocol::scan::{Pattern, Plan, Take};

/// A dialect's paths, compiled, and their meanings in the same order.
#[derive(Debug)]
pub(super) struct Table {
    pub(super) plan: Plan,
    pub(super) means: &'static [Mean],
}

/// What a value at a path means.
#[derive(Clone, Copy, Debug)]
pub(super) enum Mean {
    Root(Root),
    Turn(Turn),
    /// Of a content block: 0 stands in a message, 1 in a tool's result.
    Block(usize, Block),
    Tool(Tool),
}

/// Fields of the request itself.
#[derive(Clone, Copy, Debug)]
pub(super) enum Root {
    Model,
    Stream,
    StreamOptions,
    StreamOption,
    IncludeUsage,
    /// One of the names of the output limit.
    OutputLimit(u8),
    /// The object that holds the output limit.
    Settings,
    Choices,
    ServiceTier,
    Geo,
    Speed,
    CacheTtl,
    Caches,
    Prediction,
    Background,
    Previous,
    Stored,
    Session,
    Reasoning,
    /// Tokens that may be thought, which count in the output limit.
    Budget,
    /// How reasoning runs: some ways bill passes of their own.
    Mode,
    Format,
    /// All that is said of the answer's form.
    FormatAt,
    ToolChoice,
    Logprobs,
    /// Temperature and its like.
    Sampling,
    Parallel,
    Modalities,
    Edit,
    Fallback,
    System,
}

/// Fields of messages, items and inputs.
#[derive(Clone, Copy, Debug)]
pub(super) enum Turn {
    /// All of them.
    List,
    /// One of them has ended.
    End,
    Role,
    Type,
    CallId,
    Name,
    /// Content that may be text.
    Text,
    /// What must be a list of blocks.
    Blocks,
    CallsEnd,
    CalledId,
    CalledName,
    /// What a tool is called with.
    Arguments,
    Audio,
    Signed,
}

/// Fields of content blocks.
#[derive(Clone, Copy, Debug)]
pub(super) enum Block {
    /// The block has ended.
    End,
    Type,
    Text,
    /// Where its bytes are, inline or by address.
    Data,
    /// Gemini: the kind of its bytes.
    Mime,
    /// Gemini: a file by address.
    File,
    Id,
    Name,
    /// What a tool is called with.
    Arguments,
    ResultId,
    ResultName,
    IsError,
    /// Gemini: what a failed function answers.
    Error,
    /// Gemini: any member of a part, and one that is known.
    Member,
    KnownMember,
    Signed,
}

/// Fields of tool declarations.
#[derive(Clone, Copy, Debug)]
pub(super) enum Tool {
    /// All of them.
    List,
    /// One of them has ended.
    End,
    Type,
    UsesMax,
    /// Gemini: any member of a declaration, one that the client runs, and a function in it.
    Member,
    ClientMember,
    Function,
    /// Something that calls tools at the provider without being declared as one.
    Hidden,
    CallsMax,
}

/// The name of Google's output limit: its parser takes the text of a number as well, as all of protobuf's do
/// (<https://protobuf.dev/programming-guides/json/>).
pub(super) const GOOGLES_LIMIT: u8 = 3;

type Row = (&'static [&'static str], Mean, Take);

const SPAN: Take = Take::Span;
/// Enough for a word of any schema.
const WORD: Take = Take::Bytes(40);
const NAME: Take = Take::Bytes(NAME_BYTES_MAX + 2);
const LONG: Take = Take::Bytes(1_024);

const OPENAI: &[Row] = &[
    (&["model"], Mean::Root(Root::Model), Take::Bytes(MODEL_BYTES_MAX + 3)),
    (&["stream"], Mean::Root(Root::Stream), WORD),
    (&["stream_options"], Mean::Root(Root::StreamOptions), SPAN),
    (&["stream_options", "%"], Mean::Root(Root::StreamOption), SPAN),
    (&["stream_options", "include_usage"], Mean::Root(Root::IncludeUsage), SPAN),
    (&["max_tokens"], Mean::Root(Root::OutputLimit(0)), WORD),
    (&["max_completion_tokens"], Mean::Root(Root::OutputLimit(1)), WORD),
    (&["max_output_tokens"], Mean::Root(Root::OutputLimit(2)), WORD),
    (&["n|best_of"], Mean::Root(Root::Choices), WORD),
    (&["service_tier"], Mean::Root(Root::ServiceTier), NAME),
    (&["prompt_cache_retention"], Mean::Root(Root::CacheTtl), WORD),
    (&["prompt_cache_options", "ttl"], Mean::Root(Root::CacheTtl), WORD),
    (&["tools", "*", "cache_control", "ttl"], Mean::Root(Root::CacheTtl), WORD),
    (&["messages|input", "*", "content", "*", "cache_control", "ttl"], Mean::Root(Root::CacheTtl), WORD),
    (&["prediction"], Mean::Root(Root::Prediction), SPAN),
    (&["background"], Mean::Root(Root::Background), WORD),
    (&["previous_response_id"], Mean::Root(Root::Previous), NAME),
    (&["conversation|prompt"], Mean::Root(Root::Stored), SPAN),
    (&["prompt_cache_key"], Mean::Root(Root::Session), LONG),
    (&["reasoning_effort"], Mean::Root(Root::Reasoning), WORD),
    (&["reasoning|thinking", "effort|type|enabled"], Mean::Root(Root::Reasoning), WORD),
    (&["reasoning|thinking", "max_tokens|budget_tokens"], Mean::Root(Root::Budget), WORD),
    (&["reasoning", "mode"], Mean::Root(Root::Mode), WORD),
    (&["response_format"], Mean::Root(Root::FormatAt), SPAN),
    (&["response_format", "type"], Mean::Root(Root::Format), WORD),
    (&["text", "format"], Mean::Root(Root::FormatAt), SPAN),
    (&["text", "format", "type"], Mean::Root(Root::Format), WORD),
    (&["tool_choice"], Mean::Root(Root::ToolChoice), WORD),
    (&["logprobs|top_logprobs"], Mean::Root(Root::Logprobs), WORD),
    (&["temperature|top_p"], Mean::Root(Root::Sampling), WORD),
    (&["frequency_penalty|presence_penalty|logit_bias"], Mean::Root(Root::Sampling), WORD),
    (&["parallel_tool_calls"], Mean::Root(Root::Parallel), WORD),
    (&["modalities"], Mean::Root(Root::Modalities), NAME),
    (&["context_management", "*", "type"], Mean::Root(Root::Edit), WORD),
    (&["models"], Mean::Root(Root::Fallback), SPAN),
    (&["instructions"], Mean::Root(Root::System), SPAN),
    (&["web_search_options|plugins"], Mean::Tool(Tool::Hidden), SPAN),
    (&["max_tool_calls"], Mean::Tool(Tool::CallsMax), WORD),
    (&["tools|functions"], Mean::Tool(Tool::List), SPAN),
    (&["tools|functions", "*"], Mean::Tool(Tool::End), SPAN),
    (&["tools", "*", "type"], Mean::Tool(Tool::Type), NAME),
    (&["messages|input", "*", "tools"], Mean::Tool(Tool::List), SPAN),
    (&["messages|input", "*", "tools", "*"], Mean::Tool(Tool::End), SPAN),
    (&["messages|input", "*", "tools", "*", "type"], Mean::Tool(Tool::Type), NAME),
    (&["tools", "*", "parameters", "max_uses"], Mean::Tool(Tool::UsesMax), WORD),
    (&["messages|input"], Mean::Turn(Turn::List), SPAN),
    (&["messages|input", "*"], Mean::Turn(Turn::End), SPAN),
    (&["messages|input", "*", "role"], Mean::Turn(Turn::Role), WORD),
    (&["messages|input", "*", "type"], Mean::Turn(Turn::Type), WORD),
    (&["messages|input", "*", "call_id|tool_call_id"], Mean::Turn(Turn::CallId), NAME),
    (&["messages|input", "*", "name"], Mean::Turn(Turn::Name), NAME),
    (&["messages|input", "*", "audio"], Mean::Turn(Turn::Audio), SPAN),
    (&["messages|input", "*", "encrypted_content|reasoning_details"], Mean::Turn(Turn::Signed), SPAN),
    (&["messages|input", "*", "content|output"], Mean::Turn(Turn::Text), SPAN),
    (&["messages|input", "*", "tool_calls", "*"], Mean::Turn(Turn::CallsEnd), SPAN),
    (&["messages|input", "*", "tool_calls", "*", "id"], Mean::Turn(Turn::CalledId), NAME),
    (&["messages|input", "*", "tool_calls", "*", "function|custom", "name"], Mean::Turn(Turn::CalledName), NAME),
    (&["messages|input", "*", "tool_calls", "*", "function", "arguments"], Mean::Turn(Turn::Arguments), SPAN),
    (&["messages|input", "*", "arguments"], Mean::Turn(Turn::Arguments), SPAN),
    (&["messages|input", "*", "content|output", "*"], Mean::Block(0, Block::End), SPAN),
    (&["messages|input", "*", "content|output", "*", "type"], Mean::Block(0, Block::Type), WORD),
    (&["messages|input", "*", "content|output", "*", "text"], Mean::Block(0, Block::Text), SPAN),
    (&["messages|input", "*", "content|output", "*", "image_url"], Mean::Block(0, Block::Data), SPAN),
    (&["messages|input", "*", "content|output", "*", "image_url", "url"], Mean::Block(0, Block::Data), SPAN),
];

const ANTHROPIC: &[Row] = &[
    (&["model"], Mean::Root(Root::Model), Take::Bytes(MODEL_BYTES_MAX + 3)),
    (&["stream"], Mean::Root(Root::Stream), WORD),
    (&["max_tokens"], Mean::Root(Root::OutputLimit(0)), WORD),
    (&["service_tier"], Mean::Root(Root::ServiceTier), NAME),
    (&["inference_geo"], Mean::Root(Root::Geo), NAME),
    (&["speed"], Mean::Root(Root::Speed), NAME),
    (&["cache_control"], Mean::Root(Root::Caches), SPAN),
    (&["cache_control", "ttl"], Mean::Root(Root::CacheTtl), WORD),
    (&["system|tools", "*", "cache_control"], Mean::Root(Root::Caches), SPAN),
    (&["system|tools", "*", "cache_control", "ttl"], Mean::Root(Root::CacheTtl), WORD),
    (&["messages", "*", "content", "*", "cache_control"], Mean::Root(Root::Caches), SPAN),
    (&["messages", "*", "content", "*", "cache_control", "ttl"], Mean::Root(Root::CacheTtl), WORD),
    (&["messages", "*", "content", "*", "content", "*", "cache_control", "ttl"], Mean::Root(Root::CacheTtl), WORD),
    (&["metadata", "user_id"], Mean::Root(Root::Session), LONG),
    (&["thinking", "type"], Mean::Root(Root::Reasoning), WORD),
    (&["thinking", "budget_tokens"], Mean::Root(Root::Budget), WORD),
    (&["output_config", "effort"], Mean::Root(Root::Reasoning), NAME),
    (&["output_config", "format"], Mean::Root(Root::FormatAt), SPAN),
    (&["output_format"], Mean::Root(Root::FormatAt), SPAN),
    (&["output_config", "format", "type"], Mean::Root(Root::Format), WORD),
    (&["output_format", "type"], Mean::Root(Root::Format), WORD),
    (&["tool_choice", "type"], Mean::Root(Root::ToolChoice), WORD),
    (&["temperature|top_p|top_k"], Mean::Root(Root::Sampling), WORD),
    (&["context_management", "edits", "*", "type"], Mean::Root(Root::Edit), WORD),
    (&["fallback|fallbacks|fallback_model|fallback_models"], Mean::Root(Root::Fallback), SPAN),
    (&["system"], Mean::Root(Root::System), SPAN),
    (&["mcp_servers", "*"], Mean::Tool(Tool::Hidden), SPAN),
    (&["tools"], Mean::Tool(Tool::List), SPAN),
    (&["tools", "*"], Mean::Tool(Tool::End), SPAN),
    (&["tools", "*", "type"], Mean::Tool(Tool::Type), NAME),
    (&["tools", "*", "max_uses"], Mean::Tool(Tool::UsesMax), WORD),
    (&["messages"], Mean::Turn(Turn::List), SPAN),
    (&["messages", "*"], Mean::Turn(Turn::End), SPAN),
    (&["messages", "*", "role"], Mean::Turn(Turn::Role), WORD),
    (&["messages", "*", "content"], Mean::Turn(Turn::Text), SPAN),
    (&["messages", "*", "content", "*"], Mean::Block(0, Block::End), SPAN),
    (&["messages", "*", "content", "*", "type"], Mean::Block(0, Block::Type), WORD),
    (&["messages", "*", "content", "*", "text"], Mean::Block(0, Block::Text), SPAN),
    (&["messages", "*", "content", "*", "content"], Mean::Block(0, Block::Text), SPAN),
    (&["messages", "*", "content", "*", "source", "data"], Mean::Block(0, Block::Data), SPAN),
    (&["messages", "*", "content", "*", "id"], Mean::Block(0, Block::Id), NAME),
    (&["messages", "*", "content", "*", "name"], Mean::Block(0, Block::Name), NAME),
    (&["messages", "*", "content", "*", "input"], Mean::Block(0, Block::Arguments), SPAN),
    (&["messages", "*", "content", "*", "tool_use_id"], Mean::Block(0, Block::ResultId), NAME),
    (&["messages", "*", "content", "*", "is_error"], Mean::Block(0, Block::IsError), WORD),
    (&["messages", "*", "content", "*", "content", "*"], Mean::Block(1, Block::End), SPAN),
    (&["messages", "*", "content", "*", "content", "*", "type"], Mean::Block(1, Block::Type), WORD),
    (&["messages", "*", "content", "*", "content", "*", "text"], Mean::Block(1, Block::Text), SPAN),
    (&["messages", "*", "content", "*", "content", "*", "source", "data"], Mean::Block(1, Block::Data), SPAN),
];

const INLINE: &str = "inlineData|inline_data";
const FILE: &str = "fileData|file_data";
/// Where text is usual: what stands there instead may have more tokens than bytes.
const BYTES: &str = "inlineData|inline_data|fileData|file_data";
const MIME: &str = "mimeType|mime_type";
const CALL: &str = "functionCall|function_call";
const ANSWER: &str = "functionResponse|function_response";
const PARTS: &str = "text|thought|thoughtSignature|thought_signature|inlineData|inline_data|fileData|file_data|functionCall|\
    function_call|functionResponse|function_response|executableCode|executable_code|codeExecutionResult|\
    code_execution_result|toolCall|tool_call|toolResponse|tool_response|videoMetadata|video_metadata|mediaResolution|\
    media_resolution|partMetadata|part_metadata";
const DECLARED: &str = "functionDeclarations|function_declarations";
const SETTINGS: &str = "generationConfig|generation_config";
const THINKING: &str = "thinkingConfig|thinking_config";

const GEMINI: &[Row] = &[
    (&[SETTINGS], Mean::Root(Root::Settings), SPAN),
    (&[SETTINGS, "maxOutputTokens|max_output_tokens"], Mean::Root(Root::OutputLimit(GOOGLES_LIMIT)), WORD),
    (&[SETTINGS, "candidateCount|candidate_count"], Mean::Root(Root::Choices), WORD),
    (&[SETTINGS, THINKING, "includeThoughts|include_thoughts"], Mean::Root(Root::Reasoning), WORD),
    (&[SETTINGS, THINKING, "thinkingLevel|thinking_level"], Mean::Root(Root::Reasoning), WORD),
    (&[SETTINGS, THINKING, "thinkingBudget|thinking_budget"], Mean::Root(Root::Budget), WORD),
    (&[SETTINGS, "responseMimeType|response_mime_type"], Mean::Root(Root::Format), WORD),
    (
        &[SETTINGS, "responseSchema|response_schema|responseJsonSchema|response_json_schema"],
        Mean::Root(Root::FormatAt),
        SPAN,
    ),
    (&[SETTINGS, "responseModalities|response_modalities"], Mean::Root(Root::Modalities), NAME),
    (&[SETTINGS, "responseLogprobs|response_logprobs|logprobs"], Mean::Root(Root::Logprobs), WORD),
    (&[SETTINGS, "temperature|topP|top_p|topK|top_k"], Mean::Root(Root::Sampling), WORD),
    (&["serviceTier|service_tier"], Mean::Root(Root::ServiceTier), NAME),
    (&["cachedContent|cached_content"], Mean::Root(Root::Stored), SPAN),
    (&["systemInstruction|system_instruction"], Mean::Root(Root::System), SPAN),
    (&["systemInstruction|system_instruction", "parts", "*", BYTES], Mean::Root(Root::Stored), SPAN),
    (
        &["toolConfig|tool_config", "functionCallingConfig|function_calling_config", "mode"],
        Mean::Root(Root::ToolChoice),
        WORD,
    ),
    (&["tools"], Mean::Tool(Tool::List), SPAN),
    (&["tools", "*"], Mean::Tool(Tool::End), SPAN),
    (&["tools", "*", "%"], Mean::Tool(Tool::Member), SPAN),
    (
        &["tools", "*", "functionDeclarations|function_declarations|computerUse|computer_use"],
        Mean::Tool(Tool::ClientMember),
        SPAN,
    ),
    (&["tools", "*", DECLARED, "*"], Mean::Tool(Tool::Function), SPAN),
    (&["contents|requests"], Mean::Turn(Turn::List), SPAN),
    (&["contents|requests", "*"], Mean::Turn(Turn::End), SPAN),
    (&["contents", "*", "role"], Mean::Turn(Turn::Role), WORD),
    (&["contents", "*", "parts"], Mean::Turn(Turn::Blocks), SPAN),
    (&["contents", "*", "parts", "*"], Mean::Block(0, Block::End), SPAN),
    (&["contents", "*", "parts", "*", "%"], Mean::Block(0, Block::Member), SPAN),
    (&["contents", "*", "parts", "*", PARTS], Mean::Block(0, Block::KnownMember), SPAN),
    (&["contents", "*", "parts", "*", "text"], Mean::Block(0, Block::Text), SPAN),
    (&["contents", "*", "parts", "*", INLINE, MIME], Mean::Block(0, Block::Mime), WORD),
    (&["contents", "*", "parts", "*", INLINE, "data"], Mean::Block(0, Block::Data), SPAN),
    (&["contents", "*", "parts", "*", FILE], Mean::Block(0, Block::File), SPAN),
    (&["contents", "*", "parts", "*", CALL, "id"], Mean::Block(0, Block::Id), NAME),
    (&["contents", "*", "parts", "*", CALL, "name"], Mean::Block(0, Block::Name), NAME),
    (&["contents", "*", "parts", "*", CALL, "args"], Mean::Block(0, Block::Arguments), SPAN),
    (&["contents", "*", "parts", "*", ANSWER, "id"], Mean::Block(0, Block::ResultId), NAME),
    (&["contents", "*", "parts", "*", ANSWER, "name"], Mean::Block(0, Block::ResultName), NAME),
    (&["contents", "*", "parts", "*", ANSWER, "response", "error"], Mean::Block(0, Block::Error), SPAN),
    (&["contents", "*", "parts", "*", "thoughtSignature|thought_signature"], Mean::Block(0, Block::Signed), SPAN),
    (&["contents", "*", "parts", "*", ANSWER, "parts", "*"], Mean::Block(1, Block::End), SPAN),
    (&["contents", "*", "parts", "*", ANSWER, "parts", "*", INLINE, MIME], Mean::Block(1, Block::Mime), WORD),
    (&["contents", "*", "parts", "*", ANSWER, "parts", "*", INLINE, "data"], Mean::Block(1, Block::Data), SPAN),
    (&["contents", "*", "parts", "*", ANSWER, "parts", "*", FILE], Mean::Block(1, Block::File), SPAN),
    (&["content", "parts", "*", "text"], Mean::Block(0, Block::Text), SPAN),
    (&["content", "parts", "*", BYTES], Mean::Root(Root::Stored), SPAN),
    (&["requests", "*", "content", "parts", "*", "text"], Mean::Block(0, Block::Text), SPAN),
    (&["requests", "*", "content", "parts", "*", BYTES], Mean::Root(Root::Stored), SPAN),
];

/// Legacy completions, images, speech and moderations: a prompt or an input, and no conversation.
const SIMPLE: &[Row] = &[
    (&["model"], Mean::Root(Root::Model), Take::Bytes(MODEL_BYTES_MAX + 3)),
    (&["stream"], Mean::Root(Root::Stream), WORD),
    (&["stream_options"], Mean::Root(Root::StreamOptions), SPAN),
    (&["stream_options", "%"], Mean::Root(Root::StreamOption), SPAN),
    (&["stream_options", "include_usage"], Mean::Root(Root::IncludeUsage), SPAN),
    (&["max_tokens"], Mean::Root(Root::OutputLimit(0)), WORD),
    (&["n|best_of"], Mean::Root(Root::Choices), WORD),
    (&["service_tier"], Mean::Root(Root::ServiceTier), NAME),
    (&["prompt|input"], Mean::Turn(Turn::List), SPAN),
    (&["prompt|input", "*"], Mean::Turn(Turn::End), SPAN),
    (&["image|images|mask|image_url"], Mean::Root(Root::Stored), SPAN),
];

/// Gemini's interactions, which name their model in the body.
const INTERACTIONS: &[Row] = &[
    (&["model"], Mean::Root(Root::Model), Take::Bytes(MODEL_BYTES_MAX + 3)),
    (&["agent"], Mean::Root(Root::Fallback), SPAN),
    (&["stream"], Mean::Root(Root::Stream), WORD),
    (&["background"], Mean::Root(Root::Background), WORD),
    (&["previous_interaction_id"], Mean::Root(Root::Previous), NAME),
    (&["system_instruction"], Mean::Root(Root::System), SPAN),
    (&["service_tier"], Mean::Root(Root::ServiceTier), NAME),
    (&["generation_config"], Mean::Root(Root::Settings), SPAN),
    (&["generation_config", "max_output_tokens"], Mean::Root(Root::OutputLimit(0)), WORD),
    (&["generation_config", "thinking_level|thinking_config"], Mean::Root(Root::Reasoning), NAME),
    (&["response_mime_type"], Mean::Root(Root::Format), WORD),
    (&["response_modalities"], Mean::Root(Root::Modalities), NAME),
    (&["tools"], Mean::Tool(Tool::List), SPAN),
    (&["tools", "*"], Mean::Tool(Tool::End), SPAN),
    (&["tools", "*", "type"], Mean::Tool(Tool::Type), NAME),
    (&["input"], Mean::Turn(Turn::List), SPAN),
    (&["input", "*"], Mean::Turn(Turn::End), SPAN),
    (&["input", "*", "role"], Mean::Turn(Turn::Role), WORD),
    (&["input", "*", "type"], Mean::Turn(Turn::Type), WORD),
    (&["input", "*", "content|text"], Mean::Turn(Turn::Text), SPAN),
    (&["input", "*", "content", "*"], Mean::Block(0, Block::End), SPAN),
    (&["input", "*", "content", "*", "type"], Mean::Block(0, Block::Type), WORD),
    (&["input", "*", "content", "*", "text"], Mean::Block(0, Block::Text), SPAN),
];

/// A new context cache: what is in it is counted by the answer.
const CACHES: &[Row] = &[(&["model"], Mean::Root(Root::Model), Take::Bytes(MODEL_BYTES_MAX + 3))];

static TABLES: LazyLock<[Table; 6]> =
    LazyLock::new(|| [OPENAI, ANTHROPIC, GEMINI, SIMPLE, INTERACTIONS, CACHES].map(compiled));

/// The table for the bodies of an operation, if they are JSON that is worth reading.
pub(super) fn of(operation: Operation) -> Option<&'static Table> {
    let which = match operation {
        Operation::ChatCompletions | Operation::Responses | Operation::ResponsesInputTokens | Operation::Embeddings => {
            0
        }
        Operation::Messages | Operation::CountTokens => 1,
        Operation::GenerateContent | Operation::GeminiCountTokens | Operation::EmbedContent => 2,
        Operation::Completions
        | Operation::ImageGenerations
        | Operation::ImageEdits
        | Operation::ImageVariations
        | Operation::Transcriptions
        | Operation::Translations
        | Operation::Speech
        | Operation::Moderations => 3,
        Operation::Interactions => 4,
        Operation::CachedContents => 5,
        Operation::StoredResponse
        | Operation::Files
        | Operation::FileContent
        | Operation::Batches
        | Operation::StoredBatch
        | Operation::BatchResults
        | Operation::StoredCache
        | Operation::StoredInteraction
        | Operation::Models
        | Operation::Unknown => return None,
    };
    TABLES.get(which)
}

fn compiled(rows: &[Row]) -> Table {
    let patterns: Vec<_> = rows.iter().map(|(path, _, take)| Pattern { path, take: *take }).collect();
    let means: Vec<_> = rows.iter().map(|(_, mean, _)| *mean).collect();
    Table { plan: Plan::new(&patterns).unwrap_or_default(), means: means.leak() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_table_keeps_the_rules_of_a_plan() {
        for rows in [OPENAI, ANTHROPIC, GEMINI, SIMPLE, INTERACTIONS, CACHES] {
            let patterns: Vec<_> = rows.iter().map(|(path, _, take)| Pattern { path, take: *take }).collect();
            assert!(Plan::new(&patterns).is_ok());
        }
    }
}
