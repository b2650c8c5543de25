//! What the mock answers: words that follow from the prompt, a call of a tool, or the smallest JSON of a schema.
//!
//! Invariant: the same prompt gets the same answer, streamed or whole; no answer is longer than its limit, in tokens
//! of four bytes.

use super::ask::{Ask, BYTES_PER_TOKEN, Format, Tool, ToolChoice, tokens};
use super::schema;
use super::settings::Settings;
use serde_json::Value;

/// Tokens of an answer to which nobody gave a length.
const TOKENS: u64 = 60;

/// Tokens that are thought where reasoning was asked for but not how much.
const REASONING_TOKENS: u64 = 24;

/// Tokens of all answers to one request together.
const TOKENS_MAX: u64 = 4_000_000;

/// A prompt may say how long its answer should be: `mock:tokens=200`.
const DIRECTIVE: &str = "mock:tokens=";

/// It may say as well what is answered: `mock:say:simple`.
const SAY: &str = "mock:say:";

/// Some of more than one byte and some with quotes, so that framing and escapes are met.
const WORDS: [&str; 48] = [
    "ledger",
    "river",
    "copper",
    "quiet",
    "morning",
    "seven",
    "bridge",
    "lantern",
    "paper",
    "harbour",
    "winter",
    "signal",
    "garden",
    "violet",
    "engine",
    "marble",
    "orchard",
    "silver",
    "canvas",
    "thunder",
    "meadow",
    "compass",
    "ember",
    "velvet",
    "naïve",
    "café",
    "Straße",
    "zwölf",
    "数字",
    "メモ",
    "кот",
    "🙂",
    "a \"quoted\" word",
    "it's",
    "back\\slash",
    "tab\there",
    "counts",
    "holds",
    "carries",
    "follows",
    "measures",
    "opens",
    "the",
    "a",
    "of",
    "under",
    "and",
    "with",
];

/// What a model says to one request.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Answer {
    /// One for each that was asked for.
    pub(super) choices: Vec<Choice>,
    /// Tokens of reasoning, which are billed as output.
    pub(super) reasoning: u64,
    /// The reasoning, for dialects that show it.
    pub(super) thought: String,
}

/// One of the answers.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Choice {
    /// The tool that is called, if any.
    pub(super) call: Option<String>,
    /// The words, or the arguments of the call as JSON.
    pub(super) text: String,
    /// Why it ends.
    pub(super) finish: Finish,
}

/// Why an answer ends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Finish {
    /// It was said.
    Stop,
    /// The limit of output tokens was reached.
    Length,
    /// This stop sequence would have come next.
    Sequence(String),
    /// A tool is called.
    Call,
}

/// Counts the tokens of an answer while it is streamed.
#[derive(Debug)]
pub(super) struct Progress {
    before: u64,
    bytes: usize,
}

impl Answer {
    /// All tokens that it costs.
    pub(super) fn tokens(&self) -> u64 {
        self.choices.iter().map(Choice::tokens).fold(self.reasoning, u64::saturating_add)
    }
}

impl Choice {
    /// Tokens of its text and, of a call, of the function's name.
    pub(super) fn tokens(&self) -> u64 {
        tokens(self.bytes_before() + self.text.len())
    }

    /// Cuts the text into deltas: `wanted`, or as many as a provider might send.
    pub(super) fn pieces(&self, wanted: Option<usize>) -> Vec<&str> {
        let default = (self.text.len() / 8).clamp(1, 256);
        pieces(&self.text, wanted.unwrap_or(default))
    }

    /// The arguments of a call; null if the text is not one.
    pub(super) fn arguments(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or(Value::Null)
    }

    fn bytes_before(&self) -> usize {
        self.call.as_ref().map_or(0, String::len)
    }
}

impl Progress {
    /// Starts `choice`, after `before` tokens of output.
    pub(super) fn new(before: u64, choice: &Choice) -> Self {
        Self { before, bytes: choice.bytes_before() }
    }

    /// Output tokens up to and with `piece`.
    pub(super) fn add(&mut self, piece: &str) -> u64 {
        self.bytes += piece.len();
        self.before + tokens(self.bytes)
    }
}

/// Thinks about `ask`.
pub(super) fn answer(ask: &Ask, settings: &Settings) -> Answer {
    let output_max = ask.output_max.unwrap_or(u64::MAX);
    let reasoning = reasoning_tokens(ask, settings).min(output_max);
    let count = ask.count.max(1);
    let left = (output_max - reasoning).min(TOKENS_MAX / count);
    let choices = (0..count).map(|index| choice(ask, settings, index, left)).collect();
    Answer { choices, reasoning, thought: words(seed(&ask.prompt, u64::MAX), reasoning) }
}

