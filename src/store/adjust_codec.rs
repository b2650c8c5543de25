//! Corrections, top-ups, configs, and what is said of dropped files, as bytes. The rules of `codec` apply.

use super::codec::{CodecError, put_account, put_scope, take_account, take_scope};
use super::record::{Dropped, Reloaded};
use super::wire::{Put, Take};
use crate::domain::adjustment::{Adjustment, Direction, TopUp};
use crate::domain::ids::RequestId;
use crate::domain::money::Usd;

/// Appends the fields of `adjustment`.
pub fn put_adjustment(put: &mut Put<'_>, adjustment: &Adjustment) {
    put.raw(&adjustment.id.0.to_be_bytes());
    put.number(adjustment.at_ms);
    put_account(put, &adjustment.account);
    put.text(&adjustment.upstream);
    put.text(&adjustment.model);
    put.byte(match adjustment.direction {
        Direction::Charge => 1,
        Direction::Credit => 2,
    });
    put.amount(adjustment.amount.pico());
    put.text(&adjustment.actor);
    put.text(&adjustment.reason);
    put.maybe(adjustment.request, |put, id| put.raw(&id.0.to_be_bytes()));
}

/// See [`put_adjustment`].
pub fn take_adjustment(take: &mut Take<'_>) -> Result<Adjustment, CodecError> {
    Ok(Adjustment {
        id: take_id(take)?,
        at_ms: take.number()?,
        account: take_account(take)?,
        upstream: take.text()?.into(),
        model: take.text()?.into(),
        direction: match take.byte()? {
            1 => Direction::Charge,
            2 => Direction::Credit,
            code => return Err(CodecError::UnknownCode { what: "direction", code }),
        },
        amount: Usd::from_pico(take.amount()?),
        actor: take.text()?.into(),
        reason: take.text()?.into(),
        request: take.maybe(take_id)?,
    })
}

/// Appends the fields of `reloaded`.
pub fn put_reloaded(put: &mut Put<'_>, reloaded: &Reloaded) {
    put.number(reloaded.at_ms);
    put.text(&reloaded.config);
    put.text(&reloaded.actor);
    put.text(&reloaded.reason);
}

/// See [`put_reloaded`].
pub fn take_reloaded(take: &mut Take<'_>) -> Result<Reloaded, CodecError> {
    Ok(Reloaded {
        at_ms: take.number()?,
        config: take.text()?.into(),
        actor: take.text()?.into(),
        reason: take.text()?.into(),
    })
}

/// Appends the fields of `top_up`.
pub fn put_top_up(put: &mut Put<'_>, top_up: &TopUp) {
    put.raw(&top_up.id.0.to_be_bytes());
    put.number(top_up.at_ms);
    put_scope(put, &top_up.scope);
    put.amount(top_up.amount.pico());
    put.text(&top_up.actor);
    put.text(&top_up.reason);
}

/// See [`put_top_up`].
pub fn take_top_up(take: &mut Take<'_>) -> Result<TopUp, CodecError> {
    Ok(TopUp {
        id: take_id(take)?,
        at_ms: take.number()?,
        scope: take_scope(take)?,
        amount: Usd::from_pico(take.amount()?),
        actor: take.text()?.into(),
        reason: take.text()?.into(),
    })
}

/// Appends the fields of `dropped`; also part of snapshots.
pub fn put_dropped(put: &mut Put<'_>, dropped: &Dropped) {
    put.number(dropped.at_ms);
    put.number(dropped.next_seq);
    put.raw(&dropped.head);
    put.raw(&dropped.sums);
}

/// See [`put_dropped`].
pub fn take_dropped(take: &mut Take<'_>) -> Result<Dropped, CodecError> {
    Ok(Dropped { at_ms: take.number()?, next_seq: take.number()?, head: take.raw()?, sums: take.raw()? })
}

fn take_id(take: &mut Take<'_>) -> Result<RequestId, CodecError> {
    take.raw().map(u128::from_be_bytes).map(RequestId)
}
