//! [`Traits`]: an ask as numbers, the only thing that the weights look at. Training reads the same numbers from
//! `tollgate explain --traits`, so that a model is never served other numbers than it was trained on.
//!
//! A trait is an integer from 0 to [`TRAIT_MAX`], 256 to the unit: a logarithm, a share, or how dense something is among
//! the words. None grows without an end, so that no single oddity of a text outweighs all the rest.
//!
//! Few-shot examples are left out: of `Q Answer: x Q Answer: y Q Answer:` only the last question is looked at.
//!
//! Invariant: equal asks have equal traits, on every machine.

use std::sync::LazyLock;

use memchr::memchr;
use memchr::memmem::Finder;

use super::count::{Counts, count};
use super::words::{THEME_NAMES, THEMES, Theme, bit};
use crate::domain::features::Features;

/// The largest trait.
pub const TRAIT_MAX: i32 = 1_024;

/// One, in the units of traits.
const ONE: u32 = 256;

/// What is looked at: the ask's words, how long it was as a whole, and what it stands in.
#[derive(Clone, Copy, Debug)]
pub struct View<'a> {
    /// The ask's text, or its two ends.
    pub text: &'a [u8],
    /// Bytes of the whole ask.
    pub whole_bytes: usize,
    /// Sizes and kinds of the request.
    pub features: &'a Features,
    /// Human turns so far.
    pub turns: u32,
}

/// An ask as numbers.
pub type Traits = [i32; TRAITS];

/// A trait's name, and how it is taken from what was counted.
type Row = (&'static str, fn(&Seen<'_>) -> u32);

/// What the rows look at.
struct Seen<'a> {
    counts: Counts,
    view: View<'a>,
}

/// How many traits there are.
pub const TRAITS: usize = ROWS.len() + THEMES;

