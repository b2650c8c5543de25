//! [`Ring`]: the keys that were made at run time, as requests look them up.
//!
//! The file is policy, the store is fact: what is in here comes from the store and outlives every reload, so that a config
//! only holds a [`Lent`] ring. It is filled once, at the start, and then follows each change.
//!
//! Invariant: when [`Ring::change`] returns, the next request that arrives meets the change.
//! Invariant: a change that was not written down is not made, but for a revocation, which is made in any case.
//! Invariant: a key's change costs as much with a hundred thousand other keys as with none, and none of theirs is ever missed.

use std::fmt;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use dashmap::DashMap;

use super::rights::Rights;
use crate::domain::account::{Account, Tag};
use crate::domain::key::{Digest, KeyAct, KeyBook, KeyEvent, KeyFault, KeyState};

/// Keys by their secrets' digests.
#[derive(Default)]
pub struct Ring {
    table: Table,
    /// What the store knows of each key; whoever holds it is the only one who writes to the table.
    book: Mutex<KeyBook>,
}

/// The ring of the running process; all configs of one process hold the same, and compare as equal.
#[derive(Clone, Debug, Default)]
pub struct Lent(Arc<Ring>);

/// A key, ready to be used.
#[derive(Debug)]
pub struct Made {
    /// Whom its requests are billed to.
    pub account: Account,
    /// Whether `x-tollgate-user` may name the user.
    pub attribute: bool,
    /// What it may be used for; nothing is what the defaults say.
    pub rights: Option<Arc<Rights>>,
}

/// What a secret is.
#[derive(Debug)]
pub enum Found {
    /// That of this key.
    Good(Arc<Made>),
    /// That of a key that has expired, or one that was rotated away.
    Over,
}

/// Digests of a key's secrets.
type Secrets = [Option<Digest>; 2];

/// What requests look at.
#[derive(Default)]
struct Table {
    /// Each with the time from when on it is refused, unix milliseconds.
    by_digest: DashMap<Digest, (Arc<Made>, u64)>,
    tags: DashMap<Arc<str>, Arc<[Tag]>>,
    /// How many secrets there are, to be asked without a lock.
    secrets: AtomicUsize,
}

impl Ring {
    /// Begins with `book`. Gives the names of keys whose lists cannot be read, which nobody can use.
    #[must_use]
    pub fn fill(&self, book: KeyBook) -> Vec<Arc<str>> {
        let mut own = self.lock();
        let unusable = book.0.iter().filter(|(name, state)| !self.table.put(name, None, state));
        let unusable = unusable.map(|(name, _)| name.clone()).collect();
        *own = book;
        unusable
    }

