//! Compressed request bodies: Codex sends zstd, and a provider reads what its clients send.

use bytes::Bytes;
use http::HeaderMap;
use http::header::CONTENT_ENCODING;
use std::io::Read;

/// Why a body cannot be read.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Unreadable {
    /// The coding is not known, or the bytes are not in it.
    Garbled,
    /// It is larger than allowed.
    TooLarge,
}

/// The body without its content coding, at most `bytes_max` long.
pub(super) fn decode(headers: &HeaderMap, body: Bytes, bytes_max: usize) -> Result<Bytes, Unreadable> {
    let coding = headers.get(CONTENT_ENCODING).map_or("identity", |value| value.to_str().unwrap_or("?"));
    let buffer = 1 << 14;
    match coding.to_ascii_lowercase().as_str() {
        "identity" | "" => Ok(body),
        "gzip" => read(flate2::read::MultiGzDecoder::new(&*body), bytes_max),
        "deflate" => read(flate2::read::ZlibDecoder::new(&*body), bytes_max),
        "br" => read(brotli_decompressor::Decompressor::new(&*body, buffer), bytes_max),
        "zstd" => read(zstd::stream::read::Decoder::new(&*body).map_err(|_| Unreadable::Garbled)?, bytes_max),
        _ => Err(Unreadable::Garbled),
    }
}

fn read(stream: impl Read, bytes_max: usize) -> Result<Bytes, Unreadable> {
    let mut plain = Vec::new();
    stream.take(bytes_max as u64 + 1).read_to_end(&mut plain).map_err(|_| Unreadable::Garbled)?;
    if plain.len() > bytes_max { Err(Unreadable::TooLarge) } else { Ok(plain.into()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(coding: &str, body: Vec<u8>, expect: Result<&[u8], Unreadable>) {
        let headers = [(CONTENT_ENCODING, coding.parse().unwrap())].into_iter().collect();
        assert_eq!(decode(&headers, body.into(), 100), expect.map(Bytes::copy_from_slice), "{coding}");
    }

    #[test]
    fn bodies_are_decoded_up_to_a_limit() {
        let squeezed = |size| zstd::encode_all(&vec![b'x'; size][..], 3).unwrap();
        check("identity", b"plain".into(), Ok(b"plain"));
        check("zstd", squeezed(100), Ok(&[b'x'; 100]));
        check("zstd", squeezed(101), Err(Unreadable::TooLarge));
        check("gzip", b"no gzip".into(), Err(Unreadable::Garbled));
        check("rot13", b"cynva".into(), Err(Unreadable::Garbled));
    }
}
