//! Whether the ledger is what it was: checksums, chain, snapshots, totals, and the index against the journal.

use std::path::Path;
use std::sync::Arc;

use super::report::{flushed, unreadable};
use super::{Answer, reply};
use crate::app::App;
use crate::domain::account::Scope;
use crate::domain::json_text::Object;
use crate::store::index::Compared;
use crate::store::verify::{self, Report};
use crate::store::{Ledger, ReadError};

/// What a check found.
#[derive(Debug)]
pub struct Audit {
    /// Of the journal.
    pub report: Report,
    /// Of the index, if there is one that can be used.
    pub index: Option<Compared>,
}

impl Audit {
    /// Checks the store in `folder`, whose index `ledger` has. It reads everything.
    ///
    /// # Errors
    /// The journal is damaged or cannot be read; the error says where.
    pub fn of(folder: &Path, ledger: &Ledger) -> Result<Self, ReadError> {
        Ok(Self { report: verify::verify(folder)?, index: ledger.compare()? })
    }

    /// Whether everything adds up.
    #[must_use]
    pub fn is_sound(&self) -> bool {
        self.report.odd_records == 0 && self.index.as_ref().is_none_or(|index| index.differing == 0)
    }

    /// One JSON object, as a line.
    #[must_use]
    pub fn print(&self) -> String {
        let (mut out, report) = (String::new(), &self.report);
        let whole = report.totals.of(&Scope::Organisation);
        let mut object = Object::open(&mut out);
        object.truth("sound", self.is_sound()).text("head", &report.head);
        for (name, count) in [
            ("segments", report.segments),
            ("archives", report.archives),
            ("frames", report.frames),
            ("records", report.records),
            ("snapshots", report.snapshots),
            ("unfinished", report.unfinished.len() as u64),
            ("odd_records", report.odd_records),
        ] {
            object.number(name, count);
        }
        let mut odd = object.list("odd");
        for found in &report.odd {
            let mut object = odd.object();
            object.text("segment", &found.segment.display().to_string());
            object.number("offset", found.offset).text("what", found.what);
        }
        drop(odd);
        object.text_or_null("tail", report.tail.as_ref().map(ToString::to_string).as_deref());
        object.shown("spent_usd", whole.spent.fixed()).shown("credited_usd", whole.credited.fixed());
        match &self.index {
            None => drop(object.null("index")),
            Some(Compared { rows, next_seq, differing }) => {
                let mut index = object.object("index");
                index.number("rows", rows).number("next_seq", next_seq).number("differing", differing);
            }
        }
        drop(object);
        out + "\n"
    }
}

/// `GET /admin/v1/ledger/verify`
pub(super) async fn answer(app: &Arc<App>) -> Answer {
    let (folder, ledger) = (app.snapshot.load().config.store.path.clone(), app.ledger());
    flushed(app).await;
    match tokio::task::spawn_blocking(move || Audit::of(&folder, &ledger)).await {
        Ok(Ok(audit)) => reply::text(reply::JSON, audit.print()),
        Ok(Err(error)) => unreadable(&error),
        Err(_) => unreadable(&"the reader failed"),
    }
}
