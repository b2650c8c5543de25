//! Join: identical requests at the same time, one call of the upstream.
//!
//! The leader's stages run apart from its answer, so that its client may leave when others wait; everybody reads from the
//! flight's buffer. A leader that its own limits or caps refuse hands the lead on; only what the upstream did is shared.
//!
//! Invariant: only the leader pays; each follower has its own entry of no cost.

use std::future::Future;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::{HeaderMap, Response, StatusCode};
use http_body::{Body as _, Frame};

use super::arrive::Arrival;
use super::body::{Body, BrokenOff};
use super::keep::Recording;
use super::read::Call;
use super::replay::Replay;
use super::respond::{Told, write_cost};
use super::route::Decision;
use crate::app::App;
use crate::bank::tab::Tab;
use crate::cache::flight::{Head, Lead, Next, Seat, Start};
use crate::domain::entry::{CacheUse, Outcome};
use crate::domain::money::Usd;
use crate::domain::operation::Operation;
use crate::domain::refusal::{Cause, Refusal};
use crate::drain::Phase;
use crate::protocol::meter::Position;
use crate::protocol::terminal::terminal_error;
use crate::upstream::headers::is_ours;

/// What a client is told whose stream is ended because it takes too long.
const TOO_SLOW: &str = "this client reads too slowly to share the answer of an identical request";

/// A body that is read from a flight.
#[derive(Debug)]
pub struct Passenger {
    seat: Seat,
    follower: Option<Follower>,
    is_over: bool,
}

/// One who does not pay.
#[derive(Debug)]
struct Follower {
    tab: Tab,
    app: Arc<App>,
    operation: Operation,
    id: String,
    is_stream: bool,
    /// What is saved by an old answer.
    stale: Option<Usd>,
}

/// What came of following.
#[derive(Debug)]
pub enum Followed {
    /// The answer. The request has its entry, or its body will see to it.
    Answer(Response<Body>),
    /// Somebody else has to lead.
    Again(Tab),
}

/// What a leader brings with it.
#[derive(Debug)]
pub struct Errand {
    /// The request.
    pub arrival: Arrival,
    /// Its body.
    pub call: Call,
    /// Where it goes.
    pub decision: Decision,
    /// What the head of its answer says.
    pub told: Told,
    /// Its line in the ledger.
    pub tab: Tab,
    /// Keeps the answer.
    pub recording: Option<Box<Recording>>,
}

/// Asks the upstream for everybody, and answers the leader.
///
/// # Errors
/// The leader is refused. The request has its entry.
pub async fn lead(app: &Arc<App>, errand: Errand, lead: Lead, mut seat: Seat) -> Result<Response<Body>, Refusal> {
    seat.run(Box::pin(bring(app.clone(), errand, lead)));
    match seat.start().await {
        Some(Start::Head(head)) => Ok(match seat.whole(head) {
            Ok((head, body)) => with_head(head.status, head.headers, Body::whole(body)),
            Err(head) => answer(&head, head.headers.clone(), seat, None),
        }),
        Some(Start::HandedOn(refusal) | Start::Failed(refusal)) => Err(refusal),
        None => Err(Refusal::new(Cause::Draining, "tollgate is shutting down")),
    }
}

/// Waits for what the leader brings.
///
/// # Errors
/// There will be no answer for anybody. The request has its entry.
pub async fn follow(
    app: &Arc<App>,
    arrival: &Arrival,
    call: &Call,
    mut seat: Seat,
    told: &Told,
    mut tab: Tab,
) -> Result<Followed, Refusal> {
    let head = match seat.start().await {
        Some(Start::Head(head)) => head,
        Some(Start::Failed(refusal)) => {
            tab.refuse(&refusal);
            return Err(refusal);
        }
        Some(Start::HandedOn(_)) | None => return Ok(Followed::Again(tab)),
    };
    let mut told = told.clone();
    let cache = if head.stale.is_some() { CacheUse::Stale } else { CacheUse::Joined };
    told.cache = Some(cache);
    let elapsed_ms = tab.elapsed_ms();
    let entry = tab.entry();
    (entry.cache, entry.status) = (cache, head.status.as_u16());
    entry.first_byte_ms = Some(elapsed_ms);
    let mut headers = head.headers.clone();
    let ours: Vec<_> = headers.keys().filter(|name| is_ours(name)).cloned().collect();
    for name in ours {
        headers.remove(name);
    }
    told.write(&mut headers);
    if let Some(cost) = tab.cost() {
        write_cost(cost, &mut headers);
    }
    let follower = Follower {
        tab,
        app: app.clone(),
        operation: arrival.endpoint.operation,
        id: arrival.id.to_string(),
        is_stream: call.ask.stream,
        stale: head.stale,
    };
    Ok(Followed::Answer(answer(&head, headers, seat, Some(follower))))
}

