//! `tollgate keys create`, `list`, `rotate` and `revoke`: over the control socket, or on the store itself.
//!
//! Invariant: a secret goes to stdout once, and nowhere else.

use http::{Method, StatusCode};
use serde::Serialize;
use serde_json::Value;

use super::args::keys::{Create, Keys, List, Revoke, Rotate, Said};
use super::args::{ConfigArgs, EXIT_FAILED, EXIT_USAGE};
use super::control::{self, Answer};
use super::{load_without_secrets, print, tell};
use crate::admin::KEYS;
use crate::admin::keys::{self as made, ToChange, ToMake};
use crate::app::keys;
use crate::clock::{Clock, Mint};
use crate::config::{Config, Secret};
use crate::domain::key::{Digest, KeyEvent, KeyFault};
use crate::store::{Journal, Options, Record};

/// The variable in which a shell keeps the name of its user.
const USER: &str = "USER";

/// What went wrong, and the exit code.
struct Failed(String, u8);

/// A store that nobody serves, opened for this command.
struct Alone {
    journal: Journal,
    pepper: ring::hmac::Key,
    mint: Mint,
    now_ms: u64,
}

/// Runs the command and returns the exit code.
pub async fn run(args: &Keys) -> u8 {
    let done = match args {
        Keys::Create(args) => create(args).await,
        Keys::List(args) => list(args).await,
        Keys::Rotate(args) => rotate(args).await,
        Keys::Revoke(args) => revoke(args).await,
    };
    done.unwrap_or_else(|Failed(why, exit)| {
        if !why.is_empty() {
            tell(&why);
        }
        exit
    })
}

async fn create(args: &Create) -> Result<u8, Failed> {
    let config = load(&args.config)?;
    let asked = to_make(args)?;
    let shown = match send(&config, Method::POST, KEYS, &asked).await? {
        Some(shown) => shown,
        None => {
            let alone = Alone::open(&config)?;
            let event = |digest| asked.event(&config, digest, alone.now_ms).map_err(|why| Failed(why, EXIT_USAGE));
            alone.with_secret(&config, event).await?
        }
    };
    tell_secret(&shown, args.json)
}

async fn rotate(args: &Rotate) -> Result<u8, Failed> {
    let config = load(&args.config)?;
    let asked = ToChange { overlap_s: args.overlap, ..to_change(&args.said) };
    check_name(&config, &args.name)?;
    let shown = match send(&config, Method::POST, &format!("{KEYS}/{}/rotate", args.name), &asked).await? {
        Some(shown) => shown,
        None => {
            let alone = Alone::open(&config)?;
            let event =
                |digest| asked.rotation(&args.name, digest, alone.now_ms).map_err(|why| Failed(why, EXIT_USAGE));
            alone.with_secret(&config, event).await?
        }
    };
    tell_secret(&shown, args.json)
}

async fn revoke(args: &Revoke) -> Result<u8, Failed> {
    let config = load(&args.config)?;
    let asked = to_change(&args.said);
    check_name(&config, &args.name)?;
    if send(&config, Method::DELETE, &format!("{KEYS}/{}", args.name), &asked).await?.is_none() {
        let alone = Alone::open(&config)?;
        let event = asked.revocation(&args.name, alone.now_ms).map_err(|why| Failed(why, EXIT_USAGE))?;
        alone.change(&config, event).await?;
    }
    tell(&format!("the key {:?} is refused from now on", args.name));
    Ok(print(""))
}

async fn list(args: &List) -> Result<u8, Failed> {
    let config = load(&args.config)?;
    let folder = &config.store.path;
    let listed = match control::ask(folder, KEYS).await {
        Ok(Some(answer)) => taken(&answer)?,
        Err(error) => return Err(Failed(format!("the server does not answer: {error}"), EXIT_FAILED)),
        Ok(None) => {
            if folder.exists() {
                Alone::open(&config)?;
            }
            made::list(&config, Clock::system().now_ms())
        }
    };
    Ok(print(if args.json { listed } else { table(&listed) }))
}

impl Alone {
    /// Opens the store and fills the config's ring from it.
    fn open(config: &Config) -> Result<Self, Failed> {
        let (folder, now_ms) = (&config.store.path, Clock::system().now_ms());
        let (journal, recovered) = Journal::open(folder, Options::default(), now_ms).map_err(failed)?;
        let _unusable = config.ring.fill(recovered.keys);
        let mint = Mint::random().map_err(|_| failed("the system gives no random numbers"))?;
        let pepper = keys::pepper(folder, &mint).map_err(failed)?;
        Ok(Self { journal, pepper, mint, now_ms })
    }

    /// Makes the change that `event` makes of a new secret's digest; shows the key with the secret.
    async fn with_secret(
        &self,
        config: &Config,
        event: impl FnOnce(Digest) -> Result<KeyEvent, Failed>,
    ) -> Result<String, Failed> {
        let secret: Secret = keys::secret(&self.mint).map_err(failed)?;
        let event = event(keys::digest(&self.pepper, secret.expose()))?;
        let name = event.key.clone();
        self.change(config, event).await?;
        Ok(made::show(config, &name, Some(&secret), self.now_ms).unwrap_or_default())
    }

    async fn change(&self, config: &Config, event: KeyEvent) -> Result<(), Failed> {
        let write = |event: &KeyEvent| self.journal.post(&Record::Key(Box::new(event.clone()))).map_err(failed);
        let seat = config.ring.change(event, write)?;
        self.journal.synced(seat).await.map_err(failed)
    }
}

