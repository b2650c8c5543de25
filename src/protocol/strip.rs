//! [`Watch`]: the meter of an answer, and, where Tollgate asked for usage that the client did not ask for, the
//! [`Strip`] that takes it out of the stream again. One scan serves both.
//!
//! Invariant: exactly events with `choices: []` and an object `usage` are dropped, with their framing; every other byte
//! passes as it came, in order.
//! Invariant: at most the current event is held back, and of that at most 64 KiB.

use std::collections::VecDeque;
use std::fmt;

use bytes::Bytes;

use super::facts::Facts;
use super::meter::{EventEnd, Meter, Position, Seen};

/// The most that is held back; a longer event passes, whatever it is.
pub const HELD_BYTES_MAX: usize = 64 * 1024;

/// Whether usage-only events are to be dropped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UsageEvents {
    /// The client asked for them, or nobody did.
    Pass,
    /// Tollgate asked for them.
    Drop,
    /// They pass, and events only whole, so that the stream can be ended between two of them.
    PassWhole,
}

/// Bytes of a stream on their way through.
#[derive(Debug, Default)]
pub struct Strip {
    /// Parts of the current event that arrived in earlier frames.
    held: VecDeque<Bytes>,
    held_bytes: usize,
    /// The current event is too long to be held and passes.
    lets_go: bool,
    /// The last event ended with a CR at the end of its frame: whether an LF that follows is dropped with it.
    after_cr: Option<Dropped>,
    ends: Vec<EventEnd>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Dropped(bool);

impl Strip {
    /// A strip at the start of a stream.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Notes an event that ends in the frame to be pushed next.
    pub fn note(&mut self, end: EventEnd) {
        self.ends.push(end);
    }

    /// Takes a frame, whose events have been noted, and puts what may pass behind `out`. Copies nothing.
    pub fn push(&mut self, frame: &Bytes, out: &mut VecDeque<Bytes>) {
        // Bytes of the frame that pass as one piece, until something is dropped between them.
        let (mut passing, mut from) = self.rest_of_line_end(frame);
        let mut last = None;
        let mut ends = std::mem::take(&mut self.ends);
        for end in ends.drain(..) {
            let is_dropped = end.is_usage_only && !self.lets_go;
            if is_dropped {
                push(out, frame.slice(passing..from));
                self.held.clear();
                passing = end.at;
            } else if !self.held.is_empty() {
                push(out, frame.slice(passing..from));
                out.append(&mut self.held);
                passing = from;
            }
            (self.held_bytes, self.lets_go) = (0, false);
            (from, last) = (end.at, Some(Dropped(is_dropped)));
        }
        self.ends = ends;
        let ends_with_cr = from == frame.len() && frame.last() == Some(&b'\r');
        if let Some(dropped) = last {
            self.after_cr = Some(dropped).filter(|_| ends_with_cr);
        }
        self.hold(frame, passing, from, out);
    }

    /// Gives back what is held, once nothing follows. An event that ends without its blank line passes.
    pub fn end(&mut self, out: &mut VecDeque<Bytes>) {
        out.append(&mut self.held);
        self.held_bytes = 0;
    }

    /// Holds the frame's bytes from `from` on, which belong to an unfinished event, and passes those before.
    fn hold(&mut self, frame: &Bytes, passing: usize, from: usize, out: &mut VecDeque<Bytes>) {
        let rest = frame.len() - from;
        self.lets_go |= self.held_bytes + rest > HELD_BYTES_MAX;
        if self.lets_go {
            // Whole frames pass in one piece.
            if !self.held.is_empty() {
                push(out, frame.slice(passing..from));
                out.append(&mut self.held);
                push(out, frame.slice(from..));
            } else {
                push(out, frame.slice(passing..));
            }
            self.held_bytes = 0;
            return;
        }
        push(out, frame.slice(passing..from));
        push(&mut self.held, frame.slice(from..));
        self.held_bytes += rest;
    }

