//! How clients come in: HTTP/2 in plain text and over TLS, with and without papers, through the file system, over IPv6.

use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt;
use std::time::Duration;

use bytes::Bytes;
use http::{Request, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream, UnixStream};
use tollgate::config::{Config, Listen};
use tollgate::domain::entry::Outcome;
use tollgate::domain::tokens::UsageSource;
use tollgate::drain::Phase;
use tollgate::server::clients::Clients;
use tollgate::server::inherit::Inherited;
use tollgate::server::{accept, surfaces};

use crate::papers::{Papers, exchange};
use crate::raw::LONG;
use crate::wire::{Fake, Reply};
use crate::world::World;

const WHOLE: &str = r#"{"model":"gpt-4o-mini","messages":[{"role":"user","content":"Say hello."}]}"#;
const STREAM: &str = r#"{"model":"gpt-4o-mini","stream":true,"messages":[{"role":"user","content":"Say hello."}]}"#;

/// Sends a whole call and a stream, each on a connection that `dial` makes, and looks at the ledger.
async fn check<S, D>(world: &World, http2: bool, dial: impl Fn() -> D)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    D: Future<Output = S>,
{
    let before = world.entries().await.len();
    for body in [WHOLE, STREAM] {
        let request = world.post("/v1/chat/completions", body);
        let answer = exchange(dial().await, http2, request).await.unwrap();
        assert_eq!(answer.status, 200, "{}", answer.text());
        let is_whole = answer.text().contains(r#""usage""#);
        assert!(is_whole || answer.text().ends_with("data: [DONE]\n\n"), "{}", answer.text());
    }
    let entries = world.entries().await;
    assert_eq!(entries.len(), before + 2);
    for entry in &entries[before..] {
        assert_eq!((entry.outcome, entry.usage_source), (Outcome::Complete, UsageSource::Reported));
        assert_eq!(entry.account.key.as_ref(), "ci");
    }
}

/// A second door of `world`, over TLS.
async fn tls_door(world: &World) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(accept::tls(world.app.clone(), listener, surfaces::client));
    address
}

fn tls(papers: &Papers, more: &str) -> String {
    format!("[server.tls]\ncert = \"{}\"\nkey = \"{}\"\n{more}", papers.path("server.pem"), papers.path("server.key"))
}

#[tokio::test]
async fn plain_text_takes_both_versions() {
    let world = World::start("").await;
    for http2 in [false, true] {
        check(&world, http2, async || TcpStream::connect(world.address).await.unwrap()).await;
    }
}

/// What comes back first of what is sent in these pieces, each of which is looked at before the next one is sent.
async fn in_pieces(world: &World, pieces: &[&[u8]]) -> Vec<u8> {
    let mut stream = TcpStream::connect(world.address).await.unwrap();
    stream.set_nodelay(true).unwrap();
    for piece in pieces {
        stream.write_all(piece).await.unwrap();
        // Everything runs on this thread, so that the server has nothing left to do but wait.
        for _ in 0..1_000 {
            tokio::task::yield_now().await;
        }
    }
    stream.shutdown().await.unwrap();
    let mut first = vec![0; 12];
    let read = tokio::time::timeout(LONG, stream.read_exact(&mut first)).await.expect("it waits for more");
    read.map_or_else(|_| Vec::new(), |_| first)
}

#[tokio::test]
async fn the_first_bytes_may_come_one_by_one() {
    let world = World::start("").await;
    let settings = [0, 0, 0, 4, 0, 0, 0, 0, 0];
    let rest = [&b"I * HTTP/2.0\r\n\r\nSM\r\n\r\n"[..], &settings].concat();
    for pieces in [&[&b"P"[..], b"R", &rest][..], &[b"PR", &rest]] {
        let first = in_pieces(&world, pieces).await;
        // A frame of settings.
        assert_eq!(first.get(3), Some(&4), "{:?}", String::from_utf8_lossy(&first));
    }
    let post = b"OST /v1/nothing HTTP/1.1\r\nhost: a\r\n\r\n";
    assert_eq!(in_pieces(&world, &[b"P", post]).await, b"HTTP/1.1 404");
    // Whoever says no more is not waited for.
    assert!(in_pieces(&world, &[b"P"]).await.is_empty());
}

