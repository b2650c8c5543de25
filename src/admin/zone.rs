//! [`Zone`]: which day a moment belongs to where people live, and the moments that `--since` and `--until` mean.
//!
//! A pure conversion: the rules of all zones are part of the binary, and what "now" is comes as an argument.
//!
//! Invariant: a moment belongs to exactly one day, also where clocks are put forward or back.

use std::fmt;
use std::ops::Range;

use jiff::civil::Date;
use jiff::tz::TimeZone;
use jiff::{Timestamp, ToSpan};

use crate::domain::utc::{Day, Hour, When};

/// A time zone by its IANA name.
#[derive(Clone, Debug)]
pub struct Zone {
    name: Box<str>,
    rules: TimeZone,
}

/// Milliseconds of a quarter of an hour.
const QUARTER_MS: u64 = 900_000;

/// Tells days apart; quick for moments that come in the order of time, since most fall on the day of the one before.
#[derive(Clone, Debug)]
pub struct Days {
    zone: Zone,
    /// The day that was found last, and its moments in unix milliseconds.
    last: Option<(Range<u64>, Day)>,
    /// The same for the hour, by its quarter: no zone of today changes its clocks within one.
    last_hour: Option<(u64, Hour)>,
}

/// Why a text is no time zone or no moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ZoneError {
    /// There is no such time zone.
    UnknownZone(Box<str>),
    /// The text is no moment.
    NotAMoment(Box<str>),
}

impl Zone {
    /// Coordinated universal time.
    #[must_use]
    pub fn utc() -> Self {
        Self { name: "UTC".into(), rules: TimeZone::UTC }
    }

    /// The zone of an IANA name such as `Europe/Berlin`.
    pub fn named(name: &str) -> Result<Self, ZoneError> {
        let rules = TimeZone::get(name).map_err(|_| ZoneError::UnknownZone(name.into()))?;
        Ok(Self { name: rules.iana_name().unwrap_or(name).into(), rules })
    }

    /// The zone whose rules were read elsewhere.
    #[must_use]
    pub fn of(rules: TimeZone) -> Self {
        Self { name: rules.iana_name().unwrap_or("UTC").into(), rules }
    }

    /// The IANA name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The moment in unix milliseconds that `text` means: a date or `today` (its first moment in this zone), an RFC 3339
    /// time stamp, or an age before `now_ms` such as `7d` or `12h` (`m`, `h`, `d` of 24 hours, `w`).
    pub fn moment(&self, text: &str, now_ms: u64) -> Result<u64, ZoneError> {
        if text == "today" {
            return Ok(self.day(now_ms).map_or(now_ms, |(moments, _)| moments.start));
        }
        let found = age_ms(text).map(|age_ms| now_ms.saturating_sub(age_ms));
        let found = found.or_else(|| self.first_moment(text)).or_else(|| unix_ms(text.parse().ok()?));
        found.ok_or_else(|| ZoneError::NotAMoment(text.into()))
    }

    /// The first moment of a date; a date only, since the reader of dates skips a time that follows one.
    fn first_moment(&self, text: &str) -> Option<u64> {
        let date: Date = text.parse().ok().filter(|_| text.len() == "2026-11-01".len())?;
        unix_ms(self.rules.to_zoned(date.at(0, 0, 0, 0)).ok()?.timestamp())
    }

    /// The day of `at_ms`, and the moments that belong to it.
    fn day(&self, at_ms: u64) -> Option<(Range<u64>, Day)> {
        let at = Timestamp::from_millisecond(i64::try_from(at_ms).ok()?).ok()?.to_zoned(self.rules.clone());
        let from = at.start_of_day().ok()?;
        let until = from.checked_add(1.day()).and_then(|next| next.start_of_day()).ok()?;
        let date = at.date();
        let (month, day) = (u8::try_from(date.month()).ok()?, u8::try_from(date.day()).ok()?);
        let day = Day { year: u32::try_from(date.year()).ok()?, month, day };
        Some((unix_ms(from.timestamp()).unwrap_or(0)..unix_ms(until.timestamp())?, day))
    }
}

