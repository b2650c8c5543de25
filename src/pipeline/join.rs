//! Join: identical requests at the same time, one call of the upstream.
//!
//! The leader's stages run apart from its answer, so that its client may leave when others wait; everybody reads from the
//! flight's buffer. A leader that its own limits or caps refuse hands the lead on; only what the upstream did is shared, among
//! those who would have asked the same others behind it. Whole answers are shared once they are whole, since a head cannot be
//! taken back; streams as they come.
//!
//! Invariant: only the leader pays; each follower has its own entry of no cost.

use std::future::Future;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::header::CONTENT_LENGTH;
use http::{HeaderMap, Response, StatusCode};
use http_body::{Body as _, Frame};

use super::arrive::Arrival;
use super::body::{Body, BrokenOff};
use super::end::End;
use super::identify::Caller;
use super::instead::WRITTEN;
use super::keep::Recording;
use super::read::Call;
use super::recall::may_shorten;
use super::replay::Replay;
use super::respond::{REFUSED, Told, write_cost};
use super::route::Decision;
use crate::app::App;
use crate::bank::tab::Tab;
use crate::cache::Key;
use crate::cache::flight::{By, Head, Lead, Next, Seat, Start, Waited};
use crate::domain::entry::{CacheUse, Outcome};
use crate::domain::ids::RequestId;
use crate::domain::money::Usd;
use crate::domain::operation::Operation;
use crate::domain::refusal::{Cause, Refusal};
use crate::drain::Phase;
use crate::protocol::meter::Position;
use crate::protocol::terminal::terminal_error;
use crate::upstream::headers::is_ours;

/// What a client is told whose stream is ended because it takes too long.
const TOO_SLOW: &str = "this client reads too slowly to share the answer of an identical request";

/// How long those who follow wait for a leader that reads too slowly.
const LEADER_WAIT: Duration = Duration::from_secs(5);

/// A body that is read from a flight.
#[derive(Debug)]
pub struct Passenger {
    seat: Seat,
    voice: Voice,
    follower: Option<Follower>,
    is_over: bool,
}

/// One who does not pay.
#[derive(Debug)]
struct Follower {
    tab: Tab,
    /// What is saved by an old answer.
    stale: Option<Usd>,
}

/// What is needed to end a stream in its dialect.
#[derive(Debug)]
struct Voice {
    app: Arc<App>,
    operation: Operation,
    id: RequestId,
    is_stream: bool,
}

