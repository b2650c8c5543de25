//! Course: who is asked first, who is asked again, and who instead.
//!
//! Another credential of the same upstream is used where one is limited or turned down; the same upstream is asked again where
//! that may help, is allowed and fits the time; then the next candidate, whose upstream is not known to fail. Nothing is asked
//! again of which a byte has reached the client, since that is decided before its head goes out.
//!
//! Invariant: an upstream that says no is asked again within `retries` and the budget; a request's first other credential needs
//! the budget alone.
//! Invariant: what was sent and got no answer is not sent again, unless config says so: both could be billed.

use std::time::Duration;

use http::{HeaderMap, HeaderName};
use tokio::time::Instant;

use super::arrive::Arrival;
use super::flight::{Answer, Failure};
use super::route::{Candidate, Decision};
use super::settle::End;
use crate::app::App;
use crate::domain::operation::Operation;
use crate::domain::refusal::{Cause, Refusal};
use crate::drain::Phase;
use crate::protocol::again::{Advice, backoff_ms};
use crate::upstream::breaker::{Need, Probe, Topic};
use crate::upstream::credentials::{Lease, Tried};

/// An SDK's own repetitions, counted by itself (OpenAI's and Anthropic's).
const OWN_RETRIES: HeaderName = HeaderName::from_static("x-stainless-retry-count");

/// Whoever has another candidate does not wait longer than this for the same one, milliseconds.
const PATIENCE_MS: u64 = 1_000;

/// How often an upstream's time for a head all attempts have together, at an answer without another end: what follows an
/// attempt that got nothing through has its time, and so has what follows those that hang, where config lets anything follow.
const WAITS: u32 = 2;
const WAITS_UNANSWERED: u32 = 3;

/// The longest time that a body may take which is sent on as it arrives, besides the wait for its answer.
const UPLOAD_MAX: Duration = Duration::from_secs(3600);

/// How a request goes on.
pub struct Course<'d, 'a> {
    app: &'a App,
    decision: &'d Decision,
    /// The place of the candidate that is asked: 0 is the first.
    at: usize,
    /// How often it was asked again.
    retries: u32,
    /// How often of those with another credential.
    moves: u32,
    /// Its credentials that were used.
    tried: Tried,
    /// Who is asked in the place of that candidate, since a cap has no room for it.
    lowered: Option<&'d Candidate>,
    /// Whether the request can be sent a second time at all.
    is_repeatable: bool,
    /// Whether the client itself asks again.
    is_repeated: bool,
    operation: Operation,
    begun: Instant,
    /// When the last attempt was made.
    sent: Instant,
    /// When the head of an answer has to be there that has no other end, whichever attempt brings it; who is asked last may take
    /// longer for one than the first.
    head_due: Instant,
    /// How often its time for a head.
    waits: u32,
    /// When a whole answer has to be there.
    whole_due: Option<Instant>,
}

/// One attempt to come.
#[derive(Debug)]
pub struct Leg<'a> {
    /// Who is asked.
    pub candidate: &'a Candidate,
    /// How long to wait before.
    pub wait: Duration,
    /// Whether it is to find out if the upstream is back.
    pub probe: Option<Probe>,
    /// Our credential that is used, if we have one.
    pub lease: Option<Lease>,
}

impl<'d, 'a> Course<'d, 'a> {
    /// The course of a request, and its first attempt.
    ///
    /// # Errors
    /// All upstreams are known to fail.
    pub fn begin(app: &'a App, arrival: &Arrival, decision: &'d Decision) -> Result<(Self, Leg<'d>), Refusal> {
        let config = &decision.first.provider.config;
        let begun = Instant::now();
        let waits = if config.retries.unanswered { WAITS_UNANSWERED } else { WAITS };
        let mut course = Self {
            app,
            decision,
            at: 0,
            retries: 0,
            moves: 0,
            tried: Tried::default(),
            lowered: None,
            is_repeatable: !arrival.endpoint.operation.streams_body(),
            is_repeated: is_repeated(&arrival.head.headers),
            operation: arrival.endpoint.operation,
            begun,
            sent: begun,
            head_due: begun + config.first_byte_timeout * waits,
            waits,
            whole_due: None,
        };
        let leg = match course.leg(Duration::ZERO) {
            Ok(leg) => leg,
            Err(_) => match course.elsewhere() {
                Some(leg) => leg,
                None => course.as_last_resort()?,
            },
        };
        leg.candidate.provider.budget.earn();
        Ok((course, leg))
    }

