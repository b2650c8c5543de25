//! Which rates hold for a request: its date, hour, service tier, length and place. Charge and quote both choose here.

use std::borrow::Cow;

use super::charge::{Context, Note};
use super::rates::{Bucket, Rates};
use super::row::{Dated, Factor, RateRow};
use crate::domain::money::Rate;

/// A provider's service tier, whatever it calls it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Service {
    /// What is served where nothing else is asked for.
    Standard,
    /// Answered later, at a discount.
    Batch,
    /// Answered when there is room, at a discount.
    Flex,
    /// Answered sooner, at a premium.
    Priority,
    /// Answered soonest, at a larger premium.
    Ultrafast,
    /// Capacity that was paid for in advance; charged at the standard rates, and noted.
    Prepaid,
}

/// A service tier as a provider or a client names it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Named {
    /// Nothing was said, or the choice was left to the provider.
    Open,
    Known(Service),
    Unknown,
}

/// The moment of a request in the history of a row.
#[derive(Clone, Copy, Debug)]
pub(super) struct Moment<'a> {
    pub(super) dated: &'a Dated,
    pub(super) is_past: bool,
    pub(super) off_peak: bool,
}

impl Service {
    /// The word in the price book.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Standard => "standard",
            Self::Batch => "batch",
            Self::Flex => "flex",
            Self::Priority => "priority",
            Self::Ultrafast => "ultrafast",
            Self::Prepaid => "prepaid",
        }
    }

    /// The service that a rate card of the book is for.
    pub(super) fn of_card(word: &str) -> Option<Self> {
        [Self::Batch, Self::Flex, Self::Priority, Self::Ultrafast].into_iter().find(|service| service.name() == word)
    }
}

impl Named {
    /// Reads `service_tier` of OpenAI, Anthropic, Groq and Bedrock, and Gemini's `serviceTier` and `trafficType`.
    pub(super) fn parse(name: Option<&str>) -> Self {
        let Some(name) = name else { return Self::Open };
        // No provider's word is longer; a longer one is unknown anyway.
        let mut buffer = [0; 24];
        let Some(lower) = buffer.get_mut(..name.len()) else { return Self::Unknown };
        lower.copy_from_slice(name.as_bytes());
        lower.make_ascii_lowercase();
        match &*lower {
            b"" | b"auto" | b"service_tier_unspecified" | b"traffic_type_unspecified" => Self::Open,
            b"default" | b"standard" | b"standard_only" | b"on_demand" | b"on-demand" => Self::Known(Service::Standard),
            b"flex" | b"on_demand_flex" => Self::Known(Service::Flex),
            b"priority" | b"fast" | b"on_demand_priority" => Self::Known(Service::Priority),
            b"ultrafast" => Self::Known(Service::Ultrafast),
            b"batch" => Self::Known(Service::Batch),
            b"provisioned_throughput" | b"provisioned" | b"scale" | b"reserved" => Self::Known(Service::Prepaid),
            _ => Self::Unknown,
        }
    }
}

