//! Compressed request bodies are read on the side and go on as they came; bombs are not unfolded; large bodies pass.

use std::io::Write;
use std::time::Duration;

use bytes::Bytes;
use flate2::Compression;
use flate2::write::{GzEncoder, ZlibEncoder};
use http::Request;
use http_body_util::Full;
use tokio::net::TcpStream;
use tollgate::domain::operation::Dialect;

use crate::child::Place;
use crate::papers::exchange;
use crate::raw::{LONG, PATHS, check_refusal};
use crate::wire::{Fake, Reply};
use crate::world::{Answer, World};

const MIB: usize = 1 << 20;

const MESSAGES: &str =
    r#"{"model":"claude-haiku-4-5","max_tokens":16,"messages":[{"role":"user","content":"Say hello, please."}]}"#;
const STREAM: &str = r#"{"model":"gpt-4o-mini","stream":true,"messages":[{"role":"user","content":"Say hello."}]}"#;
const ASKING: &str = r#"{"stream_options":{"include_usage":true},"model":"gpt-4o-mini","stream":true,"messages":[{"role":"user","content":"Say hello."}]}"#;

const CODINGS: [&str; 4] = ["gzip", "deflate", "br", "zstd"];

fn pack(coding: &str, plain: &[u8]) -> Vec<u8> {
    match coding {
        "gzip" => {
            let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
            encoder.write_all(plain).unwrap();
            encoder.finish().unwrap()
        }
        "deflate" => {
            let mut encoder = ZlibEncoder::new(Vec::new(), Compression::fast());
            encoder.write_all(plain).unwrap();
            encoder.finish().unwrap()
        }
        "br" => brotli(plain),
        "zstd" => zstd::encode_all(plain, 3).unwrap(),
        other => panic!("{other}"),
    }
}

/// A brotli stream of uncompressed meta-blocks (RFC 7932, section 9.2).
fn brotli(plain: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    for (index, chunk) in plain.chunks(1 << 16).enumerate() {
        let block = u32::try_from(chunk.len() - 1).unwrap() << 3 | 1 << 19;
        // The first is preceded by one bit for a window of 64 KiB.
        let bits = if index == 0 { block << 1 } else { block };
        out.extend_from_slice(&bits.to_le_bytes()[..3]);
        out.extend_from_slice(chunk);
    }
    out.push(3);
    out
}

fn packed(world: &World, path: &str, coding: &str, body: impl Into<Bytes>) -> Request<Full<Bytes>> {
    let mut request = world.post(path, body);
    request.headers_mut().insert("content-encoding", coding.parse().unwrap());
    request
}

/// A Tollgate before an upstream that says `{}` to all.
async fn world() -> (World, Fake) {
    let fake = Fake::start(|_| Reply::whole("200 OK", "content-type: application/json\r\n", "{}")).await;
    let mock = crate::world::provider().await.1;
    (World::before(fake.address, mock, "", Duration::from_secs(60)).await, fake)
}

#[tokio::test]
async fn a_compressed_body_goes_on_as_it_came() {
    let (world, fake) = world().await;
    for coding in CODINGS {
        let body = pack(coding, MESSAGES.as_bytes());
        assert_eq!(world.send(packed(&world, "/v1/messages", coding, body.clone())).await.status, 200, "{coding}");
        let seen = fake.last().unwrap();
        assert_eq!((seen.header("content-encoding"), &seen.body), (coding, &body), "{coding}");
    }
    for entry in world.entries().await {
        assert_eq!(entry.requested_model.as_ref(), "claude-haiku-4-5");
        assert_ne!(entry.features, [0; 32]);
    }
}

#[tokio::test]
async fn a_compressed_body_that_is_spliced_goes_on_decoded() {
    let (world, fake) = world().await;
    for coding in CODINGS {
        let request = packed(&world, "/v1/chat/completions", coding, pack(coding, STREAM.as_bytes()));
        assert_eq!(world.send(request).await.status, 200, "{coding}");
        let seen = fake.last().unwrap();
        assert_eq!((seen.header("content-encoding"), &*String::from_utf8(seen.body.clone()).unwrap()), ("", ASKING));
        assert_eq!(seen.header("content-length"), ASKING.len().to_string());
    }
}

#[tokio::test]
async fn a_compressed_stream_is_metered_and_answered_like_any() {
    let world = World::start("").await;
    let plain = world.send(world.post("/v1/chat/completions", STREAM)).await;
    for coding in CODINGS {
        let request = packed(&world, "/v1/chat/completions", coding, pack(coding, STREAM.as_bytes()));
        let answer = world.send(request).await;
        assert!(answer.status == 200 && answer.text().ends_with("data: [DONE]\n\n"), "{}", answer.text());
        assert_eq!(answer.text().matches("data: ").count(), plain.text().matches("data: ").count());
    }
    let entries = world.entries().await;
    assert_eq!(entries.len(), 5);
    assert!(entries.iter().all(|entry| entry.usage == entries[0].usage && entry.cost == entries[0].cost));
}

