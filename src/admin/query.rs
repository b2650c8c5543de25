//! Names and values of a query string, read and written.
//!
//! A plus is a plus and no space, so that the offset of a time stamp can be typed as it is; no value has spaces.

use std::fmt::Write;

/// The query string is no list of names and values.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BadQuery;

/// The names and values of `query`, in their order.
///
/// # Errors
/// An escape that is broken, or that makes no UTF-8.
pub fn pairs(query: &str) -> Result<Vec<(String, String)>, BadQuery> {
    let parts = query.split('&').filter(|part| !part.is_empty());
    parts
        .map(|part| {
            let (name, value) = part.split_once('=').unwrap_or((part, ""));
            Ok((unescaped(name)?, unescaped(value)?))
        })
        .collect()
}

/// A query string of names, which need no escapes, and values.
#[must_use]
pub fn written(pairs: &[(&str, &str)]) -> String {
    let mut out = String::new();
    for (name, value) in pairs {
        if !out.is_empty() {
            out.push('&');
        }
        out.extend([name, "="]);
        escape(value, &mut out);
    }
    out
}

fn unescaped(text: &str) -> Result<String, BadQuery> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((first, after)) = rest.split_first() {
        rest = after;
        if *first != b'%' {
            bytes.push(*first);
            continue;
        }
        let (digits, after) = rest.split_at_checked(2).ok_or(BadQuery)?;
        rest = after;
        bytes.push(hex(digits[0])? << 4 | hex(digits[1])?);
    }
    String::from_utf8(bytes).map_err(|_| BadQuery)
}

fn hex(digit: u8) -> Result<u8, BadQuery> {
    match digit {
        b'0'..=b'9' => Ok(digit - b'0'),
        b'a'..=b'f' => Ok(digit - b'a' + 10),
        b'A'..=b'F' => Ok(digit - b'A' + 10),
        _ => Err(BadQuery),
    }
}

fn escape(text: &str, out: &mut String) {
    for byte in text.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => out.push(char::from(byte)),
            // A String takes everything.
            other => drop(write!(out, "%{other:02X}")),
        }
    }
}

impl std::fmt::Display for BadQuery {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.write_str("the query has a broken escape")
    }
}

impl std::error::Error for BadQuery {}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn queries_are_read() {
        let check = |query, expect: Result<&[(&str, &str)], BadQuery>| {
            let owned = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
            assert_eq!(pairs(query), expect.map(|pairs| pairs.iter().map(owned).collect()), "{query}");
        };
        check("", Ok(&[]));
        check("by=team,model&tz=Europe%2FBerlin", Ok(&[("by", "team,model"), ("tz", "Europe/Berlin")]));
        check("since=2026-11-01T08:00:00+01:00&x", Ok(&[("since", "2026-11-01T08:00:00+01:00"), ("x", "")]));
        check("a=%", Err(BadQuery));
        check("a=%2", Err(BadQuery));
        check("a=%zz", Err(BadQuery));
        check("a=%ff", Err(BadQuery));
    }

    proptest! {
        #[test]
        fn what_was_written_is_read_back(one in "(?s).*", two in "(?s).*") {
            let read = pairs(&written(&[("one", &one), ("two", &two)])).unwrap();
            prop_assert_eq!(read, vec![("one".to_owned(), one), ("two".to_owned(), two)]);
        }

        #[test]
        fn anything_is_read_or_refused(query in "(?s).*") {
            let _ = pairs(&query);
        }
    }
}
