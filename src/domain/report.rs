//! [`Report`]: entries folded into rows by team, user, key, model or day, in any combination.
//!
//! One fold serves every grouping and every rendering, so that no two views can differ. It reads no store and knows
//! no time zone: who feeds it says which day an entry belongs to.
//!
//! Invariant: the rows of any grouping sum to the same total, to the pico-dollar.

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

use super::entry::Entry;
use super::fault::Fault;
use super::money::Usd;
use super::utc::Day;

/// Rows that a report may have: a client can make up models without end. What comes later is counted in one row.
pub const ROWS_MAX: usize = 100_000;

/// What rows can be grouped by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Dimension {
    /// The team that pays.
    Team,
    /// The user who is billed.
    User,
    /// The key by its id.
    Key,
    /// The model that was sent to the upstream.
    Model,
    /// The day on which the request arrived, in the report's time zone.
    Day,
}

/// Why a list of dimensions is refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DimensionError {
    /// There is no such dimension.
    Unknown(Box<str>),
    /// It is named twice.
    Twice(Dimension),
}

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
}

/// The value of a row in one dimension.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Label {
    /// A date.
    Day(Day),
    /// A name.
    Name(Arc<str>),
    /// The entry has none: no team, no user, no model.
    None,
    /// All that came after [`ROWS_MAX`] rows.
    Other,
}

/// What the entries of a row come to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Sums {
    /// Requests of clients.
    pub requests: u64,
    /// Of them: those that did not end in a whole, good answer.
    pub errors: u64,
    /// What providers bill for those that have a price.
    pub spend: Usd,
    /// Fresh prompt tokens.
    pub input: u64,
    /// Generated tokens.
    pub output: u64,
    /// Prompt tokens read from a provider's cache.
    pub cache_read: u64,
    /// Prompt tokens written to a provider's cache, for whatever time.
    pub cache_write: u64,
    /// What cache and router saved.
    pub saved: Usd,
    /// Of `spend`: what rests on counted or assumed usage.
    pub estimated: Usd,
    /// Requests without a price: while there are any, `spend` is incomplete.
    pub unpriced: u64,
}

/// One line of a report.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Row {
    /// One label for each dimension of the query, in its order.
    pub labels: Box<[Label]>,
    /// What its entries come to.
    pub sums: Sums,
}

/// A finished report.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Table {
    /// What it is about.
    pub query: Query,
    /// By label if days are among them, else the dearest first.
    pub rows: Vec<Row>,
    /// What all entries come to.
    pub total: Sums,
}

/// A report that takes entries, in any order.
#[derive(Debug)]
pub struct Report {
    query: Query,
    rows: Vec<Row>,
    places: HashMap<Box<[Label]>, usize>,
    total: Sums,
    labels: Vec<Label>,
}

impl Report {
    /// A report without entries.
    #[must_use]
    pub fn new(query: Query) -> Self {
        let labels = Vec::with_capacity(query.by.len());
        Self { query, rows: Vec::new(), places: HashMap::new(), total: Sums::default(), labels }
    }

    /// Counts `entry`, which arrived on `day` of the report's time zone, unless it is of another time.
    pub fn add(&mut self, entry: &Entry, day: Day) {
        let early = self.query.from_ms.is_some_and(|from_ms| entry.at_ms < from_ms);
        let late = self.query.until_ms.is_some_and(|until_ms| entry.at_ms >= until_ms);
        if early || late {
            return;
        }
        self.total.add(entry);
        self.labels.clear();
        self.labels.extend(self.query.by.iter().map(|dimension| dimension.label(entry, day)));
        if !self.labels.is_empty() {
            let place = self.place();
            self.rows[place].sums.add(entry);
        }
    }

    /// The rows, sorted, and their total.
    #[must_use]
    pub fn finish(mut self) -> Table {
        let by_day = self.query.by.contains(&Dimension::Day);
        self.rows.sort_unstable_by(|one, other| {
            let dearest_first = other.sums.spend.cmp(&one.sums.spend);
            let by_labels = one.labels.cmp(&other.labels);
            if by_day { by_labels } else { dearest_first.then(by_labels) }
        });
        Table { query: self.query, rows: self.rows, total: self.total }
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
        self.rows.push(Row { labels, sums: Sums::default() });
        self.rows.len() - 1
    }
}

impl Table {
    /// Whether the spend is too low, because something was called that has no price.
    #[must_use]
    pub const fn is_incomplete(&self) -> bool {
        self.total.unpriced > 0
    }
}

