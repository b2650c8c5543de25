//! [`Counts`]: everything that is counted of an ask, in one pass over its bytes.
//!
//! Words are runs of letters, digits and apostrophes; bytes outside of ASCII count as letters. A line that begins with
//! `A.`, `B)` or `(C)` is an option of a multiple choice question.

use super::words::{EMPTY, THEMES, Theme, Themes, bit, hashed, themes_of, words};

/// What was counted.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Counts {
    pub(super) bytes: u32,
    pub(super) letters: u32,
    pub(super) upper: u32,
    pub(super) digits: u32,
    pub(super) newlines: u32,
    pub(super) blank_lines: u32,
    pub(super) words: u32,
    pub(super) long_words: u32,
    pub(super) longest_words: u32,
    /// Words that stood among the last few hundred before.
    pub(super) repeated_words: u32,
    /// Words with a capital that open no sentence.
    pub(super) names: u32,
    pub(super) all_caps: u32,
    /// Words that begin with a digit.
    pub(super) numbers: u32,
    pub(super) decimals: u32,
    /// `snake_case`, `camelCase`, `call(`, `a.b`.
    pub(super) identifiers: u32,
    pub(super) sentences: u32,
    pub(super) questions: u32,
    pub(super) operators: u32,
    pub(super) equals: u32,
    pub(super) brackets: u32,
    pub(super) braces: u32,
    pub(super) backslashes: u32,
    pub(super) dollars: u32,
    pub(super) percents: u32,
    pub(super) quotes: u32,
    pub(super) commas: u32,
    pub(super) blanks: u32,
    pub(super) non_ascii: u32,
    pub(super) fences: u32,
    pub(super) list_lines: u32,
    pub(super) options: u32,
    pub(super) option_bytes: u32,
    pub(super) number_options: u32,
    /// How often each theme was hinted at.
    pub(super) themes: [u32; THEMES],
    /// Themes of the first word, and of the second.
    pub(super) first: Themes,
    pub(super) second: Themes,
    /// `how many`, `how much`.
    pub(super) amount_asked: bool,
    /// `write a function` and the like: a verb of making, and of code within three words.
    pub(super) code_asked: bool,
    /// The last word of all is followed by a question mark.
    pub(super) ends_asking: bool,
    /// The text begins with a lower case letter.
    pub(super) begins_small: bool,
}

/// A word.
#[derive(Clone, Copy, Debug)]
struct Word {
    hash: u32,
    /// The hash without the last letter.
    stem: u32,
    length: u32,
    upper: u32,
    /// A small letter stood before a capital, or letters on both sides of an underscore.
    is_identifier: bool,
    /// It begins with a digit, and a point and another digit or letter follow it.
    is_decimal: bool,
    last: u8,
    first: u8,
}

const NO_WORD: Word =
    Word { hash: EMPTY, stem: EMPTY, length: 0, upper: 0, is_identifier: false, is_decimal: false, last: 0, first: 0 };

/// What the pass remembers.
struct Pass<'a> {
    counts: Counts,
    table: &'a [(u32, Themes)],
    /// The next word opens a sentence.
    opens: bool,
    before: Themes,
    /// Words since a verb of making.
    since_make: u32,
    seen: [u64; 16],
    /// Where the option began whose line this is.
    option_at: Option<usize>,
}

/// Counts.
pub(super) fn count(text: &[u8]) -> Counts {
    count_words(text, |pass, text, at| pass.word(text, at))
}

