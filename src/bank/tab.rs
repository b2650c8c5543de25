//! [`Tab`]: a request's line in the ledger, from its identification to its entry.

use std::sync::Arc;

use super::debt::Debt;
use super::local::Denied;
use super::unwritten::Loss;
use super::{Bank, refusal_of};
use crate::domain::cap::{Capped, Exceeded};
use crate::domain::entry::{Entry, Outcome};
use crate::domain::ids::AttemptId;
use crate::domain::money::Usd;
use crate::domain::refusal::Refusal;
use crate::limits::Grant;
use crate::limits::queue::Place;
use crate::store::{Close, Open, StoreError};
use crate::telemetry::family;
use crate::telemetry::line::ToolResult;

/// The status in the ledger of a request whose client left before it had one, as web servers log it.
pub const STATUS_CLIENT_LEFT: u16 = 499;

/// A request that will have exactly one entry, unless nobody has asked for it and nothing was sent. Dropped, it says that the
/// client left.
///
/// It goes from hand to hand, so that it is a pointer.
#[derive(Debug)]
pub struct Tab(Box<Line>);

#[derive(Debug)]
struct Line {
    bank: Arc<Bank>,
    /// Gone once it is posted.
    entry: Option<Box<Entry>>,
    tools: Vec<ToolResult>,
    arrived_us: u64,
    /// What it has taken of rate limits, once it is admitted.
    grant: Option<Grant>,
    /// Whether the journal knows of it.
    is_written: bool,
    /// What attempts have cost of which the journal knows nothing; `None` is unpriced.
    unwritten: Option<Usd>,
    /// By which caps it is held; whichever are in force, where nobody has asked.
    mark: Option<u64>,
    /// No client waits for it.
    is_unasked: bool,
    presence: Presence,
}

/// Why an attempt was not opened.
#[derive(Debug)]
pub enum NotOpened {
    /// Other caps have come into force meanwhile, so that others may have to hold it.
    Changed(Box<Tab>),
    /// A cap has no room.
    Exceeded(Box<Tab>, Box<Exceeded>),
    /// The ledger cannot take it.
    Unwritten(Box<Tab>, Refusal),
    /// The ledger has failed in the middle. The request has its entry.
    Refused(Refusal),
}

/// A request in flight, as metrics and limits count it: from its arrival to its settlement.
#[derive(Debug)]
pub struct Presence {
    /// Its share of the gauge.
    pub gauge: family::Presence,
    /// Its place among the requests at once, once it has one.
    pub place: Option<Place>,
}

impl Tab {
    /// A tab for the request that `entry` begins to describe; `arrived_us` is when it came, on the clock's ticks.
    #[must_use]
    pub fn new(bank: Arc<Bank>, entry: Box<Entry>, arrived_us: u64, presence: Presence) -> Self {
        Self(Box::new(Line {
            bank,
            entry: Some(entry),
            tools: Vec::new(),
            arrived_us,
            grant: None,
            is_written: false,
            unwritten: Some(Usd::ZERO),
            mark: None,
            is_unasked: false,
            presence,
        }))
    }

    /// What is known so far.
    pub fn entry(&mut self) -> &mut Entry {
        self.0.entry.get_or_insert_with(|| Box::new(Entry::blank()))
    }

    /// What the attempts that have ended cost; `None` is unpriced.
    #[must_use]
    pub fn cost(&self) -> Option<Usd> {
        self.0.entry.as_ref().map_or(Some(Usd::ZERO), |entry| entry.attempts.iter().map(|attempt| attempt.cost).sum())
    }

    /// The bank that the tab is kept at.
    #[must_use]
    pub fn bank(&self) -> &Arc<Bank> {
        &self.0.bank
    }

    /// Tool results that were seen in the request, for the log.
    pub fn note_tools(&mut self, tools: Vec<ToolResult>) {
        self.0.tools = tools;
    }

    /// Keeps what the request has taken of rate limits until it is settled.
    pub fn limit(&mut self, grant: Grant) {
        self.0.grant = Some(grant);
    }

    /// The request has got its place among those at once.
    pub fn enter(&mut self, place: Place) {
        self.0.presence.place = Some(place);
    }

    /// No client has asked for it: if it is refused before anything was sent, there is nothing to be told of it.
    pub fn note_unasked(&mut self) {
        self.0.is_unasked = true;
    }

    /// Whether no client has asked for it.
    #[must_use]
    pub fn is_unasked(&self) -> bool {
        self.0.is_unasked
    }

    /// Whether there is nothing to be told of it.
    fn is_for_nobody(&self) -> bool {
        self.is_unasked() && self.0.entry.as_ref().is_some_and(|entry| entry.attempts.is_empty())
    }

    /// The caps that a hold counts in are asked for at this [`Bank::mark`].
    pub fn count_by(&mut self, mark: u64) {
        self.0.mark = Some(mark);
    }

    /// Milliseconds since the request arrived.
    #[must_use]
    pub fn elapsed_ms(&self) -> u32 {
        let elapsed_us = self.0.bank.clock.ticks_us().saturating_sub(self.0.arrived_us);
        u32::try_from(elapsed_us / 1000).unwrap_or(u32::MAX)
    }

