//! Parcel: what goes to an upstream, made anew for each attempt: the client's request with what has to be spliced in, scrubbed,
//! with our credential.
//!
//! Invariant: the client's own request is only read, so that the next attempt begins with what the client sent. A body
//! that flows from the client is gone with its first attempt.

use bytes::Bytes;
use http::Request;
use http::header::{ACCEPT_ENCODING, CONTENT_ENCODING, HeaderMap, HeaderValue};

use super::arrive::Arrival;
use super::listed::names_auto;
use super::read::{self, Call};
use super::route::Candidate;
use super::settle::Bill;
use crate::config::{IncludeUsage, Upstream};
use crate::domain::operation::Operation;
use crate::domain::refusal::{Cause, Refusal};
use crate::protocol::splice::{ChatLimit, Edit, ask_for_usage, set_model, set_output_limit, splice, splice_path};
use crate::protocol::strip::UsageEvents;
use crate::upstream::headers::{drop_credentials, scrub_request};
use crate::upstream::rope::{Rope, Sent};

/// The price book's name for Azure, which serves the models of several makers behind one API.
const AZURE: &str = "azure";

/// A request to an upstream.
#[derive(Debug)]
pub struct Parcel {
    /// Head and body.
    pub request: Request<Rope>,
    /// Whether the body has left.
    pub sent: Sent,
    /// Whether the answer will hold a usage event that the client did not ask for.
    pub usage_events: UsageEvents,
}

/// A body with what has to be spliced in.
struct Spliced {
    pieces: Vec<Bytes>,
    usage_events: UsageEvents,
    /// Whether a body that came compressed is no longer so.
    is_unpacked: bool,
}

/// Makes what is sent to `candidate` of a request that asked for the model `requested`, with the credential and the output limit
/// of its `bill`.
///
/// # Errors
/// The body takes no limit or no other model, or the path cannot be joined to the upstream's address. Nothing can be sent then.
pub fn pack(
    arrival: &mut Arrival,
    call: &Call,
    requested: &str,
    candidate: &Candidate,
    bill: &Bill,
) -> Result<Parcel, Refusal> {
    let operation = arrival.endpoint.operation;
    let renames = *candidate.model != *requested;
    let limit = bill.output_limit();
    // The hold counts on the limit, so that without it nothing may leave.
    let Some(Spliced { pieces, usage_events, is_unpacked }) = spliced(operation, call, candidate, renames, limit)
    else {
        return Err(Refusal::new(Cause::Malformed, "the model or the output limit cannot be put into this body"));
    };
    let in_path = arrival.endpoint.model_in_path.clone().filter(|_| renames && call.ask.model.is_none());
    let path = in_path.and_then(|span| splice_path(&arrival.path, span, &candidate.model));
    let path = path.as_deref().unwrap_or(&arrival.path);
    let Ok(address) = candidate.provider.address(path, arrival.head.uri.query()) else {
        return Err(Refusal::new(Cause::Malformed, "the path cannot be joined to the upstream's address"));
    };
    let body = match arrival.body.take_if(|_| operation.streams_body()) {
        Some(body) => Rope::flowing(read::upload(body, arrival.snapshot.config.server.body_timeout)),
        None => Rope::new(pieces),
    };
    let sent = body.sent();
    let mut request = Request::new(body);
    *request.method_mut() = arrival.head.method.clone();
    *request.uri_mut() = address;
    let headers = request.headers_mut();
    headers.clone_from(&arrival.head.headers);
    if is_unpacked {
        headers.remove(CONTENT_ENCODING);
    }
    prepare(headers, operation);
    if names_auto(arrival) {
        // What is added to has to be read.
        headers.insert(ACCEPT_ENCODING, HeaderValue::from_static("identity"));
    }
    match bill.lease() {
        Some(lease) => lease.authorize(headers),
        // The client's never goes where one of ours belongs.
        None if candidate.provider.has_credential() => drop_credentials(headers),
        None => {}
    }
    Ok(Parcel { request, sent, usage_events })
}

/// The body with what has to be spliced in; `None` where `limit` has no place. A compressed one goes on decoded then: every
/// provider reads it, and packing it again would cost time that nobody gains.
fn spliced(
    operation: Operation,
    call: &Call,
    candidate: &Candidate,
    renames: bool,
    limit: Option<u64>,
) -> Option<Spliced> {
    let usage = usage_edit(operation, call, candidate);
    let usage_events = if usage.is_some() { UsageEvents::Drop } else { UsageEvents::Pass };
    let mut edits: Vec<Edit> = usage.into_iter().collect();
    if renames && call.ask.model.is_some() {
        edits.push(set_model(&call.ask, &candidate.model)?);
    }
    let text = call.plain.as_ref().unwrap_or(&call.pieces);
    if let Some(tokens) = limit {
        let chat = chat_limit(&candidate.provider.config);
        edits.extend(set_output_limit(&call.ask, text, operation, chat, tokens)?);
    }
    let as_it_came = |usage_events| Spliced { pieces: call.pieces.clone(), usage_events, is_unpacked: false };
    if edits.is_empty() {
        return Some(as_it_came(usage_events));
    }
    match splice(text, edits) {
        Some(pieces) => Some(Spliced { pieces, usage_events, is_unpacked: call.plain.is_some() }),
        None if renames || limit.is_some() => None,
        None => Some(as_it_came(UsageEvents::Pass)),
    }
}

/// The edit that makes the stream tell its usage, where the client did not ask for that.
pub fn usage_edit(operation: Operation, call: &Call, candidate: &Candidate) -> Option<Edit> {
    wants_usage(operation, call, candidate).then(|| ask_for_usage(&call.ask)).flatten()
}

/// Whether the stream is to tell its usage although the client did not ask for that.
fn wants_usage(operation: Operation, call: &Call, candidate: &Candidate) -> bool {
    let config = &candidate.provider.config;
    config.include_usage == IncludeUsage::Splice
        && matches!(operation, Operation::ChatCompletions | Operation::Completions)
        && call.ask.stream
        && !(&*config.provider == AZURE && is_of_another_maker(&candidate.model))
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
