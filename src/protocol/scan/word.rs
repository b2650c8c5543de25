//! [`Word`]: the three literals of JSON.

/// A literal; small, since the state is copied for each token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Word {
    True,
    False,
    Null,
}

impl Word {
    /// What follows its first `seen` bytes.
    pub(super) fn rest(self, seen: u8) -> &'static [u8] {
        let text: &[u8] = match self {
            Self::True => b"true",
            Self::False => b"false",
            Self::Null => b"null",
        };
        &text[usize::from(seen)..]
    }
}
