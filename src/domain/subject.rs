//! [`Subject`]: who, what and where of an entry, which is all that a report can tell apart but time.
//!
//! Entries of one subject in one quarter of an hour are one row of the index, so that a report of any grouping is a
//! fold over far fewer rows than there are entries.

use std::sync::Arc;

use super::account::Account;
use super::adjustment::Adjustment;
use super::entry::{CacheUse, Entry, Tier};
use super::operation::Operation;

/// What a sum is about.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Subject {
    /// The team that pays.
    pub team: Option<Arc<str>>,
    /// The user who is billed.
    pub user: Option<Arc<str>>,
    /// The key by its id.
    pub key: Arc<str>,
    /// The model that was sent to the upstream; empty where there is none.
    pub model: Arc<str>,
    /// The model in the client's request; empty where there is none.
    pub requested_model: Arc<str>,
    /// The upstream; empty if none was chosen.
    pub upstream: Arc<str>,
    /// What was asked for; `None` in an adjustment.
    pub operation: Option<Operation>,
    /// The complexity that routing found, if it ran.
    pub tier: Option<Tier>,
    /// What the response cache did; `None` in an adjustment.
    pub cache: Option<CacheUse>,
    /// Tags, sorted by name.
    pub tags: Arc<[(Box<str>, Box<str>)]>,
}

impl Subject {
    /// The subject of an entry.
    #[must_use]
    pub fn of(entry: &Entry) -> Self {
        let blank = Self::of_account(&entry.account);
        Self {
            model: entry.model.clone(),
            requested_model: entry.requested_model.clone(),
            upstream: entry.upstream.clone(),
            operation: Some(entry.operation),
            tier: entry.tier,
            cache: Some(entry.cache),
            ..blank
        }
    }

    /// The subject of an adjustment.
    #[must_use]
    pub fn of_adjustment(adjustment: &Adjustment) -> Self {
        let blank = Self::of_account(&adjustment.account);
        Self { model: adjustment.model.clone(), upstream: adjustment.upstream.clone(), ..blank }
    }

    /// What can be said of whoever pays, and nothing else.
    #[must_use]
    pub fn of_account(account: &Account) -> Self {
        Self {
            team: account.team.clone(),
            user: account.user.clone(),
            key: account.key.clone(),
            model: Arc::default(),
            requested_model: Arc::default(),
            upstream: Arc::default(),
            operation: None,
            tier: None,
            cache: None,
            tags: account.tags.clone(),
        }
    }

    /// Whoever pays.
    #[must_use]
    pub fn account(&self) -> Account {
        Account { key: self.key.clone(), user: self.user.clone(), team: self.team.clone(), tags: self.tags.clone() }
    }

    /// The value of the tag `name`, if it is set.
    #[must_use]
    pub fn tag(&self, name: &str) -> Option<&str> {
        self.tags.iter().find(|(known, _)| &**known == name).map(|(_, value)| &**value)
    }
}
