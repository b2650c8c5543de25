//! Settle: what an attempt cost, once it is known how it ended. [`Items::owed`] is the table.
//!
//! Invariant: a bill is settled exactly once; dropped, its debt settles itself at the quote.

use std::sync::Arc;
use std::time::Duration;

use http::Response;
use hyper::body::Incoming;

pub use super::end::End;
use super::health::Word;
use super::pricing::{Owed, Pricing};
use crate::bank::Bank;
use crate::bank::booked::Claim;
use crate::bank::debt::{Closing, Debt};
use crate::bank::tab::{STATUS_CLIENT_LEFT, Tab};
use crate::domain::entry::{CacheUse, Outcome};
use crate::domain::evidence::Sign;
use crate::domain::ids::RequestId;
use crate::domain::money::Usd;
use crate::domain::operation::Operation;
use crate::domain::refusal::Refusal;
use crate::domain::tokens::{Usage, UsageSource};
use crate::protocol::facts::Facts;
use crate::protocol::meter::Seen;
use crate::protocol::sound::Form;
use crate::upstream::balance::Busy;
use crate::upstream::breaker::Probe;
use crate::upstream::credentials::Lease;

/// Prices a request by the hour in which it ends (<https://api-docs.deepseek.com/quick_start/pricing>).
const DEEPSEEK: &str = "deepseek";

/// The reason in the ledger of a stream that was cut.
const CUT: &str = "metered_cut";

/// What is owed for one attempt, and how it is priced.
///
/// It goes from hand to hand, so that it is a pointer.
#[derive(Debug)]
pub struct Bill(Box<Items>);

#[derive(Debug)]
struct Items {
    debt: Debt,
    pricing: Pricing,
    bank: Arc<Bank>,
    /// The upstream's status; 0 until there is one.
    status: u16,
    /// What it has said of its upstream's health.
    word: Word,
    /// Our credential that is used for it, if we have one.
    lease: Option<Lease>,
    _busy: Option<Busy>,
}

impl Bill {
    /// A bill for an open attempt.
    #[must_use]
    pub fn new(debt: Debt, pricing: Pricing, bank: Arc<Bank>) -> Self {
        let _busy = pricing.provider.begin();
        let (status, word, lease) = (0, Word::default(), None);
        Self(Box::new(Items { debt, pricing, bank, status, word, lease, _busy }))
    }

    /// The request is about to be sent.
    pub fn depart(&mut self) {
        self.0.debt.depart();
    }

    /// Whether the request was sent.
    #[must_use]
    pub fn has_departed(&self) -> bool {
        self.0.debt.has_departed()
    }

    /// The attempt is to find out whether the upstream is back, and is made with this credential.
    pub fn equip(&mut self, probe: Option<Probe>, lease: Option<Lease>) {
        (self.0.word.probe, self.0.lease) = (probe, lease);
    }

    /// Our credential that the attempt is made with.
    #[must_use]
    pub fn lease(&self) -> Option<&Lease> {
        self.0.lease.as_ref()
    }

    /// The upstream has answered with this head, which tells how its credential stands.
    pub fn learn(&self, head: &Response<Incoming>) {
        if let Some(lease) = &self.0.lease {
            let now = (self.0.bank.now_ms(), self.0.bank.ticks_us());
            lease.learn(&self.0.pricing.model, head.status().as_u16(), head.headers(), now);
        }
    }

    /// The attempt is on a shorter time than the upstream's own, so that missing it is no failure of the upstream.
    pub fn keep_from_breakers(&mut self) {
        self.0.word.is_kept_from_breakers = true;
    }

    /// The upstream has answered with this status.
    pub fn note_status(&mut self, status: u16) {
        let items = &mut *self.0;
        items.status = status;
        items.word.head(&items.pricing, status, items.bank.ticks_us());
        if let Some(entry) = items.debt.entry() {
            entry.status = status;
        }
    }

    /// The upstream has answered with this status after the client had left.
    pub fn note_unseen_status(&mut self, status: u16) {
        self.note_status(status);
        if let Some(entry) = self.0.debt.entry() {
            entry.status = STATUS_CLIENT_LEFT;
        }
    }

