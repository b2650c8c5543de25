//! [`Seen`]: the requests as they arrived, for tests that ask whether Tollgate changed them.
//!
//! Invariant: memory is bounded: the oldest requests are forgotten, and of a huge body only the start is kept, beside
//! the hash of all of it.

use super::vectors::base64;
use bytes::Bytes;
use ring::digest;
use serde_json::{Value, json};
use std::collections::VecDeque;
use std::sync::{Mutex, PoisonError};

/// One request as it arrived.
#[derive(Clone, Debug)]
pub struct Request {
    /// Its number, from 1.
    pub number: u64,
    /// The method.
    pub method: String,
    /// The path with the query.
    pub target: String,
    /// The headers, repeated ones repeatedly; names in lower case, since HTTP gives their case no meaning.
    pub headers: Vec<(String, Vec<u8>)>,
    /// The body, up to the limit of what is kept.
    pub body: Bytes,
    /// Bytes of the whole body.
    pub body_bytes: usize,
    /// SHA-256 of the whole body, in hexadecimal.
    pub body_sha256: String,
}

/// The last requests.
#[derive(Debug)]
pub(super) struct Seen {
    requests_max: usize,
    bytes_max: usize,
    kept: Mutex<Kept>,
}

#[derive(Debug, Default)]
struct Kept {
    bytes: usize,
    requests: VecDeque<Request>,
}

impl Seen {
    pub(super) fn new(requests_max: usize, bytes_max: usize) -> Self {
        Self { requests_max, bytes_max, kept: Mutex::default() }
    }

    /// Remembers a request.
    pub(super) fn push(&self, number: u64, head: &http::request::Parts, body: &Bytes) {
        if self.requests_max == 0 {
            return;
        }
        let sum = digest::digest(&digest::SHA256, body);
        let request = Request {
            number,
            method: head.method.to_string(),
            target: head.uri.path_and_query().map_or_else(String::new, ToString::to_string),
            headers: head.headers.iter().map(|(name, value)| (name.to_string(), value.as_bytes().to_vec())).collect(),
            body: self.kept(body),
            body_bytes: body.len(),
            body_sha256: sum.as_ref().iter().map(|byte| format!("{byte:02x}")).collect(),
        };
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        kept.bytes += request.size();
        kept.requests.push_back(request);
        while kept.requests.len() > self.requests_max || kept.bytes > self.bytes_max {
            let Some(oldest) = kept.requests.pop_front() else { break };
            kept.bytes -= oldest.size();
        }
    }

    /// The part of a body that is kept; a copy, since a slice would keep all of it.
    fn kept(&self, body: &Bytes) -> Bytes {
        let bytes_max = self.bytes_max / 4;
        if body.len() <= bytes_max { body.clone() } else { Bytes::copy_from_slice(&body[..bytes_max]) }
    }

    /// The last requests, oldest first.
    pub(super) fn list(&self) -> Vec<Request> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner).requests.iter().cloned().collect()
    }

    pub(super) fn clear(&self) {
        *self.kept.lock().unwrap_or_else(PoisonError::into_inner) = Kept::default();
    }
}

impl Request {
    /// The values of a header, in order.
    #[must_use]
    pub fn header_values(&self, name: &str) -> Vec<String> {
        let found = self.headers.iter().filter(|(known, _)| known.eq_ignore_ascii_case(name));
        found.map(|(_, value)| String::from_utf8_lossy(value).into_owned()).collect()
    }

    /// Bytes that it takes.
    fn size(&self) -> usize {
        let headers = self.headers.iter().map(|(name, value)| name.len() + value.len()).sum::<usize>();
        self.body.len() + self.target.len() + headers
    }

    /// What `GET /_mock/requests` shows of it.
    pub(super) fn json(&self) -> Value {
        let headers: Vec<Value> =
            self.headers.iter().map(|(name, value)| json!([name, String::from_utf8_lossy(value)])).collect();
        let text = std::str::from_utf8(&self.body).ok();
        json!({
            "number": self.number,
            "method": self.method,
            "target": self.target,
            "headers": headers,
            "body": text,
            "body_base64": if text.is_none() { Some(base64(&self.body)) } else { None },
            "body_bytes": self.body_bytes,
            "body_sha256": self.body_sha256,
        })
    }
}
