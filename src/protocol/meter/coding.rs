//! [`Coded`]: undoes the content coding of an answer on the side, so that it can be metered while it passes as it is.
//!
//! Each decoder writes into the body's reader as it goes; nothing decoded is kept.

use std::io::{self, Write};

use brotli_decompressor::DecompressorWriter;
use flate2::write::{MultiGzDecoder, ZlibDecoder};

use super::body::Body;
use crate::protocol::anthropic_messages::UntoldWrites;
use crate::protocol::facts::Facts;

/// Decoded bytes that are read of one answer; more is no answer but a bomb.
const DECODED_BYTES_MAX: u64 = 1 << 30;
/// Largest window of a zstd frame, as a power of two: 8 MiB, which every decoder has to support (RFC 8878, 3.1.1.1.2).
const ZSTD_WINDOW_LOG_MAX: u32 = 23;
/// What the brotli decoder hands on at once.
const BROTLI_BUFFER_BYTES: usize = 4096;

/// A body behind its content coding.
pub(super) enum Coded {
    Plain(Box<Body>),
    Behind {
        decoder: Box<Decoder>,
        is_broken: bool,
    },
    /// A coding that is not known.
    Unknown,
}

pub(super) enum Decoder {
    Gzip(MultiGzDecoder<Decoded>),
    Deflate(ZlibDecoder<Decoded>),
    Brotli(Box<DecompressorWriter<Decoded>>),
    Zstd(zstd::stream::write::Decoder<'static, Decoded>),
}

/// Takes decoded bytes.
pub(super) struct Decoded {
    /// There until the end.
    body: Option<Body>,
    bytes: u64,
}

impl Write for Decoded {
    fn write(&mut self, chunk: &[u8]) -> io::Result<usize> {
        self.bytes += chunk.len() as u64;
        if self.bytes > DECODED_BYTES_MAX {
            return Err(io::Error::other("the decoded body is too large"));
        }
        if let Some(body) = &mut self.body {
            body.read(chunk, &mut |_| {});
        }
        Ok(chunk.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Coded {
    /// The body behind the coding that `content_encoding` names.
    pub(super) fn new(content_encoding: &str, body: Body) -> Self {
        let coding = content_encoding.trim().to_ascii_lowercase();
        if matches!(&*coding, "" | "identity") {
            return Self::Plain(Box::new(body));
        }
        let decoded = Decoded { body: Some(body), bytes: 0 };
        let decoder = match &*coding {
            "gzip" | "x-gzip" => Decoder::Gzip(MultiGzDecoder::new(decoded)),
            "deflate" => Decoder::Deflate(ZlibDecoder::new(decoded)),
            "br" => Decoder::Brotli(Box::new(DecompressorWriter::new(decoded, BROTLI_BUFFER_BYTES))),
            "zstd" => match zstd(decoded) {
                Some(decoder) => decoder,
                None => return Self::Unknown,
            },
            _ => return Self::Unknown,
        };
        Self::Behind { decoder: Box::new(decoder), is_broken: false }
    }

    pub(super) fn feed(&mut self, frame: &[u8]) {
        match self {
            Self::Plain(body) => body.read(frame, &mut |_| {}),
            Self::Behind { decoder, is_broken } => *is_broken = *is_broken || decoder.write(frame).is_err(),
            Self::Unknown => {}
        }
    }

    pub(super) fn is_terminal(&self) -> bool {
        match self {
            Self::Plain(body) => body.is_terminal(),
            Self::Behind { decoder, .. } => decoder.body().is_some_and(Body::is_terminal),
            Self::Unknown => false,
        }
    }

    pub(super) fn is_unfinished(&self) -> bool {
        match self {
            Self::Plain(body) => body.is_unfinished(),
            Self::Behind { decoder, is_broken } => !is_broken && decoder.body().is_some_and(Body::is_unfinished),
            Self::Unknown => false,
        }
    }

    pub(super) fn end(self, untold: UntoldWrites) -> Facts {
        match self {
            Self::Plain(body) => body.end(untold),
            Self::Unknown => Facts { broken: true, ..Facts::default() },
            Self::Behind { mut decoder, is_broken } => {
                let is_broken = is_broken || decoder.finish().is_err();
                let facts = decoder.take_body().map(|body| body.end(untold)).unwrap_or_default();
                Facts { broken: facts.broken || is_broken, ..facts }
            }
        }
    }
}

impl Decoder {
    /// Decodes a frame and hands all of it on, so that nothing is missed if no other follows.
    fn write(&mut self, frame: &[u8]) -> io::Result<()> {
        let decoder: &mut dyn Write = match self {
            Self::Gzip(decoder) => decoder,
            Self::Deflate(decoder) => decoder,
            Self::Brotli(decoder) => decoder,
            Self::Zstd(decoder) => decoder,
        };
        decoder.write_all(frame)?;
        decoder.flush()
    }

    /// Says that no byte follows.
    fn finish(&mut self) -> io::Result<()> {
        match self {
            Self::Gzip(decoder) => decoder.try_finish(),
            Self::Deflate(decoder) => decoder.try_finish(),
            Self::Brotli(decoder) => decoder.close(),
            Self::Zstd(decoder) => decoder.do_finish(),
        }
    }

    fn body(&self) -> Option<&Body> {
        let decoded = match self {
            Self::Gzip(decoder) => decoder.get_ref(),
            Self::Deflate(decoder) => decoder.get_ref(),
            Self::Brotli(decoder) => decoder.get_ref(),
            Self::Zstd(decoder) => decoder.get_ref(),
        };
        decoded.body.as_ref()
    }

    fn take_body(&mut self) -> Option<Body> {
        let decoded = match self {
            Self::Gzip(decoder) => decoder.get_mut(),
            Self::Deflate(decoder) => decoder.get_mut(),
            Self::Brotli(decoder) => decoder.get_mut(),
            Self::Zstd(decoder) => decoder.get_mut(),
        };
        decoded.body.take()
    }
}

fn zstd(decoded: Decoded) -> Option<Decoder> {
    let mut decoder = zstd::stream::write::Decoder::new(decoded).ok()?;
    decoder.window_log_max(ZSTD_WINDOW_LOG_MAX).ok()?;
    Some(Decoder::Zstd(decoder))
}
