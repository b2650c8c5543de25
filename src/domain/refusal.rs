//! [`Refusal`]: our own no, before it is rendered for a client.
//!
//! It says what was wrong, whose fault that is and whether asking again may help; how a client sees it is the
//! business of the dialect it speaks. An upstream's own error is never one of these: it passes as it is.
//!
//! Invariant: a refusal never holds a secret; its message may hold names that the client sent.

use std::borrow::Cow;
use std::sync::Arc;

use super::cap::Exceeded;
use super::fault::Fault;
use super::limit::Limited;

/// Why Tollgate says no.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Cause {
    /// The credential is missing, unknown or revoked.
    Unauthorized,
    /// The caller is known and may not do this.
    Forbidden,
    /// No such path.
    NotFound,
    /// The path is known, the method is another.
    MethodNotAllowed,
    /// A WebSocket was asked for where only plain requests are answered. Codex falls back to POST on this alone.
    UpgradeRequired,
    /// A rate limit is reached; later the same request is served.
    RateLimited,
    /// The same request has come again and again.
    Looping,
    /// The body or the path cannot be read.
    Malformed,
    /// The body is larger than the limit.
    TooLarge,
    /// The head of the request is larger than the limit.
    HeadersTooLarge,
    /// The body is compressed in a way that is not known.
    UnsupportedEncoding,
    /// The body did not arrive in time.
    BodyTimeout,
    /// No upstream serves the model or the dialect.
    NoUpstream,
    /// The upstream could not be reached.
    UpstreamUnreachable,
    /// The upstream did not answer in time.
    UpstreamTimeout,
    /// The upstream has failed too often and is left alone for a while.
    UpstreamDown,
    /// A spend cap has no room for it.
    CapExceeded,
    /// Its cost is not known, and its caller has a spend cap.
    Unpriced,
    /// Its cost has no bound, and its caller has a spend cap.
    Unbounded,
    /// The ledger cannot be written, so that nothing may be spent.
    StoreUnavailable,
    /// More requests or bodies are in flight than may be.
    Overloaded,
    /// Only a kept answer was wanted, and there is none.
    NotCached,
    /// This Tollgate is shutting down.
    Draining,
}

/// Our own no.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// Which no it is.
    pub cause: Cause,
    /// One sentence for the human at the client, lowercase, without a full stop.
    pub message: Cow<'static, str>,
    /// The field of the request that is at fault, if one is.
    pub param: Option<&'static str>,
    /// After how many seconds asking again makes sense; none: no hint is given.
    pub retry_after_s: Option<u32>,
    /// The cap that has no room, and the status that config wants for that.
    pub exceeded: Option<Box<(Exceeded, u16)>>,
    /// The method that the path takes, where another was used.
    pub allow: Option<&'static str>,
    /// The limit that was reached, if it was one.
    pub limited: Option<Box<Limited>>,
    /// What was tried before, if anything was.
    pub tried: Option<Box<Tried>>,
}

/// What was tried before a no.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tried {
    /// Attempts that were made.
    pub attempts: usize,
    /// The model of the last one.
    pub model: Arc<str>,
}

impl Cause {
    /// All of them.
    pub const ALL: [Self; 23] = [
        Self::Unauthorized,
        Self::Forbidden,
        Self::NotFound,
        Self::MethodNotAllowed,
        Self::UpgradeRequired,
        Self::RateLimited,
        Self::Looping,
        Self::Malformed,
        Self::TooLarge,
        Self::HeadersTooLarge,
        Self::UnsupportedEncoding,
        Self::BodyTimeout,
        Self::NoUpstream,
        Self::UpstreamUnreachable,
        Self::UpstreamTimeout,
        Self::UpstreamDown,
        Self::CapExceeded,
        Self::Unpriced,
        Self::Unbounded,
        Self::StoreUnavailable,
        Self::Overloaded,
        Self::NotCached,
        Self::Draining,
    ];

    /// The HTTP status.
    #[must_use]
    pub const fn status(self) -> u16 {
        match self {
            Self::Malformed | Self::CapExceeded | Self::Unpriced | Self::Unbounded => 400,
            Self::Unauthorized => 401,
            Self::Forbidden => 403,
            Self::NotFound | Self::NoUpstream => 404,
            Self::MethodNotAllowed => 405,
            Self::BodyTimeout => 408,
            Self::TooLarge => 413,
            Self::UnsupportedEncoding => 415,
            Self::UpgradeRequired => 426,
            Self::RateLimited | Self::Looping => 429,
            Self::HeadersTooLarge => 431,
            Self::UpstreamUnreachable => 502,
            Self::UpstreamDown | Self::StoreUnavailable | Self::Overloaded | Self::Draining => 503,
            Self::UpstreamTimeout | Self::NotCached => 504,
        }
    }

