//! [`Body`]: what Tollgate answers with, whole or as it flows.

use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body::{Frame, SizeHint};

use super::join::Passenger;
use super::tap::Tap;

/// A response body.
#[derive(Debug)]
pub enum Body {
    /// Nothing more.
    Empty,
    /// Bytes that are all there.
    Whole(Bytes),
    /// An upstream's answer, as it arrives.
    Flowing(Box<Tap>),
    /// An answer that several read.
    Joined(Box<Passenger>),
}

/// Why a body ends early: the connection is closed without an end, since a whole answer was promised and did not come.
#[derive(Debug)]
pub struct BrokenOff;

impl Body {
    /// A body of these bytes.
    #[must_use]
    pub fn whole(bytes: impl Into<Bytes>) -> Self {
        let bytes = bytes.into();
        if bytes.is_empty() { Self::Empty } else { Self::Whole(bytes) }
    }

    /// Whether it is known that nothing follows.
    #[must_use]
    pub fn is_over(&self) -> bool {
        match self {
            Self::Empty => true,
            Self::Whole(_) | Self::Joined(_) => false,
            Self::Flowing(tap) => tap.is_over(),
        }
    }
}

impl http_body::Body for Body {
    type Data = Bytes;
    type Error = BrokenOff;

    fn poll_frame(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BrokenOff>>> {
        let body = self.get_mut();
        match body {
            Self::Empty => Poll::Ready(None),
            Self::Whole(bytes) => {
                let bytes = std::mem::take(bytes);
                *body = Self::Empty;
                Poll::Ready(Some(Ok(Frame::data(bytes))))
            }
            Self::Flowing(tap) => tap.poll_frame(context),
            Self::Joined(passenger) => passenger.poll_frame(context),
        }
    }

    fn is_end_stream(&self) -> bool {
        matches!(self, Self::Empty)
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Empty => SizeHint::with_exact(0),
            Self::Whole(bytes) => SizeHint::with_exact(bytes.len() as u64),
            Self::Flowing(tap) => tap.size_hint(),
            Self::Joined(_) => SizeHint::default(),
        }
    }
}

impl std::fmt::Display for BrokenOff {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.write_str("the upstream broke off its answer")
    }
}

impl std::error::Error for BrokenOff {}
