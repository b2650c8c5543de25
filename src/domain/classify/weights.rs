//! [`Weights`]: the linear models, read from their file, and the [`Score`] that they give.
//!
//! The file is JSON: `"version"`, `"traits"` (the names, which must be those of this binary), `"failure"` (the small
//! model fails) and `"tiers"` (simple, medium, complex), each with a `"bias"` and a weight for each trait, all integers in
//! 1/65,536 of a logarithm of odds for a whole trait (256). Whatever else it holds is for people: provenance and scores.
//!
//! Invariant: a weight is at most [`WEIGHT_MAX`], so that no single trait decides.

use std::fmt;
use std::sync::LazyLock;

use serde::Deserialize;

use super::curve::{chance, chances};
use super::traits::{TRAITS, Traits, name};
use crate::domain::entry::Tier;

/// The largest weight: two units of a logarithm of odds for a whole trait.
pub const WEIGHT_MAX: i64 = 131_072;

/// A tier that is less likely than this, in millionths, is no more than a guess.
const SURE_PPM: u32 = 500_000;

/// The weights inside the binary.
const BUILTIN_TEXT: &str = include_str!("../../../config/routing-weights.json");

/// The models.
#[derive(Clone, Debug)]
pub struct Weights {
    /// What the file calls itself.
    pub version: Box<str>,
    failure: Line,
    tiers: [Line; 3],
}

/// A linear model.
#[derive(Clone, Debug)]
struct Line {
    bias: i64,
    weights: [i32; TRAITS],
}

/// How hard an ask seems.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Score {
    /// How likely the small model fails, in millionths.
    pub failure_ppm: u32,
    /// How likely each tier is, in millionths; simple first.
    pub tier_ppm: [u32; 3],
    /// The tier: the likeliest, or medium where none is likely enough.
    pub tier: Tier,
    /// Whether one was.
    pub is_sure: bool,
}

/// What a trait adds to the chance that the small model fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Part {
    /// The trait.
    pub name: &'static str,
    /// In 1/65,536 of a logarithm of odds; below zero where it makes failing less likely.
    pub sum: i64,
}

/// Why a file holds no weights for this binary.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BadWeights(String);

#[derive(Deserialize)]
struct File {
    version: Box<str>,
    traits: Vec<Box<str>>,
    failure: FileLine,
    tiers: [FileLine; 3],
}

#[derive(Deserialize)]
struct FileLine {
    bias: i64,
    weights: Vec<i64>,
}

impl Weights {
    /// The weights inside the binary.
    #[must_use]
    pub fn builtin() -> &'static Self {
        static BUILTIN: LazyLock<Weights> =
            LazyLock::new(|| Weights::parse(BUILTIN_TEXT).unwrap_or_else(|_| Weights::none()));
        &BUILTIN
    }

    /// Reads a file of weights.
    ///
    /// # Errors
    /// It is no such file, its traits are not those of this binary, or a weight is too large.
    pub fn parse(text: &str) -> Result<Self, BadWeights> {
        let file: File = serde_json::from_str(text).map_err(|error| BadWeights(error.to_string()))?;
        let names = file.traits.iter().enumerate().all(|(place, known)| **known == *name(place));
        if file.traits.len() != TRAITS || !names {
            return Err(BadWeights("the traits are those of another version".to_owned()));
        }
        let [simple, medium, complex] = file.tiers;
        Ok(Self {
            version: file.version,
            failure: file.failure.line()?,
            tiers: [simple.line()?, medium.line()?, complex.line()?],
        })
    }

    /// Weighs.
    #[must_use]
    pub fn score(&self, traits: &Traits) -> Score {
        let [failure, tiers @ ..] = self.sums(traits);
        let (failure_ppm, tier_ppm) = (chance(failure), chances(tiers));
        let sure =
            [Tier::Simple, Tier::Medium, Tier::Complex].into_iter().zip(tier_ppm).find(|(_, ppm)| *ppm >= SURE_PPM);
        Score { failure_ppm, tier_ppm, tier: sure.map_or(Tier::Medium, |(tier, _)| tier), is_sure: sure.is_some() }
    }

    /// The three traits that weigh most in a score, heaviest first.
    #[must_use]
    pub fn top(&self, traits: &Traits) -> [Part; 3] {
        let parts = self.failure.weights.iter().zip(traits).enumerate();
        let mut parts: Vec<Part> =
            parts.map(|(place, (weight, value))| Part { name: name(place), sum: part(*weight, *value) }).collect();
        parts.sort_by_key(|part| std::cmp::Reverse(part.sum.unsigned_abs()));
        [0, 1, 2].map(|place| parts.get(place).copied().unwrap_or(Part { name: "", sum: 0 }))
    }

    /// What each line comes to: that of failing, and those of the tiers.
    fn sums(&self, traits: &Traits) -> [i64; 4] {
        let [simple, medium, complex] = &self.tiers;
        let lines = [&self.failure, simple, medium, complex];
        let mut sums = [0_i64; 4];
        // Most traits of an ask are none.
        for (place, value) in traits.iter().enumerate().filter(|(_, value)| **value != 0) {
            for (sum, line) in sums.iter_mut().zip(lines) {
                *sum += i64::from(line.weights[place]) * i64::from(*value);
            }
        }
        std::array::from_fn(|line| lines[line].bias + (sums[line] >> 8))
    }

    /// No weights: every ask is as likely to fail as not.
    fn none() -> Self {
        let line = || Line { bias: 0, weights: [0; TRAITS] };
        Self { version: "none".into(), failure: line(), tiers: [line(), line(), line()] }
    }
}

