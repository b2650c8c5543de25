//! The mock provider over real sockets: what a client sees, and what it is billed.

use serde_json::{Value, json};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tollgate::mock::{Counted, Line, Mock, Options};

/// What came back.
#[derive(Debug)]
struct Got {
    status: u16,
    head: String,
    body: Vec<u8>,
    end: End,
}

/// How an answer ended.
#[derive(Debug, PartialEq, Eq)]
enum End {
    /// As its framing promised.
    Whole,
    /// Closed before that.
    Short,
    /// By a TCP reset.
    Reset,
}

impl Got {
    fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|why| panic!("{why}: {:?}", self.text()))
    }

    fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    fn events(&self) -> Vec<Value> {
        let text = self.text();
        let data = text.lines().filter_map(|line| line.strip_prefix("data: ")).filter(|data| *data != "[DONE]");
        data.map(|data| serde_json::from_str(data).unwrap()).collect()
    }
}

async fn start() -> (Arc<Mock>, SocketAddr) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let mock = Mock::new(Options::new(Arc::new(|| 1_795_000_000_000)));
    let served = Arc::clone(&mock);
    tokio::spawn(async move { served.serve(listener, std::future::pending()).await });
    (mock, address)
}

async fn send(address: SocketAddr, target: &str, headers: &[&str], body: &str) -> TcpStream {
    let mut stream = TcpStream::connect(address).await.unwrap();
    let own = "host: mock\r\nauthorization: Bearer x\r\nanthropic-version: 2023-06-01\r\nconnection: close";
    let more: String = headers.iter().map(|line| format!("{line}\r\n")).collect();
    let head = format!("POST {target} HTTP/1.1\r\n{own}\r\ncontent-length: {}\r\n{more}\r\n", body.len());
    stream.write_all(format!("{head}{body}").as_bytes()).await.unwrap();
    stream
}

async fn receive(mut stream: TcpStream) -> Got {
    let mut bytes = Vec::new();
    let reset = stream.read_to_end(&mut bytes).await.is_err();
    let split = bytes.windows(4).position(|four| four == b"\r\n\r\n").map_or(bytes.len(), |at| at + 4);
    let head = String::from_utf8_lossy(&bytes[..split]).to_lowercase();
    let (body, whole) = unframed(&head, &bytes[split..]);
    let end = if reset { End::Reset } else { [End::Short, End::Whole].into_iter().nth(whole.into()).unwrap() };
    let status = head.split(' ').nth(1).and_then(|code| code.parse().ok()).unwrap_or(0);
    Got { status, head, body, end }
}

/// The body without its framing, and whether it was whole.
fn unframed(head: &str, raw: &[u8]) -> (Vec<u8>, bool) {
    if let Some(length) = head.lines().find_map(|line| line.strip_prefix("content-length: ")) {
        return (raw.to_vec(), length.parse() == Ok(raw.len()));
    }
    let (mut rest, mut body) = (raw, Vec::new());
    while let Some(at) = rest.windows(2).position(|two| two == b"\r\n") {
        let size = usize::from_str_radix(std::str::from_utf8(&rest[..at]).unwrap(), 16).unwrap();
        if size == 0 {
            return (body, true);
        }
        let end = (at + 2 + size).min(rest.len());
        body.extend_from_slice(&rest[at + 2..end]);
        rest = rest.get(end + 2..).unwrap_or(&[]);
    }
    (body, false)
}

async fn ask(address: SocketAddr, target: &str, headers: &[&str], body: &Value) -> Got {
    let stream = send(address, target, headers, &body.to_string()).await;
    tokio::time::timeout(Duration::from_secs(20), receive(stream)).await.unwrap()
}

/// Waits until the bill has so many lines.
async fn billed(mock: &Mock, count: usize) -> Vec<Line> {
    let wait = async {
        while mock.bill().lines().len() < count {
            tokio::task::yield_now().await;
        }
        mock.bill().lines()
    };
    tokio::time::timeout(Duration::from_secs(20), wait).await.unwrap()
}

fn chat(stream: bool) -> Value {
    let usage = if stream { json!({ "include_usage": true }) } else { Value::Null };
    let messages = json!([{ "role": "user", "content": "hello" }]);
    json!({ "model": "gpt-5-mini", "messages": messages, "stream": stream, "stream_options": usage })
}

