//! `/_mock/...`: the bill, the requests, gates, settings. Not a part of any provider's API.

use super::Mock;
use super::exchange::collect;
use super::problem::Problem;
use super::route::query;
use super::script::{Act, Play, Plug};
use bytes::Bytes;
use http::request::Parts;
use http::{HeaderValue, Method, Response, StatusCode, header};
use hyper::body::Incoming;
use serde_json::{Value, json};
use std::sync::Arc;
use std::sync::atomic::Ordering;

/// Bytes of a body at most.
const BODY_BYTES_MAX: usize = 1 << 20;

/// Answers a request for `path` below `/_mock/`.
pub(super) async fn answer(
    mock: &Arc<Mock>,
    plug: &Arc<Plug>,
    path: &str,
    head: &Parts,
    body: Incoming,
) -> Response<Play> {
    let (status, json) = match operate(mock, path, head, body).await {
        Ok(json) => (StatusCode::OK, json),
        Err(problem) => (problem.status, json!({ "error": problem.message })),
    };
    let bytes = Bytes::from(json.to_string());
    let length = HeaderValue::from(bytes.len());
    let mut response = Response::new(Play::new(vec![Act::Send(bytes, 0)], None, Arc::clone(plug)));
    *response.status_mut() = status;
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response.headers_mut().insert(header::CONTENT_LENGTH, length);
    response
}

async fn operate(mock: &Mock, path: &str, head: &Parts, body: Incoming) -> Result<Value, Problem> {
    let last = query(head, "last").and_then(|text| text.parse().ok()).unwrap_or(usize::MAX);
    if let Some(name) = path.strip_prefix("gate/") {
        return gate(mock, name, head).await;
    }
    match (&head.method, path) {
        (&Method::GET, "bill") => Ok(mock.bill.json(last)),
        (&Method::GET, "requests") => {
            let list = mock.requests();
            let skipped = list.len().saturating_sub(last);
            Ok(json!({ "requests": list.iter().skip(skipped).map(super::Request::json).collect::<Vec<_>>() }))
        }
        (&Method::GET, "stats") => Ok(stats(mock)),
        (&Method::POST, "reset") => {
            mock.reset();
            Ok(json!({}))
        }
        (&Method::GET, "config") => Ok(json!({ "settings": format!("{:?}", mock.settings()) })),
        (&Method::POST, "config") => {
            let bytes = collect(body, BODY_BYTES_MAX).await?;
            let json = serde_json::from_slice(&bytes).map_err(|why| Problem::invalid(None, why.to_string()))?;
            mock.set(mock.settings().with_json(&json).map_err(|why| Problem::invalid(None, why))?);
            Ok(json!({}))
        }
        _ => Err(Problem::unknown_path(head.uri.path())),
    }
}

/// `POST` opens a gate; `GET` with `arrived=N` waits until so many answers have come to it.
async fn gate(mock: &Mock, name: &str, head: &Parts) -> Result<Value, Problem> {
    let gate = mock.gate(name);
    if head.method == Method::POST {
        gate.open();
    } else if let Some(count) = query(head, "arrived").and_then(|text| text.parse().ok()) {
        gate.wait_for_arrivals(count).await;
    }
    Ok(json!({ "open": gate.is_open(), "arrived": gate.arrived() }))
}

fn stats(mock: &Mock) -> Value {
    let stats = &mock.stats;
    let count = |number: &std::sync::atomic::AtomicU64| number.load(Ordering::Relaxed);
    json!({
        "requests": count(&stats.requests),
        "streams": count(&stats.streams),
        "faults": count(&stats.faults),
        "bytes_in": count(&stats.bytes_in),
        "in_flight": count(&stats.in_flight),
        "connections": count(&stats.connections),
    })
}
