//! What the recorded past would come to under another config: each request is routed and priced again, from the features and the
//! usage in the ledger, and nobody is called.
//!
//! The rules are those that serve. What the ledger does not say is taken to be as it was, or counted as a doubt; where a doubt moves
//! the price, the least and the most are told beside what is likely.
//!
//! Invariant: nothing is written, and a request that cannot be routed again keeps its model.

use std::collections::HashMap;
use std::sync::Arc;

use super::report::Request;
use super::reprice::Prices;
use super::zone::Days;
use crate::app::Snapshot;
use crate::domain::account::Account;
use crate::domain::entry::{CacheUse, Entry, Tier};
use crate::domain::features::Features;
use crate::domain::hindsight::{Hindsight, Sums};
use crate::domain::money::Usd;
use crate::domain::operation::{Dialect, Operation};
use crate::domain::price::{Caps, Context, charge};
use crate::domain::routing::{
    self, AUTO, Case, Classifier, Decision, Evidence, Extras, Judged, Lineup, Mode, Needs, Pin, Policy, Rule,
};
use crate::domain::stamp::Stamp;
use crate::domain::subject::Subject;
use crate::domain::tokens::{Usage, UsageSource};
use crate::store::{Ledger, ReadError, Told};
use crate::upstream::provider::Provider;

/// Conversations that are followed at once.
const TALKS_MAX: usize = 262_144;

/// How long a prompt is cached where nobody asks for longer, and where an hour is asked for, milliseconds.
const CACHED_MS: u64 = 300_000;
const HOUR_MS: u64 = 3_600_000;

/// Where a conversation is, in the past as it would have been.
struct Talk {
    model: Arc<str>,
    tier: Tier,
    prompt_tokens: u64,
    at_ms: u64,
    cached_ms: u64,
}

/// Routes and prices again.
struct Replay<'a> {
    snapshot: &'a Snapshot,
    prices: Prices,
    talks: HashMap<u64, Talk>,
}

/// A request as the ledger tells it.
struct Past<'a> {
    entry: &'a Entry,
    account: Account,
    features: Features,
    stamp: Stamp,
    provider: &'a Provider,
    lineup: &'a Lineup,
}

/// Whether a prompt is found in a cache as it was, or not at all.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Warmth {
    AsItWas,
    Cold,
}

/// Routes and prices the entries of the time asked for under the config of `snapshot`.
///
/// # Errors
/// The journal is damaged or cannot be read.
pub fn run(ledger: &Ledger, request: &Request, snapshot: &Snapshot) -> Result<Hindsight, ReadError> {
    let query = &request.query;
    let mut hindsight = Hindsight::new(query.by.clone(), (query.from_ms, query.until_ms));
    let mut days = Days::of(request.zone.clone());
    let prices = Prices::of(&snapshot.config);
    let mut replay = Replay { snapshot, prices, talks: HashMap::new() };
    ledger.tell(request.range(), &mut |told| {
        match told {
            Told::Entry(entry, _) => {
                let sums = replay.entry(entry, &mut hindsight);
                hindsight.add(&Subject::of(entry), days.when(entry.at_ms), &sums);
            }
            Told::Adjustment(..) => {}
            Told::Archived(at_ms, subject, sums) => {
                hindsight.doubts.archived += sums.requests;
                let kept = Sums { requests: sums.requests, ..same(sums.spend) };
                hindsight.add(subject, days.when(at_ms), &kept);
            }
        }
        true
    })?;
    Ok(hindsight)
}

fn same(spend: Usd) -> Sums {
    Sums { spend, likely: spend, least: spend, most: spend, ..Sums::default() }
}

