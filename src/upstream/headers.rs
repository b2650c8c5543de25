//! Scrub: which headers go on to the upstream, and which come back.
//!
//! Everything end-to-end passes, in its order and with its repetitions. Hop-by-hop headers, Tollgate's own and, where the
//! upstream has a key of its own, the client's credentials do not.
//!
//! Invariant: a Tollgate key never leaves, in no header and in no query.

use std::borrow::Cow;

use http::header::{
    AUTHORIZATION, CONNECTION, CONTENT_LENGTH, EXPECT, HOST, HeaderMap, HeaderName, HeaderValue, PROXY_AUTHORIZATION,
    TE, TRAILER, TRANSFER_ENCODING, UPGRADE,
};

/// What every Tollgate key begins with.
pub const KEY_PREFIX: &str = "tg_";

/// No Tollgate key is shorter, in bytes; config refuses it.
const KEY_BYTES_MIN: usize = 20;

/// Where Anthropic's and Azure's, Google's clients put their key.
pub const X_API_KEY: HeaderName = HeaderName::from_static("x-api-key");
/// Azure's header for the key.
pub const API_KEY: HeaderName = HeaderName::from_static("api-key");
/// Google's header for the key.
pub const X_GOOG_API_KEY: HeaderName = HeaderName::from_static("x-goog-api-key");

const KEEP_ALIVE: HeaderName = HeaderName::from_static("keep-alive");
const PROXY_CONNECTION: HeaderName = HeaderName::from_static("proxy-connection");

/// Every header that can carry a credential.
pub static CREDENTIALS: [HeaderName; 4] = [AUTHORIZATION, X_API_KEY, X_GOOG_API_KEY, API_KEY];

/// Removes what concerns this connection only: the headers of RFC 9110 section 7.6.1 and those that `connection` names.
pub fn drop_hop_by_hop(headers: &mut HeaderMap) {
    if headers.contains_key(CONNECTION) {
        let named: Vec<HeaderName> = headers
            .get_all(CONNECTION)
            .iter()
            .filter_map(|value| value.to_str().ok())
            .flat_map(|value| value.split(','))
            .filter_map(|name| name.trim().parse().ok())
            .collect();
        for name in named {
            // A client that names an end-to-end header here must not make us drop what the length or host depends on.
            if ![HOST, CONTENT_LENGTH, TRANSFER_ENCODING].contains(&name) {
                headers.remove(name);
            }
        }
        headers.remove(CONNECTION);
    }
    for name in [KEEP_ALIVE, PROXY_CONNECTION, TE, TRAILER, UPGRADE] {
        headers.remove(name);
    }
    if headers.remove(TRANSFER_ENCODING).is_some() {
        // A length beside it is not that of the body, and whoever reads it as such takes the rest for another answer (RFC 9112,
        // section 6.3).
        headers.remove(CONTENT_LENGTH);
    }
}

/// Makes a client's headers those of the request to the upstream, but for the credential.
pub fn scrub_request(headers: &mut HeaderMap) {
    drop_hop_by_hop(headers);
    for name in [HOST, CONTENT_LENGTH, EXPECT, PROXY_AUTHORIZATION] {
        headers.remove(name);
    }
    let ours: Vec<HeaderName> = headers.keys().filter(|name| is_ours(name)).cloned().collect();
    for name in ours {
        headers.remove(name);
    }
    drop_tollgate_keys(headers);
}

/// Whether the header is one of Tollgate's own.
#[must_use]
pub fn is_ours(name: &HeaderName) -> bool {
    name.as_str().starts_with("x-tollgate-")
}

/// Removes every credential of the client, for an upstream with its own.
pub fn drop_credentials(headers: &mut HeaderMap) {
    for name in &CREDENTIALS {
        headers.remove(name);
    }
}

/// The secret within a credential header's value: what follows `Bearer`, or all of it where no scheme is named.
#[must_use]
pub fn secret_of<'a>(name: &HeaderName, value: &'a HeaderValue) -> Option<&'a str> {
    let text = value.to_str().ok()?.trim();
    if name != AUTHORIZATION {
        return Some(text);
    }
    match text.split_once(' ') {
        Some((scheme, secret)) => scheme.eq_ignore_ascii_case("bearer").then(|| secret.trim_start()),
        None => Some(text),
    }
}

/// The value of a query's pair if its name is `key`, both decoded as a server would.
#[must_use]
pub fn query_key(pair: &str) -> Option<Cow<'_, str>> {
    let (name, value) = pair.split_once('=')?;
    (decoded(name) == "key").then(|| decoded(value))
}

/// The query without the parameters `key` that `drop` says; `None` where nothing is left.
#[must_use]
pub fn query_without_key(query: &str, drop: impl Fn(&str) -> bool) -> Option<String> {
    let kept: Vec<&str> = query.split('&').filter(|pair| !query_key(pair).is_some_and(|key| drop(&key))).collect();
    (!kept.is_empty()).then(|| kept.join("&"))
}

