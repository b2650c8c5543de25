//! Memory over time, under a load of everything that can become of a request: `OVERHEAD_SOAK_S` seconds (default 600) of
//! whole answers, streams, clients that leave before and within an answer, providers that fail, and requests that are refused.
//!
//! Flat means: the median of the last quarter of the samples is at most [`GROWTH_MIB_MAX`] above that of the second tenth.
//! What is before that warms up: connections, caches, the allocator.

use std::error::Error;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use http::Request;
use http_body_util::{BodyExt, Full};
use hyper::body::Bytes;
use hyper::client::conn::http1::{self, SendRequest};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;

use super::cases::Features;
use super::programs::Programs;
use super::samples::median;
use super::tollgate::{KEY, Tollgate};

const PROVIDER: &str = "127.0.0.1:9410";
const PORT: u16 = 9412;

/// Clients, each with one request at a time, and how long they wait between two.
const CLIENTS: u64 = 48;
const PAUSE: Duration = Duration::from_millis(150);

/// Between two looks at the memory.
const SAMPLE: Duration = Duration::from_secs(2);

/// Requests that went otherwise of which it is told how.
const TOLD_MAX: u64 = 5;

/// Memory that may come to stay, MiB.
const GROWTH_MIB_MAX: f64 = 2.0;

/// Conversations, and those of them whose answers may be kept. What Tollgate remembers of conversations is bounded (65,536 of
/// them), and would fill up for half an hour otherwise.
const CONVERSATIONS: u64 = 6_000;
const KEPT: u64 = 120;

/// What a client does with its request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Whole,
    Stream,
    LeavesBefore,
    LeavesWithin,
    ProviderFails,
    Refused,
}

const KINDS: [Kind; 6] =
    [Kind::Whole, Kind::Stream, Kind::LeavesBefore, Kind::LeavesWithin, Kind::ProviderFails, Kind::Refused];

/// How many requests of each kind went as they should.
type Counts = [AtomicU64; KINDS.len()];

type Connection = SendRequest<Full<Bytes>>;

/// Runs, prints, and fails if memory is not flat.
pub fn run() -> Result<(), Box<dyn Error>> {
    let programs = Programs::find()?;
    let seconds: u64 = std::env::var("OVERHEAD_SOAK_S").map_or(Ok(600), |text| text.parse())?;
    let _provider = programs.provider(PROVIDER)?;
    let tollgate = Tollgate::start(Features::Soak, PORT, PROVIDER)?;
    let start_mib = tollgate.rss_mib();
    let until = Instant::now() + Duration::from_secs(seconds);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let (samples, counts) = runtime.block_on(drive(&tollgate, until));
    let failed = counts.last().copied().unwrap_or_default();
    println!("{seconds} s of mixed load on a Tollgate with everything on; {}", programs.name());
    for (kind, count) in KINDS.iter().zip(&counts) {
        println!("  {kind:?}: {count}");
    }
    println!("  otherwise than meant: {failed}");
    tell(start_mib, &samples)
}

fn tell(start_mib: f64, samples: &[(f64, f64)]) -> Result<(), Box<dyn Error>> {
    let memory = |from: usize, to: usize| {
        let part: Vec<f64> =
            samples[samples.len() * from / 20..samples.len() * to / 20].iter().map(|(_, mib)| *mib).collect();
        median(&part)
    };
    let after_minute = samples.iter().find(|(seconds, _)| *seconds >= 60.0).map_or(f64::NAN, |(_, mib)| *mib);
    let (early, late) = (memory(2, 4), memory(15, 20));
    let end_mib = samples.last().map_or(f64::NAN, |(_, mib)| *mib);
    let most_mib = samples.iter().map(|(_, mib)| *mib).fold(0.0, f64::max);
    println!(
        "memory, MiB: start {start_mib:.1}, after a minute {after_minute:.1}, end {end_mib:.1}, most {most_mib:.1}"
    );
    println!("slope after the first tenth: {:.3} MiB a minute", slope(&samples[samples.len() / 10..]) * 60.0);
    println!("median of the second tenth {early:.1}, of the last quarter {late:.1}; may grow by {GROWTH_MIB_MAX}");
    if late - early <= GROWTH_MIB_MAX {
        println!("flat");
        return Ok(());
    }
    Err(format!("memory is not flat: it has grown by {:.1} MiB", late - early).into())
}

/// By how much memory grows in a second, by least squares.
fn slope(samples: &[(f64, f64)]) -> f64 {
    let count = samples.len().max(1) as f64;
    let mean = |of: fn(&(f64, f64)) -> f64| samples.iter().map(of).sum::<f64>() / count;
    let (at, mib) = (mean(|sample| sample.0), mean(|sample| sample.1));
    let both: f64 = samples.iter().map(|sample| (sample.0 - at) * (sample.1 - mib)).sum();
    let square: f64 = samples.iter().map(|sample| (sample.0 - at).powi(2)).sum();
    both / square
}

