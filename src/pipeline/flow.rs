//! [`Flow`]: an upstream's answer that still comes in, with what reads it and what will settle it.
//!
//! It knows how the answer may end: by itself, by the connection, or in the middle; and what a client can then be told.
//!
//! Invariant: nothing is said behind an answer whose length the client was promised, or whose bytes are compressed.

use std::collections::VecDeque;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::StatusCode;
use http::header::{CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE, HeaderMap, HeaderName, TRANSFER_ENCODING};
use http::response::Parts;
use http_body::{Body as _, Frame};
use hyper::body::Incoming;
use tokio::time::Instant;

use super::abandon::{self, Permit};
use super::keep::Recording;
use super::settle::{Bill, End};
use crate::app::App;
use crate::bank::tab::Tab;
use crate::domain::evidence::Sign;
use crate::domain::money::Usd;
use crate::domain::operation::Operation;
use crate::drain::Phase;
use crate::protocol::facts::{Ending, Facts};
use crate::protocol::keep_alive::keep_alive;
use crate::protocol::length_stop::{Stand, length_stop};
use crate::protocol::meter::{Head, Meter, Position, Seen};
use crate::protocol::sound::is_sound;
use crate::protocol::strip::{UsageEvents, Watch};
use crate::protocol::terminal::terminal_error;

/// How long the end of a stream is waited for in which all has been said.
const AFTERWORD: Duration = Duration::from_secs(5);

/// Bytes of an answer whose form is looked at; of a longer one nothing is known.
const FORM_BYTES_MAX: u64 = 64 * 1024;

/// An answer that still flows.
#[derive(Debug)]
pub struct Flow {
    /// What is shared by all requests.
    pub app: Arc<App>,
    /// The upstream's body.
    pub body: Incoming,
    /// What is owed, and how it is priced.
    pub bill: Bill,
    /// When it has to be whole, if it is no stream.
    pub due: Option<Instant>,
    /// The silence after which the client of a stream gets a keep-alive.
    pub keep_alive: Option<Duration>,
    /// The client was promised a length.
    pub is_promised: bool,
    /// The body has come to its own end.
    pub is_over: bool,
    /// Writes the answer down, if it may be kept.
    pub recording: Option<Box<Recording>>,
    /// Reads the usage as it passes, and takes out the usage event that the client did not ask for.
    watch: Watch,
    /// Whether the client may get more or less than the upstream sent.
    is_open_ended: bool,
    /// The answer ends with its connection, so that an end and a cut look alike.
    ends_with_connection: bool,
    is_success: bool,
    /// An event can be put behind it.
    is_stream: bool,
    is_coded: bool,
    /// Bytes that have come.
    bytes: u64,
    /// What has come of an answer whose form will be looked at, as it came.
    formed: Option<Vec<Bytes>>,
}

/// What an answer comes to that has ended.
#[derive(Debug)]
pub struct Learned {
    facts: Facts,
    bill: Bill,
    end: End,
    recording: Option<Box<Recording>>,
    now_ms: u64,
}

impl Flow {
    /// The answer with this head, as the upstream sent it.
    #[must_use]
    pub fn new(app: Arc<App>, head: &Parts, body: Incoming, bill: Bill, usage_events: UsageEvents) -> Self {
        let (content_type, content_encoding) =
            (text(&head.headers, &CONTENT_TYPE), text(&head.headers, &CONTENT_ENCODING));
        let is_success = head.status.is_success();
        // The body of an error passes as it is.
        let usage_events = if is_success { usage_events } else { UsageEvents::Pass };
        let may_lose = usage_events == UsageEvents::Drop && !content_type.starts_with("application/json");
        let usage_events = match usage_events {
            UsageEvents::Pass if is_success && bill.is_metered() => UsageEvents::PassWhole,
            UsageEvents::Pass | UsageEvents::PassWhole | UsageEvents::Drop => usage_events,
        };
        let meter = Meter::new(bill.operation(), Head { status: head.status.as_u16(), content_type, content_encoding });
        let is_announced = content_type.starts_with("text/event-stream");
        let is_coded = !matches!(content_encoding, "" | "identity");
        let has_form = is_success && !is_coded && bill.form().is_some();
        Self {
            formed: has_form.then(Vec::new),
            is_stream: is_success && (is_announced || bill.is_stream()),
            app,
            body,
            bill,
            due: None,
            keep_alive: None,
            is_promised: false,
            is_over: false,
            recording: None,
            watch: Watch::new(meter, usage_events),
            is_open_ended: is_success && (may_lose || is_announced),
            ends_with_connection: ends_with_connection(head),
            is_success,
            is_coded,
            bytes: 0,
        }
    }

    /// Whether the client may get more or less than the upstream sent, so that it cannot be promised a length: a stream
    /// may lose its usage event, and one that breaks off ends with an error.
    #[must_use]
    pub const fn is_open_ended(&self) -> bool {
        self.is_open_ended
    }

    /// Whether it comes piece by piece, so that its client waits for its head and not for its end.
    #[must_use]
    pub const fn is_stream(&self) -> bool {
        self.is_stream
    }

