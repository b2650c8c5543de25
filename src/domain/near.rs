//! The canonical form of a question in prose: two questions with the same form may be given the same answer.
//!
//! What is folded away cannot change an answer: how much space is between two words, the case of letters, how quotation
//! marks look, one mark at the end, contractions, a "please" in front and thanks behind, and a "the" that says nothing
//! ("the capital of"). Every other word, sign and line stays where it is, so that a changed number, name, unit, negation,
//! comma or bracket is another question. There are no embeddings: no threshold on their distance tells "enable" from
//! "disable".
//!
//! Prose only: a text in which one sign, one blank or one capital may carry the meaning (code, formulas, tables, questions
//! about spelling, "the US", a name that is a word as well) has no canonical form, and only its equal has the same answer.
//! English is folded further than other languages.
//!
//! Invariant: whoever is unsure keeps the word or gives up the form; both only cost a hit.

use unicode_normalization::UnicodeNormalization;

pub mod answers;
mod words;

/// The longest text with a canonical form, in characters.
pub const CHARACTERS_MAX: usize = 2000;

/// Signs of code, formulas and tables, where one of them may change everything.
const CODE_SIGNS: &[char] = &['\\', '{', '}', '[', ']', '|', '^', '<', '>', '=', '*', '_', '~', '#', '`'];

/// Questions with fewer words keep the case of all but their first word: "what is Rust" is not "what is rust".
const WORDS_MIN: usize = 6;

/// A line's end, among the words of a text.
const LINE: &str = "\n";

/// The canonical form of `text`; nothing where only the same text may be given the same answer.
#[must_use]
pub fn canonical(text: &str) -> Option<String> {
    if text.chars().nth(CHARACTERS_MAX).is_some() || has_odd_sign(text) || has_layout(text.trim()) {
        return None;
    }
    let text: String = text.nfkc().map(plain_quote).collect();
    if text.contains(CODE_SIGNS) || has_formula(&text) || is_about_form(&text) {
        return None;
    }
    let words = split(&text);
    let is_english =
        text.chars().all(|letter| letter.is_ascii() || !letter.is_alphabetic()) && words::any(&text, words::GLUE);
    if has_telling_capital(&words, is_english) {
        return None;
    }
    let asked = without_courtesy(&text, &words, is_english)?;
    let (asked, end) = without_end(asked, is_english)?;
    if asked.iter().filter(|word| **word != LINE).count() + usize::from(!end.is_empty()) < 2 {
        return None;
    }
    Some(folded(asked, end, is_english && !text.contains('"')))
}

/// Whether the answer depends on when it is asked, so that a stored one may be wrong although the question is the same.
#[must_use]
pub fn depends_on_time(text: &str) -> bool {
    let text = text.to_lowercase().replace('\u{2019}', "'");
    let mut words = text.split(|sign: char| !sign.is_alphanumeric() && sign != '\'').filter(|word| !word.is_empty());
    let mut before = "";
    words::CLOCKS.iter().any(|clock| text.contains(clock))
        || words.any(|word| {
            let spans =
                matches!(before, "this" | "last" | "next" | "past" | "these") && words::one_of(word, words::SPANS);
            before = word;
            spans || words::one_of(word, words::TIMES)
        })
}

/// Curly and other quotation marks and apostrophes as typewriters have them.
const fn plain_quote(sign: char) -> char {
    match sign {
        '\u{2018}' | '\u{2019}' | '\u{201a}' | '\u{201b}' | '\u{2032}' => '\'',
        '\u{201c}' | '\u{201d}' | '\u{201e}' | '\u{201f}' | '\u{ab}' | '\u{bb}' => '"',
        other => other,
    }
}

/// Digits that are none of ASCII's, signs of mathematics, and what NFKC would turn into something else that is written on
/// purpose: a raised letter, a letter of an alphabet for formulas, a sign made of several.
fn has_odd_sign(text: &str) -> bool {
    text.chars().filter(|sign| !sign.is_ascii()).any(|sign| {
        let is_number_or_formula = sign.is_numeric()
            || matches!(sign, '\u{b1}' | '\u{d7}' | '\u{f7}' | '\u{2200}'..='\u{22ff}' | '\u{2190}'..='\u{21ff}');
        is_number_or_formula || !is_typography(sign) && std::iter::once(sign).nfkc().ne(std::iter::once(sign).nfc())
    })
}