    /// An attempt is made: when its answer has to be whole that may take so long, and when its head has to be there.
    pub fn set_out(&mut self, longest: Option<Duration>) -> (Option<Instant>, Instant) {
        self.sent = Instant::now();
        let due = longest.map(|longest| self.begun + longest);
        if let Some(due) = due {
            self.whole_due = Some(self.whole_due.map_or(due, |earlier| earlier.min(due)));
        }
        // What flows in as it is sent on takes its time before there can be an answer.
        let upload_max = if self.is_repeatable { Duration::ZERO } else { UPLOAD_MAX };
        let own = self.candidate().provider.config.first_byte_timeout;
        self.head_due = self.head_due.max(self.begun + own * self.waits);
        (due, (self.sent + own).min(due.unwrap_or(self.head_due)) + upload_max)
    }

    /// No attempt begins after this, and nobody is waited for.
    #[must_use]
    pub fn deadline(&self) -> Instant {
        self.whole_due.unwrap_or(self.head_due)
    }

    /// Whether nothing may be sent any more: this process ends, or there is no time left.
    #[must_use]
    pub fn end(&self, app: &App) -> Option<End> {
        if app.drain.phase() == Phase::Cutting {
            return Some(End::Cut);
        }
        (Instant::now() >= self.deadline()).then_some(End::Silent)
    }