#[tokio::test]
async fn tls_takes_what_is_negotiated() {
    let papers = Papers::new();
    let world = World::start(&tls(&papers, "")).await;
    let address = tls_door(&world).await;
    for (alpn, http2) in [(&["h2", "http/1.1"][..], true), (&["http/1.1"], false), (&[], false)] {
        check(&world, http2, async || papers.connect(address, alpn, None).await.unwrap()).await;
    }
}

#[tokio::test]
async fn mutual_tls_turns_away_who_has_no_papers_or_wrong_ones() {
    let (papers, others) = (Papers::new(), Papers::new());
    let world = World::start(&tls(&papers, &format!("client_ca = \"{}\"", papers.path("ca.pem")))).await;
    let address = tls_door(&world).await;
    check(&world, true, async || papers.connect(address, &["h2"], Some(&papers)).await.unwrap()).await;
    for shown in [None, Some(&others)] {
        // With TLS 1.3, a client is told after it believes that all is well.
        let refused = match papers.connect(address, &["http/1.1"], shown).await {
            Err(_) => true,
            Ok(stream) => exchange(stream, false, world.post("/v1/chat/completions", WHOLE)).await.is_err(),
        };
        assert!(refused, "{}", shown.is_some());
    }
    assert_eq!(world.entries().await.len(), 2);
}

#[tokio::test]
async fn a_handshake_has_its_time() {
    let papers = Papers::new();
    let world = World::start(&tls(&papers, "handshake_timeout_s = 1")).await;
    let address = tls_door(&world).await;
    let mut silent = TcpStream::connect(address).await.unwrap();
    let ended = tokio::time::timeout(LONG, silent.read(&mut [0; 1])).await.unwrap();
    assert_eq!(ended.unwrap_or(0), 0);
}

#[tokio::test]
async fn a_socket_in_the_file_system_is_a_door_for_whom_its_permissions_let_in() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("clients.sock");
    let text = format!("[server]\nlisten = \"unix:{}\"\nsocket_mode = \"660\"", path.display());
    let config = Config::parse(&text, "t", &Default::default()).unwrap();
    assert_eq!(config.server.listen, Listen::Unix(path.clone()));

    let world = World::start("").await;
    // Left behind by a process that is dead.
    drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
    let clients = Clients::bind(&config.server, &mut Inherited::default()).await.unwrap();
    assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o660);
    assert!(Clients::bind(&config.server, &mut Inherited::default()).await.is_err(), "somebody listens there");
    let serving = clients.serve(world.app.clone());
    check(&world, false, async || UnixStream::connect(&path).await.unwrap()).await;

    world.app.drain.advance(Phase::Draining);
    serving.await.unwrap();
    assert!(!path.exists());
    std::fs::write(&path, "precious").unwrap();
    assert!(Clients::bind(&config.server, &mut Inherited::default()).await.is_err());
    assert_eq!(std::fs::read_to_string(&path).unwrap(), "precious");
}

#[tokio::test]
async fn ipv6_is_taken() {
    let Ok(listener) = TcpListener::bind("[::1]:0").await else {
        println!("not run: this machine has no IPv6");
        return;
    };
    let world = World::start("").await;
    let address = listener.local_addr().unwrap();
    tokio::spawn(accept::tcp(world.app.clone(), listener, surfaces::client));
    for http2 in [false, true] {
        check(&world, http2, async || TcpStream::connect(address).await.unwrap()).await;
    }
}

/// One HTTP/2 connection to `world`.
async fn connect(world: &World) -> hyper::client::conn::http2::SendRequest<Full<Bytes>> {
    let stream = TcpStream::connect(world.address).await.unwrap();
    let handshake = hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(stream));
    let (sender, connection) = handshake.await.unwrap();
    tokio::spawn(connection);
    sender
}

