//! How answers look: none is kept by a cache, and none is taken for something else by a browser.

use std::convert::Infallible;
use std::fmt;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http::header::{ALLOW, CACHE_CONTROL, CONTENT_TYPE, HeaderName, WWW_AUTHENTICATE, X_CONTENT_TYPE_OPTIONS};
use http::{HeaderValue, Response, StatusCode};
use http_body::{Body, Frame, SizeHint};
use http_body_util::Full;
use tokio::sync::mpsc;

use super::Answer;
use crate::domain::json_text::Object;

/// The media type of JSON.
pub const JSON: &str = "application/json";

/// Another site may not show an answer as its own picture, script or frame.
const RESOURCE_POLICY: HeaderName = HeaderName::from_static("cross-origin-resource-policy");

/// Parts of an answer that wait for a reader: with their size the memory that one takes.
const PARTS_MAX: usize = 4;

/// The body of an answer.
#[derive(Debug)]
pub enum Page {
    /// All of it.
    Whole(Full<Bytes>),
    /// Parts as they are made.
    Flowing(Flow),
}

/// Parts of a body, as somebody makes them.
#[derive(Debug)]
pub struct Flow(mpsc::Receiver<io::Result<Bytes>>);

/// The end of a [`Flow`] at which parts go in; on a thread that may wait.
#[derive(Debug)]
pub struct FlowTap(mpsc::Sender<io::Result<Bytes>>);

impl Flow {
    /// Both ends of one.
    pub fn new() -> (FlowTap, Self) {
        let (tap, flow) = mpsc::channel(PARTS_MAX);
        (FlowTap(tap), Self(flow))
    }
}

impl FlowTap {
    /// Waits until there is room for `part`; false if nobody reads any more.
    pub fn give(&self, part: String) -> bool {
        self.0.blocking_send(Ok(part.into())).is_ok()
    }

    /// Cuts the answer off, so that nobody takes it for whole.
    pub fn fail(&self, why: &dyn fmt::Display) {
        // Whoever has gone need not be told.
        let _ = self.0.blocking_send(Err(io::Error::other(why.to_string())));
    }
}

impl Body for Page {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        match self.get_mut() {
            Self::Whole(body) => {
                let frame = ready!(Pin::new(body).poll_frame(context));
                Poll::Ready(frame.map(|frame| frame.map_err(|never: Infallible| match never {})))
            }
            Self::Flowing(flow) => {
                let part = ready!(flow.0.poll_recv(context));
                Poll::Ready(part.map(|part| part.map(Frame::data)))
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Whole(body) => body.is_end_stream(),
            Self::Flowing(_) => false,
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Whole(body) => body.size_hint(),
            Self::Flowing(_) => SizeHint::default(),
        }
    }
}

/// Parts of a media type, with status 200.
pub fn flowing(media_type: &'static str, flow: Flow) -> Answer {
    let mut answer = text(media_type, Bytes::new());
    *answer.body_mut() = Page::Flowing(flow);
    answer
}

/// `text` of a media type, with status 200.
pub fn text(media_type: &'static str, text: impl Into<Bytes>) -> Answer {
    let mut answer = Response::new(Page::Whole(Full::new(text.into())));
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
