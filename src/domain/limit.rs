//! [`Standing`]: how a caller stands with its rate limits, and [`Limited`]: the limit that refused it.
//!
//! Plain numbers, which headers and error bodies render; what counts them is `limits`.

use super::account::Scope;

/// How one limit stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Level {
    /// What the limit allows, in requests or tokens.
    pub limit: u64,
    /// What of it is left.
    pub remaining: u64,
    /// Milliseconds until all of it is there again if nothing else is taken; 0 for what has no window.
    pub reset_ms: u64,
}

/// How the limits of a request stand: of each kind the one with the least left among the caller's scopes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Standing {
    /// Requests a minute, those of single operations included.
    pub requests: Option<Level>,
    /// Requests a day.
    pub requests_day: Option<Level>,
    /// Tokens a minute.
    pub tokens: Option<Level>,
    /// Requests in flight.
    pub in_flight: Option<Level>,
}

/// The limit that a request was refused by. Of several, the one that takes the longest.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limited {
    /// Whose limit it is.
    pub scope: Scope,
    /// Its key in the config, such as `requests_per_minute` or `operations.images`.
    pub name: Box<str>,
    /// How it stands.
    pub level: Level,
    /// Milliseconds until the same request is admitted, if nothing else is.
    pub wait_ms: u64,
    /// How all limits stand.
    pub standing: Standing,
}

impl Standing {
    /// Keeps for one kind the level with less left.
    pub const fn note(kept: &mut Option<Level>, level: Level) {
        match kept {
            Some(known) if known.remaining <= level.remaining => {}
            Some(_) | None => *kept = Some(level),
        }
    }
}

impl Limited {
    /// After how many whole seconds asking again makes sense; never 0, which some clients take for "at once".
    #[must_use]
    pub fn wait_s(&self) -> u32 {
        u32::try_from(self.wait_ms.div_ceil(1000)).unwrap_or(u32::MAX).max(1)
    }
}