/// `text` in about `count` pieces that join to it, cut between characters; none for an empty text.
pub(super) fn pieces(text: &str, count: usize) -> Vec<&str> {
    let step = text.len().div_ceil(count.max(1)).max(1);
    let mut rest = text;
    let mut all = Vec::with_capacity(text.len() / step + 1);
    while !rest.is_empty() {
        let (piece, after) = rest.split_at(boundary_from(rest, step.min(rest.len())));
        all.push(piece);
        rest = after;
    }
    all
}

/// The first place from `at` on where `text` may be cut.
fn boundary_from(text: &str, at: usize) -> usize {
    (at..text.len()).find(|at| text.is_char_boundary(*at)).unwrap_or(text.len())
}

fn choice(ask: &Ask, settings: &Settings, index: u64, output_max: u64) -> Choice {
    let seed = seed(&ask.prompt, index);
    if let Some(tool) = called(ask, settings.tool.as_deref()) {
        let text = schema::example(&tool.schema, word(seed)).to_string();
        let call = Choice { call: Some(tool.name.clone()), text, finish: Finish::Call };
        if call.tokens() <= output_max {
            return call;
        }
    }
    let text = match &ask.format {
        Format::Text => said(ask).unwrap_or_else(|| words(seed, wanted_tokens(ask, settings))),
        Format::Object => serde_json::json!({ "answer": word(seed) }).to_string(),
        Format::Schema(schema) => schema::example(schema, word(seed)).to_string(),
    };
    ended(text, &ask.stops, output_max)
}

/// Cuts the text at a stop sequence and at the limit.
fn ended(mut text: String, stops: &[String], output_max: u64) -> Choice {
    let mut finish = Finish::Stop;
    let found = stops.iter().filter(|stop| !stop.is_empty()).filter_map(|stop| Some((text.find(stop.as_str())?, stop)));
    if let Some((at, stop)) = found.min() {
        finish = Finish::Sequence(stop.clone());
        text.truncate(at);
    }
    let bytes_max = usize::try_from(output_max).unwrap_or(usize::MAX).saturating_mul(BYTES_PER_TOKEN);
    if text.len() > bytes_max {
        finish = Finish::Length;
        text.truncate((0..=bytes_max).rev().find(|at| text.is_char_boundary(*at)).unwrap_or(0));
    }
    Choice { call: None, text, finish }
}

/// The tool that is called: the named one, else the `wanted`, else the first; none after a result, lest it never ends.
fn called<'a>(ask: &'a Ask, wanted: Option<&str>) -> Option<&'a Tool> {
    match &ask.choice {
        ToolChoice::Never => None,
        ToolChoice::Named(name) => ask.tools.iter().find(|tool| tool.name == *name),
        ToolChoice::Auto if ask.after_tool => None,
        ToolChoice::Auto => match wanted {
            None => ask.tools.first(),
            Some(wanted) => ask.tools.iter().find(|tool| tool.name == wanted),
        },
    }
}

/// The word that the prompt asks for.
fn said(ask: &Ask) -> Option<String> {
    let (_, rest) = ask.prompt.split_once(SAY)?;
    let end = rest.find(|letter: char| !letter.is_alphanumeric()).unwrap_or(rest.len());
    Some(rest[..end].to_owned())
}

fn wanted_tokens(ask: &Ask, settings: &Settings) -> u64 {
    let said = || {
        let (_, rest) = ask.prompt.split_once(DIRECTIVE)?;
        let end = rest.find(|letter: char| !letter.is_ascii_digit()).unwrap_or(rest.len());
        rest[..end].parse().ok()
    };
    settings.tokens.or_else(said).unwrap_or(TOKENS).min(TOKENS_MAX / ask.count.max(1))
}

fn reasoning_tokens(ask: &Ask, settings: &Settings) -> u64 {
    let named = ["o1", "o3", "o4"].iter().any(|family| ask.model.starts_with(family)) || ask.model.contains("think");
    settings.reasoning_tokens.unwrap_or(if ask.thinks || named { REASONING_TOKENS } else { 0 })
}

