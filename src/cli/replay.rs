//! `tollgate replay`: what the recorded past would have cost under another config.
//!
//! It reads the ledger's files itself, also while they are served, and calls nobody.

use super::args::replay::Replay;
use super::args::{EXIT_FAILED, EXIT_USAGE};
use super::report::tell_if_absent;
use super::{load_without_secrets, print, tell};
use crate::admin::hindsight;
use crate::admin::report::Request;
use crate::admin::zone::Zone;
use crate::app::Snapshot;
use crate::clock::Clock;
use crate::domain::report_text::Format;
use crate::store::Ledger;
use crate::upstream::names::Names;

/// What the rows are where nothing is said.
const BY: &str = "requested_model";

/// Prints what would have been and returns the exit code.
#[must_use]
pub fn run(args: &Replay) -> u8 {
    let mut config = match load_without_secrets(&args.config) {
        Ok(config) => config,
        Err(exit) => return exit,
    };
    let zone = Zone::of(config.money.time_zone.clone());
    let by = if args.by.is_empty() { BY.to_owned() } else { args.by.join(",") };
    let said = [
        ("by", Some(&*by)),
        ("since", args.since.as_deref()),
        ("until", args.until.as_deref()),
        ("format", args.format.as_deref()),
        ("tz", args.tz.as_deref()),
    ];
    let said = said.into_iter().filter_map(|(name, value)| Some((name, value?)));
    let request = match Request::parse(said, &zone, Clock::system().now_ms()) {
        Ok(request) if request.format != Some(Format::Focus) => request,
        Ok(_) => {
            tell(&"a replay is written as table, csv or json");
            return EXIT_USAGE;
        }
        Err(error) => {
            tell(&error);
            return EXIT_USAGE;
        }
    };
    let folder = args.store.clone().unwrap_or_else(|| config.store.path.clone());
    tell_if_absent(&folder);
    // Nobody connects, so that no certificate is needed.
    config.server.tls = None;
    let snapshot = match Snapshot::new(config, Names::System) {
        Ok(snapshot) => snapshot,
        Err(error) => {
            tell(&error);
            return EXIT_FAILED;
        }
    };
    match hindsight::run(&Ledger::of_journal(&folder), &request, &snapshot) {
        Ok(hindsight) => print(hindsight.print(request.format.unwrap_or_default())),
        Err(error) => {
            tell(&error);
            EXIT_FAILED
        }
    }
}
