//! Decode: reads what a compressed body says, on the side.
//!
//! The caller is known by then. It runs on threads of its own, as many at once as there are cores, since a few
//! kilobytes may unfold to the limit. The decoded copy is kept for a splice; the body goes on as it came without one.
//!
//! Invariant: the decoded copy is never larger than a body may be, and counts against the memory for bodies.

use std::io::{self, Write};

use bytes::Bytes;
use http::header::{CONTENT_ENCODING, HeaderMap};

use super::read::{Call, too_large, too_much};
use crate::app::App;
use crate::domain::refusal::{Cause, Refusal};
use crate::limits::gate::{Gate, Place};
use crate::protocol::ask::Reader;
use crate::protocol::coding::{Coding, Decoder, Encoding};

/// Bytes of one piece of the decoded copy.
const PIECE_BYTES: usize = 256 * 1024;

/// A compressed body that has been read.
#[derive(Debug)]
pub struct Packed {
    /// How it is compressed.
    pub coding: Coding,
    /// The body as it arrived.
    pub pieces: Vec<Bytes>,
    /// Its share of the memory for bodies.
    pub memory: Place,
    /// Bytes that it may unfold to.
    pub limit: u64,
}

/// Takes what is decoded.
struct Plain {
    reader: Reader,
    pieces: Vec<Bytes>,
    open: Vec<u8>,
    bytes: u64,
    limit: u64,
    memory: Place,
    budget: Gate,
}

/// Where decoded bytes go, until they are refused or all there.
enum Sink {
    Open(Box<Plain>),
    Refused(Refusal),
    Taken,
}

/// The coding of a body that has to be read; `None` where it is not coded.
///
/// # Errors
/// Several codings, or one that is not known.
pub fn coding(headers: &HeaderMap) -> Result<Option<Coding>, Refusal> {
    let mut values = headers.get_all(CONTENT_ENCODING).iter();
    let Some(value) = values.next() else { return Ok(None) };
    match Encoding::of(value.to_str().unwrap_or("?")) {
        Encoding::Identity if values.next().is_none() => Ok(None),
        Encoding::Coded(coding) if values.next().is_none() => Ok(Some(coding)),
        Encoding::Identity | Encoding::Coded(_) | Encoding::Unknown => {
            let message = "the content-encoding must be one of gzip, deflate, br and zstd, or identity";
            Err(Refusal::new(Cause::UnsupportedEncoding, message))
        }
    }
}

/// Reads what `packed` says.
///
/// # Errors
/// It unfolds to too much, is not of its coding, or its content is refused.
pub async fn decode(app: &App, packed: Packed, reader: Reader) -> Result<Call, Refusal> {
    let budget = app.body_memory.clone();
    let overloaded =
        |_| Refusal::new(Cause::Overloaded, "no compressed body can be read now; try again shortly").after(1);
    let turn = app.decoders.clone().acquire_owned().await.map_err(|_| overloaded(()))?;
    let unfolding = tokio::task::spawn_blocking(move || {
        let call = unfold(packed, reader, budget);
        drop(turn);
        call
    });
    unfolding.await.map_err(|_| overloaded(()))?
}

fn unfold(packed: Packed, reader: Reader, budget: Gate) -> Result<Call, Refusal> {
    let Packed { coding, pieces, memory, limit } = packed;
    let plain = Plain { reader, pieces: Vec::new(), open: Vec::new(), bytes: 0, limit, memory, budget };
    let mut decoder = Decoder::new(coding, Sink::Open(Box::new(plain))).map_err(|error| broken(&error))?;
    let decoded = pieces.iter().try_for_each(|piece| decoder.write(piece)).and_then(|()| decoder.finish());
    let mut plain = match std::mem::replace(decoder.sink_mut(), Sink::Taken) {
        Sink::Refused(refusal) => return Err(refusal),
        Sink::Taken => return Err(Refusal::new(Cause::Malformed, "the request body cannot be read")),
        Sink::Open(plain) => plain,
    };
    decoded.map_err(|error| broken(&error))?;
    let ask = plain.reader.finish()?;
    plain.pieces.push(plain.open.into());
    Ok(Call { pieces, plain: Some(plain.pieces), ask, memory: plain.memory })
}

fn broken(error: &io::Error) -> Refusal {
    Refusal::new(Cause::Malformed, format!("the request body is not what its content-encoding says: {error}"))
}

impl Plain {
    fn take(&mut self, chunk: &[u8]) -> Result<(), Refusal> {
        self.bytes += chunk.len() as u64;
        if self.bytes > self.limit {
            return Err(too_large(self.limit));
        }
        if !self.budget.widen(&mut self.memory, chunk.len()) {
            return Err(too_much());
        }
        self.reader.feed(chunk).map_err(Refusal::from)?;
        self.open.extend_from_slice(chunk);
        if self.open.len() >= PIECE_BYTES {
            self.pieces.push(std::mem::take(&mut self.open).into());
        }
        Ok(())
    }
}

impl Write for Sink {
    fn write(&mut self, chunk: &[u8]) -> io::Result<usize> {
        match self {
            Self::Open(plain) => match plain.take(chunk) {
                Ok(()) => return Ok(chunk.len()),
                Err(refusal) => *self = Self::Refused(refusal),
            },
            Self::Refused(_) | Self::Taken => {}
        }
        Err(io::Error::other("no more is taken"))
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
