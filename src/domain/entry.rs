//! [`Entry`]: one row of the ledger, written once when a request has ended and never changed.
//!
//! Invariant: an entry's cost is the sum of its attempts' costs, and null as soon as one of them is unpriced.

use std::sync::Arc;

use super::account::Account;
use super::ids::RequestId;
use super::money::Usd;
use super::operation::{Dialect, Operation};
use super::tokens::{Usage, UsageSource};

/// Bytes of quantised request features kept with each entry, for later what-ifs.
pub const FEATURE_BYTES: usize = 32;

/// One request, from arrival to settlement.
#[derive(Clone, Debug, PartialEq)]
pub struct Entry {
    /// Also in the `x-tollgate-request-id` header and the log.
    pub id: RequestId,
    /// When the request arrived, unix milliseconds UTC.
    pub at_ms: u64,
    /// Who pays.
    pub account: Account,
    /// The wire API that the client spoke.
    pub dialect: Dialect,
    /// What the client asked for.
    pub operation: Operation,
    /// The upstream that answered, empty if none was chosen.
    pub upstream: Arc<str>,
    /// The model in the client's request, empty where the operation has none.
    pub requested_model: Arc<str>,
    /// The model that was sent to the upstream.
    pub model: Arc<str>,
    /// The model that the upstream says it used.
    pub served_model: Option<Box<str>>,
    /// The complexity that routing found, if it ran.
    pub tier: Option<Tier>,
    /// The rule that chose the model, or the cause of a refusal.
    pub reason: Box<str>,
    /// What the response cache did.
    pub cache: CacheUse,
    /// Whether the client asked for a stream.
    pub stream: bool,
    /// The HTTP status that the client got; 499 if it left before there was one.
    pub status: u16,
    /// How the request ended.
    pub outcome: Outcome,
    /// The service tier in the client's request.
    pub requested_service_tier: Option<Box<str>>,
    /// The service tier that the upstream says it used.
    pub service_tier: Option<Box<str>>,
    /// Where the upstream says it ran.
    pub geo: Option<Box<str>>,
    /// The speed that the upstream says it ran at.
    pub speed: Option<Box<str>>,
    /// What was metered over all attempts that were billed.
    pub usage: Usage,
    /// How `usage` is known.
    pub usage_source: UsageSource,
    /// Whether the charge was above the hold.
    pub overrun: bool,
    /// What the provider will bill; `None` is unpriced, which is not zero.
    pub cost: Option<Usd>,
    /// What a cache or the router saved.
    pub saved: Usd,
    /// The price book and row that the charge used.
    pub price: Option<PriceRef>,
    /// The worst case that was held before the call; `None` where it could not be bounded or priced.
    pub quote: Option<Usd>,
    /// From arrival to the last byte, in milliseconds.
    pub latency_ms: u32,
    /// From arrival to the first byte of the answer's body, in milliseconds.
    pub first_byte_ms: Option<u32>,
    /// Every dispatch, in order.
    pub attempts: Vec<Attempt>,
    /// Quantised features of the request.
    pub features: [u8; FEATURE_BYTES],
    /// How many requests this entry stands for: 1, or more refusals of one key counted together.
    pub requests: u32,
}

impl Entry {
    /// An entry that says nothing yet.
    #[must_use]
    pub fn blank() -> Self {
        Self {
            id: RequestId::default(),
            at_ms: 0,
            account: Account { key: Arc::default(), user: None, team: None, tags: Arc::default() },
            dialect: Dialect::OpenAi,
            operation: Operation::Unknown,
            upstream: Arc::default(),
            requested_model: Arc::default(),
            model: Arc::default(),
            served_model: None,
            tier: None,
            reason: Box::default(),
            cache: CacheUse::Bypass,
            stream: false,
            status: 0,
            outcome: Outcome::Refused,
            requested_service_tier: None,
            service_tier: None,
            geo: None,
            speed: None,
            usage: Usage::default(),
            usage_source: UsageSource::None,
            overrun: false,
            cost: Some(Usd::ZERO),
            saved: Usd::ZERO,
            price: None,
            quote: None,
            latency_ms: 0,
            first_byte_ms: None,
            attempts: Vec::new(),
            features: [0; FEATURE_BYTES],
            requests: 1,
        }
    }
}

/// One dispatch to one upstream, as it closed.
#[derive(Clone, Debug, PartialEq)]
pub struct Attempt {
    /// Its place among the request's attempts, from 0.
    pub ordinal: u8,
    /// Where it went.
    pub upstream: Arc<str>,
    /// The model that was sent.
    pub model: Arc<str>,
    /// The upstream's status; 0 if there was none.
    pub status: u16,
    /// How it ended.
    pub outcome: Outcome,
    /// How its usage is known.
    pub usage_source: UsageSource,
    /// What it will be billed; `None` is unpriced.
    pub cost: Option<Usd>,
}

/// Names the rates of a charge, so that it can be computed again after prices have changed.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct PriceRef {
    /// The version of the price book.
    pub version: Arc<str>,
    /// The number of the journaled rate row.
    pub row: u32,
}

/// How hard a request is, as routing sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Tier {
    /// Classification, extraction.
    Simple,
    /// Analysis, writing; also: unsure.
    Medium,
    /// Reasoning.
    Complex,
}

/// What the response cache did for a request.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum CacheUse {
    /// It was not asked.
    #[default]
    Bypass,
    /// It had no answer.
    Miss,
    /// It answered an identical request.
    Hit,
    /// It answered a near-identical request.
    Near,
    /// It answered with an answer past its time.
    Stale,
    /// The answer of an identical request in flight was shared.
    Joined,
    /// A near-identical request was answered from the cache, was asked again in the background, and got about the same answer.
    Confirmed,
    /// The same, and it got another answer.
    FalseHit,
}

/// How a request or an attempt ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Outcome {
    /// The whole answer was delivered, and it was no error.
    Complete,
    /// The client left first.
    ClientAbort,
    /// The upstream answered with an error, at once or inside a stream.
    UpstreamError,
    /// The upstream broke off, or never answered.
    UpstreamAborted,
    /// The upstream took too long.
    Timeout,
    /// Tollgate said no; nothing was dispatched.
    Refused,
    /// Answered from the cache.
    CacheHit,
    /// Answered by somebody else's identical request.
    Joined,
    /// The process died in between; counted at its quote.
    Unsettled,
}

macro_rules! words {
    ($kind:ident { $($variant:ident = $word:literal),+ $(,)? }) => {
        impl $kind {
            /// All of them, in the order of their journal codes.
            pub const ALL: &'static [Self] = &[$(Self::$variant),+];

            /// The word in ledger, reports and log.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self {
                    $(Self::$variant => $word),+
                }
            }
        }
    };
}

words!(Tier { Simple = "simple", Medium = "medium", Complex = "complex" });
words!(CacheUse {
    Bypass = "bypass",
    Miss = "miss",
    Hit = "hit",
    Near = "near",
    Stale = "stale",
    Joined = "joined",
    Confirmed = "confirmed",
    FalseHit = "false_hit",
});
words!(Outcome {
    Complete = "complete",
    ClientAbort = "client_abort",
    UpstreamError = "upstream_error",
    UpstreamAborted = "upstream_aborted",
    Timeout = "timeout",
    Refused = "refused",
    CacheHit = "cache_hit",
    Joined = "joined",
    Unsettled = "unsettled",
});
