//! Deliver: the answer's head, and its body either at once or through the tap.
//!
//! A small whole answer is read first, so that its head can say what it cost and a broken one can still be refused; of one whose
//! length nobody knows, the first piece is waited for.

use std::sync::Arc;

use http::header::CONTENT_LENGTH;
use http::response::Parts;
use http::{Response, Version};
use http_body::Body as _;

use super::body::Body;
use super::dispatch::{Given, Kept, Served, Unserved};
use super::flight::Answer;
use super::flow::Flow;
use super::keep::Recording;
use super::respond::{Told, announced_length, write_cost};
use super::route::Candidate;
use super::settle::End;
use super::tap::Tap;
use crate::app::App;
use crate::upstream::headers::drop_hop_by_hop;

/// Bytes of a whole answer that is read before its head is sent.
pub const WHOLE_BYTES_MAX: u64 = 64 * 1024;

/// An answer whose head is about to go out.
pub struct Ready {
    /// Its head, without what Tollgate tells.
    pub head: Parts,
    /// What follows.
    pub flow: Flow,
    /// Whether it is small and whole, so that it is read before its head is sent.
    pub is_whole: bool,
}

/// Answers the client.
///
/// # Errors
/// The upstream broke off a small whole answer.
pub async fn deliver(
    app: &Arc<App>,
    served: Served<'_>,
    told: &Told,
    recording: Option<Box<Recording>>,
) -> Result<Response<Body>, Unserved> {
    let candidate = served.candidate;
    let answer = match served.given {
        Given::Flowing(answer) => answer,
        Given::Kept(kept) => return Ok(repeat(*kept, told)),
    };
    let Ready { mut head, flow, is_whole } = match ready(app, candidate, *answer, recording) {
        Ok(ready) => ready,
        Err(mut head) => {
            told.write(&mut head.headers);
            return Ok(Response::from_parts(*head, Body::Empty));
        }
    };
    told.write(&mut head.headers);
    if !is_whole {
        // A stream may end with an error of its own.
        let can_be_refused = !flow.is_promised && !flow.is_stream();
        let tap = Tap::new(flow);
        let tap = if can_be_refused { tap.begin().await.map_err(Unserved::Broken)? } else { tap };
        return Ok(Response::from_parts(head, Body::Flowing(Box::new(tap))));
    }
    let mut tap = Tap::new(flow);
    let (bytes, cost) = tap.collect().await.map_err(Unserved::Broken)?;
    if let Some(cost) = cost {
        write_cost(cost, &mut head.headers);
    }
    Ok(Response::from_parts(head, Body::whole(bytes)))
}

/// Makes an upstream's answer ready for the client.
///
/// # Errors
/// The head, where no body follows it; it is settled.
pub fn ready(
    app: &Arc<App>,
    candidate: &Candidate,
    answer: Answer,
    recording: Option<Box<Recording>>,
) -> Result<Ready, Box<Parts>> {
    let (mut head, body) = answer.response.into_parts();
    let has_body = !body.is_end_stream();
    let mut flow = Flow::new(app.clone(), &head, body, answer.bill, answer.usage_events);
    flow.within(answer.due, candidate.provider.config.patience.keep_alive);
    flow.recording = recording.map(|mut recording| {
        recording.begin(&head, &candidate.provider.config.name, &candidate.model);
        recording
    });
    drop_hop_by_hop(&mut head.headers);
    // How the upstream speaks is a matter between it and us.
    head.version = Version::HTTP_11;
    if !has_body {
        // An answer to HEAD, or 204, or 304: its headers tell the length of a body that does not come.
        flow.settle(End::Complete);
        return Err(Box::new(head));
    }
    if flow.is_open_ended() {
        head.headers.remove(CONTENT_LENGTH);
    }
    let length = announced_length(&head.headers);
    flow.is_promised = length.is_some();
    let is_whole = head.status.is_success() && length.is_some_and(|length| length <= WHOLE_BYTES_MAX);
    Ok(Ready { head, flow, is_whole })
}

/// An error that is all there, as the upstream gave it.
pub fn repeat(kept: Kept, told: &Told) -> Response<Body> {
    let Kept { mut head, body, tab } = kept;
    tab.finish();
    drop_hop_by_hop(&mut head.headers);
    told.write(&mut head.headers);
    head.version = Version::HTTP_11;
    Response::from_parts(head, Body::whole(body))
}
