//! What was asked for on the command line: commands, their flags, and help that teaches by example.
//!
//! It parses and explains, and runs nothing. Only commands that this version has are listed.

pub mod acts;
pub mod cache;
pub mod explain;
pub mod keys;
pub mod replay;

use std::ffi::OsString;
use std::net::SocketAddr;
use std::path::PathBuf;

use clap::error::ErrorKind;
use clap::{Parser, Subcommand};

use crate::config::{LoadOptions, Secrets};
use crate::domain::ids::RequestId;

/// Everything went well.
pub const EXIT_OK: u8 = 0;
/// The command ran and failed.
pub const EXIT_FAILED: u8 = 1;
/// The command line is wrong (`EX_USAGE` of sysexits.h).
pub const EXIT_USAGE: u8 = 64;
/// The config is wrong (`EX_CONFIG` of sysexits.h).
pub const EXIT_CONFIG: u8 = 78;

/// Tollgate: a cost-aware reverse proxy for LLM APIs.
#[derive(Debug, Parser)]
#[command(name = "tollgate", bin_name = "tollgate", version, after_help = EXAMPLES, disable_help_subcommand = true)]
struct CommandLine {
    #[command(subcommand)]
    command: Command,
}

/// One command with its flags.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Run the whole product on this machine with a built-in mock provider: no key, no network
    #[command(after_help = DEMO_EXAMPLES)]
    Demo(Demo),
    /// Serve clients
    #[command(after_help = SERVE_EXAMPLES)]
    Serve(Serve),
    /// Validate the config and print what it means, with secrets starred
    #[command(after_help = CHECK_EXAMPLES)]
    Check(Check),
    /// Print spend, tokens and requests from the ledger, also while it is served
    #[command(after_help = REPORT_EXAMPLES)]
    Report(Report),
    /// Have the server that runs read its config again
    #[command(after_help = acts::RELOAD_EXAMPLES)]
    Reload(acts::Reload),
    /// Make, list, rotate and revoke keys, also while the store is served
    #[command(subcommand)]
    Keys(keys::Keys),
    /// Look into the ledger
    #[command(subcommand)]
    Ledger(Ledger),
    /// Look into the answers that a server keeps, and forget some
    #[command(subcommand)]
    Cache(cache::Cache),
    /// Say what would happen to a request, without sending it
    #[command(after_help = explain::EXAMPLES)]
    Explain(explain::Explain),
    /// Say what the recorded past would have cost under another config, without calling anyone
    #[command(after_help = replay::EXAMPLES)]
    Replay(replay::Replay),
    /// Exit 0 if a Tollgate is live: the HEALTHCHECK of a container, where there is no curl
    #[command(after_help = HEALTH_EXAMPLES)]
    Health(Health),
}

/// Which config a command works with.
#[derive(Debug, Default, clap::Args)]
pub struct ConfigArgs {
    /// The config file [default: config/tollgate.toml if it exists, else built-in defaults]
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Override a key of the config; may be given more than once
    #[arg(long = "set", value_name = "KEY=VALUE")]
    pub sets: Vec<String>,
}

/// `tollgate demo`
#[derive(Debug, clap::Args)]
pub struct Demo {
    /// Where clients connect
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:4000")]
    pub listen: SocketAddr,
    /// Where the admin interface answers
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:4001")]
    pub admin_listen: SocketAddr,
}

/// `tollgate serve`
#[derive(Debug, clap::Args)]
pub struct Serve {
    /// The config.
    #[command(flatten)]
    pub config: ConfigArgs,
    /// Worker threads [default: one for each core]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=1024))]
    pub threads: Option<u16>,
}

/// `tollgate check`
#[derive(Debug, clap::Args)]
pub struct Check {
    /// The config.
    #[command(flatten)]
    pub config: ConfigArgs,
    /// Show what applies to this key, of the config or made at run time, and what a request with it would meet now
    #[arg(long, value_name = "ID")]
    pub key: Option<String>,
}

