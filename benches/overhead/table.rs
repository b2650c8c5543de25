//! The table: every case for both proxies, in turn, and the medians.

use std::error::Error;
use std::fs;
use std::path::PathBuf;
use std::process::Command;

use serde_json::Value;

use super::process::memory_kib;
use super::programs::{Programs, Running, pinned};

const PROVIDER: &str = "127.0.0.1:9400";
const BARE: &str = "127.0.0.1:9401";
const TOLLGATE: &str = "127.0.0.1:9402";
const ADMIN: &str = "127.0.0.1:9403";

/// The cores of proxies, and of everything else.
const PROXY_CORE: u8 = 0;
const OTHER_CORE: u8 = 1;

/// A kind of load, and the multiple of the bare proxy's CPU that it may cost.
struct Case {
    name: &'static str,
    options: &'static [&'static str],
    query: &'static str,
    at_most: Option<f64>,
}

const CASES: [Case; 6] = [
    Case { name: "0.5 KB, 1 connection", options: &["--conns", "1", "--bytes", "512"], query: "", at_most: None },
    Case {
        name: "0.5 KB, 64 connections",
        options: &["--conns", "64", "--bytes", "512"],
        query: "",
        at_most: Some(1.6),
    },
    Case {
        name: "20 KB, 16 connections",
        options: &["--conns", "16", "--bytes", "20000"],
        query: "",
        at_most: Some(2.0),
    },
    Case {
        name: "200 KB, 16 connections",
        options: &["--conns", "16", "--bytes", "200000"],
        query: "",
        at_most: Some(3.0),
    },
    Case {
        name: "stream of 64 events, 1 connection",
        options: &["--conns", "1", "--stream", "1"],
        query: "",
        at_most: None,
    },
    Case {
        name: "stream of 64 events, 64 connections",
        options: &["--conns", "64", "--stream", "1"],
        query: "",
        at_most: Some(1.3),
    },
];

/// 2,000 streams that stay open over the measured time.
const OPEN_STREAMS: Case = Case {
    name: "2,000 open streams",
    options: &["--conns", "2000", "--stream", "1", "--ramp", "2"],
    query: "?chunk_ms=100",
    at_most: None,
};

/// The samples of one proxy in one case.
#[derive(Default)]
struct Samples {
    cpu_us: Vec<f64>,
    rps: Vec<f64>,
    p50_us: Vec<f64>,
    p99_us: Vec<f64>,
    rss_mib: Vec<f64>,
    errors: f64,
}

/// Measures and prints.
pub fn run() -> Result<(), Box<dyn Error>> {
    let programs = Programs::find()?;
    let (pairs, seconds) = (setting("OVERHEAD_PAIRS", "9"), setting("OVERHEAD_SECONDS", "3"));
    let mut provider = programs.command("mock", OTHER_CORE)?;
    provider.args(["--listen", PROVIDER]);
    let (_provider, _) = Running::start(provider, PROVIDER)?;
    let mut bare = programs.command("bare", PROXY_CORE)?;
    bare.args([BARE, PROVIDER]);
    let (bare, _) = Running::start(bare, BARE)?;
    let store = std::env::temp_dir().join(format!("tollgate-overhead-{}", std::process::id()));
    let (tollgate, started) = Running::start(tollgate(&store)?, TOLLGATE)?;
    let idle_mib = memory_kib(tollgate.pid(), "VmRSS:").unwrap_or_default() as f64 / 1024.0;
    println!("{pairs} interleaved pairs of {seconds} s, medians; {}\n", programs.name());
    println!(
        "| case | CPU, multiple of bare | bare, us | Tollgate, us | spread | p50 added, us | p99 added, us | requests/s |"
    );
    println!("|---|--:|--:|--:|--:|--:|--:|--:|");
    let wanted = std::env::var("OVERHEAD_CASE").unwrap_or_default();
    for case in CASES.iter().filter(|case| case.name.contains(&wanted)) {
        let [floor, ours] = measure(&programs, case, &[&bare, &tollgate], pairs.parse()?, &seconds)?;
        println!("{}", row(case, &floor, &ours));
    }
    let [floor, ours] = measure(&programs, &OPEN_STREAMS, &[&bare, &tollgate], 1, "6")?;
    println!(
        "\nmemory, MB: idle {idle_mib:.1}; with 2,000 open streams {:.1} (bare {:.1})",
        median(&ours.rss_mib),
        median(&floor.rss_mib)
    );
    println!("start-up to the first connection: {} ms", started.as_millis());
    drop(tollgate);
    fs::remove_dir_all(store)?;
    Ok(())
}

