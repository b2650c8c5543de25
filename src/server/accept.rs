//! Accepts connections, finds out which HTTP they speak, and serves it on them until the process ends.
//!
//! Plain TCP takes HTTP/1.1, and HTTP/2 from clients that begin with it; TLS takes what was negotiated; unix sockets take
//! HTTP/1.1. It never looks into a request: that is the pipeline's. Clients and operators have places of their own, so that
//! operators can look in while clients take every place.

use std::convert::Infallible;
use std::future::Future;
use std::io;
use std::mem::MaybeUninit;
use std::net::{Ipv4Addr, Shutdown, SocketAddr};
use std::os::fd::AsFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use http::{Request, Response};
use http_body::Body;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use socket2::SockRef;
use tokio::io::{AsyncRead, AsyncWrite, Interest};
use tokio::net::{TcpListener, TcpStream, UnixListener, UnixStream};
use tokio::sync::Notify;
use tokio_rustls::server::TlsStream;

use super::guard::{Guard, no_place};
use super::http2;
use crate::app::App;
use crate::app::door::{Door, HTTP2};
use crate::domain::refusal::Cause;
use crate::drain::{Phase, Work};
use crate::limits::gate::{Gate, Place};
use crate::pipeline;
use crate::telemetry::family;

/// Pause after a failed accept, such as one for want of file descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(20);

/// How long after the begin of the drain a connection's first request is waited for.
const FIRST_REQUEST_WAIT: Duration = Duration::from_secs(1);

/// Connections of operators at once, over TCP, and as many again over the control socket.
pub const OPERATORS_MAX: usize = 256;

/// How often the log says that connections find no place, microseconds.
const TOLD_US: u64 = 60_000_000;

/// How an HTTP/2 connection begins without TLS. No method of HTTP/1.1 begins like this (RFC 9113, section 3.4).
const HTTP2_OPENING: &[u8] = b"PRI";

/// Whoever connects over a unix socket is on this machine.
const HERE: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 0);

/// What comes of a request: always an answer.
pub type Answered<B> = Result<Response<B>, Infallible>;

/// How many connections there may be at once, and what becomes of one more.
struct Crowd<S> {
    places: Gate,
    refuse: fn(S),
}

/// What a connection takes up until it ends.
type Stay = (Place, family::Presence, Work);

/// Where streams come from.
trait Listener: Send {
    /// What is accepted.
    type Stream: Send;

    /// The next connection, and who it is from.
    fn next(&self) -> impl Future<Output = io::Result<(Self::Stream, SocketAddr)>> + Send;
}

/// Serves clients' plain TCP connections with `answer` until the drain begins.
pub async fn tcp<F, A, B>(app: Arc<App>, listener: TcpListener, answer: F)
where
    F: Fn(Arc<App>, SocketAddr, Request<Incoming>) -> A + Clone + Send + Sync + 'static,
    A: Future<Output = Answered<B>> + Send + 'static,
    B: Body<Data: Send, Error: std::error::Error + Send + Sync> + Send + Unpin + 'static,
{
    let crowd = Crowd::plain(app.connections.clone());
    each(app, listener, crowd, Phase::Draining, move |app, stream: TcpStream, peer, stay| {
        let answer = answer.clone();
        async move {
            let begins_http2 = begins_http2(&app, &stream).await;
            let answer = |request| answer(app.clone(), peer, request);
            match begins_http2 {
                Some(true) => Box::pin(http2::connection(&app, stream, answer)).await,
                Some(false) => connection(&app, stream, answer).await,
                None => {}
            }
            drop(stay);
        }
    })
    .await;
}

/// Serves clients' TCP connections over TLS with `answer` until the drain begins.
pub async fn tls<F, A, B>(app: Arc<App>, listener: TcpListener, answer: F)
where
    F: Fn(Arc<App>, SocketAddr, Request<Incoming>) -> A + Clone + Send + Sync + 'static,
    A: Future<Output = Answered<B>> + Send + 'static,
    B: Body<Data: Send, Error: std::error::Error + Send + Sync> + Send + Unpin + 'static,
{
    // Before the handshake nothing can be said.
    let crowd = Crowd { places: app.connections.clone(), refuse: drop };
    each(app, listener, crowd, Phase::Draining, move |app, stream: TcpStream, peer, stay| {
        let answer = answer.clone();
        async move {
            // That of the config of this moment: certificates are renewed while we serve.
            let Some(door) = app.snapshot.load().door.clone() else { return };
            let Some(stream) = shake_hands(&app, &door, stream).await else { return };
            let speaks_http2 = stream.get_ref().1.alpn_protocol() == Some(HTTP2);
            let answer = |request| answer(app.clone(), peer, request);
            match speaks_http2 {
                true => Box::pin(http2::connection(&app, stream, answer)).await,
                false => connection(&app, stream, answer).await,
            }
            drop(stay);
        }
    })
    .await;
}

