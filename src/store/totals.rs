//! [`Totals`]: what each scope has spent, folded from entries. The reference by which every other sum is judged.
//!
//! It holds no caps, no windows and no holds; the bank does.
//!
//! Invariant: totals are the sum of entries, of amounts posted as unsettled and of adjustments, and of nothing else.

use std::collections::BTreeMap;

use crate::domain::account::Scope;
use crate::domain::adjustment::{Adjustment, Direction};
use crate::domain::entry::Entry;
use crate::domain::money::Usd;

/// What one scope has spent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Total {
    /// The sum of the priced entries, and of what was posted after a power loss or charged by an adjustment.
    pub spent: Usd,
    /// How many entries.
    pub entries: u64,
    /// How many of them have no price, so that `spent` is incomplete.
    pub unpriced: u64,
    /// What adjustments took off.
    pub credited: Usd,
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

    /// Counts a correction in each scope that it names.
    pub fn adjust(&mut self, adjustment: &Adjustment) {
        let no_model = adjustment.model.is_empty();
        for scope in adjustment.account.scopes(&adjustment.model) {
            if scope.name().is_empty() && scope != Scope::Organisation || no_model && matches!(scope, Scope::Model(_)) {
                continue;
            }
            let total = self.0.entry(scope).or_default();
            match adjustment.direction {
                Direction::Charge => total.spent = total.spent.plus(adjustment.amount),
                Direction::Credit => total.credited = total.credited.plus(adjustment.amount),
            }
        }
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