/// `tollgate report`
#[derive(Debug, clap::Args)]
pub struct Report {
    /// The config.
    #[command(flatten)]
    pub config: ConfigArgs,
    /// What the rows are, separated by commas: team, user, key, model, requested_model, upstream, operation, tag (all of
    /// them together), tag:NAME, tier, cache, day, hour
    #[arg(long, value_name = "WHAT")]
    pub by: Vec<String>,
    /// From this time on: a day, today, a time, or how long ago
    #[arg(long, value_name = "WHEN")]
    pub since: Option<String>,
    /// Before this time
    #[arg(long, value_name = "WHEN")]
    pub until: Option<String>,
    /// How the rows are written: table, csv, json, or focus for the columns of FOCUS 1.0 by day [default: table]
    #[arg(long, value_name = "FORMAT")]
    pub format: Option<String>,
    /// Print each entry and adjustment instead of sums, oldest first, as lines of json or csv [default: json]
    #[arg(long, conflicts_with_all = ["by", "reprice"])]
    pub rows: bool,
    /// Say beside each spend what the present price book would say; reads every entry
    #[arg(long)]
    pub reprice: bool,
    /// The time zone of days by its IANA name [default: money.time_zone of the config]
    #[arg(long, value_name = "ZONE")]
    pub tz: Option<String>,
}

/// `tollgate ledger`
#[derive(Debug, Subcommand)]
pub enum Ledger {
    /// Print the entry of one request as JSON
    #[command(after_help = SHOW_EXAMPLES)]
    Show(Show),
    /// Check checksums, chain, snapshots and totals of the journal, and the index against it
    #[command(after_help = VERIFY_EXAMPLES)]
    Verify(Verify),
    /// Build the index again from the journal; not while it is served
    #[command(after_help = REBUILD_EXAMPLES)]
    Rebuild(Rebuild),
    /// Correct the books with a new line; nothing is ever edited
    #[command(after_help = ADJUST_EXAMPLES)]
    Adjust(Box<Adjust>),
    /// Raise a prepaid cap (`total`) for good
    #[command(after_help = acts::TOP_UP_EXAMPLES)]
    TopUp(Box<acts::TopUp>),
    /// List what operators did: keys, corrections, top-ups, configs
    #[command(after_help = acts::ACTIONS_EXAMPLES)]
    Actions(acts::Actions),
    /// Compare the books with a provider's usage or cost export, by day and model
    #[command(after_help = RECONCILE_EXAMPLES)]
    Reconcile(Reconcile),
}

/// `tollgate ledger verify`
#[derive(Debug, clap::Args)]
pub struct Verify {
    /// The config.
    #[command(flatten)]
    pub config: ConfigArgs,
}

/// `tollgate ledger rebuild`
#[derive(Debug, clap::Args)]
pub struct Rebuild {
    /// The config.
    #[command(flatten)]
    pub config: ConfigArgs,
}

/// `tollgate ledger adjust`
#[derive(Debug, clap::Args)]
pub struct Adjust {
    /// The config.
    #[command(flatten)]
    pub config: ConfigArgs,
    /// charge: more was spent than the ledger says; credit: less
    #[arg(value_name = "charge|credit", value_parser = ["charge", "credit"])]
    pub direction: String,
    /// Dollars, such as 12.50
    #[arg(value_name = "USD")]
    pub amount: String,
    /// Who adjusts
    #[arg(long, value_name = "NAME")]
    pub actor: String,
    /// Why
    #[arg(long, value_name = "TEXT")]
    pub reason: String,
    /// The request that is corrected: whose spend it is and on what is taken from it
    #[arg(long, value_name = "ID")]
    pub request: Option<RequestId>,
    /// The team whose spend it is
    #[arg(long, value_name = "NAME")]
    pub team: Option<String>,
    /// The user whose spend it is
    #[arg(long, value_name = "NAME")]
    pub user: Option<String>,
    /// The key whose spend it is
    #[arg(long, value_name = "ID")]
    pub key: Option<String>,
    /// The model it is about
    #[arg(long, value_name = "NAME")]
    pub model: Option<String>,
    /// The upstream that billed otherwise
    #[arg(long, value_name = "NAME")]
    pub upstream: Option<String>,
}

/// `tollgate ledger reconcile`
#[derive(Debug, clap::Args)]
pub struct Reconcile {
    /// The config.
    #[command(flatten)]
    pub config: ConfigArgs,
    /// The export: JSON pages of a provider's usage or cost interface, or a CSV file of its console
    #[arg(value_name = "FILE")]
    pub file: PathBuf,
    /// The upstreams to compare with, separated by commas [default: all of the export's provider]
    #[arg(long, value_name = "NAME")]
    pub upstream: Option<String>,
    /// How it is written: table, csv or json [default: table]
    #[arg(long, value_name = "FORMAT")]
    pub format: Option<String>,
}

/// `tollgate ledger show`
#[derive(Debug, clap::Args)]
pub struct Show {
    /// The config.
    #[command(flatten)]
    pub config: ConfigArgs,
    /// The id from `x-tollgate-request-id` or from the log
    #[arg(value_name = "ID")]
    pub id: RequestId,
}

