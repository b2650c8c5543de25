//! The parts that metrics are made of: [`Gauge`], [`Counter`], [`Histogram`], and [`Family`], which tells series
//! apart by labels. They are written in Prometheus' text format 0.0.4
//! (<https://prometheus.io/docs/instrumenting/exposition_formats/>).
//!
//! Invariant: a family does not grow without end, whatever clients invent: past [`SERIES_MAX`] series, what anybody
//! can choose (`Label::Open`) is counted under `other`.

use std::collections::HashMap;
use std::fmt::{Display, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};

use crate::domain::json_text::is_plain;

/// Series of one family before open labels become `other`.
pub const SERIES_MAX: usize = 1_000;

/// Bytes of a label's value; what is longer is cut.
pub const LABEL_BYTES_MAX: usize = 128;

/// Upper bounds of a histogram's buckets in milliseconds, and in seconds as they are written: from a cached answer
/// to the longest stream.
const BOUNDS: [(u32, &str); 16] = [
    (5, "0.005"),
    (10, "0.01"),
    (25, "0.025"),
    (50, "0.05"),
    (100, "0.1"),
    (250, "0.25"),
    (500, "0.5"),
    (1_000, "1"),
    (2_500, "2.5"),
    (5_000, "5"),
    (10_000, "10"),
    (30_000, "30"),
    (60_000, "60"),
    (120_000, "120"),
    (300_000, "300"),
    (600_000, "600"),
];

/// A number that goes up and down.
#[derive(Clone, Debug, Default)]
pub struct Gauge(Arc<AtomicI64>);

/// One that counts in a [`Gauge`] until it is dropped.
#[derive(Debug)]
pub struct Presence(Arc<AtomicI64>);

/// A number that only rises.
#[derive(Debug, Default)]
pub struct Counter(AtomicU64);

/// How many durations fell under which bound.
#[derive(Clone, Debug, Default)]
pub struct Histogram {
    /// Of each bucket alone; the one past the last bound is told by `count`.
    buckets: [u64; BOUNDS.len()],
    count: u64,
    sum_ms: u64,
}

/// The value of a label.
#[derive(Clone, Copy, Debug)]
pub enum Label<'a> {
    /// From code or config: there are only so many.
    Known(&'a str),
    /// Clients can invent it.
    Open(&'a str),
}

/// Series that differ in their labels.
#[derive(Debug)]
pub struct Family<Value> {
    /// The names of the labels.
    names: &'static [&'static str],
    series: Vec<Value>,
    /// The places of the series, by labels as they are written, without braces.
    places: HashMap<Box<str>, usize>,
    scratch: String,
}

/// What a family is, for the comments above its series.
#[derive(Clone, Copy, Debug)]
pub struct Title {
    /// The name, with its base unit.
    pub name: &'static str,
    /// `counter`, `gauge` or `histogram`.
    pub kind: &'static str,
    /// One sentence without its full stop.
    pub help: &'static str,
}

impl Gauge {
    /// Counts one more for as long as the answer lives.
    #[must_use]
    pub fn enter(&self) -> Presence {
        self.0.fetch_add(1, Ordering::Relaxed);
        Presence(self.0.clone())
    }

    /// Sets it.
    pub fn set(&self, value: u64) {
        self.0.store(i64::try_from(value).unwrap_or(i64::MAX), Ordering::Relaxed);
    }

    /// The number now.
    #[must_use]
    pub fn get(&self) -> i64 {
        self.0.load(Ordering::Relaxed)
    }
}

impl Drop for Presence {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Counter {
    /// Counts `more`.
    pub fn add(&self, more: u64) {
        self.0.fetch_add(more, Ordering::Relaxed);
    }

    /// The number now.
    #[must_use]
    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

impl Histogram {
    /// Counts a duration `times` times.
    pub fn observe(&mut self, duration_ms: u32, times: u64) {
        let place = BOUNDS.partition_point(|(bound_ms, _)| *bound_ms < duration_ms);
        if let Some(bucket) = self.buckets.get_mut(place) {
            *bucket += times;
        }
        self.count += times;
        self.sum_ms += u64::from(duration_ms) * times;
    }

    /// Writes the buckets, the sum in seconds and the count.
    pub fn write(&self, name: &str, labels: &str, out: &mut String) {
        let comma = if labels.is_empty() { "" } else { "," };
        let mut below = 0;
        for ((_, bound), bucket) in BOUNDS.iter().zip(self.buckets) {
            below += bucket;
            put(out, format_args!("{name}_bucket{{{labels}{comma}le=\"{bound}\"}} {below}\n"));
        }
        put(out, format_args!("{name}_bucket{{{labels}{comma}le=\"+Inf\"}} {}\n", self.count));
        let (seconds, rest_ms) = (self.sum_ms / 1_000, self.sum_ms % 1_000);
        put(out, format_args!("{name}_sum{{{labels}}} {seconds}.{rest_ms:03}\n"));
        put(out, format_args!("{name}_count{{{labels}}} {}\n", self.count));
    }
}

impl<Value: Default> Family<Value> {
    /// A family without series, whose labels have these names.
    #[must_use]
    pub fn new(names: &'static [&'static str]) -> Self {
        Self { names, series: Vec::new(), places: HashMap::new(), scratch: String::new() }
    }

