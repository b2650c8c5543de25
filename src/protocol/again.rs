//! Again: whether an upstream's error is a reason to ask again, and when. It knows statuses and headers, and no clock.
//!
//! Sources: the SDKs' own rules (PROTOCOLS, "Retries"): 408, 409, 429, 5xx; `x-should-retry` overrides; `retry-after-ms`
//! goes before `retry-after`, which is in seconds or a date (RFC 9110, 10.2.3). 529 is Anthropic's "overloaded"
//! (<https://platform.claude.com/docs/en/api/errors>).

/// The shortest upper bound of a wait.
const WAIT_MS: u64 = 250;

/// The longest.
const WAIT_MS_MAX: u64 = 8_000;

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
    if let Some(wait_ms) = header("retry-after-ms").and_then(|text| thousandths(text.trim())) {
        return Some(wait_ms / 1000);
    }
    let text = header("retry-after")?.trim();
    thousandths(text).or_else(|| {
        let date = jiff::fmt::rfc2822::parse(text).ok()?;
        Some(u64::try_from(date.timestamp().as_millisecond()).ok()?.saturating_sub(now_ms))
    })
}

/// A decimal number times a thousand; seconds become milliseconds.
fn thousandths(text: &str) -> Option<u64> {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    if !fraction.bytes().all(|digit| digit.is_ascii_digit()) {
        return None;
    }
    let digits = fraction.bytes().chain(std::iter::repeat(b'0')).take(3);
    let fraction = digits.fold(0, |sum, digit| sum * 10 + u64::from(digit - b'0'));
    whole.parse::<u64>().ok()?.checked_mul(1000)?.checked_add(fraction)
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
        check(503, &[("retry-after", "soon")], Some((true, None)));
    }

    #[test]
    fn waits_are_spread_below_a_bound_that_doubles() {
        for (nth, bound) in [(0, 250), (1, 500), (2, 1_000), (5, 8_000), (60, 8_000)] {
            let waits: Vec<u64> = (0..20_000).map(|dice| backoff_ms(nth, dice)).collect();
            assert_eq!((waits.iter().min(), waits.iter().max()), (Some(&0), Some(&bound)));
        }
    }
}
