//! [`Caps`]: who may spend how much, and which caps a request meets.
//!
//! Invariant: a tag counts only where the key itself carries it, so that no caller can bill or escape a tag's cap.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::glob::Glob;
use super::parts::Config;
use crate::domain::account::{Account, Scope, Tag};
use crate::domain::cap::{Capped, Policy};

/// A map from names to caps.
pub type Named = BTreeMap<Arc<str>, Arc<Policy>>;

/// How credentials that pass through are named in the ledger.
const PASSED: &str = "pass:";

/// All caps. A scope without caps is not in here.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Caps {
    /// `[organisation]`.
    pub organisation: Option<Arc<Policy>>,
    /// `[teams.NAME]`.
    pub teams: Named,
    /// `[users.NAME]`.
    pub users: Named,
    /// `[keys.ID]`.
    pub keys: Named,
    /// `[models."GLOB"]`.
    pub models: Vec<(Glob, Capped)>,
    /// `[tags."name=value"]`.
    pub tags: Named,
    /// `[defaults.key]`: keys that config does not name.
    pub default_key: Option<Arc<Policy>>,
    /// `[defaults.user]`: users that config does not name.
    pub default_user: Option<Arc<Policy>>,
    /// `[defaults.passthrough]`: each credential that passes through.
    pub default_passthrough: Option<Arc<Policy>>,
}

impl Caps {
    /// Whether there is none at all.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.organisation.is_none()
            && [&self.teams, &self.users, &self.keys, &self.tags].iter().all(|named| named.is_empty())
            && self.models.is_empty()
            && [&self.default_key, &self.default_user, &self.default_passthrough].iter().all(|policy| policy.is_none())
    }

    /// Every policy that there is.
    pub fn policies(&self) -> impl Iterator<Item = &Arc<Policy>> {
        let named = [&self.teams, &self.users, &self.keys, &self.tags].into_iter().flat_map(BTreeMap::values);
        let single = [&self.organisation, &self.default_key, &self.default_user, &self.default_passthrough];
        let models = self.models.iter().map(|(_, capped)| &capped.policy);
        single.into_iter().flatten().chain(named).chain(models)
    }

    /// The scopes whose caps stand in the file by name.
    #[must_use]
    pub fn named(&self) -> Vec<Capped> {
        let mut all: Vec<Capped> = self.organisation.iter().map(|policy| capped(Scope::Organisation, policy)).collect();
        let mut add = |named: &Named, scope: fn(Arc<str>) -> Scope| {
            all.extend(named.iter().map(|(name, policy)| capped(scope(name.clone()), policy)));
        };
        add(&self.teams, Scope::Team);
        add(&self.users, Scope::User);
        add(&self.keys, Scope::Key);
        add(&self.tags, Scope::Tag);
        all.extend(self.models.iter().map(|(_, capped)| capped.clone()));
        all
    }
}

impl Config {
    /// The scopes with caps that a request of `account` for `model` counts in.
    #[must_use]
    pub fn capped(&self, account: &Account, model: &str) -> Vec<Capped> {
        let caps = &self.caps;
        if caps.is_empty() {
            return Vec::new();
        }
        let mut found = Vec::with_capacity(8);
        let mut add = |scope: Scope, policy: Option<&Arc<Policy>>| {
            found.extend(policy.map(|policy| capped(scope, policy)));
        };
        add(Scope::Organisation, caps.organisation.as_ref());
        if let Some(team) = &account.team {
            add(Scope::Team(team.clone()), caps.teams.get(team));
        }
        if let Some(user) = &account.user {
            add(Scope::User(user.clone()), self.policy_of_user(user));
        }
        // An adjustment may name no key.
        if !account.key.is_empty() {
            add(Scope::Key(account.key.clone()), self.policy_of_key(&account.key));
        }
        if !caps.tags.is_empty() {
            let own = self.own_tags(&account.key);
            for (tag, policy) in caps.tags.iter().filter(|(tag, _)| carries(&own, tag)) {
                add(Scope::Tag(tag.clone()), Some(policy));
            }
        }
        found.extend(caps.models.iter().filter(|(glob, _)| glob.matches(model)).map(|(_, capped)| capped.clone()));
        found
    }

    /// Whom requests of a key are billed to, unless they name another user; nobody, if there is no such key.
    #[must_use]
    pub fn account_of(&self, key: &str) -> Option<Account> {
        if let Some(key) = self.keys.get(key) {
            return Some(key.account.clone());
        }
        let mut account = self.ring.account_of(key)?;
        if account.team.is_none() {
            account.team = account.user.as_ref().and_then(|user| self.users.get(user)?.clone());
        }
        Some(account)
    }

    /// The caps of one scope.
    #[must_use]
    pub fn policy_of(&self, scope: &Scope) -> Option<&Arc<Policy>> {
        let caps = &self.caps;
        match scope {
            Scope::Organisation => caps.organisation.as_ref(),
            Scope::Team(name) => caps.teams.get(name),
            Scope::User(name) => self.policy_of_user(name),
            Scope::Key(id) => self.policy_of_key(id),
            Scope::Model(_) => {
                caps.models.iter().find(|(_, capped)| capped.scope == *scope).map(|(_, found)| &found.policy)
            }
            Scope::Tag(tag) => caps.tags.get(tag),
        }
    }

    fn policy_of_user(&self, user: &str) -> Option<&Arc<Policy>> {
        // Those that only a key names have no section either.
        match self.limits.users.contains_key(user) {
            true => self.caps.users.get(user),
            false => self.caps.default_user.as_ref(),
        }
    }

    fn policy_of_key(&self, id: &str) -> Option<&Arc<Policy>> {
        match self.keys.contains_key(id) {
            true => self.caps.keys.get(id),
            false if id.starts_with(PASSED) => self.caps.default_passthrough.as_ref(),
            false => self.caps.default_key.as_ref(),
        }
    }

    /// The tags that a key itself has.
    fn own_tags(&self, key: &str) -> Arc<[Tag]> {
        match self.keys.get(key) {
            Some(key) => key.account.tags.clone(),
            None => self.ring.tags_of(key).unwrap_or_default(),
        }
    }
}

/// Whether `tag`, as `name=value`, is among `own`.
fn carries(own: &[Tag], tag: &str) -> bool {
    let split = tag.split_once('=');
    split.is_some_and(|(name, value)| own.iter().any(|(known, set)| &**known == name && &**set == value))
}

fn capped(scope: Scope, policy: &Arc<Policy>) -> Capped {
    Capped { scope, policy: policy.clone() }
}
