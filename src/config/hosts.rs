//! What a host tells about an upstream: whose prices apply and which dialect it speaks.

use crate::domain::operation::Dialect;

/// The provider's name in the price book and its own dialect, for hosts that are known.
///
/// Sources: the base URLs in each provider's API reference; regional hosts are subdomains
/// (`eu.api.openai.com`, `us-east5-aiplatform.googleapis.com`).
pub(super) fn provider(host: &str) -> Option<(&'static str, Dialect)> {
    HOSTS.iter().find(|(tail, ..)| is_or_ends(host, tail)).map(|(_, provider, dialect)| (*provider, *dialect))
}

/// A host, or the end of one where it starts with a dot or a dash; its provider; the dialect of its own API.
const HOSTS: [(&str, &str, Dialect); 26] = [
    ("api.openai.com", "openai", Dialect::OpenAi),
    (".api.openai.com", "openai", Dialect::OpenAi),
    ("api.anthropic.com", "anthropic", Dialect::Anthropic),
    ("generativelanguage.googleapis.com", "google", Dialect::Gemini),
    ("aiplatform.googleapis.com", "vertex", Dialect::Gemini),
    ("-aiplatform.googleapis.com", "vertex", Dialect::Gemini),
    (".openai.azure.com", "azure", Dialect::OpenAi),
    (".services.ai.azure.com", "azure", Dialect::OpenAi),
    ("api.deepseek.com", "deepseek", Dialect::OpenAi),
    ("api.groq.com", "groq", Dialect::OpenAi),
    ("api.x.ai", "xai", Dialect::OpenAi),
    (".api.x.ai", "xai", Dialect::OpenAi),
    ("api.mistral.ai", "mistral", Dialect::OpenAi),
    ("openrouter.ai", "openrouter", Dialect::OpenAi),
    ("api.perplexity.ai", "perplexity", Dialect::OpenAi),
    ("api.cerebras.ai", "cerebras", Dialect::OpenAi),
    ("api.together.ai", "together", Dialect::OpenAi),
    ("api.together.xyz", "together", Dialect::OpenAi),
    ("api.moonshot.ai", "moonshot", Dialect::OpenAi),
    ("api.moonshot.cn", "moonshot", Dialect::OpenAi),
    ("api.z.ai", "zai", Dialect::OpenAi),
    ("dashscope-intl.aliyuncs.com", "alibaba", Dialect::OpenAi),
    ("router.huggingface.co", "huggingface", Dialect::OpenAi),
    (".snowflakecomputing.com", "snowflake", Dialect::OpenAi),
    ("api.cohere.com", "cohere", Dialect::OpenAi),
    ("api.cohere.ai", "cohere", Dialect::OpenAi),
];

/// The upstreams that exist without being configured: name, base URL, and the variable of their API key.
pub(super) const BUILT_IN: [(&str, &str, &str); 3] = [
    ("openai", "https://api.openai.com", "OPENAI_API_KEY"),
    ("anthropic", "https://api.anthropic.com", "ANTHROPIC_API_KEY"),
    ("gemini", "https://generativelanguage.googleapis.com", "GEMINI_API_KEY"),
];

fn is_or_ends(host: &str, tail: &str) -> bool {
    if tail.starts_with(['.', '-']) { host.len() > tail.len() && host.ends_with(tail) } else { host == tail }
}
