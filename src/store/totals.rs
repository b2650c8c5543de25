//! [`Totals`]: what each scope has spent, folded from entries. The reference by which every other sum is judged.
//!
//! It holds no caps, no windows and no holds; the bank does. Clients choose names of users, models and tags, so that only so
//! many scopes of a kind have a total of their own: those that came first. What came later is counted together.
//!
//! Invariant: totals are the sum of entries, of amounts posted as unsettled and of adjustments, and of nothing else.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::domain::account::{Payer, Scope};
use crate::domain::adjustment::{Adjustment, Direction};
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
    /// By kind and name, which is their order too; looked up by names that nobody has to own.
    scopes: [BTreeMap<Arc<str>, (Scope, Total)>; KINDS],
    /// What all others of a kind come to together.
    others: [Total; KINDS],
    /// Whether every scope has its own, as it was before there was a bound.
    is_unbounded: bool,
}

impl Totals {
    /// Counts an entry of `payer` for `model` in each of its scopes.
    pub fn add(&mut self, payer: &Payer<'_>, model: &str, cost: Option<Usd>) {
        let one = Total {
            spent: cost.unwrap_or_default(),
            entries: 1,
            unpriced: u64::from(cost.is_none()),
            credited: Usd::ZERO,
        };
        self.join(ORGANISATION, "", &one);
        if let Some(team) = payer.team {
            self.join(TEAM, team, &one);
        }
        if let Some(user) = payer.user {
            self.join(USER, user, &one);
        }
        self.join(KEY, payer.key, &one);
        self.join(MODEL, model, &one);
        for (name, value) in &payer.tags {
            self.join(TAG, &format!("{name}={value}"), &one);
        }
    }

    /// Counts `amount` in `scope` alone.
    pub fn post(&mut self, scope: &Scope, amount: Usd) {
        self.join(kind(scope), scope.name(), &Total { spent: amount, ..Total::default() });
    }

    /// Counts a correction in each scope that it names.
    pub fn adjust(&mut self, adjustment: &Adjustment) {
        let no_model = adjustment.model.is_empty();
        for scope in adjustment.account.scopes(&adjustment.model) {
            if scope.name().is_empty() && scope != Scope::Organisation || no_model && matches!(scope, Scope::Model(_)) {
                continue;
            }
            let total = match adjustment.direction {
                Direction::Charge => Total { spent: adjustment.amount, ..Total::default() },
                Direction::Credit => Total { credited: adjustment.amount, ..Total::default() },
            };
            self.join(kind(&scope), scope.name(), &total);
        }
    }

    /// What `scope` has spent, if it has a total of its own.
    #[must_use]
    pub fn of(&self, scope: &Scope) -> Total {
        self.scopes[kind(scope)].get(scope.name()).map_or(Total::default(), |(_, total)| *total)
    }

    /// Every scope with a total of its own, in order.
    pub fn iter(&self) -> impl Iterator<Item = (&Scope, &Total)> {
        self.scopes.iter().flat_map(|kind| kind.values().map(|(scope, total)| (scope, total)))
    }

    /// What the scopes of each kind come to that have none.
    #[must_use]
    pub const fn others(&self) -> &[Total; KINDS] {
        &self.others
    }

    /// How many scopes have a total of their own.
    #[must_use]
    pub fn len(&self) -> usize {
        self.scopes.iter().map(BTreeMap::len).sum()
    }

    /// Whether nothing was ever counted.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.scopes.iter().all(BTreeMap::is_empty)
    }

    /// Totals as a snapshot has them; without `others` they are from before there was a bound.
    #[must_use]
    pub fn of_snapshot(scopes: Vec<(Scope, Total)>, others: Option<[Total; KINDS]>) -> Self {
        let mut totals = Self { is_unbounded: others.is_none(), others: others.unwrap_or_default(), ..Self::default() };
        for (scope, total) in scopes {
            totals.scopes[kind(&scope)].insert(scope.name().into(), (scope, total));
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
        for (scope, total) in std::mem::take(self).scopes.into_iter().flat_map(BTreeMap::into_values) {
            self.join(kind(&scope), scope.name(), &total);
        }
    }

    /// Adds to the total of a scope, or to that of the others of its kind where it has none.
    fn join(&mut self, kind: usize, name: &str, more: &Total) {
        let known = &mut self.scopes[kind];
        let has_room = self.is_unbounded || known.len() < SCOPES_MAX;
        match known.get_mut(name) {
            Some((_, total)) => total.join(more),
            None if has_room => {
                let name: Arc<str> = name.into();
                known.insert(name.clone(), (scope(kind, name), *more));
            }
            None => self.others[kind].join(more),
        }
    }
}

impl Total {
    fn join(&mut self, more: &Self) {
        self.spent = self.spent.plus(more.spent);
        self.entries = self.entries.saturating_add(more.entries);
        self.unpriced = self.unpriced.saturating_add(more.unpriced);
        self.credited = self.credited.plus(more.credited);
    }
}

/// The places of the kinds, in their order.
const ORGANISATION: usize = 0;
const TEAM: usize = 1;
const USER: usize = 2;
const KEY: usize = 3;
const MODEL: usize = 4;
const TAG: usize = 5;

const fn kind(scope: &Scope) -> usize {
    match scope {
        Scope::Organisation => ORGANISATION,
        Scope::Team(_) => TEAM,
        Scope::User(_) => USER,
        Scope::Key(_) => KEY,
        Scope::Model(_) => MODEL,
        Scope::Tag(_) => TAG,
    }
}

fn scope(kind: usize, name: Arc<str>) -> Scope {
    match kind {
        TEAM => Scope::Team(name),
        USER => Scope::User(name),
        KEY => Scope::Key(name),
        MODEL => Scope::Model(name),
        TAG => Scope::Tag(name),
        _ => Scope::Organisation,
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