/// Removes each value that holds a Tollgate key, whichever header it stands in.
fn drop_tollgate_keys(headers: &mut HeaderMap) {
    if !headers.iter().any(holds_tollgate_key) {
        return;
    }
    let names: Vec<HeaderName> =
        headers.iter().filter(|header| holds_tollgate_key(*header)).map(|(name, _)| name.clone()).collect();
    for name in names {
        let others: Vec<HeaderValue> =
            headers.get_all(&name).iter().filter(|value| !holds_tollgate_key((&name, value))).cloned().collect();
        headers.remove(&name);
        for value in others {
            headers.append(name.clone(), value);
        }
    }
}

/// Whether the value holds a Tollgate key, alone or behind whatever scheme. Where no key belongs, a word is one only if
/// it is long enough: `tg_bot/1.0` is a name.
fn holds_tollgate_key((name, value): (&HeaderName, &HeaderValue)) -> bool {
    // Nearly every value is told apart by this alone. Most are so short that a search by vectors takes longer to begin.
    if !value.as_bytes().windows(KEY_PREFIX.len()).any(|part| part == KEY_PREFIX.as_bytes()) {
        return false;
    }
    let is_key = |word: &[u8]| {
        word.starts_with(KEY_PREFIX.as_bytes()) && (CREDENTIALS.contains(name) || word.len() >= KEY_BYTES_MIN)
    };
    value.as_bytes().split(u8::is_ascii_whitespace).any(is_key)
}

/// A name or a value of a query without its percent-encoding; what is not encoded well stays as it is.
fn decoded(text: &str) -> Cow<'_, str> {
    if !text.contains('%') {
        return Cow::Borrowed(text);
    }
    let mut clear = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((first, behind)) = rest.split_first() {
        let byte = match behind {
            [high, low, ..] if *first == b'%' => digit(*high).zip(digit(*low)).map(|(high, low)| high << 4 | low),
            _ => None,
        };
        clear.push(byte.unwrap_or(*first));
        rest = if byte.is_some() { &behind[2..] } else { behind };
    }
    String::from_utf8(clear).map_or(Cow::Borrowed(text), Cow::Owned)
}

fn digit(byte: u8) -> Option<u8> {
    char::from(byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn map(pairs: &[(&str, &str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in pairs {
            headers.append(name.parse::<HeaderName>().unwrap(), value.parse().unwrap());
        }
        headers
    }

    fn check(before: &[(&str, &str)], after: &[(&str, &str)]) {
        let mut headers = map(before);
        scrub_request(&mut headers);
        assert_eq!(headers, map(after));
    }

    #[test]
    fn end_to_end_headers_pass_with_their_repetitions() {
        let kept = [("anthropic-beta", "a"), ("x-new", "1"), ("anthropic-beta", "b"), ("accept-encoding", "gzip")];
        check(&kept, &kept);
    }

    #[test]
    fn hop_by_hop_headers_and_our_own_stay() {
        check(
            &[
                ("connection", "close, x-hop"),
                ("x-hop", "1"),
                ("keep-alive", "1"),
                ("te", "trailers"),
                ("transfer-encoding", "chunked"),
                ("upgrade", "h2c"),
                ("host", "tollgate"),
                ("content-length", "5"),
                ("expect", "100-continue"),
                ("x-tollgate-tags", "a=b"),
                ("x-tollgate-anything", "c"),
                ("x-kept", "d"),
            ],
            &[("x-kept", "d")],
        );
    }

    #[test]
    fn a_tollgate_key_is_taken_out_wherever_it_stands() {
        check(
            &[
                ("authorization", "Bearer tg_secret"),
                ("x-api-key", "tg_secret"),
                ("x-goog-api-key", "tg_secret"),
                ("api-key", "tg_secret"),
            ],
            &[],
        );
        check(&[("authorization", "bearer  tg_secret"), ("x-api-key", "sk-theirs")], &[("x-api-key", "sk-theirs")]);
        check(&[("authorization", "tg_secret"), ("x-litellm-key", "Bearer tg_0123456789abcdefghij ")], &[]);
        check(&[("x-id", "tg_0123456789abcdefghij"), ("x-id", "1"), ("x-id", "2")], &[("x-id", "1"), ("x-id", "2")]);
        check(&[("user-agent", "a tg_bot/1.0")], &[("user-agent", "a tg_bot/1.0")]);
    }

    #[test]
    fn a_key_that_is_hidden_is_found() {
        check(&[("authorization", "tg_secret")], &[]);
        check(&[("authorization", "Basic tg_secret"), ("x-api-key", "  tg_secret")], &[]);
        for pair in ["key=tg_x", "k%65y=tg_x", "key=%74g_x", "%6b%65%79=t%67%5Fx"] {
            assert_eq!(query_key(pair).as_deref(), Some("tg_x"), "{pair}");
        }
        for (pair, expect) in [("keys=tg_x", None), ("key", None), ("key=%", Some("%")), ("key=%zz%ff", Some("%zz%ff"))]
        {
            assert_eq!(query_key(pair).as_deref(), expect, "{pair}");
        }
    }

    #[test]
    fn a_key_in_the_query_is_taken_out_and_the_rest_stays() {
        let ours = |key: &str| key.starts_with(KEY_PREFIX);
        assert_eq!(query_without_key("alt=sse&key=tg_x&a=b", ours).as_deref(), Some("alt=sse&a=b"));
        assert_eq!(query_without_key("key=tg_x", ours), None);
        assert_eq!(query_without_key("key=AIza&x=%20", ours).as_deref(), Some("key=AIza&x=%20"));
    }
}
