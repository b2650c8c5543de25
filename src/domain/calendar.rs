//! Days and weekdays of unix time, for prices that have a date or an hour: no clock, no time zone database.
//!
//! Invariant: all of it is the proleptic Gregorian calendar in UTC; leap seconds do not exist.

/// Milliseconds of a day.
pub const DAY_MS: u64 = 86_400_000;

/// Days since 1970-01-01.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Day(pub u32);

impl Day {
    /// The day of an instant in unix milliseconds.
    #[must_use]
    pub fn of_ms(at_ms: u64) -> Self {
        Self(u32::try_from(at_ms / DAY_MS).unwrap_or(u32::MAX))
    }

    /// Reads `2026-11-22`; years 1970 to 9999.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let bytes = text.as_bytes();
        if bytes.len() != 10 || bytes[4] != b'-' || bytes[7] != b'-' {
            return None;
        }
        let (year, month, day) = (digits(&bytes[..4])?, digits(&bytes[5..7])?, digits(&bytes[8..])?);
        let known = year >= 1970 && (1..=12).contains(&month) && (1..=days_of(year, month)).contains(&day);
        known.then(|| Self(days_before(year, month) + day - 1))
    }

    /// Monday is 1, Sunday is 7.
    #[must_use]
    pub const fn weekday(self) -> u8 {
        // 1970-01-01 was a Thursday; the remainder is below 7.
        match (self.0 % 7 + 3) % 7 {
            0 => 1,
            1 => 2,
            2 => 3,
            3 => 4,
            4 => 5,
            5 => 6,
            6.. => 7,
        }
    }

    /// Year, month from 1, day from 1. After Howard Hinnant's `civil_from_days`, for days from 1970 on.
    #[must_use]
    pub const fn civil(self) -> (u32, u32, u32) {
        let shifted = self.0 as u64 + 719_468;
        let (era, of_era) = (shifted / 146_097, shifted % 146_097);
        let year_of_era = (of_era - of_era / 1_460 + of_era / 36_524 - of_era / 146_096) / 365;
        let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
        let shifted_month = (5 * of_year + 2) / 153;
        let day = of_year - (153 * shifted_month + 2) / 5 + 1;
        let month = if shifted_month < 10 { shifted_month + 3 } else { shifted_month - 9 };
        let year = year_of_era + era * 400 + (month <= 2) as u64;
        (narrow(year), narrow(month), narrow(day))
    }
}

impl std::fmt::Display for Day {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (year, month, day) = self.civil();
        write!(out, "{year:04}-{month:02}-{day:02}")
    }
}

/// Reads an instant such as `2026-08-21T00:00:00Z` as unix milliseconds.
#[must_use]
pub fn parse_instant_ms(text: &str) -> Option<u64> {
    let (day, time) = text.strip_suffix('Z')?.split_once('T')?;
    let (hour_minute, second) = time.rsplit_once(':')?;
    let second = digits(second.as_bytes()).filter(|second| *second < 60 && time.len() == 8)?;
    let minute = parse_minute(hour_minute)?;
    let day = Day::parse(day)?;
    Some(u64::from(day.0) * DAY_MS + (u64::from(minute) * 60 + u64::from(second)) * 1000)
}

/// Writes unix milliseconds as `2026-08-21T00:00:00Z`; parts of a second are cut off.
#[must_use]
pub fn instant(at_ms: u64) -> String {
    let second = at_ms % DAY_MS / 1000;
    format!("{}T{:02}:{:02}:{:02}Z", Day::of_ms(at_ms), second / 3600, second / 60 % 60, second % 60)
}

/// Reads `06:30` as minutes of a day.
#[must_use]
pub fn parse_minute(text: &str) -> Option<u16> {
    let (hour, minute) = text.split_once(':')?;
    let (hour, minute) = (digits(hour.as_bytes())?, digits(minute.as_bytes())?);
    let known = text.len() == 5 && hour < 24 && minute < 60;
    known.then(|| u16::try_from(hour * 60 + minute).ok())?
}

fn digits(bytes: &[u8]) -> Option<u32> {
    let known = !bytes.is_empty() && bytes.len() <= 4 && bytes.iter().all(u8::is_ascii_digit);
    known.then(|| bytes.iter().fold(0, |number, digit| number * 10 + u32::from(digit - b'0')))
}

const fn is_leap(year: u32) -> bool {
    year.is_multiple_of(4) && !year.is_multiple_of(100) || year.is_multiple_of(400)
}

const fn days_of(year: u32, month: u32) -> u32 {
    match month {
        2 if is_leap(year) => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

/// Days from 1970-01-01 to the first of a month.
fn days_before(year: u32, month: u32) -> u32 {
    let leaps = |year: u32| year / 4 - year / 100 + year / 400;
    let years = (year - 1970) * 365 + leaps(year - 1) - leaps(1969);
    years + (1..month).map(|month| days_of(year, month)).sum::<u32>()
}

#[expect(clippy::cast_possible_truncation, reason = "a year of u32 days, a month and a day of the month all fit")]
const fn narrow(number: u64) -> u32 {
    number as u32
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn days_are_read_written_and_have_a_weekday() {
        for (text, number, weekday) in [
            ("1970-01-01", 0, 4),
            ("2000-02-29", 11_016, 2),
            ("2026-10-01", 20_727, 4),
            ("2026-11-22", 20_779, 7),
            ("2100-03-01", 47_541, 1),
        ] {
            let day = Day::parse(text).unwrap();
            assert_eq!((day.0, day.weekday(), day.to_string().as_str()), (number, weekday, text));
        }
        for text in
            ["", "2026-13-01", "2026-02-29", "2100-02-29", "1969-12-31", "2026-1-01", "2026-11-22Z", "26-11-2222"]
        {
            assert_eq!(Day::parse(text), None, "{text}");
        }
    }

    #[test]
    fn every_day_of_four_centuries_is_read_back() {
        for number in 0..146_097 {
            let day = Day(number);
            assert_eq!(Day::parse(&day.to_string()), Some(day));
        }
    }

    #[test]
    fn instants_are_read_and_written() {
        for text in ["1970-01-01T00:00:00Z", "2026-08-21T00:00:00Z", "2025-06-17T22:26:49Z"] {
            assert_eq!(instant(parse_instant_ms(text).unwrap()), text);
        }
        assert_eq!(parse_instant_ms("2026-08-21T00:00:00Z"), Some(1_787_270_400_000));
        for text in
            ["2026-08-21", "2026-08-21T00:00:00", "2026-08-21T24:00:00Z", "2026-08-21T00:00:60Z", "2026-08-21T0:0:0Z"]
        {
            assert_eq!(parse_instant_ms(text), None, "{text}");
        }
    }
}