const ROWS: [Row; 60] = [
    ("length", |seen| log(seen.counts.bytes) / 4),
    ("whole_length", |seen| log(u32::try_from(seen.view.whole_bytes).unwrap_or(u32::MAX)) / 4),
    ("brief", |seen| if seen.counts.words <= 12 { ONE } else { 0 }),
    ("word_length", |seen| ratio(seen.counts.letters, seen.counts.words) / 4),
    ("long_words", |seen| ratio(seen.counts.long_words * 4, seen.counts.words)),
    ("longest_words", |seen| ratio(seen.counts.longest_words * 16, seen.counts.words)),
    ("repeated_words", |seen| ratio(seen.counts.repeated_words * 2, seen.counts.words)),
    ("sentence_length", |seen| log(seen.counts.words / (seen.counts.sentences + 1)) / 4),
    ("sentences", |seen| log(seen.counts.sentences + 1)),
    ("names", |seen| seen.density(seen.counts.names)),
    ("all_caps", |seen| seen.density(seen.counts.all_caps)),
    ("digits", |seen| ratio(seen.counts.digits * 8, seen.counts.bytes)),
    ("numbers", |seen| seen.density(seen.counts.numbers)),
    ("number_count", |seen| log(seen.counts.numbers + 1)),
    ("few_numbers", |seen| if (2..=12).contains(&seen.counts.numbers) { ONE } else { 0 }),
    ("decimals", |seen| seen.density(seen.counts.decimals)),
    ("percents", |seen| seen.density(seen.counts.percents)),
    ("dollars", |seen| seen.density(seen.counts.dollars)),
    ("operators", |seen| seen.density(seen.counts.operators)),
    ("equals", |seen| seen.density(seen.counts.equals)),
    ("brackets", |seen| seen.density(seen.counts.brackets)),
    ("braces", |seen| seen.density(seen.counts.braces)),
    ("backslashes", |seen| seen.density(seen.counts.backslashes)),
    ("commas", |seen| seen.density(seen.counts.commas)),
    ("quotes", |seen| seen.density(seen.counts.quotes)),
    ("blanks", |seen| yes(seen.counts.blanks > 0)),
    ("non_ascii", |seen| ratio(seen.counts.non_ascii * 16, seen.counts.bytes)),
    ("formula", |seen| {
        let counts = &seen.counts;
        yes(counts.equals + counts.backslashes > 0 || counts.operators * 4 > counts.words)
    }),
    ("identifiers", |seen| seen.density(seen.counts.identifiers)),
    ("fences", |seen| yes(seen.counts.fences > 0)),
    ("newlines", |seen| ratio(seen.counts.newlines * 16, seen.counts.bytes)),
    ("blank_lines", |seen| log(seen.counts.blank_lines + 1)),
    ("list_lines", |seen| log(seen.counts.list_lines + 1)),
    ("questions", |seen| log(seen.counts.questions + 1)),
    ("asks", |seen| yes(seen.counts.ends_asking)),
    ("asks_nothing", |seen| yes(seen.counts.questions == 0)),
    ("begins_small", |seen| yes(seen.counts.begins_small)),
    ("has_options", |seen| yes(seen.counts.options >= 2)),
    ("many_options", |seen| yes(seen.counts.options > 5)),
    ("option_length", |seen| log(seen.counts.option_bytes / seen.counts.options.max(1)) / 4),
    ("number_options", |seen| ratio(seen.counts.number_options, seen.counts.options)),
    ("amount_asked", |seen| yes(seen.counts.amount_asked)),
    ("code_asked", |seen| yes(seen.counts.code_asked)),
    ("opens_who", |seen| seen.opens(Theme::Who)),
    ("opens_what", |seen| seen.opens(Theme::What)),
    ("opens_how", |seen| seen.opens(Theme::How)),
    ("opens_why", |seen| seen.opens(Theme::Why)),
    ("opens_make", |seen| seen.opens(Theme::Make)),
    ("opens_solve", |seen| seen.opens(Theme::Solve)),
    ("opens_explain", |seen| seen.opens(Theme::Explain)),
    ("opens_extract", |seen| seen.opens(Theme::Extract)),
    ("opens_logic", |seen| seen.opens(Theme::Logic)),
    ("story_sum", |seen| {
        let counts = &seen.counts;
        yes(counts.numbers >= 2 && counts.sentences >= 2 && counts.themes[Theme::Amount as usize] >= 2)
    }),
    ("plain_fact", |seen| {
        let counts = &seen.counts;
        yes(counts.words <= 20
            && counts.numbers == 0
            && counts.options == 0
            && counts.sentences <= 1
            && !counts.code_asked)
    }),
    ("tools", |seen| log(seen.view.features.tools + 1)),
    ("structured", |seen| yes(seen.view.features.structured)),
    ("images", |seen| yes(seen.view.features.images > 0)),
    ("turns", |seen| log(seen.view.turns.max(1)) / 2),
    ("system_length", |seen| log(seen.view.features.system_bytes) / 4),
    ("no_words", |seen| yes(seen.counts.words == 0)),
];

/// The traits of an ask.
#[must_use]
pub fn traits(view: View<'_>) -> Traits {
    let view = View { text: last_question(view.text), ..view };
    let seen = Seen { counts: count(view.text), view };
    let mut traits = [0; TRAITS];
    let (rows, themes) = traits.split_at_mut(ROWS.len());
    for (value, (_, row)) in rows.iter_mut().zip(&ROWS) {
        *value = capped(row(&seen));
    }
    for (value, count) in themes.iter_mut().zip(seen.counts.themes) {
        *value = capped(seen.density(count));
    }
    traits
}

/// The name of a trait by its place.
#[must_use]
pub fn name(place: usize) -> &'static str {
    let theme = || place.checked_sub(ROWS.len()).and_then(|theme| THEME_NAMES.get(theme).copied());
    ROWS.get(place).map(|(name, _)| *name).or_else(theme).unwrap_or_default()
}

impl Seen<'_> {
    /// How often something comes in ten words; a short text has a few words more, so that one word is not everything.
    fn density(&self, count: u32) -> u32 {
        // Most things are not there at all, and a division costs more than a look.
        if count == 0 {
            return 0;
        }
        count.saturating_mul(10 * ONE) / (self.counts.words + 10)
    }

    /// Whether one of the first two words hints at a theme.
    fn opens(&self, theme: Theme) -> u32 {
        let second = if self.counts.first & bit(theme) != 0 { ONE } else { 0 };
        second.max(if self.counts.second & bit(theme) != 0 { ONE / 2 } else { 0 })
    }
}

