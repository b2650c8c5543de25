//! `[cache]`: which answers may be kept, for whom and for how long.
//!
//! It keeps nothing itself. The first rule that fits a request says what holds for it, else the section does.

use std::time::Duration;

use super::glob::Glob;
use super::limits::covers;
use crate::domain::operation::Operation;

/// Operations whose answers may be kept: those that are billed and whose answers depend on nothing but the request.
pub const CACHED: [Operation; 7] = [
    Operation::ChatCompletions,
    Operation::Completions,
    Operation::Responses,
    Operation::Embeddings,
    Operation::Messages,
    Operation::GenerateContent,
    Operation::EmbedContent,
];

/// `[cache]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cache {
    /// Bytes of answers in memory.
    pub memory_bytes: u64,
    /// Bytes of answers on the disk; 0 keeps none there.
    pub disk_bytes: u64,
    /// Who may get an answer that somebody else paid for.
    pub scope: CacheScope,
    /// Bytes of one answer; a longer one passes and is not kept.
    pub answer_bytes_max: usize,
    /// Bytes of a request's body; a longer one is not looked up.
    pub request_bytes_max: usize,
    /// Bytes of an answer that identical requests in flight share; 0 lets each ask for itself.
    pub join_bytes_max: usize,
    /// What holds where no rule fits.
    pub general: CachePolicy,
    /// `[[cache.rules]]`, in their order.
    pub rules: Vec<CacheRule>,
}

/// What holds for some requests.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CachePolicy {
    /// Whether requests are answered from the cache.
    pub mode: CacheMode,
    /// Whether answers are kept that another try would word differently.
    pub store_sampled: bool,
    /// Whether answers of fallbacks are kept, for those who ask these for the same.
    pub keep_fallbacks: bool,
    /// How long an answer is served.
    pub ttl: Duration,
    /// How long after that it is served where the upstream fails, or where a cap leaves the cache alone.
    pub stale_if_error: Duration,
    /// How long after that it is served while another is asked for in the background.
    pub stale_while_revalidate: Duration,
    /// Of a hundred near-identical requests that are answered, so many are asked again in the background, to compare.
    pub shadow_percent: u64,
}

/// Which requests a policy is for. An empty list fits all.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CacheRule {
    /// Models by the name that is sent.
    pub models: Vec<Glob>,
    /// Operations by their word in the ledger, or the part before its dot.
    pub operations: Vec<Box<str>>,
    /// Upstreams.
    pub upstreams: Vec<Box<str>>,
    /// Teams.
    pub teams: Vec<Box<str>>,
    /// What holds for them.
    pub policy: CachePolicy,
}

/// Whether requests are answered from the cache.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CacheMode {
    /// Never; nothing is kept either.
    Off,
    /// Where the whole request is the same.
    Exact,
    /// Also where the only question of it is the same but for spelling that cannot matter.
    Near,
}

/// Who may get an answer that somebody else paid for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CacheScope {
    /// Nobody: each key has answers of its own.
    Key,
    /// The same team; a key without a team has answers of its own.
    Team,
    /// Every Tollgate key, and who needs none on this machine. A caller whose own credential passes through has answers of its own
    /// all the same.
    Shared,
}

/// What a policy depends on.
#[derive(Clone, Copy, Debug)]
pub struct CacheCase<'a> {
    /// What is asked for.
    pub operation: Operation,
    /// The model that is sent.
    pub model: &'a str,
    /// Where it is sent.
    pub upstream: &'a str,
    /// Whose request it is.
    pub team: Option<&'a str>,
}

impl Cache {
    /// Whether any request may be answered from the cache: what is asked first.
    #[must_use]
    pub fn is_on(&self) -> bool {
        self.general.mode != CacheMode::Off || self.rules.iter().any(|rule| rule.policy.mode != CacheMode::Off)
    }

    /// Bytes of an answer that several wait for: a whole one is held as far as it may be kept, in any case.
    #[must_use]
    pub fn buffer_bytes_max(&self, is_stream: bool) -> usize {
        if is_stream { self.join_bytes_max } else { self.join_bytes_max.max(self.answer_bytes_max) }
    }

    /// How long an answer past its time may still be of use.
    #[must_use]
    pub fn grace(&self) -> Duration {
        let policies = self.rules.iter().map(|rule| &rule.policy).chain([&self.general]);
        policies.map(|policy| policy.stale_if_error.max(policy.stale_while_revalidate)).max().unwrap_or_default()
    }

    /// What holds for a request; `None` where it is off.
    #[must_use]
    pub fn policy(&self, case: CacheCase<'_>) -> Option<&CachePolicy> {
        if !CACHED.contains(&case.operation) {
            return None;
        }
        let fitting = self.rules.iter().find(|rule| rule.fits(case)).map(|rule| &rule.policy);
        Some(fitting.unwrap_or(&self.general)).filter(|policy| policy.mode != CacheMode::Off)
    }
}

impl CacheRule {
    fn fits(&self, case: CacheCase<'_>) -> bool {
        let any = |names: &[Box<str>], name: Option<&str>| {
            names.is_empty() || name.is_some_and(|name| names.iter().any(|known| **known == *name))
        };
        (self.models.is_empty() || self.models.iter().any(|glob| glob.matches(case.model)))
            && (self.operations.is_empty() || self.operations.iter().any(|word| covers(word, case.operation)))
            && any(&self.upstreams, Some(case.upstream))
            && any(&self.teams, case.team)
    }
}