/// Serves clients over a unix socket with `answer` until the drain begins.
pub async fn local<F, A, B>(app: Arc<App>, listener: UnixListener, answer: F)
where
    F: Fn(Arc<App>, SocketAddr, Request<Incoming>) -> A + Clone + Send + Sync + 'static,
    A: Future<Output = Answered<B>> + Send + 'static,
    B: Body<Data: Send, Error: std::error::Error + Send + Sync> + Send + Unpin + 'static,
{
    let crowd = Crowd::plain(app.connections.clone());
    each(app, listener, crowd, Phase::Draining, move |app, stream: UnixStream, peer, stay| {
        let answer = answer.clone();
        async move {
            connection(&app, stream, |request| answer(app.clone(), peer, request)).await;
            drop(stay);
        }
    })
    .await;
}

/// Serves operators' TCP connections with `answer` until open streams are cut: whoever ends a process wants to watch.
pub async fn operators<F, A, B>(app: Arc<App>, listener: TcpListener, answer: F)
where
    F: Fn(Arc<App>, SocketAddr, Request<Incoming>) -> A + Clone + Send + Sync + 'static,
    A: Future<Output = Answered<B>> + Send + 'static,
    B: Body<Data: Send, Error: std::error::Error + Send + Sync> + Send + 'static,
{
    each(
        app,
        listener,
        Crowd::plain(Gate::new(OPERATORS_MAX)),
        Phase::Cutting,
        move |app, stream: TcpStream, peer, stay| {
            let answer = answer.clone();
            async move {
                connection(&app, stream, |request| answer(app.clone(), peer, request)).await;
                drop(stay);
            }
        },
    )
    .await;
}

/// Serves commands over the control socket with `answer` until streams are cut.
pub async fn unix<F, A, B>(app: Arc<App>, listener: UnixListener, answer: F)
where
    F: Fn(Arc<App>, Request<Incoming>) -> A + Clone + Send + Sync + 'static,
    A: Future<Output = Answered<B>> + Send + 'static,
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
        let work = app.drain.work();
        tokio::spawn(async move {
            connection(&app, stream, |request| answer(app.clone(), request)).await;
            drop((place, work));
        });
    }
}

impl<S: AsFd> Crowd<S> {
    /// As many at once as there are `places`, over streams on which anything can be said at once.
    const fn plain(places: Gate) -> Self {
        Self { places, refuse }
    }
}

/// Tells a client that there is no place, as far as that goes without a wait, and closes its connection.
fn refuse<S: AsFd>(stream: S) {
    let socket = SockRef::from(&stream);
    // A client that cannot take it sees the connection close, as it does over TLS.
    let _told = socket.send(&no_place()).and_then(|_| socket.shutdown(Shutdown::Write));
}

/// Accepts and serves until the process is at `until`, as many at once as there are places for.
async fn each<L, H, S>(app: Arc<App>, listener: L, crowd: Crowd<L::Stream>, until: Phase, serve: H)
where
    L: Listener,
    H: Fn(Arc<App>, L::Stream, SocketAddr, Stay) -> S,
    S: Future<Output = ()> + Send + 'static,
{
    let mut told_us = None;
    loop {
        let accepted = tokio::select! {
            accepted = listener.next() => accepted,
            () = app.drain.reached(until) => return,
        };
        let Ok((stream, peer)) = accepted else {
            tokio::time::sleep(ACCEPT_PAUSE).await;
            continue;
        };
        let Some(place) = crowd.places.take() else {
            // At once: a client that cannot be served must not wait for a timeout.
            (crowd.refuse)(stream);
            note_refused(&app, crowd.places.used(), &mut told_us);
            continue;
        };
        let gauge = app.metrics.connections.enter();
        // From now on, since the end must not come before its first request either.
        let work = app.drain.work();
        // It goes along, since a task around the task would hold both of them for as long as the connection is open.
        tokio::spawn(serve(app.clone(), stream, peer, (place, gauge, work)));
    }
}

/// Counts a connection that found no place, and says so in the log, once in a while.
fn note_refused(app: &App, open: usize, told_us: &mut Option<u64>) {
    app.metrics.connections_refused.add(1);
    let now_us = app.clock.ticks_us();
    if told_us.is_none_or(|told_us| now_us.saturating_sub(told_us) >= TOLD_US) {
        *told_us = Some(now_us);
        tracing::warn!(open, "as many connections are open as may be; more are closed at once");
    }
}

