//! What Tollgate costs, as a multiple of a bare hyper proxy: the table of the README.
//!
//! `cargo bench --bench overhead` starts a provider, the bare proxy and `tollgate serve` as processes of their own, the
//! proxies on core 0 and the rest on core 1, and sends the same load to both in turn (A B B A), `OVERHEAD_PAIRS` times a
//! case (default 9) for `OVERHEAD_SECONDS` each (default 3), those with a name that holds `OVERHEAD_CASE`. It prints medians.
//! Journal, metering and the request log to a file are on. CPU is what the proxy's process used (utime + stime of /proc) for
//! one answer. What a feature adds is measured against a Tollgate without it in the same rounds (A B C C B A).
//!
//! `OVERHEAD_SOAK_S=600 cargo bench --bench overhead -- soak` looks at memory over ten minutes instead.
//!
//! Where `../shared/perf` holds the reference programs, those are built and used, else the small ones in this folder.

mod bare;
mod cases;
mod load;
mod process;
mod programs;
mod provider;
mod samples;
mod soak;
mod table;
mod tollgate;

use std::process::ExitCode;

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).filter(|word| word != "--bench").collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let outcome = match words.as_slice() {
        ["bare", listen, upstream] => bare::run(listen, upstream),
        ["mock", "--listen", listen] => provider::run(listen),
        ["load", options @ ..] => load::run(options),
        ["soak"] => soak::run(),
        // `cargo test --benches` and the like only ask whether it starts.
        ["--test" | "--list", ..] => Ok(()),
        _ => table::run(),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("overhead: {error}");
            ExitCode::FAILURE
        }
    }
}
