//! [`Body`]: the plain bytes of an answer, whichever way it is framed.
//!
//! The framing is told by the first byte, not by the content type, which providers get wrong: `{` begins a JSON body,
//! `[` a JSON array of answers (Gemini), anything else an event stream.

use super::Seen;
use super::lines::Lines;
use crate::domain::operation::Operation;
use crate::protocol::anthropic_messages::UntoldWrites;
use crate::protocol::facts::Facts;
use crate::protocol::gather::Gather;
use crate::protocol::scan::{Plan, Scanner};
use crate::protocol::shape::Shape;
use crate::protocol::sse::{Event, EventSink, Splitter};

/// The end of an event in a stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EventEnd {
    /// The index in the frame behind its blank line.
    pub at: usize,
    /// Whether it is what `stream_options.include_usage` adds: `choices: []` with an object `usage`.
    pub is_usage_only: bool,
}

/// Where an answer stands, which decides how it can be ended from outside.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Position {
    /// Nothing but blanks has arrived.
    Start,
    /// In an event stream.
    Events {
        /// Nothing of an unfinished event has arrived.
        at_boundary: bool,
    },
    /// In a JSON array, between two elements.
    Between {
        /// What has to come before another element: a comma, or nothing.
        comma: bool,
    },
    /// In a JSON array, within an element.
    Within {
        /// What ends the element.
        closing: Vec<u8>,
    },
    /// In or behind a whole body, or it cannot be told.
    Unknown,
}

#[derive(Debug)]
enum Framing {
    /// Nothing but blanks has arrived.
    Untold,
    Events(Splitter),
    Whole(&'static Plan),
    Array(&'static Plan),
    Lines(Lines),
    /// Nothing that could be metered.
    Ignored,
}

/// How far the data of the current event has been understood.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Payload {
    /// So many bytes that may become `[DONE]`.
    Mark(usize),
    Json,
    /// Not JSON, or no longer.
    Other,
}

const DONE: &[u8] = b"[DONE]";

/// What reads an answer.
#[derive(Debug)]
pub(super) struct Body {
    shape: Option<Shape>,
    framing: Framing,
    scanner: Scanner,
    payload: Payload,
    /// In a box of its own: what is larger than a kilobyte takes the allocator's slow path.
    gather: Option<Box<Gather>>,
    /// The head said that this is an event stream.
    is_announced: bool,
}

impl Body {
    pub(super) fn new(operation: Operation, content_type: &str) -> Self {
        let shape = Shape::of(operation).filter(|_| may_be_text(content_type));
        let framing = match Shape::of_lines(operation).filter(|_| may_be_text(content_type)) {
            Some(shape) => Framing::Lines(Lines::new(shape)),
            None if shape.is_some() => Framing::Untold,
            None => Framing::Ignored,
        };
        Self {
            shape,
            framing,
            scanner: Scanner::new(),
            payload: Payload::Mark(0),
            gather: shape.map(|shape| Box::new(Gather::new(shape))),
            is_announced: content_type.starts_with("text/event-stream"),
        }
    }

    pub(super) fn mark_broken(&mut self) {
        if let Some(gather) = &mut self.gather {
            gather.mark_broken();
        }
        self.framing = Framing::Ignored;
    }

    pub(super) fn seen(&self) -> Seen {
        match (&self.framing, &self.gather) {
            (Framing::Untold, _) => Seen::Text(0),
            (Framing::Events(_), Some(gather)) => gather.seen().map_or(Seen::Unclear, Seen::Text),
            (Framing::Events(_) | Framing::Whole(_) | Framing::Array(_) | Framing::Lines(_) | Framing::Ignored, _) => {
                Seen::Unclear
            }
        }
    }

    pub(super) fn open_block(&self) -> Option<u32> {
        self.gather.as_ref().and_then(|gather| gather.open_block())
    }

    pub(super) fn is_terminal(&self) -> bool {
        self.gather.as_ref().is_some_and(|gather| gather.is_terminal())
    }

    pub(super) fn is_unfinished(&self) -> bool {
        let is_open = || self.gather.as_ref().is_some_and(|gather| gather.is_open());
        match self.framing {
            Framing::Untold => self.is_announced,
            Framing::Events(_) => is_open(),
            Framing::Array(_) => !self.scanner.is_done() && is_open(),
            Framing::Whole(_) => !self.scanner.is_done(),
            Framing::Ignored | Framing::Lines(_) => false,
        }
    }

    pub(super) const fn is_event_stream(&self) -> bool {
        matches!(self.framing, Framing::Events(_))
    }

    pub(super) fn read(&mut self, chunk: &[u8], on_end: &mut dyn FnMut(EventEnd)) {
        if let Framing::Lines(lines) = &mut self.framing {
            return lines.read(chunk);
        }
        let (Some(shape), Some(gather)) = (self.shape, &mut self.gather) else { return };
        if matches!(self.framing, Framing::Untold) {
            self.framing = framing(shape, chunk);
        }
        let is_read = match &mut self.framing {
            Framing::Untold | Framing::Ignored | Framing::Lines(_) => true,
            Framing::Whole(plan) | Framing::Array(plan) => self.scanner.feed(plan, chunk, &mut **gather).is_ok(),
            Framing::Events(splitter) => {
                let (scanner, payload) = (&mut self.scanner, &mut self.payload);
                splitter.feed(chunk, &mut Events { plan: shape.plan(), scanner, payload, gather, on_end });
                true
            }
        };
        if !is_read {
            self.mark_broken();
        }
    }

