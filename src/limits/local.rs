//! [`Local`]: the tallies of all scopes under one short lock.
//!
//! Scopes that the config does not name can be forged: there are at most [`UNNAMED_MAX`] of them, what has nothing left
//! to count makes room for others, and those that find none share one tally for their kind.
//!
//! Invariant: all limits of a request are checked before one is taken from, within one locking.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::grant::Grant;
use super::tally::{Blocked, Reserved, Tally};
use super::{Denied, Need};
use crate::clock::Clock;
use crate::config::limits::{Parties, Party};
use crate::domain::account::Scope;
use crate::domain::limit::{Level, Limited, Standing};

/// Scopes that the config does not name and that are told apart.
pub const UNNAMED_MAX: usize = 10_000;

/// How often a full table is searched for tallies that count nothing any more.
const SWEEP_US: u64 = 1_000_000;

/// What those share who find no place.
const OTHERS: &str = "(others)";

/// Counts in this process.
#[derive(Debug)]
pub struct Local {
    clock: Clock,
    table: Mutex<Table>,
}

/// The tallies, by scope. A tally's number stays its own while it has a request in flight.
#[derive(Debug, Default)]
struct Table {
    numbers: HashMap<Scope, usize>,
    tallies: Vec<Tally>,
    free: Vec<usize>,
    unnamed: usize,
    swept_us: u64,
}

/// What a request has taken of one party's limits.
#[derive(Clone, Copy, Debug)]
pub(super) struct Share {
    number: usize,
    reserved: Option<Reserved>,
}

impl Local {
    pub(super) fn new(clock: Clock) -> Self {
        Self { clock, table: Mutex::default() }
    }

    pub(super) fn admit(self: &Arc<Self>, parties: &Parties, need: Need) -> Result<(Grant, Standing), Denied> {
        never(parties, need)?;
        let mut shares = [None; 4];
        if parties.iter().all(Option::is_none) {
            return Ok((Grant::new(self.clone(), shares), Standing::default()));
        }
        let mut table = self.table();
        // Read under the lock, so that it does not run backwards within a window.
        let now_us = self.clock.ticks_us();
        let numbers = parties.each_ref().map(|party| party.as_ref().map(|party| table.number(party, now_us)));
        let met = || parties.iter().flatten().zip(numbers.into_iter().flatten());
        let blocked = met()
            .filter_map(|(party, number)| Some((party, table.tallies[number].blocked(&party.limits, need, now_us)?)));
        if let Some((party, blocked)) = blocked.max_by_key(|(_, blocked)| blocked.wait_us) {
            let standing = table.standing(met(), need, now_us);
            return Err(later(party, blocked, standing));
        }
        for (share, (party, number)) in shares.iter_mut().zip(met()) {
            *share = Some(Share { number, reserved: table.tallies[number].take(&party.limits, need, now_us) });
        }
        let standing = table.standing(met(), need, now_us);
        drop(table);
        Ok((Grant::new(self.clone(), shares), standing))
    }

    /// Counts a request that was admitted before this process began.
    pub(super) fn recall(&self, parties: &Parties, age_us: u64) {
        let mut table = self.table();
        let now_us = self.clock.ticks_us();
        for party in parties.iter().flatten().filter(|party| party.limits.requests_per_day.is_some()) {
            let number = table.number(party, now_us);
            table.tallies[number].recall(now_us.saturating_sub(age_us));
        }
    }

    /// How each limit of the parties stands.
    pub(super) fn levels(&self, parties: &Parties) -> Vec<(Scope, Box<str>, Level)> {
        let (mut table, mut all) = (self.table(), Vec::new());
        let now_us = self.clock.ticks_us();
        for party in parties.iter().flatten() {
            let fresh = Tally::new(true);
            let tally = match table.numbers.get(&party.scope).copied() {
                Some(number) => {
                    table.tallies[number].turn(now_us);
                    &table.tallies[number]
                }
                None => &fresh,
            };
            let levels = tally.levels(&party.limits, now_us).into_iter();
            all.extend(levels.map(|(name, level)| (party.scope.clone(), name, level)));
        }
        all
    }

    /// Ends a request that used so many of the tokens it had reserved.
    pub(super) fn give_back(&self, shares: [Option<Share>; 4], used: impl Fn(&Reserved) -> u64) {
        let mut table = self.table();
        let now_us = self.clock.ticks_us();
        for Share { number, reserved } in shares.into_iter().flatten() {
            let tally = &mut table.tallies[number];
            tally.in_flight -= 1;
            if let Some(reserved) = reserved {
                tally.correct(reserved, used(&reserved), now_us);
            }
        }
    }

