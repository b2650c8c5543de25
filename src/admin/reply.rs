//! How answers look: none is kept by a cache, and none is taken for something else by a browser.

use bytes::Bytes;
use http::header::{ALLOW, CACHE_CONTROL, CONTENT_TYPE, HeaderName, WWW_AUTHENTICATE, X_CONTENT_TYPE_OPTIONS};
use http::{HeaderValue, Response, StatusCode};
use http_body_util::Full;

use super::Answer;
use crate::domain::json_text::Object;

/// The media type of JSON.
pub const JSON: &str = "application/json";

/// Another site may not show an answer as its own picture, script or frame.
const RESOURCE_POLICY: HeaderName = HeaderName::from_static("cross-origin-resource-policy");

/// `text` of a media type, with status 200.
pub fn text(media_type: &'static str, text: impl Into<Bytes>) -> Answer {
    let mut answer = Response::new(Full::new(text.into()));
    let headers = answer.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(media_type));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("private, no-store"));
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.insert(RESOURCE_POLICY, HeaderValue::from_static("same-origin"));
    answer
}

/// `{"error":{"code","message"}}` with a status.
pub fn error(status: StatusCode, code: &str, message: &str) -> Answer {
    let mut out = String::new();
    Object::open(&mut out).object("error").text("code", code).text("message", message);
    let mut answer = text(JSON, out + "\n");
    *answer.status_mut() = status;
    answer
}

/// No token, or not ours.
pub fn unauthorized() -> Answer {
    let message = "this needs Authorization: Bearer and the admin token: server.admin_token of the config, or else \
                   the content of admin-token in the store's folder";
    let mut answer = error(StatusCode::UNAUTHORIZED, "unauthorized", message);
    answer.headers_mut().insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer realm=\"tollgate\""));
    answer
}

/// There is something, which takes other methods.
pub fn wrong_method(message: &str, allowed: &'static str) -> Answer {
    let mut answer = error(StatusCode::METHOD_NOT_ALLOWED, "method_not_allowed", message);
    answer.headers_mut().insert(ALLOW, HeaderValue::from_static(allowed));
    answer
}