    /// The answer broke off before its head went out: the client gets this instead.
    pub fn note_refusal(&mut self, refusal: &Refusal) {
        if let Some(entry) = self.0.debt.entry() {
            entry.status = refusal.status();
        }
    }

    /// A piece of the answer's body has come.
    pub fn note_piece(&mut self) {
        let items = &mut *self.0;
        if items.word.probe.is_some() {
            items.word.piece(&items.pricing, items.bank.ticks_us());
        }
    }

    /// The upstream has failed, though the attempt ends as if its client had left.
    pub fn note_failure(&mut self) {
        let items = &mut *self.0;
        items.word.fail(&items.pricing, items.bank.ticks_us());
    }

    /// What the answer says of one that the cache has given.
    pub fn note_cache(&mut self, cache: CacheUse) {
        self.0.debt.entry().into_iter().for_each(|entry| entry.cache = cache);
    }

    /// The first byte of the answer's body has come.
    pub fn note_first_byte(&mut self) {
        let items = &mut *self.0;
        if items.debt.entry().is_some_and(|entry| entry.first_byte_ms.is_none()) {
            let elapsed_ms = items.debt.elapsed_ms();
            items.debt.entry().into_iter().for_each(|entry| entry.first_byte_ms = Some(elapsed_ms));
        }
    }

    /// What was asked for.
    #[must_use]
    pub fn operation(&self) -> Operation {
        self.0.pricing.operation
    }

    /// The output limit that a cap imposed, in tokens.
    #[must_use]
    pub fn output_limit(&self) -> Option<u64> {
        self.0.pricing.output_limit
    }

    /// How long the whole answer may take, with all attempts.
    #[must_use]
    pub fn longest(&self) -> Option<Duration> {
        let pricing = &self.0.pricing;
        pricing.provider.config.patience.longest(pricing.operation, pricing.is_stream, pricing.thinks)
    }

    /// How long any answer like this may take if it is no stream, so that a stream which has not begun by then hangs.
    #[must_use]
    pub fn longest_if_whole(&self) -> Option<Duration> {
        let pricing = &self.0.pricing;
        pricing.provider.config.patience.longest(pricing.operation, false, pricing.thinks)
    }

    /// Whether the attempt had less than half of the time that its upstream is given for a head, since others had been made before,
    /// so that missing it says nothing.
    #[must_use]
    pub fn had_little_time(&self, waited: Duration) -> bool {
        let own = self.0.pricing.provider.config.first_byte_timeout;
        waited * 2 < self.longest().map_or(own, |longest| longest.min(own))
    }

    /// The longest silence within the answer.
    #[must_use]
    pub fn silence_max(&self) -> Duration {
        self.0.pricing.provider.config.idle_timeout
    }

    /// Whether several answers were asked for at once.
    #[must_use]
    pub fn is_many(&self) -> bool {
        self.0.pricing.is_many
    }

    /// Whether a stream was asked for.
    #[must_use]
    pub fn is_stream(&self) -> bool {
        self.0.pricing.is_stream
    }

    /// The request's name.
    #[must_use]
    pub fn request_id(&self) -> RequestId {
        self.0.debt.request_id()
    }

    /// Whether the hold grows with the answer.
    #[must_use]
    pub fn is_metered(&self) -> bool {
        self.0.pricing.metered.is_some()
    }

    /// The model that was sent.
    #[must_use]
    pub fn model_sent(&self) -> &str {
        &self.0.pricing.model
    }

    /// What the form of the answer was to be, where that was asked for and somebody learns from it.
    #[must_use]
    pub fn form(&self) -> Option<&Form> {
        self.0.pricing.trace.as_ref()?.form.as_ref()
    }

    /// How the model has failed at what was asked, if it has and that is learned.
    #[must_use]
    pub fn failure(&self, facts: &Facts) -> Option<Sign> {
        let trace = self.0.pricing.trace.as_ref().filter(|_| self.0.status == 200)?;
        trace.signs_of(facts).find(|sign| sign.is_failure())
    }

