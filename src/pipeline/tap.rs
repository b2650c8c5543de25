//! Tap: an upstream's answer on its way to the client, watched and never changed.
//!
//! It shows each frame to the meter, lets it pass, and is told exactly once how the stream ended: complete, broken off,
//! timed out or left by the client. Then the debt is settled. A client that leaves does not end the upstream's work:
//! the rest is read in the background, within bounds, since the usage that will be billed stands at the end.
//!
//! Invariant: bytes pass as they came, but for the usage event that we asked for and the client did not.

use std::collections::VecDeque;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use http_body::{Body as _, Frame, SizeHint};
use hyper::body::Incoming;
use tokio::time::{Instant, Sleep};

use super::body::BrokenOff;
use super::settle::{Bill, End};
use crate::app::App;
use crate::config::OnClientAbort;
use crate::drain::Phase;
use crate::protocol::meter::Meter;
use crate::protocol::strip::Strip;
use crate::protocol::terminal::terminal_error;

/// A body that is being watched.
#[derive(Debug)]
pub struct Tap {
    /// Gone once it is settled.
    flow: Option<Flow>,
    ready: VecDeque<Bytes>,
    strip: Option<Strip>,
    silence: Option<Pin<Box<Sleep>>>,
    last_frame: Instant,
}

/// An answer that still flows, with what will settle it.
#[derive(Debug)]
pub struct Flow {
    /// What is shared by all requests.
    pub app: Arc<App>,
    /// The upstream's body.
    pub body: Incoming,
    /// Reads the usage as it passes.
    pub meter: Meter,
    /// What is owed, and how it is priced.
    pub bill: Bill,
    /// Longest silence between two frames.
    pub silence_max: Duration,
    /// Whether a failure can be told in the stream itself.
    pub streams: bool,
}

impl Tap {
    /// Watches `flow`; `strip` takes out the usage event that the client did not ask for.
    #[must_use]
    pub fn new(flow: Flow, strip: Option<Strip>) -> Self {
        Self { flow: Some(flow), ready: VecDeque::new(), strip, silence: None, last_frame: Instant::now() }
    }

