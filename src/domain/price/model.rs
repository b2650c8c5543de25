//! [`Model`]: a row of the price book with what else the catalogues know about it.

use std::borrow::Cow;

use serde::Deserialize;

use super::overrides::Override;
use super::row::RateRow;

/// One model of one provider.
#[derive(Clone, Debug)]
pub struct Model {
    name: Cow<'static, str>,
    slash: usize,
    number: u32,
    facts: Facts,
    caps: Caps,
    row: RateRow,
    /// The paths where the operator says that it is served.
    endpoints: Option<Box<str>>,
}

/// A line of the book. Its text lives as long as the program, so that nothing is copied.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Facts {
    model: &'static str,
    mode: Option<&'static str>,
    context: Option<u64>,
    context_total: Option<u64>,
    max_output: Option<u64>,
    cache_min: Option<u64>,
    caps: &'static str,
    endpoints: &'static str,
    rates: &'static str,
    released: Option<&'static str>,
    retires: Option<&'static str>,
    status: Option<&'static str>,
    source: &'static str,
    conflicts: &'static str,
}

/// What a model can do, as far as anybody knows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Caps(u16);

/// Something that a model can do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Cap {
    /// Calls tools.
    Tools,
    /// Calls several tools at once.
    ParallelTools,
    /// Reads images.
    Vision,
    /// Reads PDF files.
    Pdf,
    /// Answers in a given JSON schema.
    JsonSchema,
    /// Thinks before it answers.
    Thinking,
    /// Has a prompt cache.
    Caching,
    /// Hears audio.
    AudioIn,
    /// Speaks.
    AudioOut,
    /// Watches video.
    VideoIn,
    /// Searches the web.
    WebSearch,
    /// Uses a computer.
    ComputerUse,
    /// Takes `temperature` and its like; the catalogues do not speak of it.
    Sampling,
}

impl Model {
    /// Reads the line `text` of the book.
    pub(super) fn parse(text: &'static str, number: u32, tools: &str) -> Option<Self> {
        let facts: Facts = serde_json::from_str(text).ok()?;
        let mut row = RateRow::from_text(facts.rates).ok()?;
        if !tools.is_empty() && row.sold_by.is_none() && facts.mode.is_none_or(|mode| mode == "responses") {
            let known = RateRow::from_text(&format!("fees {tools}")).ok()?;
            known.fees.into_iter().for_each(|(fee, rate)| row.set_fee(fee, rate));
        }
        let caps = facts.caps.split(' ').filter_map(Cap::parse).collect();
        Some(Self {
            name: Cow::Borrowed(facts.model),
            slash: facts.model.find('/')?,
            number,
            facts,
            caps,
            row,
            endpoints: None,
        })
    }

    /// A model that only an override knows.
    pub(super) fn unknown(provider: &str, id: &str) -> Self {
        let name = Cow::Owned(format!("{provider}/{id}"));
        Self {
            name,
            slash: provider.len(),
            number: u32::MAX,
            facts: Facts::default(),
            caps: Caps::default(),
            row: RateRow::default(),
            endpoints: None,
        }
    }

    /// This model with an operator's prices and limits, as row `number`.
    pub(super) fn overridden(&self, change: &Override, number: u32) -> Self {
        let mut model = Self { number, ..self.clone() };
        change.apply(&mut model.row);
        model.facts.context = change.context.or(model.facts.context);
        model.facts.max_output = change.max_output.or(model.facts.max_output);
        model.caps = change.can.unwrap_or(model.caps);
        model.endpoints = change.endpoints.clone().or(model.endpoints);
        model
    }

    /// The catalogue's name of the provider; empty for a model that only an override knows.
    #[must_use]
    pub fn provider(&self) -> &str {
        &self.name[..self.slash]
    }

    /// The id that a request names.
    #[must_use]
    pub fn id(&self) -> &str {
        &self.name[self.slash + 1..]
    }

    /// The rates, for [`super::charge`] and [`super::quote`].
    #[must_use]
    pub const fn row(&self) -> &RateRow {
        &self.row
    }

    /// The number of the row, for [`crate::domain::entry::PriceRef`]; the same for as long as the book's version is.
    #[must_use]
    pub const fn number(&self) -> u32 {
        self.number
    }

