//! Learn: which route a request is of, and what its end says about the tier that answered it.
//!
//! A route is who asks (the team, else the key), the system prompt, the tools and the answer's format. Requests that have
//! none of the last three are of no route: their words are all that is known of them.
//!
//! Invariant: nothing is learned across teams, and nothing that happens here changes an answer.

use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;

use super::compare::{Compare, held};
use super::identify::Caller;
use super::read::Call;
use crate::app::pins::Pins;
use crate::app::routes::Routes;
use crate::app::scores::Scores;
use crate::app::{App, Snapshot};
use crate::domain::classify::Weights;
use crate::domain::entry::{Entry, Tier};
use crate::domain::evidence::Sign;
use crate::domain::lesson::Lesson;
use crate::domain::operation::Operation;
use crate::domain::stamp::{ROUTE_BITS, Stamp};
use crate::protocol::ask::Ask;
use crate::protocol::excerpt::slice;
use crate::protocol::facts::{Ending, Facts};
use crate::protocol::sound::Form;

/// The same call so often among the last six is no progress.
const REPEATED: usize = 3;

/// Bytes of a format that are kept until the answer is there.
const FORMAT_BYTES_MAX: usize = 16 * 1024;

/// What is remembered of the past, and what judges the words of a request: all that choosing goes by besides the request.
#[derive(Clone, Copy, Debug)]
pub struct Memory<'a> {
    /// Which model each conversation is on.
    pub pins: &'a Arc<Pins>,
    /// What was learned of routes.
    pub routes: &'a Arc<Routes>,
    /// The local classifier.
    pub weights: &'a Weights,
    /// What it said of asks lately.
    pub scores: &'a Scores,
}

impl<'a> Memory<'a> {
    /// That of the server.
    #[must_use]
    pub fn of(app: &'a App) -> Self {
        Self { pins: &app.pins, routes: &app.routes, weights: Weights::builtin(), scores: &app.scores }
    }
}

/// What is remembered of a request until its end.
#[derive(Debug)]
pub struct Trace {
    routes: Arc<Routes>,
    pins: Arc<Pins>,
    /// What the ledger is told.
    pub stamp: Stamp,
    /// The conversation, where the model is chosen.
    pub talk: Option<u64>,
    /// What the request itself says of the answers before it.
    pub signs: Vec<Sign>,
    /// The output limit that the client set.
    pub own_limit: Option<u64>,
    /// What the request is compared with, to tell what routing saved.
    pub compare: Option<Compare>,
    /// What the form of the answer was to be, where one was asked for.
    pub form: Option<Form>,
}

/// The route of a request; 0 for none.
pub fn route_of(routes: &Routes, caller: &Caller, call: &Call) -> u64 {
    let ask = &call.ask;
    if ask.spoken.system.is_empty() && ask.tools_at.is_none() && ask.format_at.is_none() && !ask.features.structured {
        return 0;
    }
    let account = &caller.account;
    let rope = call.plain.as_ref().unwrap_or(&call.pieces);
    let mut print = routes.fingerprint();
    match &account.team {
        Some(team) => print.add(team.as_bytes()),
        None => {
            print.word(1);
            print.add(account.key.as_bytes());
        }
    }
    for spans in [&ask.spoken.system[..], ask.tools_at.as_slice(), ask.format_at.as_slice()] {
        print.word(spans.len() as u64);
        spans.iter().for_each(|span| print.add(&text(rope, span)));
    }
    print.word(u64::from(ask.features.structured));
    print.finish(ROUTE_BITS)
}

/// The bytes at `span`; none where there are none.
pub fn text<'a>(rope: &'a [Bytes], span: &Range<usize>) -> std::borrow::Cow<'a, [u8]> {
    slice(rope, span).unwrap_or_default()
}

/// What a request says of the answers before it: how the tools did that they called, and whether they repeat themselves.
pub fn signs(call: &Call) -> Vec<Sign> {
    let ask = &call.ask;
    if !ask.features.in_tool_loop {
        return Vec::new();
    }
    let of = |is_error| match is_error {
        Some(true) => Some(Sign::ToolFailed),
        Some(false) => Some(Sign::ToolWorked),
        None => None,
    };
    let mut signs: Vec<Sign> = ask.tool_results.iter().filter_map(|result| of(result.is_error)).collect();
    if alike(ask, call.plain.as_ref().unwrap_or(&call.pieces)) >= REPEATED {
        signs.push(Sign::Repeated);
    }
    signs
}

