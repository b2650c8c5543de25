//! A client that sends bytes as they are, and what it gets back; and how a refusal must look in each dialect.

use std::net::SocketAddr;
use std::time::Duration;

use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tollgate::domain::operation::Dialect;

use super::world::{Answer, KEY};

/// Nothing in these tests takes longer, unless it hangs.
pub const LONG: Duration = Duration::from_secs(30);

/// An answer as it came over the wire.
#[derive(Debug)]
pub struct Reply {
    pub status: u16,
    pub head: String,
    pub body: Vec<u8>,
}

/// A path of each dialect that takes a JSON body.
pub const PATHS: [(Dialect, &str); 3] = [
    (Dialect::OpenAi, "/v1/chat/completions"),
    (Dialect::Anthropic, "/v1/messages"),
    (Dialect::Gemini, "/v1beta/models/gemini-2.5-flash:generateContent"),
];

impl Reply {
    /// Takes the first answer off `bytes`.
    pub fn split(bytes: &mut Vec<u8>) -> Option<Self> {
        let end = bytes.windows(4).position(|four| four == b"\r\n\r\n")? + 4;
        let head = String::from_utf8_lossy(&bytes[..end]).to_lowercase();
        let status = head.split(' ').nth(1)?.parse().ok()?;
        let length = head.lines().find_map(|line| line.strip_prefix("content-length: "));
        let length = length.map_or(bytes.len() - end, |length| length.parse().unwrap());
        let body = bytes.get(end..end + length)?.to_vec();
        bytes.drain(..end + length);
        Some(Self { status, head, body })
    }

    /// A header's value, empty without one.
    pub fn header(&self, name: &str) -> &str {
        let prefix = format!("{name}: ");
        self.head.lines().find_map(|line| line.strip_prefix(&*prefix)).unwrap_or_default()
    }
}

/// The head of a request of the key `ci`, after which the connection closes.
pub fn head(method: &str, target: &str, more: &str) -> String {
    format!(
        "{method} {target} HTTP/1.1\r\nhost: tollgate\r\nauthorization: Bearer {KEY}\r\nconnection: close\r\n{more}\r\n"
    )
}

/// Sends `bytes` and gives all that comes back until the connection closes.
pub async fn talk(address: SocketAddr, bytes: &[u8]) -> Vec<u8> {
    let talk = async {
        let (mut from, mut to) = TcpStream::connect(address).await.unwrap().into_split();
        let mut all = Vec::new();
        // A server that refuses early may close before everything is sent.
        let (_sent, _read) = tokio::join!(to.write_all(bytes), from.read_to_end(&mut all));
        drop(to);
        all
    };
    tokio::time::timeout(LONG, talk)
        .await
        .unwrap_or_else(|_| panic!("no end: {:?}", String::from_utf8_lossy(&bytes[..bytes.len().min(200)])))
}

/// Sends `bytes` and gives the one answer.
pub async fn ask(address: SocketAddr, bytes: &[u8]) -> Reply {
    let mut all = talk(address, bytes).await;
    Reply::split(&mut all).unwrap_or_else(|| panic!("no answer: {:?}", String::from_utf8_lossy(&all)))
}

/// Checks that a refusal is one that the SDKs of `dialect` can show.
pub fn check_refusal(dialect: Dialect, answer: &Answer, status: u16) {
    assert_eq!(answer.status.as_u16(), status, "{answer:?}");
    let id = answer.header("x-tollgate-request-id");
    assert_eq!(id.len(), 26, "{answer:?}");
    let is_final = status < 500 && status != 408;
    assert_eq!(answer.header("x-should-retry"), if is_final { "false" } else { "" }, "{answer:?}");
    assert_eq!(answer.header("cache-control"), "no-store");
    check_shape(dialect, &answer.body, status, id);
    let request_id = if dialect == Dialect::Anthropic { id } else { "" };
    assert_eq!(answer.header("request-id"), request_id);
}

/// Checks the body of a refusal.
pub fn check_shape(dialect: Dialect, body: &[u8], status: u16, id: &str) {
    let body: Value = serde_json::from_slice(body).unwrap();
    let error = body["error"].as_object().unwrap();
    assert!(error["message"].as_str().is_some_and(|message| !message.is_empty()), "{body}");
    match dialect {
        Dialect::OpenAi => {
            let mut fields: Vec<&str> = error.keys().map(String::as_str).collect();
            fields.sort_unstable();
            assert_eq!(fields, ["code", "message", "param", "type"]);
        }
        Dialect::Anthropic => {
            assert_eq!((&body["type"], &body["request_id"]), (&"error".into(), &id.into()));
            assert!(error["type"].as_str().unwrap().ends_with("_error") || error["type"] == "request_too_large");
        }
        Dialect::Gemini => {
            assert_eq!(error["code"], status);
            let word = error["status"].as_str().unwrap();
            assert!(word.bytes().all(|byte| byte.is_ascii_uppercase() || byte == b'_'), "{word}");
            assert!(error["details"].is_array());
        }
    }
}
