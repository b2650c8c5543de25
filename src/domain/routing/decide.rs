//! [`decide`]: the rules in their order. The first that speaks is the one that is told.
//!
//! - 1: an explicit choice wins. 2: abilities are a filter, and the only way is up.
//! - 3: signed thinking stays with its model. 4: nothing changes inside a tool loop.
//! - 5: a conversation keeps its model unless another pays in spite of the prompt cache.
//! - 6: doubt means medium. 7: housekeeping goes to the cheapest. 8: a failure goes one tier up.
//! - 9: bulk and marked lanes are never downgraded. 10: a judge speaks only where the local model is unsure.
//! - 11: every decision says why. 12: tiers are config's.

use std::fmt;
use std::sync::Arc;

use super::case::{Case, Evidence, Judged};
use super::kit::{Contender, Lack, Lineup};
use super::pin::{Turns, pays};
use super::policy::{Mode, Policy};
use crate::domain::entry::Tier;
use crate::domain::money::Usd;
use crate::domain::price::{Apiece, Model, apiece};

/// Prompt tokens above which nothing is simple.
const SIMPLE_TOKENS_MAX: u64 = 32_000;

/// What was decided.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Decision {
    /// The model that takes the place of the one that was asked for; `None` where that one stays.
    pub model: Option<Arc<str>>,
    /// How hard the request is, where that was asked.
    pub tier: Option<Tier>,
    /// The rule that spoke.
    pub rule: Rule,
    /// What it likely costs.
    pub estimate: Estimate,
}

/// What a request likely costs, by the bytes of its prompt.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Estimate {
    /// On the model that was chosen.
    pub chosen: Option<Usd>,
    /// On the model that was asked for, with its warm cache.
    pub requested: Option<Usd>,
    /// What the chosen model pays to read what the cache of the one before held.
    pub cache_loss: Usd,
}

/// A model that could answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Considered {
    /// Its tier.
    pub tier: Tier,
    /// Its name.
    pub model: Arc<str>,
    /// What the request likely costs on it, where that is known.
    pub cost: Option<Usd>,
    /// Why it cannot take the request, if it cannot.
    pub lack: Option<Lack>,
}

/// Why a model was chosen.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Rule {
    /// Nothing was to be decided: the client's model.
    Requested,
    /// The client said that its model stays.
    OptOut,
    /// Thinking in the conversation is signed by its model.
    Thinking,
    /// A tool's result goes to the model that called it.
    ToolLoop,
    /// The conversation stays where its prompt is cached.
    Pinned,
    /// The conversation moves, since that pays in spite of the cache.
    Pays,
    /// The conversation became harder.
    Harder,
    /// By how hard it seems.
    Tier,
    /// By what a judge said.
    Judge,
    /// Nobody knows how hard it is.
    Unsure,
    /// It looked simple, and is too long for that, or writes code.
    NotSimple,
    /// A title, a probe, or the like.
    Housekeeping,
    /// The tier below has failed.
    Escalated,
    /// A batch, an evaluation, or a fine-tuned model.
    Bulk,
    /// A lane that the operator marked.
    Lane,
    /// Nothing cheaper is known to take it.
    NoCheaper,
    /// What was asked for has no price to compare with.
    Unpriced,
}

/// No model is known to take a request that left the choice open.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NoCandidate(pub Lack);

/// All that a decision depends on.
struct Table<'a> {
    case: &'a Case<'a>,
    policy: &'a Policy,
    lineup: &'a Lineup,
    /// What a token costs on the model that was asked for.
    requested: Option<Apiece>,
}

/// Where the conversation is: its rates, its tier, and what its model has cached.
struct Home {
    rates: Apiece,
    tier: Tier,
    turns: Turns,
}

/// Rule 1: whether the client's own choice stands, so that nothing else needs to be known.
#[must_use]
pub fn explicit(case: &Case<'_>, policy: &Policy) -> Option<Rule> {
    if case.is_auto {
        return None;
    }
    if policy.mode == Mode::Off {
        return Some(if policy.is_kept_lane { Rule::Lane } else { Rule::Requested });
    }
    if !policy.is_routable {
        return Some(Rule::Requested);
    }
    case.opted_out.then_some(Rule::OptOut)
}

