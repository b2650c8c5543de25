//! [`Memory`]: a model of the providers' prompt caches, which decides how much of a prompt is billed as read or written.
//!
//! OpenAI and Gemini cache by themselves from 1,024 tokens on; Anthropic caches up to the blocks that carry
//! `cache_control`, for five minutes or an hour, and bills what it writes. OpenAI bills writes from GPT-5.6 on.
//!
//! Invariant: read, written and fresh tokens are disjoint and sum to the prompt's.

use super::ask::{Block, Lifetime};
use super::bill::Counted;
use std::collections::HashMap;
use std::hash::{DefaultHasher, Hasher};
use std::sync::{Mutex, PoisonError};

/// Prompts shorter than this are not cached.
const CACHED_TOKENS_MIN: u64 = 1_024;

/// OpenAI counts cached tokens in steps of this.
const OPENAI_STEP_TOKENS: u64 = 128;

/// Prefixes remembered over all models; past it everything is forgotten.
const PREFIXES_MAX: usize = 200_000;

/// How a provider decides what is cached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum CacheRule {
    /// By itself; writes are free.
    Automatic,
    /// By itself, in steps of 128 tokens; writes are free or billed.
    Stepped(Writes),
    /// Up to the marked blocks.
    Marked,
}

/// Whether writing to the cache has a price.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Writes {
    /// It is billed as fresh input.
    Free,
    /// It has a rate of its own.
    Billed,
}

/// What the caches of all models hold.
#[derive(Debug, Default)]
pub(super) struct Memory {
    /// When each prefix of each model is forgotten, in unix milliseconds.
    until_ms: Mutex<HashMap<u64, u64>>,
}

impl Memory {
    /// Splits the prompt's tokens into fresh, read and written, and remembers what was written.
    pub(super) fn split(&self, rule: CacheRule, model: &str, blocks: &[Block], now_ms: u64) -> Counted {
        let total = blocks.iter().map(|block| block.tokens).sum::<u64>().max(1);
        let mut held = self.until_ms.lock().unwrap_or_else(PoisonError::into_inner);
        if held.len() > PREFIXES_MAX {
            held.clear();
        }
        let mut known = |prefix: u64| held.get(&key(model, prefix)).is_some_and(|until| *until > now_ms);
        let (counted, writes) = match rule {
            CacheRule::Automatic => automatic(blocks, total, 1, Writes::Free, &mut known),
            CacheRule::Stepped(writes) => automatic(blocks, total, OPENAI_STEP_TOKENS, writes, &mut known),
            CacheRule::Marked => marked(blocks, total, &mut known),
        };
        for (prefix, lifetime) in writes {
            let until = held.entry(key(model, prefix)).or_default();
            *until = (*until).max(now_ms.saturating_add(lifetime.ms()));
        }
        counted
    }

    /// Forgets everything.
    pub(super) fn clear(&self) {
        self.until_ms.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }
}

impl Lifetime {
    const fn ms(self) -> u64 {
        match self {
            Self::FiveMinutes => 300_000,
            Self::OneHour => 3_600_000,
        }
    }
}

/// The prefixes to remember, each for how long.
type Kept = Vec<(u64, Lifetime)>;

/// Names a prefix of a model.
fn key(model: &str, prefix: u64) -> u64 {
    let mut hash = DefaultHasher::new();
    hash.write_u64(prefix);
    hash.write(model.as_bytes());
    hash.finish()
}

/// The ends of blocks, as tokens up to there.
fn ends(blocks: &[Block]) -> impl Iterator<Item = (u64, &Block)> {
    blocks.iter().scan(0, |sum, block| {
        *sum += block.tokens;
        Some((*sum, block))
    })
}