impl<'a> Replay<'a> {
    /// What an entry comes to.
    fn entry(&mut self, entry: &Entry, hindsight: &mut Hindsight) -> Sums {
        let (requests, doubts) = (u64::from(entry.requests), &mut hindsight.doubts);
        let again = self.prices.again(entry);
        let spend = entry.cost.unwrap_or_default();
        let stays = Sums { requests, spend, unpriced: again.unpriced, ..same(again.spend) };
        let stays = Sums { spend, ..stays };
        let is_asked = !entry.attempts.is_empty() && matches!(entry.cache, CacheUse::Bypass | CacheUse::Miss);
        if !is_asked || !is_routed(entry.operation) {
            return stays;
        }
        doubts.routed += requests;
        let mut billed = entry.attempts.iter().filter(|attempt| attempt.cost != Some(Usd::ZERO)).map(|it| &it.model);
        let first = billed.next();
        if billed.any(|other| Some(other) != first) {
            doubts.mixed += requests;
            return stays;
        }
        if entry.usage_source != UsageSource::Reported {
            doubts.unmetered += requests;
            return stays;
        }
        let Some(past) = self.past(entry) else {
            doubts.unseen += requests;
            return stays;
        };
        if past.stamp.talk == 0 && past.features.messages > 2 {
            doubts.untold += requests;
        }
        let Some(chosen) = self.choose(&past, &past.features, hindsight) else {
            hindsight.doubts.refused += requests;
            return stays;
        };
        self.price(&past, chosen, stays, hindsight)
    }

