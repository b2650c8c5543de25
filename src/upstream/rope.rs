//! [`Rope`]: a body as the pieces in which it arrived, sent on without a copy; or, where it is too large to be kept, as it
//! arrives.
//!
//! Invariant: a body that flows takes no more memory than the piece in hand, and none is asked for before the upstream
//! takes the last one.

use std::collections::VecDeque;
use std::future::Future as _;
use std::io::IoSlice;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::{Buf, Bytes};
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;
use tokio::time::{Instant, Sleep};

/// A request body.
#[derive(Debug)]
pub struct Rope {
    source: Source,
    sent: Sent,
}

#[derive(Debug)]
enum Source {
    /// All of it; it leaves at once, so that a connection has either all that was written of it or nothing.
    Pieces(Pieces),
    /// A client that still sends.
    Client(Box<Upload>),
}

/// Pieces that are handed to a connection at once.
#[derive(Debug, Default)]
pub struct Pieces {
    /// None is empty.
    pieces: VecDeque<Bytes>,
    left: usize,
}

/// A body that flows from a client.
#[derive(Debug)]
pub struct Upload {
    /// What the client sends.
    pub body: Incoming,
    /// Bytes that may still come.
    pub bytes_max: u64,
    /// Longest silence of the client between two pieces.
    pub silence_max: Duration,
    silence: Option<Pin<Box<Sleep>>>,
}

/// Tells whether any byte of a body was handed to a connection: if not, the provider cannot bill it. And why a body that
/// flows has ended early, if it has.
#[derive(Clone, Debug)]
pub struct Sent {
    state: Arc<AtomicU8>,
    flows: bool,
}

/// Why a body ends early; the connection that wanted it is closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cut {
    /// It was withdrawn before its first byte.
    Withdrawn,
    /// The client sends more than it may.
    TooLarge,
    /// The client was silent for too long.
    Silent,
    /// The client broke off.
    BrokenOff,
}

const WAITING: u8 = 0;
const TAKEN: u8 = 1;
const WITHDRAWN: u8 = 2;
const TOO_LARGE: u8 = 3;
const SILENT: u8 = 4;
const BROKEN_OFF: u8 = 5;

impl Sent {
    /// Takes the body back. True: no connection has a byte of it, and none will. An empty body leaves with the head, so
    /// that nobody can tell.
    #[must_use]
    pub fn withdraw(&self) -> bool {
        self.state.compare_exchange(WAITING, WITHDRAWN, Ordering::AcqRel, Ordering::Acquire).is_ok()
    }

    /// Whether the body comes from a client as it is sent, so that nobody has it a second time.
    #[must_use]
    pub const fn flows(&self) -> bool {
        self.flows
    }

    /// Why the client's body ended early, if it did.
    #[must_use]
    pub fn cut(&self) -> Option<Cut> {
        match self.state.load(Ordering::Acquire) {
            TOO_LARGE => Some(Cut::TooLarge),
            SILENT => Some(Cut::Silent),
            BROKEN_OFF => Some(Cut::BrokenOff),
            _ => None,
        }
    }

    fn take(&self) -> Result<(), Cut> {
        match self.state.compare_exchange(WAITING, TAKEN, Ordering::AcqRel, Ordering::Acquire) {
            Err(WITHDRAWN) => Err(Cut::Withdrawn),
            Ok(_) | Err(_) => Ok(()),
        }
    }

    fn note(&self, cut: Cut) {
        let state = match cut {
            Cut::Withdrawn => WITHDRAWN,
            Cut::TooLarge => TOO_LARGE,
            Cut::Silent => SILENT,
            Cut::BrokenOff => BROKEN_OFF,
        };
        self.state.store(state, Ordering::Release);
    }
}

impl Rope {
    /// A body of these pieces.
    #[must_use]
    pub fn new(pieces: Vec<Bytes>) -> Self {
        let pieces = Pieces::of(pieces);
        let is_empty = pieces.left == 0;
        Self::of(Source::Pieces(pieces), is_empty)
    }

    /// A body that flows from a client.
    #[must_use]
    pub fn flowing(upload: Upload) -> Self {
        let is_empty = upload.body.is_end_stream();
        Self::of(Source::Client(Box::new(upload)), is_empty)
    }

    fn of(source: Source, is_empty: bool) -> Self {
        let state = Arc::new(AtomicU8::new(if is_empty { TAKEN } else { WAITING }));
        let flows = matches!(source, Source::Client(_));
        Self { source, sent: Sent { state, flows } }
    }

    /// A view that outlives the body.
    #[must_use]
    pub fn sent(&self) -> Sent {
        self.sent.clone()
    }
}

