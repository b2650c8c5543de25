//! The canonical form of a question in prose: two questions with the same form may be given the same answer.
//!
//! What is folded away cannot change an answer: spaces, the case of letters, marks at the end, how quotation marks look,
//! articles, contractions, a "please" in front and thanks behind. Every other word and sign is kept, in order, so that a
//! changed number, name, unit, negation or bracket is another question. There are no embeddings: no threshold on their
//! distance tells "enable" from "disable".
//!
//! Prose only: a text in which one sign or one capital may carry the meaning (code, formulas, tables, "the US") has no
//! canonical form, and only its equal has the same answer. English is folded further than other languages.
//!
//! Invariant: whoever is unsure keeps the token or gives up the form; both only cost a hit.

use unicode_normalization::UnicodeNormalization;

pub mod answers;
mod words;

/// The longest text with a canonical form, in characters.
pub const CHARACTERS_MAX: usize = 2000;

/// Questions with fewer words keep the case of all but their first word: "what is Rust" is not "what is rust".
const WORDS_MIN: usize = 6;

/// Signs of code, formulas and tables, where one of them may change everything.
const CODE_SIGNS: &[char] = &['\\', '{', '}', '[', ']', '|', '^', '<', '>', '=', '*', '_', '~', '#', '`'];

/// A word or a sign, as it stood in the text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Token<'a> {
    /// What stands between spaces, without the signs around it.
    Word(&'a str),
    /// One sign of punctuation, in front of a word or behind it.
    Sign(char),
}

/// The canonical form of `text`; nothing where only the same text may be given the same answer.
#[must_use]
pub fn canonical(text: &str) -> Option<String> {
    if text.chars().nth(CHARACTERS_MAX).is_some() || has_odd_sign(text) {
        return None;
    }
    let text: String = text.nfkc().map(plain_quote).collect();
    if text.chars().any(|sign| CODE_SIGNS.contains(&sign)) || has_formula(&text) {
        return None;
    }
    let tokens = tokens(&text);
    let is_english = text.chars().all(|letter| letter.is_ascii() || !letter.is_alphabetic());
    let body = if is_english { without_courtesy(&tokens) } else { &tokens };
    let body = without_end(body);
    if has_telling_capital(body) {
        return None;
    }
    let form = folded(body, is_english);
    (!form.is_empty()).then_some(form)
}

/// Whether the answer depends on when it is asked, so that a stored one may be wrong although the question is the same.
#[must_use]
pub fn depends_on_time(text: &str) -> bool {
    let text = text.to_lowercase();
    let mut words = text.split(|sign: char| !sign.is_alphanumeric() && sign != '\'').filter(|word| !word.is_empty());
    let mut before = "";
    words.any(|word| {
        let spans = matches!(before, "this" | "last" | "next" | "past") && words::SPANS.contains(&word);
        before = word;
        spans || words::TIMES.contains(&word)
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

/// Digits that are none of ASCII's (NFKC has made "x2" of a square), and signs of mathematics.
fn has_odd_sign(text: &str) -> bool {
    text.chars().any(|sign| {
        (sign.is_numeric() && !sign.is_ascii())
            || matches!(sign, '\u{b1}' | '\u{d7}' | '\u{f7}' | '\u{2200}'..='\u{22ff}' | '\u{2190}'..='\u{21ff}' | '\0'..='\u{8}')
    })
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

/// The words and signs of a text, in order.
fn tokens(text: &str) -> Vec<Token<'_>> {
    let mut tokens = Vec::new();
    for chunk in text.split_whitespace() {
        let is_sign = |sign: char| !is_part_of_word(sign);
        let core = chunk.trim_start_matches(is_sign);
        tokens.extend(chunk[..chunk.len() - core.len()].chars().map(Token::Sign));
        let word = core.trim_end_matches(is_sign);
        if !word.is_empty() {
            tokens.push(Token::Word(word));
        }
        tokens.extend(core[word.len()..].chars().map(Token::Sign));
    }
    tokens
}

/// Letters, digits, and what belongs to a number or a name that it touches: a minus, a percent sign, a currency.
fn is_part_of_word(sign: char) -> bool {
    sign.is_alphanumeric()
        || !sign.is_ascii() && !is_prose_mark(sign)
        || matches!(sign, '-' | '%' | '$' | '&' | '@' | '+' | '/')
}

/// Marks of other scripts that end a sentence or part it, which NFKC leaves as they are.
const fn is_prose_mark(sign: char) -> bool {
    matches!(
        sign,
        '\u{3001}'
            | '\u{3002}'
            | '\u{2026}'
            | '\u{2013}'
            | '\u{2014}'
            | '\u{60c}'
            | '\u{61f}'
            | '\u{964}'
            | '\u{bf}'
            | '\u{a1}'
    )
}

/// Without a "please" in front and thanks behind, where they cannot be what the question is about.
fn without_courtesy<'a, 'b>(mut tokens: &'b [Token<'a>]) -> &'b [Token<'a>] {
    while let [Token::Word(first), rest @ ..] = tokens
        && words::is(first, "please")
        && rest.iter().filter(|token| matches!(token, Token::Word(_))).count() > 1
    {
        tokens = rest.strip_prefix(&[Token::Sign(',')]).unwrap_or(rest);
    }
    let end = tokens.iter().rposition(|token| matches!(token, Token::Word(_))).map_or(0, |last| last + 1);
    let asked = words::THANKS.iter().find_map(|thanks| before_thanks(&tokens[..end], thanks));
    asked.unwrap_or(tokens)
}

/// What stands in front of `thanks`, if that is a sentence of its own: behind a mark, or with a capital letter.
fn before_thanks<'a, 'b>(tokens: &'b [Token<'a>], thanks: &[&str]) -> Option<&'b [Token<'a>]> {
    let (asked, said) = tokens.split_at_checked(tokens.len().checked_sub(thanks.len())?)?;
    let is_thanks =
        said.iter().zip(thanks).all(|(token, word)| matches!(token, Token::Word(said) if words::is(said, word)));
    let Some(Token::Word(first)) = said.first().filter(|_| is_thanks) else { return None };
    let has_capital = first.starts_with(|letter: char| letter.is_ascii_uppercase());
    match asked.last()? {
        Token::Sign('.' | '!' | '?' | '"') => Some(asked),
        // "Say it in French, please": one of several that could stand there.
        Token::Sign(',') if words::is(first, "please") || has_capital => Some(&asked[..asked.len() - 1]),
        Token::Sign(_) => None,
        Token::Word(before) => (has_capital && !words::is_about_words(before)).then_some(asked),
    }
}

