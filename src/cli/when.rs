//! [`When`]: a point in time as people write it for `--since` and `--until`.
//!
//! Pure: what lies in the past is counted from the `now` that the caller passes.

use std::fmt;
use std::str::FromStr;

use jiff::Timestamp;
use jiff::civil::Date;
use jiff::tz::TimeZone;

/// A point in time, not yet tied to a clock or a zone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum When {
    /// This long before now, in milliseconds.
    AgoMs(i64),
    /// The start of a day in the report's time zone.
    Day(Date),
    /// An instant.
    At(Timestamp),
}

/// The text names no point in time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NotATime;

impl When {
    /// The point in unix milliseconds, seen at `now_ms` in `zone`; before 1970 is 1970.
    #[must_use]
    pub fn unix_ms(self, now_ms: u64, zone: &TimeZone) -> u64 {
        let at_ms = match self {
            Self::AgoMs(ago_ms) => i64::try_from(now_ms).unwrap_or(i64::MAX).saturating_sub(ago_ms),
            // A day at the edge of the calendar has no start in every zone; it is out of every report's range.
            Self::Day(day) => day.to_zoned(zone.clone()).map_or(0, |start| start.timestamp().as_millisecond()),
            Self::At(instant) => instant.as_millisecond(),
        };
        u64::try_from(at_ms).unwrap_or(0)
    }
}

impl FromStr for When {
    type Err = NotATime;

    fn from_str(text: &str) -> Result<Self, NotATime> {
        if let Some(ago_ms) = ago_ms(text) {
            return Ok(Self::AgoMs(ago_ms));
        }
        // A date's parser would also take a date with a time and drop the time.
        if text.len() == "2026-11-01".len() {
            return text.parse().map(Self::Day).map_err(|_| NotATime);
        }
        text.parse().map(Self::At).map_err(|_| NotATime)
    }
}

impl fmt::Display for NotATime {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("expected a day (2026-11-01), a time (2026-11-01T12:00:00Z), or how long ago (30m, 24h, 7d, 4w)")
    }
}

impl std::error::Error for NotATime {}

/// The milliseconds of a text such as `7d`; a day is 24 hours.
fn ago_ms(text: &str) -> Option<i64> {
    let unit_ms = match text.chars().last()? {
        's' => 1_000,
        'm' => 60_000,
        'h' => 3_600_000,
        'd' => 86_400_000,
        'w' => 7 * 86_400_000,
        _ => return None,
    };
    let number = &text[..text.len() - 1];
    let digits = !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit());
    number.parse::<i64>().ok().filter(|_| digits)?.checked_mul(unit_ms)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn points_in_time_are_read_as_people_write_them() {
        let now_ms = 1_795_355_400_000; // 2026-11-22T13:50:00Z
        let check = |text: &str, zone: &str, instant: &str| {
            let zone = TimeZone::get(zone).unwrap();
            let at_ms = text.parse::<When>().unwrap().unix_ms(now_ms, &zone);
            let at = Timestamp::from_millisecond(i64::try_from(at_ms).unwrap()).unwrap();
            assert_eq!(at.to_string(), instant, "{text}");
        };
        check("0s", "UTC", "2026-11-22T13:50:00Z");
        check("30m", "UTC", "2026-11-22T13:20:00Z");
        check("24h", "UTC", "2026-11-21T13:50:00Z");
        check("7d", "Europe/Berlin", "2026-11-15T13:50:00Z");
        check("4w", "UTC", "2026-10-25T13:50:00Z");
        check("2026-11-01", "UTC", "2026-11-01T00:00:00Z");
        check("2026-11-01", "Europe/Berlin", "2026-10-31T23:00:00Z");
        check("2026-07-01", "Europe/Berlin", "2026-06-30T22:00:00Z");
        check("2026-11-01T12:00:00Z", "Europe/Berlin", "2026-11-01T12:00:00Z");
        check("2026-11-01T12:00:00.5+02:00", "UTC", "2026-11-01T10:00:00.5Z");
        check("1960-01-01", "UTC", "1970-01-01T00:00:00Z");
        check("99999w", "UTC", "1970-01-01T00:00:00Z");
    }

    #[test]
    fn other_texts_are_refused() {
        for text in
            ["", "d", "7", "-7d", "7y", "+7d", "7dd", "2026-13-01", "2026-11-1", "2026-11-01T12:00", "yesterday", "7ä"]
        {
            assert_eq!(text.parse::<When>(), Err(NotATime), "{text}");
        }
        assert_eq!("9999999999999999w".parse::<When>(), Err(NotATime));
    }
}
