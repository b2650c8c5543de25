//! Keys that are made at run time: what they stand for ([`Grant`], [`Lists`]), what was done to them ([`KeyEvent`]), and
//! what that comes to ([`KeyBook`]).
//!
//! It only holds what was said; whether a name is on a list is decided by the config room's `Permit`.
//!
//! Invariant: no secret is in here, only its keyed hash. A name is given once.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use super::account::Tag;

/// Names or patterns on one list. Nothing: there is no such list, and all is allowed.
pub type List = Option<Box<[Box<str>]>>;

/// What a list is of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Kind {
    /// Models that are sent, as patterns.
    Models,
    /// Upstreams, as patterns of their names.
    Upstreams,
    /// Operations, by their words in the ledger or the part before the dot.
    Operations,
    /// Tools that the client runs, as patterns of their names.
    Tools,
    /// Tools that the provider runs, as patterns of their types.
    ServerTools,
    /// Networks that the key may be used from.
    Networks,
}

/// A list for each kind.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Lists([List; 6]);

impl Kind {
    /// All of them.
    pub const ALL: [Self; 6] =
        [Self::Models, Self::Upstreams, Self::Operations, Self::Tools, Self::ServerTools, Self::Networks];

    /// The word in config and interface.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Models => "models",
            Self::Upstreams => "upstreams",
            Self::Operations => "operations",
            Self::Tools => "tools",
            Self::ServerTools => "server_tools",
            Self::Networks => "networks",
        }
    }
}

impl Lists {
    /// The list of a kind.
    #[must_use]
    pub fn of(&self, kind: Kind) -> Option<&[Box<str>]> {
        self.0[kind as usize].as_deref()
    }

    /// Sets the list of a kind.
    pub fn set(&mut self, kind: Kind, list: List) {
        self.0[kind as usize] = list;
    }

    /// Whether there is no list at all.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.iter().all(Option::is_none)
    }
}

/// The keyed hash of a secret: all that is kept of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Digest(pub [u8; 32]);

/// What a key that was made at run time stands for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Grant {
    /// The user that it is billed to.
    pub user: Option<Arc<str>>,
    /// The team that it is billed to.
    pub team: Option<Arc<str>>,
    /// Its tags, sorted by name.
    pub tags: Arc<[Tag]>,
    /// Whether `x-tollgate-user` may name the user.
    pub attribute: bool,
    /// From when on it is refused, unix milliseconds.
    pub expires_ms: Option<u64>,
    /// What it may be used for.
    pub lists: Lists,
    /// Its secret.
    pub digest: Digest,
}

/// Something that an operator did to a key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyEvent {
    /// When, unix milliseconds.
    pub at_ms: u64,
    /// The key's name, which is never given twice.
    pub key: Arc<str>,
    /// Who did it.
    pub actor: Box<str>,
    /// Why, if that was said.
    pub reason: Box<str>,
    /// What was done.
    pub act: KeyAct,
}

/// What can be done to a key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum KeyAct {
    /// It was made.
    Made(Box<Grant>),
    /// It has another secret; the one before is good until a time in unix milliseconds.
    Rotated {
        /// The new secret.
        digest: Digest,
        /// Until when the old one is good.
        overlap_until_ms: u64,
    },
    /// It is no key any more.
    Revoked,
}

/// A key as all that was done to it leaves it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyState {
    /// What it stands for, with the secret of now.
    pub grant: Grant,
    /// The secret before, and until when it is good.
    pub previous: Option<(Digest, u64)>,
    /// When it was made, unix milliseconds.
    pub made_ms: u64,
    /// Who made it.
    pub made_by: Box<str>,
    /// When it got its secret of now, if that is not its first.
    pub rotated_ms: Option<u64>,
    /// When it was revoked.
    pub revoked_ms: Option<u64>,
}

/// Every key that was ever made at run time, by name. Those that were revoked stay: the ledger knows them, and their names
/// are not given again.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct KeyBook(pub BTreeMap<Arc<str>, KeyState>);

/// Why something cannot be done to a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeyFault {
    /// There is or was a key of this name.
    Known,
    /// There never was one.
    Absent,
    /// It was revoked.
    Revoked,
}

