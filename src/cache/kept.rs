//! [`Kept`]: an answer as its upstream sent it, and what is told when it is given again.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderName, HeaderValue};

use super::Namespace;
use crate::domain::money::Usd;
use crate::domain::operation::Operation;
use crate::protocol::facts::Facts;

/// Bytes that an answer takes besides its own: its place in the cache's tables, the strings of what was learned from it, and what
/// the allocator rounds up to. Measured over sockets, as the growth of the process by an answer of 1 KB with moka 0.12 and
/// mimalloc 3.
const PLACE_BYTES: usize = 704;

/// Bytes of a header besides its value.
const HEADER_BYTES: usize = 96;

/// An answer.
#[derive(Debug)]
pub struct Kept {
    /// Whose it is and what it is about.
    pub about: About,
    /// The headers that are given again.
    pub headers: Vec<(HeaderName, HeaderValue)>,
    /// The body as the upstream sent it, before anything was taken out.
    pub bytes: Bytes,
    /// What was learned from it.
    pub facts: Facts,
    /// What it was charged.
    pub cost: Option<Usd>,
    /// When it came, unix milliseconds.
    pub kept_ms: u64,
    /// When its time is over, unix milliseconds.
    pub expires_ms: u64,
    /// Counts it among the living until it is dropped.
    pub(super) count: Option<Count>,
}

/// Whose an answer is and what it is about: by these it can be purged.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct About {
    /// Who may have it.
    pub namespace: Namespace,
    /// The key that paid for it.
    pub key: Arc<str>,
    /// Its team.
    pub team: Option<Arc<str>>,
    /// Where it came from.
    pub upstream: Arc<str>,
    /// The model that was sent.
    pub model: Arc<str>,
    /// What was asked for.
    pub operation: Operation,
}

/// What is alive.
#[derive(Debug, Default)]
pub(super) struct Alive {
    pub(super) answers: AtomicU64,
    pub(super) bytes: AtomicU64,
}

/// An answer that is counted as alive.
#[derive(Debug)]
pub(super) struct Count {
    alive: Arc<Alive>,
    bytes: u64,
}

impl Kept {
    /// An answer that came at `kept_ms` and is good until `expires_ms`.
    #[must_use]
    pub const fn new(about: About, bytes: Bytes, facts: Facts, kept_ms: u64, expires_ms: u64) -> Self {
        Self { about, headers: Vec::new(), bytes, facts, cost: None, kept_ms, expires_ms, count: None }
    }

    /// Bytes that it takes.
    #[must_use]
    pub fn weight(&self) -> u64 {
        let headers: usize = self.headers.iter().map(|(_, value)| HEADER_BYTES + value.len()).sum();
        (PLACE_BYTES + size_of::<Self>() + headers + self.bytes.len()) as u64
    }

    /// Whether its time is not over, for whoever takes what is not older than `age_max`.
    #[must_use]
    pub fn is_fresh(&self, age_max: Duration, now_ms: u64) -> bool {
        now_ms < self.ends_ms(age_max)
    }

    /// Whether its time has not been over for longer than `grace`.
    #[must_use]
    pub fn is_within(&self, age_max: Duration, grace: Duration, now_ms: u64) -> bool {
        now_ms < self.ends_ms(age_max).saturating_add(millis(grace))
    }

    /// When its time is over: as it was said when it was kept, and as whoever asks for it says.
    fn ends_ms(&self, age_max: Duration) -> u64 {
        self.expires_ms.min(self.kept_ms.saturating_add(millis(age_max)))
    }

    pub(super) fn counted(mut self, alive: &Arc<Alive>) -> Self {
        let bytes = self.weight();
        alive.answers.fetch_add(1, Ordering::Relaxed);
        alive.bytes.fetch_add(bytes, Ordering::Relaxed);
        self.count = Some(Count { alive: alive.clone(), bytes });
        self
    }
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

impl Drop for Count {
    fn drop(&mut self) {
        self.alive.answers.fetch_sub(1, Ordering::Relaxed);
        self.alive.bytes.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}
