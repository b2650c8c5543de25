//! [`Habits`]: what is usual for each key, so that what is not can be told.
//!
//! The usual is a moving mean over the hours in which a key was used at all; the running hour does not count. It is
//! kept in memory: after a restart a key has no habits for its first hours.

use std::collections::HashMap;

use crate::config::alerts::Alerts as Rules;
use crate::domain::alert::Kind;
use crate::domain::money::Usd;

use super::traffic::Finding;

/// Milliseconds of an hour.
const HOUR_MS: u64 = 3_600_000;

/// Keys that are watched; of more, those that were quiet for longest are forgotten.
const KEYS_MAX: usize = 10_000;

/// Hours of use before anything is usual.
const HOURS_MIN: u32 = 3;

/// Requests of an hour before their mean says anything.
const REQUESTS_MIN: u64 = 20;

/// An hour counts for one part in so many of the mean.
const INERTIA: u128 = 8;

/// The habits of all keys.
#[derive(Debug, Default)]
pub(super) struct Habits {
    keys: HashMap<Box<str>, Habit>,
}

#[derive(Debug, Default)]
struct Habit {
    hour: u64,
    spent: Usd,
    requests: u64,
    tokens: u64,
    /// Hours that the means are of.
    hours: u32,
    usual_spend: u128,
    usual_tokens: u128,
    told_spend: bool,
    told_tokens: bool,
}

impl Habits {
    /// Counts a request, and says what is unusual about its key's hour, once an hour.
    pub(super) fn note(&mut self, key: &str, at_ms: u64, cost: Usd, tokens: u64, rules: &Rules) -> Vec<Finding> {
        let hour = at_ms / HOUR_MS;
        if let Some(habit) = self.keys.get_mut(key) {
            return habit.note(key, hour, cost, tokens, rules);
        }
        self.make_room();
        let mut habit = Habit { hour, ..Habit::default() };
        let unusual = habit.note(key, hour, cost, tokens, rules);
        self.keys.insert(key.into(), habit);
        unusual
    }

    fn make_room(&mut self) {
        if self.keys.len() < KEYS_MAX {
            return;
        }
        let mut hours: Vec<u64> = self.keys.values().map(|habit| habit.hour).collect();
        let middle = hours.len() / 2;
        let (_, median, _) = hours.select_nth_unstable(middle);
        let median = *median;
        self.keys.retain(|_, habit| habit.hour > median);
    }
}

impl Habit {
    fn note(&mut self, key: &str, hour: u64, cost: Usd, tokens: u64, rules: &Rules) -> Vec<Finding> {
        let Some(factor) = rules.unusual_factor else { return Vec::new() };
        if hour > self.hour {
            self.learn(hour);
        }
        self.spent = self.spent.plus(cost);
        self.requests += 1;
        self.tokens = self.tokens.saturating_add(tokens);
        if self.hours < HOURS_MIN {
            return Vec::new();
        }
        let spend = self.unusual_spend(key, factor, rules.unusual_usd_min);
        spend.into_iter().chain(self.unusual_tokens(key, factor)).collect()
    }

    /// The running hour is over.
    fn learn(&mut self, hour: u64) {
        let per_request = u128::from(self.tokens / self.requests.max(1));
        let mean = |usual: u128, seen: u128, hours: u32| match hours {
            0 => seen,
            _ => (usual * (INERTIA - 1) + seen) / INERTIA,
        };
        self.usual_spend = mean(self.usual_spend, self.spent.pico(), self.hours);
        self.usual_tokens = mean(self.usual_tokens, per_request, self.hours);
        let hours = self.hours.saturating_add(1);
        let (usual_spend, usual_tokens) = (self.usual_spend, self.usual_tokens);
        *self = Self { hour, hours, usual_spend, usual_tokens, ..Self::default() };
    }

    fn unusual_spend(&mut self, key: &str, factor: u64, least: Usd) -> Option<Finding> {
        let usual = Usd::from_pico(self.usual_spend.saturating_mul(u128::from(factor)));
        if self.told_spend || self.spent <= usual || self.spent < least {
            return None;
        }
        self.told_spend = true;
        Some(Finding {
            kind: Kind::UnusualSpend,
            message: format!(
                "the key {key:?} spent ${} in this hour; an hour of its own is usually ${}",
                self.spent,
                Usd::from_pico(self.usual_spend)
            ),
            value: self.spent.to_string(),
            threshold: usual.to_string(),
        })
    }

    fn unusual_tokens(&mut self, key: &str, factor: u64) -> Option<Finding> {
        let seen = u128::from(self.tokens / self.requests.max(1));
        let limit = self.usual_tokens.saturating_mul(u128::from(factor));
        if self.told_tokens || self.requests < REQUESTS_MIN || seen <= limit {
            return None;
        }
        self.told_tokens = true;
        Some(Finding {
            kind: Kind::UnusualTokens,
            message: format!(
                "requests of the key {key:?} take {seen} tokens in this hour; usually they take {}",
                self.usual_tokens
            ),
            value: seen.to_string(),
            threshold: limit.to_string(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cents(cents: u64) -> Usd {
        Usd::from_pico(u128::from(cents) * 10_000_000_000)
    }

    #[test]
    fn an_hour_far_above_the_usual_is_told_once() {
        let (mut habits, rules) = (Habits::default(), Rules::default());
        let mut note = |hour: u64, cost: u64, tokens: u64| -> Vec<Kind> {
            let found = habits.note("ci", hour * HOUR_MS, cents(cost), tokens, &rules);
            found.into_iter().map(|finding| finding.kind).collect()
        };
        for hour in 0..4 {
            assert_eq!(note(hour, 40, 1_000), [], "nothing is usual yet, or it is as usual");
        }
        assert_eq!(note(9, 190, 1_000), [], "below five times 40 cents");
        assert_eq!(note(9, 15, 1_000), [Kind::UnusualSpend]);
        assert_eq!(note(9, 500, 1_000), [], "told already");
        (0..25).for_each(|_| assert_eq!(note(10, 0, 1_000), []));
        (0..19).for_each(|_| assert_eq!(note(11, 0, 9_000), []));
        assert_eq!(note(11, 0, 9_000), [Kind::UnusualTokens]);
    }

    #[test]
    fn cheap_hours_are_never_unusual_and_keys_are_bounded() {
        let (mut habits, rules) = (Habits::default(), Rules::default());
        for hour in 0..5 {
            assert_eq!(habits.note("a", hour * HOUR_MS, cents(if hour == 4 { 99 } else { 1 }), 1, &rules), []);
        }
        for key in 0..3 * KEYS_MAX {
            habits.note(&key.to_string(), key as u64 * HOUR_MS, cents(1), 1, &rules);
        }
        assert!(habits.keys.len() <= KEYS_MAX);
    }
}
