//! Health: what an attempt says of its upstream, for those who come after it.
//!
//! The head of a good answer says that the upstream is well, and what fails behind it takes that back. A probe proves nothing by its
//! head: it has to end well, or to flow for a while, since upstreams that cut their streams begin all of them.
//!
//! Invariant: an attempt is counted once, whatever becomes of it and whoever still waits for it.

use super::end::End;
use super::pricing::Pricing;
use crate::protocol::facts::Facts;
use crate::protocol::unwell::{is_unwell, is_unwell_status};
use crate::upstream::breaker::{Health, Probe, Topic};

/// What an attempt has said so far.
#[derive(Debug, Default)]
pub(super) struct Word {
    /// Leave to find out whether the upstream is back.
    pub(super) probe: Option<Probe>,
    /// Whether it says nothing of how well the upstream is.
    pub(super) is_kept_from_breakers: bool,
    said: Option<Health>,
}

impl Word {
    /// The upstream has answered with this status.
    pub(super) fn head(&mut self, pricing: &Pricing, status: u16, now_us: u64) {
        match &mut self.probe {
            Some(probe) if status < 300 => probe.note_answer(now_us),
            // That a caller asks too much or too often is no fault of the upstream.
            Some(_) | None if is_unwell_status(status) => self.say(pricing, Health::Failing, now_us),
            Some(_) | None => self.say(pricing, Health::Well, now_us),
        }
    }

    /// A piece of the answer's body has come.
    pub(super) fn piece(&mut self, pricing: &Pricing, now_us: u64) {
        if self.probe.as_ref().is_some_and(|probe| probe.has_flowed(now_us)) {
            self.say(pricing, Health::Well, now_us);
        }
    }

    /// The upstream has failed, whatever else becomes of the attempt.
    pub(super) fn fail(&mut self, pricing: &Pricing, now_us: u64) {
        match self.said {
            None => self.say(pricing, Health::Failing, now_us),
            Some(Health::Well) => self.say(pricing, Health::Relapsed, now_us),
            Some(Health::Failing | Health::Relapsed) => {}
        }
    }

    /// The attempt has ended, whose answer had this status, if any.
    pub(super) fn end(&mut self, pricing: &Pricing, end: End, status: u16, facts: &Facts, now_us: impl Fn() -> u64) {
        let was_good = (200..300).contains(&status);
        let has_unwell_error = was_good && facts.error.as_deref().is_some_and(is_unwell);
        if matches!(end, End::BrokenOff | End::Silent | End::Unreachable) || has_unwell_error {
            return self.fail(pricing, now_us());
        }
        // A client that left has been read for, and the answer may have come to its end.
        let is_whole = end == End::Complete || (end == End::ClientLeft && facts.terminal) || end == End::OutOfMoney;
        if self.probe.is_some() && was_good && is_whole {
            self.say(pricing, Health::Well, now_us());
        }
    }

    fn say(&mut self, pricing: &Pricing, health: Health, now_us: u64) {
        let probe = self.probe.take();
        self.said = Some(health);
        if !self.is_kept_from_breakers {
            let topic = Topic { model: &pricing.model, operation: pricing.operation };
            pricing.provider.breakers.note(topic, health, probe.as_ref(), now_us);
        }
    }
}
