//! [`Places`]: where a request counts in each family, remembered for requests like it: writing and hashing the labels of five
//! families takes twenty times as long as one look.
//!
//! Invariant: a place is only remembered for labels that are equal, and a series never moves.

use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;

use crate::domain::entry::{CacheUse, Entry, Outcome, Tier};
use crate::domain::operation::{Dialect, Operation};

/// Kinds of request that are remembered. Two that fall on one place take it from each other.
const KINDS_MAX: usize = 1_024;

/// Places by kind of request.
#[derive(Debug)]
pub(super) struct Known {
    kinds: Vec<Option<Box<(Kind, Places)>>>,
    /// The kind of the last request, of which the next one is likely to be too.
    last: usize,
    hashing: RandomState,
}

/// The places of a request's series.
#[derive(Clone, Copy, Debug)]
pub(super) struct Places {
    pub requests: usize,
    pub durations: usize,
    pub spends: usize,
    /// In the family of cache uses, or in that of checks of the cache.
    pub cache: usize,
    /// If routing decided anything.
    pub routed: Option<usize>,
}

/// What the labels of a request are made of.
#[derive(Debug)]
struct Kind {
    upstream: Arc<str>,
    model: Arc<str>,
    team: Option<Arc<str>>,
    reason: Box<str>,
    rest: Rest,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Rest {
    dialect: Dialect,
    operation: Operation,
    status: u16,
    outcome: Outcome,
    cache: CacheUse,
    tier: Option<Tier>,
}

impl Known {
    pub(super) fn new() -> Self {
        Self { kinds: std::iter::repeat_with(|| None).take(KINDS_MAX).collect(), last: 0, hashing: RandomState::new() }
    }

    /// Where a request like that of `entry` counted, if that is known.
    pub(super) fn find(&mut self, entry: &Entry) -> Option<Places> {
        if let Some(places) = self.at(self.last, entry) {
            return Some(places);
        }
        self.last = self.slot(entry);
        self.at(self.last, entry)
    }

    fn at(&self, slot: usize, entry: &Entry) -> Option<Places> {
        let (kind, places) = &**self.kinds[slot].as_ref()?;
        kind.fits(entry).then_some(*places)
    }

    /// Remembers where the request of `entry` counts.
    pub(super) fn remember(&mut self, entry: &Entry, places: Places) {
        let slot = self.slot(entry);
        self.kinds[slot] = Some(Box::new((Kind::of(entry), places)));
    }

    fn slot(&self, entry: &Entry) -> usize {
        let team = entry.account.team.as_deref();
        let hash = self.hashing.hash_one((&*entry.upstream, &*entry.model, team, &*entry.reason, Rest::of(entry)));
        usize::try_from(hash % KINDS_MAX as u64).unwrap_or(0)
    }
}

impl Kind {
    fn of(entry: &Entry) -> Self {
        Self {
            upstream: entry.upstream.clone(),
            model: entry.model.clone(),
            team: entry.account.team.clone(),
            reason: entry.reason.clone(),
            rest: Rest::of(entry),
        }
    }

    fn fits(&self, entry: &Entry) -> bool {
        self.rest == Rest::of(entry)
            && self.model == entry.model
            && self.team == entry.account.team
            && self.upstream == entry.upstream
            && self.reason == entry.reason
    }
}

impl Rest {
    const fn of(entry: &Entry) -> Self {
        let Entry { dialect, operation, status, outcome, cache, tier, .. } = *entry;
        Self { dialect, operation, status, outcome, cache, tier }
    }
}
