//! The rules against requests of every kind.

use std::sync::Arc;

use super::*;
use crate::domain::entry::Tier;
use crate::domain::features::Features;
use crate::domain::operation::Operation;
use crate::domain::price::{Book, Cap, Context};

const HAIKU: &str = "claude-haiku-5-5";
const SONNET: &str = "claude-sonnet-5-5";
const OPUS: &str = "claude-opus-5-5";

/// A request, what is known, and what may be done with it.
struct Scene {
    requested: &'static str,
    provider: &'static str,
    tiers: [&'static str; 3],
    operation: Operation,
    features: Features,
    extras: Extras,
    evidence: Evidence,
    policy: Policy,
    floor: Option<Tier>,
    opted_out: bool,
    is_agent: bool,
    is_housekeeping: bool,
    is_bulk: bool,
    allowed: [bool; 3],
}

fn scene(requested: &'static str) -> Scene {
    Scene {
        requested,
        provider: "anthropic",
        tiers: [HAIKU, SONNET, OPUS],
        operation: Operation::Messages,
        features: Features { bytes: 4_000, last_bytes: 400, messages: 1, output_limit: 1_000, ..Features::default() },
        extras: Extras::default(),
        evidence: Evidence::default(),
        policy: Policy { mode: Mode::Enforce, is_routable: true, turns: 3, ..Policy::default() },
        floor: None,
        opted_out: false,
        is_agent: false,
        is_housekeeping: false,
        is_bulk: false,
        allowed: [true; 3],
    }
}

impl Scene {
    fn judged(mut self, tier: Tier) -> Self {
        self.evidence.judged = Some(Judged { tier, score: 500, is_sure: true });
        self
    }

    fn with(mut self, change: impl FnOnce(&mut Self)) -> Self {
        change(&mut self);
        self
    }

    fn pinned(mut self, model: &str, tier: Tier, cached: u64) -> Self {
        self.evidence.pin = Some(Pin { model: model.into(), tier, cached });
        self.features.messages = 9;
        self
    }

    fn decide(&self) -> Result<Decision, NoCandidate> {
        self.seen(|case, lineup| decide(case, &self.evidence, &self.policy, lineup))
    }

    fn above(&self, sent: &str) -> Option<(Arc<str>, Tier)> {
        self.seen(|case, lineup| above(case, &self.policy, lineup, sent))
    }

