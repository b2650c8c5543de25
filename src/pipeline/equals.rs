//! Equals: which of several upstreams that serve the same model is asked first, and with whose credential.
//!
//! Work is shared by weight or by who is least busy. A conversation stays where it is, since its prompt is cached there, and
//! what goes on from something stored stays where that is.
//!
//! Invariant: nobody is asked whom the caller may not use, and whoever may use one of them is not refused.

use super::arrive::Arrival;
use super::conversation::conversation;
use super::identify::Caller;
use super::permit;
use super::read::Call;
use super::route::{Candidate, Decision};
use crate::app::App;
use crate::config::CacheMode;
use crate::protocol::ask::reads_json;
use crate::upstream::balance::{home_of, sort};
use crate::upstream::credentials::Turn;

/// From so many messages on, a prompt is one that goes on.
const TALK_MESSAGES: u32 = 3;

/// `first`, or an equal of it where the caller may not use it.
pub fn allowed(arrival: &Arrival, caller: &Caller, first: Candidate) -> Candidate {
    if !has_equals(arrival, caller, &first) || permit::candidate(arrival, &caller.policy, &first).is_ok() {
        return first;
    }
    equals(arrival, caller, &first).into_iter().next().unwrap_or(first)
}

/// Puts the one of several equals first that is to be asked, and the others behind it, before all fallbacks.
pub fn share(app: &App, arrival: &Arrival, caller: &Caller, call: &Call, decision: &mut Decision) {
    let has_equals = has_equals(arrival, caller, &decision.first);
    if !has_equals && !decision.first.provider.credentials.has_choice() {
        return;
    }
    decision.turn = turn(app, arrival, caller, call);
    if !has_equals || decision.turn == Turn::Home {
        return;
    }
    let mut equals = equals(arrival, caller, &decision.first);
    if equals.len() < 2 {
        return;
    }
    let home = match decision.turn {
        Turn::Talk(talk) => {
            let at = home_of(talk, equals.iter().map(|equal| equal.provider.load.weight()));
            equals.get(at).map(|equal| equal.provider.clone())
        }
        Turn::Home | Turn::Any => None,
    };
    sort(&mut equals, |equal| &equal.provider.load, decision.first.provider.config.sharing.balance);
    let now_us = app.clock.ticks_us();
    equals.sort_by_cached_key(|equal| {
        let is_home = home.as_ref().is_some_and(|home| std::sync::Arc::ptr_eq(home, &equal.provider));
        (!equal.provider.is_open(&equal.model, now_us), !is_home)
    });
    let mut others = equals.split_off(1);
    others.iter_mut().for_each(|other| other.reason = "fallback".into());
    let is_known = |other: &Candidate, known: &[Candidate]| {
        known.iter().any(|it| it.model == other.model && it.provider.config.name == other.provider.config.name)
    };
    for other in std::mem::take(&mut decision.others) {
        if !is_known(&other, &equals) && !is_known(&other, &others) {
            others.push(other);
        }
    }
    if let Some(first) = equals.pop() {
        decision.first = first;
        decision.others = others;
    }
}

/// Whether others may be asked in the place of `first`.
fn has_equals(arrival: &Arrival, caller: &Caller, first: &Candidate) -> bool {
    first.provider.config.sharing.group.is_some() && arrival.named.is_none() && caller.is_trusted
}

/// Those that serve the model of `first` as well as it does, itself among them.
fn equals(arrival: &Arrival, caller: &Caller, first: &Candidate) -> Vec<Candidate> {
    let config = &first.provider.config;
    let providers = arrival.snapshot.providers.iter().filter(|provider| {
        let other = &provider.config;
        (other.dialect, &other.sharing.group) == (config.dialect, &config.sharing.group)
            && provider.has_credential()
            && (other.models.is_empty() || other.serves(&first.model))
    });
    let candidates = providers.map(|provider| Candidate { provider: provider.clone(), ..first.clone() });
    candidates.filter(|candidate| permit::candidate(arrival, &caller.policy, candidate).is_ok()).collect()
}

fn turn(app: &App, arrival: &Arrival, caller: &Caller, call: &Call) -> Turn {
    let (operation, features) = (arrival.endpoint.operation, &call.ask.features);
    if !reads_json(operation) || features.stored_context {
        return Turn::Home;
    }
    // What may be kept as an answer is looked for under the upstream's name.
    let cache = &arrival.snapshot.config.cache;
    let is_kept = cache.general.mode != CacheMode::Off || !cache.rules.is_empty();
    match operation.generates() && (features.caches || features.messages >= TALK_MESSAGES || is_kept) {
        true => Turn::Talk(conversation(&app.pins, &arrival.head.headers, caller, call)),
        false => Turn::Any,
    }
}
