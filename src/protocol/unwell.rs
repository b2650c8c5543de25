//! Unwell: whether an error says that its provider is not well, in contrast to one about the request, its content, or how
//! often is asked. It stands as a status or, within an answer that began well, as a code or type.

/// What codes and types of such errors hold, in small letters and nothing else: Anthropic's `overloaded_error` and
/// `timeout_error`, OpenAI's `server_error`, Azure's `InternalServerError`, Google's `UNAVAILABLE` and `DEADLINE_EXCEEDED`.
const PARTS: [&str; 8] = [
    "overload",
    "servererror",
    "internalerror",
    "unavailable",
    "timeout",
    "deadlineexceeded",
    "badgateway",
    "nocapacity",
];

/// Those that are too short to be looked for: Google's `INTERNAL`, Anthropic's `api_error`.
const WORDS: [&str; 2] = ["internal", "apierror"];

/// Whether a status says so. What is not implemented is not so for everything else, and a version of HTTP that is not
/// spoken is no failure either.
#[must_use]
pub const fn is_unwell_status(status: u16) -> bool {
    status >= 500 && !matches!(status, 501 | 505 | 506 | 510 | 511)
}

/// Whether the code or type of an error says so; numbers are statuses.
#[must_use]
pub fn is_unwell(error: &str) -> bool {
    if let Ok(status) = error.parse() {
        return is_unwell_status(status);
    }
    let letters = error.chars().filter(char::is_ascii_alphabetic).map(|letter| letter.to_ascii_lowercase());
    let letters: String = letters.collect();
    PARTS.iter().any(|part| letters.contains(part)) || WORDS.contains(&&*letters)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_are_of_the_provider_or_of_the_request() {
        for error in [
            "overloaded_error",
            "api_error",
            "timeout_error",
            "server_error",
            "internal_server_error",
            "InternalServerError",
            "server_is_overloaded",
            "UNAVAILABLE",
            "INTERNAL",
            "DEADLINE_EXCEEDED",
            "500",
            "502",
            "529",
        ] {
            assert!(is_unwell(error), "{error}");
        }
        for error in [
            "invalid_request_error",
            "rate_limit_error",
            "rate_limit_exceeded",
            "RESOURCE_EXHAUSTED",
            "content_filter",
            "content_policy_violation",
            "invalid_prompt",
            "context_length_exceeded",
            "INVALID_ARGUMENT",
            "insufficient_quota",
            "authentication_error",
            "error",
            "400",
            "429",
            "501",
        ] {
            assert!(!is_unwell(error), "{error}");
        }
    }

    #[test]
    fn statuses_are_of_the_provider_or_of_one_operation() {
        assert!([500, 502, 503, 504, 507, 520, 529].into_iter().all(is_unwell_status));
        assert!(![200, 404, 408, 429, 501, 505, 506, 510].into_iter().any(is_unwell_status));
    }
}
