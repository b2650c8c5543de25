//! Respond: heads of answers and bodies of refusals. The only room that turns a [`Refusal`] into HTTP.

use std::borrow::Cow;

use http::header::{
    ALLOW, CACHE_CONTROL, CONTENT_LENGTH, CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue, RETRY_AFTER,
};
use http::{Response, StatusCode};

use super::admit::{Admission, write_standing};
use super::body::Body;
use super::dispatch::Served;
use super::route::{Candidate, Decision};
use crate::domain::entry::{CacheUse, Tier};
use crate::domain::ids::RequestId;
use crate::domain::money::Usd;
use crate::domain::operation::Dialect;
use crate::domain::refusal::{Cause, Refusal};
use crate::protocol::error_body;

const REQUEST_ID: HeaderName = HeaderName::from_static("x-tollgate-request-id");
const MODEL: HeaderName = HeaderName::from_static("x-tollgate-model");
const REQUESTED_MODEL: HeaderName = HeaderName::from_static("x-tollgate-requested-model");
const MAX_TOKENS: HeaderName = HeaderName::from_static("x-tollgate-max-tokens");
const TIER: HeaderName = HeaderName::from_static("x-tollgate-tier");
const REASON: HeaderName = HeaderName::from_static("x-tollgate-reason");
const ATTEMPTS: HeaderName = HeaderName::from_static("x-tollgate-attempts");
const CACHE: HeaderName = HeaderName::from_static("x-tollgate-cache");
const COST: HeaderName = HeaderName::from_static("x-tollgate-cost-usd");
const SHOULD_RETRY: HeaderName = HeaderName::from_static("x-should-retry");
/// On every answer that Tollgate gives itself, so that it cannot be taken for the provider's; its value is the cause.
pub const REFUSED: HeaderName = HeaderName::from_static("x-tollgate-refused");
const RETRY_AFTER_MS: HeaderName = HeaderName::from_static("retry-after-ms");
const ANTHROPIC_REQUEST_ID: HeaderName = HeaderName::from_static("request-id");

/// Headers that we usually add to an answer.
pub const HEADERS_USUAL: usize = 7;

/// SDKs do not wait longer than this for a retry, whatever `Retry-After` says, and ask in vain before it is over.
const PATIENCE_S: u32 = 60;

/// What was decided, for the answer's head.
#[derive(Clone, Debug)]
pub struct Told {
    /// The request's name.
    pub id: RequestId,
    /// The model that was asked for.
    pub requested: std::sync::Arc<str>,
    /// The model that was sent.
    pub model: std::sync::Arc<str>,
    /// How hard the request is, where that was asked.
    pub tier: Option<Tier>,
    /// Who was asked for it.
    pub upstream: std::sync::Arc<str>,
    /// The rule that chose it.
    pub reason: Cow<'static, str>,
    /// Attempts that were made.
    pub attempts: usize,
    /// The output limit that a spend cap imposed.
    pub output_limit: Option<u64>,
    /// How the caller's limits stand.
    pub admission: Admission,
    /// What the cache did, where it is on.
    pub cache: Option<CacheUse>,
}

impl Told {
    /// What is known once it is decided where the request goes.
    #[must_use]
    pub fn of(id: RequestId, decision: &Decision, admission: Admission) -> Self {
        Self {
            id,
            requested: decision.requested.clone(),
            model: decision.first.model.clone(),
            upstream: decision.first.provider.config.name.clone(),
            tier: decision.tier,
            reason: decision.first.reason.clone(),
            attempts: 0,
            output_limit: None,
            admission,
            cache: None,
        }
    }

    /// What is known once somebody has answered.
    pub fn answered(&mut self, served: &Served<'_>) {
        self.by(served.candidate);
        (self.attempts, self.output_limit) = (served.attempts, served.given.output_limit());
    }

    /// Who it was.
    pub fn by(&mut self, candidate: &Candidate) {
        self.upstream = candidate.provider.config.name.clone();
        (self.model, self.reason) = (candidate.model.clone(), candidate.reason.clone());
    }

    /// Our own no to a request that was admitted.
    #[must_use]
    pub fn refuse(&self, refusal: &Refusal, dialect: Dialect) -> Response<Body> {
        let mut response = refuse(refusal, dialect, self.id);
        self.admission.write(response.headers_mut());
        response
    }

