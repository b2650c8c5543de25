//! The fault matrix: every fault of an upstream, for streams and whole answers, with and without somebody to fall back
//! to: what the client gets, who was asked how often, what was written down, and that nothing is billed twice.

use std::net::SocketAddr;
use std::time::Duration;

use http_body_util::BodyExt;
use tokio::net::TcpSocket;
use tollgate::domain::entry::Outcome;
use tollgate::domain::money::Usd;
use tollgate::mock::{Mock, Settings};
use tollgate::store::Record;
use tollgate::upstream::breaker::State;

use crate::again::backup;
use crate::world::{self, World};

/// How long a hanging upstream is waited for. Only those that hang are given so little.
const HANG: Duration = Duration::from_secs(5);

/// What the client gets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Gets {
    /// A good answer.
    Good,
    /// A head with this status.
    Status(u16),
    /// A stream with status 200 that ends with an error of the dialect.
    ErrorInStream,
    /// No answer, or a good one of somebody else if no byte of the body was taken.
    Lost,
    /// An answer with status 200 that is not what was hoped for.
    Odd,
}

/// What is expected of one fault.
#[derive(Clone, Copy, Debug)]
struct Row {
    fault: &'static str,
    /// Without a fallback, of a whole answer and of a stream.
    alone: [Gets; 2],
    /// With one.
    helped: [Gets; 2],
    /// Attempts at the first upstream, two retries included. `None`: it depends on how far the request came.
    asked: Option<usize>,
    /// Whether the provider bills it, so that nobody may be asked again.
    is_billed: bool,
}

const fn row(fault: &'static str, alone: [Gets; 2], helped: [Gets; 2], asked: Option<usize>, is_billed: bool) -> Row {
    Row { fault, alone, helped, asked, is_billed }
}

const fn passing(fault: &'static str, status: u16) -> Row {
    row(fault, [Gets::Status(status); 2], [Gets::Good; 2], Some(3), false)
}

const fn lost(fault: &'static str, status: u16, asked: Option<usize>, is_billed: bool) -> Row {
    row(fault, [Gets::Status(status); 2], [Gets::Status(status); 2], asked, is_billed)
}

const fn begun(fault: &'static str, whole: Gets, stream: Gets) -> Row {
    row(fault, [whole, stream], [whole, stream], Some(1), true)
}

/// `refuse`, `dns` and `tls` are no faults of the mock but of the way to it.
const MATRIX: [Row; 28] = [
    passing("408", 408),
    passing("429", 429),
    passing("500", 500),
    passing("502", 502),
    passing("503", 503),
    passing("504", 504),
    passing("529", 529),
    row("429+30", [Gets::Status(429); 2], [Gets::Good; 2], Some(1), false),
    passing("refuse", 502),
    passing("dns", 502),
    passing("tls", 502),
    lost("400", 400, Some(1), false),
    row("401", [Gets::Status(401); 2], [Gets::Good; 2], Some(1), false),
    lost("404", 404, Some(1), false),
    row("reset-before", [Gets::Status(502); 2], [Gets::Lost; 2], None, false),
    lost("hang", 504, Some(1), true),
    lost("reset", 502, Some(1), true),
    begun("hang-head", Gets::Status(504), Gets::ErrorInStream),
    begun("cut", Gets::Status(502), Gets::ErrorInStream),
    begun("reset-mid", Gets::Status(502), Gets::ErrorInStream),
    begun("stall", Gets::Status(504), Gets::ErrorInStream),
    begun("wrong-length", Gets::Status(502), Gets::Good),
    begun("error-in-stream", Gets::Odd, Gets::ErrorInStream),
    begun("garbage", Gets::Odd, Gets::Odd),
    begun("truncated-json", Gets::Odd, Gets::ErrorInStream),
    begun("drip", Gets::Good, Gets::Good),
    begun("no-usage", Gets::Good, Gets::Good),
    begun("gzip", Gets::Odd, Gets::Odd),
];

/// Where the first upstream is for a fault of the way. `closed` is a port that is taken and where nobody listens.
fn way(fault: &str, mock: SocketAddr, closed: &TcpSocket) -> String {
    match fault {
        "refuse" => format!("http://{}", closed.local_addr().unwrap()),
        "dns" => "http://no-such-host.invalid".to_owned(),
        "tls" => format!("https://{mock}"),
        _ => format!("http://{mock}"),
    }
}

fn settings(fault: &str) -> Settings {
    let (fault, retry_after) = fault.split_once('+').map_or((fault, None), |(fault, wait)| (fault, Some(wait)));
    let json = match fault {
        "refuse" | "dns" | "tls" => serde_json::json!({}),
        _ => serde_json::json!({ "fault": fault, "retry-after": retry_after }),
    };
    Settings::default().with_json(&json).unwrap()
}

