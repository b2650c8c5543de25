//! `tollgate ledger reconcile`

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use super::args::{EXIT_FAILED, EXIT_USAGE, Reconcile};
use super::report::tell_if_absent;
use super::{control, load_without_secrets, print, tell};
use crate::admin::RECONCILE;
use crate::admin::export::FILE_BYTES_MAX;
use crate::admin::query::written;
use crate::admin::reconcile::{self, Request};
use crate::domain::reconcile_text;
use crate::store::Ledger;

/// Runs the command and returns the exit code. A gap is an answer and no failure.
pub async fn run(args: &Reconcile) -> u8 {
    let config = match load_without_secrets(&args.config) {
        Ok(config) => config,
        Err(exit) => return exit,
    };
    let request = match Request::parse(said(args)) {
        Ok(request) => request,
        Err(error) => {
            tell(&error);
            return EXIT_USAGE;
        }
    };
    let bytes = match bytes(&args.file) {
        Ok(bytes) => bytes,
        Err(error) => {
            tell(&format!("{} cannot be read: {error}", args.file.display()));
            return EXIT_FAILED;
        }
    };
    let (statement, upstreams) = match request.read(&bytes, &config.upstreams) {
        Ok(read) => read,
        Err(error) => {
            tell(&format!("{}: {error}", args.file.display()));
            return EXIT_FAILED;
        }
    };
    let (folder, format) = (&config.store.path, request.format.unwrap_or_default());
    let target = format!("{RECONCILE}?{}", written(&[("upstream", &*upstreams.join(",")), ("format", format.name())]));
    match control::post(folder, &target, &bytes).await {
        Ok(Some(answer)) if answer.status.is_success() => return print(answer.body),
        Ok(Some(answer)) => {
            tell(&answer.message());
            return EXIT_FAILED;
        }
        Err(error) => tell(&format!("the server does not answer ({error}); reading {} without it", folder.display())),
        Ok(None) => {}
    }
    tell_if_absent(folder);
    match reconcile::run(&Ledger::open(folder), &statement, upstreams) {
        Ok(compared) => print(reconcile_text::print(&compared, format)),
        Err(error) => {
            tell(&error);
            EXIT_FAILED
        }
    }
}

fn said<'a>(args: &'a Reconcile) -> impl Iterator<Item = (&'a str, &'a str)> {
    let values: [(&'a str, Option<&'a str>); 2] =
        [("upstream", args.upstream.as_deref()), ("format", args.format.as_deref())];
    values.into_iter().filter_map(|(name, value)| Some((name, value?)))
}

fn bytes(path: &Path) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    let bytes_max = u64::try_from(FILE_BYTES_MAX).unwrap_or(u64::MAX);
    File::open(path)?.take(bytes_max + 1).read_to_end(&mut bytes)?;
    if bytes.len() > FILE_BYTES_MAX {
        return Err(io::Error::other(format!("it is larger than {} MiB", FILE_BYTES_MAX >> 20)));
    }
    Ok(bytes)
}
