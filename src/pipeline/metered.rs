//! Metered: a stream under a metered cap is held for its input and a slice of output, and the hold grows as tokens pass.
//!
//! Where it cannot grow the stream is cut, which its client sees as a length stop, and what is held is posted. What
//! cannot be seen passing is held in full from the start: whole answers, several answers at once, reasoning that is
//! billed and not streamed, tools that run at the provider, predictions.
//!
//! Invariant: while a stream flows, the hold covers all text that has passed and at least half a slice more. So its bill
//! passes its hold by no more than what the provider generates, beyond half a slice, before it learns of the cut.

use super::arrive::Arrival;
use super::read::Call;
use crate::domain::money::Usd;
use crate::domain::operation::Operation;
use crate::protocol::meter::Seen;

/// Models that show all that they generate unless thinking is asked for, by how their names begin. Others may think
/// without being asked and bill it unseen: OpenAI's o-series and gpt-5
/// (<https://developers.openai.com/api/docs/guides/reasoning>), Gemini from 2.5 on
/// (<https://ai.google.dev/gemini-api/docs/thinking>), Grok 4. Claude thinks only where `thinking` asks for it
/// (<https://platform.claude.com/docs/en/build-with-claude/extended-thinking>).
const OPEN_MODELS: [&str; 18] = [
    "gpt-3.5",
    "gpt-4",
    "chatgpt-4o",
    "claude-",
    "gemini-1.5",
    "gemini-2.0",
    "gemini-2.5-flash-lite",
    "gemma",
    "deepseek-chat",
    "mistral-",
    "ministral-",
    "codestral",
    "open-mi",
    "llama",
    "meta-llama",
    "command-r",
    "qwen2",
    "kimi-k2-0",
];

/// How the hold of a stream grows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Metered {
    /// What it costs without any output.
    base: Usd,
    /// What it costs with all of it.
    full: Usd,
    /// Tokens of all of it.
    output: u64,
    /// Tokens by which the hold grows.
    slice: u64,
    /// Tokens that the hold covers.
    covered: u64,
}

impl Metered {
    /// How a request under a metered cap is metered; `None` if it is held in full. `base` and `full` are its quotes with no output and with
    /// `output` tokens.
    #[must_use]
    pub fn of(arrival: &Arrival, call: &Call, model: &str, quotes: (Usd, Usd, u64)) -> Option<Self> {
        let (base, full, output) = quotes;
        let slice = arrival.snapshot.config.money.metered_tokens;
        let is_sliced = output > slice && full > base && can_be_seen(arrival, call, model);
        is_sliced.then_some(Self { base, full, output, slice, covered: slice })
    }

    /// What is held before anything has come.
    #[must_use]
    pub const fn first(&self) -> Usd {
        self.holding(self.covered)
    }

    /// What has to be held now that so much has passed, if that is more than what is held, and the tokens that it covers.
    #[must_use]
    pub fn wanted(&self, seen: Seen) -> Option<(Usd, u64)> {
        let wanted = match seen {
            Seen::Text(bytes) if bytes.saturating_add(self.slice / 2) <= self.covered => return None,
            Seen::Text(bytes) => bytes.saturating_add(self.slice).min(self.output),
            Seen::Unclear => self.output,
        };
        (wanted > self.covered).then(|| (self.holding(wanted), wanted))
    }

    /// The hold covers so many tokens now.
    pub const fn cover(&mut self, tokens: u64) {
        self.covered = tokens;
    }

    /// The cost is no steeper anywhere than from one end to the other bends up: a straight line lies above it.
    const fn holding(&self, tokens: u64) -> Usd {
        if tokens >= self.output {
            return self.full;
        }
        self.base.plus(self.full.less(self.base).scaled_up(tokens, self.output))
    }
}

/// Whether every token that is billed as output passes as text, in events that can be told apart.
fn can_be_seen(arrival: &Arrival, call: &Call, model: &str) -> bool {
    let (ask, operation) = (&call.ask, arrival.endpoint.operation);
    let streams = match operation {
        Operation::ChatCompletions | Operation::Completions | Operation::Responses | Operation::Messages => ask.stream,
        Operation::GenerateContent => {
            ask.stream && arrival.head.uri.query().is_some_and(|query| query.split('&').any(|pair| pair == "alt=sse"))
        }
        _ => false,
    };
    streams
        && ask.choices <= 1
        && ask.prediction_bytes == 0
        && ask.server_tools.is_empty()
        && !ask.features.reasoning
        && shows_all(model)
}

/// Whether a model shows all that it generates. Resellers put a maker in front, Vertex a place.
fn shows_all(model: &str) -> bool {
    let name = model.rsplit('/').next().unwrap_or(model).to_ascii_lowercase();
    OPEN_MODELS.iter().any(|open| name.starts_with(open))
}

#[cfg(test)]
mod tests {
    use super::*;

    const STREAM: Metered = Metered {
        base: Usd::from_pico(1_000),
        full: Usd::from_pico(1_000 + 64_000 * 25),
        output: 64_000,
        slice: 1_024,
        covered: 1_024,
    };

    #[test]
    fn the_hold_is_always_half_a_slice_ahead_of_what_passed() {
        let mut metered = STREAM;
        assert_eq!(metered.first(), Usd::from_pico(1_000 + 1_024 * 25));
        let mut held = metered.first();
        for passed in (0..70_000_u64).step_by(37) {
            if let Some((amount, tokens)) = metered.wanted(Seen::Text(passed)) {
                assert!(amount > held, "{passed}");
                metered.cover(tokens);
                held = amount;
            }
            let ahead = (passed + 512).min(64_000);
            assert!(held >= Usd::from_pico(1_000 + u128::from(ahead) * 25), "{passed}: {held}");
        }
        assert_eq!((held, metered.wanted(Seen::Text(1 << 40))), (STREAM.full, None));
    }

    #[test]
    fn what_cannot_be_read_is_held_in_full() {
        assert_eq!(STREAM.wanted(Seen::Unclear), Some((STREAM.full, 64_000)));
    }

    #[test]
    fn models_that_may_think_unseen_are_held_in_full() {
        for (model, open) in [
            ("gpt-4o", true),
            ("claude-opus-4-8", true),
            ("anthropic/claude-opus-4-8", true),
            ("gpt-5-mini", false),
            ("o3", false),
            ("gemini-2.5-pro", false),
            ("gemini-2.5-flash-lite", true),
            ("grok-4", false),
            ("nobody-knows-it", false),
        ] {
            assert_eq!(shows_all(model), open, "{model}");
        }
    }
}