/// Signs whose looks alone NFKC changes: spaces, wide and narrow letters, ligatures, an ellipsis.
fn is_typography(sign: char) -> bool {
    sign.is_whitespace() || matches!(sign, '\u{ff01}'..='\u{ffdc}' | '\u{fb00}'..='\u{fb06}' | '\u{2026}')
}

/// Whether blanks may carry the meaning: in columns, in indented lines, between quotation marks.
fn has_layout(text: &str) -> bool {
    let is_odd = |sign: char| sign.is_control() && !matches!(sign, '\n' | '\r');
    let is_indented = |line: &str| line.starts_with(char::is_whitespace) && !line.trim().is_empty();
    let quoted = |sign: char| matches!(plain_quote(sign), '"');
    text.chars().any(is_odd)
        || text.split('\n').any(is_indented)
        || text.split(quoted).skip(1).step_by(2).any(|inner| inner.contains("  "))
}

/// Whether a sign stands where prose has none: a digit beside `+` or `/`, a bracket right behind a letter, as in `f(x)`.
fn has_formula(text: &str) -> bool {
    let mut before = ' ';
    let mut signs = text.chars().filter(|sign| *sign != ' ').peekable();
    while let Some(sign) = signs.next() {
        let beside_digit = before.is_ascii_digit() || signs.peek().is_some_and(char::is_ascii_digit);
        if matches!(sign, '+' | '/') && beside_digit {
            return true;
        }
        before = sign;
    }
    text.as_bytes().windows(2).any(|pair| pair[0].is_ascii_alphanumeric() && pair[1] == b'(')
}

/// What stands between blanks, in order, and the ends of lines among it.
fn split(text: &str) -> Vec<&str> {
    let mut all = Vec::new();
    for line in text.lines().map(str::trim).filter(|line| !line.is_empty()) {
        if !all.is_empty() {
            all.push(LINE);
        }
        all.extend(line.split_whitespace());
    }
    all
}

/// Whether a text asks how another is written, where a capital, a mark or a contraction is the matter.
fn is_about_form(text: &str) -> bool {
    let has_example = text.contains([':', '"']) || text.contains(" '") || words::any(text, "sentence following");
    let is_counted = words::any(text, words::COUNTS) && words::any(text, words::COUNTED);
    has_example && (is_counted || words::any(text, words::FORM))
}

/// Without a "please" in front and thanks behind; nothing where they may be what the question is about.
fn without_courtesy<'a, 'b>(text: &str, words: &'b [&'a str], is_english: bool) -> Option<&'b [&'a str]> {
    let mut asked = words;
    while let [first, rest @ ..] = asked
        && words::is(first.strip_suffix(',').unwrap_or(first), "please")
        && rest.first().is_some_and(|next| goes_on(next))
        && rest.len() > 1
    {
        asked = rest;
    }
    let is_title = asked.len() < words.len() && words::any(text, words::TITLES);
    let thanked = words::THANKS.iter().find_map(|thanks| before_thanks(asked, thanks));
    let is_text = thanked.is_some() && (text.contains([':', '"']) || words::any(text, words::TEXTS));
    let asked = thanked.unwrap_or(asked);
    let is_doubtful = is_title || is_text || !is_english && asked.len() < words.len();
    (!is_doubtful).then_some(asked)
}

/// Whether a sentence goes on with this word: in a title, it would have a capital.
fn goes_on(word: &str) -> bool {
    let first = word.chars().next().unwrap_or(' ');
    first.is_lowercase()
        || first.is_ascii_digit()
        || first == '"'
        || matches!(word, "I" | "I'm" | "I've" | "I'd" | "I'll")
}

/// What stands in front of `thanks`, if that is a sentence of its own: behind a mark, or with a capital letter.
fn before_thanks<'a, 'b>(words: &'b [&'a str], thanks: &[&str]) -> Option<&'b [&'a str]> {
    let (asked, said) = words.split_at_checked(words.len().checked_sub(thanks.len())?)?;
    let last = said.len() - 1;
    let is_thanks = said.iter().zip(thanks).enumerate().all(|(place, (said, word))| {
        words::is(if place == last { said.trim_end_matches(['.', '!']) } else { said }, word)
    });
    let has_capital = said.first()?.starts_with(|letter: char| letter.is_ascii_uppercase());
    let before = asked.last().filter(|_| is_thanks && asked.len() > 1)?;
    let is_apart = *before == LINE || before.ends_with(['.', '!', '?', '"']);
    // "Say it in French, please" has no capital, and there the comma would have to go as well.
    let is_alone = has_capital && before.ends_with(char::is_alphanumeric);
    let asked = asked.strip_suffix(&[LINE]).unwrap_or(asked);
    (is_apart || is_alone).then_some(asked)
}