/// What the form of the answer is to be, if the request asks for one.
fn form(call: &Call) -> Option<Form> {
    let ask = &call.ask;
    let (is_json, has_tools) = (ask.features.structured, ask.features.tools > 0);
    let rope = call.plain.as_ref().unwrap_or(&call.pieces);
    let format = || ask.format_at.as_ref().filter(|span| is_json && span.len() <= FORMAT_BYTES_MAX);
    (is_json || has_tools).then(|| {
        let format = format().map_or_else(Box::default, |span| text(rope, span).as_ref().into());
        Form { is_json, has_tools, format }
    })
}

/// How many of the last six calls of tools are the same as the last one, that one included; 0 without any.
pub fn alike(ask: &Ask, rope: &[Bytes]) -> usize {
    let Some((last, before)) = ask.calls.split_last() else { return 0 };
    let is_alike =
        |call: &&crate::protocol::ask::CallSpan| call.name == last.name && call.arguments.len() == last.arguments.len();
    let alike: Vec<_> = before.iter().filter(is_alike).collect();
    if alike.is_empty() {
        return 1;
    }
    let arguments = text(rope, &last.arguments);
    alike.into_iter().filter(|call| text(rope, &call.arguments) == arguments).count() + 1
}

impl Trace {
    /// What will be learned of a request.
    #[must_use]
    pub fn new(memory: Memory<'_>, stamp: Stamp, talk: Option<u64>, call: &Call, compare: Option<Compare>) -> Self {
        let (routes, pins) = (memory.routes.clone(), memory.pins.clone());
        let form = form(call).filter(|_| stamp.route != 0);
        Self { routes, pins, stamp, talk, signs: signs(call), own_limit: call.ask.output_limit, compare, form }
    }

    /// Puts what routing saw into the ledger's entry.
    pub fn note(&self, entry: &mut Entry) {
        self.stamp.write(&mut entry.features);
    }

    /// The request was answered to its end by a model of `tier`.
    pub fn answered(&self, tier: Option<Tier>, operation: Operation, facts: &Facts, now_ms: u64) {
        let failed = self.signs_of(facts).chain(self.signs.iter().copied()).find(|sign| sign.is_failure());
        if let (Some(talk), Some(tier)) = (self.talk, tier) {
            let held = facts.usage.as_ref().map_or(0, |usage| held(operation, usage));
            self.pins.tell(talk, |place| (place.failed, place.held) = (failed.map(|_| tier), held));
        }
        if let (Some(compare), Some(usage)) = (&self.compare, &facts.usage) {
            let beginning = &compare.beginning;
            let (seen, likely) = beginning.tokens(operation, usage);
            if beginning.name != 0 {
                self.pins.share(beginning.name, seen, likely, (now_ms, beginning.ttl_s));
            }
        }
        if let Some((talk, id)) = self.talk.zip(facts.response_id.as_deref()) {
            self.pins.follow(talk, id);
        }
        let Some(tier) = tier.filter(|_| self.stamp.route != 0) else { return };
        let all = self.signs.iter().copied().chain(self.signs_of(facts));
        let (good, bad) = all.map(Sign::weights).fold((0, 0), |sum, more| (sum.0 + more.0, sum.1 + more.1));
        if good + bad > 0 {
            self.routes.hint(&Lesson { route: self.stamp.route, tier, good, bad, at_ms: now_ms });
        }
    }

    /// The conversation goes on with `model`, since the one before has failed.
    pub fn escalated(&self, model: &Arc<str>, tier: Tier) {
        if let Some(talk) = self.talk {
            self.pins.tell(talk, |place| (place.model, place.tier) = (model.clone(), tier));
        }
    }

    /// What the answer says of the model that gave it.
    pub fn signs_of(&self, facts: &Facts) -> impl Iterator<Item = Sign> {
        let form = facts.sound.map(|is_sound| if is_sound { Sign::GoodForm } else { Sign::BadForm });
        self.sign_of(facts).into_iter().chain(form)
    }

    /// What the end of the answer says of it.
    fn sign_of(&self, facts: &Facts) -> Option<Sign> {
        let output = facts.usage.as_ref().map_or(0, |usage| usage.output);
        match facts.ending? {
            Ending::Refusal => Some(Sign::Refused),
            // Whoever asks for ten tokens gets ten from every model.
            Ending::Length => self.own_limit.is_none_or(|limit| output < limit).then_some(Sign::Cut),
            Ending::Stop | Ending::Other if facts.text_bytes == 0 && output == 0 => Some(Sign::Empty),
            Ending::Stop | Ending::Other | Ending::ToolCalls | Ending::Failed => None,
        }
    }
}

/// The tier of a model of an upstream.
#[must_use]
pub fn tier_of(snapshot: &Snapshot, upstream: &str, model: &str) -> Option<Tier> {
    snapshot.lineups.get(upstream)?.tier_of(model)
}
