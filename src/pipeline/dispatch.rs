//! Dispatch: one attempt after the other, until there is an answer for the client.
//!
//! Each attempt has its own hold and its own records. What the client gets when all have failed is the last answer that
//! an upstream gave, byte for byte, or our own refusal where none gave any.

use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::StatusCode;
use http::response::Parts;
use http_body::Body as _;
use hyper::body::Incoming;
use tokio::time::Instant;

use super::arrive::Arrival;
use super::course::Course;
use super::downgrade::{beside, downgrade};
use super::flight::{Answer, Failure, fly};
use super::parcel::pack;
use super::read::Call;
use super::reserve::{Denied, reserve};
use super::route::{Candidate, Decision};
use super::settle::{Bill, End};
use super::tap::Broken;
use crate::app::App;
use crate::bank::tab::Tab;
use crate::domain::refusal::{Refusal, Tried};
use crate::drain::Phase;
use crate::protocol::facts::Facts;
use crate::protocol::quota::is_exhausted;
use crate::upstream::credentials::Lease;

/// Bytes of an error that is kept while others are asked.
const KEPT_BYTES_MAX: usize = 64 * 1024;

/// How long its body is waited for.
const KEPT_WAIT: Duration = Duration::from_secs(5);

/// What the client gets.
#[derive(Debug)]
pub struct Served<'a> {
    /// Who answered.
    pub candidate: &'a Candidate,
    /// Attempts that were made.
    pub attempts: usize,
    /// The answer.
    pub given: Given,
}

/// An answer of an upstream.
#[derive(Debug)]
pub enum Given {
    /// Its head has arrived.
    Flowing(Box<Answer>),
    /// An error that is all there and settled.
    Kept(Box<Kept>),
}

impl Given {
    /// The output limit that a cap imposed, in tokens.
    #[must_use]
    pub fn output_limit(&self) -> Option<u64> {
        match self {
            Self::Flowing(answer) => answer.bill.output_limit(),
            Self::Kept(_) => None,
        }
    }
}

/// An error that was kept while others were asked. Its attempts are settled, and its request is not.
#[derive(Debug)]
pub struct Kept {
    /// Its head.
    pub head: Parts,
    /// Its body.
    pub body: Bytes,
    /// The request's tab, whose entry says so.
    pub tab: Tab,
}

/// A request that nobody has answered; its entry waits for what the client is told.
#[derive(Debug)]
#[must_use]
pub enum Unserved {
    /// Nothing was sent, or no more.
    Denied(Box<Denied>),
    /// The only attempt failed, or the last.
    Failed(Box<Failure>),
    /// All attempts are settled.
    Ended(Box<Tab>, Refusal),
    /// A small whole answer broke off.
    Broken(Box<Broken>),
    /// The request has its entry.
    Told(Refusal),
}

impl Unserved {
    fn denied(refusal: Refusal, tab: Tab) -> Self {
        Self::Denied(Box::new(Denied { refusal, tab: Some(tab) }))
    }

    /// What the client is told, unless somebody has something better.
    #[must_use]
    pub const fn refusal(&self) -> &Refusal {
        match self {
            Self::Denied(denied) => &denied.refusal,
            Self::Ended(_, refusal) | Self::Told(refusal) => refusal,
            Self::Failed(failure) => failure.refusal(),
            Self::Broken(broken) => broken.refusal(),
        }
    }

    /// Ends the request with our own no.
    pub fn settle(self, app: &App) -> Refusal {
        match self {
            Self::Denied(denied) => denied.refuse(app),
            Self::Failed(failure) => failure.settle(),
            Self::Broken(broken) => broken.settle(),
            Self::Ended(mut tab, refusal) => {
                tab.entry().status = refusal.status();
                tab.finish();
                refusal
            }
            Self::Told(refusal) => refusal,
        }
    }

