//! [`Facts`]: everything that is learned from a provider's answer.
//!
//! What was not told stays unknown; nothing is guessed here.

use crate::domain::money::Usd;
use crate::domain::tokens::Usage;

/// What an answer told about itself.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Facts {
    /// The last usage that the provider reported, field by field; a zero in it is the provider's own.
    pub usage: Option<Usage>,
    /// Whether `usage` is the provider's closing report. If not, its input is what was known at the start of the
    /// answer (Anthropic's `message_start`, a Gemini chunk) and its output is a placeholder that may not be charged.
    pub usage_final: bool,
    /// Passes that are billed one by one, each at its own model; when there are any, the cost is their sum and `usage`
    /// tells only a part of it (Anthropic `usage.iterations` with compaction, advisor or fallback passes).
    pub calls: Vec<BilledCall>,
    /// What the provider says that it charges, rounded up to a pico-dollar (OpenRouter, Perplexity, xAI and others).
    pub reported_cost: Option<Usd>,
    /// What another provider charges besides, on the customer's own key at that provider (OpenRouter `is_byok`).
    pub reported_cost_elsewhere: Option<Usd>,
    /// Tokens of the provider's `total_tokens` that none of its other fields explain (Gemini's OpenAI-compatible API
    /// leaves out thoughts, which it bills as output); 0 if there are none or no total was told.
    pub untold_tokens: u64,
    /// Searches of Gemini's grounding, billed by query.
    pub grounding_queries: u64,
    /// Whether something was looked up for the answer while it was made (a search, a data source), so that it is one of its moment.
    pub looked_up: bool,
    /// The model that answered, by the provider's name for it.
    pub served_model: Option<Box<str>>,
    /// The name under which the Responses API keeps the answer.
    pub response_id: Option<Box<str>>,
    /// The service tier that was used, by the provider's word for it.
    pub service_tier: Option<Box<str>>,
    /// Where inference ran (Anthropic `inference_geo`).
    pub geo: Option<Box<str>>,
    /// The speed that was used (Anthropic `speed`).
    pub speed: Option<Box<str>>,
    /// How generation ended, if it did.
    pub ending: Option<Ending>,
    /// Whether the dialect's terminal event, or the whole of a JSON body, has arrived. An error event is terminal.
    pub terminal: bool,
    /// The answer is still being made, and will be billed later (`queued`, `in_progress`).
    pub pending: bool,
    /// Whether this was the whole of a batch's results, whose passes are in `calls`.
    pub batch: bool,
    /// Code or type of the error that the answer carries, inside a 200 as well.
    pub error: Option<Box<str>>,
    /// Raw bytes of generated text, arguments and shown reasoning: not fewer than their tokens.
    pub text_bytes: u64,
    /// Whether there was reasoning: then `text_bytes` bounds nothing, since more may be billed than is shown.
    pub reasoned: bool,
    /// Whether what was to be JSON is JSON, where the request asked for that and it could be told.
    pub sound: Option<bool>,
    /// How many times a usage was reported.
    pub usage_events: u32,
    /// Something could not be read. Usage that is missing is then unknown, not zero.
    pub broken: bool,
}

/// One pass of a call whose passes are billed one by one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BilledCall {
    /// The model that is billed for it; without one, that of the whole answer.
    pub model: Option<Box<str>>,
    /// What it used.
    pub usage: Usage,
}

/// How generation ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Ending {
    /// The model was done, or met a stop sequence.
    Stop,
    /// A token limit cut it off.
    Length,
    /// The model waits for the results of tools.
    ToolCalls,
    /// The model or a filter refused.
    Refusal,
    /// The provider failed.
    Failed,
    /// In a way that has no meaning here: it is as good as done for all but the cache.
    Other,
}
