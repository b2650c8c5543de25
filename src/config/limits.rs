//! [`LimitBook`]: who may ask how often, as the config says it.
//!
//! It counts nothing. A caller whom the config names has the limits of its own section and no others; one whom it
//! does not name has those of `[defaults.*]`.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use crate::domain::account::{Account, Scope};
use crate::domain::operation::Operation;

/// What the ids of callers begin with whose own credential passes through.
const PASSED: &str = "pass:";

/// Families of operations by their first word in the ledger. They are known here before they are served, since what is
/// not served is limited well enough.
const FAMILIES: [&str; 7] = ["chat", "images", "audio", "moderations", "files", "batches", "completions"];

/// The limits of one scope. Nothing is no limit.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Limits {
    /// Requests within any 60 seconds.
    pub requests_per_minute: Option<u64>,
    /// Requests within any 24 hours.
    pub requests_per_day: Option<u64>,
    /// Tokens within any 60 seconds.
    pub tokens_per_minute: Option<u64>,
    /// Requests between admission and settlement.
    pub in_flight: Option<u64>,
    /// Requests of single operations within any 60 seconds, by the operation's word.
    pub operations: BTreeMap<Box<str>, u64>,
    /// How many hundredths of a token a token counts that was read from the provider's prompt cache.
    pub cached_token_percent: u64,
}

/// The limits of everybody.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LimitBook {
    /// Whether anybody is limited: what requests ask first.
    pub any: bool,
    /// `[organisation]`.
    pub organisation: Option<Arc<Limits>>,
    /// `[teams.NAME]`, those with limits.
    pub teams: BTreeMap<Arc<str>, Arc<Limits>>,
    /// `[users.NAME]`, also those without limits.
    pub users: BTreeMap<Arc<str>, Option<Arc<Limits>>>,
    /// `[keys.NAME]`, also those without limits.
    pub keys: BTreeMap<Arc<str>, Option<Arc<Limits>>>,
    /// `[defaults.key]`: keys that the config does not name, and `local`.
    pub default_key: Option<Arc<Limits>>,
    /// `[defaults.user]`: users that have no section.
    pub default_user: Option<Arc<Limits>>,
    /// `[defaults.passthrough]`: callers whose own credential passes through.
    pub default_passthrough: Option<Arc<Limits>>,
}

/// Limits that a request counts in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Party {
    /// Whose.
    pub scope: Scope,
    /// Which.
    pub limits: Arc<Limits>,
    /// Whether the config names the scope, so that there are only so many of its kind.
    pub is_named: bool,
}

/// The parties of a request: organisation, team, user and key at most.
pub type Parties = [Option<Party>; 4];

impl Limits {
    /// Whether nothing is limited.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        let numbers = [self.requests_per_minute, self.requests_per_day, self.tokens_per_minute, self.in_flight];
        numbers.iter().all(Option::is_none) && self.operations.is_empty()
    }
}

impl LimitBook {
    /// The same, knowing whether it limits anybody.
    #[must_use]
    pub(super) fn looked_through(mut self) -> Self {
        let defaults = [&self.organisation, &self.default_key, &self.default_user, &self.default_passthrough];
        let named = self.users.values().chain(self.keys.values());
        self.any = !self.teams.is_empty() || defaults.into_iter().chain(named).any(Option::is_some);
        self
    }

    /// Whether any limit counts the requests of a day.
    #[must_use]
    pub fn looks_back_a_day(&self) -> bool {
        let defaults = [&self.organisation, &self.default_key, &self.default_user, &self.default_passthrough];
        let named = self.users.values().chain(self.keys.values());
        let mut all = defaults.into_iter().chain(named).flatten().chain(self.teams.values());
        all.any(|limits| limits.requests_per_day.is_some())
    }

    /// The limits that requests of `account` count in.
    #[must_use]
    pub fn parties(&self, account: &Account) -> Parties {
        let named = |scope, limits: &Arc<Limits>| Party { scope, limits: limits.clone(), is_named: true };
        [
            self.organisation.as_ref().map(|limits| named(Scope::Organisation, limits)),
            account.team.as_ref().and_then(|team| Some(named(Scope::Team(team.clone()), self.teams.get(team)?))),
            account.user.as_ref().and_then(|user| self.user(user)),
            self.key(&account.key),
        ]
    }

    fn user(&self, user: &Arc<str>) -> Option<Party> {
        party(Scope::User(user.clone()), self.users.get(user), self.default_user.as_ref())
    }

    fn key(&self, key: &Arc<str>) -> Option<Party> {
        let default = match key.starts_with(PASSED) {
            true => &self.default_passthrough,
            false => &self.default_key,
        };
        party(Scope::Key(key.clone()), self.keys.get(key), default.as_ref())
    }
}

fn party(scope: Scope, own: Option<&Option<Arc<Limits>>>, default: Option<&Arc<Limits>>) -> Option<Party> {
    let (limits, is_named) = match own {
        Some(own) => (own.as_ref(), true),
        None => (default, false),
    };
    Some(Party { scope, limits: limits?.clone(), is_named })
}

impl fmt::Display for Limits {
    /// The keys of a config that were said, such as `requests_per_minute = 60, in_flight = 4`.
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let numbers = [
            ("requests_per_minute", self.requests_per_minute),
            ("requests_per_day", self.requests_per_day),
            ("tokens_per_minute", self.tokens_per_minute),
            ("in_flight", self.in_flight),
            ("cached_token_percent", Some(self.cached_token_percent).filter(|percent| *percent > 0)),
        ];
        let said = numbers.into_iter().filter_map(|(key, number)| Some(format!("{key} = {}", number?)));
        let operations: Vec<String> =
            self.operations.iter().map(|(word, most)| format!("\"{word}\" = {most}")).collect();
        let operations = Some(operations).filter(|operations| !operations.is_empty());
        let operations = operations.map(|operations| format!("operations = {{ {} }}", operations.join(", ")));
        out.write_str(&said.chain(operations).collect::<Vec<_>>().join(", "))
    }
}

/// Whether a limit for `word` counts requests for `operation`. A word is an operation's own in the ledger, or the part
/// before its dot; `embeddings` are those of every dialect.
#[must_use]
pub fn covers(word: &str, operation: Operation) -> bool {
    let name = operation.name();
    name.strip_prefix(word).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
        || word == "embeddings" && operation == Operation::EmbedContent
}

/// Whether `word` can stand for operations.
#[must_use]
pub(super) fn is_operation(word: &str) -> bool {
    !word.is_empty()
        && (FAMILIES.contains(&word) || Operation::ALL.into_iter().any(|operation| covers(word, operation)))
}

/// The words of all operations, for messages.
pub(super) fn operation_words() -> String {
    let names = Operation::ALL.into_iter().map(|operation| operation.name().split('.').next().unwrap_or_default());
    let mut words: Vec<&str> = names.chain(FAMILIES).collect();
    words.sort_unstable();
    words.dedup();
    words.join(", ")
}