/// `tollgate health`
#[derive(Debug, clap::Args)]
pub struct Health {
    /// The Tollgate to ask [default: the client address of the config]
    #[arg(value_name = "URL")]
    pub url: Option<String>,
    /// The config.
    #[command(flatten)]
    pub config: ConfigArgs,
}

/// Why there is no command to run: help that was asked for, or a mistake.
#[derive(Debug)]
pub struct NoCommand {
    /// What to print.
    pub text: String,
    /// The exit code: [`EXIT_OK`] for help, which belongs on stdout, else [`EXIT_USAGE`] for stderr.
    pub exit: u8,
}

/// Reads a command line, whose first word is the program's own name.
///
/// # Errors
/// Help or version that was asked for, or what is wrong with the line.
pub fn parse(line: impl IntoIterator<Item = OsString>) -> Result<Command, NoCommand> {
    CommandLine::try_parse_from(line).map(|line| line.command).map_err(|error| {
        let asked_for = matches!(error.kind(), ErrorKind::DisplayHelp | ErrorKind::DisplayVersion);
        NoCommand { text: error.to_string(), exit: if asked_for { EXIT_OK } else { EXIT_USAGE } }
    })
}

impl ConfigArgs {
    /// What to load, with `env` for secrets and overrides.
    #[must_use]
    pub fn load_options(&self, env: crate::config::Environment) -> LoadOptions {
        let (file, sets) = (self.config.clone(), self.sets.clone());
        LoadOptions { file, sets, env, secrets: Secrets::Needed, ..LoadOptions::default() }
    }
}

impl Serve {
    /// What to load: `--threads` is the last override.
    #[must_use]
    pub fn load_options(&self, env: crate::config::Environment) -> LoadOptions {
        let mut options = self.config.load_options(env);
        options.sets.extend(self.threads.map(|threads| format!("server.threads={threads}")));
        options
    }
}

const EXAMPLES: &str = "\
Examples:
  tollgate demo                        try it: no key, no network
  OPENAI_API_KEY=sk-... tollgate serve serve with your own key, without any file
  OPENAI_BASE_URL=http://127.0.0.1:4000/v1 python app.py
                                       a client changes its base URL and nothing else
  tollgate report --by team,model --since 7d

Exit codes: 0 ok, 1 failed, 64 usage, 78 config.
`tollgate COMMAND --help` has examples for each command.";

const DEMO_EXAMPLES: &str = "\
It prints the base URLs, a curl line for each dialect, the admin address and its token.

Examples:
  tollgate demo
  tollgate demo --listen 127.0.0.1:8080 --admin-listen 127.0.0.1:8081";

const SERVE_EXAMPLES: &str = "\
Without a file it serves OpenAI, Anthropic and Gemini with the keys in OPENAI_API_KEY, ANTHROPIC_API_KEY and
GEMINI_API_KEY; a provider whose variable is not set takes each client's own key.
SIGTERM lets requests finish (server.drain_s); a second one stops at once.

Examples:
  OPENAI_API_KEY=sk-... tollgate serve
  tollgate serve --config /etc/tollgate.toml
  tollgate serve --set server.listen=0.0.0.0:4000 --set money.time_zone=Europe/Berlin
  TOLLGATE_SERVER__LISTEN=0.0.0.0:4000 tollgate serve     the same as --set server.listen=...";

const CHECK_EXAMPLES: &str = "\
Prints every error with its line, all at once, and exits 78 if there is one.

Examples:
  tollgate check
  tollgate check --config new.toml && mv new.toml /etc/tollgate.toml
  tollgate check --key ci";

const REPORT_EXAMPLES: &str = "\
WHEN is a day (2026-11-01 or today: its start in the report's time zone), a time (2026-11-01T12:00:00Z) or how long
ago (30m, 24h, 7d, 4w).

Examples:
  tollgate report
  tollgate report --by team,model --since 2026-11-01 --until 2026-12-01 --tz Europe/Berlin
  tollgate report --by day --since 7d --format csv > week.csv
  tollgate report --by tag:feature,model --since 2026-11-01
  tollgate report --rows --since today | jq -c 'select(.cost_usd == null)'
  tollgate report --format focus --since 2026-11-01 --until 2026-12-01 > focus.csv";

const SHOW_EXAMPLES: &str = "\
Examples:
  tollgate ledger show 01kam3v2x8e9qh5t7c4rwz0ybn
  tollgate ledger show \"$ID\" | jq .cost_usd";

