//! The providers' own SDKs, unchanged, through a whole Tollgate: they complete, stream, call tools and embed, and the
//! ledger holds what the provider bills.
//!
//! Their packages are fetched once, with pip and npm, into the build folder. Where that cannot be done, the tests say so
//! and pass; with `TOLLGATE_SDK=require` they fail.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Output, Stdio};
use std::time::Duration;

use tokio::process::Command;
use tollgate::domain::entry::{Entry, Outcome};
use tollgate::domain::money::Usd;
use tollgate::domain::operation::{Dialect, Operation};
use tollgate::domain::tokens::UsageSource;
use tollgate::mock::Counted;

use crate::world::{KEY, World};

/// The longest that fetching packages, and running the clients, may take.
const FETCH: Duration = Duration::from_secs(600);
const RUN: Duration = Duration::from_secs(300);

#[tokio::test]
async fn python_sdks_work_unchanged() {
    let pip = "-m pip install --quiet --upgrade --target . --requirement requirements.txt --disable-pip-version-check";
    let Some(folder) = packages("python", "requirements.txt", "python3", pip).await else { return };
    let mut clients = Command::new("python3");
    clients.arg(sources().join("clients.py")).env("PYTHONPATH", &folder);
    check(clients, "python").await;
    let mut broke = Command::new("python3");
    broke.arg(sources().join("broke.py")).env("PYTHONPATH", &folder);
    check_refused(broke, 4).await;
}

#[tokio::test]
async fn node_sdks_work_unchanged() {
    let npm = "install --silent --no-audit --no-fund --ignore-scripts --no-package-lock";
    let Some(folder) = packages("node", "package.json", "npm", npm).await else { return };
    let mut clients = Command::new("node");
    clients.arg(sources().join("clients.mjs")).env("SDK_MODULES", &folder);
    check(clients, "node").await;
    let mut broke = Command::new("node");
    broke.arg(sources().join("broke.mjs")).env("SDK_MODULES", &folder);
    check_refused(broke, 6).await;
}

/// Runs the clients with a Tollgate key, and compares the ledger with the provider's own bill.
async fn check(mut clients: Command, language: &str) {
    let world = World::start("").await;
    point(&mut clients, &world);
    let output = run(clients, RUN).await.unwrap_or_else(|why| panic!("{why}"));
    let said = text(&output);
    assert!(output.status.success(), "{said}");
    let passed = said.lines().filter(|line| line.starts_with("ok ")).count();
    assert!(passed >= 10, "only {passed} checks ran:\n{said}");

    let mut entries = world.entries().await;
    entries.sort_by_key(|entry| entry.id);
    assert_eq!(entries.len() as u64, world.mock.requests_total(), "one entry for each request that was sent");
    let billed = compare(&world, &entries);
    println!("{language}: {passed} checks, {} requests, of which {billed} are billed", entries.len());
}

/// Runs clients at a cap without room: each is told so, and asks once, whatever it repeats by itself otherwise.
async fn check_refused(mut clients: Command, calls: u64) {
    let world = World::start("[organisation]\ncaps = { total = \"0.000001\" }\n").await;
    point(&mut clients, &world);
    let output = run(clients, RUN).await.unwrap_or_else(|why| panic!("{why}"));
    let said = text(&output);
    assert!(output.status.success(), "{said}");
    assert_eq!(said.lines().filter(|line| line.starts_with("refused ")).count() as u64, calls, "{said}");
    let entries = world.entries().await;
    assert!(entries.iter().all(|entry| entry.outcome == Outcome::Refused), "{entries:?}");
    assert_eq!(entries.iter().map(|entry| u64::from(entry.requests)).sum::<u64>(), calls, "each asked once");
    assert_eq!(world.mock.requests_total(), 0);
}

/// Lets the clients ask `world`, with its key.
fn point(clients: &mut Command, world: &World) {
    let base = format!("http://{}", world.address);
    clients
        .env("OPENAI_BASE_URL", format!("{base}/v1"))
        .env("ANTHROPIC_BASE_URL", &base)
        .env("GOOGLE_GEMINI_BASE_URL", &base)
        .envs(["OPENAI_API_KEY", "ANTHROPIC_API_KEY", "GEMINI_API_KEY"].map(|name| (name, KEY)))
        // A proxy for the way out has no business between two sockets of this machine.
        .envs(["NO_PROXY", "no_proxy"].map(|name| (name, "*")))
        .env_remove("GOOGLE_API_KEY")
        .env_remove("OPENAI_ORG_ID")
        .env_remove("ANTHROPIC_AUTH_TOKEN");
}

