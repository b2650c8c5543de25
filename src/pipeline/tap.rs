//! Tap: an upstream's answer on its way to the client, watched and never changed.
//!
//! It shows each frame to the meter, lets it pass, and is told exactly once how the stream ended: complete, broken off,
//! silent or left by the client. Then the bill is settled.
//!
//! Invariant: bytes pass as they came, but for the usage event that we asked for and the client did not, and for the
//! error that ends a stream which its upstream did not end.

use std::collections::VecDeque;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http_body::{Body as _, Frame, SizeHint};
use tokio::time::{Instant, Sleep};

use super::body::BrokenOff;
use super::flow::Flow;
use super::settle::End;
use crate::bank::tab::Tab;
use crate::domain::money::Usd;
use crate::domain::refusal::Refusal;
use crate::drain::Phase;

/// A body that is being watched.
#[derive(Debug)]
pub struct Tap {
    /// Gone once it is settled.
    flow: Option<Flow>,
    /// What may go to the client.
    ready: VecDeque<Bytes>,
    silence: Option<Pin<Box<Sleep>>>,
    /// Since when the upstream is waited for, while it is. A client that takes its time is no silent upstream.
    waiting_since: Option<Instant>,
    /// When the client got its last keep-alive, or would have if there had been a place for it.
    kept_alive: Option<Instant>,
    /// Whether what the client has got last ends a line, and not in the middle of a line's end.
    is_at_line: bool,
    cost: Option<Usd>,
    /// How far it is read before anybody knows whether the client gets it.
    ahead: Ahead,
}

/// How far a body is read before its head goes out.
#[derive(Debug, PartialEq, Eq)]
enum Ahead {
    /// Not at all, or it is settled as soon as it is whole.
    No,
    /// To its end.
    Reading,
    /// It is all there, and not settled.
    Whole,
}

/// What came of reading ahead.
#[derive(Debug)]
pub enum Read {
    /// All of it; nothing is settled yet.
    Whole(Bytes, Box<Flow>),
    /// It is longer than that, and goes on.
    Longer(Box<Tap>),
}

type Next = Option<Result<Frame<Bytes>, BrokenOff>>;

/// What comes next.
enum Step {
    Piece(Bytes),
    Failed(End),
    Over,
}

/// A whole answer that broke off before its head went out. Dropped, it settles itself.
#[derive(Debug)]
pub struct Broken {
    /// There is none where the answer is settled.
    flow: Option<Flow>,
    end: End,
    refusal: Refusal,
}

impl Broken {
    /// What the client is told.
    #[must_use]
    pub const fn refusal(&self) -> &Refusal {
        &self.refusal
    }

    /// Ends the request, and says what the client is told.
    #[must_use]
    pub fn settle(self) -> Refusal {
        if let Some(mut flow) = self.flow {
            flow.bill.note_refusal(&self.refusal);
            flow.settle(self.end);
        }
        self.refusal
    }

    /// Ends the attempt and not the request, whose tab is given back.
    #[must_use]
    pub fn close(self) -> (Option<Tab>, Refusal) {
        (self.flow.and_then(|flow| flow.close(self.end)), self.refusal)
    }
}

impl Tap {
    /// Watches `flow`.
    #[must_use]
    pub const fn new(flow: Flow) -> Self {
        Self {
            flow: Some(flow),
            ready: VecDeque::new(),
            silence: None,
            waiting_since: None,
            kept_alive: None,
            is_at_line: true,
            cost: None,
            ahead: Ahead::No,
        }
    }

    /// The next frame for the client.
    pub fn poll_frame(&mut self, context: &mut Context<'_>) -> Poll<Next> {
        Poll::Ready(match ready!(self.poll_step(context)) {
            Step::Piece(piece) => Some(Ok(Frame::data(piece))),
            Step::Failed(end) => self.break_off(end),
            Step::Over => None,
        })
    }

    /// Whether everything has been handed out.
    #[must_use]
    pub fn is_over(&self) -> bool {
        self.flow.is_none() && self.ready.is_empty()
    }