    /// Whether there is no key at all, so that no secret need be hashed.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.table.secrets.load(Ordering::SeqCst) == 0
    }

    /// The key with this secret.
    #[must_use]
    pub fn find(&self, digest: &Digest, now_ms: u64) -> Option<Found> {
        let found = self.table.by_digest.get(digest)?;
        let (made, until_ms) = found.value();
        Some(if now_ms < *until_ms { Found::Good(made.clone()) } else { Found::Over })
    }

    /// Whom the requests of a key are billed to, also of one that was revoked.
    #[must_use]
    pub fn account_of(&self, key: &str) -> Option<Account> {
        let book = self.lock();
        let (name, state) = book.0.get_key_value(key)?;
        let grant = &state.grant;
        let (user, team, tags) = (grant.user.clone(), grant.team.clone(), grant.tags.clone());
        Some(Account { key: name.clone(), user, team, tags })
    }

    /// The tags of a key, also of one that was revoked.
    #[must_use]
    pub fn tags_of(&self, key: &str) -> Option<Arc<[Tag]>> {
        self.table.tags.get(key).map(|tags| tags.clone())
    }

    /// The keys that carry `tag` as `name=value`, by name; also those that were revoked.
    #[must_use]
    pub fn tagged(&self, tag: &str) -> Vec<Arc<str>> {
        let Some((name, value)) = tag.split_once('=') else { return Vec::new() };
        let carries = |tags: &[Tag]| tags.iter().any(|(known, set)| &**known == name && &**set == value);
        let tagged = self.table.tags.iter().filter(|known| carries(known.value()));
        let mut keys: Vec<_> = tagged.map(|known| known.key().clone()).collect();
        keys.sort_unstable();
        keys
    }

    /// Every key, also those that were revoked.
    #[must_use]
    pub fn book(&self) -> KeyBook {
        self.lock().clone()
    }

    /// Makes a change that `write` writes down.
    ///
    /// # Errors
    /// It cannot be made, or was not written. A key that was to be revoked is refused until the process ends even so.
    pub fn change<T, E: From<KeyFault>>(
        &self,
        event: KeyEvent,
        write: impl FnOnce(&KeyEvent) -> Result<T, E>,
    ) -> Result<T, E> {
        let mut book = self.lock();
        book.check(&event)?;
        let written = write(&event);
        if written.is_ok() || event.act == KeyAct::Revoked {
            let name = event.key.clone();
            let before = book.0.get(&name).map(secrets);
            book.apply(event)?;
            if let Some(state) = book.0.get(&name) {
                // Whoever made the event has checked its lists.
                let _usable = self.table.put(&name, before, state);
            }
        }
        written
    }

    /// A poisoned lock holds a book that is whole after each step, so that it may be used.
    fn lock(&self) -> MutexGuard<'_, KeyBook> {
        self.book.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Table {
    /// Puts a key in the place of what was known of it, and of the secrets that it had `before`; false if its lists cannot
    /// be read. A secret that stays is never missing meanwhile.
    fn put(&self, name: &Arc<str>, before: Option<Secrets>, state: &KeyState) -> bool {
        let grant = &state.grant;
        if !grant.tags.is_empty() {
            self.tags.insert(name.clone(), grant.tags.clone());
        }
        let rights = Rights::of(&grant.lists);
        let is_usable = rights.is_ok();
        let mut now = [None; 2];
        if let Ok(rights) = rights
            && state.revoked_ms.is_none()
        {
            let (user, team, tags) = (grant.user.clone(), grant.team.clone(), grant.tags.clone());
            let account = Account { key: name.clone(), user, team, tags };
            let made = Arc::new(Made { account, attribute: grant.attribute, rights });
            let expires_ms = grant.expires_ms.unwrap_or(u64::MAX);
            if let Some((digest, until_ms)) = state.previous {
                self.by_digest.insert(digest, (made.clone(), until_ms.min(expires_ms)));
            }
            self.by_digest.insert(grant.digest, (made, expires_ms));
            now = secrets(state);
        }
        for digest in before.into_iter().flatten().flatten().filter(|digest| !now.contains(&Some(*digest))) {
            self.by_digest.remove(&digest);
        }
        self.secrets.store(self.by_digest.len(), Ordering::SeqCst);
        is_usable
    }
}

/// The digests under which a key is found: of its secret, and of the one before it.
fn secrets(state: &KeyState) -> Secrets {
    [Some(state.grant.digest), state.previous.map(|(digest, _)| digest)]
}

impl std::ops::Deref for Lent {
    type Target = Ring;

    fn deref(&self) -> &Ring {
        &self.0
    }
}

impl PartialEq for Lent {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}

impl Eq for Lent {}

impl fmt::Debug for Ring {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "Ring({})", self.table.by_digest.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::key::{Grant, Lists};

    const ONE: Digest = Digest([1; 32]);
    const TWO: Digest = Digest([2; 32]);

    fn event(act: KeyAct) -> KeyEvent {
        KeyEvent { at_ms: 1, key: "ci".into(), actor: "ada".into(), reason: "".into(), act }
    }

    fn made(expires_ms: Option<u64>) -> KeyEvent {
        let tags = [("feature".into(), "search".into())].into();
        let lists = Lists::default();
        let grant = Grant { user: None, team: None, tags, attribute: false, expires_ms, lists, digest: ONE };
        event(KeyAct::Made(Box::new(grant)))
    }

