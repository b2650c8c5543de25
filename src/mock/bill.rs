//! The bill: what the mock, as a provider, charges for each request, kept apart from all of Tollgate's own money.
//!
//! Invariant: a request that was read and not refused has exactly one line, whatever became of the connection; the
//! line of an answer is written before its last byte is sent.

use super::prices;
use crate::domain::money::Usd;
use serde_json::{Map, Value, json};
use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, PoisonError};

/// Models with a sum of their own; the rest is summed as `(other)`.
const MODELS_MAX: usize = 10_000;

/// Tokens of one request, in disjoint buckets; `reasoning` is a part of `output`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counted {
    /// Fresh prompt tokens.
    pub input: u64,
    /// Read from the prompt cache.
    pub cache_read: u64,
    /// Written to it with the provider's own lifetime.
    pub cache_write: u64,
    /// Written for five minutes.
    pub cache_write_5m: u64,
    /// Written for an hour.
    pub cache_write_1h: u64,
    /// Generated.
    pub output: u64,
    /// Of `output`: reasoning.
    pub reasoning: u64,
}

/// One request on the bill.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Line {
    /// The number of the request, from 1.
    pub number: u64,
    /// The `x-request-id` that it was answered with.
    pub request_id: String,
    /// The model.
    pub model: String,
    /// The service tier that was used.
    pub service_tier: Option<&'static str>,
    /// What is billed.
    pub counted: Counted,
    /// Its price.
    pub cost: Usd,
    /// Whether the answer did not reach its end.
    pub aborted: bool,
}

/// All lines and their sums.
#[derive(Debug)]
pub struct Bill {
    lines_max: usize,
    book: Mutex<Book>,
}

#[derive(Debug, Default)]
struct Book {
    total: Sum,
    models: BTreeMap<String, Sum>,
    lines: VecDeque<Line>,
}

#[derive(Clone, Debug, Default)]
struct Sum {
    requests: u64,
    counted: Counted,
    cost: Usd,
}

/// The open line of a request in flight. Dropped without an end, the client has left.
#[derive(Debug)]
pub(super) struct Tab {
    bill: Arc<Bill>,
    line: Option<Line>,
}

impl Counted {
    /// All prompt tokens.
    #[must_use]
    pub const fn input_total(&self) -> u64 {
        self.input + self.cache_read + self.cache_write + self.cache_write_5m + self.cache_write_1h
    }

    fn add(&mut self, other: &Self) {
        self.input += other.input;
        self.cache_read += other.cache_read;
        self.cache_write += other.cache_write;
        self.cache_write_5m += other.cache_write_5m;
        self.cache_write_1h += other.cache_write_1h;
        self.output += other.output;
        self.reasoning += other.reasoning;
    }

    fn json(&self) -> Map<String, Value> {
        let fields = [
            ("input", self.input),
            ("cache_read", self.cache_read),
            ("cache_write", self.cache_write),
            ("cache_write_5m", self.cache_write_5m),
            ("cache_write_1h", self.cache_write_1h),
            ("output", self.output),
            ("reasoning", self.reasoning),
        ];
        fields.into_iter().map(|(name, count)| (name.to_owned(), json!(count))).collect()
    }
}

impl Bill {
    pub(super) fn new(lines_max: usize) -> Self {
        Self { lines_max, book: Mutex::default() }
    }

    /// The sum of everything since the last reset.
    #[must_use]
    pub fn total(&self) -> Usd {
        self.book().total.cost
    }

    /// The last lines, oldest first.
    #[must_use]
    pub fn lines(&self) -> Vec<Line> {
        self.book().lines.iter().cloned().collect()
    }

    /// Opens the line of a request.
    pub(super) fn open(self: &Arc<Self>, line: Line) -> Tab {
        Tab { bill: Arc::clone(self), line: Some(line) }
    }

    pub(super) fn clear(&self) {
        *self.book() = Book::default();
    }

