//! [`Fee`]: prices for other units than tokens, and which of them a provider's own tool takes.
//!
//! A fee is due for a call that was executed, never for a tool that was only declared.

use super::row::RateRow;
use crate::domain::money::{Rate, Usd};
use crate::domain::tokens::Usage;

/// A price for one unit other than a token.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Fee {
    /// One web search.
    Search,
    /// All web searches of one request (Gemini before 3: "per 1,000 grounded prompts").
    SearchRequest,
    /// One query of Google Maps.
    Maps,
    /// One search unit of a rerank call.
    Query,
    /// One hour of audio.
    Hour,
    /// One container for a code interpreter.
    CodeSession,
    /// One fetched page.
    WebFetch,
    /// One call of a remote MCP server.
    Mcp,
}

/// What the tool calls of one request cost.
#[derive(Debug, Default)]
pub(super) struct ToolFees {
    pub(super) total: Usd,
    /// Executed calls whose fee nobody told us, by the provider's name.
    pub(super) unpriced: Vec<(Box<str>, u64)>,
}

impl Fee {
    /// All of them.
    pub const ALL: [Self; 8] = [
        Self::Search,
        Self::SearchRequest,
        Self::Maps,
        Self::Query,
        Self::Hour,
        Self::CodeSession,
        Self::WebFetch,
        Self::Mcp,
    ];

    /// The word in the price book and in config.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Search => "search",
            Self::SearchRequest => "search_request",
            Self::Maps => "maps",
            Self::Query => "query",
            Self::Hour => "hour",
            Self::CodeSession => "code_session",
            Self::WebFetch => "web_fetch",
            Self::Mcp => "mcp",
        }
    }

    /// The fee of a word.
    #[must_use]
    pub fn parse(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|fee| fee.name() == word)
    }
}

/// What the executed calls of `usage` cost, and those without a known fee.
pub(super) fn executed(row: &RateRow, usage: &Usage) -> ToolFees {
    let mut fees = ToolFees::default();
    for (name, calls) in usage.server_tools.iter().filter(|(_, calls)| *calls > 0) {
        if is_repeated(name, usage) {
            continue;
        }
        let calls = if &**name == "web_search_call" { searches(usage).unwrap_or(*calls) } else { *calls };
        match price(row, name) {
            Some((fee, rate)) => fees.total = fees.total + rate.times(units(fee, calls)),
            None => fees.unpriced.push((name.clone(), calls)),
        }
    }
    fees
}

/// What up to `calls` of the tool `name` can cost, where its fee is known.
pub(super) fn bounded(row: &RateRow, name: &str, calls: u64) -> Option<Usd> {
    // Each call of an interpreter may find its container expired, so that here each counts.
    price(row, name).map(|(fee, rate)| rate.times(if fee == Fee::SearchRequest { calls.min(1) } else { calls }))
}

/// One request runs its interpreter in one container, and Gemini before 3 bills the searches of a request once.
const fn units(fee: Fee, calls: u64) -> u64 {
    match fee {
        Fee::SearchRequest | Fee::CodeSession => 1,
        Fee::Search | Fee::Maps | Fee::Query | Fee::Hour | Fee::WebFetch | Fee::Mcp => calls,
    }
}

/// The fee for a provider's name of a tool. Names: Anthropic `usage.server_tool_use`, OpenAI and xAI output items,
/// Gemini `groundingMetadata`, and the plain tool names of requests.
fn price(row: &RateRow, name: &str) -> Option<(Fee, Rate)> {
    let fees: &[Fee] = match name {
        "web_search"
        | "web_search_requests"
        | "web_search_call"
        | "web_search_queries"
        | "web_search_preview"
        | "google_search"
        | "googleSearch"
        | "google_search_retrieval"
        | "google_search_call"
        | "webSearchQueries" => &[Fee::Search, Fee::SearchRequest],
        "google_maps" | "googleMaps" | "google_maps_call" => &[Fee::Maps],
        "web_fetch" | "web_fetch_requests" => &[Fee::WebFetch],
        "code_interpreter" | "code_interpreter_call" => &[Fee::CodeSession],
        "mcp" | "mcp_call" => &[Fee::Mcp],
        _ => &[],
    };
    fees.iter().find_map(|fee| Some((*fee, row.fee(*fee)?)))
}

/// Whether a count only details another one: OpenAI's actions of a search, xAI's sums beside its output items.
fn is_repeated(name: &str, usage: &Usage) -> bool {
    let is_counted = |item: &str| usage.server_tools.iter().any(|(known, _)| &**known == item);
    match name.strip_prefix("xai.") {
        Some(sum) => is_counted(sum.strip_suffix('s').unwrap_or(sum)),
        None => name.starts_with("web_search_call.") && is_counted("web_search_call"),
    }
}

/// Of OpenAI's search calls those that searched; opening a page and finding in it have no fee
/// (<https://platform.openai.com/docs/guides/tools-web-search>). `None` where the actions are not told.
fn searches(usage: &Usage) -> Option<u64> {
    let mut actions = usage.server_tools.iter().filter(|(name, _)| name.starts_with("web_search_call.")).peekable();
    actions.peek()?;
    Some(actions.filter(|(name, _)| &**name == "web_search_call.search").map(|(_, calls)| *calls).sum())
}
