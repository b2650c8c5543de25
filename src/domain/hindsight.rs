//! [`Hindsight`]: what recorded requests came to, and what they would come to under another config, in rows; with all that makes
//! the second number uncertain.
//!
//! Invariant: no number is rounded, and what could not be answered again keeps what it cost and is counted as such.

use std::collections::HashMap;

use super::dimension::{Dimension, Label};
use super::json_text::Object;
use super::money::Usd;
use super::report::ROWS_MAX;
use super::report_text::{Format, align, csv_line, csv_text, plain};
use super::subject::Subject;
use super::utc::{Moment, When};

/// What some requests come to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sums {
    /// Requests.
    pub requests: u64,
    /// Of them: those that another model would answer.
    pub moved: u64,
    /// What they cost.
    pub spend: Usd,
    /// What they would likely cost.
    pub likely: Usd,
    /// The least and the most, as far as the doubts are understood.
    pub least: Usd,
    /// The most.
    pub most: Usd,
    /// Requests without a price under the other config.
    pub unpriced: u64,
}

/// How many requests the numbers are uncertain for, and why.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Doubts {
    /// Those that routing is asked about.
    pub routed: u64,
    /// Those whose words and shape were not recorded, so that they stay where they went.
    pub unseen: u64,
    /// Those whose usage the provider did not report, which keep what they cost.
    pub unmetered: u64,
    /// Those that were billed by several models, which keep what they cost.
    pub mixed: u64,
    /// Those whose conversation was not recorded.
    pub untold: u64,
    /// Those whose size was recorded too roughly to tell which model they would get.
    pub rough: u64,
    /// Those that a judge would be asked about.
    pub judged: u64,
    /// Those that no model would take, which keep what they cost.
    pub refused: u64,
    /// Those of which only sums are left, which keep what they cost.
    pub archived: u64,
}

/// A row.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Row {
    labels: Box<[Label]>,
    sums: Sums,
}

/// What recorded requests come to.
#[derive(Debug)]
pub struct Hindsight {
    by: Vec<Dimension>,
    period: (Option<u64>, Option<u64>),
    rows: Vec<Row>,
    places: HashMap<Box<[Label]>, usize>,
    total: Sums,
    /// What makes it uncertain.
    pub doubts: Doubts,
}

/// What is assumed of every request.
const ASSUMED: [&str; 6] = [
    "answers are as long, and prompts have as many tokens, as those that were given",
    "nothing is retried, judged, escalated or refused for money or limits that was not; the response cache hits as it did",
    "what the model asked for would have cost, its cache warm, is taken from the ledger where it stands there",
    "routes know what they knew then: the recorded judgement of a request is not made again",
    "headers of clients that ask for a tier, and rights of keys that config does not name, are not recorded",
    "the range covers prompts that are cold or warm in a provider's cache, and sizes that are recorded to an eighth",
];

impl Sums {
    /// The same with a range that holds `cost`.
    #[must_use]
    pub fn with(self, cost: Usd) -> Self {
        Self { least: self.least.min(cost), most: self.most.max(cost), ..self }
    }

    fn add(&mut self, more: &Self) {
        let Self { requests, moved, spend, likely, least, most, unpriced } = *more;
        (self.requests, self.moved) = (self.requests + requests, self.moved + moved);
        (self.spend, self.likely) = (self.spend.plus(spend), self.likely.plus(likely));
        (self.least, self.most) = (self.least.plus(least), self.most.plus(most));
        self.unpriced += unpriced;
    }

