//! The binary: parse, run, exit code.

use std::process::ExitCode;

use tollgate::cli::args::{self, Command, EXIT_FAILED, EXIT_OK, NoCommand};
use tollgate::cli::{cache, check, demo, explain, health, keys, ledger, print, reload, replay, report, serve, tell};

fn main() -> ExitCode {
    let exit = match args::parse(std::env::args_os()) {
        Ok(command) => run(command),
        Err(NoCommand { text, exit: EXIT_OK }) => print(text),
        Err(NoCommand { text, exit }) => {
            tell(&text.trim_end());
            exit
        }
    };
    ExitCode::from(exit)
}

fn run(command: Command) -> u8 {
    match command {
        Command::Demo(args) => demo::demo(&args),
        Command::Serve(args) => serve::serve(&args),
        Command::Check(args) => wait_for(check::run(&args)),
        Command::Report(args) => wait_for(report::run(&args)),
        Command::Reload(args) => wait_for(reload::run(&args)),
        Command::Keys(args) => wait_for(keys::run(&args)),
        Command::Ledger(args) => wait_for(ledger::run(&args)),
        Command::Cache(args) => wait_for(cache::run(&args)),
        Command::Explain(args) => wait_for(explain::run(&args)),
        Command::Replay(args) => replay::run(&args),
        Command::Health(args) => wait_for(health::run(&args)),
    }
}

/// Runs a command that waits for a socket at most, on this thread.
fn wait_for(command: impl Future<Output = u8>) -> u8 {
    match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime.block_on(command),
        Err(error) => {
            tell(&format!("cannot start: {error}"));
            EXIT_FAILED
        }
    }
}