/// A text of exactly so many tokens: a full last word of dots, if need be.
fn words(seed: u64, wanted: u64) -> String {
    let bytes = usize::try_from(wanted).unwrap_or(usize::MAX).saturating_mul(BYTES_PER_TOKEN);
    let mut text = String::with_capacity(bytes);
    let mut chance = seed | 1;
    let mut in_sentence = 0;
    loop {
        let next = word(chance);
        let gap = if text.is_empty() {
            ""
        } else if in_sentence == 0 {
            ".\n"
        } else {
            " "
        };
        if text.len() + gap.len() + next.len() > bytes {
            break;
        }
        text.push_str(gap);
        text.push_str(next);
        chance = stir(chance);
        in_sentence = (in_sentence + 1) % 9;
    }
    text.extend(std::iter::repeat_n('.', bytes - text.len()));
    text
}

fn word(seed: u64) -> &'static str {
    WORDS[usize::try_from((seed >> 33) % WORDS.len() as u64).unwrap_or(0)]
}

/// The next of a row of numbers that look random (xorshift).
const fn stir(mut state: u64) -> u64 {
    state ^= state << 13;
    state ^= state >> 7;
    state ^ (state << 17)
}

/// A number that follows from the prompt (FNV-1a), stirred by which answer it is.
fn seed(prompt: &str, index: u64) -> u64 {
    let start = 0xcbf2_9ce4_8422_2325 ^ index.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    let hash = prompt.bytes().fold(start, |hash: u64, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3));
    stir(hash | 1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::json;

    fn ask(prompt: &str) -> Ask {
        Ask { prompt: prompt.to_owned(), ..Ask::default() }
    }

    #[test]
    fn the_same_prompt_gets_the_same_answer_and_another_another() {
        let said = |prompt: &str| answer(&ask(prompt), &Settings::default()).choices[0].text.clone();
        assert_eq!(said("hello"), said("hello"));
        assert_ne!(said("hello"), said("hello!"));
        assert_eq!(tokens(said("hello").len()), TOKENS);
        assert_eq!(tokens(said("please mock:tokens=200.").len()), 200);
    }

    #[test]
    fn stops_and_limits_end_an_answer() {
        let said = answer(&ask("x"), &Settings::default()).choices[0].text.clone();
        let stop: String = said.chars().skip(20).take(5).collect();
        let cut = answer(&Ask { stops: vec![stop.clone()], ..ask("x") }, &Settings::default());
        assert_eq!(cut.choices[0].finish, Finish::Sequence(stop.clone()));
        assert!(said.starts_with(&cut.choices[0].text) && !cut.choices[0].text.contains(&stop));
        let short = answer(&Ask { output_max: Some(5), ..ask("x") }, &Settings::default());
        assert_eq!(short.choices[0].finish, Finish::Length);
        assert!(said.starts_with(&short.choices[0].text));
    }

    #[test]
    fn a_tool_is_called_once() {
        let schema = json!({"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]});
        let tools = || ["one", "two"].map(|name| Tool { name: name.to_owned(), schema: schema.clone() }).into();
        let check_wanted = |wanted: Option<&str>, choice, after_tool, expect: Option<&str>| {
            let asked = Ask { tools: tools(), choice, after_tool, ..ask("x") };
            let settings = Settings { tool: wanted.map(str::to_owned), ..Settings::default() };
            let said = answer(&asked, &settings).choices.remove(0);
            assert_eq!(said.call.as_deref(), expect);
            assert_eq!(said.call.is_some(), said.arguments()["city"].is_string());
        };
        let check = |choice, after_tool, expect| check_wanted(None, choice, after_tool, expect);
        check(ToolChoice::Auto, false, Some("one"));
        check_wanted(Some("two"), ToolChoice::Auto, false, Some("two"));
        check_wanted(Some("none"), ToolChoice::Auto, false, None);
        check_wanted(Some("none"), ToolChoice::Named("two".to_owned()), false, Some("two"));
        check(ToolChoice::Auto, true, None);
        check(ToolChoice::Never, false, None);
        check(ToolChoice::Named("two".to_owned()), false, Some("two"));
        check(ToolChoice::Named("three".to_owned()), false, None);
    }

    proptest! {
        #[test]
        fn no_answer_is_above_its_limit(prompt in ".{0,40}", max in 0_u64..200, wanted in 0_u64..300, thought in 0_u64..100, count in 1_u64..4) {
            let asked = Ask { output_max: Some(max), count, ..ask(&prompt) };
            let settings = Settings { tokens: Some(wanted), reasoning_tokens: Some(thought), ..Settings::default() };
            let said = answer(&asked, &settings);
            prop_assert!(said.reasoning + said.choices.iter().map(Choice::tokens).max().unwrap_or(0) <= max);
        }

        #[test]
        fn pieces_join_to_the_whole(text in ".{0,200}", count in 0_usize..300) {
            prop_assert_eq!(pieces(&text, count).concat(), text);
        }
    }
}
