//! Processes that follow one another on one socket: nobody is refused, nothing is cut, nothing is forgotten.

mod chaos;

use std::net::{SocketAddr, TcpListener};

use bytes::Bytes;
use http::{Request, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;
use tollgate::domain::entry::Outcome;
use tollgate::domain::tokens::UsageSource;
use tollgate::store::verify;

use crate::child::{HttpClient, Place, Served, pause};
use crate::raw::LONG;
use crate::world::KEY;

const CHAT: &str = "/v1/chat/completions";
const WHOLE: &str = r#"{"model":"gpt-4o-mini","max_tokens":9,"messages":[{"role":"user","content":"hello"}]}"#;
const STREAM: &str =
    r#"{"model":"gpt-4o-mini","stream":true,"max_tokens":90,"messages":[{"role":"user","content":"hello"}]}"#;

/// Streams under way when the signal comes, and how long each takes: few and until a gate opens, or as many as are asked for
/// and 5 s each.
fn streams() -> (usize, bool) {
    match std::env::var("TOLLGATE_STREAMS") {
        Ok(count) => (count.parse().unwrap(), true),
        Err(_) => (12, false),
    }
}

fn socket() -> (TcpListener, SocketAddr) {
    let socket = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = socket.local_addr().unwrap();
    (socket, address)
}

/// A client that connects anew for each request, as one does that knows nothing of the server.
fn strangers() -> HttpClient {
    Client::builder(TokioExecutor::new()).pool_max_idle_per_host(0).build_http()
}

fn post(address: SocketAddr, body: &str, headers: &[(&'static str, &str)]) -> Request<Full<Bytes>> {
    let mut request = Request::post(format!("http://{address}{CHAT}"))
        .header("authorization", format!("Bearer {KEY}"))
        .header("content-type", "application/json");
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    request.body(Full::new(Bytes::from(body.to_owned()))).unwrap()
}

/// Waits until `served` has said `text`.
async fn said(served: &Served, text: &str) {
    let waited = async {
        while !served.said.lock().unwrap().contains(text) {
            pause().await;
        }
    };
    tokio::time::timeout(LONG, waited).await.unwrap_or_else(|_| panic!("{}", served.said.lock().unwrap()));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_next_process_answers_who_came_while_the_last_one_let_its_streams_end() {
    let place = Place::new("").await;
    let (socket, address) = socket();
    let (client, (count, timed)) = (strangers(), streams());
    let mut first = place.serve_on(&socket).await;
    assert_eq!(first.address, address);
    let headers: &[(&str, &str)] = match timed {
        true => &[("x-mock-chunks", "50"), ("x-mock-chunk-ms", "100")],
        false => &[("x-mock-gate", "held"), ("x-mock-gate-after", "2"), ("x-mock-chunks", "5")],
    };
    let mut open = Vec::new();
    for _ in 0..count {
        open.push(client.request(post(address, STREAM, headers)).await.unwrap());
    }
    first.signal("TERM");
    said(&first, "draining").await;
    // They wait in the supervisor's socket, for a process that waits for the ledger.
    let waiting: Vec<_> = (0..4).map(|_| tokio::spawn(client.request(post(address, WHOLE, &[])))).collect();
    let next = place.handed(&socket);
    let second = async {
        let mut next = next;
        next.args(["--set", "store.lock_wait_s=60"]);
        place.served(next).await
    };
    let streamed = async {
        place.mock.gate("held").open();
        for stream in open {
            assert_eq!(stream.status(), StatusCode::OK);
            let text = tokio::time::timeout(LONG, stream.into_body().collect()).await.unwrap().unwrap().to_bytes();
            assert!(text.ends_with(b"data: [DONE]\n\n"), "{}", String::from_utf8_lossy(&text));
        }
        assert_eq!(first.end().await.code(), Some(0), "{}", first.said.lock().unwrap());
    };
    let (mut second, ()) = tokio::join!(second, streamed);
    for request in waiting {
        let answer = tokio::time::timeout(LONG, request).await.unwrap().unwrap().unwrap();
        assert_eq!(answer.status(), StatusCode::OK);
        answer.into_body().collect().await.unwrap();
    }
    second.signal("TERM");
    assert_eq!(second.end().await.code(), Some(0), "{}", second.said.lock().unwrap());
    let entries = place.entries();
    assert_eq!(entries.len(), count + 4);
    for entry in entries {
        assert_eq!((entry.outcome, entry.usage_source), (Outcome::Complete, UsageSource::Reported), "{entry:?}");
    }
    let report = verify(place.folder.path()).unwrap();
    assert!(report.unfinished.is_empty() && report.odd_records == 0 && report.tail.is_none(), "{report:?}");
    println!("{count} streams ended whole, and 4 requests were answered by the next process");
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_connected_in_the_last_moment_is_still_answered() {
    let place = Place::new("").await;
    let mut served = place.serve().await;
    let mut early = tokio::net::TcpStream::connect(served.address).await.unwrap();
    // The connection is accepted once another one behind it is answered.
    assert_eq!(place.client.request(served.post(CHAT, WHOLE)).await.unwrap().status(), StatusCode::OK);
    served.signal("TERM");
    said(&served, "draining").await;
    let head = format!(
        "POST {CHAT} HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {KEY}\r\ncontent-length: {}\r\n\r\n{WHOLE}",
        WHOLE.len()
    );
    tokio::io::AsyncWriteExt::write_all(&mut early, head.as_bytes()).await.unwrap();
    let mut answer = String::new();
    let read = tokio::io::AsyncReadExt::read_to_string(&mut early, &mut answer);
    tokio::time::timeout(LONG, read).await.unwrap().unwrap();
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    assert_eq!(served.end().await.code(), Some(0));
}
