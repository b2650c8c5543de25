//! Again: whether an upstream's error is a reason to ask again, and when. It knows statuses and headers, and no clock.
//!
//! Sources: the SDKs' own rules (PROTOCOLS, "Retries"): 408, 409, 429, 5xx; `x-should-retry` overrides; `retry-after-ms`
//! goes before `retry-after`, which is in seconds or a date (RFC 9110, 10.2.3) in any of three forms (5.6.7). 529 is Anthropic's "overloaded"
//! (<https://platform.claude.com/docs/en/api/errors>).

/// The shortest upper bound of a wait.
const WAIT_MS: u64 = 250;

/// The longest.
const WAIT_MS_MAX: u64 = 8_000;

/// The wait that is meant by what cannot be read: the third step without a word from the upstream.
const UNREAD_MS: u64 = 1_000;

/// An error that is a reason to ask again, or somebody else.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Advice {
    /// Whether the same upstream may be asked again.
    pub same: bool,
    /// After how many milliseconds, if the upstream says so.
    pub after_ms: Option<u64>,
}

impl Advice {
    /// What an upstream's answer advises; `None` where the answer is one, good or bad.
    pub fn of<'h>(status: u16, now_ms: u64, header: impl Fn(&str) -> Option<&'h str>) -> Option<Self> {
        if status < 400 {
            return None;
        }
        let after_ms = after_ms(now_ms, &header);
        let is_transient = match status {
            408 | 429 | 500 | 502 | 503 | 504 | 529 => true,
            // A conflict that passes, as the upstream has to say: it may also be one of names.
            409 => after_ms.is_some(),
            _ => false,
        };
        match header("x-should-retry") {
            Some("true") => Some(Self { same: true, after_ms }),
            Some("false") if is_transient => Some(Self { same: false, after_ms }),
            Some(_) | None => is_transient.then_some(Self { same: true, after_ms }),
        }
    }
}

/// A wait before the `nth` repetition (from 0): anything between nothing and a bound that doubles, so that those who
/// failed together do not come back together. `dice` is any number.
#[must_use]
pub const fn backoff_ms(nth: u32, dice: u64) -> u64 {
    let doubled = WAIT_MS << if nth < 16 { nth } else { 16 };
    dice % (1 + if doubled < WAIT_MS_MAX { doubled } else { WAIT_MS_MAX })
}

/// After how many milliseconds an upstream wants to be asked again, if it says so.
pub fn after_ms<'h>(now_ms: u64, header: &impl Fn(&str) -> Option<&'h str>) -> Option<u64> {
    let (exactly, roughly) = (header("retry-after-ms"), header("retry-after"));
    if let Some(wait_ms) = exactly.and_then(thousandths) {
        return Some(wait_ms / 1000);
    }
    let wait_ms = roughly.and_then(|text| thousandths(text).or_else(|| Some(date_ms(text)?.saturating_sub(now_ms))));
    // Whoever names a time does not want to be asked at once, whatever it is.
    wait_ms.or_else(|| exactly.or(roughly).map(|_| UNREAD_MS))
}

/// A decimal number times a thousand, so that seconds become milliseconds; the largest there is for a larger one.
fn thousandths(text: &str) -> Option<u64> {
    let (whole, fraction) = text.trim().split_once('.').unwrap_or((text.trim(), ""));
    let digits = || whole.bytes().chain(fraction.bytes());
    if digits().next().is_none() || !digits().all(|digit| digit.is_ascii_digit()) {
        return None;
    }
    let add = |sum: u64, digit: u8| sum.saturating_mul(10).saturating_add(u64::from(digit - b'0'));
    Some(whole.bytes().chain(fraction.bytes().chain(std::iter::repeat(b'0')).take(3)).fold(0, add))
}

/// A date in unix milliseconds: one of HTTP's, or one of mail's with another time zone.
fn date_ms(text: &str) -> Option<u64> {
    if let Ok(date) = httpdate::parse_http_date(text.trim()) {
        let since = date.duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
        return u64::try_from(since.as_millis()).ok();
    }
    let date = jiff::fmt::rfc2822::parse(text.trim()).ok()?;
    u64::try_from(date.timestamp().as_millisecond()).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(status: u16, headers: &[(&str, &str)], expect: Option<(bool, Option<u64>)>) {
        let header = |name: &str| headers.iter().find(|(known, _)| *known == name).map(|(_, value)| *value);
        let advice = Advice::of(status, 784_111_777_000, header);
        assert_eq!(advice, expect.map(|(same, after_ms)| Advice { same, after_ms }), "{status} {headers:?}");
    }

    #[test]
    fn passing_errors_are_asked_again_and_answers_are_not() {
        for status in [408, 429, 500, 502, 503, 504, 529] {
            check(status, &[], Some((true, None)));
        }
        for status in [200, 302, 400, 401, 402, 403, 404, 409, 413, 422, 498, 501, 505] {
            check(status, &[], None);
        }
    }

    #[test]
    fn the_upstream_s_word_goes_first() {
        check(400, &[("x-should-retry", "true")], Some((true, None)));
        check(200, &[("x-should-retry", "true")], None);
        check(429, &[("x-should-retry", "false")], Some((false, None)));
        check(400, &[("x-should-retry", "false")], None);
        check(409, &[("retry-after", "1")], Some((true, Some(1_000))));
        check(429, &[("retry-after", "1.25"), ("retry-after-ms", "300.7")], Some((true, Some(300))));
        check(503, &[("retry-after", " 7 ")], Some((true, Some(7_000))));
        check(503, &[("retry-after", "Sun, 06 Nov 1994 08:49:40 GMT")], Some((true, Some(3_000))));
        check(503, &[("retry-after", "Sun, 06 Nov 1994 08:49:30 GMT")], Some((true, Some(0))));
    }

    fn check_wait(text: &str, expect_ms: u64) {
        check(503, &[("retry-after", text)], Some((true, Some(expect_ms))));
    }

    #[test]
    fn a_time_is_read_in_every_form_and_never_taken_for_none() {
        // 3 s from now.
        check_wait("Sun, 06 Nov 1994 08:49:40 GMT", 3_000);
        check_wait("Sunday, 06-Nov-94 08:49:40 GMT", 3_000);
        check_wait("Sun Nov  6 08:49:40 1994", 3_000);
        check_wait("Sun, 06 Nov 1994 09:49:40 +0100", 3_000);
        check_wait("Sunday, 06-Nov-94 08:49:30 GMT", 0);
        check_wait("0", 0);
        check_wait(".5", 500);
        check_wait("5.", 5_000);
        check_wait("99999999999999999999", u64::MAX);
        check_wait("18446744073709551615.5", u64::MAX);
        for text in ["soon", "", ".", "-1", "1e3", "30, 60", "Sun, 99 Nov 1994 08:49:40 GMT"] {
            check_wait(text, UNREAD_MS);
        }
        check(429, &[("retry-after-ms", "soon")], Some((true, Some(UNREAD_MS))));
        check(429, &[("retry-after-ms", "soon"), ("retry-after", "2")], Some((true, Some(2_000))));
    }

    #[test]
    fn waits_are_spread_below_a_bound_that_doubles() {
        for (nth, bound) in [(0, 250), (1, 500), (2, 1_000), (5, 8_000), (60, 8_000)] {
            let waits: Vec<u64> = (0..20_000).map(|dice| backoff_ms(nth, dice)).collect();
            assert_eq!((waits.iter().min(), waits.iter().max()), (Some(&0), Some(&bound)));
        }
    }
}
