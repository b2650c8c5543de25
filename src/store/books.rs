//! [`Books`]: what the records so far sum to, folded one record at a time, and written down as a snapshot.
//!
//! The writer, a start and `verify` fold with the same function, so that they cannot disagree on what a record does.
//! It does no I/O.
//!
//! Invariant: the same records, with snapshots at the same places, give books with the same bytes.
//! Invariant: an entry counts once: a second one of the same request is ignored as far back as the last snapshot.

use std::collections::{BTreeMap, HashSet};

use super::adjust_codec::{put_dropped, take_dropped};
use super::brief::Brief;
use super::codec::{
    CodecError, put_close, put_open, put_rate, put_scope, put_start, take_close, take_open, take_rate, take_scope,
    take_start,
};
use super::key_codec::{put_key_state, take_key_state};
use super::lesson_codec::{put_lessons, take_lessons};
use super::record::{Close, Dropped, Open, RateRecord, Record, Start};
use super::totals::{KINDS, Total, Totals};
use super::wire::{Put, Take};
use crate::domain::account::Scope;
use crate::domain::entry::{Attempt, CacheUse, Entry, FEATURE_BYTES, Outcome};
use crate::domain::ids::{AttemptId, RequestId};
use crate::domain::key::KeyBook;
use crate::domain::lesson::Lessons;
use crate::domain::money::Usd;
use crate::domain::tokens::{Usage, UsageSource};

/// The version in which snapshots are written today. The first one knew no credits and dropped no files, the second no keys
/// and no top-ups, the third nothing of routes, and the fourth no bound of totals.
const VERSION: u8 = 5;

/// A request that was dispatched and has no entry yet.
#[derive(Clone, Debug, PartialEq)]
pub struct Unfinished {
    /// Its attempts in the order in which they left, each with its close if it has one.
    pub attempts: Vec<(Open, Option<Close>)>,
}

/// Everything that a start must know, without reading more than the end of the journal.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Books {
    /// The latest time in any record, unix milliseconds.
    pub at_ms: u64,
    /// What each scope has spent.
    pub totals: Totals,
    /// The requests without an entry.
    pub unfinished: BTreeMap<RequestId, Unfinished>,
    /// The rows of prices that entries refer to.
    pub rates: BTreeMap<u32, RateRecord>,
    /// The process that opened the journal last.
    pub start: Option<Start>,
    /// What was taken away of the journal.
    pub dropped: Option<Dropped>,
    /// Keys that were made at run time.
    pub keys: KeyBook,
    /// By how much total caps were raised.
    pub top_ups: BTreeMap<Scope, Usd>,
    /// What was learned of routes.
    pub lessons: Lessons,
    /// The requests whose entries came after the last snapshot.
    seen: HashSet<RequestId>,
}

impl Unfinished {
    /// What the provider may bill for all of it: closed attempts at their cost, open ones at their quote.
    ///
    /// `None` as soon as one of them is unpriced.
    #[must_use]
    pub fn quote(&self) -> Option<Usd> {
        let amount = |(open, close): &(Open, Option<Close>)| close.as_ref().map_or(open.quote, |close| close.cost);
        self.attempts.iter().map(amount).sum::<Option<Usd>>()
    }

    /// The closes and the entry that end it as unsettled: whatever was open counts at its quote.
    ///
    /// `None` for a request without attempts, which cannot be unfinished.
    #[must_use]
    pub fn expire(&self, now_ms: u64) -> Option<(Vec<Close>, Entry)> {
        let (first, (last, _)) = (self.attempts.first()?, self.attempts.last()?);
        let unsettled = |open: &Open| Close {
            attempt: open.attempt,
            at_ms: now_ms,
            status: 0,
            outcome: Outcome::Unsettled,
            usage_source: UsageSource::Assumed,
            cost: open.quote,
        };
        let is_open = |(open, close): &(Open, Option<Close>)| close.is_none().then(|| unsettled(open));
        let closes: Vec<Close> = self.attempts.iter().filter_map(is_open).collect();
        let ended = |(open, close): &(Open, Option<Close>)| {
            let close = close.clone().unwrap_or_else(|| unsettled(open));
            Attempt {
                ordinal: open.attempt.ordinal,
                upstream: open.upstream.clone(),
                model: open.model.clone(),
                status: close.status,
                outcome: close.outcome,
                usage_source: close.usage_source,
                cost: close.cost,
            }
        };
        let attempts = self.attempts.iter().map(ended).collect();
        Some((closes, self.entry(&first.0, last, attempts)))
    }