const VERIFY_EXAMPLES: &str = "\
Prints one JSON object and exits 1 if anything does not add up; damage is named by file and byte.
Keep \"head\" elsewhere: whoever has it can prove later that nothing before it was changed.

Examples:
  tollgate ledger verify
  tollgate ledger verify | jq -r .head >> heads.txt";

const REBUILD_EXAMPLES: &str = "\
The server does this by itself when its index is missing or damaged.

Examples:
  tollgate ledger rebuild";

const ADJUST_EXAMPLES: &str = "\
An adjustment counts at the time at which it is posted, so that reports of the past stay what they were.

Examples:
  tollgate ledger adjust credit 12.50 --actor ada --reason \"refund 4711\" --upstream openai
  tollgate ledger adjust charge 0.02 --actor ada --reason \"billed twice\" --request 01kam3v2x8e9qh5t7c4rwz0ybn";

const RECONCILE_EXAMPLES: &str = "\
Known are the usage and cost exports of OpenAI and Anthropic, as JSON of their administration interfaces and as CSV of
their consoles. A gap is what the provider says less what the ledger says, adjustments included. Days are those of UTC; a
request is of the day on which it arrived.

Examples:
  tollgate ledger reconcile completions_usage.csv
  tollgate ledger reconcile costs.json --upstream openai,openai-eu --format csv";

const HEALTH_EXAMPLES: &str = "\
Examples:
  tollgate health
  tollgate health http://127.0.0.1:4000";

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    fn run(line: &str) -> Result<Command, NoCommand> {
        parse(std::iter::once("tollgate").chain(line.split_whitespace()).map(OsString::from))
    }

    #[test]
    fn the_definition_is_consistent() {
        CommandLine::command().debug_assert();
    }

    #[test]
    fn commands_are_read() {
        for (line, expect) in [
            ("demo", "listen: 127.0.0.1:4000, admin_listen: 127.0.0.1:4001"),
            ("serve --config a.toml --set a.b=1 --set c=2", r#"config: Some("a.toml"), sets: ["a.b=1", "c=2"]"#),
            ("serve --threads 2", "threads: Some(2)"),
            ("check --key ci", r#"key: Some("ci")"#),
            (
                "report --by team,model --format csv",
                r#"by: ["team,model"], since: None, until: None, format: Some("csv")"#,
            ),
            (
                "report --since 7d --tz Europe/Berlin",
                r#"since: Some("7d"), until: None, format: None, rows: false, reprice: false, tz: Some("Europe/Berlin")"#,
            ),
            ("ledger show 01kam3v2x8e9qh5t7c4rwz0ybn", "id: RequestId("),
            ("health http://127.0.0.1:4000", r#"url: Some("http://127.0.0.1:4000")"#),
        ] {
            let command = format!("{:?}", run(line).map_err(|no| no.text).unwrap());
            assert!(command.contains(expect), "{line}: {command}");
        }
    }

    #[test]
    fn mistakes_say_what_is_right() {
        for (line, says) in [
            ("", "Usage: tollgate"),
            ("srve", "similar subcommand exists: 'serve'"),
            ("serve --confg x", "similar argument exists: '--config'"),
            ("serve --threads 0", "0 is not in 1..=1024"),
            ("ledger top-up 5 --actor a --reason b", "<--organisation|--team <NAME>|"),
            ("report --form csv", "similar argument exists: '--format'"),
            ("ledger show 12", "not a request id"),
            ("keys lst", "similar subcommand exists: 'list'"),
            ("keys rotate ci --overlap soon", "examples are 30s, 10m, 1h and 7d"),
        ] {
            let no_command = run(line).unwrap_err();
            assert_eq!(no_command.exit, EXIT_USAGE, "{line}");
            assert!(no_command.text.contains(says), "{line}: {}", no_command.text);
        }
    }

    #[test]
    fn every_command_teaches_by_example() {
        for line in [
            "--help",
            "demo --help",
            "serve -h",
            "check -h",
            "report --help",
            "reload -h",
            "ledger top-up -h",
            "ledger actions -h",
            "ledger show --help",
            "health --help",
        ] {
            let help = run(line).unwrap_err();
            assert_eq!(help.exit, EXIT_OK, "{line}");
            assert!(help.text.contains("Examples:\n  tollgate") || help.text.contains("Examples:\n  OPENAI"), "{line}");
        }
        assert!(run("--version").unwrap_err().text.starts_with("tollgate 0."));
    }
}