    /// Raises the hold so that it covers what has passed; false if a metered cap has no room, so that the answer has to end.
    #[must_use]
    pub fn keep_up(&mut self, seen: Seen) -> bool {
        let Some(metered) = &mut self.0.pricing.metered else { return true };
        let Some((amount, tokens)) = metered.wanted(seen) else { return true };
        let has_room = self.0.debt.grow(amount);
        if has_room {
            metered.cover(tokens);
        }
        has_room
    }

    /// Settles, and says what the request cost with all of its attempts, unless that is unknown.
    pub fn settle(mut self, end: End, facts: &Facts) -> Option<Usd> {
        let closing = self.0.conclude(end, facts);
        self.0.debt.settle(closing)
    }

    /// Settles the attempt and not the request, whose tab is given back.
    #[must_use]
    pub fn close(mut self, end: End, facts: &Facts) -> Option<Tab> {
        let closing = self.0.conclude(end, facts);
        self.0.debt.close(closing)
    }
}

impl Items {
    /// Works out what is owed, and notes it in the entry.
    fn conclude(&mut self, end: End, facts: &Facts) -> Closing {
        if self.debt.has_departed() {
            self.word.end(&self.pricing, end, self.status, facts, || self.bank.ticks_us());
        }
        let owed = self.owed(end, facts);
        let closing = Closing {
            status: self.status,
            outcome: self.outcome(end, facts),
            usage_source: owed.source,
            cost: owed.cost,
        };
        let version = self.pricing.snapshot.book.version();
        let price = owed.model.as_ref().map(|model| self.bank.price_ref(&version, model));
        let unanswered = self.status == 0;
        let is_whole = closing.outcome == Outcome::Complete;
        let baseline = is_whole.then(|| self.pricing.baseline(&owed, facts, self.priced_at_ms())).flatten();
        self.pricing.learn(end, self.status, facts, self.bank.now_ms());
        let booked = self.pricing.claim.as_mut().filter(|_| facts.batch && owed.source == UsageSource::Reported);
        let reason = match end {
            End::OutOfMoney => Some(CUT.into()),
            _ => booked.map(Claim::take),
        };
        if end == End::OutOfMoney {
            self.bank.note_cut();
        }
        if let Some(entry) = self.debt.entry() {
            if unanswered && entry.status == 0 {
                entry.status = end.status_without_answer();
            }
            match entry.attempts.is_empty() {
                true => entry.usage = owed.usage,
                false => entry.usage.add(&owed.usage),
            }
            if let Some(reason) = reason {
                entry.reason = reason;
            }
            // Where nothing was changed, nothing is colder for it and nobody was asked before, there is nothing to tell.
            let is_alone = entry.attempts.iter().all(|attempt| attempt.cost == Some(Usd::ZERO));
            let is_told = |cost: &Usd| !is_alone || entry.model != entry.requested_model || Some(*cost) != owed.cost;
            entry.baseline = baseline.filter(is_told);
            entry.price = price.or(entry.price.take());
            entry.served_model.clone_from(&facts.served_model);
            entry.service_tier.clone_from(&facts.service_tier);
            entry.geo.clone_from(&facts.geo);
            entry.speed.clone_from(&facts.speed);
        }
        closing
    }

    fn outcome(&self, end: End, facts: &Facts) -> Outcome {
        match end {
            End::ClientLeft | End::Withdrawn => Outcome::ClientAbort,
            End::Silent | End::Cut => Outcome::Timeout,
            End::BrokenOff | End::Unreachable => Outcome::UpstreamAborted,
            End::Complete if self.status >= 400 || facts.error.is_some() => Outcome::UpstreamError,
            End::Complete
                if self.pricing.operation.generates()
                    && self.status < 300
                    && !(facts.terminal || facts.ending.is_some() || facts.broken) =>
            {
                Outcome::UpstreamAborted
            }
            End::Complete | End::OutOfMoney => Outcome::Complete,
        }
    }

