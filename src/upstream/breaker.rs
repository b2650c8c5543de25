//! [`Breakers`]: which models of an upstream fail so often that nobody is sent there for a while.
//!
//! A breaker opens when enough attempts within a window have failed and at least half of them have. When it has been
//! open for its time, single attempts are let through: one that is answered closes it, one that fails opens it again.
//! A rate limit is no failure: the upstream is well.
//!
//! Invariant: as long as nothing fails, a request reads one number here and takes no lock.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::config::Breaking;

/// Parts of a window.
const PARTS: usize = 10;

/// Attempts that may find out at once whether an upstream is back.
const PROBES_MAX: u32 = 1;

/// Models that are told apart; clients name them. Those beyond share one breaker.
const MODELS_MAX: usize = 1_000;

/// How long to wait for what another's probe will find out, microseconds.
const PROBE_WAIT_US: u64 = 1_000_000;

/// The breakers of one upstream.
#[derive(Debug)]
pub struct Breakers {
    upstream: Arc<str>,
    policy: Breaking,
    /// Models of which something has failed lately.
    troubled: AtomicUsize,
    opened: AtomicU64,
    models: Mutex<HashMap<Arc<str>, Breaker>>,
}

/// Leave to find out whether an upstream is back. Dropped, somebody else may.
#[derive(Debug)]
pub struct Probe {
    breakers: Arc<Breakers>,
    model: Arc<str>,
}

/// What an attempt says of its upstream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Health {
    /// It answered.
    Well,
    /// It did not, or with an error of its own.
    Failing,
}

/// How a breaker stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// Something has failed, not enough to stop.
    Closed,
    /// Nobody is let through.
    Open,
    /// Single attempts are let through.
    HalfOpen,
}

#[derive(Debug, Default)]
struct Breaker {
    parts: [Part; PARTS],
    /// The number of the part that was counted in last.
    latest: u64,
    open_until_us: Option<u64>,
    probes: u32,
}

#[derive(Clone, Copy, Debug, Default)]
struct Part {
    well: u32,
    failing: u32,
}

impl Breakers {
    /// Breakers of the upstream called `upstream`, all closed.
    #[must_use]
    pub fn new(upstream: Arc<str>, policy: Breaking) -> Self {
        let (troubled, opened) = (AtomicUsize::new(0), AtomicU64::new(0));
        Self { upstream, policy, troubled, opened, models: Mutex::default() }
    }

    /// Whether an attempt may be made at `now_us`, and whether it is a probe.
    ///
    /// # Errors
    /// The breaker is open; in how many microseconds asking again makes sense.
    pub fn ask(self: &Arc<Self>, model: &Arc<str>, now_us: u64) -> Result<Option<Probe>, u64> {
        if self.troubled.load(Ordering::Relaxed) == 0 {
            return Ok(None);
        }
        let mut models = self.lock();
        let Some(breaker) = models.get_mut(&**model) else { return Ok(None) };
        match breaker.open_until_us {
            None => Ok(None),
            Some(until_us) if now_us < until_us => Err(until_us - now_us),
            Some(_) if breaker.probes >= PROBES_MAX => Err(PROBE_WAIT_US),
            Some(_) => {
                breaker.probes += 1;
                Ok(Some(Probe { breakers: self.clone(), model: model.clone() }))
            }
        }
    }

    /// Whether an attempt may be made at `now_us`; who asks makes none.
    #[must_use]
    pub fn lets_through(&self, model: &str, now_us: u64) -> bool {
        if self.troubled.load(Ordering::Relaxed) == 0 {
            return true;
        }
        let models = self.lock();
        let open_until_us = models.get(model).and_then(|breaker| breaker.open_until_us);
        open_until_us.is_none_or(|until_us| until_us <= now_us)
    }

    /// Counts how an attempt went that has ended, or has been answered, at `now_us`.
    pub fn note(&self, model: &Arc<str>, health: Health, now_us: u64) {
        let is_quiet = self.troubled.load(Ordering::Relaxed) == 0;
        if self.policy.failures == 0 || (is_quiet && health == Health::Well) {
            return;
        }
        let mut models = self.lock();
        let shared = models.len() >= MODELS_MAX && !models.contains_key(model);
        let model = if shared { Arc::default() } else { model.clone() };
        match health {
            Health::Well => {
                let Some(breaker) = models.get_mut(&model) else { return };
                if breaker.is_well(now_us, &self.policy) {
                    let was_open = models.remove(&model).is_some_and(|breaker| breaker.open_until_us.is_some());
                    if was_open {
                        tracing::info!(upstream = %self.upstream, model = %model, "the upstream answers again");
                    }
                }
            }
            Health::Failing => {
                let opens = models.entry(model.clone()).or_default().fail(now_us, &self.policy);
                if opens {
                    self.opened.fetch_add(1, Ordering::Relaxed);
                    let cooldown_s = self.policy.cooldown.as_secs();
                    tracing::warn!(upstream = %self.upstream, model = %model, cooldown_s, "the upstream fails; it is left alone");
                }
            }
        }
        self.troubled.store(models.len(), Ordering::Relaxed);
    }

    /// How often one has opened.
    #[must_use]
    pub fn opened(&self) -> u64 {
        self.opened.load(Ordering::Relaxed)
    }

