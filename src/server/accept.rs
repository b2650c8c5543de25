//! Accepts connections and serves HTTP/1.1 on them until the process ends.
//!
//! It never looks into a request: that is the pipeline's.

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

use crate::app::App;
use crate::drain::Phase;

/// Pause after a failed accept, such as one for want of file descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(20);

/// Serves TCP connections with `answer` until the drain begins.
pub async fn tcp<F, A, B>(app: Arc<App>, listener: TcpListener, answer: F)
where
    F: Fn(Arc<App>, SocketAddr, Request<Incoming>) -> A + Clone + Send + Sync + 'static,
    A: Future<Output = Response<B>> + Send + 'static,
    B: Body<Data: Send, Error: std::error::Error + Send + Sync> + Send + 'static,
{
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = app.drain.reached(Phase::Draining) => return,
        };
        let Ok((stream, peer)) = accepted else {
            tokio::time::sleep(ACCEPT_PAUSE).await;
            continue;
        };
        let Some(place) = app.connections.take() else {
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
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = app.drain.reached(Phase::Cutting) => return,
        };
        let Ok((stream, _)) = accepted else {
            tokio::time::sleep(ACCEPT_PAUSE).await;
            continue;
        };
        let (app, answer) = (app.clone(), answer.clone());
        tokio::spawn(async move {
            connection(&app, stream, |request| answer(app.clone(), request)).await;
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
    let (header_timeout, header_bytes_max) = {
        let snapshot = app.snapshot.load();
        (snapshot.config.server.header_timeout, snapshot.config.server.header_bytes_max)
    };
    let service = service_fn(|request| {
        let response = answer(request);
        async move { Ok::<_, Infallible>(response.await) }
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(header_timeout)
        .max_buf_size(header_bytes_max)
        .serve_connection(TokioIo::new(stream), service);
    let mut connection = std::pin::pin!(connection);
    // A connection that breaks is the client's affair; what its requests cost is settled by their own seats.
    let _ended = tokio::select! {
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
}
