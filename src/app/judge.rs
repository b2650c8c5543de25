//! [`Judge`]: what is remembered of judges: what they said of an ask, and which of them fail.
//!
//! It holds no word of an ask, only hashes, each in its caller's namespace: what one tenant asked tells another nothing.
//!
//! Invariant: at most [`VERDICTS_MAX`] verdicts are remembered, whatever clients do.

use std::sync::Arc;
use std::time::Duration;

use moka::sync::Cache;

use crate::cache::Key;
use crate::config::Breaking;
use crate::domain::entry::Tier;
use crate::upstream::breaker::Breakers;

/// Verdicts that are remembered, about 100 bytes each.
pub const VERDICTS_MAX: u64 = 65_536;

/// When a judge is left alone: a request waits for each failure to its deadline.
const BREAKING: Breaking = Breaking { failures: 5, window: Duration::from_secs(30), cooldown: Duration::from_secs(30) };

/// What is remembered of judges.
pub struct Judge {
    /// Which judges fail, apart from how their models do as the answerers of requests.
    pub breakers: Arc<Breakers>,
    verdicts: Cache<Key, Tier>,
}

impl Default for Judge {
    fn default() -> Self {
        let breakers = Arc::new(Breakers::new("judge".into(), BREAKING));
        Self { breakers, verdicts: Cache::new(VERDICTS_MAX) }
    }
}

impl Judge {
    /// What was said of the ask with this key.
    #[must_use]
    pub fn recall(&self, key: &Key) -> Option<Tier> {
        self.verdicts.get(key)
    }

    /// Remembers what was said.
    pub fn keep(&self, key: Key, tier: Tier) {
        self.verdicts.insert(key, tier);
    }
}

impl std::fmt::Debug for Judge {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(out, "Judge({} verdicts)", self.verdicts.entry_count())
    }
}
