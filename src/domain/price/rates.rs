//! [`Rates`]: what a token of each kind costs, and [`Card`]: rates with their long-context tiers.

use std::borrow::Cow;
use std::fmt::{self, Write};

use crate::domain::money::Rate;

/// A kind of token with a price of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Bucket {
    /// Fresh prompt tokens.
    Input,
    /// Generated tokens, reasoning included.
    Output,
    /// Prompt tokens read from a cache.
    CacheRead,
    /// Prompt tokens written to a cache for the provider's default lifetime.
    CacheWrite,
    /// ... for five minutes.
    CacheWrite5m,
    /// ... for one hour.
    CacheWrite1h,
    /// ... for twelve hours.
    CacheWrite12h,
    /// Audio among the fresh prompt tokens.
    AudioIn,
    /// Audio among the generated tokens.
    AudioOut,
    /// Audio among the tokens read from a cache.
    AudioCacheRead,
    /// Audio among the tokens written to a cache; kept as a fact, since usage does not tell it apart.
    AudioCacheWrite,
    /// Images among the fresh prompt tokens.
    ImageIn,
    /// Images among the generated tokens.
    ImageOut,
    /// Images among the tokens read from a cache.
    ImageCacheRead,
    /// Video among the fresh prompt tokens.
    VideoIn,
    /// Video among the generated tokens.
    VideoOut,
}

/// How many buckets there are.
const BUCKETS: usize = 16;

/// Dollars for a million tokens of each bucket; what is not known is not there.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Rates([Option<Rate>; BUCKETS]);

/// Rates, and those that take their place on the whole request above a number of prompt tokens.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Card {
    pub(super) base: Rates,
    /// Thresholds in rising order; a rate that a tier leaves out is the base rate.
    pub(super) tiers: Vec<(u64, Rates)>,
}

impl Bucket {
    /// All of them, in the order in which they are written.
    pub const ALL: [Self; BUCKETS] = [
        Self::Input,
        Self::Output,
        Self::CacheRead,
        Self::CacheWrite,
        Self::CacheWrite5m,
        Self::CacheWrite1h,
        Self::CacheWrite12h,
        Self::AudioIn,
        Self::AudioOut,
        Self::AudioCacheRead,
        Self::AudioCacheWrite,
        Self::ImageIn,
        Self::ImageOut,
        Self::ImageCacheRead,
        Self::VideoIn,
        Self::VideoOut,
    ];

    /// The word in the price book and in config.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Input => "input",
            Self::Output => "output",
            Self::CacheRead => "cache_read",
            Self::CacheWrite => "cache_write",
            Self::CacheWrite5m => "cache_write_5m",
            Self::CacheWrite1h => "cache_write_1h",
            Self::CacheWrite12h => "cache_write_12h",
            Self::AudioIn => "audio_in",
            Self::AudioOut => "audio_out",
            Self::AudioCacheRead => "audio_cache_read",
            Self::AudioCacheWrite => "audio_cache_write",
            Self::ImageIn => "image_in",
            Self::ImageOut => "image_out",
            Self::ImageCacheRead => "image_cache_read",
            Self::VideoIn => "video_in",
            Self::VideoOut => "video_out",
        }
    }

    /// The bucket of a word.
    #[must_use]
    pub fn parse(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|bucket| bucket.name() == word)
    }
}

impl Rates {
    /// The rate of a bucket as the book has it, without falling back to another.
    #[must_use]
    pub const fn get(&self, bucket: Bucket) -> Option<Rate> {
        self.0[bucket as usize]
    }

    /// Sets the rate of a bucket.
    pub const fn set(&mut self, bucket: Bucket, rate: Rate) {
        self.0[bucket as usize] = Some(rate);
    }

    /// Whether nothing is known.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.iter().all(Option::is_none)
    }

    /// Whether any token costs something.
    #[must_use]
    pub fn any_paid(&self) -> bool {
        self.0.iter().flatten().any(|rate| *rate != Rate::FREE)
    }

    /// These rates, with the gaps filled from `below`.
    #[must_use]
    pub fn over(self, below: &Self) -> Self {
        self.merged(below, |own, below| own.or(below))
    }

    /// Of each bucket the dearer rate.
    #[must_use]
    pub fn dearer(self, other: &Self) -> Self {
        self.merged(other, Option::max)
    }

    fn merged(mut self, other: &Self, pick: fn(Option<Rate>, Option<Rate>) -> Option<Rate>) -> Self {
        for (own, other) in self.0.iter_mut().zip(other.0) {
            *own = pick(*own, other);
        }
        self
    }
}

impl Card {
    /// The rates for a request with `input_total` prompt tokens. Exactly at a threshold is the lower tier.
    pub(super) fn at(&self, input_total: u64) -> (Cow<'_, Rates>, Option<u64>) {
        match self.tiers.iter().rev().find(|(above, _)| input_total > *above) {
            Some((above, tier)) => (Cow::Owned(tier.over(&self.base)), Some(*above)),
            None => (Cow::Borrowed(&self.base), None),
        }
    }

    /// Reads `input 4 output 20 > 272000 input 8`.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let mut card = Self::default();
        let mut words = text.split_ascii_whitespace();
        while let Some(word) = words.next() {
            let value = words.next()?;
            if word == ">" {
                card.tiers.push((value.parse().ok()?, Rates::default()));
                continue;
            }
            let rates = card.tiers.last_mut().map_or(&mut card.base, |(_, rates)| rates);
            rates.set(Bucket::parse(word)?, Rate::per_million(value).ok()?);
        }
        card.tiers.is_sorted_by(|(low, _), (high, _)| low < high).then_some(card)
    }
}

impl fmt::Display for Rates {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let known = Bucket::ALL.into_iter().filter_map(|bucket| Some((bucket, self.get(bucket)?)));
        for (bucket, rate) in known {
            write!(out, " {} ", bucket.name())?;
            write_decimal(out, rate.pico(), 6)?;
        }
        Ok(())
    }
}

impl fmt::Display for Card {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{}", self.base)?;
        self.tiers.iter().try_for_each(|(above, rates)| write!(out, " > {above}{rates}"))
    }
}

/// Writes `number / 10^places` without needless zeros.
pub(super) fn write_decimal(out: &mut impl Write, number: u64, places: u32) -> fmt::Result {
    let unit = 10_u64.pow(places);
    let (whole, part) = (number / unit, number % unit);
    if part == 0 {
        return write!(out, "{whole}");
    }
    let width = places as usize;
    let part = format!("{part:0width$}");
    write!(out, "{whole}.{}", part.trim_end_matches('0'))
}
