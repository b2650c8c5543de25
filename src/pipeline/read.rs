//! Read: the body, once, within its bounds, while it is scanned.
//!
//! The pieces stay as they arrived; what is learned from them is an [`Ask`].

use std::future::Future;
use std::pin::Pin;
use std::task::Poll;
use std::time::Duration;

use bytes::Bytes;
use http::header::{CONTENT_LENGTH, CONTENT_TYPE};
use http_body::Body as _;
use hyper::body::Incoming;
use tokio::time::Instant;

use super::arrive::Arrival;
use super::decode::{Packed, coding, decode};
use crate::app::App;
use crate::domain::refusal::{Cause, Refusal};
use crate::drain::{Drain, Phase};
use crate::limits::gate::Place;
use crate::protocol::ask::{Ask, Reader, reads_json};
use crate::upstream::rope::{Cut, Upload};

/// Bytes of a body that is sent on as it arrives: files and batches.
const UPLOAD_BYTES_MAX: u64 = 512 << 20;

/// Bytes of a refused body that are read and forgotten, so that the client reads the refusal instead of a reset.
pub const REFUSED_BODY_BYTES_MAX: u64 = 256 * 1024 * 1024;

/// The same of somebody who is not known, or while there is too much to do: enough for nearly every prompt, and no work for a
/// flood.
pub const UNKNOWN_BODY_BYTES_MAX: u64 = 8 * 1024 * 1024;

/// Bytes a second that a body must keep up with over all its time, so that nobody sends one byte a minute for ever.
const BODY_BYTES_A_SECOND_MIN: u64 = 1024;

/// A body that has been read.
#[derive(Debug)]
pub struct Call {
    /// The body as it arrived.
    pub pieces: Vec<Bytes>,
    /// What it says, where it arrived compressed; this is what the ask's spans count in then.
    pub plain: Option<Vec<Bytes>>,
    /// What it asks for.
    pub ask: Box<Ask>,
    /// Its share of the memory for bodies, until it is dropped.
    pub memory: Place,
}

/// How long a body may still take.
#[derive(Debug)]
struct Pace {
    silence_max: Duration,
    /// When it was waited for first.
    since: Option<Instant>,
    bytes: u64,
}

/// Reads and scans a request's body.
///
/// # Errors
/// It is too large, too slow, no JSON, or not what the operation takes.
pub async fn read(app: &App, arrival: &mut Arrival) -> Result<Call, Refusal> {
    let streams = arrival.endpoint.operation.streams_body();
    let limit = if streams { UPLOAD_BYTES_MAX } else { arrival.snapshot.config.server.body_limit_bytes };
    if announced(arrival).is_some_and(|length| length > limit) {
        return Err(too_large(limit));
    }
    if streams {
        return Ok(Call { pieces: Vec::new(), plain: None, ask: Box::default(), memory: app.body_memory.empty() });
    }
    let coding = match reads_json(arrival.endpoint.operation) {
        true => coding(&arrival.head.headers)?,
        false => None,
    };
    let content_type = arrival.head.headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok());
    let mut reader = Reader::of_type(&arrival.endpoint, content_type.unwrap_or_default());
    let mut memory = app.body_memory.empty();
    let mut pieces = Vec::new();
    let mut pace = Pace::new(arrival.snapshot.config.server.body_timeout);
    let Some(body) = &mut arrival.body else { return Err(broken_off()) };
    while let Some(piece) = pace.next(&app.drain, body).await? {
        if pace.bytes > limit {
            return Err(too_large(limit));
        }
        if !app.body_memory.widen(&mut memory, piece.len()) {
            return Err(too_much());
        }
        if coding.is_none() {
            reader.feed(&piece).map_err(Refusal::from)?;
        }
        pieces.push(piece);
    }
    if let Some(coding) = coding {
        return Box::pin(decode(app, Packed { coding, pieces, memory, limit }, reader)).await;
    }
    let ask = reader.finish()?;
    Ok(Call { pieces, plain: None, ask, memory })
}

/// A body that is sent on as it arrives.
#[must_use]
pub const fn upload(body: Incoming, silence_max: Duration) -> Upload {
    Upload::new(body, UPLOAD_BYTES_MAX, silence_max)
}

/// What a client is told whose body ended early while it was sent on.
#[must_use]
pub fn cut_short(cut: Cut) -> Refusal {
    match cut {
        Cut::TooLarge => too_large(UPLOAD_BYTES_MAX),
        Cut::Silent => body_timeout(),
        Cut::BrokenOff | Cut::Withdrawn => broken_off(),
    }
}

/// Reads a refused body and forgets it.
pub async fn read_out(drain: &Drain, body: &mut Incoming, bytes_max: u64, silence_max: Duration) {
    let mut pace = Pace::new(silence_max);
    // What is announced as too long is not begun with.
    if body.size_hint().lower() > bytes_max {
        return;
    }
    while !body.is_end_stream() && pace.bytes <= bytes_max {
        let Ok(Some(_)) = pace.next(drain, body).await else { return };
    }
}

impl Pace {
    const fn new(silence_max: Duration) -> Self {
        Self { silence_max, since: None, bytes: 0 }
    }

    /// The next piece of a body. The timer is set only if there is none at once.
    async fn next(&mut self, drain: &Drain, body: &mut Incoming) -> Result<Option<Bytes>, Refusal> {
        loop {
            let mut frame = std::future::poll_fn(|context| match Pin::new(&mut *body).poll_frame(context) {
                Poll::Pending if drain.phase() == Phase::Cutting => Poll::Ready(Err(draining())),
                frame => frame.map(Ok),
            });
            let first = std::future::poll_fn(|context| Poll::Ready(Pin::new(&mut frame).poll(context))).await;
            let frame = match first {
                Poll::Ready(frame) => frame,
                Poll::Pending => tokio::time::timeout_at(self.due(), frame).await.map_err(|_| body_timeout())?,
            };
            match frame? {
                None => return Ok(None),
                Some(Ok(frame)) => {
                    if let Ok(piece) = frame.into_data() {
                        self.bytes += piece.len() as u64;
                        return Ok(Some(piece));
                    }
                }
                Some(Err(_)) => return Err(broken_off()),
            }
        }
    }

    /// When the wait for the next piece ends.
    fn due(&mut self) -> Instant {
        let now = Instant::now();
        let since = *self.since.get_or_insert(now);
        let earned = Duration::from_secs(self.bytes / BODY_BYTES_A_SECOND_MIN);
        (now + self.silence_max).min(since + self.silence_max + earned)
    }
}

fn draining() -> Refusal {
    Refusal::new(Cause::Draining, "this server is shutting down; try again shortly").after(1)
}

fn body_timeout() -> Refusal {
    Refusal::new(Cause::BodyTimeout, "the request body did not arrive in time")
}

fn broken_off() -> Refusal {
    Refusal::new(Cause::Malformed, "the request body broke off")
}

fn announced(arrival: &Arrival) -> Option<u64> {
    arrival.head.headers.get(CONTENT_LENGTH)?.to_str().ok()?.parse().ok()
}

pub(super) fn too_large(limit: u64) -> Refusal {
    Refusal::new(Cause::TooLarge, format!("the request body is larger than {} MiB", limit >> 20))
}

pub(super) fn too_much() -> Refusal {
    Refusal::new(Cause::Overloaded, "too many request bodies are in memory; try again shortly").after(1)
}
