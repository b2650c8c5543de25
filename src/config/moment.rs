//! Moments that people write: a day, or a time stamp.

use jiff::Timestamp;
use jiff::civil::Date;
use jiff::tz::TimeZone;

/// What is told of a text that is none.
pub const EXAMPLES: &str = "must be a day such as 2027-01-01 or a time such as 2027-01-01T12:00:00Z";

/// A day (its first moment in `zone`) or an RFC 3339 time stamp, in unix milliseconds.
#[must_use]
pub fn moment(text: &str, zone: &TimeZone) -> Option<u64> {
    let stamp = match text.parse::<Timestamp>() {
        Ok(stamp) => stamp,
        // The reader of dates skips a time that follows one.
        Err(_) if text.len() == "2027-01-01".len() => {
            let day: Date = text.parse().ok()?;
            day.to_zoned(zone.clone()).ok()?.timestamp()
        }
        Err(_) => return None,
    };
    u64::try_from(stamp.as_millisecond()).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn days_and_times_are_read() {
        let zone = TimeZone::get("Europe/Berlin").unwrap();
        for (text, expect) in [
            ("2027-01-01", Some(1_798_758_000_000)),
            ("2027-01-01T00:00:00+01:00", Some(1_798_758_000_000)),
            ("2027-01-01T00:00:00Z", Some(1_798_761_600_000)),
            ("2027-01-01T00:00", None),
            ("tomorrow", None),
            ("", None),
        ] {
            assert_eq!(moment(text, &zone), expect, "{text}");
        }
    }
}
