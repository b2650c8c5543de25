//! Heads that nobody can serve, and more connections and requests than there is room for.

use http::{Method, Request};
use http_body_util::Full;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tollgate::domain::entry::Outcome;
use tollgate::domain::operation::{Dialect, Operation};

use super::raw::{LONG, Reply, ask, check_refusal, check_shape, head, talk};
use super::world::{KEY, World};

const CHAT: &str = r#"{"model":"gpt-4o-mini","messages":[{"role":"user","content":"hello"}]}"#;

fn post(body: &str) -> Vec<u8> {
    (head("POST", "/v1/chat/completions", &format!("content-length: {}\r\n", body.len())) + body).into_bytes()
}

#[tokio::test]
async fn paths_that_are_not_served_are_refused_in_the_nearest_dialect() {
    let world = World::start("").await;
    for (dialect, method, path, status) in [
        (Dialect::OpenAi, "POST", "/", 404),
        (Dialect::OpenAi, "POST", "/v1", 404),
        (Dialect::OpenAi, "GET", "/favicon.ico", 404),
        (Dialect::OpenAi, "POST", "/v1/chat/completions/", 404),
        (Dialect::OpenAi, "POST", "/v1//chat/completions", 404),
        (Dialect::OpenAi, "POST", "/v1/../v1/chat/completions", 404),
        (Dialect::OpenAi, "POST", "/v1/%2e%2e/chat/completions", 404),
        (Dialect::OpenAi, "POST", "/v1/chat%2fcompletions", 404),
        (Dialect::OpenAi, "GET", "/v1/chat/completions", 405),
        (Dialect::OpenAi, "DELETE", "/v1/embeddings", 405),
        (Dialect::Anthropic, "GET", "/v1/messages", 405),
        (Dialect::Anthropic, "POST", "/v1/messages/what", 404),
        (Dialect::Gemini, "POST", "/v1beta/models/gemini-2.5-flash:what", 404),
        (Dialect::Gemini, "GET", "/v1beta/models/gemini-2.5-flash:generateContent", 405),
        (Dialect::Gemini, "POST", "/v1beta/what", 404),
        (Dialect::OpenAi, "POST", "/u/nobody/v1/chat/completions", 404),
        (Dialect::OpenAi, "POST", "/u/openai/../secret", 404),
        (Dialect::OpenAi, "POST", "/u/openai/v1/%2E%2e/secret", 404),
        (Dialect::Anthropic, "TRACE", "/u/anthropic/v1/what", 404),
    ] {
        let mut request = world.post(path, CHAT);
        *request.method_mut() = Method::from_bytes(method.as_bytes()).unwrap();
        let answer = world.send(request).await;
        check_refusal(dialect, &answer, status);
        assert_eq!(answer.headers.contains_key("allow"), status == 405, "{path}");
    }
    let long_path = format!("/v1/{}", "x".repeat(20_000));
    let answer = world.send(world.post(&long_path, "")).await;
    check_refusal(Dialect::OpenAi, &answer, 404);
    assert!(answer.body.len() < 1024, "a refusal repeats no more than the start of a path");
    assert_eq!(world.mock.requests_total(), 0);
    assert!(world.entries().await.is_empty(), "nobody was asked who they are");
}

#[tokio::test]
async fn unknown_paths_are_forwarded_where_config_says_so() {
    let world = World::start("server.unknown_paths = \"forward\"").await;
    let answer = world.send(world.post("/v1/what/is?a=b", "any bytes")).await;
    // The mock does not know it either, and says so itself.
    assert_eq!((answer.status.as_u16(), world.mock.requests_total()), (404, 1));
    assert_eq!(world.mock.requests()[0].target, "/v1/what/is?a=b");
    assert_eq!(world.mock.requests()[0].header_values("authorization"), ["Bearer sk-provider"]);
    for (path, status) in [("/v1/../what", 404), ("/%2e%2e/what", 404)] {
        check_refusal(Dialect::OpenAi, &world.send(world.post(path, "")).await, status);
    }
    let reply = ask(world.address, head("CONNECT", "example.com:443", "").as_bytes()).await;
    assert_eq!(reply.status, 404);
    let mut request = world.post("/v1/what", "");
    request.headers_mut().remove("authorization");
    check_refusal(Dialect::OpenAi, &world.send(request).await, 401);
    let entries = world.entries().await;
    assert_eq!(entries.len(), 1);
    assert_eq!((entries[0].operation, entries[0].outcome), (Operation::Unknown, Outcome::UpstreamError));
    assert_eq!(world.mock.requests_total(), 1);
}