/// Chooses.
///
/// # Errors
/// The request left the choice open, and no model is known to be able to take it.
pub fn decide(case: &Case<'_>, evidence: &Evidence, policy: &Policy, lineup: &Lineup) -> Result<Decision, NoCandidate> {
    if let Some(rule) = explicit(case, policy) {
        return Ok(Decision { model: None, tier: None, rule, estimate: Estimate::default() });
    }
    let table = Table::of(case, policy, lineup);
    if !case.is_auto && table.requested.is_none() {
        return table.keep(None, Rule::Unpriced);
    }
    if case.features.signed_reasoning {
        return table.stay(evidence, None, Rule::Thinking);
    }
    if case.is_in_tool_loop() {
        return table.stay(evidence, None, Rule::ToolLoop);
    }
    if case.is_housekeeping {
        return table.cheapest();
    }
    let (tier, rule) = table.judge(evidence);
    if let Some(tier) = evidence.failed.and_then(|failed| table.above(failed)) {
        return table.escalate(tier);
    }
    let found = match table.home(evidence) {
        Some(home) => table.move_on(evidence, &home, tier, rule),
        None => table.open(tier, rule),
    }?;
    // Rule 9 guards whatever came out.
    let kept = (case.is_bulk && !case.is_auto).then_some(Rule::Bulk);
    match kept.filter(|_| found.model.is_some()) {
        Some(rule) => table.keep(Some(tier), rule),
        None => Ok(found),
    }
}

/// Every tier's model, whether or not it can take the request.
#[must_use]
pub fn considered(case: &Case<'_>, policy: &Policy, lineup: &Lineup) -> Vec<Considered> {
    let table = Table::of(case, policy, lineup);
    let turn = table.first_turn(case.output_tokens());
    let of = |tier: &Tier| {
        let contender = lineup.at(*tier)?;
        let cost = table.rates_of(contender).map(|rates| turn.cold(&rates));
        Some(Considered { tier: *tier, model: contender.name.clone(), cost, lack: table.refuses(contender, *tier) })
    };
    Tier::ALL.iter().filter_map(of).collect()
}

/// Rule 8 within a request: who answers, and in which tier, where the model that took the place of another has failed at it. At
/// most as dear as what was asked for, or that itself.
#[must_use]
pub fn above(case: &Case<'_>, policy: &Policy, lineup: &Lineup, sent: &str) -> Option<(Arc<str>, Tier)> {
    if case.features.signed_reasoning || case.is_in_tool_loop() || case.is_housekeeping || case.requested == sent {
        return None;
    }
    let table = Table::of(case, policy, lineup);
    let tier = table.above(lineup.tier_of(sent)?)?;
    let found = match table.walk(tier, table.requested.filter(|_| !case.is_auto)) {
        Ok((contender, tier)) => Some((contender.name.clone(), tier)),
        Err(_) if case.is_auto => None,
        Err(_) => Some((case.requested.into(), lineup.tier_of(case.requested).unwrap_or(tier))),
    };
    found.filter(|(model, _)| **model != *sent)
}

/// Whether a judge's word would change which model is sent, so that it is worth asking for.
#[must_use]
pub fn hangs_on_judge(case: &Case<'_>, evidence: &Evidence, policy: &Policy, lineup: &Lineup) -> bool {
    let sent = |tier| {
        let evidence = Evidence { judge: Some(tier), ..evidence.clone() };
        decide(case, &evidence, policy, lineup).map(|decision| decision.model)
    };
    let first = sent(Tier::Simple);
    [Tier::Medium, Tier::Complex].into_iter().any(|tier| sent(tier) != first)
}