/// A Tollgate before an upstream that begins a stream and says no more, or breaks it off.
async fn world_before(ends: bool) -> (World, Fake) {
    let fake = Fake::start(move |_| {
        let event = "data: {\"choices\":[{\"delta\":{\"content\":\"a\"}}]}\n\n";
        let chunk = format!("{:x}\r\n{event}\r\n", event.len());
        let head = "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n";
        Reply { pieces: vec![head.into(), chunk.into()], closes: ends }
    })
    .await;
    let mock = crate::world::provider().await.1;
    (World::before(fake.address, mock, "", Duration::from_secs(60)).await, fake)
}

#[tokio::test]
async fn many_streams_share_a_connection_and_one_that_is_reset_harms_none() {
    let world = World::start("").await;
    let sender = connect(&world).await;
    let mut left = sender.clone().send_request(world.post("/v1/chat/completions", STREAM)).await.unwrap();
    let _begun = left.body_mut().frame().await;
    drop(left);
    let answers = (0..20).map(|_| {
        let answer = sender.clone().send_request(world.post("/v1/chat/completions", STREAM));
        tokio::spawn(async move { answer.await.unwrap().collect().await.unwrap().to_bytes() })
    });
    for answer in answers.collect::<Vec<_>>() {
        assert!(answer.await.unwrap().ends_with(b"data: [DONE]\n\n"));
    }
    drop(sender);
    assert_eq!(world.entries().await.len(), 21);
}

#[tokio::test]
async fn a_stream_that_breaks_off_ends_in_its_dialect() {
    let (world, _fake) = world_before(true).await;
    let answer = connect(&world).await.send_request(world.post("/v1/chat/completions", STREAM)).await.unwrap();
    let text = String::from_utf8(answer.collect().await.unwrap().to_bytes().to_vec()).unwrap();
    assert!(text.contains("\"error\"") && text.contains("broke off"), "{text}");
    assert_eq!(world.entries().await[0].outcome, Outcome::UpstreamAborted);
}

#[tokio::test]
async fn a_whole_answer_that_breaks_off_is_reset() {
    let length = 100 * 1024;
    let head = format!("content-type: application/json\r\ncontent-length: {length}\r\n");
    let fake = Fake::start(move |_| Reply {
        pieces: vec![format!("HTTP/1.1 200 OK\r\n{head}\r\n{{").into_bytes()],
        closes: true,
    })
    .await;
    let mock = crate::world::provider().await.1;
    let world = World::before(fake.address, mock, "", Duration::from_secs(60)).await;
    let answer = connect(&world).await.send_request(world.post("/v1/chat/completions", WHOLE)).await.unwrap();
    assert_eq!(answer.status(), StatusCode::OK);
    assert!(answer.collect().await.is_err());
}

#[tokio::test]
async fn the_end_lets_streams_finish_and_then_cuts_them_in_their_dialect() {
    let (world, _fake) = world_before(false).await;
    let sender = connect(&world).await;
    let mut answer = sender.clone().send_request(world.post("/v1/chat/completions", STREAM)).await.unwrap();
    let _begun = answer.body_mut().frame().await.unwrap().unwrap();
    world.app.drain.advance(Phase::Draining);
    tokio::time::timeout(LONG, async {
        // The connection takes no more streams, and the open one goes on.
        while sender.clone().send_request(world.post("/v1/chat/completions", STREAM)).await.is_ok() {}
    })
    .await
    .unwrap();
    assert_eq!(world.app.drain.open(), 1);
    world.app.drain.advance(Phase::Cutting);
    let text = String::from_utf8(answer.collect().await.unwrap().to_bytes().to_vec()).unwrap();
    assert!(text.contains("shutting down"), "{text}");
    tokio::time::timeout(LONG, world.app.drain.idle()).await.unwrap();
}

#[tokio::test]
async fn a_refusal_reads_the_same_over_http2() {
    let world = World::start("").await;
    let mut request: Request<_> = world.post("/v1/messages", WHOLE);
    request.headers_mut().insert("authorization", "Bearer tg_unknown".parse().unwrap());
    let answer = exchange(TcpStream::connect(world.address).await.unwrap(), true, request).await.unwrap();
    assert_eq!(answer.status, 401);
    assert!(answer.text().starts_with(r#"{"type":"error""#), "{}", answer.text());
}