    /// Whose fault it is.
    #[must_use]
    pub const fn fault(self) -> Fault {
        match self {
            Self::UpstreamUnreachable | Self::UpstreamTimeout | Self::UpstreamDown => Fault::Upstream,
            Self::StoreUnavailable | Self::Overloaded | Self::Draining => Fault::Tollgate,
            Self::Unauthorized
            | Self::Forbidden
            | Self::NotFound
            | Self::MethodNotAllowed
            | Self::UpgradeRequired
            | Self::RateLimited
            | Self::Looping
            | Self::Malformed
            | Self::TooLarge
            | Self::HeadersTooLarge
            | Self::UnsupportedEncoding
            | Self::BodyTimeout
            | Self::NoUpstream
            | Self::CapExceeded
            | Self::Unpriced
            | Self::Unbounded
            | Self::NotCached => Fault::Client,
        }
    }

    /// The machine's word, in bodies, ledger and log.
    #[must_use]
    pub const fn code(self) -> &'static str {
        match self {
            Self::Unauthorized => "unauthorized",
            Self::Forbidden => "forbidden",
            Self::NotFound => "not_found",
            Self::MethodNotAllowed => "method_not_allowed",
            Self::UpgradeRequired => "upgrade_required",
            Self::RateLimited => "rate_limited",
            Self::Looping => "request_loop",
            Self::Malformed => "malformed",
            Self::TooLarge => "too_large",
            Self::HeadersTooLarge => "headers_too_large",
            Self::UnsupportedEncoding => "unsupported_encoding",
            Self::BodyTimeout => "body_timeout",
            Self::NoUpstream => "no_upstream",
            Self::UpstreamUnreachable => "upstream_unreachable",
            Self::UpstreamTimeout => "upstream_timeout",
            Self::UpstreamDown => "upstream_down",
            Self::CapExceeded => "cap_exceeded",
            Self::Unpriced => "model_unpriced",
            Self::Unbounded => "unbounded",
            Self::StoreUnavailable => "store_unavailable",
            Self::Overloaded => "overloaded",
            Self::NotCached => "not_cached",
            Self::Draining => "draining",
        }
    }

    /// Whether the same request can never succeed, so that `x-should-retry: false` belongs to the answer.
    ///
    /// A body that came too slowly is the client's fault and may well arrive the next time; a rate limit passes.
    #[must_use]
    pub const fn is_final(self) -> bool {
        matches!(self.fault(), Fault::Client) && !matches!(self, Self::BodyTimeout | Self::RateLimited)
    }
}

impl Refusal {
    /// A no with its sentence.
    pub fn new(cause: Cause, message: impl Into<Cow<'static, str>>) -> Self {
        Self {
            cause,
            message: message.into(),
            param: None,
            retry_after_s: None,
            exceeded: None,
            allow: None,
            limited: None,
            tried: None,
        }
    }

    /// A spend cap has no room; answered with `status`.
    #[must_use]
    pub fn exceeded(exceeded: Exceeded, status: u16) -> Self {
        let refusal = Self::new(Cause::CapExceeded, exceeded.to_string());
        Self { exceeded: Some(Box::new((exceeded, status))), ..refusal }
    }

    /// The HTTP status.
    #[must_use]
    pub fn status(&self) -> u16 {
        self.exceeded.as_ref().map_or(self.cause.status(), |exceeded| exceeded.1)
    }

    /// The same, naming the field at fault.
    #[must_use]
    pub fn about(self, param: &'static str) -> Self {
        Self { param: Some(param), ..self }
    }

    /// The same, naming the method that the path takes.
    #[must_use]
    pub fn takes(self, method: &'static str) -> Self {
        Self { allow: Some(method), ..self }
    }

    /// The same, with a time in seconds after which asking again makes sense.
    #[must_use]
    pub fn after(self, retry_after_s: u32) -> Self {
        Self { retry_after_s: Some(retry_after_s), ..self }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_can_never_work_is_final() {
        for cause in Cause::ALL {
            let is_ours = cause.status() < 500 || cause == Cause::NotCached;
            let expect = is_ours && ![Cause::BodyTimeout, Cause::RateLimited].contains(&cause);
            assert_eq!(cause.is_final(), expect, "{}", cause.code());
        }
    }

    #[test]
    fn each_cause_has_its_own_word() {
        let mut words: Vec<_> = Cause::ALL.iter().map(|cause| cause.code()).collect();
        words.sort_unstable();
        words.dedup();
        assert_eq!(words.len(), Cause::ALL.len());
    }
}
