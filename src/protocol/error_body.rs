//! Renders a [`Refusal`] in the error shape of the dialect that the client speaks, so that its SDK shows the message.
//!
//! Shapes: OpenAI's `ErrorResponse` has four required fields (openapi 2.3.0); Anthropic's error carries the request id
//! in a field of its own (SDK `types/shared/error`); Google's is `google.rpc.Status` with its details.
//!
//! Invariant: the body is valid JSON whatever the message holds.

use crate::domain::ids::RequestId;
use crate::domain::operation::Dialect;
use crate::domain::refusal::{Cause, Refusal};

/// The media type of every error body.
pub const CONTENT_TYPE: &str = "application/json";

/// The body of a refusal.
#[must_use]
pub fn render(dialect: Dialect, refusal: &Refusal, id: RequestId) -> Vec<u8> {
    let text = match dialect {
        Dialect::OpenAi => openai(refusal, id),
        Dialect::Anthropic => anthropic(refusal, id),
        Dialect::Gemini => google(refusal, id),
    };
    text.into_bytes()
}

fn openai(refusal: &Refusal, id: RequestId) -> String {
    let message = quoted(&format!("{} (request {id})", refusal.message));
    let kind = openai_type(refusal.cause);
    let param = refusal.param.map_or_else(|| "null".to_owned(), quoted);
    let code = openai_code(refusal.cause);
    let (limit, cap) = (limit_member(refusal), cap(refusal));
    format!(r#"{{"error":{{"message":{message},"type":"{kind}","param":{param},"code":"{code}"{limit}{cap}}}}}"#)
}

fn anthropic(refusal: &Refusal, id: RequestId) -> String {
    let (kind, message) = (anthropic_type(refusal.cause), quoted(&refusal.message));
    let (limit, cap) = (limit_member(refusal), cap(refusal));
    format!(r#"{{"type":"error","error":{{"type":"{kind}","message":{message}{limit}{cap}}},"request_id":"{id}"}}"#)
}

fn google(refusal: &Refusal, id: RequestId) -> String {
    let (code, status) = (refusal.status(), google_status(refusal.cause));
    let message = quoted(&format!("{} (request {id})", refusal.message));
    let cap = members(refusal).map_or_else(String::new, |members| format!(",{members}"));
    let reason = refusal.cause.code().to_ascii_uppercase();
    let limit: String =
        fields(refusal).into_iter().map(|(key, value)| format!(r#","{key}":{}"#, quoted(&value))).collect();
    let retry = refusal.retry_after_s.map_or_else(String::new, |wait_s| {
        format!(r#",{{"@type":"type.googleapis.com/google.rpc.RetryInfo","retryDelay":"{wait_s}s"}}"#)
    });
    format!(
        r#"{{"error":{{"code":{code},"message":{message},"status":"{status}","details":[{{"@type":"type.googleapis.com/google.rpc.ErrorInfo","reason":"{reason}","domain":"tollgate","metadata":{{"request_id":"{id}"{limit}{cap}}}}}{retry}]}}}}"#
    )
}

/// What machines read of a limit: as text, since Google's metadata holds nothing else.
fn fields(refusal: &Refusal) -> Vec<(&'static str, String)> {
    let Some(limited) = &refusal.limited else { return Vec::new() };
    vec![
        ("limit", limited.name.to_string()),
        ("scope", limited.scope.kind().to_owned()),
        ("name", limited.scope.name().to_owned()),
        ("max", limited.level.limit.to_string()),
        ("remaining", limited.level.remaining.to_string()),
        ("reset_ms", limited.level.reset_ms.to_string()),
        ("retry_after_ms", limited.wait_ms.to_string()),
    ]
}

/// The limit as a further member of an error, numbers as numbers.
fn limit_member(refusal: &Refusal) -> String {
    let Some(limited) = &refusal.limited else { return String::new() };
    let (name, scope, whose) = (quoted(&limited.name), limited.scope.kind(), quoted(limited.scope.name()));
    let level = &limited.level;
    format!(
        r#","rate_limit":{{"limit":{name},"scope":"{scope}","name":{whose},"max":{},"remaining":{},"reset_ms":{},"retry_after_ms":{}}}"#,
        level.limit, level.remaining, level.reset_ms, limited.wait_ms
    )
}

/// What a cap's refusal tells machines, as one more member of the error.
fn cap(refusal: &Refusal) -> String {
    members(refusal).map_or_else(String::new, |members| format!(r#","tollgate":{{{members}}}"#))
}

fn members(refusal: &Refusal) -> Option<String> {
    let (exceeded, _) = refusal.exceeded.as_deref()?;
    let (kind, name) = exceeded.scope_words();
    let window = exceeded.window.map_or_else(|| "request".to_owned(), |window| window.to_string());
    let mut members = format!(r#""scope":"{kind}","name":{},"window":"{window}""#, quoted(name));
    for (name, usd) in [
        ("cap_usd", exceeded.cap),
        ("spent_usd", exceeded.spent),
        ("held_usd", exceeded.held),
        ("quote_usd", exceeded.quote),
    ] {
        members.push_str(&format!(r#","{name}":"{usd}""#));
    }
    if let Some(at) = exceeded.resets() {
        members.push_str(&format!(r#","resets_at":"{at}""#));
    }
    Some(members)
}

/// A JSON string.
fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

const fn openai_type(cause: Cause) -> &'static str {
    match cause {
        Cause::Unauthorized
        | Cause::Forbidden
        | Cause::NotFound
        | Cause::MethodNotAllowed
        | Cause::UpgradeRequired
        | Cause::Malformed
        | Cause::TooLarge
        | Cause::HeadersTooLarge
        | Cause::UnsupportedEncoding
        | Cause::BodyTimeout
        | Cause::Unpriced
        | Cause::Unbounded
        | Cause::NotCached
        | Cause::NoUpstream => "invalid_request_error",
        Cause::CapExceeded => "insufficient_quota",
        Cause::RateLimited | Cause::Looping => "rate_limit_error",
        Cause::UpstreamUnreachable
        | Cause::UpstreamTimeout
        | Cause::UpstreamDown
        | Cause::StoreUnavailable
        | Cause::Overloaded
        | Cause::Draining => "server_error",
    }
}

/// OpenAI's own words where it has them, since clients look for those: Codex for `server_is_overloaded`.
const fn openai_code(cause: Cause) -> &'static str {
    match cause {
        Cause::Unauthorized => "invalid_api_key",
        Cause::NoUpstream => "model_not_found",
        Cause::Overloaded | Cause::UpstreamDown => "server_is_overloaded",
        Cause::CapExceeded => "insufficient_quota",
        Cause::RateLimited => "rate_limit_exceeded",
        Cause::Forbidden
        | Cause::Looping
        | Cause::NotFound
        | Cause::MethodNotAllowed
        | Cause::UpgradeRequired
        | Cause::Malformed
        | Cause::TooLarge
        | Cause::HeadersTooLarge
        | Cause::UnsupportedEncoding
        | Cause::BodyTimeout
        | Cause::UpstreamUnreachable
        | Cause::UpstreamTimeout
        | Cause::Unpriced
        | Cause::Unbounded
        | Cause::StoreUnavailable
        | Cause::NotCached
        | Cause::Draining => cause.code(),
    }
}

const fn anthropic_type(cause: Cause) -> &'static str {
    match cause {
        Cause::Unauthorized => "authentication_error",
        Cause::Forbidden => "permission_error",
        Cause::NotFound | Cause::NoUpstream => "not_found_error",
        Cause::TooLarge => "request_too_large",
        Cause::RateLimited | Cause::Looping => "rate_limit_error",
        Cause::MethodNotAllowed
        | Cause::UpgradeRequired
        | Cause::Malformed
        | Cause::HeadersTooLarge
        | Cause::UnsupportedEncoding
        | Cause::CapExceeded
        | Cause::Unpriced
        | Cause::Unbounded
        | Cause::NotCached
        | Cause::BodyTimeout => "invalid_request_error",
        Cause::UpstreamTimeout => "timeout_error",
        Cause::Overloaded | Cause::UpstreamDown | Cause::Draining => "overloaded_error",
        Cause::UpstreamUnreachable | Cause::StoreUnavailable => "api_error",
    }
}

const fn google_status(cause: Cause) -> &'static str {
    match cause {
        Cause::Unauthorized => "UNAUTHENTICATED",
        Cause::Forbidden => "PERMISSION_DENIED",
        Cause::NotFound | Cause::NoUpstream => "NOT_FOUND",
        Cause::UpgradeRequired | Cause::CapExceeded | Cause::Unpriced | Cause::Unbounded | Cause::NotCached => {
            "FAILED_PRECONDITION"
        }
        Cause::RateLimited | Cause::Looping => "RESOURCE_EXHAUSTED",
        Cause::MethodNotAllowed
        | Cause::Malformed
        | Cause::TooLarge
        | Cause::HeadersTooLarge
        | Cause::UnsupportedEncoding => "INVALID_ARGUMENT",
        Cause::BodyTimeout | Cause::UpstreamTimeout => "DEADLINE_EXCEEDED",
        Cause::UpstreamUnreachable
        | Cause::UpstreamDown
        | Cause::StoreUnavailable
        | Cause::Overloaded
        | Cause::Draining => "UNAVAILABLE",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(dialect: Dialect, refusal: &Refusal, expect: &str) {
        let id = RequestId::new(1_795_000_000_000, 7);
        let body = String::from_utf8(render(dialect, refusal, id)).unwrap();
        assert_eq!(body, expect.replace("ID", &id.to_string()));
    }

    #[test]
    fn each_dialect_gets_its_own_shape() {
        let refusal = Refusal::new(Cause::NoUpstream, "no upstream serves the model \"x\"").about("model");
        check(
            Dialect::OpenAi,
            &refusal,
            r#"{"error":{"message":"no upstream serves the model \"x\" (request ID)","type":"invalid_request_error","param":"model","code":"model_not_found"}}"#,
        );
        check(
            Dialect::Anthropic,
            &refusal,
            r#"{"type":"error","error":{"type":"not_found_error","message":"no upstream serves the model \"x\""},"request_id":"ID"}"#,
        );
        check(
            Dialect::Gemini,
            &Refusal::new(Cause::StoreUnavailable, "the ledger cannot be written").after(5),
            r#"{"error":{"code":503,"message":"the ledger cannot be written (request ID)","status":"UNAVAILABLE","details":[{"@type":"type.googleapis.com/google.rpc.ErrorInfo","reason":"STORE_UNAVAILABLE","domain":"tollgate","metadata":{"request_id":"ID"}},{"@type":"type.googleapis.com/google.rpc.RetryInfo","retryDelay":"5s"}]}}"#,
        );
    }

    #[test]
    fn whatever_a_client_names_itself_the_body_stays_json() {
        for name in ["\"},{\"", "\\", "\n\r\0\u{7f}", "</script>", "🙂\u{2028}", "{}"] {
            for (dialect, cause) in
                Dialect::ALL.into_iter().flat_map(|dialect| Cause::ALL.map(|cause| (dialect, cause)))
            {
                let refusal = Refusal::new(cause, format!("model {name}"));
                let body = render(dialect, &refusal, RequestId::default());
                let value: serde_json::Value = serde_json::from_slice(&body).unwrap();
                let message = value["error"]["message"].as_str().unwrap();
                assert!(message.starts_with(&*refusal.message), "{dialect:?} {cause:?} {message}");
            }
        }
    }
}
