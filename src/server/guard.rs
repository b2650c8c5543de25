//! [`Guard`]: what stands between a client's socket and the HTTP that is spoken on it.
//!
//! A client that takes no byte for too long is given up, since it would hold an upstream's answer and its own place
//! for ever. And a head that cannot be read is refused with a body that SDKs can show, where hyper sends a bare status.
//!
//! Invariant: nothing else is changed: every other byte passes as it was written.

use std::future::Future;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Instant, Sleep};

use crate::domain::refusal::Cause;

/// The lines of the heads that hyper sends by itself, beside the date.
const BARE: [&str; 2] = ["connection: close", "content-length: 0"];

/// A watched socket.
#[derive(Debug)]
pub struct Guard<S> {
    stream: S,
    stall_max: Duration,
    /// Runs while the client takes nothing.
    stall: Option<Pin<Box<Sleep>>>,
    /// What stands for a bare refusal, and how much of it is written.
    refusal: Option<(Vec<u8>, usize)>,
}

impl<S> Guard<S> {
    /// Watches `stream`, whose client may take nothing for `stall_max`.
    pub const fn new(stream: S, stall_max: Duration) -> Self {
        Self { stream, stall_max, stall: None, refusal: None }
    }

    /// The result of a write, or an error once nothing has been taken for too long.
    fn judge(&mut self, written: Poll<io::Result<usize>>, context: &mut Context<'_>) -> Poll<io::Result<usize>> {
        if written.is_ready() {
            self.stall = None;
            return written;
        }
        let due = Instant::now() + self.stall_max;
        let stall = self.stall.get_or_insert_with(|| Box::pin(tokio::time::sleep_until(due)));
        ready!(stall.as_mut().poll(context));
        Poll::Ready(Err(io::Error::new(io::ErrorKind::TimedOut, "the client takes nothing")))
    }
}

impl<S: AsyncWrite + Unpin> Guard<S> {
    /// Writes all of the refusal that stands for a bare one of `bare` bytes.
    fn refuse(&mut self, bare: usize, context: &mut Context<'_>) -> Poll<io::Result<usize>> {
        while let Some((refusal, done)) = &mut self.refusal
            && *done < refusal.len()
        {
            let written = Pin::new(&mut self.stream).poll_write(context, &refusal[*done..]);
            if let Poll::Ready(Ok(count)) = &written {
                *done += count;
            }
            match ready!(self.judge(written, context)) {
                Ok(0) => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                Ok(_) => {}
                Err(error) => return Poll::Ready(Err(error)),
            }
        }
        self.refusal = None;
        Poll::Ready(Ok(bare))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Guard<S> {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let guard = self.get_mut();
        if guard.refusal.is_none() {
            guard.refusal = bare_refusal(bytes).map(|cause| (refusal(cause), 0));
        }
        if guard.refusal.is_some() {
            return guard.refuse(bytes.len(), context);
        }
        let written = Pin::new(&mut guard.stream).poll_write(context, bytes);
        guard.judge(written, context)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        if let [only] = slices {
            return self.poll_write(context, only);
        }
        let guard = self.get_mut();
        let written = Pin::new(&mut guard.stream).poll_write_vectored(context, slices);
        guard.judge(written, context)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_flush(context)
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_shutdown(context)
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Guard<S> {
    fn poll_read(self: Pin<&mut Self>, context: &mut Context<'_>, room: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_read(context, room)
    }
}

/// What hyper refuses by itself with exactly these bytes: a status, no body, and no header that an answer of ours has.
fn bare_refusal(bytes: &[u8]) -> Option<Cause> {
    let text = bytes.strip_prefix(b"HTTP/1.1 4")?;
    let (status, lines) = std::str::from_utf8(text).ok()?.strip_suffix("\r\n\r\n")?.split_once("\r\n")?;
    let is_bare = |line: &str| BARE.contains(&line) || line.starts_with("date: ");
    if lines.split("\r\n").count() != BARE.len() + 1 || !lines.split("\r\n").all(is_bare) {
        return None;
    }
    match status.get(..2)? {
        "00" => Some(Cause::Malformed),
        "14" | "31" => Some(Cause::HeadersTooLarge),
        _ => None,
    }
}

/// The same refusal with a body.
fn refusal(cause: Cause) -> Vec<u8> {
    let (status, message) = match cause == Cause::HeadersTooLarge {
        true => ("431 Request Header Fields Too Large", "the head of the request is too large"),
        false => ("400 Bad Request", "the head of the request cannot be read"),
    };
    whole(status, "x-should-retry: false", ("invalid_request_error", cause.code(), message))
}

/// What a connection is told that finds no place.
#[must_use]
pub fn no_place() -> Vec<u8> {
    let told = ("overloaded_error", "server_is_overloaded", "too many connections are open; try again shortly");
    whole("503 Service Unavailable", "retry-after: 1\r\nx-tollgate-refused: overloaded", told)
}

/// An answer after which the connection closes, with a type, a code and a message. Nobody knows the dialect of a head that
/// was not read: this is the shape of OpenAI and of Anthropic in one.
fn whole(status: &str, more: &str, (kind, code, message): (&str, &str, &str)) -> Vec<u8> {
    let body =
        format!(r#"{{"type":"error","error":{{"message":"{message}","type":"{kind}","param":null,"code":"{code}"}}}}"#);
    let length = body.len();
    format!(
        "HTTP/1.1 {status}\r\nconnection: close\r\ncontent-type: application/json\r\ncontent-length: {length}\r\n\
         cache-control: no-store\r\n{more}\r\n\r\n{body}"
    )
    .into_bytes()
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::*;

    const DATE: &str = "date: Sun, 22 Nov 2026 13:00:00 GMT";

    async fn through(bytes: &str) -> String {
        let (ours, mut theirs) = tokio::io::duplex(64);
        let mut guard = Guard::new(ours, Duration::from_secs(5));
        let write = async {
            guard.write_all(bytes.as_bytes()).await.unwrap();
            drop(guard);
        };
        let mut text = String::new();
        let (_, read) = tokio::join!(write, theirs.read_to_string(&mut text));
        read.unwrap();
        text
    }

    #[tokio::test]
    async fn a_bare_refusal_gets_a_body_and_nothing_else_is_touched() {
        for (status, code) in [("400 Bad Request", "malformed"), ("431 Too Large", "headers_too_large")] {
            let text =
                through(&format!("HTTP/1.1 {status}\r\nconnection: close\r\ncontent-length: 0\r\n{DATE}\r\n\r\n"))
                    .await;
            let (head, body) = text.split_once("\r\n\r\n").unwrap();
            assert!(head.contains(&format!("content-length: {}", body.len())), "{head}");
            let body: serde_json::Value = serde_json::from_str(body).unwrap();
            assert_eq!(body["error"]["code"], code);
        }
        for text in [
            format!("HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 0\r\n{DATE}\r\n\r\n"),
            format!("HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\nx-tollgate-request-id: 1\r\n{DATE}\r\n\r\n"),
            format!("HTTP/1.1 404 Not Found\r\nconnection: close\r\ncontent-length: 0\r\n{DATE}\r\n\r\n"),
            "data: HTTP/1.1 400\n\n".to_owned(),
        ] {
            assert_eq!(through(&text).await, text);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_client_that_takes_nothing_is_given_up() {
        let (ours, _theirs) = tokio::io::duplex(16);
        let mut guard = Guard::new(ours, Duration::from_secs(300));
        let error = guard.write_all(&[b'x'; 64]).await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
    }
}
