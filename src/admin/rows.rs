//! Single lines of the ledger: every entry and every adjustment of a time, oldest first, as JSON lines or CSV.
//!
//! The command and the admin interface write with the same function, line by line, in memory that does not grow with the
//! ledger. What retention has dropped has no lines of its own: one line for each quarter of an hour and subject says what is
//! left of it.
//!
//! Invariant: what the lines come to is what a report of the same time calls net.

use std::sync::Arc;

use super::Answer;
use super::adjust;
use super::reply::{self, Flow};
use super::report::{Request, flushed};
use crate::app::App;
use crate::domain::entry_csv;
use crate::domain::entry_json::{write_dropped, write_entry};
use crate::store::{Ledger, ReadError, Told};

/// Bytes that are sent together.
const PART_BYTES: usize = 1 << 16;

/// What lines are written as.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RowFormat {
    /// An object a line.
    Json,
    /// RFC 4180 with a head.
    Csv,
}

impl RowFormat {
    /// The format of a word.
    #[must_use]
    pub fn named(word: &str) -> Option<Self> {
        [Self::Json, Self::Csv].into_iter().find(|format| format.name() == word)
    }

    /// The word.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Json => "json",
            Self::Csv => "csv",
        }
    }

    const fn media_type(self) -> &'static str {
        match self {
            Self::Json => "application/x-ndjson",
            Self::Csv => "text/csv; charset=utf-8",
        }
    }
}

/// Gives the lines of the time that is asked for, in parts, until `give` returns false. Returns how many requests of it have
/// no line of their own any more.
///
/// # Errors
/// The journal is damaged or cannot be read.
pub fn write(
    ledger: &Ledger,
    request: &Request,
    format: RowFormat,
    give: &mut dyn FnMut(String) -> bool,
) -> Result<u64, ReadError> {
    let mut dropped = 0;
    let mut part = if format == RowFormat::Csv { entry_csv::head() } else { String::new() };
    let mut goes_on = true;
    ledger.tell(request.range(), &mut |told| {
        match (told, format) {
            (Told::Entry(entry, hash), RowFormat::Json) => {
                write_entry(entry, hash, &mut part);
                part.push('\n');
            }
            (Told::Entry(entry, hash), RowFormat::Csv) => part.push_str(&entry_csv::line(entry, hash)),
            (Told::Adjustment(adjustment, _), RowFormat::Json) => part.push_str(&adjust::print(adjustment)),
            (Told::Adjustment(adjustment, hash), RowFormat::Csv) => {
                part.push_str(&entry_csv::adjustment_line(adjustment, hash));
            }
            (Told::Archived(at_ms, subject, sums), format) => {
                dropped += sums.requests;
                match format {
                    RowFormat::Json => {
                        write_dropped(at_ms, subject, sums, &mut part);
                        part.push('\n');
                    }
                    RowFormat::Csv => part.push_str(&entry_csv::dropped_line(at_ms, subject, sums)),
                }
            }
        }
        if part.len() >= PART_BYTES {
            goes_on = give(std::mem::take(&mut part));
        }
        goes_on
    })?;
    if goes_on && !part.is_empty() {
        give(part);
    }
    Ok(dropped)
}

/// `GET /admin/v1/report?rows=json` and `csv`: an answer that ends early was cut off, and says so by how it ends.
pub(super) async fn answer(app: &Arc<App>, request: Request, format: RowFormat) -> Answer {
    flushed(app).await;
    let ledger = Ledger::of_journal(&app.snapshot.load().config.store.path);
    let (tap, flow) = Flow::new();
    tokio::task::spawn_blocking(move || {
        let written = write(&ledger, &request, format, &mut |part| tap.give(part));
        if let Err(error) = written {
            tap.fail(&error);
        }
    });
    reply::flowing(format.media_type(), flow)
}
