//! Downgrade: the cheaper model that a cap's policy names, for a request whose own does not fit.
//!
//! It happens once for a request. The cheaper model is quoted and held like any other, in every scope at once.
//!
//! Invariant: the model is one that the request's key may use, and that is known to be able to take the request.

use super::arrive::Arrival;
use super::choose::lack;
use super::permit;
use super::read::Call;
use super::route::{Candidate, Decision, Lowered, may_ask};
use crate::domain::cap::{Exceeded, OnExceed};
use crate::domain::refusal::{Cause, Refusal};
use crate::domain::routing::Lack;

/// Who can be asked instead of a request's own model, which a cap refuses.
///
/// # Errors
/// The refusal, where no policy names another model; else with the reason why that one does not help.
pub fn downgrade<'d>(
    arrival: &Arrival,
    call: &Call,
    decision: &'d Decision,
    refused: &Candidate,
    refusal: Refusal,
) -> Result<&'d Candidate, Refusal> {
    if decision.lowered.get().is_some() {
        return Err(beside(decision, refusal));
    }
    let Some((exceeded, OnExceed::Downgrade(model))) = refusal.exceeded.as_deref().map(|it| (&it.0, &it.0.on_exceed))
    else {
        return Err(refusal);
    };
    match candidate(arrival, call, decision, refused, (exceeded, model)) {
        Ok(candidate) => {
            let lowered = Lowered { candidate, refusal };
            Ok(&decision.lowered.get_or_init(|| Box::new(lowered)).candidate)
        }
        Err(why) => {
            let message = format!("{}; {model:?}, which the cap names for that, {why}", refusal.message);
            Err(Refusal { message: message.into(), ..refusal })
        }
    }
}

/// The refusal that a cheaper model was to prevent, with what `then` came of it. A ledger that fails is told alone, since asking
/// again helps.
pub fn beside(decision: &Decision, then: Refusal) -> Refusal {
    let tells = matches!(then.cause, Cause::CapExceeded | Cause::Unpriced | Cause::Unbounded | Cause::UpstreamDown);
    let Some(lowered) = decision.lowered.get().filter(|_| tells) else { return then };
    let (first, model) = (&lowered.refusal, &lowered.candidate.model);
    let message =
        format!("{}; {model:?}, which the cap names for that, does not help: {}", first.message, then.message);
    Refusal { message: message.into(), ..first.clone() }
}

fn candidate(
    arrival: &Arrival,
    call: &Call,
    decision: &Decision,
    refused: &Candidate,
    (exceeded, model): (&Exceeded, &std::sync::Arc<str>),
) -> Result<Candidate, String> {
    let dialect = arrival.endpoint.dialect;
    // Whoever names an upstream means that one.
    let provider = arrival.named.as_ref().or_else(|| arrival.snapshot.provider_for(dialect, model));
    let Some(provider) = provider.filter(|provider| provider.config.dialect == dialect) else {
        return Err("has no upstream here".to_owned());
    };
    if refused.model == *model {
        return Err("is what was asked for".to_owned());
    }
    let whose = &decision.whose;
    if !may_ask(whose.is_trusted, &decision.first, provider) {
        return Err("is at an upstream that this key may not use".to_owned());
    }
    let (kind, window) = (exceeded.scope_words().0, exceeded.window);
    let window = window.map_or_else(|| "request".to_owned(), |window| window.to_string());
    let reason = format!("downgraded: {kind} cap, {window}").into();
    let (trace, output_limit) = (decision.first.trace.clone(), refused.output_limit);
    let candidate = Candidate { provider: provider.clone(), model: model.clone(), reason, trace, output_limit };
    if permit::candidate(arrival, &whose.policy, &candidate).is_err() {
        return Err("may not be used with this key".to_owned());
    }
    match lack(arrival, call, provider, model) {
        Some(Lack::Absent) => Err("is not in the price book".to_owned()),
        Some(lack) => Err(lack.to_string()),
        None => Ok(candidate),
    }
}