impl Sums {
    /// Counts one entry.
    pub fn add(&mut self, entry: &Entry) {
        let usage = &entry.usage;
        let requests = u64::from(entry.requests);
        let cost = entry.cost.unwrap_or_default();
        let written = usage.input_total().saturating_sub(usage.input).saturating_sub(usage.cache_read);
        count(&mut self.requests, requests);
        count(&mut self.errors, if Fault::of(entry).is_some() { requests } else { 0 });
        count(&mut self.unpriced, if entry.cost.is_none() { requests } else { 0 });
        count(&mut self.input, usage.input);
        count(&mut self.output, usage.output);
        count(&mut self.cache_read, usage.cache_read);
        count(&mut self.cache_write, written);
        self.spend = self.spend.plus(cost);
        self.saved = self.saved.plus(entry.saved);
        if entry.usage_source.is_estimated() {
            self.estimated = self.estimated.plus(cost);
        }
    }

    /// The estimated part of the spend in hundredths of a percent, rounded to the nearest; 0 where nothing was spent.
    #[must_use]
    pub fn estimated_share(&self) -> u128 {
        let spend = self.spend.pico();
        self.estimated.pico().saturating_mul(10_000).saturating_add(spend / 2).checked_div(spend).unwrap_or(0)
    }
}

impl Dimension {
    /// All of them.
    pub const ALL: [Self; 5] = [Self::Team, Self::User, Self::Key, Self::Model, Self::Day];

    /// The word in `--by`, and the name of the column.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Team => "team",
            Self::User => "user",
            Self::Key => "key",
            Self::Model => "model",
            Self::Day => "day",
        }
    }

    /// Reads names that commas separate, as in `team,model`; nothing is the empty list.
    pub fn list(text: &str) -> Result<Vec<Self>, DimensionError> {
        let mut dimensions = Vec::new();
        for word in text.split(',').map(str::trim).filter(|word| !word.is_empty()) {
            let known = Self::ALL.into_iter().find(|dimension| dimension.name() == word);
            let dimension = known.ok_or_else(|| DimensionError::Unknown(word.into()))?;
            if dimensions.contains(&dimension) {
                return Err(DimensionError::Twice(dimension));
            }
            dimensions.push(dimension);
        }
        Ok(dimensions)
    }

    fn label(self, entry: &Entry, day: Day) -> Label {
        let account = &entry.account;
        let name = match self {
            Self::Team => account.team.as_ref(),
            Self::User => account.user.as_ref(),
            Self::Key => Some(&account.key),
            Self::Model => Some(&entry.model),
            Self::Day => return Label::Day(day),
        };
        name.filter(|name| !name.is_empty()).map_or(Label::None, |name| Label::Name(name.clone()))
    }
}

impl fmt::Display for DimensionError {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unknown(word) => {
                let known = Dimension::ALL.map(Dimension::name).join(", ");
                write!(out, "{word:?} is nothing to group by; known are {known}")
            }
            Self::Twice(dimension) => write!(out, "\"{}\" is named twice", dimension.name()),
        }
    }
}

impl std::error::Error for DimensionError {}