#[tokio::test]
async fn what_is_no_http_is_answered_and_closed() {
    let world = World::start("").await;
    for (bytes, status) in [
        (&b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03"[..], 400),
        (b"hello\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nbad header\r\n\r\n", 400),
        (b"GET / HTTP/9.9\r\n\r\n", 400),
        (b"POST /v1/messages HTTP/1.1\r\nhost: a\r\ncontent-length: -1\r\n\r\n", 400),
        (b"POST /v1/messages HTTP/1.1\r\nhost: a\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\nab", 400),
        (b"POST /v1/messages HTTP/1.1\r\nhost: a\r\ntransfer-encoding: gzip\r\n\r\nab", 400),
        (b"GET / HTTP/1.1\r\nx-tollgate-user: a\rb\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nx-tollgate-user: a\0b\r\n\r\n", 400),
    ] {
        let reply = ask(world.address, bytes).await;
        let told = String::from_utf8_lossy(bytes);
        assert_eq!((reply.status, reply.header("connection")), (status, "close"), "{told}");
        assert_eq!(reply.header("content-type"), "application/json", "{told}");
        check_shape(Dialect::OpenAi, &reply.body, status, "");
    }
    world.settled().await;
    world.app.scribe.catch_up(LONG);
    let metrics = world.app.metrics.render();
    assert!(metrics.contains("tollgate_errors_total{fault=\"client\",reason=\"malformed\"} 9\n"), "{metrics}");
    assert!(world.entries().await.is_empty());
}

#[tokio::test]
async fn a_huge_head_is_refused() {
    let world = World::start("server.header_bytes_max = 16384").await;
    let long_value = head("POST", "/v1/messages", &format!("x-a: {}\r\n", "a".repeat(20_000)));
    let many = head("POST", "/v1/messages", &"x-a: b\r\n".repeat(200));
    let long_target = head("GET", &format!("/v1/models?{}", "a".repeat(70_000)), "");
    for bytes in [long_value, many, long_target] {
        let reply = ask(world.address, bytes.as_bytes()).await;
        assert_eq!((reply.status, reply.header("x-should-retry")), (431, "false"), "{}", &bytes[..80]);
        check_shape(Dialect::OpenAi, &reply.body, 431, "");
    }
}

#[tokio::test]
async fn a_slow_head_is_given_up() {
    let world = World::start("server.header_timeout_s = 1").await;
    assert!(talk(world.address, b"POST /v1/messages HTTP/1.1\r\nhost: a\r\n").await.is_empty());
    assert!(talk(world.address, b"").await.is_empty(), "an idle connection is closed as well");
}

#[tokio::test]
async fn a_request_cannot_hide_another() {
    let world = World::start("").await;
    let hidden = String::from_utf8(post(CHAT)).unwrap();
    // Length and chunks: the chunks count, and what follows them is no part of this connection's first request.
    let both =
        head("POST", "/v1/chat/completions", &format!("content-length: {}\r\ntransfer-encoding: chunked\r\n", 5))
            + "0\r\n\r\n"
            + &hidden;
    let mut all = talk(world.address, both.as_bytes()).await;
    while let Some(reply) = Reply::split(&mut all) {
        assert_eq!(reply.status, 400, "{reply:?}");
    }
    for coding in ["xchunked", "chunked, identity", "chunked\r\ntransfer-encoding: identity", "\x0bchunked"] {
        let bytes =
            head("POST", "/v1/chat/completions", &format!("transfer-encoding: {coding}\r\n")) + "0\r\n\r\n" + &hidden;
        let mut all = talk(world.address, bytes.as_bytes()).await;
        while let Some(reply) = Reply::split(&mut all) {
            assert_eq!(reply.status, 400, "{coding:?}: {reply:?}");
        }
    }
    world.settled().await;
    assert_eq!(world.mock.requests_total(), 0);
}

#[tokio::test]
async fn pipelined_requests_are_answered_in_order() {
    let world = World::start("").await;
    let one = String::from_utf8(post(CHAT)).unwrap().replace("connection: close\r\n", "");
    let bad = String::from_utf8(post("{")).unwrap().replace("connection: close\r\n", "");
    let bytes = [one.as_bytes(), bad.as_bytes(), one.as_bytes(), &post(CHAT)].concat();
    let mut all = talk(world.address, &bytes).await;
    let statuses: Vec<u16> = std::iter::from_fn(|| Reply::split(&mut all)).map(|reply| reply.status).collect();
    assert_eq!(statuses, [200, 400, 200, 200]);
    assert_eq!((world.entries().await.len(), world.mock.requests_total()), (4, 3));
}

#[tokio::test]
async fn tags_and_users_have_bounds() {
    let world = World::start("").await;
    let many = (0..7_000).map(|number| format!("a{number}=b")).collect::<Vec<_>>().join(",");
    let long_user = "u".repeat(257);
    for (name, value, says) in [
        ("x-tollgate-tags", &*many, "at most 8 tags"),
        ("x-tollgate-tags", "a", "name=value"),
        ("x-tollgate-tags", "=b", "name"),
        ("x-tollgate-tags", &format!("a={}", "b".repeat(63)), "64 bytes"),
        ("x-tollgate-user", &long_user, "256 bytes"),
        ("x-tollgate-user", "", "256 bytes"),
    ] {
        let mut request = world.post("/v1/chat/completions", CHAT);
        request.headers_mut().insert(name, value.parse().unwrap());
        let answer = world.send(request).await;
        check_refusal(Dialect::OpenAi, &answer, 400);
        assert!(answer.text().contains(says), "{}", answer.text());
    }
    let raw = [
        b"POST /v1/messages HTTP/1.1\r\nhost: a\r\nconnection: close\r\nx-api-key: ",
        KEY.as_bytes(),
        b"\r\nx-tollgate-user: \xff\r\n\r\n",
    ]
    .concat();
    assert_eq!(ask(world.address, &raw).await.status, 400);
    assert_eq!(world.mock.requests_total(), 0);
}

#[tokio::test]
async fn connections_beyond_the_limit_are_told_so_and_closed_at_once_and_operators_get_in() {
    let world = World::start("server.connections_max = 2").await;
    let first = TcpStream::connect(world.address).await.unwrap();
    let second = TcpStream::connect(world.address).await.unwrap();
    let taken = async {
        while world.app.connections.used() < 2 {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(LONG, taken).await.unwrap();
    let told = ask(world.address, b"").await;
    assert_eq!((told.status, told.header("retry-after"), told.header("connection")), (503, "1", "close"));
    assert_eq!(told.header("x-tollgate-refused"), "overloaded");
    let body: serde_json::Value = serde_json::from_slice(&told.body).unwrap();
    assert_eq!(body["error"]["code"], "server_is_overloaded");
    assert_eq!(ask(world.address, &post(CHAT)).await.status, 503);
    let metrics = tollgate::admin::state::metrics(&world.app);
    assert!(metrics.contains("tollgate_connections_refused_total 2\n"), "{metrics}");
    let livez = b"GET /livez HTTP/1.1\r\nhost: 127.0.0.1\r\nconnection: close\r\n\r\n";
    assert_eq!(ask(world.admin, livez).await.status, 200);
    drop((first, second));
    let freed = async {
        while world.app.connections.used() > 0 {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(LONG, freed).await.unwrap();
    assert_eq!(ask(world.address, &post(CHAT)).await.status, 200);
}

#[tokio::test]
async fn requests_beyond_the_limit_are_told_to_come_again() {
    let world = World::start("server.in_flight_max = 1\nserver.queue_max = 0").await;
    let mut request = world.post("/v1/chat/completions", CHAT.replace("\"messages\"", "\"stream\":true,\"messages\""));
    request.headers_mut().insert("x-mock-gate", "first".parse().unwrap());
    let first = world.open(request).await;
    for (dialect, path) in super::raw::PATHS {
        let answer = world.send(world.post(path, CHAT)).await;
        check_refusal(dialect, &answer, 503);
        assert_eq!(answer.header("retry-after"), "5");
    }
    world.mock.gate("first").open();
    http_body_util::BodyExt::collect(first.into_body()).await.expect("the first answer breaks off");
    world.settled().await;
    assert_eq!(world.send(world.post("/v1/chat/completions", CHAT)).await.status, 200);
}

#[tokio::test]
async fn a_client_that_takes_nothing_does_not_hold_its_place_for_ever() {
    let world = World::start("server.write_timeout_s = 1\n[money]\non_client_abort = \"cancel\"").await;
    let mut stream = TcpStream::connect(world.address).await.unwrap();
    let body = CHAT.replace("\"messages\"", "\"stream\":true,\"messages\"");
    let more = format!("x-mock-tokens: 1000000\r\nx-mock-chunks: 100000\r\ncontent-length: {}\r\n", body.len());
    let bytes = head("POST", "/v1/chat/completions", &more) + &body;
    stream.write_all(bytes.as_bytes()).await.unwrap();
    let begun = async {
        while world.app.metrics.in_flight.get() == 0 {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(LONG, begun).await.unwrap();
    let entries = world.entries().await;
    assert_eq!(entries.len(), 1);
    assert_eq!(entries[0].outcome, Outcome::ClientAbort, "{entries:?}");
    let mut rest = Vec::new();
    let _ended = tokio::time::timeout(LONG, stream.read_to_end(&mut rest)).await.expect("no end");
}

#[tokio::test]
async fn a_websocket_is_told_to_fall_back() {
    let world = World::start("").await;
    let request = Request::get(format!("http://{}/v1/responses", world.address))
        .header("connection", "upgrade")
        .header("upgrade", "websocket")
        .body(Full::default())
        .unwrap();
    check_refusal(Dialect::OpenAi, &world.send(request).await, 426);
}