/// Every billed request has its entry with the same usage and the same cost, and the rest cost nothing.
fn compare(world: &World, entries: &[Entry]) -> usize {
    let lines = world.mock.bill().lines();
    let (billed, free): (Vec<&Entry>, Vec<&Entry>) = entries.iter().partition(|entry| is_billed(entry));
    for entry in &free {
        assert!(entry.cost.is_some_and(|cost| cost == Usd::ZERO), "{entry:?}");
    }
    assert_eq!(billed.len(), lines.len(), "one entry for each line of the bill");
    for (entry, line) in billed.iter().zip(&lines) {
        assert_eq!((&*entry.account.key, entry.account.team.as_deref()), ("ci", Some("search")));
        assert_eq!((&*entry.model, entry.outcome), (&*line.model, Outcome::Complete), "{entry:?}");
        if entry.operation == Operation::EmbedContent {
            // Gemini says nothing of an embedding's usage, so that it is bounded by the bytes that were sent.
            assert_eq!(entry.usage_source, UsageSource::Counted);
            assert!(entry.cost >= Some(line.cost), "{entry:?}\n{line:?}");
            continue;
        }
        assert_eq!((entry.usage_source, entry.cost), (UsageSource::Reported, Some(line.cost)), "{entry:?}\n{line:?}");
        assert_eq!(buckets(entry), counted(&line.counted, entry.dialect), "{entry:?}\n{line:?}");
    }
    billed.len()
}

fn buckets(entry: &Entry) -> [u64; 7] {
    let usage = &entry.usage;
    let written = [usage.cache_write, usage.cache_write_5m, usage.cache_write_1h];
    [usage.input, usage.cache_read, written[0], written[1], written[2], usage.output, usage.reasoning]
}

fn counted(line: &Counted, dialect: Dialect) -> [u64; 7] {
    let written = [line.cache_write, line.cache_write_5m, line.cache_write_1h];
    // Anthropic's usage does not tell how much of the output was thinking.
    let reasoning = if dialect == Dialect::Anthropic { 0 } else { line.reasoning };
    [line.input, line.cache_read, written[0], written[1], written[2], line.output, reasoning]
}

fn is_billed(entry: &Entry) -> bool {
    let embeds = matches!(entry.operation, Operation::Embeddings | Operation::EmbedContent);
    entry.status == 200 && (entry.operation.generates() || embeds)
}

/// A folder with the packages that `list` names, or nothing where they cannot be had.
async fn packages(name: &str, list: &str, program: &str, arguments: &str) -> Option<PathBuf> {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("sdk").join(name);
    let wanted = fs::read_to_string(sources().join(list)).unwrap();
    // Written last, so that a fetch that was broken off is done again.
    let done = folder.join("fetched");
    if fs::read_to_string(&done).is_ok_and(|fetched| fetched == wanted) {
        return Some(folder);
    }
    let _old = fs::remove_dir_all(&folder);
    fs::create_dir_all(&folder).unwrap();
    fs::write(folder.join(list), &wanted).unwrap();
    let mut fetch = Command::new(program);
    fetch.args(arguments.split_whitespace()).current_dir(&folder);
    let problem = match run(fetch, FETCH).await {
        Ok(output) if output.status.success() => {
            fs::write(done, wanted).unwrap();
            return Some(folder);
        }
        Ok(output) => text(&output),
        Err(why) => why,
    };
    let required = std::env::var_os("TOLLGATE_SDK").is_some_and(|wish| wish == "require");
    assert!(!required, "TOLLGATE_SDK=require, and no packages: {problem}");
    println!("not run: the {name} SDKs cannot be fetched: {problem}");
    None
}

async fn run(mut command: Command, longest: Duration) -> Result<Output, String> {
    let name = command.as_std().get_program().to_string_lossy().into_owned();
    let output = command.stdin(Stdio::null()).kill_on_drop(true).output();
    match tokio::time::timeout(longest, output).await {
        Ok(Ok(output)) => Ok(output),
        Ok(Err(error)) => Err(format!("{name}: {error}")),
        Err(_) => Err(format!("{name} took longer than {} s", longest.as_secs())),
    }
}

fn text(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr)
}

fn sources() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/sdk")
}