    /// How much is to come, where that is known.
    #[must_use]
    pub fn size_hint(&self) -> SizeHint {
        match &self.flow {
            Some(flow) if flow.is_promised && self.ready.is_empty() => flow.body.size_hint(),
            Some(_) | None => SizeHint::default(),
        }
    }

    /// Reads the whole body, before its head goes out, and says what it cost.
    ///
    /// # Errors
    /// The upstream broke off.
    pub async fn collect(&mut self) -> Result<(Bytes, Option<Usd>), Box<Broken>> {
        let mut pieces = Vec::with_capacity(1);
        loop {
            match std::future::poll_fn(|context| self.poll_step(context)).await {
                Step::Piece(piece) => pieces.push(piece),
                Step::Failed(end) => {
                    return Err(Box::new(Broken { flow: self.flow.take(), end, refusal: end.refusal() }));
                }
                Step::Over => break,
            }
        }
        let whole = if pieces.len() == 1 { pieces.pop() } else { None };
        Ok((whole.unwrap_or_else(|| pieces.concat().into()), self.cost))
    }

    /// Waits for the first piece, so that an answer which breaks off before it can still be refused: hyper would close the
    /// connection and send no head.
    ///
    /// # Errors
    /// The upstream broke off.
    pub async fn begin(mut self) -> Result<Self, Box<Broken>> {
        match std::future::poll_fn(|context| self.poll_step(context)).await {
            Step::Piece(piece) => self.ready.push_front(piece),
            Step::Failed(end) => {
                return Err(Box::new(Broken { flow: self.flow.take(), end, refusal: end.refusal() }));
            }
            Step::Over => {}
        }
        Ok(self)
    }

    /// Reads so many bytes before the head goes out, without settling the attempt.
    ///
    /// # Errors
    /// The upstream broke off.
    pub async fn read_ahead(mut self, bytes_max: usize) -> Result<Read, Box<Broken>> {
        self.ahead = Ahead::Reading;
        let (mut pieces, mut bytes) = (VecDeque::with_capacity(1), 0);
        while bytes <= bytes_max {
            match std::future::poll_fn(|context| self.poll_step(context)).await {
                Step::Piece(piece) => {
                    bytes += piece.len();
                    pieces.push_back(piece);
                }
                Step::Failed(end) => {
                    return Err(Box::new(Broken { flow: self.flow.take(), end, refusal: end.refusal() }));
                }
                Step::Over => break,
            }
        }
        if let Some(flow) = self.flow.take_if(|_| self.ahead == Ahead::Whole && self.ready.is_empty()) {
            let whole = if pieces.len() == 1 { pieces.pop_front() } else { None };
            let whole = whole.unwrap_or_else(|| pieces.make_contiguous().concat().into());
            return Ok(Read::Whole(whole, Box::new(flow)));
        }
        pieces.append(&mut self.ready);
        self.ready = pieces;
        if std::mem::replace(&mut self.ahead, Ahead::No) == Ahead::Whole {
            self.complete();
        }
        Ok(Read::Longer(Box::new(self)))
    }

    fn poll_step(&mut self, context: &mut Context<'_>) -> Poll<Step> {
        loop {
            if let Some(piece) = self.ready.pop_front() {
                return Poll::Ready(Step::Piece(piece));
            }
            let Some(flow) = self.flow.as_mut().filter(|_| self.ahead != Ahead::Whole) else {
                return Poll::Ready(Step::Over);
            };
            let step = match Pin::new(&mut flow.body).poll_frame(context) {
                Poll::Ready(frame) => self.take(frame),
                // The connection is polled once more when the process ends, which is seen here.
                Poll::Pending if flow.app.drain.phase() == Phase::Cutting => Some(Step::Failed(End::Cut)),
                Poll::Pending => Some(ready!(self.poll_silence(context))),
            };
            match step {
                Some(Step::Failed(end)) if self.flow.as_ref().is_some_and(|flow| flow.forgives(end)) => self.complete(),
                Some(step) => return Poll::Ready(step),
                None => {}
            }
        }
    }