/// Without the marks at the end, except where one belongs to what stands before it, as in `5!`.
fn without_end<'a, 'b>(mut tokens: &'b [Token<'a>]) -> &'b [Token<'a>] {
    while let [rest @ .., Token::Sign('.' | '!' | '?' | '\u{3002}' | '\u{2026}')] = tokens {
        let is_factorial = tokens.last() == Some(&Token::Sign('!'))
            && matches!(rest.last(), Some(Token::Word(word)) if word.len() == 1 || word.ends_with(|sign: char| sign.is_ascii_digit()));
        if is_factorial || rest.is_empty() {
            break;
        }
        tokens = rest;
    }
    tokens
}

/// Whether a capital letter within a sentence may be all that tells two questions apart.
fn has_telling_capital(tokens: &[Token<'_>]) -> bool {
    let is_short = tokens.iter().filter(|token| matches!(token, Token::Word(_))).count() < WORDS_MIN;
    let mut starts = true;
    tokens.iter().any(|token| {
        let Token::Word(word) = token else {
            starts |= matches!(token, Token::Sign('.' | '!' | '?' | ':' | '"'));
            return false;
        };
        let has_capital = word.chars().any(char::is_uppercase);
        let tells = *word != "I" && (is_short || words::is_capitonym(word));
        let is_start = std::mem::take(&mut starts) && word.chars().skip(1).all(|letter| !letter.is_uppercase());
        has_capital && tells && !(is_start && (*word != "A" || tokens.len() > 1))
    })
}

/// The tokens in one line, with all that cannot change an answer folded.
fn folded(tokens: &[Token<'_>], is_english: bool) -> String {
    let mut form = String::new();
    let mut quotes = 0_usize;
    for (place, token) in tokens.iter().enumerate() {
        let before = place.checked_sub(1).and_then(|before| tokens.get(before));
        let after = tokens.get(place + 1);
        match *token {
            Token::Sign(sign) => {
                quotes += usize::from(sign == '"');
                if !is_idle(sign, before, after) {
                    push(&mut form, sign.encode_utf8(&mut [0; 4]));
                }
            }
            Token::Word(word) => {
                let is_quoted = quotes % 2 == 1 || matches!(before, Some(Token::Sign(_))) && !ends_sentence(before);
                if !(is_english && !is_quoted && is_idle_article(word, after)) {
                    push_word(&mut form, word, is_english);
                }
            }
        }
    }
    form
}

/// Whether a mark says nothing that its neighbours do not: a comma before "and" or "or".
fn is_idle(sign: char, before: Option<&Token<'_>>, after: Option<&Token<'_>>) -> bool {
    let (Some(Token::Word(_)), Some(Token::Word(after))) = (before, after) else { return false };
    sign == ',' && (words::is(after, "and") || words::is(after, "or"))
}

fn ends_sentence(token: Option<&Token<'_>>) -> bool {
    matches!(token, Some(Token::Sign('.' | '!' | '?' | ',' | ':' | ';')))
}

/// Whether `word` is an article that says nothing: one that ends a clause is a name ("solve for a"), and so is one before a
/// word of question ("the who").
fn is_idle_article(word: &str, after: Option<&Token<'_>>) -> bool {
    let is_article = ["a", "an", "the"].iter().any(|article| words::is(word, article));
    is_article && matches!(after, Some(Token::Word(after)) if words::takes_article(after))
}

/// Adds a word in small letters, and a contraction as the two words that it stands for.
fn push_word(form: &mut String, word: &str, is_english: bool) {
    let small = word.to_lowercase();
    if !is_english {
        return push(form, &small);
    }
    match words::CONTRACTIONS.iter().find(|(short, _)| *short == small) {
        Some((_, long)) => push(form, long),
        None => match words::ENDINGS.iter().find_map(|(short, long)| Some((small.strip_suffix(short)?, long))) {
            Some((stem, long)) => {
                push(form, stem);
                push(form, long);
            }
            None => push(form, &small),
        },
    }
}

fn push(form: &mut String, token: &str) {
    if !form.is_empty() {
        form.push(' ');
    }
    form.push_str(token);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn same(texts: &[&str]) {
        let forms: Vec<_> = texts.iter().map(|text| canonical(text)).collect();
        assert!(forms[0].is_some(), "{texts:?}");
        assert!(forms.iter().all(|form| *form == forms[0]), "{texts:?}: {forms:?}");
    }

    fn apart(texts: &[&str]) {
        let forms: Vec<_> = texts.iter().filter_map(|text| canonical(text)).collect();
        for (place, form) in forms.iter().enumerate() {
            assert!(!forms[..place].contains(form), "{texts:?}: {form}");
        }
    }

    #[test]
    fn what_cannot_change_an_answer_is_folded() {
        same(&[
            "What's the capital of France and Spain?",
            "what’s  the capital of france and spain\n",
            "Please what's the capital of France and Spain? Thank you.",
            "what's a capital of France and Spain Thanks!",
            "Please please, what's the capital of France and Spain",
            "What's the capital of France, and Spain.",
        ]);
        same(&[
            "Don't I need a visa for Japan?",
            "do not i need visa for japan",
            "please, don't I need a visa for japan.",
        ]);
        same(&["He said “no” to her twice today", "He said \"no\" to her twice today."]);
        same(&[
            "A train leaves at 10:30 from Rome. A bus leaves later.",
            "a train leaves at 10:30 from rome. a bus leaves later",
        ]);
        same(&["il a mangé une pomme hier soir", "Il a mangé une pomme hier soir."]);
        same(&["東京の人口は何人ですか", "東京の人口は何人ですか。"]);
    }

    #[test]
    fn what_may_change_an_answer_is_kept() {
        apart(&["how do I enable it here now", "how do I disable it here now", "how do I not enable it here now"]);
        apart(&["how do you say please in french", "how do you say thank you in french", "how do you say in french"]);
        apart(&["How do you say Please.", "How do you say Thank you.", "How do you say"]);
        apart(&["what is 5!", "what is 5", "what is -5", "what is 5%", "what is $5", "what is 0.5", "what is .5"]);
        apart(&["a cheque for 1,000 euros and no more", "a cheque for 1 000 euros and no more"]);
        apart(&["il a mangé une pomme hier soir", "il mangé une pomme hier soir"]);
        apart(&["Let's eat, grandma, before the others come", "Let's eat grandma before the others come"]);
        apart(&["which songs did the who play at woodstock", "which songs did who play at woodstock"]);
        apart(&["please solve this equation for a", "please solve this equation for"]);
        apart(&[
            "print (a, b) to the screen twice",
            "print (a b) to the screen twice",
            "print a, b to the screen twice",
        ]);
    }

    #[test]
    fn what_is_no_prose_has_no_form() {
        for text in [
            "",
            " \n",
            "what is f(x) at zero",
            "x = 5",
            "a | b",
            "what is x² at zero for me",
            "what is 5 + 3",
            "what is Rust",
            "what is US law on this and on that",
            "does vitamin A help against colds at all",
            "snake_case names are fine",
        ] {
            assert_eq!(canonical(text), None, "{text:?}");
        }
        assert_eq!(
            canonical(&"word ".repeat(500)),
            None.or(canonical(&"word ".repeat(400)).filter(|_| false)),
            "too long"
        );
    }

    #[test]
    fn words_of_time_are_found() {
        for (text, depends) in [
            ("what is the weather today", true),
            ("Latest news?", true),
            ("who won this week", true),
            ("how many days has a week", false),
            ("what is the current", true),
            ("knowledge is power", false),
        ] {
            assert_eq!(depends_on_time(text), depends, "{text}");
        }
    }
}
