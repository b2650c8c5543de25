//! The canonical form of a question in prose: two questions with the same form may be given the same answer.
//!
//! Little is folded: a line's end behind the text, two blanks where they are no gap, how quotation marks look, the case of the
//! very first letter, the last full stop or question mark, a "please" in front and a "Thank you." behind. Every other sign, word
//! and capital stays as it stands, so that a changed number, name, unit, negation, comma or bracket is another question. There
//! are no embeddings: no threshold on their distance tells "enable" from "disable".
//!
//! What stands behind a colon or a line's end is data: it stays as it is, its blanks and its last mark as well, but for how
//! quotation marks look. A text that speaks of letters, marks, blanks or tone may mean its own, and has no form; nor has one with
//! signs of code or with columns. Only its equal has the same answer. The same goes for a text without a common English word.
//!
//! Invariant: a fold is made where it is known to be harmless, never because no harm is known; whoever is unsure gives up the
//! form, which only costs a hit.

pub mod answers;
mod end;
mod form;
mod opening;
mod words;

/// The longest text with a canonical form, in characters.
pub const CHARACTERS_MAX: usize = 2000;

/// A text with more words tells a story, and shows no example of a few words.
const STORY_WORDS: usize = 30;

/// What stands in prose besides letters and digits, wherever it stands.
const SIGNS: &str = " .,;:?!'\"-)%$&\n\u{20ac}\u{a3}\u{a0}\u{2013}\u{2014}\u{2018}\u{2019}\u{201c}\u{201d}";

/// The canonical form of `text`; nothing where only the same text may be given the same answer.
#[must_use]
pub fn canonical(text: &str) -> Option<String> {
    let text = text.trim_end_matches(['\n', '\r']);
    if text.chars().nth(CHARACTERS_MAX).is_some() || !is_prose(text) || has_columns(text) {
        return None;
    }
    let text: String = text.chars().map(plain_quote).collect();
    let (asked, data) = text.split_at(data_start(&text));
    let words: Vec<&str> = asked.split(' ').filter(|word| !word.is_empty()).collect();
    if !words::GLUE.is_in(asked) || form::is_asked_for(asked, data) || words.iter().any(|word| is_quote(word)) {
        return None;
    }
    let asked = without_courtesy(&words, data)?;
    let (first, rest) = asked.split_first()?;
    let (last, middle) = rest.split_last()?;
    let last = if data.is_empty() { end::without_mark(last, asked)? } else { last };
    let mut form = opening::folded(first, rest)?;
    for word in middle.iter().chain([&last]) {
        form.push(' ');
        form.push_str(word);
    }
    form.push_str(end::kept(data)?);
    Some(form)
}

/// Whether the answer depends on when it is asked, so that a stored one may be wrong although the question is the same.
#[must_use]
pub fn depends_on_time(text: &str) -> bool {
    let text = text.to_lowercase().replace('\u{2019}', "'");
    let is_year = |word: &&str| word.len() == 4 && word.bytes().all(|sign| sign.is_ascii_digit());
    let words = || text.split(|sign: char| !sign.is_alphanumeric() && sign != '\'').filter(|word| !word.is_empty());
    let has_year = words().any(|word| is_year(&word));
    let is_moment = |(before, word): (&str, &str)| {
        words::POINTERS.has(before) && words::SPANS.has(word)
            || !has_year && words::DATES.has(before) && words::MONTHS.has(word)
    };
    words::CLOCKS.iter().any(|clock| text.contains(clock))
        || words().any(|word| words::TIMES.has(word))
        || words().zip(words().skip(1)).any(is_moment)
}

/// Curly quotation marks and apostrophes as typewriters have them.
const fn plain_quote(sign: char) -> char {
    match sign {
        '\u{2018}' | '\u{2019}' => '\'',
        '\u{201c}' | '\u{201d}' => '"',
        other => other,
    }
}

/// Whether a quotation mark stands for itself.
fn is_quote(word: &str) -> bool {
    words::core(word).is_empty() && word.contains(['\'', '"'])
}

/// Whether a text has no sign but those of prose.
fn is_prose(text: &str) -> bool {
    let signs: Vec<char> = text.chars().collect();
    let is_word = |sign: Option<&char>| sign.is_some_and(|sign| sign.is_alphanumeric());
    let is_known = |(place, sign): (usize, &char)| {
        let before = place.checked_sub(1).and_then(|before| signs.get(before));
        match *sign {
            // A fraction, one of two words, a long name; and no path.
            '/' | '_' => is_word(before) && is_word(signs.get(place + 1)),
            // A remark, and no call such as "f(x)".
            '(' => !is_word(before),
            sign => SIGNS.contains(sign) || sign.is_alphabetic() || sign.is_ascii_digit(),
        }
    };
    signs.iter().enumerate().all(is_known)
}

