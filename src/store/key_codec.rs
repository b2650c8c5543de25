//! Keys that were made at run time, as bytes. The rules of `codec` apply.
//!
//! Invariant: of a secret nothing is written but its keyed hash.

use super::codec::{CodecError, put_tags, take_name, take_tags};
use super::wire::{Put, Take};
use crate::domain::key::{Digest, Grant, KeyAct, KeyEvent, KeyState, Kind, Lists};

/// Appends the fields of `event`.
pub fn put_key_event(put: &mut Put<'_>, event: &KeyEvent) {
    put.number(event.at_ms);
    put.text(&event.key);
    put.text(&event.actor);
    put.text(&event.reason);
    match &event.act {
        KeyAct::Made(grant) => {
            put.byte(1);
            put_grant(put, grant);
        }
        KeyAct::Rotated { digest, overlap_until_ms } => {
            put.byte(2);
            put.raw(&digest.0);
            put.number(*overlap_until_ms);
        }
        KeyAct::Revoked => put.byte(3),
    }
}

/// See [`put_key_event`].
pub fn take_key_event(take: &mut Take<'_>) -> Result<KeyEvent, CodecError> {
    Ok(KeyEvent {
        at_ms: take.number()?,
        key: take.text()?.into(),
        actor: take.text()?.into(),
        reason: take.text()?.into(),
        act: match take.byte()? {
            1 => KeyAct::Made(Box::new(take_grant(take)?)),
            2 => KeyAct::Rotated { digest: Digest(take.raw()?), overlap_until_ms: take.number()? },
            3 => KeyAct::Revoked,
            code => return Err(CodecError::UnknownCode { what: "act on a key", code }),
        },
    })
}

/// Appends what all that was done to a key has left; part of snapshots.
pub fn put_key_state(put: &mut Put<'_>, state: &KeyState) {
    put_grant(put, &state.grant);
    put.maybe(state.previous, |put, (digest, until_ms)| {
        put.raw(&digest.0);
        put.number(until_ms);
    });
    put.number(state.made_ms);
    put.text(&state.made_by);
    put.maybe(state.rotated_ms, Put::number);
    put.maybe(state.revoked_ms, Put::number);
}

/// See [`put_key_state`].
pub fn take_key_state(take: &mut Take<'_>) -> Result<KeyState, CodecError> {
    Ok(KeyState {
        grant: take_grant(take)?,
        previous: take.maybe(|take| Ok((Digest(take.raw()?), take.number()?)))?,
        made_ms: take.number()?,
        made_by: take.text()?.into(),
        rotated_ms: take.maybe(Take::number)?,
        revoked_ms: take.maybe(Take::number)?,
    })
}

fn put_grant(put: &mut Put<'_>, grant: &Grant) {
    put.maybe(grant.user.as_deref(), Put::text);
    put.maybe(grant.team.as_deref(), Put::text);
    put_tags(put, &grant.tags);
    put.byte(u8::from(grant.attribute));
    put.maybe(grant.expires_ms, Put::number);
    put.raw(&grant.digest.0);
    // In the order of `Kind::ALL`; a kind that comes to be is added at the end, with another version.
    for kind in Kind::ALL {
        put.maybe(grant.lists.of(kind), |put, list| {
            put.number(list.len() as u64);
            list.iter().for_each(|text| put.text(text));
        });
    }
}

fn take_grant(take: &mut Take<'_>) -> Result<Grant, CodecError> {
    let (user, team, tags) = (take_name(take)?, take_name(take)?, take_tags(take)?);
    let (attribute, expires_ms) = (take.flag()?, take.maybe(Take::number)?);
    let digest = Digest(take.raw()?);
    let mut lists = Lists::default();
    for kind in Kind::ALL {
        let list = take.maybe(|take| take.list(|take| Ok(take.text()?.into())))?;
        lists.set(kind, list.map(Vec::into_boxed_slice));
    }
    Ok(Grant { user, team, tags, attribute, expires_ms, lists, digest })
}
