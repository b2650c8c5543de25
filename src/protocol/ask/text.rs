//! [`Utf8`]: checks that a body is UTF-8 as it arrives, and counts how much longer a normalising tokenizer may make it.
//!
//! Byte-level tokenizers never make more tokens than bytes. Some normalise with NFKC first, which lengthens a few
//! hundred characters: U+FDFA becomes 33 bytes from 3. For each such block of characters the largest growth in it is
//! counted, so that bytes plus growth stay a bound. Source: the Unicode character database, version 14 to 16.
//!
//! Invariant: the sum over a text is at least what NFKC adds to its bytes.

use super::Malformed;

/// A walk over bytes that should be UTF-8.
#[derive(Debug, Default)]
pub(super) struct Utf8 {
    /// The bytes of a character whose end has not arrived.
    held: [u8; 4],
    count: usize,
}

impl Utf8 {
    /// Reads on; returns by how many bytes NFKC may lengthen what was read.
    pub(super) fn feed(&mut self, chunk: &[u8], base: usize) -> Result<u64, Malformed> {
        if self.count == 0 && chunk.is_ascii() {
            return Ok(0);
        }
        let (mut chunk, mut at, mut growth) = (chunk, base, 0);
        while self.count > 0 {
            let Some((first, rest)) = chunk.split_first() else { return Ok(growth) };
            self.held[self.count] = *first;
            self.count += 1;
            (chunk, at) = (rest, at + 1);
            match std::str::from_utf8(&self.held[..self.count]) {
                Ok(text) => {
                    growth += self::growth(text);
                    self.count = 0;
                }
                Err(error) if error.error_len().is_some() => return Err(not_utf8(at - 1)),
                Err(_) => {}
            }
        }
        let text = match std::str::from_utf8(chunk) {
            Ok(text) => text,
            Err(error) if error.error_len().is_some() => return Err(not_utf8(at + error.valid_up_to())),
            Err(error) => {
                let (whole, part) = chunk.split_at(error.valid_up_to());
                self.held[..part.len()].copy_from_slice(part);
                self.count = part.len();
                std::str::from_utf8(whole).unwrap_or_default()
            }
        };
        Ok(growth + self::growth(text))
    }

    /// Says that no byte follows.
    pub(super) fn finish(&self, at: usize) -> Result<(), Malformed> {
        if self.count == 0 { Ok(()) } else { Err(not_utf8(at)) }
    }
}

/// How much longer than its six bytes NFKC may make an escaped UTF-16 unit. Pairs of units are long enough as they are.
pub(super) const fn escaped_growth(unit: u16) -> u64 {
    match unit {
        0xfdf0..=0xfdff => 27,
        0x3300..=0x337f => 12,
        0x0f77 | 0x0f79 | 0x2034 | 0x2037 | 0x2057 | 0x222d | 0x2230 | 0x2a0c => 6,
        0x321d | 0x321e | 0x33ae | 0x33af => 2,
        _ => 0,
    }
}

const fn not_utf8(at: usize) -> Malformed {
    Malformed { at, what: "the body is not valid UTF-8", param: None }
}

/// By how many bytes NFKC may lengthen the text.
fn growth(text: &str) -> u64 {
    const BLOCK: usize = 64;
    let bytes = text.as_bytes();
    let mut sum = 0;
    for start in (0..bytes.len()).step_by(BLOCK) {
        // One byte more, so that each byte of the block is seen with the one behind it.
        let block = &bytes[start..bytes.len().min(start + BLOCK + 1)];
        if block.is_ascii() {
            continue;
        }
        for (index, pair) in block.windows(2).enumerate() {
            if GROWS[usize::from(pair[0])] >> (pair[1] & 63) & 1 == 1 {
                let third = bytes.get(start + index + 2).copied().unwrap_or(0);
                sum += character_growth(pair[0], pair[1], third);
            }
        }
    }
    sum
}

/// For each first byte of a character: the second bytes, by their lower six bits, with which it may grow. Bytes that
/// begin no character have none.
const GROWS: [u64; 256] = {
    let mut grows = [0; 256];
    let mut lead: u8 = 0xc2;
    while lead < 0xf5 {
        let mut second: u8 = 0x80;
        while second < 0xc0 {
            let mut third: u8 = 0x80;
            while third < 0xc0 {
                if character_growth(lead, second, third) > 0 {
                    grows[lead as usize] |= 1 << (second & 63);
                }
                third += 1;
            }
            second += 1;
        }
        lead += 1;
    }
    grows
};