    /// The series of `labels`, which are in the order of the names.
    pub fn at(&mut self, labels: &[Label<'_>]) -> &mut Value {
        let place = self.place(labels);
        &mut self.series[place]
    }

    /// The series at a place.
    pub fn of(&mut self, place: usize) -> &mut Value {
        &mut self.series[place]
    }

    /// The place of the series of `labels`, at which it stays.
    pub fn place(&mut self, labels: &[Label<'_>]) -> usize {
        self.write_labels(labels);
        match self.places.get(self.scratch.as_str()) {
            Some(place) => *place,
            None if self.series.len() < SERIES_MAX => self.open(),
            None => {
                let bounded: Vec<_> = labels.iter().map(|label| label.bounded()).collect();
                self.write_labels(&bounded);
                self.places.get(self.scratch.as_str()).copied().unwrap_or_else(|| self.open())
            }
        }
    }

    fn open(&mut self) -> usize {
        self.places.insert(self.scratch.as_str().into(), self.series.len());
        self.series.push(Value::default());
        self.series.len() - 1
    }

    fn write_labels(&mut self, labels: &[Label<'_>]) {
        self.scratch.clear();
        for (name, label) in self.names.iter().zip(labels) {
            if !self.scratch.is_empty() {
                self.scratch.push(',');
            }
            let (Label::Known(value) | Label::Open(value)) = *label;
            write_label(name, value, &mut self.scratch);
        }
    }
}

impl<Value> Family<Value> {
    /// All series with their labels as they are written, sorted.
    #[must_use]
    pub fn sorted(&self) -> Vec<(&str, &Value)> {
        let mut series: Vec<_> = self.places.iter().map(|(labels, place)| (&**labels, &self.series[*place])).collect();
        series.sort_unstable_by_key(|(labels, _)| *labels);
        series
    }
}

impl Label<'_> {
    const fn bounded(self) -> Self {
        match self {
            Self::Known(_) => self,
            Self::Open(_) => Self::Known("other"),
        }
    }
}

impl Title {
    /// Writes the comments that stand above the series.
    pub fn write(&self, out: &mut String) {
        let Self { name, kind, help } = self;
        put(out, format_args!("# HELP {name} {help}\n# TYPE {name} {kind}\n"));
    }

    /// Writes the one series of a family that has no labels.
    pub fn write_alone(&self, value: impl Display, out: &mut String) {
        self.write(out);
        write_sample(self.name, "", value, out);
    }
}

/// Writes one series.
pub fn write_sample(name: &str, labels: &str, value: impl Display, out: &mut String) {
    let (open, close) = if labels.is_empty() { ("", "") } else { ("{", "}") };
    put(out, format_args!("{name}{open}{labels}{close} {value}\n"));
}

/// Writes one label; a line end is escaped as the format asks, other control characters are replaced.
pub fn write_label(name: &str, value: &str, out: &mut String) {
    out.push_str(name);
    out.push_str("=\"");
    let value = cut(value);
    if is_plain(value) {
        out.push_str(value);
        out.push('"');
        return;
    }
    for letter in value.chars() {
        match letter {
            '\\' => out.push_str("\\\\"),
            '"' => out.push_str("\\\""),
            '\n' => out.push_str("\\n"),
            control if control.is_control() => out.push('?'),
            plain => out.push(plain),
        }
    }
    out.push('"');
}

/// At most [`LABEL_BYTES_MAX`] of `value`, in whole letters.
fn cut(value: &str) -> &str {
    let fits = (0..=LABEL_BYTES_MAX.min(value.len())).rev().find(|length| value.is_char_boundary(*length));
    &value[..fits.unwrap_or(0)]
}

/// Appends to a string, which takes everything.
fn put(out: &mut String, what: std::fmt::Arguments<'_>) {
    let _ = out.write_fmt(what);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_gauge_counts_those_who_are_there() {
        let gauge = Gauge::default();
        let (first, second) = (gauge.enter(), gauge.enter());
        assert_eq!(gauge.get(), 2);
        drop((first, second));
        assert_eq!(gauge.get(), 0);
    }

    #[test]
    fn a_histogram_says_how_many_were_at_most_as_long() {
        let mut histogram = Histogram::default();
        for (duration_ms, times) in [(0, 1), (5, 1), (6, 2), (600_000, 1), (600_001, 1)] {
            histogram.observe(duration_ms, times);
        }
        let mut out = String::new();
        histogram.write("x_seconds", "a=\"b\"", &mut out);
        for line in [
            "x_seconds_bucket{a=\"b\",le=\"0.005\"} 2\n",
            "x_seconds_bucket{a=\"b\",le=\"0.01\"} 4\n",
            "x_seconds_bucket{a=\"b\",le=\"300\"} 4\n",
            "x_seconds_bucket{a=\"b\",le=\"600\"} 5\n",
            "x_seconds_bucket{a=\"b\",le=\"+Inf\"} 6\n",
            "x_seconds_sum{a=\"b\"} 1200.018\n",
            "x_seconds_count{a=\"b\"} 6\n",
        ] {
            assert!(out.contains(line), "{line} is not in {out}");
        }
    }

    #[test]
    fn what_clients_invent_ends_in_other() {
        let mut family: Family<u64> = Family::new(&["upstream", "model"]);
        for number in 0..SERIES_MAX * 2 {
            *family.at(&[Label::Known("u"), Label::Open(&number.to_string())]) += 1;
        }
        *family.at(&[Label::Known("u"), Label::Open("0")]) += 1;
        let series = family.sorted();
        assert_eq!(series.len(), SERIES_MAX + 1);
        assert!(series.contains(&("upstream=\"u\",model=\"other\"", &(SERIES_MAX as u64))));
        assert!(series.contains(&("upstream=\"u\",model=\"0\"", &2)));
    }

    #[test]
    fn labels_are_escaped_and_cut() {
        let check = |value: &str, expect: &str| {
            let mut out = String::new();
            write_label("l", value, &mut out);
            assert_eq!(out, format!("l=\"{expect}\""));
        };
        check("a\"b\\c\nd\re\u{1b}", "a\\\"b\\\\c\\nd?e?");
        check(&"\u{20ac}".repeat(50), &"\u{20ac}".repeat(42));
    }
}
