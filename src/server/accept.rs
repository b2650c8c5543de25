//! Accepts connections and serves HTTP/1.1 on them until the process ends.
//!
//! It never looks into a request: that is the pipeline's. Clients and operators have places of their own, so that
//! operators can look in while clients take every place.

use std::convert::Infallible;
use std::future::Future;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use http::{Request, Response};
use http_body::Body;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, UnixListener};

use super::guard::Guard;
use crate::app::App;
use crate::domain::refusal::Cause;
use crate::drain::Phase;
use crate::limits::gate::Gate;
use crate::pipeline;

/// Pause after a failed accept, such as one for want of file descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(20);

/// Connections of operators at once, over TCP, and as many again over the control socket.
pub const OPERATORS_MAX: usize = 256;

/// Serves clients' TCP connections with `answer` until the drain begins.
pub async fn tcp<F, A, B>(app: Arc<App>, listener: TcpListener, answer: F)
where
    F: Fn(Arc<App>, SocketAddr, Request<Incoming>) -> A + Clone + Send + Sync + 'static,
    A: Future<Output = Response<B>> + Send + 'static,
    B: Body<Data: Send, Error: std::error::Error + Send + Sync> + Send + 'static,
{
    let places = app.connections.clone();
    serve(app, listener, places, Phase::Draining, answer).await;
}

/// Serves operators' TCP connections with `answer` until open streams are cut: whoever ends a process wants to watch.
pub async fn operators<F, A, B>(app: Arc<App>, listener: TcpListener, answer: F)
where
    F: Fn(Arc<App>, SocketAddr, Request<Incoming>) -> A + Clone + Send + Sync + 'static,
    A: Future<Output = Response<B>> + Send + 'static,
    B: Body<Data: Send, Error: std::error::Error + Send + Sync> + Send + 'static,
{
    serve(app, listener, Gate::new(OPERATORS_MAX), Phase::Cutting, answer).await;
}

async fn serve<F, A, B>(app: Arc<App>, listener: TcpListener, places: Gate, until: Phase, answer: F)
where
    F: Fn(Arc<App>, SocketAddr, Request<Incoming>) -> A + Clone + Send + Sync + 'static,
    A: Future<Output = Response<B>> + Send + 'static,
    B: Body<Data: Send, Error: std::error::Error + Send + Sync> + Send + 'static,
{
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = app.drain.reached(until) => return,
        };
        let Ok((stream, peer)) = accepted else {
            tokio::time::sleep(ACCEPT_PAUSE).await;
            continue;
        };
        let Some(place) = places.take() else {
            // Closed at once: a client that cannot be served must not wait for a timeout.
            continue;
        };
        // Without it a lone stream waits 40 ms for the client's delayed acknowledgement.
        let _unset = stream.set_nodelay(true);
        let (app, answer) = (app.clone(), answer.clone());
        let gauge = app.metrics.connections.enter();
        tokio::spawn(async move {
            connection(&app, stream, |request| answer(app.clone(), peer, request)).await;
            drop((place, gauge));
        });
    }
}

/// Serves connections over a unix socket with `answer` until the drain begins.
pub async fn unix<F, A, B>(app: Arc<App>, listener: UnixListener, answer: F)
where
    F: Fn(Arc<App>, Request<Incoming>) -> A + Clone + Send + Sync + 'static,
    A: Future<Output = Response<B>> + Send + 'static,
    B: Body<Data: Send, Error: std::error::Error + Send + Sync> + Send + 'static,
{
    let places = Gate::new(OPERATORS_MAX);
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = app.drain.reached(Phase::Cutting) => return,
        };
        let Ok((stream, _)) = accepted else {
            tokio::time::sleep(ACCEPT_PAUSE).await;
            continue;
        };
        let Some(place) = places.take() else { continue };
        let (app, answer) = (app.clone(), answer.clone());
        tokio::spawn(async move {
            connection(&app, stream, |request| answer(app.clone(), request)).await;
            drop(place);
        });
    }
}

async fn connection<S, F, A, B>(app: &App, stream: S, answer: F)
where
    S: AsyncRead + AsyncWrite + Unpin,
    F: Fn(Request<Incoming>) -> A,
    A: Future<Output = Response<B>>,
    B: Body<Error: std::error::Error + Send + Sync> + 'static,
{
    let _work = app.drain.work();
    let (header_timeout, header_bytes_max, write_timeout) = {
        let snapshot = app.snapshot.load();
        let server = &snapshot.config.server;
        (server.header_timeout, server.header_bytes_max, server.write_timeout)
    };
    let service = service_fn(|request| {
        let response = answer(request);
        async move { Ok::<_, Infallible>(response.await) }
    });
    // A head has at most 100 headers: hyper's own limit, which it keeps without an allocation.
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(header_timeout)
        .max_buf_size(header_bytes_max)
        .serve_connection(TokioIo::new(Guard::new(stream, write_timeout)), service);
    let mut connection = std::pin::pin!(connection);
    let ended = tokio::select! {
        ended = connection.as_mut() => ended,
        () = app.drain.reached(Phase::Draining) => {
            connection.as_mut().graceful_shutdown();
            tokio::select! {
                ended = connection.as_mut() => ended,
                // Polled once more below, so that each open stream sees the phase and ends itself.
                () = app.drain.reached(Phase::Cutting) => connection.await,
            }
        }
    };
    // A connection that breaks is the client's affair; what its requests cost is settled by their own seats.
    if let Err(error) = ended {
        tell_unread(app, &error);
    }
}

/// Counts a request whose head could not be read; [`Guard`] has refused it.
fn tell_unread(app: &App, error: &hyper::Error) {
    if error.is_parse_too_large() {
        pipeline::unread(app, Cause::HeadersTooLarge);
    } else if error.is_parse() && !error.is_parse_version_h2() {
        pipeline::unread(app, Cause::Malformed);
    }
}
