//! [`Needs`]: what a request takes of the model that answers it.
//!
//! Invariant: sizes are estimated upwards and abilities are counted as soon as they may be used, since a request that is
//! too large or too odd for a model fails, while one that stays where it was only costs what it would have cost.

use crate::domain::features::Features;
use crate::domain::operation::Operation;
use crate::domain::price::{Cap, Caps};

/// Bytes of a body that make at least one token: few texts have less than two (PROTOCOLS: code has about three).
const BYTES_PER_TOKEN_MIN: u64 = 2;

/// Bytes of a body for each token of usual text, to compare prices.
const BYTES_PER_TOKEN: u64 = 4;

/// Tokens of an image at the most: Anthropic's largest has 4,784
/// (<https://platform.claude.com/docs/en/build-with-claude/vision>).
const IMAGE_TOKENS: u64 = 5_000;

/// What features do not tell.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Extras {
    /// Bytes of images inside of the body.
    pub image_bytes: u64,
    /// Whether several tools may be called at once.
    pub parallel_tools: bool,
    /// Whether `temperature` or its like is set.
    pub sampling: bool,
    /// Tools that run at the provider, as far as they are known.
    pub server_tools: Caps,
    /// What is asked for that no catalogue speaks of.
    pub special: Option<&'static str>,
}

/// What a request takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Needs {
    /// What is asked for.
    pub operation: Operation,
    /// Abilities.
    pub caps: Caps,
    /// Something that no catalogue speaks of, so that only the model that was asked for can be trusted with it.
    pub special: Option<&'static str>,
    /// Prompt tokens at the most, as far as bytes tell.
    pub prompt_tokens_max: u64,
    /// Prompt tokens that are likely.
    pub prompt_tokens: u64,
    /// The output limit in tokens; 0 without one.
    pub output_limit: u64,
}

impl Needs {
    /// What a request with these features takes.
    #[must_use]
    pub fn of(operation: Operation, features: &Features, extras: &Extras) -> Self {
        let text = u64::from(features.bytes).saturating_sub(extras.image_bytes);
        let images = u64::from(features.images) * IMAGE_TOKENS;
        Self {
            operation,
            caps: caps(features, extras),
            special: special(features, extras),
            prompt_tokens_max: text / BYTES_PER_TOKEN_MIN + images,
            prompt_tokens: text / BYTES_PER_TOKEN + images,
            output_limit: u64::from(features.output_limit),
        }
    }
}

fn caps(features: &Features, extras: &Extras) -> Caps {
    let has_tools = features.tools > 0 || features.calls > 0 || features.results > 0;
    let asked = [
        (has_tools, Cap::Tools),
        (has_tools && extras.parallel_tools, Cap::ParallelTools),
        (features.images > 0, Cap::Vision),
        (features.documents > 0, Cap::Pdf),
        (features.structured, Cap::JsonSchema),
        (features.reasoning || features.signed_reasoning, Cap::Thinking),
        (features.audios > 0, Cap::AudioIn),
        (features.audio_out, Cap::AudioOut),
        (features.videos > 0, Cap::VideoIn),
        (extras.sampling, Cap::Sampling),
    ];
    let asked = asked.into_iter().filter(|(is_asked, _)| *is_asked).map(|(_, cap)| cap);
    asked.chain(extras.server_tools.all()).collect()
}

/// What no catalogue knows of any model.
fn special(features: &Features, extras: &Extras) -> Option<&'static str> {
    let odd = [
        (features.logprobs, "log probabilities"),
        (features.choices > 1, "several answers"),
        (features.background, "an answer in the background"),
        (features.stored_context, "a context that the provider stored"),
    ];
    extras.special.or_else(|| odd.iter().find(|(is_asked, _)| *is_asked).map(|(_, what)| *what))
}
