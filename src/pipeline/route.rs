//! Route: which upstream and which model.

use std::borrow::Cow;
use std::sync::Arc;

use super::arrive::Arrival;
use super::choose;
use super::identify::Caller;
use super::read::Call;
use crate::domain::entry::Tier;
use crate::domain::refusal::{Cause, Refusal};
use crate::upstream::provider::Provider;

/// Where a request goes.
#[derive(Clone, Debug)]
pub struct Decision {
    /// The upstream.
    pub provider: Arc<Provider>,
    /// The model that was asked for; empty where the operation has none.
    pub requested: Arc<str>,
    /// The model that is sent.
    pub model: Arc<str>,
    /// How hard the request is, where that was asked.
    pub tier: Option<Tier>,
    /// The rule that decided.
    pub reason: Cow<'static, str>,
}

/// Chooses.
///
/// # Errors
/// No upstream serves the dialect, the caller has no credential for the one that does, or no model can be chosen.
pub fn route(arrival: &Arrival, caller: &Caller, call: &Call) -> Result<Decision, Refusal> {
    let requested: Arc<str> = match (&call.ask.model, arrival.endpoint.model(&arrival.path)) {
        (Some(model), _) => (*model.text).into(),
        (None, Some(in_path)) => (*in_path).into(),
        (None, None) => Arc::default(),
    };
    let dialect = arrival.endpoint.dialect;
    let (provider, reason) = match &arrival.named {
        Some(named) => (named, "named upstream"),
        None => {
            let found = arrival.snapshot.provider_for(dialect, &requested).ok_or_else(|| {
                let message = format!("no upstream speaks {}", dialect.name());
                Refusal::new(Cause::NoUpstream, message)
            })?;
            (found, "requested model")
        }
    };
    if provider.has_credential() && !caller.is_trusted {
        let message = "this upstream uses Tollgate's own credential: a Tollgate key (tg_...) is needed";
        return Err(Refusal::new(Cause::Unauthorized, message));
    }
    let provider = provider.clone();
    Ok(match choose::choose(arrival, caller, call, &provider, &requested)? {
        Some(choice) => Decision { provider, requested, model: choice.model, tier: choice.tier, reason: choice.reason },
        None => Decision { provider, model: requested.clone(), requested, tier: None, reason: reason.into() },
    })
}