fn automatic(
    blocks: &[Block],
    total: u64,
    step: u64,
    writes: Writes,
    known: &mut impl FnMut(u64) -> bool,
) -> (Counted, Kept) {
    let long = || ends(blocks).filter(|(end, _)| *end >= CACHED_TOKENS_MIN);
    let cached = long().filter(|(_, block)| known(block.prefix)).last().map_or(0, |(end, _)| end / step * step);
    let kept = long().map(|(_, block)| (block.prefix, Lifetime::FiveMinutes)).collect();
    let written = match writes {
        Writes::Billed if total >= CACHED_TOKENS_MIN => total / step * step - cached,
        Writes::Billed | Writes::Free => 0,
    };
    let input = total - cached - written;
    (Counted { input, cache_read: cached, cache_write: written, ..Counted::default() }, kept)
}

fn marked(blocks: &[Block], total: u64, known: &mut impl FnMut(u64) -> bool) -> (Counted, Kept) {
    let marks = || ends(blocks).filter(|(end, block)| block.mark.is_some() && *end >= CACHED_TOKENS_MIN);
    let last = |lifetime| {
        let of = marks().filter(|(_, block)| block.mark >= Some(lifetime)).last();
        of.map_or(0, |(end, _)| end)
    };
    let (last_any, last_hour) = (last(Lifetime::FiveMinutes), last(Lifetime::OneHour));
    let before = ends(blocks).take_while(|(end, _)| *end <= last_any);
    let read = before.filter(|(_, block)| known(block.prefix)).last().map_or(0, |(end, _)| end);
    let counted = Counted {
        input: total - last_any,
        cache_read: read,
        cache_write_1h: last_hour.saturating_sub(read),
        cache_write_5m: last_any - last_hour.max(read),
        ..Counted::default()
    };
    (counted, marks().filter_map(|(_, block)| Some((block.prefix, block.mark?))).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn block(tokens: u64, prefix: u64, mark: Option<Lifetime>) -> Block {
        Block { tokens, prefix, mark }
    }

    fn counted(input: u64, read: u64, write: u64, five: u64, hour: u64) -> Counted {
        Counted {
            input,
            cache_read: read,
            cache_write: write,
            cache_write_5m: five,
            cache_write_1h: hour,
            ..Counted::default()
        }
    }

    #[test]
    fn a_prompt_is_cold_once_and_cold_again_after_five_minutes() {
        let memory = Memory::default();
        let blocks = [block(1_500, 1, None), block(100, 2, None)];
        let check = |rule, model, now_ms, expect| assert_eq!(memory.split(rule, model, &blocks, now_ms), expect);
        check(CacheRule::Stepped(Writes::Free), "a", 0, counted(1_600, 0, 0, 0, 0));
        check(CacheRule::Stepped(Writes::Free), "a", 1, counted(64, 1_536, 0, 0, 0));
        check(CacheRule::Stepped(Writes::Free), "a", 300_001, counted(1_600, 0, 0, 0, 0));
        check(CacheRule::Automatic, "b", 2, counted(1_600, 0, 0, 0, 0));
        check(CacheRule::Automatic, "b", 3, counted(0, 1_600, 0, 0, 0));
        check(CacheRule::Stepped(Writes::Billed), "c", 4, counted(64, 0, 1_536, 0, 0));
        check(CacheRule::Stepped(Writes::Billed), "c", 5, counted(64, 1_536, 0, 0, 0));
    }

    #[test]
    fn a_short_prompt_is_never_cached() {
        let memory = Memory::default();
        for _ in 0..2 {
            let found = memory.split(CacheRule::Automatic, "a", &[block(1_023, 1, None)], 0);
            assert_eq!(found, counted(1_023, 0, 0, 0, 0));
        }
    }

    #[test]
    fn marks_write_up_to_themselves_for_their_lifetime() {
        let memory = Memory::default();
        let blocks =
            [block(2_000, 1, Some(Lifetime::OneHour)), block(500, 2, Some(Lifetime::FiveMinutes)), block(30, 3, None)];
        let check = |now_ms, expect| assert_eq!(memory.split(CacheRule::Marked, "a", &blocks, now_ms), expect);
        check(0, counted(30, 0, 0, 500, 2_000));
        check(1, counted(30, 2_500, 0, 0, 0));
        check(300_002, counted(30, 2_000, 0, 500, 0));
        check(3_900_003, counted(30, 0, 0, 500, 2_000));
    }
}
