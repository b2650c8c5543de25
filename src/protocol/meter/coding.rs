//! [`Coded`]: undoes the content coding of an answer on the side, so that it can be metered while it passes as it is.
//!
//! What is decoded goes into the body's reader; nothing of it is kept.

use std::io::{self, Write};

use super::body::Body;
use crate::protocol::anthropic_messages::UntoldWrites;
use crate::protocol::coding::{Decoder, Encoding};
use crate::protocol::facts::Facts;

/// Decoded bytes that are read of one answer; more is no answer but a bomb.
const DECODED_BYTES_MAX: u64 = 1 << 30;

/// A body behind its content coding.
pub(super) enum Coded {
    Plain(Box<Body>),
    Behind {
        decoder: Box<Decoder<Decoded>>,
        is_broken: bool,
    },
    /// A coding that is not known.
    Unknown,
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
        let coding = match Encoding::of(content_encoding) {
            Encoding::Identity => return Self::Plain(Box::new(body)),
            Encoding::Unknown => return Self::Unknown,
            Encoding::Coded(coding) => coding,
        };
        let Ok(decoder) = Decoder::new(coding, Decoded { body: Some(body), bytes: 0 }) else { return Self::Unknown };
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
            Self::Behind { decoder, .. } => decoder.sink().body.as_ref().is_some_and(Body::is_terminal),
            Self::Unknown => false,
        }
    }

    pub(super) fn is_unfinished(&self) -> bool {
        match self {
            Self::Plain(body) => body.is_unfinished(),
            Self::Behind { decoder, is_broken } => {
                !is_broken && decoder.sink().body.as_ref().is_some_and(Body::is_unfinished)
            }
            Self::Unknown => false,
        }
    }

    pub(super) fn end(self, untold: UntoldWrites) -> Facts {
        match self {
            Self::Plain(body) => body.end(untold),
            Self::Unknown => Facts { broken: true, ..Facts::default() },
            Self::Behind { mut decoder, is_broken } => {
                let is_broken = is_broken || decoder.finish().is_err();
                let facts = decoder.sink_mut().body.take().map(|body| body.end(untold)).unwrap_or_default();
                Facts { broken: facts.broken || is_broken, ..facts }
            }
        }
    }
}