    /// What `GET /_mock/bill` shows, with the last `lines` lines.
    pub(super) fn json(&self, lines: usize) -> Value {
        let book = self.book();
        let models: Map<String, Value> = book.models.iter().map(|(name, sum)| (name.clone(), sum.json())).collect();
        let skipped = book.lines.len().saturating_sub(lines);
        let rows: Vec<Value> = book.lines.iter().skip(skipped).map(Line::json).collect();
        json!({
            "total_usd": book.total.cost.fixed(),
            "total": book.total.json(),
            "models": models,
            "requests": rows,
        })
    }

    fn post(&self, line: Line) {
        let mut book = self.book();
        let known = book.models.len() < MODELS_MAX || book.models.contains_key(&line.model);
        let name = if known { line.model.clone() } else { "(other)".to_owned() };
        book.total.add(&line);
        book.models.entry(name).or_default().add(&line);
        if book.lines.len() >= self.lines_max {
            book.lines.pop_front();
        }
        book.lines.push_back(line);
    }

    fn book(&self) -> std::sync::MutexGuard<'_, Book> {
        self.book.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Sum {
    fn add(&mut self, line: &Line) {
        self.requests += 1;
        self.counted.add(&line.counted);
        self.cost = self.cost + line.cost;
    }

    fn json(&self) -> Value {
        json!({ "requests": self.requests, "usage": self.counted.json(), "cost_usd": self.cost.fixed() })
    }
}

impl Line {
    fn json(&self) -> Value {
        json!({
            "number": self.number,
            "request_id": self.request_id,
            "model": self.model,
            "service_tier": self.service_tier,
            "usage": self.counted.json(),
            "cost_usd": self.cost.fixed(),
            "aborted": self.aborted,
        })
    }
}

impl Tab {
    /// Says how much was generated by now.
    pub(super) fn generated(&mut self, tokens: u64) {
        if let Some(line) = &mut self.line {
            line.counted.output = line.counted.output.max(tokens);
        }
    }

    /// The answer has reached its end.
    pub(super) fn complete(&mut self) {
        self.post(false);
    }

    /// The answer will not reach its end.
    pub(super) fn abort(&mut self) {
        self.post(true);
    }

    fn post(&mut self, aborted: bool) {
        let Some(mut line) = self.line.take() else { return };
        line.aborted = aborted;
        line.counted.reasoning = line.counted.reasoning.min(line.counted.output);
        line.cost = prices::cost(&line.model, line.service_tier, &line.counted);
        self.bill.post(line);
    }
}

impl Drop for Tab {
    fn drop(&mut self) {
        self.abort();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(model: &str) -> Line {
        Line {
            number: 1,
            request_id: "r".to_owned(),
            model: model.to_owned(),
            service_tier: None,
            counted: Counted { input: 100, reasoning: 30, ..Counted::default() },
            cost: Usd::ZERO,
            aborted: false,
        }
    }

    #[test]
    fn what_was_generated_until_the_end_is_billed_once() {
        let bill = Arc::new(Bill::new(2));
        let mut whole = bill.open(line("gpt-4o"));
        whole.generated(40);
        whole.complete();
        drop(whole);
        let mut left = bill.open(line("gpt-4o"));
        left.generated(10);
        drop(left);
        let lines = bill.lines();
        assert_eq!(lines.iter().map(|line| line.aborted).collect::<Vec<_>>(), [false, true]);
        assert_eq!((lines[1].counted.output, lines[1].counted.reasoning), (10, 10));
        // 2 x 100 x 2.5 + 50 x 10 dollars for a million.
        assert_eq!(bill.total(), Usd::parse("0.001").unwrap());
    }

    #[test]
    fn sums_outlive_the_lines() {
        let bill = Arc::new(Bill::new(2));
        (0..5).for_each(|_| bill.open(line("gpt-4o")).complete());
        let json = bill.json(1);
        assert_eq!((&json["models"]["gpt-4o"]["requests"], json["requests"].as_array().unwrap().len()), (&json!(5), 1));
        assert_eq!((bill.lines().len(), json["total_usd"].as_str()), (2, Some("0.001250000000")));
        bill.clear();
        assert_eq!((bill.lines().len(), bill.total()), (0, Usd::ZERO));
    }
}