/// The words but for the last, and the last without the mark at its end; nothing where that mark may carry the meaning.
fn without_end<'a, 'b>(words: &'b [&'a str], is_english: bool) -> Option<(&'b [&'a str], &'a str)> {
    let (last, asked) = words.split_last()?;
    let mark = last.chars().next_back().filter(|mark| matches!(mark, '.' | '!' | '?' | '\u{3002}'));
    let Some(mark) = mark else { return Some((words, "")) };
    let stem = &last[..last.len() - mark.len_utf8()];
    let is_many = stem.ends_with(['.', '!', '?', '\u{3002}']);
    let is_factorial = mark == '!' && (stem.ends_with(|sign: char| !sign.is_alphabetic()) || words::is_operand(stem));
    // "He left?" is not "He left."; "where is he?" is a question without its mark, too.
    let is_telling = mark == '?' && !(is_english && asks(words));
    (!is_many && !is_factorial && !is_telling).then_some((asked, stem))
}

/// Whether the last sentence is a question by its words.
fn asks(words: &[&str]) -> bool {
    let (_, sentence) = words.split_last().unwrap_or((&"", words));
    let start = sentence.iter().rposition(|word| *word == LINE || ends_sentence(word));
    let sentence = &words[start.map_or(0, |last| last + 1)..];
    let mut opens = true;
    sentence.iter().enumerate().any(|(place, word)| {
        let plain = words::core(word);
        let after = sentence.get(place + 1).map_or("", |after| words::core(after));
        let opened = opens;
        let passes = words::one_of(plain, words::OPENERS);
        opens = word.ends_with([',', ':', ';', '"'])
            || opened && passes
            || words::is(plain, "and")
            || words::is(plain, "then");
        let how_many = words::is(plain, "how") && words::one_of(after, words::AMOUNTS);
        how_many || opened && words::one_of(before_apostrophe(plain), words::INTERROGATIVES)
    })
}

fn before_apostrophe(word: &str) -> &str {
    let stem = word.split('\'').next().unwrap_or(word);
    // "don't", and not "wasn".
    if word.ends_with("n't") { stem.strip_suffix('n').unwrap_or(stem) } else { stem }
}

/// Whether a capital letter may be all that tells two questions apart.
fn has_telling_capital(words: &[&str], is_english: bool) -> bool {
    let is_short = words.iter().filter(|word| **word != LINE).count() < WORDS_MIN;
    let mut starts = true;
    words.iter().enumerate().any(|(place, word)| {
        let plain = words::core(word);
        let opens_line = place == 0 || words[place - 1] == LINE;
        // Behind "A." or "b)" a line begins anew.
        let is_marker = opens_line && plain.len() < 3 && word.ends_with(['.', ')']);
        let is_start = std::mem::replace(&mut starts, *word == LINE || is_marker || ends_sentence(word));
        let mut letters = plain.chars();
        let first = letters.next().unwrap_or(' ');
        if is_start
            && (words::is_opening_capitonym(plain)
                || place == 0 && plain.len() == 1 && !matches!(first, 'A' | 'I' | 'a' | 'i' | '0'..='9'))
        {
            return true;
        }
        let has_capital = plain.chars().any(char::is_uppercase);
        if !has_capital || is_start && !letters.any(char::is_uppercase) || is_pronoun_or_label(words, place) {
            return false;
        }
        let before = place.checked_sub(1).map_or("", |before| words[before]);
        !is_english || is_short || is_unit(before, plain) || words::parts(plain).any(tells)
    })
}

fn ends_sentence(word: &str) -> bool {
    let plain = words::core(word);
    let is_short = plain.split('.').all(|part| part.chars().count() == 1) || words::one_of(plain, words::SHORT);
    !is_short && word.trim_end_matches(['"', '\'', ')']).ends_with(['.', '!', '?'])
}

