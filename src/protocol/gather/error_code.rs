//! [`error_code`]: one word for what went wrong, whoever says it.

use serde::Deserialize;
use serde_json::value::RawValue;

/// The most telling short text of an `error`: OpenAI's code, Anthropic's type, Google's status, or a number.
pub(super) fn error_code(raw: &[u8]) -> Option<Box<str>> {
    #[derive(Default, Deserialize)]
    #[serde(default)]
    struct Parts<'a> {
        #[serde(borrow)]
        code: Option<&'a RawValue>,
        #[serde(borrow)]
        r#type: Option<&'a RawValue>,
        #[serde(borrow)]
        status: Option<&'a RawValue>,
    }
    // Some providers send the member with nothing in it.
    if matches!(raw, b"" | b"null" | b"false" | b"\"\"" | b"{}" | b"[]") {
        return None;
    }
    let parts: Parts<'_> = serde_json::from_slice(raw).unwrap_or_default();
    let text = |raw: Option<&RawValue>| raw.and_then(|raw| serde_json::from_str::<Box<str>>(raw.get()).ok());
    let number = || parts.code.map(RawValue::get).filter(|code| *code != "null").map(Into::into);
    let told = text(parts.code).or_else(|| text(parts.r#type)).or_else(|| text(parts.status)).or_else(number);
    Some(told.unwrap_or_else(|| "error".into()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_is_named_by_its_most_telling_part() {
        for (raw, expect) in [
            (r#"{"message":"m","type":"invalid_request_error","code":"tool_use_failed"}"#, Some("tool_use_failed")),
            (r#"{"type":"overloaded_error","message":"m"}"#, Some("overloaded_error")),
            (r#"{"code":503,"message":"m","status":"UNAVAILABLE"}"#, Some("UNAVAILABLE")),
            (r#"{"code":400,"message":"m"}"#, Some("400")),
            (r#"{"code":null,"message":"m"}"#, Some("error")),
            (r#""text""#, Some("error")),
            ("null", None),
            ("false", None),
            (r#""""#, None),
            ("{}", None),
            ("[]", None),
        ] {
            assert_eq!(error_code(raw.as_bytes()).as_deref(), expect, "{raw}");
        }
    }
}
