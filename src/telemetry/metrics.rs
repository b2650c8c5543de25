//! [`Metrics`]: the numbers behind `/metrics`. Everything about a request is taken from its entry, by the scribe;
//! a request itself touches two atomics at most.
//!
//! It asks no provider and no store: whoever knows the journal's lag sets the gauge.
//!
//! Invariant: money is summed in pico-dollars and printed as a decimal, never as a rounded float.

use std::sync::{Mutex, MutexGuard, PoisonError};

use super::entries::{Entries, counter, write_counts};
use super::family::{Counter, Family, Gauge, Label, Title, write_label, write_sample};
use super::resident::resident_bytes;
use crate::domain::entry::{CacheUse, Entry};

/// All numbers of one process.
#[derive(Debug)]
pub struct Metrics {
    /// Requests between arrival and settlement.
    pub in_flight: Gauge,
    /// Requests that wait for a place.
    pub waiting: Gauge,
    /// Open connections of clients.
    pub connections: Gauge,
    /// Connections that found no place.
    pub connections_refused: Counter,
    /// Records that wait to be written to the journal.
    pub journal_lag: Gauge,
    /// Bytes of the journal that a power cut would lose.
    pub journal_unsynced_bytes: Gauge,
    /// 1 while the journal cannot be written.
    pub journal_failed: Gauge,
    /// 1 while reports are answered from the index, 0 while they read the journal.
    pub index_ready: Gauge,
    /// Records of the journal that are not yet in the index.
    pub index_lag: Gauge,
    /// Indexes that were set aside since the start.
    pub index_set_aside: Gauge,
    /// Bytes of the journal's files.
    pub journal_bytes: Gauge,
    /// Bytes of the index's files.
    pub index_bytes: Gauge,
    /// Bytes of what is kept of dropped files of the journal.
    pub archive_bytes: Gauge,
    /// Answers in the cache.
    pub cache_answers: Gauge,
    /// Bytes of them.
    pub cache_bytes: Gauge,
    /// Answers on the disk.
    pub cache_disk_answers: Gauge,
    /// Bytes that they take there.
    pub cache_disk_bytes: Gauge,
    /// Answers that were not written to it.
    pub cache_disk_skipped: Gauge,
    /// Files on it that were not what had been written.
    pub cache_disk_damaged: Gauge,
    /// Lines that were not written because the log could not keep up.
    pub log_dropped: Counter,
    /// Keep-alives that were put into silent streams.
    pub keep_alives: Counter,
    rate_limited: Mutex<Family<u64>>,
    again: Mutex<Family<u64>>,
    queued: Mutex<Family<u64>>,
    judged: Mutex<Family<u64>>,
    started_ms: u64,
    entries: Mutex<Entries>,
}

impl Metrics {
    /// No requests yet, in a process that was started at `started_ms`, in unix milliseconds.
    #[must_use]
    pub fn new(started_ms: u64) -> Self {
        Self {
            in_flight: Gauge::default(),
            connections: Gauge::default(),
            connections_refused: Counter::default(),
            waiting: Gauge::default(),
            journal_lag: Gauge::default(),
            journal_unsynced_bytes: Gauge::default(),
            journal_failed: Gauge::default(),
            index_ready: Gauge::default(),
            index_lag: Gauge::default(),
            index_set_aside: Gauge::default(),
            journal_bytes: Gauge::default(),
            index_bytes: Gauge::default(),
            archive_bytes: Gauge::default(),
            cache_answers: Gauge::default(),
            cache_bytes: Gauge::default(),
            cache_disk_answers: Gauge::default(),
            cache_disk_bytes: Gauge::default(),
            cache_disk_skipped: Gauge::default(),
            cache_disk_damaged: Gauge::default(),
            log_dropped: Counter::default(),
            keep_alives: Counter::default(),
            rate_limited: Mutex::new(Family::new(&["scope", "limit"])),
            again: Mutex::new(Family::new(&["upstream", "kind"])),
            queued: Mutex::new(Family::new(&["team", "how"])),
            judged: Mutex::new(Family::new(&["result"])),
            started_ms,
            entries: Mutex::new(Entries::new()),
        }
    }

    /// Counts a request that has ended. It takes a part of a microsecond, but it is not for the request's own path.
    pub fn record(&self, entry: &Entry) {
        self.entries().record(entry);
    }

