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
    /// `POST /v1/completions`
    Completions,
    /// `POST /v1/images/generations`
    ImageGenerations,
    /// `POST /v1/images/edits`
    ImageEdits,
    /// `POST /v1/images/variations`
    ImageVariations,
    /// `POST /v1/audio/transcriptions`
    Transcriptions,
    /// `POST /v1/audio/translations`
    Translations,
    /// `POST /v1/audio/speech`
    Speech,
    /// `POST /v1/moderations`
    Moderations,
    /// `/v1/files*` of every dialect, but for the content of one; `/upload/v1beta/files`
    Files,
    /// `GET /v1/files/ID/content`: the results of an OpenAI batch are such a file.
    FileContent,
    /// `POST /v1/batches` and `POST /v1/messages/batches`: billed when its results are fetched.
    Batches,
    /// Lists, states and cancellations of batches.
    StoredBatch,
    /// `GET /v1/messages/batches/ID/results`
    BatchResults,
    /// `POST /v1beta/cachedContents`
    CachedContents,
    /// Everything else on `/v1beta/cachedContents*`
    StoredCache,
    /// `POST /v1beta/interactions`
    Interactions,
    /// Everything else on `/v1beta/interactions*`
    StoredInteraction,
    /// `GET /v1/models`, `GET /v1/models/M` and their like
    Models,
    /// A path that Tollgate does not know, forwarded because config says so.
    Unknown,
}

impl Operation {
    /// All of them.
    pub const ALL: [Self; 29] = [
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
        Self::Completions,
        Self::ImageGenerations,
        Self::ImageEdits,
        Self::ImageVariations,
        Self::Transcriptions,
        Self::Translations,
        Self::Speech,
        Self::Moderations,
        Self::Files,
        Self::FileContent,
        Self::Batches,
        Self::StoredBatch,
        Self::BatchResults,
        Self::CachedContents,
        Self::StoredCache,
        Self::Interactions,
        Self::StoredInteraction,
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
            Self::Completions => "completions",
            Self::ImageGenerations => "images.generations",
            Self::ImageEdits => "images.edits",
            Self::ImageVariations => "images.variations",
            Self::Transcriptions => "audio.transcriptions",
            Self::Translations => "audio.translations",
            Self::Speech => "audio.speech",
            Self::Moderations => "moderations",
            Self::Files => "files",
            Self::FileContent => "files.content",
            Self::Batches => "batches",
            Self::StoredBatch => "batches.stored",
            Self::BatchResults => "batches.results",
            Self::CachedContents => "cachedContents",
            Self::StoredCache => "cachedContents.stored",
            Self::Interactions => "interactions",
            Self::StoredInteraction => "interactions.stored",
            Self::Models => "models",
            Self::Unknown => "unknown",
        }
    }

    /// Whether the provider generates text for it, so that it can stream and has an output bound.
    #[must_use]
    pub const fn generates(self) -> bool {
        matches!(
            self,
            Self::ChatCompletions
                | Self::Completions
                | Self::Responses
                | Self::Messages
                | Self::GenerateContent
                | Self::Interactions
        )
    }

    /// Whether it makes or hears media: no request limits what that takes, and not every answer tells it.
    #[must_use]
    pub const fn is_media(self) -> bool {
        matches!(
            self,
            Self::ImageGenerations
                | Self::ImageEdits
                | Self::ImageVariations
                | Self::Transcriptions
                | Self::Translations
                | Self::Speech
        )
    }

    /// Whether its body is sent on as it arrives and never read: files and batches can be larger than any memory.
    #[must_use]
    pub const fn streams_body(self) -> bool {
        matches!(self, Self::Files | Self::Batches)
    }

    /// Whether its answer may hold the usage of a batch, which the provider has billed already.
    #[must_use]
    pub const fn may_tell_a_batch(self) -> bool {
        matches!(self, Self::FileContent | Self::BatchResults)
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
                | Self::Moderations
                | Self::Files
                | Self::StoredBatch
                | Self::StoredCache
                | Self::StoredInteraction
                | Self::Models
        )
    }
}
