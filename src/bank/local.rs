//! [`Local`]: what capped scopes have spent and what is held for them: one mutex over one map.
//!
//! The ledger knows the spend of every scope, capped or not. Here stands only what a check needs: the windows of scopes
//! with caps, rebuilt from the ledger at each start, so that a cap on an old key counts its real spend.
//!
//! Invariant: spent + held + quote <= cap in every window of every scope of a request at once, or nothing is taken.
//! Invariant: a hold, and what replaces it, count in the window in which the request arrived.

use std::collections::{BTreeMap, HashMap};
use std::ops::RangeInclusive;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use jiff::tz::TimeZone;

use super::cell::{Cell, Sums};
use super::lock;
use super::windows::Windows;
use crate::domain::account::Scope;
use crate::domain::adjustment::Direction;
use crate::domain::cap::{Capped, Enforcement, Exceeded, Limit, Policy, Share, Window};
use crate::domain::money::Usd;
use crate::store::counted;

/// Spend and holds of capped scopes.
#[derive(Debug)]
pub struct Local {
    state: Mutex<State>,
    /// Requests that a cap has refused.
    pub refusals: AtomicU64,
    /// Charges above their hold.
    pub overruns: AtomicU64,
    /// Streams that were cut since a metered cap had no room for the rest.
    pub cuts: AtomicU64,
    /// Requests that went to a cheaper model since a cap had no room for their own.
    pub downgrades: AtomicU64,
    /// What metered holds fell short of their charges, in pico-dollars.
    pub overshoot: AtomicU64,
}

/// A request for a hold.
#[derive(Clone, Copy, Debug)]
pub struct Wish<'a> {
    /// The scopes with caps.
    pub capped: &'a [Capped],
    /// When the request arrived, unix milliseconds.
    pub at_ms: u64,
    /// The most that it can cost.
    pub quote: Usd,
    /// What is held of it at first where a cap is metered; all of it, if this is none.
    pub metered: Option<Usd>,
    /// The number of the first record of the journal that is not durable.
    pub unsynced: u64,
}

/// Money that is set aside. It must be given to [`Local::settle`], once.
#[derive(Debug)]
#[must_use]
pub struct Held {
    /// Of which sums the slots are.
    epoch: u64,
    slots: Vec<Slot>,
    quote: Usd,
    /// Whether so much is held without being durable that the open record must be synced before the dispatch.
    pub must_sync: bool,
}

/// A metered cap has no room for more of an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NoRoom;

/// Why nothing is held.
#[derive(Debug)]
pub enum Denied<E> {
    /// It does not fit.
    Exceeded(Box<Exceeded>),
    /// It fits, and could not be written down.
    Unwritten(E),
}

/// One window of one scope, now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Standing {
    /// The scope.
    pub scope: Scope,
    /// The window.
    pub window: Window,
    /// The cap.
    pub cap: Usd,
    /// What was spent.
    pub spent: Usd,
    /// What is held.
    pub held: Usd,
    /// When the window ends, unix milliseconds.
    pub resets_ms: Option<u64>,
}

#[derive(Debug)]
struct State {
    /// How often these sums have been replaced.
    epoch: u64,
    index: HashMap<Scope, usize>,
    safes: Vec<Safe>,
    windows: Windows,
    /// By how much total caps are raised.
    top_ups: HashMap<Scope, Usd>,
    /// The part of a cap that holds may reach before they are durable.
    share: Share,
}

#[derive(Debug)]
struct Safe {
    scope: Scope,
    cells: Vec<Cell>,
    least_cap: Usd,
    fresh: Fresh,
}

#[derive(Clone, Copy, Debug)]
struct Slot {
    safe: usize,
    cell: usize,
    part: u64,
    /// What is held here.
    amount: Usd,
    is_metered: bool,
}

/// Holds that may not be durable yet, in two generations, each with the last record that belongs to it.
#[derive(Debug, Default)]
struct Fresh {
    old: (Usd, u64),
    new: (Usd, u64),
    /// Whether the journal durably knows the scope, so that a start after a power loss can find it.
    is_known: bool,
}

impl Local {
    /// Nothing spent, with the calendar of `zone`. `named` scopes are shown before they spend anything.
    #[must_use]
    pub fn new(zone: TimeZone, named: &[Capped], share: Share) -> Self {
        let mut state = State {
            epoch: 0,
            index: HashMap::new(),
            safes: Vec::new(),
            windows: Windows::new(zone),
            top_ups: HashMap::new(),
            share,
        };
        for capped in named {
            state.open(&capped.scope, &capped.policy);
        }
        let zero = AtomicU64::default;
        let state = Mutex::new(state);
        Self { state, refusals: zero(), overruns: zero(), cuts: zero(), downgrades: zero(), overshoot: zero() }
    }