    /// How it ended, and what is charged for it.
    fn owed(&self, end: End, facts: &Facts) -> Owed {
        let answered = (200..300).contains(&self.status);
        match end {
            _ if self.pricing.operation.is_free() => nothing(),
            // Nothing was sent.
            End::Unreachable | End::Withdrawn => nothing(),
            // An error is not billed, whatever becomes of its body.
            _ if self.status != 0 && !answered => nothing(),
            _ if self.pricing.operation.may_tell_a_batch() => self.batch(end, facts),
            // It will be made, and billed, later.
            _ if answered && (facts.pending || self.pricing.operation == Operation::Batches) => {
                self.at_quote(UsageSource::Assumed, Usage::default())
            }
            _ if answered && facts.usage_final => self.reported(facts),
            // Nothing in an image or in speech tells what it took.
            _ if answered && self.pricing.operation.is_media() => self.at_quote(UsageSource::Counted, Usage::default()),
            // A whole answer is generated to its end, whether or not anybody waits for it.
            End::ClientLeft if !self.pricing.is_stream => self.at_quote(UsageSource::Assumed, Usage::default()),
            // The upstream is told by the end of its connection; what it generated until then is in the hold.
            End::OutOfMoney => self.at_quote(UsageSource::Counted, seen_usage(self.pricing.input_bound, facts)),
            // The client left before or within the stream, or the answer said nothing of usage.
            End::ClientLeft | End::Complete => self.counted(facts),
            // It was sent, and nobody knows what became of it.
            End::BrokenOff | End::Silent | End::Cut => self.at_quote(UsageSource::Assumed, Usage::default()),
        }
    }

    /// The results of a batch are billed once, by whoever fetches all of them first.
    fn batch(&self, end: End, facts: &Facts) -> Owed {
        let is_whole = end == End::Complete && self.status == 200 && facts.batch;
        if is_whole && self.pricing.claim.is_some() { self.reported(facts) } else { nothing() }
    }

    fn reported(&self, facts: &Facts) -> Owed {
        self.pricing.reported(facts, self.priced_at_ms())
    }

    /// Bounds the usage by the bytes that were seen.
    fn counted(&self, facts: &Facts) -> Owed {
        if self.pricing.operation == Operation::Unknown {
            // Nobody knows what a path costs that nobody knows.
            return Owed::default();
        }
        let usage = seen_usage(self.pricing.input_bound, facts);
        if facts.reasoned || self.pricing.may_reason || self.pricing.is_capped {
            return self.at_quote(UsageSource::Counted, usage);
        }
        let model = self.pricing.model(facts.served_model.as_deref());
        let cost = self.pricing.charge(model.as_deref(), &usage, facts, self.priced_at_ms());
        let cost = cost.map(|cost| self.debt.quote().map_or(cost, |quote| cost.min(quote)));
        Owed { usage, source: UsageSource::Counted, cost, model }
    }

    fn at_quote(&self, source: UsageSource, usage: Usage) -> Owed {
        Owed { usage, source, cost: self.debt.assumed(), model: None }
    }

    /// The moment whose prices hold.
    fn priced_at_ms(&self) -> u64 {
        let is_by_end = &*self.pricing.provider.config.provider == DEEPSEEK;
        if is_by_end { self.bank.now_ms() } else { self.debt.at_ms() }
    }
}

/// What was used at most, as far as it was seen.
fn seen_usage(input_bound: u64, facts: &Facts) -> Usage {
    // What stood at the start of the answer is the prompt, exactly; its output is a placeholder.
    let mut usage = match &facts.usage {
        Some(seen) => Usage { output: 0, reasoning: 0, ..seen.clone() },
        None => Usage { input: input_bound, ..Usage::default() },
    };
    usage.output = facts.text_bytes.max(facts.usage.as_ref().map_or(0, |seen| seen.output));
    usage
}

/// Nothing was used that is billed.
fn nothing() -> Owed {
    Owed { cost: Some(Usd::ZERO), ..Owed::default() }
}
