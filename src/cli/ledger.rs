//! `tollgate ledger show`, `verify`, `rebuild` and `adjust`; the others have files of their own

use std::path::Path;

use http::StatusCode;

use super::args::{Adjust, ConfigArgs, EXIT_FAILED, Ledger, Show};
use super::control;
use super::report::{served, tell_if_absent};
use super::{load_without_secrets, print, tell};
use crate::admin::adjust::{self, Asked};
use crate::admin::audit::Audit;
use crate::admin::{ADJUSTMENTS, REQUESTS, VERIFY, lookup};
use crate::clock::{Clock, Mint};
use crate::domain::json_text::Object;
use crate::store::Ledger as Books;
use crate::store::index::aside;
use crate::store::{Clerk, Journal, Options, Record, Unfinished, clerk};

/// Runs the command and returns the exit code.
pub async fn run(args: &Ledger) -> u8 {
    match args {
        Ledger::Show(show) => self::show(show).await,
        Ledger::Verify(args) => with(&args.config, verify).await,
        Ledger::Rebuild(args) => with(&args.config, async |folder| rebuild(folder)).await,
        Ledger::Reconcile(args) => super::reconcile::run(args).await,
        Ledger::TopUp(args) => super::top_up::run(args).await,
        Ledger::Actions(args) => super::actions::run(args).await,
        Ledger::Adjust(args) => with(&args.config, async |folder| adjust(folder, args).await).await,
    }
}

async fn show(args: &Show) -> u8 {
    let config = match load_without_secrets(&args.config) {
        Ok(config) => config,
        Err(exit) => return exit,
    };
    let folder = &config.store.path;
    match served(folder, &format!("{REQUESTS}{}", args.id)).await {
        Some(answer) if answer.status == StatusCode::OK => return print(answer.body),
        Some(answer) => tell(&answer.message()),
        None => match lookup::find(&Books::open(folder), args.id) {
            Ok(Some(line)) => return print(line),
            Ok(None) => {
                tell_if_absent(folder);
                tell(&lookup::absent(args.id));
            }
            Err(error) => tell(&error),
        },
    }
    EXIT_FAILED
}

async fn with(args: &ConfigArgs, run: impl AsyncFnOnce(&Path) -> u8) -> u8 {
    match load_without_secrets(args) {
        Ok(config) => run(&config.store.path).await,
        Err(exit) => exit,
    }
}

async fn verify(folder: &Path) -> u8 {
    let sound = match served(folder, VERIFY).await {
        Some(answer) if answer.status == StatusCode::OK => {
            let said: Option<serde_json::Value> = serde_json::from_slice(&answer.body).ok();
            let sound = said.is_some_and(|said| said["sound"] == true);
            Some((answer.body.to_vec(), sound))
        }
        Some(answer) => {
            tell(&answer.message());
            None
        }
        None => match Audit::of(folder, &Books::open(folder)) {
            Ok(audit) => Some((audit.print().into_bytes(), audit.is_sound())),
            Err(error) => {
                tell(&error);
                None
            }
        },
    };
    match sound {
        Some((text, true)) => print(text),
        // What was printed says what is wrong.
        Some((text, false)) => print(text).max(EXIT_FAILED),
        None => EXIT_FAILED,
    }
}

/// Sets the index aside and builds another; the journal's lock keeps servers away meanwhile.
fn rebuild(folder: &Path) -> u8 {
    let clock = Clock::system();
    let done = Journal::open(folder, Options::default(), clock.now_ms()).map_err(|error| error.to_string());
    let done = done.and_then(|(journal, _)| {
        aside::set_aside(folder).map_err(|error| error.to_string())?;
        let options = clerk::Options { retention_days: None, open: clerk::open_sled, clock };
        let clerk = Clerk::start(folder, journal.tip(), options).map_err(|error| error.to_string())?;
        clerk.round();
        let state = clerk.state();
        clerk.stop();
        state.trouble.map_or(Ok(state.next_seq), |trouble| Err(trouble.into()))
    });
    match done {
        Ok(next_seq) => {
            tell(&format!("the index is built again up to record {next_seq}"));
            print("")
        }
        Err(why) => {
            tell(&why);
            EXIT_FAILED
        }
    }
}

async fn adjust(folder: &Path, args: &Adjust) -> u8 {
    let asked = asked(args);
    match control::post(folder, ADJUSTMENTS, body(args).as_bytes()).await {
        Ok(Some(answer)) if answer.status == StatusCode::CREATED => return print(answer.body),
        Ok(Some(answer)) => tell(&answer.message()),
        // It may have been posted: whoever asks again would post it twice.
        Err(error) => tell(&format!("the server does not answer ({error}); look into the report before trying again")),
        Ok(None) => match post(folder, &asked).await {
            Ok(line) => return print(line),
            Err(why) => tell(&why),
        },
    }
    EXIT_FAILED
}

async fn post(folder: &Path, asked: &Asked) -> Result<String, String> {
    let now_ms = Clock::system().now_ms();
    let mint = Mint::random().map_err(|_| "the system gives no random numbers".to_owned())?;
    let (journal, found) = Journal::open(folder, Options::default(), now_ms).map_err(|error| error.to_string())?;
    // A request that a dead process left open gets its entry first.
    let is_meant = |one: &&Unfinished| one.attempts.first().map(|(open, _)| open.attempt.request) == asked.request();
    if let Some((seat, _)) = found.unfinished.iter().find(is_meant).and_then(|one| journal.expire(one, now_ms)) {
        journal.synced(seat).await.map_err(|error| error.to_string())?;
    }
    let made = asked.adjustment(&Books::open(folder), mint.request_id(now_ms), now_ms);
    let adjustment = made.map_err(|error| error.to_string())?;
    let posted = journal.post(&Record::Adjustment(Box::new(adjustment.clone()))).map_err(|error| error.to_string())?;
    journal.synced(posted).await.map_err(|error| error.to_string())?;
    Ok(adjust::print(&adjustment))
}

fn asked(args: &Adjust) -> Asked {
    Asked {
        direction: args.direction.clone(),
        amount_usd: args.amount.clone(),
        actor: args.actor.clone(),
        reason: args.reason.clone(),
        request_id: args.request.map(|id| id.to_string()),
        team: args.team.clone(),
        user: args.user.clone(),
        key: args.key.clone(),
        model: args.model.clone(),
        upstream: args.upstream.clone(),
        ..Asked::default()
    }
}

fn body(args: &Adjust) -> String {
    let mut out = String::new();
    let mut object = Object::open(&mut out);
    for (name, value) in [("direction", &args.direction), ("amount_usd", &args.amount), ("actor", &args.actor)] {
        object.text(name, value);
    }
    object.text("reason", &args.reason);
    object.text_or_null("request_id", args.request.map(|id| id.to_string()).as_deref());
    for (name, value) in [("team", &args.team), ("user", &args.user), ("key", &args.key)] {
        object.text_or_null(name, value.as_deref());
    }
    object.text_or_null("model", args.model.as_deref()).text_or_null("upstream", args.upstream.as_deref());
    drop(object);
    out
}