    /// Counts a request that a limit refused, by the kind of its scope and the limit's key in the config.
    pub fn note_rate_limited(&self, scope: &str, limit: &str) {
        *lock(&self.rate_limited).at(&[Label::Known(scope), Label::Known(limit)]) += 1;
    }

    /// Counts an attempt after the first, by the upstream that is asked and whether it is a `retry`, a `fallback` or an `escalation`; or,
    /// as `budget`, a retry that was not made because too many are.
    pub fn note_again(&self, upstream: &str, kind: &str) {
        *lock(&self.again).at(&[Label::Known(upstream), Label::Known(kind)]) += 1;
    }

    /// Counts a request that found no place at once: it was `served` after a wait, came too `late`, found the line
    /// `full`, or was `displaced` from it by a team with fewer in it.
    pub fn note_queued(&self, team: Option<&str>, how: &str) {
        *lock(&self.queued).at(&[Label::Open(team.unwrap_or_default()), Label::Known(how)]) += 1;
    }

    /// Counts a question to a judge, by what came of it.
    pub fn note_judge(&self, result: &str) {
        *lock(&self.judged).at(&[Label::Known(result)]) += 1;
    }

    /// Requests by what the cache did for them, in the order of [`CacheUse::ALL`].
    #[must_use]
    pub fn cache_counts(&self) -> [u64; CacheUse::ALL.len()] {
        self.entries().cache_counts
    }

    /// Everything in Prometheus' text format 0.0.4.
    #[must_use]
    pub fn render(&self) -> String {
        let mut out = String::new();
        self.entries().write(&mut out);
        let limited = counter("tollgate_rate_limited_total", "Requests that a rate limit refused");
        write_counts(limited, &lock(&self.rate_limited), &mut out);
        let again =
            counter("tollgate_attempts_again_total", "Attempts after the first, and retries that were left out");
        write_counts(again, &lock(&self.again), &mut out);
        let queued = counter("tollgate_queued_total", "Requests that found no place at once, and what became of them");
        write_counts(queued, &lock(&self.queued), &mut out);
        let judged =
            counter("tollgate_judge_total", "Questions to a judge of how hard a request is, by what came of it");
        write_counts(judged, &lock(&self.judged), &mut out);
        self.write_process(&mut out);
        out
    }

    /// The media type of [`Metrics::render`].
    pub const MEDIA_TYPE: &'static str = "text/plain; version=0.0.4; charset=utf-8";

    fn write_process(&self, out: &mut String) {
        let gauge =
            |name, help, value: i64, out: &mut String| Title { name, kind: "gauge", help }.write_alone(value, out);
        gauge("tollgate_in_flight", "Requests between arrival and settlement", self.in_flight.get(), out);
        gauge("tollgate_waiting", "Requests that wait for a place in flight", self.waiting.get(), out);
        gauge("tollgate_cache_answers", "Answers in the cache", self.cache_answers.get(), out);
        gauge("tollgate_cache_bytes", "Bytes of the answers in the cache", self.cache_bytes.get(), out);
        self.write_disk(out);
        gauge("tollgate_connections", "Open connections of clients", self.connections.get(), out);
        counter("tollgate_connections_refused_total", "Connections that found no place and were closed at once")
            .write_alone(self.connections_refused.get(), out);
        let lag = self.journal_lag.get();
        gauge("tollgate_journal_lag_records", "Records that wait to be written to the journal", lag, out);
        let unsynced = self.journal_unsynced_bytes.get();
        gauge("tollgate_journal_unsynced_bytes", "Bytes of the journal that a power cut would lose", unsynced, out);
        gauge("tollgate_journal_failed", "1 while the journal cannot be written", self.journal_failed.get(), out);
        self.write_store(out);
        counter("tollgate_log_dropped_total", "Log lines that could not be written")
            .write_alone(self.log_dropped.get(), out);
        counter("tollgate_keep_alives_total", "Keep-alives that were put into silent streams")
            .write_alone(self.keep_alives.get(), out);
        let build = Title { name: "tollgate_build_info", kind: "gauge", help: "The version that runs" };
        build.write(out);
        let mut version = String::new();
        write_label("version", env!("CARGO_PKG_VERSION"), &mut version);
        write_sample(build.name, &version, 1, out);
        let started = format!("{}.{:03}", self.started_ms / 1_000, self.started_ms % 1_000);
        let help = "When the process was started, in unix seconds";
        Title { name: "process_start_time_seconds", kind: "gauge", help }.write_alone(started, out);
        if let Some(bytes) = resident_bytes() {
            let help = "Memory of the process that is in RAM";
            Title { name: "process_resident_memory_bytes", kind: "gauge", help }.write_alone(bytes, out);
        }
    }