    /// Ends the attempts and not the request, whose tab is given back unless it has its entry.
    #[must_use]
    pub fn close(self) -> (Option<Tab>, Refusal) {
        match self {
            Self::Denied(denied) => (denied.tab, denied.refusal),
            Self::Failed(failure) => failure.close(),
            Self::Broken(broken) => broken.close(),
            Self::Ended(tab, refusal) => (Some(*tab), refusal),
            Self::Told(refusal) => (None, refusal),
        }
    }
}

impl Given {
    /// The upstream's status.
    #[must_use]
    pub fn status(&self) -> StatusCode {
        match self {
            Self::Flowing(answer) => answer.response.status(),
            Self::Kept(kept) => kept.head.status,
        }
    }

    /// Ends its attempt and not the request, whose tab is given back; nobody gets the answer.
    #[must_use]
    pub fn close(self) -> Option<Tab> {
        match self {
            Self::Flowing(answer) => answer.bill.close(End::Complete, &Facts::default()),
            Self::Kept(kept) => Some(kept.tab),
        }
    }
}

/// What has been tried, whatever comes of it.
#[derive(Debug, Default)]
pub struct Trail<'a> {
    /// Attempts that were made.
    pub attempts: usize,
    last: Option<&'a Candidate>,
}

impl Trail<'_> {
    /// Adds it to what the client is told.
    #[must_use]
    pub fn note(&self, refusal: Refusal) -> Refusal {
        let Some(last) = self.last else { return refusal };
        let tried = Tried { attempts: self.attempts, model: last.model.clone() };
        Refusal { tried: Some(Box::new(tried)), ..refusal }
    }
}

/// Where a request stands between two attempts.
struct Pause<'a> {
    tab: Tab,
    kept: Option<(&'a Candidate, Parts, Bytes)>,
    /// What the client is told if nobody has answered.
    refusal: Option<Refusal>,
}

/// Asks one candidate after the other, as often as may be.
///
/// # Errors
/// There is no answer.
pub async fn dispatch<'a>(
    app: &Arc<App>,
    arrival: &mut Arrival,
    call: &Call,
    decision: &'a Decision,
    tab: Tab,
    trail: &mut Trail<'a>,
) -> Result<Served<'a>, Unserved> {
    let (mut course, mut leg) = match Course::begin(app, arrival, decision) {
        Ok(begun) => begun,
        Err(refusal) => return Err(Unserved::denied(refusal, tab)),
    };
    let mut pause = Pause { tab, kept: None, refusal: None };
    loop {
        let candidate = leg.candidate;
        pause.wait(app, leg.wait).await;
        if let Some(end) = course.end(app) {
            return pause.cut(end, trail.attempts);
        }
        candidate.note(pause.tab.entry());
        let mut bill = match reserve(app, arrival, call, candidate, pause.tab).await {
            Ok(bill) => bill,
            Err(Denied { refusal, tab: Some(tab) }) => {
                let lower = downgrade(arrival, call, decision, candidate, refusal);
                match lower.and_then(|lower| course.lower(lower).map_err(|down| beside(decision, down))) {
                    Ok(next) => (leg, pause) = (next, Pause { tab, ..pause }),
                    Err(refusal) if trail.attempts > 0 => {
                        pause = Pause { tab, refusal: pause.refusal.or(Some(refusal)), ..pause };
                        match course.after_refusal() {
                            Some(next) => leg = next,
                            None => return pause.end(trail.attempts),
                        }
                    }
                    Err(refusal) => return Err(Unserved::denied(refusal, tab)),
                }
                continue;
            }
            Err(denied) => return Err(Unserved::Denied(Box::new(denied))),
        };
        course.note_held();
        bill.equip(leg.probe.take(), leg.lease.take());
        (trail.attempts, trail.last) = (trail.attempts + 1, Some(candidate));
        let (due, head_due) = course.set_out(bill.longest());
        let pack = |bill: &Bill| pack(arrival, call, &decision.requested, candidate, bill);
        match fly(app, pack, &candidate.provider, bill, head_due).await {
            Ok(answer) => {
                let answer = Answer { due, ..answer };
                let Some(next) = course.after_answer(&answer) else {
                    return Ok(Served { candidate, attempts: trail.attempts, given: Given::Flowing(Box::new(answer)) });
                };
                leg = next;
                let (tab, kept) = Box::pin(keep(app, answer, course.deadline())).await.map_err(Unserved::Told)?;
                pause =
                    Pause { tab, kept: kept.map(|(head, body)| (candidate, head, body)).or(pause.kept), refusal: None };
            }
            Err(failure) => {
                let next = course.after_failure(&failure);
                if next.is_none() && pause.kept.is_none() {
                    return Err(Unserved::Failed(failure));
                }
                let (tab, refusal) = failure.close();
                let Some(tab) = tab else { return Err(Unserved::Told(refusal)) };
                pause = Pause { tab, kept: pause.kept, refusal: Some(refusal) };
                match next {
                    Some(next) => leg = next,
                    None => return pause.end(trail.attempts),
                }
            }
        }
    }
}