fn count(sum: &mut u64, more: u64) {
    *sum = sum.saturating_add(more);
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::domain::entry::Outcome;
    use crate::domain::sample;
    use crate::domain::tokens::UsageSource;

    const DAY_MS: u64 = 86_400_000;

    fn report(entries: &[Entry], query: Query) -> Table {
        let mut report = Report::new(query);
        for entry in entries {
            report.add(entry, Day::utc(entry.at_ms));
        }
        report.finish()
    }

    fn by(text: &str) -> Query {
        Query { by: Dimension::list(text).unwrap(), ..Query::default() }
    }

    prop_compose! {
        fn some_entry()(
            team in 0..3_usize, user in 0..3_usize, key in 0..4_usize, model in 0..3_usize, day in 0..4_u64,
            cost in proptest::option::of(0..1_u128 << 90), saved in 0..1_u128 << 50, estimated: bool, failed: bool,
            input in 0..1_u64 << 40, requests in 1..4_u32,
        ) -> Entry {
            let mut entry = sample::entry();
            let named = |number: usize| Some(format!("n{number}").into()).filter(|_| number > 0);
            (entry.account.team, entry.account.user) = (named(team), named(user));
            (entry.account.key, entry.model) = (format!("k{key}").into(), format!("m{model}").into());
            (entry.at_ms, entry.requests, entry.usage.input) = (day * DAY_MS, requests, input);
            (entry.cost, entry.saved) = (cost.map(Usd::from_pico), Usd::from_pico(saved));
            entry.usage_source = if estimated { UsageSource::Counted } else { UsageSource::Reported };
            entry.outcome = if failed { Outcome::Timeout } else { Outcome::Complete };
            entry
        }
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
            cache_read: 20 * rows,
            cache_write: 7 * rows,
            saved: Usd::from_pico(money(&|entry| Some(entry.saved))),
            estimated: Usd::from_pico(money(&|entry| {
                entry.cost.filter(|_| entry.usage_source == UsageSource::Counted)
            })),
            unpriced: requests(&|entry| entry.cost.is_none()),
        }
    }

    proptest! {
        #[test]
        fn every_grouping_adds_up_to_the_same_total(entries in proptest::collection::vec(some_entry(), 0..40), from_day in 0..3_u64) {
            let keep = |entry: &Entry| entry.at_ms >= from_day * DAY_MS;
            let total = naive(&entries, keep);
            for chosen in 0..1_u32 << Dimension::ALL.len() {
                let dimensions = Dimension::ALL.into_iter().enumerate().filter(|(place, _)| chosen >> place & 1 == 1);
                let by: Vec<_> = dimensions.map(|(_, dimension)| dimension).collect();
                let table = report(&entries, Query { by: by.clone(), from_ms: Some(from_day * DAY_MS), ..Query::default() });
                prop_assert_eq!(&table.total, &total);
                for row in &table.rows {
                    let same = |entry: &Entry| by.iter().zip(&row.labels).all(|(by, label)| by.label(entry, Day::utc(entry.at_ms)) == *label);
                    prop_assert_eq!(&row.sums, &naive(&entries, |entry| keep(entry) && same(entry)));
                }
                let spends: Usd = table.rows.iter().map(|row| row.sums.spend).sum();
                let requests: u64 = table.rows.iter().map(|row| row.sums.requests).sum();
                prop_assert!(by.is_empty() || (spends, requests) == (total.spend, total.requests));
            }
        }
    }

    #[test]
    fn the_dearest_comes_first_but_days_come_in_their_order() {
        let mut entries = vec![sample::entry(), sample::entry(), sample::entry()];
        for (entry, (team, pico, days)) in entries.iter_mut().zip([("a", 5, 2), ("b", 9, 1), ("c", 7, 0)]) {
            (entry.account.team, entry.cost, entry.at_ms) =
                (Some(team.into()), Some(Usd::from_pico(pico)), days * DAY_MS);
        }
        let spends =
            |by_text| report(&entries, by(by_text)).rows.iter().map(|row| row.sums.spend.pico()).collect::<Vec<_>>();
        assert_eq!(spends("team"), [9, 7, 5]);
        assert_eq!(spends("day,team"), [7, 9, 5]);
    }

    #[test]
    fn a_report_ends_before_its_until() {
        let entry = sample::entry();
        let at_ms = entry.at_ms;
        for (from_ms, until_ms, expect) in [(at_ms, at_ms + 1, 1), (0, at_ms, 0), (at_ms + 1, at_ms + 9, 0)] {
            let query = Query { from_ms: Some(from_ms), until_ms: Some(until_ms), ..Query::default() };
            assert_eq!(report(std::slice::from_ref(&entry), query).total.requests, expect);
        }
    }

    #[test]
    fn models_without_end_share_one_row() {
        let mut report = Report::new(by("model"));
        let mut entry = sample::entry();
        for number in 0..ROWS_MAX + 3 {
            entry.model = number.to_string().into();
            report.add(&entry, Day::utc(0));
        }
        let table = report.finish();
        let other = table.rows.iter().find(|row| *row.labels == [Label::Other]).unwrap();
        assert_eq!((table.rows.len(), other.sums.requests), (ROWS_MAX + 1, 3));
        assert_eq!(table.rows.iter().map(|row| row.sums.spend).sum::<Usd>(), table.total.spend);
    }

    #[test]
    fn dimensions_are_read_from_text() {
        use Dimension::{Model, Team};
        let check =
            |text, expect| assert_eq!(Dimension::list(text).map_err(|error| error.to_string()), expect, "{text}");
        check("team, model", Ok(vec![Team, Model]));
        check("", Ok(vec![]));
        check("team,team", Err("\"team\" is named twice".to_owned()));
        check("tean", Err("\"tean\" is nothing to group by; known are team, user, key, model, day".to_owned()));
    }

    #[test]
    fn the_estimated_share_is_rounded_to_a_hundredth_of_a_percent() {
        let share = |estimated, spend| {
            let (spend, estimated) = (Usd::from_pico(spend), Usd::from_pico(estimated));
            Sums { spend, estimated, ..Sums::default() }.estimated_share()
        };
        assert_eq!([share(0, 0), share(1, 3), share(2, 3), share(5, 5)], [0, 3_333, 6_667, 10_000]);
    }
}
