//! Dispatch: splice, scrub, send, and wait for the answer's head.
//!
//! Each request is sent once. A client that leaves during the wait does not call the request back: its answer is read
//! in the background, within bounds, since it will be billed.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::header::{ACCEPT_ENCODING, CONTENT_ENCODING, HeaderMap, HeaderValue};
use http::{Request, Response};
use hyper::body::Incoming;
use tokio::time::Instant;

use super::abandon::{self, Permit};
use super::arrive::Arrival;
use super::flow::Flow;
use super::read::{self, Call};
use super::route::Decision;
use super::settle::{Bill, End};
use crate::app::App;
use crate::config::{IncludeUsage, Upstream};
use crate::domain::operation::Operation;
use crate::domain::refusal::{Cause, Refusal};
use crate::drain::Phase;
use crate::protocol::facts::Facts;
use crate::protocol::splice::{ChatLimit, Edit, ask_for_usage, set_model, set_output_limit, splice, splice_path};
use crate::protocol::strip::UsageEvents;
use crate::upstream::client::{ResponseFuture, SendError};
use crate::upstream::headers::scrub_request;
use crate::upstream::rope::{Rope, Sent};

/// The longest time that a body may take which is sent on as it arrives, besides the wait for its answer.
const UPLOAD_MAX: Duration = Duration::from_secs(3600);

/// The price book's name for Azure, which serves the models of several makers behind one API.
const AZURE: &str = "azure";

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
    mut arrival: Arrival,
    call: Call,
    decision: &Decision,
    mut bill: Bill,
) -> Result<Answer, Refusal> {
    let provider = &decision.provider;
    let limit = bill.output_limit();
    let Some((pieces, usage_events)) = spliced(&mut arrival, call, decision, limit) else {
        // The hold counts on the limit, so that without it nothing may leave.
        bill.settle(End::Unreachable, &Facts::default());
        return Err(Refusal::new(Cause::Malformed, "the model or the output limit cannot be put into this body"));
    };
    let Ok(address) = provider.address(&arrival.path, arrival.head.uri.query()) else {
        bill.settle(End::Unreachable, &Facts::default());
        return Err(Refusal::new(Cause::Malformed, "the path cannot be joined to the upstream's address"));
    };
    let streams = arrival.endpoint.operation.streams_body();
    let body = match streams {
        true => Rope::flowing(read::upload(arrival.body, arrival.snapshot.config.server.body_timeout)),
        false => Rope::new(pieces),
    };
    let sent = body.sent();
    let mut request = Request::new(body);
    *request.method_mut() = arrival.head.method;
    *request.uri_mut() = address;
    *request.headers_mut() = arrival.head.headers;
    prepare(request.headers_mut(), arrival.endpoint.operation);
    provider.authorize(request.headers_mut());
    bill.depart();
    let upload_max = if streams { UPLOAD_MAX } else { Duration::ZERO };
    let deadline = Instant::now() + upload_max + provider.config.first_byte_timeout;
    let flight = Flight { answer: provider.send(request), bill, sent, deadline };
    let mut waiting = Waiting { app: app.clone(), flight: Some(flight) };
    let (response, bill) = waiting.head().await?;
    Ok(Answer { response, bill, usage_events })
}

/// The body with what has to be spliced in; `None` where `limit` has no place. A compressed one goes on decoded then: every
/// provider reads it, and packing it again would cost time that nobody gains.
fn spliced(
    arrival: &mut Arrival,
    call: Call,
    decision: &Decision,
    limit: Option<u64>,
) -> Option<(Vec<Bytes>, UsageEvents)> {
    let operation = arrival.endpoint.operation;
    let usage = wants_usage(operation, &call, decision).then(|| ask_for_usage(&call.ask)).flatten();
    let events = if usage.is_some() { UsageEvents::Drop } else { UsageEvents::Pass };
    let mut edits: Vec<Edit> = usage.into_iter().collect();
    if decision.model != decision.requested {
        edits.extend(renamed(arrival, &call, &decision.model)?);
    }
    let text = call.plain.as_ref().unwrap_or(&call.pieces);
    if let Some(tokens) = limit {
        let chat = chat_limit(&decision.provider.config);
        edits.extend(set_output_limit(&call.ask, text, operation, chat, tokens)?);
    }
    if edits.is_empty() {
        return Some((call.pieces, events));
    }
    match splice(text, edits) {
        Some(pieces) => {
            if call.plain.is_some() {
                arrival.head.headers.remove(CONTENT_ENCODING);
            }
            Some((pieces, events))
        }
        None if limit.is_some() || decision.model != decision.requested => None,
        None => Some((call.pieces, UsageEvents::Pass)),
    }
}

/// The edit that names the model which was chosen; where the path names it, the path is changed instead. `None` where it
/// has no place.
fn renamed(arrival: &mut Arrival, call: &Call, model: &str) -> Option<Option<Edit>> {
    if call.ask.model.is_some() {
        return set_model(&call.ask, model).map(Some);
    }
    let span = arrival.endpoint.model_in_path.clone()?;
    arrival.path = splice_path(&arrival.path, span, model)?.into();
    Some(None)
}

/// Whether the stream is to tell its usage although the client did not ask for that.
fn wants_usage(operation: Operation, call: &Call, decision: &Decision) -> bool {
    let config = &decision.provider.config;
    config.include_usage == IncludeUsage::Splice
        && matches!(operation, Operation::ChatCompletions | Operation::Completions)
        && call.ask.stream
        && !(&*config.provider == AZURE && is_of_another_maker(&decision.model))
}

/// OpenAI's reasoning models refuse `max_tokens`; many others know nothing else.
pub fn chat_limit(config: &Upstream) -> ChatLimit {
    if &*config.provider == "openai" { ChatLimit::MaxCompletionTokens } else { ChatLimit::MaxTokens }
}

/// Whether a model on Azure is none of OpenAI's: those send their usage unasked (recorded: Grok, DeepSeek), and some
/// refuse the option.
fn is_of_another_maker(model: &str) -> bool {
    const MAKERS: [&str; 15] = [
        "grok",
        "deepseek",
        "mistral",
        "ministral",
        "codestral",
        "llama",
        "phi-",
        "cohere",
        "command",
        "jais",
        "kimi",
        "qwen",
        "claude",
        "jamba",
        "glm",
    ];
    let model = model.to_ascii_lowercase();
    MAKERS.iter().any(|maker| model.contains(maker))
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
    fn fail(mut self, error: &SendError) -> Refusal {
        tracing::warn!(request_id = %self.bill.request_id(), error = %chain(error), "no answer from the upstream");
        if let Some(cut) = self.sent.cut() {
            let refusal = read::cut_short(cut);
            self.bill.note_refusal(&refusal);
            self.bill.settle(End::ClientLeft, &Facts::default());
            return refusal;
        }
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
