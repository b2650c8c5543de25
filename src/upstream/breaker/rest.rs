//! [`Rest`]: the time in which a model is left alone, and the single attempts meanwhile.
//!
//! Invariant: an attempt of which nothing is heard keeps nobody from the next one for longer than the first rest.

use super::{Need, micros};
use crate::config::Breaking;

/// The first rest, and the time that a probe has to tell something, as a part of the cooldown.
const FIRST_REST: u64 = 12;

/// The rest between two attempts of those who have nobody else to ask, as a part of the cooldown.
const LAST_RESORT: u64 = 60;

/// How long to wait for what another's probe will find out, microseconds.
pub(super) const PROBE_WAIT_US: u64 = 1_000_000;

/// An open breaker.
#[derive(Debug)]
pub(super) struct Rest {
    pub(super) since_us: u64,
    /// How long this rest is, before chance shortens it.
    long_us: u64,
    /// When it is over.
    until_us: u64,
    /// When it was last tried, or failed.
    tried_us: u64,
    /// When those probes were sent of which nothing is known yet.
    probes: Vec<u64>,
}

/// What is remembered of the rests of a breaker that has closed: one that opens again soon goes on where it was.
#[derive(Debug)]
pub(super) struct Past {
    long_us: u64,
    until_us: u64,
}

impl Rest {
    pub(super) fn begin(past: Option<&Past>, now_us: u64, policy: &Breaking) -> Self {
        let long_us = match past {
            Some(past) if !past.is_over(now_us) => doubled(past.long_us, policy),
            Some(_) | None => first_us(policy),
        };
        let until_us = now_us.saturating_add(shortened(long_us, now_us));
        Self { since_us: now_us, long_us, until_us, tried_us: now_us, probes: Vec::new() }
    }

    /// What is remembered of it.
    pub(super) fn past(&self, now_us: u64, policy: &Breaking) -> Past {
        Past { long_us: self.long_us, until_us: now_us.saturating_add(micros(policy.cooldown)) }
    }

    pub(super) const fn is_over(&self, now_us: u64) -> bool {
        self.until_us <= now_us
    }

    /// Sends a probe.
    ///
    /// # Errors
    /// It is too early; in how many microseconds asking again makes sense.
    pub(super) fn try_out(&mut self, need: Need, now_us: u64, policy: &Breaking) -> Result<(), u64> {
        self.expire(now_us, policy);
        let due_us = self.due_us(need, policy);
        if now_us < due_us {
            return Err(due_us - now_us);
        }
        if self.probes.len() >= need.probes_max() {
            return Err(PROBE_WAIT_US);
        }
        self.tried_us = now_us;
        self.probes.push(now_us);
        Ok(())
    }

    /// The probe that was sent at `sent_us` has failed. One that is not waited for any more has counted already.
    pub(super) fn fail(&mut self, sent_us: u64, now_us: u64, policy: &Breaking) {
        if self.forget(sent_us) {
            self.go_on(now_us, policy);
        }
    }

    /// The probe that was sent at `sent_us` is not waited for; false if it was not anyway.
    pub(super) fn forget(&mut self, sent_us: u64) -> bool {
        let place = self.probes.iter().position(|sent| *sent == sent_us);
        place.map(|place| self.probes.swap_remove(place)).is_some()
    }

    /// Probes that have told nothing for too long have failed, as if at once: so that one which hangs puts off the
    /// recovery by no more than any other failure. What they tell later still proves that the upstream is well.
    fn expire(&mut self, now_us: u64, policy: &Breaking) {
        let is_late = |sent_us: &u64| sent_us.saturating_add(first_us(policy)) <= now_us;
        while let Some(sent_us) = self.probes.iter().copied().find(is_late) {
            self.fail(sent_us, sent_us, policy);
        }
    }

    /// An attempt has failed: the next rest is twice as long, if this one was over.
    fn go_on(&mut self, at_us: u64, policy: &Breaking) {
        self.tried_us = self.tried_us.max(at_us);
        if self.is_over(at_us) {
            self.long_us = doubled(self.long_us, policy);
            self.until_us = at_us.saturating_add(shortened(self.long_us, at_us));
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

impl Past {
    pub(super) const fn is_over(&self, now_us: u64) -> bool {
        self.until_us <= now_us
    }
}

impl Need {
    /// Attempts that may find out at once whether an upstream is back.
    const fn probes_max(self) -> usize {
        match self {
            Self::OneOfSeveral => 1,
            // One that hangs, or writes for long, does not keep the others from an upstream that is back.
            Self::LastResort => 3,
        }
    }
}

/// The first rest.
pub(super) fn first_us(policy: &Breaking) -> u64 {
    (micros(policy.cooldown) / FIRST_REST).max(1)
}

fn doubled(long_us: u64, policy: &Breaking) -> u64 {
    long_us.saturating_mul(2).min(micros(policy.cooldown))
}

/// Up to a quarter less, so that those who began to wait together do not all come back at once.
fn shortened(long_us: u64, now_us: u64) -> u64 {
    // The bits of the moment are chance enough (the multiplier is 2^64 divided by the golden ratio).
    let chance = now_us.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 32;
    long_us - chance % (long_us / 4).max(1)
}
