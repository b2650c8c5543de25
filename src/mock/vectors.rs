//! Embeddings: vectors of length 1 that follow from the text, as numbers or as base64 of little-endian floats.

use std::fmt::Write;

/// Numbers of one vector at most.
const DIMENSIONS_MAX: u64 = 16_384;

/// Numbers of all vectors of one answer: the most that OpenAI's limits allow is below it.
const NUMBERS_MAX: usize = 8_000_000;

/// The letters of base64 (RFC 4648).
const LETTERS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

/// Whether so many vectors of this size fit into an answer.
pub(super) fn fit(count: usize, dimensions: u64) -> bool {
    let size = usize::try_from(dimensions).unwrap_or(usize::MAX);
    (1..=DIMENSIONS_MAX).contains(&dimensions) && count.saturating_mul(size) <= NUMBERS_MAX
}

/// The vector of `text`: the same text always has the same.
pub(super) fn vector(text: &str, dimensions: usize) -> Vec<f32> {
    let mut state = text
        .bytes()
        .fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3));
    let mut raw: Vec<f32> = Vec::with_capacity(dimensions);
    for _ in 0..dimensions {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let [high, low, ..] = state.to_be_bytes();
        raw.push((f32::from(u16::from_be_bytes([high, low])) - 32_767.5) / 32_768.0);
    }
    let length = raw.iter().map(|number| number * number).sum::<f32>().sqrt();
    raw.iter().map(|number| number / length).collect()
}

/// The vector as a JSON array.
pub(super) fn as_json(vector: &[f32]) -> String {
    let mut text = String::with_capacity(vector.len() * 14 + 2);
    for (index, number) in vector.iter().enumerate() {
        // Writing into a string does not fail.
        let _written = write!(text, "{}{number}", if index == 0 { '[' } else { ',' });
    }
    text.push(']');
    text
}

/// The vector as a JSON string of base64.
pub(super) fn as_base64(vector: &[f32]) -> String {
    let bytes: Vec<u8> = vector.iter().flat_map(|number| number.to_le_bytes()).collect();
    format!("\"{}\"", base64(&bytes))
}

/// Base64 with padding.
pub(super) fn base64(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for chunk in bytes.chunks(3) {
        let group = chunk.iter().chain(&[0, 0]).take(3).fold(0_u32, |group, byte| (group << 8) | u32::from(*byte));
        for place in 0..4 {
            let letter = LETTERS[(group >> (18 - 6 * place)) as usize & 63];
            text.push(if place <= chunk.len() { char::from(letter) } else { '=' });
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn base64_as_in_rfc_4648() {
        for (bytes, expect) in [("", ""), ("f", "Zg=="), ("fo", "Zm8="), ("foo", "Zm9v"), ("foobar", "Zm9vYmFy")] {
            assert_eq!(base64(bytes.as_bytes()), expect);
        }
    }

    #[test]
    fn a_vector_has_length_one_and_follows_from_its_text() {
        let found = vector("hello", 1_536);
        let length: f32 = found.iter().map(|number| number * number).sum();
        assert!((length - 1.0).abs() < 1e-3, "{length}");
        assert_eq!(found, vector("hello", 1_536));
        assert_ne!(found, vector("world", 1_536));
    }
}