impl Listener for TcpListener {
    type Stream = TcpStream;

    async fn next(&self) -> io::Result<(TcpStream, SocketAddr)> {
        let (stream, peer) = self.accept().await?;
        // Without it a lone stream waits 40 ms for the client's delayed acknowledgement.
        let _unset = stream.set_nodelay(true);
        Ok((stream, peer))
    }
}

impl Listener for UnixListener {
    type Stream = UnixStream;

    async fn next(&self) -> io::Result<(UnixStream, SocketAddr)> {
        let (stream, _) = self.accept().await?;
        Ok((stream, HERE))
    }
}

/// Looks at the first bytes, which stay where they are; nothing comes of a connection that stays silent for too long.
async fn begins_http2(app: &App, stream: &TcpStream) -> Option<bool> {
    let header_timeout = app.snapshot.load().config.server.header_timeout;
    tokio::select! {
        biased;
        looked = tokio::time::timeout(header_timeout, opens_http2(stream)) => looked.ok()?.ok(),
        () = farewell(app) => None,
    }
}

/// Whether the first bytes are HTTP/2's, which may arrive one by one.
async fn opens_http2(stream: &TcpStream) -> io::Result<bool> {
    let mut opening = [0; HTTP2_OPENING.len()];
    loop {
        let seen = stream.peek(&mut opening).await?;
        let may_become = (1..opening.len()).contains(&seen) && HTTP2_OPENING.starts_with(&opening[..seen]);
        if !may_become || !grows(stream, seen).await? {
            return Ok(opening[..seen] == *HTTP2_OPENING);
        }
    }
}

/// Waits until more than `seen` of the first bytes are there; false if no more will come.
async fn grows(stream: &TcpStream, seen: usize) -> io::Result<bool> {
    loop {
        let is_last = stream.ready(Interest::READABLE).await?.is_read_closed();
        let look = || match SockRef::from(stream).peek(&mut [MaybeUninit::uninit(); HTTP2_OPENING.len()])? {
            there if there > seen => Ok(true),
            _ if is_last => Ok(false),
            // As if nothing were there: then it is asked again once more has come.
            _ => Err(io::ErrorKind::WouldBlock.into()),
        };
        match stream.try_io(Interest::READABLE, look) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            looked => return looked,
        }
    }
}

async fn shake_hands(app: &App, door: &Door, stream: TcpStream) -> Option<TlsStream<TcpStream>> {
    let handshake = tokio::time::timeout(door.handshake_timeout, door.acceptor.accept(stream));
    tokio::select! {
        biased;
        // A client that we cannot understand or do not trust has been told so by the handshake itself.
        shaken = handshake => shaken.ok()?.ok(),
        () = farewell(app) => None,
    }
}

/// The end of the wait for the first request of a connection that was accepted before the drain began: its client knows
/// nothing of the end, and has perhaps sent something already.
async fn farewell(app: &App) {
    app.drain.reached(Phase::Draining).await;
    tokio::select! {
        () = tokio::time::sleep(FIRST_REQUEST_WAIT) => {}
        () = app.drain.reached(Phase::Cutting) => {}
    }
}

async fn connection<S, F, A, B>(app: &App, stream: S, answer: F)
where
    S: AsyncRead + AsyncWrite + Unpin,
    F: Fn(Request<Incoming>) -> A,
    A: Future<Output = Answered<B>>,
    B: Body<Error: std::error::Error + Send + Sync> + 'static,
{
    let (header_timeout, header_bytes_max, write_timeout) = {
        let snapshot = app.snapshot.load();
        let server = &snapshot.config.server;
        (server.header_timeout, server.header_bytes_max, server.write_timeout)
    };
    let begun = (AtomicBool::new(false), Notify::new());
    let service = service_fn(|request| {
        begun.0.store(true, Ordering::Relaxed);
        begun.1.notify_one();
        answer(request)
    });
    // A head has at most 100 headers: hyper's own limit, which it keeps without an allocation.
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(header_timeout)
        .max_buf_size(header_bytes_max)
        .serve_connection(TokioIo::new(Guard::new(stream, write_timeout)), service);
    let mut connection = std::pin::pin!(connection);
    let goodbye = async {
        app.drain.reached(Phase::Draining).await;
        if !begun.0.load(Ordering::Relaxed) {
            tokio::select! {
                () = begun.1.notified() => {}
                () = farewell(app) => {}
            }
        }
    };
    let ended = tokio::select! {
        biased;
        // First, so that what has arrived is read before it is decided whether the connection is idle.
        ended = connection.as_mut() => ended,
        () = goodbye => {
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