impl<'a> Table<'a> {
    fn of(case: &'a Case<'a>, policy: &'a Policy, lineup: &'a Lineup) -> Self {
        let mut table = Self { case, policy, lineup, requested: None };
        table.requested = table.rates(case.requested_model);
        table
    }

    fn rates(&self, model: Option<&Model>) -> Option<Apiece> {
        if self.lineup.is_free {
            return Some(Apiece::default());
        }
        let case = self.case;
        apiece(model?.row(), case.needs.prompt_tokens, case.cache_ttl_s, &case.context)
    }

    fn rates_of(&self, contender: &Contender) -> Option<Apiece> {
        self.rates(contender.model.as_deref())
    }

    /// One turn of which nothing is cached.
    const fn first_turn(&self, output: u64) -> Turns {
        Turns { cached: 0, fresh: self.case.needs.prompt_tokens, output, count: 1, caches: self.case.caches }
    }

    /// The model that was asked for stays; where none was, the first that can take it.
    fn keep(&self, tier: Option<Tier>, rule: Rule) -> Result<Decision, NoCandidate> {
        if self.case.is_auto {
            return self.open(tier.unwrap_or(Tier::Medium), rule);
        }
        let cost = self.requested.map(|rates| self.first_turn(self.case.output_tokens()).cold(&rates));
        let estimate = Estimate { chosen: cost, requested: cost, cache_loss: Usd::ZERO };
        Ok(Decision { model: None, tier, rule, estimate })
    }

    /// The conversation stays where it is: on the model that answered last, else on the one that is asked for.
    fn stay(&self, evidence: &Evidence, tier: Option<Tier>, rule: Rule) -> Result<Decision, NoCandidate> {
        let Some(pin) = &evidence.pin else { return self.keep(tier, rule) };
        let same = self.lineup.tiers.iter().flatten().find(|contender| contender.name == pin.model);
        let refusal = same.and_then(|same| self.refuses(same, pin.tier));
        // An open choice has no other model to go back to, and what is special may be its own stored context.
        let is_free_to = match refusal {
            None => true,
            Some(Lack::Special(_)) => self.case.is_auto,
            Some(_) => false,
        };
        match same.filter(|_| is_free_to && *pin.model != *self.case.requested) {
            Some(same) => Ok(self.told(same, tier, rule, Usd::ZERO)),
            // The model that answered last cannot take this one.
            None if rule == Rule::Pinned && *pin.model != *self.case.requested => self.keep(tier, Rule::NoCheaper),
            None => self.keep(tier, rule),
        }
    }

    /// Rule 7.
    fn cheapest(&self) -> Result<Decision, NoCandidate> {
        let cost = |contender: &Contender| {
            let rates = self.rates_of(contender)?;
            Some(self.first_turn(self.case.output_tokens()).cold(&rates))
        };
        let able = Tier::ALL.iter().filter_map(|tier| Some((self.lineup.at(*tier)?, *tier)));
        let able = able.filter(|(contender, tier)| self.refuses(contender, *tier).is_none());
        let best = able.filter_map(|(contender, _)| Some((cost(contender)?, contender))).min_by_key(|(cost, _)| *cost);
        let own = self.requested.map(|rates| self.first_turn(self.case.output_tokens()).cold(&rates));
        match best {
            Some((cost, contender)) if own.is_none_or(|own| cost < own) => {
                Ok(self.told(contender, Some(Tier::Simple), Rule::Housekeeping, Usd::ZERO))
            }
            Some(_) | None => self.keep(Some(Tier::Simple), Rule::Housekeeping),
        }
    }

    /// Rules 6 and 10, and what narrows them.
    fn judge(&self, evidence: &Evidence) -> (Tier, Rule) {
        let judged = evidence.judged.unwrap_or(Judged::UNSURE);
        let (tier, rule) = match (judged.is_sure, evidence.judge) {
            (true, _) => (judged.tier, Rule::Tier),
            (false, Some(tier)) => (tier, Rule::Judge),
            (false, None) => (Tier::Medium, Rule::Unsure),
        };
        let is_long = self.case.needs.prompt_tokens > SIMPLE_TOKENS_MAX;
        let (tier, rule) = match tier {
            Tier::Simple if is_long || self.case.is_agent => (Tier::Medium, Rule::NotSimple),
            Tier::Simple | Tier::Medium | Tier::Complex => (tier, rule),
        };
        (self.clamped(tier), rule)
    }

