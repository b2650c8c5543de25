//! `tollgate keys`: its commands, their flags and examples.

use clap::Subcommand;

use super::ConfigArgs;

/// `tollgate keys`
#[derive(Debug, Subcommand)]
pub enum Keys {
    /// Make a key and print its secret, once; only a keyed hash of it is kept
    #[command(after_help = CREATE_EXAMPLES)]
    Create(Box<Create>),
    /// List the keys of the config and those that were made at run time
    #[command(after_help = LIST_EXAMPLES)]
    List(List),
    /// Give a key another secret and print that, once
    #[command(after_help = ROTATE_EXAMPLES)]
    Rotate(Rotate),
    /// End a key: from now on it is refused
    #[command(after_help = REVOKE_EXAMPLES)]
    Revoke(Revoke),
}

/// Who acts, and why.
#[derive(Debug, Default, clap::Args)]
pub struct Said {
    /// Who does this, for the ledger [default: the user of this shell]
    #[arg(long, value_name = "NAME")]
    pub actor: Option<String>,
    /// Why, for the ledger
    #[arg(long, value_name = "TEXT")]
    pub reason: Option<String>,
}

/// `tollgate keys create`
#[derive(Debug, clap::Args)]
pub struct Create {
    /// The config.
    #[command(flatten)]
    pub config: ConfigArgs,
    /// The key's name in ledger and reports, which no key had before
    #[arg(value_name = "NAME")]
    pub name: String,
    /// The team that pays
    #[arg(long, value_name = "TEAM")]
    pub team: Option<String>,
    /// The user who pays
    #[arg(long, value_name = "USER")]
    pub user: Option<String>,
    /// A tag; may be given more than once
    #[arg(long = "tag", value_name = "NAME=VALUE")]
    pub tags: Vec<String>,
    /// Let requests name another user in x-tollgate-user
    #[arg(long)]
    pub attribute: bool,
    /// When the key ends: a day, a time, or how long from now
    #[arg(long, value_name = "WHEN")]
    pub expires: Option<String>,
    /// Allow this model only, as a pattern; this and the following may be given more than once
    #[arg(long = "model", value_name = "PATTERN")]
    pub models: Vec<String>,
    /// Allow this upstream only
    #[arg(long = "upstream", value_name = "PATTERN")]
    pub upstreams: Vec<String>,
    /// Allow this operation only, such as chat, responses, embeddings, messages
    #[arg(long = "operation", value_name = "WORD")]
    pub operations: Vec<String>,
    /// Allow this tool of the client only; an empty one ("") is none at all
    #[arg(long = "tool", value_name = "PATTERN")]
    pub tools: Vec<String>,
    /// Allow this tool of the provider only, such as "web_search*"; an empty one ("") is none at all
    #[arg(long = "server-tool", value_name = "PATTERN")]
    pub server_tools: Vec<String>,
    /// Allow requests from this network only
    #[arg(long = "network", value_name = "NETWORK")]
    pub networks: Vec<String>,
    /// Who does this, and why.
    #[command(flatten)]
    pub said: Said,
    /// Print the key as JSON instead of its secret alone
    #[arg(long)]
    pub json: bool,
}

/// `tollgate keys list`
#[derive(Debug, clap::Args)]
pub struct List {
    /// The config.
    #[command(flatten)]
    pub config: ConfigArgs,
    /// Print JSON instead of a table
    #[arg(long)]
    pub json: bool,
}

/// `tollgate keys rotate`
#[derive(Debug, clap::Args)]
pub struct Rotate {
    /// The config.
    #[command(flatten)]
    pub config: ConfigArgs,
    /// The key
    #[arg(value_name = "NAME")]
    pub name: String,
    /// How long the old secret stays good, such as 10m, 1h, 7d [default: not at all]
    #[arg(long, value_name = "TIME", value_parser = seconds)]
    pub overlap: Option<u64>,
    /// Who does this, and why.
    #[command(flatten)]
    pub said: Said,
    /// Print the key as JSON instead of its secret alone
    #[arg(long)]
    pub json: bool,
}

/// `tollgate keys revoke`
#[derive(Debug, clap::Args)]
pub struct Revoke {
    /// The config.
    #[command(flatten)]
    pub config: ConfigArgs,
    /// The key
    #[arg(value_name = "NAME")]
    pub name: String,
    /// Who does this, and why.
    #[command(flatten)]
    pub said: Said,
}

/// The seconds of a time such as `90s` or `1h`.
pub(super) fn seconds(text: &str) -> Result<u64, String> {
    let example = || format!("{text:?} is no time; examples are 30s, 10m, 1h and 7d");
    let unit_s = match text.chars().last() {
        Some('s') => 1,
        Some('m') => 60,
        Some('h') => 3_600,
        Some('d') => 86_400,
        Some(_) | None => return Err(example()),
    };
    let number: u64 = text[..text.len() - 1].parse().map_err(|_| example())?;
    number.checked_mul(unit_s).ok_or_else(example)
}

const CREATE_EXAMPLES: &str = "\
The secret goes to stdout and is never shown again. Caps and limits are those of [defaults.key], of the team and of the
user. It works while the store is served and without a server.

Examples:
  tollgate keys create ci --team search --expires 90d
  KEY=$(tollgate keys create agent-7 --user ada@example.com --model 'gpt-4o*' --server-tool '')
  tollgate keys create laptop --operation chat --operation embeddings --network 10.0.0.0/8
  tollgate keys create billing --attribute --tag feature=search --json";

const LIST_EXAMPLES: &str = "\
Examples:
  tollgate keys list
  tollgate keys list --json | jq -r '.keys[] | select(.status == \"live\") | .key'";

const ROTATE_EXAMPLES: &str = "\
Examples:
  tollgate keys rotate ci                the old secret ends now
  tollgate keys rotate ci --overlap 1h   both are good for an hour";

const REVOKE_EXAMPLES: &str = "\
Requests in flight end as they would have; the next one is refused. The name is not given again.

Examples:
  tollgate keys revoke ci --reason \"found in a public repository\"";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_read() {
        for (text, expect) in [("30s", Some(30)), ("1h", Some(3_600)), ("7d", Some(604_800)), ("1", None), ("é", None)]
        {
            assert_eq!(seconds(text).ok(), expect, "{text}");
        }
        assert!(seconds("").is_err() && seconds("-1h").is_err());
    }
}
