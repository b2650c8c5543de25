//! What caps have counted, read from the ledger at a start.
//!
//! Only the part of the journal is read that some window still counts.
//!
//! Invariant: what is counted here is what was counted before the process ended, and requests without an entry count at
//! their quote.

use super::local::Local;
use crate::config::Config;
use crate::domain::account::Scope;
use crate::domain::adjustment::{Adjustment, Direction};
use crate::domain::cap::Capped;
use crate::domain::ids::RequestId;
use crate::domain::money::Usd;
use crate::store::{Journal, ReadError, Reader, Record, Recovered, Unsettled};

/// A clock may be set back by so much, and an old window must still be known: milliseconds.
const LOOK_BACK_MS: u64 = 2 * 86_400_000;

/// Counts everything that caps of `config` count at `now_ms`.
pub(super) fn rebuild(config: &Config, recovered: &Recovered, now_ms: u64) -> Result<Local, ReadError> {
    let local = empty(config);
    recovered.top_ups.iter().for_each(|(scope, amount)| local.top_up(scope, *amount));
    if config.caps.is_empty() {
        return Ok(local);
    }
    for located in Reader::open(&config.store.path).range(from_ms(&local, config, now_ms), u64::MAX)? {
        count(&local, config, located?.record);
    }
    for request in &recovered.unfinished {
        for (open, close) in &request.attempts {
            let capped = config.capped(&open.account, &open.model);
            let cost = close.as_ref().map_or(open.quote, |close| close.cost);
            local.post(&capped, open.at_ms, cost.unwrap_or_default(), Direction::Charge);
        }
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
pub(super) fn count(local: &Local, config: &Config, record: Record) {
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
        Record::Adjustment(adjustment) => adjust(local, config, &adjustment),
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
    let mut capped = config.capped(&adjustment.account, &adjustment.model);
    if adjustment.model.is_empty() {
        // A pattern that fits everything fits no model as well.
        capped.retain(|capped| !matches!(capped.scope, Scope::Model(_)));
    }
    // Money that is given back for a request makes room in the window that the request took it from, and in no other.
    let at_ms = adjustment.request.map_or(adjustment.at_ms, RequestId::at_ms);
    local.post(&capped, at_ms, adjustment.amount, adjustment.direction);
}

fn only(config: &Config, scope: &Scope) -> Vec<Capped> {
    let policy = config.policy_of(scope).cloned();
    policy.map(|policy| Capped { scope: scope.clone(), policy }).into_iter().collect()
}