#[tokio::test]
async fn what_cannot_be_read_is_refused() {
    let world = World::start("").await;
    for (dialect, path) in PATHS {
        for coding in ["compress", "gzip, zstd", "zstd,zstd"] {
            let answer = world.send(packed(&world, path, coding, MESSAGES)).await;
            check_refusal(dialect, &answer, 415);
            assert!(answer.text().contains("content-encoding"), "{}", answer.text());
        }
        let mut twice = packed(&world, path, "gzip", MESSAGES);
        twice.headers_mut().append("content-encoding", "gzip".parse().unwrap());
        check_refusal(dialect, &world.send(twice).await, 415);
        for coding in CODINGS {
            let whole = pack(coding, MESSAGES.as_bytes());
            for broken in [&whole[..whole.len() / 2], b"", b"junk", MESSAGES.as_bytes(), &pack(coding, b"[]")] {
                let answer = world.send(packed(&world, path, coding, broken.to_vec())).await;
                check_refusal(dialect, &answer, 400);
            }
        }
    }
    assert_eq!(world.mock.requests_total(), 0);
    assert_eq!(world.app.body_memory.used(), 0);
}

/// Frames of zstd that unfold to `frames` times 64 MiB of spaces behind an opening brace.
fn bomb(frames: usize) -> Vec<u8> {
    let blank = zstd::encode_all(&*vec![b' '; 64 * MIB], 3).unwrap();
    let mut bomb = zstd::encode_all(&b"{"[..], 3).unwrap();
    (0..frames).for_each(|_| bomb.extend_from_slice(&blank));
    bomb
}

#[tokio::test]
async fn a_bomb_is_refused_in_bounded_memory() {
    let place = Place::new("server.body_limit_mib = 16\nserver.body_memory_mib = 64").await;
    let mut served = place.serve().await;
    let bomb = Bytes::from(bomb(1000));
    assert!(bomb.len() < 10 * MIB, "{}", bomb.len());
    let key = crate::world::KEY;
    let ask = async |credential: &str, body: Bytes| -> Answer {
        let request = Request::post(format!("http://{}/v1/chat/completions", served.address))
            .header("authorization", format!("Bearer {credential}"))
            .header("content-encoding", "zstd")
            .body(Full::new(body))
            .unwrap();
        let answer = exchange(TcpStream::connect(served.address).await.unwrap(), false, request);
        tokio::time::timeout(LONG, answer).await.unwrap().unwrap()
    };
    let small = Bytes::from(pack("zstd", STREAM.as_bytes()));
    assert_eq!(ask(key, small.clone()).await.status, 200);
    check_refusal(Dialect::OpenAi, &ask("tg_nobody-nobody-nobody", bomb.clone()).await, 401);
    check_refusal(Dialect::OpenAi, &ask(key, bomb.clone()).await, 413);
    let all = tokio::join!(ask(key, bomb.clone()), ask(key, bomb.clone()), ask(key, bomb.clone()), ask(key, bomb));
    for answer in [&all.0, &all.1, &all.2, &all.3] {
        // The limit of one body, or the memory for all.
        assert!([413, 503].contains(&answer.status.as_u16()), "{}", answer.text());
    }
    assert_eq!(ask(key, small).await.status, 200);
    let status = std::fs::read_to_string(format!("/proc/{}/status", served.process.id().unwrap())).unwrap();
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    let peak_kib: usize = peak.trim().trim_end_matches(" kB").parse().unwrap();
    println!("the process had {} MiB at its peak", peak_kib / 1024);
    assert!(peak_kib < 160 * 1024, "{peak_kib} KiB");
    served.process.kill().await.unwrap();
}

#[tokio::test]
async fn a_body_of_33_mb_passes_in_each_form() {
    let (world, fake) = world().await;
    let content: String = (0..33 * MIB / 8).map(|number| format!("{number:07} ")).collect();
    let body = format!(
        r#"{{"model":"claude-haiku-4-5","max_tokens":16,"messages":[{{"role":"user","content":"{content}"}}]}}"#
    );
    let body = Bytes::from(body);
    assert!(body.len() > 33_000_000);
    for http2 in [false, true] {
        let stream = TcpStream::connect(world.address).await.unwrap();
        let answer = exchange(stream, http2, world.post("/v1/messages", body.clone())).await.unwrap();
        assert_eq!(answer.status, 200, "{}", answer.text());
        assert!(fake.last().unwrap().body == body);
    }
    let small = Bytes::from(pack("zstd", &body));
    assert_eq!(world.send(packed(&world, "/v1/messages", "zstd", small.clone())).await.status, 200);
    assert!(fake.last().unwrap().body == small);
    let entries = world.entries().await;
    assert!(entries.iter().all(|entry| entry.features == entries[0].features), "the same is read");
    assert_eq!(world.app.body_memory.used(), 0);
}