    fn table(&self) -> MutexGuard<'_, Table> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Table {
    /// The number of the party's tally, in which what is over is forgotten.
    fn number(&mut self, party: &Party, now_us: u64) -> usize {
        let number = match self.numbers.get(&party.scope).copied() {
            Some(number) => number,
            None if party.is_named || self.has_room(now_us) => self.open(party.scope.clone(), party.is_named),
            None => {
                let others = others(&party.scope);
                match self.numbers.get(&others).copied() {
                    Some(number) => number,
                    None => self.open(others, true),
                }
            }
        };
        self.tallies[number].turn(now_us);
        number
    }

    fn open(&mut self, scope: Scope, is_named: bool) -> usize {
        self.unnamed += usize::from(!is_named);
        let tally = Tally::new(is_named);
        let number = match self.free.pop() {
            Some(number) => {
                self.tallies[number] = tally;
                number
            }
            None => {
                self.tallies.push(tally);
                self.tallies.len() - 1
            }
        };
        self.numbers.insert(scope, number);
        number
    }

    /// Whether one more unnamed scope can be told apart; makes room where that is possible.
    fn has_room(&mut self, now_us: u64) -> bool {
        if self.unnamed >= UNNAMED_MAX && now_us >= self.swept_us + SWEEP_US {
            self.swept_us = now_us;
            let Self { numbers, tallies, free, unnamed, .. } = self;
            numbers.retain(|_, number| {
                let tally = &mut tallies[*number];
                tally.turn(now_us);
                let stays = tally.is_named || !tally.is_idle();
                if !stays {
                    *unnamed -= 1;
                    free.push(*number);
                }
                stays
            });
        }
        self.unnamed < UNNAMED_MAX
    }

    fn standing<'a>(&self, met: impl Iterator<Item = (&'a Party, usize)>, need: Need, now_us: u64) -> Standing {
        let mut standing = Standing::default();
        met.for_each(|(party, number)| self.tallies[number].describe(&party.limits, need, now_us, &mut standing));
        standing
    }
}

/// A prompt that alone is above a limit can never pass, so that waiting would be in vain.
fn never(parties: &Parties, need: Need) -> Result<(), Denied> {
    for party in parties.iter().flatten() {
        if let Some(limit) = party.limits.tokens_per_minute.filter(|limit| need.input_tokens > *limit) {
            return Err(Denied::Never(party.scope.clone(), limit));
        }
    }
    Ok(())
}

fn later(party: &Party, blocked: Blocked, standing: Standing) -> Denied {
    let Blocked { wait_us, name, level } = blocked;
    let wait_ms = wait_us.div_ceil(1000);
    Denied::Later(Box::new(Limited { scope: party.scope.clone(), name, level, wait_ms, standing }))
}