/// Where the question ends and its data begins: at a line's end, or at a colon that is none of a time of the day, with the blanks
/// in front.
fn data_start(text: &str) -> usize {
    let bytes = text.as_bytes();
    let is_digit = |place: usize| bytes.get(place).is_some_and(u8::is_ascii_digit);
    let is_data = |(place, byte): (usize, &u8)| match byte {
        b':' => !(place > 0 && is_digit(place - 1) && is_digit(place + 1)),
        byte => *byte == b'\n',
    };
    let sign = bytes.iter().enumerate().position(is_data);
    sign.map_or(text.len(), |sign| text[..sign].trim_end_matches(' ').len())
}

/// Whether blanks may carry the meaning: in front, at the end, three in a row, two where neither a sentence or a part of it ends
/// nor all gaps so far are as wide, two between quotation marks that do not stand around it all.
fn has_columns(text: &str) -> bool {
    let is_mark = |sign: char| matches!(plain_quote(sign), '"' | '\'');
    let is_whole = text.starts_with(is_mark) && text.ends_with(is_mark);
    let all = if is_whole { text.trim_matches(is_mark) } else { text };
    let opening = all.split(' ').position(|word| word.starts_with(is_mark));
    let from = opening.map_or("", |place| all.splitn(place + 1, ' ').last().unwrap_or(""));
    let quoted = from.rfind(is_mark).map_or("", |last| &from[..last]);
    let is_apart = text.starts_with(' ') || text.ends_with(' ') || text.contains("   ");
    is_apart || quoted.contains("  ") || has_lone_gap(&text[..data_start(text)])
}

/// Whether two blanks stand within a sentence behind single ones, as in "the name ann  lee"; in a story they are a slip.
fn has_lone_gap(asked: &str) -> bool {
    if asked.split(' ').nth(STORY_WORDS).is_some() {
        return false;
    }
    let mut parts = asked.split("  ").peekable();
    let mut is_wide = true;
    while let Some(part) = parts.next() {
        is_wide &= !part.contains(' ');
        if parts.peek().is_some() && !is_wide && !part.ends_with(['.', '!', '?', ',', ';', '"', ')']) {
            return true;
        }
    }
    false
}

/// Without a "please" in front and a "Thank you." behind; nothing where they may be what the question is about.
fn without_courtesy<'a, 'b>(words: &'b [&'a str], data: &str) -> Option<&'b [&'a str]> {
    let asked = without_please(words)?;
    let names = |known: &words::List| asked.iter().any(|word| known.has(words::core(word)));
    let is_title = asked.len() < words.len() && names(&words::TITLES);
    // "Make it longer, come in. Thank you."
    let has_text = matches!(asked, ["Cut" | "Keep" | "Make" | "make" | "Put" | "Turn", "it", ..]);
    if data.ends_with("Thank you.") || is_title || has_text && asked.ends_with(&["Thank", "you."]) {
        return None;
    }
    let asked = match asked {
        [rest @ .., last, "Thank", "you."] if data.is_empty() => {
            let is_apart = last.ends_with(['.', '!', '?']);
            let is_alone = rest.len() > 1 && !words::DANGLING.has(last) && !names(&words::TITLES);
            (is_apart || is_alone).then(|| &asked[..asked.len() - 2])?
        }
        _ => asked,
    };
    let is_same = asked.len() == words.len();
    (is_same || !asked.iter().any(|word| words::SAYING.has(words::core(word)))).then_some(asked)
}

/// Without a "please" in front of a known word, of which the case says nothing, as it would in a title.
fn without_please<'a, 'b>(words: &'b [&'a str]) -> Option<&'b [&'a str]> {
    let mut asked = words;
    while let [first, rest @ ..] = asked
        && is_please(first)
    {
        let (next, behind) = rest.split_first()?;
        let is_again = is_please(next) && next.starts_with('p');
        asked = (is_again || opening::is_known(next, behind)).then_some(rest)?;
    }
    Some(asked)
}

fn is_please(word: &str) -> bool {
    matches!(word, "Please" | "please" | "Please," | "please,")
}

#[cfg(test)]
mod tests;