    fn written(_: &KeyEvent) -> Result<(), KeyFault> {
        Ok(())
    }

    fn unwritten(_: &KeyEvent) -> Result<(), KeyFault> {
        Err(KeyFault::Absent)
    }

    fn is_good(ring: &Ring, digest: Digest, now_ms: u64) -> Option<bool> {
        ring.find(&digest, now_ms).map(|found| matches!(found, Found::Good(_)))
    }

    #[test]
    fn a_key_is_good_until_it_expires_or_is_rotated_away() {
        let ring = Ring::default();
        assert!(ring.is_empty() && is_good(&ring, ONE, 1).is_none());
        ring.change(made(Some(100)), written).unwrap();
        assert_eq!((is_good(&ring, ONE, 99), is_good(&ring, ONE, 100)), (Some(true), Some(false)));
        ring.change(event(KeyAct::Rotated { digest: TWO, overlap_until_ms: 20 }), written).unwrap();
        assert_eq!((is_good(&ring, ONE, 19), is_good(&ring, ONE, 20)), (Some(true), Some(false)));
        assert_eq!((is_good(&ring, TWO, 20), is_good(&ring, TWO, 100)), (Some(true), Some(false)));
        ring.change(event(KeyAct::Revoked), written).unwrap();
        assert!(is_good(&ring, ONE, 1).is_none() && is_good(&ring, TWO, 1).is_none());
        assert_eq!(ring.tags_of("ci").unwrap().len(), 1, "what it has spent is still counted by its tags");
        let again = Ring::default();
        assert!(again.fill(ring.book()).is_empty() && again.is_empty());
    }

    #[test]
    fn only_a_revocation_is_made_without_being_written() {
        let ring = Ring::default();
        assert!(ring.change(made(None), unwritten).is_err() && ring.is_empty());
        ring.change(made(None), written).unwrap();
        assert!(ring.change(event(KeyAct::Rotated { digest: TWO, overlap_until_ms: 0 }), unwritten).is_err());
        assert_eq!((is_good(&ring, ONE, 1), is_good(&ring, TWO, 1)), (Some(true), None));
        assert!(ring.change(event(KeyAct::Revoked), unwritten).is_err());
        assert!(is_good(&ring, ONE, 1).is_none());
    }

    #[test]
    fn no_change_hides_a_secret_that_stays() {
        let ring = Ring::default();
        ring.change(made(None), written).unwrap();
        std::thread::scope(|scope| {
            let reader = scope.spawn(|| {
                let mut found = 0;
                while ring.find(&Digest([9; 32]), 1).is_none() {
                    assert_eq!(is_good(&ring, ONE, 1), Some(true));
                    found += 1;
                }
                found
            });
            // The first stays good while it is rotated, and while others come and go.
            ring.change(event(KeyAct::Rotated { digest: TWO, overlap_until_ms: 100 }), written).unwrap();
            for number in 0..2_000_u16 {
                let key: Arc<str> = format!("other {number}").into();
                let mut digest = Digest([3; 32]);
                digest.0[..2].copy_from_slice(&number.to_be_bytes());
                let KeyEvent { act: KeyAct::Made(grant), .. } = made(None) else { unreachable!() };
                let act = KeyAct::Made(Box::new(Grant { digest, ..*grant }));
                ring.change(KeyEvent { key: key.clone(), ..event(act) }, written).unwrap();
                if number > 0 {
                    ring.change(KeyEvent { key, ..event(KeyAct::Revoked) }, written).unwrap();
                }
            }
            let KeyEvent { act: KeyAct::Made(grant), .. } = made(None) else { unreachable!() };
            let act = KeyAct::Made(Box::new(Grant { digest: Digest([9; 32]), ..*grant }));
            ring.change(KeyEvent { key: "last".into(), ..event(act) }, written).unwrap();
            assert!(reader.join().unwrap() > 0);
        });
        assert_eq!(ring.table.by_digest.len(), 4, "the two of the first, and two others");
        assert_eq!(ring.tagged("feature=search").len(), 2_002, "also of those that were revoked");
    }
}