    /// Holds `quote` in every window of every scope. `write` takes the open record, and gives its number.
    ///
    /// # Errors
    /// It does not fit, or cannot be written; nothing is held then.
    pub fn hold<T, E>(
        &self,
        wish: Wish<'_>,
        write: impl FnOnce() -> Result<(u64, T), E>,
    ) -> Result<(Held, T), Denied<E>> {
        let mut state = lock(&self.state);
        let mut slots = Vec::with_capacity(wish.capped.len() * 2);
        let mut worst: Option<Exceeded> = None;
        for capped in wish.capped {
            state.check(capped, &wish, &mut slots, &mut worst);
        }
        if let Some(exceeded) = worst {
            return Err(Denied::Exceeded(Box::new(exceeded)));
        }
        let (number, written) = write().map_err(Denied::Unwritten)?;
        let (share, mut must_sync) = (state.share, false);
        let mut last = usize::MAX;
        for slot in &slots {
            let sums = state.sums(*slot);
            sums.held = sums.held.plus(slot.amount);
            if slot.safe != last {
                last = slot.safe;
                must_sync |= state.safes[slot.safe].note_fresh(&wish, number, share);
            }
        }
        Ok((Held { epoch: state.epoch, slots, quote: wish.quote, must_sync }, written))
    }

    /// Ends a hold: `charge` takes its place in full, also where it is more.
    pub fn settle(&self, held: Held, charge: Usd) {
        if charge > held.quote {
            self.overruns.fetch_add(1, Ordering::Relaxed);
        }
        let mut state = lock(&self.state);
        if held.epoch != state.epoch {
            return;
        }
        for slot in held.slots {
            let sums = state.sums(slot);
            sums.held = sums.held.less(slot.amount);
            sums.charged = sums.charged.plus(charge);
            if slot.is_metered && charge > slot.amount {
                let short = u64::try_from(charge.less(slot.amount).pico()).unwrap_or(u64::MAX);
                self.overshoot.fetch_add(short, Ordering::Relaxed);
            }
        }
    }

    /// Raises what is held in the windows of metered caps to `amount`, and to the quote at most.
    ///
    /// # Errors
    /// One of them has no room; everything stays as it was.
    pub fn grow(&self, held: &mut Held, amount: Usd) -> Result<(), NoRoom> {
        let (mut state, amount) = (lock(&self.state), amount.min(held.quote));
        if held.epoch != state.epoch {
            // The caps have changed, and it counts in them at its quote.
            return Ok(());
        }
        for slot in held.slots.iter().filter(|slot| slot.is_metered) {
            let cell = &state.safes[slot.safe].cells[slot.cell];
            let sums = cell.sum(slot.part);
            let spent = sums.charged.less(sums.credited);
            if spent.plus(sums.held).plus(amount.less(slot.amount)) > cell.cap {
                return Err(NoRoom);
            }
        }
        for slot in held.slots.iter_mut().filter(|slot| slot.is_metered && slot.amount < amount) {
            let sums = state.sums(*slot);
            sums.held = sums.held.plus(amount.less(slot.amount));
            slot.amount = amount;
        }
        Ok(())
    }

    /// Counts money that the ledger knows of.
    pub fn post(&self, capped: &[Capped], at_ms: u64, amount: Usd, direction: Direction) {
        self.post_between(capped, at_ms..=at_ms, amount, direction);
    }

    /// Counts money of which no more is known than between which moments of a quarter of an hour it lies. No calendar window
    /// begins or ends within one; in a rolling window charges count as long as they may, and credits no longer than they
    /// must.
    pub fn post_between(&self, capped: &[Capped], at: RangeInclusive<u64>, amount: Usd, direction: Direction) {
        let latest = |window| matches!((window, direction), (Window::Rolling { .. }, Direction::Charge));
        let mut state = lock(&self.state);
        for capped in capped {
            let safe = state.safe(&capped.scope, &capped.policy);
            state.safes[safe].fresh.is_known = true;
            for cell in 0..state.safes[safe].cells.len() {
                let window = state.safes[safe].cells[cell].window;
                let part = state.windows.part(window, if latest(window) { *at.end() } else { *at.start() });
                let sums = state.sums(Slot { safe, cell, part, amount, is_metered: false });
                match direction {
                    Direction::Charge => sums.charged = sums.charged.plus(amount),
                    Direction::Credit => sums.credited = sums.credited.plus(amount),
                }
            }
        }
    }

    /// From now on other caps are shown by name, and another share of each may be held without being durable.
    pub fn configure(&self, named: &[Capped], share: Share) {
        let mut state = lock(&self.state);
        state.share = share;
        for capped in named {
            state.open(&capped.scope, &capped.policy);
        }
    }