async fn check(row: Row, is_stream: bool, is_helped: bool) {
    let name = format!("{} stream={is_stream} fallback={is_helped}", row.fault);
    let ((address, mock), (other_address, other)) = (world::provider().await, world::provider().await);
    mock.set(settings(row.fault));
    let closed = TcpSocket::new_v4().unwrap();
    closed.bind(SocketAddr::from(([127, 0, 0, 1], 0))).unwrap();
    let mut extra = format!(
        "upstream.breaker_failures = 5\n[upstreams.shaky]\ndialect = \"openai\"\nprovider = \"openai\"\n\
         include_usage = \"splice\"\napi_key = {{ env = \"PROVIDER_KEY\" }}\nbase_url = \"{}\"\nmodels = [\"gpt-*\"]\n",
        way(row.fault, address, &closed)
    );
    if is_helped {
        extra += &backup(other_address);
    }
    let hangs = ["hang", "hang-head", "stall"].contains(&row.fault);
    let world = World::before(address, mock.clone(), &extra, if hangs { HANG } else { world::PATIENCE }).await;
    let body = serde_json::json!({
        "model": "gpt-4o-mini", "stream": is_stream, "messages": [{"role": "user", "content": "Say hello."}],
    });
    let answer = world.open(world.post("/v1/chat/completions", body.to_string())).await;
    let (head, body) = answer.into_parts();
    let body = body.collect().await.map(|body| body.to_bytes()).unwrap_or_default();
    let text = String::from_utf8_lossy(&body);
    let ends_well = if is_stream { text.ends_with("data: [DONE]\n\n") } else { is_whole(&body) };
    let gets = match head.status.as_u16() {
        200 if ends_well && !text.contains("\"error\"") => Gets::Good,
        200 if is_stream && text.contains("\"error\"") => Gets::ErrorInStream,
        200 => Gets::Odd,
        status => Gets::Status(status),
    };
    let expect = if is_helped { row.helped } else { row.alone }[usize::from(is_stream)];
    let is_lost = expect == Gets::Lost && [Gets::Good, Gets::Status(502)].contains(&gets);
    assert!(
        is_lost || gets == expect,
        "{name}: {gets:?} and not {expect:?}: {}",
        text.chars().take(300).collect::<String>()
    );
    check_books(&name, row, &world, [&mock, &other], gets == Gets::Good && row.helped != row.alone, is_stream).await;
}

fn is_whole(body: &[u8]) -> bool {
    serde_json::from_slice::<serde_json::Value>(body).is_ok_and(|json| json["choices"].is_array())
}

/// One entry, an open and a close for each attempt, and no second bill.
async fn check_books(name: &str, row: Row, world: &World, mocks: [&Mock; 2], was_helped: bool, is_stream: bool) {
    let records = world.records().await;
    let (mut opens, mut closes, mut entries) = (Vec::new(), Vec::new(), Vec::new());
    for record in records {
        match record {
            Record::Open(open) => opens.push(open.attempt),
            Record::Close(close) => closes.push(close.attempt),
            Record::Entry(entry) => entries.push(*entry),
            _ => {}
        }
    }
    assert_eq!((entries.len(), &opens), (1, &closes), "{name}");
    let entry = &entries[0];
    let first = entry.attempts.iter().filter(|attempt| &*attempt.upstream == "shaky");
    assert_eq!(opens.len(), entry.attempts.len(), "{name}");
    let asked = first.clone().count();
    assert_eq!(asked, row.asked.unwrap_or(asked), "{name}: {:?}", entry.attempts);
    assert_eq!(entry.attempts.len() - asked, usize::from(was_helped), "{name}");
    if !["refuse", "dns", "tls", "reset-before"].contains(&row.fault) {
        assert_eq!(mocks[0].requests_total(), asked as u64, "{name}: each call is an attempt");
    }
    assert_eq!(entry.cost, entry.attempts.iter().map(|attempt| attempt.cost).sum::<Option<Usd>>(), "{name}");
    let billed: usize = mocks.iter().map(|mock| mock.bill().lines().len()).sum();
    assert!(billed <= 1, "{name}: billed {billed} times");
    assert_eq!(billed == 1, row.is_billed || was_helped, "{name}");
    let mock_cost = mocks.iter().fold(Usd::ZERO, |sum, mock| sum.plus(mock.bill().total()));
    let cost = entry.cost.unwrap();
    assert!(cost >= mock_cost, "{name}: {cost} was written down for {mock_cost}");
    assert!(cost == mock_cost || entry.usage_source.is_estimated(), "{name}: {cost} for {mock_cost}");
    assert!(entry.attempts.iter().all(|attempt| attempt.outcome != Outcome::Refused), "{name}");
    // Three failures of one request open no breaker, and only what is a fault of the upstream is remembered.
    for provider in &world.app.snapshot.load().providers {
        let is_first = &*provider.config.name == "shaky";
        let states = provider.breakers.states(world.app.clock.ticks_us());
        let expect = if is_first && is_fault(row.fault, is_stream) {
            vec![("gpt-4o-mini".into(), State::Closed)]
        } else {
            Vec::new()
        };
        assert_eq!((provider.breakers.opened(), states), (0, expect), "{name} {}", provider.config.name);
    }
}

/// Whether a fault says that the upstream is not well, in contrast to one of its answers.
fn is_fault(fault: &str, is_stream: bool) -> bool {
    match fault {
        "408" | "429" | "429+30" | "400" | "401" | "404" => false,
        "garbage" | "drip" | "no-usage" | "gzip" => false,
        // A stream that has said all is whole, and one without its last word is not; of a whole answer the length tells.
        "wrong-length" => !is_stream,
        "truncated-json" => is_stream,
        _ => true,
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_fault_has_its_row() {
    let mut failed = Vec::new();
    for rows in MATRIX.chunks(3) {
        let cases = rows.iter().flat_map(|row| (0..4).map(|bits| (*row, bits & 1 > 0, bits & 2 > 0)));
        let running: Vec<_> = cases.map(|(row, stream, help)| tokio::spawn(check(row, stream, help))).collect();
        for case in running {
            failed.extend(case.await.err().map(|panic| panic.to_string()));
        }
    }
    assert!(failed.is_empty(), "{failed:#?}");
}
