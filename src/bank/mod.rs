//! The only door to money: a [`Tab`](tab::Tab) for each identified request, a [`Debt`](debt::Debt) for each dispatch.
//!
//! A request gets its tab when it is identified. Before it is dispatched an open record is written and the tab becomes
//! a debt; when all is known the debt is settled, in one unit with the ledger's entry. Ownership does the bookkeeping:
//! whatever is dropped on the way settles itself, at the quote where money may have been spent.
//!
//! Invariant: each tab becomes exactly one entry, and each debt one open and one close record.

pub mod windows;
pub mod adopt;
mod cell;
pub mod local;
mod rebuild;
mod kept;
mod left;
pub mod unwritten;
pub mod tab;
pub mod debt;
pub mod refusals;
pub mod rates;
pub mod booked;

use std::path::Path;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::clock::Clock;
use crate::config::Config;
use crate::config::ring::Ring;
use crate::domain::adjustment::{Adjustment, TopUp};
use crate::domain::cap::Capped;
use crate::domain::entry::{Entry, Outcome, PriceRef};
use crate::domain::ids::RequestId;
use crate::domain::key::{KeyEvent, KeyFault};
use crate::domain::lesson::Lesson;
use crate::domain::money::Usd;
use crate::domain::price::Model;
use crate::domain::refusal::{Cause, Refusal};
use crate::store::{Close, Health, Journal, Open, ReadError, Recovered, Reloaded, Seat, StoreError, Unfinished, Watch};
use crate::telemetry::line::ToolResult;
use crate::telemetry::scribe::{Record, Scribe};
use adopt::Adoption;
use kept::Keeper;
use left::Left;
use local::{Denied, Held, Local, Standing, Wish};
use rates::Rates;
use refusals::Refusals;
use unwritten::{Loss, Sums, Unwritten};

/// After how many seconds a client may ask again whose request the ledger could not take.
const STORE_RETRY_S: u32 = 5;

/// Where money is kept: the journal, and who is told of each entry.
#[derive(Debug)]
pub struct Bank {
    journal: Journal,
    scribe: Arc<Scribe>,
    clock: Clock,
    refusals: Mutex<Refusals>,
    rates: Mutex<Rates>,
    local: Local,
    left: Left,
    unwritten: Unwritten,
    adoption: Adoption,
    in_force: kept::InForce,
}

/// Why a key is as it was.
#[derive(Debug)]
pub enum NotChanged {
    /// It cannot be done to that key.
    Fault(KeyFault),
    /// The ledger cannot be written.
    Unwritten(StoreError),
}

impl From<KeyFault> for NotChanged {
    fn from(fault: KeyFault) -> Self {
        Self::Fault(fault)
    }
}

/// Every window of every scope with a cap, as a bank over `recovered` would show it; for commands, where none runs.
///
/// # Errors
/// The part of the journal that caps count cannot be read.
pub fn standings(config: &Config, recovered: &Recovered, now_ms: u64) -> Result<Vec<Standing>, ReadError> {
    rebuild::rebuild(config, recovered, now_ms).map(|local| local.standings(now_ms))
}

impl Bank {
    /// A bank over `journal`. What a dead process left open counts in caps at its quote at once, and is entered as
    /// unsettled when it is old enough; after a loss of power (`boot_id` is another than last time) so does what may have been lost.
    ///
    /// # Errors
    /// The part of the journal that caps count cannot be read.
    pub fn new(
        journal: Journal,
        recovered: &Recovered,
        scribe: Arc<Scribe>,
        clock: Clock,
        config: &Config,
        boot_id: &str,
    ) -> Result<Self, ReadError> {
        let local = rebuild::rebuild(config, recovered, clock.now_ms())?;
        if recovered.last_start.as_ref().is_some_and(|last| *last.boot_id != *boot_id) {
            rebuild::post_at_risk(&local, config, &journal, clock.now_ms());
        }
        let rates = Mutex::new(Rates::new(&recovered.rates));
        let left = Left::new(&recovered.unfinished, clock.now_ms(), expiry_ms(config));
        let (unwritten, unwritten_before) = Unwritten::open(&config.store.path);
        let bank = Self {
            journal,
            scribe,
            clock,
            refusals: Mutex::default(),
            rates,
            local,
            left,
            unwritten,
            adoption: Adoption::of(config),
            in_force: Arc::new(Mutex::new(Arc::new(config.clone()))),
        };
        bank.expire();
        bank.enter_unwritten(unwritten_before);
        Ok(bank)
    }

    /// What `config` says of money holds from now on; holds and sums stay as they are.
    fn configure(&self, config: &Arc<Config>) {
        *lock(&self.in_force) = config.clone();
        self.local.configure(&config.caps.named(), config.money.unsynced_share);
        self.left.set_expiry(expiry_ms(config));
    }