/// The scope of those of this kind that find no place; passed credentials and keys have one each.
fn others(scope: &Scope) -> Scope {
    match scope {
        Scope::Key(id) if id.starts_with("pass:") => Scope::Key(format!("pass:{OTHERS}").into()),
        Scope::Key(_) => Scope::Key(OTHERS.into()),
        Scope::User(_) => Scope::User(OTHERS.into()),
        Scope::Organisation | Scope::Team(_) | Scope::Model(_) | Scope::Tag(_) => scope.clone(),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU64, Ordering};

    use super::*;
    use crate::config::limits::Limits;
    use crate::domain::operation::Operation;
    use crate::domain::tokens::{Usage, UsageSource};

    const NEED: Need = Need { operation: Operation::ChatCompletions, input_tokens: 1, output_tokens: 9 };

    fn party(scope: Scope, limits: &Limits, is_named: bool) -> Option<Party> {
        Some(Party { scope, limits: Arc::new(limits.clone()), is_named })
    }

    fn forged(number: usize, limits: &Limits) -> Parties {
        [None, None, None, party(Scope::Key(format!("pass:{number:x}").into()), limits, false)]
    }

    fn local() -> (Arc<Local>, Arc<AtomicU64>) {
        let now_us = Arc::new(AtomicU64::new(1));
        (Arc::new(Local::new(Clock::Manual(now_us.clone()))), now_us)
    }

    #[test]
    fn forged_names_share_one_tally_once_the_table_is_full() {
        let (local, now_us) = local();
        let limits = Limits { requests_per_minute: Some(2), ..Limits::default() };
        for number in 0..UNNAMED_MAX {
            assert!(local.admit(&forged(number, &limits), NEED).is_ok());
        }
        let admit = |number| local.admit(&forged(number, &limits), NEED).is_ok();
        assert_eq!([UNNAMED_MAX, UNNAMED_MAX + 1, UNNAMED_MAX + 2].map(admit), [true, true, false]);
        assert!(admit(0), "those who were there have their own");
        assert_eq!(local.table().tallies.len(), UNNAMED_MAX + 1);
        now_us.fetch_add(61_000_000, Ordering::Relaxed);
        assert_eq!([UNNAMED_MAX + 2, UNNAMED_MAX + 3, UNNAMED_MAX + 4].map(admit), [true; 3]);
        assert_eq!(local.table().unnamed, 3);
        assert_eq!(local.table().tallies.len(), UNNAMED_MAX + 1, "places are used again");
    }

    #[test]
    fn all_limits_are_taken_from_or_none_and_settled_as_told() {
        let (local, now_us) = local();
        let team = Limits { tokens_per_minute: Some(100), cached_token_percent: 50, ..Limits::default() };
        let key = Limits { tokens_per_minute: Some(25), in_flight: Some(3), ..Limits::default() };
        let parties =
            [None, party(Scope::Team("t".into()), &team, true), None, party(Scope::Key("k".into()), &key, true)];
        let left = |standing: Standing| standing.tokens.map(|level| level.remaining);
        let (first, standing) = local.admit(&parties, NEED).unwrap();
        assert_eq!(left(standing), Some(15));
        let (second, standing) = local.admit(&parties, NEED).unwrap();
        assert_eq!(left(standing), Some(5));
        for _ in 0..9 {
            let Err(Denied::Later(limited)) = local.admit(&parties, NEED) else { panic!("admitted") };
            assert_eq!((&*limited.name, limited.wait_ms, limited.level.remaining), ("tokens_per_minute", 60_000, 5));
            assert_eq!(limited.scope, Scope::Key("k".into()));
        }
        drop(first);
        let usage = Usage { input: 5, cache_read: 8, output: 15, ..Usage::default() };
        second.settle(UsageSource::Reported, &usage);
        // Of the key's 25: 5 + 15, cached ones count nothing. Of the team's 100: 4 more.
        let used = |index: usize| local.table().tallies[index].in_flight;
        assert_eq!((used(0), used(1)), (0, 0));
        let only = |index: usize| std::array::from_fn(|at| parties[at].clone().filter(|_| at == index));
        let free = Need { input_tokens: 0, output_tokens: 0, ..NEED };
        assert_eq!(left(local.admit(&only(3), free).unwrap().1), Some(5));
        assert_eq!(left(local.admit(&only(1), free).unwrap().1), Some(76));
        // 10 were taken at the start, 10 and 14 more when the usage came; all of it is over a minute later.
        now_us.fetch_add(60_000_000, Ordering::Relaxed);
        assert_eq!(left(local.admit(&only(1), free).unwrap().1), Some(100));
    }

    #[test]
    fn what_nobody_knows_stays_at_its_estimate() {
        let (local, _) = local();
        let limits = Limits { tokens_per_minute: Some(100), ..Limits::default() };
        let usage = |output| Usage { output, ..Usage::default() };
        let mut expect = 100;
        for (source, usage, used) in [
            (UsageSource::None, usage(9), 0),
            (UsageSource::Assumed, usage(0), 10),
            (UsageSource::Counted, usage(900), 10),
            (UsageSource::Counted, usage(4), 4),
            (UsageSource::Reported, usage(30), 30),
        ] {
            let (grant, _) = local.admit(&forged(1, &limits), NEED).unwrap();
            grant.settle(source, &usage);
            expect -= used;
            let free = Need { input_tokens: 0, output_tokens: 0, ..NEED };
            let (_, standing) = local.admit(&forged(1, &limits), free).unwrap();
            assert_eq!(standing.tokens.map(|level| level.remaining), Some(expect), "{source:?}");
        }
        let long = Need { input_tokens: 101, ..NEED };
        let never = local.admit(&forged(1, &limits), long).map(drop);
        assert_eq!(never, Err(Denied::Never(Scope::Key("pass:1".into()), 100)));
    }
}
