//! [`Window`]: how many attempts went well and how many failed lately.

use super::{Health, micros};
use crate::config::Breaking;

/// Parts of a window.
const PARTS: usize = 10;

#[derive(Debug, Default)]
pub(super) struct Window {
    parts: [Part; PARTS],
    /// The number of the part that was counted in last.
    latest: u64,
    /// Failures since the last answer.
    in_a_row: u32,
}

#[derive(Clone, Copy, Debug, Default)]
struct Part {
    well: u32,
    failing: u32,
}

impl Window {
    /// Counts an attempt.
    pub(super) fn count(&mut self, health: Health, now_us: u64, policy: &Breaking) {
        let part = self.part(now_us, policy);
        match health {
            Health::Well => part.well += 1,
            Health::Failing => part.failing += 1,
            Health::Relapsed => (part.well, part.failing) = (part.well.saturating_sub(1), part.failing + 1),
        }
        self.in_a_row = if health == Health::Well { 0 } else { self.in_a_row + 1 };
    }

    /// Whether so many have failed that the rest is not worth trying.
    pub(super) fn is_bad(&self, policy: &Breaking) -> bool {
        let (well, failing) =
            self.parts.iter().fold((0, 0), |(well, failing), part| (well + part.well, failing + part.failing));
        // What went well before an outage does not put it off.
        let is_total = self.in_a_row.min(failing) / 2 >= policy.failures;
        is_total || (failing >= policy.failures && failing >= well)
    }

    /// Whether a failure still counts.
    pub(super) fn has_failures(&mut self, now_us: u64, policy: &Breaking) -> bool {
        self.part(now_us, policy);
        self.parts.iter().any(|part| part.failing > 0)
    }

    /// The part that `now_us` lies in; those that are over are forgotten.
    fn part(&mut self, now_us: u64, policy: &Breaking) -> &mut Part {
        let number = now_us / (micros(policy.window) / PARTS as u64).max(1);
        let over = number.saturating_sub(self.latest).min(PARTS as u64);
        for passed in 0..over {
            self.parts[index(number - passed)] = Part::default();
        }
        self.latest = self.latest.max(number);
        &mut self.parts[index(self.latest)]
    }
}

fn index(number: u64) -> usize {
    usize::try_from(number % PARTS as u64).unwrap_or(0)
}