    /// The tier within what the client and the policy set as bounds.
    fn clamped(&self, tier: Tier) -> Tier {
        self.policy.clamped(self.case.floor.map_or(tier, |floor| tier.max(floor)))
    }

    /// The tier above one that has failed, if there is one and it is allowed.
    fn above(&self, failed: Tier) -> Option<Tier> {
        let next = match failed {
            Tier::Simple => Tier::Medium,
            Tier::Medium | Tier::Complex => Tier::Complex,
        };
        Some(self.clamped(next)).filter(|next| *next > failed)
    }

    /// Rule 8: one tier up, whatever that costs.
    fn escalate(&self, tier: Tier) -> Result<Decision, NoCandidate> {
        match self.walk(tier, None) {
            Ok((contender, _)) => Ok(self.told(contender, Some(tier), Rule::Escalated, Usd::ZERO)),
            Err(lack) if self.case.is_auto => Err(NoCandidate(lack)),
            Err(_) => self.keep(Some(tier), Rule::Escalated),
        }
    }

    /// A conversation that begins.
    fn open(&self, tier: Tier, rule: Rule) -> Result<Decision, NoCandidate> {
        let most = if self.case.is_auto { None } else { self.requested };
        match self.walk(tier, most) {
            Ok((contender, _)) if *contender.name != *self.case.requested => {
                Ok(self.told(contender, Some(tier), rule, Usd::ZERO))
            }
            Err(lack) if self.case.is_auto => Err(NoCandidate(lack)),
            Ok(_) => self.keep(Some(tier), rule),
            Err(_) => self.keep(Some(tier), Rule::NoCheaper),
        }
    }

    /// Rule 5: a conversation that goes on at a human's turn.
    fn move_on(&self, evidence: &Evidence, home: &Home, tier: Tier, rule: Rule) -> Result<Decision, NoCandidate> {
        if tier == home.tier {
            return self.stay(evidence, Some(tier), Rule::Pinned);
        }
        let is_harder = tier > home.tier;
        if is_harder
            && !self.case.is_auto
            && evidence.pin.as_ref().is_some_and(|pin| *pin.model == *self.case.requested)
        {
            // Nothing dearer takes its place.
            return self.stay(evidence, Some(tier), Rule::Pinned);
        }
        let found = self.open(tier, if is_harder { Rule::Harder } else { rule })?;
        if is_harder {
            return Ok(found);
        }
        let cold = match &found.model {
            Some(name) => self.contender(name).and_then(|contender| self.rates_of(contender)),
            None => self.requested,
        };
        match cold.filter(|cold| pays(&home.turns, &home.rates, cold)) {
            Some(cold) => {
                let estimate = Estimate { cache_loss: home.turns.cache_loss(&cold), ..found.estimate };
                Ok(Decision { rule: Rule::Pays, estimate, ..found })
            }
            None => self.stay(evidence, Some(tier), Rule::Pinned),
        }
    }

    /// Where the conversation is; `None` if it begins. One that nobody remembers has so far been with the model that is
    /// asked for, whose cache is presumed warm.
    fn home(&self, evidence: &Evidence) -> Option<Home> {
        let case = self.case;
        let (rates, tier, cached) = match &evidence.pin {
            Some(pin) if *pin.model == *case.requested => (self.requested?, pin.tier, pin.cached),
            Some(pin) => (self.rates_of(self.contender(&pin.model)?)?, pin.tier, pin.cached),
            None if case.is_auto || !case.has_history() => return None,
            None => {
                let cached = case.needs.prompt_tokens.saturating_sub(case.fresh_tokens());
                (self.requested?, self.lineup.tier_of(case.requested).unwrap_or(Tier::Complex), cached)
            }
        };
        let cached = if case.caches { cached } else { 0 };
        let fresh = case.needs.prompt_tokens.saturating_sub(cached).max(case.fresh_tokens());
        let (output, count, caches) = (case.output_tokens(), self.policy.turns, case.caches);
        Some(Home { rates, tier, turns: Turns { cached, fresh, output, count, caches } })
    }

