//! `tollgate explain`: its flags and examples.

use std::path::PathBuf;

use super::ConfigArgs;

/// `tollgate explain`
#[derive(Debug, clap::Args)]
#[command(group(clap::ArgGroup::new("input").required(true).args(["request", "batch"])))]
pub struct Explain {
    /// A file with one request: {"id": ..., "path": ..., "body": ...}
    #[arg(long, value_name = "FILE")]
    pub request: Option<PathBuf>,
    /// A file with a request on each line
    #[arg(long, value_name = "FILE")]
    pub batch: Option<PathBuf>,
    /// As whose request: a key of the config, with its team, or a user without either [default: local]
    #[arg(long, value_name = "ID")]
    pub key: Option<String>,
    /// As which team's request
    #[arg(long, value_name = "NAME")]
    pub team: Option<String>,
    /// Classify with these weights instead of those in the binary
    #[arg(long, value_name = "FILE")]
    pub weights: Option<PathBuf>,
    /// Print what the classifier looks at, for training, and nothing else
    #[arg(long, hide = true)]
    pub traits: bool,
    /// The config.
    #[command(flatten)]
    pub config: ConfigArgs,
}

pub(super) const EXAMPLES: &str = "\
Prints a JSON line for each request. \"score\" is how likely a small model fails, from 0 to 1; \"top\" is what weighs most
in it, as logarithms of odds. What was learned of the request's route (team, system prompt, tools, format) is in it.
\"model\" and \"rule\" are what the config makes of it, \"candidates\" the tiers' models with what the request likely costs there and
why one cannot take it, \"quote_usd\" the most that it can cost, \"cached\" whether its answer would be kept. Each line is a
conversation of its own. Headers that matter, such as x-tollgate-tier, stand in \"headers\": {...}.

Examples:
  tollgate explain --request ask.json
    where ask.json is {\"id\": 1, \"path\": \"/v1/chat/completions\", \"body\": {\"model\": \"auto\", \"messages\": [...]}}
  tollgate explain --batch asks.jsonl | jq -c '{id, tier, score}'";