    /// An answer that the operator has written, which says that it is none of a provider, and why it is given.
    #[must_use]
    pub fn written(&self, content_type: &'static str, body: String, cause: Cause) -> Response<Body> {
        let mut response = Response::new(Body::whole(body));
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
        headers.insert(REFUSED, HeaderValue::from_static(cause.code()));
        self.write(headers);
        response
    }

    /// Adds Tollgate's own headers to an upstream's.
    pub fn write(&self, headers: &mut HeaderMap) {
        write_id(self.id, headers);
        self.admission.write(headers);
        // Nobody expects one where the answer came from the cache.
        let told_from = if self.cache == Some(CacheUse::Stale) { 1 } else { 2 };
        write_tried(self.attempts, told_from, &self.model, headers);
        if let Some(cache) = self.cache {
            headers.insert(CACHE, HeaderValue::from_static(cache.name()));
        }
        if let Some(tokens) = self.output_limit {
            headers.insert(MAX_TOKENS, HeaderValue::from(tokens));
        }
        if !self.model.is_empty() {
            if let Ok(requested) = HeaderValue::from_str(&self.requested) {
                headers.insert(REQUESTED_MODEL, requested);
            }
            if let Some(tier) = self.tier {
                headers.insert(TIER, HeaderValue::from_static(tier.name()));
            }
            // The name of an odd model in it has been told above, if it can be.
            if let Ok(reason) = HeaderValue::from_str(&self.reason) {
                headers.insert(REASON, reason);
            }
        }
    }
}

/// Adds what the request cost.
pub fn write_cost(cost: Usd, headers: &mut HeaderMap) {
    if let Ok(cost) = HeaderValue::try_from(cost.fixed()) {
        headers.insert(COST, cost);
    }
}

/// Our own no, in the dialect of the caller.
#[must_use]
pub fn refuse(refusal: &Refusal, dialect: Dialect, id: RequestId) -> Response<Body> {
    let rendered = error_body::render(dialect, refusal, id);
    let mut response = Response::new(Body::whole(rendered));
    *response.status_mut() = StatusCode::from_u16(refusal.status()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(error_body::CONTENT_TYPE));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(REFUSED, HeaderValue::from_static(refusal.cause.code()));
    if let Some(limited) = &refusal.limited {
        headers.insert(RETRY_AFTER_MS, HeaderValue::from(limited.wait_ms));
        write_standing(&limited.standing, headers);
    }
    if refusal.cause.is_final() || refusal.limited.as_ref().is_some_and(|it| it.wait_s() > PATIENCE_S) {
        headers.insert(SHOULD_RETRY, HeaderValue::from_static("false"));
    }
    if let Some(seconds) = refusal.retry_after_s {
        headers.insert(RETRY_AFTER, HeaderValue::from(seconds));
    }
    if let Some(tried) = &refusal.tried {
        write_tried(tried.attempts, 2, &tried.model, headers);
    }
    if let Some(method) = refusal.allow {
        headers.insert(ALLOW, HeaderValue::from_static(method));
    }
    write_id(id, headers);
    if dialect == Dialect::Anthropic
        && let Ok(value) = HeaderValue::from_bytes(&id.letters())
    {
        headers.insert(ANTHROPIC_REQUEST_ID, value);
    }
    response
}

/// Adds how many attempts there were, if as many as `told_from`, and which model was asked last.
fn write_tried(attempts: usize, told_from: usize, model: &str, headers: &mut HeaderMap) {
    if attempts >= told_from {
        headers.insert(ATTEMPTS, HeaderValue::from(attempts));
    }
    // A name that cannot stand in a header came from the client, who knows it.
    if let Ok(model) = HeaderValue::from_str(model)
        && !model.is_empty()
    {
        headers.insert(MODEL, model);
    }
}

/// The length that a head announces.
#[must_use]
pub fn announced_length(headers: &HeaderMap) -> Option<u64> {
    headers.get(CONTENT_LENGTH)?.to_str().ok()?.parse().ok()
}

fn write_id(id: RequestId, headers: &mut HeaderMap) {
    if let Ok(value) = HeaderValue::from_bytes(&id.letters()) {
        headers.insert(REQUEST_ID, value);
    }
}