    /// Where the frame's own events begin: behind the LF of a CRLF whose CR ended the frame before. Returns from where
    /// bytes pass, and from where they belong to the next event.
    fn rest_of_line_end(&mut self, frame: &Bytes) -> (usize, usize) {
        let is_rest = frame.first() == Some(&b'\n');
        if frame.is_empty() {
            return (0, 0);
        }
        match self.after_cr.take() {
            Some(Dropped(true)) if is_rest => (1, 1),
            Some(Dropped(false)) if is_rest => (0, 1),
            Some(_) | None => (0, 0),
        }
    }
}

fn push(out: &mut VecDeque<Bytes>, part: Bytes) {
    if !part.is_empty() {
        out.push_back(part);
    }
}

/// What stands beside an answer while it passes: its meter, and the strip if there is one.
pub struct Watch {
    meter: Meter,
    strip: Option<Strip>,
    drops: bool,
}

impl Watch {
    /// A watch with this meter.
    #[must_use]
    pub fn new(meter: Meter, usage_events: UsageEvents) -> Self {
        let strip = match usage_events {
            UsageEvents::Pass => None,
            UsageEvents::Drop | UsageEvents::PassWhole => Some(Strip::new()),
        };
        Self { meter, strip, drops: usage_events == UsageEvents::Drop }
    }

    /// Reads a frame and puts what may pass behind `out`: the frame itself, but for calls with a strip.
    pub fn feed(&mut self, frame: Bytes, out: &mut VecDeque<Bytes>) {
        let Some(strip) = &mut self.strip else {
            self.meter.feed(&frame);
            return push(out, frame);
        };
        let drops = self.drops;
        self.meter.feed_events(&frame, &mut |end| {
            strip.note(EventEnd { is_usage_only: end.is_usage_only && drops, ..end });
        });
        if self.meter.is_plain_event_stream() {
            strip.push(&frame, out);
        } else {
            push(out, frame);
        }
    }

    /// Gives back what is held, once nothing follows; call it before [`Watch::end`].
    pub fn release(&mut self, out: &mut VecDeque<Bytes>) {
        if let Some(strip) = &mut self.strip {
            strip.end(out);
        }
    }

    /// Whether nothing of an unfinished event has passed.
    #[must_use]
    pub fn has_passed_whole_events(&self) -> bool {
        self.meter.at_event_boundary() || self.strip.as_ref().is_some_and(|strip| !strip.lets_go)
    }

    /// What has come of the answer by now.
    #[must_use]
    pub fn seen(&self) -> Seen {
        self.meter.seen()
    }

    /// The content block of a message that has begun and not ended.
    #[must_use]
    pub fn open_block(&self) -> Option<u32> {
        self.meter.open_block()
    }

    /// Whether something may be taken out, so that the length is not known beforehand.
    #[must_use]
    pub const fn may_drop(&self) -> bool {
        self.drops
    }

    /// Whether the answer has said all that its client waits for.
    #[must_use]
    pub fn is_terminal(&self) -> bool {
        self.meter.is_terminal()
    }

    /// Whether more has to come, as far as can be told.
    #[must_use]
    pub fn is_unfinished(&self) -> bool {
        self.meter.is_unfinished()
    }

    /// Where the answer stands, which decides how it can be ended.
    #[must_use]
    pub fn position(&self) -> Position {
        self.meter.position()
    }

    /// Says that no byte follows, and what has been learned.
    #[must_use]
    pub fn end(self) -> Facts {
        self.meter.end()
    }
}

impl fmt::Debug for Watch {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("Watch").field("strip", &self.strip).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::operation::Operation;
    use crate::protocol::meter::Head;

    const CHUNK: &str = "data: {\"choices\":[{\"index\":0,\"delta\":{\"content\":\"a\"}}],\"usage\":null}";
    const USAGE: &str =
        "data: {\"id\":\"x\",\"choices\": [ ] ,\"usage\":{\"prompt_tokens\":1,\"completion_tokens\":2}}";

    fn strip(chunks: &[&[u8]]) -> Vec<u8> {
        let head = Head { status: 200, ..Head::default() };
        let mut watch = Watch::new(Meter::new(Operation::ChatCompletions, head), UsageEvents::Drop);
        let mut out = VecDeque::new();
        for chunk in chunks {
            watch.feed(Bytes::copy_from_slice(chunk), &mut out);
        }
        watch.release(&mut out);
        out.into_iter().flatten().collect()
    }