impl KeyAct {
    /// The word in listings.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Made(_) => "key_created",
            Self::Rotated { .. } => "key_rotated",
            Self::Revoked => "key_revoked",
        }
    }
}

impl KeyState {
    /// Whether any secret of it is good at `now_ms`.
    #[must_use]
    pub fn is_live(&self, now_ms: u64) -> bool {
        self.revoked_ms.is_none() && self.grant.expires_ms.is_none_or(|expires_ms| now_ms < expires_ms)
    }
}

impl KeyBook {
    /// Whether `event` can happen.
    ///
    /// # Errors
    /// Why not.
    pub fn check(&self, event: &KeyEvent) -> Result<(), KeyFault> {
        match (self.0.get(&event.key), &event.act) {
            (None, KeyAct::Made(_)) => Ok(()),
            (None, KeyAct::Rotated { .. } | KeyAct::Revoked) => Err(KeyFault::Absent),
            (Some(_), KeyAct::Made(_)) => Err(KeyFault::Known),
            (Some(state), KeyAct::Rotated { .. } | KeyAct::Revoked) => match state.revoked_ms {
                Some(_) => Err(KeyFault::Revoked),
                None => Ok(()),
            },
        }
    }

    /// Folds in what was done to a key.
    ///
    /// # Errors
    /// It cannot have happened, and is ignored.
    pub fn apply(&mut self, event: KeyEvent) -> Result<(), KeyFault> {
        self.check(&event)?;
        let KeyEvent { at_ms, key, actor, act, .. } = event;
        match (act, self.0.get_mut(&key)) {
            (KeyAct::Made(grant), _) => {
                let (previous, rotated_ms, revoked_ms) = (None, None, None);
                let state =
                    KeyState { grant: *grant, previous, made_ms: at_ms, made_by: actor, rotated_ms, revoked_ms };
                self.0.insert(key, state);
            }
            (KeyAct::Rotated { digest, overlap_until_ms }, Some(state)) => {
                state.previous = Some((state.grant.digest, overlap_until_ms));
                (state.grant.digest, state.rotated_ms) = (digest, Some(at_ms));
            }
            (KeyAct::Revoked, Some(state)) => state.revoked_ms = Some(at_ms),
            (KeyAct::Rotated { .. } | KeyAct::Revoked, None) => return Err(KeyFault::Absent),
        }
        Ok(())
    }
}

impl fmt::Display for KeyFault {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(match self {
            Self::Known => "there is or was a key of this name, and the ledger knows it: take another name",
            Self::Absent => "there is no key of this name that was made at run time",
            Self::Revoked => "the key was revoked",
        })
    }
}

impl std::error::Error for KeyFault {}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(at_ms: u64, act: KeyAct) -> KeyEvent {
        KeyEvent { at_ms, key: "ci".into(), actor: "ada".into(), reason: "".into(), act }
    }

    fn made() -> KeyAct {
        let (user, team, tags) = (None, None, Arc::default());
        let digest = Digest([1; 32]);
        let lists = Lists::default();
        KeyAct::Made(Box::new(Grant { user, team, tags, attribute: false, expires_ms: Some(50), lists, digest }))
    }

    #[test]
    fn a_key_is_made_rotated_and_revoked_once() {
        let mut book = KeyBook::default();
        assert_eq!(book.apply(event(1, KeyAct::Revoked)), Err(KeyFault::Absent));
        assert_eq!(book.apply(event(1, made())), Ok(()));
        assert_eq!(book.apply(event(2, made())), Err(KeyFault::Known));
        let rotated = KeyAct::Rotated { digest: Digest([2; 32]), overlap_until_ms: 9 };
        assert_eq!(book.apply(event(3, rotated.clone())), Ok(()));
        let state = book.0["ci"].clone();
        assert_eq!((state.grant.digest, state.previous), (Digest([2; 32]), Some((Digest([1; 32]), 9))));
        assert!(state.is_live(49) && !state.is_live(50));
        assert_eq!(book.apply(event(4, KeyAct::Revoked)), Ok(()));
        assert_eq!(book.apply(event(5, rotated)), Err(KeyFault::Revoked));
        assert_eq!(book.apply(event(5, made())), Err(KeyFault::Known), "a name is never given twice");
        assert!(!book.0["ci"].is_live(5));
    }
}
