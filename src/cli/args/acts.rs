//! `tollgate reload`, `ledger top-up` and `ledger actions`: what operators do and did, its flags and examples.

use super::ConfigArgs;
use super::keys::Said;

/// `tollgate reload`
#[derive(Debug, clap::Args)]
pub struct Reload {
    /// The config, for the place of the store.
    #[command(flatten)]
    pub config: ConfigArgs,
    /// Who does this, and why.
    #[command(flatten)]
    pub said: Said,
}

/// `tollgate ledger top-up`
#[derive(Debug, clap::Args)]
#[command(group(clap::ArgGroup::new("scope").required(true).args(
    ["organisation", "team", "user", "key", "model", "tag"]
)))]
pub struct TopUp {
    /// The config.
    #[command(flatten)]
    pub config: ConfigArgs,
    /// Dollars, such as 12.50
    #[arg(value_name = "USD")]
    pub amount: String,
    /// Who tops up
    #[arg(long, value_name = "NAME")]
    pub actor: String,
    /// Why
    #[arg(long, value_name = "TEXT")]
    pub reason: String,
    /// Raise the total cap of the organisation
    #[arg(long)]
    pub organisation: bool,
    /// Raise that of this team
    #[arg(long, value_name = "NAME")]
    pub team: Option<String>,
    /// Raise that of this user
    #[arg(long, value_name = "NAME")]
    pub user: Option<String>,
    /// Raise that of this key
    #[arg(long, value_name = "NAME")]
    pub key: Option<String>,
    /// Raise that of the models of this section
    #[arg(long, value_name = "PATTERN")]
    pub model: Option<String>,
    /// Raise that of this tag
    #[arg(long, value_name = "NAME=VALUE")]
    pub tag: Option<String>,
}

/// `tollgate ledger actions`
#[derive(Debug, clap::Args)]
pub struct Actions {
    /// The config.
    #[command(flatten)]
    pub config: ConfigArgs,
    /// From this time on: a day, today, a time, or how long ago
    #[arg(long, value_name = "WHEN")]
    pub since: Option<String>,
    /// Before this time
    #[arg(long, value_name = "WHEN")]
    pub until: Option<String>,
    /// Print JSON instead of a table
    #[arg(long)]
    pub json: bool,
}

impl TopUp {
    /// The kind of scope, and its name.
    #[must_use]
    pub fn scope(&self) -> (&'static str, &str) {
        let named = [
            ("team", &self.team),
            ("user", &self.user),
            ("key", &self.key),
            ("model", &self.model),
            ("tag", &self.tag),
        ];
        let named = named.into_iter().find_map(|(kind, name)| Some((kind, name.as_deref()?)));
        named.unwrap_or(("organisation", ""))
    }
}

/// See `tollgate reload --help`.
pub const RELOAD_EXAMPLES: &str = "\
The whole config takes effect or none of it: what is wrong is printed with its line, and the old one stays in force.
The same happens on SIGHUP, and by itself within some seconds after the file or a secret's file has changed.

Examples:
  tollgate check && tollgate reload
  tollgate reload --config /etc/tollgate.toml --reason \"more for search\"";

/// See `tollgate ledger top-up --help`.
pub const TOP_UP_EXAMPLES: &str = "\
The scope needs a cap with `total` in the config: prepaid money, which does not come back by itself. A top-up adds to it
from now on and for good; what is to be taken back is an adjustment.

Examples:
  tollgate ledger top-up 50 --team search --actor ada --reason \"invoice 4711\"
  tollgate ledger top-up 5.00 --key demo-7 --actor ada --reason trial";

/// See `tollgate ledger actions --help`.
pub const ACTIONS_EXAMPLES: &str = "\
Keys that were made, rotated and revoked, corrections, top-ups, and configs that came into force: who, when and why. They stand
in the same hash-chained journal as the money, which `tollgate ledger verify` checks.

Examples:
  tollgate ledger actions --since 30d
  tollgate ledger actions --json | jq -r '.actions[] | select(.actor == \"ada\")'";
