//! [`Scanner::in_array`]: where a JSON array stands that will not be sent to its end, and what would close it.

use super::{Scanner, State};

/// Where an unfinished array at the root stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ArrayPlace {
    /// Another element needs a comma before it.
    pub comma: bool,
    /// What would end the element that has begun, if one has. A number, a `\u` escape or a character of several bytes
    /// that was cut is not repaired.
    pub element: Option<Vec<u8>>,
}

impl Scanner {
    /// The place within an array at the root, while it is open.
    #[must_use]
    pub fn in_array(&self) -> Option<ArrayPlace> {
        self.levels.first().filter(|level| !level.is_object)?;
        let is_scalar = matches!(self.state, State::Text | State::Number | State::Literal { .. });
        if self.levels.len() == 1 && !is_scalar {
            return Some(ArrayPlace { comma: self.state == State::Next, element: None });
        }
        let mut closing = self.closing_of_state();
        closing.extend(self.levels[1..].iter().rev().map(|level| if level.is_object { b'}' } else { b']' }));
        Some(ArrayPlace { comma: true, element: Some(closing) })
    }

    fn closing_of_state(&self) -> Vec<u8> {
        let rest: &[u8] = match self.state {
            State::Text if self.escaped => br#"\""#,
            State::Text => br#"""#,
            State::KeyText if self.escaped => br#"\":null"#,
            State::KeyText => br#"":null"#,
            State::Colon => b":null",
            State::Value => b"null",
            State::Key => br#""":null"#,
            State::Literal { word, seen } => word.rest(seen),
            State::FirstElement | State::FirstKey | State::Next | State::Number | State::Done => b"",
        };
        rest.to_vec()
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Found, Plan, Sink};
    use super::*;

    struct Nothing;

    impl Sink for Nothing {
        fn found(&mut self, _which: usize, _value: Found<'_>) {}
    }

    #[test]
    fn an_array_cut_anywhere_can_be_closed() {
        let text = r#"[ {"a":[1,{"b":"x\"y"},true,{}],"c":null} , "t" , []]"#;
        for cut in 1..text.len() {
            let mut scanner = Scanner::new();
            scanner.feed(&Plan::default(), &text.as_bytes()[..cut], &mut Nothing).unwrap();
            let place = scanner.in_array().unwrap();
            let mut closed = text.as_bytes()[..cut].to_vec();
            closed.extend(place.element.as_deref().unwrap_or_default());
            closed.extend(if place.comma { &b",1]"[..] } else { b"1]" });
            let read: Result<Vec<serde_json::Value>, _> = serde_json::from_slice(&closed);
            assert!(read.is_ok(), "{}", String::from_utf8_lossy(&closed));
        }
    }

    #[test]
    fn what_is_no_open_array_has_no_place() {
        for text in ["", "{", "[]", "1", r#"{"a":["#] {
            let mut scanner = Scanner::new();
            scanner.feed(&Plan::default(), text.as_bytes(), &mut Nothing).unwrap();
            assert_eq!(scanner.in_array(), None, "{text}");
        }
    }
}
