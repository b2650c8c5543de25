//! Answers arrive at the client as the upstream sent them: status, headers, bytes, framing.

use std::io::Read as _;
use std::time::Duration;

use proptest::prelude::*;
use tollgate::domain::entry::Outcome;
use tollgate::domain::tokens::UsageSource;

use crate::wire::{self, End, Fake, Reply};
use crate::world::{KEY, World};

const BODY: &str = r#"{"model":"gpt-4o","messages":[{"role":"user","content":"hello"}]}"#;
const STREAM: &str = r#"{"model":"gpt-4o","stream":true,"messages":[{"role":"user","content":"hello"}]}"#;
const ANSWER: &str = "{\"id\":\"x\", \"model\":\"gpt-4o\",\"choices\":[{\"index\":0,\"message\":{\"content\":\"a\"},\"finish_reason\":\"stop\"}],\n\"usage\":{\"prompt_tokens\":1,\"completion_tokens\":2,\"total_tokens\":3}}";
const CHUNK: &str = "data: {\"model\":\"gpt-4o\",\"choices\":[{\"index\":0,\"delta\":{\"content\":\"a\"},\"finish_reason\":null}],\"usage\":null}\n\n";
const LAST: &str = "data: {\"choices\":[{\"index\":0,\"delta\":{},\"finish_reason\":\"stop\"}],\"usage\":null}\r\n\r\n";
const USAGE: &str =
    "data: {\"choices\":[],\"usage\":{\"prompt_tokens\":1,\"completion_tokens\":2,\"total_tokens\":3}}\n\n";
const DONE: &str = "data: [DONE]\n\n";

/// What the answers of Tollgate have beside the upstream's headers.
fn is_added(name: &str) -> bool {
    name.starts_with("x-tollgate-") || matches!(name, "date" | "connection")
}

async fn before(fake: &Fake) -> World {
    let mock = crate::world::provider().await.1;
    World::before(fake.address, mock, "", Duration::from_secs(60)).await
}

async fn ask(world: &World, path: &str, body: &str) -> wire::Got {
    let key = format!("authorization: Bearer {KEY}");
    wire::ask(world.address, path, &[&key, "content-type: application/json"], body).await
}

#[tokio::test]
async fn status_headers_and_bytes_of_an_answer_pass() {
    let headers = "x-ratelimit-remaining: 7\r\nset-cookie: a=1\r\nX-New: \r\nset-cookie: b=2\r\nretry-after: 3\r\ncontent-type: application/json\r\nserver: theirs\r\nx-should-retry: true\r\ncf-ray: 1\r\nrequest-id: r\r\n";
    let hop = "keep-alive: timeout=5\r\nx-hop: 1\r\nconnection: x-hop\r\n";
    let body = "{\"error\" : {\"message\":\"their own w\\u00f6rds\",\"type\":\"x\"}}\n";
    let lines = format!("{headers}{hop}");
    let fake = Fake::start(move |seen| {
        let status = seen.header("x-status");
        Reply::whole(&format!("{status} Their Own Reason"), &lines, body)
    })
    .await;
    let world = before(&fake).await;
    for path in ["POST /v1/chat/completions", "POST /v1/messages", "POST /v1beta/models/g:generateContent"] {
        for status in [200, 201, 203, 226].into_iter().chain([300, 307]).chain(400..=599) {
            let (key, asked) = (format!("authorization: Bearer {KEY}"), format!("x-status: {status}"));
            let sent = if status % 2 == 0 { BODY } else { STREAM };
            let got = wire::ask(world.address, path, &[&key, &asked], sent).await;
            assert_eq!((got.status, got.text().as_str(), got.end), (status, body, End::Whole), "{path} {status}");
            let passed: Vec<String> = got
                .headers
                .iter()
                .filter(|(name, _)| !is_added(name))
                .map(|(name, value)| format!("{name}: {value}"))
                .collect();
            let length = format!("content-length: {}", body.len());
            let mut expect: Vec<String> =
                headers.lines().map(|line| line.trim().replace("X-New", "x-new")).chain([length]).collect();
            let mut passed = passed.into_iter().map(|line| line.trim().to_owned()).collect::<Vec<_>>();
            expect.sort();
            passed.sort();
            assert_eq!(passed, expect, "{path} {status}");
        }
    }
    let entries = world.entries().await;
    assert_eq!(entries.len(), 3 * 206);
    for entry in entries.iter().filter(|entry| entry.status >= 300) {
        let told = (entry.outcome, entry.usage_source, entry.cost.map(|cost| cost.pico()));
        assert_eq!(told, (Outcome::UpstreamError, UsageSource::None, Some(0)), "{entry:?}");
    }
}

