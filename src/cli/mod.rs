//! The command line: what was asked for ([`args`]), and one file for each command.
//!
//! A command that reads the ledger asks the server that owns it, over its control socket, and reads the files itself
//! where no server runs; both ways end in the same code.
//!
//! Invariant: data goes to stdout and talk to stderr; a reader that goes away is no error.

pub mod args;
mod out;
mod control;
mod past;
pub mod check;
mod sheet;
pub mod reload;
pub mod report;
pub mod ledger;
pub mod cache;
pub mod keys;
pub mod explain;
pub mod replay;
mod reconcile;
mod top_up;
mod actions;
pub mod health;
pub mod serve;
pub mod demo;

use crate::config::{Config, LoadOptions, Secrets, environment};
use args::{ConfigArgs, EXIT_CONFIG};

pub use out::{print, tell};

/// Loads the config, or says everything that is wrong with it and returns the exit code.
fn load(args: &ConfigArgs) -> Result<Config, u8> {
    loaded(&args.load_options(environment()))
}

/// The same without secrets, which a shell that looks into the ledger need not have.
fn load_without_secrets(args: &ConfigArgs) -> Result<Config, u8> {
    loaded(&LoadOptions { secrets: Secrets::LeftOut, ..args.load_options(environment()) })
}

fn loaded(options: &LoadOptions) -> Result<Config, u8> {
    Config::load(options).map_err(|errors| {
        tell(&errors);
        EXIT_CONFIG
    })
}
