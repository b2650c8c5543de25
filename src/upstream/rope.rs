//! [`Rope`]: a body as the pieces in which it arrived, sent on without a copy.

use std::collections::VecDeque;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
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
#[derive(Clone, Debug)]
pub struct Sent(Arc<AtomicU8>);

/// A body that was withdrawn before its first byte; the connection that wanted it is closed.
#[derive(Debug)]
pub struct Withdrawn;

const WAITING: u8 = 0;
const TAKEN: u8 = 1;
const WITHDRAWN: u8 = 2;

impl Sent {
    /// Takes the body back. True: no connection has a byte of it, and none will. An empty body leaves with the head, so
    /// that nobody can tell.
    #[must_use]
    pub fn withdraw(&self) -> bool {
        self.0.compare_exchange(WAITING, WITHDRAWN, Ordering::AcqRel, Ordering::Acquire).is_ok()
    }

    fn take(&self) -> Result<(), Withdrawn> {
        match self.0.compare_exchange(WAITING, TAKEN, Ordering::AcqRel, Ordering::Acquire) {
            Err(WITHDRAWN) => Err(Withdrawn),
            Ok(_) | Err(_) => Ok(()),
        }
    }
}

impl Rope {
    /// A body of these pieces.
    #[must_use]
    pub fn new(pieces: Vec<Bytes>) -> Self {
        let left = pieces.iter().map(|piece| piece.len() as u64).sum();
        let sent = Sent(Arc::new(AtomicU8::new(if left == 0 { TAKEN } else { WAITING })));
        Self { pieces: pieces.into(), left, sent }
    }

    /// A view that outlives the body.
    #[must_use]
    pub fn sent(&self) -> Sent {
        self.sent.clone()
    }
}

impl Body for Rope {
    type Data = Bytes;
    type Error = Withdrawn;

    fn poll_frame(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Withdrawn>>> {
        let rope = self.get_mut();
        if let Err(withdrawn) = rope.sent.take() {
            return Poll::Ready(Some(Err(withdrawn)));
        }
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

impl std::fmt::Display for Withdrawn {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.write_str("the request was withdrawn before it was sent")
    }
}

impl std::error::Error for Withdrawn {}
