//! [`Meter`]: watches the bytes of a provider's answer pass by and learns [`Facts`] from them.
//!
//! It is shown each frame, never alters or delays one, and may fail to understand: that marks the facts as broken and
//! harms nothing else. An answer that comes compressed is decoded on the side, piece by piece, and never kept.
//!
//! Invariant: the facts depend on the bytes alone, not on how they were split.
//! Invariant: an event or body of any size costs bounded memory.

pub use super::anthropic_messages::UntoldWrites;
use super::facts::Facts;
use crate::domain::operation::Operation;

mod body;
mod coding;
mod lines;

use body::Body;
pub use body::{EventEnd, Position};
use coding::Coded;

/// What the head of an answer says that its meter has to know.
#[derive(Clone, Copy, Debug, Default)]
pub struct Head<'a> {
    /// The status code.
    pub status: u16,
    /// The value of `content-type`, empty without one.
    pub content_type: &'a str,
    /// The value of `content-encoding`, empty without one.
    pub content_encoding: &'a str,
}

/// What has passed of an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Seen {
    /// So many bytes of text: not fewer than the tokens that were generated.
    Text(u64),
    /// It cannot be told: there was reasoning, or it is no event stream that can be read.
    Unclear,
}

/// The meter of one answer.
pub struct Meter {
    coded: Coded,
    status: u16,
    untold: UntoldWrites,
}

impl Meter {
    /// A meter for the answer with this head to a request for `operation`.
    #[must_use]
    pub fn new(operation: Operation, head: Head<'_>) -> Self {
        let body = Body::new(operation, head.content_type);
        Self { coded: Coded::new(head.content_encoding, body), status: head.status, untold: UntoldWrites::default() }
    }

    /// Says which lifetime the request asked for, in case the answer does not tell that of its cache writes.
    #[must_use]
    pub fn untold_writes(mut self, lifetime: UntoldWrites) -> Self {
        self.untold = lifetime;
        self
    }

    /// Reads on.
    pub fn feed(&mut self, frame: &[u8]) {
        self.coded.feed(frame);
    }

    /// Reads on and shows each event of a plain event stream that ends in this frame.
    pub fn feed_events(&mut self, frame: &[u8], on_end: &mut dyn FnMut(EventEnd)) {
        match &mut self.coded {
            Coded::Plain(body) => body.read(frame, on_end),
            coded => coded.feed(frame),
        }
    }

    /// Whether the answer is an event stream that comes as it is, so that single events can be told apart in it.
    /// Known once the first bytes have been read.
    #[must_use]
    pub fn is_plain_event_stream(&self) -> bool {
        matches!(&self.coded, Coded::Plain(body) if body.is_event_stream())
    }

    /// Whether nothing of an unfinished event has arrived.
    #[must_use]
    pub fn at_event_boundary(&self) -> bool {
        matches!(self.position(), Position::Start | Position::Between { .. } | Position::Events { at_boundary: true })
    }

    /// What has passed by now.
    #[must_use]
    pub fn seen(&self) -> Seen {
        match &self.coded {
            Coded::Plain(body) => body.seen(),
            Coded::Behind { .. } | Coded::Unknown => Seen::Unclear,
        }
    }

    /// The content block of a message that has begun and not ended.
    #[must_use]
    pub fn open_block(&self) -> Option<u32> {
        if let Coded::Plain(body) = &self.coded { body.open_block() } else { None }
    }

    /// Whether the answer has said all that its client waits for.
    #[must_use]
    pub fn is_terminal(&self) -> bool {
        self.coded.is_terminal()
    }

    /// Whether more has to come, as far as can be told: a stream has not said how it ends, or a JSON body is open.
    #[must_use]
    pub fn is_unfinished(&self) -> bool {
        self.coded.is_unfinished()
    }

    /// Where the answer stands, which decides how it can be ended.
    #[must_use]
    pub fn position(&self) -> Position {
        match &self.coded {
            Coded::Plain(body) => body.position(),
            Coded::Behind { .. } | Coded::Unknown => Position::Unknown,
        }
    }

    /// Says that no byte follows, and what has been learned. An error's body is never metered.
    #[must_use]
    pub fn end(self) -> Facts {
        let facts = self.coded.end(self.untold);
        if self.status < 400 {
            return facts;
        }
        Facts {
            error: facts.error,
            terminal: facts.terminal,
            broken: facts.broken,
            ending: facts.ending,
            ..Facts::default()
        }
    }
}

#[cfg(test)]
mod tests;
