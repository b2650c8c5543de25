//! FAULTS: what goes wrong with an answer, as changes of the script that plays it.
//!
//! What each is billed, as a provider would: a status, nothing. `reset-before`, nothing. `hang`, `hang-head`, `reset`:
//! the input and, of a whole answer, all of its output, since it was generated and only got lost. `cut`, `reset-mid`,
//! `stall`, `error-in-stream`: the input and what was generated until then; of a whole answer all. The others: all.
//! A client that leaves a stream: what was generated until it was noticed.

use super::gate::Gate;
use super::script::{Act, Pull};
use super::settings::{Coding, Fault, Settings};
use bytes::Bytes;
use http::StatusCode;
use std::io::Write;
use std::sync::Arc;
use std::time::Duration;

/// Bytes that a wrong content-length promises and that never come.
const MISSING_BYTES: usize = 64;

/// An answer before anything goes wrong with it.
#[derive(Debug)]
pub(super) struct Reply {
    /// The status.
    pub(super) status: StatusCode,
    /// The content type.
    pub(super) content_type: &'static str,
    /// Whether it has one event of known length, or is streamed.
    pub(super) framing: Framing,
    /// What is sent.
    pub(super) events: Vec<Event>,
    /// What the dialect sends when it fails after the head.
    pub(super) failure: Bytes,
}

/// How an answer is framed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Framing {
    /// At once, with its length.
    Whole,
    /// Event by event.
    Stream,
}

/// A piece of an answer.
#[derive(Clone, Debug)]
pub(super) struct Event {
    /// Its bytes.
    pub(super) bytes: Bytes,
    /// Output tokens that are generated when it is sent.
    pub(super) output: u64,
}

/// An answer as it is played.
#[derive(Debug)]
pub(super) struct Plan {
    /// The content-length, if there is to be one.
    pub(super) length: Option<usize>,
    /// The content coding, if there is one.
    pub(super) coding: Option<Coding>,
    /// What happens in the body.
    pub(super) acts: Vec<Act>,
}

impl Reply {
    /// A whole answer.
    pub(super) fn whole(status: StatusCode, body: impl Into<Bytes>, output: u64) -> Self {
        let events = vec![Event { bytes: body.into(), output }];
        let content_type = "application/json";
        Self { status, content_type, framing: Framing::Whole, events, failure: Bytes::new() }
    }

    /// A stream.
    pub(super) fn stream(content_type: &'static str, events: Vec<Event>, failure: impl Into<Bytes>) -> Self {
        Self { status: StatusCode::OK, content_type, framing: Framing::Stream, events, failure: failure.into() }
    }

    /// Output tokens of all of it.
    pub(super) fn output(&self) -> u64 {
        self.events.iter().map(|event| event.output).max().unwrap_or(0)
    }
}

/// Lays out how `reply` is played.
pub(super) fn plan(mut reply: Reply, settings: &Settings, fault: Option<Fault>, gate: Option<Arc<Gate>>) -> Plan {
    match fault {
        Some(Fault::ErrorInStream) => fail(&mut reply, settings),
        Some(Fault::Garbage) => garble(&mut reply),
        Some(Fault::TruncatedJson) => truncate(&mut reply),
        Some(Fault::Encoded(coding)) => encode(&mut reply, coding),
        Some(_) | None => {}
    }
    let whole = reply.events.iter().map(|event| event.bytes.len()).sum::<usize>();
    let length = match (fault, reply.framing) {
        (Some(Fault::WrongLength), _) => Some(whole + MISSING_BYTES),
        (_, Framing::Whole) => Some(whole),
        (_, Framing::Stream) => None,
    };
    let coding = if let Some(Fault::Encoded(coding)) = fault { Some(coding) } else { None };
    Plan { length, coding, acts: acts(reply, settings, fault, gate) }
}

fn acts(reply: Reply, settings: &Settings, fault: Option<Fault>, gate: Option<Arc<Gate>>) -> Vec<Act> {
    let (after, framing) = (events_before(&reply, settings), reply.framing);
    let (events, stop) = match fault {
        Some(Fault::HangHead) => (Vec::new(), Some(Act::Hang)),
        Some(Fault::Cut) => (start(reply, after), Some(Act::Pull(Pull::Close))),
        Some(Fault::ResetMid) => (start(reply, after), Some(Act::Pull(Pull::Reset))),
        Some(Fault::Stall) => (start(reply, after), Some(Act::Hang)),
        Some(Fault::WrongLength) => (reply.events, Some(Act::Pull(Pull::Close))),
        Some(_) | None => (reply.events, None),
    };
    let mut acts = Vec::with_capacity(events.len() * 2 + 3);
    let mut waits = [settings.ttft_ms].into_iter().chain(std::iter::repeat(settings.chunk_ms));
    let mut wait = |acts: &mut Vec<Act>| match waits.next() {
        Some(ms) if ms > 0 && framing == Framing::Stream => acts.push(Act::Wait(Duration::from_millis(ms))),
        Some(_) | None => {}
    };
    let gate_after = settings.gate_after.min(events.len());
    let mut gate = gate.filter(|_| framing == Framing::Stream);
    for (index, event) in events.into_iter().enumerate() {
        wait(&mut acts);
        acts.extend((index == gate_after).then(|| gate.take()).flatten().map(Act::Gate));
        acts.push(match fault {
            Some(Fault::Drip) => Act::Drip(event.bytes, event.output),
            Some(_) | None => Act::Send(event.bytes, event.output),
        });
    }
    acts.extend(gate.map(Act::Gate));
    acts.extend(stop);
    acts
}

