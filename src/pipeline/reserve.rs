//! Reserve: the worst case is worked out and written down before anything is sent.

use super::arrive::Arrival;
use super::read::Call;
use super::route::Decision;
use super::settle::{Bill, Pricing};
use crate::app::App;
use crate::bank::tab::Tab;
use crate::domain::money::Usd;
use crate::domain::operation::Operation;
use crate::domain::price::{self, Context, Model, Prompt};
use crate::domain::refusal::Refusal;
use crate::protocol::ask::Ask;
use crate::protocol::bounds::{Bounds, ModelFacts};

/// Quotes the request and opens its attempt.
///
/// # Errors
/// The ledger cannot be written. The request has its entry then.
pub async fn reserve(
    app: &App,
    arrival: &Arrival,
    call: &Call,
    decision: &Decision,
    tab: Tab,
) -> Result<Bill, Refusal> {
    let snapshot = &arrival.snapshot;
    let model = match decision.model.is_empty() {
        true => None,
        false => snapshot.book.find(&decision.provider.config.provider, None, &decision.model),
    };
    let operation = arrival.endpoint.operation;
    let facts = model.as_deref().map_or_else(ModelFacts::default, |model| facts(model, decision, operation));
    let bounds = Bounds::of(&call.ask, &facts, operation.generates(), None);
    let context = Context {
        at_ms: arrival.at_ms,
        requested_service_tier: call.ask.service_tier.as_deref(),
        geo: call.ask.geo.as_deref(),
        speed: call.ask.speed.as_deref(),
        ..Context::default()
    };
    let quote = match &model {
        _ if operation.is_free() => Some(Usd::ZERO),
        Some(model) => quote(model, &bounds, &call.ask, &context),
        None => None,
    };
    let pricing = Pricing {
        snapshot: snapshot.clone(),
        provider: decision.provider.clone(),
        operation,
        model: decision.model.clone(),
        input_bound: bounds.input_tokens,
        may_reason: call.ask.features.reasoning,
        is_stream: call.ask.stream,
        service_tier: call.ask.service_tier.clone(),
    };
    let debt = tab.open(quote).await?;
    Ok(Bill::new(debt, pricing, app.bank.clone()))
}

fn facts(model: &Model, decision: &Decision, operation: Operation) -> ModelFacts {
    ModelFacts {
        context: model.context_total().or(model.context_window()),
        max_output: model.max_output(),
        image_tokens: None,
        // Its chat completions bill reasoning beside the completion tokens, its responses within them (PROTOCOLS).
        runs_on_its_own: runs_on_its_own(&decision.provider.config.provider, model.id()),
        reasoning_outside: &*decision.provider.config.provider == "xai" && operation == Operation::ChatCompletions,
    }
}

/// Whether a model searches although nobody asked: Perplexity's all do
/// (<https://docs.perplexity.ai/docs/getting-started/models>), Groq's compound systems too
/// (<https://console.groq.com/docs/compound>).
fn runs_on_its_own(provider: &str, model: &str) -> bool {
    provider == "perplexity" || provider == "groq" && model.contains("compound")
}

/// The most that the request can cost; `None` where that has no bound or no price.
fn quote(model: &Model, bounds: &Bounds, ask: &Ask, context: &Context<'_>) -> Option<Usd> {
    if bounds.unbounded.is_some() {
        return None;
    }
    let calls = bounds.server_tool_calls;
    let tools: Vec<(&str, u64)> = ask.server_tools.iter().map(|tool| (undated(&tool.kind), calls)).collect();
    let has_media = ask.features.images + ask.features.audios + ask.features.videos + ask.features.documents > 0;
    let bounds = price::Bounds {
        input: bounds.input_tokens,
        output: bounds.output_tokens?,
        tools: &tools,
        prompt: if has_media || ask.features.stored_context { Prompt::Any } else { Prompt::Text },
        ..price::Bounds::default()
    };
    price::quote(model.row(), &bounds, context).ok()
}

/// A server tool's name without the date of its version, as in `web_search_20250305`.
fn undated(kind: &str) -> &str {
    match kind.rsplit_once('_') {
        Some((name, date)) if date.len() == 8 && date.bytes().all(|byte| byte.is_ascii_digit()) => name,
        Some(_) | None => kind,
    }
}
