//! Instead: a kept answer past its time, or one that the operator has written, where nobody else answers.
//!
//! It is given where the upstream failed, or where a cap has no room and its policy is to answer from the cache alone;
//! always marked as stale, in the head and in the ledger. What was written stands for a failed upstream alone.
//!
//! Invariant: what the client did wrong is told to it, and never covered by an old answer.

use std::sync::Arc;

use http::{Response, StatusCode};

use super::arrive::Arrival;
use super::body::Body;
use super::dispatch::{Served, Unserved};
use super::read::Call;
use super::replay::Replay;
use super::respond::Told;
use crate::app::App;
use crate::bank::tab::Tab;
use crate::domain::cap::OnExceed;
use crate::domain::entry::{CacheUse, Outcome};
use crate::domain::fault::Fault;
use crate::domain::operation::Operation;
use crate::domain::refusal::{Cause, Refusal};
use crate::protocol::again::Advice;
use crate::protocol::canned::{Canned, canned, is_spoken};

/// The reason in the ledger and the head of an answer that the operator has written.
pub const WRITTEN: &str = "static answer";

/// What may be given where nobody answers.
#[derive(Debug)]
pub struct Spare {
    /// A kept answer past its time.
    pub kept: Option<Replay>,
    /// What the operator has written.
    pub written: Option<Written>,
}

/// An answer that the operator has written, for one request.
#[derive(Debug)]
pub struct Written {
    text: Arc<str>,
    model: Arc<str>,
    operation: Operation,
    is_stream: bool,
    has_events: bool,
}

impl Spare {
    /// Whether there is nothing.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.kept.is_none() && self.written.is_none()
    }
}

impl Written {
    /// What config says to whoever asks for `model`.
    #[must_use]
    pub fn of(arrival: &Arrival, call: &Call, model: &Arc<str>) -> Option<Self> {
        let config = &arrival.snapshot.config;
        if config.fallbacks.is_empty() || !is_spoken(arrival.endpoint.operation) {
            return None;
        }
        let text = config.fallback_answer(model)?.clone();
        let query = arrival.head.uri.query().unwrap_or_default();
        Some(Self {
            text,
            model: model.clone(),
            operation: arrival.endpoint.operation,
            is_stream: call.ask.stream,
            has_events: query.split('&').any(|pair| pair == "alt=sse"),
        })
    }

    /// Ends the request with it, at the cost of the attempts that have failed.
    fn give(self, app: &App, cause: Cause, told: &mut Told, mut tab: Tab) -> Result<Response<Body>, Refusal> {
        let (id, now_ms) = (told.id.to_string(), app.clock.now_ms());
        let answer = Canned {
            operation: self.operation,
            is_stream: self.is_stream,
            has_events: self.has_events,
            model: &self.model,
            text: &self.text,
            request_id: &id,
            now_s: now_ms / 1000,
        };
        let Some((content_type, body)) = canned(&answer) else {
            let refusal = Refusal::new(cause, "the upstream has failed");
            tab.refuse(&refusal);
            return Err(refusal);
        };
        let elapsed_ms = tab.elapsed_ms();
        let entry = tab.entry();
        (entry.status, entry.reason, entry.first_byte_ms) = (200, WRITTEN.into(), Some(elapsed_ms));
        tab.answer(Outcome::UpstreamError)?;
        told.reason = WRITTEN.into();
        Ok(told.written(content_type, body, cause))
    }
}

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

/// Answers with what is in `spare` if that may be, else as it is.
///
/// # Errors
/// Our own no. The request has its entry.
pub fn instead(app: &App, unserved: Unserved, spare: Spare, told: &mut Told) -> Result<Response<Body>, Refusal> {
    if let Some(kept) = spare.kept.filter(|_| may_be_stale(unserved.refusal())) {
        return match unserved.close() {
            (Some(mut tab), _) => {
                let entry = tab.entry();
                // It is an answer of the first that was asked, for the reason that it was, whoever has failed since.
                entry.reason = told.reason.as_ref().into();
                told.attempts = entry.attempts.len();
                kept.give(CacheUse::Stale, told, tab)
            }
            (None, refusal) => Err(refusal),
        };
    }
    let is_failure = unserved.refusal().cause.fault() == Fault::Upstream;
    let Some(written) = spare.written.filter(|_| is_failure) else { return Err(unserved.settle(app)) };
    match unserved.close() {
        (Some(tab), refusal) => written.give(app, refusal.cause, told, tab),
        (None, refusal) => Err(refusal),
    }
}

/// Whether an old answer is better than this.
fn may_be_stale(refusal: &Refusal) -> bool {
    let is_cache_only = |on_exceed: &OnExceed| *on_exceed == OnExceed::CacheOnly;
    refusal.cause.fault() == Fault::Upstream
        || refusal.exceeded.as_ref().is_some_and(|exceeded| is_cache_only(&exceeded.0.on_exceed))
}
