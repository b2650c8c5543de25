//! [`Outcomes`]: what became of a route's requests on a tier, and how much that says against the classifier.
//!
//! A route is what production traffic is made of: the same system prompt, tools and answer format over and over. A few
//! outcomes of it say more than any look at the words: with 20 of them a route table reached an APGR of .670 where the
//! best classifier of words had .608 (ROUTING.md, section 1). The classifier stays in as a prior that weighs ten
//! outcomes, so that the first failure of a route does not move it to the dearest model.
//!
//! Invariant: without outcomes the answer is the classifier's; the more there are, the less it counts.

use super::classify::Score;
use super::entry::Tier;

/// How many outcomes the classifier's word is worth.
pub const PRIOR_OUTCOMES: u32 = 10;

/// An outcome of full weight; one that only hints weighs less.
pub const WHOLE: u32 = 256;

/// Past so many outcomes the older half is forgotten, so that a route which changes is learned anew.
pub const OUTCOMES_MAX: u32 = 400;

/// Below this many outcomes nothing is moved to a cheaper tier than the classifier's.
pub const OUTCOMES_TO_GO_DOWN: u32 = 10;

/// Fails a tier more often than this, in millionths, the next one is taken.
pub const FAILURE_MAX_PPM: u32 = 250_000;

/// All of something, in millionths.
const ALL_PPM: u32 = 1_000_000;

/// What an answer, or the request that follows it, says of the model that gave it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sign {
    /// The schema was not kept, or a tool's arguments cannot be read.
    BadForm,
    /// JSON was asked for, and came.
    GoodForm,
    /// The tool that it called failed.
    ToolFailed,
    /// It worked.
    ToolWorked,
    /// It calls the same tool with the same arguments again and again.
    Repeated,
    /// It, or a filter, refused.
    Refused,
    /// It was cut off at a limit that the client did not set.
    Cut,
    /// It said nothing.
    Empty,
    /// The same was asked again at once.
    AskedAgain,
}

/// What became of requests, in 256ths of an outcome.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Outcomes {
    /// Those that did what was asked.
    pub good: u32,
    /// Those that did not.
    pub bad: u32,
}

impl Sign {
    /// What counts as good and as bad, in 256ths of an outcome: as much as feedback only where nothing else can be meant.
    #[must_use]
    pub const fn weights(self) -> (u32, u32) {
        match self {
            Self::BadForm | Self::Empty => (0, WHOLE),
            Self::GoodForm => (WHOLE / 4, 0),
            Self::Repeated | Self::Refused | Self::Cut | Self::AskedAgain => (0, WHOLE / 2),
            // Tools fail for many reasons, and most of them are not the model.
            Self::ToolFailed => (0, WHOLE / 4),
            Self::ToolWorked => (WHOLE / 8, 0),
        }
    }

    /// Whether the conversation should go on one tier up.
    #[must_use]
    pub const fn is_failure(self) -> bool {
        match self {
            Self::BadForm | Self::Repeated | Self::Refused | Self::Cut | Self::Empty => true,
            Self::GoodForm | Self::ToolFailed | Self::ToolWorked | Self::AskedAgain => false,
        }
    }
}

impl Outcomes {
    /// Adds what became of several, in 256ths of an outcome.
    pub fn add(&mut self, good: u32, bad: u32) {
        if self.count() >= OUTCOMES_MAX {
            self.age();
        }
        (self.good, self.bad) = (self.good.saturating_add(good), self.bad.saturating_add(bad));
    }

    /// Forgets half.
    pub const fn age(&mut self) {
        self.good /= 2;
        self.bad /= 2;
    }

    /// Whole outcomes.
    #[must_use]
    pub const fn count(&self) -> u32 {
        self.good.saturating_add(self.bad) / WHOLE
    }

    /// How likely the next one is bad, in millionths, if it was thought to be so likely before: the mean of a Beta
    /// distribution whose prior weighs [`PRIOR_OUTCOMES`].
    #[must_use]
    pub fn failure_ppm(&self, prior_ppm: u32) -> u32 {
        let prior = u64::from(PRIOR_OUTCOMES) * u64::from(WHOLE);
        let bad = u64::from(self.bad) * u64::from(ALL_PPM) + u64::from(prior_ppm.min(ALL_PPM)) * prior;
        let all = u64::from(self.bad) + u64::from(self.good) + prior;
        u32::try_from(bad / all).unwrap_or(ALL_PPM)
    }
}

