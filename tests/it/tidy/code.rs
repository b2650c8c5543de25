//! Rust text as the rules see it: without comments and literals, as paths, and with its tests marked.
//!
//! It is no parser: it knows as much of Rust as the rules need, and what it misreads shows as a wrong complaint.

use std::ops::Range;

/// A text whose comments and literals are blank; every offset is that of the source.
pub(super) struct Code(String);

/// The segments of a path, and where the last part of it begins.
pub(super) type Path<'a> = (usize, Vec<&'a str>);

impl Code {
    pub(super) fn new(source: &str) -> Self {
        let mut bytes = source.as_bytes().to_vec();
        let mut at = 0;
        while at < bytes.len() {
            let end = blank_end(source.as_bytes(), at);
            bytes[at..end].iter_mut().filter(|byte| **byte != b'\n').for_each(|byte| *byte = b' ');
            at = end.max(at + 1);
        }
        Self(String::from_utf8(bytes).unwrap())
    }

    pub(super) fn line(&self, at: usize) -> usize {
        self.0[..at].matches('\n').count() + 1
    }

    /// Every place of `text`, as it stands.
    pub(super) fn find(&self, text: &str) -> Vec<usize> {
        self.0.match_indices(text).map(|(at, _)| at).collect()
    }

    /// Every path; a tree of `use` is as many paths as it has leaves.
    pub(super) fn paths(&self) -> Vec<Path<'_>> {
        let mut found = Vec::new();
        let mut at = 0;
        while at < self.0.len() {
            let word = self.word(at);
            at = match word.is_empty() {
                true => at + 1,
                false if self.continues(at) => at + word.len(),
                false => self.tree(at, Vec::new(), &mut found),
            };
        }
        found
    }

    /// The bodies of `mod NAME { ... }`.
    pub(super) fn inline_modules(&self) -> Vec<Range<usize>> {
        let opens = |at: usize| {
            let name = self.skip_blank(at + "mod".len());
            let open = self.skip_blank(name + self.word(name).len());
            (self.word(at) == "mod" && self.byte(open) == b'{').then(|| open..self.item_end(open))
        };
        self.find("mod").into_iter().filter_map(opens).collect()
    }

    /// Whatever stands under `#[cfg(test)]`, with the names of modules whose text is another file.
    pub(super) fn tests(&self) -> Vec<(Range<usize>, Option<&str>)> {
        let test = |at: usize| {
            let start = self.skip_attributes(at);
            let end = self.item_end(start);
            let item = self.0[start..end].trim_start_matches("pub").trim_start();
            let module = item.strip_prefix("mod ").and_then(|rest| rest.strip_suffix(';')).map(str::trim);
            (at..end, module)
        };
        self.find("#[cfg(test)]").into_iter().map(test).collect()
    }

    /// Where the item, field or arm ends that begins at `start`.
    fn item_end(&self, start: usize) -> usize {
        let (mut depth, mut braces) = (0_usize, 0_usize);
        for (at, byte) in self.0.bytes().enumerate().skip(start) {
            let is_arrow = byte == b'>' && matches!(self.0.as_bytes()[at.saturating_sub(1)], b'-' | b'=');
            match byte {
                b'{' => braces += 1,
                b'}' if braces <= 1 => return at + braces,
                b'}' => braces -= 1,
                _ if braces > 0 || is_arrow => {}
                b'(' | b'[' | b'<' => depth += 1,
                b')' | b']' | b'>' if depth == 0 => return at,
                b')' | b']' | b'>' => depth -= 1,
                b';' | b',' if depth == 0 => return at + 1,
                _ => {}
            }
        }
        self.0.len()
    }

    fn skip_attributes(&self, mut at: usize) -> usize {
        while self.0[at..].starts_with("#[") {
            let mut depth = 0_usize;
            let close = self.0[at..].bytes().position(|byte| {
                depth = if byte == b'[' { depth + 1 } else { depth - usize::from(byte == b']') };
                byte == b']' && depth == 0
            });
            at = self.skip_blank(close.map_or(self.0.len(), |close| at + close + 1));
        }
        at
    }

    /// Reads a path or a tree of `use` after `path`, and says where it ends.
    fn tree<'a>(&'a self, start: usize, mut path: Vec<&'a str>, found: &mut Vec<Path<'a>>) -> usize {
        let mut at = start;
        loop {
            at = self.skip_blank(at);
            if self.byte(at) == b'{' {
                return self.group(at + 1, &path, found);
            }
            let word = if self.byte(at) == b'*' { "*" } else { self.word(at) };
            path.extend(Some(word).filter(|word| !word.is_empty()));
            at += word.len();
            let next = self.skip_blank(at);
            if word.is_empty() || !self.0[next..].starts_with("::") {
                found.push((start, path));
                return at;
            }
            at = next + 2;
        }
    }

    fn group<'a>(&'a self, mut at: usize, path: &[&'a str], found: &mut Vec<Path<'a>>) -> usize {
        loop {
            at = self.skip_blank(at);
            match self.byte(at) {
                b',' => at += 1,
                b'}' | 0 => return at + 1,
                _ => {
                    at = self.tree(at, path.to_vec(), found);
                    // A name after `as` is no path.
                    let rest = self.0.get(at..).unwrap_or_default();
                    at += rest.find([',', '}']).unwrap_or(rest.len());
                }
            }
        }
    }

    /// Whether what begins at `at` goes on with a path such as `Vec::<u8>::new`.
    fn continues(&self, at: usize) -> bool {
        let before = self.0[..at].trim_end().strip_suffix("::").map(str::trim_end);
        before.is_some_and(|before| before.ends_with(|last: char| last == '>' || is_word(last)))
    }

    fn word(&self, at: usize) -> &str {
        let rest = self.0.get(at..).unwrap_or_default();
        &rest[..rest.find(|letter| !is_word(letter)).unwrap_or(rest.len())]
    }

    fn byte(&self, at: usize) -> u8 {
        self.0.as_bytes().get(at).copied().unwrap_or(0)
    }

    fn skip_blank(&self, at: usize) -> usize {
        let rest = self.0.get(at..).unwrap_or_default();
        at + rest.len() - rest.trim_start().len()
    }
}