    /// Raises the total cap of a scope.
    pub fn top_up(&self, scope: &Scope, amount: Usd) {
        lock(&self.state).top_up(scope, amount);
    }

    /// What a power loss may have taken, for each scope that the ledger knows.
    #[must_use]
    pub fn at_risk(&self) -> Vec<(Scope, Usd)> {
        let state = lock(&self.state);
        let known = state.safes.iter().filter(|safe| safe.fresh.is_known);
        known.map(|safe| (safe.scope.clone(), state.share.of(safe.least_cap))).collect()
    }

    /// The first moment whose spend some window of `policies` counts at `now_ms`.
    #[must_use]
    pub fn since<'p>(&self, policies: impl Iterator<Item = &'p Policy>, now_ms: u64) -> u64 {
        let mut state = lock(&self.state);
        let windows = policies.flat_map(|policy| policy.limits.iter().map(|limit| limit.window));
        windows.map(|window| state.windows.since(window, now_ms)).min().unwrap_or(now_ms)
    }

    /// Goes on with the sums of `other`. What is held here ends without a trace: there it counts already.
    pub fn replace(&self, other: Self) {
        let other = other.state.into_inner().unwrap_or_else(PoisonError::into_inner);
        let mut state = lock(&self.state);
        let epoch = state.epoch + 1;
        // What was prepaid is nothing that a config says.
        let top_ups = std::mem::take(&mut state.top_ups);
        *state = State { epoch, ..other };
        top_ups.iter().for_each(|(scope, amount)| state.top_up(scope, *amount));
    }

    /// What was counted, without holds. Windows long past are forgotten.
    #[must_use]
    pub fn export(&self) -> Vec<(Scope, counted::Sums)> {
        let mut state = lock(&self.state);
        let parts = |cell: &mut Cell| {
            cell.forget_old();
            cell.parts.iter().map(|(part, sums)| (*part, sums.charged, sums.credited)).collect()
        };
        let known = state.safes.iter_mut().filter(|safe| safe.fresh.is_known);
        let windows = |safe: &mut Safe| safe.cells.iter_mut().map(|cell| (cell.window, parts(cell))).collect();
        known.map(|safe| (safe.scope.clone(), windows(safe))).collect()
    }

    /// Goes on from what was counted, under the policies that `policy_of` gives.
    pub fn import(&self, scopes: Vec<(Scope, counted::Sums)>, policy_of: impl Fn(&Scope) -> Option<Arc<Policy>>) {
        let mut state = lock(&self.state);
        for (scope, windows) in scopes {
            let Some(policy) = policy_of(&scope) else { continue };
            let safe = state.open(&scope, &policy);
            state.safes[safe].fresh.is_known = true;
            for (window, parts) in windows {
                let Some(cell) = state.safes[safe].cells.iter_mut().find(|cell| cell.window == window) else {
                    continue;
                };
                let sums = |(part, charged, credited)| (part, Sums { charged, credited, held: Usd::ZERO });
                cell.parts = parts.into_iter().map(sums).collect();
            }
        }
    }

    /// Every window of every scope, now.
    #[must_use]
    pub fn standings(&self, now_ms: u64) -> Vec<Standing> {
        let mut state = lock(&self.state);
        let State { safes, windows, .. } = &mut *state;
        let mut all = Vec::new();
        for safe in safes {
            for cell in &safe.cells {
                let sums = cell.sum(windows.part(cell.window, now_ms));
                all.push(Standing {
                    scope: safe.scope.clone(),
                    window: cell.window,
                    cap: cell.cap,
                    spent: sums.charged.less(sums.credited),
                    held: sums.held,
                    resets_ms: cell.resets(windows, now_ms),
                });
            }
        }
        all.sort_by(|a, b| (&a.scope, a.window).cmp(&(&b.scope, b.window)));
        all
    }
}

impl Held {
    /// What is charged for an answer of which nobody knows what it cost: all of its quote, unless every cap is metered.
    #[must_use]
    pub fn assumed(&self) -> Usd {
        let is_metered = self.slots.iter().all(|slot| slot.is_metered);
        let most = self.slots.iter().map(|slot| slot.amount).max();
        most.filter(|_| is_metered).unwrap_or(self.quote)
    }
}

impl State {
    fn top_up(&mut self, scope: &Scope, amount: Usd) {
        let sum = self.top_ups.entry(scope.clone()).or_default();
        *sum = sum.plus(amount);
        let Some(safe) = self.index.get(scope).copied() else { return };
        for cell in self.safes[safe].cells.iter_mut().filter(|cell| cell.window == Window::Total) {
            cell.cap = cell.cap.plus(amount);
        }
    }