    /// The cells for programs, with their names.
    fn cells(&self) -> [(&'static str, String); 8] {
        [
            ("requests", self.requests.to_string()),
            ("moved_requests", self.moved.to_string()),
            ("spend_usd", self.spend.fixed()),
            ("replayed_usd", self.likely.fixed()),
            ("least_usd", self.least.fixed()),
            ("most_usd", self.most.fixed()),
            ("change_usd", change(self.spend, self.likely)),
            ("unpriced_requests", self.unpriced.to_string()),
        ]
    }

    /// The same for people: cents and two more digits.
    fn shown(&self) -> [String; 8] {
        let short =
            |text: String| text.split_once('.').map_or(text.clone(), |(whole, part)| format!("{whole}.{}", &part[..4]));
        self.cells().map(|(name, cell)| if name.ends_with("_usd") { short(cell) } else { cell })
    }
}

/// The headings for people, in the order of the cells.
const HEADINGS: [&str; 8] =
    ["requests", "moved", "spend USD", "replayed USD", "least USD", "most USD", "change USD", "unpriced"];

fn change(from: Usd, to: Usd) -> String {
    if to < from { format!("-{}", from.less(to).fixed()) } else { to.less(from).fixed() }
}

impl Hindsight {
    /// One of a time, grouped by some dimensions.
    #[must_use]
    pub fn new(by: Vec<Dimension>, period: (Option<u64>, Option<u64>)) -> Self {
        let (rows, places) = (Vec::new(), HashMap::new());
        Self { by, period, rows, places, total: Sums::default(), doubts: Doubts::default() }
    }

    /// Counts what a request comes to.
    pub fn add(&mut self, subject: &Subject, when: When, sums: &Sums) {
        self.total.add(sums);
        let mut labels: Box<[Label]> = self.by.iter().map(|dimension| dimension.label(subject, when)).collect();
        if labels.is_empty() {
            return;
        }
        if self.rows.len() >= ROWS_MAX && !self.places.contains_key(&labels) {
            labels.fill(Label::Other);
        }
        let rows = &mut self.rows;
        let place = *self.places.entry(labels).or_insert_with_key(|labels| {
            rows.push(Row { labels: labels.clone(), sums: Sums::default() });
            rows.len() - 1
        });
        self.rows[place].sums.add(sums);
    }

    /// What all of it comes to.
    #[must_use]
    pub const fn total(&self) -> &Sums {
        &self.total
    }

    /// All of it as text, the dearest rows first; days in their order.
    #[must_use]
    pub fn print(mut self, format: Format) -> String {
        let by_time = self.by.iter().any(Dimension::is_time);
        self.rows.sort_unstable_by(|one, other| {
            let by_labels = one.labels.cmp(&other.labels);
            if by_time { by_labels } else { other.sums.spend.cmp(&one.sums.spend).then(by_labels) }
        });
        match format {
            Format::Csv => self.csv(),
            Format::Json => self.json(),
            Format::Table | Format::Focus => self.table(),
        }
    }

    fn table(&self) -> String {
        let moment = |at_ms: Option<u64>, open: &str| at_ms.map_or(open.to_owned(), |at_ms| Moment(at_ms).to_string());
        let (from, until) = (moment(self.period.0, "the beginning"), moment(self.period.1, "now"));
        let mut out = format!("from {from} until {until}, under another config\n\n");
        let dimensions = self.by.iter().map(|dimension| dimension.name().to_owned());
        let mut lines = vec![dimensions.chain(HEADINGS.map(str::to_owned)).collect::<Vec<_>>()];
        let label = |label: &Label| match plain(label) {
            text if text.is_empty() => "(none)".to_owned(),
            text => text.replace(char::is_control, "?"),
        };
        lines.extend(self.rows.iter().map(|row| row.labels.iter().map(label).chain(row.sums.shown()).collect()));
        let total = (0..self.by.len()).map(|place| if place == 0 { "total".to_owned() } else { String::new() });
        lines.push(total.chain(self.total.shown()).collect());
        align(&lines, self.by.len(), &mut out);
        out.push_str("\nuncertain:\n");
        for (_, count, what) in self.doubts.told().into_iter().filter(|(_, count, _)| *count > 0) {
            out.push_str(&format!("  {count} of {} requests {what}\n", self.total.requests));
        }
        ASSUMED.iter().for_each(|assumed| out.push_str(&format!("  {assumed}\n")));
        out
    }

    fn csv(&self) -> String {
        let dimensions = self.by.iter().map(|dimension| dimension.name().to_owned());
        let mut out = csv_line(dimensions.chain(self.total.cells().map(|(name, _)| name.to_owned())));
        let mut line = |labels: &[Label], sums: &Sums| {
            let texts = labels.iter().map(|label| csv_text(&plain(label)));
            out.push_str(&csv_line(texts.chain(sums.cells().map(|(_, cell)| cell))));
        };
        self.rows.iter().for_each(|row| line(&row.labels, &row.sums));
        if self.by.is_empty() {
            line(&[], &self.total);
        }
        out
    }

