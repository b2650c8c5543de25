//! [`without_mark`]: the last mark of a text, where it says nothing.
//!
//! A full stop says nothing behind an ordinary word, and a question mark behind a question that is one by its words: "He left?"
//! is not "He left.". A mark of exclamation is never folded, as "n!" is a number.

use super::words::{self, core};

/// The last of the words without its mark; nothing where the mark may say something.
pub fn without_mark<'a>(last: &'a str, asked: &[&str]) -> Option<&'a str> {
    let Some(mark) = last.chars().next_back().filter(|mark| matches!(mark, '.' | '!' | '?')) else { return Some(last) };
    let stem = &last[..last.len() - mark.len_utf8()];
    let is_closed = stem.ends_with(|sign: char| sign.is_alphanumeric() || matches!(sign, '\'' | '"' | ')' | '%' | '$'));
    let says_nothing = match mark {
        '.' => ends_plainly(stem, asked),
        '?' => asks(asked),
        _ => false,
    };
    (is_closed && says_nothing).then_some(stem)
}

/// The data of a question as it is; nothing where it may have lost its last mark.
pub fn kept(data: &str) -> Option<&str> {
    let is_whole = data.trim_end_matches(['"', '\'', ')']).ends_with(['.', '!', '?']);
    (data.is_empty() || is_whole).then_some(data)
}

/// Whether a full stop behind `stem` is nothing but one: a short word may be another's beginning, as in "fig." and "in.", and
/// what is to be printed has its own.
fn ends_plainly(stem: &str, asked: &[&str]) -> bool {
    let plain = core(stem);
    let names = |known: &words::List| asked.iter().any(|word| known.has(core(word)));
    let before = asked.len().checked_sub(2).map_or("", |before| core(asked[before]));
    let is_usual = match plain.contains('.') {
        _ if plain.chars().all(|sign| sign.is_ascii_digit() || matches!(sign, '.' | ',' | '-')) => {
            !names(&words::NUMBERS)
        }
        true => plain.split('.').all(|part| part.len() < 3 && part.starts_with(char::is_alphabetic)),
        // Behind a closing mark it is the sentence's own.
        false => stem.ends_with(['\'', '"', ')']) || plain.chars().count() > 3 || words::SHORT_ENDS.has(plain),
    };
    is_usual && !words::SHORTENED.has(plain) && !words::LITERALS.has(before) && !names(&words::PRINTS)
}

/// Whether the last sentence is a question by its words.
fn asks(words: &[&str]) -> bool {
    let (_, before) = words.split_last().unwrap_or((&"", words));
    let start = before.iter().rposition(|word| ends_sentence(word)).map_or(0, |last| last + 1);
    let sentence = match &words[start..] {
        [first, rest @ ..] if words::JOINTS.has(first) => rest,
        sentence => sentence,
    };
    let is_led = sentence.first().is_some_and(|first| words::LEADS.has(core(first)));
    let joins = |place: usize| {
        let (here, before) = (&sentence[place..], sentence[place - 1]);
        let is_joined = before.ends_with(',') || words::JOINTS.has(before);
        match is_led {
            true => {
                asks_here(here)
                    || before.ends_with(',') && words::TASKS.has(here[0])
                    || (is_joined || words::LEADS.has(before)) && words::ASKING.has(stem(here[0]))
            }
            false => is_joined && asks_here(here),
        }
    };
    !sentence.is_empty() && (opens(sentence) || (1..sentence.len()).any(joins))
}

/// Whether a sentence that begins so is a question.
fn opens(sentence: &[&str]) -> bool {
    let first = stem(sentence[0]);
    // "Had he left, we would stay."
    let is_condition = sentence.iter().any(|word| word.ends_with(','));
    words::ASKING_FIRST.has(first)
        || first.eq_ignore_ascii_case("which") && !words::SUBJECTS.has(next(sentence))
        || words::TASKS.has(first)
        || words::TURNED.has(first) && words::SUBJECTS.has(next(sentence)) && !is_condition
        || asks_here(sentence)
}

/// Whether what stands here is a question wherever it stands: "how many", "what is", "where did", "can he".
fn asks_here(here: &[&str]) -> bool {
    let (word, next) = (stem(here[0]), next(here));
    let is_short = word.len() < core(here[0]).len();
    let has_verb = is_short || words::VERBS.has(stem(next));
    match word.to_ascii_lowercase().as_str() {
        // "How old he is."
        "how" if here.get(2).is_some_and(|word| words::PRONOUNS.has(core(word))) => has_verb,
        "how" => has_verb || words::AMOUNTS.has(next) || next.eq_ignore_ascii_case("to"),
        "when" | "where" | "why" => has_verb,
        // "He won, which is why."
        "which" if words::VERBS.has(next) => false,
        "what" | "which" => is_short || !words::SUBJECTS.has(next),
        word => words::TURNING.has(word) && words::PRONOUNS.has(next),
    }
}

fn next<'a>(here: &[&'a str]) -> &'a str {
    here.get(1).map_or("", |next| core(next))
}

/// A word without what a contraction adds: "is" of "isn't", "who" of "who's".
fn stem(word: &str) -> &str {
    let word = core(word);
    let stem = word.split('\'').next().unwrap_or(word);
    match word.to_ascii_lowercase().as_str() {
        "can't" => "can",
        "won't" => "will",
        word if word.ends_with("n't") => stem.strip_suffix('n').unwrap_or(stem),
        _ => stem,
    }
}

/// Whether a sentence ends behind a word.
pub fn ends_sentence(word: &str) -> bool {
    let plain = core(word);
    let is_letter = |part: &str| part.chars().count() == 1 && part.starts_with(char::is_alphabetic);
    let is_short = plain.split('.').all(is_letter) || words::SHORTENED.has(plain);
    !is_short && word.trim_end_matches(['"', '\'', ')', '\u{a0}']).ends_with(['.', '!', '?'])
}
