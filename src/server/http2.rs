//! HTTP/2 on a connection: many requests at once, each a task of its own.
//!
//! A request reaches the pipeline in the form that HTTP/1.1 has: with `host`, and with one `cookie`.
//!
//! Invariant: each stream sees the phases of the end, as a connection of HTTP/1.1 does.

use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use http::Request;
use http::header::{COOKIE, HOST, HeaderValue};
use http_body::Body;
use hyper::body::Incoming;
use hyper::rt::Executor;
use hyper::server::conn::http2;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::Notify;

use super::accept::Answered;
use super::guard::Guard;
use super::stall::{self, Watched};
use crate::app::App;
use crate::drain::{Drain, Phase};

/// Bytes of one request body that may be under way.
const STREAM_WINDOW_BYTES: u32 = 1 << 20;

/// Bytes of all request bodies of one connection that may be under way.
const CONNECTION_WINDOW_BYTES: u32 = 4 << 20;

/// Bytes of one answer that wait for a slow client.
const SEND_BUFFER_BYTES: usize = 256 * 1024;

/// How often a client is asked whether it is still there, and how long it may take to say so.
const PING_INTERVAL: Duration = Duration::from_secs(30);
const PING_WAIT: Duration = Duration::from_secs(20);

/// How long a client may take to go once it has been told to.
const GOODBYE_WAIT: Duration = Duration::from_secs(5);

/// Starts the tasks of a connection's streams.
#[derive(Clone)]
struct Streams {
    drain: Drain,
    busy: Arc<Busy>,
    stall_max: Duration,
}

/// Whether a connection has open streams.
#[derive(Debug, Default)]
struct Busy {
    open: AtomicUsize,
    begun: Notify,
    idle: Notify,
}

/// An open stream.
#[derive(Debug)]
struct Stream(Arc<Busy>);

/// Serves one connection with `answer` until it ends or has been without a request for too long.
pub async fn connection<S, F, A, B>(app: &App, stream: S, answer: F)
where
    S: AsyncRead + AsyncWrite + Unpin,
    F: Fn(Request<Incoming>) -> A,
    A: Future<Output = Answered<B>> + Send + 'static,
    B: Body<Data: Send, Error: std::error::Error + Send + Sync> + Send + Unpin + 'static,
{
    let (idle_max, stall_max) = {
        let snapshot = app.snapshot.load();
        (snapshot.config.server.header_timeout, snapshot.config.server.write_timeout)
    };
    let busy = Arc::new(Busy::default());
    let service = service_fn(|mut request| {
        as_http1(&mut request);
        // In a box, since whoever waits for it would hold it twice.
        let response = Box::pin(answer(request));
        async move { response.await.map(|response| response.map(Watched::new)) }
    });
    let streams = Streams { drain: app.drain.clone(), busy: busy.clone(), stall_max };
    let connection = builder(app, streams).serve_connection(TokioIo::new(Guard::new(stream, stall_max)), service);
    let mut connection = std::pin::pin!(connection);
    tokio::select! {
        _ended = connection.as_mut() => return,
        () = app.drain.reached(Phase::Draining) => {}
        () = busy.idle_for(idle_max) => {}
    }
    connection.as_mut().graceful_shutdown();
    // What has begun goes on to its end; the streams see the phases themselves.
    tokio::select! {
        _ended = connection => {}
        () = busy.idle_for(GOODBYE_WAIT) => {}
    }
}

fn builder(app: &App, streams: Streams) -> http2::Builder<Streams> {
    let snapshot = app.snapshot.load();
    let server = &snapshot.config.server;
    let mut builder = http2::Builder::new(streams);
    builder
        .timer(TokioTimer::new())
        .max_concurrent_streams(server.http2_streams_max)
        .max_header_list_size(u32::try_from(server.header_bytes_max).unwrap_or(u32::MAX))
        .initial_stream_window_size(STREAM_WINDOW_BYTES)
        .initial_connection_window_size(CONNECTION_WINDOW_BYTES)
        .max_send_buf_size(SEND_BUFFER_BYTES)
        .keep_alive_interval(PING_INTERVAL)
        .keep_alive_timeout(PING_WAIT);
    builder
}