    /// What keeps the sums of caps for the next start, on a thread that has time.
    #[must_use]
    pub fn keeper(&self, folder: &Path) -> Box<dyn Watch> {
        Box::new(Keeper { folder: folder.to_owned(), config: self.in_force.clone(), state: None })
    }

    /// How many requests could not be written down since the start.
    #[must_use]
    pub fn unwritten(&self) -> u64 {
        self.unwritten.count()
    }

    /// How many requests of a dead process have no entry yet. Caps count them at their quote.
    #[must_use]
    pub fn left_open(&self) -> usize {
        self.left.count()
    }

    /// Enters a request that a dead process left open as unsettled, whatever its age; false if there is none with this id.
    pub fn expire_now(&self, id: RequestId) -> bool {
        self.left.one(id).is_some_and(|unfinished| self.enter(&unfinished))
    }

    /// Every window of every scope with a cap, now.
    #[must_use]
    pub fn standings(&self) -> Vec<Standing> {
        self.local.standings(self.clock.now_ms())
    }

    /// How many requests caps have refused, how many charges were above their hold, how many streams were cut, and how many
    /// requests went to a cheaper model.
    #[must_use]
    pub fn cap_counts(&self) -> [u64; 4] {
        let Local { refusals, overruns, cuts, downgrades, .. } = &self.local;
        [refusals, overruns, cuts, downgrades].map(|count| count.load(Ordering::Relaxed))
    }

    /// What metered holds fell short of their charges.
    #[must_use]
    pub fn overshoot(&self) -> Usd {
        Usd::from_pico(self.local.overshoot.load(Ordering::Relaxed).into())
    }

    /// A stream was cut since a metered cap has no room for the rest.
    pub fn note_cut(&self) {
        self.local.cuts.fetch_add(1, Ordering::Relaxed);
    }

    /// A request was held for the cheaper model that the policy of a cap names.
    pub fn note_downgrade(&self) {
        self.local.downgrades.fetch_add(1, Ordering::Relaxed);
    }

    /// A cap has refused a request.
    pub fn note_cap_refusal(&self) {
        self.local.refusals.fetch_add(1, Ordering::Relaxed);
    }

    fn hold(
        &self,
        open: &Open,
        metered: Option<Usd>,
        capped: &[Capped],
    ) -> Result<(Option<Held>, Seat), Denied<StoreError>> {
        let write = || self.journal.admit(open);
        let Some(quote) = open.quote.filter(|_| !capped.is_empty()) else {
            return write().map(|seat| (None, seat)).map_err(Denied::Unwritten);
        };
        let wish = Wish { capped, at_ms: open.at_ms, quote, metered, unsynced: self.journal.unsynced() };
        let (held, seat) = self.local.hold(wish, || write().map(|seat| (seat.number(), seat)))?;
        Ok((Some(held), seat))
    }

    /// The time, unix milliseconds.
    #[must_use]
    pub fn now_ms(&self) -> u64 {
        self.clock.now_ms()
    }

    /// The clock's ticks, microseconds.
    #[must_use]
    pub fn ticks_us(&self) -> u64 {
        self.clock.ticks_us()
    }

    /// How the journal fares.
    #[must_use]
    pub fn health(&self) -> Health {
        self.journal.health()
    }

    /// The reference by which an entry names the rates it was charged at; their first use is journaled.
    pub fn price_ref(&self, version: &Arc<str>, model: &Model) -> PriceRef {
        lock(&self.rates).price_ref(version, model, &self.journal)
    }

    /// Writes what the minute that is over still holds back, and enters what is too old to be settled. Called about once
    /// a second.
    pub fn tick(&self) {
        self.expire();
        self.unwritten.settle(self.journal.unsynced());
        self.turn();
    }

    fn turn(&self) {
        let over = lock(&self.refusals).turn(self.clock.now_ms());
        for entry in over {
            self.write(None, entry, Vec::new(), Loss::of(1));
        }
    }

    /// Waits until everything that was posted is durable, and can be read.
    ///
    /// # Errors
    /// Why the last records may not be on the disk.
    pub async fn flush(&self) -> Result<(), StoreError> {
        self.journal.flush().await
    }

    /// Posts a correction, counts it in the caps of `config`, and waits until it is durable.
    ///
    /// # Errors
    /// The ledger cannot be written.
    pub async fn adjust(&self, adjustment: &Adjustment, config: &Config) -> Result<(), StoreError> {
        // While the ledger is read anew, it would count twice or not at all.
        let _turn = self.adoption.turn.lock().await;
        let record = crate::store::Record::Adjustment(Box::new(adjustment.clone()));
        let seat = self.journal.post(&record)?;
        rebuild::adjust(&self.local, config, adjustment);
        self.journal.synced(seat).await
    }

