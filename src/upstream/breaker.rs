//! [`Breakers`]: which models of an upstream fail so often that nobody is sent there for a while.
//!
//! A breaker opens when enough attempts within a window have failed and at least half of them have, or twice as many in a row. While it is open, single
//! attempts find out whether the upstream is back: one that is answered closes it. The rests between them begin short and double up
//! to the cooldown, so that a short outage is noticed to be over within seconds, and a long one costs hardly any attempt. Whoever has
//! nobody else to ask waits a sixtieth of the cooldown at the most: to be refused is no better for it than to fail.
//! A rate limit is no failure: the upstream is well.
//!
//! Invariant: as long as nothing fails, a request reads one number here and takes no lock.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::config::Breaking;

/// Parts of a window.
const PARTS: usize = 10;

/// The first rest, as a part of the cooldown.
const FIRST_REST: u64 = 12;

/// The rest between two attempts of those who have nobody else to ask, as a part of the cooldown.
const LAST_RESORT: u64 = 60;

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
    models: Mutex<Models>,
}

type Models = HashMap<Arc<str>, Breaker>;

/// Leave to find out whether an upstream is back. Dropped, somebody else may.
#[derive(Debug)]
pub struct Probe {
    breakers: Arc<Breakers>,
    model: Arc<str>,
}

/// Whether somebody else can be asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Need {
    /// Somebody else can, or the answer is not needed.
    OneOfSeveral,
    /// Nobody else can: the request fails otherwise.
    LastResort,
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
    /// Nobody is let through who can ask somebody else.
    Open,
    /// Single attempts are let through.
    HalfOpen,
}

#[derive(Debug, Default)]
struct Breaker {
    parts: [Part; PARTS],
    /// The number of the part that was counted in last.
    latest: u64,
    /// Failures since the last answer.
    in_a_row: u32,
    rest: Option<Rest>,
    probes: u32,
}

/// An open breaker.
#[derive(Clone, Copy, Debug)]
struct Rest {
    since_us: u64,
    /// How long this rest is, before chance shortens it.
    long_us: u64,
    /// When it is over.
    until_us: u64,
    /// When it was last tried, or failed.
    tried_us: u64,
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
    pub fn ask(self: &Arc<Self>, model: &Arc<str>, need: Need, now_us: u64) -> Result<Option<Probe>, u64> {
        if self.troubled.load(Ordering::Relaxed) == 0 {
            return Ok(None);
        }
        let mut models = self.lock();
        let model = name_in(&models, model);
        let Some(breaker) = models.get_mut(&model) else { return Ok(None) };
        let Some(rest) = &mut breaker.rest else { return Ok(None) };
        let due_us = rest.due_us(need, &self.policy);
        if now_us < due_us {
            return Err(due_us - now_us);
        }
        if breaker.probes >= need.probes_max() {
            return Err(PROBE_WAIT_US);
        }
        rest.tried_us = now_us;
        breaker.probes += 1;
        Ok(Some(Probe { breakers: self.clone(), model }))
    }

    /// Whether an attempt may be made at `now_us`; who asks makes none.
    #[must_use]
    pub fn lets_through(&self, model: &str, now_us: u64) -> bool {
        if self.troubled.load(Ordering::Relaxed) == 0 {
            return true;
        }
        let models = self.lock();
        let rest = models.get(model).and_then(|breaker| breaker.rest);
        rest.is_none_or(|rest| rest.until_us <= now_us)
    }

    /// Counts how an attempt went that has ended, or has been answered, at `now_us`.
    pub fn note(&self, model: &Arc<str>, health: Health, probe: Option<&Probe>, now_us: u64) {
        let is_quiet = self.troubled.load(Ordering::Relaxed) == 0;
        if self.policy.failures == 0 || (is_quiet && health == Health::Well) {
            return;
        }
        let mut models = self.lock();
        if health == Health::Failing && models.len() >= MODELS_MAX {
            models.retain(|_, breaker| breaker.matters(now_us, &self.policy));
        }
        let model = probe.map_or_else(|| name_in(&models, model), |probe| probe.model.clone());
        match health {
            Health::Well => self.note_well(&mut models, &model, probe, now_us),
            Health::Failing => self.note_failing(&mut models, &model, probe, now_us),
        }
        self.troubled.store(models.len(), Ordering::Relaxed);
    }

    fn note_well(&self, models: &mut Models, model: &Arc<str>, probe: Option<&Probe>, now_us: u64) {
        let Some(breaker) = models.get_mut(model) else { return };
        let Some(rest) = breaker.rest else {
            if breaker.well(now_us, &self.policy) {
                models.remove(model);
            }
            return;
        };
        // What was sent before it opened proves nothing.
        if probe.is_some() {
            models.remove(model);
            let after_s = now_us.saturating_sub(rest.since_us) / 1_000_000;
            tracing::info!(upstream = %self.upstream, model = %model, after_s, "the upstream answers again");
        }
    }