    fn write_disk(&self, out: &mut String) {
        for (name, kind, help, value) in [
            ("tollgate_cache_disk_answers", "gauge", "Kept answers on the disk", &self.cache_disk_answers),
            ("tollgate_cache_disk_bytes", "gauge", "Bytes of the kept answers on the disk", &self.cache_disk_bytes),
            ("tollgate_cache_disk_skipped_total", "counter", "Answers not written to disk", &self.cache_disk_skipped),
            ("tollgate_cache_disk_damaged_total", "counter", "Damaged files removed", &self.cache_disk_damaged),
        ] {
            Title { name, kind, help }.write_alone(value.get(), out);
        }
    }

    fn write_store(&self, out: &mut String) {
        for (name, help, value) in [
            ("tollgate_index_ready", "1 while reports are answered from the index", &self.index_ready),
            ("tollgate_index_lag_records", "Records of the journal that are not yet in the index", &self.index_lag),
            ("tollgate_index_set_aside", "Indexes set aside since the start", &self.index_set_aside),
            ("tollgate_journal_bytes", "Bytes of the journal's files", &self.journal_bytes),
            ("tollgate_index_bytes", "Bytes of the index's files", &self.index_bytes),
            ("tollgate_archive_bytes", "Bytes kept of dropped files of the journal", &self.archive_bytes),
        ] {
            Title { name, kind: "gauge", help }.write_alone(value.get(), out);
        }
    }

    fn entries(&self) -> MutexGuard<'_, Entries> {
        lock(&self.entries)
    }
}

