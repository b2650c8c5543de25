//! [`Booked`]: which batches have been billed, so that fetching their results again costs nothing.
//!
//! A batch is billed by the entry of the request that fetched its results whole, whose reason names it. So the ledger
//! itself is the memory: it is read once, by the first such request of a process.
//!
//! Invariant: of two requests for the same results at most one holds the [`Claim`], and one that was not used is given
//! back.

use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use crate::domain::tokens::UsageSource;
use crate::store::{ReadError, Record, Spent, spent};

/// How long providers keep results: Anthropic 29 days, OpenAI 30 days by default; and some.
const KEPT_MS: u64 = 62 * 86_400_000;

/// What the reason of an entry begins with that bills a batch.
const REASON: &str = "batch results ";

/// The batches that have been billed.
#[derive(Debug)]
pub struct Booked {
    folder: PathBuf,
    known: Known,
}

/// `None` until the ledger has been read.
type Known = Arc<Mutex<Option<HashSet<Box<str>>>>>;

/// Leave to bill a batch. Dropped unused, somebody else may.
#[derive(Debug)]
pub struct Claim {
    known: Known,
    reason: Box<str>,
    is_used: bool,
}

impl Booked {
    /// The batches that the ledger in `folder` has billed.
    #[must_use]
    pub fn new(folder: &Path) -> Self {
        Self { folder: folder.to_owned(), known: Arc::default() }
    }

    /// Leave to bill the batch whose results are called `name`, unless it is billed already or is being so.
    ///
    /// # Errors
    /// The ledger cannot be read.
    pub async fn claim(&self, name: &str, now_ms: u64) -> Result<Option<Claim>, ReadError> {
        if with(&self.known, |known| known.is_none()) {
            let folder = self.folder.clone();
            let read = tokio::task::spawn_blocking(move || in_ledger(&folder, now_ms.saturating_sub(KEPT_MS))).await;
            // A thread that ended in the middle has read nothing, which is not to say that nothing is there.
            let Ok(found) = read else { return Ok(None) };
            let found = found?;
            with(&self.known, |known| known.get_or_insert_default().extend(found));
        }
        let reason: Box<str> = format!("{REASON}{name}").into();
        let is_new = with(&self.known, |known| known.get_or_insert_default().insert(reason.clone()));
        Ok(is_new.then(|| Claim { known: self.known.clone(), reason, is_used: false }))
    }
}

impl Claim {
    /// Bills the batch; gives the reason that its entry has to name.
    pub fn take(&mut self) -> Box<str> {
        self.is_used = true;
        self.reason.clone()
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        if !self.is_used {
            with(&self.known, |known| known.get_or_insert_default().remove(&self.reason));
        }
    }
}

fn in_ledger(folder: &Path, from_ms: u64) -> Result<Vec<Box<str>>, ReadError> {
    let mut found = Vec::new();
    spent(folder, from_ms, &mut |spent| match spent {
        Spent::Record(located) => {
            if let Record::Entry(entry) = &located.record
                && entry.operation.may_tell_a_batch()
                && entry.usage_source == UsageSource::Reported
            {
                found.push(entry.reason.clone());
            }
        }
        Spent::Archive(archive) => found.extend(archive.reasons.iter().map(|(_, reason)| reason.clone())),
    })?;
    found.retain(|reason| reason.starts_with(REASON));
    Ok(found)
}

fn with<T>(known: &Known, act: impl FnOnce(&mut Option<HashSet<Box<str>>>) -> T) -> T {
    act(&mut known.lock().unwrap_or_else(PoisonError::into_inner))
}