    fn check(text: &str, expect: &str) {
        let whole = strip(&[text.as_bytes()]);
        assert_eq!(String::from_utf8_lossy(&whole), expect);
        for cut in 0..=text.len() {
            let (left, right) = text.as_bytes().split_at(cut);
            assert_eq!(strip(&[left, right]), whole, "{text:?} cut at {cut}");
        }
        let bytes: Vec<&[u8]> = text.as_bytes().chunks(1).collect();
        assert_eq!(String::from_utf8_lossy(&strip(&bytes)), expect, "{text:?} byte by byte");
    }

    #[test]
    fn only_the_usage_event_is_dropped() {
        for end in ["\n", "\r\n", "\r"] {
            let lines = |lines: &[&str]| lines.iter().map(|line| format!("{line}{end}")).collect::<String>();
            let text =
                lines(&[": hi", "", CHUNK, "", CHUNK, "", ": with it", "event: x", USAGE, "", "data: [DONE]", ""]);
            check(&text, &lines(&[": hi", "", CHUNK, "", CHUNK, "", "data: [DONE]", ""]));
            let text = lines(&[USAGE, "", USAGE, "", CHUNK, "", USAGE, ""]);
            check(&text, &lines(&[CHUNK, ""]));
        }
    }

    #[test]
    fn what_only_looks_like_it_passes() {
        for data in [
            r#"{"choices":[],"usage":null}"#,
            r#"{"choices":[],"prompt_filter_results":[]}"#,
            r#"{"choices":[{}],"usage":{"prompt_tokens":1}}"#,
            r#"{"choices":{},"usage":{"prompt_tokens":1}}"#,
            r#"{"usage":{"prompt_tokens":1}}"#,
            r#"{"choices":[],"usage":{"prompt_tokens":1}"#,
            r#"{"choices":[],"usage":{"prompt_tokens":1}}}"#,
            r#"{"x":{"choices":[],"usage":{"prompt_tokens":1}}}"#,
        ] {
            let text = format!("data: {data}\n\n{CHUNK}\n\n");
            check(&text, &text);
        }
        // A last event without its blank line may be half an event.
        check(USAGE, USAGE);
        check(&format!("  \n{CHUNK}\n\n"), &format!("  \n{CHUNK}\n\n"));
        check(r#" {"choices":[],"usage":{"prompt_tokens":1}}"#, r#" {"choices":[],"usage":{"prompt_tokens":1}}"#);
    }

    #[test]
    fn whole_events_pass_in_the_frame_they_came_in() {
        let frame = Bytes::from(format!("{CHUNK}\n\n{CHUNK}\n\n"));
        let head = Head { status: 200, ..Head::default() };
        let mut watch = Watch::new(Meter::new(Operation::ChatCompletions, head), UsageEvents::Drop);
        let mut out = VecDeque::new();
        watch.feed(frame.clone(), &mut out);
        assert_eq!((out.len(), out[0].as_ptr()), (1, frame.as_ptr()));
    }

    #[test]
    fn a_long_event_is_let_go() {
        let start = "data: {\"choices\":[],\"x\":\"";
        let head = Head { status: 200, ..Head::default() };
        let mut watch = Watch::new(Meter::new(Operation::ChatCompletions, head), UsageEvents::Drop);
        let (mut out, mut passed) = (VecDeque::new(), 0);
        watch.feed(Bytes::from(start), &mut out);
        assert!(out.is_empty());
        let piece = Bytes::from(vec![b'x'; 1024]);
        for sent in 1..=100 {
            watch.feed(piece.clone(), &mut out);
            passed += out.drain(..).map(|part| part.len()).sum::<usize>();
            assert!(start.len() + sent * piece.len() - passed <= HELD_BYTES_MAX, "{sent}");
        }
        assert_eq!(passed, start.len() + 100 * piece.len());
        watch.feed(Bytes::from(format!("\",\"usage\":{{}}}}\n\n{USAGE}\n\n{CHUNK}\n\n")), &mut out);
        let rest: Vec<u8> = out.drain(..).flatten().collect();
        assert_eq!(String::from_utf8(rest).unwrap(), format!("\",\"usage\":{{}}}}\n\n{CHUNK}\n\n"));
        assert_eq!(watch.end().usage.map(|usage| usage.output), Some(2));
    }
}
