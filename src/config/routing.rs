//! [`Routing`]: which requested names may be replaced, by which models, for whom.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use super::glob::Glob;
use super::parts::Config;
use crate::domain::account::{Account, Tag};
use crate::domain::routing::{AUTO, Bounds, Classifier, Mode, Policy};

/// Models by tier, simple first.
pub type Tiers = [Option<Arc<str>>; 3];

/// How many more turns a conversation is expected to have, where config does not say.
pub(super) const TURNS: u32 = 3;

/// `[routing]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Routing {
    /// How far it goes.
    pub mode: Mode,
    /// Requested names that may be replaced besides `auto`. Not said, all of them are watched and none is replaced.
    pub routable: Option<Vec<Glob>>,
    /// Who says how hard a request is.
    pub classifier: Classifier,
    /// Who is asked where that is not the local model.
    pub judge: Judge,
    /// How many more turns a conversation is expected to have.
    pub turns: u32,
    /// Whether a request is asked again one tier up where the model that it was given has failed at it.
    pub escalate: bool,
    /// Whether lists of models name `auto`.
    pub list_auto: bool,
    /// At most so many tokens in an answer of each tier.
    pub max_output: [Option<u64>; 3],
    /// The models of each upstream that has any.
    pub tiers: BTreeMap<Arc<str>, Tiers>,
    /// Narrower bounds of teams.
    pub teams: BTreeMap<Arc<str>, Bounds>,
    /// Narrower bounds of requests with a tag, as `name=value`.
    pub routes: BTreeMap<Arc<str>, Bounds>,
}

/// `[routing.judge]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Judge {
    /// Where it is asked; not said, where the request goes.
    pub upstream: Option<Arc<str>>,
    /// The model; not said, the simple one of that upstream.
    pub model: Option<Arc<str>>,
    /// How long a request waits for its word.
    pub deadline: Duration,
    /// Tokens of its answer at the most.
    pub tokens_max: u64,
}

/// The tiers of providers whose models are known, by price and by what their makers sell them for: names and prices are the
/// price book's (a test looks each of them up there), whose lines name their sources.
const BUILT_IN: &[(&str, [&str; 3])] = &[
    ("anthropic", ["claude-haiku-5-5", "claude-sonnet-5-5", "claude-opus-5-5"]),
    ("openai", ["gpt-6-luna", "gpt-6.1-terra", "gpt-6.1-sol"]),
    ("google", ["gemini-3.5-flash-lite", "gemini-3.8-flash", "gemini-4-argon"]),
    ("deepseek", ["deepseek-v4-flash", "deepseek-v4-flash", "deepseek-v4-pro"]),
    ("xai", ["grok-4.3", "grok-4.3", "grok-4.7"]),
    ("mistral", ["ministral-8b-2512", "mistral-large-2512", "mistral-large-4"]),
    ("groq", ["openai/gpt-oss-20b", "openai/gpt-oss-120b", "openai/gpt-oss-120b"]),
];

/// The tiers that are built in for a provider of the price book.
pub(super) fn built_in(provider: &str) -> Option<[&'static str; 3]> {
    BUILT_IN.iter().find(|(known, _)| *known == provider).map(|(_, tiers)| *tiers)
}

impl Routing {
    /// Whether anybody's answers are limited.
    #[must_use]
    pub fn limits_output(&self) -> bool {
        let bounds = self.teams.values().chain(self.routes.values());
        self.max_output.iter().any(Option::is_some) || bounds.into_iter().any(|bounds| bounds.max_output.is_some())
    }
}

impl Config {
    /// What routing may do with a request of `account` for the model `requested`.
    #[must_use]
    pub fn routing_policy(&self, account: &Account, requested: &str) -> Policy {
        let routing = &self.routing;
        let mut policy = Policy { mode: routing.mode, turns: routing.turns, ..Policy::default() };
        (policy.classifier, policy.max_output) = (routing.classifier, routing.max_output);
        let teams = account.team.iter().filter_map(|team| routing.teams.get(team));
        let routes = routing.routes.iter().filter(|(route, _)| account.tags.iter().any(|tag| is_named(tag, route)));
        for bounds in teams.chain(routes.map(|(_, bounds)| bounds)) {
            policy = policy.within(bounds);
        }
        policy.is_routable = match &routing.routable {
            Some(globs) => globs.iter().any(|glob| glob.matches(requested)),
            None => policy.mode == Mode::Observe,
        };
        policy.is_routable |= requested == AUTO;
        policy
    }
}

fn is_named((name, value): &Tag, route: &str) -> bool {
    route.split_once('=').is_some_and(|(known, wanted)| known == &**name && wanted == &**value)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::price::{Book, Cap};
    use crate::domain::routing::Kit;

    #[test]
    fn every_built_in_tier_is_a_model_of_the_book_that_can_be_called_today() {
        let book = Book::builtin();
        for (provider, names) in BUILT_IN {
            for name in names {
                let model = book.find(provider, None, name).unwrap_or_else(|| panic!("{provider}/{name}"));
                assert!(model.status().is_none() && model.retires().is_none_or(|day| day > "2027-06"), "{name}");
                assert!(model.row().standard().any_paid() && model.can(Cap::Tools), "{provider}/{name}");
                assert!(Kit::of(&model).context > 0 && model.max_output().is_some(), "{provider}/{name}");
            }
        }
    }
}