impl Pieces {
    fn of(mut pieces: Vec<Bytes>) -> Self {
        pieces.retain(|piece| !piece.is_empty());
        let left = pieces.iter().map(Bytes::len).sum();
        Self { pieces: pieces.into(), left }
    }
}

impl Buf for Pieces {
    fn remaining(&self) -> usize {
        self.left
    }

    fn chunk(&self) -> &[u8] {
        self.pieces.front().map_or(&[], |piece| piece)
    }

    fn chunks_vectored<'a>(&'a self, slices: &mut [IoSlice<'a>]) -> usize {
        let pairs = slices.iter_mut().zip(&self.pieces);
        pairs.map(|(slice, piece)| *slice = IoSlice::new(piece)).count()
    }

    fn advance(&mut self, count: usize) {
        self.left -= count;
        let mut count = count;
        while let Some(piece) = self.pieces.front_mut().filter(|_| count > 0) {
            let step = count.min(piece.len());
            piece.advance(step);
            count -= step;
            if piece.is_empty() {
                self.pieces.pop_front();
            }
        }
    }
}

impl Upload {
    /// A body of at most `bytes_max` bytes, whose client is silent for at most `silence_max`.
    #[must_use]
    pub const fn new(body: Incoming, bytes_max: u64, silence_max: Duration) -> Self {
        Self { body, bytes_max, silence_max, silence: None }
    }

    fn poll(&mut self, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Cut>>> {
        let Poll::Ready(frame) = Pin::new(&mut self.body).poll_frame(context) else {
            let due = self.silence_max;
            let silence = self.silence.get_or_insert_with(|| Box::pin(tokio::time::sleep(due)));
            return silence.as_mut().poll(context).map(|()| Some(Err(Cut::Silent)));
        };
        if let Some(silence) = &mut self.silence {
            silence.as_mut().reset(Instant::now() + self.silence_max);
        }
        let Some(frame) = frame else { return Poll::Ready(None) };
        let Ok(frame) = frame else { return Poll::Ready(Some(Err(Cut::BrokenOff))) };
        let length = frame.data_ref().map_or(0, |piece| piece.len() as u64);
        if length > self.bytes_max {
            return Poll::Ready(Some(Err(Cut::TooLarge)));
        }
        self.bytes_max -= length;
        Poll::Ready(Some(Ok(frame)))
    }
}

impl Body for Rope {
    type Data = Pieces;
    type Error = Cut;

    fn poll_frame(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Pieces>, Cut>>> {
        let rope = self.get_mut();
        if let Err(withdrawn) = rope.sent.take() {
            return Poll::Ready(Some(Err(withdrawn)));
        }
        match &mut rope.source {
            Source::Pieces(pieces) if pieces.left == 0 => Poll::Ready(None),
            Source::Pieces(pieces) => Poll::Ready(Some(Ok(Frame::data(std::mem::take(pieces))))),
            Source::Client(upload) => {
                let frame = upload.poll(context);
                if let Poll::Ready(Some(Err(cut))) = &frame {
                    rope.sent.note(*cut);
                }
                frame.map_ok(|frame| frame.map_data(|piece| Pieces::of(vec![piece])))
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        match &self.source {
            Source::Pieces(pieces) => pieces.left == 0,
            Source::Client(upload) => upload.body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.source {
            Source::Pieces(pieces) => SizeHint::with_exact(pieces.left as u64),
            Source::Client(upload) => upload.body.size_hint(),
        }
    }
}

impl std::fmt::Display for Cut {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.write_str(match self {
            Self::Withdrawn => "the request was withdrawn before it was sent",
            Self::TooLarge => "the client sends more than it may",
            Self::Silent => "the client was silent for too long",
            Self::BrokenOff => "the client broke off its request",
        })
    }
}

impl std::error::Error for Cut {}

#[cfg(test)]
mod tests {
    use super::*;
    use http_body_util::BodyExt;

    #[tokio::test]
    async fn a_body_is_withdrawn_or_sent_and_never_both() {
        let rope = |text: &'static str| Rope::new(vec![Bytes::from_static(text.as_bytes()); 2]);
        let kept = rope("ab");
        assert!(kept.sent().withdraw() && !kept.sent().withdraw());
        assert!(kept.collect().await.is_err());
        let mut left = rope("ab");
        let mut all = left.frame().await.unwrap().unwrap().into_data().unwrap();
        assert!(!left.sent().withdraw());
        let mut slices = [IoSlice::new(&[]); 4];
        assert_eq!((all.chunks_vectored(&mut slices), &*slices[1]), (2, &b"ab"[..]));
        all.advance(3);
        assert_eq!((all.chunk(), all.remaining()), (&b"b"[..], 1));
        assert_eq!(left.collect().await.unwrap().to_bytes().len(), 0);
        assert!(!rope("").sent().withdraw());
    }
}
