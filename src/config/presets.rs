//! Presets: what is known of a provider before its upstream says anything.
//!
//! A preset fills in what a section leaves out; every key beside it wins. None brings a price: models that the book does
//! not know are unpriced until config says otherwise, also those that run on one's own machine.

use crate::domain::operation::Dialect;

/// What a preset fills in.
#[derive(Clone, Copy, Debug)]
pub(super) struct Preset {
    pub(super) name: &'static str,
    /// The provider in the price book, and in the rules for usage and reported costs.
    pub(super) provider: &'static str,
    pub(super) dialect: Dialect,
    /// `None`: it is the customer's own, and config has to name it.
    pub(super) base_url: Option<&'static str>,
    /// An address of that kind, for messages.
    pub(super) example: &'static str,
    /// Whether the path below it has no `/v1`.
    pub(super) drops_version: bool,
    pub(super) models: &'static [&'static str],
}

/// A provider whose address is known and whose paths begin with `/v1`.
const fn open(name: &'static str, base_url: &'static str, models: &'static [&'static str]) -> Preset {
    let (provider, dialect) = (name, Dialect::OpenAi);
    Preset { name, provider, dialect, base_url: Some(base_url), example: base_url, drops_version: false, models }
}

/// All of them. `include_usage` follows from the provider: only OpenAI's and Azure's streams need the option, as the
/// recordings of all others show (PROTOCOLS).
pub(super) const PRESETS: [Preset; 20] = [
    open("openai", "https://api.openai.com", &[]),
    Preset { dialect: Dialect::Anthropic, ..open("anthropic", "https://api.anthropic.com", &[]) },
    Preset {
        provider: "google",
        dialect: Dialect::Gemini,
        ..open("gemini", "https://generativelanguage.googleapis.com", &[])
    },
    // https://api-docs.deepseek.com: with and without /v1.
    open("deepseek", "https://api.deepseek.com", &["deepseek-*"]),
    // https://console.groq.com/docs/openai. Its models are named after their makers, so that no pattern is its own.
    open("groq", "https://api.groq.com/openai", &[]),
    // https://docs.x.ai/docs/api-reference
    open("xai", "https://api.x.ai", &["grok-*"]),
    // https://docs.mistral.ai/api
    open(
        "mistral",
        "https://api.mistral.ai",
        &[
            "mistral-*",
            "ministral-*",
            "magistral-*",
            "codestral-*",
            "devstral-*",
            "pixtral-*",
            "voxtral-*",
            "open-mistral-*",
            "open-mixtral-*",
        ],
    ),
    // https://openrouter.ai/docs/api-reference/overview: models are MAKER/MODEL.
    open("openrouter", "https://openrouter.ai/api", &["*/*"]),
    // https://docs.perplexity.ai/api-reference/chat-completions-post: /chat/completions without a version.
    Preset { drops_version: true, ..open("perplexity", "https://api.perplexity.ai", &["sonar*"]) },
    // https://inference-docs.cerebras.ai/api-reference
    open("cerebras", "https://api.cerebras.ai", &[]),
    // https://docs.together.ai/reference
    open("together", "https://api.together.ai", &[]),
    // https://platform.moonshot.ai/docs/api/chat
    open("moonshot", "https://api.moonshot.ai", &["kimi-*", "moonshot-*"]),
    // https://docs.z.ai/api-reference: the version in the path is /v4.
    Preset { drops_version: true, ..open("zai", "https://api.z.ai/api/paas/v4", &["glm-*"]) },
    // https://www.alibabacloud.com/help/en/model-studio/compatibility-of-openai-with-dashscope
    open("alibaba", "https://dashscope-intl.aliyuncs.com/compatible-mode", &["qwen*", "qwq-*", "qvq-*"]),
    // https://huggingface.co/docs/inference-providers: /v1, or a provider's own path, kept behind /u/NAME.
    open("huggingface", "https://router.huggingface.co", &[]),
    // https://docs.snowflake.com/en/user-guide/snowflake-cortex/cortex-rest-api
    Preset {
        base_url: None,
        example: "https://ACCOUNT.snowflakecomputing.com/api/v2/cortex",
        ..open("snowflake", "", &[])
    },
    // https://learn.microsoft.com/en-us/azure/ai-services/openai/reference: /openai/v1, or /openai/deployments/NAME with
    // ?api-version; both are paths behind /u/NAME.
    Preset { base_url: None, example: "https://RESOURCE.openai.azure.com", ..open("azure", "", &[]) },
    // https://docs.ollama.com/api/openai-compatibility
    open("ollama", "http://127.0.0.1:11434", &[]),
    // https://docs.vllm.ai/en/latest/serving/openai_compatible_server.html
    open("vllm", "http://127.0.0.1:8000", &[]),
    // https://github.com/ggml-org/llama.cpp/tree/master/tools/server
    open("llamacpp", "http://127.0.0.1:8080", &[]),
];

/// The preset called `name`.
pub(super) fn preset(name: &str) -> Option<&'static Preset> {
    PRESETS.iter().find(|preset| preset.name == name)
}
