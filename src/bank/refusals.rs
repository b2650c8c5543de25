//! [`Refusals`]: beyond a few a minute, refusals of one key are counted in one entry.
//!
//! A client in a retry loop must not fill the ledger, and must not vanish from it.

use std::collections::HashMap;
use std::sync::Arc;

use crate::domain::account::Account;
use crate::domain::entry::Entry;

/// Refusals of one key within a minute that get an entry each.
pub const SINGLE_MAX: u32 = 10;

/// Keys that are told apart within a minute. Whoever sends another made-up credential with each request would fill
/// memory and ledger otherwise.
pub const KEYS_MAX: usize = 4_096;

/// The key in the entry that stands for all keys beyond those.
pub const OTHER_KEYS: &str = "(others)";

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
    pub fn take(&mut self, mut entry: Box<Entry>) -> Option<Box<Entry>> {
        if self.by_key.len() >= KEYS_MAX && !self.by_key.contains_key(&entry.account.key) {
            entry.account = Account { key: OTHER_KEYS.into(), user: None, team: None, tags: Arc::default() };
        }
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

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(key: &str) -> Box<Entry> {
        let mut entry = Entry::blank();
        entry.account.key = key.into();
        Box::new(entry)
    }

    #[test]
    fn a_flood_of_one_key_becomes_one_entry_that_counts_it() {
        let mut refusals = Refusals::default();
        assert!(refusals.turn(60_000).is_empty());
        let written = (0..25).filter_map(|_| refusals.take(refused("a"))).count();
        assert_eq!(written, 10);
        assert!(refusals.take(refused("b")).is_some() && refusals.turn(119_999).is_empty());
        let over = refusals.turn(120_000);
        assert_eq!(over.iter().map(|entry| entry.requests).collect::<Vec<_>>(), [15]);
        assert!(refusals.take(refused("a")).is_some(), "a new minute begins");
    }

    #[test]
    fn made_up_keys_are_bounded() {
        let mut refusals = Refusals::default();
        let written = (0..20_000).filter_map(|number| refusals.take(refused(&number.to_string()))).count();
        assert_eq!(written, KEYS_MAX + 10);
        assert!(refusals.by_key.len() <= KEYS_MAX + 1);
        let over = refusals.end();
        assert_eq!((&*over[0].account.key, over[0].requests as usize), (OTHER_KEYS, 20_000 - written));
    }
}
