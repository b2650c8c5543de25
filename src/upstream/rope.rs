//! [`Rope`]: a body as the pieces in which it arrived, sent on without a copy.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};

/// A request body of known length.
#[derive(Debug)]
pub struct Rope {
    pieces: VecDeque<Bytes>,
    left: u64,
    sent: Sent,
}

/// Tells whether any byte of a body was handed to a connection: if not, the provider cannot bill it.
#[derive(Clone, Debug, Default)]
pub struct Sent(Arc<AtomicBool>);

impl Sent {
    /// Whether the connection took the body, or a part of it.
    #[must_use]
    pub fn any(&self) -> bool {
        self.0.load(Ordering::Acquire)
    }
}

impl Rope {
    /// A body of these pieces.
    #[must_use]
    pub fn new(pieces: Vec<Bytes>) -> Self {
        let left = pieces.iter().map(|piece| piece.len() as u64).sum();
        Self { pieces: pieces.into(), left, sent: Sent::default() }
    }

    /// A view that outlives the body.
    #[must_use]
    pub fn sent(&self) -> Sent {
        self.sent.clone()
    }
}

impl Body for Rope {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let rope = self.get_mut();
        rope.sent.0.store(true, Ordering::Release);
        let Some(piece) = rope.pieces.pop_front() else {
            return Poll::Ready(None);
        };
        rope.left -= piece.len() as u64;
        Poll::Ready(Some(Ok(Frame::data(piece))))
    }

    fn is_end_stream(&self) -> bool {
        self.pieces.is_empty()
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.left)
    }
}
