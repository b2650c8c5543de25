//! Credential: where a client's secrets stand, and the name of a caller who has no Tollgate key.

use std::borrow::Cow;
use std::fmt::Write;
use std::sync::Arc;

use http::HeaderName;
use http::header::AUTHORIZATION;
use http::request::Parts;

use crate::domain::operation::Dialect;
use crate::upstream::headers::{API_KEY, CREDENTIALS, KEY_PREFIX, X_API_KEY, X_GOOG_API_KEY, query_key, secret_of};

/// Bytes of the keyed hash that names a caller.
const NAME_BYTES: usize = 8;

/// Where the providers of each dialect look for a key, in their order.
static OPENAI: [HeaderName; 2] = [AUTHORIZATION, API_KEY];
static ANTHROPIC: [HeaderName; 2] = [X_API_KEY, AUTHORIZATION];
static GEMINI: [HeaderName; 1] = [X_GOOG_API_KEY];

/// The first Tollgate key that the request carries, wherever it stands.
pub fn tollgate_key(head: &Parts) -> Option<Cow<'_, str>> {
    let is_key = |secret: &Cow<'_, str>| secret.starts_with(KEY_PREFIX);
    CREDENTIALS.iter().flat_map(|name| in_header(head, name)).chain(in_query(head)).find(is_key)
}

/// The credential that passes through: the one that providers of the dialect look at, so that another beside it does
/// not make another caller of the same client.
pub fn passed(head: &Parts, dialect: Dialect) -> Option<Cow<'_, str>> {
    let own: &[HeaderName] = match dialect {
        Dialect::OpenAi => &OPENAI,
        Dialect::Anthropic => &ANTHROPIC,
        Dialect::Gemini => &GEMINI,
    };
    let own = own.iter().flat_map(|name| in_header(head, name));
    let query = in_query(head).filter(|_| dialect == Dialect::Gemini);
    let others = CREDENTIALS.iter().flat_map(|name| in_header(head, name));
    own.chain(query).chain(others).chain(in_query(head)).next()
}

/// Names a caller by its credential, so that nobody can tell the credential from the name.
pub fn name(pepper: &ring::hmac::Key, credential: &str) -> Arc<str> {
    let tag = ring::hmac::sign(pepper, credential.as_bytes());
    let mut name = String::from("pass:");
    for byte in &tag.as_ref()[..NAME_BYTES] {
        // Writing to a string cannot fail.
        let _done = write!(name, "{byte:02x}");
    }
    name.into()
}

fn in_header<'a>(head: &'a Parts, name: &'a HeaderName) -> impl Iterator<Item = Cow<'a, str>> {
    let secret = move |value: &'a http::HeaderValue| secret_of(name, value).filter(|text| !text.is_empty());
    head.headers.get_all(name).iter().filter_map(secret).map(Cow::Borrowed)
}

fn in_query(head: &Parts) -> impl Iterator<Item = Cow<'_, str>> {
    head.uri.query().unwrap_or_default().split('&').filter_map(query_key).filter(|key| !key.is_empty())
}
