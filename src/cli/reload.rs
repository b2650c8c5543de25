//! `tollgate reload`: the server that owns the store reads its config again.

use http::StatusCode;

use super::args::acts::Reload;
use super::args::{EXIT_CONFIG, EXIT_FAILED};
use super::{control, load_without_secrets, print, tell};
use crate::admin::RELOAD;
use crate::config::DEFAULT_FILE;

/// Asks for it, and returns the exit code.
pub async fn run(args: &Reload) -> u8 {
    let config = match load_without_secrets(&args.config) {
        Ok(config) => config,
        Err(exit) => return exit,
    };
    let folder = &config.store.path;
    let asked = super::keys::to_change(&args.said);
    let body = serde_json::to_string(&asked).unwrap_or_default();
    match control::post(folder, RELOAD, body.as_bytes()).await {
        Ok(Some(answer)) if answer.status == StatusCode::OK => print(&answer.body),
        Ok(Some(answer)) => {
            tell(&answer.message());
            if answer.status == StatusCode::UNPROCESSABLE_ENTITY { EXIT_CONFIG } else { EXIT_FAILED }
        }
        Ok(None) => {
            let file = config.file.as_deref().unwrap_or(std::path::Path::new(DEFAULT_FILE));
            tell(&format!("no server runs on the store {} of {}", folder.display(), file.display()));
            EXIT_FAILED
        }
        Err(error) => {
            tell(&error);
            EXIT_FAILED
        }
    }
}
