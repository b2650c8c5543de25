//! [`Wire`]: a connection that is looked at once more right before a request is written to it, since its other end may have closed
//! it meanwhile.
//!
//! The runtime tells of a close when it gets to it, which takes milliseconds where much is going on; the look is a system
//! call at that very moment. A request that meets a closed connection is turned back before its first byte, and may be sent
//! on another one. What is closed in the microseconds behind the look meets a request that has left.
//!
//! Invariant: of a request that was turned back, no byte was handed to the system.

use std::io::{self, IoSlice};
use std::mem::MaybeUninit;
use std::pin::Pin;
use std::task::{Context, Poll};

use hyper::rt::{Read, ReadBufCursor, Write};
use hyper_rustls::MaybeHttpsStream;
use hyper_util::client::legacy::connect::{Connected, Connection};
use hyper_util::rt::TokioIo;
use socket2::SockRef;
use tokio::net::TcpStream;

/// With what a request begins that is sent over HTTP/1.1. What goes over HTTP/2 begins with none of these.
const BEGINNINGS: [&[u8]; 7] = [b"POST ", b"GET ", b"DELETE ", b"PUT ", b"PATCH ", b"HEAD ", b"OPTIONS "];

/// What lies under a connection.
pub trait Socket {
    /// Its socket.
    fn tcp(&self) -> &TcpStream;

    /// Whether what is written goes into the socket as it is, at once.
    fn is_plain(&self) -> bool;
}

/// A connection that is looked at before it is used again.
#[derive(Debug)]
pub struct Wire<S> {
    stream: S,
    stage: Stage,
}

/// The other end has closed the connection before anything of a request was written to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TurnedBack;

/// How far the request is that was written last.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    /// There was none.
    New,
    /// Some of it is written.
    Begun,
    /// All that there was to write.
    Written,
    /// Something has come since, so that what is written next may be another request.
    Answered,
}

impl<S> Wire<S> {
    /// A connection that nothing was written to.
    pub const fn new(stream: S) -> Self {
        Self { stream, stage: Stage::New }
    }
}

impl<S: Socket> Wire<S> {
    /// Whether a request begins with these bytes.
    fn begins(&self, bytes: &[u8]) -> bool {
        matches!(self.stage, Stage::New | Stage::Answered) && BEGINNINGS.iter().any(|word| bytes.starts_with(word))
    }

    /// Looks whether the connection is open, and nothing has come that nobody has asked for.
    fn look(&self) -> io::Result<()> {
        match SockRef::from(self.stream.tcp()).peek(&mut [MaybeUninit::uninit()]) {
            Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted) => Ok(()),
            // TLS may still have something to say of the handshake.
            Ok(1..) if self.stage == Stage::New => Ok(()),
            Ok(_) | Err(_) => Err(io::Error::other(TurnedBack)),
        }
    }

    fn note(&mut self, written: Poll<io::Result<usize>>, begins: bool) -> Poll<io::Result<usize>> {
        match written {
            // The system has taken nothing.
            Poll::Ready(Err(_)) if begins && self.stream.is_plain() => Poll::Ready(Err(io::Error::other(TurnedBack))),
            Poll::Ready(Ok(1..)) => {
                self.stage = Stage::Begun;
                written
            }
            Poll::Ready(_) | Poll::Pending => written,
        }
    }
}

impl<S: Socket + Write + Unpin> Write for Wire<S> {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let begins = self.begins(bytes);
        if begins {
            self.look()?;
        }
        let written = Pin::new(&mut self.stream).poll_write(context, bytes);
        self.note(written, begins)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let flushed = Pin::new(&mut self.stream).poll_flush(context);
        if self.stage == Stage::Begun && matches!(flushed, Poll::Ready(Ok(()))) {
            self.stage = Stage::Written;
        }
        flushed
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let begins = slices.first().is_some_and(|first| self.begins(first));
        if begins {
            self.look()?;
        }
        let written = Pin::new(&mut self.stream).poll_write_vectored(context, slices);
        self.note(written, begins)
    }
}

impl<S: Read + Unpin> Read for Wire<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        let read = Pin::new(&mut self.stream).poll_read(context, buffer);
        if self.stage == Stage::Written && matches!(read, Poll::Ready(Ok(()))) {
            self.stage = Stage::Answered;
        }
        read
    }
}

impl<S: Connection> Connection for Wire<S> {
    /// Without the addresses that come along: each answer would carry a copy of them that nobody reads.
    fn connected(&self) -> Connected {
        let told = self.stream.connected();
        let ours = Connected::new().proxy(told.is_proxied());
        if told.is_negotiated_h2() { ours.negotiated_h2() } else { ours }
    }
}

impl Socket for TokioIo<TcpStream> {
    fn tcp(&self) -> &TcpStream {
        self.inner()
    }

    fn is_plain(&self) -> bool {
        true
    }
}

