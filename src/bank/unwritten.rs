//! [`Unwritten`]: requests that went on although the journal could not be written, until the next start enters them.
//!
//! Nobody with a cap spends anything here. Count and cost stand in one line of a small file that was made at the start, so
//! that even a full disk takes it; where it does not, the log has the line of each request all the same.
//!
//! Invariant: what stands in the file is in no ledger yet. It is entered under ids that the file tells, and the file is
//! emptied only when that is durable, so that it counts once however often a start is interrupted.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::Path;
use std::sync::Mutex;

use super::lock;
use crate::domain::account::Account;
use crate::domain::entry::{Attempt, Entry, Outcome};
use crate::domain::ids::{AttemptId, RequestId};
use crate::domain::money::Usd;
use crate::domain::tokens::UsageSource;
use crate::store::{Close, Journal, Open, Seat, StoreError};

/// The key in entries that stand for such requests.
pub const KEY: &str = "(unwritten)";

const FILE: &str = "unwritten";

/// Bytes of the file, whatever stands in it.
const FILE_BYTES: usize = 256;

/// What a request that ends now leaves unwritten if the journal has failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Loss {
    /// Requests of which no record stands.
    pub requests: u32,
    /// What attempts without a record have cost; `None` is unpriced.
    pub cost: Option<Usd>,
}

/// What could not be written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Sums {
    /// The first of them.
    first: RequestId,
    priced: u32,
    unpriced: u32,
    cost: Usd,
}

/// Keeps the sums.
#[derive(Debug)]
pub(super) struct Unwritten {
    /// Gone if the file cannot be had.
    file: Option<File>,
    sums: Mutex<Sums>,
    /// The last record that enters what an earlier process left, until it is durable.
    entered: Mutex<Option<Seat>>,
}

impl Loss {
    /// A request that spent nothing.
    pub(super) const fn of(requests: u32) -> Self {
        Self { requests, cost: Some(Usd::ZERO) }
    }

    const fn is_nothing(self) -> bool {
        self.requests == 0 && matches!(self.cost, Some(Usd::ZERO))
    }
}

impl Unwritten {
    /// The sums in `folder`, and what an earlier process left there.
    pub(super) fn open(folder: &Path) -> (Self, Sums) {
        let path = folder.join(FILE);
        let opened = OpenOptions::new().read(true).write(true).create(true).truncate(false).mode(0o600).open(&path);
        let (file, left) = match opened.and_then(|file| left_in(&file).map(|left| (file, left))) {
            Ok((file, left)) => (Some(file), left),
            Err(error) => {
                tracing::warn!(%error, path = %path.display(), "requests that cannot be journaled could not be counted either");
                (None, Sums::default())
            }
        };
        (Self { file, sums: Mutex::default(), entered: Mutex::default() }, left)
    }

    /// Counts what is lost with a request.
    pub(super) fn note(&self, id: RequestId, loss: Loss) {
        if loss.is_nothing() {
            return;
        }
        let mut sums = lock(&self.sums);
        if sums.count() == 0 {
            sums.first = id;
        }
        match loss.cost {
            Some(cost) => (sums.priced, sums.cost) = (sums.priced.saturating_add(loss.requests), sums.cost.plus(cost)),
            None => sums.unpriced = sums.unpriced.saturating_add(loss.requests.max(1)),
        }
        if let Some(Err(error)) = self.file.as_ref().map(|file| sums.write(file)) {
            tracing::error!(%error, request_id = %id, "a request could be neither journaled nor counted");
        }
    }

    /// How many requests could not be written since the start.
    pub(super) fn count(&self) -> u64 {
        lock(&self.sums).count()
    }

    /// Enters what an earlier process left; gives the entries.
    pub(super) fn enter(&self, left: Sums, journal: &Journal) -> Result<Vec<Entry>, StoreError> {
        let mut entries = Vec::new();
        for (ordinal, requests, cost) in [(0, left.priced, Some(left.cost)), (1, left.unpriced, None)] {
            if requests > 0 || cost.is_some_and(|cost| cost > Usd::ZERO) {
                let (open, close, entry) = records(left.first, ordinal, requests.max(1), cost);
                journal.admit(&open)?;
                *lock(&self.entered) = Some(journal.settle(&close, &entry));
                entries.push(entry);
            }
        }
        Ok(entries)
    }