    pub(super) fn position(&self) -> Position {
        match &self.framing {
            Framing::Untold if self.is_announced => Position::Events { at_boundary: true },
            Framing::Untold => Position::Start,
            Framing::Events(splitter) => Position::Events { at_boundary: splitter.at_boundary() },
            Framing::Array(_) => self.scanner.in_array().map_or(Position::Unknown, |place| match place.element {
                Some(closing) => Position::Within { closing },
                None => Position::Between { comma: place.comma },
            }),
            Framing::Whole(_) | Framing::Lines(_) | Framing::Ignored => Position::Unknown,
        }
    }

    pub(super) fn end(mut self, untold: UntoldWrites) -> Facts {
        if let Framing::Lines(lines) = self.framing {
            return lines.end();
        }
        let (Some(shape), Some(mut gather)) = (self.shape, self.gather) else { return Facts::default() };
        match &mut self.framing {
            Framing::Untold | Framing::Ignored | Framing::Lines(_) => {}
            Framing::Whole(plan) | Framing::Array(plan) => {
                if self.scanner.finish(plan, &mut *gather).is_ok() {
                    gather.end_event(b"");
                    gather.mark_whole();
                } else {
                    gather.mark_broken();
                }
            }
            Framing::Events(splitter) => splitter.finish(&mut Events {
                plan: shape.plan(),
                scanner: &mut self.scanner,
                payload: &mut self.payload,
                gather: &mut gather,
                on_end: &mut |_| {},
            }),
        }
        gather.facts(untold)
    }
}

/// The framing that the first byte tells.
fn framing(shape: Shape, chunk: &[u8]) -> Framing {
    match (chunk.iter().find(|byte| !byte.is_ascii_whitespace()), shape.elements()) {
        (None, _) => Framing::Untold,
        (Some(b'['), Some(plan)) => Framing::Array(plan),
        (Some(b'{' | b'['), _) => Framing::Whole(shape.plan()),
        (Some(_), _) => Framing::Events(Splitter::new()),
    }
}

/// Whether a body of this content type may be JSON or an event stream. Providers send JSON as octets, too.
fn may_be_text(content_type: &str) -> bool {
    let kind = content_type.split(['/', ';']).next().unwrap_or_default().trim();
    !["audio", "image", "video", "font", "multipart"].iter().any(|binary| kind.eq_ignore_ascii_case(binary))
}

/// Reads the events of a stream.
struct Events<'a> {
    plan: &'static Plan,
    scanner: &'a mut Scanner,
    payload: &'a mut Payload,
    gather: &'a mut Gather,
    on_end: &'a mut dyn FnMut(EventEnd),
}

impl Events<'_> {
    fn json(&mut self, bytes: &[u8]) {
        if self.scanner.feed(self.plan, bytes, self.gather).is_err() {
            self.gather.mark_broken();
            *self.payload = Payload::Other;
        }
    }

    /// The first bytes of an event: `[DONE]`, JSON, or something that is none of our business.
    fn first(&mut self, mut seen: usize, bytes: &[u8]) {
        for (index, byte) in bytes.iter().enumerate() {
            if seen == 0 && byte.is_ascii_whitespace() {
                continue;
            }
            if DONE.get(seen) == Some(byte) {
                seen += 1;
                *self.payload = Payload::Mark(seen);
                continue;
            }
            let is_json = matches!(byte, b'{' | b'[') || seen == 1;
            *self.payload = if is_json { Payload::Json } else { Payload::Other };
            if is_json {
                self.json(&DONE[..seen]);
                self.json(&bytes[index..]);
            }
            return;
        }
    }
}

impl EventSink for Events<'_> {
    fn data(&mut self, bytes: &[u8]) {
        match *self.payload {
            Payload::Json => self.json(bytes),
            Payload::Mark(seen) if seen < DONE.len() => self.first(seen, bytes),
            Payload::Mark(_) | Payload::Other => {}
        }
    }

    fn end(&mut self, event: Event<'_>, at: usize) {
        match *self.payload {
            Payload::Mark(seen) if seen == DONE.len() => self.gather.mark_terminal(),
            Payload::Json if !self.scanner.is_done() => self.gather.mark_broken(),
            Payload::Mark(_) | Payload::Json | Payload::Other => {}
        }
        let name = if event.has_data { event.name } else { b"" };
        let is_json = *self.payload == Payload::Json && self.scanner.is_done();
        let is_usage_only = self.gather.end_event(name) && is_json;
        (self.on_end)(EventEnd { at, is_usage_only });
        self.scanner.reset();
        *self.payload = Payload::Mark(0);
    }
}
