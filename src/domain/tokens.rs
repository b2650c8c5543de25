//! [`Usage`]: what a provider says it processed, in buckets that each have one price.
//!
//! Every dialect normalises into these buckets, whatever its own fields overlap. `input`, the `cache_*` buckets
//! and `output` are disjoint and sum to the provider's total; the fields named "of" another are parts of it and
//! say at which rate that part is priced.
//!
//! Invariant: a bucket is never negative; a provider whose numbers contradict each other is clamped, not wrapped.

/// Metered units of one provider call.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    /// Fresh prompt tokens: without those read from or written to a prompt cache.
    pub input: u64,
    /// Prompt tokens read from the provider's prompt cache.
    pub cache_read: u64,
    /// Prompt tokens written to the cache with the provider's default or an untold lifetime.
    pub cache_write: u64,
    /// Prompt tokens written to the cache for five minutes.
    pub cache_write_5m: u64,
    /// Prompt tokens written to the cache for one hour.
    pub cache_write_1h: u64,
    /// Prompt tokens written to the cache for twelve hours.
    pub cache_write_12h: u64,
    /// Generated tokens, reasoning included.
    pub output: u64,
    /// Of `output`: tokens of hidden or shown reasoning.
    pub reasoning: u64,
    /// Of the whole prompt: audio tokens, those of `audio_cached` included; so it may be more than `input`.
    pub audio_in: u64,
    /// Of `output`: audio tokens.
    pub audio_out: u64,
    /// Of `cache_read`: audio tokens.
    pub audio_cached: u64,
    /// Of the whole prompt: image tokens, those of `image_cached` included.
    pub image_in: u64,
    /// Of `output`: image tokens.
    pub image_out: u64,
    /// Of `cache_read`: image tokens.
    pub image_cached: u64,
    /// Of the whole prompt: video tokens, cached ones included.
    pub video_in: u64,
    /// Of the whole prompt: document tokens, cached ones included.
    pub document_in: u64,
    /// Of `input`: the prompt tokens that a provider's own tool use added.
    pub tool_prompt: u64,
    /// Tokens put into an explicit cache, billed for the time they are stored.
    pub stored_tokens: u64,
    /// Seconds of audio, for models priced by duration.
    pub seconds: u64,
    /// Search units of a rerank call.
    pub search_units: u64,
    /// Calls of tools that run at the provider, by the provider's name for them, in order of first sight.
    pub server_tools: Vec<(Box<str>, u64)>,
}

impl Usage {
    /// All prompt tokens, however they are priced: what a tier's threshold is compared with.
    #[must_use]
    pub fn input_total(&self) -> u64 {
        [self.cache_read, self.cache_write, self.cache_write_5m, self.cache_write_1h, self.cache_write_12h]
            .iter()
            .fold(self.input, |sum, bucket| sum.saturating_add(*bucket))
    }

    /// Whether nothing at all was counted.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// Adds what another call used.
    pub fn add(&mut self, other: &Self) {
        let Self { input, cache_read, cache_write, cache_write_5m, cache_write_1h, cache_write_12h, .. } = self;
        let Self { output, reasoning, audio_in, audio_out, audio_cached, image_in, image_out, .. } = self;
        let Self { image_cached, video_in, document_in, tool_prompt, stored_tokens, seconds, search_units, .. } = self;
        for (own, more) in [
            (input, other.input),
            (cache_read, other.cache_read),
            (cache_write, other.cache_write),
            (cache_write_5m, other.cache_write_5m),
            (cache_write_1h, other.cache_write_1h),
            (cache_write_12h, other.cache_write_12h),
            (output, other.output),
            (reasoning, other.reasoning),
            (audio_in, other.audio_in),
            (audio_out, other.audio_out),
            (audio_cached, other.audio_cached),
            (image_in, other.image_in),
            (image_out, other.image_out),
            (image_cached, other.image_cached),
            (video_in, other.video_in),
            (document_in, other.document_in),
            (tool_prompt, other.tool_prompt),
            (stored_tokens, other.stored_tokens),
            (seconds, other.seconds),
            (search_units, other.search_units),
        ] {
            *own = own.saturating_add(more);
        }
        for (name, calls) in &other.server_tools {
            self.add_server_tool(name, *calls);
        }
    }

    /// Adds `calls` of the server tool `name`.
    pub fn add_server_tool(&mut self, name: &str, calls: u64) {
        match self.server_tools.iter_mut().find(|(known, _)| &**known == name) {
            Some((_, count)) => *count = count.saturating_add(calls),
            None => self.server_tools.push((name.into(), calls)),
        }
    }
}

/// How the usage of an entry is known.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum UsageSource {
    /// The provider reported it.
    Reported,
    /// Bounded from the bytes that arrived.
    Counted,
    /// Taken to be the quote, since nothing is known.
    Assumed,
    /// There was nothing to bill.
    #[default]
    None,
}

impl UsageSource {
    /// The word in ledger, reports and log.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Reported => "reported",
            Self::Counted => "counted",
            Self::Assumed => "assumed",
            Self::None => "none",
        }
    }

    /// What is known of two usages together: no more than of the one that is known worse.
    #[must_use]
    pub const fn weaker(self, other: Self) -> Self {
        match (self, other) {
            (Self::Assumed, _) | (_, Self::Assumed) => Self::Assumed,
            (Self::Counted, _) | (_, Self::Counted) => Self::Counted,
            (Self::Reported, _) | (_, Self::Reported) => Self::Reported,
            (Self::None, Self::None) => Self::None,
        }
    }

    /// Whether the cost that follows from it is an estimate.
    #[must_use]
    pub const fn is_estimated(self) -> bool {
        matches!(self, Self::Counted | Self::Assumed)
    }
}