    /// Empties the file once what stood in it is durable: records before `unsynced` are.
    pub(super) fn settle(&self, unsynced: u64) {
        let mut entered = lock(&self.entered);
        if entered.is_some_and(|seat| seat.number() < unsynced) {
            *entered = None;
            let sums = lock(&self.sums);
            if let Some(Err(error)) = self.file.as_ref().map(|file| sums.write(file).and_then(|()| file.sync_data())) {
                tracing::warn!(%error, "the count of unwritten requests cannot be taken back");
            }
        }
    }
}

impl Sums {
    const fn count(&self) -> u64 {
        self.priced as u64 + self.unpriced as u64
    }

    fn write(&self, file: &File) -> io::Result<()> {
        let line = match self.count() == 0 && self.cost == Usd::ZERO {
            true => String::new(),
            false => format!("{} {} {} {}", self.first, self.priced, self.unpriced, self.cost.pico()),
        };
        file.write_all_at(format!("{line:<width$}\n", width = FILE_BYTES - 1).as_bytes(), 0)
    }

    fn parse(line: &str) -> Option<Self> {
        let mut words = line.split_ascii_whitespace();
        let first = words.next()?.parse().ok()?;
        let (priced, unpriced) = (words.next()?.parse().ok()?, words.next()?.parse().ok()?);
        Some(Self { first, priced, unpriced, cost: Usd::from_pico(words.next()?.parse().ok()?) })
    }
}

/// What stands in the file, which is made as long as it will ever be.
fn left_in(file: &File) -> io::Result<Sums> {
    let mut bytes = [b' '; FILE_BYTES];
    let length = file.read_at(&mut bytes, 0)?;
    if length < FILE_BYTES {
        file.write_all_at(&bytes, 0)?;
        file.sync_all()?;
    }
    Ok(std::str::from_utf8(&bytes).ok().and_then(Sums::parse).unwrap_or_default())
}

/// The records of one entry that stands for all of them.
fn records(first: RequestId, ordinal: u8, requests: u32, cost: Option<Usd>) -> (Open, Close, Entry) {
    let id = RequestId::new(first.at_ms(), first.unique().wrapping_add(u128::from(ordinal)));
    let account = Account { key: KEY.into(), ..Entry::blank().account };
    let blank = Entry::blank();
    let open = Open {
        attempt: AttemptId { request: id, ordinal: 0 },
        at_ms: id.at_ms(),
        account: account.clone(),
        upstream: "".into(),
        model: "".into(),
        quote: cost,
        operation: blank.operation,
        dialect: blank.dialect,
    };
    let (status, outcome, usage_source) = (0, Outcome::Unsettled, UsageSource::Assumed);
    let close = Close { attempt: open.attempt, at_ms: open.at_ms, status, outcome, usage_source, cost };
    let attempt = Attempt { ordinal: 0, upstream: "".into(), model: "".into(), status, outcome, usage_source, cost };
    let entry = Entry {
        id,
        at_ms: open.at_ms,
        account,
        reason: "served or refused while the journal could not be written".into(),
        outcome,
        usage_source,
        cost,
        quote: cost,
        attempts: vec![attempt],
        requests,
        ..blank
    };
    (open, close, entry)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_counted_is_there_at_the_next_start() {
        let folder = tempfile::tempdir().unwrap();
        let id = RequestId::new(7, 9);
        let (unwritten, left) = Unwritten::open(folder.path());
        assert_eq!(left, Sums::default());
        unwritten.note(id, Loss { requests: 0, cost: Some(Usd::ZERO) });
        assert_eq!(unwritten.count(), 0);
        unwritten.note(id, Loss { requests: 1, cost: Some(Usd::from_pico(5)) });
        unwritten.note(RequestId::new(8, 1), Loss { requests: 1, cost: None });
        unwritten.note(RequestId::new(8, 2), Loss::of(40));
        let (again, left) = Unwritten::open(folder.path());
        assert_eq!(left, Sums { first: id, priced: 41, unpriced: 1, cost: Usd::from_pico(5) });
        assert_eq!((unwritten.count(), again.count()), (42, 0));
        let (open, close, entry) = records(id, 1, 3, None);
        assert!(open.attempt == close.attempt && entry.id != id && entry.requests == 3 && entry.cost.is_none());
    }
}
