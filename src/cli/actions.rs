//! `tollgate ledger actions`: what operators did, from the server of the store or from its files.

use serde_json::Value;

use super::args::acts::Actions;
use super::args::{EXIT_FAILED, EXIT_USAGE};
use super::report::{served, tell_if_absent};
use super::{load_without_secrets, print, tell};
use crate::admin::ACTIONS;
use crate::admin::actions::{list, range};
use crate::admin::query::written;
use crate::admin::zone::Zone;
use crate::clock::Clock;

/// Prints them and returns the exit code.
pub async fn run(args: &Actions) -> u8 {
    let config = match load_without_secrets(&args.config) {
        Ok(config) => config,
        Err(exit) => return exit,
    };
    let said = [("since", &args.since), ("until", &args.until)];
    let said: Vec<(&str, &str)> =
        said.into_iter().filter_map(|(name, value)| Some((name, value.as_deref()?))).collect();
    let zone = Zone::of(config.money.time_zone.clone());
    let range = match range(said.iter().copied(), &zone, Clock::system().now_ms()) {
        Ok(range) => range,
        Err(why) => {
            tell(&why);
            return EXIT_USAGE;
        }
    };
    let folder = &config.store.path;
    let listed = match served(folder, &format!("{ACTIONS}?{}", written(&said))).await {
        Some(answer) if answer.status.is_success() => Ok(String::from_utf8_lossy(&answer.body).into_owned()),
        Some(answer) => Err(answer.message()),
        None => {
            tell_if_absent(folder);
            list(folder, &range).map_err(|error| error.to_string())
        }
    };
    match listed {
        Ok(listed) if args.json => print(listed),
        Ok(listed) => print(table(&listed)),
        Err(why) => {
            tell(&why);
            EXIT_FAILED
        }
    }
}

/// A listing for people.
fn table(listed: &str) -> String {
    let said: Value = serde_json::from_str(listed).unwrap_or_default();
    let text = |action: &Value, name: &str| action[name].as_str().unwrap_or_default().to_owned();
    let mut rows = vec![["AT", "ACTION", "WHAT", "ACTOR", "REASON"].map(str::to_owned)];
    for action in said["actions"].as_array().into_iter().flatten() {
        let [at, name, actor, reason] = ["at", "action", "actor", "reason"].map(|name| text(action, name));
        rows.push([at, name, what(action), actor, reason]);
    }
    let widths: Vec<usize> =
        (0..5).map(|column| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or(0)).collect();
    let line = |row: &[String; 5]| {
        let cells = row.iter().zip(&widths).map(|(cell, width)| format!("{cell:<width$}"));
        format!("{}\n", cells.collect::<Vec<_>>().join("  ").trim_end())
    };
    rows.iter().map(line).collect()
}

/// What was done to whom, in short.
fn what(action: &Value) -> String {
    let names = ["direction", "scope", "name", "request_id", "team", "user", "key", "config"];
    let words = names.into_iter().filter_map(|name| action[name].as_str().filter(|text| !text.is_empty()));
    let amount = action["amount_usd"].as_str().map(|amount| {
        let short = amount.trim_end_matches('0').trim_end_matches('.');
        format!("${short}")
    });
    words.map(str::to_owned).chain(amount).collect::<Vec<_>>().join(" ")
}