/// Sends `body` to a chat upstream that answers `reply`; gives what the client got and the outcome in the ledger.
async fn pass(request: &str, body: &str, reply: Reply) -> (wire::Got, tollgate::domain::entry::Entry) {
    let fake = Fake::start(move |_| reply.clone()).await;
    let world = before(&fake).await;
    let got = ask(&world, request, body).await;
    let mut entries = world.entries().await;
    assert_eq!((entries.len(), fake.seen().len()), (1, 1));
    (got, entries.pop().unwrap())
}

#[tokio::test]
async fn framing_is_kept_or_told_anew() {
    let chat = "POST /v1/chat/completions";
    let json = "content-type: application/json\r\n";
    let sse = "content-type: text/event-stream\r\n";
    let head = |version: &str, lines: &str| format!("HTTP/{version} 200 OK\r\n{lines}\r\n");
    let stream = [CHUNK, LAST, DONE].concat();
    let (first, second) = ANSWER.as_bytes().split_at(30);
    let trailers = format!(
        "{}{:x}\r\n{ANSWER}\r\n0\r\nx-trailer: 1\r\n\r\n",
        head("1.1", &format!("{json}trailer: x-trailer\r\ntransfer-encoding: chunked\r\n")),
        ANSWER.len()
    );
    let informed = format!(
        "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nlink: x\r\n\r\n{}{ANSWER}",
        head("1.1", &format!("{json}content-length: {}\r\n", ANSWER.len()))
    );
    for (name, reply, expect, length) in [
        ("length", Reply::whole("200 OK", json, ANSWER), ANSWER, true),
        ("chunks", Reply::chunked("200 OK", json, [first, second]), ANSWER, false),
        ("trailers", Reply { pieces: vec![trailers.into_bytes()], closes: false }, ANSWER, false),
        ("1xx first", Reply { pieces: vec![informed.into_bytes()], closes: false }, ANSWER, true),
        ("1.0 until close", Reply::closing(head("1.0", json) + ANSWER), ANSWER, false),
        (
            "1.0 with length",
            Reply::closing(head("1.0", &format!("{json}content-length: {}\r\n", ANSWER.len())) + ANSWER),
            ANSWER,
            true,
        ),
        (
            "1.1 until close",
            Reply::closing(head("1.1", &format!("{json}connection: close\r\n")) + ANSWER),
            ANSWER,
            false,
        ),
        ("stream in chunks", Reply::chunked("200 OK", sse, [stream.as_bytes()]), &stream, false),
        ("stream until close", Reply::closing(head("1.0", sse) + &stream), &stream, false),
        ("stream with a length", Reply::whole("200 OK", sse, &stream), &stream, false),
        ("stream without a type", Reply::whole("200 OK", "", &stream), &stream, true),
    ] {
        let (got, entry) = pass(chat, BODY, reply).await;
        assert_eq!((got.status, got.text().as_str(), got.end), (200, expect, End::Whole), "{name}");
        assert_eq!(got.header("content-length").is_empty(), !length, "{name}: {got:?}");
        assert_eq!((got.all("trailer").len(), got.all("keep-alive").len()), (0, 0), "{name}");
        assert_eq!((entry.outcome, entry.status), (Outcome::Complete, 200), "{name}");
        assert_eq!(got.header("x-tollgate-request-id"), entry.id.to_string(), "{name}");
    }
}

#[tokio::test]
async fn answers_without_a_body_are_complete() {
    let etag = "etag: \"x\"\r\ncontent-length: 27\r\n";
    let bare = |status: &str, lines: &str| format!("HTTP/1.1 {status}\r\n{lines}\r\n").into_bytes();
    let alone = |bytes: Vec<u8>| Reply { pieces: vec![bytes], closes: false };
    for (request, reply, status, length, outcome) in [
        ("HEAD /u/openai/v1/files", alone(bare("200 OK", etag)), 200, "27", Outcome::Complete),
        ("GET /v1/models", alone(bare("304 Not Modified", "etag: \"x\"\r\n")), 304, "", Outcome::Complete),
        ("DELETE /v1/responses/resp_1", alone(bare("204 No Content", "")), 204, "", Outcome::Complete),
        ("GET /v1/models", alone(bare("200 OK", "content-length: 0\r\n")), 200, "0", Outcome::Complete),
        ("GET /v1/models", alone(bare("500 No", "content-length: 0\r\n")), 500, "0", Outcome::UpstreamError),
    ] {
        let (got, entry) = pass(request, "", reply).await;
        assert_eq!((got.status, got.body.len(), got.end), (status, 0, End::Whole), "{request}");
        assert_eq!(got.header("content-length"), length, "{request} {status}");
        assert_eq!((entry.outcome, entry.status), (outcome, status), "{request} {status}");
    }
}

