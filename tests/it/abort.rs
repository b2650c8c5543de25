//! THE ABORT MATRIX: a client that leaves, an upstream that fails, at every point of a request.
//!
//! Each case asserts what the client got, that the request has one entry and its attempt one open and one close record,
//! and that outcome and charge are those of the table "how it ends"; the mock's own bill says what is exact.

use std::time::Duration;

use tokio::io::AsyncReadExt;
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tollgate::domain::entry::{Entry, Outcome};
use tollgate::domain::money::Usd;
use tollgate::domain::tokens::UsageSource::{self, Assumed, Counted, None as Free, Reported};
use tollgate::drain::Phase;
use tollgate::mock::Line;
use tollgate::store::Record;

use crate::wire::{self, End, Got};
use crate::world::{KEY, World};

/// How long an upstream may be silent in the cases where one is.
const SILENCE: Duration = Duration::from_millis(400);

/// No wait for something that has to happen takes longer.
const PATIENCE: Duration = Duration::from_secs(20);

/// A wire API, streamed and whole.
#[derive(Clone, Copy, Debug)]
struct Api {
    stream: (&'static str, &'static str),
    whole: (&'static str, &'static str),
    /// What its own error at the end of a stream holds.
    error: &'static str,
}

const CHAT: Api = Api {
    stream: (
        "/v1/chat/completions",
        r#"{"model":"gpt-4o","stream":true,"messages":[{"role":"user","content":"hello"}]}"#,
    ),
    whole: ("/v1/chat/completions", r#"{"model":"gpt-4o","messages":[{"role":"user","content":"hello"}]}"#),
    error: "data: {\"error\":{",
};
const RESPONSES: Api = Api {
    stream: ("/v1/responses", r#"{"model":"gpt-4o","stream":true,"input":"hello"}"#),
    whole: ("/v1/responses", r#"{"model":"gpt-4o","input":"hello"}"#),
    error: "event: response.failed\ndata: {",
};
const MESSAGES: Api = Api {
    stream: (
        "/v1/messages",
        r#"{"model":"claude-haiku-4-5","max_tokens":900,"stream":true,"messages":[{"role":"user","content":"hello"}]}"#,
    ),
    whole: (
        "/v1/messages",
        r#"{"model":"claude-haiku-4-5","max_tokens":900,"messages":[{"role":"user","content":"hello"}]}"#,
    ),
    error: "event: error\ndata: {",
};
const CONTENTS: &str = r#"{"contents":[{"parts":[{"text":"hello"}]}]}"#;
const GEMINI: Api = Api {
    stream: ("/v1beta/models/gemini-2.5-flash-lite:streamGenerateContent?alt=sse", CONTENTS),
    whole: ("/v1beta/models/gemini-2.5-flash-lite:generateContent", CONTENTS),
    error: "data: {\"error\":{",
};
const GEMINI_ARRAY: Api = Api {
    stream: ("/v1beta/models/gemini-2.5-flash-lite:streamGenerateContent", CONTENTS),
    error: ",{\"error\":{",
    ..GEMINI
};
const APIS: [Api; 5] = [CHAT, RESPONSES, MESSAGES, GEMINI, GEMINI_ARRAY];
const CANCEL: &str = "[money]\non_client_abort = \"cancel\"";

/// Yields until `ready`.
async fn until(what: &str, mut ready: impl FnMut() -> bool) {
    let wait = async {
        while !ready() {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(PATIENCE, wait).await.unwrap_or_else(|_| panic!("never: {what}"));
}

fn lines(settings: &[(&str, &str)]) -> Vec<String> {
    let settings = settings.iter().map(|(name, value)| format!("x-mock-{name}: {value}"));
    let own = [format!("authorization: Bearer {KEY}"), "anthropic-version: 2023-06-01".into()];
    settings.chain(own).collect()
}

async fn send(world: &World, (path, body): (&str, &str), settings: &[(&str, &str)]) -> TcpStream {
    let lines = lines(settings);
    let lines: Vec<&str> = lines.iter().map(|line| &**line).collect();
    wire::send(world.address, &format!("POST {path}"), &lines, body).await
}

async fn ask(world: &World, sent: (&str, &str), settings: &[(&str, &str)]) -> Got {
    let stream = send(world, sent, settings).await;
    tokio::time::timeout(PATIENCE, wire::receive(stream, false)).await.expect("no answer came")
}

/// The one entry, once all is settled; the books around it are in order and nothing is left in flight.
async fn entry(world: &World, case: &str) -> Entry {
    let records = world.records().await;
    let (mut opens, mut closes, mut entries) = (Vec::new(), Vec::new(), Vec::new());
    for record in records {
        match record {
            Record::Open(open) => opens.push(open),
            Record::Close(close) => closes.push(close),
            Record::Entry(entry) => entries.push(*entry),
            _ => {}
        }
    }
    assert_eq!((opens.len(), closes.len(), entries.len()), (1, 1, 1), "{case}");
    let entry = entries.pop().unwrap();
    let (open, close, attempt) = (&opens[0], &closes[0], &entry.attempts[0]);
    assert_eq!((open.attempt, open.quote), (close.attempt, entry.quote), "{case}");
    assert_eq!(
        (close.outcome, close.usage_source, close.cost),
        (entry.outcome, entry.usage_source, entry.cost),
        "{case}"
    );
    assert_eq!((attempt.outcome, attempt.cost, attempt.status), (entry.outcome, entry.cost, close.status), "{case}");
    assert!(!entry.overrun && entry.cost.is_some(), "{case}: {entry:?}");
    until("all places are given back", || {
        let gates = [&world.app.drains, &world.app.body_memory].map(|gate| gate.used());
        let used = [world.app.requests.used(), gates[0], gates[1]];
        used == [0; 3] && world.app.metrics.in_flight.get() == 0
    })
    .await;
    entry
}

async fn billed(world: &World) -> Line {
    until("the mock has written its bill", || !world.mock.bill().lines().is_empty()).await;
    world.mock.bill().lines().pop().unwrap()
}

/// Reads the head and `events` events of a stream.
async fn read_events(stream: &mut TcpStream, events: usize) {
    let mut bytes = Vec::new();
    let reading = async {
        loop {
            let text = String::from_utf8_lossy(&bytes);
            let body = text.split_once("\r\n\r\n").map(|(_, body)| body);
            let count = |body: &str| body.matches("data: {").count().max(body.matches("\"candidates\"").count());
            if body.is_some_and(|body| count(body) >= events) {
                return;
            }
            assert!(stream.read_buf(&mut bytes).await.unwrap() > 0, "the answer ended early");
        }
    };
    tokio::time::timeout(PATIENCE, reading).await.expect("events that do not come");
}

#[tokio::test]
async fn a_client_that_leaves_a_stream_is_charged_what_was_used() {
    for (api, events) in APIS.into_iter().flat_map(|api| [0, 1, 6].map(|events| (api, events))) {
        for extra in ["", CANCEL] {
            let case = format!("{} {events} {extra}", api.stream.0);
            let world = World::start(extra).await;
            let gate = world.mock.gate("here");
            let after = events.to_string();
            let settings = [("gate", "here"), ("gate-after", &*after), ("chunks", "12"), ("tokens", "60")];
            let mut client = send(&world, api.stream, &settings).await;
            read_events(&mut client, events).await;
            gate.wait_for_arrivals(1).await;
            drop(client);
            let entry = if extra.is_empty() {
                until("the rest is read", || world.app.drains.used() == 1).await;
                gate.open();
                entry(&world, &case).await
            } else {
                let entry = entry(&world, &case).await;
                // The upstream's connection is closed, so that it notices at the gate.
                until("the upstream is left", || !world.mock.bill().lines().is_empty()).await;
                entry
            };
            let line = billed(&world).await;
            assert_eq!((entry.outcome, entry.status), (Outcome::ClientAbort, 200), "{case}");
            if extra.is_empty() {
                assert_eq!(
                    (entry.usage_source, entry.cost, line.aborted),
                    (Reported, Some(line.cost), false),
                    "{case}"
                );
            } else {
                assert_eq!((entry.usage_source, line.aborted), (Counted, true), "{case}");
                assert!((Some(line.cost)..=entry.quote).contains(&entry.cost), "{case}: {line:?} {entry:?}");
            }
        }
    }
}

#[tokio::test]
async fn a_client_that_leaves_before_the_head_of_a_whole_answer() {
    for (api, extra) in APIS.into_iter().take(4).flat_map(|api| ["", CANCEL].map(|extra| (api, extra))) {
        let case = format!("{} {extra}", api.whole.0);
        let world = World::start(extra).await;
        let gate = world.mock.gate("here");
        let client = send(&world, api.whole, &[("gate", "here")]).await;
        gate.wait_for_arrivals(1).await;
        drop(client);
        let (expect, attempt) = if extra.is_empty() {
            until("the rest is read", || world.app.drains.used() == 1).await;
            gate.open();
            (Reported, 200)
        } else {
            (Assumed, 0)
        };
        let entry = entry(&world, &case).await;
        gate.open();
        assert_eq!((entry.outcome, entry.status, entry.usage_source), (Outcome::ClientAbort, 499, expect), "{case}");
        assert_eq!(entry.attempts[0].status, attempt, "{case}");
        let exact = if extra.is_empty() { Some(billed(&world).await.cost) } else { entry.quote };
        assert_eq!(entry.cost, exact, "{case}");
    }
}

#[tokio::test]
async fn a_client_that_leaves_before_the_head_of_a_stream() {
    for (api, extra) in APIS.into_iter().flat_map(|api| ["", CANCEL].map(|extra| (api, extra))) {
        let case = format!("{} {extra}", api.stream.0);
        let world = World::impatient(extra, SILENCE).await;
        let client = send(&world, api.stream, &[("fault", "hang")]).await;
        until("the request has arrived", || !world.mock.requests().is_empty()).await;
        drop(client);
        let entry = entry(&world, &case).await;
        assert_eq!((entry.outcome, entry.status, entry.usage_source), (Outcome::ClientAbort, 499, Counted), "{case}");
        assert!((Some(billed(&world).await.cost)..=entry.quote).contains(&entry.cost), "{case}");
    }
}

#[tokio::test]
async fn a_client_that_leaves_behind_the_last_word_has_got_all() {
    for api in [CHAT, RESPONSES, MESSAGES] {
        let world = World::start(CANCEL).await;
        let gate = world.mock.gate("here");
        let mut client = send(&world, api.stream, &[("gate", "here"), ("gate-after", "9999"), ("tokens", "5")]).await;
        let mut seen = Vec::new();
        let done = ["[DONE]\n\n", "event: response.completed", "event: message_stop"];
        while !done.iter().any(|done| String::from_utf8_lossy(&seen).contains(done)) {
            assert!(client.read_buf(&mut seen).await.unwrap() > 0);
        }
        gate.wait_for_arrivals(1).await;
        drop(client);
        let entry = entry(&world, api.stream.0).await;
        gate.open();
        assert_eq!((entry.outcome, entry.usage_source), (Outcome::Complete, Reported), "{}", api.stream.0);
        assert_eq!(entry.cost, Some(billed(&world).await.cost), "{}", api.stream.0);
    }
}

/// What a client gets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Gets {
    /// What the upstream sent, with this status.
    Theirs(u16),
    /// The start of a stream and the error that ends it.
    Error,
    /// Our own no with this status.
    Refusal(u16),
}

/// What is charged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Costs {
    Nothing,
    /// What the mock bills.
    Exact,
    /// The worst case.
    Quote,
    /// Not less than what the mock bills, and not more than the worst case.
    Bound,
}

type Expect = (Gets, Outcome, UsageSource, Costs);

async fn check(api: Api, sent: (&str, &str), fault: &str, expect: Expect) {
    let case = format!("{} {fault}", sent.0);
    let is_silent = ["hang", "hang-head", "stall"].contains(&fault);
    let world = if is_silent { World::impatient("", SILENCE).await } else { World::start("").await };
    let got = ask(&world, sent, &[("fault", fault), ("fault-after", "4"), ("chunks", "12"), ("tokens", "60")]).await;
    let entry = entry(&world, &case).await;
    let (gets, outcome, source, costs) = expect;
    let text = got.text();
    // Nothing is ever reset, and each answer has its end.
    assert_eq!(got.end, End::Whole, "{case}: {text}");
    match gets {
        Gets::Theirs(status) => assert!(got.status == status && !text.contains("tollgate"), "{case}: {text}"),
        Gets::Error => {
            assert_eq!(got.status, 200, "{case}");
            let error = if text.starts_with("[{\"error") { &api.error[1..] } else { api.error };
            let last = text.rfind(error).unwrap_or_else(|| panic!("{case}: no error in {text}"));
            assert!(text[last..].contains("upstream"), "{case}: {text}");
            assert_eq!(text.matches(error).count(), 1, "{case}: {text}");
            assert!(!text.contains("[DONE]") && !text.contains("message_stop"), "{case}: {text}");
            // What was cut within a string cannot be mended.
            if api.stream.0 == GEMINI_ARRAY.stream.0 && fault != "truncated-json" {
                let array: Vec<serde_json::Value> =
                    serde_json::from_str(&text).unwrap_or_else(|why| panic!("{why}: {text}"));
                assert_eq!(array.last().unwrap()["error"]["status"], "UNAVAILABLE", "{case}");
            }
        }
        Gets::Refusal(status) => {
            let body: serde_json::Value = serde_json::from_str(&text).unwrap();
            assert!(got.status == status && body["error"]["message"].is_string(), "{case}: {} {text}", got.status);
        }
    }
    assert_eq!((entry.outcome, entry.usage_source, entry.status), (outcome, source, got.status), "{case}: {entry:?}");
    match costs {
        Costs::Nothing => assert_eq!(entry.cost, Some(Usd::ZERO), "{case}"),
        Costs::Exact => assert_eq!(entry.cost, Some(billed(&world).await.cost), "{case}"),
        Costs::Quote => assert_eq!(entry.cost, entry.quote, "{case}"),
        Costs::Bound => {
            let line = billed(&world).await;
            assert!((Some(line.cost)..=entry.quote).contains(&entry.cost), "{case}: {line:?} {entry:?}");
        }
    }
}

#[tokio::test]
async fn upstreams_that_say_no_are_not_paid() {
    for api in APIS {
        for status in [400, 401, 403, 404, 413, 429, 500, 502, 503, 529] {
            for sent in [api.stream, api.whole] {
                let expect = (Gets::Theirs(status), Outcome::UpstreamError, Free, Costs::Nothing);
                check(api, sent, &status.to_string(), expect).await;
            }
        }
    }
}

#[tokio::test]
async fn upstreams_that_break_off_end_in_an_error_and_are_charged_in_full() {
    // Side by side, since each waits for its own silence.
    let mut apis: JoinSet<()> = APIS.into_iter().map(breaks).collect();
    while let Some(done) = apis.join_next().await {
        done.unwrap();
    }
}

async fn breaks(api: Api) {
    use Outcome::{Timeout, UpstreamAborted};
    for (fault, whole, outcome) in [
        ("reset-before", 502, UpstreamAborted),
        ("reset", 502, UpstreamAborted),
        ("hang", 504, Timeout),
        ("hang-head", 504, Timeout),
        ("cut", 502, UpstreamAborted),
        ("reset-mid", 502, UpstreamAborted),
        ("stall", 504, Timeout),
    ] {
        let is_headless = ["reset-before", "reset", "hang"].contains(&fault);
        check(api, api.whole, fault, (Gets::Refusal(whole), outcome, Assumed, Costs::Quote)).await;
        let gets = if is_headless { Gets::Refusal(whole) } else { Gets::Error };
        check(api, api.stream, fault, (gets, outcome, Assumed, Costs::Quote)).await;
    }
}

#[tokio::test]
async fn upstreams_that_answer_badly() {
    use Outcome::{Complete, UpstreamAborted, UpstreamError};
    for api in APIS {
        let theirs = Gets::Theirs(200);
        for sent in [api.stream, api.whole] {
            check(api, sent, "none", (theirs, Complete, Reported, Costs::Exact)).await;
            check(api, sent, "drip", (theirs, Complete, Reported, Costs::Exact)).await;
            check(api, sent, "no-usage", (theirs, Complete, Counted, Costs::Bound)).await;
        }
        // Gemini tells its usage with each chunk, the others at the end.
        let told = if api.whole == GEMINI.whole { (Reported, Costs::Exact) } else { (Counted, Costs::Bound) };
        check(api, api.stream, "error-in-stream", (theirs, UpstreamError, told.0, told.1)).await;
        check(api, api.stream, "truncated-json", (Gets::Error, UpstreamAborted, Assumed, Costs::Quote)).await;
        check(api, api.whole, "truncated-json", (theirs, Complete, Counted, Costs::Bound)).await;
        check(api, api.whole, "garbage", (theirs, UpstreamAborted, Counted, Costs::Bound)).await;
        check(api, api.whole, "wrong-length", (Gets::Refusal(502), UpstreamAborted, Reported, Costs::Exact)).await;
    }
    for api in [CHAT, RESPONSES, MESSAGES, GEMINI] {
        check(api, api.stream, "wrong-length", (Gets::Theirs(200), Complete, Reported, Costs::Exact)).await;
        check(api, api.stream, "garbage", (Gets::Theirs(200), UpstreamAborted, Counted, Costs::Bound)).await;
    }
}

#[tokio::test]
async fn the_end_of_the_process_ends_what_is_open() {
    for api in APIS {
        let world = World::start("").await;
        let gate = world.mock.gate("here");
        let mut client = send(&world, api.stream, &[("gate", "here"), ("gate-after", "3"), ("tokens", "60")]).await;
        gate.wait_for_arrivals(1).await;
        read_events(&mut client, 1).await;
        world.app.drain.advance(Phase::Cutting);
        let mut rest = Vec::new();
        tokio::time::timeout(PATIENCE, client.read_to_end(&mut rest)).await.unwrap().unwrap();
        let rest = String::from_utf8_lossy(&rest).into_owned();
        assert!(rest.contains(api.error) && rest.ends_with("\r\n0\r\n\r\n"), "{rest}");
        let entry = entry(&world, api.stream.0).await;
        assert_eq!((entry.usage_source, entry.cost), (Assumed, entry.quote));
    }
    let world = World::start("").await;
    let client = send(&world, CHAT.stream, &[("fault", "hang")]).await;
    until("the request has arrived", || !world.mock.requests().is_empty()).await;
    world.app.drain.advance(Phase::Cutting);
    let got = tokio::time::timeout(PATIENCE, wire::receive(client, false)).await.unwrap();
    let entry = entry(&world, "hang").await;
    assert_eq!((got.status, entry.status, entry.usage_source, entry.cost), (503, 503, Assumed, entry.quote));
}

#[tokio::test]
async fn a_refused_body_is_read_so_that_the_refusal_is() {
    let world = World::start("").await;
    let body = "x".repeat(5 << 20);
    let lines = ["authorization: Bearer tg_0123456789abcdefghiX"];
    let got = wire::ask(world.address, "POST /v1/chat/completions", &lines, &body).await;
    assert_eq!((got.status, got.end, world.mock.requests_total()), (401, End::Whole, 0));
    assert!(world.entries().await.is_empty());
}
