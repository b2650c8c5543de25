//! The listener: HTTP/1.1 with TCP_NODELAY, and connections that can be cut or reset from inside an answer.

use super::Mock;
use super::exchange::{self, Counter};
use super::script::{Plug, Pull};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

/// Headers of one request at most; hyper's own limit is 100.
const HEADERS_MAX: usize = 1_000;

/// A client that has not sent its head by then is let go.
const HEAD_WAIT: Duration = Duration::from_secs(600);

/// The wait after a connection could not be accepted, which is lack of file descriptors.
const ACCEPT_WAIT: Duration = Duration::from_millis(50);

impl Mock {
    /// Answers until `shutdown`, then drops every connection.
    pub async fn serve(self: &Arc<Self>, listener: TcpListener, shutdown: impl Future<Output = ()> + Send) {
        let seats = Arc::new(Semaphore::new(self.options.connections_max));
        let mut connections = JoinSet::new();
        let mut shutdown = std::pin::pin!(shutdown);
        loop {
            let accepted = tokio::select! {
                () = &mut shutdown => return,
                Some(_) = connections.join_next() => continue,
                accepted = accept(&listener, &seats) => accepted,
            };
            let Some((stream, seat)) = accepted else {
                tokio::time::sleep(ACCEPT_WAIT).await;
                continue;
            };
            let mock = Arc::clone(self);
            connections.spawn(async move {
                converse(&mock, stream).await;
                drop(seat);
            });
        }
    }
}

async fn accept(
    listener: &TcpListener,
    seats: &Arc<Semaphore>,
) -> Option<(TcpStream, tokio::sync::OwnedSemaphorePermit)> {
    let seat = Arc::clone(seats).acquire_owned().await.ok()?;
    let (stream, _) = listener.accept().await.ok()?;
    Some((stream, seat))
}

/// Serves one connection until either side ends it.
async fn converse(mock: &Arc<Mock>, stream: TcpStream) {
    let _open = Counter::up(&mock.stats.connections);
    // Without it a lone stream waits 40 ms for the other side's delayed acknowledgement; a socket that cannot do it works.
    let _set = stream.set_nodelay(true);
    let plug = Arc::new(Plug::default());
    let service = service_fn(|request| {
        let (mock, plug) = (Arc::clone(mock), Arc::clone(&plug));
        async move { Ok::<_, Infallible>(exchange::answer(&mock, &plug, request).await) }
    });
    let mut server = http1::Builder::new();
    server.max_headers(HEADERS_MAX).timer(TokioTimer::new()).header_read_timeout(HEAD_WAIT);
    let mut connection = server.serve_connection(TokioIo::new(stream), service);
    let pulled = tokio::select! {
        // A client that went away or sent nonsense is no concern of the mock.
        _ended = &mut connection => return,
        how = plug.pulled() => how,
    };
    let stream = connection.into_parts().io.into_inner();
    match pulled {
        Pull::Reset => {
            let _set = stream.set_zero_linger();
        }
        Pull::Close => {}
    }
}