impl FileLine {
    fn line(self) -> Result<Line, BadWeights> {
        let weights = self.weights.iter().map(|weight| match weight.abs() <= WEIGHT_MAX {
            true => i32::try_from(*weight).map_err(|_| too_large(*weight)),
            false => Err(too_large(*weight)),
        });
        let weights: Vec<i32> = weights.collect::<Result<_, _>>()?;
        let count = weights.len();
        let weights = weights.try_into().map_err(|_| BadWeights(format!("{count} weights for {TRAITS} traits")))?;
        Ok(Line { bias: self.bias, weights })
    }
}

fn part(weight: i32, value: i32) -> i64 {
    (i64::from(weight) * i64::from(value)) >> 8
}

fn too_large(weight: i64) -> BadWeights {
    BadWeights(format!("a weight of {weight} is more than {WEIGHT_MAX}"))
}

impl fmt::Display for BadWeights {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&self.0)
    }
}

impl std::error::Error for BadWeights {}

#[cfg(test)]
mod tests {
    use super::super::traits::{View, traits};
    use super::*;
    use crate::domain::features::Features;

    fn of(text: &str) -> Traits {
        let features = Features::default();
        traits(View { text: text.as_bytes(), whole_bytes: text.len(), features: &features, turns: 1 })
    }

    #[test]
    fn the_weights_in_the_binary_are_small_and_whole() {
        let weights = Weights::parse(BUILTIN_TEXT).unwrap();
        assert_eq!(weights.version.len(), 12);
        assert!(BUILTIN_TEXT.len() < 1 << 20);
        let length = (0..TRAITS).find(|place| name(*place) == "whole_length").unwrap();
        assert_eq!(weights.failure.weights[length], 0, "length alone decides nothing");
    }

    #[test]
    fn hard_asks_score_higher_than_easy_ones() {
        let scored = |text: &str| Weights::builtin().score(&of(text)).failure_ppm;
        let hard = "Ada has 12 crates of 30 apples. She sells half of them for $2 each and twice as many the next day. \
            How much money did she make in total?";
        let code = "Write a function to find the longest palindromic subsequence in the given string.";
        let easy = "Classify the sentiment of this review as positive or negative: I love it.";
        assert!(scored(hard) > scored(easy) && scored(code) > scored(easy));
    }

    #[test]
    fn doubt_means_medium() {
        let even = Weights::none().score(&of("hm"));
        assert_eq!((even.tier, even.is_sure, even.failure_ppm), (Tier::Medium, false, 500_000));
    }

    #[test]
    fn other_weights_are_refused() {
        let tiers = r#"[{"bias":0,"weights":[]},{"bias":0,"weights":[]},{"bias":0,"weights":[]}]"#;
        let other = format!(r#"{{"version":"1","traits":[],"failure":{{"bias":0,"weights":[]}},"tiers":{tiers}}}"#);
        let heavy = BUILTIN_TEXT.replacen(r#""weights": [0,"#, r#""weights": [131073,"#, 1);
        for (text, says) in [
            ("{}", "missing field"),
            (&*other, "the traits are those of another version"),
            (&*heavy, "a weight of 131073 is more than 131072"),
        ] {
            assert!(Weights::parse(text).unwrap_err().to_string().contains(says), "{says}");
        }
    }
}
