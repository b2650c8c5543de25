//! [`agree`]: whether two answers to near-identical questions say about the same. A rough measure, for rates and not for single
//! cases: who words an answer anew may count as another, and who lies in the same words does not.

use std::collections::HashMap;

/// Answers with fewer words are compared number by number.
const SHORT_WORDS: usize = 24;

/// Of a hundred words, so many have to be the same, in short answers and in others.
const SAME_PERCENT: [usize; 2] = [70, 50];

/// Words that turn an answer round.
const TURNING: [&str; 9] = ["no", "not", "never", "none", "cannot", "can't", "false", "incorrect", "without"];

/// Whether the answers agree: most of their words are the same, and short ones have the same numbers and denials.
#[must_use]
pub fn agree(one: &str, other: &str) -> bool {
    let (one, other) = (words(one), words(other));
    let is_short = one.len().min(other.len()) < SHORT_WORDS;
    let tells = |word: &&String| word.contains(|sign: char| sign.is_numeric()) || TURNING.contains(&&***word);
    let telling = |words: &[String]| {
        let mut telling: Vec<String> = words.iter().filter(tells).cloned().collect();
        telling.sort_unstable();
        telling.dedup();
        telling
    };
    if is_short && telling(&one) != telling(&other) {
        return false;
    }
    let mut left: HashMap<&str, usize> = HashMap::new();
    one.iter().for_each(|word| *left.entry(word).or_default() += 1);
    let shared = other.iter().filter(|word| {
        let count = left.get_mut(word.as_str()).filter(|count| **count > 0);
        count.map(|count| *count -= 1).is_some()
    });
    let [short, long] = SAME_PERCENT;
    2 * shared.count() * 100 >= (if is_short { short } else { long }) * (one.len() + other.len())
}

fn words(text: &str) -> Vec<String> {
    let parts = text.split(|sign: char| !sign.is_alphanumeric() && !matches!(sign, '\'' | '.' | ','));
    let parts = parts.map(|part| part.trim_matches(['\'', '.', ',']).to_lowercase());
    parts.filter(|part| !part.is_empty()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn other_numbers_denials_and_words_are_another_answer() {
        for (one, other, expect) in [
            ("Paris.", "paris", true),
            ("It is 5.", "it is 5!", true),
            ("It is 5.", "It is 6.", false),
            ("Yes, you need a visa for that.", "No, you do not need a visa for that.", false),
            ("The capital is Paris.", "Lima is its capital", false),
            ("1,000 euros", "1000 euros", false),
            ("", "", true),
        ] {
            assert_eq!(agree(one, other), expect, "{one:?} {other:?}");
        }
        let long = "word ".repeat(60);
        assert!(agree(&long, &format!("{long} and 5 more")));
        assert!(!agree(&long, &"other ".repeat(60)));
    }
}