    /// `chat`, `responses`, `embedding`, `rerank`, `image_generation` and so on.
    #[must_use]
    pub fn mode(&self) -> &str {
        self.facts.mode.unwrap_or("chat")
    }

    /// Prompt tokens that fit.
    #[must_use]
    pub const fn context_window(&self) -> Option<u64> {
        self.facts.context
    }

    /// Prompt and answer tokens that fit together, where that is a limit of its own.
    #[must_use]
    pub const fn context_total(&self) -> Option<u64> {
        self.facts.context_total
    }

    /// Tokens that an answer can have.
    #[must_use]
    pub const fn max_output(&self) -> Option<u64> {
        self.facts.max_output
    }

    /// The shortest prefix in tokens that the provider caches.
    #[must_use]
    pub const fn cache_min_tokens(&self) -> Option<u64> {
        self.facts.cache_min
    }

    /// Whether the catalogues, or the operator, know that the model can do it.
    #[must_use]
    pub const fn can(&self, cap: Cap) -> bool {
        self.caps.has(cap)
    }

    /// All that the model is known to be able to do.
    #[must_use]
    pub const fn caps(&self) -> Caps {
        self.caps
    }

    /// The paths where it is served, without `/v1/`; none where the catalogues do not say.
    pub fn endpoints(&self) -> impl Iterator<Item = &str> {
        self.endpoints.as_deref().unwrap_or(self.facts.endpoints).split_ascii_whitespace()
    }

    /// Whether the operator said where it is served.
    #[must_use]
    pub const fn has_own_endpoints(&self) -> bool {
        self.endpoints.is_some()
    }

    /// When the model came out, as `2026-08-21`.
    #[must_use]
    pub const fn released(&self) -> Option<&str> {
        self.facts.released
    }

    /// When the provider will switch it off, or has, as `2026-08-21`.
    #[must_use]
    pub const fn retires(&self) -> Option<&str> {
        self.facts.retires
    }

    /// `removed` or `deprecated`.
    #[must_use]
    pub const fn status(&self) -> Option<&str> {
        self.facts.status
    }

    /// The catalogues that say another price.
    pub fn conflicts(&self) -> impl Iterator<Item = &str> {
        self.facts.conflicts.split_ascii_whitespace()
    }

    /// The key of the prices' source among the book's `sources`; empty for a model that only an override knows.
    #[must_use]
    pub const fn source(&self) -> &str {
        self.facts.source
    }
}

impl Caps {
    /// Whether `cap` is among them.
    #[must_use]
    pub const fn has(self, cap: Cap) -> bool {
        self.0 & (1 << cap as u16) != 0
    }

    /// These and `cap`.
    #[must_use]
    pub const fn with(self, cap: Cap) -> Self {
        Self(self.0 | 1 << cap as u16)
    }

    /// Those that are not among `others`.
    pub fn without(self, others: Self) -> impl Iterator<Item = Cap> {
        Self(self.0 & !others.0).all()
    }

    /// One after the other.
    pub fn all(self) -> impl Iterator<Item = Cap> {
        Cap::ALL.into_iter().filter(move |cap| self.has(*cap))
    }
}

impl FromIterator<Cap> for Caps {
    fn from_iter<I: IntoIterator<Item = Cap>>(caps: I) -> Self {
        caps.into_iter().fold(Self::default(), Self::with)
    }
}

impl Cap {
    /// All of them.
    pub const ALL: [Self; 13] = [
        Self::Tools,
        Self::ParallelTools,
        Self::Vision,
        Self::Pdf,
        Self::JsonSchema,
        Self::Thinking,
        Self::Caching,
        Self::AudioIn,
        Self::AudioOut,
        Self::VideoIn,
        Self::WebSearch,
        Self::ComputerUse,
        Self::Sampling,
    ];

    /// The one with this word.
    #[must_use]
    pub fn parse(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|cap| cap.name() == word)
    }

    /// The word in the book.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Tools => "tools",
            Self::ParallelTools => "parallel_tools",
            Self::Vision => "vision",
            Self::Pdf => "pdf",
            Self::JsonSchema => "json_schema",
            Self::Thinking => "thinking",
            Self::Caching => "caching",
            Self::AudioIn => "audio_in",
            Self::AudioOut => "audio_out",
            Self::VideoIn => "video_in",
            Self::WebSearch => "web_search",
            Self::ComputerUse => "computer_use",
            Self::Sampling => "sampling",
        }
    }
}
