//! [`Decoder`]: undoes a content coding, handing what comes out to a [`Write`] as it goes.
//!
//! It keeps no more than the coding's own window. Whoever takes the decoded bytes sets a bound on them: an error of
//! the sink ends the decoding at once.

use std::io::{self, Write};

use brotli_decompressor::DecompressorWriter;
use flate2::write::{MultiGzDecoder, ZlibDecoder};

/// Largest window of a zstd frame, as a power of two: 8 MiB, which every decoder has to support (RFC 8878, 3.1.1.1.2).
const ZSTD_WINDOW_LOG_MAX: u32 = 23;
/// What the brotli decoder hands on at once.
const BROTLI_BUFFER_BYTES: usize = 4096;
/// How a brotli stream with a window beyond 16 MiB begins, in its lowest seven bits; RFC 7932, section 9.1, has no such
/// stream, and its window may take a gigabyte.
const BROTLI_LARGE_WINDOW: u8 = 0b001_0001;

/// A content coding that can be undone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Coding {
    /// RFC 1952.
    Gzip,
    /// RFC 1950, which HTTP calls `deflate`.
    Deflate,
    /// RFC 7932.
    Brotli,
    /// RFC 8878.
    Zstd,
}

/// What a `content-encoding` says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Encoding {
    /// The bytes are the content.
    Identity,
    /// One coding.
    Coded(Coding),
    /// Several, or one that is not known.
    Unknown,
}

/// Undoes a coding into a sink.
pub struct Decoder<W: Write>(Kind<W>);

enum Kind<W: Write> {
    Gzip(MultiGzDecoder<W>),
    Deflate(ZlibDecoder<W>),
    Brotli { decoder: Box<DecompressorWriter<W>>, has_begun: bool },
    Zstd(zstd::stream::write::Decoder<'static, W>),
}

impl Encoding {
    /// The encoding with this name.
    #[must_use]
    pub fn of(content_encoding: &str) -> Self {
        let known = [
            ("", Self::Identity),
            ("identity", Self::Identity),
            ("gzip", Self::Coded(Coding::Gzip)),
            ("x-gzip", Self::Coded(Coding::Gzip)),
            ("deflate", Self::Coded(Coding::Deflate)),
            ("br", Self::Coded(Coding::Brotli)),
            ("zstd", Self::Coded(Coding::Zstd)),
        ];
        let name = content_encoding.trim();
        let found = known.iter().find(|(known, _)| known.eq_ignore_ascii_case(name));
        found.map_or(Self::Unknown, |(_, encoding)| *encoding)
    }
}

impl<W: Write> Decoder<W> {
    /// Undoes `coding` into `sink`.
    ///
    /// # Errors
    /// There is no memory for it.
    pub fn new(coding: Coding, sink: W) -> io::Result<Self> {
        Ok(Self(match coding {
            Coding::Gzip => Kind::Gzip(MultiGzDecoder::new(sink)),
            Coding::Deflate => Kind::Deflate(ZlibDecoder::new(sink)),
            Coding::Brotli => {
                let decoder = Box::new(DecompressorWriter::new(sink, BROTLI_BUFFER_BYTES));
                Kind::Brotli { decoder, has_begun: false }
            }
            Coding::Zstd => {
                let mut decoder = zstd::stream::write::Decoder::new(sink)?;
                decoder.window_log_max(ZSTD_WINDOW_LOG_MAX)?;
                Kind::Zstd(decoder)
            }
        }))
    }

    /// Decodes a piece and hands all of it on, so that nothing is missed if no other follows.
    ///
    /// # Errors
    /// The bytes are not of this coding, or the sink takes no more.
    pub fn write(&mut self, piece: &[u8]) -> io::Result<()> {
        let decoder: &mut dyn Write = match &mut self.0 {
            Kind::Gzip(decoder) => decoder,
            Kind::Deflate(decoder) => decoder,
            Kind::Brotli { decoder, has_begun } => {
                let first = piece.first().filter(|_| !*has_begun);
                if first.is_some_and(|byte| byte & 0x7f == BROTLI_LARGE_WINDOW) {
                    return Err(io::Error::other("the window is too large"));
                }
                *has_begun = *has_begun || first.is_some();
                decoder
            }
            Kind::Zstd(decoder) => decoder,
        };
        decoder.write_all(piece)?;
        decoder.flush()
    }

    /// Says that no byte follows.
    ///
    /// # Errors
    /// The coded bytes are not whole.
    pub fn finish(&mut self) -> io::Result<()> {
        match &mut self.0 {
            Kind::Gzip(decoder) => decoder.try_finish(),
            Kind::Deflate(decoder) => decoder.try_finish(),
            Kind::Brotli { decoder, .. } => decoder.close(),
            Kind::Zstd(decoder) => decoder.do_finish(),
        }
    }

    /// What takes the decoded bytes.
    pub fn sink(&self) -> &W {
        match &self.0 {
            Kind::Gzip(decoder) => decoder.get_ref(),
            Kind::Deflate(decoder) => decoder.get_ref(),
            Kind::Brotli { decoder, .. } => decoder.get_ref(),
            Kind::Zstd(decoder) => decoder.get_ref(),
        }
    }

    /// The same, to take from it.
    pub fn sink_mut(&mut self) -> &mut W {
        match &mut self.0 {
            Kind::Gzip(decoder) => decoder.get_mut(),
            Kind::Deflate(decoder) => decoder.get_mut(),
            Kind::Brotli { decoder, .. } => decoder.get_mut(),
            Kind::Zstd(decoder) => decoder.get_mut(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn encodings_have_names() {
        let coded = Encoding::Coded;
        for (name, expect) in [
            ("", Encoding::Identity),
            ("Identity", Encoding::Identity),
            (" gzip ", coded(Coding::Gzip)),
            ("X-GZIP", coded(Coding::Gzip)),
            ("deflate", coded(Coding::Deflate)),
            ("br", coded(Coding::Brotli)),
            ("zstd", coded(Coding::Zstd)),
            ("gzip, zstd", Encoding::Unknown),
            ("compress", Encoding::Unknown),
        ] {
            assert_eq!(Encoding::of(name), expect, "{name}");
        }
    }

    #[test]
    fn windows_beyond_the_standards_are_refused() {
        let check = |coding, bytes: &[u8]| {
            let mut decoder = Decoder::new(coding, Vec::new()).unwrap();
            assert!(decoder.write(bytes).is_err(), "{coding:?}");
        };
        check(Coding::Brotli, &[0x11, 0x1e, 0x00]);
        check(Coding::Brotli, &[0x91, 0x1e, 0x00]);
        // A frame that declares a window of 128 MiB (RFC 8878, 3.1.1.1.2: exponent 17), and one block of one byte.
        check(Coding::Zstd, &[0x28, 0xb5, 0x2f, 0xfd, 0x00, 17 << 3, 0x09, 0x00, 0x00, b'a']);
    }
}