    fn contender(&self, name: &str) -> Option<&'a Contender> {
        self.lineup.tiers.iter().flatten().find(|contender| &*contender.name == name)
    }

    /// Rules 2 and 12: the first from `tier` upwards that can take it and costs no more than `most`.
    fn walk(&self, tier: Tier, most: Option<Apiece>) -> Result<(&'a Contender, Tier), Lack> {
        let turn = self.first_turn(self.case.output_tokens());
        let most = most.map(|most| turn.cold(&most));
        let mut lack = None;
        for tier in Tier::ALL.iter().copied().filter(|other| *other >= tier) {
            let Some(contender) = self.lineup.at(tier) else { continue };
            if let Some(why) = self.refuses(contender, tier) {
                lack.get_or_insert(why);
                continue;
            }
            let cost = self.rates_of(contender).map(|rates| turn.cold(&rates));
            let is_dearer = most.is_some_and(|most| cost.is_none_or(|cost| cost > most));
            if !is_dearer {
                return Ok((contender, tier));
            }
        }
        Err(lack.unwrap_or(Lack::Absent))
    }

    fn refuses(&self, contender: &Contender, tier: Tier) -> Option<Lack> {
        let is_above = self.policy.ceiling.is_some_and(|ceiling| tier > ceiling);
        if is_above || !self.case.allowed[tier as usize] {
            return Some(Lack::Forbidden);
        }
        self.case.lacks(contender)
    }

    fn told(&self, contender: &Contender, tier: Option<Tier>, rule: Rule, cache_loss: Usd) -> Decision {
        let turn = self.first_turn(self.case.output_tokens());
        let chosen = self.rates_of(contender).map(|rates| turn.cold(&rates));
        let requested = self.requested.map(|rates| turn.cold(&rates));
        Decision {
            model: Some(contender.name.clone()),
            tier,
            rule,
            estimate: Estimate { chosen, requested, cache_loss },
        }
    }
}

impl Rule {
    /// All of them.
    pub const ALL: [Self; 17] = [
        Self::Requested,
        Self::OptOut,
        Self::Thinking,
        Self::ToolLoop,
        Self::Pinned,
        Self::Pays,
        Self::Harder,
        Self::Tier,
        Self::Judge,
        Self::Unsure,
        Self::NotSimple,
        Self::Housekeeping,
        Self::Escalated,
        Self::Bulk,
        Self::Lane,
        Self::NoCheaper,
        Self::Unpriced,
    ];

    /// The word in header, ledger and log.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Requested => "requested model",
            Self::OptOut => "opt out",
            Self::Thinking => "thinking",
            Self::ToolLoop => "tool loop",
            Self::Pinned => "pinned",
            Self::Pays => "pays",
            Self::Harder => "harder",
            Self::Tier => "tier",
            Self::Judge => "judge",
            Self::Unsure => "unsure",
            Self::NotSimple => "not simple",
            Self::Housekeeping => "housekeeping",
            Self::Escalated => "escalated",
            Self::Bulk => "bulk",
            Self::Lane => "lane",
            Self::NoCheaper => "no cheaper model",
            Self::Unpriced => "unpriced",
        }
    }
}

impl fmt::Display for NoCandidate {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Lack::Absent => out.write_str("no model may be chosen here: name one, or name models in [routing.tiers]"),
            Lack::Forbidden => out.write_str("none of the models that auto stands for may be used by this key"),
            lack => write!(out, "no model can be chosen for this request: the first in question {lack}; name a model"),
        }
    }
}

impl std::error::Error for NoCandidate {}
