//! [`Record`]: the kinds of line that a journal holds.
//!
//! A record says what happened, with names and not indices, so that it can be read without any other file. It
//! never holds a prompt, an answer or a credential.
//!
//! Invariant: every attempt has exactly one [`Open`] and one [`Close`], and every request one [`Entry`].

use std::sync::Arc;

use crate::domain::account::{Account, Scope};
use crate::domain::adjustment::{Adjustment, TopUp};
use crate::domain::entry::{Entry, Outcome};
use crate::domain::ids::AttemptId;
use crate::domain::key::KeyEvent;
use crate::domain::lesson::Lesson;
use crate::domain::money::Usd;
use crate::domain::operation::{Dialect, Operation};
use crate::domain::tokens::UsageSource;

/// One line of the journal.
#[derive(Clone, Debug, PartialEq)]
pub enum Record {
    /// An attempt is about to leave.
    Open(Open),
    /// An attempt has ended.
    Close(Close),
    /// A request has ended.
    Entry(Box<Entry>),
    /// A row of prices was used for the first time.
    Rate(RateRecord),
    /// A process began to write.
    Start(Start),
    /// Money that a power loss may have taken out of the journal.
    Unsettled(Unsettled),
    /// Somebody corrected the books.
    Adjustment(Box<Adjustment>),
    /// Files that are older than what is to be kept were taken away.
    Dropped(Dropped),
    /// Something was done to a key.
    Key(Box<KeyEvent>),
    /// A total cap was raised.
    TopUp(Box<TopUp>),
    /// Something was learned of a route.
    Lesson(Lesson),
    /// Another config came into force.
    Reloaded(Box<Reloaded>),
}

/// Written before a dispatch: from now on the provider may bill up to the quote.
#[derive(Clone, Debug, PartialEq)]
pub struct Open {
    /// The dispatch.
    pub attempt: AttemptId,
    /// When it was about to leave, unix milliseconds.
    pub at_ms: u64,
    /// Who pays.
    pub account: Account,
    /// Where it goes.
    pub upstream: Arc<str>,
    /// The model that is sent.
    pub model: Arc<str>,
    /// The worst case; `None` where it could not be bounded or priced.
    pub quote: Option<Usd>,
    /// What is asked for.
    pub operation: Operation,
    /// The wire API that the client spoke.
    pub dialect: Dialect,
}

/// Written when an attempt has ended, however it ended.
#[derive(Clone, Debug, PartialEq)]
pub struct Close {
    /// The dispatch.
    pub attempt: AttemptId,
    /// When it ended, unix milliseconds.
    pub at_ms: u64,
    /// The upstream's status; 0 if there was none.
    pub status: u16,
    /// How it ended.
    pub outcome: Outcome,
    /// How its usage is known.
    pub usage_source: UsageSource,
    /// What it will be billed; `None` is unpriced.
    pub cost: Option<Usd>,
}

/// A row of the price book as it was when a charge used it, so that the charge can be computed again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RateRecord {
    /// The number by which entries refer to it.
    pub row: u32,
    /// The version of the price book.
    pub version: Arc<str>,
    /// The row, in the words of the price book.
    pub text: Box<str>,
}

/// A process opened the journal to write.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Start {
    /// When, unix milliseconds.
    pub at_ms: u64,
    /// The kernel's boot id: another one than last time means that a power loss lies in between.
    pub boot_id: Box<str>,
    /// The program's version.
    pub version: Box<str>,
    /// Its process id.
    pub pid: u32,
}

/// Posted to a scope for holds that were written but not yet durable when the power went.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unsettled {
    /// When it was posted, unix milliseconds.
    pub at_ms: u64,
    /// Whose money it is.
    pub scope: Scope,
    /// How much.
    pub amount: Usd,
}

/// The oldest part of the journal was taken away; its sums are kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Dropped {
    /// When, unix milliseconds.
    pub at_ms: u64,
    /// The number of the first record that is still there.
    pub next_seq: u64,
    /// The hash of the last frame that is gone: the first that is left names it as the one before.
    pub head: [u8; 32],
    /// The hash of the file of sums of the last segment that is gone, which names that of the one before.
    pub sums: [u8; 32],
}

/// Another config came into force while the process ran, or an operator asked for that.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reloaded {
    /// When, unix milliseconds.
    pub at_ms: u64,
    /// The hash of the config, which says nothing of its secrets.
    pub config: Box<str>,
    /// Who asked for it: an operator, or what it was noticed by.
    pub actor: Box<str>,
    /// Why, if that was said.
    pub reason: Box<str>,
}

impl Record {
    /// The time in it, unix milliseconds; 0 for a rate, which has none.
    #[must_use]
    pub const fn at_ms(&self) -> u64 {
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
