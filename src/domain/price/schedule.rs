//! [`Schedule`]: the hours in which a provider's peak prices hold.
//!
//! Invariant: a time that a schedule does not know about (a holiday not yet announced) is priced as peak, the dearer.

use std::fmt;

use crate::domain::calendar::{DAY_MS, Day, parse_minute};

const HOUR_MS: u64 = 3_600_000;
const MINUTE_MS: u64 = 60_000;
const DAY_MINUTES: u16 = 1440;

/// Peak hours in UTC on some weekdays, except holidays.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Schedule {
    /// From and until, in minutes of the day; until may be 00:00, the end of the day.
    peak: Vec<(u16, u16)>,
    /// Monday is 1; first and last day of the week with peak hours.
    days: (u8, u8),
    /// The holidays' own clock, in hours ahead of UTC.
    offset_hours: u8,
    /// Sorted.
    holidays: Vec<Day>,
}

impl Schedule {
    /// Whether peak prices hold at an instant.
    pub(super) fn is_peak(&self, at_ms: u64) -> bool {
        let local = Day::of_ms(at_ms.saturating_add(u64::from(self.offset_hours) * HOUR_MS));
        if self.holidays.binary_search(&local).is_ok() || !(self.days.0..=self.days.1).contains(&local.weekday()) {
            return false;
        }
        let minute = u16::try_from(at_ms % DAY_MS / MINUTE_MS).unwrap_or_default();
        self.peak.iter().any(|(from, until)| {
            if from < until { (*from..*until).contains(&minute) } else { minute >= *from || minute < *until }
        })
    }

    /// Reads `01:00-04:00 06:00-10:00 days 1-5 offset 8 holidays 2026-10-01 2026-10-02`.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let (peak, rest) = text.split_once(" days ")?;
        let (days, rest) = rest.split_once(' ').unwrap_or((rest, ""));
        let mut schedule = Self { days: parse_days(days)?, ..Self::default() };
        for pair in peak.split_ascii_whitespace() {
            let (from, until) = pair.split_once('-')?;
            schedule.peak.push((parse_minute(from)?, parse_minute(until)?));
        }
        if !rest.is_empty() {
            let (offset, holidays) = rest.strip_prefix("offset ")?.split_once(" holidays ")?;
            schedule.offset_hours = offset.parse().ok().filter(|hours| *hours < 24)?;
            schedule.holidays = holidays.split_ascii_whitespace().map(Day::parse).collect::<Option<_>>()?;
        }
        schedule.holidays.is_sorted().then_some(schedule)
    }
}

impl fmt::Display for Schedule {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (from, until) in &self.peak {
            let (from, until) = (from % DAY_MINUTES, until % DAY_MINUTES);
            write!(out, " {:02}:{:02}-{:02}:{:02}", from / 60, from % 60, until / 60, until % 60)?;
        }
        write!(out, " days {}-{}", self.days.0, self.days.1)?;
        if !self.holidays.is_empty() {
            write!(out, " offset {} holidays", self.offset_hours)?;
        }
        self.holidays.iter().try_for_each(|day| write!(out, " {day}"))
    }
}

fn parse_days(text: &str) -> Option<(u8, u8)> {
    let (first, last) = text.split_once('-')?;
    let (first, last) = (first.parse().ok()?, last.parse().ok()?);
    (1 <= first && first <= last && last <= 7).then_some((first, last))
}
