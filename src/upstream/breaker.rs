//! [`Breakers`]: which models of an upstream fail so often that nobody is sent there for a while.
//!
//! A breaker opens when enough attempts within a window have failed and at least half of them have, or twice as many in a row. While it is open, single
//! attempts find out whether the upstream is back: one whose answer ends well, or flows for a while, closes it. The rests between them begin short and double up
//! to the cooldown, so that a short outage is noticed to be over within seconds, and a long one costs hardly any attempt. Whoever has
//! nobody else to ask waits a sixtieth of the cooldown at the most: to be refused is no better for it than to fail.
//! A rate limit is no failure: the upstream is well.
//!
//! Invariant: as long as nothing fails, a request reads one number here and takes no lock.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::config::Breaking;
use crate::domain::operation::Operation;

mod rest;
#[cfg(test)]
mod tests;
mod window;

use rest::{Past, Rest};
use window::Window;

/// Models that are told apart; clients name them. Those beyond share one breaker.
const MODELS_MAX: usize = 1_000;

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

/// What is asked of an upstream, as breakers tell it apart: a model, or an operation that names none.
#[derive(Clone, Copy, Debug)]
pub struct Topic<'a> {
    /// The model; empty if none is named.
    pub model: &'a Arc<str>,
    /// What is done with it.
    pub operation: Operation,
}

/// Leave to find out whether an upstream is back. Dropped, or without news for too long, somebody else may.
#[derive(Debug)]
pub struct Probe {
    breakers: Arc<Breakers>,
    name: Arc<str>,
    /// When it was given, which no other probe of the same rest was.
    sent_us: u64,
    /// When its answer began.
    answered_us: Option<u64>,
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
    /// It began to answer, which was counted, and failed then.
    Relapsed,
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
    window: Window,
    /// It is open.
    rest: Option<Rest>,
    /// How long it was left alone when it was open last.
    past: Option<Past>,
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
    pub fn ask(self: &Arc<Self>, topic: Topic<'_>, need: Need, now_us: u64) -> Result<Option<Probe>, u64> {
        if self.troubled.load(Ordering::Relaxed) == 0 {
            return Ok(None);
        }
        let mut models = self.lock();
        let name = name_in(&models, topic);
        let Some(breaker) = models.get_mut(&name) else { return Ok(None) };
        let Some(rest) = &mut breaker.rest else { return Ok(None) };
        rest.try_out(need, now_us, &self.policy)?;
        Ok(Some(Probe { breakers: self.clone(), name, sent_us: now_us, answered_us: None }))
    }

    /// Whether an attempt may be made at `now_us`; who asks makes none.
    #[must_use]
    pub fn lets_through(&self, model: &str, now_us: u64) -> bool {
        if self.troubled.load(Ordering::Relaxed) == 0 {
            return true;
        }
        let models = self.lock();
        let rest = models.get(model).and_then(|breaker| breaker.rest.as_ref());
        rest.is_none_or(|rest| rest.is_over(now_us))
    }

    /// Counts how an attempt went that has ended, or has been answered, at `now_us`.
    pub fn note(&self, topic: Topic<'_>, health: Health, probe: Option<&Probe>, now_us: u64) {
        let is_quiet = self.troubled.load(Ordering::Relaxed) == 0;
        if self.policy.failures == 0 || (is_quiet && health == Health::Well) {
            return;
        }
        let mut models = self.lock();
        if health != Health::Well && models.len() >= MODELS_MAX {
            models.retain(|_, breaker| breaker.matters(now_us, &self.policy));
        }
        let name = probe.map_or_else(|| name_in(&models, topic), |probe| probe.name.clone());
        match health {
            Health::Well => self.note_well(&mut models, &name, probe, now_us),
            Health::Failing | Health::Relapsed => self.note_failing(&mut models, &name, health, probe, now_us),
        }
        self.troubled.store(models.len(), Ordering::Relaxed);
    }

    fn note_well(&self, models: &mut Models, name: &Arc<str>, probe: Option<&Probe>, now_us: u64) {
        let Some(breaker) = models.get_mut(name) else { return };
        let Some(rest) = &breaker.rest else {
            breaker.window.count(Health::Well, now_us, &self.policy);
            if !breaker.matters(now_us, &self.policy) {
                models.remove(name);
            }
            return;
        };
        // What was sent before it opened proves nothing.
        if probe.is_some_and(|probe| probe.sent_us >= rest.since_us) {
            let after_s = now_us.saturating_sub(rest.since_us) / 1_000_000;
            *breaker = Breaker { past: Some(rest.past(now_us, &self.policy)), ..Breaker::default() };
            tracing::info!(upstream = %self.upstream, model = %name, after_s, "the upstream answers again");
        }
    }

    fn note_failing(&self, models: &mut Models, name: &Arc<str>, health: Health, probe: Option<&Probe>, now_us: u64) {
        let breaker = models.entry(name.clone()).or_default();
        if let Some(rest) = &mut breaker.rest {
            probe.iter().for_each(|probe| rest.fail(probe.sent_us, now_us, &self.policy));
        } else if breaker.fail(health, now_us, &self.policy) {
            self.opened.fetch_add(1, Ordering::Relaxed);
            tracing::warn!(upstream = %self.upstream, model = %name, "the upstream fails; it is left alone");
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

impl Topic<'_> {
    fn name(self) -> Arc<str> {
        if self.model.is_empty() { self.operation.name().into() } else { self.model.clone() }
    }
}

impl Breaker {
    /// Counts a failure; true if that opens it.
    fn fail(&mut self, health: Health, now_us: u64, policy: &Breaking) -> bool {
        self.window.count(health, now_us, policy);
        let opens = self.window.is_bad(policy);
        if opens {
            let rest = Rest::begin(self.past.as_ref(), now_us, policy);
            *self = Self { rest: Some(rest), ..Self::default() };
        }
        opens
    }

    /// Whether anything of it still counts.
    fn matters(&mut self, now_us: u64, policy: &Breaking) -> bool {
        self.past.take_if(|past| past.is_over(now_us));
        self.rest.is_some() || self.past.is_some() || self.window.has_failures(now_us, policy)
    }

    fn state(&self, now_us: u64) -> State {
        match &self.rest {
            None => State::Closed,
            Some(rest) if rest.is_over(now_us) => State::HalfOpen,
            Some(_) => State::Open,
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

impl Probe {
    /// A good answer has begun, which proves nothing yet: what breaks off does so behind its head.
    pub const fn note_answer(&mut self, now_us: u64) {
        self.answered_us = Some(now_us);
    }

    /// Whether the answer has flowed for so long that the upstream is well, however it ends.
    #[must_use]
    pub fn has_flowed(&self, now_us: u64) -> bool {
        let enough_us = rest::first_us(&self.breakers.policy);
        self.answered_us.is_some_and(|answered_us| now_us.saturating_sub(answered_us) >= enough_us)
    }
}

impl Drop for Probe {
    fn drop(&mut self) {
        let mut models = self.breakers.lock();
        if let Some(rest) = models.get_mut(&self.name).and_then(|breaker| breaker.rest.as_mut()) {
            rest.forget(self.sent_us);
        }
    }
}

/// The name under which `topic` is counted.
fn name_in(models: &Models, topic: Topic<'_>) -> Arc<str> {
    let name = topic.name();
    let is_shared = models.len() >= MODELS_MAX && !models.contains_key(&name);
    if is_shared { Arc::default() } else { name }
}

fn micros(time: std::time::Duration) -> u64 {
    u64::try_from(time.as_micros()).unwrap_or(u64::MAX)
}