/// The largest growth of the characters that begin with these bytes; the third is looked at where that tells common
/// letters from rare ones.
const fn character_growth(lead: u8, second: u8, third: u8) -> u64 {
    match (lead, second, third) {
        (0xc2, 0xa8..=0xbe, _) | (0xce, 0x84 | 0x85, _) => 3,
        (0xc4, 0xbf, _) | (0xc5, 0x80 | 0x89, _) | (0xc7, 0x84..=0x8c | 0xb1..=0xb3, _) => 1,
        (0xcb, 0x98..=0x9d, _) => 1,
        (0xcd, 0x84 | 0xba, _) | (0xd6, 0x87, _) | (0xd9, 0xb5..=0xb8, _) => 2,
        (0xe0, 0xa5, 0x98..=0x9f) | (0xe0, 0xa7, 0x9c..=0x9f) | (0xe0, 0xa8, 0xb3..=0xb6) => 3,
        (0xe0, 0xa9, 0x99..=0x9e) | (0xe0, 0xad, 0x9c..=0x9d) | (0xe0, 0xb8 | 0xba, 0xb3) => 3,
        (0xe0, 0xbb, 0x9c..=0x9d) | (0xe0, 0xbe, _) => 3,
        (0xe0, 0xbd, _) => 6,
        (0xe1, 0xbf, _) => 2,
        (0xe2, 0x80, 0xb3..=0xb7) => 6,
        (0xe2, 0x81, 0x97) | (0xe2, 0xa8, 0x8c) => 9,
        (0xe2, 0x85, _) | (0xe2, 0x86, 0x89) => 3,
        (0xe2, 0x88, 0xac..=0xb0) => 6,
        (0xe2, 0x91 | 0x92, _) => 1,
        (0xe2, 0xab, 0x9c) => 2,
        (0xe3, 0x82, 0x9b..=0x9f) | (0xe3, 0x83, 0xbf) => 3,
        (0xe3, 0x88..=0x8b, _) => 5,
        (0xe3, 0x8c | 0x8d, _) => 15,
        (0xe3, 0x8e | 0x8f, _) => 5,
        (0xef, 0xa9..=0xb6, _) => 3,
        (0xef, 0xb7, 0xb2..=0xbf) => 30,
        (0xef, 0xb7, _) => 3,
        (0xef, 0xb9 | 0xbb, _) => 1,
        (0xf0, 0x9d, 0x85..=0x87) => 8,
        (0xf0, 0x9f, 0x84 | 0x88 | 0x89) => 5,
        _ => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, normalised: &str) {
        let expect = normalised.len().saturating_sub(text.len()) as u64;
        assert!(growth(text) >= expect, "{text} may grow by {expect}");
        for cut in 0..=text.len() {
            let (left, right) = text.as_bytes().split_at(cut);
            let mut walk = Utf8::default();
            let sum = walk.feed(left, 0).unwrap() + walk.feed(right, cut).unwrap();
            walk.finish(text.len()).unwrap();
            assert_eq!(sum, growth(text), "{text} cut at {cut}");
        }
    }

    #[test]
    fn growth_is_a_bound() {
        check("plain text", "plain text");
        check("½ ㍿ ‴", "1⁄2 株式会社 ′′′");
        check("\u{fdfa}", "صلى الله عليه وسلم");
        check("㌖ ⨌ ﷲ ㈝", "キロメートル ∫∫∫∫ الله (오전)");
        assert_eq!(growth("Grüße, 東京とПривет мир — “ok” 🙂 ไทย हिन्दी λόγος עברית عربى"), 0);
    }

    #[test]
    fn what_is_no_utf8_is_refused_wherever_it_is_split() {
        for (bytes, at) in
            [(&b"ab\xff"[..], 2), (b"a\xc3(", 1), (b"\xe2\x82", 0), (b"\xed\xa0\x80", 0), (b"\xc0\x80", 0)]
        {
            for cut in 0..=bytes.len() {
                let (left, right) = bytes.split_at(cut);
                let mut walk = Utf8::default();
                let result =
                    walk.feed(left, 0).and_then(|_| walk.feed(right, cut)).and_then(|_| walk.finish(bytes.len()));
                assert!(result.is_err_and(|error| error.at >= at), "{bytes:x?} cut at {cut}");
            }
        }
    }
}
