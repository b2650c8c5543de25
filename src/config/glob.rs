//! [`Glob`]: a pattern over model names in which `*` stands for any run of characters and nothing else is special.

use std::fmt;

/// A pattern such as `claude-opus-*`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Glob(Box<str>);

/// Why a text is no pattern.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GlobError {
    /// Nothing would match.
    Empty,
    /// A space or a control character, which no model name has.
    Blank,
    /// A wildcard of shells that is not one here.
    OnlyStars,
}

impl Glob {
    /// Reads a pattern.
    pub fn parse(text: &str) -> Result<Self, GlobError> {
        if text.is_empty() {
            return Err(GlobError::Empty);
        }
        if text.contains(|letter: char| letter.is_whitespace() || letter.is_control()) {
            return Err(GlobError::Blank);
        }
        if text.contains(['?', '[', ']', '{', '}']) {
            return Err(GlobError::OnlyStars);
        }
        Ok(Self(text.into()))
    }

    /// Whether the whole of `name` fits the pattern; letters match in their own case only.
    #[must_use]
    pub fn matches(&self, name: &str) -> bool {
        let mut pieces = self.0.split('*');
        let first = pieces.next().unwrap_or_default();
        let Some(mut rest) = name.strip_prefix(first) else { return false };
        let Some(last) = pieces.next_back() else { return rest.is_empty() };
        for piece in pieces {
            let Some(at) = rest.find(piece) else { return false };
            rest = &rest[at + piece.len()..];
        }
        rest.ends_with(last)
    }

    /// The pattern as it was written.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for GlobError {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(match self {
            Self::Empty => "an empty pattern matches nothing",
            Self::Blank => "a pattern holds no spaces",
            Self::OnlyStars => "the only wildcard is *",
        })
    }
}

impl std::error::Error for GlobError {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_star_stands_for_any_run() {
        for (pattern, name, fits) in [
            ("gpt-4o", "gpt-4o", true),
            ("gpt-4o", "gpt-4o-mini", false),
            ("gpt-*", "gpt-", true),
            ("gpt-*", "xgpt-4", false),
            ("*", "", true),
            ("*-mini", "gpt-4o-mini", true),
            ("*-mini", "gpt-4o-mini-1", false),
            ("a*b*c", "axxbyyc", true),
            ("a*b*c", "abc", true),
            ("a*b*c", "acb", false),
            ("ab*ba", "aba", false),
            ("**", "x", true),
        ] {
            assert_eq!(Glob::parse(pattern).unwrap().matches(name), fits, "{pattern} {name}");
        }
    }

    #[test]
    fn what_is_no_pattern_is_refused() {
        for (text, error) in [
            ("", GlobError::Empty),
            ("a b", GlobError::Blank),
            ("gpt-?", GlobError::OnlyStars),
            ("[a]", GlobError::OnlyStars),
        ] {
            assert_eq!(Glob::parse(text), Err(error), "{text}");
        }
    }
}