impl RateRow {
    /// The span of time of an instant, and whether it is off its peak.
    pub(super) fn moment(&self, at_ms: u64) -> Moment<'_> {
        let past = self.past.iter().find(|(until_ms, _)| at_ms < *until_ms);
        let dated = past.map_or(&self.now, |(_, dated)| dated);
        let off_peak = dated.off_peak.as_ref().is_some_and(|(schedule, _)| !schedule.is_peak(at_ms));
        Moment { dated, is_past: past.is_some(), off_peak }
    }

    /// The rates of a service at a moment, for a request with `input_total` prompt tokens; with the tier's threshold.
    pub(super) fn rates<'a>(
        &'a self,
        moment: Moment<'a>,
        service: Service,
        input_total: u64,
        notes: &mut Vec<Note>,
    ) -> (Cow<'a, Rates>, Option<u64>) {
        let (mut standard, above) = moment.dated.card.at(input_total);
        if let Some((_, off_peak)) = moment.dated.off_peak.as_ref().filter(|_| moment.off_peak) {
            standard = Cow::Owned(off_peak.over(&standard));
        }
        if service == Service::Standard {
            return (standard, above);
        }
        let Some((_, card)) = self.services.iter().find(|(known, _)| *known == service) else {
            notes.push(if service == Service::Prepaid { Note::Prepaid } else { Note::ServiceAtStandard });
            return (standard, above);
        };
        let (own, own_above) = card.at(input_total);
        if moment.is_past {
            // The card is today's; of the past only the standard rates are known.
            notes.push(Note::ServiceOfAnotherDate);
            return (Cow::Owned(own.dearer(&standard)), above.or(own_above));
        }
        if above.is_some() && own_above.is_none() {
            // Nobody says what this service costs above the threshold.
            notes.push(Note::ServiceWithoutTier);
            return (Cow::Owned(own.dearer(&standard)), above);
        }
        (Cow::Owned(own.over(&standard)), own_above)
    }

    /// What the token prices are multiplied by: where it ran, and how fast.
    pub(super) fn multiplier(&self, context: &Context<'_>, notes: &mut Vec<Note>) -> Factor {
        self.geo(context, notes).times(self.residency(context, notes)).times(self.speed(context, notes))
    }

    /// The largest multiplier of the names that begin with `family`, or one.
    pub(super) fn largest(&self, family: &str) -> Factor {
        let found = self.times.iter().filter(|(name, _)| name.starts_with(family));
        found.fold(Factor::ONE, |largest, (_, factor)| largest.dearer(*factor))
    }

    /// Anthropic's `inference_geo`; `global` and `not_available` (models before it) are the plain price.
    fn geo(&self, context: &Context<'_>, notes: &mut Vec<Note>) -> Factor {
        let Some(geo) = context.geo.filter(|geo| !matches!(*geo, "" | "global" | "not_available")) else {
            return Factor::ONE;
        };
        let known = match geo {
            "us" => self.factor("geo.us"),
            _ => self.factor(&format!("geo.{geo}")),
        };
        known.unwrap_or_else(|| self.unknown_place("geo.", notes))
    }

    /// OpenAI's regional hosts (`us`, `eu`), and the regional endpoints of a cloud (`regional`).
    fn residency(&self, context: &Context<'_>, notes: &mut Vec<Note>) -> Factor {
        let known = match context.residency {
            None | Some("" | "global") => return Factor::ONE,
            Some("regional") => return self.factor("regional").unwrap_or(Factor::ONE),
            Some("us") => self.factor("residency.us"),
            Some("eu") => self.factor("residency.eu"),
            Some(place) => self.factor(&format!("residency.{place}")),
        };
        known.unwrap_or_else(|| self.unknown_place("residency.", notes))
    }

    /// A place without a price of its own: the dearest of its kind. A model without any has one price everywhere.
    fn unknown_place(&self, family: &str, notes: &mut Vec<Note>) -> Factor {
        if self.times.iter().any(|(name, _)| name.starts_with(family)) {
            notes.push(Note::UnknownPlace);
        }
        self.largest(family)
    }

    fn speed(&self, context: &Context<'_>, notes: &mut Vec<Note>) -> Factor {
        let known = match context.speed {
            None | Some("" | "standard") => return Factor::ONE,
            Some("fast") => self.factor("speed.fast"),
            Some(_) => None,
        };
        known.unwrap_or_else(|| {
            notes.push(Note::UnknownSpeed);
            self.largest("speed.")
        })
    }
}

/// The rate of a bucket after all fallbacks: a part is priced as its whole, a write without a price as plain input.
pub(super) fn unit(rates: &Rates, bucket: Bucket) -> Option<Rate> {
    let own = rates.get(bucket);
    let paid = |bucket| rates.get(bucket).filter(|rate| *rate != Rate::FREE);
    match bucket {
        Bucket::Input => own,
        // Usage does not tell generated video from text, so that the dearer counts.
        Bucket::Output => own.max(rates.get(Bucket::VideoOut)),
        Bucket::CacheRead | Bucket::AudioIn | Bucket::ImageIn | Bucket::VideoIn => {
            own.or_else(|| unit(rates, Bucket::Input))
        }
        Bucket::CacheWrite => paid(bucket).or_else(|| paid(Bucket::CacheWrite5m)).or_else(|| rates.get(Bucket::Input)),
        Bucket::CacheWrite5m => paid(bucket).or_else(|| unit(rates, Bucket::CacheWrite)),
        Bucket::CacheWrite1h | Bucket::CacheWrite12h => paid(bucket).or_else(|| unit(rates, Bucket::CacheWrite)),
        Bucket::AudioOut | Bucket::ImageOut | Bucket::VideoOut => own.or_else(|| unit(rates, Bucket::Output)),
        Bucket::AudioCacheRead | Bucket::ImageCacheRead => own.or_else(|| unit(rates, Bucket::CacheRead)),
        Bucket::AudioCacheWrite => own.or_else(|| unit(rates, Bucket::CacheWrite)),
    }
}
