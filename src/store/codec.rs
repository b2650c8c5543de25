//! Records as bytes: `kind | version | fields`, written by hand so that a byte on disk never moves by accident.
//!
//! Every code below is on disks already: a code is never reused and never renumbered. A field is added at the end of
//! its record with the next version; reading accepts every older version and refuses newer ones by name.
//!
//! Invariant: `decode(encode(record)) == record` as long as its texts are within `TEXT_BYTES_MAX`.
//! Invariant: decoding any bytes ends in a record or an error, never in a panic.

use std::fmt;
use std::sync::Arc;

use super::adjust_codec::{
    put_adjustment, put_dropped, put_reloaded, put_top_up, take_adjustment, take_dropped, take_reloaded, take_top_up,
};
use super::entry_codec::{COMPARED, put_entry, take_entry};
use super::key_codec::{put_key_event, take_key_event};
use super::lesson_codec::{put_lesson, take_lesson};
use super::record::{Close, Dropped, Open, RateRecord, Record, Reloaded, Start, Unsettled};
use super::wire::{Put, Take};
use crate::domain::account::{Account, Scope, Tag};
use crate::domain::adjustment::{Adjustment, TopUp};
use crate::domain::entry::{CacheUse, Entry, Outcome, Tier};
use crate::domain::ids::{AttemptId, RequestId};
use crate::domain::key::KeyEvent;
use crate::domain::lesson::Lesson;
use crate::domain::money::Usd;
use crate::domain::operation::{Dialect, Operation};
use crate::domain::tokens::UsageSource;

/// Kinds of record.
pub const OPEN: u8 = 1;
/// See [`OPEN`].
pub const CLOSE: u8 = 2;
/// See [`OPEN`].
pub const ENTRY: u8 = 3;
const RATE: u8 = 4;
const START: u8 = 5;
const UNSETTLED: u8 = 6;
const ADJUSTMENT: u8 = 7;
const KEY: u8 = 8;
const DROPPED: u8 = 9;
const TOP_UP: u8 = 10;
const LESSON: u8 = 11;
const RELOADED: u8 = 12;

/// The version in which every kind is written today.
pub const VERSION: u8 = 1;

/// Why bytes are not a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CodecError {
    /// They end too early.
    Short,
    /// They go on after the last field.
    Trailing,
    /// A number does not fit its field.
    TooLarge,
    /// A text is not UTF-8.
    NotText,
    /// A code stands for nothing.
    UnknownCode {
        /// What the code should name.
        what: &'static str,
        /// The code.
        code: u8,
    },
    /// A newer Tollgate wrote this kind of record.
    UnknownKind(u8),
    /// A newer Tollgate wrote this version of a kind.
    NewerVersion {
        /// The kind's code.
        kind: u8,
        /// The version.
        version: u8,
    },
}

