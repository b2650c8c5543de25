//! Flight: one request on its way to an upstream, until the head of its answer is there.
//!
//! It is sent once; again only if it met a connection that was closed before its first byte. A client that leaves during the wait does not call the request back: its answer is read in the
//! background, within bounds, since it will be billed.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use http::{Response, StatusCode};
use hyper::body::Incoming;
use tokio::time::Instant;

use super::abandon::{self, Permit};
use super::flow::Flow;
use super::parcel::Parcel;
use super::read;
use super::settle::{Bill, End};
use crate::app::{App, reload};
use crate::bank::tab::Tab;
use crate::domain::refusal::Refusal;
use crate::drain::Phase;
use crate::protocol::facts::Facts;
use crate::protocol::strip::UsageEvents;
use crate::upstream::client::{ResponseFuture, SendError, is_turned_back, is_unread};
use crate::upstream::provider::Provider;
use crate::upstream::rope::Sent;

/// Closed connections that one attempt may meet: an upstream that has started anew leaves as many behind as were in use.
const TURNED_BACK_MAX: u32 = 16;

/// An upstream's answer, of which the head has arrived.
#[derive(Debug)]
pub struct Answer {
    /// Head and body.
    pub response: Response<Incoming>,
    /// What will be owed.
    pub bill: Bill,
    /// Whether the answer holds a usage event that the client did not ask for.
    pub usage_events: UsageEvents,
    /// When it has to be whole.
    pub due: Option<Instant>,
}

/// An attempt that got no answer.
#[derive(Debug)]
pub struct Failure {
    bill: Bill,
    end: End,
    refusal: Refusal,
    is_turned_back: bool,
}

/// A request on its way, while the client waits.
#[derive(Debug)]
struct Waiting {
    app: Arc<App>,
    /// Gone once the head is there.
    flight: Option<Flight>,
}

#[derive(Debug)]
struct Flight {
    answer: ResponseFuture,
    bill: Bill,
    sent: Sent,
    begun: Instant,
    deadline: Instant,
}

/// Sends what `pack` makes to `provider` and waits for the head of its answer until `deadline`.
///
/// # Errors
/// There is nothing to send, or the upstream cannot be reached, broke off or did not answer in time.
pub async fn fly(
    app: &Arc<App>,
    mut pack: impl FnMut(&Bill) -> Result<Parcel, Refusal>,
    provider: &Provider,
    mut bill: Bill,
    deadline: Instant,
) -> Result<Answer, Box<Failure>> {
    for _ in 0..TURNED_BACK_MAX {
        let parcel = match pack(&bill) {
            Ok(parcel) => parcel,
            Err(refusal) => return Err(Box::new(Failure::unsent(bill, refusal))),
        };
        match once(app, parcel, provider, bill, deadline).await {
            Err(failure) if failure.is_turned_back => bill = failure.bill,
            ended => return ended,
        }
        app.metrics.note_again(&provider.config.name, "connection");
    }
    Err(Box::new(Failure { bill, end: End::Unreachable, refusal: End::Unreachable.refusal(), is_turned_back: false }))
}

async fn once(
    app: &Arc<App>,
    parcel: Parcel,
    provider: &Provider,
    mut bill: Bill,
    deadline: Instant,
) -> Result<Answer, Box<Failure>> {
    let Parcel { request, sent, usage_events } = parcel;
    bill.depart();
    let flight = Flight { answer: provider.send(request), bill, sent, begun: Instant::now(), deadline };
    let waiting = Waiting { app: app.clone(), flight: Some(flight) };
    let (response, bill) = waiting.head().await?;
    bill.learn(&response);
    if response.status() == StatusCode::UNAUTHORIZED && provider.has_credential() {
        reload::doubt(app, &provider.config.name);
    }
    Ok(Answer { response, bill, usage_events, due: None })
}

impl Failure {
    /// An attempt that ends before anything was sent.
    #[must_use]
    fn unsent(bill: Bill, refusal: Refusal) -> Self {
        Self { bill, end: End::Unreachable, refusal, is_turned_back: false }
    }

    /// Whether a connection was asked for at all.
    #[must_use]
    pub fn was_sent_out(&self) -> bool {
        self.bill.has_departed()
    }

    /// How it ended.
    #[must_use]
    pub const fn end(&self) -> End {
        self.end
    }

    /// What the client is told.
    #[must_use]
    pub const fn refusal(&self) -> &Refusal {
        &self.refusal
    }

    /// Ends the request, and says what the client is told.
    #[must_use]
    pub fn settle(mut self) -> Refusal {
        self.bill.note_refusal(&self.refusal);
        self.bill.settle(self.end, &Facts::default());
        self.refusal
    }

    /// Ends the attempt and not the request, whose tab is given back, with what the client is told otherwise.
    #[must_use]
    pub fn close(self) -> (Option<Tab>, Refusal) {
        (self.bill.close(self.end, &Facts::default()), self.refusal)
    }
}

