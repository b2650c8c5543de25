//! What an index holds, and how it looks in bytes: keys of fixed length by prefix, numbers in them big-endian.
//!
//! ```text
//! A                        how far the index has come: version, place, total
//! R quarter(4) mark(16)    what a subject came to in a quarter of an hour that is not long over
//! P quarter(4) seq(8) part(4)  rows of one that is, many together: they are read in a fraction of the time
//! D day(4) mark(16)        the same for a day of UTC, so that a report of months reads few rows
//! S mark(16)               the subject of a mark
//! T first_seq(8)           a stretch of the journal
//! ```
//!
//! Invariant: every value is absolute, so that writing it twice is harmless. What is late for a quarter that is packed
//! stands in a piece of its own, and adds to it.

use crate::domain::money::Usd;
use crate::domain::subject::Subject;
use crate::domain::sums::Sums;
use crate::store::codec::{
    CodecError, cache_of, code_of_cache, code_of_operation, code_of_tier, operation_of, put_account, take_account,
    tier_of,
};
use crate::store::frame::{self, Hash};
use crate::store::wire::{Put, Take};

/// The version of all of this; an index of another one is built again.
const VERSION: u8 = 3;

/// Milliseconds that a row sums. Half-hour and quarter-hour time zones add up from it, as they would not from hours.
pub const QUARTER_MS: u64 = 900_000;

/// The key of [`Applied`].
pub const APPLIED: &[u8] = b"A";

/// Quarters of an hour in a day.
pub const QUARTERS_A_DAY: u32 = 96;

/// What keys of subjects and stretches begin with.
pub const SUBJECT: u8 = b'S';
/// See [`SUBJECT`].
pub const STRETCH: u8 = b'T';
/// What keys of pieces begin with.
pub const PIECE: u8 = b'P';

/// Rows in a piece.
pub const PIECE_ROWS: usize = 128;

/// Names a subject: the first half of the SHA-256 of its bytes.
pub type Mark = [u8; 16];

/// How much time a row sums.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Span {
    /// A quarter of an hour.
    Quarter,
    /// A day of UTC.
    Day,
}

/// Which row.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct RowKey {
    /// How long.
    pub span: Span,
    /// How many such spans lie between 1970 and it.
    pub number: u32,
    /// What it is about.
    pub mark: Mark,
}

/// Rows of a quarter of an hour that is over.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Piece {
    /// The quarter.
    pub quarter: u32,
    /// The number of the next record when it was written, which tells it from those that were written before.
    pub seq: u64,
    /// Its number among those that were written with it.
    pub part: u32,
    /// What subjects came to, [`PIECE_ROWS`] at most.
    pub rows: Vec<(Mark, Sums)>,
}

/// Some frames of a segment that follow one another, and when what they hold arrived.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stretch {
    /// The number of its first record.
    pub first_seq: u64,
    /// The number of the first record of its segment.
    pub segment: u64,
    /// Where it begins.
    pub offset: u64,
    /// Where it ends.
    pub end: u64,
    /// The earliest time of an entry or an adjustment in it, unix milliseconds; more than `to_ms` if there is none.
    pub from_ms: u64,
    /// The latest.
    pub to_ms: u64,
}

/// A place between two frames of the journal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// The number of the first record of the segment.
    pub segment: u64,
    /// Where the last frame before it begins.
    pub frame: u64,
    /// Where that frame ends.
    pub offset: u64,
    /// The number of the next record.
    pub next_seq: u64,
    /// The hash of that frame.
    pub head: Hash,
}

/// How far an index has come, and what it should hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Applied {
    /// Up to where the journal was read.
    pub place: Place,
    /// What the rows of either span come to.
    pub total: Sums,
    /// How many rows of quarters there are, in pieces or not.
    pub rows: u64,
    /// Quarters before this one may hold what is no longer in the journal itself.
    pub dropped_quarter: u32,
}

/// What is written together.
#[derive(Clone, Debug)]
pub struct Writing {
    /// Rows, as they are from now on.
    pub rows: Vec<(RowKey, Sums)>,
    /// Rows that are gone, since they are in `pieces` from now on.
    pub packed: Vec<RowKey>,
    /// What is added of quarters that are over.
    pub pieces: Vec<Piece>,
    /// Subjects that may be new.
    pub subjects: Vec<(Mark, Subject)>,
    /// Stretches, as they are from now on.
    pub stretches: Vec<Stretch>,
    /// Stretches of which the record with this number is not yet reached are gone.
    pub forget_before: u64,
    /// How far the index has come with them.
    pub applied: Applied,
}