    /// Writes down what was learned of a route; a moment later it survives this process.
    ///
    /// # Errors
    /// The journal has failed, or is too far behind.
    pub fn learn(&self, lesson: &Lesson) -> Result<Seat, StoreError> {
        self.journal.post(&crate::store::Record::Lesson(*lesson))
    }

    /// Waits until what was posted survives this process.
    ///
    /// # Errors
    /// Writing has failed.
    pub async fn written(&self, seat: Seat) -> Result<(), StoreError> {
        self.journal.written(seat).await
    }

    /// Raises a total cap, once that is durable: a loss of power must not take the line and leave what was spent on it.
    ///
    /// # Errors
    /// The ledger cannot be written.
    pub async fn top_up(&self, top_up: &TopUp) -> Result<(), StoreError> {
        let seat = self.journal.post(&crate::store::Record::TopUp(Box::new(top_up.clone())))?;
        self.journal.synced(seat).await?;
        self.local.top_up(&top_up.scope, top_up.amount);
        Ok(())
    }

    /// Writes down that another config has come into force. A ledger that cannot take it keeps no config from that.
    pub fn note_reload(&self, reloaded: Reloaded) {
        let _seat = self.journal.post(&crate::store::Record::Reloaded(Box::new(reloaded)));
    }

    /// Changes a key of `ring`, and waits until that is durable.
    ///
    /// # Errors
    /// It cannot be done to that key, or the ledger cannot be written: a revoked key is refused even so until the process
    /// ends.
    pub async fn change_key(&self, ring: &Ring, event: KeyEvent) -> Result<(), NotChanged> {
        let write = |event: &KeyEvent| {
            let record = crate::store::Record::Key(Box::new(event.clone()));
            self.journal.post(&record).map_err(NotChanged::Unwritten)
        };
        let seat = ring.change(event, write)?;
        self.journal.synced(seat).await.map_err(NotChanged::Unwritten)
    }

    /// Writes what is held back, and waits until all records are durable.
    ///
    /// # Errors
    /// Why the last records may not be on the disk.
    pub async fn close(&self) -> Result<(), StoreError> {
        let held = lock(&self.refusals).end();
        for entry in held {
            self.write(None, entry, Vec::new(), Loss::of(1));
        }
        self.journal.flush().await?;
        self.unwritten.settle(self.journal.unsynced());
        Ok(())
    }

    fn expire(&self) {
        for unfinished in self.left.due(self.clock.now_ms()) {
            self.enter(&unfinished);
        }
    }

    fn enter(&self, unfinished: &Unfinished) -> bool {
        let expired = self.journal.expire(unfinished, self.clock.now_ms());
        self.left.entered();
        let Some((_, entry)) = expired else { return false };
        self.scribe.hand(Record { entry: Box::new(entry), tools: Vec::new() });
        true
    }

    fn post(&self, close: Option<&Close>, entry: Box<Entry>, tools: Vec<ToolResult>, loss: Loss) {
        if entry.outcome == Outcome::Refused && close.is_none() && entry.attempts.is_empty() {
            self.turn();
            let Some(entry) = lock(&self.refusals).take(entry) else { return };
            return self.write(None, entry, tools, loss);
        }
        self.write(close, entry, tools, loss);
    }

    /// Enters what an earlier process could not write.
    fn enter_unwritten(&self, left: Sums) {
        match self.unwritten.enter(left, &self.journal) {
            Ok(entries) => {
                for entry in entries {
                    tracing::warn!(
                        requests = entry.requests,
                        "requests that could not be journaled are entered together"
                    );
                    self.scribe.hand(Record { entry: Box::new(entry), tools: Vec::new() });
                }
            }
            Err(error) => tracing::error!(%error, "requests that could not be journaled cannot be entered"),
        }
    }

    fn write(&self, close: Option<&Close>, entry: Box<Entry>, tools: Vec<ToolResult>, loss: Loss) {
        match close {
            Some(close) => self.journal.settle(close, &entry),
            None => self.journal.finish(&entry),
        };
        if self.journal.has_failed() {
            let requests = if loss.requests > 0 { entry.requests } else { 0 };
            self.unwritten.note(entry.id, Loss { requests, ..loss });
        }
        self.scribe.hand(Record { entry, tools });
    }
}

/// The ledger cannot take what a request is about to spend, so that nothing may be spent.
fn refusal_of(error: &StoreError) -> Refusal {
    Refusal::new(Cause::StoreUnavailable, format!("the ledger cannot be written: {error}")).after(STORE_RETRY_S)
}

fn expiry_ms(config: &Config) -> u64 {
    u64::try_from(config.money.hold_expiry.as_millis()).unwrap_or(u64::MAX)
}

/// A poisoned lock holds data that is whole after each step, so that it may be used.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
