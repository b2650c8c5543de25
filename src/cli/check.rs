//! `tollgate check`: the config as it is meant, or everything that is wrong with it.

use super::args::{Check, EXIT_FAILED};
use super::{load, load_without_secrets, print, sheet, tell};

/// Prints the config, or what applies to one key, and returns the exit code.
pub async fn run(args: &Check) -> u8 {
    let Some(id) = &args.key else { return whole(args) };
    // Who asks about a key need not have the secrets.
    let config = match load_without_secrets(&args.config) {
        Ok(config) => config,
        Err(exit) => return exit,
    };
    match sheet::of(&config, id).await {
        Ok(sheet) => print(sheet),
        Err(why) => {
            tell(&why);
            EXIT_FAILED
        }
    }
}

fn whole(args: &Check) -> u8 {
    let config = match load(&args.config) {
        Ok(config) => config,
        Err(exit) => return exit,
    };
    let file = config.file.as_ref().map_or("built-in defaults".to_owned(), |file| file.display().to_string());
    let exit = print(config.render_starred());
    tell(&format!("{file}: ok, config {}", config.hash()));
    exit
}