impl Span {
    /// What keys of its rows begin with.
    pub const fn prefix(self) -> u8 {
        match self {
            Self::Quarter => b'R',
            Self::Day => b'D',
        }
    }

    const fn length_ms(self) -> u64 {
        match self {
            Self::Quarter => QUARTER_MS,
            Self::Day => QUARTER_MS * QUARTERS_A_DAY as u64,
        }
    }
}

/// The quarter of an hour of a time in unix milliseconds.
#[must_use]
pub fn quarter_of(at_ms: u64) -> u32 {
    u32::try_from(at_ms / QUARTER_MS).unwrap_or(u32::MAX - 1)
}

/// The name of a subject.
#[must_use]
pub fn mark_of(subject: &Subject) -> Mark {
    let mut bytes = Vec::with_capacity(160);
    put_subject(&mut Put(&mut bytes), subject);
    let hash = frame::hash(&bytes);
    let mut mark = Mark::default();
    mark.copy_from_slice(&hash[..16]);
    mark
}

impl RowKey {
    /// The key of the row.
    pub fn to_bytes(self) -> [u8; 21] {
        let mut bytes = [self.span.prefix(); 21];
        bytes[1..5].copy_from_slice(&self.number.to_be_bytes());
        bytes[5..].copy_from_slice(&self.mark);
        bytes
    }

    /// The row of a key.
    pub fn of_bytes(bytes: &[u8]) -> Option<Self> {
        let (prefix, rest) = bytes.split_first()?;
        let (number, mark) = rest.split_first_chunk()?;
        let span = [Span::Quarter, Span::Day].into_iter().find(|span| span.prefix() == *prefix)?;
        Some(Self { span, number: u32::from_be_bytes(*number), mark: mark.try_into().ok()? })
    }

    /// When it begins, unix milliseconds.
    #[must_use]
    pub fn start_ms(self) -> u64 {
        u64::from(self.number) * self.span.length_ms()
    }
}

/// The key of a subject.
pub fn subject_key(mark: Mark) -> [u8; 17] {
    let mut bytes = [SUBJECT; 17];
    bytes[1..].copy_from_slice(&mark);
    bytes
}

/// The key of a stretch.
pub fn stretch_key(first_seq: u64) -> [u8; 9] {
    let mut bytes = [STRETCH; 9];
    bytes[1..].copy_from_slice(&first_seq.to_be_bytes());
    bytes
}

/// What the keys of pieces of a quarter begin with.
pub fn piece_prefix(quarter: u32) -> [u8; 5] {
    let mut bytes = [PIECE; 5];
    bytes[1..].copy_from_slice(&quarter.to_be_bytes());
    bytes
}

impl Piece {
    /// Its key.
    pub fn key(&self) -> [u8; 17] {
        let mut bytes = [PIECE; 17];
        bytes[1..5].copy_from_slice(&self.quarter.to_be_bytes());
        bytes[5..13].copy_from_slice(&self.seq.to_be_bytes());
        bytes[13..].copy_from_slice(&self.part.to_be_bytes());
        bytes
    }

    /// Its value.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(self.rows.len() * 64);
        let mut put = Put(&mut bytes);
        for (mark, sums) in &self.rows {
            put.raw(mark);
            put_sums(&mut put, sums);
        }
        bytes
    }

    /// Gives each row of the piece of a key and a value.
    pub fn read(key: &[u8], value: &[u8], each: &mut dyn FnMut(RowKey, Sums)) -> Result<(), CodecError> {
        let quarter = key.get(1..5).and_then(|number| number.try_into().ok()).ok_or(CodecError::Short)?;
        let number = u32::from_be_bytes(quarter);
        let mut take = Take(value);
        while !take.0.is_empty() {
            let mark = take.raw()?;
            each(RowKey { span: Span::Quarter, number, mark }, take_sums(&mut take)?);
        }
        Ok(())
    }
}

