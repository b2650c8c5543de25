//! [`Key`]: the name of all requests that have the same answer, and [`Namespace`], who may share it.

use std::fmt;
use std::hash::{BuildHasher, Hash, Hasher, RandomState};
use std::sync::Arc;

/// BLAKE3 of everything that can change an answer, the namespace first. A strong hash because a caller who could make two
/// requests collide could read what was answered to somebody else in its namespace; BLAKE3 because it hashes long prompts several
/// times faster than SHA-256.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Key([u8; 32]);

/// How tables by [`Key`] spread them: a part of the key, mixed with what nobody outside of this process knows, so that nobody can
/// choose requests that meet in one place.
#[derive(Clone, Copy, Debug)]
pub struct KeyHashes(u64);

/// The hash of a [`Key`].
#[derive(Clone, Copy, Debug)]
pub struct KeyHash(u64);

/// Bytes of parts that few requests exceed.
const PARTS_BYTES: usize = 2048;

/// Bytes of a part from which on it is hashed where it lies.
const LONG_PART: usize = 1 << 16;

/// Makes a [`Key`] of parts, in an order that is always the same.
#[derive(Clone)]
pub struct KeyMaker {
    /// Parts that are not hashed yet: one call for many is the fastest.
    parts: Vec<u8>,
    /// What was hashed, where a part was long.
    hashed: Option<Box<blake3::Hasher>>,
}

/// Who shares answers.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Namespace {
    /// One key.
    Key(Arc<str>),
    /// One team.
    Team(Arc<str>),
    /// Every Tollgate key, and who needs none on this machine.
    Shared,
}

impl Namespace {
    /// Its kind and its name, which tell it from every other.
    pub(super) fn words(&self) -> (&'static str, &str) {
        match self {
            Self::Key(name) => ("key", name),
            Self::Team(name) => ("team", name),
            Self::Shared => ("shared", ""),
        }
    }

    /// The namespace with these words.
    pub(super) fn of_words(kind: &str, name: &str) -> Option<Self> {
        match kind {
            "key" => Some(Self::Key(name.into())),
            "team" => Some(Self::Team(name.into())),
            "shared" => Some(Self::Shared),
            _ => None,
        }
    }
}

impl Hash for Key {
    fn hash<H: Hasher>(&self, hasher: &mut H) {
        let [a, b, c, d, e, f, g, h, ..] = self.0;
        hasher.write_u64(u64::from_be_bytes([a, b, c, d, e, f, g, h]));
    }
}

impl Default for KeyHashes {
    fn default() -> Self {
        Self(RandomState::new().hash_one(()))
    }
}

impl BuildHasher for KeyHashes {
    type Hasher = KeyHash;

    fn build_hasher(&self) -> KeyHash {
        KeyHash(self.0)
    }
}

impl Hasher for KeyHash {
    fn write(&mut self, bytes: &[u8]) {
        bytes.iter().for_each(|byte| self.write_u64(u64::from(*byte)));
    }

    /// Multiplies, and folds the product.
    fn write_u64(&mut self, part: u64) {
        const ODD: u64 = 0x9e37_79b9_7f4a_7c15;
        let product = u128::from(self.0 ^ part) * u128::from(ODD);
        let bytes = product.to_be_bytes();
        let [a, b, c, d, e, f, g, h, low @ ..] = bytes;
        self.0 = u64::from_be_bytes([a, b, c, d, e, f, g, h]) ^ u64::from_be_bytes(low);
    }

    fn finish(&self) -> u64 {
        self.0
    }
}

impl KeyMaker {
    /// Begins with the namespace.
    #[must_use]
    pub fn new(namespace: &Namespace) -> Self {
        let mut maker = Self { parts: Vec::with_capacity(PARTS_BYTES), hashed: None };
        let (kind, name) = namespace.words();
        maker.part(kind.as_bytes());
        maker.part(name.as_bytes());
        maker
    }

    /// Adds a part with its length, so that no two lists of parts are the same bytes.
    pub fn part(&mut self, bytes: &[u8]) {
        match u8::try_from(bytes.len()) {
            Ok(length @ ..u8::MAX) => self.parts.push(length),
            Ok(u8::MAX) | Err(_) => {
                self.parts.push(u8::MAX);
                self.parts.extend_from_slice(&(bytes.len() as u64).to_be_bytes());
            }
        }
        if bytes.len() < LONG_PART {
            return self.parts.extend_from_slice(bytes);
        }
        let hashed = self.hashed.get_or_insert_default();
        hashed.update(&self.parts);
        hashed.update(bytes);
        self.parts.clear();
    }

    /// The key of all parts.
    #[must_use]
    pub fn finish(self) -> Key {
        let hash = match self.hashed {
            Some(mut hashed) => hashed.update(&self.parts).finalize(),
            None => blake3::hash(&self.parts),
        };
        Key(hash.into())
    }
}

impl Key {
    /// Its bytes.
    #[must_use]
    pub const fn bytes(&self) -> &[u8; 32] {
        &self.0
    }

    pub(super) const fn of_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// The name of a variant, which is no other request's key.
    #[must_use]
    pub const fn variant(mut self, variant: bool) -> Self {
        self.0[31] ^= variant as u8;
        self
    }

    /// The name of what this names, as far as these parts hold as well.
    #[must_use]
    pub fn narrowed<'a>(&self, parts: impl IntoIterator<Item = &'a [u8]>) -> Self {
        let mut maker = KeyMaker { parts: Vec::with_capacity(PARTS_BYTES), hashed: None };
        maker.part(&self.0);
        parts.into_iter().for_each(|part| maker.part(part));
        maker.finish()
    }

    /// Its first byte, by which keys are spread.
    pub(super) fn first(&self) -> usize {
        usize::from(self.0[0])
    }

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

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    fn key(parts: &[&[u8]]) -> Key {
        let mut maker = KeyMaker::new(&Namespace::Shared);
        parts.iter().for_each(|part| maker.part(part));
        maker.finish()
    }

    #[test]
    fn the_same_bytes_in_other_parts_are_another_key() {
        let edges = [0, 1, 254, 255, 256, 300, LONG_PART - 1, LONG_PART, LONG_PART + 1];
        // Bytes that look like lengths themselves.
        let bytes = vec![u8::MAX; 2 * LONG_PART];
        let mut seen = HashSet::new();
        for at in edges {
            let (one, other) = bytes.split_at(at);
            for parts in [&[one, other][..], &[one, other, b""], &[b"", one, other]] {
                assert!(seen.insert(key(parts)), "two lists of parts are one key");
                assert!(seen.contains(&key(parts)), "one list of parts is two keys");
            }
        }
        assert!(key(&[b"a"]) != key(&[b"a"]).variant(true) && key(&[b"a"]) == key(&[b"a"]).variant(false));
    }
}
