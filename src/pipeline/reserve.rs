//! Reserve: the worst case is worked out and written down before anything is sent.

use super::arrive::Arrival;
use super::read::Call;
use super::route::Decision;
use super::settle::{Bill, Pricing};
use crate::app::App;
use crate::bank::tab::Tab;
use crate::domain::price::{self, Context};
use crate::domain::refusal::Refusal;
use crate::protocol::bounds::Bounds;

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
    let bounds = Bounds::of(&call.ask, arrival.endpoint.operation, call.length(), model.as_deref());
    let context = Context {
        at_ms: arrival.at_ms,
        requested_service_tier: call.ask.service_tier.as_deref(),
        geo: call.ask.geo.as_deref(),
        speed: call.ask.speed.as_deref(),
        ..Context::default()
    };
    let quote = match &model {
        _ if arrival.endpoint.operation.is_free() => Some(crate::domain::money::Usd::ZERO),
        Some(model) => bounds.price_bounds().and_then(|bounds| price::quote(model.row(), &bounds, &context).ok()),
        None => None,
    };
    let pricing = Pricing {
        snapshot: snapshot.clone(),
        provider: decision.provider.clone(),
        operation: arrival.endpoint.operation,
        model: decision.model.clone(),
        input_bound: bounds.input_tokens,
        reasoning_asked: call.ask.features.reasoning,
        requested_service_tier: call.ask.service_tier.clone(),
    };
    let debt = tab.open(quote).await.map_err(|error| error.refusal())?;
    Ok(Bill::new(debt, pricing, app.bank.clone()))
}