/// The texts in all places with this name, joined.
fn joined(value: &Value, name: &str) -> String {
    match value {
        Value::Array(list) => list.iter().map(|inner| joined(inner, name)).collect(),
        Value::Object(members) => {
            let inner = |(known, inner): (&String, &Value)| match inner {
                Value::String(text) if known == name => text.clone(),
                _ => joined(inner, name),
            };
            members.iter().map(inner).collect()
        }
        _ => String::new(),
    }
}

/// Asks for the same answer whole and streamed: `names` are those of its text in both.
async fn check_same(whole: (&str, Value), streamed: (&str, Value), names: (&str, &str), usage: (&str, &str)) {
    let (mock, address) = start().await;
    let one = ask(address, whole.0, &[], &whole.1).await;
    let two = ask(address, streamed.0, &["x-mock-chunks: 9"], &streamed.1).await;
    assert_eq!((one.status, two.status, &one.end, &two.end), (200, 200, &End::Whole, &End::Whole), "{}", one.text());
    let mut events = match two.head.contains("event-stream") {
        true => two.events(),
        false => two.json().as_array().unwrap().clone(),
    };
    let said = events.last().unwrap().pointer(usage.1).or_else(|| events[events.len() - 2].pointer(usage.1)).cloned();
    events.retain(|event| !event["type"].as_str().unwrap_or("").ends_with(".done") && event["response"].is_null());
    let text = joined(&one.json(), names.0);
    assert!(text.len() > 200 && text == joined(&Value::from(events), names.1), "{text}\n{}", two.text());
    assert_eq!(one.json().pointer(usage.0), said.as_ref());
    let lines = mock.bill().lines();
    assert_eq!(said, Some(json!(lines[0].counted.output)));
    assert_eq!((lines[0].counted, lines[0].cost), (lines[1].counted, lines[1].cost));
    assert_eq!((lines.len(), lines[0].aborted, lines[1].aborted), (2, false, false));
    assert!(one.head.contains(&lines[0].request_id), "{}", one.head);
    assert_eq!(mock.bill().total(), lines[0].cost + lines[1].cost);
}

#[tokio::test]
async fn streamed_and_whole_answers_are_the_same() {
    let path = "/v1/chat/completions";
    let places = ("/usage/completion_tokens", "/usage/completion_tokens");
    check_same((path, chat(false)), (path, chat(true)), ("content", "content"), places).await;

    let path = "/v1/responses";
    let body = |stream: bool| json!({ "model": "o3", "input": "hello", "stream": stream });
    let places = ("/usage/output_tokens", "/response/usage/output_tokens");
    check_same((path, body(false)), (path, body(true)), ("text", "delta"), places).await;

    let path = "/v1/messages";
    let messages = json!([{ "role": "user", "content": "hello" }]);
    let body = |stream: bool| json!({ "model": "c", "max_tokens": 99, "messages": messages, "stream": stream });
    let places = ("/usage/output_tokens", "/usage/output_tokens");
    check_same((path, body(false)), (path, body(true)), ("text", "text"), places).await;

    let path = "/v1beta/models/gemini-2.5-flash:generateContent";
    let body = json!({ "contents": [{ "parts": [{ "text": "hello" }] }] });
    let places = ("/usageMetadata/candidatesTokenCount", "/usageMetadata/candidatesTokenCount");
    for streamed in ["streamGenerateContent?alt=sse", "streamGenerateContent"] {
        let streamed = (&*format!("/v1/models/gemini-2.5-flash:{streamed}"), body.clone());
        check_same((path, body.clone()), streamed, ("text", "text"), places).await;
    }
}

/// What a fault looks like and what it is billed; the answer has 60 tokens in 10 deltas, 13 events.
async fn check_fault(fault: &str, stream: bool, status: u16, end: End, bill: Option<(u64, bool)>) -> Got {
    let (mock, address) = start().await;
    let headers = [&*format!("x-mock-fault: {fault}"), "x-mock-fault-after: 4", "x-mock-chunks: 10"];
    let got = ask(address, "/v1/chat/completions", &headers, &chat(stream)).await;
    assert_eq!((got.status, &got.end), (status, &end), "{fault} {stream} {}", got.text());
    let lines = mock.bill().lines();
    let seen = lines.first().map(|line| (line.counted.output, line.aborted));
    assert_eq!((seen, lines.len()), (bill, bill.iter().len()), "{fault} {stream}");
    got
}

