//! A client for one question: to the server that owns a store, over its control socket, and to any other over TCP.

use std::fmt;
use std::io;
use std::path::Path;
use std::time::Duration;

use bytes::Bytes;
use http::header::HOST;
use http::{Method, Request, StatusCode};
use http_body_util::{BodyExt, Full, Limited};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::UnixStream;
use tokio::time::timeout;

use crate::server::run::CONTROL_SOCKET;

/// The longest wait for a server's answer: a report of years reads gigabytes.
const ANSWER_WAIT: Duration = Duration::from_secs(300);

/// The largest answer: reports have a limited number of rows.
const ANSWER_BYTES_MAX: usize = 256 << 20;

/// What a server said.
#[derive(Debug)]
pub struct Answer {
    /// The status.
    pub status: StatusCode,
    /// The body.
    pub body: Bytes,
}

/// A server is there and does not answer as it should.
#[derive(Debug)]
pub struct NoAnswer(String);

/// Asks the server that owns the store in `folder` for `target`; `None` if no server runs.
///
/// # Errors
/// There is one, and it breaks off or takes too long.
pub async fn ask(folder: &Path, target: &str) -> Result<Option<Answer>, NoAnswer> {
    send(folder, Method::GET, target, b"").await
}

/// Sends `body` to the server that owns the store in `folder`; `None` if no server runs.
///
/// # Errors
/// There is one, and it breaks off or takes too long.
pub async fn post(folder: &Path, target: &str, body: &[u8]) -> Result<Option<Answer>, NoAnswer> {
    send(folder, Method::POST, target, body).await
}

/// Sends a request of any method to the server that owns the store in `folder`; `None` if no server runs.
///
/// # Errors
/// There is one, and it breaks off or takes too long.
pub async fn send(folder: &Path, method: Method, target: &str, body: &[u8]) -> Result<Option<Answer>, NoAnswer> {
    let Ok(stream) = UnixStream::connect(folder.join(CONTROL_SOCKET)).await else { return Ok(None) };
    match timeout(ANSWER_WAIT, exchange(stream, "localhost", method, target, body)).await {
        Ok(answer) => answer.map(Some),
        Err(_) => Err(NoAnswer(format!("no answer within {} s", ANSWER_WAIT.as_secs()))),
    }
}

/// Sends `GET target` over `stream` and reads the whole answer.
///
/// # Errors
/// The connection breaks, or what comes is no answer or too large.
pub async fn get<S>(stream: S, host: &str, target: &str) -> Result<Answer, NoAnswer>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    exchange(stream, host, Method::GET, target, b"").await
}

async fn exchange<S>(stream: S, host: &str, method: Method, target: &str, body: &[u8]) -> Result<Answer, NoAnswer>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let body = Full::new(Bytes::copy_from_slice(body));
    let request = Request::builder().method(method).uri(target).header(HOST, host).body(body);
    let request = request.map_err(|error| NoAnswer(error.to_string()))?;
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
    // It ends with the answer or with the process; its errors are those of the answer.
    tokio::spawn(connection);
    let (head, body) = sender.send_request(request).await?.into_parts();
    let body = Limited::new(body, ANSWER_BYTES_MAX).collect().await;
    let body = body.map_err(|error| NoAnswer(error.to_string()))?.to_bytes();
    Ok(Answer { status: head.status, body })
}

impl Answer {
    /// What an error says.
    #[must_use]
    pub fn message(&self) -> String {
        let said: Option<serde_json::Value> = serde_json::from_slice(&self.body).ok();
        let message = said.as_ref().and_then(|said| said["error"]["message"].as_str());
        message.map_or_else(|| format!("the server answered {}", self.status), str::to_owned)
    }
}

impl From<hyper::Error> for NoAnswer {
    fn from(error: hyper::Error) -> Self {
        Self(error.to_string())
    }
}

impl From<io::Error> for NoAnswer {
    fn from(error: io::Error) -> Self {
        Self(error.to_string())
    }
}

impl fmt::Display for NoAnswer {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&self.0)
    }
}

impl std::error::Error for NoAnswer {}
