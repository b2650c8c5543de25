//! Deliver: the answer's head, and its body either at once or through the tap.
//!
//! A small whole answer is read first, so that its head can say what it cost and a broken one can still be refused.

use std::sync::Arc;

use http::Response;
use http::header::{CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE, HeaderMap, HeaderName};
use http::response::Parts;

use super::body::Body;
use super::dispatch::Answer;
use super::respond::{Told, announced_length, write_cost};
use super::route::Decision;
use super::settle::Bill;
use super::tap::{Flow, Tap};
use crate::app::App;
use crate::domain::refusal::{Cause, Refusal};
use crate::protocol::meter::{Head, Meter};
use crate::protocol::strip::{UsageEvents, Watch};
use crate::upstream::headers::drop_hop_by_hop;

/// Bytes of a whole answer that is read before its head is sent.
const WHOLE_BYTES_MAX: u64 = 64 * 1024;

/// Answers the client.
///
/// # Errors
/// The upstream broke off a small whole answer. The request has its entry then.
pub async fn deliver(
    app: &Arc<App>,
    answer: Answer,
    decision: &Decision,
    told: &Told,
) -> Result<Response<Body>, Refusal> {
    let (mut head, body) = answer.response.into_parts();
    let watch = watch(&answer.bill, &head, answer.usage_events);
    let silence_max = decision.provider.config.idle_timeout;
    let flow = Flow { app: app.clone(), body, watch, bill: answer.bill, silence_max };
    drop_hop_by_hop(&mut head.headers);
    told.write(&mut head.headers);
    let is_whole = announced_length(&head.headers).is_some_and(|length| length <= WHOLE_BYTES_MAX);
    if !is_whole || !head.status.is_success() {
        if answer.usage_events == UsageEvents::Drop {
            head.headers.remove(CONTENT_LENGTH);
        }
        return Ok(Response::from_parts(head, Body::Flowing(Box::new(Tap::new(flow)))));
    }
    let broken_off = |_| Refusal::new(Cause::UpstreamUnreachable, "the upstream broke off its answer");
    let (bytes, cost) = Tap::new(flow).collect().await.map_err(broken_off)?;
    if let Some(cost) = cost {
        write_cost(cost, &mut head.headers);
    }
    Ok(Response::from_parts(head, Body::whole(bytes)))
}

/// What reads the answer with this head as it passes.
pub fn watch(bill: &Bill, head: &Parts, usage_events: UsageEvents) -> Watch {
    let head = Head {
        status: head.status.as_u16(),
        content_type: text(&head.headers, &CONTENT_TYPE),
        content_encoding: text(&head.headers, &CONTENT_ENCODING),
    };
    Watch::new(Meter::new(bill.operation(), head), usage_events)
}

fn text<'a>(headers: &'a HeaderMap, name: &HeaderName) -> &'a str {
    headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default()
}
