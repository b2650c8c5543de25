//! Instead: a kept answer past its time, where nobody else answers.
//!
//! It is given where the upstream failed, or where a cap has no room and its policy is to answer from the cache alone;
//! always marked as stale, in the head and in the ledger.
//!
//! Invariant: what the client did wrong is told to it, and never covered by an old answer.

use http::{Response, StatusCode};

use super::body::Body;
use super::dispatch::{Served, Unserved};
use super::replay::Replay;
use super::respond::Told;
use crate::app::App;
use crate::domain::cap::OnExceed;
use crate::domain::entry::CacheUse;
use crate::domain::fault::Fault;
use crate::domain::refusal::{Cause, Refusal};
use crate::protocol::again::Advice;

/// Whether an upstream's answer is a failure of its own, for which an old answer is better.
#[must_use]
pub fn is_failure(served: &Served<'_>) -> bool {
    let status = served.given.status();
    let has_no_credit = matches!(status, StatusCode::UNAUTHORIZED | StatusCode::PAYMENT_REQUIRED | StatusCode::FORBIDDEN)
        // With a credential of its own it is the client who has to know.
        && served.candidate.provider.has_credential();
    has_no_credit || status.is_server_error() || Advice::of(status.as_u16(), 0, |_| None).is_some()
}

/// Gives the upstream's failure back, so that something else can be given instead of it.
pub fn failed(served: Served<'_>) -> Unserved {
    let refusal = Refusal::new(Cause::UpstreamUnreachable, format!("the upstream answered {}", served.given.status()));
    match served.given.close() {
        Some(tab) => Unserved::Ended(Box::new(tab), refusal),
        None => Unserved::Told(refusal),
    }
}

/// Answers with `spare` if that may be, else as it is.
///
/// # Errors
/// Our own no. The request has its entry.
pub fn instead(
    app: &App,
    unserved: Unserved,
    spare: Option<Replay>,
    told: &mut Told,
) -> Result<Response<Body>, Refusal> {
    let Some(spare) = spare.filter(|_| may_be_stale(unserved.refusal())) else { return Err(unserved.settle(app)) };
    match unserved.close() {
        (Some(tab), _) => spare.give(CacheUse::Stale, told, tab),
        (None, refusal) => Err(refusal),
    }
}

/// Whether an old answer is better than this.
fn may_be_stale(refusal: &Refusal) -> bool {
    let is_cache_only = |on_exceed: &OnExceed| *on_exceed == OnExceed::CacheOnly;
    refusal.cause.fault() == Fault::Upstream
        || refusal.exceeded.as_ref().is_some_and(|exceeded| is_cache_only(&exceeded.0.on_exceed))
}
