//! [`Windows`]: which span of time a moment belongs to, for each kind of window.
//!
//! Nothing is ever reset: spend lies in the span of its time stamp, and another span begins empty.
//!
//! Invariant: of two moments, both lie in one calendar span or their spans do not overlap.

use std::ops::Range;

use jiff::tz::TimeZone;
use jiff::{Timestamp, ToSpan, Zoned};

use crate::domain::cap::Window;

/// Rolling windows are counted in so many parts.
pub const PARTS: u64 = 60;

/// Milliseconds of a part of a rolling window of one hour.
const PART_MS: u64 = 60_000;

/// Milliseconds of a day, where no zone has rules.
const DAY_MS: u64 = 86_400_000;

/// Tells spans apart; quick for moments that lie near each other.
#[derive(Debug)]
pub struct Windows {
    zone: TimeZone,
    /// The day, week and month that were found last, in unix milliseconds.
    last: [Range<u64>; 3],
}

impl Windows {
    /// Windows of the calendar in `zone`.
    #[must_use]
    pub fn new(zone: TimeZone) -> Self {
        Self { zone, last: [0..0, 0..0, 0..0] }
    }

    /// The name of the part of `window` that a moment counts in: a part of a rolling window is named by its number, any
    /// other by the moment at which it began.
    pub fn part(&mut self, window: Window, at_ms: u64) -> u64 {
        match window {
            Window::Day | Window::Week | Window::Month => self.span(window, at_ms).start,
            Window::Rolling { hours } => at_ms / (PART_MS * u64::from(hours.max(1))),
            Window::Total => 0,
        }
    }

    /// When a calendar window that holds `at_ms` ends; none for the others.
    pub fn end(&mut self, window: Window, at_ms: u64) -> Option<u64> {
        match window {
            Window::Day | Window::Week | Window::Month => Some(self.span(window, at_ms).end),
            Window::Rolling { .. } | Window::Total => None,
        }
    }

    /// The first moment whose spend counts in `window` at `now_ms`.
    pub fn since(&mut self, window: Window, now_ms: u64) -> u64 {
        match window {
            Window::Day | Window::Week | Window::Month => self.span(window, now_ms).start,
            Window::Rolling { hours } => {
                self.part(window, now_ms).saturating_sub(PARTS) * PART_MS * u64::from(hours.max(1))
            }
            Window::Total => 0,
        }
    }

    /// When a part of a rolling window counts no more.
    #[must_use]
    pub fn leaves_ms(window: Window, part: u64) -> Option<u64> {
        match window {
            Window::Rolling { hours } => Some((part + PARTS + 1).saturating_mul(PART_MS * u64::from(hours.max(1)))),
            Window::Day | Window::Week | Window::Month | Window::Total => None,
        }
    }

    fn span(&mut self, window: Window, at_ms: u64) -> Range<u64> {
        let last = &mut self.last[match window {
            Window::Day => 0,
            Window::Week => 1,
            Window::Month | Window::Rolling { .. } | Window::Total => 2,
        }];
        if !last.contains(&at_ms) {
            // Beyond the year 9999 zones have no rules.
            let day = at_ms / DAY_MS * DAY_MS;
            *last = calendar(&self.zone, window, at_ms).unwrap_or(day..day + DAY_MS);
        }
        last.clone()
    }
}

fn calendar(zone: &TimeZone, window: Window, at_ms: u64) -> Option<Range<u64>> {
    let at = Timestamp::from_millisecond(i64::try_from(at_ms).ok()?).ok()?.to_zoned(zone.clone());
    let (from, days_or_month) = match window {
        Window::Day => (at.date(), 1.day()),
        Window::Week => {
            let since_monday = i64::from(at.date().weekday().to_monday_zero_offset());
            (at.date().checked_sub(since_monday.days()).ok()?, 7.days())
        }
        Window::Month | Window::Rolling { .. } | Window::Total => (at.date().first_of_month(), 1.month()),
    };
    let until = from.checked_add(days_or_month).ok()?;
    // A day may begin at one o'clock, where clocks go forward at midnight.
    let start = |date: jiff::civil::Date| date.to_zoned(zone.clone()).ok()?.start_of_day().ok();
    let unix = |zoned: Zoned| u64::try_from(zoned.timestamp().as_millisecond()).ok();
    Some(start(from).and_then(unix).unwrap_or(0)..start(until).and_then(unix)?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::calendar::{instant, parse_instant_ms};

    fn check(zone: &str, window: Window, at: &str, from: &str, until: &str) {
        let mut windows = Windows::new(TimeZone::get(zone).unwrap());
        let at_ms = parse_instant_ms(at).unwrap();
        let span = windows.span(window, at_ms);
        assert_eq!((instant(span.start).as_str(), instant(span.end).as_str()), (from, until), "{zone} {window} {at}");
        assert!(span.contains(&at_ms));
    }

    #[test]
    fn calendar_windows_follow_the_clocks_of_their_zone() {
        let berlin = "Europe/Berlin";
        let (day, week, month) = (Window::Day, Window::Week, Window::Month);
        check("UTC", day, "2026-11-22T23:59:59Z", "2026-11-22T00:00:00Z", "2026-11-23T00:00:00Z");
        check(berlin, day, "2026-11-22T23:00:00Z", "2026-11-22T23:00:00Z", "2026-11-23T23:00:00Z");
        // A day of 25 hours, and one of 23.
        check(berlin, day, "2026-10-25T12:00:00Z", "2026-10-24T22:00:00Z", "2026-10-25T23:00:00Z");
        check(berlin, day, "2026-03-29T12:00:00Z", "2026-03-28T23:00:00Z", "2026-03-29T22:00:00Z");
        check(berlin, week, "2026-11-22T12:00:00Z", "2026-11-15T23:00:00Z", "2026-11-22T23:00:00Z");
        check(berlin, month, "2026-10-31T22:59:59Z", "2026-09-30T22:00:00Z", "2026-10-31T23:00:00Z");
        check("America/Sao_Paulo", day, "2018-11-04T12:00:00Z", "2018-11-04T03:00:00Z", "2018-11-05T02:00:00Z");
    }

    #[test]
    fn a_rolling_window_counts_its_oldest_part_whole() {
        let mut windows = Windows::new(TimeZone::UTC);
        let window = Window::Rolling { hours: 5 };
        let part = windows.part(window, 36_000_000);
        assert_eq!(part, 120);
        assert_eq!(windows.since(window, 36_000_000), 18_000_000);
        assert_eq!(Windows::leaves_ms(window, part), Some(54_300_000));
    }
}
