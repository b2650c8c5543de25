//! Permit: whether the caller's key may be used for this, in three looks: at the head, at the body, at the decision.
//!
//! Invariant: a refusal names what was asked for, and never what would be allowed.

use std::borrow::Cow;

use bytes::Bytes;

use super::arrive::Arrival;
use super::identify::Caller;
use super::read::Call;
use super::route::{Candidate, Decision};
use crate::config::Permit;
use crate::domain::operation::Operation;
use crate::domain::refusal::{Cause, Refusal};
use crate::protocol::declared::{Declared, declared};

/// The model that has Tollgate decide.
const AUTO: &str = "auto";

/// Letters of a name that a refusal repeats.
const NAME_LETTERS_TOLD: usize = 128;

/// Looks at the head, before a byte of the body is read.
///
/// # Errors
/// The key may not be used from there, or not for this operation.
pub fn head(arrival: &Arrival, caller: &Caller) -> Result<(), Refusal> {
    let (policy, operation) = (&caller.policy, arrival.endpoint.operation);
    if !policy.allows_network(arrival.peer) {
        return Err(forbidden(format!("this key may not be used from {}", arrival.peer.to_canonical())));
    }
    if !policy.allows_operation(operation) {
        return Err(forbidden(format!("this key may not be used for {}", operation.name())));
    }
    let has_hidden_models = matches!(operation, Operation::Batches | Operation::Unknown);
    if policy.limits_models() && has_hidden_models {
        let message = format!("this key may use some models only, and those of {} are not looked at", operation.name());
        return Err(forbidden(message));
    }
    Ok(())
}

/// Looks at what the body asks for.
///
/// # Errors
/// It asks for a model or declares a tool that the key may not use.
pub fn body(arrival: &Arrival, caller: &Caller, call: &Call) -> Result<(), Refusal> {
    let (policy, operation) = (&caller.policy, arrival.endpoint.operation);
    if policy.limits_models() {
        let in_path = || arrival.endpoint.model(&arrival.path).map(|model| model.to_string());
        let asked = call.ask.model.as_ref().map(|model| model.text.to_string()).or_else(in_path).unwrap_or_default();
        if asked != AUTO {
            model(policy, operation, &asked)?;
        }
        if call.ask.outside_passes {
            let message = "this key may use some models only, and the request asks for passes of others";
            return Err(forbidden(message));
        }
    }
    if policy.limits_tools() {
        let text = whole(call.plain.as_ref().unwrap_or(&call.pieces));
        let found = declared(operation, &text);
        tools(policy, &found.map_err(|why| forbidden(format!("this key may use some tools only, and {why}")))?)?;
    }
    Ok(())
}

/// Looks at where the request is about to go, and takes out where else it may not go.
///
/// # Errors
/// The key may not use the upstream, or the model that was decided on.
pub fn decision(arrival: &Arrival, caller: &Caller, decision: &mut Decision) -> Result<(), Refusal> {
    candidate(arrival, &caller.policy, &decision.first)?;
    decision.above.take_if(|above| candidate(arrival, &caller.policy, &above.0).is_err());
    decision.others.retain(|other| candidate(arrival, &caller.policy, other).is_ok());
    Ok(())
}

/// Looks at one place where the request may go.
///
/// # Errors
/// The key may not use the upstream, or the model.
pub fn candidate(arrival: &Arrival, policy: &Permit, candidate: &Candidate) -> Result<(), Refusal> {
    let upstream = &candidate.provider.config.name;
    if !policy.allows_upstream(upstream) {
        return Err(forbidden(format!("this key may not use the upstream {upstream:?}")));
    }
    match policy.limits_models() {
        true => model(policy, arrival.endpoint.operation, &candidate.model),
        false => Ok(()),
    }
}

fn model(policy: &Permit, operation: Operation, model: &str) -> Result<(), Refusal> {
    if names_no_model(operation) || policy.allows_model(model) && !model.is_empty() {
        return Ok(());
    }
    let message = match model.is_empty() {
        true => "this key may use some models only, and the request names none".to_owned(),
        false => format!("this key may not use the model {:?}", told(model)),
    };
    Err(forbidden(message).about("model"))
}

/// Whether nothing is asked of a model.
const fn names_no_model(operation: Operation) -> bool {
    match operation {
        Operation::Models
        | Operation::Files
        | Operation::FileContent
        | Operation::StoredBatch
        | Operation::BatchResults
        | Operation::StoredResponse
        | Operation::StoredCache
        | Operation::StoredInteraction => true,
        Operation::ChatCompletions
        | Operation::Completions
        | Operation::Responses
        | Operation::ResponsesInputTokens
        | Operation::Embeddings
        | Operation::Messages
        | Operation::CountTokens
        | Operation::GenerateContent
        | Operation::GeminiCountTokens
        | Operation::EmbedContent
        | Operation::ImageGenerations
        | Operation::ImageEdits
        | Operation::ImageVariations
        | Operation::Transcriptions
        | Operation::Translations
        | Operation::Speech
        | Operation::Moderations
        | Operation::Batches
        | Operation::CachedContents
        | Operation::Interactions
        | Operation::Unknown => false,
    }
}

fn tools(policy: &Permit, found: &Declared) -> Result<(), Refusal> {
    let barred = found.client.iter().find(|name| !policy.allows_tool(name));
    if let Some(name) = barred {
        return Err(forbidden(format!("this key may not use the tool {:?}", told(name))).about("tools"));
    }
    let barred = found.server.iter().find(|kind| !policy.allows_server_tool(kind));
    match barred {
        Some(kind) => {
            let message = format!("this key may not use the provider's tool {:?}", told(kind));
            Err(forbidden(message).about("tools"))
        }
        None => Ok(()),
    }
}

fn forbidden(message: impl Into<Cow<'static, str>>) -> Refusal {
    Refusal::new(Cause::Forbidden, message)
}

/// As much of a name as a refusal repeats.
fn told(name: &str) -> &str {
    name.char_indices().nth(NAME_LETTERS_TOLD).map_or(name, |(end, _)| &name[..end])
}

/// The body in one piece.
fn whole(pieces: &[Bytes]) -> Cow<'_, [u8]> {
    match pieces {
        [] => Cow::Borrowed(&[]),
        [one] => Cow::Borrowed(one),
        many => Cow::Owned(many.concat()),
    }
}
