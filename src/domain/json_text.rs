//! JSON written straight into a string, for lines that are made by the million: no tree in between.
//!
//! It never reads JSON, and it never writes a control character, so that what a client put into a name cannot
//! break a line or steer a terminal.
//!
//! Invariant: what was written is valid JSON once its [`Object`]s and [`List`]s are dropped; dropping closes them.

use std::fmt::{Display, Write};

/// Digits of the largest number of 64 bits.
const DIGITS_MAX: usize = 20;

/// An object being written.
#[derive(Debug)]
pub struct Object<'a> {
    out: &'a mut String,
    empty: bool,
}

/// A list of objects being written.
#[derive(Debug)]
pub struct List<'a> {
    out: &'a mut String,
    empty: bool,
}

impl<'a> Object<'a> {
    /// Opens an object at the end of `out`.
    pub fn open(out: &'a mut String) -> Self {
        out.push('{');
        Self { out, empty: true }
    }

    /// A field that is a text.
    pub fn text(&mut self, name: &str, value: &str) -> &mut Self {
        self.name(name);
        write_text(self.out, value);
        self
    }

    /// A field that is a text or null.
    pub fn text_or_null(&mut self, name: &str, value: Option<&str>) -> &mut Self {
        match value {
            Some(value) => self.text(name, value),
            None => self.null(name),
        }
    }

    /// A field that is a text by its `Display`; for values that need no escapes, such as money, ids and moments.
    pub fn shown(&mut self, name: &str, value: impl Display) -> &mut Self {
        self.name(name);
        self.out.push('"');
        write_to(self.out, format_args!("{value}"));
        self.out.push('"');
        self
    }

    /// A field that is a bare number.
    pub fn number(&mut self, name: &str, value: impl Display) -> &mut Self {
        self.name(name);
        write_to(self.out, format_args!("{value}"));
        self
    }

    /// A field that is a whole number, in a fraction of the time that the formatter takes.
    pub fn count(&mut self, name: &str, value: u64) -> &mut Self {
        self.name(name);
        write_digits(self.out, value);
        self
    }

    /// A field that is a bare number or null.
    pub fn number_or_null(&mut self, name: &str, value: Option<impl Display>) -> &mut Self {
        match value {
            Some(value) => self.number(name, value),
            None => self.null(name),
        }
    }

    /// A field that is true or false.
    pub fn truth(&mut self, name: &str, value: bool) -> &mut Self {
        self.name(name);
        self.out.push_str(if value { "true" } else { "false" });
        self
    }

    /// A field that is null.
    pub fn null(&mut self, name: &str) -> &mut Self {
        self.name(name);
        self.out.push_str("null");
        self
    }

    /// A field that is an object.
    pub fn object(&mut self, name: &str) -> Object<'_> {
        self.name(name);
        Object::open(self.out)
    }

    /// A field that is a list.
    pub fn list(&mut self, name: &str) -> List<'_> {
        self.name(name);
        self.out.push('[');
        List { out: self.out, empty: true }
    }

    fn name(&mut self, name: &str) {
        if !std::mem::take(&mut self.empty) {
            self.out.push(',');
        }
        write_text(self.out, name);
        self.out.push(':');
    }
}

impl List<'_> {
    /// The next item, an object.
    pub fn object(&mut self) -> Object<'_> {
        self.next();
        Object::open(self.out)
    }

    /// The next item, a text.
    pub fn text(&mut self, value: &str) -> &mut Self {
        self.next();
        write_text(self.out, value);
        self
    }

    fn next(&mut self) {
        if !std::mem::take(&mut self.empty) {
            self.out.push(',');
        }
    }
}

impl Drop for Object<'_> {
    fn drop(&mut self) {
        self.out.push('}');
    }
}

impl Drop for List<'_> {
    fn drop(&mut self) {
        self.out.push(']');
    }
}

