//! [`Report`]: sums folded into rows by any dimensions, in any combination.
//!
//! One fold serves every grouping and every rendering, so that no two views can differ. It reads no store and knows
//! no time zone: who feeds it chooses the time, and says which day and hour a sum belongs to.
//!
//! Invariant: the rows of any grouping sum to the same total, to the pico-dollar.

use std::collections::HashMap;

pub use super::dimension::{Dimension, DimensionError, Label};
use super::money::Usd;
use super::subject::Subject;
pub use super::sums::Sums;
use super::utc::When;

/// Rows that a report may have: a client can make up models without end. What comes later is counted in one row.
pub const ROWS_MAX: usize = 100_000;

/// What a report is about.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Query {
    /// What its rows are grouped by, outermost first; empty for the total alone.
    pub by: Vec<Dimension>,
    /// The first moment that counts, in unix milliseconds.
    pub from_ms: Option<u64>,
    /// The first moment that counts no more, in unix milliseconds.
    pub until_ms: Option<u64>,
    /// The name of the time zone that its days are of.
    pub time_zone: Box<str>,
    /// Whether it says beside each spend what the present price book would say.
    pub is_repriced: bool,
}

/// What the present price book says of some entries.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Repriced {
    /// What those cost that have a price in it, and what was charged for those that are not priced by a book.
    pub spend: Usd,
    /// Requests that have no price in it.
    pub unpriced: u64,
}

/// One line of a report.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Row {
    /// One label for each dimension of the query, in its order.
    pub labels: Box<[Label]>,
    /// What its entries come to.
    pub sums: Sums,
    /// What they would come to; nothing unless that is asked for.
    pub repriced: Repriced,
}

/// A finished report.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Table {
    /// What it is about.
    pub query: Query,
    /// By label if days or hours are among them, else the dearest first.
    pub rows: Vec<Row>,
    /// What all entries come to.
    pub total: Sums,
    /// What all of them would come to; nothing unless that is asked for.
    pub total_repriced: Repriced,
}

/// A report that takes sums, in any order.
#[derive(Debug)]
pub struct Report {
    query: Query,
    rows: Vec<Row>,
    places: HashMap<Box<[Label]>, usize>,
    total: Sums,
    total_repriced: Repriced,
    labels: Vec<Label>,
}

impl Report {
    /// A report without entries.
    #[must_use]
    pub fn new(query: Query) -> Self {
        let labels = Vec::with_capacity(query.by.len());
        let (total, total_repriced) = (Sums::default(), Repriced::default());
        Self { query, rows: Vec::new(), places: HashMap::new(), total, total_repriced, labels }
    }

    /// Counts `sums` of `subject` at `when`.
    pub fn add(&mut self, subject: &Subject, when: When, sums: &Sums) {
        self.add_repriced(subject, when, sums, Repriced::default());
    }

    /// The same with what the present price book says of it.
    pub fn add_repriced(&mut self, subject: &Subject, when: When, sums: &Sums, repriced: Repriced) {
        self.total.join(sums);
        self.total_repriced.join(repriced);
        self.labels.clear();
        self.labels.extend(self.query.by.iter().map(|dimension| dimension.label(subject, when)));
        if !self.labels.is_empty() {
            let place = self.place();
            self.rows[place].sums.join(sums);
            self.rows[place].repriced.join(repriced);
        }
    }

    /// The rows, sorted, and their total.
    #[must_use]
    pub fn finish(mut self) -> Table {
        let by_time = self.query.is_by_time();
        self.rows.sort_unstable_by(|one, other| {
            let dearest_first = other.sums.spend.cmp(&one.sums.spend);
            let by_labels = one.labels.cmp(&other.labels);
            if by_time { by_labels } else { dearest_first.then(by_labels) }
        });
        Table { query: self.query, rows: self.rows, total: self.total, total_repriced: self.total_repriced }
    }