/// Ends the attempt that `answer` came of, and reads the error in it, for the client if nobody answers better.
async fn keep(app: &App, answer: Answer, deadline: Instant) -> Result<(Tab, Option<(Parts, Bytes)>), Refusal> {
    let (head, mut body) = answer.response.into_parts();
    let lease = answer.bill.lease().map(Lease::again);
    // An error costs nothing, so that it is settled before its body is there.
    let Some(tab) = answer.bill.close(End::Complete, &Facts::default()) else {
        return Err(End::BrokenOff.refusal());
    };
    let due = deadline.min(Instant::now() + KEPT_WAIT);
    let read = tokio::select! {
        read = tokio::time::timeout_at(due, read_error(&mut body)) => read.ok().flatten(),
        () = app.drain.reached(Phase::Cutting) => None,
    };
    if let (Some(lease), Some(body)) = (&lease, &read)
        && is_exhausted(head.status.as_u16(), body)
    {
        lease.exhaust(app.clock.ticks_us());
    }
    Ok((tab, read.map(|body| (head, body))))
}

/// The whole of a short body.
async fn read_error(body: &mut Incoming) -> Option<Bytes> {
    let mut pieces = Vec::with_capacity(1);
    let mut length = 0;
    while !body.is_end_stream() {
        let Some(frame) = std::future::poll_fn(|context| Pin::new(&mut *body).poll_frame(context)).await else { break };
        if let Ok(piece) = frame.ok()?.into_data() {
            length += piece.len();
            pieces.push(piece);
        }
        if length > KEPT_BYTES_MAX {
            return None;
        }
    }
    let whole = if pieces.len() == 1 { pieces.pop() } else { None };
    Some(whole.unwrap_or_else(|| pieces.concat().into()))
}

impl<'a> Pause<'a> {
    /// Waits for the next attempt, unless this process ends first.
    async fn wait(&self, app: &App, wait: Duration) {
        if wait.is_zero() {
            return;
        }
        tokio::select! {
            () = tokio::time::sleep(wait) => {}
            () = app.drain.reached(Phase::Cutting) => {}
        }
    }

    /// Nothing may be sent any more.
    fn cut(self, end: End, attempts: usize) -> Result<Served<'a>, Unserved> {
        match attempts {
            0 => Err(Unserved::denied(end.refusal(), self.tab)),
            _ => Self { refusal: Some(end.refusal()), ..self }.end(attempts),
        }
    }

    /// No attempt follows.
    fn end(mut self, attempts: usize) -> Result<Served<'a>, Unserved> {
        let Some((candidate, head, body)) = self.kept else {
            let refusal = self.refusal.unwrap_or_else(|| End::BrokenOff.refusal());
            return Err(Unserved::Ended(Box::new(self.tab), refusal));
        };
        let entry = self.tab.entry();
        candidate.note(entry);
        entry.status = head.status.as_u16();
        Ok(Served { candidate, attempts, given: Given::Kept(Box::new(Kept { head, body, tab: self.tab })) })
    }
}
