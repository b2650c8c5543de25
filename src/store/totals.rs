//! [`Totals`]: what each scope has spent, folded from entries. The reference by which every other sum is judged.
//!
//! It holds no caps, no windows and no holds; the bank does. Clients choose names of users, models and tags, so that only so
//! many scopes of a kind have a total of their own: those that came first. What came later is counted together.
//!
//! Invariant: totals are the sum of entries, of amounts posted as unsettled and of adjustments, and of nothing else.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;

use crate::domain::account::Scope;
use crate::domain::adjustment::{Adjustment, Direction};
use crate::domain::entry;
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

/// Scopes of a kind that have a total of their own.
pub const SCOPES_MAX: usize = 1_000;

/// Kinds of scopes.
pub const KINDS: usize = 6;

/// The totals of scopes, in order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Totals {
    scopes: BTreeMap<Scope, Total>,
    /// How many of each kind are in `scopes`.
    counts: [usize; KINDS],
    /// What all others of a kind come to together.
    others: [Total; KINDS],
    /// Whether every scope has its own, as it was before there was a bound.
    is_unbounded: bool,
}

impl Totals {
    /// Counts `entry` in each of its scopes.
    pub fn add(&mut self, entry: &entry::Entry) {
        for scope in entry.account.scopes(&entry.model) {
            let total = self.slot(scope);
            total.spent = total.spent.plus(entry.cost.unwrap_or_default());
            total.entries = total.entries.saturating_add(1);
            total.unpriced = total.unpriced.saturating_add(u64::from(entry.cost.is_none()));
        }
    }

    /// Counts `amount` in `scope` alone.
    pub fn post(&mut self, scope: &Scope, amount: Usd) {
        let total = self.slot(scope.clone());
        total.spent = total.spent.plus(amount);
    }

    /// Counts a correction in each scope that it names.
    pub fn adjust(&mut self, adjustment: &Adjustment) {
        let no_model = adjustment.model.is_empty();
        for scope in adjustment.account.scopes(&adjustment.model) {
            if scope.name().is_empty() && scope != Scope::Organisation || no_model && matches!(scope, Scope::Model(_)) {
                continue;
            }
            let total = self.slot(scope);
            match adjustment.direction {
                Direction::Charge => total.spent = total.spent.plus(adjustment.amount),
                Direction::Credit => total.credited = total.credited.plus(adjustment.amount),
            }
        }
    }

    /// What `scope` has spent, if it has a total of its own.
    #[must_use]
    pub fn of(&self, scope: &Scope) -> Total {
        self.scopes.get(scope).copied().unwrap_or_default()
    }

    /// Every scope with a total of its own, in order.
    pub fn iter(&self) -> impl Iterator<Item = (&Scope, &Total)> {
        self.scopes.iter()
    }

    /// What the scopes of each kind come to that have none.
    #[must_use]
    pub const fn others(&self) -> &[Total; KINDS] {
        &self.others
    }

    /// How many scopes have a total of their own.
    #[must_use]
    pub fn len(&self) -> usize {
        self.scopes.len()
    }

    /// Whether nothing was ever counted.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.scopes.is_empty()
    }

    /// Totals as a snapshot has them; without `others` they are from before there was a bound.
    #[must_use]
    pub fn of_snapshot(scopes: Vec<(Scope, Total)>, others: Option<[Total; KINDS]>) -> Self {
        let mut totals = Self { is_unbounded: others.is_none(), others: others.unwrap_or_default(), ..Self::default() };
        for (scope, total) in scopes {
            totals.counts[kind(&scope)] += 1;
            totals.scopes.insert(scope, total);
        }
        totals
    }

    /// Whether every scope has its own.
    #[must_use]
    pub const fn is_unbounded(&self) -> bool {
        self.is_unbounded
    }

    /// From now on only so many scopes of a kind have their own: the first in order, where there are more.
    pub fn bound(&mut self) {
        if !std::mem::take(&mut self.is_unbounded) {
            return;
        }
        for (scope, total) in std::mem::take(self).scopes {
            let slot = self.slot(scope);
            slot.spent = slot.spent.plus(total.spent);
            slot.entries = slot.entries.saturating_add(total.entries);
            slot.unpriced = slot.unpriced.saturating_add(total.unpriced);
            slot.credited = slot.credited.plus(total.credited);
        }
    }

    fn slot(&mut self, scope: Scope) -> &mut Total {
        let kind = kind(&scope);
        match self.scopes.entry(scope) {
            Entry::Occupied(known) => known.into_mut(),
            Entry::Vacant(_) if !self.is_unbounded && self.counts[kind] >= SCOPES_MAX => &mut self.others[kind],
            Entry::Vacant(new) => {
                self.counts[kind] += 1;
                new.insert(Total::default())
            }
        }
    }
}

const fn kind(scope: &Scope) -> usize {
    match scope {
        Scope::Organisation => 0,
        Scope::Team(_) => 1,
        Scope::User(_) => 2,
        Scope::Key(_) => 3,
        Scope::Model(_) => 4,
        Scope::Tag(_) => 5,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn user(number: usize) -> Scope {
        Scope::User(format!("user-{number:06}").into())
    }

    #[test]
    fn names_without_end_share_one_total() {
        let mut totals = Totals::default();
        for number in 0..SCOPES_MAX + 5 {
            totals.post(&user(number), Usd::from_pico(3));
            totals.post(&Scope::Organisation, Usd::from_pico(3));
        }
        totals.post(&user(0), Usd::from_pico(1));
        assert_eq!((totals.len(), totals.others()[2].spent.pico()), (SCOPES_MAX + 1, 15));
        assert_eq!(totals.of(&user(0)).spent.pico(), 4);
        assert_eq!(totals.of(&Scope::Organisation).spent.pico(), 3 * (SCOPES_MAX as u128 + 5));
    }

    #[test]
    fn what_was_unbounded_is_bounded_once() {
        let scopes = (0..SCOPES_MAX + 2).map(|number| (user(number), Total { entries: 1, ..Total::default() }));
        let mut totals = Totals::of_snapshot(scopes.collect(), None);
        totals.post(&user(SCOPES_MAX + 9), Usd::ZERO);
        assert_eq!((totals.len(), totals.is_unbounded()), (SCOPES_MAX + 3, true));
        totals.bound();
        assert_eq!((totals.len(), totals.others()[2].entries, totals.is_unbounded()), (SCOPES_MAX, 2, false));
        let bounded = totals.clone();
        totals.bound();
        assert_eq!(totals, bounded);
    }
}
