//! [`Spoken`]: where in a body the words stand that routing may look at: the last human ask, and what stands around it.
//!
//! The pass over the body notes spans and copies nothing; who wants the words reads them there
//! ([`excerpt`](crate::protocol::excerpt)), and who does not has paid a few stores.
//!
//! A human turn is a message of the role `user` (or of no role, as in Gemini's contents) that carries no tool's result.
//!
//! Invariant: every span is that of a whole value, quotes included; the lists are bounded whatever the client sends.

use std::ops::Range;

/// Texts that are kept of a turn: the last ones, since harnesses put theirs before the human's.
const TEXTS_MAX: usize = 16;

/// Texts of the system prompt that are kept: the first ones.
const SYSTEM_MAX: usize = 32;

/// Where words stand.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Spoken {
    /// The texts of the last human turn, in order: JSON strings with their quotes.
    pub ask: Vec<Range<usize>>,
    /// The texts of the first human turn, which tells conversations apart; empty if there is but one.
    pub opening: Vec<Range<usize>>,
    /// The system prompt: JSON strings, lists or objects, in order. Of OpenAI's, the system and developer messages.
    pub system: Vec<Range<usize>>,
    /// Human turns.
    pub turns: u32,
}

/// Who speaks in a turn.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Role {
    #[default]
    Human,
    System,
    Model,
    Tool,
}

/// The texts of a turn that has not ended.
#[derive(Debug, Default)]
pub(super) struct Texts {
    spans: Vec<Range<usize>>,
    /// How many there were.
    count: usize,
}

impl Role {
    /// The role by its raw JSON.
    pub(super) fn of(raw: &[u8]) -> Self {
        match raw {
            b"\"user\"" | b"\"USER\"" | b"null" => Self::Human,
            b"\"system\"" | b"\"developer\"" => Self::System,
            b"\"tool\"" | b"\"function\"" => Self::Tool,
            _ => Self::Model,
        }
    }
}

impl Texts {
    /// Notes a text.
    pub(super) fn push(&mut self, span: Range<usize>) {
        if self.spans.len() < TEXTS_MAX {
            self.spans.push(span);
        } else {
            self.spans[self.count % TEXTS_MAX] = span;
        }
        self.count += 1;
    }

    /// Forgets them.
    pub(super) fn clear(&mut self) {
        self.spans.clear();
        self.count = 0;
    }

    /// Puts them in order.
    fn sort(&mut self) {
        let texts = self.spans.len().max(1);
        self.spans.rotate_left(if self.count > texts { self.count % texts } else { 0 });
    }
}

impl Spoken {
    /// Notes a turn that has ended.
    pub(super) fn turn(&mut self, role: Role, texts: &mut Texts) {
        match role {
            Role::Human if !texts.spans.is_empty() => {
                texts.sort();
                if self.turns == 1 {
                    self.opening.clone_from(&self.ask);
                }
                self.turns = self.turns.saturating_add(1);
                std::mem::swap(&mut self.ask, &mut texts.spans);
            }
            Role::System => texts.spans.drain(..).for_each(|span| self.system(span)),
            Role::Human | Role::Model | Role::Tool => {}
        }
    }

    /// Notes a part of the system prompt.
    pub(super) fn system(&mut self, span: Range<usize>) {
        if self.system.len() < SYSTEM_MAX {
            self.system.push(span);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_texts_of_a_turn_are_kept_in_order() {
        for count in [0_usize, 1, 15, 16, 17, 31, 32, 33] {
            let mut texts = Texts::default();
            (0..count).for_each(|at| texts.push(at..at + 1));
            let mut spoken = Spoken::default();
            spoken.turn(Role::Human, &mut texts);
            let expect: Vec<_> = (count.saturating_sub(TEXTS_MAX)..count).map(|at| at..at + 1).collect();
            assert_eq!(spoken.ask, expect, "{count}");
        }
    }
}