    fn seen<T>(&self, ask: impl FnOnce(&Case<'_>, &Lineup) -> T) -> T {
        let book = Book::builtin();
        let contender = |name: &str| {
            let model = book.find(self.provider, None, name);
            Some(Contender { name: name.into(), kit: model.as_deref().map(Kit::of).unwrap_or_default(), model })
        };
        let lineup = Lineup { tiers: self.tiers.map(contender), is_free: false };
        let requested: Option<Arc<_>> = book.find(self.provider, None, self.requested);
        let case = Case {
            features: &self.features,
            needs: Needs::of(self.operation, &self.features, &self.extras),
            requested: self.requested,
            requested_model: requested.as_deref(),
            is_auto: self.requested == AUTO,
            opted_out: self.opted_out,
            floor: self.floor,
            is_agent: self.is_agent,
            is_housekeeping: self.is_housekeeping,
            is_bulk: self.is_bulk,
            allowed: self.allowed,
            cache_ttl_s: 0,
            caches: true,
            context: Context::default(),
        };
        ask(&case, &lineup)
    }
}

/// The model that is sent, and the rule.
#[track_caller]
fn check(scene: &Scene, model: &str, rule: Rule) {
    let decision = scene.decide().unwrap();
    assert_eq!((decision.model.as_deref().unwrap_or(scene.requested), decision.rule), (model, rule));
}

#[test]
fn an_explicit_choice_wins() {
    let simple = |requested| scene(requested).judged(Tier::Simple);
    check(&simple(OPUS), HAIKU, Rule::Tier);
    check(&simple(OPUS).with(|it| it.opted_out = true), OPUS, Rule::OptOut);
    check(&simple(OPUS).with(|it| it.policy.is_routable = false), OPUS, Rule::Requested);
    check(&simple(OPUS).with(|it| it.policy.mode = Mode::Off), OPUS, Rule::Requested);
    check(&simple(OPUS).with(|it| it.policy.floor = Some(Tier::Medium)), SONNET, Rule::Tier);
    check(&simple(OPUS).with(|it| it.floor = Some(Tier::Medium)), SONNET, Rule::Tier);
    check(&simple(OPUS).with(|it| it.allowed[0] = false), SONNET, Rule::Tier);
    check(&simple(AUTO).with(|it| it.policy.mode = Mode::Off), HAIKU, Rule::Tier);
    check(&simple(AUTO).with(|it| it.opted_out = true), HAIKU, Rule::Tier);
    let complex = |requested| scene(requested).judged(Tier::Complex);
    check(&complex(AUTO).with(|it| it.policy.ceiling = Some(Tier::Medium)), SONNET, Rule::Tier);
    let shut = complex(AUTO).with(|it| it.allowed = [false; 3]);
    assert_eq!(shut.decide(), Err(NoCandidate(Lack::Forbidden)));
}

#[test]
fn nothing_dearer_replaces_what_was_asked_for() {
    check(&scene(HAIKU).judged(Tier::Complex), HAIKU, Rule::NoCheaper);
    check(&scene(SONNET).judged(Tier::Complex), SONNET, Rule::NoCheaper);
    check(&scene(SONNET).judged(Tier::Medium), SONNET, Rule::Tier);
    check(&scene(HAIKU).judged(Tier::Complex).with(|it| it.floor = Some(Tier::Complex)), HAIKU, Rule::NoCheaper);
    check(&scene("my-own-model").judged(Tier::Simple), "my-own-model", Rule::Unpriced);
}

#[test]
fn abilities_are_a_filter_and_only_upwards() {
    type Change = fn(&mut Scene);
    let asks: [(&str, Change); 12] = [
        ("tools", |it| it.features.tools = 3),
        ("images", |it| it.features.images = 1),
        ("a document", |it| it.features.documents = 1),
        ("a schema", |it| it.features.structured = true),
        ("thinking", |it| it.features.reasoning = true),
        ("audio", |it| it.features.audios = 1),
        ("video", |it| it.features.videos = 1),
        ("speech", |it| it.features.audio_out = true),
        ("a search", |it| it.extras.server_tools = [Cap::WebSearch].into_iter().collect()),
        ("a long context", |it| it.features.bytes = 100_000),
        ("a long answer", |it| it.features.output_limit = 10_000),
        ("sampling", |it| it.extras.sampling = true),
    ];
    // Two models of which nothing is known, and one that can do nearly everything.
    for (what, change) in asks {
        let scene = scene(AUTO).judged(Tier::Simple).with(|it| {
            it.provider = "openai";
            it.operation = Operation::ChatCompletions;
            it.tiers = ["made-up", "made-up-too", "gpt-5.2"];
            change(it);
        });
        let decision = scene.decide();
        let able = Kit::of(&Book::builtin().find("openai", None, "gpt-5.2").unwrap());
        let is_able = able.lacks(&Needs::of(scene.operation, &scene.features, &scene.extras)).is_none();
        assert_eq!(decision.ok().and_then(|it| it.model).as_deref(), is_able.then_some("gpt-5.2"), "{what}");
    }
    // What no catalogue speaks of stays with the model that was asked for.
    for change in [
        (|it| it.features.logprobs = true) as Change,
        |it| it.features.choices = 3,
        |it| it.features.background = true,
        |it| it.features.stored_context = true,
        |it| it.extras.special = Some("a speed"),
    ] {
        check(&scene(OPUS).judged(Tier::Simple).with(change), OPUS, Rule::NoCheaper);
    }
}

#[test]
fn a_model_on_another_endpoint_is_no_candidate() {
    let on = |operation| {
        scene("gpt-5.4-pro").judged(Tier::Simple).with(|it| {
            it.provider = "openai";
            it.operation = operation;
            it.tiers = ["gpt-5.1-codex-mini", "gpt-5.4-mini", "gpt-5.4"];
        })
    };
    check(&on(Operation::ChatCompletions), "gpt-5.4-mini", Rule::Tier);
    check(&on(Operation::Responses), "gpt-5.1-codex-mini", Rule::Tier);
    check(&on(Operation::Messages), "gpt-5.4-pro", Rule::NoCheaper);
}

#[test]
fn thinking_and_tool_loops_stay_where_they_are() {
    type Change = fn(&mut Scene);
    for (change, rule) in [
        ((|it| it.features.signed_reasoning = true) as Change, Rule::Thinking),
        (|it| it.features.in_tool_loop = true, Rule::ToolLoop),
    ] {
        check(&scene(OPUS).judged(Tier::Simple).with(change), OPUS, rule);
        check(&scene(OPUS).pinned(SONNET, Tier::Medium, 0).judged(Tier::Simple).with(change), SONNET, rule);
        check(&scene(OPUS).pinned(SONNET, Tier::Medium, 0).judged(Tier::Complex).with(change), SONNET, rule);
        check(&scene(AUTO).pinned(HAIKU, Tier::Simple, 0).judged(Tier::Complex).with(change), HAIKU, rule);
        check(&scene(OPUS).judged(Tier::Simple).with(change).with(|it| it.is_housekeeping = true), OPUS, rule);
    }
}

#[test]
fn a_conversation_leaves_its_model_only_where_that_pays() {
    // 50,000 tokens are warm on Opus: Haiku is so cheap that it pays, Sonnet is not.
    let long = |it: &mut Scene| it.features.bytes = 204_000;
    check(&scene(OPUS).pinned(OPUS, Tier::Complex, 50_000).judged(Tier::Medium).with(long), OPUS, Rule::Pinned);
    check(&scene(OPUS).pinned(OPUS, Tier::Complex, 0).judged(Tier::Medium), SONNET, Rule::Pays);
    // Nobody remembers it: what was asked for is presumed warm.
    check(&scene(OPUS).judged(Tier::Medium).with(long).with(|it| it.features.messages = 9), OPUS, Rule::Pinned);
    check(&scene(OPUS).judged(Tier::Medium).with(long), SONNET, Rule::Tier);
    check(&scene(OPUS).pinned(SONNET, Tier::Medium, 900).judged(Tier::Medium), SONNET, Rule::Pinned);
    // Up at once, and never above what was asked for.
    check(&scene(OPUS).pinned(SONNET, Tier::Medium, 900).judged(Tier::Complex), OPUS, Rule::Harder);
    check(&scene(SONNET).pinned(SONNET, Tier::Medium, 900).judged(Tier::Complex), SONNET, Rule::Pinned);
    check(&scene(AUTO).pinned(HAIKU, Tier::Simple, 900).judged(Tier::Complex), OPUS, Rule::Harder);
}

#[test]
fn doubt_means_medium() {
    check(&scene(OPUS), SONNET, Rule::Unsure);
    check(&scene(OPUS).with(|it| it.evidence.judge = Some(Tier::Simple)), HAIKU, Rule::Judge);
    check(&scene(OPUS).judged(Tier::Complex).with(|it| it.evidence.judge = Some(Tier::Simple)), OPUS, Rule::Tier);
    check(&scene(OPUS).judged(Tier::Simple).with(|it| it.is_agent = true), SONNET, Rule::NotSimple);
    check(&scene(OPUS).judged(Tier::Simple).with(|it| it.features.bytes = 140_000), SONNET, Rule::NotSimple);
}

#[test]
fn housekeeping_is_cheap_and_failure_goes_up() {
    let tidy = |requested| scene(requested).judged(Tier::Complex).with(|it| it.is_housekeeping = true);
    check(&tidy(OPUS), HAIKU, Rule::Housekeeping);
    check(&tidy(AUTO), HAIKU, Rule::Housekeeping);
    check(&tidy(HAIKU), HAIKU, Rule::Housekeeping);
    let failed = |tier| scene(HAIKU).judged(Tier::Simple).with(|it| it.evidence.failed = Some(tier));
    check(&failed(Tier::Simple), SONNET, Rule::Escalated);
    check(&failed(Tier::Medium), OPUS, Rule::Escalated);
    // There is nothing above, or it is not allowed.
    check(&failed(Tier::Complex), HAIKU, Rule::Tier);
    let capped = scene(OPUS).judged(Tier::Simple).with(|it| it.policy.ceiling = Some(Tier::Medium));
    check(&capped.with(|it| it.evidence.failed = Some(Tier::Medium)), HAIKU, Rule::Tier);
    check(&scene(OPUS).judged(Tier::Simple).with(|it| it.is_bulk = true), OPUS, Rule::Bulk);
}

#[test]
fn a_failed_answer_is_asked_for_one_tier_up() {
    let check = |scene: Scene, sent: &str, expect: Option<(&str, Tier)>| {
        let above = scene.above(sent);
        assert_eq!(above.as_ref().map(|(model, tier)| (&**model, *tier)), expect, "{} {sent}", scene.requested);
    };
    check(scene(OPUS), HAIKU, Some((SONNET, Tier::Medium)));
    check(scene(OPUS), SONNET, Some((OPUS, Tier::Complex)));
    check(scene(AUTO), HAIKU, Some((SONNET, Tier::Medium)));
    check(scene(AUTO), OPUS, None);
    // What was asked for is the most that it may cost, and what was not replaced has not failed in another's place.
    check(scene(SONNET), HAIKU, Some((SONNET, Tier::Medium)));
    check(scene(SONNET).with(|it| it.tiers = [HAIKU, OPUS, OPUS]), HAIKU, Some((SONNET, Tier::Medium)));
    check(scene(HAIKU), HAIKU, None);
    check(scene(OPUS).with(|it| it.policy.ceiling = Some(Tier::Simple)), HAIKU, None);
    check(scene(OPUS).with(|it| it.allowed[1] = false), HAIKU, Some((OPUS, Tier::Complex)));
    check(scene(OPUS).with(|it| it.features.in_tool_loop = true), HAIKU, None);
    check(scene(OPUS).with(|it| it.features.signed_reasoning = true), HAIKU, None);
    check(scene(OPUS).with(|it| it.is_housekeeping = true), HAIKU, None);
}

#[test]
fn lanes_and_teams_narrow_what_may_be_done() {
    let base = Policy { mode: Mode::Enforce, max_output: [Some(10), None, None], ..Policy::default() };
    let lane = base.within(&Bounds { mode: Some(Mode::Off), ..Bounds::default() });
    assert!(
        lane.is_kept_lane && lane.within(&Bounds { mode: Some(Mode::Enforce), ..Bounds::default() }).mode == Mode::Off
    );
    let narrow = base.within(&Bounds { ceiling: Some(Tier::Medium), max_output: Some(20), ..Bounds::default() });
    assert_eq!((narrow.clamped(Tier::Complex), narrow.max_output), (Tier::Medium, [Some(10), Some(20), Some(20)]));
    let wide = narrow.within(&Bounds { ceiling: Some(Tier::Complex), floor: Some(Tier::Simple), ..Bounds::default() });
    assert_eq!(wide.clamped(Tier::Complex), Tier::Medium);
}

#[test]
fn the_break_even_is_that_of_the_arithmetic() {
    // ROUTING 4: with n = o = 500 and one turn, a switch is dearer from so many cached tokens on.
    let book = Book::builtin();
    let rates = |name| {
        let model = book.find("anthropic", None, name).unwrap();
        crate::domain::price::apiece(model.row(), 1_000, 0, &Context::default()).unwrap()
    };
    for (warm, cold) in [(OPUS, SONNET), (SONNET, HAIKU), (OPUS, HAIKU)] {
        let (warm, cold) = (rates(warm), rates(cold));
        let turns = |cached| Turns { cached, fresh: 500, output: 500, count: 1, caches: true };
        let gain =
            (warm.cache_write.pico() - cold.cache_write.pico()) * 500 + (warm.output.pico() - cold.output.pico()) * 500;
        let is_dear = |cached: u64| turns(cached).cold(&cold) > turns(cached).warm(&warm);
        match cold.cache_write.pico().checked_sub(warm.cache_read.pico()).filter(|loss| *loss > 0) {
            Some(loss) => {
                let at = gain / loss;
                assert!(!is_dear(at) && is_dear(at + 1), "{at}");
                assert!(!pays(&turns(at), &warm, &cold));
            }
            None => assert!(!is_dear(1_000_000)),
        }
    }
}