/// Writes `value` with quotes; escapes what JSON asks for, and every other control character as well.
pub fn write_text(out: &mut String, value: &str) {
    out.reserve(value.len() + 2);
    out.push('"');
    if is_plain(value) {
        out.push_str(value);
        return out.push('"');
    }
    let mut plain_from = 0;
    for (at, letter) in value.char_indices() {
        if !(letter == '"' || letter == '\\' || letter.is_control()) {
            continue;
        }
        out.push_str(&value[plain_from..at]);
        plain_from = at + letter.len_utf8();
        match letter {
            '"' | '\\' => out.extend(['\\', letter]),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            control => write_to(out, format_args!("\\u{:04x}", u32::from(control))),
        }
    }
    out.push_str(&value[plain_from..]);
    out.push('"');
}

/// Whether `value` is printable ASCII without quotes and backslashes: eight bytes at a time, since lines are made of short texts.
#[must_use]
pub fn is_plain(value: &str) -> bool {
    let (words, rest) = value.as_bytes().as_chunks();
    let mut last = [b' '; 8];
    last[..rest.len()].copy_from_slice(rest);
    words.iter().chain([&last]).all(|word| is_plain_word(u64::from_le_bytes(*word)))
}

/// The same of eight bytes. Less one, only what was zero has its highest bit set for the first time (Bit Twiddling Hacks, "Determine
/// if a word has a zero byte"); what comes of a loan to the next byte is only wrong where the answer is no already.
const fn is_plain_word(word: u64) -> bool {
    const ONES: u64 = u64::MAX / 0xff;
    const HIGHEST: u64 = ONES << 7;
    let below_blank = word.wrapping_sub(ONES * b' ' as u64);
    let is_quote = (word ^ (ONES * b'"' as u64)).wrapping_sub(ONES);
    let is_backslash = (word ^ (ONES * b'\\' as u64)).wrapping_sub(ONES);
    let is_delete = (word ^ (ONES * 0x7f)).wrapping_sub(ONES);
    (word | below_blank | is_quote | is_backslash | is_delete) & HIGHEST == 0
}

/// Writes a whole number.
pub fn write_digits(out: &mut String, mut number: u64) {
    let (mut digits, mut start) = ([b'0'; DIGITS_MAX], DIGITS_MAX);
    loop {
        start -= 1;
        digits[start] = b'0' + (number % 10) as u8;
        number /= 10;
        if number == 0 {
            break;
        }
    }
    out.push_str(std::str::from_utf8(&digits[start..]).unwrap_or_default());
}

fn write_to(out: &mut String, what: std::fmt::Arguments<'_>) {
    // A string takes everything; only a broken `Display` could fail, and none of ours does.
    let _ = out.write_fmt(what);
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn fields_come_in_the_order_of_the_calls() {
        let mut out = String::new();
        {
            let mut object = Object::open(&mut out);
            object.text("a", "x").number("b", 7).truth("c", true).null("d").shown("e", 1.5);
            object.object("f").text_or_null("g", None);
            let mut list = object.list("h");
            list.object().number("i", 1);
            list.text("j");
        }
        assert_eq!(out, r#"{"a":"x","b":7,"c":true,"d":null,"e":"1.5","f":{"g":null},"h":[{"i":1},"j"]}"#);
    }

    proptest! {
        #[test]
        fn any_text_is_read_back_and_has_no_control_characters(text in "(?s).*", control in proptest::char::range('\0', '\u{a0}')) {
            let text = format!("{text}{control}\u{2028}\u{1f512}");
            let mut out = String::new();
            write_text(&mut out, &text);
            prop_assert!(!out.chars().any(char::is_control));
            prop_assert_eq!(serde_json::from_str::<String>(&out).unwrap(), text);
        }
    }

    #[test]
    fn every_letter_is_plain_or_escaped_wherever_it_stands() {
        for letter in (0..=0x17f).filter_map(char::from_u32) {
            let expect = matches!(letter, ' '..='~') && letter != '"' && letter != '\\';
            for place in 0..17 {
                let mut text = "a".repeat(place);
                text.push(letter);
                text.push_str("zz~ !");
                assert_eq!(is_plain(&text), expect, "{letter:?} at {place}");
            }
        }
        assert!(is_plain(""));
    }
}
