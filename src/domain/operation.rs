//! [`Dialect`] and [`Operation`]: which wire API a request speaks, and what it asks for.

/// A family of wire APIs; an upstream speaks one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Dialect {
    /// OpenAI, and the many that speak like it.
    OpenAi,
    /// Anthropic.
    Anthropic,
    /// Google's Gemini API.
    Gemini,
}

impl Dialect {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::OpenAi, Self::Anthropic, Self::Gemini];

    /// The word in config, ledger and reports.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::OpenAi => "openai",
            Self::Anthropic => "anthropic",
            Self::Gemini => "gemini",
        }
    }
}

/// What a request asks a provider to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Operation {
    /// `POST /v1/chat/completions`
    ChatCompletions,
    /// `POST /v1/responses` and `POST /v1/responses/compact`
    Responses,
    /// `GET`, `DELETE` and `POST .../cancel` of `/v1/responses/ID`: nothing is generated for it.
    StoredResponse,
    /// `POST /v1/responses/input_tokens`
    ResponsesInputTokens,
    /// `POST /v1/embeddings`
    Embeddings,
    /// `POST /v1/messages`
    Messages,
    /// `POST /v1/messages/count_tokens`
    CountTokens,
    /// `POST /v1beta/models/M:generateContent` and `:streamGenerateContent`
    GenerateContent,
    /// `POST /v1beta/models/M:countTokens`
    GeminiCountTokens,
    /// `POST /v1beta/models/M:embedContent` and `:batchEmbedContents`
    EmbedContent,
    /// `GET /v1/models`, `GET /v1/models/M` and their like
    Models,
    /// A path that Tollgate does not know, forwarded because config says so.
    Unknown,
}

impl Operation {
    /// All of them.
    pub const ALL: [Self; 12] = [
        Self::ChatCompletions,
        Self::Responses,
        Self::Embeddings,
        Self::Messages,
        Self::CountTokens,
        Self::GenerateContent,
        Self::GeminiCountTokens,
        Self::EmbedContent,
        Self::Models,
        Self::Unknown,
        Self::StoredResponse,
        Self::ResponsesInputTokens,
    ];

    /// The word in ledger and reports.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::ChatCompletions => "chat.completions",
            Self::Responses => "responses",
            Self::StoredResponse => "responses.stored",
            Self::ResponsesInputTokens => "responses.input_tokens",
            Self::Embeddings => "embeddings",
            Self::Messages => "messages",
            Self::CountTokens => "messages.count_tokens",
            Self::GenerateContent => "generateContent",
            Self::GeminiCountTokens => "countTokens",
            Self::EmbedContent => "embedContent",
            Self::Models => "models",
            Self::Unknown => "unknown",
        }
    }

    /// Whether the provider generates text for it, so that it can stream and has an output bound.
    #[must_use]
    pub const fn generates(self) -> bool {
        matches!(self, Self::ChatCompletions | Self::Responses | Self::Messages | Self::GenerateContent)
    }

    /// Whether providers answer it without a charge.
    #[must_use]
    pub const fn is_free(self) -> bool {
        matches!(
            self,
            Self::CountTokens
                | Self::GeminiCountTokens
                | Self::ResponsesInputTokens
                | Self::StoredResponse
                | Self::Models
        )
    }
}
