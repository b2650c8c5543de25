//! [`Moved`]: what of a dropped segment counts elsewhere in caps than in reports.
//!
//! A report counts a request where it ended: under the model that answered. A cap counts each attempt under the model that
//! it was held for, and money that is given back where it had been taken from. Mostly that is the same, so that an archive
//! keeps its rows, and of caps only what differs.
//!
//! Invariant: rows and what is moved come together to what the records themselves count in caps.

use std::collections::HashMap;

use super::archive::Archive;
use super::codec::{CodecError, decode, put_scope, take_scope};
use super::frame;
use super::index::{put_subject, quarter_of, take_subject};
use super::record::Record;
use super::wire::{Put, Take};
use crate::domain::account::Scope;
use crate::domain::adjustment::{Adjustment, Direction};
use crate::domain::entry::Entry;
use crate::domain::ids::RequestId;
use crate::domain::money::Usd;
use crate::domain::subject::Subject;
use crate::domain::tokens::UsageSource;

/// What is added to and taken off what rows say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Moved {
    /// The quarter of an hour since 1970.
    pub quarter: u32,
    /// Who, and which model.
    pub subject: Subject,
    /// Whether it is of an adjustment: one that names no model counts in none.
    pub is_adjustment: bool,
    /// What is added.
    pub charged: Usd,
    /// What is taken off.
    pub credited: Usd,
}

/// What a segment holds besides rows.
#[derive(Debug, Default)]
pub struct Aside {
    moved: HashMap<(u32, Subject, bool), (Usd, Usd)>,
    posted: Vec<(u32, Scope, Usd)>,
    reasons: Vec<(u32, Box<str>)>,
}

impl Aside {
    /// Counts the records of a frame.
    pub fn frame(&mut self, body: &[u8]) -> Result<(), CodecError> {
        for bytes in frame::records(body) {
            match decode(bytes?)? {
                Record::Entry(entry) => self.entry(&entry),
                Record::Adjustment(adjustment) => self.adjustment(&adjustment),
                Record::Unsettled(posted) => {
                    self.posted.push((quarter_of(posted.at_ms), posted.scope, posted.amount));
                }
                Record::Open(_)
                | Record::Close(_)
                | Record::Rate(_)
                | Record::Start(_)
                | Record::Dropped(_)
                | Record::Key(_)
                | Record::TopUp(_)
                | Record::Reloaded(_)
                | Record::Lesson(_) => {}
            }
        }
        Ok(())
    }

    /// Puts it into the archive of the segment.
    pub fn finish(self, archive: &mut Archive) {
        let moved = self.moved.into_iter().map(|((quarter, subject, is_adjustment), (charged, credited))| Moved {
            quarter,
            subject,
            is_adjustment,
            charged,
            credited,
        });
        archive.moved = moved.collect();
        archive.moved.sort_by(|one, other| (one.quarter, &one.subject).cmp(&(other.quarter, &other.subject)));
        archive.posted = self.posted;
        archive.reasons = self.reasons;
    }

    fn entry(&mut self, entry: &Entry) {
        let quarter = quarter_of(entry.at_ms);
        if entry.operation.may_tell_a_batch() && entry.usage_source == UsageSource::Reported {
            self.reasons.push((quarter, entry.reason.clone()));
        }
        let cost = entry.cost.unwrap_or_default();
        let attempts = || entry.attempts.iter().map(|attempt| (&attempt.model, attempt.cost.unwrap_or_default()));
        let sum: Usd = attempts().map(|(_, cost)| cost).sum();
        if sum == cost && attempts().all(|(model, cost)| *model == entry.model || cost == Usd::ZERO) {
            return;
        }
        let subject =
            |model: &std::sync::Arc<str>| Subject { model: model.clone(), ..Subject::of_account(&entry.account) };
        self.add(quarter, subject(&entry.model), false, cost, Direction::Credit);
        for (model, cost) in attempts() {
            self.add(quarter, subject(model), false, cost, Direction::Charge);
        }
    }

    fn adjustment(&mut self, adjustment: &Adjustment) {
        let (here, there) = (quarter_of(adjustment.at_ms), adjustment.request.map(RequestId::at_ms).map(quarter_of));
        let Some(there) = there.filter(|there| *there != here) else { return };
        let subject = Subject { upstream: std::sync::Arc::default(), ..Subject::of_adjustment(adjustment) };
        let back = match adjustment.direction {
            Direction::Charge => Direction::Credit,
            Direction::Credit => Direction::Charge,
        };
        self.add(here, subject.clone(), true, adjustment.amount, back);
        self.add(there, subject, true, adjustment.amount, adjustment.direction);
    }

    fn add(&mut self, quarter: u32, subject: Subject, is_adjustment: bool, amount: Usd, direction: Direction) {
        let (charged, credited) = self.moved.entry((quarter, subject, is_adjustment)).or_default();
        match direction {
            Direction::Charge => *charged = charged.plus(amount),
            Direction::Credit => *credited = credited.plus(amount),
        }
    }
}

/// Appends what an archive keeps besides rows.
pub fn put_aside(put: &mut Put<'_>, archive: &Archive) {
    put.number(archive.moved.len() as u64);
    for moved in &archive.moved {
        put.number(u64::from(moved.quarter));
        put_subject(put, &moved.subject);
        put.byte(u8::from(moved.is_adjustment));
        put.amount(moved.charged.pico());
        put.amount(moved.credited.pico());
    }
    put.number(archive.posted.len() as u64);
    for (quarter, scope, amount) in &archive.posted {
        put.number(u64::from(*quarter));
        put_scope(put, scope);
        put.amount(amount.pico());
    }
    put.number(archive.reasons.len() as u64);
    for (quarter, reason) in &archive.reasons {
        put.number(u64::from(*quarter));
        put.text(reason);
    }
}

/// See [`put_aside`].
pub fn take_aside(take: &mut Take<'_>, archive: &mut Archive) -> Result<(), CodecError> {
    archive.moved = take.list(|take| {
        Ok(Moved {
            quarter: take.narrow()?,
            subject: take_subject(take)?,
            is_adjustment: take.flag()?,
            charged: Usd::from_pico(take.amount()?),
            credited: Usd::from_pico(take.amount()?),
        })
    })?;
    archive.posted = take.list(|take| Ok((take.narrow()?, take_scope(take)?, Usd::from_pico(take.amount()?))))?;
    archive.reasons = take.list(|take| Ok((take.narrow()?, take.text()?.into())))?;
    Ok(())
}