/// Sends until then; gives seconds and MiB of each look, and how many requests of each kind and of none there were.
async fn drive(tollgate: &Tollgate, until: Instant) -> (Vec<(f64, f64)>, Vec<u64>) {
    let (began, counts) = (Instant::now(), Arc::new(Counts::default()));
    let failed = Arc::new(AtomicU64::new(0));
    let clients: Vec<_> = (0..CLIENTS)
        .map(|number| {
            let (address, counts, failed) = (tollgate.address.clone(), counts.clone(), failed.clone());
            tokio::spawn(client(address, number, until, counts, failed))
        })
        .collect();
    let mut samples = Vec::new();
    while Instant::now() < until {
        tokio::time::sleep(SAMPLE).await;
        samples.push((began.elapsed().as_secs_f64(), tollgate.rss_mib()));
    }
    for client in clients {
        let _ended = client.await;
    }
    let load = |count: &AtomicU64| count.load(Ordering::Relaxed);
    (samples, counts.iter().map(load).chain([load(&failed)]).collect())
}

async fn client(address: String, number: u64, until: Instant, counts: Arc<Counts>, failed: Arc<AtomicU64>) {
    let (mut idle, mut turn) = (None, number);
    while Instant::now() < until {
        let place = usize::try_from(turn % KINDS.len() as u64).unwrap_or(0);
        let went = one(&address, KINDS[place], number << 32 | turn, idle.take()).await;
        let count = if went.is_ok() { &counts[place] } else { &*failed };
        let before = count.fetch_add(1, Ordering::Relaxed);
        if let Err(error) = &went
            && before < TOLD_MAX
        {
            eprintln!("{:?}: {error}", KINDS[place]);
        }
        idle = went.ok().flatten();
        turn += 1;
        tokio::time::sleep(PAUSE).await;
    }
}

/// One request of a kind. Gives the connection back where it can be used again.
async fn one(
    address: &str,
    kind: Kind,
    number: u64,
    idle: Option<Connection>,
) -> Result<Option<Connection>, Box<dyn Error + Send + Sync>> {
    let mut sender = match idle {
        Some(sender) => sender,
        None => connect(address).await?,
    };
    sender.ready().await?;
    let response = sender.send_request(request(address, kind, number)?);
    if kind == Kind::LeavesBefore {
        let _late = tokio::time::timeout(Duration::from_millis(20), response).await;
        return Ok(None);
    }
    let response = response.await?;
    let (status, mut body, mut frames) = (response.status().as_u16(), response.into_body(), 0);
    while let Some(frame) = body.frame().await {
        frame?;
        frames += 1;
        if kind == Kind::LeavesWithin && frames == 3 {
            return Ok(None);
        }
    }
    let expect = match kind {
        Kind::ProviderFails => fault(number),
        Kind::Refused => 400,
        Kind::Whole | Kind::Stream | Kind::LeavesBefore | Kind::LeavesWithin => 200,
    };
    if status == expect { Ok(Some(sender)) } else { Err(format!("{kind:?}: {status}").into()) }
}

fn request(address: &str, kind: Kind, number: u64) -> Result<Request<Full<Bytes>>, http::Error> {
    let query = match kind {
        Kind::Whole | Kind::Refused => String::new(),
        Kind::Stream | Kind::LeavesWithin => "?chunk_ms=2".to_owned(),
        Kind::LeavesBefore => "?latency_ms=200".to_owned(),
        Kind::ProviderFails => format!("?fault={}", fault(number)),
    };
    let stream = if matches!(kind, Kind::Stream | Kind::LeavesWithin) { "\"stream\":true," } else { "" };
    // Twice the same key is read in two ways by different programs, and refused.
    let twice = if kind == Kind::Refused { "\"model\":\"gpt-4o\"," } else { "" };
    // A quarter may be kept; with all others the cache would grow up to its budget.
    let is_kept = number.is_multiple_of(4);
    let ask = number % if is_kept { KEPT } else { CONVERSATIONS };
    let long = "the ledger adds up. ".repeat(usize::try_from(ask % 200).unwrap_or(0));
    let body = format!(
        "{{\"model\":\"gpt-4o-mini\",{twice}{stream}\"max_tokens\":64,\"messages\":[{{\"role\":\"user\",\
         \"content\":\"Question {ask}: {long}\"}}]}}"
    );
    let request = Request::post(format!("/v1/chat/completions{query}"))
        .header("host", address)
        .header("content-type", "application/json")
        .header("authorization", format!("Bearer {KEY}"));
    let request = if is_kept { request } else { request.header("x-tollgate-cache", "off") };
    request.body(Full::new(body.into()))
}

/// The provider's status where it fails: it says that the request is wrong, or is broken itself, which is tried again.
const fn fault(number: u64) -> u16 {
    if number.is_multiple_of(3) { 500 } else { 400 }
}

async fn connect(address: &str) -> Result<Connection, Box<dyn Error + Send + Sync>> {
    let stream = TcpStream::connect(address).await?;
    stream.set_nodelay(true)?;
    let (sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
    tokio::spawn(connection);
    Ok(sender)
}