fn setting(name: &str, otherwise: &str) -> String {
    std::env::var(name).unwrap_or_else(|_| otherwise.to_owned())
}

/// `tollgate serve` on one thread, with a key, so that identification is paid for too.
fn tollgate(store: &PathBuf) -> Result<Command, Box<dyn Error>> {
    fs::create_dir_all(store)?;
    let config = store.join("tollgate.toml");
    fs::write(
        &config,
        format!(
            "[server]\nlisten = \"{TOLLGATE}\"\nadmin_listen = \"{ADMIN}\"\n\n[store]\npath = {store:?}\n\n\
             [log]\npath = {:?}\n\n[teams.bench]\n\n[keys.bench]\nsecret = {{ env = \"OVERHEAD_KEY\" }}\nteam = \"bench\"\n\n\
             [upstreams.openai]\ndialect = \"openai\"\nprovider = \"openai\"\nbase_url = \"http://{PROVIDER}\"\n\
             include_usage = \"splice\"\napi_key = {{ env = \"OVERHEAD_PROVIDER_KEY\" }}\n",
            store.join("requests.log")
        ),
    )?;
    let mut command = pinned(PROXY_CORE);
    command.arg(env!("CARGO_BIN_EXE_tollgate")).args(["serve", "--threads", "1", "--config"]).arg(config);
    command.env("OVERHEAD_KEY", "tg_overhead_benchmark_key").env("OVERHEAD_PROVIDER_KEY", "sk-overhead");
    Ok(command)
}

fn measure(
    programs: &Programs,
    case: &Case,
    proxies: &[&Running; 2],
    pairs: usize,
    seconds: &str,
) -> Result<[Samples; 2], Box<dyn Error>> {
    let mut samples = [Samples::default(), Samples::default()];
    for pair in 0..pairs {
        let order = if pair % 2 == 0 { [0, 1] } else { [1, 0] };
        for which in order {
            let address = [BARE, TOLLGATE][which];
            let mut load = programs.command("load", OTHER_CORE)?;
            load.args(["--duration", seconds, "--warmup", "0.5", "--pid", &proxies[which].pid().to_string()]);
            load.args(["--header", "authorization: Bearer tg_overhead_benchmark_key"]);
            load.args(["--model", "gpt-4o-mini"]).args(case.options);
            load.arg(format!("http://{address}/v1/chat/completions{}", case.query));
            let report: Value = serde_json::from_slice(&load.output()?.stdout)?;
            samples[which].add(&report);
        }
    }
    Ok(samples)
}

impl Samples {
    fn add(&mut self, report: &Value) {
        let number = |pointer: &str| report.pointer(pointer).and_then(Value::as_f64).unwrap_or_default();
        self.cpu_us.push(number("/cpu_us_per_req"));
        self.rps.push(number("/rps"));
        self.p50_us.push(number("/latency_us/p50"));
        self.p99_us.push(number("/latency_us/p99"));
        self.rss_mib.push(number("/rss_peak_kb") / 1024.0);
        self.errors += number("/errors");
    }
}

fn row(case: &Case, floor: &Samples, ours: &Samples) -> String {
    let ratios: Vec<f64> = floor.cpu_us.iter().zip(&ours.cpu_us).map(|(floor, ours)| ours / floor).collect();
    let ratio = median(&ratios);
    let (least, most) = ratios.iter().fold((f64::MAX, 0.0), |(least, most), ratio| (ratio.min(least), ratio.max(most)));
    let verdict = match case.at_most {
        Some(limit) if ratio > limit => format!(" (over {limit})"),
        Some(limit) => format!(" (at most {limit})"),
        None => String::new(),
    };
    let errors = floor.errors + ours.errors;
    let failed = if errors > 0.0 { format!(" {errors} errors") } else { String::new() };
    format!(
        "| {}{failed} | **{ratio:.2}**{verdict} | {:.1} | {:.1} | {least:.2} to {most:.2} | {:.0} | {:.0} | {:.0} |",
        case.name,
        median(&floor.cpu_us),
        median(&ours.cpu_us),
        median(&ours.p50_us) - median(&floor.p50_us),
        median(&ours.p99_us) - median(&floor.p99_us),
        median(&ours.rps),
    )
}

fn median(numbers: &[f64]) -> f64 {
    let mut numbers = numbers.to_vec();
    numbers.sort_by(f64::total_cmp);
    numbers.get(numbers.len() / 2).copied().unwrap_or_default()
}
