//! Reads single JSON values from their raw text.

use std::borrow::Cow;

/// A JSON string without quotes and escapes; `None` if it is no whole and valid string.
pub(super) fn string(raw: &[u8]) -> Option<Cow<'_, str>> {
    let inner = raw.strip_prefix(b"\"")?.strip_suffix(b"\"")?;
    if inner.contains(&b'\\') {
        return serde_json::from_slice::<String>(raw).ok().map(Cow::Owned);
    }
    std::str::from_utf8(inner).ok().map(Cow::Borrowed)
}

/// The same, as its own text.
pub(super) fn boxed(raw: &[u8]) -> Option<Box<str>> {
    string(raw).map(|text| text.into_owned().into_boxed_str())
}

/// A count: an integer, or the text of one, which Google's parser takes as well. One too large is the largest.
pub(super) fn count(raw: &[u8]) -> Option<u64> {
    let digits = raw.strip_prefix(b"\"").and_then(|rest| rest.strip_suffix(b"\"")).unwrap_or(raw);
    if digits.is_empty() || !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let add = |sum: u64, digit: &u8| sum.saturating_mul(10).saturating_add(u64::from(digit - b'0'));
    Some(digits.iter().fold(0, add))
}

/// A lifetime such as `5m`, `1h` or `24h`, in seconds.
pub(super) fn lifetime_s(raw: &[u8]) -> Option<u32> {
    let text = string(raw)?;
    let unit = text.chars().last()?;
    let seconds = match unit {
        's' => 1,
        'm' => 60,
        'h' => 3_600,
        'd' => 86_400,
        _ => return None,
    };
    let number: u32 = text.strip_suffix(unit)?.parse().ok()?;
    Some(number.saturating_mul(seconds))
}

/// Whether a value says yes, also in the forms that lenient providers take for it.
pub(super) fn is_yes(raw: &[u8]) -> bool {
    matches!(raw, b"true" | b"1") || raw.eq_ignore_ascii_case(b"\"true\"")
}

/// A size for the features, at most the largest they can hold.
pub(super) fn size(bytes: usize) -> u32 {
    u32::try_from(bytes).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_read_as_providers_read_them() {
        for (raw, expect) in [
            ("7", Some(7)),
            ("\"7\"", Some(7)),
            ("0", Some(0)),
            ("99999999999999999999999", Some(u64::MAX)),
            ("-1", None),
            ("1.5", None),
            ("1e3", None),
            ("null", None),
            ("\"\"", None),
        ] {
            assert_eq!(count(raw.as_bytes()), expect, "{raw}");
        }
        for (raw, expect) in
            [("\"5m\"", Some(300)), ("\"1h\"", Some(3_600)), ("\"x\"", None), ("\"é\"", None), ("5", None)]
        {
            assert_eq!(lifetime_s(raw.as_bytes()), expect, "{raw}");
        }
        assert_eq!(string(br#""a\u00e9""#).as_deref(), Some("aé"));
        assert_eq!(string(br#""cut"#), None);
        assert_eq!(string(br#""\ud800""#), None);
    }
}