/// Whether it is the speaker's "I", or a letter that names one of several; and not a variable, a vitamin or a number.
fn is_pronoun_or_label(words: &[&str], place: usize) -> bool {
    let plain = words::core(words[place]);
    let before = place.checked_sub(1).map_or("", |before| words::core(words[before]));
    let is_last = !words[place].ends_with(plain) || place + 1 == words.len();
    let is_initial =
        words[place].ends_with('.') && words.get(place + 1).is_some_and(|next| next.starts_with(char::is_uppercase));
    let is_key = words
        .get(place + 1)
        .is_some_and(|next| matches!(words::core(next), "major" | "minor" | "sharp" | "flat" | "vs"));
    let is_behind = |known: &str| words::one_of(before, known);
    let is_pronoun =
        matches!(plain, "I'm" | "I've" | "I'd" | "I'll") || plain == "I" && (!is_last || is_behind(words::ASKED));
    is_pronoun && !is_behind(words::NUMBERED)
        || matches!(plain.strip_suffix("'s").unwrap_or(plain).len(), 1)
            && (words[place].starts_with('\'') || is_initial || is_key || is_behind(words::LABELLED))
}

/// Whether a capital tells how much is meant: "10 MB", "5mW".
fn is_unit(before: &str, plain: &str) -> bool {
    let has_number = plain.starts_with(|sign: char| sign.is_ascii_digit());
    let follows_number = before.ends_with(|sign: char| sign.is_ascii_digit()) && plain.chars().count() < 4;
    (has_number || follows_number) && !words::UNITS.split(' ').any(|unit| plain.ends_with(unit))
}

/// Whether a word with a capital may be another one without: a letter by itself, a unit, or a name that is a word.
fn tells(part: &str) -> bool {
    let is_upper = |letter: char| letter.is_uppercase();
    if !part.contains(is_upper) || words::UNITS.split(' ').any(|unit| unit == part) {
        return false;
    }
    let is_title = part.starts_with(is_upper) && !part.chars().skip(1).any(is_upper);
    let is_acronym = part.chars().all(|letter| is_upper(letter) || letter.is_numeric() || letter == '.');
    let length = part.chars().count();
    words::is_capitonym(part) || length == 1 || length < 4 && !is_title && !is_acronym
}

/// All words in one line, with what cannot change an answer folded.
fn folded(asked: &[&str], end: &str, folds_words: bool) -> String {
    let all: Vec<String> =
        asked.iter().copied().chain((!end.is_empty()).then_some(end)).map(str::to_lowercase).collect();
    let mut form = String::new();
    for (place, word) in all.iter().enumerate() {
        if folds_words && word == "the" && says_nothing(&all, place) {
            continue;
        }
        if !form.is_empty() {
            form.push(' ');
        }
        match folds_words {
            true => push_word(&mut form, word),
            false => form.push_str(word),
        }
    }
    form
}

/// Whether the article at `place` says nothing: there is one capital of a country, and nobody is in "the charge of" it.
fn says_nothing(words: &[String], place: usize) -> bool {
    let before = place.checked_sub(1).map_or("", |before| &words[before]);
    let noun = words.get(place + 1).is_some_and(|noun| noun.chars().all(|letter| letter.is_ascii_lowercase()));
    noun && words.get(place + 2).is_some_and(|word| word == "of") && words::takes_of(before)
}

/// Adds a word, and a contraction as the two words that it stands for.
fn push_word(form: &mut String, word: &str) {
    let stem = word.trim_end_matches(|sign: char| !sign.is_alphanumeric());
    let long = words::CONTRACTIONS.iter().find(|(short, _)| *short == stem).map(|(_, long)| *long);
    match long.or_else(|| words::ENDINGS.iter().find_map(|(short, long)| stem.ends_with(short).then_some(*long))) {
        Some(long) if words::CONTRACTIONS.iter().any(|(short, _)| *short == stem) => form.push_str(long),
        Some(long) => {
            let short = words::ENDINGS.iter().find(|(_, known)| *known == long).map_or("", |(short, _)| short);
            form.extend([stem.strip_suffix(short).unwrap_or(stem), " ", long]);
        }
        None => form.push_str(stem),
    }
    form.push_str(&word[stem.len()..]);
}

#[cfg(test)]
mod tests;
