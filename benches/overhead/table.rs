//! The table: every case for all proxies that it is about, in turn, and the medians.

use std::error::Error;
use std::time::Duration;

use serde_json::Value;

use super::cases::{CASES, Case, Features, OPEN_STREAMS};
use super::programs::{OTHER_CORE, PROXY_CORE, Programs, Running};
use super::samples::{HEAD, Measured, Samples};
use super::tollgate::{KEY, Tollgate};

const PROVIDER: &str = "127.0.0.1:9400";
const BARE: &str = "127.0.0.1:9401";

/// The ports of the plain Tollgate, of one with features, and of what is left without them; the next is the operators'.
const PLAIN_PORT: u16 = 9402;
const FEATURED_PORT: u16 = 9404;
const WITHOUT_PORT: u16 = 9406;

/// What is run, and how long.
struct Bench {
    programs: Programs,
    pairs: usize,
    seconds: String,
    bare: Running,
    plain: Tollgate,
}

/// Who is sent a load: its process and address, and where its samples go.
type Turn<'a> = (u32, &'a str, &'a mut Samples);

/// Measures and prints.
pub fn run() -> Result<(), Box<dyn Error>> {
    let programs = Programs::find()?;
    let (pairs, seconds) = (setting("OVERHEAD_PAIRS", "9"), setting("OVERHEAD_SECONDS", "3"));
    let _provider = programs.provider(PROVIDER)?;
    let mut bare = programs.command("bare", PROXY_CORE)?;
    bare.args([BARE, PROVIDER]);
    let (bare, _) = Running::start(bare, BARE)?;
    let plain = Tollgate::start(Features::Plain, PLAIN_PORT, PROVIDER)?;
    let (idle_mib, first_answer) = (plain.rss_mib(), plain.first_answer);
    println!("{pairs} interleaved rounds of {seconds} s a proxy, medians; {}\n\n{HEAD}", programs.name());
    let bench = Bench { programs, pairs: pairs.parse()?, seconds, bare, plain };
    let wanted = setting("OVERHEAD_CASE", "");
    let mut under_load_mib = 0.0_f64;
    for case in CASES.iter().filter(|case| case.name.contains(&wanted)) {
        let measured = bench.case(case)?;
        println!("{}", measured.row(case));
        under_load_mib = under_load_mib.max(measured.ours.rss_max());
    }
    let open = bench.streams()?;
    bench.tell(idle_mib, under_load_mib, &open, first_answer);
    Ok(())
}

fn setting(name: &str, otherwise: &str) -> String {
    std::env::var(name).unwrap_or_else(|_| otherwise.to_owned())
}

impl Bench {
    fn case(&self, case: &Case) -> Result<Measured, Box<dyn Error>> {
        let started = |features, port| match features {
            Features::Plain => Ok(None),
            features => Tollgate::start(features, port, PROVIDER).map(Some),
        };
        let featured = started(case.features, FEATURED_PORT)?;
        let without = started(case.features.without(), WITHOUT_PORT)?;
        self.rounds(case, (featured.as_ref(), without.as_ref()), self.pairs, &self.seconds)
    }

    /// Sends the case to each in turn, forwards and then backwards: A B C C B A.
    fn rounds(
        &self,
        case: &Case,
        (featured, without): (Option<&Tollgate>, Option<&Tollgate>),
        rounds: usize,
        seconds: &str,
    ) -> Result<Measured, Box<dyn Error>> {
        let mut measured = Measured { without: case.is_compared().then(Samples::default), ..Measured::default() };
        let (ours, other) = (featured.unwrap_or(&self.plain), without.unwrap_or(&self.plain));
        for round in 0..rounds {
            let Measured { bare, ours: samples, without } = &mut measured;
            let mut turns: Vec<Turn<'_>> = vec![(self.bare.pid(), BARE, bare)];
            turns.extend(without.as_mut().map(|samples| (other.pid(), &*other.address, samples)));
            turns.push((ours.pid(), &ours.address, samples));
            if round % 2 == 1 {
                turns.reverse();
            }
            for (pid, address, samples) in turns {
                samples.add(&self.load(case, pid, address, seconds)?);
            }
        }
        Ok(measured)
    }

    fn load(&self, case: &Case, pid: u32, address: &str, seconds: &str) -> Result<Value, Box<dyn Error>> {
        let mut load = self.programs.command("load", OTHER_CORE)?;
        load.args(["--duration", seconds, "--warmup", "0.5", "--pid", &pid.to_string()]);
        load.args(["--header", &format!("authorization: Bearer {KEY}")]);
        load.args(["--model", "gpt-4o-mini"]).args(case.options);
        load.arg(format!("http://{address}/v1/chat/completions{}", case.query));
        Ok(serde_json::from_slice(&load.output()?.stdout)?)
    }

    fn streams(&self) -> Result<Measured, Box<dyn Error>> {
        self.rounds(&OPEN_STREAMS, (None, None), 1, "6")
    }

    fn tell(&self, idle_mib: f64, under_load_mib: f64, open: &Measured, first_answer: Duration) {
        let verdict = |is_met: bool| if is_met { "met" } else { "**missed**" };
        let (open_mib, bare_mib) = (open.ours.rss_max(), open.bare.rss_max());
        println!("\n| what | Tollgate | goal | bare |\n|---|--:|---|--:|");
        println!("| memory, idle | {idle_mib:.1} MiB | below 25: {} | |", verdict(idle_mib < 25.0));
        println!("| memory, most in the cases above | {under_load_mib:.1} MiB | | |");
        println!(
            "| memory, 2,000 open streams | {open_mib:.1} MiB | below 120: {} | {bare_mib:.1} MiB |",
            verdict(open_mib < 120.0)
        );
        let answer_ms = first_answer.as_secs_f64() * 1000.0;
        println!("| start to the first answer | {answer_ms:.0} ms | below 100: {} | |", verdict(answer_ms < 100.0));
    }
}