impl Zone {
    /// The hour of `at_ms`, which is of `day`.
    fn hour(&self, at_ms: u64, day: Day) -> Option<Hour> {
        let at = Timestamp::from_millisecond(i64::try_from(at_ms).ok()?).ok()?.to_zoned(self.rules.clone());
        let minute_ms = u64::try_from(at.minute()).ok()? * 60_000;
        Some(Hour {
            // The hours in which 1970 began may have begun before.
            start_ms: (at_ms - at_ms % 60_000).saturating_sub(minute_ms),
            day,
            hour: u8::try_from(at.hour()).ok()?,
            offset_minutes: i16::try_from(at.offset().seconds() / 60).ok()?,
        })
    }
}

impl Days {
    /// Days in `zone`.
    #[must_use]
    pub const fn of(zone: Zone) -> Self {
        Self { zone, last: None, last_hour: None }
    }

    /// The day and the hour of a moment in unix milliseconds.
    pub fn when(&mut self, at_ms: u64) -> When {
        let (day, quarter) = (self.day(at_ms), at_ms / QUARTER_MS);
        if let Some((_, hour)) = self.last_hour.filter(|(known, _)| *known == quarter) {
            return When { day, hour };
        }
        let hour = self.zone.hour(at_ms, day).unwrap_or(When::utc(at_ms).hour);
        self.last_hour = Some((quarter, hour));
        When { day, hour }
    }

    /// The day of a moment in unix milliseconds.
    pub fn day(&mut self, at_ms: u64) -> Day {
        if let Some((_, day)) = self.last.as_ref().filter(|(span, _)| span.contains(&at_ms)) {
            return *day;
        }
        let Some((span, day)) = self.zone.day(at_ms) else {
            // Beyond the year 9999, where zones have no rules.
            return Day::utc(at_ms);
        };
        self.last = Some((span, day));
        day
    }
}

impl fmt::Display for ZoneError {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::UnknownZone(name) => write!(out, "{name:?} is no time zone; an example is Europe/Berlin"),
            Self::NotAMoment(text) => {
                write!(out, "{text:?} is no moment; examples are 2026-11-01, 2026-11-01T08:00:00Z, 7d and today")
            }
        }
    }
}

impl std::error::Error for ZoneError {}

/// The milliseconds of an age such as `7d`.
pub(super) fn age_ms(text: &str) -> Option<u64> {
    let (number, unit) = text.split_at_checked(text.len().checked_sub(1)?)?;
    let unit_ms: u64 = match unit {
        "m" => 60_000,
        "h" => 3_600_000,
        "d" => 86_400_000,
        "w" => 7 * 86_400_000,
        _ => return None,
    };
    let is_number = number.bytes().all(|byte| byte.is_ascii_digit());
    number.parse::<u64>().ok().filter(|_| is_number)?.checked_mul(unit_ms)
}