/// What the server of the store answers; `None` if there is none.
async fn send(config: &Config, method: Method, target: &str, body: &impl Serialize) -> Result<Option<String>, Failed> {
    let body = serde_json::to_string(body).map_err(failed)?;
    match control::send(&config.store.path, method, target, body.as_bytes()).await {
        Ok(answer) => answer.map(|answer| taken(&answer)).transpose(),
        // It may have been done: whoever asks again would be told that there is such a key.
        Err(error) => Err(failed(format!("the server does not answer ({error}); see `tollgate keys list`"))),
    }
}

fn taken(answer: &Answer) -> Result<String, Failed> {
    match answer.status {
        status if status.is_success() => Ok(String::from_utf8_lossy(&answer.body).into_owned()),
        StatusCode::BAD_REQUEST => Err(Failed(answer.message(), EXIT_USAGE)),
        _ => Err(failed(answer.message())),
    }
}

/// Prints a new secret; the key's name and what comes of it are talk.
fn tell_secret(shown: &str, as_json: bool) -> Result<u8, Failed> {
    let said: Value = serde_json::from_str(shown).map_err(failed)?;
    let text = |name: &str| said[name].as_str().unwrap_or_default();
    let until = said["old_secret_until"].as_str().map(|until| format!("; the old one is good until {until}"));
    tell(&format!("the secret of {:?} is not shown again{}", text("key"), until.unwrap_or_default()));
    Ok(print(if as_json { shown.to_owned() } else { format!("{}\n", text("secret")) }))
}

fn to_make(args: &Create) -> Result<ToMake, Failed> {
    let mut tags = std::collections::BTreeMap::new();
    for tag in &args.tags {
        let Some((name, value)) = tag.split_once('=') else {
            return Err(Failed(format!("--tag {tag:?}: a tag is NAME=VALUE"), EXIT_USAGE));
        };
        tags.insert(name.to_owned(), value.to_owned());
    }
    // A flag that is not given limits nothing; one that is empty allows nothing.
    let list = |items: &[String]| {
        let some = items.iter().filter(|item| !item.is_empty()).cloned().collect();
        (!items.is_empty()).then_some(some)
    };
    let said = to_change(&args.said);
    Ok(ToMake {
        name: args.name.clone(),
        team: args.team.clone(),
        user: args.user.clone(),
        tags,
        attribute: args.attribute,
        expires: args.expires.clone(),
        models: list(&args.models),
        upstreams: list(&args.upstreams),
        operations: list(&args.operations),
        tools: list(&args.tools),
        server_tools: list(&args.server_tools),
        networks: list(&args.networks),
        actor: said.actor,
        reason: said.reason,
    })
}

/// What was said of a change, by the user of this shell where nobody is named.
pub(super) fn to_change(said: &Said) -> ToChange {
    let user = || std::env::var(USER).ok();
    ToChange { overlap_s: None, actor: said.actor.clone().or_else(user), reason: said.reason.clone() }
}

/// A name goes into a path; and the config's own keys are changed there.
fn check_name(config: &Config, name: &str) -> Result<(), Failed> {
    if config.keys.contains_key(name) {
        return Err(failed(format!("the key {name:?} is one of the config: change it there and reload")));
    }
    match name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.@".contains(&byte)) && !name.is_empty() {
        true => Ok(()),
        false => Err(failed(format!("{name:?}: {}", KeyFault::Absent))),
    }
}

/// A listing for people.
fn table(listed: &str) -> String {
    let said: Value = serde_json::from_str(listed).unwrap_or_default();
    let text = |key: &Value, name: &str| key[name].as_str().unwrap_or("-").to_owned();
    let mut rows = vec![["KEY", "SOURCE", "STATUS", "TEAM", "USER", "EXPIRES", "ONLY"].map(str::to_owned)];
    for key in said["keys"].as_array().into_iter().flatten() {
        let columns = ["key", "source", "status", "team", "user", "expires_at"].map(|name| text(key, name));
        let [name, source, status, team, user, expires] = columns;
        rows.push([name, source, status, team, user, expires, only(key)]);
    }
    let widths: Vec<usize> =
        (0..7).map(|column| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or(0)).collect();
    let line = |row: &[String; 7]| {
        let cells = row.iter().zip(&widths).map(|(cell, width)| format!("{cell:<width$}"));
        format!("{}\n", cells.collect::<Vec<_>>().join("  ").trim_end())
    };
    rows.iter().map(line).collect()
}

/// What a key may be used for, in short.
fn only(key: &Value) -> String {
    let kinds = crate::domain::key::Kind::ALL.into_iter().filter_map(|kind| {
        let items = key[kind.name()].as_array()?.iter().filter_map(Value::as_str).collect::<Vec<_>>();
        Some(format!("{}={}", kind.name(), if items.is_empty() { "none".to_owned() } else { items.join(",") }))
    });
    kinds.collect::<Vec<_>>().join(" ")
}

fn load(args: &ConfigArgs) -> Result<Config, Failed> {
    // What is wrong with the config has been told.
    load_without_secrets(args).map_err(|exit| Failed(String::new(), exit))
}

fn failed(why: impl ToString) -> Failed {
    Failed(why.to_string(), EXIT_FAILED)
}

impl From<KeyFault> for Failed {
    fn from(fault: KeyFault) -> Self {
        failed(fault)
    }
}
