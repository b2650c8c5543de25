//! `[alerts]`: when operators are told, and where.

use std::time::Duration;

use http::Uri;

use super::connections::Way;
use super::secret::Secret;
use crate::domain::money::Usd;

/// What is watched. A rule that is `None` or 0 is off.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Alerts {
    /// Where alerts are sent, besides the log.
    pub webhooks: Vec<Webhook>,
    /// Over how long the rules on traffic look back.
    pub window: Duration,
    /// Requests within it before those rules say anything.
    pub requests_min: u64,
    /// How long an alert is not repeated while its cause lasts.
    pub again_after: Duration,
    /// The slowest of twenty requests may take this long, milliseconds.
    pub p95_latency_ms: Option<u64>,
    /// Failures of providers and of Tollgate, percent of requests.
    pub error_percent: Option<u64>,
    /// A request's input, percent of its model's context window.
    pub context_percent: Option<u64>,
    /// What one request may cost.
    pub request_usd: Option<Usd>,
    /// Tool results that are no errors, percent, at least.
    pub tool_success_percent: Option<u64>,
    /// Tasks that feedback calls good, percent, at least.
    pub completion_percent: Option<u64>,
    /// Tasks that feedback calls escalated, percent, at most.
    pub escalation_percent: Option<u64>,
    /// How many times its own usual a key may spend in an hour, or use tokens in a request.
    pub unusual_factor: Option<u64>,
    /// An hour below this is never unusual.
    pub unusual_usd_min: Usd,
    /// The same request so often within `repeat_window` is a loop.
    pub repeats: Option<u64>,
    /// Over how long repetitions are counted.
    pub repeat_window: Duration,
    /// What becomes of a loop.
    pub on_repeat: OnRepeat,
}

/// What becomes of requests that repeat without end.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OnRepeat {
    /// They pass, and operators are told.
    #[default]
    Alert,
    /// They pass at the pace at which they would be no loop; the others are refused with the time to wait.
    Throttle,
    /// They are refused until the window has passed.
    Refuse,
}

/// Where alerts are sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Webhook {
    /// The address.
    pub uri: Uri,
    /// The same where it is a secret, as Slack's are: it is never printed.
    pub hidden: Option<Secret>,
    /// What its body looks like.
    pub shape: Shape,
    /// Signs the body.
    pub secret: Option<Secret>,
    /// How it is reached.
    pub way: Way,
}

/// What a webhook's body looks like.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Shape {
    /// One JSON object with all that is known.
    #[default]
    Json,
    /// Slack's `{"text": ...}` (<https://docs.slack.dev/messaging/sending-messages-using-incoming-webhooks>).
    Slack,
}

impl Default for Alerts {
    fn default() -> Self {
        Self {
            webhooks: Vec::new(),
            window: Duration::from_secs(300),
            requests_min: 20,
            again_after: Duration::from_secs(3600),
            p95_latency_ms: Some(10_000),
            error_percent: Some(5),
            context_percent: Some(80),
            request_usd: Usd::parse("0.50").ok(),
            tool_success_percent: Some(95),
            completion_percent: Some(90),
            escalation_percent: Some(20),
            unusual_factor: Some(5),
            unusual_usd_min: Usd::parse("1.00").unwrap_or(Usd::ZERO),
            repeats: Some(50),
            repeat_window: Duration::from_secs(600),
            on_repeat: OnRepeat::Alert,
        }
    }
}
