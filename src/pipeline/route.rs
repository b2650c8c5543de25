//! Route: which upstream and which model.

use std::borrow::Cow;
use std::sync::Arc;

use super::arrive::Arrival;
use super::choose;
use super::identify::Caller;
use super::read::Call;
use crate::app::App;
use crate::domain::entry::{Entry, Tier};
use crate::domain::refusal::{Cause, Refusal};
use crate::upstream::provider::Provider;

/// Where a request goes.
#[derive(Clone, Debug)]
pub struct Decision {
    /// The model that was asked for; empty where the operation has none.
    pub requested: Arc<str>,
    /// How hard the request is, where that was asked.
    pub tier: Option<Tier>,
    /// Where it goes first.
    pub first: Candidate,
    /// Where it goes if that fails, in this order.
    pub others: Vec<Candidate>,
}

/// One upstream and one model that may serve a request.
#[derive(Clone, Debug)]
pub struct Candidate {
    /// The upstream.
    pub provider: Arc<Provider>,
    /// The model that is sent.
    pub model: Arc<str>,
    /// The rule that chose it.
    pub reason: Cow<'static, str>,
}

/// Chooses.
///
/// # Errors
/// No upstream serves the dialect, the caller has no credential for the one that does, or no model can be chosen.
pub fn route(app: &App, arrival: &Arrival, caller: &Caller, call: &Call) -> Result<Decision, Refusal> {
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
    let choice = choose::choose(app, arrival, caller, call, provider, &requested)?;
    let (model, tier, reason) = match choice {
        Some(choice) => (choice.model, choice.tier, choice.reason),
        None => (requested.clone(), None, reason.into()),
    };
    let first = Candidate { provider: provider.clone(), model, reason };
    Ok(Decision { requested, tier, first, others: Vec::new() })
}

impl Candidate {
    /// Notes in the ledger's entry that the request goes here.
    pub fn note(&self, entry: &mut Entry) {
        entry.upstream = self.provider.config.name.clone();
        entry.model = self.model.clone();
        entry.reason = (*self.reason).into();
    }
}
