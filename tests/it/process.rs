//! The process: how it starts, how it ends, and what is left when it is killed.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use tollgate::domain::account::Scope;
use tollgate::domain::entry::{Entry, Outcome};
use tollgate::domain::ids::RequestId;
use tollgate::domain::money::Usd;
use tollgate::domain::operation::Dialect;
use tollgate::domain::tokens::UsageSource;
use tollgate::store::verify;

use super::child::{HttpClient, Place, Served, pause};
use super::raw::{LONG, check_shape};

/// A stream of each dialect.
const STREAMS: [(Dialect, &str, &str); 4] = [
    (
        Dialect::OpenAi,
        "/v1/chat/completions",
        r#"{"model":"gpt-4o-mini","stream":true,"max_tokens":200,"messages":[{"role":"user","content":"hello"}]}"#,
    ),
    (Dialect::OpenAi, "/v1/responses", r#"{"model":"gpt-5.4","stream":true,"max_output_tokens":200,"input":"hello"}"#),
    (
        Dialect::Anthropic,
        "/v1/messages",
        r#"{"model":"claude-haiku-5-5","stream":true,"max_tokens":200,"messages":[{"role":"user","content":"hello"}]}"#,
    ),
    (
        Dialect::Gemini,
        "/v1beta/models/gemini-2.5-flash:streamGenerateContent?alt=sse",
        r#"{"contents":[{"role":"user","parts":[{"text":"hello"}]}],"generationConfig":{"maxOutputTokens":200}}"#,
    ),
];

/// Opens a stream of each dialect; each stops at the gate `held` after two events.
async fn open_streams(place: &Place, served: &Served) -> Vec<Response<Incoming>> {
    let mut streams = Vec::new();
    for (_, path, body) in STREAMS {
        let mut request = served.post(path, body);
        for (name, value) in [("x-mock-gate", "held"), ("x-mock-gate-after", "2"), ("x-mock-chunks", "5")] {
            request.headers_mut().insert(name, value.parse().unwrap());
        }
        streams.push(place.client.request(request).await.unwrap());
    }
    let arrived = place.mock.gate("held");
    tokio::time::timeout(LONG, arrived.wait_for_arrivals(STREAMS.len() as u64)).await.expect("streams never came");
    streams
}

async fn texts(streams: Vec<Response<Incoming>>) -> Vec<String> {
    let mut texts = Vec::new();
    for stream in streams {
        assert_eq!(stream.status(), 200);
        let body = tokio::time::timeout(LONG, stream.into_body().collect()).await.expect("a stream hangs");
        texts.push(String::from_utf8(body.expect("a stream was reset").to_bytes().to_vec()).unwrap());
    }
    texts
}

fn check_books(place: &Place) -> Vec<Entry> {
    let entries = place.entries();
    let report = verify(place.folder.path()).unwrap();
    assert!(report.unfinished.is_empty() && report.odd_records == 0 && report.tail.is_none(), "{report:?}");
    let sum: Usd = entries.iter().filter_map(|entry| entry.cost).sum();
    let total = report.totals.of(&Scope::Organisation);
    assert_eq!((total.spent, total.entries), (sum, entries.len() as u64));
    let ids: HashSet<RequestId> = entries.iter().map(|entry| entry.id).collect();
    assert_eq!(ids.len(), entries.len(), "no request has two entries");
    entries
}

#[tokio::test(flavor = "multi_thread")]
async fn a_signal_lets_open_streams_end() {
    let place = Place::new("").await;
    let mut served = place.serve().await;
    let streams = open_streams(&place, &served).await;
    served.signal("TERM");
    served.refuses().await;
    place.mock.gate("held").open();
    for (text, last) in
        texts(streams).await.iter().zip(["data: [DONE]", "response.completed", "message_stop", "finishReason"])
    {
        assert!(text.contains(last) && !text.contains("\"error\":{"), "{text}");
    }
    assert_eq!(served.end().await.code(), Some(0), "{}", served.said.lock().unwrap());
    let entries = check_books(&place);
    assert_eq!(entries.len(), STREAMS.len());
    for entry in entries {
        assert_eq!((entry.outcome, entry.usage_source), (Outcome::Complete, UsageSource::Reported), "{entry:?}");
    }
    assert!(!place.folder.path().join("control.sock").exists());
    println!("it served {} ms after it was started", served.start.as_millis());
}

/// Ends a process whose streams never end, and checks how it ends them.
async fn check_cut(extra: &str, signals: usize) {
    let place = Place::new(extra).await;
    let mut served = place.serve().await;
    let streams = open_streams(&place, &served).await;
    let mut waiting = served.post(
        "/v1/messages",
        r#"{"model":"claude-haiku-5-5","max_tokens":9,"messages":[{"role":"user","content":"hello"}]}"#,
    );
    waiting.headers_mut().insert("x-mock-fault", "hang".parse().unwrap());
    let waiting = tokio::spawn(place.client.request(waiting));
    let reached = async {
        while place.mock.requests_total() <= STREAMS.len() as u64 {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(LONG, reached).await.unwrap();
    for _ in 0..signals {
        served.signal("TERM");
        served.refuses().await;
    }
    for (text, last) in texts(streams).await.iter().zip(["\"error\"", "response.failed", "event: error", "\"error\""]) {
        let tail = &text[text.len().saturating_sub(600)..];
        assert!(tail.contains(last) && !text.contains("message_stop") && !text.contains("[DONE]"), "{last}: {tail}");
    }
    let waited = waiting.await.unwrap().unwrap();
    let (head, body) = waited.into_parts();
    assert_eq!(head.status, 503);
    let id = head.headers["x-tollgate-request-id"].to_str().unwrap();
    check_shape(Dialect::Anthropic, &body.collect().await.unwrap().to_bytes(), 503, id);
    assert_eq!(served.end().await.code(), Some(0), "{}", served.said.lock().unwrap());
    let entries = check_books(&place);
    assert_eq!(entries.len(), STREAMS.len() + 1);
    for entry in entries {
        assert_eq!((entry.outcome, entry.usage_source), (Outcome::Timeout, UsageSource::Assumed), "{entry:?}");
        assert_eq!(entry.cost, entry.quote, "what nobody knows counts at its quote");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn after_the_longest_drain_streams_are_cut() {
    check_cut("server.drain_s = 1", 1).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_signal_cuts_at_once() {
    check_cut("", 2).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_clients_left_is_settled_before_the_end() {
    let place = Place::new("server.drain_s = 1").await;
    let mut served = place.serve().await;
    drop(open_streams(&place, &served).await);
    // Its connections are gone once the client's pool has closed them; the upstream's streams are still read.
    served.signal("TERM");
    served.refuses().await;
    assert_eq!(served.end().await.code(), Some(0), "{}", served.said.lock().unwrap());
    let entries = check_books(&place);
    assert_eq!(entries.len(), STREAMS.len());
    for entry in entries {
        assert!(matches!(entry.outcome, Outcome::ClientAbort | Outcome::Timeout), "{entry:?}");
        assert!(entry.cost.is_some());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_has_one_process_and_mistakes_have_their_codes() {
    let place = Place::new("").await;
    let served = place.serve().await;
    let config = place.config().display().to_string();
    let second = place.run(&["serve", "--config", &config, "--set", "store.lock_wait_s=0"]).await;
    let said = String::from_utf8(second.stderr).unwrap();
    assert_eq!(second.status.code(), Some(1), "{said}");
    let pid = served.process.id().unwrap();
    assert!(said.contains("is used by another process") && said.contains(&format!("pid {pid}")), "{said}");
    let taken = format!("server.listen={}", served.address);
    let other = format!("store.path={}", place.folder.path().join("other").display());
    let third = place.run(&["serve", "--config", &config, "--set", &taken, "--set", &other]).await;
    let said = String::from_utf8(third.stderr).unwrap();
    assert!(third.status.code() == Some(1) && said.contains("cannot listen on"), "{said}");
    for (arguments, code, says) in [
        (&["serve", "--config", "/nowhere.toml"][..], 78, "/nowhere.toml"),
        (&["serve", "--config", &config, "--set", "server.lisen=1"], 78, "lisen"),
        (&["serve", "--config", &config, "--set", "store.path="], 78, "store"),
        (&["serve", "--confg"], 64, "--config"),
        (&["frobnicate"], 64, "frobnicate"),
        (&[], 64, "Usage"),
    ] {
        let output = place.run(arguments).await;
        let said = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(code), "{arguments:?}: {said}");
        assert!(said.contains(says) && output.stdout.is_empty() && !said.contains("panicked"), "{arguments:?}: {said}");
    }
    let help = place.run(&["--help"]).await;
    assert_eq!(help.status.code(), Some(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_signal_ends_the_wait_for_another_process_s_store() {
    let place = Place::new("").await;
    let mut served = place.serve().await;
    let config = place.config().display().to_string();
    let arguments = ["serve", "--config", &config, "--set", "store.lock_wait_s=600", "--set", "log.level=debug"];
    let mut second = place.command(&arguments).spawn().unwrap();
    let id = second.id().unwrap();
    // Once it has taken over its signals it waits: the next thing that it does.
    let is_waiting = || {
        let status = std::fs::read_to_string(format!("/proc/{id}/status")).unwrap();
        let caught = status.lines().find_map(|line| line.strip_prefix("SigCgt:")).unwrap().trim();
        u64::from_str_radix(caught, 16).unwrap() & (1 << (15 - 1)) != 0
    };
    let waited = async {
        while !is_waiting() {
            pause().await;
        }
    };
    tokio::time::timeout(LONG, waited).await.expect("it never listens to signals");
    assert!(std::process::Command::new("kill").args(["-TERM", &id.to_string()]).status().unwrap().success());
    let ended = tokio::time::timeout(LONG, second.wait()).await.expect("it waits on").unwrap();
    assert_eq!(ended.code(), Some(0));
    served.signal("TERM");
    assert_eq!(served.end().await.code(), Some(0));
    check_books(&place);
}

/// What clients got whole, by the name of the request.
type Answered = Arc<std::sync::Mutex<Vec<RequestId>>>;

/// Asks until the server is gone: whole answers, streams, and streams that are left in the middle.
async fn ask_until_killed(client: HttpClient, address: std::net::SocketAddr, worker: usize, answered: Answered) {
    for turn in worker.. {
        let (_, path, body) = STREAMS[turn % STREAMS.len()];
        let is_whole = turn % 3 == 0;
        let (path, body) = match is_whole {
            true => (
                path.replace(":streamGenerateContent?alt=sse", ":generateContent"),
                body.replace("\"stream\":true,", ""),
            ),
            false => (path.to_owned(), body.to_owned()),
        };
        let request = Request::post(format!("http://{address}{path}"))
            .header("authorization", format!("Bearer {}", super::world::KEY))
            .header("anthropic-version", "2023-06-01")
            .header("x-mock-tokens", "150")
            .header("x-mock-chunks", "12")
            .body(Full::new(Bytes::from(body)))
            .unwrap();
        let Ok(answer) = client.request(request).await else { return };
        assert_eq!(answer.status(), 200);
        let id: RequestId = answer.headers()["x-tollgate-request-id"].to_str().unwrap().parse().unwrap();
        let mut body = answer.into_body();
        if turn % 7 == 6 {
            let _first = body.frame().await;
            continue;
        }
        if body.collect().await.is_ok() {
            answered.lock().unwrap().push(id);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_in_a_loop_it_loses_nothing_and_invents_nothing() {
    let rounds: usize = std::env::var("TOLLGATE_KILL_ROUNDS").map_or(10, |rounds| rounds.parse().unwrap());
    let place = Place::new("[money]\nhold_expiry_s = 0").await;
    let answered = Answered::default();
    let mut start = Duration::ZERO;
    for round in 0..rounds {
        let mut served = place.serve().await;
        start = start.max(served.start);
        // Any number will do, as long as rounds differ.
        let enough = answered.lock().unwrap().len() + 1 + round * 7919 % 61;
        let workers: Vec<_> = (0..8)
            .map(|worker| {
                tokio::spawn(ask_until_killed(place.client.clone(), served.address, worker + round, answered.clone()))
            })
            .collect();
        let busy = async {
            while answered.lock().unwrap().len() < enough {
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(LONG, busy).await.expect("it answers nothing");
        served.process.start_kill().unwrap();
        served.end().await;
        for worker in workers {
            // Another test's server may be at the same port by now, and let it wait.
            worker.abort();
            let ended = tokio::time::timeout(LONG, worker).await.expect("a client hangs");
            assert!(ended.is_ok() || ended.is_err_and(|error| error.is_cancelled()), "a client failed");
        }
    }
    let mut served = place.serve().await;
    served.signal("TERM");
    assert_eq!(served.end().await.code(), Some(0), "{}", served.said.lock().unwrap());
    check_after_kills(&place, &answered.lock().unwrap(), rounds);
    println!("the slowest start took {} ms", start.as_millis());
}

fn check_after_kills(place: &Place, answered: &[RequestId], rounds: usize) {
    let entries = check_books(place);
    let by_id: HashMap<RequestId, &Entry> = entries.iter().map(|entry| (entry.id, entry)).collect();
    for id in answered {
        let entry = by_id.get(id).expect("an answered request has no entry");
        assert!(matches!(entry.outcome, Outcome::Complete | Outcome::Unsettled), "{entry:?}");
    }
    let unsettled = entries.iter().filter(|entry| entry.outcome == Outcome::Unsettled);
    for entry in unsettled.clone() {
        assert!(entry.cost == entry.quote && entry.cost.is_some(), "{entry:?}");
    }
    let spent: Usd = entries.iter().filter_map(|entry| entry.cost).sum();
    let bill = place.mock.bill().total();
    assert!(bill <= spent, "billed {}, in the ledger {}", bill.fixed(), spent.fixed());
    println!(
        "{rounds} kills: {} answered, {} entries, {} unsettled, billed {}, in the ledger {}",
        answered.len(),
        entries.len(),
        unsettled.count(),
        bill.fixed(),
        spent.fixed()
    );
}
