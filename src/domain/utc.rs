//! Unix milliseconds as people read them: [`Day`] and RFC 3339 in UTC.
//!
//! It knows no time zones and no clock; the day in another zone comes from whoever knows the zone.
//!
//! Invariant: days sort as their dates do.

use std::fmt;

/// Milliseconds of a day; unix time has no leap seconds.
const DAY_MS: u64 = 86_400_000;

/// Milliseconds of an hour.
const HOUR_MS: u64 = 3_600_000;

/// The last year of four digits.
const YEAR_MAX: u32 = 9_999;

/// A date of the Gregorian calendar.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Day {
    /// The year, 1970 or later.
    pub year: u32,
    /// The month, 1 to 12.
    pub month: u8,
    /// The day of the month, 1 to 31.
    pub day: u8,
}

/// A moment that prints as RFC 3339 in UTC with milliseconds, as in `2026-11-22T13:00:00.123Z`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Moment(
    /// Unix milliseconds.
    pub u64,
);

/// A clock hour of a time zone. Where clocks are put back there are two of the same name; they differ in their offset.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Hour {
    /// Its first moment, unix milliseconds.
    pub start_ms: u64,
    /// The day it is of.
    pub day: Day,
    /// 0 to 23.
    pub hour: u8,
    /// Minutes by which local time is ahead of UTC.
    pub offset_minutes: i16,
}

/// The day and the hour of a moment, in some time zone.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct When {
    /// The day.
    pub day: Day,
    /// The hour.
    pub hour: Hour,
}

impl When {
    /// The day and the hour in UTC of a moment in unix milliseconds.
    #[must_use]
    pub const fn utc(at_ms: u64) -> Self {
        let day = Day::utc(at_ms);
        let hour = (at_ms % DAY_MS / HOUR_MS) as u8;
        Self { day, hour: Hour { start_ms: at_ms - at_ms % HOUR_MS, day, hour, offset_minutes: 0 } }
    }
}

impl Day {
    /// The day in UTC of a moment in unix milliseconds.
    #[must_use]
    pub const fn utc(at_ms: u64) -> Self {
        Self::from_unix_days(at_ms / DAY_MS)
    }

    /// The day after it.
    #[must_use]
    pub const fn next(self) -> Self {
        let last = match self.month {
            2 if self.is_leap() => 29,
            2 => 28,
            4 | 6 | 9 | 11 => 30,
            _ => 31,
        };
        if self.day < last { Self { day: self.day + 1, ..self } } else { self.next_month() }
    }

    /// The first day of the month after its own.
    #[must_use]
    pub const fn next_month(self) -> Self {
        match self.month {
            12 => Self { year: self.year + 1, month: 1, day: 1 },
            month => Self { month: month + 1, day: 1, ..self },
        }
    }

    const fn is_leap(self) -> bool {
        self.year.is_multiple_of(4) && !self.year.is_multiple_of(100) || self.year.is_multiple_of(400)
    }

    /// The day that comes `days` after 1970-01-01.
    ///
    /// The algorithm is Howard Hinnant's `civil_from_days`: years begin in March, so that a leap day ends one.
    #[must_use]
    #[expect(
        clippy::cast_possible_truncation,
        reason = "months and days are small, u64 milliseconds end before 2^30 years"
    )]
    pub const fn from_unix_days(days: u64) -> Self {
        let days = days + 719_468;
        let era = days / 146_097;
        let day_of_era = days % 146_097;
        let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
        let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
        let month_from_march = (5 * day_of_year + 2) / 153;
        let month = if month_from_march < 10 { month_from_march + 3 } else { month_from_march - 9 };
        let year = era * 400 + year_of_era + (month <= 2) as u64;
        let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
        Self { year: year as u32, month: month as u8, day: day as u8 }
    }
}

impl fmt::Display for Day {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{:04}-{:02}-{:02}", self.year, self.month, self.day)
    }
}

impl fmt::Display for Hour {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (sign, offset) = (if self.offset_minutes < 0 { '-' } else { '+' }, self.offset_minutes.unsigned_abs());
        write!(out, "{}T{:02}:00{sign}{:02}:{:02}", self.day, self.hour, offset / 60, offset % 60)
    }
}

impl fmt::Display for Moment {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let rest_ms = self.0 % DAY_MS;
        let (hour, minute) = (rest_ms / 3_600_000, rest_ms / 60_000 % 60);
        let (second, milli) = (rest_ms / 1_000 % 60, rest_ms % 1_000);
        let day = Day::utc(self.0);
        if day.year > YEAR_MAX {
            return write!(out, "{day}T{hour:02}:{minute:02}:{second:02}.{milli:03}Z");
        }
        // It is written for each request, which the formatter takes ten times as long for.
        let mut text = *b"0000-00-00T00:00:00.000Z";
        for (place, digits, number) in [
            (0, 4, u64::from(day.year)),
            (5, 2, day.month.into()),
            (8, 2, day.day.into()),
            (11, 2, hour),
            (14, 2, minute),
            (17, 2, second),
            (20, 3, milli),
        ] {
            let mut rest = number;
            for digit in text[place..place + digits].iter_mut().rev() {
                *digit = b'0' + (rest % 10) as u8;
                rest /= 10;
            }
        }
        out.write_str(std::str::from_utf8(&text).map_err(|_| fmt::Error)?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_print_as_rfc_3339() {
        for (at_ms, expect) in [
            (0, "1970-01-01T00:00:00.000Z"),
            (951_782_399_999, "2000-02-28T23:59:59.999Z"),
            (951_782_400_000, "2000-02-29T00:00:00.000Z"),
            (1_795_352_400_123, "2026-11-22T13:00:00.123Z"),
            (4_107_542_400_000, "2100-03-01T00:00:00.000Z"),
        ] {
            assert_eq!(Moment(at_ms).to_string(), expect);
        }
    }

    #[test]
    fn every_day_of_five_centuries_follows_the_one_before() {
        let mut expect = Day { year: 1970, month: 1, day: 1 };
        for days in 0..182_622 {
            assert_eq!(Day::from_unix_days(days), expect);
            assert_eq!(expect.next(), Day::from_unix_days(days + 1));
            let every = |years| expect.year.is_multiple_of(years);
            let leap = every(4) && (!every(100) || every(400));
            let length = match expect.month {
                2 => 28 + u8::from(leap),
                4 | 6 | 9 | 11 => 30,
                _ => 31,
            };
            expect.day += 1;
            if expect.day > length {
                (expect.day, expect.month) = (1, expect.month + 1);
            }
            if expect.month > 12 {
                (expect.month, expect.year) = (1, expect.year + 1);
            }
        }
    }

    #[test]
    fn hours_name_their_offset() {
        let mut hour = When::utc(1_795_352_400_123).hour;
        assert_eq!(hour.to_string(), "2026-11-22T13:00+00:00");
        (hour.hour, hour.offset_minutes) = (18, 330);
        assert_eq!(hour.to_string(), "2026-11-22T18:00+05:30");
        hour.offset_minutes = -210;
        assert_eq!(hour.to_string(), "2026-11-22T18:00-03:30");
    }

    #[test]
    fn the_end_of_time_does_not_overflow() {
        assert!(Moment(u64::MAX).to_string().ends_with('Z'));
    }
}
