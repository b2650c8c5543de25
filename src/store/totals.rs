//! [`Totals`]: what each scope has spent, folded from entries. The reference by which every other sum is judged.
//!
//! It holds no caps, no windows and no holds; the bank does.
//!
//! Invariant: totals are the sum of entries and of amounts posted as unsettled, and of nothing else.

use std::collections::BTreeMap;

use crate::domain::account::Scope;
use crate::domain::entry::Entry;
use crate::domain::money::Usd;

/// What one scope has spent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Total {
    /// The sum of the priced entries, and of what was posted after a power loss.
    pub spent: Usd,
    /// How many entries.
    pub entries: u64,
    /// How many of them have no price, so that `spent` is incomplete.
    pub unpriced: u64,
}

/// The totals of all scopes, in order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Totals(BTreeMap<Scope, Total>);

impl Totals {
    /// Counts `entry` in each of its scopes.
    pub fn add(&mut self, entry: &Entry) {
        for scope in entry.account.scopes(&entry.model) {
            let total = self.0.entry(scope).or_default();
            total.spent = total.spent.plus(entry.cost.unwrap_or_default());
            total.entries = total.entries.saturating_add(1);
            total.unpriced = total.unpriced.saturating_add(u64::from(entry.cost.is_none()));
        }
    }

    /// Counts `amount` in `scope` alone.
    pub fn post(&mut self, scope: &Scope, amount: Usd) {
        let total = self.0.entry(scope.clone()).or_default();
        total.spent = total.spent.plus(amount);
    }

    /// What `scope` has spent.
    #[must_use]
    pub fn of(&self, scope: &Scope) -> Total {
        self.0.get(scope).copied().unwrap_or_default()
    }

    /// Every scope that has spent or been refused anything, in order.
    pub fn iter(&self) -> impl Iterator<Item = (&Scope, &Total)> {
        self.0.iter()
    }

    /// How many scopes there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether nothing was ever counted.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl FromIterator<(Scope, Total)> for Totals {
    fn from_iter<I: IntoIterator<Item = (Scope, Total)>>(totals: I) -> Self {
        Self(totals.into_iter().collect())
    }
}