/// Gives a request the form that it has in HTTP/1.1, for whoever reads or forwards it (RFC 9113, sections 8.2.3 and
/// 8.3.1).
fn as_http1<B>(request: &mut Request<B>) {
    if !request.headers().contains_key(HOST)
        && let Some(authority) = request.uri().authority()
        && let Ok(host) = HeaderValue::from_str(authority.as_str())
    {
        request.headers_mut().insert(HOST, host);
    }
    let crumbs: Vec<&[u8]> = request.headers().get_all(COOKIE).iter().map(HeaderValue::as_bytes).collect();
    if crumbs.len() > 1
        && let Ok(cookie) = HeaderValue::from_bytes(&crumbs.join(&b"; "[..]))
    {
        request.headers_mut().insert(COOKIE, cookie);
    }
}

impl<F: Future<Output = ()> + Send + 'static> Executor<F> for Streams {
    fn execute(&self, stream: F) {
        let (drain, stall_max, counted) = (self.drain.clone(), self.stall_max, Busy::begin(&self.busy));
        let stream = async move {
            let _counted = counted;
            let mut stream = std::pin::pin!(stream);
            tokio::select! {
                () = stream.as_mut() => return,
                // Dropped, it is reset.
                () = stall::longer_than(stall_max) => return,
                () = drain.reached(Phase::Cutting) => {}
            }
            // Polled once more, so that an answer that waits for its upstream sees the phase and ends itself.
            stream.await;
        };
        tokio::spawn(stall::watch(stream));
    }
}

impl Busy {
    fn begin(busy: &Arc<Self>) -> Stream {
        busy.open.fetch_add(1, Ordering::AcqRel);
        busy.begun.notify_one();
        Stream(busy.clone())
    }

    /// Waits until there has been no open stream for as long as `longest`.
    async fn idle_for(&self, longest: Duration) {
        loop {
            if self.open.load(Ordering::Acquire) > 0 {
                self.idle.notified().await;
                continue;
            }
            tokio::select! {
                () = self.begun.notified() => {}
                () = tokio::time::sleep(longest) => return,
            }
        }
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        if self.0.open.fetch_sub(1, Ordering::AcqRel) == 1 {
            self.0.idle.notify_one();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_gets_host_and_one_cookie() {
        let mut request = Request::builder()
            .uri("http://tollgate:4000/v1/models")
            .header("cookie", "a=1")
            .header("cookie", "b=2")
            .body(())
            .unwrap();
        as_http1(&mut request);
        assert_eq!(request.headers()[HOST], "tollgate:4000");
        assert_eq!(request.headers().get_all(COOKIE).iter().collect::<Vec<_>>(), ["a=1; b=2"]);
        let mut request = Request::builder().uri("http://other/").header("host", "kept").body(()).unwrap();
        as_http1(&mut request);
        assert_eq!(request.headers().get_all(HOST).iter().collect::<Vec<_>>(), ["kept"]);
    }

    #[tokio::test(start_paused = true)]
    async fn idleness_begins_when_the_last_stream_ends() {
        let busy = Arc::new(Busy::default());
        let (first, second) = (Busy::begin(&busy), Busy::begin(&busy));
        let longest = Duration::from_secs(10);
        let waiting = tokio::spawn({
            let busy = busy.clone();
            async move { busy.idle_for(longest).await }
        });
        let begin = tokio::time::Instant::now();
        tokio::time::advance(longest * 3).await;
        drop(first);
        tokio::time::advance(longest * 3).await;
        drop(second);
        waiting.await.unwrap();
        assert!(begin.elapsed() >= longest * 7);
    }
}
