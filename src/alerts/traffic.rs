//! [`Traffic`]: the last minutes of all requests, in slices, and what the rules find in them.
//!
//! Durations are kept in classes of an eighth of an octave, so that a percentile is at most 9% too high.

use crate::config::alerts::Alerts as Rules;
use crate::domain::alert::Kind;

/// Slices of the time that is looked back over.
const SLICES: usize = 30;

/// Classes of durations in an octave.
const STEPS: u32 = 8;

/// Classes of durations: up to 2^22 ms, which is more than an hour.
const CLASSES: usize = 22 * STEPS as usize;

/// The part of requests that may be slower than the rule says, one in so many.
const SLOW_ONE_IN: u64 = 20;

/// Counts over the time that rules look back.
#[derive(Debug)]
pub(super) struct Traffic {
    slices: Vec<Slice>,
    /// The number of the slice that is counted into.
    now: u64,
}

#[derive(Clone, Debug, Default)]
struct Slice {
    requests: u64,
    errors: u64,
    tools: u64,
    tools_good: u64,
    tasks: u64,
    tasks_good: u64,
    escalated: u64,
    durations: Vec<u32>,
}

/// What a rule found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Finding {
    pub kind: Kind,
    pub message: String,
    pub value: String,
    pub threshold: String,
}

/// What someone says of a request's outcome.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// The task was done.
    Good,
    /// It was not.
    Bad,
    /// It was handed to a better model, or to a human.
    Escalated,
}

impl Traffic {
    pub(super) fn new() -> Self {
        Self { slices: vec![Slice::default(); SLICES], now: 0 }
    }

    /// Goes on to the slice that `now_ms` lies in, and forgets what is too old.
    pub(super) fn turn(&mut self, now_ms: u64, rules: &Rules) {
        let slice_ms = (rules.window.as_millis() / SLICES as u128).max(1);
        let now = u64::try_from(u128::from(now_ms) / slice_ms).unwrap_or(u64::MAX);
        let steps = now.saturating_sub(self.now).min(SLICES as u64);
        for step in 0..steps {
            let place = place(now - step);
            self.slices[place] = Slice::default();
        }
        self.now = now.max(self.now);
    }

    fn slice(&mut self) -> &mut Slice {
        &mut self.slices[place(self.now)]
    }

    pub(super) fn request(&mut self, latency_ms: u64, is_error: bool) {
        let slice = self.slice();
        slice.requests += 1;
        slice.errors += u64::from(is_error);
        slice.durations.resize(CLASSES, 0);
        slice.durations[class(latency_ms)] += 1;
    }

    pub(super) fn tool(&mut self, is_good: bool) {
        let slice = self.slice();
        slice.tools += 1;
        slice.tools_good += u64::from(is_good);
    }

    pub(super) fn task(&mut self, verdict: Verdict) {
        let slice = self.slice();
        slice.tasks += 1;
        slice.tasks_good += u64::from(verdict == Verdict::Good);
        slice.escalated += u64::from(verdict == Verdict::Escalated);
    }

    /// What is wrong now.
    pub(super) fn findings(&self, rules: &Rules) -> Vec<Finding> {
        let sum = |count: fn(&Slice) -> u64| self.slices.iter().map(count).sum::<u64>();
        let window_s = rules.window.as_secs();
        let minimum = rules.requests_min;
        let requests = sum(|slice| slice.requests);
        let mut found = Vec::new();
        let mut rate = |kind, part: u64, whole: u64, limit: Option<u64>, at_least: bool, what: &str| {
            let Some(limit) = limit.filter(|_| whole >= minimum) else { return };
            let percent = part * 100 / whole;
            let is_wrong = if at_least { part * 100 < limit * whole } else { part * 100 > limit * whole };
            if is_wrong {
                let message = format!("{percent}% {what} in the last {window_s} s ({part} of {whole})");
                found.push(Finding { kind, message, value: percent.to_string(), threshold: limit.to_string() });
            }
        };
        rate(Kind::Errors, sum(|slice| slice.errors), requests, rules.error_percent, false, "of requests failed");
        let (tools, good) = (sum(|slice| slice.tools), sum(|slice| slice.tools_good));
        rate(Kind::ToolSuccess, good, tools, rules.tool_success_percent, true, "of tool calls succeeded");
        let (tasks, good) = (sum(|slice| slice.tasks), sum(|slice| slice.tasks_good));
        rate(Kind::Completion, good, tasks, rules.completion_percent, true, "of tasks were called good");
        let escalated = sum(|slice| slice.escalated);
        rate(Kind::Escalations, escalated, tasks, rules.escalation_percent, false, "of tasks were escalated");
        if let Some(limit_ms) = rules.p95_latency_ms.filter(|_| requests >= minimum) {
            found.extend(self.slow(requests, limit_ms, window_s));
        }
        found
    }