fn answer(head: &Head, headers: HeaderMap, seat: Seat, follower: Option<Follower>) -> Response<Body> {
    with_head(head.status, headers, Body::Joined(Box::new(Passenger { seat, follower, is_over: false })))
}

fn with_head(status: StatusCode, headers: HeaderMap, body: Body) -> Response<Body> {
    let mut response = Response::new(body);
    *response.status_mut() = status;
    *response.headers_mut() = headers;
    response
}

/// The leader's stages and its answer, to the end.
async fn bring(app: Arc<App>, errand: Errand, lead: Lead) {
    let _work = app.drain.work();
    let Errand { mut arrival, call, decision, mut told, tab, mut recording } = errand;
    if let Some(recording) = &mut recording {
        recording.tell_cost(lead.paid());
    }
    let saved = recording.as_ref().and_then(|recording| recording.spare.as_ref()).map(Replay::saved);
    let asking = super::send(&app, &mut arrival, call, &decision, tab, &mut told, recording);
    let response = match attentive(&app, asking).await {
        Ok(response) => response,
        Err(refusal) if matches!(refusal.cause, Cause::UpstreamUnreachable | Cause::UpstreamTimeout) => {
            return lead.start(Start::Failed(refusal));
        }
        Err(refusal) => return lead.start(Start::HandedOn(refusal)),
    };
    let (head, mut body) = response.into_parts();
    let stale = saved.filter(|_| told.cache == Some(CacheUse::Stale));
    lead.start(Start::Head(Arc::new(Head { status: head.status, headers: head.headers, stale })));
    let is_whole = attentive(&app, pump(&lead, &mut body)).await;
    lead.end(is_whole);
}

/// Puts the body into the flight; says whether it came to its own end.
async fn pump(lead: &Lead, body: &mut Body) -> bool {
    loop {
        std::future::poll_fn(|context| lead.poll_room(context)).await;
        match std::future::poll_fn(|context| Pin::new(&mut *body).poll_frame(context)).await {
            Some(Ok(frame)) => {
                if let Ok(piece) = frame.into_data() {
                    lead.push(piece, body.is_over());
                }
            }
            Some(Err(BrokenOff)) => return false,
            None => return true,
        }
    }
}

/// Polls `work` once more when the process ends, which is seen within.
async fn attentive<T>(app: &App, work: impl Future<Output = T>) -> T {
    let (mut work, mut cut) = (pin!(work), pin!(app.drain.reached(Phase::Cutting)));
    let mut is_cut = false;
    std::future::poll_fn(|context| {
        if !is_cut {
            is_cut = cut.as_mut().poll(context).is_ready();
        }
        work.as_mut().poll(context)
    })
    .await
}

impl Passenger {
    /// The next frame for the client.
    pub fn poll_frame(&mut self, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BrokenOff>>> {
        if self.is_over {
            return Poll::Ready(None);
        }
        let next = match self.seat.poll_next(context) {
            Poll::Ready(next) => next,
            Poll::Pending => return Poll::Pending,
        };
        Poll::Ready(match next {
            Next::Piece(piece) => Some(Ok(Frame::data(piece))),
            Next::Last(piece) => {
                self.settle();
                Some(Ok(Frame::data(piece)))
            }
            Next::Over => {
                self.settle();
                None
            }
            Next::Broken => {
                self.settle();
                Some(Err(BrokenOff))
            }
            Next::Cut => self.cut().map_or(Some(Err(BrokenOff)), |words| Some(Ok(Frame::data(words)))),
        })
    }

    /// The answer has come to its end, whole or not.
    fn settle(&mut self) {
        self.is_over = true;
        let Some(mut follower) = self.follower.take() else { return };
        let outcome = match (follower.stale, self.seat.paid()) {
            (Some(saved), _) => {
                follower.tab.entry().saved = saved;
                Outcome::CacheHit
            }
            (None, Some(cost)) => {
                follower.tab.entry().saved = cost.unwrap_or_default();
                Outcome::Joined
            }
            (None, None) if follower.tab.entry().status >= 400 => Outcome::UpstreamError,
            (None, None) => Outcome::UpstreamAborted,
        };
        // Refused or not, the entry is written.
        let _written = follower.tab.answer(outcome);
    }

    /// Ends a stream whose reader is too slow, in its dialect.
    fn cut(&mut self) -> Option<Bytes> {
        self.is_over = true;
        let follower = self.follower.take()?;
        let now_s = follower.app.clock.now_ms() / 1000;
        let position = if follower.is_stream { Position::Events { at_boundary: false } } else { Position::Unknown };
        let words = terminal_error(follower.operation, &position, TOO_SLOW, &follower.id, now_s);
        let _written = follower.tab.answer(Outcome::ClientAbort);
        words
    }
}

impl Drop for Passenger {
    /// Whoever has got all bytes of a known length asks for no more.
    fn drop(&mut self) {
        if self.seat.has_read_all() {
            self.settle();
        }
    }
}
