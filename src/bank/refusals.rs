//! [`Refusals`]: beyond a few a minute, refusals of one key are counted in one entry.
//!
//! A client in a retry loop must not fill the ledger, and must not vanish from it.

use std::collections::HashMap;
use std::sync::Arc;

use crate::domain::entry::Entry;

/// Refusals of one key within a minute that get an entry each.
pub const SINGLE_MAX: u32 = 10;

/// What has been refused in the minute that runs.
#[derive(Debug, Default)]
pub struct Refusals {
    minute: u64,
    by_key: HashMap<Arc<str>, Counted>,
}

#[derive(Debug, Default)]
struct Counted {
    single: u32,
    /// The first entry beyond the limit; it stands for those that follow.
    many: Option<Box<Entry>>,
}

impl Refusals {
    /// Takes a refusal. Gives back what is to be written now: it, or nothing while it is counted.
    pub fn take(&mut self, entry: Box<Entry>) -> Option<Box<Entry>> {
        let counted = self.by_key.entry(entry.account.key.clone()).or_default();
        if counted.single < SINGLE_MAX {
            counted.single += 1;
            return Some(entry);
        }
        match &mut counted.many {
            Some(many) => many.requests = many.requests.saturating_add(1),
            None => counted.many = Some(entry),
        }
        None
    }

    /// Ends the minute before `now_ms` if it is over; gives back the entries that stand for many.
    pub fn turn(&mut self, now_ms: u64) -> Vec<Box<Entry>> {
        let minute = now_ms / 60_000;
        if minute == self.minute {
            return Vec::new();
        }
        self.minute = minute;
        self.end()
    }

    /// Gives back every entry that stands for many.
    pub fn end(&mut self) -> Vec<Box<Entry>> {
        self.by_key.drain().filter_map(|(_, counted)| counted.many).collect()
    }
}
