//! [`Key`]: the name of all requests that have the same answer, and [`Namespace`], who may share it.

use std::fmt;
use std::sync::Arc;

use ring::digest::{Context, SHA256};

/// SHA-256 of everything that can change an answer, the namespace first. SHA-256 because a caller who could make two
/// requests collide could read what was answered to somebody else in its namespace.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Key([u8; 32]);

/// Makes a [`Key`] of parts, in an order that is always the same.
pub struct KeyMaker(Context);

/// Who shares answers.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Namespace {
    /// One key.
    Key(Arc<str>),
    /// One team.
    Team(Arc<str>),
    /// Every Tollgate key.
    Shared,
}

impl KeyMaker {
    /// Begins with the namespace.
    #[must_use]
    pub fn new(namespace: &Namespace) -> Self {
        let mut maker = Self(Context::new(&SHA256));
        let (kind, name) = match namespace {
            Namespace::Key(name) => ("key", &**name),
            Namespace::Team(name) => ("team", &**name),
            Namespace::Shared => ("shared", ""),
        };
        maker.part(kind.as_bytes());
        maker.part(name.as_bytes());
        maker
    }

    /// Adds a part with its length, so that no two lists of parts are the same bytes.
    pub fn part(&mut self, bytes: &[u8]) {
        self.0.update(&(bytes.len() as u64).to_be_bytes());
        self.0.update(bytes);
    }

    /// The key of all parts.
    #[must_use]
    pub fn finish(self) -> Key {
        let mut key = [0; 32];
        key.copy_from_slice(self.0.finish().as_ref());
        Key(key)
    }
}

impl Key {
    /// The key that [`fmt::Display`] wrote.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let digits: Option<Vec<u8>> =
            text.chars().map(|letter| letter.to_digit(16).and_then(|digit| u8::try_from(digit).ok())).collect();
        let bytes: Vec<u8> = digits?.chunks(2).map(|two| two.iter().fold(0, |sum, digit| sum << 4 | digit)).collect();
        if text.len() == 64 { bytes.try_into().ok().map(Self) } else { None }
    }
}

impl fmt::Display for Key {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(out, "{byte:02x}"))
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "Key({self})")
    }
}

impl fmt::Debug for KeyMaker {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("KeyMaker")
    }
}
