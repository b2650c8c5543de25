//! `tollgate cache stats` and `purge`: over the control socket of the server that keeps the answers, and where none runs, on the
//! files that it has left.

use std::path::Path;

use http::StatusCode;

use super::args::cache::{Cache, Purge};
use super::args::{ConfigArgs, EXIT_FAILED, EXIT_USAGE};
use super::{control, load_without_secrets, print, tell};
use crate::admin::cache::{Asked, disk_stats, purge_disk};
use crate::admin::{CACHE, CACHE_PURGE};
use crate::clock::Clock;

/// What is said where nobody keeps answers.
const NO_SERVER: &str = "no server runs on this store, and no answers are kept on its disk ([cache] disk_mib): those in memory ended with the server";

/// Runs the command and returns the exit code.
pub async fn run(args: &Cache) -> u8 {
    match args {
        Cache::Stats(stats) => ask(&stats.config, None).await,
        Cache::Purge(purge) => ask(&purge.config, Some(asked(purge))).await,
    }
}

async fn ask(args: &ConfigArgs, purge: Option<Asked>) -> u8 {
    let config = match load_without_secrets(args) {
        Ok(config) => config,
        Err(exit) => return exit,
    };
    let folder = &config.store.path;
    let answer = match &purge {
        None => control::ask(folder, CACHE).await,
        Some(purge) => {
            let body = serde_json::to_vec(purge).unwrap_or_default();
            control::post(folder, CACHE_PURGE, &body).await
        }
    };
    match answer {
        Ok(Some(answer)) if answer.status == StatusCode::OK => return print(answer.body),
        Ok(Some(answer)) => {
            tell(&answer.message());
            return if answer.status == StatusCode::BAD_REQUEST { EXIT_USAGE } else { EXIT_FAILED };
        }
        Ok(None) => return alone(folder, purge),
        Err(error) => tell(&format!("the server does not answer: {error}")),
    }
    EXIT_FAILED
}

/// What is said and done where no server runs.
fn alone(store: &Path, purge: Option<Asked>) -> u8 {
    let Some(stats) = disk_stats(store) else {
        tell(&NO_SERVER);
        return EXIT_FAILED;
    };
    match purge.map_or(Ok(stats), |purge| purge_disk(store, purge, Clock::system().now_ms())) {
        Ok(said) => print(said),
        Err(error) => {
            tell(&error);
            EXIT_FAILED
        }
    }
}

fn asked(args: &Purge) -> Asked {
    Asked {
        all: args.all,
        key: args.key.clone(),
        team: args.team.clone(),
        model: args.model.clone(),
        older_than_s: args.older_than,
        cache_key: args.cache_key.clone(),
    }
}