    fn json(&self) -> String {
        let mut out = String::new();
        let mut object = Object::open(&mut out);
        for (name, at_ms) in [("from", self.period.0), ("until", self.period.1)] {
            object.text_or_null(name, at_ms.map(|at_ms| Moment(at_ms).to_string()).as_deref());
        }
        let mut rows = object.list("rows");
        for row in &self.rows {
            let mut of = rows.object();
            for (dimension, label) in self.by.iter().zip(&row.labels) {
                of.text_or_null(dimension.name(), Some(plain(label).as_str()).filter(|_| *label != Label::None));
            }
            write(&row.sums, &mut of);
        }
        drop(rows);
        write(&self.total, &mut object.object("total"));
        let mut doubts = object.object("uncertain");
        for (name, count, _) in self.doubts.told() {
            doubts.number(name, count);
        }
        drop(doubts);
        let mut assumed = object.list("assumed");
        ASSUMED.iter().for_each(|text| {
            assumed.text(text);
        });
        drop(assumed);
        drop(object);
        out.push('\n');
        out
    }
}

fn write(sums: &Sums, object: &mut Object<'_>) {
    for (name, cell) in sums.cells() {
        match name.ends_with("_usd") {
            true => object.text(name, &cell),
            false => object.number(name, cell),
        };
    }
}

impl Doubts {
    /// Names, counts and sentences.
    fn told(&self) -> [(&'static str, u64, &'static str); 9] {
        [
            ("routed", self.routed, "are those that routing is asked about"),
            ("unseen", self.unseen, "have no recorded features and stay where they went"),
            ("unmetered", self.unmetered, "have no usage that the provider reported and keep what they cost"),
            ("mixed", self.mixed, "were billed by several models and keep what they cost"),
            ("untold", self.untold, "belong to conversations that were not recorded: each turn is decided alone"),
            ("rough", self.rough, "have a size that is recorded too roughly to tell their model"),
            ("judged", self.judged, "would be asked about at a judge, and count as medium"),
            ("refused", self.refused, "would be taken by no model and keep what they cost"),
            ("archived", self.archived, "are left as sums only and keep what they cost"),
        ]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::sample;

    #[test]
    fn all_three_ways_tell_the_same_numbers() {
        let mut hindsight = Hindsight::new(Dimension::list("requested_model").unwrap(), (Some(0), None));
        let mut entry = sample::entry();
        for (model, likely) in [("b", 50), ("a,", 150), ("b", 25)] {
            entry.requested_model = model.into();
            let [spend, likely, least, most] = [100, likely, 20, 200].map(|it| Usd::from_pico(it * 1_000_000_000));
            let sums = Sums { requests: 1, moved: 1, spend, likely, least, most, unpriced: 0 };
            hindsight.add(&Subject::of(&entry), When::utc(entry.at_ms), &sums);
            hindsight.doubts.untold += 1;
        }
        let again = || Hindsight {
            rows: hindsight.rows.clone(),
            by: hindsight.by.clone(),
            places: HashMap::new(),
            ..hindsight
        };
        let csv = again().print(Format::Csv);
        let expect = "b,2,2,0.200000000000,0.075000000000,0.040000000000,0.400000000000,-0.125000000000,0";
        assert!(csv.lines().nth(1) == Some(expect) && csv.contains("\"a,\",1,1,0.1"), "{csv}");
        let table = again().print(Format::Table);
        assert!(table.contains("-0.0750") && table.contains("3 of 3 requests belong to conversations"), "{table}");
        let json: serde_json::Value = serde_json::from_str(&again().print(Format::Json)).unwrap();
        assert_eq!(
            (&json["total"]["change_usd"], &json["uncertain"]["untold"]),
            (&"-0.075000000000".into(), &3.into())
        );
        assert_eq!(json["rows"][1]["requested_model"], "a,");
    }
}