    /// The next frame for the client.
    pub fn poll_frame(&mut self, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BrokenOff>>> {
        loop {
            if let Some(piece) = self.ready.pop_front() {
                return Poll::Ready(Some(Ok(Frame::data(piece))));
            }
            let Some(flow) = &mut self.flow else { return Poll::Ready(None) };
            let frame = match Pin::new(&mut flow.body).poll_frame(context) {
                Poll::Ready(frame) => frame,
                Poll::Pending if flow.app.drain.phase() == Phase::Cutting => {
                    return self.break_off(End::Cut);
                }
                Poll::Pending => {
                    ready!(self.poll_silence(context));
                    return self.break_off(End::Silent);
                }
            };
            match frame {
                Some(Ok(frame)) => match frame.into_data() {
                    Ok(piece) => self.pass(piece),
                    Err(trailers) => return Poll::Ready(Some(Ok(trailers))),
                },
                Some(Err(_)) => return self.break_off(End::BrokenOff),
                None => self.complete(),
            }
        }
    }

    /// How much is to come, where that is known.
    #[must_use]
    pub fn size_hint(&self) -> SizeHint {
        match &self.flow {
            Some(flow) if self.strip.is_none() => flow.body.size_hint(),
            Some(_) => SizeHint::default(),
            None => SizeHint::with_exact(self.ready.iter().map(|piece| piece.len() as u64).sum()),
        }
    }

    /// Reads the whole body, of at most `bytes_max`, and says what it cost.
    ///
    /// # Errors
    /// The upstream broke off, or sent more than it had announced.
    pub async fn collect(mut self) -> Result<Vec<Bytes>, BrokenOff> {
        let mut pieces = Vec::with_capacity(1);
        while let Some(frame) = std::future::poll_fn(|context| self.poll_frame(context)).await {
            if let Ok(piece) = frame?.into_data() {
                pieces.push(piece);
            }
        }
        Ok(pieces)
    }

    fn pass(&mut self, piece: Bytes) {
        let Some(flow) = &mut self.flow else { return };
        self.last_frame = Instant::now();
        flow.bill.note_first_byte();
        flow.meter.feed(&piece);
        match &mut self.strip {
            Some(strip) => strip.push(piece, &mut self.ready),
            None => self.ready.push_back(piece),
        }
        // A body of known length is not asked again behind its last byte.
        if flow.body.is_end_stream() {
            self.complete();
        }
    }

    fn complete(&mut self) {
        if let Some(rest) = self.strip.as_mut().and_then(Strip::end) {
            self.ready.push_back(rest);
        }
        if let Some(flow) = self.flow.take() {
            flow.settle(End::Complete);
        }
    }

    /// The upstream failed: the stream says so in its dialect and ends, a whole answer is broken off.
    fn break_off(&mut self, end: End) -> Poll<Option<Result<Frame<Bytes>, BrokenOff>>> {
        let Some(flow) = self.flow.take() else { return Poll::Ready(None) };
        let last_words = (flow.streams && !flow.meter.is_encoded()).then(|| flow.last_words(end));
        if let Some(held) = self.strip.as_mut().and_then(Strip::end) {
            self.ready.push_back(held);
        }
        flow.settle(end);
        let Some(last_words) = last_words else { return Poll::Ready(Some(Err(BrokenOff))) };
        self.ready.push_back(last_words);
        let piece = self.ready.pop_front().unwrap_or_default();
        Poll::Ready(Some(Ok(Frame::data(piece))))
    }

    /// Ready once nothing has come for too long.
    fn poll_silence(&mut self, context: &mut Context<'_>) -> Poll<()> {
        let Some(flow) = &self.flow else { return Poll::Pending };
        let last = self.last_frame;
        let silence = self.silence.get_or_insert_with(|| Box::pin(tokio::time::sleep_until(last + flow.silence_max)));
        loop {
            ready!(silence.as_mut().poll(context));
            // One timer serves the whole stream: it is moved only when it fires, not with each frame.
            let due = last + flow.silence_max;
            if due <= Instant::now() {
                return Poll::Ready(());
            }
            silence.as_mut().reset(due);
        }
    }
}

impl Flow {
    fn settle(self, end: End) {
        let facts = self.meter.end();
        self.bill.settle(end, Some(&facts));
    }

    fn last_words(&self, end: End) -> Bytes {
        terminal_error(self.meter.wire(), self.meter.at_event_boundary(), end.message(), self.bill.request_id())
    }

    /// The client has left.
    fn abandon(self) {
        let policy = self.app.snapshot.load();
        let gate = match policy.config.money.on_client_abort {
            OnClientAbort::Drain => self.app.drains.take(),
            OnClientAbort::Cancel => None,
        };
        let Some(place) = gate else { return self.settle(End::ClientLeft) };
        let (longest, most) = (policy.config.money.drain_longest, policy.config.money.drain_bytes_max);
        let work = self.app.drain.work();
        tokio::spawn(async move {
            self.read_out(longest, most).await;
            drop((place, work));
        });
    }

    /// Reads to the end for the usage that stands there; nobody gets the bytes.
    async fn read_out(mut self, longest: Duration, bytes_max: u64) {
        let deadline = Instant::now() + longest;
        let mut bytes = 0;
        let whole = loop {
            let frame = std::future::poll_fn(|context| Pin::new(&mut self.body).poll_frame(context));
            let Ok(Some(Ok(frame))) = tokio::time::timeout_at(deadline, frame).await else {
                break false;
            };
            if let Ok(piece) = frame.into_data() {
                bytes += piece.len() as u64;
                self.meter.feed(&piece);
            }
            if self.body.is_end_stream() || bytes > bytes_max {
                break bytes <= bytes_max;
            }
        };
        let _ = whole;
        self.settle(End::ClientLeft);
    }
}

impl Drop for Tap {
    fn drop(&mut self) {
        if let Some(flow) = self.flow.take() {
            flow.abandon();
        }
    }
}