    /// Says when a whole answer has to be there, and how the client of a stream is kept from giving up.
    pub fn within(&mut self, due: Option<Instant>, keep_alive: Option<Duration>) {
        self.due = due.filter(|_| !self.is_stream);
        self.keep_alive = keep_alive.filter(|_| self.is_stream && !self.is_coded);
    }

    /// What tells the client of a silent stream that it lives; nothing within an event, and where all has been said.
    #[must_use]
    pub fn keep_alive(&self) -> Option<Bytes> {
        let is_open = !self.is_promised && self.is_open_ended && !self.is_terminal();
        let text = if is_open { keep_alive(self.bill.operation(), &self.watch.position()) } else { None };
        text.map(Bytes::from_static)
    }

    /// Reads a piece, and puts what may pass behind `out`.
    pub fn feed(&mut self, piece: Bytes, out: &mut VecDeque<Bytes>) {
        self.bytes += piece.len() as u64;
        self.bill.note_piece();
        if let Some(recording) = &mut self.recording {
            recording.push(&piece);
        }
        if let Some(formed) = &mut self.formed {
            formed.push(piece.clone());
            self.formed.take_if(|_| self.bytes > FORM_BYTES_MAX);
        }
        self.watch.feed(piece, out);
    }

    /// Raises a metered hold so that it covers what has come; false if there is no room, so that the answer has to end.
    #[must_use]
    pub fn keep_up(&mut self) -> bool {
        // What an error says costs nothing, and behind the last event stands all that the answer cost.
        !self.bill.is_metered() || !self.is_success || self.is_terminal() || self.bill.keep_up(self.watch.seen())
    }

    /// Puts what is held back behind `out`, once nothing follows.
    pub fn release(&mut self, out: &mut VecDeque<Bytes>) {
        self.watch.release(out);
    }

    /// Whether an answer that has just ended without an error has ended too early all the same: a stream without its
    /// terminal event, or half a JSON body at the end of its connection.
    #[must_use]
    pub fn is_unfinished(&self) -> bool {
        self.is_success && self.watch.is_unfinished() && (self.ends_with_connection || self.can_be_ended())
    }

    /// Whether the client has got all that it waits for, though the upstream did not end its answer properly.
    #[must_use]
    pub fn has_said_all(&self) -> bool {
        self.is_stream && !self.is_promised && self.is_terminal()
    }

    /// Whether the last event has come. Gemini has none: each of several candidates tells why it has ended, at its own time.
    fn is_terminal(&self) -> bool {
        self.watch.is_terminal() && !self.has_ends()
    }

    /// Whether several candidates end one by one.
    fn has_ends(&self) -> bool {
        self.bill.is_many() && self.bill.operation() == Operation::GenerateContent
    }

    /// The longest silence between two frames; hardly any behind the last event, since a connection that is left open there is
    /// not worth waiting for.
    #[must_use]
    pub fn silence_max(&self) -> Duration {
        let silence_max = self.bill.silence_max();
        if self.is_last() { silence_max.min(AFTERWORD) } else { silence_max }
    }

    /// Whether nothing can follow. Gemini has no last event: behind the reason why it ended, its usage may come; and of several
    /// images, each has its own.
    fn is_last(&self) -> bool {
        let operation = self.bill.operation();
        operation.generates() && operation != Operation::GenerateContent && self.has_said_all()
    }

    /// Whether it is whole for its client, though it ends like this.
    #[must_use]
    pub fn forgives(&self, end: End) -> bool {
        let may_go_on = self.bill.operation().is_media() && matches!(end, End::Cut | End::Silent);
        self.has_said_all() && !may_go_on
    }

    /// What ends the answer from outside, in its own dialect.
    #[must_use]
    pub fn last_words(&self, end: End) -> Option<Bytes> {
        if !self.can_be_ended() {
            return None;
        }
        let (id, now_s) = (self.bill.request_id().to_string(), self.app.clock.now_ms() / 1000);
        if end == End::OutOfMoney && self.watch.has_passed_whole_events() {
            let Seen::Text(text_bytes) = self.watch.seen() else { return self.error(end, &id, now_s) };
            let (operation, model) = (self.bill.operation(), self.bill.model_sent());
            let open_block = self.watch.open_block();
            return length_stop(&Stand { operation, request_id: &id, model, now_s, open_block, text_bytes });
        }
        self.error(end, &id, now_s)
    }

    fn error(&self, end: End, id: &str, now_s: u64) -> Option<Bytes> {
        terminal_error(self.bill.operation(), &self.watch.position(), end.message(), id, now_s)
    }

    /// Settles, and says what the answer cost unless that is unknown.
    pub fn settle(self, end: End) -> Option<Usd> {
        self.learned(end).settle()
    }

    /// Settles the attempt and not the request, whose tab is given back.
    #[must_use]
    pub fn close(self, end: End) -> Option<Tab> {
        self.learned(end).close()
    }

