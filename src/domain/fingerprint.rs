//! [`Fingerprint`]: a keyed hash of texts that stays the same over restarts, for telling routes apart.
//!
//! It is fast and no proof of anything: who does not know the key cannot tell what was hashed, and who does could make two
//! texts that look alike. Nothing but what is learned of a team's own routes hangs on it.
//!
//! Invariant: the same key and parts give the same number in every process and version.

/// Bytes of a part that are looked at; its length counts as well where it is longer than that.
const PART_BYTES_MAX: usize = 4_096;

/// An odd number with as many ones as zeros.
const FACTOR: u64 = 0x9e37_79b9_7f4a_7c15;

/// A hash in the making.
#[derive(Clone, Copy, Debug)]
pub struct Fingerprint {
    seed: u64,
    state: u64,
}

impl Fingerprint {
    /// A hash under a key.
    #[must_use]
    pub const fn new([first, second]: [u64; 2]) -> Self {
        Self { seed: first, state: second }
    }

    /// Adds a part, of a long one its beginning.
    pub fn add(&mut self, part: &[u8]) {
        let head = &part[..part.len().min(PART_BYTES_MAX)];
        self.word(head.len() as u64);
        for chunk in head.chunks(8) {
            let mut word = [0; 8];
            word[..chunk.len()].copy_from_slice(chunk);
            self.word(u64::from_le_bytes(word));
        }
    }

    /// Adds a number.
    pub fn word(&mut self, word: u64) {
        let product = u128::from(self.state ^ word ^ self.seed) * u128::from(FACTOR);
        let bytes = product.to_le_bytes();
        let half = |from: usize| bytes[from..from + 8].iter().rev().fold(0, |sum, byte| sum << 8 | u64::from(*byte));
        self.state = half(0) ^ half(8) ^ self.state.rotate_left(23);
    }

    /// The hash in so many bits; never 0.
    #[must_use]
    pub fn finish(mut self, bits: u32) -> u64 {
        self.word(FACTOR);
        self.word(FACTOR);
        (self.state >> (64 - bits.clamp(1, 63))).max(1)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    fn hash(key: [u64; 2], parts: &[&[u8]]) -> u64 {
        let mut fingerprint = Fingerprint::new(key);
        parts.iter().for_each(|part| fingerprint.add(part));
        fingerprint.finish(48)
    }

    #[test]
    fn it_never_changes() {
        assert_eq!(hash([1, 2], &[b"search", b"You sort tickets."]), hash([1, 2], &[b"search", b"You sort tickets."]));
        assert_ne!(hash([1, 2], &[b"ab", b"c"]), hash([1, 2], &[b"a", b"bc"]));
        assert_ne!(hash([1, 2], &[b"a"]), hash([1, 3], &[b"a"]));
        // What is learned is kept under these numbers.
        assert_eq!(hash([1, 2], &[b"search", b"You sort tickets."]), EXPECTED);
    }

    /// The hash above.
    const EXPECTED: u64 = 197_113_941_899_395;

    #[test]
    fn texts_that_differ_a_little_differ() {
        let texts = (0..50_000).map(|number| format!("You are helper {number}, and helpful."));
        let seen: HashSet<u64> = texts.map(|text| hash([7, 9], &[text.as_bytes()])).collect();
        assert_eq!(seen.len(), 50_000);
        let long = |last: u8| [vec![b'x'; PART_BYTES_MAX], vec![last]].concat();
        assert_eq!(hash([7, 9], &[&long(1)]), hash([7, 9], &[&long(2)]));
    }
}
