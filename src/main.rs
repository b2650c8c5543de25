//! The binary: parse, run, exit code.

use std::process::ExitCode;

use tollgate::cli::args::{Command, parse};
use tollgate::cli::{demo, serve};

fn main() -> ExitCode {
    match parse(std::env::args_os()) {
        Ok(Command::Demo(args)) => ExitCode::from(demo::demo(&args)),
        Ok(Command::Serve(args)) => ExitCode::from(serve::serve(&args)),
        Ok(_) => ExitCode::from(1),
        Err(no) => {
            eprintln!("{}", no.text);
            ExitCode::from(no.exit)
        }
    }
}