/// What the classifier says, drawn towards what was learned of the route: one [`Outcomes`] for each tier, simple first.
///
/// The chance that the small model fails is drawn towards what the small model did. The tier goes up from one that was
/// seen to fail, and down to a cheaper one only where that was tried often enough and did well.
#[must_use]
pub fn drawn(score: Score, learned: &[Outcomes; 3]) -> Score {
    let [simple, medium, _] = learned;
    if learned.iter().all(|outcomes| outcomes.count() == 0) {
        return score;
    }
    let failure_ppm = simple.failure_ppm(score.failure_ppm);
    // A dearer model is thought to fail half as often.
    let medium_ppm = medium.failure_ppm(score.failure_ppm / 2);
    let holds = |outcomes: &Outcomes, failure_ppm: u32| {
        outcomes.count() >= OUTCOMES_TO_GO_DOWN && failure_ppm <= FAILURE_MAX_PPM
    };
    let fails = |outcomes: &Outcomes, failure_ppm: u32| outcomes.bad > 0 && failure_ppm > FAILURE_MAX_PPM;
    let mut tier = score.tier;
    if holds(medium, medium_ppm) {
        tier = tier.min(Tier::Medium);
    }
    if holds(simple, failure_ppm) {
        tier = Tier::Simple;
    }
    if tier == Tier::Simple && fails(simple, failure_ppm) {
        tier = Tier::Medium;
    }
    if tier == Tier::Medium && fails(medium, medium_ppm) {
        tier = Tier::Complex;
    }
    let is_learned = simple.count().max(medium.count()) >= OUTCOMES_TO_GO_DOWN;
    Score { failure_ppm, tier, is_sure: score.is_sure || is_learned, ..score }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn outcomes(good: u32, bad: u32) -> Outcomes {
        Outcomes { good: good * WHOLE, bad: bad * WHOLE }
    }

    #[test]
    fn outcomes_draw_the_chance_towards_what_was_seen() {
        for (good, bad, prior, expect) in [
            (0, 0, 300_000, 300_000),
            (20, 0, 300_000, 100_000),
            (0, 20, 300_000, 766_666),
            (10, 10, 500_000, 500_000),
            (200, 0, 900_000, 42_857),
        ] {
            assert_eq!(outcomes(good, bad).failure_ppm(prior), expect, "{good} good, {bad} bad");
        }
    }

    #[test]
    fn a_route_goes_where_it_did_well() {
        let none = Outcomes::default();
        let base =
            Score { failure_ppm: 300_000, tier_ppm: [200_000, 600_000, 200_000], tier: Tier::Medium, is_sure: true };
        for (tier, learned, expect) in [
            (Tier::Medium, [none; 3], Tier::Medium),
            (Tier::Medium, [outcomes(20, 0), none, none], Tier::Simple),
            (Tier::Medium, [outcomes(5, 0), none, none], Tier::Medium),
            (Tier::Simple, [outcomes(0, 20), none, none], Tier::Medium),
            (Tier::Simple, [outcomes(0, 20), outcomes(2, 18), none], Tier::Complex),
            (Tier::Medium, [none, outcomes(4, 16), none], Tier::Complex),
            (Tier::Complex, [none, outcomes(30, 1), none], Tier::Medium),
            (Tier::Complex, [outcomes(10, 10), none, none], Tier::Complex),
        ] {
            assert_eq!(drawn(Score { tier, ..base }, &learned).tier, expect, "{tier:?} {learned:?}");
        }
    }

    #[test]
    fn old_outcomes_are_forgotten() {
        let mut seen = Outcomes::default();
        (0..5_000).for_each(|_| seen.add(WHOLE, 0));
        (0..2_000).for_each(|_| seen.add(0, WHOLE));
        assert!(seen.count() <= OUTCOMES_MAX && seen.failure_ppm(0) > 900_000, "{seen:?}");
    }

    proptest! {
        #[test]
        fn a_failure_never_makes_failing_less_likely(good in 0..500_u32, bad in 0..500_u32, prior in 0..=1_000_000_u32) {
            let (before, after) = (outcomes(good, bad), outcomes(good, bad + 1));
            prop_assert!(after.failure_ppm(prior) >= before.failure_ppm(prior));
            prop_assert!(before.failure_ppm(prior) <= 1_000_000);
        }
    }
}
