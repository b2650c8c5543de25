//! Where a string's next quote or backslash is, which is what most of a scan's time goes into.
//!
//! It looks at bytes and knows nothing of JSON.

use memchr::memchr2;

/// Bytes of a string that are searched eight at a time.
const NEAR_BYTES: usize = 24;

/// The index of the next quote or backslash. Most strings are short, and a vector search costs more than they do.
pub(in crate::protocol) fn quote_or_backslash(chunk: &[u8], from: usize) -> Option<usize> {
    let mut at = from;
    while at - from < NEAR_BYTES {
        let Some(eight) = chunk.get(at..).and_then(<[u8]>::first_chunk) else { break };
        let word = u64::from_le_bytes(*eight);
        let hits = bytes_that_are(b'"', word) | bytes_that_are(b'\\', word);
        if hits != 0 {
            return Some(at + hits.trailing_zeros() as usize / 8);
        }
        at += 8;
    }
    memchr2(b'"', b'\\', &chunk[at..]).map(|hit| at + hit)
}

/// The high bits of the bytes in `word` that are `byte`; above the first of them, others may be set as well.
const fn bytes_that_are(byte: u8, word: u64) -> u64 {
    const LOW: u64 = u64::from_le_bytes([0x01; 8]);
    const HIGH: u64 = u64::from_le_bytes([0x80; 8]);
    let differs = word ^ (LOW * byte as u64);
    differs.wrapping_sub(LOW) & !differs & HIGH
}