fn is_word(letter: char) -> bool {
    letter.is_alphanumeric() || letter == '_'
}

/// Where the comment or literal ends that begins at `at`; `at` itself where none does.
fn blank_end(bytes: &[u8], at: usize) -> usize {
    let rest = &bytes[at..];
    let is_prefix = at == 0 || !is_word(char::from(bytes[at - 1])) || matches!(bytes[at - 1], b'b' | b'c');
    let length = match rest {
        [b'/', b'/', ..] => rest.iter().position(|byte| *byte == b'\n').unwrap_or(rest.len()),
        [b'/', b'*', ..] => block_comment(rest),
        [b'"', ..] => quoted(rest, b'"'),
        [b'\'', b'\\', ..] => quoted(rest, b'\''),
        [b'\'', first, ..] => {
            // A lifetime has no quote after its first letter.
            let letter = first.leading_ones().max(1) as usize;
            if rest.get(1 + letter) == Some(&b'\'') { letter + 2 } else { 0 }
        }
        [b'r', b'"' | b'#', ..] if is_prefix => raw_string(rest),
        _ => 0,
    };
    at + length
}

fn block_comment(rest: &[u8]) -> usize {
    let (mut at, mut depth) = (0, 0_usize);
    while at < rest.len() {
        match rest[at..] {
            [b'/', b'*', ..] => (at, depth) = (at + 2, depth + 1),
            [b'*', b'/', ..] => (at, depth) = (at + 2, depth - 1),
            _ => at += 1,
        }
        if depth == 0 {
            break;
        }
    }
    at
}

fn quoted(rest: &[u8], quote: u8) -> usize {
    let mut at = 1;
    while at < rest.len() && rest[at] != quote {
        at += 1 + usize::from(rest[at] == b'\\');
    }
    (at + 1).min(rest.len())
}

fn raw_string(rest: &[u8]) -> usize {
    let hashes = rest[1..].iter().take_while(|byte| **byte == b'#').count();
    if rest.get(1 + hashes) != Some(&b'"') {
        return 0;
    }
    let close = [&b"\""[..], &b"#".repeat(hashes)].concat();
    let body = &rest[2 + hashes..];
    let end = body.windows(close.len()).position(|window| window == close).unwrap_or(body.len() - close.len());
    2 + hashes + end + close.len()
}

#[test]
fn comments_and_literals_are_blank_and_lines_stay() {
    for (source, expect) in [
        ("a // b\nc /* d /* e */\nf */ g", "a     \nc             \n     g"),
        (r#"a("b\"c", 'd', '\'', b'\\', 'ü') 'e"#, "a(      ,    ,     , b    ,     ) 'e"),
        ("r#\"a\"b\"# br\"c\" r#type", "         b     r#type"),
    ] {
        assert_eq!(Code::new(source).0, expect);
    }
}

#[test]
fn a_tree_of_use_is_its_leaves() {
    let check = |source: &str, expect: &[&str]| {
        let code = Code::new(source);
        let found: Vec<_> = code.paths().into_iter().map(|(_, path)| path.join("::")).collect();
        assert_eq!(found.iter().filter(|path| path.contains("::")).collect::<Vec<_>>(), expect, "{source}");
    };
    check(
        "use crate::{a::b as c, d::{e, f::*},\n g::h};",
        &["crate::a::b", "crate::d::e", "crate::d::f::*", "crate::g::h"],
    );
    check("Vec::<a::b>::new(::c::d)", &["a::b", "c::d"]);
    check("fn f(x: crate::g\n    ::h) -> super::super::i {}", &["crate::g::h", "super::super::i"]);
}

#[test]
fn tests_end_where_their_item_ends() {
    for (source, expect) in [
        ("#[cfg(test)]\nmod a { fn b() {} }\nfn c() {}", "\nfn c() {}"),
        ("enum A { #[cfg(test)] B(Box<C>), D }", " D }"),
        ("enum A { D, #[cfg(test)] B }", "}"),
        ("#[cfg(test)] #[expect(a, b)] fn b<C, D>(e: [u8; 3]) -> F<G> { h(i, j); } k", " k"),
        ("#[cfg(test)] use a::{b, c}; d", "; d"),
    ] {
        let code = Code::new(source);
        assert_eq!(&source[code.tests()[0].0.end..], expect, "{source}");
    }
    assert_eq!(Code::new("#[cfg(test)]\npub mod sample;").tests()[0].1, Some("sample"));
}
