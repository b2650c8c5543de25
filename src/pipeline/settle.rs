//! Settle: what an attempt cost, once it is known how it ended. The table stands in [`owed`].
//!
//! Invariant: a bill is settled exactly once; dropped, its debt settles itself at the quote.

use std::sync::Arc;

use crate::app::Snapshot;
use crate::bank::Bank;
use crate::bank::debt::{Closing, Debt};
use crate::bank::tab::STATUS_CLIENT_LEFT;
use crate::domain::entry::{Outcome, PriceRef};
use crate::domain::ids::RequestId;
use crate::domain::money::Usd;
use crate::domain::operation::Operation;
use crate::domain::price::{self, Context, Model};
use crate::domain::tokens::{Usage, UsageSource};
use crate::protocol::facts::Facts;
use crate::upstream::provider::Provider;

/// How an attempt ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// The upstream's answer came to its end.
    Complete,
    /// The client left; what could be read of the rest has been read.
    ClientLeft,
    /// The upstream broke off.
    BrokenOff,
    /// The upstream was silent for too long.
    Silent,
    /// The process ends.
    Cut,
    /// No connection, or one that took no byte: nothing can be billed.
    Unreachable,
}

/// What is owed for one attempt, and how it is priced.
#[derive(Debug)]
pub struct Bill {
    debt: Debt,
    pricing: Pricing,
    bank: Arc<Bank>,
    /// The upstream's status; 0 until there is one.
    status: u16,
}

/// What a price depends on, kept from the request.
#[derive(Debug)]
pub struct Pricing {
    /// The config and the price book that the request arrived under.
    pub snapshot: Arc<Snapshot>,
    /// Where it went.
    pub provider: Arc<Provider>,
    /// What was asked for.
    pub operation: Operation,
    /// The model that was sent.
    pub model: Arc<str>,
    /// Prompt tokens at the most.
    pub input_bound: u64,
    /// Whether the request asked for reasoning, which may be billed without being shown.
    pub reasoning_asked: bool,
    /// The service tier that was asked for.
    pub requested_service_tier: Option<Box<str>>,
}

/// Usage and its price.
#[derive(Clone, Debug, Default, PartialEq)]
struct Owed {
    usage: Usage,
    source: UsageSource,
    cost: Option<Usd>,
    price: Option<PriceRef>,
}

impl End {
    /// What a client is told in mid-stream.
    #[must_use]
    pub const fn message(self) -> &'static str {
        match self {
            Self::Silent => "the upstream was silent for too long",
            Self::Cut => "tollgate is shutting down",
            Self::Complete | Self::ClientLeft | Self::BrokenOff | Self::Unreachable => "the upstream broke off its answer",
        }
    }
}

impl Bill {
    /// A bill for an open attempt.
    #[must_use]
    pub const fn new(debt: Debt, pricing: Pricing, bank: Arc<Bank>) -> Self {
        Self { debt, pricing, bank, status: 0 }
    }

    /// The request is about to be sent.
    pub const fn depart(&mut self) {
        self.debt.depart();
    }

    /// The upstream has answered with this status.
    pub fn note_status(&mut self, status: u16) {
        self.status = status;
        if let Some(entry) = self.debt.entry() {
            entry.status = status;
        }
    }

    /// The first byte of the answer's body has come.
    pub fn note_first_byte(&mut self) {
        let elapsed_ms = self.debt.elapsed_ms();
        if let Some(entry) = self.debt.entry() {
            entry.first_byte_ms.get_or_insert(elapsed_ms);
        }
    }

    /// The request's name.
    #[must_use]
    pub fn request_id(&self) -> RequestId {
        self.debt.request_id()
    }

    /// Settles; says what it cost, unless it is unpriced.
    pub fn settle(mut self, end: End, facts: Option<&Facts>) -> Option<Usd> {
        let owed = self.owed(end, facts);
        let outcome = self.outcome(end, facts);
        let closing = Closing { status: self.status, outcome, usage_source: owed.source, cost: owed.cost };
        self.fill(end, owed, facts);
        self.debt.settle(closing);
        closing.cost
    }

    fn fill(&mut self, end: End, owed: Owed, facts: Option<&Facts>) {
        let status = match end {
            Self::CLIENT_LEFT if self.status == 0 => Some(STATUS_CLIENT_LEFT),
            End::BrokenOff | End::Unreachable | End::Cut if self.status == 0 => Some(502),
            End::Silent if self.status == 0 => Some(504),
            _ => None,
        };
        let Some(entry) = self.debt.entry() else { return };
        entry.status = status.unwrap_or(entry.status);
        entry.usage = owed.usage;
        entry.price = owed.price;
        if let Some(facts) = facts {
            entry.served_model.clone_from(&facts.served_model);
            entry.service_tier.clone_from(&facts.service_tier);
            entry.geo.clone_from(&facts.geo);
            entry.speed.clone_from(&facts.speed);
        }
    }
}
