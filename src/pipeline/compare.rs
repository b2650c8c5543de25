//! [`Compare`]: the model that was asked for, and how warm its prompt cache would be had it answered all along: what routing
//! saves is told against that.
//!
//! A conversation that changed its model pays for a cold prompt which the model asked for would have read from its cache.
//! What that is known from is the turn before: what was cached of it then, if that has not expired.
//!
//! Invariant: it moves tokens between buckets of the prompt and never makes or loses one; what cannot be compared is
//! unknown and not zero.

use std::sync::Arc;

use crate::domain::operation::Operation;
use crate::domain::price::Model;
use crate::domain::tokens::Usage;
use crate::protocol::ask::Ask;

/// Prompts shorter than this are not cached by providers that cache by themselves, which count in steps
/// (<https://platform.openai.com/docs/guides/prompt-caching>).
const CACHED_TOKENS_MIN: u64 = 1_024;
const STEP_TOKENS: u64 = 128;

/// What a request is compared with.
#[derive(Clone, Debug)]
pub struct Compare {
    /// The model that was asked for.
    pub model: Arc<Model>,
    /// Prompt tokens that its cache would hold by now.
    pub warm: u64,
    /// What the prompt begins with, which other conversations may share.
    pub beginning: Beginning,
}

/// The beginning of a prompt.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Beginning {
    /// Names it; 0 where there is none.
    pub name: u64,
    /// Its part of the prompt's text, in millionths.
    pub ppm: u64,
    /// Whether nothing of the conversation but this can be in a cache.
    pub is_first: bool,
    /// For how long the prompt is cached, in seconds; 0 is the provider's default.
    pub ttl_s: u32,
}

impl Beginning {
    /// That of a request whose beginning has this name.
    #[must_use]
    pub fn of(name: u64, ask: &Ask, is_first: bool, ttl_s: u32) -> Self {
        let (tools, text) = (u64::from(ask.features.tool_bytes), u64::from(ask.features.text_bytes));
        let system: usize = ask.spoken.system.iter().map(ExactSizeIterator::len).sum();
        let (beginning, all) = (system as u64 + tools, text + tools);
        match (beginning * 1_000_000).checked_div(all) {
            Some(ppm) if ppm > 0 => Self { name, ppm: ppm.min(1_000_000), is_first, ttl_s },
            Some(_) | None => Self::default(),
        }
    }

    /// Tokens of it that an answer's usage tells were cached, and those that are likely to be from now on.
    #[must_use]
    pub fn tokens(&self, operation: Operation, usage: &Usage) -> (Option<u64>, u64) {
        let seen = Some(usage.cache_read).filter(|read| self.is_first && *read > 0);
        // Anthropic's cache holds what was marked, which the beginning need not be.
        let is_automatic = operation != Operation::Messages;
        let share = u128::from(prompt(usage)) * u128::from(self.ppm) / 1_000_000;
        let likely = u64::try_from(share).unwrap_or(u64::MAX);
        (seen, if is_automatic { stepped(likely) } else { 0 })
    }
}

impl Compare {
    /// What that model would have used.
    #[must_use]
    pub fn usage(&self, used: &Usage) -> Usage {
        let mut usage = used.clone();
        let mut missing = self.warm.saturating_sub(usage.cache_read);
        let writes = [
            &mut usage.cache_write_12h,
            &mut usage.cache_write_1h,
            &mut usage.cache_write_5m,
            &mut usage.cache_write,
            &mut usage.input,
        ];
        for bucket in writes {
            let moved = missing.min(*bucket);
            *bucket -= moved;
            missing -= moved;
            usage.cache_read += moved;
        }
        usage
    }
}

/// Prompt tokens of an answer that a provider's cache holds from now on.
#[must_use]
pub fn held(operation: Operation, usage: &Usage) -> u64 {
    match operation {
        // Anthropic's holds what it was told to hold.
        Operation::Messages => prompt(usage) - usage.input,
        _ => stepped(prompt(usage)),
    }
}

/// Tokens of the prompt, as far as they are text.
const fn prompt(usage: &Usage) -> u64 {
    let written = usage.cache_write + usage.cache_write_5m + usage.cache_write_1h + usage.cache_write_12h;
    usage.input + usage.cache_read + written
}

/// What is cached of so many tokens where providers cache by themselves.
const fn stepped(tokens: u64) -> u64 {
    if tokens < CACHED_TOKENS_MIN { 0 } else { tokens / STEP_TOKENS * STEP_TOKENS }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::price::Book;

    #[test]
    fn a_cold_prompt_is_compared_with_a_warm_one() {
        let model = Book::builtin().find("anthropic", None, "claude-opus-5-5").unwrap();
        let compare = |warm| Compare { model: model.clone(), warm, beginning: Beginning::default() };
        let used = |input, read, five, hour| Usage {
            input,
            cache_read: read,
            cache_write_5m: five,
            cache_write_1h: hour,
            output: 7,
            ..Usage::default()
        };
        for (warm, from, to) in [
            (0, used(10, 0, 900, 0), used(10, 0, 900, 0)),
            (600, used(10, 0, 900, 0), used(10, 600, 300, 0)),
            (600, used(10, 700, 200, 0), used(10, 700, 200, 0)),
            (600, used(10, 100, 400, 300), used(10, 600, 200, 0)),
            (128, used(1_000, 0, 0, 0), used(872, 128, 0, 0)),
            (9_000, used(10, 0, 0, 0), used(0, 10, 0, 0)),
        ] {
            assert_eq!(compare(warm).usage(&from), to, "{warm} {from:?}");
        }
        assert_eq!(held(Operation::Messages, &used(50, 100, 30, 20)), 150);
        assert_eq!(held(Operation::ChatCompletions, &used(1_100, 100, 0, 0)), 1_152);
        assert_eq!(held(Operation::ChatCompletions, &used(500, 0, 0, 0)), 0);
    }
}