    /// The safe of a scope, whose caps are those of `policy` from now on.
    fn open(&mut self, scope: &Scope, policy: &Policy) -> usize {
        let at = self.safe(scope, policy);
        let safe = &mut self.safes[at];
        for limit in &policy.limits {
            if let Some(cell) = safe.cells.iter_mut().find(|cell| cell.window == limit.window) {
                cell.cap = raised(&self.top_ups, scope, limit);
            }
        }
        safe.least_cap = policy.least();
        at
    }

    /// The safe of a scope, with a cell for each of its caps. Those that are there stay as they are: what is counted may be
    /// told by a policy that is no longer in force.
    fn safe(&mut self, scope: &Scope, policy: &Policy) -> usize {
        let at = match self.index.get(scope) {
            Some(at) => *at,
            None => {
                let at = self.safes.len();
                self.index.insert(scope.clone(), at);
                let (cells, least_cap) = (Vec::new(), policy.least());
                self.safes.push(Safe { scope: scope.clone(), cells, least_cap, fresh: Fresh::default() });
                at
            }
        };
        let safe = &mut self.safes[at];
        for limit in &policy.limits {
            if safe.cells.iter().all(|cell| cell.window != limit.window) {
                let cap = raised(&self.top_ups, scope, limit);
                safe.cells.push(Cell { window: limit.window, cap, parts: BTreeMap::new() });
            }
        }
        at
    }

    fn check(&mut self, capped: &Capped, wish: &Wish<'_>, slots: &mut Vec<Slot>, worst: &mut Option<Exceeded>) {
        let safe = self.open(&capped.scope, &capped.policy);
        let metered = wish.metered.filter(|_| capped.policy.enforcement == Enforcement::Metered);
        let (amount, is_metered) = (metered.map_or(wish.quote, |first| first.min(wish.quote)), metered.is_some());
        for (index, cell) in self.safes[safe].cells.iter_mut().enumerate() {
            let part = self.windows.part(cell.window, wish.at_ms);
            slots.push(Slot { safe, cell: index, part, amount, is_metered });
            cell.forget_old();
            let sums = cell.sum(part);
            let spent = sums.charged.less(sums.credited);
            // What costs nothing stays usable at an exhausted cap; a cap that config has dropped is only counted on.
            let applies = capped.policy.limits.iter().any(|limit| limit.window == cell.window);
            if !applies || amount == Usd::ZERO || spent.plus(sums.held).plus(amount) <= cell.cap {
                continue;
            }
            let exceeded = Exceeded {
                scope: Some(capped.scope.clone()),
                window: Some(cell.window),
                cap: cell.cap,
                spent,
                held: sums.held,
                quote: amount,
                resets_ms: cell.resets(&mut self.windows, wish.at_ms),
                on_exceed: capped.policy.on_exceed.clone(),
            };
            let rank = |exceeded: &Exceeded| (exceeded.on_exceed.rank(), exceeded.room());
            if worst.as_ref().is_none_or(|worst| rank(&exceeded) < rank(worst)) {
                *worst = Some(exceeded);
            }
        }
    }

    fn sums(&mut self, slot: Slot) -> &mut Sums {
        self.safes[slot.safe].cells[slot.cell].parts.entry(slot.part).or_default()
    }
}

/// A cap with what it was topped up by.
fn raised(top_ups: &HashMap<Scope, Usd>, scope: &Scope, limit: &Limit) -> Usd {
    match limit.window {
        Window::Total => limit.usd.plus(top_ups.get(scope).copied().unwrap_or_default()),
        Window::Day | Window::Week | Window::Month | Window::Rolling { .. } => limit.usd,
    }
}

impl Safe {
    /// Counts a hold whose record is `number`; true if too much would be lost with the power.
    fn note_fresh(&mut self, wish: &Wish<'_>, number: u64, share: Share) -> bool {
        if wish.quote == Usd::ZERO {
            return false;
        }
        let fresh = &mut self.fresh;
        fresh.turn(wish.unsynced);
        fresh.new = (fresh.new.0.plus(wish.quote), number);
        let at_risk = fresh.old.0.plus(fresh.new.0);
        !fresh.is_known || at_risk > share.of(self.least_cap)
    }
}

impl Fresh {
    /// Forgets what has become durable.
    fn turn(&mut self, unsynced: u64) {
        let durable = |part: &(Usd, u64)| part.0 > Usd::ZERO && part.1 < unsynced;
        if durable(&self.new) {
            (self.old, self.new, self.is_known) = ((Usd::ZERO, 0), (Usd::ZERO, 0), true);
        } else if durable(&self.old) {
            (self.old, self.new, self.is_known) = (self.new, (Usd::ZERO, 0), true);
        } else if self.old.0 == Usd::ZERO {
            self.old = std::mem::take(&mut self.new);
        }
    }
}
