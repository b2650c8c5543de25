//! Live: signs in a request that the provider looks something up while it answers.
//!
//! Such an answer is true of its moment, whatever its temperature. Tools that search are told apart elsewhere, as all tools are.

use memchr::memchr2;

/// Whether a member of a request's root has something looked up, unless it is `null` or `false`: xAI's live search
/// (<https://reference.langchain.com/javascript/types/_langchain_xai.ChatXAICompletionsInvocationParams.html>), Alibaba's
/// (<https://www.alibabacloud.com/help/en/model-studio/web-search>), Azure's own data
/// (<https://learn.microsoft.com/azure/ai-services/openai/references/on-your-data>).
pub(super) const fn looks_up(member: &[u8]) -> bool {
    matches!(member, b"search_parameters" | b"enable_search" | b"data_sources")
}

/// Whether a model searches although nobody asked: OpenAI's `-search-preview`, `-search-api` and `deep-research`
/// (<https://developers.openai.com/api/docs/models/gpt-4o-search-preview>), Perplexity's `sonar`
/// (<https://docs.perplexity.ai/docs/getting-started/models>), Groq's `compound` (<https://console.groq.com/docs/compound>), and
/// OpenRouter's `:online` of any model (<https://openrouter.ai/blog/announcements/introducing-web-search-via-the-api/>).
#[must_use]
pub fn searches(model: &str) -> bool {
    let name = model.rsplit('/').next().unwrap_or_default();
    // Most names have neither of the letters with which these words begin.
    let may_hold = memchr2(b's', b':', name.as_bytes()).is_some();
    let holds = |words: &[&str]| words.iter().any(|word| name.contains(word));
    name.starts_with("compound") || may_hold && holds(&["search", "sonar", ":online"])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn models_that_search_are_known_by_their_names() {
        for model in [
            "sonar",
            "perplexity/sonar-reasoning-pro",
            "gpt-4o-search-preview-2025-03-11",
            "gpt-5-search-api",
            "o3-deep-research",
            "groq/compound",
            "compound-beta-mini",
            "openai/gpt-4o:online",
        ] {
            assert!(searches(model), "{model}");
        }
        for model in ["gpt-4o", "claude-haiku-4-5", "gemini-2.5-flash", "openai/gpt-oss-120b", "text-embedding-3-small"]
        {
            assert!(!searches(model), "{model}");
        }
    }
}