impl<S: Socket> Socket for MaybeHttpsStream<S> {
    fn tcp(&self) -> &TcpStream {
        match self {
            Self::Http(stream) => stream.tcp(),
            Self::Https(stream) => stream.inner().get_ref().0.inner().tcp(),
        }
    }

    fn is_plain(&self) -> bool {
        match self {
            Self::Http(stream) => stream.is_plain(),
            Self::Https(_) => false,
        }
    }
}

impl std::fmt::Display for TurnedBack {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.write_str("the connection was closed before anything was written to it")
    }
}

impl std::error::Error for TurnedBack {}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpListener;

    use super::*;

    const REQUEST: &[u8] = b"POST / HTTP/1.1\r\n\r\n";

    async fn pair() -> (Wire<TokioIo<TcpStream>>, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let near = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        (Wire::new(TokioIo::new(near)), listener.accept().await.unwrap().0)
    }

    async fn write(wire: &mut Wire<TokioIo<TcpStream>>, bytes: &[u8]) -> io::Result<usize> {
        let written =
            std::future::poll_fn(|context| Pin::new(&mut *wire).poll_write_vectored(context, &[IoSlice::new(bytes)]))
                .await?;
        std::future::poll_fn(|context| Pin::new(&mut *wire).poll_flush(context)).await?;
        Ok(written)
    }

    async fn read(wire: &mut Wire<TokioIo<TcpStream>>) {
        let mut bytes = [MaybeUninit::uninit(); 64];
        let mut buffer = hyper::rt::ReadBuf::uninit(&mut bytes);
        std::future::poll_fn(|context| Pin::new(&mut *wire).poll_read(context, buffer.unfilled())).await.unwrap();
    }

    /// Waits until what the far end has said or done is there.
    async fn until_heard(wire: &Wire<TokioIo<TcpStream>>) {
        while SockRef::from(wire.stream.tcp()).peek(&mut [MaybeUninit::uninit()]).is_err() {
            tokio::task::yield_now().await;
        }
    }

    fn is_turned_back(error: &io::Error) -> bool {
        error.get_ref().is_some_and(|inner| inner.is::<TurnedBack>())
    }

    /// One request and its answer.
    async fn once(wire: &mut Wire<TokioIo<TcpStream>>, far: &mut TcpStream) {
        assert_eq!(write(wire, REQUEST).await.unwrap(), REQUEST.len());
        far.read_exact(&mut [0; REQUEST.len()]).await.unwrap();
        far.write_all(b"answer").await.unwrap();
        read(wire).await;
    }

    #[tokio::test]
    async fn a_request_meets_no_connection_that_was_closed_or_spoke_unasked() {
        let (mut wire, far) = pair().await;
        drop(far);
        until_heard(&wire).await;
        assert!(is_turned_back(&write(&mut wire, REQUEST).await.unwrap_err()), "new and closed");

        let (mut wire, mut far) = pair().await;
        once(&mut wire, &mut far).await;
        once(&mut wire, &mut far).await;
        far.write_all(b"HTTP/1.1 408 Too Late\r\n\r\n").await.unwrap();
        until_heard(&wire).await;
        assert!(is_turned_back(&write(&mut wire, REQUEST).await.unwrap_err()), "it said good-bye");

        let (mut wire, mut far) = pair().await;
        once(&mut wire, &mut far).await;
        drop(far);
        until_heard(&wire).await;
        assert!(is_turned_back(&write(&mut wire, REQUEST).await.unwrap_err()), "closed");
    }

    #[tokio::test]
    async fn a_connection_tells_what_it_speaks_and_no_more() {
        let connector = hyper_util::client::legacy::connect::HttpConnector::new();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let target = format!("http://{}", listener.local_addr().unwrap()).parse().unwrap();
        let stream = tower_service::Service::call(&mut connector.clone(), target).await.unwrap();
        let mut told = http::Extensions::new();
        stream.connected().get_extras(&mut told);
        assert!(!told.is_empty(), "the connector tells addresses");
        let mut kept = http::Extensions::new();
        let wire = Wire::new(stream).connected();
        wire.get_extras(&mut kept);
        assert!(kept.is_empty() && !wire.is_negotiated_h2() && !wire.is_proxied());
    }

    #[tokio::test]
    async fn what_has_begun_is_never_turned_back() {
        let (mut wire, mut far) = pair().await;
        once(&mut wire, &mut far).await;
        write(&mut wire, REQUEST).await.unwrap();
        // The rest of a body that looks like a request, on a connection that was closed before anything was answered.
        drop(far);
        let rest = write(&mut wire, REQUEST).await;
        assert!(rest.is_ok() || !is_turned_back(&rest.unwrap_err()));
        let (mut wire, mut far) = pair().await;
        once(&mut wire, &mut far).await;
        drop(far);
        // Frames of HTTP/2 are none of its business.
        let frame = write(&mut wire, b"\0\0\0\x04\0").await;
        assert!(frame.is_ok() || !is_turned_back(&frame.unwrap_err()));
    }
}