/// What came of following.
#[derive(Debug)]
pub enum Followed {
    /// The answer. The request has its entry, or its body will see to it.
    Answer(Response<Body>),
    /// Somebody else has to lead.
    Again(Tab),
    /// The answer is too long to be shared: each asks for itself.
    Alone(Tab),
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
    let voice = Voice::of(app, &errand.arrival, &errand.call);
    seat.run(Box::pin(bring(app.clone(), errand, lead)));
    match seat.start().await {
        Some(Start::Head(head)) => Ok(match seat.whole(head) {
            Ok((head, body)) => with_head(head.status, head.headers, Body::whole(body)),
            Err(head) => answer(&head, head.headers.clone(), seat, voice, None),
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
        Some(Start::Failed(refusal)) => return Err(failed(tab, refusal)),
        Some(Start::HandedOn(_)) | None => return Ok(Followed::Again(tab)),
    };
    let is_known_too_long = !call.ask.stream && content_length(&head.headers).is_some_and(|bytes| !seat.holds(bytes));
    if is_known_too_long {
        return Ok(Followed::Alone(tab));
    }
    let waited = if call.ask.stream { Waited::Whole } else { seat.wait().await };
    match waited {
        Waited::Whole => {}
        Waited::Broken => return Err(failed(tab, End::BrokenOff.refusal())),
        Waited::TooLong => return Ok(Followed::Alone(tab)),
    }
    let headers = shared_headers(&head, told.clone(), &mut tab);
    let follower = Follower { tab, stale: head.stale };
    Ok(Followed::Answer(answer(&head, headers, seat, Voice::of(app, arrival, call), Some(follower))))
}

/// The upstream's fault is everybody's, and no refusal of ours.
fn failed(mut tab: Tab, refusal: Refusal) -> Refusal {
    let entry = tab.entry();
    (entry.cache, entry.status, entry.reason) = (CacheUse::Joined, refusal.status(), refusal.cause.code().into());
    match tab.answer(Outcome::UpstreamAborted) {
        Ok(()) => refusal,
        Err(unwritten) => unwritten,
    }
}

fn content_length(headers: &HeaderMap) -> Option<u64> {
    headers.get(CONTENT_LENGTH)?.to_str().ok()?.parse().ok()
}

/// The leader's headers with what is to be told of the follower's own request, which is noted in its entry.
fn shared_headers(head: &Head, mut told: Told, tab: &mut Tab) -> HeaderMap {
    let cache = if head.stale.is_some() { CacheUse::Stale } else { CacheUse::Joined };
    told.cache = Some(cache);
    let elapsed_ms = tab.elapsed_ms();
    let entry = tab.entry();
    (entry.cache, entry.status) = (cache, head.status.as_u16());
    entry.first_byte_ms = Some(elapsed_ms);
    let is_written = head.headers.contains_key(&REFUSED);
    // Somebody else than was asked first has answered, or nobody.
    if is_written || head.by.upstream != told.upstream || head.by.model != told.model {
        let By { upstream, model, reason } = head.by.clone();
        (told.upstream, told.model, told.reason) = (upstream.clone(), model.clone(), reason.clone());
        (entry.upstream, entry.model, entry.reason) = (upstream, model, reason.into());
    }
    let mut headers = head.headers.clone();
    let ours: Vec<_> = headers.keys().filter(|name| is_ours(name) && *name != REFUSED).cloned().collect();
    for name in ours {
        headers.remove(name);
    }
    told.write(&mut headers);
    if let Some(cost) = tab.cost() {
        write_cost(cost, &mut headers);
    }
    headers
}

/// The name under which a request joins others: that of its answer, and of what is done where the first who is asked has none.
/// None where the money of whoever leads may shorten what one of them answers.
pub fn name(
    answer: Key,
    arrival: &Arrival,
    caller: &Caller,
    decision: &Decision,
    recording: Option<&Recording>,
) -> Option<Key> {
    let above = decision.above.as_deref().map(|(above, _)| above);
    let behind = || decision.others.iter().chain(above);
    let has_spare = recording.is_some_and(|recording| recording.spare.is_some());
    if !has_spare && behind().next().is_none() {
        return Some(answer);
    }
    let config = &arrival.snapshot.config;
    if behind().any(|other| may_shorten(config, &caller.account, &other.model)) {
        return None;
    }
    let asked = behind().flat_map(|other| [other.provider.config.name.as_bytes(), other.model.as_bytes()]);
    let kinds = [u8::from(has_spare), u8::from(above.is_some())];
    Some(answer.narrowed([&kinds[..]].into_iter().chain(asked)))
}

fn answer(head: &Head, headers: HeaderMap, seat: Seat, voice: Voice, follower: Option<Follower>) -> Response<Body> {
    with_head(head.status, headers, Body::Joined(Box::new(Passenger { seat, voice, follower, is_over: false })))
}

fn with_head(status: StatusCode, headers: HeaderMap, body: Body) -> Response<Body> {
    let mut response = Response::new(body);
    *response.status_mut() = status;
    *response.headers_mut() = headers;
    response
}

/// The leader's stages and its answer, to the end. Taken apart before it runs, so that nothing is in its memory twice.
fn bring(app: Arc<App>, errand: Errand, lead: Lead) -> impl Future<Output = ()> {
    let Errand { mut arrival, call, decision, mut told, tab, mut recording } = errand;
    async move {
        let _work = app.drain.work();
        if let Some(recording) = &mut recording {
            recording.tell_cost(lead.paid());
        }
        let saved = recording.as_ref().and_then(|recording| recording.spare.as_ref()).map(Replay::saved);
        let asking = super::send(&app, &mut arrival, call, &decision, tab, &mut told, recording);
        let asked = attentive(&app, pin!(asking)).await;
        let response = match asked {
            Ok(response) => response,
            Err(refusal) if matches!(refusal.cause, Cause::UpstreamUnreachable | Cause::UpstreamTimeout) => {
                return lead.start(Start::Failed(refusal));
            }
            Err(refusal) => return lead.start(Start::HandedOn(refusal)),
        };
        let (head, mut body) = response.into_parts();
        let stale = saved.filter(|_| told.cache == Some(CacheUse::Stale));
        let by = By { upstream: told.upstream, model: told.model, reason: told.reason };
        lead.start(Start::Head(Arc::new(Head { status: head.status, headers: head.headers, stale, by })));
        let is_whole = attentive(&app, pin!(pump(&lead, &mut body))).await;
        lead.end(is_whole);
    }
}

/// Puts the body into the flight; says whether it came to its own end.
async fn pump(lead: &Lead, body: &mut Body) -> bool {
    loop {
        let room = std::future::poll_fn(|context| lead.poll_room(context));
        if tokio::time::timeout(LEADER_WAIT, room).await.is_err() {
            lead.overtake();
            continue;
        }
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
async fn attentive<T>(app: &App, mut work: Pin<&mut impl Future<Output = T>>) -> T {
    let mut cut = pin!(app.drain.reached(Phase::Cutting));
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
            (None, None) => {
                let entry = follower.tab.entry();
                let is_told = entry.status >= 400 || *entry.reason == *WRITTEN;
                if is_told { Outcome::UpstreamError } else { Outcome::UpstreamAborted }
            }
        };
        // Refused or not, the entry is written.
        let _written = follower.tab.answer(outcome);
    }

    /// Ends a stream whose reader is too slow, in its dialect.
    fn cut(&mut self) -> Option<Bytes> {
        self.is_over = true;
        if let Some(follower) = self.follower.take() {
            let _written = follower.tab.answer(Outcome::ClientAbort);
        }
        self.voice.end(TOO_SLOW)
    }
}

impl Voice {
    fn of(app: &Arc<App>, arrival: &Arrival, call: &Call) -> Self {
        let (operation, is_stream) = (arrival.endpoint.operation, call.ask.stream);
        Self { app: app.clone(), operation, id: arrival.id, is_stream }
    }

    /// The last words of a stream.
    fn end(&self, why: &str) -> Option<Bytes> {
        let now_s = self.app.clock.now_ms() / 1000;
        let position = if self.is_stream { Position::Events { at_boundary: false } } else { Position::Unknown };
        terminal_error(self.operation, &position, why, &self.id.to_string(), now_s)
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