    /// Says that nothing follows, and what the answer comes to.
    #[must_use]
    pub fn learned(self, end: End) -> Learned {
        let (is_whole, has_ends) = (self.is_over || self.is_last(), self.has_ends());
        let mut facts = self.watch.end();
        // What was told when the first of several had ended is not what all of them come to.
        facts.usage_final &= !has_ends || end == End::Complete;
        let is_odd = end == End::Complete && !facts.terminal && facts.ending.is_none();
        if (facts.broken || is_odd) && self.is_success && self.bill.operation().generates() {
            // What could not be read may have been text; of what is compressed not even the length is known.
            facts.text_bytes = facts.text_bytes.max(self.bytes);
            facts.reasoned |= self.is_coded;
        }
        // What a limit cut off is no failure of form.
        let has_ended =
            end == End::Complete && matches!(facts.ending, Some(Ending::Stop | Ending::Other | Ending::ToolCalls));
        let formed = self.formed.filter(|_| has_ended && !facts.broken);
        if let Some((form, pieces)) = self.bill.form().zip(formed) {
            facts.sound = is_sound(self.bill.operation(), form, &pieces.concat());
        }
        let recording = self.recording.filter(|_| end == End::Complete && is_whole);
        Learned { facts, bill: self.bill, end, recording, now_ms: self.app.clock.now_ms() }
    }

    /// The client has left.
    pub fn abandon(self) {
        if self.is_terminal() {
            // It has all that it waited for; many clients close without reading the last chunk.
            self.settle(End::Complete);
            return;
        }
        match abandon::permit(&self.app) {
            Some(permit) => drop(tokio::spawn(self.read_out(permit))),
            None => drop(self.settle(End::ClientLeft)),
        }
    }

    /// Reads to the end for the usage that stands there; nobody gets the bytes. How the upstream fails at it is no matter for
    /// the bill, and one for its health.
    pub async fn read_out(mut self, permit: Permit) {
        let from = self.bytes;
        let mut nowhere = VecDeque::new();
        // Behind the last event stands nothing that anybody needs.
        while self.bytes - from <= permit.bytes_max && !self.body.is_end_stream() && !self.is_last() {
            match self.next_unseen(permit.deadline).await {
                Some(Ok(frame)) => {
                    frame.into_data().into_iter().for_each(|piece| self.feed(piece, &mut nowhere));
                    nowhere.clear();
                    if !self.keep_up() {
                        break;
                    }
                }
                Some(Err(())) if !self.has_said_all() => {
                    self.bill.note_failure();
                    break;
                }
                Some(Err(())) | None => break,
            }
        }
        self.settle(End::ClientLeft);
    }

    /// The next frame that nobody waits for, or that the upstream has failed; nothing where it is not waited for any longer.
    async fn next_unseen(&mut self, deadline: Instant) -> Option<Result<Frame<Bytes>, ()>> {
        let app = self.app.clone();
        let silent = Instant::now() + self.silence_max();
        let silent = self.due.map_or(silent, |due| due.min(silent));
        let frame = std::future::poll_fn(|context| Pin::new(&mut self.body).poll_frame(context));
        let frame = tokio::select! {
            frame = tokio::time::timeout_at(deadline.min(silent), frame) => frame,
            () = app.drain.reached(Phase::Cutting) => return None,
        };
        match frame {
            Ok(Some(frame)) => Some(frame.map_err(|_| ())),
            Ok(None) if self.is_unfinished() => Some(Err(())),
            Ok(None) => None,
            Err(_) => (silent <= deadline).then_some(Err(())),
        }
    }

    fn can_be_ended(&self) -> bool {
        let is_open = match self.watch.position() {
            Position::Start => self.bill.operation() == Operation::GenerateContent,
            Position::Events { .. } | Position::Between { .. } | Position::Within { .. } => true,
            Position::Unknown => false,
        };
        is_open && self.is_stream && !self.is_promised
    }
}

impl Learned {
    /// How the model has failed at what was asked, if it has.
    #[must_use]
    pub fn failure(&self) -> Option<Sign> {
        self.bill.failure(&self.facts)
    }

    /// Settles, and says what the answer cost unless that is unknown.
    pub fn settle(self) -> Option<Usd> {
        let Self { facts, mut bill, end, recording, now_ms } = self;
        if let Some(verdict) = recording.as_ref().and_then(|recording| recording.verdict(&facts)) {
            bill.note_cache(verdict);
        }
        let cost = bill.settle(end, &facts);
        if let Some(recording) = recording {
            recording.keep(facts, cost, now_ms);
        }
        cost
    }

    /// Settles the attempt and not the request, whose tab is given back.
    #[must_use]
    pub fn close(self) -> Option<Tab> {
        self.bill.close(self.end, &self.facts)
    }
}

/// Whether the body has neither a length nor an end mark (RFC 9112, 6.3), as HTTP/1.0 servers send it.
fn ends_with_connection(head: &Parts) -> bool {
    let is_bare = matches!(head.status, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED);
    !is_bare && !head.headers.contains_key(CONTENT_LENGTH) && !head.headers.contains_key(TRANSFER_ENCODING)
}

fn text<'a>(headers: &'a HeaderMap, name: &HeaderName) -> &'a str {
    headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default()
}
