//! A load generator in a closed loop: each connection sends its next request when the last one is answered.
//!
//! It takes the options of `../shared/perf/load` that the table needs, and prints the same names in one JSON line.

use std::collections::BTreeMap;
use std::error::Error;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant, UNIX_EPOCH};

use http::Request;
use http_body_util::{BodyExt, Full};
use hyper::body::Bytes;
use hyper::client::conn::http1::{self, SendRequest};
use hyper_util::rt::TokioIo;
use serde_json::json;
use tokio::net::TcpStream;

use super::process::{cpu_s, memory_kib};

struct Run {
    host: String,
    path: String,
    bodies: Bodies,
    end: &'static [u8],
    from: Instant,
    until: Instant,
}

/// Bodies of one size, told apart by a number in their last message.
struct Bodies {
    before: String,
    after: String,
    /// How many there are; no two are alike if this is none.
    distinct: Option<u64>,
    next: AtomicU64,
}

#[derive(Default)]
struct Tally {
    latencies_us: Vec<u128>,
    errors: u64,
}

/// Runs the load that `options` describe: `--NAME VALUE` pairs, then the URL.
pub fn run(options: &[&str]) -> Result<(), Box<dyn Error>> {
    let Some((url, pairs)) = options.split_last() else { return Err("load: no URL".into()) };
    let options: BTreeMap<&str, &str> = pairs.chunks_exact(2).map(|pair| (pair[0], pair[1])).collect();
    let count = |name: &str, otherwise: usize| options.get(name).map_or(Ok(otherwise), |text| text.parse());
    let time = |name: &str, otherwise: f64| {
        options.get(name).map_or(Ok(otherwise), |text| text.parse()).map(Duration::from_secs_f64)
    };
    let (host, path) = url.trim_start_matches("http://").split_once('/').ok_or("load: the URL has no path")?;
    let streams = options.contains_key("--stream");
    let from = Instant::now() + time("--warmup", 1.0)?;
    let run = Arc::new(Run {
        host: host.to_owned(),
        path: format!("/{path}"),
        bodies: Bodies::new(
            count("--bytes", 512)?,
            streams,
            options.get("--distinct").map(|count| count.parse()).transpose()?,
        ),
        end: if streams { b"[DONE]" } else { b"\"usage\"" },
        from,
        until: from + time("--duration", 3.0)?,
    });
    let pid = options.get("--pid").and_then(|pid| pid.parse().ok());
    let connections = count("--conns", 1)?;
    let ramp = time("--ramp", 0.0)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    println!("{}", runtime.block_on(measure(run, connections, ramp, pid)));
    Ok(())
}

async fn measure(run: Arc<Run>, connections: usize, ramp: Duration, pid: Option<u32>) -> serde_json::Value {
    let watch = tokio::spawn(watch(run.clone(), pid));
    let worker = |number: usize| {
        let run = run.clone();
        tokio::spawn(async move {
            // Spread, so that thousands of connects do not overflow the listen queue.
            tokio::time::sleep(ramp.mul_f64(number as f64 / connections as f64)).await;
            work(&run).await
        })
    };
    let workers: Vec<_> = (0..connections).map(worker).collect();
    let mut all = Tally::default();
    for worker in workers {
        let tally = worker.await.unwrap_or_else(|_| Tally { errors: 1, ..Tally::default() });
        all.latencies_us.extend(tally.latencies_us);
        all.errors += tally.errors;
    }
    let (cpu, rss_kib) = watch.await.unwrap_or_default();
    let seconds = (run.until - run.from).as_secs_f64();
    let done = all.latencies_us.len().max(1) as f64;
    all.latencies_us.sort_unstable();
    let last = all.latencies_us.len().saturating_sub(1);
    let at = |percent: usize| all.latencies_us.get(last * percent / 100).copied().unwrap_or(0);
    json!({
        "ok": all.latencies_us.len(),
        "errors": all.errors,
        "rps": done / seconds,
        "latency_us": {"p50": at(50), "p99": at(99)},
        "cpu_us_per_req": cpu * 1e6 / done,
        "rss_peak_kb": rss_kib,
    })
}

