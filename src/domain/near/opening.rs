//! [`folded`]: the first word of a text, of which the capital may be there for the sentence alone.

use super::end::ends_sentence;
use super::words::{self, core};

/// The word as it stands in the form. Its capital is folded only where the word is known to mean the same without; of others
/// the lower case has no form, as it may be another word than the one with a capital: "polish", "turkey", "python". Where the
/// first word has no letter to tell, a later sentence that begins in lower case says the same.
pub fn folded(first: &str, rest: &[&str]) -> Option<String> {
    if is_known(first, rest) {
        return Some(first.to_lowercase());
    }
    let is_lower = |word: &str| word.starts_with(|letter: char| letter.is_lowercase());
    let has_letter = first.starts_with(char::is_alphabetic);
    let mut pairs = rest.iter().zip(rest.iter().skip(1));
    let has_small =
        is_lower(core(first)) || !has_letter && pairs.any(|(one, next)| ends_sentence(one) && is_lower(next));
    (!has_small).then(|| first.to_owned())
}

/// Whether a text may begin with the word in either case.
pub fn is_known(first: &str, rest: &[&str]) -> bool {
    let plain = first.strip_suffix(',').unwrap_or(first);
    let next = rest.first().copied().unwrap_or("");
    !first.chars().skip(1).any(char::is_uppercase)
        && (words::OPENINGS.has(plain) && !is_thing(plain, next) || is_person(plain, rest))
}

/// Whether the word may be a thing itself, of which something is said: "A beats B", "I is the current", "Can is a band".
fn is_thing(first: &str, next: &str) -> bool {
    words::SAYS_OF.has(next) && !words::THINGS.has(first) || matches!(first, "A" | "a" | "I" | "i") && !is_small(next)
}

/// Whether it is somebody's name. A name that is a noun as well has to do what a noun without an article cannot: "Mark has his".
fn is_person(first: &str, rest: &[&str]) -> bool {
    let name = first.strip_suffix("'s").unwrap_or(first);
    let next = rest.first().copied().unwrap_or("");
    let is_told_of = |word: &&str| {
        let word = core(word);
        words::PERSONS.has(word) || word.starts_with(char::is_uppercase) && word.eq_ignore_ascii_case(name)
    };
    is_small(next) && words::NAMES.has(name)
        || words::NOUN_NAMES.has(name) && words::PERSON_VERBS.has(next) && rest.iter().any(is_told_of)
}

fn is_small(next: &str) -> bool {
    next.len() > 1 && next.starts_with(|letter: char| letter.is_ascii_lowercase())
}