    /// Our own no: nothing more is dispatched. What earlier attempts cost stays.
    pub fn refuse(mut self, refusal: &Refusal) {
        if self.is_for_nobody() {
            self.0.entry = None;
            return;
        }
        let entry = self.entry();
        entry.status = refusal.status();
        entry.outcome = Outcome::Refused;
        entry.reason = refusal.cause.code().into();
        self.post(None);
    }

    /// Ends the request with an answer that nobody was asked for: it cost nothing. The entry says the rest.
    ///
    /// # Errors
    /// The ledger cannot take the entry as fast as it should: the request is refused instead, and has its entry.
    pub fn answer(mut self, outcome: Outcome) -> Result<(), Refusal> {
        if let Err(error) = self.0.bank.journal.able() {
            let refusal = refusal_of(&error);
            self.refuse(&refusal);
            return Err(refusal);
        }
        self.entry().outcome = outcome;
        self.post(None);
        Ok(())
    }

    /// Ends the request as its last attempt left it, where no other follows.
    pub fn finish(mut self) {
        self.post(None);
    }

    /// Holds the quote in every scope with a cap, writes the open record of the next attempt and waits until it survives
    /// this process; or the power's loss, where more than a small part of a cap would be lost with it.
    ///
    /// # Errors
    /// A cap has no room, the caps have changed, or the journal cannot be written or is too far behind: nothing is held
    /// then, and the tab is given back. A journal that fails while the record is on its way ends the request, as refused with 503.
    pub async fn open(self, quote: Option<Usd>, capped: &[Capped]) -> Result<Debt, NotOpened> {
        self.open_metered(quote, None, capped).await
    }

    /// The same, where only `first` of the quote is held at first in scopes whose caps are metered.
    ///
    /// # Errors
    /// See [`Tab::open`].
    pub async fn open_metered(
        mut self,
        quote: Option<Usd>,
        first: Option<Usd>,
        capped: &[Capped],
    ) -> Result<Debt, NotOpened> {
        let entry = self.entry();
        let ordinal = u8::try_from(entry.attempts.len()).unwrap_or(u8::MAX);
        entry.quote = quote;
        let open = Open {
            attempt: AttemptId { request: entry.id, ordinal },
            // The arrival, as in the entry: both must lie in the same window of a cap.
            at_ms: entry.at_ms,
            account: entry.account.clone(),
            upstream: entry.upstream.clone(),
            model: entry.model.clone(),
            quote,
            operation: entry.operation,
            dialect: entry.dialect,
        };
        let bank = self.0.bank.clone();
        let held = {
            let Some(_holding) = bank.adoption.begin(self.0.mark) else {
                bank.adoption.opened().await;
                return Err(NotOpened::Changed(Box::new(self)));
            };
            bank.hold(&open, first, capped)
        };
        let (held, place) = match held {
            Ok(held) => held,
            Err(Denied::Exceeded(exceeded)) => return Err(NotOpened::Exceeded(Box::new(self), exceeded)),
            // Nobody has to be kept from spending here; the request is counted as one that could not be written.
            Err(Denied::Unwritten(StoreError::Failed(_))) if capped.is_empty() => {
                return Ok(Debt::unwritten(self, open));
            }
            Err(Denied::Unwritten(error)) => return Err(NotOpened::Unwritten(Box::new(self), refusal_of(&error))),
        };
        let must_sync = held.as_ref().is_some_and(|held| held.must_sync);
        // From here on a record stands, so that the debt must exist even if the client leaves during the wait.
        let mut debt = Debt::new(self, open, held);
        let stands = if must_sync { bank.journal.synced(place).await } else { bank.journal.written(place).await };
        debt.note_written(bank.journal.is_written(place));
        match stands {
            Ok(()) => Ok(debt),
            Err(error) => {
                let refusal = refusal_of(&error);
                debt.recall(&refusal);
                Err(NotOpened::Refused(refusal))
            }
        }
    }

    /// The journal has a record of it.
    pub(super) fn note_written(&mut self) {
        self.0.is_written = true;
    }

    /// The journal has no record of an attempt that cost so much.
    pub(super) fn note_unwritten(&mut self, cost: Option<Usd>) {
        self.0.unwritten = self.0.unwritten.zip(cost).map(|(sum, cost)| sum.plus(cost));
    }

    /// Ends the request: its last attempt and its entry in one unit.
    pub(super) fn post(&mut self, close: Option<&Close>) {
        let latency_ms = self.elapsed_ms();
        let Some(mut entry) = self.0.entry.take() else { return };
        entry.latency_ms = latency_ms;
        entry.cost = entry.attempts.iter().map(|attempt| attempt.cost).sum();
        if let Some(grant) = self.0.grant.take() {
            grant.settle(entry.usage_source, &entry.usage);
        }
        let loss = Loss { requests: u32::from(!self.0.is_written), cost: self.0.unwritten };
        self.0.bank.post(close, entry, std::mem::take(&mut self.0.tools), loss);
    }
}

impl Drop for Tab {
    fn drop(&mut self) {
        let is_for_nobody = self.is_for_nobody();
        if let Some(entry) = self.0.entry.as_mut().filter(|_| !is_for_nobody) {
            entry.status = STATUS_CLIENT_LEFT;
            entry.outcome = Outcome::ClientAbort;
            self.post(None);
        }
    }
}
