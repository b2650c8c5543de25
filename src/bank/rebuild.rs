//! What caps have counted, read from the ledger at a start.
//!
//! What was kept of it by the process before is taken as it is, and what follows in the journal is added. Otherwise the part
//! of the journal is read that some window still counts, and of what retention has dropped the archives.
//!
//! Invariant: what is counted here is what was counted before the process ended, and requests without an entry count at
//! their quote.

use std::collections::HashMap;
use std::sync::Arc;

use super::kept;
use super::local::Local;
use crate::config::Config;
use crate::domain::account::{Account, Scope};
use crate::domain::adjustment::{Adjustment, Direction};
use crate::domain::cap::Capped;
use crate::domain::ids::RequestId;
use crate::domain::money::Usd;
use crate::store::index::QUARTER_MS;
use crate::store::{Archive, Counts, Journal, ReadError, Record, Recovered, Skim, Spent, Unsettled, spent};

/// A clock may be set back by so much, and an old window must still be known: milliseconds.
const LOOK_BACK_MS: u64 = 2 * 86_400_000;

/// Callers and models whose caps are remembered while a journal is counted.
const KNOWN_MAX: usize = 4_096;

/// Counts a journal, whose entries are of the same few callers and models.
pub(super) struct Counter<'c> {
    local: &'c Local,
    config: &'c Config,
    /// By their names, the place in `capped`.
    known: HashMap<Vec<u8>, usize>,
    capped: Vec<Vec<Capped>>,
    /// Whose was looked for last, and where it was.
    last: (Vec<u8>, usize),
    name: Vec<u8>,
}

impl<'c> Counter<'c> {
    pub fn new(local: &'c Local, config: &'c Config) -> Self {
        let (known, capped, last, name) = (HashMap::new(), Vec::new(), (Vec::new(), 0), Vec::new());
        Self { local, config, known, capped, last, name }
    }

    /// Counts what counts of a record, as [`count`] does.
    pub fn count(&mut self, counts: &Counts<'_>) {
        let entry = match counts {
            Counts::Entry(entry) => entry,
            Counts::Other(record) => return count(self.local, self.config, record),
        };
        for (model, cost) in &entry.attempts {
            let local = self.local;
            local.post(self.capped(entry, model), entry.at_ms, cost.unwrap_or_default(), Direction::Charge);
        }
    }

    fn capped(&mut self, entry: &Skim<'_>, model: &str) -> &[Capped] {
        self.name.clear();
        for part in [Some(entry.key), entry.user, entry.team, Some(model)] {
            self.name.extend_from_slice(&part.map_or(0, |part| part.len() + 1).to_ne_bytes());
            self.name.extend_from_slice(part.unwrap_or_default().as_bytes());
        }
        if self.name != self.last.0 {
            let place = match self.known.get(&self.name) {
                Some(place) => *place,
                None => self.look_up(entry, model),
            };
            std::mem::swap(&mut self.last.0, &mut self.name);
            self.last.1 = place;
        }
        self.capped.get(self.last.1).map_or(&[], Vec::as_slice)
    }

    fn look_up(&mut self, entry: &Skim<'_>, model: &str) -> usize {
        if self.capped.len() >= KNOWN_MAX {
            self.known.clear();
            self.capped.clear();
        }
        let [key, user, team] = [Some(entry.key), entry.user, entry.team].map(|name| name.map(Arc::from));
        // Tags count by their key.
        let account = Account { key: key.unwrap_or_default(), user, team, tags: Arc::default() };
        self.capped.push(self.config.capped(&account, model));
        self.known.insert(self.name.clone(), self.capped.len() - 1);
        self.capped.len() - 1
    }
}

/// Counts everything that caps of `config` count at `now_ms`.
pub(super) fn rebuild(config: &Config, recovered: &Recovered, now_ms: u64) -> Result<Local, ReadError> {
    let local = match kept::resume(config).filter(|_| !config.caps.is_empty()) {
        Some((local, mut follow)) => {
            let mut counter = Counter::new(&local, config);
            while follow.counted(u64::MAX, &mut |counts| counter.count(&counts))? {}
            local
        }
        None => everything(config, now_ms)?,
    };
    recovered.top_ups.iter().for_each(|(scope, amount)| local.top_up(scope, *amount));
    for (open, close) in recovered.unfinished.iter().flat_map(|request| &request.attempts) {
        let capped = config.capped(&open.account, &open.model);
        let cost = close.as_ref().map_or(open.quote, |close| close.cost);
        local.post(&capped, open.at_ms, cost.unwrap_or_default(), Direction::Charge);
    }
    Ok(local)
}