    /// What follows an answer; nothing if the client gets it.
    pub fn after_answer(&mut self, answer: &Answer) -> Option<Leg<'d>> {
        let (status, headers) = (answer.response.status().as_u16(), answer.response.headers());
        if status < 400 {
            if self.moves > 0 {
                // To have gone elsewhere was right, and no repetition that makes an outage worse.
                self.candidate().provider.budget.give_back(self.moves);
            }
            return None;
        }
        let header = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
        if let Some(lease) = answer.bill.lease().filter(|_| matches!(status, 401 | 402 | 429)) {
            lease.note(&mut self.tried);
            let is_unwanted = self.is_repeated || header("x-should-retry") == Some("false");
            let moves_max = if is_unwanted { 1 } else { u32::MAX };
            if let Some(leg) = self.with_another_credential(moves_max) {
                return Some(leg);
            }
            if status != 429 {
                // It is ours, so that the client can do nothing about it.
                return self.after(Advice::default());
            }
        }
        let advice = Advice::of(status, self.app.clock.now_ms(), header)?;
        self.after(advice)
    }

    /// What follows an attempt without an answer.
    pub fn after_failure(&mut self, failure: &Failure) -> Option<Leg<'d>> {
        let unanswered = self.candidate().provider.config.retries.unanswered;
        let may_follow = match failure.end() {
            End::Unreachable => failure.was_sent_out(),
            End::BrokenOff | End::Silent => unanswered,
            End::Complete | End::ClientLeft | End::Withdrawn | End::Cut | End::OutOfMoney => false,
        };
        // Whoever has waited for long asks somebody else, if there is anybody.
        let same = !self.has_other() || self.sent.elapsed() < Duration::from_millis(PATIENCE_MS);
        if may_follow { self.after(Advice { same, after_ms: None }) } else { None }
    }

    /// The next candidate, where a cap has no room for this one.
    pub fn after_refusal(&mut self) -> Option<Leg<'d>> {
        self.elsewhere()
    }

    fn may_go_on(&self) -> bool {
        self.is_repeatable && self.end(self.app).is_none()
    }

    const fn has_other(&self) -> bool {
        self.at < self.decision.others.len()
    }

    /// The same candidate at once, with a credential that has not been tried and does not rest. One is another account's word
    /// and asked whoever repeats; each further one is a repetition like any other.
    fn with_another_credential(&mut self, moves_max: u32) -> Option<Leg<'d>> {
        let provider = &self.candidate().provider;
        let has_moves = self.moves == 0 || (self.moves < moves_max && self.retries < provider.config.retries.max);
        if !has_moves || !self.may_go_on() || !provider.credentials.has_choice() {
            return None;
        }
        let leg = self.leg(Duration::ZERO).ok()?;
        self.spend("credential")?;
        self.moves += 1;
        Some(leg)
    }

    /// Takes a repetition of this kind, if the budget has one left.
    fn spend(&mut self, kind: &str) -> Option<()> {
        let provider = &self.candidate().provider;
        if !provider.budget.spend() {
            self.app.metrics.note_again(&provider.config.name, "budget");
            return None;
        }
        self.retries += 1;
        self.app.metrics.note_again(&provider.config.name, kind);
        Some(())
    }

    /// A cheaper candidate in the place of the one that a cap has no room for.
    ///
    /// # Errors
    /// Its upstream is known to fail.
    pub fn lower(&mut self, candidate: &'d Candidate) -> Result<Leg<'d>, Refusal> {
        self.lowered = Some(candidate);
        self.begin_anew();
        self.leg_anyway(Duration::ZERO, Need::OneOfSeveral).map_err(down)
    }

    /// The attempt is held for.
    pub fn note_held(&self) {
        if self.lowered.is_some() && self.retries == 0 && self.tried == Tried::default() {
            self.app.bank.note_downgrade();
        }
    }

    fn after(&mut self, advice: Advice) -> Option<Leg<'d>> {
        if !self.may_go_on() {
            return None;
        }
        self.again(advice).or_else(|| self.elsewhere())
    }

    /// The same candidate once more.
    fn again(&mut self, advice: Advice) -> Option<Leg<'d>> {
        let candidate = self.candidate();
        let policy = &candidate.provider.config.retries;
        if !advice.same || self.is_repeated || self.retries >= policy.max {
            return None;
        }
        let wait_ms = advice.after_ms.unwrap_or_else(|| backoff_ms(self.retries, self.app.mint.dice()));
        let wait = Duration::from_millis(wait_ms);
        let is_late = Instant::now() + wait >= self.deadline();
        if wait > policy.wait_max || is_late || (self.has_other() && wait_ms > PATIENCE_MS) {
            return None;
        }
        let leg = self.leg_anyway(wait, Need::OneOfSeveral).ok()?;
        self.spend("retry")?;
        Some(leg)
    }

    /// The next candidate whose upstream is not known to fail.
    fn elsewhere(&mut self) -> Option<Leg<'d>> {
        while self.is_repeatable && self.at < self.decision.others.len() {
            (self.at, self.lowered) = (self.at + 1, None);
            self.begin_anew();
            if let Ok(leg) = self.leg(Duration::ZERO) {
                self.app.metrics.note_again(&leg.candidate.provider.config.name, "fallback");
                return Some(leg);
            }
        }
        None
    }

    /// Another candidate is asked.
    fn begin_anew(&mut self) {
        (self.retries, self.moves, self.tried) = (0, 0, Tried::default());
    }

    fn candidate(&self) -> &'d Candidate {
        if let Some(lowered) = self.lowered {
            return lowered;
        }
        match self.at.checked_sub(1).and_then(|at| self.decision.others.get(at)) {
            Some(other) => other,
            None => &self.decision.first,
        }
    }

    fn topic(&self) -> Topic<'d> {
        Topic { model: &self.candidate().model, operation: self.operation }
    }

    /// The candidate that comes first of those whose credentials rest, or of which one attempt may find out whether it is back,
    /// where nobody else is there.
    fn as_last_resort(&mut self) -> Result<Leg<'d>, Refusal> {
        let mut wait_us = u64::MAX;
        for at in 0..=self.decision.others.len() {
            self.at = at;
            match self.leg_anyway(Duration::ZERO, Need::LastResort) {
                Ok(leg) => return Ok(leg),
                Err(longer_us) => wait_us = wait_us.min(longer_us),
            }
        }
        Err(down(wait_us))
    }

    /// An attempt at the candidate, or in how many microseconds one makes sense.
    fn leg(&self, wait: Duration) -> Result<Leg<'d>, u64> {
        let (candidate, now_us) = (self.candidate(), self.app.clock.ticks_us());
        let credentials = &candidate.provider.credentials;
        if credentials.is_empty() {
            return self.leg_anyway(wait, Need::OneOfSeveral);
        }
        let lease = credentials.lease(&candidate.model, self.decision.turn, self.tried, now_us);
        let lease = Some(lease.ok_or_else(|| credentials.wait_us(&candidate.model, now_us))?);
        let probe = candidate.provider.breakers.ask(self.topic(), Need::OneOfSeveral, now_us)?;
        Ok(Leg { candidate, wait, probe, lease })
    }

    /// The same with a credential that rests, if all do.
    fn leg_anyway(&self, wait: Duration, need: Need) -> Result<Leg<'d>, u64> {
        let (candidate, now_us) = (self.candidate(), self.app.clock.ticks_us());
        let (model, provider) = (&candidate.model, &candidate.provider);
        let probe = provider.breakers.ask(self.topic(), need, now_us)?;
        let free = provider.credentials.lease(model, self.decision.turn, self.tried, now_us);
        let lease = free.or_else(|| provider.credentials.lease_anyway(model, now_us));
        Ok(Leg { candidate, wait, probe, lease })
    }
}

/// Whether the client's library asks again by itself.
pub fn is_repeated(headers: &HeaderMap) -> bool {
    let count = headers.get(OWN_RETRIES).and_then(|value| value.to_str().ok()?.trim().parse::<u32>().ok());
    count.is_some_and(|count| count > 0)
}

fn down(wait_us: u64) -> Refusal {
    let wait_s = u32::try_from(wait_us.div_ceil(1_000_000)).unwrap_or(u32::MAX).max(1);
    Refusal::new(Cause::UpstreamDown, "the upstream has failed too often and is left alone for a while").after(wait_s)
}