/// A record about to be written, borrowed from its owner.
#[derive(Clone, Copy, Debug)]
pub enum Line<'a> {
    /// An attempt is about to leave.
    Open(&'a Open),
    /// An attempt has ended.
    Close(&'a Close),
    /// A request has ended.
    Entry(&'a Entry),
    /// A row of prices.
    Rate(&'a RateRecord),
    /// A process began to write.
    Start(&'a Start),
    /// Money posted after a power loss.
    Unsettled(&'a Unsettled),
    /// A correction.
    Adjustment(&'a Adjustment),
    /// Old files were taken away.
    Dropped(&'a Dropped),
    /// Something was done to a key.
    Key(&'a KeyEvent),
    /// A total cap was raised.
    TopUp(&'a TopUp),
    /// Something was learned of a route.
    Lesson(&'a Lesson),
    /// Another config came into force.
    Reloaded(&'a Reloaded),
}

impl<'a> From<&'a Record> for Line<'a> {
    fn from(record: &'a Record) -> Self {
        match record {
            Record::Open(open) => Self::Open(open),
            Record::Close(close) => Self::Close(close),
            Record::Entry(entry) => Self::Entry(entry),
            Record::Rate(rate) => Self::Rate(rate),
            Record::Start(start) => Self::Start(start),
            Record::Unsettled(unsettled) => Self::Unsettled(unsettled),
            Record::Adjustment(adjustment) => Self::Adjustment(adjustment),
            Record::Dropped(dropped) => Self::Dropped(dropped),
            Record::Key(event) => Self::Key(event),
            Record::TopUp(top_up) => Self::TopUp(top_up),
            Record::Lesson(lesson) => Self::Lesson(lesson),
            Record::Reloaded(reloaded) => Self::Reloaded(reloaded),
        }
    }
}

impl Line<'_> {
    /// The time in it, unix milliseconds; 0 for a rate.
    pub const fn at_ms(self) -> u64 {
        match self {
            Self::Open(open) => open.at_ms,
            Self::Close(close) => close.at_ms,
            Self::Entry(entry) => entry.at_ms,
            Self::Rate(_) => 0,
            Self::Start(start) => start.at_ms,
            Self::Unsettled(unsettled) => unsettled.at_ms,
            Self::Adjustment(adjustment) => adjustment.at_ms,
            Self::Dropped(dropped) => dropped.at_ms,
            Self::Key(event) => event.at_ms,
            Self::TopUp(top_up) => top_up.at_ms,
            Self::Lesson(lesson) => lesson.at_ms,
            Self::Reloaded(reloaded) => reloaded.at_ms,
        }
    }
}

/// Appends a record to `bytes`.
pub fn encode(line: Line<'_>, bytes: &mut Vec<u8>) {
    let mut put = Put(bytes);
    match line {
        Line::Open(open) => {
            put.raw(&[OPEN, VERSION]);
            put_open(&mut put, open);
        }
        Line::Close(close) => {
            put.raw(&[CLOSE, VERSION]);
            put_close(&mut put, close);
        }
        Line::Entry(entry) => {
            put.raw(&[ENTRY, if entry.baseline.is_some() { COMPARED } else { VERSION }]);
            put_entry(&mut put, entry);
        }
        Line::Rate(rate) => {
            put.raw(&[RATE, VERSION]);
            put_rate(&mut put, rate);
        }
        Line::Start(start) => {
            put.raw(&[START, VERSION]);
            put_start(&mut put, start);
        }
        Line::Unsettled(unsettled) => {
            put.raw(&[UNSETTLED, VERSION]);
            put.number(unsettled.at_ms);
            put_scope(&mut put, &unsettled.scope);
            put.amount(unsettled.amount.pico());
        }
        Line::Adjustment(adjustment) => {
            put.raw(&[ADJUSTMENT, VERSION]);
            put_adjustment(&mut put, adjustment);
        }
        Line::Dropped(dropped) => {
            put.raw(&[DROPPED, VERSION]);
            put_dropped(&mut put, dropped);
        }
        Line::Key(event) => {
            put.raw(&[KEY, VERSION]);
            put_key_event(&mut put, event);
        }
        Line::TopUp(top_up) => {
            put.raw(&[TOP_UP, VERSION]);
            put_top_up(&mut put, top_up);
        }
        Line::Lesson(lesson) => {
            put.raw(&[LESSON, VERSION]);
            put_lesson(&mut put, lesson);
        }
        Line::Reloaded(reloaded) => {
            put.raw(&[RELOADED, VERSION]);
            put_reloaded(&mut put, reloaded);
        }
    }
}

/// Reads one record from exactly `bytes`.
pub fn decode(bytes: &[u8]) -> Result<Record, CodecError> {
    let mut take = Take(bytes);
    let [kind, version] = take.raw()?;
    if !matches!(kind, OPEN..=RELOADED) {
        return Err(CodecError::UnknownKind(kind));
    }
    if version != VERSION && (kind, version) != (ENTRY, COMPARED) {
        return Err(CodecError::NewerVersion { kind, version });
    }
    let record = match kind {
        OPEN => Record::Open(take_open(&mut take)?),
        CLOSE => Record::Close(take_close(&mut take)?),
        ENTRY => Record::Entry(Box::new(take_entry(&mut take, version)?)),
        RATE => Record::Rate(take_rate(&mut take)?),
        START => Record::Start(take_start(&mut take)?),
        ADJUSTMENT => Record::Adjustment(Box::new(take_adjustment(&mut take)?)),
        DROPPED => Record::Dropped(take_dropped(&mut take)?),
        KEY => Record::Key(Box::new(take_key_event(&mut take)?)),
        TOP_UP => Record::TopUp(Box::new(take_top_up(&mut take)?)),
        LESSON => Record::Lesson(take_lesson(&mut take)?),
        RELOADED => Record::Reloaded(Box::new(take_reloaded(&mut take)?)),
        _ => Record::Unsettled(Unsettled {
            at_ms: take.number()?,
            scope: take_scope(&mut take)?,
            amount: Usd::from_pico(take.amount()?),
        }),
    };
    take.end()?;
    Ok(record)
}

/// An attempt that is about to leave; also part of snapshots.
pub fn put_open(put: &mut Put<'_>, open: &Open) {
    put_attempt_id(put, open.attempt);
    put.number(open.at_ms);
    put_account(put, &open.account);
    put.text(&open.upstream);
    put.text(&open.model);
    put_money(put, open.quote);
    put.byte(code_of_operation(open.operation));
    put.byte(code_of_dialect(open.dialect));
}

/// See [`put_open`].
pub fn take_open(take: &mut Take<'_>) -> Result<Open, CodecError> {
    Ok(Open {
        attempt: take_attempt_id(take)?,
        at_ms: take.number()?,
        account: take_account(take)?,
        upstream: take.text()?.into(),
        model: take.text()?.into(),
        quote: take_money(take)?,
        operation: operation_of(take.byte()?)?,
        dialect: dialect_of(take.byte()?)?,
    })
}

/// An attempt that has ended; also part of snapshots.
pub fn put_close(put: &mut Put<'_>, close: &Close) {
    put_attempt_id(put, close.attempt);
    put.number(close.at_ms);
    put.number(u64::from(close.status));
    put.byte(code_of_outcome(close.outcome));
    put.byte(code_of_source(close.usage_source));
    put_money(put, close.cost);
}

/// See [`put_close`].
pub fn take_close(take: &mut Take<'_>) -> Result<Close, CodecError> {
    Ok(Close {
        attempt: take_attempt_id(take)?,
        at_ms: take.number()?,
        status: take.narrow()?,
        outcome: outcome_of(take.byte()?)?,
        usage_source: source_of(take.byte()?)?,
        cost: take_money(take)?,
    })
}

/// A row of prices; also part of snapshots.
pub fn put_rate(put: &mut Put<'_>, rate: &RateRecord) {
    put.number(u64::from(rate.row));
    put.text(&rate.version);
    put.whole_text(&rate.text);
}

/// See [`put_rate`].
pub fn take_rate(take: &mut Take<'_>) -> Result<RateRecord, CodecError> {
    Ok(RateRecord { row: take.narrow()?, version: take.text()?.into(), text: take.text()?.into() })
}

/// A process that began to write; also part of snapshots.
pub fn put_start(put: &mut Put<'_>, start: &Start) {
    put.number(start.at_ms);
    put.text(&start.boot_id);
    put.text(&start.version);
    put.number(u64::from(start.pid));
}

/// See [`put_start`].
pub fn take_start(take: &mut Take<'_>) -> Result<Start, CodecError> {
    Ok(Start { at_ms: take.number()?, boot_id: take.text()?.into(), version: take.text()?.into(), pid: take.narrow()? })
}

/// Whom a request is billed to.
pub fn put_account(put: &mut Put<'_>, account: &Account) {
    put.text(&account.key);
    put.maybe(account.user.as_deref(), Put::text);
    put.maybe(account.team.as_deref(), Put::text);
    put_tags(put, &account.tags);
}

/// Names and values.
pub fn put_tags(put: &mut Put<'_>, tags: &[Tag]) {
    put.number(tags.len() as u64);
    for (name, value) in tags {
        put.text(name);
        put.text(value);
    }
}

/// See [`put_account`].
pub fn take_account(take: &mut Take<'_>) -> Result<Account, CodecError> {
    Ok(Account { key: take.text()?.into(), user: take_name(take)?, team: take_name(take)?, tags: take_tags(take)? })
}

/// See [`put_tags`].
pub fn take_tags(take: &mut Take<'_>) -> Result<Arc<[Tag]>, CodecError> {
    let tags = take.list(|take| Ok((take.text()?.into(), take.text()?.into())))?;
    // Most have none, and those share one that is never allocated.
    Ok(if tags.is_empty() { Arc::default() } else { tags.into() })
}

/// A scope of totals.
pub fn put_scope(put: &mut Put<'_>, scope: &Scope) {
    put.byte(match scope {
        Scope::Organisation => 1,
        Scope::Team(_) => 2,
        Scope::User(_) => 3,
        Scope::Key(_) => 4,
        Scope::Model(_) => 5,
        Scope::Tag(_) => 6,
    });
    // A tag is a name and a value, each of which may be as long as a text.
    put.whole_text(scope.name());
}

/// See [`put_scope`].
pub fn take_scope(take: &mut Take<'_>) -> Result<Scope, CodecError> {
    let code = take.byte()?;
    let name = take.text()?;
    match code {
        1 => Ok(Scope::Organisation),
        2 => Ok(Scope::Team(name.into())),
        3 => Ok(Scope::User(name.into())),
        4 => Ok(Scope::Key(name.into())),
        5 => Ok(Scope::Model(name.into())),
        6 => Ok(Scope::Tag(name.into())),
        code => Err(CodecError::UnknownCode { what: "scope", code }),
    }
}

/// Money, or that there is no price.
pub fn put_money(put: &mut Put<'_>, money: Option<Usd>) {
    put.maybe(money, |put, money| put.amount(money.pico()));
}

/// See [`put_money`].
pub fn take_money(take: &mut Take<'_>) -> Result<Option<Usd>, CodecError> {
    take.maybe(|take| take.amount().map(Usd::from_pico))
}

/// The name of an account's part, if it has one.
pub fn take_name(take: &mut Take<'_>) -> Result<Option<Arc<str>>, CodecError> {
    take.maybe(|take| take.text().map(Into::into))
}

fn put_attempt_id(put: &mut Put<'_>, id: AttemptId) {
    put.raw(&id.request.0.to_be_bytes());
    put.byte(id.ordinal);
}

fn take_attempt_id(take: &mut Take<'_>) -> Result<AttemptId, CodecError> {
    Ok(AttemptId { request: RequestId(u128::from_be_bytes(take.raw()?)), ordinal: take.byte()? })
}

/// The codes of an enum, in both directions.
macro_rules! codes {
    ($kind:ident as $what:literal: $to:ident, $from:ident { $($variant:ident = $code:literal),+ $(,)? }) => {
        /// The value's code on disk.
        pub const fn $to(value: $kind) -> u8 {
            match value {
                $($kind::$variant => $code),+
            }
        }

        /// The value of a code on disk.
        pub fn $from(code: u8) -> Result<$kind, CodecError> {
            match code {
                $($code => Ok($kind::$variant),)+
                code => Err(CodecError::UnknownCode { what: $what, code }),
            }
        }
    };
}

codes!(Dialect as "dialect": code_of_dialect, dialect_of { OpenAi = 1, Anthropic = 2, Gemini = 3 });
codes!(Operation as "operation": code_of_operation, operation_of {
    ChatCompletions = 1,
    Responses = 2,
    Embeddings = 3,
    Messages = 4,
    CountTokens = 5,
    GenerateContent = 6,
    GeminiCountTokens = 7,
    EmbedContent = 8,
    Models = 9,
    Unknown = 10,
    StoredResponse = 11,
    ResponsesInputTokens = 12,
    Completions = 13,
    ImageGenerations = 14,
    ImageEdits = 15,
    ImageVariations = 16,
    Transcriptions = 17,
    Translations = 18,
    Speech = 19,
    Moderations = 20,
    Files = 21,
    FileContent = 22,
    Batches = 23,
    StoredBatch = 24,
    BatchResults = 25,
    CachedContents = 26,
    StoredCache = 27,
    Interactions = 28,
    StoredInteraction = 29,
});
codes!(Outcome as "outcome": code_of_outcome, outcome_of {
    Complete = 0,
    ClientAbort = 1,
    UpstreamError = 2,
    UpstreamAborted = 3,
    Timeout = 4,
    Refused = 5,
    CacheHit = 6,
    Joined = 7,
    Unsettled = 8,
});
codes!(UsageSource as "usage source": code_of_source, source_of { Reported = 1, Counted = 2, Assumed = 3, None = 4 });
codes!(Tier as "tier": code_of_tier, tier_of { Simple = 0, Medium = 1, Complex = 2 });
codes!(CacheUse as "cache use": code_of_cache, cache_of {
    Bypass = 0,
    Miss = 1,
    Hit = 2,
    Near = 3,
    Stale = 4,
    Joined = 5,
    Confirmed = 6,
    FalseHit = 7,
});

impl fmt::Display for CodecError {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Short => out.write_str("a record ends too early"),
            Self::Trailing => out.write_str("a record goes on after its last field"),
            Self::TooLarge => out.write_str("a number in a record does not fit its field"),
            Self::NotText => out.write_str("a text in a record is not UTF-8"),
            Self::UnknownCode { what, code } => write!(out, "{code} is the code of no {what}"),
            Self::UnknownKind(kind) => write!(out, "a newer version of tollgate wrote this record (kind {kind})"),
            Self::NewerVersion { kind, version } => {
                write!(out, "a newer version of tollgate wrote this record (kind {kind}, version {version})")
            }
        }
    }
}

impl std::error::Error for CodecError {}