impl Stretch {
    /// Its value.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(48);
        let mut put = Put(&mut bytes);
        for number in [self.segment, self.offset, self.end, self.from_ms, self.to_ms] {
            put.number(number);
        }
        bytes
    }

    /// The stretch of a key and a value.
    pub fn of_bytes(key: &[u8], value: &[u8]) -> Result<Self, CodecError> {
        let first_seq = key.get(1..).and_then(|rest| rest.try_into().ok()).ok_or(CodecError::Short)?;
        let mut take = Take(value);
        Ok(Self {
            first_seq: u64::from_be_bytes(first_seq),
            segment: take.number()?,
            offset: take.number()?,
            end: take.number()?,
            from_ms: take.number()?,
            to_ms: take.number()?,
        })
    }
}

impl Applied {
    /// Its value.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(160);
        let mut put = Put(&mut bytes);
        put.byte(VERSION);
        put_place(&mut put, &self.place);
        put_sums(&mut put, &self.total);
        put.number(self.rows);
        put.number(u64::from(self.dropped_quarter));
        bytes
    }

    /// What a value says.
    pub fn of_bytes(bytes: &[u8]) -> Result<Self, CodecError> {
        let mut take = Take(bytes);
        let version = take.byte()?;
        if version != VERSION {
            return Err(CodecError::UnknownCode { what: "version of an index", code: version });
        }
        let place = take_place(&mut take)?;
        let applied =
            Self { place, total: take_sums(&mut take)?, rows: take.number()?, dropped_quarter: take.narrow()? };
        take.end()?;
        Ok(applied)
    }
}

/// Appends `place`.
pub fn put_place(put: &mut Put<'_>, place: &Place) {
    for number in [place.segment, place.frame, place.offset, place.next_seq] {
        put.number(number);
    }
    put.raw(&place.head);
}

/// See [`put_place`].
pub fn take_place(take: &mut Take<'_>) -> Result<Place, CodecError> {
    Ok(Place {
        segment: take.number()?,
        frame: take.number()?,
        offset: take.number()?,
        next_seq: take.number()?,
        head: take.raw()?,
    })
}

/// Appends `sums`.
pub fn put_sums(put: &mut Put<'_>, sums: &Sums) {
    let Sums {
        requests,
        errors,
        spend,
        input,
        output,
        reasoning,
        cache_read,
        cache_write,
        saved,
        saved_by_cache,
        estimated,
        unpriced,
        charged,
        credited,
    } = sums;
    for count in [requests, errors, input, output, reasoning, cache_read, cache_write, unpriced] {
        put.number(*count);
    }
    for amount in [spend, saved, saved_by_cache, estimated, charged, credited] {
        put.amount(amount.pico());
    }
}

/// See [`put_sums`].
pub fn take_sums(take: &mut Take<'_>) -> Result<Sums, CodecError> {
    let mut sums = Sums::default();
    for count in [
        &mut sums.requests,
        &mut sums.errors,
        &mut sums.input,
        &mut sums.output,
        &mut sums.reasoning,
        &mut sums.cache_read,
        &mut sums.cache_write,
        &mut sums.unpriced,
    ] {
        *count = take.number()?;
    }
    for amount in [
        &mut sums.spend,
        &mut sums.saved,
        &mut sums.saved_by_cache,
        &mut sums.estimated,
        &mut sums.charged,
        &mut sums.credited,
    ] {
        *amount = Usd::from_pico(take.amount()?);
    }
    Ok(sums)
}

/// Appends `subject`.
pub fn put_subject(put: &mut Put<'_>, subject: &Subject) {
    put_account(put, &subject.account());
    for name in [&subject.model, &subject.requested_model, &subject.upstream] {
        put.text(name);
    }
    put.maybe(subject.operation, |put, operation| put.byte(code_of_operation(operation)));
    put.maybe(subject.tier, |put, tier| put.byte(code_of_tier(tier)));
    put.maybe(subject.cache, |put, cache| put.byte(code_of_cache(cache)));
}

/// See [`put_subject`].
pub fn take_subject(take: &mut Take<'_>) -> Result<Subject, CodecError> {
    let account = take_account(take)?;
    Ok(Subject {
        model: take.text()?.into(),
        requested_model: take.text()?.into(),
        upstream: take.text()?.into(),
        operation: take.maybe(|take| operation_of(take.byte()?))?,
        tier: take.maybe(|take| tier_of(take.byte()?))?,
        cache: take.maybe(|take| cache_of(take.byte()?))?,
        ..Subject::of_account(&account)
    })
}