/// Counts, with `word` to read each word from where it begins to where it ends.
fn count_words(text: &[u8], word: impl Fn(&mut Pass<'_>, &[u8], usize) -> usize) -> Counts {
    let mut pass = Pass {
        counts: Counts::default(),
        table: words(),
        opens: true,
        before: 0,
        since_make: u32::MAX,
        seen: [0; 16],
        option_at: None,
    };
    pass.counts.begins_small = text.first().is_some_and(u8::is_ascii_lowercase);
    pass.line(text, 0);
    let mut at = 0;
    while let Some(&byte) = text.get(at) {
        if IS_OF_WORD[usize::from(byte)] {
            at = word(&mut pass, text, at);
            continue;
        }
        // A blank, which is most of what is between words, says nothing.
        if byte != b' ' {
            pass.mark(text, at, byte);
        }
        at += 1;
    }
    pass.end_option(text.len());
    pass.counts.bytes = u32::try_from(text.len()).unwrap_or(u32::MAX);
    let end = text.iter().rev().find(|byte| !byte.is_ascii_whitespace());
    pass.counts.ends_asking = end == Some(&b'?');
    pass.counts
}

/// Whether a byte begins a word, or goes on with one.
static IS_OF_WORD: [bool; 256] = {
    let (mut is_of_word, mut byte) = ([false; 256], 0_u8);
    loop {
        is_of_word[byte as usize] = byte >= 0x80 || byte.is_ascii_alphanumeric();
        if byte == u8::MAX {
            break is_of_word;
        }
        byte += 1;
    }
};

impl Word {
    /// Adds the small letters at `from`; returns where they end.
    fn small_letters(&mut self, text: &[u8], from: usize) -> usize {
        let (mut stem, mut hash, mut at) = (self.stem, self.hash, from);
        while let Some(&letter @ b'a'..=b'z') = text.get(at) {
            (stem, hash) = (hash, hashed(hash, letter));
            at += 1;
        }
        (self.stem, self.hash) = (stem, hash);
        at
    }

    fn push(&mut self, letter: u8) {
        (self.stem, self.hash) = (self.hash, hashed(self.hash, letter));
    }

    /// Whether a mark with `next` behind it belongs to the word. If not, the word ends with it, and it may say what the word is.
    fn takes(&mut self, mark: u8, next: Option<&u8>) -> bool {
        let is_inside = next.is_some_and(u8::is_ascii_alphanumeric);
        match mark {
            b'\'' if is_inside => return true,
            b'_' if is_inside => {
                self.is_identifier = true;
                return true;
            }
            b'.' if is_inside => {
                self.is_decimal = self.first.is_ascii_digit();
                self.is_identifier |= !self.is_decimal && self.length > 1;
            }
            b'(' if self.length > 1 => self.is_identifier = true,
            _ => {}
        }
        false
    }
}

impl Pass<'_> {
    /// Reads the word that begins at `from`; returns where it ends.
    fn word(&mut self, text: &[u8], from: usize) -> usize {
        let mut word = Word { first: text[from].to_ascii_lowercase(), ..NO_WORD };
        let at = word.small_letters(text, from);
        // Most words are this and no more.
        if at > from && text.get(at) == Some(&b' ') {
            (word.length, word.last) = (length(at - from), text[at - 1]);
            self.counts.letters += word.length;
            self.opens = false;
            self.note(&word);
            return at;
        }
        self.odd_word(text, from, at, word)
    }

    /// Reads on at `at` in a word of which more than small letters may come.
    fn odd_word(&mut self, text: &[u8], from: usize, at: usize, mut word: Word) -> usize {
        let (mut digits, mut foreign, mut joints) = (0, 0, 0);
        let mut at = at;
        let mark = loop {
            let Some(&byte) = text.get(at) else { break 0 };
            let small = match byte {
                b'a'..=b'z' => byte,
                b'A'..=b'Z' => {
                    word.is_identifier |= word.upper == 0 && at > from && text[at - 1].is_ascii_lowercase();
                    word.upper += 1;
                    byte | 0x20
                }
                b'0'..=b'9' => {
                    digits += 1;
                    byte
                }
                0x80.. => {
                    foreign += 1;
                    self.counts.non_ascii += u32::from(byte & 0xc0 != 0x80);
                    byte
                }
                _ => {
                    word.length = length(at - from);
                    if !word.takes(byte, text.get(at + 1)) {
                        break byte;
                    }
                    joints += 1;
                    byte
                }
            };
            word.push(small);
            at = word.small_letters(text, at + 1);
        };
        word.length = length(at - from);
        word.last = text[at - 1].to_ascii_lowercase();
        let counts = &mut self.counts;
        counts.letters += word.length - digits - foreign - joints;
        counts.upper += word.upper;
        counts.digits += digits;
        counts.decimals += u32::from(word.is_decimal);
        self.end_word(&word, mark);
        at
    }

    fn mark(&mut self, text: &[u8], at: usize, byte: u8) {
        let next = text.get(at + 1).copied().unwrap_or(b'\n');
        let counts = &mut self.counts;
        match byte {
            b'\n' => {
                counts.newlines += 1;
                counts.blank_lines += u32::from(next == b'\n');
                self.opens = true;
                self.end_option(at);
                self.line(text, at + 1);
            }
            b'.' | b'!' | b'?' if matches!(next, b' ' | b'\n') => {
                counts.sentences += 1;
                counts.questions += u32::from(byte == b'?');
                self.opens = true;
            }
            b'?' => counts.questions += 1,
            b'=' => counts.equals += 1,
            b'+' | b'*' | b'^' | b'<' | b'>' | b'/' | b'|' | b'~' => counts.operators += 1,
            b'-' if next.is_ascii_digit() => counts.operators += 1,
            b'(' | b'[' => counts.brackets += 1,
            b'{' | b'}' | b';' => counts.braces += 1,
            b'\\' => counts.backslashes += 1,
            b'$' => counts.dollars += 1,
            b'%' => counts.percents += 1,
            b'"' | b'\'' => counts.quotes += 1,
            b',' => counts.commas += 1,
            b'_' => counts.blanks += u32::from(next == b'_'),
            b'`' => counts.fences += u32::from(text[at..].starts_with(b"```")),
            _ => {}
        }
    }

    /// Looks at how a line begins.
    fn line(&mut self, text: &[u8], at: usize) {
        let line = text.get(at..).unwrap_or_default();
        let (opening, rest) = line.strip_prefix(b"(").map_or((false, line), |rest| (true, rest));
        match rest {
            [b'A'..=b'J', b')', ..] | [b'A'..=b'J', b'.', b' ', ..] => {
                self.counts.options += 1;
                self.option_at = Some(at);
                let value = rest.get(2..).unwrap_or_default().iter().find(|byte| **byte != b' ');
                let is_number = value.is_some_and(|byte| byte.is_ascii_digit() || matches!(byte, b'-' | b'$' | b'.'));
                self.counts.number_options += u32::from(is_number);
            }
            [b'-' | b'*', b' ', ..] | [b'0'..=b'9', b'.' | b')', b' ', ..] if !opening => self.counts.list_lines += 1,
            _ => {}
        }
    }

    fn end_option(&mut self, at: usize) {
        if let Some(start) = self.option_at.take() {
            self.counts.option_bytes += u32::try_from(at - start).unwrap_or(u32::MAX);
        }
    }

    /// Judges a word, which this byte ended.
    fn end_word(&mut self, word: &Word, mark: u8) {
        let counts = &mut self.counts;
        counts.numbers += u32::from(word.first.is_ascii_digit());
        counts.identifiers += u32::from(word.is_identifier);
        let is_upper = word.upper > 0 && word.first.is_ascii_lowercase();
        counts.all_caps += u32::from(word.upper == word.length && word.length > 1);
        counts.names += u32::from(is_upper && !self.opens && word.length > 1 && word.upper < word.length);
        self.opens = mark == b':';
        self.note(word);
    }

    /// What is asked of every word.
    fn note(&mut self, word: &Word) {
        let counts = &mut self.counts;
        counts.words += 1;
        counts.long_words += u32::from(word.length >= 8);
        counts.longest_words += u32::from(word.length >= 12);
        let (slot, seen) = ((word.hash >> 6) as usize % self.seen.len(), 1_u64 << (word.hash & 63));
        counts.repeated_words += u32::from(self.seen[slot] & seen != 0);
        self.seen[slot] |= seen;
        let mut themes = themes_of(self.table, word.hash);
        if themes == 0 && word.last == b's' && word.length > 3 {
            themes = themes_of(self.table, word.stem);
        }
        match counts.words {
            1 => counts.first = themes,
            2 => counts.second = themes,
            _ => {}
        }
        self.since_make = self.since_make.saturating_add(1);
        if themes != 0 {
            self.note_themes(themes);
        }
        self.before = themes;
    }

    fn note_themes(&mut self, themes: Themes) {
        let counts = &mut self.counts;
        counts.amount_asked |= self.before & bit(Theme::How) != 0 && themes & bit(Theme::Amount) != 0;
        counts.code_asked |= self.since_make <= 3 && themes & bit(Theme::Code) != 0;
        if themes & bit(Theme::Make) != 0 {
            self.since_make = 0;
        }
        let mut left = themes;
        while left != 0 {
            counts.themes[left.trailing_zeros() as usize] += 1;
            left &= left - 1;
        }
    }
}