/// Counts all that the ledger holds of the windows at `now_ms`.
fn everything(config: &Config, now_ms: u64) -> Result<Local, ReadError> {
    let local = empty(config);
    if !config.caps.is_empty() {
        spent(&config.store.path, from_ms(&local, config, now_ms), &mut |spent| match spent {
            Spent::Record(located) => count(&local, config, &located.record),
            Spent::Archive(archive) => archived(&local, config, archive),
        })?;
    }
    Ok(local)
}

/// Nothing spent yet, under the caps of `config`.
pub(super) fn empty(config: &Config) -> Local {
    Local::new(config.money.time_zone.clone(), &config.caps.named(), config.money.unsynced_share)
}

/// The first moment whose spend counts at `now_ms`.
pub(super) fn from_ms(local: &Local, config: &Config, now_ms: u64) -> u64 {
    let policies = || config.caps.policies().map(|policy| &**policy);
    let since = [now_ms, now_ms.saturating_sub(LOOK_BACK_MS)].map(|at_ms| local.since(policies(), at_ms));
    since.into_iter().min().unwrap_or(0)
}

/// Counts one record. What is still open counts elsewhere.
pub(super) fn count(local: &Local, config: &Config, record: &Record) {
    match record {
        Record::Entry(entry) => {
            // Each attempt was held for its own model.
            for attempt in &entry.attempts {
                let capped = config.capped(&entry.account, &attempt.model);
                local.post(&capped, entry.at_ms, attempt.cost.unwrap_or_default(), Direction::Charge);
            }
        }
        Record::Unsettled(lost) => {
            local.post(&only(config, &lost.scope), lost.at_ms, lost.amount, Direction::Charge);
        }
        Record::Adjustment(adjustment) => adjust(local, config, adjustment),
        Record::Open(_)
        | Record::Close(_)
        | Record::Rate(_)
        | Record::Start(_)
        | Record::Dropped(_)
        | Record::Key(_)
        | Record::TopUp(_)
        | Record::Lesson(_)
        | Record::Reloaded(_) => {}
    }
}

/// Counts what is left of records that retention has dropped.
pub(super) fn archived(local: &Local, config: &Config, archive: &Archive) {
    let post = |quarter: u32, capped: &[Capped], charged: Usd, credited: Usd| {
        let (start_ms, end_ms) = (u64::from(quarter) * QUARTER_MS, u64::from(quarter + 1) * QUARTER_MS - 1);
        for (amount, direction) in [(charged, Direction::Charge), (credited, Direction::Credit)] {
            if amount > Usd::ZERO {
                local.post_between(capped, start_ms..=end_ms, amount, direction);
            }
        }
    };
    for (quarter, subject, sums) in &archive.rows {
        let capped = config.capped(&subject.account(), &subject.model);
        post(*quarter, &capped, sums.spend, Usd::ZERO);
        post(*quarter, &of_adjustment(capped, &subject.model), sums.charged, sums.credited);
    }
    for moved in &archive.moved {
        let mut capped = config.capped(&moved.subject.account(), &moved.subject.model);
        if moved.is_adjustment {
            capped = of_adjustment(capped, &moved.subject.model);
        }
        post(moved.quarter, &capped, moved.charged, moved.credited);
    }
    for (quarter, scope, amount) in &archive.posted {
        post(*quarter, &only(config, scope), *amount, Usd::ZERO);
    }
}

/// Posts what a loss of power may have taken: opens that were written and not yet durable.
pub(super) fn post_at_risk(local: &Local, config: &Config, journal: &Journal, now_ms: u64) {
    for (scope, amount) in local.at_risk().into_iter().filter(|(_, amount)| *amount > Usd::ZERO) {
        local.post(&only(config, &scope), now_ms, amount, Direction::Charge);
        // A journal that takes no record takes no request either.
        let _seat = journal.post(&Record::Unsettled(Unsettled { at_ms: now_ms, scope, amount }));
    }
}

/// Counts a correction in the caps of those whom it names.
pub(super) fn adjust(local: &Local, config: &Config, adjustment: &Adjustment) {
    let capped = of_adjustment(config.capped(&adjustment.account, &adjustment.model), &adjustment.model);
    // Money that is given back for a request makes room in the window that the request took it from, and in no other.
    let at_ms = adjustment.request.map_or(adjustment.at_ms, RequestId::at_ms);
    local.post(&capped, at_ms, adjustment.amount, adjustment.direction);
}

/// Of the caps that fit an adjustment for `model`, those that count it.
fn of_adjustment(mut capped: Vec<Capped>, model: &str) -> Vec<Capped> {
    if model.is_empty() {
        // A pattern that fits everything fits no model as well.
        capped.retain(|capped| !matches!(capped.scope, Scope::Model(_)));
    }
    capped
}

fn only(config: &Config, scope: &Scope) -> Vec<Capped> {
    let policy = config.policy_of(scope).cloned();
    policy.map(|policy| Capped { scope: scope.clone(), policy }).into_iter().collect()
}