    fn note_failing(&self, models: &mut Models, model: &Arc<str>, probe: Option<&Probe>, now_us: u64) {
        let breaker = models.entry(model.clone()).or_default();
        if let Some(rest) = &mut breaker.rest {
            if probe.is_some() {
                rest.go_on(now_us, &self.policy);
            }
        } else if breaker.fail(now_us, &self.policy) {
            self.opened.fetch_add(1, Ordering::Relaxed);
            tracing::warn!(upstream = %self.upstream, model = %model, "the upstream fails; it is left alone");
        }
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

    fn lock(&self) -> MutexGuard<'_, Models> {
        // What is poisoned holds counts that are whole after each step.
        self.models.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Need {
    /// Attempts that may find out at once whether an upstream is back.
    const fn probes_max(self) -> u32 {
        match self {
            Self::OneOfSeveral => 1,
            // One that hangs, or writes for long, does not keep the others from an upstream that is back.
            Self::LastResort => 3,
        }
    }
}

impl Rest {
    fn begin(now_us: u64, policy: &Breaking) -> Self {
        let long_us = (micros(policy.cooldown) / FIRST_REST).max(1);
        Self {
            since_us: now_us,
            long_us,
            until_us: now_us.saturating_add(shortened(long_us, now_us)),
            tried_us: now_us,
        }
    }

    /// An attempt has failed: the next rest is twice as long, if this one was over.
    fn go_on(&mut self, now_us: u64, policy: &Breaking) {
        self.tried_us = now_us;
        if now_us >= self.until_us {
            self.long_us = self.long_us.saturating_mul(2).min(micros(policy.cooldown));
            self.until_us = now_us.saturating_add(shortened(self.long_us, now_us));
        }
    }

    /// When the next attempt may be made.
    fn due_us(&self, need: Need, policy: &Breaking) -> u64 {
        match need {
            Need::OneOfSeveral => self.until_us,
            Need::LastResort => {
                let soon_us = self.tried_us.saturating_add(micros(policy.cooldown) / LAST_RESORT);
                self.until_us.min(soon_us)
            }
        }
    }
}

impl Breaker {
    /// Counts an answer; true if nothing is left to be remembered.
    fn well(&mut self, now_us: u64, policy: &Breaking) -> bool {
        self.part(now_us, policy).well += 1;
        self.in_a_row = 0;
        self.parts.iter().all(|part| part.failing == 0)
    }

    /// Counts a failure; true if that opens it.
    fn fail(&mut self, now_us: u64, policy: &Breaking) -> bool {
        let part = self.part(now_us, policy);
        part.failing += 1;
        self.in_a_row += 1;
        let (well, failing) =
            self.parts.iter().fold((0, 0), |(well, failing), part| (well + part.well, failing + part.failing));
        // What went well before an outage does not put it off.
        let is_total = self.in_a_row.min(failing) / 2 >= policy.failures;
        let opens = is_total || (failing >= policy.failures && failing >= well);
        if opens {
            *self = Self { rest: Some(Rest::begin(now_us, policy)), ..Self::default() };
        }
        opens
    }

    /// Whether anything of it still counts.
    fn matters(&mut self, now_us: u64, policy: &Breaking) -> bool {
        self.part(now_us, policy);
        self.rest.is_some() || self.parts.iter().any(|part| part.failing > 0)
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

    fn state(&self, now_us: u64) -> State {
        match self.rest {
            None => State::Closed,
            Some(rest) if now_us < rest.until_us => State::Open,
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

/// The name under which `model` is counted.
fn name_in(models: &Models, model: &Arc<str>) -> Arc<str> {
    let is_shared = models.len() >= MODELS_MAX && !models.contains_key(model);
    if is_shared { Arc::default() } else { model.clone() }
}

/// Up to a quarter less, so that those who began to wait together do not all come back at once.
fn shortened(long_us: u64, now_us: u64) -> u64 {
    // The bits of the moment are chance enough (the multiplier is 2^64 divided by the golden ratio).
    let chance = now_us.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 32;
    long_us - chance % (long_us / 4).max(1)
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
        (0..times).for_each(|_| breakers.note(model, Health::Failing, None, at_us));
    }

    #[test]
    fn five_failures_open_it_and_one_probe_at_a_time_closes_it() {
        let (breakers, model): (_, Arc<str>) = (breakers(), "m".into());
        let ask = |at_us| breakers.ask(&model, Need::OneOfSeveral, at_us);
        let at = 1_000 * SECOND;
        fail(&breakers, &model, 4, at);
        assert!(ask(at).unwrap().is_none());
        fail(&breakers, &model, 1, at + SECOND);
        let wait = ask(at + SECOND).unwrap_err();
        assert!((15 * SECOND / 4..=5 * SECOND).contains(&wait), "{wait}");
        assert!(breakers.ask(&"other".into(), Need::OneOfSeveral, at + SECOND).unwrap().is_none());
        // What comes late of attempts that left before proves nothing.
        breakers.note(&model, Health::Well, None, at + 2 * SECOND);
        fail(&breakers, &model, 9, at + 2 * SECOND);
        assert_eq!(breakers.states(at + 2 * SECOND), [(model.clone(), State::Open)]);
        let later = at + 6 * SECOND;
        assert_eq!(breakers.states(later), [(model.clone(), State::HalfOpen)]);
        let probe = ask(later).unwrap().unwrap();
        assert!(ask(later).is_err());
        drop(probe);
        let probe = ask(later).unwrap().unwrap();
        breakers.note(&model, Health::Failing, Some(&probe), later);
        drop(probe);
        assert!(ask(later + 7 * SECOND).is_err());
        let last = later + 10 * SECOND;
        let probe = ask(last).unwrap().unwrap();
        breakers.note(&model, Health::Well, Some(&probe), last);
        drop(probe);
        assert!(breakers.states(last).is_empty() && ask(last).unwrap().is_none());
        assert_eq!(breakers.opened(), 1);
    }

    /// Attempts of an outage that lasts, and when it was seen to be over, in seconds after its end.
    fn outage(need: Need, seconds: u64) -> (u64, u64) {
        let (breakers, model): (_, Arc<str>) = (breakers(), "m".into());
        fail(&breakers, &model, 5, 0);
        let mut attempts = 0;
        for at_us in (0..).map(|tenth| tenth * SECOND / 10) {
            let Ok(Some(probe)) = breakers.ask(&model, need, at_us) else { continue };
            if at_us >= seconds * SECOND {
                return (attempts, at_us / SECOND - seconds);
            }
            attempts += 1;
            breakers.note(&model, Health::Failing, Some(&probe), at_us);
        }
        unreachable!()
    }

    #[test]
    fn rests_grow_with_the_outage_and_never_beyond_the_cooldown() {
        for seconds in [1, 7, 30, 67, 200, 1_000, 3_600] {
            let (attempts, late) = outage(Need::OneOfSeveral, seconds);
            assert!(late <= 60.min(5 + seconds), "{seconds}: {late}");
            assert!(attempts <= 4 + seconds / 45, "{seconds}: {attempts}");
            let (attempts, late) = outage(Need::LastResort, seconds);
            assert!(late <= 1 && attempts <= seconds + 10 + seconds / 45, "{seconds}: {attempts} {late}");
        }
    }

    #[test]
    fn an_attempt_that_hangs_keeps_no_last_resort_from_an_upstream_that_is_back() {
        let (breakers, model): (_, Arc<str>) = (breakers(), "m".into());
        fail(&breakers, &model, 5, 0);
        let ask = |second: u64| breakers.ask(&model, Need::LastResort, second * SECOND);
        let hanging = [1, 2].map(|second| ask(second).unwrap().unwrap());
        let probe = ask(3).unwrap().unwrap();
        assert_eq!(ask(4).unwrap_err(), PROBE_WAIT_US, "four at once");
        breakers.note(&model, Health::Well, Some(&probe), 4 * SECOND);
        assert!(ask(4).unwrap().is_none());
        hanging.iter().for_each(|probe| breakers.note(&model, Health::Failing, Some(probe), 5 * SECOND));
        assert_eq!(breakers.states(5 * SECOND), [(model.clone(), State::Closed)]);
    }

    #[test]
    fn failures_that_are_old_or_few_among_many_do_not() {
        let (breakers, model): (_, Arc<str>) = (breakers(), "m".into());
        for step in 0..20 {
            fail(&breakers, &model, 1, step * 8 * SECOND);
        }
        assert_eq!(breakers.opened(), 0, "four failures within any 30 seconds");
        fail(&breakers, &model, 1, 1_000 * SECOND);
        let well = |times: u64| (0..times).for_each(|_| breakers.note(&model, Health::Well, None, 1_001 * SECOND));
        well(10);
        for _ in 0..50 {
            fail(&breakers, &model, 1, 1_001 * SECOND);
            well(1);
        }
        assert_eq!(breakers.opened(), 0, "51 of 111");
        for _ in 0..5 {
            fail(&breakers, &model, 2, 1_001 * SECOND);
        }
        assert_eq!(breakers.opened(), 1, "61 of 121, and ten in a row");
    }

    #[test]
    fn a_thousand_good_answers_do_not_put_off_an_outage() {
        let (breakers, model): (_, Arc<str>) = (breakers(), "m".into());
        fail(&breakers, &model, 1, SECOND);
        (0..1_000).for_each(|_| breakers.note(&model, Health::Well, None, 2 * SECOND));
        fail(&breakers, &model, 9, 3 * SECOND);
        assert_eq!(breakers.opened(), 0);
        fail(&breakers, &model, 1, 3 * SECOND);
        assert_eq!(breakers.opened(), 1);
    }

    #[test]
    fn names_that_clients_make_up_take_bounded_memory_and_share_a_breaker() {
        let breakers = breakers();
        for number in 0..3_000 {
            fail(&breakers, &number.to_string().into(), 1, SECOND);
        }
        assert!(breakers.states(SECOND).len() <= MODELS_MAX + 1);
        assert!(breakers.ask(&"one more".into(), Need::OneOfSeveral, SECOND).is_err());
        assert!(breakers.ask(&"7".into(), Need::OneOfSeveral, SECOND).unwrap().is_none());
        // They are forgotten when their window is over.
        fail(&breakers, &"real".into(), 1, 100 * SECOND);
        assert_eq!(breakers.states(100 * SECOND).len(), 2);
    }
}
