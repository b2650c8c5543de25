//! Escalate: a model that took the place of a dearer one has failed at a request, and the request is asked again one tier up.
//!
//! It has failed if its answer is empty, a refusal, cut off at no limit of the client's, or none of the JSON that was asked for.
//! That is seen in whole answers, which are read before their heads go out. Both attempts are held, recorded and billed, the
//! failure is learned of the route, and the conversation goes on with the model that answered.
//!
//! Invariant: only what Tollgate itself routed down is asked again, once, and never after a byte has reached the client. Where the
//! second attempt comes to nothing, the client gets the first answer as it came.

use std::sync::{Arc, OnceLock};

use bytes::Bytes;
use http::Response;
use http::response::Parts;

use super::arrive::Arrival;
use super::body::Body;
use super::deliver::{Ready, WHOLE_BYTES_MAX, deliver, ready, repeat};
use super::dispatch::{Given, Kept, Served, Trail, Unserved, dispatch};
use super::flight::Answer;
use super::flow::Learned;
use super::keep::Recording;
use super::read::Call;
use super::respond::{Told, write_cost};
use super::route::{Candidate, Decision};
use super::settle::End;
use super::tap::{Read, Tap};
use crate::app::App;
use crate::bank::tab::Tab;
use crate::domain::entry::{Entry, Tier};

/// A whole answer that is none.
struct Failed<'d> {
    candidate: &'d Candidate,
    attempts: usize,
    head: Parts,
    body: Bytes,
}

/// Whether an answer is looked at before the client gets it.
#[must_use]
pub fn may_escalate(decision: &Decision, served: &Served<'_>) -> bool {
    let is_first = std::ptr::eq(served.candidate, &raw const decision.first);
    is_first && decision.above.is_some() && served.given.status().as_u16() == 200
}

/// Answers the client, with what the tier above says where the first answer is none.
///
/// # Errors
/// The upstream broke off a whole answer.
pub async fn escalate<'d>(
    app: &Arc<App>,
    arrival: &mut Arrival,
    call: Call,
    decision: &'d Decision,
    served: Served<'d>,
    told: &mut Told,
    recording: Option<Box<Recording>>,
) -> Result<Response<Body>, Unserved> {
    let Served { candidate, attempts, given } = served;
    let (answer, above) = match (given, &decision.above) {
        (Given::Flowing(answer), Some(above)) => (*answer, above),
        (given, _) => return deliver(app, Served { candidate, attempts, given }, told, recording).await,
    };
    let (mut head, body, learned) = match look(app, candidate, answer, told, recording).await? {
        Ok(looked) => looked,
        Err(response) => return Ok(*response),
    };
    if learned.failure().is_none() {
        told.write(&mut head.headers);
        if let Some(cost) = learned.settle() {
            write_cost(cost, &mut head.headers);
        }
        return Ok(Response::from_parts(head, Body::whole(body)));
    }
    let Some(tab) = learned.close() else { return Err(Unserved::Told(End::BrokenOff.refusal())) };
    let failed = Failed { candidate, attempts, head, body };
    let up = up(decision, above);
    app.metrics.note_again(&up.first.provider.config.name, "escalation");
    ask_above(app, arrival, &call, &up, failed, told, tab).await
}

/// Reads an answer that is whole and short before its head goes out; any other is on its way.
async fn look(
    app: &Arc<App>,
    candidate: &Candidate,
    answer: Answer,
    told: &Told,
    recording: Option<Box<Recording>>,
) -> Result<Result<(Parts, Bytes, Learned), Box<Response<Body>>>, Unserved> {
    let respond = |mut head: Parts, body| {
        told.write(&mut head.headers);
        Box::new(Response::from_parts(head, body))
    };
    let Ready { head, flow, .. } = match ready(app, candidate, answer, recording) {
        Ok(ready) => ready,
        Err(head) => return Ok(Err(respond(*head, Body::Empty))),
    };
    let bytes_max = usize::try_from(WHOLE_BYTES_MAX).unwrap_or(usize::MAX);
    match Tap::new(flow).read_ahead(bytes_max).await.map_err(Unserved::Broken)? {
        Read::Longer(tap) => Ok(Err(respond(head, Body::Flowing(tap)))),
        Read::Whole(body, flow) => Ok(Ok((head, body, flow.learned(End::Complete)))),
    }
}

/// The decision one tier up, at the upstream that was asked.
fn up(decision: &Decision, (candidate, tier): &(Candidate, Tier)) -> Decision {
    let first = Candidate { provider: decision.first.provider.clone(), ..candidate.clone() };
    let (tier, others, lowered) = (Some(*tier), Vec::new(), OnceLock::new());
    Decision { first, tier, others, lowered, above: None, asks_judge: false, ..decision.clone() }
}

/// Asks the tier above; what failed is given where that comes to nothing.
async fn ask_above(
    app: &Arc<App>,
    arrival: &mut Arrival,
    call: &Call,
    up: &Decision,
    failed: Failed<'_>,
    told: &mut Told,
    mut tab: Tab,
) -> Result<Response<Body>, Unserved> {
    let before = tab.entry().clone();
    tab.entry().tier = up.tier;
    let tab = match dispatch(app, arrival, call, up, tab, &mut Trail::default()).await {
        Ok(served) if served.given.status().is_success() => {
            if let (Some(trace), Some(tier)) = (&up.first.trace, up.tier) {
                trace.escalated(&up.first.model, tier);
            }
            told.answered(&served);
            (told.attempts, told.tier) = (failed.attempts + served.attempts, up.tier);
            return deliver(app, served, told, None).await;
        }
        Ok(served) => served.given.close(),
        Err(unserved) => unserved.close().0,
    };
    let Some(mut tab) = tab else { return Err(Unserved::Told(End::BrokenOff.refusal())) };
    restore(tab.entry(), before, failed.head.status.as_u16());
    told.by(failed.candidate);
    let kept = Kept { head: failed.head, body: failed.body, tab };
    Ok(repeat(kept, told))
}

/// The entry tells of the answer that the client gets, and of the attempts that were made after it.
fn restore(entry: &mut Entry, before: Entry, status: u16) {
    let (attempts, usage) = (std::mem::take(&mut entry.attempts), std::mem::take(&mut entry.usage));
    *entry = Entry { attempts, usage, status, ..before };
}