/// Unix milliseconds; `None` before 1970.
fn unix_ms(at: Timestamp) -> Option<u64> {
    u64::try_from(at.as_millisecond()).ok()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// 2026-11-22T13:00:00Z
    const NOW_MS: u64 = 1_795_352_400_000;

    fn moment(zone: &str, text: &str) -> Result<u64, String> {
        Zone::named(zone).and_then(|zone| zone.moment(text, NOW_MS)).map_err(|error| error.to_string())
    }

    #[test]
    fn moments_are_dates_stamps_and_ages() {
        for (zone, text, expect_ms) in [
            ("UTC", "2026-11-22", NOW_MS - 13 * 3_600_000),
            ("Europe/Berlin", "2026-11-22", NOW_MS - 14 * 3_600_000),
            ("Asia/Kolkata", "2026-11-22T13:00:00Z", NOW_MS),
            ("UTC", "2026-11-22T14:30:00.5+01:30", NOW_MS + 500),
            ("Europe/Berlin", "today", NOW_MS - 14 * 3_600_000),
            ("UTC", "7d", NOW_MS - 7 * 86_400_000),
            ("UTC", "90m", NOW_MS - 5_400_000),
            ("UTC", "9999999w", 0),
        ] {
            assert_eq!(moment(zone, text), Ok(expect_ms), "{zone} {text}");
        }
    }

    #[test]
    fn other_texts_are_refused_by_name() {
        for text in ["", "d", "+7d", "7", "7y", "yesterday", "2026-02-30", "2026-11-22 noon", "2026-11-22T13", "\u{e9}"]
        {
            assert!(moment("UTC", text).unwrap_err().starts_with(&format!("{text:?} is no moment")), "{text}");
        }
        assert!(moment("Mars/Olympus", "7d").unwrap_err().starts_with("\"Mars/Olympus\" is no time zone"));
    }

    #[test]
    fn a_day_is_that_of_the_zone_also_when_clocks_change() {
        for (zone, text, expect) in [
            ("UTC", "2026-11-22T23:59:59.999Z", "2026-11-22"),
            ("Europe/Berlin", "2026-11-22T23:00:00Z", "2026-11-23"),
            ("America/Los_Angeles", "2026-11-23T07:59:59.999Z", "2026-11-22"),
            // A day of 25 hours, and one of 23.
            ("Europe/Berlin", "2026-10-25T22:59:59.999Z", "2026-10-25"),
            ("Europe/Berlin", "2026-03-29T21:59:59.999Z", "2026-03-29"),
            ("Europe/Berlin", "2026-03-29T22:00:00Z", "2026-03-30"),
            // Clocks went forward at midnight: the day began at one o'clock.
            ("America/Sao_Paulo", "2018-11-04T02:59:59.999Z", "2018-11-03"),
            ("America/Sao_Paulo", "2018-11-04T03:00:00Z", "2018-11-04"),
        ] {
            let zone = Zone::named(zone).unwrap();
            let at_ms = zone.moment(text, NOW_MS).unwrap();
            assert_eq!(Days::of(zone).day(at_ms).to_string(), expect, "{text}");
        }
    }

    #[test]
    fn an_hour_is_that_of_the_zone_also_when_clocks_change() {
        for (zone, text, expect) in [
            ("UTC", "2026-11-22T23:59:59.999Z", "2026-11-22T23:00+00:00"),
            ("Asia/Kolkata", "2026-11-22T23:29:59Z", "2026-11-23T04:00+05:30"),
            ("Asia/Kathmandu", "2026-11-22T23:15:00Z", "2026-11-23T05:00+05:45"),
            ("Europe/Berlin", "2026-10-25T00:30:00Z", "2026-10-25T02:00+02:00"),
            ("Europe/Berlin", "2026-10-25T01:30:00Z", "2026-10-25T02:00+01:00"),
        ] {
            let zone = Zone::named(zone).unwrap();
            let at_ms = zone.moment(text, NOW_MS).unwrap();
            let hour = Days::of(zone).when(at_ms).hour;
            assert_eq!(hour.to_string(), expect, "{text}");
            assert!(hour.start_ms <= at_ms && at_ms < hour.start_ms + 3_600_000, "{text}");
        }
    }

    proptest! {
        #[test]
        fn what_was_asked_before_does_not_change_the_day(moments in proptest::collection::vec(0..NOW_MS * 2, 1..20), near: bool) {
            let zone = Zone::named("Europe/Berlin").unwrap();
            let mut days = Days::of(zone.clone());
            for at_ms in moments {
                let at_ms = if near { NOW_MS + at_ms % 200_000_000 } else { at_ms };
                prop_assert_eq!(days.day(at_ms), Days::of(zone.clone()).day(at_ms));
            }
        }
    }
}