    /// How each model stands of which something has failed lately, by name.
    #[must_use]
    pub fn states(&self, now_us: u64) -> Vec<(Arc<str>, State)> {
        let mut all: Vec<_> =
            self.lock().iter().map(|(model, breaker)| (model.clone(), breaker.state(now_us))).collect();
        all.sort_by(|a, b| a.0.cmp(&b.0));
        all
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Arc<str>, Breaker>> {
        // What is poisoned holds counts that are whole after each step.
        self.models.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Breaker {
    /// Counts an answer; true if nothing is left to be remembered.
    fn is_well(&mut self, now_us: u64, policy: &Breaking) -> bool {
        if let Some(until_us) = self.open_until_us {
            // What was sent before it opened proves nothing.
            return now_us >= until_us;
        }
        self.part(now_us, policy).well += 1;
        self.parts.iter().all(|part| part.failing == 0)
    }

    /// Counts a failure; true if that opens it.
    fn fail(&mut self, now_us: u64, policy: &Breaking) -> bool {
        if self.open_until_us.is_some_and(|until_us| now_us < until_us) {
            return false;
        }
        let part = self.part(now_us, policy);
        part.failing += 1;
        let (well, failing) =
            self.parts.iter().fold((0, 0), |(well, failing), part| (well + part.well, failing + part.failing));
        let opens = self.open_until_us.is_some() || (failing >= policy.failures && failing >= well);
        if opens {
            self.open_until_us = Some(now_us.saturating_add(micros(policy.cooldown)));
            self.parts = Default::default();
        }
        opens
    }

    /// The part of the window that `now_us` lies in; those that are over are forgotten.
    fn part(&mut self, now_us: u64, policy: &Breaking) -> &mut Part {
        let number = now_us / (micros(policy.window) / PARTS as u64).max(1);
        let over = number.saturating_sub(self.latest).min(PARTS as u64);
        for passed in 0..over {
            self.parts[index(number - passed)] = Part::default();
        }
        self.latest = self.latest.max(number);
        &mut self.parts[index(self.latest)]
    }

    const fn state(&self, now_us: u64) -> State {
        match self.open_until_us {
            None => State::Closed,
            Some(until_us) if now_us < until_us => State::Open,
            Some(_) => State::HalfOpen,
        }
    }
}

impl State {
    /// The word in `/readyz`.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Closed => "closed",
            Self::Open => "open",
            Self::HalfOpen => "half_open",
        }
    }
}

impl Drop for Probe {
    fn drop(&mut self) {
        if let Some(breaker) = self.breakers.lock().get_mut(&self.model) {
            breaker.probes = breaker.probes.saturating_sub(1);
        }
    }
}

fn index(number: u64) -> usize {
    usize::try_from(number % PARTS as u64).unwrap_or(0)
}

fn micros(time: std::time::Duration) -> u64 {
    u64::try_from(time.as_micros()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    const SECOND: u64 = 1_000_000;

    fn breakers() -> Arc<Breakers> {
        let policy = Breaking { failures: 5, window: Duration::from_secs(30), cooldown: Duration::from_secs(60) };
        Arc::new(Breakers::new("u".into(), policy))
    }

    fn fail(breakers: &Breakers, model: &Arc<str>, times: u64, at_us: u64) {
        (0..times).for_each(|_| breakers.note(model, Health::Failing, at_us));
    }

    #[test]
    fn five_failures_open_it_and_one_probe_at_a_time_closes_it() {
        let (breakers, model): (_, Arc<str>) = (breakers(), "m".into());
        let at = 1_000 * SECOND;
        fail(&breakers, &model, 4, at);
        assert!(breakers.ask(&model, at).unwrap().is_none());
        fail(&breakers, &model, 1, at + SECOND);
        assert_eq!(breakers.ask(&model, at + SECOND).unwrap_err(), 60 * SECOND);
        assert!(breakers.ask(&"other".into(), at + SECOND).unwrap().is_none());
        // A late answer of an attempt that left before proves nothing.
        breakers.note(&model, Health::Well, at + 2 * SECOND);
        assert_eq!(breakers.states(at + 2 * SECOND), [(model.clone(), State::Open)]);
        let later = at + 61 * SECOND;
        assert_eq!(breakers.states(later), [(model.clone(), State::HalfOpen)]);
        let probe = breakers.ask(&model, later).unwrap().unwrap();
        assert!(breakers.ask(&model, later).is_err());
        drop(probe);
        let probe = breakers.ask(&model, later).unwrap().unwrap();
        fail(&breakers, &model, 1, later);
        drop(probe);
        assert_eq!((breakers.ask(&model, later).unwrap_err(), breakers.opened()), (60 * SECOND, 2));
        let last = later + 60 * SECOND;
        let probe = breakers.ask(&model, last).unwrap().unwrap();
        breakers.note(&model, Health::Well, last);
        drop(probe);
        assert!(breakers.states(last).is_empty() && breakers.ask(&model, last).unwrap().is_none());
    }

    #[test]
    fn failures_that_are_old_or_few_among_many_do_not() {
        let (breakers, model): (_, Arc<str>) = (breakers(), "m".into());
        for step in 0..20 {
            fail(&breakers, &model, 1, step * 8 * SECOND);
        }
        assert_eq!(breakers.opened(), 0, "four failures within any 30 seconds");
        fail(&breakers, &model, 1, 1_000 * SECOND);
        (0..60).for_each(|_| breakers.note(&model, Health::Well, 1_000 * SECOND));
        fail(&breakers, &model, 50, 1_001 * SECOND);
        assert_eq!(breakers.opened(), 0, "51 of 111");
        fail(&breakers, &model, 10, 1_001 * SECOND);
        assert_eq!(breakers.opened(), 1);
    }

    #[test]
    fn names_that_clients_make_up_take_bounded_memory() {
        let breakers = breakers();
        for number in 0..3_000 {
            fail(&breakers, &number.to_string().into(), 1, SECOND);
        }
        assert!(breakers.states(SECOND).len() <= MODELS_MAX + 1);
    }
}
