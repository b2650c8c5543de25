//! `tollgate cache`: its flags and examples.

use clap::Subcommand;

use super::ConfigArgs;
use super::keys::seconds;

/// `tollgate cache`
#[derive(Debug, Subcommand)]
pub enum Cache {
    /// Print how full the cache is, and what it has done since the server was started
    #[command(after_help = STATS_EXAMPLES)]
    Stats(Stats),
    /// Forget answers before their time
    #[command(after_help = PURGE_EXAMPLES)]
    Purge(Purge),
}

/// `tollgate cache stats`
#[derive(Debug, clap::Args)]
pub struct Stats {
    /// The config, for the place of the store.
    #[command(flatten)]
    pub config: ConfigArgs,
}

/// `tollgate cache purge`
#[derive(Debug, clap::Args)]
#[command(group(clap::ArgGroup::new("whose").required(true).multiple(true).args(
    ["all", "key", "team", "model", "older_than", "cache_key"]
)))]
pub struct Purge {
    /// The config, for the place of the store.
    #[command(flatten)]
    pub config: ConfigArgs,
    /// Every answer
    #[arg(long, conflicts_with_all = ["key", "team", "model", "older_than", "cache_key"])]
    pub all: bool,
    /// Answers that this key has paid for
    #[arg(long, value_name = "NAME")]
    pub key: Option<String>,
    /// Answers that keys of this team have paid for
    #[arg(long, value_name = "NAME")]
    pub team: Option<String>,
    /// Answers of these models, as they were sent
    #[arg(long, value_name = "PATTERN")]
    pub model: Option<String>,
    /// Answers that are older, such as 30m, 24h, 7d
    #[arg(long, value_name = "AGE", value_parser = seconds)]
    pub older_than: Option<u64>,
    /// The one answer under this key of the cache
    #[arg(long, value_name = "HEX")]
    pub cache_key: Option<String>,
}

const STATS_EXAMPLES: &str = "\
Examples:
  tollgate cache stats | jq .served_percent";

const PURGE_EXAMPLES: &str = "\
All that is said has to hold. Prints how many answers were forgotten.

Examples:
  tollgate cache purge --team search --older-than 24h
  tollgate cache purge --model 'gpt-4o*'
  tollgate cache purge --all";
