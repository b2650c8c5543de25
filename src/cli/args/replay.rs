//! `tollgate replay`: its flags and examples.

use std::path::PathBuf;

use super::ConfigArgs;

/// `tollgate replay`
#[derive(Debug, clap::Args)]
pub struct Replay {
    /// The config.
    #[command(flatten)]
    pub config: ConfigArgs,
    /// The folder of the ledger [default: store.path of that config]
    #[arg(long, value_name = "FOLDER")]
    pub store: Option<PathBuf>,
    /// What the rows are, as in tollgate report [default: requested_model]
    #[arg(long, value_name = "WHAT")]
    pub by: Vec<String>,
    /// From this time on: a day, today, a time, or how long ago
    #[arg(long, value_name = "WHEN")]
    pub since: Option<String>,
    /// Before this time
    #[arg(long, value_name = "WHEN")]
    pub until: Option<String>,
    /// How it is written: table, csv or json [default: table]
    #[arg(long, value_name = "FORMAT")]
    pub format: Option<String>,
    /// The time zone of days by its IANA name [default: money.time_zone of the config]
    #[arg(long, value_name = "ZONE")]
    pub tz: Option<String>,
}

pub(super) const EXAMPLES: &str = "\
Routes and prices each recorded request under another config, from the features and the usage in the ledger; nobody is called, and
nothing is written. \"spend\" is what was charged, \"replayed\" what it would likely have cost, \"least\" and \"most\" the range
that the recorded past leaves open. What is uncertain is told with its share of the requests.

Examples:
  tollgate replay --config new.toml --since 7d
  tollgate replay --config new.toml --since 2026-11-01 --by team,requested_model --format csv > replay.csv
  tollgate replay --set routing.mode=enforce --set 'routing.routable=[\"*\"]' --since 30d --format json | jq .total";