    fn entry(&self, first: &Open, last: &Open, attempts: Vec<Attempt>) -> Entry {
        Entry {
            id: first.attempt.request,
            // A hold belongs to the window in which it was taken, also when it settles long after.
            at_ms: first.at_ms,
            account: first.account.clone(),
            dialect: first.dialect,
            operation: first.operation,
            upstream: last.upstream.clone(),
            requested_model: first.model.clone(),
            model: last.model.clone(),
            served_model: None,
            tier: None,
            reason: "the process ended before the answer did".into(),
            cache: CacheUse::Bypass,
            stream: false,
            // Nobody knows what the client got.
            status: 0,
            outcome: Outcome::Unsettled,
            requested_service_tier: None,
            service_tier: None,
            geo: None,
            speed: None,
            usage: Usage::default(),
            usage_source: UsageSource::Assumed,
            overrun: false,
            cost: self.quote(),
            saved: Usd::ZERO,
            baseline: None,
            price: None,
            quote: self.quote(),
            latency_ms: 0,
            first_byte_ms: None,
            attempts,
            features: [0; FEATURE_BYTES],
            requests: 1,
        }
    }
}

impl Books {
    /// Folds in the next record. `Some` says what is odd about a record that was therefore ignored.
    pub fn apply(&mut self, record: Record) -> Option<&'static str> {
        self.note_time(record.at_ms());
        match record {
            Record::Open(open) => self.opened(open),
            Record::Close(close) => self.closed(close),
            Record::Entry(entry) => self.entered(&entry),
            Record::Rate(rate) => {
                self.rates.entry(rate.row).or_insert(rate);
                None
            }
            Record::Start(start) => {
                self.start = Some(start);
                None
            }
            Record::Unsettled(unsettled) => {
                self.totals.post(&unsettled.scope, unsettled.amount);
                None
            }
            Record::Adjustment(adjustment) => {
                self.totals.adjust(&adjustment);
                None
            }
            Record::Dropped(dropped) => {
                self.dropped = Some(dropped);
                None
            }
            Record::Key(event) => {
                self.keys.apply(*event).err().map(|_| "something was done to a key that it cannot be")
            }
            Record::TopUp(top_up) => {
                let sum = self.top_ups.entry(top_up.scope).or_default();
                *sum = sum.plus(top_up.amount);
                None
            }
            Record::Lesson(lesson) => {
                self.lessons.apply(&lesson);
                None
            }
            Record::Reloaded(_) => None,
        }
    }

    /// The same with an entry of which no more is read than counts here; false if it was entered before.
    pub fn enter(&mut self, brief: &Brief<'_>) -> bool {
        self.note_time(brief.at_ms);
        let is_new = self.seen.insert(brief.id);
        if is_new {
            self.totals.add(&brief.payer, brief.model, brief.cost);
            self.unfinished.remove(&brief.id);
        }
        is_new
    }

    /// A record has this time in it.
    pub fn note_time(&mut self, at_ms: u64) {
        self.at_ms = self.at_ms.max(at_ms);
    }

    /// A snapshot of these books stands in the journal at this place.
    pub fn mark_snapshot(&mut self) {
        self.seen = HashSet::new();
    }

    /// Appends the books to `bytes`; `made_ms` says when.
    pub fn encode(&self, made_ms: u64, bytes: &mut Vec<u8>) {
        let mut put = Put(bytes);
        put.byte(VERSION);
        put.number(made_ms);
        put.number(self.at_ms);
        put.number(self.totals.len() as u64);
        for (scope, total) in self.totals.iter() {
            put_scope(&mut put, scope);
            put_total(&mut put, total);
        }
        self.totals.others().iter().for_each(|total| put_total(&mut put, total));
        put.number(self.unfinished.len() as u64);
        for request in self.unfinished.values() {
            put.number(request.attempts.len() as u64);
            for (open, close) in &request.attempts {
                put_open(&mut put, open);
                put.maybe(close.as_ref(), put_close);
            }
        }
        put.number(self.rates.len() as u64);
        for rate in self.rates.values() {
            put_rate(&mut put, rate);
        }
        put.maybe(self.start.as_ref(), put_start);
        put.maybe(self.dropped.as_ref(), put_dropped);
        put.number(self.keys.0.len() as u64);
        for (name, key) in &self.keys.0 {
            put.text(name);
            put_key_state(&mut put, key);
        }
        put.number(self.top_ups.len() as u64);
        for (scope, sum) in &self.top_ups {
            put_scope(&mut put, scope);
            put.amount(sum.pico());
        }
        put_lessons(&mut put, &self.lessons);
    }

    /// Reads books and the time at which they were written down.
    pub fn decode(bytes: &[u8]) -> Result<(Self, u64), CodecError> {
        let mut take = Take(bytes);
        let version = take.byte()?;
        if version > VERSION {
            return Err(CodecError::NewerVersion { kind: 0, version });
        }
        let made_ms = take.number()?;
        let mut books = Self { at_ms: take.number()?, ..Self::default() };
        let scopes = take.list(|take| Ok((take_scope(take)?, take_total(take, version)?)))?;
        let mut others = [Total::default(); KINDS];
        if version >= 5 {
            for total in &mut others {
                *total = take_total(&mut take, version)?;
            }
        }
        books.totals = Totals::of_snapshot(scopes, (version >= 5).then_some(others));
        for attempts in take.list(|take| take.list(|take| Ok((take_open(take)?, take.maybe(take_close)?))))? {
            let Some((open, _)) = attempts.first() else { continue };
            books.unfinished.insert(open.attempt.request, Unfinished { attempts });
        }
        books.rates = take.list(take_rate)?.into_iter().map(|rate| (rate.row, rate)).collect();
        books.start = take.maybe(take_start)?;
        books.dropped = if version < 2 { None } else { take.maybe(take_dropped)? };
        if version >= 3 {
            let key = |take: &mut Take<'_>| Ok((take.text()?.into(), take_key_state(take)?));
            books.keys = KeyBook(take.list(key)?.into_iter().collect());
            let top_up = |take: &mut Take<'_>| Ok((take_scope(take)?, Usd::from_pico(take.amount()?)));
            books.top_ups = take.list(top_up)?.into_iter().collect();
        }
        if version >= 4 {
            books.lessons = take_lessons(&mut take)?;
        }
        take.end()?;
        Ok((books, made_ms))
    }

    fn opened(&mut self, open: Open) -> Option<&'static str> {
        let request = self.unfinished.entry(open.attempt.request).or_insert(Unfinished { attempts: Vec::new() });
        if request.attempts.iter().any(|(known, _)| known.attempt == open.attempt) {
            return Some("an attempt was opened twice");
        }
        request.attempts.push((open, None));
        None
    }

    fn closed(&mut self, close: Close) -> Option<&'static str> {
        match self.open_attempt(close.attempt) {
            Some(slot @ None) => {
                *slot = Some(close);
                None
            }
            Some(Some(_)) => Some("an attempt was closed twice"),
            None => Some("an attempt was closed that was not open"),
        }
    }

    fn entered(&mut self, entry: &Entry) -> Option<&'static str> {
        if !self.seen.insert(entry.id) {
            return Some("a request was entered twice");
        }
        self.totals.add(&entry.account.payer(), &entry.model, entry.cost);
        let request = self.unfinished.remove(&entry.id)?;
        let open = request.attempts.iter().any(|(_, close)| close.is_none());
        open.then_some("a request was entered while an attempt was open")
    }

    fn open_attempt(&mut self, id: AttemptId) -> Option<&mut Option<Close>> {
        let request = self.unfinished.get_mut(&id.request)?;
        request.attempts.iter_mut().find(|(open, _)| open.attempt == id).map(|(_, close)| close)
    }
}

fn put_total(put: &mut Put<'_>, total: &Total) {
    put.amount(total.spent.pico());
    put.number(total.entries);
    put.number(total.unpriced);
    put.amount(total.credited.pico());
}

fn take_total(take: &mut Take<'_>, version: u8) -> Result<Total, CodecError> {
    let spent = Usd::from_pico(take.amount()?);
    let (entries, unpriced) = (take.number()?, take.number()?);
    let credited = Usd::from_pico(if version < 2 { 0 } else { take.amount()? });
    Ok(Total { spent, entries, unpriced, credited })
}