fn length(bytes: usize) -> u32 {
    u32::try_from(bytes).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_plain_word_is_read_as_any_other(text in "([a-z]{1,9}[ .,?:'()_=\n-]{1,2}|[a-zA-Z0-9é]{1,4}|title|how many|write a function){0,40}") {
            let oddly = |pass: &mut Pass<'_>, text: &[u8], at: usize| {
                pass.odd_word(text, at, at, Word { first: text[at].to_ascii_lowercase(), ..NO_WORD })
            };
            prop_assert_eq!(count(text.as_bytes()), count_words(text.as_bytes(), oddly));
        }
    }

    #[test]
    fn a_question_with_options_is_counted() {
        let text = "How many dollars has Ada Lovelace after 3.5 hours?\nA. $10\nB) 12\n(C) none of them\nAnswer:";
        let counts = count(text.as_bytes());
        assert_eq!((counts.options, counts.number_options, counts.option_bytes), (3, 2, 6 + 5 + 16));
        assert_eq!((counts.questions, counts.decimals, counts.dollars, counts.newlines), (1, 1, 1, 4));
        assert!(counts.amount_asked && !counts.code_asked && !counts.begins_small && !counts.ends_asking);
        assert_eq!(counts.names, 2);
    }

    #[test]
    fn code_is_counted() {
        let counts = count(b"write a python function that calls readLine(x_1) and ab.c\n```\nx = {y};\n```");
        assert!(counts.code_asked && counts.begins_small);
        assert_eq!((counts.identifiers, counts.fences, counts.braces, counts.equals), (3, 2, 3, 1));
    }

    #[test]
    fn any_bytes_can_be_counted() {
        for text in [&b""[..], b"\n", b"\xff\xfe", b"(", b"A.", b"\xe2\x82\xac\xe2\x82\xac 5", b"'''", b"____"] {
            assert_eq!(count(text).bytes as usize, text.len());
        }
    }
}
