//! What is done about upstreams that fail: how often they are asked again, when they are left alone, and who is asked
//! instead.

use std::sync::Arc;
use std::time::Duration;

use super::glob::Glob;
use super::parts::Config;
use super::secret::Secret;
use crate::domain::operation::Operation;

/// How often an upstream is asked again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Retries {
    /// Further attempts after the first.
    pub max: u32,
    /// The longest wait between two, also where the upstream asks for more.
    pub wait_max: Duration,
    /// Retries of all requests together, as a share of the traffic.
    pub budget_percent: u64,
    /// Whether a request is sent again that was sent and got no answer at all, so that it may be billed twice.
    pub unanswered: bool,
}

/// How long a whole answer may take, with all attempts, and when a client of a silent stream is told that it lives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Patience {
    /// For what a provider generates.
    pub answer: Duration,
    /// For that of models that think.
    pub thinking: Duration,
    /// For everything else.
    pub other: Duration,
    /// The silence of a stream after which its client gets a keep-alive; nothing: never.
    pub keep_alive: Option<Duration>,
}

/// One of an upstream's own credentials.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ApiKey {
    /// The credential.
    pub secret: Secret,
    /// Its share among the others.
    pub weight: u32,
}

/// How work is shared among credentials and among equal upstreams.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sharing {
    /// The upstreams of this dialect with the same word are equals: one of them is asked, and the others instead of it.
    pub group: Option<Arc<str>>,
    /// Its share among them.
    pub weight: u32,
    /// Who of several is asked.
    pub balance: Balance,
    /// How long a credential is left alone that is turned down or has no money.
    pub cooldown: Duration,
}

/// Who of several equals is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Balance {
    /// Whoever has the fewest requests in flight for its weight.
    LeastBusy,
    /// Each in its turn, by weight.
    Weighted,
}

/// When an upstream's model is left alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Breaking {
    /// Failures within the window that open the breaker, if at least half of all attempts failed; 0: never.
    pub failures: u32,
    /// How far back failures count.
    pub window: Duration,
    /// The longest time from one attempt to find out whether it is back to the next.
    pub cooldown: Duration,
}

/// Who is asked where somebody else has failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fallback {
    /// As config says it.
    pub said: Box<str>,
    /// The upstream; none: the one that serves the model.
    pub upstream: Option<Arc<str>>,
    /// The model; none: the same.
    pub model: Option<Arc<str>>,
}

/// What is done where nobody of those who serve a model answers.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Chain {
    /// Who is asked instead.
    pub others: Vec<Fallback>,
    /// What is answered if they fail as well.
    pub answer: Option<Arc<str>>,
}

/// The fallbacks of models by their patterns, in the order of the file.
pub type Fallbacks = Vec<(Glob, Chain)>;

impl Patience {
    /// How long an answer to `operation` may take; nothing for a stream, and for files, whose size nobody knows.
    #[must_use]
    pub fn longest(&self, operation: Operation, is_stream: bool, thinks: bool) -> Option<Duration> {
        let moves_files = operation.streams_body() || operation.may_tell_a_batch();
        if is_stream || moves_files {
            return None;
        }
        Some(match operation.generates() || operation.is_media() {
            true if thinks => self.thinking,
            true => self.answer,
            false => self.other,
        })
    }
}

impl Config {
    /// Who is asked where an upstream has failed with `model`: by the first pattern that fits and names anybody.
    #[must_use]
    pub fn fallbacks_of(&self, model: &str) -> &[Fallback] {
        let named = |(glob, chain): &&(Glob, Chain)| !chain.others.is_empty() && glob.matches(model);
        self.fallbacks.iter().find(named).map_or(&[], |(_, chain)| &chain.others)
    }

    /// What is answered if nobody does: by the first pattern that fits and says anything.
    #[must_use]
    pub fn fallback_answer(&self, model: &str) -> Option<&Arc<str>> {
        let mut fitting = self.fallbacks.iter().filter(|(glob, _)| glob.matches(model));
        fitting.find_map(|(_, chain)| chain.answer.as_ref())
    }
}
