//! A provider that costs little: about 1 KB with usage, or 64 events of which each is a write of its own.
//!
//! `?chunk_ms=N` in the address waits between events, `?latency_ms=N` before a whole answer, and `?fault=STATUS` fails.

use std::convert::Infallible;
use std::error::Error;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use http::header::{CONTENT_TYPE, HeaderValue};
use http::{Request, Response, StatusCode};
use http_body_util::BodyExt;
use hyper::body::{Body, Bytes, Frame, Incoming};
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::net::TcpListener;
use tokio::time::Sleep;

/// Deltas in a stream.
const EVENTS: usize = 64;

const WHOLE: &str = r#"{"id":"chatcmpl-0","object":"chat.completion","created":1790000000,"model":"gpt-4o-mini","choices":[{"index":0,"message":{"role":"assistant","content":" the cost of a request depends on its prompt and the model that answers it, the cost of a request depends on its prompt and the model that answers it, the cost of a request depends on its prompt","refusal":null,"annotations":[]},"logprobs":null,"finish_reason":"stop"}],"usage":{"prompt_tokens":128,"completion_tokens":64,"total_tokens":192,"prompt_tokens_details":{"cached_tokens":0,"audio_tokens":0},"completion_tokens_details":{"reasoning_tokens":0,"audio_tokens":0,"accepted_prediction_tokens":0,"rejected_prediction_tokens":0}},"service_tier":"default","system_fingerprint":"fp_mock"}"#;
const DELTA: &str = "data: {\"id\":\"chatcmpl-0\",\"object\":\"chat.completion.chunk\",\"created\":1790000000,\"model\":\"gpt-4o-mini\",\"service_tier\":\"default\",\"system_fingerprint\":\"fp_mock\",\"choices\":[{\"index\":0,\"delta\":{\"content\":\" the\"},\"logprobs\":null,\"finish_reason\":null}],\"usage\":null}\n\n";
const LAST: &str = "data: {\"id\":\"chatcmpl-0\",\"object\":\"chat.completion.chunk\",\"created\":1790000000,\"model\":\"gpt-4o-mini\",\"choices\":[],\"usage\":{\"prompt_tokens\":128,\"completion_tokens\":64,\"total_tokens\":192}}\n\ndata: [DONE]\n\n";

/// An answer: one piece, or events with a pause before each.
struct Answer {
    left: usize,
    pause: Option<Pin<Box<Sleep>>>,
    chunk: Duration,
    streams: bool,
    has_yielded: bool,
}

/// Serves on one thread until it is killed.
pub fn run(listen: &str) -> Result<(), Box<dyn Error>> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(serve(listen))
}

async fn serve(listen: &str) -> Result<(), Box<dyn Error>> {
    let listener = TcpListener::bind(listen).await?;
    loop {
        let (stream, _) = listener.accept().await?;
        stream.set_nodelay(true)?;
        let connection = hyper::server::conn::http1::Builder::new();
        tokio::spawn(async move { connection.serve_connection(TokioIo::new(stream), service_fn(answer)).await });
    }
}

async fn answer(request: Request<Incoming>) -> Result<Response<Answer>, hyper::Error> {
    let query = request.uri().query().unwrap_or_default().to_owned();
    let setting = |name: &str| {
        let values = query.split('&').filter_map(|pair| pair.split_once('='));
        values.filter(|(known, _)| *known == name).find_map(|(_, value)| value.parse::<u64>().ok())
    };
    let body = request.into_body().collect().await?.to_bytes();
    let streams = memchr::memmem::find(&body, b"\"stream\":true").is_some();
    let left = if streams { EVENTS + 1 } else { 1 };
    if let Some(latency_ms) = setting("latency_ms").filter(|_| !streams) {
        tokio::time::sleep(Duration::from_millis(latency_ms)).await;
    }
    let mut response = Response::new(Answer {
        left,
        pause: None,
        chunk: Duration::from_millis(setting("chunk_ms").unwrap_or(0)),
        streams,
        has_yielded: false,
    });
    if let Some(status) = setting("fault").and_then(|status| StatusCode::from_u16(status.try_into().ok()?).ok()) {
        *response.status_mut() = status;
    }
    let kind = if streams { "text/event-stream; charset=utf-8" } else { "application/json" };
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    Ok(response)
}

impl Answer {
    /// Waits before an event. Where there is nothing to wait for it is polled once more all the same, so that hyper
    /// flushes each event by itself, as providers do.
    fn poll_pause(&mut self, context: &mut Context<'_>) -> Poll<()> {
        if self.chunk.is_zero() {
            self.has_yielded = !self.has_yielded;
            if self.has_yielded {
                context.waker().wake_by_ref();
                return Poll::Pending;
            }
            return Poll::Ready(());
        }
        let chunk = self.chunk;
        let pause = self.pause.get_or_insert_with(|| Box::pin(tokio::time::sleep(chunk)));
        ready!(pause.as_mut().poll(context));
        self.pause = None;
        Poll::Ready(())
    }
}

impl Body for Answer {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let answer = self.get_mut();
        if answer.left == 0 {
            return Poll::Ready(None);
        }
        if answer.streams {
            ready!(answer.poll_pause(context));
        }
        answer.left -= 1;
        let text = match (answer.streams, answer.left) {
            (false, _) => WHOLE,
            (true, 0) => LAST,
            (true, _) => DELTA,
        };
        Poll::Ready(Some(Ok(Frame::data(Bytes::from_static(text.as_bytes())))))
    }

    fn size_hint(&self) -> hyper::body::SizeHint {
        if self.streams {
            hyper::body::SizeHint::default()
        } else {
            hyper::body::SizeHint::with_exact(WHOLE.len() as u64)
        }
    }
}