/// How many events pass before something goes wrong.
fn events_before(reply: &Reply, settings: &Settings) -> usize {
    settings.fault_after.unwrap_or(reply.events.len() / 2).min(reply.events.len())
}

/// The events before a break; of a whole answer half of its bytes.
fn start(reply: Reply, after: usize) -> Vec<Event> {
    match (reply.framing, reply.events.into_iter()) {
        (Framing::Stream, events) => events.take(after).collect(),
        (Framing::Whole, events) => {
            let half = |event: Event| Event { bytes: event.bytes.slice(..event.bytes.len() / 2), ..event };
            events.map(half).collect()
        }
    }
}

fn fail(reply: &mut Reply, settings: &Settings) {
    let after = match reply.framing {
        Framing::Stream => events_before(reply, settings),
        Framing::Whole => 0,
    };
    let output = match reply.framing {
        Framing::Stream => reply.events[..after].last().map_or(0, |event| event.output),
        Framing::Whole => reply.output(),
    };
    reply.events.truncate(after);
    // A failure inside a JSON array goes on with the array, unless nothing has opened it.
    let bytes = match reply.failure.strip_prefix(b",\r\n") {
        Some(rest) if after == 0 => Bytes::from([b"[", rest].concat()),
        Some(_) | None => reply.failure.clone(),
    };
    reply.events.push(Event { bytes, output });
}

fn garble(reply: &mut Reply) {
    for (index, event) in reply.events.iter_mut().enumerate() {
        event.bytes = Bytes::from(format!("<html>{index} \u{0}neither JSON nor an event\r\n\r\r\n<"));
    }
}

fn truncate(reply: &mut Reply) {
    if let Some(last) = reply.events.last_mut().filter(|_| reply.framing == Framing::Whole) {
        last.bytes.truncate(last.bytes.len() / 2);
        return;
    }
    // The event before the last but one is the last that carries JSON in every dialect.
    let cut = reply.events.len() / 2;
    reply.events.truncate(cut + 1);
    if let Some(last) = reply.events.last_mut() {
        last.bytes = Bytes::from([&last.bytes[..last.bytes.len() / 2], b"\n\n"].concat());
    }
}

/// Compresses so that each event can be read when it arrives.
fn encode(reply: &mut Reply, coding: Coding) {
    let count = reply.events.len();
    let mut stream = Encoder::new(coding);
    for (index, event) in reply.events.iter_mut().enumerate() {
        event.bytes = stream.add(&event.bytes, index + 1 == count);
    }
}

enum Encoder {
    Gzip(flate2::write::GzEncoder<Vec<u8>>),
    Deflate(flate2::write::ZlibEncoder<Vec<u8>>),
    Zstd(zstd::stream::write::Encoder<'static, Vec<u8>>),
    /// The library refused to start, which only lack of memory can cause.
    Broken,
}

impl Encoder {
    fn new(coding: Coding) -> Self {
        let level = flate2::Compression::default();
        match coding {
            Coding::Gzip => Self::Gzip(flate2::write::GzEncoder::new(Vec::new(), level)),
            Coding::Deflate => Self::Deflate(flate2::write::ZlibEncoder::new(Vec::new(), level)),
            Coding::Zstd => zstd::stream::write::Encoder::new(Vec::new(), 3).map_or(Self::Broken, Self::Zstd),
        }
    }

    /// The compressed bytes that stand for `plain`. Writing into memory does not fail.
    fn add(&mut self, plain: &[u8], last: bool) -> Bytes {
        match self {
            Self::Gzip(stream) => {
                let _written = stream.write_all(plain).and_then(|()| stream.flush());
                let _ended = last.then(|| stream.try_finish());
                std::mem::take(stream.get_mut()).into()
            }
            Self::Deflate(stream) => {
                let _written = stream.write_all(plain).and_then(|()| stream.flush());
                let _ended = last.then(|| stream.try_finish());
                std::mem::take(stream.get_mut()).into()
            }
            Self::Zstd(stream) => {
                let _written = stream.write_all(plain).and_then(|()| stream.flush());
                let _ended = last.then(|| stream.do_finish());
                std::mem::take(stream.get_mut()).into()
            }
            Self::Broken => Bytes::new(),
        }
    }
}
