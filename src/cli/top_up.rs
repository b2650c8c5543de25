//! `tollgate ledger top-up`: over the control socket, or on the store itself.

use http::StatusCode;

use super::args::acts::TopUp;
use super::args::{EXIT_FAILED, EXIT_USAGE};
use super::{control, load_without_secrets, print, tell};
use crate::admin::TOP_UPS;
use crate::admin::top_up::{self, Asked};
use crate::clock::{Clock, Mint};
use crate::config::Config;
use crate::store::{Journal, Options, Record};

/// Posts it and returns the exit code.
pub async fn run(args: &TopUp) -> u8 {
    let config = match load_without_secrets(&args.config) {
        Ok(config) => config,
        Err(exit) => return exit,
    };
    let asked = asked(args);
    let body = serde_json::to_string(&asked).unwrap_or_default();
    match control::post(&config.store.path, TOP_UPS, body.as_bytes()).await {
        Ok(Some(answer)) if answer.status == StatusCode::CREATED => print(answer.body),
        Ok(Some(answer)) => {
            tell(&answer.message());
            if answer.status == StatusCode::BAD_REQUEST { EXIT_USAGE } else { EXIT_FAILED }
        }
        // It may have been posted: whoever asks again would post it twice.
        Err(error) => {
            tell(&format!("the server does not answer ({error}); see `tollgate ledger actions` before trying again"));
            EXIT_FAILED
        }
        Ok(None) => match post(&config, &asked).await {
            Ok(line) => print(line),
            Err((why, exit)) => {
                tell(&why);
                exit
            }
        },
    }
}

async fn post(config: &Config, asked: &Asked) -> Result<String, (String, u8)> {
    let failed = |why: &dyn ToString| (why.to_string(), EXIT_FAILED);
    let now_ms = Clock::system().now_ms();
    let mint = Mint::random().map_err(|_| failed(&"the system gives no random numbers"))?;
    let top_up = asked.top_up(config, mint.request_id(now_ms), now_ms).map_err(|why| (why, EXIT_USAGE))?;
    let opened = Journal::open(&config.store.path, Options::default(), now_ms);
    let (journal, _) = opened.map_err(|error| failed(&error))?;
    let posted = journal.post(&Record::TopUp(Box::new(top_up.clone()))).map_err(|error| failed(&error))?;
    journal.synced(posted).await.map_err(|error| failed(&error))?;
    Ok(top_up::print(&top_up))
}

fn asked(args: &TopUp) -> Asked {
    let (scope, name) = args.scope();
    Asked {
        scope: scope.to_owned(),
        name: name.to_owned(),
        amount_usd: args.amount.clone(),
        actor: args.actor.clone(),
        reason: args.reason.clone(),
    }
}
