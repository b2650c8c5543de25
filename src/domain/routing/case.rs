//! [`Case`]: a request as routing sees it, and [`Evidence`]: what is known of how hard it is.

use super::kit::Contender;
use super::needs::Needs;
use super::pin::Pin;
use crate::domain::entry::Tier;
use crate::domain::features::Features;
use crate::domain::price::{Context, Model};

/// A request.
#[derive(Clone, Copy, Debug)]
pub struct Case<'a> {
    /// Sizes and kinds.
    pub features: &'a Features,
    /// What it takes.
    pub needs: Needs,
    /// The model that was asked for.
    pub requested: &'a str,
    /// Its prices, if they are known.
    pub requested_model: Option<&'a Model>,
    /// Whether whatever model is right was asked for.
    pub is_auto: bool,
    /// The client says that its model stays.
    pub opted_out: bool,
    /// The client wants at least this tier.
    pub floor: Option<Tier>,
    /// Whether a program writes code with it, whose short asks are not simple.
    pub is_agent: bool,
    /// Whether it is a title, a probe, or the like.
    pub is_housekeeping: bool,
    /// Whether it is a batch, an evaluation or for a fine-tuned model.
    pub is_bulk: bool,
    /// Which tiers' models the caller may use.
    pub allowed: [bool; 3],
    /// Lifetime in the provider's prompt cache that is asked for, in seconds.
    pub cache_ttl_s: u32,
    /// Whether the provider caches what it has seen.
    pub caches: bool,
    /// What prices depend on.
    pub context: Context<'a>,
}

/// How hard a request seems.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Judged {
    /// The tier that it is thought to be of.
    pub tier: Tier,
    /// Thousandths: how likely a small model fails.
    pub score: u16,
    /// Whether that is sure; doubt means medium.
    pub is_sure: bool,
}

/// What a judge said.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Verdict {
    /// Nobody was asked.
    #[default]
    NotAsked,
    /// It said nothing of use, or not in time.
    Unknown,
    /// The tier that it named.
    Tier(Tier),
}

/// What is known besides the request.
#[derive(Clone, Debug, Default)]
pub struct Evidence {
    /// What the local classifier says, drawn towards what was learned of the route.
    pub judged: Option<Judged>,
    /// What a judge said who was asked because that is unsure.
    pub judge: Option<Tier>,
    /// Where the conversation is.
    pub pin: Option<Pin>,
    /// The tier that has just failed at this very request.
    pub failed: Option<Tier>,
}

impl Case<'_> {
    /// Whether the last message is a tool's result.
    #[must_use]
    pub const fn is_in_tool_loop(&self) -> bool {
        self.features.in_tool_loop
    }

    /// Whether the conversation began before.
    #[must_use]
    pub const fn has_history(&self) -> bool {
        self.features.messages > 2 || self.features.calls > 0
    }

    /// Likely tokens of the answer.
    #[must_use]
    pub fn output_tokens(&self) -> u64 {
        /// Tokens of an answer whose length nobody knows.
        const USUAL: u64 = 500;
        match self.needs.output_limit {
            0 => USUAL,
            limit => limit.min(USUAL),
        }
    }

    /// Likely tokens that are new on this turn: the last message.
    #[must_use]
    pub fn fresh_tokens(&self) -> u64 {
        let last = u64::from(self.features.last_bytes) / 4;
        last.clamp(1, self.needs.prompt_tokens.max(1))
    }

    /// Why `contender` cannot take it.
    pub(super) fn lacks(&self, contender: &Contender) -> Option<super::kit::Lack> {
        contender.kit.lacks(&self.needs)
    }
}

impl Verdict {
    /// The tier, if one was named.
    #[must_use]
    pub const fn tier(self) -> Option<Tier> {
        match self {
            Self::NotAsked | Self::Unknown => None,
            Self::Tier(tier) => Some(tier),
        }
    }
}

impl Judged {
    /// Nobody knows.
    pub const UNSURE: Self = Self { tier: Tier::Medium, score: 500, is_sure: false };
}