    /// What the ledger tells of a request, where it tells enough.
    fn past<'b>(&self, entry: &'b Entry) -> Option<Past<'b>>
    where
        'a: 'b,
    {
        let (features, stamp) = (Features::read(&entry.features)?, Stamp::read(&entry.features)?);
        let snapshot = self.snapshot;
        let recorded = snapshot.provider(&entry.upstream).filter(|_| &*entry.reason == "named upstream");
        let provider = recorded.or_else(|| snapshot.provider_for(entry.dialect, &entry.requested_model))?;
        let lineup = snapshot.lineups.get(&provider.config.name)?;
        let mut account = entry.account.clone();
        if let Some(key) = snapshot.config.keys.get(&account.key) {
            account.team.clone_from(&key.account.team);
        }
        Some(Past { entry, account, features, stamp, provider, lineup })
    }

    /// The model that the other config chooses; `None` where it would refuse.
    fn choose(&mut self, past: &Past<'_>, features: &Features, hindsight: &mut Hindsight) -> Option<(Arc<str>, Tier)> {
        let policy = self.snapshot.config.routing_policy(&past.account, &past.entry.requested_model);
        let evidence = self.evidence(past, &policy);
        if policy.classifier != Classifier::Local && evidence.judged.is_none_or(|judged| !judged.is_sure) {
            hindsight.doubts.judged += u64::from(past.entry.requests);
        }
        let decide = |features: &Features| past.decide(self.snapshot, features, &evidence, &policy);
        let decision = decide(features)?;
        // A size is at least what was recorded, and less than an eighth more.
        let larger = decide(&enlarged(features)).and_then(|decision| decision.model);
        hindsight.doubts.rough += u64::from(larger != decision.model) * u64::from(past.entry.requests);
        let is_followed = &*past.entry.requested_model == AUTO || policy.mode == Mode::Enforce;
        let model = decision.model.filter(|_| is_followed).unwrap_or_else(|| past.entry.requested_model.clone());
        let tier = past.lineup.tier_of(&model).unwrap_or(Tier::Complex);
        Some((model, tier))
    }

    fn evidence(&self, past: &Past<'_>, policy: &Policy) -> Evidence {
        let entry = past.entry;
        let judged = past.stamp.judged.map(|(tier, is_sure)| Judged { tier, score: past.stamp.score, is_sure });
        let talk = self.talks.get(&past.stamp.talk).filter(|_| past.stamp.talk != 0);
        let pin = talk.filter(|talk| entry.at_ms.saturating_sub(talk.at_ms) <= talk.cached_ms.max(HOUR_MS));
        let pin = pin.map(|talk| Pin {
            model: talk.model.clone(),
            tier: talk.tier,
            cached: if talk.is_warm(entry.at_ms) { talk.prompt_tokens } else { 0 },
        });
        // What a judge said then is what it says now.
        let was_judged = &*entry.reason == Rule::Judge.name() && policy.classifier != Classifier::Local;
        Evidence { judged, judge: entry.tier.filter(|_| was_judged), pin, failed: None }
    }

    /// What the request costs on the model that was chosen, and where its conversation is from now on.
    fn price(
        &mut self,
        past: &Past<'_>,
        (model, tier): (Arc<str>, Tier),
        stays: Sums,
        hindsight: &mut Hindsight,
    ) -> Sums {
        let entry = past.entry;
        let is_same = model == entry.model;
        let before = self.talks.get(&past.stamp.talk).filter(|_| past.stamp.talk != 0);
        let is_there = before.map_or(past.stamp.talk == 0, |talk| talk.model == model && talk.is_warm(entry.at_ms));
        let cost = |warmth| past.cost(self.snapshot, &model, warmth);
        // The ledger says what the model asked for would have cost had it answered all along.
        let baseline = entry.baseline.filter(|_| model == entry.requested_model && (is_there || before.is_none()));
        let sums = match (is_same, cost(Warmth::AsItWas), cost(Warmth::Cold)) {
            (true, ..) => baseline.map_or(stays, |baseline| Sums { likely: baseline, ..stays.with(baseline) }),
            (false, Some(warm), Some(cold)) => {
                let likely = if is_there || !past.has_history() { warm } else { cold };
                let likely = baseline.unwrap_or(likely);
                let (least, most) = (warm.min(cold), warm.max(cold));
                Sums { moved: stays.requests, likely, least, most, unpriced: 0, ..stays }.with(likely)
            }
            (false, ..) => Sums {
                moved: stays.requests,
                unpriced: stays.requests,
                ..Sums { spend: stays.spend, ..same(Usd::ZERO) }
            },
        };
        let sums = Sums { requests: stays.requests, spend: stays.spend, ..sums };
        let widened = self.widened(past, &model, sums, hindsight);
        if past.stamp.talk != 0 {
            self.follow(past, model, tier);
        }
        widened
    }

    /// The range with what the request would cost if it were as large as it can have been.
    fn widened(&mut self, past: &Past<'_>, model: &Arc<str>, sums: Sums, hindsight: &mut Hindsight) -> Sums {
        let rough = hindsight.doubts;
        let other = self.choose(past, &enlarged(&past.features), hindsight);
        hindsight.doubts = rough;
        let other = other.map(|(model, _)| model).filter(|other| other != model);
        match other.and_then(|other| past.cost(self.snapshot, &other, Warmth::Cold)) {
            Some(cost) => sums.with(cost),
            None => sums,
        }
    }

    fn follow(&mut self, past: &Past<'_>, model: Arc<str>, tier: Tier) {
        let at_ms = past.entry.at_ms;
        if self.talks.len() >= TALKS_MAX {
            self.talks.retain(|_, talk| at_ms.saturating_sub(talk.at_ms) <= HOUR_MS);
        }
        let cached_ms = if past.entry.usage.cache_write_1h > 0 { HOUR_MS } else { CACHED_MS };
        let prompt_tokens = past.entry.usage.input_total();
        self.talks.insert(past.stamp.talk, Talk { model, tier, prompt_tokens, at_ms, cached_ms });
    }
}

impl Talk {
    const fn is_warm(&self, now_ms: u64) -> bool {
        now_ms.saturating_sub(self.at_ms) <= self.cached_ms
    }
}