    /// The place of the row of the labels that were set last.
    fn place(&mut self) -> usize {
        match self.places.get(self.labels.as_slice()) {
            Some(place) => *place,
            None if self.rows.len() < ROWS_MAX => self.open(),
            None => {
                self.labels.fill(Label::Other);
                self.places.get(self.labels.as_slice()).copied().unwrap_or_else(|| self.open())
            }
        }
    }

    fn open(&mut self) -> usize {
        let labels: Box<[Label]> = self.labels.as_slice().into();
        self.places.insert(labels.clone(), self.rows.len());
        self.rows.push(Row { labels, sums: Sums::default(), repriced: Repriced::default() });
        self.rows.len() - 1
    }
}

impl Query {
    /// Whether its rows are about days or hours.
    #[must_use]
    pub fn is_by_time(&self) -> bool {
        self.by.iter().any(Dimension::is_time)
    }
}

impl Repriced {
    fn join(&mut self, more: Self) {
        self.spend = self.spend.plus(more.spend);
        self.unpriced = self.unpriced.saturating_add(more.unpriced);
    }
}

impl Table {
    /// Whether the spend is too low, because something was called that has no price.
    #[must_use]
    pub const fn is_incomplete(&self) -> bool {
        self.total.unpriced > 0
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::domain::account::Account;
    use crate::domain::entry::{CacheUse, Entry, Outcome, Tier};
    use crate::domain::operation::Operation;
    use crate::domain::sample;
    use crate::domain::tokens::UsageSource;

    const HOUR_MS: u64 = 3_600_000;

    fn report(entries: &[Entry], query: Query) -> Table {
        let mut report = Report::new(query);
        entries.iter().for_each(|entry| add(&mut report, entry));
        report.finish()
    }

    fn add(report: &mut Report, entry: &Entry) {
        report.add(&Subject::of(entry), When::utc(entry.at_ms), &Sums::of(entry));
    }

    fn by(text: &str) -> Query {
        Query { by: Dimension::list(text).unwrap(), ..Query::default() }
    }

    prop_compose! {
        fn some_entry()(
            team in 0..3_usize, user in 0..3_usize, key in 0..4_usize, model in 0..3_usize, hour in 0..60_u64,
            cost in proptest::option::of(0..1_u128 << 90), saved in 0..1_u128 << 50, estimated: bool, failed: bool,
            input in 0..1_u64 << 40, requests in 1..4_u32, (cache, tier, operation) in (0..6_usize, 0..4_usize, 0..3_usize),
            tags in 0..4_usize,
        ) -> Entry {
            let named = |number: usize| Some(format!("n{number}").into()).filter(|_| number > 0);
            let tag = |name: &str, bit: usize| (tags & bit > 0).then(|| (name.into(), "x".into()));
            let account = Account {
                key: format!("k{key}").into(),
                user: named(user),
                team: named(team),
                tags: [tag("a", 1), tag("b", 2)].into_iter().flatten().collect(),
            };
            Entry {
                account,
                model: format!("m{model}").into(),
                at_ms: hour * HOUR_MS,
                requests,
                cost: cost.map(Usd::from_pico),
                saved: Usd::from_pico(saved),
                usage_source: if estimated { UsageSource::Counted } else { UsageSource::Reported },
                outcome: if failed { Outcome::Timeout } else { Outcome::Complete },
                cache: CacheUse::ALL[cache],
                tier: Tier::ALL.get(tier).copied(),
                operation: Operation::ALL[operation],
                usage: crate::domain::tokens::Usage { input, ..sample::entry().usage },
                ..sample::entry()
            }
        }
    }

    fn words() -> impl Strategy<Value = Vec<String>> {
        let all = Dimension::ALL.iter().map(|dimension| dimension.name().to_owned());
        let all: Vec<String> = all.chain(["tag:a".to_owned(), "tag:none".to_owned()]).collect();
        proptest::sample::subsequence(all, 0..4).prop_shuffle()
    }

    /// The same sums without any of the code above.
    fn naive(entries: &[Entry], keep: impl Fn(&Entry) -> bool) -> Sums {
        let kept = || entries.iter().filter(|entry| keep(entry));
        let requests = |which: &dyn Fn(&Entry) -> bool| {
            kept().filter(|entry| which(entry)).map(|entry| u64::from(entry.requests)).sum()
        };
        let money = |which: &dyn Fn(&Entry) -> Option<Usd>| kept().filter_map(which).map(Usd::pico).sum::<u128>();
        let rows = kept().count() as u64;
        Sums {
            requests: requests(&|_| true),
            errors: requests(&|entry| entry.outcome == Outcome::Timeout),
            spend: Usd::from_pico(money(&|entry| entry.cost)),
            input: kept().map(|entry| entry.usage.input).sum(),
            output: 30 * rows,
            reasoning: 4 * rows,
            cache_read: 20 * rows,
            cache_write: 7 * rows,
            saved: Usd::from_pico(money(&|entry| Some(entry.saved))),
            estimated: Usd::from_pico(money(&|entry| {
                entry.cost.filter(|_| entry.usage_source == UsageSource::Counted)
            })),
            saved_by_cache: Usd::from_pico(money(&|entry| {
                Some(entry.saved).filter(|_| !matches!(entry.cache, CacheUse::Bypass | CacheUse::Miss))
            })),
            unpriced: requests(&|entry| entry.cost.is_none()),
            charged: Usd::ZERO,
            credited: Usd::ZERO,
            routed: requests(&|entry| entry.tier.is_some() && entry.model != entry.requested_model),
            ..Sums::default()
        }
    }

    proptest! {
        #[test]
        fn every_grouping_adds_up_to_the_same_total(entries in proptest::collection::vec(some_entry(), 0..40), words in words()) {
            let total = naive(&entries, |_| true);
            let query = by(&words.join(","));
            let dimensions = query.by.clone();
            let table = report(&entries, query);
            prop_assert_eq!(&table.total, &total);
            for row in &table.rows {
                let label = |by: &Dimension, entry: &Entry| by.label(&Subject::of(entry), When::utc(entry.at_ms));
                let same = |entry: &Entry| dimensions.iter().zip(&row.labels).all(|(by, known)| label(by, entry) == *known);
                prop_assert_eq!(&row.sums, &naive(&entries, same));
            }
            let mut sum = Sums::default();
            table.rows.iter().for_each(|row| sum.join(&row.sums));
            prop_assert!(dimensions.is_empty() || sum == total);
        }
    }

    #[test]
    fn the_dearest_comes_first_but_days_come_in_their_order() {
        let mut entries = vec![sample::entry(), sample::entry(), sample::entry()];
        for (entry, (team, pico, days)) in entries.iter_mut().zip([("a", 5, 2), ("b", 9, 1), ("c", 7, 0)]) {
            (entry.account.team, entry.cost, entry.at_ms) =
                (Some(team.into()), Some(Usd::from_pico(pico)), days * 24 * HOUR_MS);
        }
        let spends =
            |by_text| report(&entries, by(by_text)).rows.iter().map(|row| row.sums.spend.pico()).collect::<Vec<_>>();
        assert_eq!(spends("team"), [9, 7, 5]);
        assert_eq!(spends("day,team"), [7, 9, 5]);
    }

    #[test]
    fn models_without_end_share_one_row() {
        let mut report = Report::new(by("model"));
        let mut entry = sample::entry();
        for number in 0..ROWS_MAX + 3 {
            entry.model = number.to_string().into();
            add(&mut report, &entry);
        }
        let table = report.finish();
        let other = table.rows.iter().find(|row| *row.labels == [Label::Other]).unwrap();
        assert_eq!((table.rows.len(), other.sums.requests), (ROWS_MAX + 1, 3));
        assert_eq!(table.rows.iter().map(|row| row.sums.spend).sum::<Usd>(), table.total.spend);
    }
}