/// What stands before an answer. Found by what is made once, since to make it costs more than to use it.
static ANSWERS: LazyLock<[Finder<'static>; 3]> = LazyLock::new(|| ["\nAnswer:", "\nA:", "\nOutput:"].map(Finder::new));

/// The last question of several with their answers, which are examples.
fn last_question(text: &[u8]) -> &[u8] {
    // All of the marks begin a line, and most asks are one.
    if memchr(b'\n', text).is_none() {
        return text.trim_ascii_start();
    }
    let mut from = 0;
    for mark in &*ANSWERS {
        let mut at = from;
        while let Some(found) = mark.find(&text[at..]) {
            let answer = at + found + mark.needle().len();
            let Some(end) = text[answer..].windows(2).position(|two| two == b"\n\n") else { break };
            if text[answer..answer + end].iter().all(u8::is_ascii_whitespace) || end > 400 {
                break;
            }
            at = answer + end;
            from = at;
        }
    }
    text[from..].trim_ascii_start()
}

const fn yes(is: bool) -> u32 {
    if is { ONE } else { 0 }
}

/// A share in 256ths; none of nothing.
fn ratio(part: u32, whole: u32) -> u32 {
    u32::try_from(u64::from(part) * u64::from(ONE) / u64::from(whole.max(1))).unwrap_or(u32::MAX)
}

/// The logarithm to base 2, by a line between powers.
fn log(size: u32) -> u32 {
    let Some(octave) = size.checked_ilog2() else { return 0 };
    let rest = ((u64::from(size) << 8) >> octave) & 255;
    octave * ONE + u32::try_from(rest).unwrap_or(0)
}

fn capped(value: u32) -> i32 {
    i32::try_from(value).unwrap_or(TRAIT_MAX).min(TRAIT_MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(text: &str) -> Traits {
        let features = Features::default();
        traits(View { text: text.as_bytes(), whole_bytes: text.len(), features: &features, turns: 1 })
    }

    fn named(traits: &Traits, wanted: &str) -> i32 {
        (0..TRAITS).find(|place| name(*place) == wanted).map(|place| traits[place]).unwrap()
    }

    #[test]
    fn traits_tell_tasks_apart() {
        let sum = of("Ada has 3 apples. She buys 4 more for $2 each. How many apples does she have?");
        let code = of("Write a python function that reverses a string.");
        let fact = of("who sang the song in the film");
        for (wanted, values) in [
            ("amount_asked", [256, 0, 0]),
            ("code_asked", [0, 256, 0]),
            ("opens_who", [0, 0, 256]),
            ("story_sum", [256, 0, 0]),
            ("begins_small", [0, 0, 256]),
        ] {
            assert_eq!([&sum, &code, &fact].map(|traits| named(traits, wanted)), values, "{wanted}");
        }
        assert!(named(&fact, "trivia") > named(&code, "trivia"));
    }

    #[test]
    fn examples_are_left_out() {
        let shots = "What is hot?\nA) ice\nB) fire\nAnswer:\nB\n\nWhat is wet?\nA) sand\nB) rain\nAnswer: B\n\n";
        let last = "Which is cold?\nA) ice\nB) fire\nAnswer:";
        assert_eq!(last_question(format!("{shots}{last}").as_bytes()), last.as_bytes());
        assert_eq!(last_question(last.as_bytes()), last.as_bytes());
        assert_eq!(last_question(b"\nAnswer:\n\nx"), b"Answer:\n\nx");
    }

    #[test]
    fn no_trait_leaves_its_range() {
        for text in ["", "?", "9 9 9 9 = = = =", &"= ".repeat(2_000), &"ä".repeat(2_000), &"if ".repeat(1_000)] {
            assert!(of(text).iter().all(|value| (0..=TRAIT_MAX).contains(value)), "{text}");
        }
        assert_eq!((0..=TRAITS).filter(|place| name(*place).is_empty()).count(), 1);
    }
}
