//! [`Debt`]: an attempt whose open record stands, so that it needs a close record, whatever happens.

use super::Bank;
use super::local::Held;
use super::tab::{STATUS_CLIENT_LEFT, Tab};
use crate::domain::entry::{Attempt, Entry, Outcome};
use crate::domain::ids::RequestId;
use crate::domain::money::Usd;
use crate::domain::refusal::Refusal;
use crate::domain::tokens::UsageSource;
use crate::store::{Close, Open};

/// What one attempt has come to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Closing {
    /// The upstream's status; 0 if there was none.
    pub status: u16,
    /// How it ended.
    pub outcome: Outcome,
    /// How its usage is known.
    pub usage_source: UsageSource,
    /// What it will be billed; `None` is unpriced.
    pub cost: Option<Usd>,
}

/// An open attempt. Dropped after it has departed, it is charged at its quote, since nobody knows what the provider did.
#[derive(Debug)]
pub struct Debt {
    /// Gone once it is settled.
    tab: Option<Tab>,
    open: Open,
    /// What is held in scopes with caps, until it is settled.
    held: Option<Held>,
    departed: bool,
    /// Whether the journal has its open record.
    is_written: bool,
}

impl Debt {
    pub(super) const fn new(tab: Tab, open: Open, held: Option<Held>) -> Self {
        Self { tab: Some(tab), open, held, departed: false, is_written: true }
    }

    /// An attempt that the journal cannot take, for somebody without a cap.
    pub(super) const fn unwritten(tab: Tab, open: Open) -> Self {
        Self { tab: Some(tab), open, held: None, departed: false, is_written: false }
    }

    /// Whether the journal has its open record.
    pub(super) fn note_written(&mut self, is_written: bool) {
        self.is_written = is_written;
        if let Some(tab) = self.tab.as_mut().filter(|_| is_written) {
            tab.note_written();
        }
    }

    /// The request is about to be sent: from now on it may be billed.
    pub const fn depart(&mut self) {
        self.departed = true;
    }

    /// Whether the request was sent.
    #[must_use]
    pub const fn has_departed(&self) -> bool {
        self.departed
    }

    /// The worst case that was written down before the dispatch.
    #[must_use]
    pub const fn quote(&self) -> Option<Usd> {
        self.open.quote
    }

    /// What is charged where nobody knows what it cost: the quote, or what a metered cap holds of it by now.
    #[must_use]
    pub fn assumed(&self) -> Option<Usd> {
        self.held.as_ref().map_or(self.open.quote, |held| Some(held.assumed()))
    }

    /// Raises what metered caps hold to `amount`; false if one of them has no room.
    #[must_use]
    pub fn grow(&mut self, amount: Usd) -> bool {
        let Some((tab, held)) = self.tab.as_ref().zip(self.held.as_mut()) else { return true };
        tab.bank().local.grow(held, amount).is_ok()
    }

    /// The request's name.
    #[must_use]
    pub const fn request_id(&self) -> RequestId {
        self.open.attempt.request
    }

    /// When the attempt was opened, unix milliseconds.
    #[must_use]
    pub const fn at_ms(&self) -> u64 {
        self.open.at_ms
    }

    /// The request's entry so far; `None` once it is settled.
    pub fn entry(&mut self) -> Option<&mut Entry> {
        self.tab.as_mut().map(Tab::entry)
    }

    /// Milliseconds since the request arrived.
    #[must_use]
    pub fn elapsed_ms(&self) -> u32 {
        self.tab.as_ref().map_or(0, Tab::elapsed_ms)
    }

    /// Ends the request with this attempt, and says what all of its attempts cost unless that is unknown. A second time does
    /// nothing.
    pub fn settle(&mut self, closing: Closing) -> Option<Usd> {
        let (mut tab, close) = self.end(closing)?;
        let cost = tab.cost();
        // The ledger has it before the hold ends, so that a crash in between counts it once.
        tab.post(Some(&close));
        self.release(tab.bank(), close.cost);
        cost
    }

    /// Ends the attempt and not the request, whose tab is given back for another attempt or its end.
    #[must_use]
    pub fn close(mut self, closing: Closing) -> Option<Tab> {
        let (mut tab, close) = self.end(closing)?;
        tab.bank().journal.close(&close);
        // These are of the answer that the client gets, which is to come.
        let entry = tab.entry();
        (entry.status, entry.first_byte_ms) = (0, None);
        self.release(tab.bank(), close.cost);
        Some(tab)
    }

    /// Notes in the entry how the attempt ended, and makes its close record.
    fn end(&mut self, closing: Closing) -> Option<(Tab, Close)> {
        let mut tab = self.tab.take()?;
        let closing = self.priced(closing);
        if !self.is_written {
            tab.note_unwritten(closing.cost);
        }
        let close = Close {
            attempt: self.open.attempt,
            at_ms: tab.bank().clock.now_ms(),
            status: closing.status,
            outcome: closing.outcome,
            usage_source: closing.usage_source,
            cost: closing.cost,
        };
        let entry = tab.entry();
        entry.outcome = closing.outcome;
        entry.usage_source = match entry.attempts.is_empty() {
            true => closing.usage_source,
            false => entry.usage_source.weaker(closing.usage_source),
        };
        if let (Some(cost), Some(quote)) = (closing.cost, self.open.quote)
            && cost > quote
        {
            entry.overrun = true;
            let (id, model) = (self.open.attempt.request, &*self.open.model);
            tracing::warn!(request_id = %id, model, %cost, %quote, "a charge is above its worst case");
        }
        entry.attempts.push(Attempt {
            ordinal: self.open.attempt.ordinal,
            upstream: self.open.upstream.clone(),
            model: self.open.model.clone(),
            status: closing.status,
            outcome: closing.outcome,
            usage_source: closing.usage_source,
            cost: closing.cost,
        });
        Some((tab, close))
    }

    fn release(&mut self, bank: &Bank, cost: Option<Usd>) {
        if let Some(held) = self.held.take() {
            bank.local.settle(held, cost.unwrap_or_default());
        }
        bank.note_cost(self.open.attempt, cost.unwrap_or_default());
    }

    /// What a capped scope may have to pay is never unknown: then it is the quote.
    fn priced(&self, closing: Closing) -> Closing {
        match (&self.held, closing.cost) {
            (Some(held), None) => Closing { cost: Some(held.assumed()), ..closing },
            (Some(_) | None, _) => closing,
        }
    }

    /// Takes the attempt back before it departed: our own no.
    pub(super) fn recall(mut self, refusal: &Refusal) {
        if let Some(entry) = self.entry() {
            entry.status = refusal.status();
            entry.reason = refusal.cause.code().into();
        }
        self.settle(Closing {
            status: 0,
            outcome: Outcome::Refused,
            usage_source: UsageSource::None,
            cost: Some(Usd::ZERO),
        });
    }
}

impl Drop for Debt {
    fn drop(&mut self) {
        let (usage_source, cost) = match self.departed {
            true => (UsageSource::Assumed, self.assumed()),
            false => (UsageSource::None, Some(Usd::ZERO)),
        };
        if let Some(entry) = self.entry() {
            entry.status = STATUS_CLIENT_LEFT;
        }
        self.settle(Closing { status: 0, outcome: Outcome::ClientAbort, usage_source, cost });
    }
}