#[tokio::test]
async fn usage_is_taken_out_of_streams_and_of_nothing_else() {
    let chat = "POST /v1/chat/completions";
    let sse = "content-type: text/event-stream\r\n";
    let with_usage = [CHUNK, LAST, USAGE, DONE].concat();
    let without = [CHUNK, LAST, DONE].concat();
    let (got, entry) = pass(chat, STREAM, Reply::chunked("200 OK", sse, [with_usage.as_bytes()])).await;
    assert_eq!((got.text(), entry.usage_source), (without.clone(), UsageSource::Reported));
    for lines in [sse, ""] {
        let (got, entry) = pass(chat, STREAM, Reply::whole("200 OK", lines, &with_usage)).await;
        assert_eq!((got.text(), got.end, entry.usage.output), (without.clone(), End::Whole, 2), "{lines}");
    }
    let (got, _) = pass(chat, STREAM, Reply::whole("429 Slow", sse, &with_usage)).await;
    assert_eq!((got.text(), got.header("content-length")), (with_usage.clone(), &*with_usage.len().to_string()));
    // Asked for a stream, it sends JSON, of which the length stays.
    let (got, entry) = pass(chat, STREAM, Reply::whole("200 OK", "content-type: application/json\r\n", ANSWER)).await;
    assert_eq!((got.text().as_str(), entry.usage_source), (ANSWER, UsageSource::Reported));
    assert_eq!(got.header("content-length"), ANSWER.len().to_string());
    let asked = STREAM.replace("\"stream\":true", "\"stream\":true,\"stream_options\":{\"include_usage\":true}");
    let (got, _) = pass(chat, &asked, Reply::chunked("200 OK", sse, [with_usage.as_bytes()])).await;
    assert_eq!(got.text(), with_usage);
}

fn decoded(coding: &str, bytes: &[u8]) -> String {
    let mut text = String::new();
    let read = match coding {
        "gzip" => flate2::read::GzDecoder::new(bytes).read_to_string(&mut text),
        "deflate" => flate2::read::ZlibDecoder::new(bytes).read_to_string(&mut text),
        _ => zstd::stream::read::Decoder::new(bytes).unwrap().read_to_string(&mut text),
    };
    read.unwrap();
    text
}

#[tokio::test]
async fn compressed_answers_pass_as_they_are_and_are_metered() {
    let world = World::start("").await;
    let messages =
        r#"{"model":"claude-haiku-4-5","max_tokens":64,"stream":true,"messages":[{"role":"user","content":"hi"}]}"#;
    let gemini = r#"{"contents":[{"parts":[{"text":"hi"}]}]}"#;
    let mut count = 0;
    for coding in ["gzip", "deflate", "zstd"] {
        for (path, body) in [
            ("/v1/chat/completions", BODY),
            ("/v1/chat/completions", STREAM),
            ("/v1/messages", messages),
            ("/v1beta/models/gemini-2.5-flash:generateContent", gemini),
            ("/v1beta/models/gemini-2.5-flash:streamGenerateContent", gemini),
        ] {
            let mut request = world.post(path, body);
            request.headers_mut().insert("x-mock-fault", coding.parse().unwrap());
            request.headers_mut().insert("anthropic-version", "2023-06-01".parse().unwrap());
            let answer = world.send(request).await;
            assert_eq!((answer.status.as_u16(), answer.header("content-encoding")), (200, coding), "{path}");
            let text = decoded(coding, &answer.body);
            assert!(text.contains("usage"), "{text}");
            count += 1;
            let entries = world.entries().await;
            let (entry, line) = (entries.last().unwrap(), world.mock.bill().lines().pop().unwrap());
            assert_eq!((entries.len(), entry.usage_source), (count, UsageSource::Reported), "{path} {coding}");
            assert_eq!((entry.outcome, entry.cost), (Outcome::Complete, Some(line.cost)), "{path} {coding}");
        }
    }
}