    fn slow(&self, requests: u64, limit_ms: u64, window_s: u64) -> Option<Finding> {
        let mut slower = 0;
        let class = (0..CLASSES).rev().find(|class| {
            slower += self
                .slices
                .iter()
                .map(|slice| u64::from(slice.durations.get(*class).copied().unwrap_or(0)))
                .sum::<u64>();
            slower * SLOW_ONE_IN > requests
        })?;
        let p95_ms = least_ms(class);
        (p95_ms > limit_ms).then(|| Finding {
            kind: Kind::Latency,
            message: format!("one request in twenty took {p95_ms} ms or more in the last {window_s} s"),
            value: p95_ms.to_string(),
            threshold: limit_ms.to_string(),
        })
    }
}

fn place(slice: u64) -> usize {
    usize::try_from(slice % SLICES as u64).unwrap_or(0)
}

/// The class of a duration.
fn class(ms: u64) -> usize {
    let ms = ms.max(1);
    let octave = ms.ilog2();
    let step = ((ms << STEPS.ilog2()) >> octave) - u64::from(STEPS);
    usize::try_from(u64::from(octave * STEPS) + step).map_or(CLASSES - 1, |class| class.min(CLASSES - 1))
}

/// The shortest duration of a class.
fn least_ms(class: usize) -> u64 {
    let (octave, step) = (class as u64 / u64::from(STEPS), class as u64 % u64::from(STEPS));
    ((u64::from(STEPS) + step) << octave).div_ceil(u64::from(STEPS))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_class_holds_its_durations() {
        for ms in (1..5_000).chain([9_999, 10_000, 10_001, 100_000, 4_000_000]) {
            let class = class(ms);
            assert!(least_ms(class) <= ms && ms < least_ms(class + 1), "{ms}: {class}");
            assert!(ms * 8 <= least_ms(class) * 9 + 8, "{ms}: within an eighth");
        }
        assert_eq!(class(u64::MAX / 16), CLASSES - 1);
    }

    fn kinds(traffic: &Traffic) -> Vec<Kind> {
        traffic.findings(&Rules::default()).into_iter().map(|finding| finding.kind).collect()
    }

    #[test]
    fn rules_speak_beyond_their_limits_and_forget() {
        let rules = Rules::default();
        let mut traffic = Traffic::new();
        traffic.turn(1_000_000, &rules);
        (0..19).for_each(|number| traffic.request(100, number < 1));
        assert_eq!(kinds(&traffic), [], "19 requests are too few");
        traffic.request(100, false);
        assert_eq!(kinds(&traffic), [], "1 of 20 is 5%");
        traffic.request(100, true);
        assert_eq!(kinds(&traffic), [Kind::Errors], "2 of 21");
        (0..60).for_each(|_| traffic.request(100, false));
        assert_eq!(kinds(&traffic), []);
        (0..5).for_each(|_| traffic.request(12_000, false));
        assert_eq!(kinds(&traffic), [Kind::Latency], "5 of 86 are slow");
        (0..20).for_each(|number| traffic.tool(number < 18));
        (0..20).for_each(|number| traffic.task(if number < 15 { Verdict::Good } else { Verdict::Escalated }));
        assert_eq!(kinds(&traffic), [Kind::ToolSuccess, Kind::Completion, Kind::Escalations, Kind::Latency]);
        traffic.turn(1_000_000 + 310_000, &rules);
        assert_eq!(kinds(&traffic), []);
    }
}
