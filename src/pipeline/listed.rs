//! Listed: lists of models that name `auto`, where config wants that.
//!
//! Invariant: without `routing.list_auto` a list passes as any other answer does.

use std::sync::Arc;

use http::header::CONTENT_LENGTH;
use http::{HeaderValue, Method, Response};

use super::arrive::Arrival;
use super::body::Body;
use super::deliver::{Ready, deliver, ready};
use super::dispatch::{Given, Served, Unserved};
use super::respond::{Told, write_cost};
use super::settle::End;
use super::tap::{Read, Tap};
use crate::app::App;
use crate::domain::operation::{Dialect, Operation};
use crate::protocol::listing::with_auto;

/// Bytes of a list that is read before its head is sent; OpenRouter's is the longest, with about 500 KiB.
const LIST_BYTES_MAX: usize = 2 << 20;

/// Parameters that ask for another page than the first.
const PAGES: [&str; 4] = ["after_id=", "before_id=", "pageToken=", "page_token="];

/// Whether the answer to a request is a list that is to name `auto`.
#[must_use]
pub fn names_auto(arrival: &Arrival) -> bool {
    let query = arrival.head.uri.query().unwrap_or_default();
    arrival.endpoint.operation == Operation::Models
        && arrival.snapshot.config.routing.list_auto
        && arrival.head.method == Method::GET
        && arrival.path.trim_end_matches('/').ends_with("/models")
        && !query.split('&').any(|pair| PAGES.iter().any(|page| pair.starts_with(page)))
}

/// Answers the client with the list.
///
/// # Errors
/// The upstream broke off.
pub async fn list(
    app: &Arc<App>,
    dialect: Dialect,
    served: Served<'_>,
    told: &Told,
) -> Result<Response<Body>, Unserved> {
    let Served { candidate, attempts, given } = served;
    let answer = match given {
        Given::Flowing(answer) if answer.response.status() == 200 => *answer,
        given => return deliver(app, Served { candidate, attempts, given }, told, None).await,
    };
    let Ready { mut head, flow, .. } = match ready(app, candidate, answer, None) {
        Ok(ready) => ready,
        Err(mut head) => {
            told.write(&mut head.headers);
            return Ok(Response::from_parts(*head, Body::Empty));
        }
    };
    told.write(&mut head.headers);
    match Tap::new(flow).read_ahead(LIST_BYTES_MAX).await.map_err(Unserved::Broken)? {
        Read::Longer(tap) => Ok(Response::from_parts(head, Body::Flowing(tap))),
        Read::Whole(body, flow) => {
            if let Some(cost) = flow.settle(End::Complete) {
                write_cost(cost, &mut head.headers);
            }
            let Some(list) = with_auto(dialect, &body) else {
                return Ok(Response::from_parts(head, Body::whole(body)));
            };
            if head.headers.contains_key(CONTENT_LENGTH) {
                head.headers.insert(CONTENT_LENGTH, HeaderValue::from(list.len()));
            }
            Ok(Response::from_parts(head, Body::whole(list)))
        }
    }
}