impl Waiting {
    async fn head(mut self) -> Result<(Response<Incoming>, Bill), Box<Failure>> {
        let Some(deadline) = self.flight.as_ref().map(|flight| flight.deadline) else {
            return std::future::pending().await;
        };
        let drain = &self.app.drain;
        let answer = std::future::poll_fn(|context| match self.flight.as_mut().map(|flight| flight.poll(context)) {
            Some(Poll::Ready(answer)) => Poll::Ready(Some(answer)),
            // The connection is polled once more when the process ends, which is seen here.
            Some(Poll::Pending) if drain.phase() == Phase::Cutting => Poll::Ready(None),
            Some(Poll::Pending) | None => Poll::Pending,
        });
        let answer = tokio::time::timeout_at(deadline, answer).await;
        let Some(mut flight) = self.flight.take() else { return std::future::pending().await };
        Err(Box::new(match answer {
            // Nobody has asked for another protocol, so that this is no answer.
            Ok(Some(Ok(response))) if response.status() == StatusCode::SWITCHING_PROTOCOLS => {
                flight.give_up(End::BrokenOff)
            }
            Ok(Some(Ok(response))) => {
                flight.bill.note_status(response.status().as_u16());
                return Ok((response, flight.bill));
            }
            Ok(Some(Err(error))) => flight.fail(&error),
            Ok(None) => flight.give_up(End::Cut),
            Err(_) => flight.give_up(End::Silent),
        }))
    }
}

impl Flight {
    fn poll(&mut self, context: &mut Context<'_>) -> Poll<Result<Response<Incoming>, SendError>> {
        Pin::new(&mut self.answer).poll(context)
    }

    /// Waits for the answer and reads it, for the usage at its end; nobody gets it.
    async fn read_out(mut self, app: Arc<App>, permit: Permit) {
        let deadline = permit.deadline.min(self.deadline);
        let answer = std::future::poll_fn(|context| self.poll(context));
        let answer = tokio::select! {
            answer = tokio::time::timeout_at(deadline, answer) => answer,
            () = app.drain.reached(Phase::Cutting) => return self.abandon(),
        };
        let response = match answer {
            Ok(Ok(response)) => response,
            Ok(Err(error)) => {
                // A body that its client cut short says nothing of the upstream, and neither does an idle connection that was closed.
                if self.sent.cut().is_none() && !is_turned_back(&error) {
                    self.bill.note_failure();
                }
                return self.abandon();
            }
            Err(_) => return self.abandon(),
        };
        let (head, body) = response.into_parts();
        self.bill.note_unseen_status(head.status.as_u16());
        let flow = Flow::new(app, &head, body, self.bill, UsageEvents::Pass);
        flow.read_out(permit).await;
    }

    /// The client has left, and nobody waits for the answer any more. An upstream that has not begun it in its time, or in that of a
    /// whole answer, hangs.
    fn abandon(mut self) {
        let now = Instant::now();
        let is_long = self.bill.longest_if_whole().is_some_and(|longest| self.begun + longest <= now);
        let is_late = self.deadline <= now && !self.bill.had_little_time(now - self.begun);
        if is_late || is_long {
            self.bill.note_failure();
        }
        let end = if self.sent.withdraw() { End::Withdrawn } else { End::ClientLeft };
        self.bill.settle(end, &Facts::default());
    }

    /// The client waits, and is told that there will be no answer.
    fn give_up(mut self, end: End) -> Failure {
        let is_unsent = self.sent.withdraw();
        if (end == End::Cut && is_unsent) || (end == End::Silent && self.bill.had_little_time(self.begun.elapsed())) {
            // It is not the upstream that ends.
            self.bill.keep_from_breakers();
        }
        let told = if is_unsent && end != End::Cut { End::Unreachable } else { end };
        let end = if is_unsent { End::Unreachable } else { end };
        Failure { bill: self.bill, end, refusal: told.refusal(), is_turned_back: false }
    }

    /// There will be no answer.
    fn fail(self, error: &SendError) -> Failure {
        if !self.sent.flows() && is_turned_back(error) {
            let (end, refusal) = (End::Unreachable, End::Unreachable.refusal());
            return Failure { bill: self.bill, end, refusal, is_turned_back: true };
        }
        tracing::warn!(request_id = %self.bill.request_id(), error = %chain(error), "no answer from the upstream");
        if let Some(cut) = self.sent.cut() {
            let (end, refusal) = (End::ClientLeft, read::cut_short(cut));
            return Failure { bill: self.bill, end, refusal, is_turned_back: false };
        }
        let was_never_read = error.is_connect() || is_unread(error);
        let end = if was_never_read { End::Unreachable } else { End::BrokenOff };
        self.give_up(end)
    }
}

impl Drop for Waiting {
    /// The client left before there was an answer.
    fn drop(&mut self) {
        let Some(flight) = self.flight.take() else { return };
        match abandon::permit(&self.app) {
            Some(permit) => drop(tokio::spawn(flight.read_out(self.app.clone(), permit))),
            None => flight.abandon(),
        }
    }
}

/// An error with its causes, which name the place and never the request.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        source = cause.source();
    }
    text
}
