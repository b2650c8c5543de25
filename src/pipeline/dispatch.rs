//! Dispatch: splice, scrub, send, and wait for the answer's head.
//!
//! Each request is sent once. A client that leaves during the wait does not call the request back: its answer is read
//! in the background, within bounds, since it will be billed.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::header::{ACCEPT_ENCODING, HeaderMap, HeaderValue};
use http::{Request, Response};
use hyper::body::Incoming;
use tokio::time::Instant;

use super::abandon::{self, Permit};
use super::arrive::Arrival;
use super::flow::Flow;
use super::read::Call;
use super::route::Decision;
use super::settle::{Bill, End};
use crate::app::App;
use crate::config::{IncludeUsage, Upstream};
use crate::domain::operation::Operation;
use crate::domain::refusal::{Cause, Refusal};
use crate::drain::Phase;
use crate::protocol::facts::Facts;
use crate::protocol::splice::{ChatLimit, Edit, ask_for_usage, set_output_limit, splice};
use crate::protocol::strip::UsageEvents;
use crate::upstream::client::{ResponseFuture, SendError};
use crate::upstream::headers::scrub_request;
use crate::upstream::rope::{Rope, Sent};

/// An upstream's answer, of which the head has arrived.
#[derive(Debug)]
pub struct Answer {
    /// Head and body.
    pub response: Response<Incoming>,
    /// What will be owed.
    pub bill: Bill,
    /// Whether the answer holds a usage event that the client did not ask for.
    pub usage_events: UsageEvents,
}

/// A request on its way.
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
    deadline: Instant,
}

/// Sends the request and waits for the head of its answer.
///
/// # Errors
/// The upstream cannot be reached, broke off or did not answer in time. The request has its entry then.
pub async fn dispatch(
    app: &Arc<App>,
    arrival: Arrival,
    call: Call,
    decision: &Decision,
    mut bill: Bill,
) -> Result<Answer, Refusal> {
    let provider = &decision.provider;
    let limit = bill.output_limit();
    let (pieces, usage_events) = spliced(&arrival, call, &provider.config, limit);
    let Some(pieces) = pieces else {
        // The hold counts on the limit, so that without it nothing may leave.
        bill.settle(End::Unreachable, &Facts::default());
        return Err(Refusal::new(Cause::Malformed, "no output limit can be put into this body"));
    };
    let Ok(address) = provider.address(&arrival.path, arrival.head.uri.query()) else {
        bill.settle(End::Unreachable, &Facts::default());
        return Err(Refusal::new(Cause::Malformed, "the path cannot be joined to the upstream's address"));
    };
    let body = Rope::new(pieces);
    let sent = body.sent();
    let mut request = Request::new(body);
    *request.method_mut() = arrival.head.method;
    *request.uri_mut() = address;
    *request.headers_mut() = arrival.head.headers;
    prepare(request.headers_mut(), arrival.endpoint.operation);
    provider.authorize(request.headers_mut());
    bill.depart();
    let deadline = Instant::now() + provider.config.first_byte_timeout;
    let flight = Flight { answer: provider.send(request), bill, sent, deadline };
    let mut waiting = Waiting { app: app.clone(), flight: Some(flight) };
    let (response, bill) = waiting.head().await?;
    Ok(Answer { response, bill, usage_events })
}

/// The body with what has to be spliced in.
fn spliced(arrival: &Arrival, call: Call, config: &Upstream, limit: Option<u64>) -> (Option<Vec<Bytes>>, UsageEvents) {
    let operation = arrival.endpoint.operation;
    let wanted =
        config.include_usage == IncludeUsage::Splice && operation == Operation::ChatCompletions && call.ask.stream;
    let usage = wanted.then(|| ask_for_usage(&call.ask)).flatten();
    let events = if usage.is_some() { UsageEvents::Drop } else { UsageEvents::Pass };
    let mut edits: Vec<Edit> = usage.into_iter().collect();
    if let Some(tokens) = limit {
        match set_output_limit(&call.ask, &call.pieces, operation, chat_limit(config), tokens) {
            Some(limits) => edits.extend(limits),
            None => return (None, UsageEvents::Pass),
        }
    }
    match edits.is_empty() {
        true => (Some(call.pieces), events),
        false => match splice(&call.pieces, edits) {
            Some(pieces) => (Some(pieces), events),
            None if limit.is_some() => (None, UsageEvents::Pass),
            None => (Some(call.pieces), UsageEvents::Pass),
        },
    }
}

/// OpenAI's reasoning models refuse `max_tokens`; many others know nothing else.
pub fn chat_limit(config: &Upstream) -> ChatLimit {
    if &*config.provider == "openai" { ChatLimit::MaxCompletionTokens } else { ChatLimit::MaxTokens }
}

fn prepare(headers: &mut HeaderMap, operation: Operation) {
    scrub_request(headers);
    if operation.generates() {
        // So that the usage can be read as it passes; what comes compressed all the same is decoded on the side.
        headers.insert(ACCEPT_ENCODING, HeaderValue::from_static("identity"));
    }
}

impl Waiting {
    async fn head(&mut self) -> Result<(Response<Incoming>, Bill), Refusal> {
        let Some(deadline) = self.flight.as_ref().map(|flight| flight.deadline) else { return Err(broken_off()) };
        let drain = &self.app.drain;
        let answer = std::future::poll_fn(|context| match self.flight.as_mut().map(|flight| flight.poll(context)) {
            Some(Poll::Ready(answer)) => Poll::Ready(Some(answer)),
            // The connection is polled once more when the process ends, which is seen here.
            Some(Poll::Pending) if drain.phase() == Phase::Cutting => Poll::Ready(None),
            Some(Poll::Pending) | None => Poll::Pending,
        });
        let answer = tokio::time::timeout_at(deadline, answer).await;
        let Some(mut flight) = self.flight.take() else { return Err(broken_off()) };
        match answer {
            Ok(Some(Ok(response))) => {
                flight.bill.note_status(response.status().as_u16());
                Ok((response, flight.bill))
            }
            Ok(Some(Err(error))) => Err(flight.fail(&error)),
            Ok(None) => Err(flight.give_up(End::Cut)),
            Err(_) => Err(flight.give_up(End::Silent)),
        }
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
        let Ok(Ok(response)) = answer else { return self.abandon() };
        let (head, body) = response.into_parts();
        self.bill.note_unseen_status(head.status.as_u16());
        let flow = Flow::new(app, &head, body, self.bill, UsageEvents::Pass);
        flow.read_out(permit).await;
    }

    /// The client has left, and nobody waits for the answer any more.
    fn abandon(self) {
        let end = if self.sent.withdraw() { End::Withdrawn } else { End::ClientLeft };
        self.bill.settle(end, &Facts::default());
    }

    /// The client waits, and is told that there will be no answer.
    fn give_up(self, end: End) -> Refusal {
        let end = if self.sent.withdraw() { End::Unreachable } else { end };
        self.bill.settle(end, &Facts::default());
        end.refusal()
    }

    /// There will be no answer.
    fn fail(self, error: &SendError) -> Refusal {
        tracing::warn!(request_id = %self.bill.request_id(), error = %chain(error), "no answer from the upstream");
        let end = if error.is_connect() { End::Unreachable } else { End::BrokenOff };
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

fn broken_off() -> Refusal {
    End::BrokenOff.refusal()
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