/// The process' CPU seconds over the measured time, and its largest resident memory in KiB.
async fn watch(run: Arc<Run>, pid: Option<u32>) -> (f64, u64) {
    let Some(pid) = pid else { return Default::default() };
    tokio::time::sleep_until(run.from.into()).await;
    let before = cpu_s(pid).unwrap_or_default();
    let mut peak_kib = 0;
    while Instant::now() < run.until {
        peak_kib = peak_kib.max(memory_kib(pid, "VmRSS:").unwrap_or_default());
        tokio::time::sleep((run.until - Instant::now()).min(Duration::from_millis(100))).await;
    }
    (cpu_s(pid).unwrap_or_default() - before, peak_kib)
}

async fn work(run: &Run) -> Tally {
    let mut tally = Tally::default();
    let mut idle = None;
    while Instant::now() < run.until {
        let began = Instant::now();
        idle = one(run, idle).await.ok();
        let ended = Instant::now();
        if ended < run.from || ended > run.until {
            continue;
        }
        match idle {
            Some(_) => tally.latencies_us.push((ended - began).as_micros()),
            None => tally.errors += 1,
        }
    }
    tally
}

/// One request; gives the connection back if the answer was good and whole.
async fn one(
    run: &Run,
    idle: Option<SendRequest<Full<Bytes>>>,
) -> Result<SendRequest<Full<Bytes>>, Box<dyn Error + Send + Sync>> {
    let mut sender = match idle {
        Some(sender) => sender,
        None => connect(&run.host).await?,
    };
    sender.ready().await?;
    let request = Request::post(&run.path)
        .header("host", &run.host)
        .header("content-type", "application/json")
        .header("authorization", "Bearer tg_overhead_benchmark_key")
        .body(Full::new(run.bodies.next()))?;
    let response = sender.send_request(request).await?;
    let is_good = response.status().is_success();
    let (mut body, mut is_whole) = (response.into_body(), false);
    while let Some(frame) = body.frame().await {
        let frame = frame?;
        is_whole |= frame.data_ref().is_some_and(|piece| memchr::memmem::find(piece, run.end).is_some());
    }
    if is_good && is_whole { Ok(sender) } else { Err("a bad answer".into()) }
}

async fn connect(host: &str) -> Result<SendRequest<Full<Bytes>>, Box<dyn Error + Send + Sync>> {
    let stream = TcpStream::connect(host).await?;
    stream.set_nodelay(true)?;
    let (sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
    tokio::spawn(connection);
    Ok(sender)
}

impl Bodies {
    /// Chats of about `bytes` bytes, in messages of 600. Those of one run are not those of another, or a cache would answer them.
    fn new(bytes: usize, streams: bool, distinct: Option<u64>) -> Self {
        let stream = if streams { "\"stream\":true," } else { "" };
        let mut before =
            format!("{{\"model\":\"gpt-4o-mini\",{stream}\"temperature\":0.7,\"max_tokens\":256,\"messages\":[");
        let sentence = "the invoice shows a total that does not match our ledger for March ";
        while before.len() + 700 < bytes {
            before.push_str(&format!("{{\"role\":\"user\",\"content\":\"{}\"}},", &sentence.repeat(9)[..560]));
        }
        let rest = sentence.repeat(bytes.saturating_sub(before.len() + 70) / sentence.len());
        before.push_str("{\"role\":\"user\",\"content\":\"Question ");
        let seed = UNIX_EPOCH.elapsed().map_or(0, |since| since.as_secs() & 0xffff_ffff);
        Self { before, after: format!(" : {rest}\"}}]}}"), distinct, next: AtomicU64::new(seed << 32) }
    }

    fn next(&self) -> Bytes {
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        let number = self.distinct.map_or(number, |count| (number >> 32 << 32) + number % count.max(1));
        format!("{}{number:020}{}", self.before, self.after).into()
    }
}
