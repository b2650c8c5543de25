//! `tollgate report`

use std::io::{ErrorKind, Write};
use std::path::Path;

use super::args::{self, EXIT_FAILED, EXIT_OK, EXIT_USAGE};
use super::control::{self, Answer};
use super::{load_without_secrets, print, tell};
use crate::admin::REPORT;
use crate::admin::query::written;
use crate::admin::report::{self, Request};
use crate::admin::reprice::Prices;
use crate::admin::rows::{self, RowFormat};
use crate::admin::zone::Zone;
use crate::clock::Clock;
use crate::config::Config;
use crate::domain::report_text::Format;
use crate::store::Ledger;

/// Prints the report and returns the exit code.
pub async fn run(args: &args::Report) -> u8 {
    let config = match load_without_secrets(&args.config) {
        Ok(config) => config,
        Err(exit) => return exit,
    };
    let zone = Zone::of(config.money.time_zone.clone());
    let by = args.by.join(",");
    let said = said(args, &by);
    let request = match Request::parse(said.iter().copied(), &zone, Clock::system().now_ms()) {
        Ok(request) => request,
        Err(error) => {
            tell(&error);
            return EXIT_USAGE;
        }
    };
    if args.rows {
        return rows(&config.store.path, &request);
    }
    let format = request.format.unwrap_or_default();
    let target = format!("{REPORT}?{}", written(&asked(&said, &request, format)));
    let folder = &config.store.path;
    match served(folder, &target).await {
        Some(answer) if answer.status.is_success() => print(answer.body),
        Some(answer) => {
            tell(&answer.message());
            EXIT_FAILED
        }
        None => read(&config, &request, format),
    }
}

/// What the server of the store says, if there is one that answers.
pub(super) async fn served(folder: &Path, target: &str) -> Option<Answer> {
    match control::ask(folder, target).await {
        Ok(answer) => answer,
        Err(error) => {
            tell(&format!("the server does not answer ({error}); reading {} without it", folder.display()));
            None
        }
    }
}

/// Says where there is no ledger, since an empty answer alone would look like a quiet month.
pub(super) fn tell_if_absent(folder: &Path) {
    if !folder.exists() {
        tell(&format!("there is no ledger in {} yet", folder.display()));
    }
}

fn read(config: &Config, request: &Request, format: Format) -> u8 {
    let folder = &config.store.path;
    tell_if_absent(folder);
    match report::run(&Ledger::open(folder), request, &Prices::of(config)) {
        Ok(table) => print(format.print(&table)),
        Err(error) => {
            tell(&error);
            EXIT_FAILED
        }
    }
}

/// Prints every line of the time asked for. It reads the files itself, since there may be more than fits an answer.
fn rows(folder: &Path, request: &Request) -> u8 {
    let format = match request.format {
        None | Some(Format::Json) => RowFormat::Json,
        Some(Format::Csv) => RowFormat::Csv,
        Some(Format::Table | Format::Focus) => {
            tell(&"rows are written as json or csv");
            return EXIT_USAGE;
        }
    };
    tell_if_absent(folder);
    let (mut out, mut written) = (std::io::stdout().lock(), Ok(()));
    let read = rows::write(&Ledger::of_journal(folder), request, format, &mut |part| {
        written = out.write_all(part.as_bytes());
        written.is_ok()
    });
    let written = written.and_then(|()| out.flush());
    match (read, written) {
        (Err(error), _) => tell(&error),
        // A reader such as `head` that has seen enough is no failure.
        (Ok(_), Err(error)) if error.kind() != ErrorKind::BrokenPipe => tell(&error),
        (Ok(0), _) => return EXIT_OK,
        (Ok(dropped), _) => {
            tell(&format!(
                "{dropped} requests of this time have no line of their own: retention has dropped them, and one line for each \
                 quarter of an hour and kind of request says what they came to"
            ));
            return EXIT_OK;
        }
    }
    EXIT_FAILED
}

fn said<'a>(args: &'a args::Report, by: &'a str) -> Vec<(&'static str, &'a str)> {
    let values = [
        ("by", Some(by).filter(|by| !by.is_empty())),
        ("since", args.since.as_deref()),
        ("until", args.until.as_deref()),
        ("format", args.format.as_deref()),
        ("tz", args.tz.as_deref()),
        ("reprice", args.reprice.then_some("true")),
    ];
    values.into_iter().filter_map(|(name, value)| Some((name, value?))).collect()
}

/// The same with this command's own defaults, which a server's config must not change.
fn asked<'a>(said: &[(&'static str, &'a str)], request: &'a Request, format: Format) -> Vec<(&'static str, &'a str)> {
    let plain = said.iter().copied().filter(|(name, _)| !matches!(*name, "format" | "tz"));
    plain.chain([("format", format.name()), ("tz", request.time_zone())]).collect()
}
