//! Telling: which headers of a request can change its answer.
//!
//! All that go on to the upstream can, but those that are known not to: how the message comes, who sends it and on which way, what
//! observes it, and credentials, which are another's namespace. A header that nobody knows costs hits, and never gives an answer
//! that was made for another value.
//!
//! Invariant: what is not on the list of silent ones is in the key, with all its values in their order.

use http::{HeaderMap, HeaderName};

use crate::cache::KeyMaker;
use crate::upstream::headers::is_ours;

/// Beginnings of silent headers: what names the client's library (<https://www.stainless.com>), what observes, proxies, browsers, and
/// what our own mock is told.
const STARTS: [&str; 9] =
    ["x-stainless-", "sec-", "x-forwarded-", "x-envoy-", "x-b3-", "x-datadog-", "x-ot-span-", "x-instana-", "x-mock-"];

/// Adds the headers that can change the answer, in an order that is always the same.
pub fn add(headers: &HeaderMap, key: &mut KeyMaker) {
    // Of most requests there is none, and nothing is allocated.
    let mut telling: Vec<_> = headers.iter().filter(|(name, _)| !is_silent(name)).collect();
    telling.sort_by_key(|(name, _)| name.as_str());
    for (name, value) in telling {
        key.part(name.as_str().as_bytes());
        key.part(value.as_bytes());
    }
    key.part(b"");
}

fn is_silent(name: &HeaderName) -> bool {
    let text = name.as_str();
    STARTS.iter().any(|start| text.starts_with(start)) || is_ours(name) || silent_with(text).contains(&text)
}

/// The silent headers that begin like `name`. Encodings that are asked for count elsewhere, where they do.
const fn silent_with(name: &str) -> &'static [&'static str] {
    match name.as_bytes() {
        [b'a', ..] => &["accept", "authorization", "accept-encoding", "api-key", "alt-used"],
        [b'b', ..] => &["baggage", "b3"],
        [b'c', ..] => &[
            "content-type",
            "content-length",
            "content-encoding",
            "connection",
            "cache-control",
            "correlation-id",
            "conversation-id",
            "conversation_id",
            "cdn-loop",
            "cf-connecting-ip",
            "cf-ipcountry",
            "cf-ray",
            "cf-visitor",
        ],
        [b'd', ..] => &["date", "dnt"],
        [b'e', ..] => &["expect", "elastic-apm-traceparent"],
        [b'f', ..] => &["forwarded"],
        [b'h', ..] => &["host", "http-referer"],
        [b'i', ..] => &["idempotency-key"],
        [b'k', ..] => &["keep-alive"],
        [b'n', ..] => &["newrelic"],
        [b'o', ..] => &["origin"],
        [b'p', ..] => &["pragma", "priority", "proxy-authorization", "proxy-connection"],
        [b'r', ..] => &["request-id", "referer"],
        [b's', ..] => &["session-id", "session_id", "sentry-trace"],
        [b't', ..] => &["te", "trailer", "traceparent", "tracestate", "transfer-encoding", "true-client-ip"],
        [b'u', ..] => &["user-agent", "upgrade", "upgrade-insecure-requests", "uber-trace-id"],
        [b'v', ..] => &["via"],
        [b'x', ..] => &[
            "x-api-key",
            "x-goog-api-key",
            "x-goog-api-client",
            "x-request-id",
            "x-request-start",
            "x-client-request-id",
            "x-ms-client-request-id",
            "x-correlation-id",
            "x-idempotency-key",
            "x-trace-id",
            "x-amzn-trace-id",
            "x-cloud-trace-context",
            "x-client-ip",
            "x-real-ip",
            "x-session-id",
            "x-session-affinity",
            "x-conversation-id",
            "x-claude-code-session-id",
            "x-codex-turn-metadata",
            // Whom OpenRouter names in its rankings (<https://openrouter.ai/docs/api/reference/overview>).
            "x-title",
        ],
        _ => &[],
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::cache::{Key, Namespace};

    fn key(headers: &[(&str, &str)]) -> Key {
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            map.append(name.parse::<HeaderName>().unwrap(), value.parse().unwrap());
        }
        let mut key = KeyMaker::new(&Namespace::Shared);
        add(&map, &mut key);
        key.finish()
    }

    #[test]
    fn each_silent_header_is_found_by_its_first_letter() {
        for letter in b'a'..=b'z' {
            let text = [letter];
            let known = silent_with(std::str::from_utf8(&text).unwrap());
            assert!(known.iter().all(|name| name.as_bytes()[0] == letter), "{known:?}");
            assert!(known.iter().all(|name| key(&[(name, "a")]) == key(&[])), "{known:?}");
        }
    }

    #[test]
    fn order_counts_among_the_values_of_a_name_alone() {
        let (one, other) = (("anthropic-beta", "a"), ("x-new", "b"));
        assert_eq!(key(&[one, ("accept", "c"), other]), key(&[other, one]));
        assert_ne!(key(&[("x-new", "a"), ("x-new", "b")]), key(&[("x-new", "b"), ("x-new", "a")]));
        assert_ne!(key(&[("x-new", "a")]), key(&[("x-new", "a"), ("x-new", "a")]));
    }

    proptest! {
        #[test]
        fn another_value_of_a_header_that_is_not_silent_gives_another_key(
            name in "(x-|cf-|groq-|api-|accept-|content-)?[a-z]{1,8}(-[a-z]{1,8})?", one in "[a-z]{0,6}", other in "[a-z]{0,6}",
        ) {
            let silent = is_silent(&name.parse().unwrap());
            let (with_one, with_other) = (key(&[(&name, &one)]), key(&[(&name, &other)]));
            prop_assert_eq!(with_one == with_other, silent || one == other, "{}", name);
            prop_assert_eq!(with_one == key(&[]), silent, "{}", name);
        }
    }
}