#[tokio::test]
async fn faults_break_what_they_say_and_are_billed() {
    let (all, some) = (Some((60, false)), 19);
    for stream in [false, true] {
        let partly = Some((if stream { some } else { 60 }, true));
        let lost = Some((if stream { 0 } else { 60 }, true));
        let got = check_fault("529", stream, 529, End::Whole, None).await;
        assert_eq!(got.json()["error"]["type"], "server_error");
        check_fault("reset-before", stream, 0, End::Reset, None).await;
        check_fault("reset", stream, 0, End::Reset, lost).await;
        check_fault("cut", stream, 200, End::Short, partly).await;
        check_fault("reset-mid", stream, 200, End::Reset, partly).await;
        check_fault("wrong-length", stream, 200, End::Short, Some((60, true))).await;
        check_fault("drip", stream, 200, End::Whole, all).await;
        check_fault("no-usage", stream, 200, End::Whole, all).await;
        check_fault("garbage", stream, 200, End::Whole, all).await;
        let got = check_fault("gzip", stream, 200, End::Whole, all).await;
        assert!(got.head.contains("content-encoding: gzip") && got.body.starts_with(&[0x1f, 0x8b]));
        check_fault("zstd", stream, 200, End::Whole, all).await;
    }
    let got = check_fault("error-in-stream", true, 200, End::Whole, Some((some, false))).await;
    assert!(got.events().last().unwrap()["error"]["message"].is_string() && !got.text().contains("[DONE]"));
    let got = check_fault("truncated-json", false, 200, End::Whole, all).await;
    assert!(serde_json::from_slice::<Value>(&got.body).is_err());
}

#[tokio::test]
async fn what_never_ends_is_billed_when_it_stops() {
    for (fault, output) in [("hang", 0), ("hang-head", 0), ("stall", 19)] {
        let (mock, address) = start().await;
        let headers = [&*format!("x-mock-fault: {fault}"), "x-mock-fault-after: 4", "x-mock-chunks: 10"];
        let _open = send(address, "/v1/chat/completions", &headers, &chat(true).to_string()).await;
        let line = billed(&mock, 1).await.remove(0);
        assert_eq!((line.counted.output, line.aborted), (output, true), "{fault}");
    }
}

#[tokio::test]
async fn faults_strike_as_often_as_asked() {
    let (_mock, address) = start().await;
    let statuses = |headers: &'static [&'static str]| async move {
        let mut all = Vec::new();
        for _ in 0..4 {
            all.push(ask(address, "/v1/chat/completions", headers, &chat(false)).await.status);
        }
        all
    };
    assert_eq!(statuses(&["x-mock-fault: 503", "x-mock-fault-every: 2"]).await, [200, 503, 200, 503]);
    let first = &["x-mock-fault: 503", "x-mock-fault-times: 1", "x-mock-fault-key: k"];
    assert_eq!(statuses(first).await, [503, 200, 200, 200]);
    assert_eq!(statuses(&["x-mock-fault: 503", "x-mock-fault-model: gpt-4"]).await, [200; 4]);
    let wait = ["x-mock-fault: 429", "x-mock-retry-after: 7"];
    assert!(ask(address, "/v1/messages", &wait, &chat(false)).await.head.contains("retry-after: 7"));
}

#[tokio::test]
async fn a_gate_holds_a_stream_and_a_client_that_leaves_is_billed_for_what_it_saw() {
    let (mock, address) = start().await;
    let headers = ["x-mock-gate: g", "x-mock-gate-after: 3", "x-mock-chunks: 10"];
    let left = send(address, "/v1/chat/completions", &headers, &chat(true).to_string()).await;
    mock.gate("g").wait_for_arrivals(1).await;
    drop(left);
    let line = billed(&mock, 1).await.remove(0);
    assert_eq!((line.counted.output, line.aborted), (13, true));

    let stays = send(address, "/v1/chat/completions", &headers, &chat(true).to_string()).await;
    mock.gate("g").wait_for_arrivals(2).await;
    assert_eq!(mock.bill().lines().len(), 1);
    mock.gate("g").open();
    assert_eq!(receive(stays).await.end, End::Whole);
    assert_eq!(mock.bill().lines()[1].counted.output, 60);
}