impl Past<'_> {
    fn has_history(&self) -> bool {
        self.features.messages > 2 || self.features.calls > 0
    }

    fn context(&self) -> Context<'_> {
        Context {
            at_ms: self.entry.at_ms,
            requested_service_tier: self.entry.requested_service_tier.as_deref(),
            geo: self.entry.geo.as_deref(),
            speed: self.entry.speed.as_deref(),
            residency: self.provider.residency(),
            ..Context::default()
        }
    }

    /// The decision of the other config; `None` where it finds no model.
    fn decide(
        &self,
        snapshot: &Snapshot,
        features: &Features,
        evidence: &Evidence,
        policy: &Policy,
    ) -> Option<Decision> {
        let (entry, stamp) = (self.entry, &self.stamp);
        let is_auto = &*entry.requested_model == AUTO;
        let model = snapshot.book.find(&self.provider.config.provider, None, &entry.requested_model);
        let model = model.filter(|_| !is_auto);
        let goes_on = is_auto && entry.operation == Operation::Responses;
        let seen = Features { stored_context: features.stored_context && !goes_on, ..*features };
        let extras = Extras {
            image_bytes: 0,
            parallel_tools: stamp.parallel_tools,
            sampling: stamp.sampling,
            server_tools: Caps::default(),
            special: stamp.special.then_some("something that is not recorded"),
        };
        let case = Case {
            features,
            needs: Needs::of(entry.operation, &seen, &extras),
            requested: &entry.requested_model,
            requested_model: model.as_deref(),
            is_auto,
            opted_out: &*entry.reason == Rule::OptOut.name(),
            floor: None,
            is_agent: stamp.is_agent,
            is_housekeeping: stamp.is_housekeeping,
            is_bulk: &*entry.reason == Rule::Bulk.name(),
            allowed: self.allowed(snapshot),
            cache_ttl_s: if entry.usage.cache_write_1h > 0 { 3_600 } else { 0 },
            caches: features.caches || entry.dialect != Dialect::Anthropic,
            context: self.context(),
        };
        routing::decide(&case, evidence, policy, self.lineup).ok()
    }

    /// Which tiers' models the key may use, where config says that.
    fn allowed(&self, snapshot: &Snapshot) -> [bool; 3] {
        let permit = snapshot.config.keys.get(&self.entry.account.key).map(|key| key.permit());
        self.lineup.tiers.each_ref().map(|tier| match (tier, &permit) {
            (Some(contender), Some(permit)) => !permit.limits_models() || permit.allows_model(&contender.name),
            (tier, _) => tier.is_some(),
        })
    }

    /// What its tokens cost on `model`; `None` without a price.
    fn cost(&self, snapshot: &Snapshot, model: &str, warmth: Warmth) -> Option<Usd> {
        if self.provider.config.free {
            return Some(Usd::ZERO);
        }
        let usage = match warmth {
            Warmth::AsItWas => self.entry.usage.clone(),
            Warmth::Cold => cold(&self.entry.usage, self.entry.dialect),
        };
        let known = snapshot.book.find(&self.provider.config.provider, None, model)?;
        let charge = charge(known.row(), &usage, &self.context()).ok()?;
        charge.unpriced.is_empty().then_some(charge.cost)
    }
}

/// The same usage where nothing was in a cache.
fn cold(usage: &Usage, dialect: Dialect) -> Usage {
    let mut usage = usage.clone();
    let read = std::mem::take(&mut usage.cache_read);
    let to = match dialect {
        Dialect::Anthropic => &mut usage.cache_write_5m,
        Dialect::OpenAi | Dialect::Gemini => &mut usage.input,
    };
    *to = to.saturating_add(read);
    usage
}

/// The largest features that are recorded like these.
fn enlarged(features: &Features) -> Features {
    let larger = |size: u32| if size > 16 { size.saturating_add(size / 8) } else { size };
    Features {
        bytes: larger(features.bytes),
        text_bytes: larger(features.text_bytes),
        last_bytes: larger(features.last_bytes),
        output_limit: larger(features.output_limit),
        ..*features
    }
}

const fn is_routed(operation: Operation) -> bool {
    matches!(
        operation,
        Operation::ChatCompletions | Operation::Responses | Operation::Messages | Operation::GenerateContent
    )
}