#[tokio::test]
async fn answers_say_who_and_what_and_for_how_much() {
    let world = World::start("[routing]\nmode = \"off\"").await;
    let answer = world.send(world.post("/v1/chat/completions", BODY)).await;
    let entry = world.entries().await.pop().unwrap();
    assert_eq!(answer.header("x-tollgate-request-id"), entry.id.to_string());
    assert_eq!(answer.header("x-tollgate-model"), "gpt-4o");
    assert_eq!(answer.header("x-tollgate-requested-model"), "gpt-4o");
    assert_eq!(answer.header("x-tollgate-reason"), "requested model");
    assert_eq!(answer.header("x-tollgate-cost-usd"), world.mock.bill().total().fixed());
    let repeated: Vec<_> = answer.headers.get_all("x-mock-repeated").iter().collect();
    assert_eq!(repeated, ["one", "two"]);
    let stream = world.send(world.post("/v1/chat/completions", STREAM)).await;
    assert_eq!((stream.header("x-tollgate-cost-usd"), stream.header("x-tollgate-model")), ("", "gpt-4o"));
}

/// An upstream that closes connections which were kept for another request: none is ever sent twice.
#[tokio::test]
async fn a_stale_connection_never_repeats_a_request() {
    let fake = Fake::start(|seen| {
        let mut reply = Reply::whole("200 OK", "content-type: application/json\r\n", ANSWER);
        // It says that it stays, and goes.
        reply.closes = seen.header("x-number").ends_with(['1', '4', '7']);
        reply
    })
    .await;
    let world = before(&fake).await;
    let mut failed = 0;
    for number in 0..60 {
        let mut request = world.post("/v1/chat/completions", BODY);
        request.headers_mut().insert("x-number", number.to_string().parse().unwrap());
        failed += u32::from(world.send(request).await.status != 200);
    }
    let mut numbers: Vec<u32> = fake.seen().iter().map(|seen| seen.header("x-number").parse().unwrap()).collect();
    let arrived = numbers.len();
    numbers.dedup();
    assert_eq!(numbers.len(), arrived, "a request arrived twice");
    let entries = world.entries().await;
    let unpaid = entries.iter().filter(|entry| entry.status != 200).count();
    assert_eq!((entries.len(), unpaid), (60, usize::try_from(failed).unwrap()));
}

/// A stream as some provider may frame it.
fn streams() -> impl Strategy<Value = (bool, Vec<u8>)> {
    let event = prop_oneof![
        4 => Just(CHUNK.to_owned()),
        1 => Just(USAGE.to_owned()),
        1 => Just(": keep-alive\n\n".to_owned()),
        1 => Just(LAST.replace("\r\n", "\r")),
        1 => "[ -~é🙂\n\r]{0,40}".prop_map(|noise| format!("data: {noise}\n\n")),
    ];
    (any::<bool>(), prop::collection::vec(event, 0..12)).prop_map(|(strips, events)| {
        let events = events.into_iter().filter(|event| !strips || !event.contains("\"choices\":[]"));
        (strips, events.chain([LAST.to_owned(), DONE.to_owned()]).collect::<String>().into_bytes())
    })
}

#[test]
fn however_a_stream_is_cut_its_bytes_pass() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let next = std::sync::Arc::new(std::sync::Mutex::new(Reply::default()));
    let reply = next.clone();
    let (_fake, world) = runtime.block_on(async {
        let fake = Fake::start(move |_| reply.lock().unwrap().clone()).await;
        let world = before(&fake).await;
        (fake, world)
    });
    let cuts = prop::collection::vec(0..2000_usize, 0..24);
    proptest!(ProptestConfig::with_cases(200), |((strips, body) in streams(), mut cuts in cuts, closes: bool)| {
        cuts.sort_unstable();
        let mut rest = &body[..];
        let mut pieces = Vec::new();
        let mut at = 0;
        for cut in cuts {
            let cut = cut.min(body.len());
            let (piece, left) = rest.split_at(cut - at);
            (rest, at) = (left, cut);
            pieces.push(piece);
        }
        pieces.push(rest);
        let lines = "content-type: text/event-stream\r\n";
        *next.lock().unwrap() = if closes {
            let head = format!("HTTP/1.1 200 OK\r\n{lines}\r\n").into_bytes();
            let pieces = std::iter::once(head).chain(pieces.iter().map(|piece| piece.to_vec())).collect();
            Reply { pieces, closes }
        } else {
            Reply::chunked("200 OK", lines, pieces)
        };
        let asked = if strips { STREAM.to_owned() } else { STREAM.replace("true", "true,\"stream_options\":{\"include_usage\":true}") };
        let got = runtime.block_on(ask(&world, "POST /v1/chat/completions", &asked));
        prop_assert_eq!(got.end, End::Whole);
        prop_assert_eq!(String::from_utf8_lossy(&got.body), String::from_utf8_lossy(&body));
    });
}
