//! Tap: an upstream's answer on its way to the client, watched and never changed.
//!
//! It shows each frame to the meter, lets it pass, and is told exactly once how the stream ended: complete, broken off,
//! silent or left by the client. Then the bill is settled.
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

use super::abandon::{self, Permit};
use super::body::BrokenOff;
use super::settle::{Bill, End};
use crate::app::App;
use crate::domain::money::Usd;
use crate::drain::Phase;
use crate::protocol::strip::Watch;
use crate::protocol::terminal::terminal_error;

/// A body that is being watched.
#[derive(Debug)]
pub struct Tap {
    /// Gone once it is settled.
    flow: Option<Flow>,
    /// What may go to the client.
    ready: VecDeque<Bytes>,
    silence: Option<Pin<Box<Sleep>>>,
    last_frame: Instant,
    cost: Option<Usd>,
}

/// An answer that still flows, with what will settle it.
#[derive(Debug)]
pub struct Flow {
    /// What is shared by all requests.
    pub app: Arc<App>,
    /// The upstream's body.
    pub body: Incoming,
    /// Reads the usage as it passes, and takes out the usage event that the client did not ask for.
    pub watch: Watch,
    /// What is owed, and how it is priced.
    pub bill: Bill,
    /// Longest silence between two frames.
    pub silence_max: Duration,
}

type Next = Option<Result<Frame<Bytes>, BrokenOff>>;

impl Tap {
    /// Watches `flow`.
    #[must_use]
    pub fn new(flow: Flow) -> Self {
        let last_frame = Instant::now();
        Self { flow: Some(flow), ready: VecDeque::new(), silence: None, last_frame, cost: None }
    }

    /// The next frame for the client.
    pub fn poll_frame(&mut self, context: &mut Context<'_>) -> Poll<Next> {
        loop {
            if let Some(piece) = self.ready.pop_front() {
                return Poll::Ready(Some(Ok(Frame::data(piece))));
            }
            let Some(flow) = &mut self.flow else { return Poll::Ready(None) };
            let frame = match Pin::new(&mut flow.body).poll_frame(context) {
                Poll::Ready(frame) => frame,
                Poll::Pending if flow.app.drain.phase() == Phase::Cutting => return self.break_off(End::Cut),
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
        let held = self.ready.iter().map(|piece| piece.len() as u64).sum();
        match &self.flow {
            Some(flow) if flow.watch.may_drop() || held > 0 => SizeHint::default(),
            Some(flow) => flow.body.size_hint(),
            None => SizeHint::with_exact(held),
        }
    }

    /// Reads the whole body, and says what it cost.
    ///
    /// # Errors
    /// The upstream broke off.
    pub async fn collect(mut self) -> Result<(Bytes, Option<Usd>), BrokenOff> {
        let mut whole = Bytes::new();
        while let Some(frame) = std::future::poll_fn(|context| self.poll_frame(context)).await {
            let Ok(piece) = frame?.into_data() else { continue };
            whole = if whole.is_empty() { piece } else { [whole, piece].concat().into() };
        }
        Ok((whole, self.cost))
    }

    fn pass(&mut self, piece: Bytes) {
        let Some(flow) = &mut self.flow else { return };
        self.last_frame = Instant::now();
        flow.bill.note_first_byte();
        flow.watch.feed(piece, &mut self.ready);
        // A body of known length is not asked again behind its last byte.
        if flow.body.is_end_stream() {
            self.complete();
        }
    }

    fn complete(&mut self) {
        if let Some(mut flow) = self.flow.take() {
            flow.watch.release(&mut self.ready);
            self.cost = flow.settle(End::Complete);
        }
    }

    /// The upstream failed: a stream says so in its dialect and ends, a whole answer is broken off.
    fn break_off(&mut self, end: End) -> Poll<Next> {
        let Some(mut flow) = self.flow.take() else { return Poll::Ready(None) };
        flow.watch.release(&mut self.ready);
        let last_words = flow.last_words(end);
        flow.settle(end);
        let Some(last_words) = last_words else { return Poll::Ready(Some(Err(BrokenOff))) };
        self.ready.push_back(last_words);
        let piece = self.ready.pop_front().unwrap_or_default();
        Poll::Ready(Some(Ok(Frame::data(piece))))
    }

    /// Ready once nothing has come for too long. One timer serves the whole stream: it is moved when it fires, not with
    /// each frame.
    fn poll_silence(&mut self, context: &mut Context<'_>) -> Poll<()> {
        let Some(flow) = &self.flow else { return Poll::Pending };
        let due = self.last_frame + flow.silence_max;
        let silence = self.silence.get_or_insert_with(|| Box::pin(tokio::time::sleep_until(due)));
        loop {
            ready!(silence.as_mut().poll(context));
            if due <= Instant::now() {
                return Poll::Ready(());
            }
            silence.as_mut().reset(due);
        }
    }
}

impl Flow {
    /// Reads to the end for the usage that stands there; nobody gets the bytes.
    pub async fn read_out(mut self, permit: Permit) {
        let mut bytes = 0;
        let drain = self.app.drain.clone();
        let mut cut = std::pin::pin!(drain.reached(Phase::Cutting));
        while bytes <= permit.bytes_max && !self.body.is_end_stream() {
            let frame = std::future::poll_fn(|context| Pin::new(&mut self.body).poll_frame(context));
            let frame = tokio::select! {
                frame = tokio::time::timeout_at(permit.deadline, frame) => frame,
                () = &mut cut => break,
            };
            let Ok(Some(Ok(frame))) = frame else { break };
            if let Ok(piece) = frame.into_data() {
                bytes += piece.len() as u64;
                self.watch.feed(piece, &mut VecDeque::new());
            }
        }
        self.settle(End::ClientLeft);
    }

    /// What ends a stream from outside, in its own dialect.
    fn last_words(&self, end: End) -> Option<Bytes> {
        let (id, now_s) = (self.bill.request_id().to_string(), self.app.clock.now_ms() / 1000);
        terminal_error(self.bill.operation(), &self.watch.position(), end.message(), &id, now_s)
    }

    fn settle(self, end: End) -> Option<Usd> {
        self.bill.settle(end, &self.watch.end())
    }

    /// The client has left.
    fn abandon(self) {
        if self.watch.is_terminal() {
            // It has all that it waited for; many clients close without reading the last chunk.
            self.settle(End::Complete);
            return;
        }
        match abandon::permit(&self.app) {
            Some(permit) => drop(tokio::spawn(self.read_out(permit))),
            None => drop(self.settle(End::ClientLeft)),
        }
    }
}

impl Drop for Tap {
    fn drop(&mut self) {
        if let Some(flow) = self.flow.take() {
            flow.abandon();
        }
    }
}
