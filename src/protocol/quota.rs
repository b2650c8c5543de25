//! What an answer's headers and errors tell of the limits of the credential that was used.

/// The part of a limit that is left when somebody else is asked instead: one fiftieth, since others are on their way.
const LEFT: u64 = 50;

/// The wait where the provider does not say when there is more, milliseconds.
const WAIT_MS: u64 = 1_000;

/// The headers of one limit: all of it, what is left, and when all is there again.
type Names = [&'static str; 3];

/// OpenAI's (<https://platform.openai.com/docs/guides/rate-limits#rate-limits-in-headers>), which Groq, Azure and others send
/// as well, and Anthropic's (<https://docs.anthropic.com/en/api/rate-limits#response-headers>).
const LIMITS: [Names; 6] = [
    ["x-ratelimit-limit-requests", "x-ratelimit-remaining-requests", "x-ratelimit-reset-requests"],
    ["x-ratelimit-limit-tokens", "x-ratelimit-remaining-tokens", "x-ratelimit-reset-tokens"],
    [
        "anthropic-ratelimit-requests-limit",
        "anthropic-ratelimit-requests-remaining",
        "anthropic-ratelimit-requests-reset",
    ],
    ["anthropic-ratelimit-tokens-limit", "anthropic-ratelimit-tokens-remaining", "anthropic-ratelimit-tokens-reset"],
    [
        "anthropic-ratelimit-input-tokens-limit",
        "anthropic-ratelimit-input-tokens-remaining",
        "anthropic-ratelimit-input-tokens-reset",
    ],
    [
        "anthropic-ratelimit-output-tokens-limit",
        "anthropic-ratelimit-output-tokens-remaining",
        "anthropic-ratelimit-output-tokens-reset",
    ],
];

/// What the names of all of them begin with.
const PREFIXES: [&str; 2] = ["x-ratelimit-", "anthropic-ratelimit-"];

/// Whether a header of this name tells of a limit.
pub fn tells_limit(name: &str) -> bool {
    PREFIXES.iter().any(|prefix| name.starts_with(prefix))
}

/// After how many milliseconds there is more of a limit that is nearly used up; nothing while there is enough of all. It looks at
/// the headers that [tell of limits](tells_limit), by name and value, as often as it needs to: there are few.
pub fn nearly_spent<'h, I: Iterator<Item = (&'h str, &'h str)>>(now_ms: u64, told: impl Fn() -> I) -> Option<u64> {
    let header = |wanted: &str| told().find(|(name, _)| *name == wanted).map(|(_, value)| value);
    let spent = |(name, left): (&str, &str)| {
        let [limit, _, reset] = LIMITS.iter().find(|[_, remaining, _]| *remaining == name)?;
        let left = number(left)?;
        let is_low =
            left == 0 || header(limit).and_then(number).is_some_and(|limit| left.saturating_mul(LEFT) <= limit);
        is_low.then(|| header(reset).and_then(|text| wait_ms(text.trim(), now_ms)).unwrap_or(WAIT_MS))
    };
    told().filter_map(spent).max()
}

/// Whether the body of an error says that the account has no money left, so that waiting does not help. OpenAI says
/// `insufficient_quota` with a 429, others 402.
#[must_use]
pub fn is_exhausted(status: u16, body: &[u8]) -> bool {
    status == 402 || (status == 429 && memchr::memmem::find(body, b"insufficient_quota").is_some())
}

fn number(text: &str) -> Option<u64> {
    text.trim().split('.').next()?.parse().ok()
}

/// `20ms`, `1s`, `6m0s`, `1h2m3.5s`, plain seconds, or a moment as RFC 3339 has it.
fn wait_ms(text: &str, now_ms: u64) -> Option<u64> {
    if let Ok(moment) = text.parse::<jiff::Timestamp>() {
        return Some(u64::try_from(moment.as_millisecond()).ok()?.saturating_sub(now_ms));
    }
    let (mut sum_ms, mut rest) = (0_u64, text);
    while !rest.is_empty() {
        let end = rest.find(|letter: char| !letter.is_ascii_digit() && letter != '.').unwrap_or(rest.len());
        let (digits, behind) = rest.split_at(end);
        let units = behind.find(|letter: char| letter.is_ascii_digit()).unwrap_or(behind.len());
        let (unit, behind) = behind.split_at(units);
        let unit_ms = match unit {
            "ms" => 1,
            "" | "s" => 1_000,
            "m" => 60_000,
            "h" => 3_600_000,
            _ => return None,
        };
        let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
        let thousandths = fraction.bytes().chain(std::iter::repeat(b'0')).take(3);
        let thousandths = thousandths.fold(0, |sum, digit| sum * 10 + u64::from(digit.saturating_sub(b'0')));
        let amount_ms = whole.parse::<u64>().ok()?.checked_mul(unit_ms)?.checked_add(thousandths * unit_ms / 1_000)?;
        (sum_ms, rest) = (sum_ms.checked_add(amount_ms)?, behind);
    }
    (!text.is_empty()).then_some(sum_ms)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(headers: &[(&str, &str)], expect: Option<u64>) {
        assert!(headers.iter().all(|(name, _)| tells_limit(name)));
        assert_eq!(nearly_spent(1_795_000_000_000, || headers.iter().copied()), expect, "{headers:?}");
    }

    #[test]
    fn what_is_nearly_used_up_is_told() {
        check(&[], None);
        let requests = |left, reset| {
            [
                ("x-ratelimit-limit-requests", "100"),
                ("x-ratelimit-remaining-requests", left),
                ("x-ratelimit-reset-requests", reset),
            ]
        };
        check(&requests("3", "1s"), None);
        check(&requests("2", "1s"), Some(1_000));
        check(&requests("0", "6m0.5s"), Some(360_500));
        check(&requests("0", "20ms"), Some(20));
        check(&requests("0", "7"), Some(7_000));
        check(&requests("0", "soon"), Some(WAIT_MS));
        check(&requests("-1", "1s"), None);
        check(&[("x-ratelimit-remaining-tokens", "0")], Some(WAIT_MS));
        let anthropic = [
            ("anthropic-ratelimit-input-tokens-limit", "50000"),
            ("anthropic-ratelimit-input-tokens-remaining", "1000"),
            ("anthropic-ratelimit-input-tokens-reset", "2026-11-18T11:06:50Z"),
        ];
        check(&anthropic, Some(10_000));
    }

    #[test]
    fn an_empty_account_is_told_from_a_busy_one() {
        assert!(is_exhausted(429, br#"{"error":{"code":"insufficient_quota"}}"#) && is_exhausted(402, b""));
        assert!(
            !is_exhausted(429, br#"{"error":{"code":"rate_limit_exceeded"}}"#)
                && !is_exhausted(500, b"insufficient_quota")
        );
    }
}
