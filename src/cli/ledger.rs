//! `tollgate ledger show`

use http::StatusCode;

use super::args::{EXIT_FAILED, Ledger, Show};
use super::report::{served, tell_if_absent};
use super::{load_without_secrets, print, tell};
use crate::admin::{REQUESTS, lookup};
use crate::store::Ledger as Books;

/// Runs the command and returns the exit code.
pub async fn run(args: &Ledger) -> u8 {
    match args {
        Ledger::Show(show) => self::show(show).await,
    }
}

async fn show(args: &Show) -> u8 {
    let config = match load_without_secrets(&args.config) {
        Ok(config) => config,
        Err(exit) => return exit,
    };
    let folder = &config.store.path;
    match served(folder, &format!("{REQUESTS}{}", args.id)).await {
        Some(answer) if answer.status == StatusCode::OK => return print(answer.body),
        Some(answer) => tell(&answer.message()),
        None => match lookup::find(&Books::open(folder), args.id) {
            Ok(Some(line)) => return print(line),
            Ok(None) => {
                tell_if_absent(folder);
                tell(&lookup::absent(args.id));
            }
            Err(error) => tell(&error),
        },
    }
    EXIT_FAILED
}