/// A poisoned lock holds counts that are whole after each step.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use std::collections::{HashMap, HashSet};

    use super::*;
    use crate::domain::entry::Outcome;
    use crate::domain::money::Usd;
    use crate::domain::sample;
    use crate::domain::tokens::UsageSource;

    /// Reads an exposition as a scraper does, and fails on what a scraper would refuse.
    fn scraped(text: &str) -> HashMap<String, f64> {
        let (mut samples, mut ended, mut family) = (HashMap::new(), HashSet::new(), String::new());
        assert!(text.ends_with('\n'));
        for line in text.lines() {
            if let Some(help) = line.strip_prefix("# HELP ") {
                family = help.split(' ').next().unwrap().to_owned();
                assert!(ended.insert(family.clone()), "{family} comes twice");
                continue;
            }
            if let Some(kind) = line.strip_prefix("# TYPE ") {
                let (name, kind) = kind.split_once(' ').unwrap();
                assert!(name == family && ["counter", "gauge", "histogram"].contains(&kind), "{line}");
                continue;
            }
            let (series, value) = line.rsplit_once(' ').unwrap();
            let name = series.split('{').next().unwrap();
            assert!(name.starts_with(&family), "{line} is not of {family}");
            check_labels(&series[name.len()..]);
            let value: f64 = value.parse().unwrap();
            assert!(samples.insert(series.to_owned(), value).is_none(), "{series} comes twice");
        }
        samples
    }

    /// `{name="value",..}` with escapes, or nothing.
    fn check_labels(text: &str) {
        let Some(mut rest) = text.strip_prefix('{').and_then(|text| text.strip_suffix('}')) else {
            return assert_eq!(text, "");
        };
        while !rest.is_empty() {
            let (name, value) = rest.split_once("=\"").unwrap();
            assert!(!name.is_empty() && name.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_'), "{text}");
            let mut letters = value.char_indices();
            let end = loop {
                match letters.next().unwrap() {
                    (_, '\\') => assert!(matches!(letters.next(), Some((_, '\\' | '"' | 'n'))), "{text}"),
                    (at, '"') => break at,
                    _ => {}
                }
            };
            rest = value[end + 1..].strip_prefix(',').unwrap_or(&value[end + 1..]);
        }
    }

    #[test]
    fn every_entry_shows_in_the_families() {
        let metrics = Metrics::new(1_795_000_000_250);
        metrics.record(&sample::entry());
        let mut refused = sample::entry();
        (refused.outcome, refused.status, refused.requests) = (Outcome::Refused, 429, 41);
        (refused.reason, refused.first_byte_ms, refused.cost) = ("requests_per_minute".into(), None, Some(Usd::ZERO));
        metrics.record(&refused);
        let mut estimated = sample::entry();
        (estimated.outcome, estimated.usage_source) = (Outcome::ClientAbort, UsageSource::Counted);
        metrics.record(&estimated);
        let mut unpriced = sample::entry();
        (unpriced.cost, unpriced.model) = (None, "a \"new\"\nmodel\\".into());
        metrics.record(&unpriced);
        let samples = scraped(&metrics.render());
        let model = "model=\"claude-haiku-5-5\",team=\"search\"";
        let request = format!("dialect=\"anthropic\",operation=\"messages\",upstream=\"anthropic\",{model}");
        for (series, expect) in [
            (format!("tollgate_requests_total{{{request},status_class=\"2xx\",outcome=\"complete\"}}"), 1.0),
            (format!("tollgate_requests_total{{{request},status_class=\"4xx\",outcome=\"refused\"}}"), 41.0),
            ("tollgate_errors_total{fault=\"client\",reason=\"requests_per_minute\"}".to_owned(), 41.0),
            ("tollgate_errors_total{fault=\"client\",reason=\"client_abort\"}".to_owned(), 1.0),
            ("tollgate_request_duration_seconds_count{dialect=\"anthropic\",operation=\"messages\"}".to_owned(), 44.0),
            ("tollgate_first_byte_seconds_sum{dialect=\"anthropic\",operation=\"messages\"}".to_owned(), 0.72),
            (format!("tollgate_tokens_total{{bucket=\"cache_read\",{model}}}"), 60.0),
            (format!("tollgate_cost_usd_total{{{model}}}"), 0.002_469),
            ("tollgate_cost_usd_total{model=\"a \\\"new\\\"\\nmodel\\\\\",team=\"search\"}".to_owned(), 0.0),
            ("tollgate_unpriced_requests_total".to_owned(), 1.0),
            ("tollgate_estimated_cost_usd_total".to_owned(), 0.001_234_5),
            ("process_start_time_seconds".to_owned(), 1_795_000_000.25),
        ] {
            assert_eq!(samples.get(&series), Some(&expect), "{series}");
        }
    }

    #[test]
    fn gauges_show_what_is_now() {
        let metrics = Metrics::new(0);
        let (_one, _two) = (metrics.in_flight.enter(), metrics.connections.enter());
        metrics.journal_lag.set(12);
        metrics.journal_unsynced_bytes.set(4_096);
        metrics.journal_failed.set(1);
        metrics.log_dropped.add(3);
        let samples = scraped(&metrics.render());
        for (series, expect) in [
            ("tollgate_in_flight", 1.0),
            ("tollgate_connections", 1.0),
            ("tollgate_journal_lag_records", 12.0),
            ("tollgate_journal_unsynced_bytes", 4_096.0),
            ("tollgate_journal_failed", 1.0),
            ("tollgate_log_dropped_total", 3.0),
            (concat!("tollgate_build_info{version=\"", env!("CARGO_PKG_VERSION"), "\"}"), 1.0),
        ] {
            assert_eq!(samples.get(series), Some(&expect), "{series}");
        }
        assert!(!cfg!(target_os = "linux") || samples["process_resident_memory_bytes"] > 1e6);
    }

    #[test]
    fn clients_that_invent_models_do_not_fill_the_memory() {
        let metrics = Metrics::new(0);
        let mut entry = sample::entry();
        for number in 0..5_000 {
            entry.model = format!("model-{number}").into();
            metrics.record(&entry);
        }
        let samples = scraped(&metrics.render());
        let costs = samples.iter().filter(|(series, _)| series.starts_with("tollgate_cost_usd_total"));
        let (mut series, mut sum) = (0, 0.0);
        costs.for_each(|(_, cost)| (series, sum) = (series + 1, sum + cost));
        assert_eq!(series, super::super::family::SERIES_MAX + 1);
        assert!((sum - 5_000.0 * 0.001_234_5_f64).abs() < 1e-9);
    }
}