    /// Takes a frame, or the end; nothing where what may go to the client is ready.
    fn take(&mut self, frame: Option<Result<Frame<Bytes>, hyper::Error>>) -> Option<Step> {
        (self.waiting_since, self.kept_alive) = (None, None);
        match frame {
            // Trailers are for those who asked for them with TE, which concerns one hop only.
            Some(Ok(frame)) => {
                let may_go_on = frame.into_data().map_or(true, |piece| self.pass(piece));
                (!may_go_on).then_some(Step::Failed(End::OutOfMoney))
            }
            Some(Err(_)) => Some(Step::Failed(End::BrokenOff)),
            None if self.flow.as_ref().is_some_and(Flow::is_unfinished) => Some(Step::Failed(End::BrokenOff)),
            None => {
                self.finish();
                None
            }
        }
    }

    /// Takes a piece; false if there is no money for what follows it.
    fn pass(&mut self, piece: Bytes) -> bool {
        let Some(flow) = &mut self.flow else { return true };
        flow.bill.note_first_byte();
        if flow.keep_alive.is_some() {
            self.is_at_line = piece.last() == Some(&b'\n');
        }
        flow.feed(piece, &mut self.ready);
        if !flow.keep_up() {
            return false;
        }
        // A body of known length is not asked again behind its last byte.
        if flow.body.is_end_stream() && !flow.is_unfinished() {
            self.finish();
        }
        true
    }

    /// The body has come to its own end.
    fn finish(&mut self) {
        if let Some(flow) = &mut self.flow {
            flow.is_over = true;
        }
        self.complete();
    }

    fn complete(&mut self) {
        if self.ahead == Ahead::Reading {
            self.flow.iter_mut().for_each(|flow| flow.release(&mut self.ready));
            self.ahead = Ahead::Whole;
            return;
        }
        if let Some(mut flow) = self.flow.take() {
            flow.release(&mut self.ready);
            self.cost = flow.settle(End::Complete);
        }
    }

    /// The upstream failed, or there is no money for more: a stream says so in its dialect and ends, a whole answer is
    /// broken off.
    fn break_off(&mut self, end: End) -> Next {
        let mut flow = self.flow.take()?;
        // A stream that is cut ends with its last whole event.
        if end != End::OutOfMoney {
            flow.release(&mut self.ready);
        }
        let last_words = flow.last_words(end);
        flow.settle(end);
        let Some(last_words) = last_words else { return Some(Err(BrokenOff)) };
        self.ready.push_back(last_words);
        self.ready.pop_front().map(|piece| Ok(Frame::data(piece)))
    }

    /// Ready once nothing has come for too long, or for so long that the client gets a keep-alive. One timer serves the whole
    /// stream: it is moved when it fires, or where the end comes nearer, not with each frame.
    fn poll_silence(&mut self, context: &mut Context<'_>) -> Poll<Step> {
        let Some(flow) = &self.flow else { return Poll::Pending };
        let since = *self.waiting_since.get_or_insert_with(Instant::now);
        let end = since + flow.silence_max();
        let end = flow.due.map_or(end, |due| due.min(end));
        loop {
            let keep_alive = flow.keep_alive.map(|silence| self.kept_alive.unwrap_or(since) + silence);
            let due = keep_alive.map_or(end, |keep_alive| keep_alive.min(end));
            let timer = self.silence.get_or_insert_with(|| Box::pin(tokio::time::sleep_until(due)));
            if due < timer.deadline() {
                timer.as_mut().reset(due);
            }
            ready!(timer.as_mut().poll(context));
            let now = Instant::now();
            if end <= now {
                return Poll::Ready(Step::Failed(End::Silent));
            }
            if due > now {
                timer.as_mut().reset(due);
                continue;
            }
            self.kept_alive = Some(now);
            if let Some(text) = flow.keep_alive().filter(|_| self.is_at_line) {
                flow.app.metrics.keep_alives.add(1);
                return Poll::Ready(Step::Piece(text));
            }
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
