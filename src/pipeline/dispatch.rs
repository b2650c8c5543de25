//! Dispatch: one attempt after the other, until there is an answer.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use super::arrive::Arrival;
use super::flight::{Answer, Failure, fly};
use super::parcel::pack;
use super::read::Call;
use super::route::{Candidate, Decision};
use super::settle::Bill;
use crate::app::App;
use crate::domain::refusal::Refusal;

/// The longest time that a body may take which is sent on as it arrives, besides the wait for its answer.
const UPLOAD_MAX: Duration = Duration::from_secs(3600);

/// Sends the request and waits for the head of its answer.
///
/// # Errors
/// The upstream cannot be reached, broke off or did not answer in time. The request has its entry then.
pub async fn dispatch(
    app: &Arc<App>,
    arrival: &mut Arrival,
    call: &Call,
    decision: &Decision,
    bill: Bill,
) -> Result<Answer, Refusal> {
    let attempt = attempt(app, arrival, call, &decision.requested, &decision.first, bill).await;
    attempt.map_err(|failure| failure.settle())
}

async fn attempt(
    app: &Arc<App>,
    arrival: &mut Arrival,
    call: &Call,
    requested: &str,
    candidate: &Candidate,
    bill: Bill,
) -> Result<Answer, Box<Failure>> {
    let upload_max = if arrival.endpoint.operation.streams_body() { UPLOAD_MAX } else { Duration::ZERO };
    let parcel = match pack(arrival, call, requested, candidate, bill.output_limit()) {
        Ok(parcel) => parcel,
        Err(refusal) => return Err(Box::new(Failure::unsent(bill, refusal))),
    };
    let deadline = Instant::now() + upload_max + candidate.provider.config.first_byte_timeout;
    fly(app, parcel, &candidate.provider, bill, deadline).await
}
