//! [`is_asked_for`]: questions about how a text is written, maybe their own.

use super::words::{self, core};

/// Whether a text asks how another is written, or itself, so that a mark, a blank or a capital may be the matter. Who asks for a
/// program names letters and words, too, and means none of the text.
pub fn is_asked_for(asked: &str, data: &str) -> bool {
    let (asked, data) = (asked.to_lowercase(), data.to_lowercase());
    let has_quotes = asked.contains('"') || asked.contains(" '") || data.contains(['"', '\'']);
    let is_counted = [&asked, &data].iter().any(|text| words::COUNTS.is_in(text) && words::COUNTED.is_in(text));
    let is_about = is_counted
        || has_quotes && words::PARTS.is_in(&asked)
        || data.is_empty() && means_text(&asked)
        || [&asked, &data].iter().any(|text| speaks_of_form(text));
    is_about && !(is_program(&asked) && !has_quotes && data.is_empty())
}

fn means_text(asked: &str) -> bool {
    let words: Vec<&str> = asked.split(' ').map(core).filter(|word| !word.is_empty()).collect();
    words.windows(2).any(|pair| matches!(pair[0], "the" | "this") && words::MEANT.has(pair[1]))
        || asked.split(' ').any(|word| matches!(word, "it," | "this," | "following,"))
        || matches!(words[..], [.., "about" | "for" | "in" | "is" | "like" | "of" | "with", "this"])
}

fn speaks_of_form(text: &str) -> bool {
    let words: Vec<&str> = words::parts(text).collect();
    (0..words.len()).any(|place| words::FORM.has(words[place]) || words::begins_phrase(&words[place..]))
}

fn is_program(asked: &str) -> bool {
    let mut words = asked.split(' ').filter(|word| !matches!(*word, "" | "please" | "a" | "python"));
    words.next() == Some("write") && words.next().is_some_and(|word| words::PROGRAMS.has(word))
}