/// Every dialect answers nonsense with its own error.
async fn check_refusal(target: &str, body: &str, status: u16, place: &str, expect: &str) {
    let (mock, address) = start().await;
    let got = receive(send(address, target, &[], body).await).await;
    assert_eq!((got.status, got.end == End::Whole), (status, true), "{target} {}", got.text());
    assert_eq!(got.json().pointer(place), Some(&json!(expect)), "{target} {}", got.text());
    assert_eq!(mock.bill().lines(), []);
}

#[tokio::test]
async fn nonsense_is_refused_in_the_dialect() {
    let invalid = "invalid_request_error";
    let deep = "[".repeat(100_000);
    for body in ["", "{", "[]", "null", "\u{0}", "{\"model\":7}", "{\"model\":\"x\",\"messages\":[]}", &deep] {
        check_refusal("/v1/chat/completions", body, 400, "/error/type", invalid).await;
        check_refusal("/v1/responses", body, 400, "/error/type", invalid).await;
        check_refusal("/v1/messages", body, 400, "/error/type", invalid).await;
        check_refusal("/v1beta/models/m:generateContent", body, 400, "/error/status", "INVALID_ARGUMENT").await;
        check_refusal("/v1/embeddings", body, 400, "/error/type", invalid).await;
    }
    let unknown = "{\"model\":\"no-such-model\",\"max_tokens\":1,\"messages\":[{}]}";
    check_refusal("/v1/chat/completions", unknown, 404, "/error/code", "model_not_found").await;
    check_refusal("/v1/messages", unknown, 404, "/error/type", "not_found_error").await;
    check_refusal("/v1beta/models/no-such:generateContent", "{}", 404, "/error/status", "NOT_FOUND").await;
    check_refusal("/v1/elsewhere", "{}", 404, "/error/type", "not_found_error").await;
}

#[tokio::test]
async fn requests_are_kept_as_they_came() {
    let (mock, address) = start().await;
    let body = "{ \"model\" : \"x\",\"messages\":[{\"content\":\"é\\u00e9\"}] }";
    let target = "/v1/chat/completions?a=1&a=2";
    receive(send(address, target, &["x-two: one", "x-two: two"], body).await).await;
    let seen = mock.requests().remove(0);
    assert_eq!((seen.target.as_str(), &seen.body[..]), (target, body.as_bytes()));
    assert_eq!(seen.header_values("X-Two"), ["one", "two"]);
    mock.reset();
    assert_eq!((mock.requests().len(), mock.requests_total()), (0, 1));
}

#[tokio::test]
async fn the_model_and_tier_that_served_are_billed() {
    let (mock, address) = start().await;
    let headers = ["x-mock-served-model: gpt-4o-2024-08-06", "x-mock-served-tier: priority", "x-mock-tokens: 100"];
    let got = ask(address, "/v1/chat/completions", &headers, &chat(false)).await.json();
    assert_eq!((&got["model"], &got["service_tier"]), (&json!("gpt-4o-2024-08-06"), &json!("priority")));
    // Twice 2 x 2.5 + 100 x 10 dollars for a million.
    assert_eq!(mock.bill().total().to_string(), "0.00201");
}

#[tokio::test]
async fn a_long_prompt_is_cheaper_the_second_time() {
    let (mock, address) = start().await;
    let mut body = chat(false);
    body["messages"] = json!([{ "role": "user", "content": "hello ".repeat(1_000) }]);
    for _ in 0..2 {
        ask(address, "/v1/chat/completions", &["x-mock-tokens: 0"], &body).await;
    }
    let lines = mock.bill().lines();
    let counted = |input, cache_read| Counted { input, cache_read, ..Counted::default() };
    assert_eq!([lines[0].counted, lines[1].counted], [counted(1_500, 0), counted(92, 1_408)]);
    // 1500 x 0.25, then 92 x 0.25 + 1408 x 0.025 dollars for a million.
    assert_eq!([lines[0].cost.to_string(), lines[1].cost.to_string()], ["0.000375", "0.0000582"]);
}
