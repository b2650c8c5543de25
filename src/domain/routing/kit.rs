//! [`Kit`]: what a model can take, as far as it is known, and [`Lineup`]: the models of an upstream by tier.
//!
//! Invariant: what is not known is not there; a model without a known window takes nothing.

use std::fmt;
use std::sync::Arc;

use super::needs::Needs;
use crate::domain::entry::Tier;
use crate::domain::operation::Operation;
use crate::domain::price::{Cap, Caps, Model};

/// What a model can take.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Kit {
    /// What it can do.
    pub caps: Caps,
    /// Tokens of prompt and answer that fit.
    pub context: u64,
    /// Tokens that an answer can have.
    pub max_output: u64,
    /// Operations that it is served on, as bits of their places in [`SERVED`].
    served: u8,
}

/// Why a model cannot take a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lack {
    /// It is not known to be able to do this.
    Cap(Cap),
    /// The prompt and the answer may not fit.
    Context,
    /// Its answers are shorter than what was asked for.
    Output,
    /// It is not known to be served on this path.
    Endpoint,
    /// Nobody knows whether any model can do this.
    Special(&'static str),
    /// The caller may not use it, or not so dear a one.
    Forbidden,
    /// There is none.
    Absent,
}

/// A model that may answer.
#[derive(Clone, Debug)]
pub struct Contender {
    /// Its name.
    pub name: Arc<str>,
    /// What it can take.
    pub kit: Kit,
    /// Its prices; `None` if it has none.
    pub model: Option<Arc<Model>>,
}

/// The models of an upstream by tier.
#[derive(Clone, Debug, Default)]
pub struct Lineup {
    /// One for each tier that has one, simple first.
    pub tiers: [Option<Contender>; 3],
    /// Whether the upstream's models cost nothing.
    pub is_free: bool,
}

/// Operations on which a model is looked for, with the path that the catalogues know them by.
const SERVED: [(Operation, &str); 4] = [
    (Operation::ChatCompletions, "chat/completions"),
    (Operation::Responses, "responses"),
    (Operation::Messages, "messages"),
    (Operation::GenerateContent, "generateContent"),
];

/// The catalogues' names of the makers with an API of their own, on which all of their chat models are served:
/// <https://platform.claude.com/docs/en/api/messages>, <https://ai.google.dev/api/generate-content>.
const OWN_API: [(&str, Operation); 2] = [("anthropic", Operation::Messages), ("google", Operation::GenerateContent)];

/// Makers whose thinking models take `temperature` all the same. OpenAI's refuse it
/// (<https://platform.openai.com/docs/guides/reasoning>), and of Anthropic's newer ones it is not known.
/// <https://ai.google.dev/api/generate-content#generationconfig>, <https://api-docs.deepseek.com/api/create-chat-completion>,
/// <https://docs.x.ai/docs/api-reference>, <https://docs.mistral.ai/api>, <https://console.groq.com/docs/api-reference>
const TAKE_SAMPLING: [&str; 5] = ["google", "deepseek", "xai", "mistral", "groq"];

/// The words for the paths on which routing looks for models.
pub fn endpoints() -> impl Iterator<Item = &'static str> {
    SERVED.into_iter().map(|(_, path)| path)
}

impl Kit {
    /// What the catalogues say of `model`.
    #[must_use]
    pub fn of(model: &Model) -> Self {
        let mut caps = model.caps();
        // The catalogues leave it out for Anthropic, whose models all call tools in parallel unless they are told not to:
        // https://platform.claude.com/docs/en/agents-and-tools/tool-use/parallel-tool-use
        if model.provider() == "anthropic" && caps.has(Cap::Tools) {
            caps = caps.with(Cap::ParallelTools);
        }
        if !model.can(Cap::Thinking) || TAKE_SAMPLING.contains(&model.provider()) {
            caps = caps.with(Cap::Sampling);
        }
        let context = model.context_total().or(model.context_window());
        let served = SERVED.iter().zip(0_u8..).filter(|((operation, path), _)| serves(model, *operation, path));
        Self {
            caps,
            context: context.unwrap_or(0),
            max_output: model.max_output().unwrap_or(0),
            served: served.fold(0, |bits, (_, bit)| bits | 1 << bit),
        }
    }

    /// The first reason why a model with this kit cannot take what `needs` says.
    #[must_use]
    pub fn lacks(&self, needs: &Needs) -> Option<Lack> {
        if let Some(what) = needs.special {
            return Some(Lack::Special(what));
        }
        if let Some(cap) = needs.caps.without(self.caps).next() {
            return Some(Lack::Cap(cap));
        }
        if needs.output_limit > self.max_output {
            return Some(Lack::Output);
        }
        // A tenth is left free, since tokens were estimated from bytes.
        let taken = needs.prompt_tokens_max.saturating_add(needs.output_limit);
        if taken.saturating_mul(11) > self.context.saturating_mul(10) {
            return Some(Lack::Context);
        }
        let is_served =
            SERVED.iter().zip(0..).any(|((served, _), bit)| *served == needs.operation && self.served & 1 << bit != 0);
        (!is_served).then_some(Lack::Endpoint)
    }
}

impl Lineup {
    /// The models of an upstream; a tier without one has that of the next above, or where there is none, below.
    #[must_use]
    pub fn new(tiers: [Option<Contender>; 3], is_free: bool) -> Self {
        let above = |from: usize| tiers[from..].iter().flatten().next();
        let below = |from: usize| tiers[..from].iter().rev().flatten().next();
        let filled = [0, 1, 2].map(|tier| above(tier).or_else(|| below(tier)).cloned());
        Self { tiers: filled, is_free }
    }

    /// The contender of a tier.
    #[must_use]
    pub fn at(&self, tier: Tier) -> Option<&Contender> {
        self.tiers[tier as usize].as_ref()
    }

    /// The highest tier that `name` stands for.
    #[must_use]
    pub fn tier_of(&self, name: &str) -> Option<Tier> {
        let mut tiers = Tier::ALL.iter().rev();
        tiers.find(|tier| self.at(**tier).is_some_and(|contender| &*contender.name == name)).copied()
    }

    /// Whether there is no model at all.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.tiers.iter().all(Option::is_none)
    }
}

/// Whether the catalogues say that `model` is served on `operation`. One that they call a chat model and give no paths
/// answers chat completions, which is what they mean by the word.
fn serves(model: &Model, operation: Operation, path: &str) -> bool {
    if model.has_own_endpoints() {
        return model.endpoints().any(|known| known == path);
    }
    let mut known = model.endpoints().peekable();
    let is_elsewhere = known.peek().is_some() && !model.endpoints().any(|known| known == "chat/completions");
    if OWN_API.contains(&(model.provider(), operation)) {
        return model.mode() == "chat" && !is_elsewhere;
    }
    match known.peek() {
        Some(_) => known.any(|known| known == path),
        None => model.mode() == "chat" && operation == Operation::ChatCompletions,
    }
}

impl fmt::Display for Lack {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Cap(cap) => write!(out, "is not known to take {}", cap.name().replace('_', " ")),
            Self::Context => out.write_str("may be too small for this prompt and its answer"),
            Self::Output => out.write_str("gives shorter answers than max_tokens asks for"),
            Self::Endpoint => out.write_str("is not known to be served on this path"),
            Self::Special(what) => write!(out, "is not known to take {what}"),
            Self::Forbidden => out.write_str("is not allowed here"),
            Self::Absent => out.write_str("has no model"),
        }
    }
}
