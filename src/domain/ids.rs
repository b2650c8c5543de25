//! [`RequestId`] and [`AttemptId`]: names that sort by time, made without a lock or a die on the request's path.

use std::fmt;
use std::str::FromStr;

/// Crockford's base 32, lower case: no letter that is mistaken for a digit.
const ALPHABET: &[u8; 32] = b"0123456789abcdefghjkmnpqrstvwxyz";

/// Letters of a printed id: 130 bits hold 128.
const LETTERS: usize = 26;

/// One request of a client: 48 bits of unix milliseconds, then 80 bits that make it unique.
///
/// Ids of one process rise in the order in which they were made.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RequestId(pub u128);

/// One dispatch of a request to one upstream, numbered from 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AttemptId {
    /// The request that it serves.
    pub request: RequestId,
    /// Its place among the request's attempts.
    pub ordinal: u8,
}

/// The text is not an id that Tollgate prints.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NotAnId;

impl RequestId {
    /// Joins a time in unix milliseconds with 80 unique bits.
    #[must_use]
    pub const fn new(at_ms: u64, unique: u128) -> Self {
        Self(((at_ms as u128) << 80) | (unique & ((1 << 80) - 1)))
    }

    /// The time of the request in unix milliseconds.
    #[must_use]
    pub const fn at_ms(self) -> u64 {
        (self.0 >> 80) as u64
    }

    /// The 80 bits that tell it from others of the same time.
    #[must_use]
    pub const fn unique(self) -> u128 {
        self.0 & ((1 << 80) - 1)
    }

    /// The id as its 26 letters.
    #[must_use]
    pub fn letters(self) -> [u8; LETTERS] {
        let mut letters = [0; LETTERS];
        let mut rest = self.0;
        for letter in letters.iter_mut().rev() {
            *letter = ALPHABET[(rest & 31) as usize];
            rest >>= 5;
        }
        letters
    }
}

impl fmt::Display for RequestId {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let letters = self.letters();
        out.pad(std::str::from_utf8(&letters).map_err(|_| fmt::Error)?)
    }
}

impl FromStr for RequestId {
    type Err = NotAnId;

    fn from_str(text: &str) -> Result<Self, NotAnId> {
        if text.len() != LETTERS || text.as_bytes()[0] > b'7' {
            return Err(NotAnId);
        }
        text.bytes().try_fold(Self(0), |id, letter| {
            let digit = ALPHABET.iter().position(|known| *known == letter).ok_or(NotAnId)?;
            Ok(Self((id.0 << 5) | digit as u128))
        })
    }
}

impl fmt::Display for NotAnId {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("not a request id of 26 letters and digits")
    }
}

impl std::error::Error for NotAnId {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_is_read_back_and_sorts_by_time() {
        let early = RequestId::new(1_795_000_000_000, u128::MAX);
        let late = RequestId::new(1_795_000_000_001, 0);
        assert_eq!(early.to_string().parse(), Ok(early));
        assert!(early < late && early.to_string() < late.to_string());
        assert_eq!(late.at_ms(), 1_795_000_000_001);
    }

    #[test]
    fn other_texts_are_no_ids() {
        for text in ["", "x", "8zzzzzzzzzzzzzzzzzzzzzzzzz", "0000000000000000000000000u", &"0".repeat(27)] {
            assert_eq!(text.parse::<RequestId>(), Err(NotAnId), "{text}");
        }
    }
}
