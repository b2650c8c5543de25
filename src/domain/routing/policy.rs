//! [`Policy`]: what routing may do with the requests of one caller.

use crate::domain::entry::Tier;

/// The name that asks for whatever model is right.
pub const AUTO: &str = "auto";

/// How far routing goes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Mode {
    /// Requests keep their models.
    Off,
    /// Requests keep their models, and the ledger says which they would have got.
    #[default]
    Observe,
    /// Requests get the model that is right.
    Enforce,
}

/// Who says how hard a request is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Classifier {
    /// The model inside the binary.
    #[default]
    Local,
    /// A judge: a cheap model that is asked for one word.
    Llm,
    /// The judge where the model inside the binary is unsure.
    Hybrid,
}

/// The narrower bounds of a team or of an operator's route.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Bounds {
    /// Another mode than the general one; off also marks a lane whose model never changes.
    pub mode: Option<Mode>,
    /// At least this tier.
    pub floor: Option<Tier>,
    /// At most this tier.
    pub ceiling: Option<Tier>,
    /// At most so many tokens in an answer.
    pub max_output: Option<u64>,
}

/// What routing may do with one request.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Policy {
    /// How far it goes.
    pub mode: Mode,
    /// Who says how hard a request is.
    pub classifier: Classifier,
    /// Whether a lane was marked by the operator so that its requests keep their models.
    pub is_kept_lane: bool,
    /// Whether the requested name is one that may be replaced.
    pub is_routable: bool,
    /// At least this tier.
    pub floor: Option<Tier>,
    /// At most this tier.
    pub ceiling: Option<Tier>,
    /// At most so many tokens in an answer of each tier.
    pub max_output: [Option<u64>; 3],
    /// How many more turns a conversation is expected to have.
    pub turns: u32,
}

impl Policy {
    /// The same within the bounds of a team or a route: the narrower wins.
    #[must_use]
    pub fn within(mut self, bounds: &Bounds) -> Self {
        if let Some(mode) = bounds.mode {
            self.is_kept_lane |= mode == Mode::Off;
            self.mode = if self.mode == Mode::Off { Mode::Off } else { mode };
        }
        self.floor = self.floor.max(bounds.floor);
        self.ceiling = self.ceiling.into_iter().chain(bounds.ceiling).min();
        if let Some(most) = bounds.max_output {
            self.max_output = self.max_output.map(|own| Some(own.map_or(most, |own| own.min(most))));
        }
        self
    }

    /// The most tokens of an answer: those of its tier, or where nobody knows the tier, of the tier that has most.
    #[must_use]
    pub fn output_limit(&self, tier: Option<Tier>) -> Option<u64> {
        match tier {
            Some(tier) => self.max_output[tier as usize],
            None => self.max_output.iter().copied().collect::<Option<Vec<_>>>()?.into_iter().max(),
        }
    }

    /// The tier within floor and ceiling; the ceiling wins, since it guards money.
    #[must_use]
    pub fn clamped(&self, tier: Tier) -> Tier {
        let tier = self.floor.map_or(tier, |floor| tier.max(floor));
        self.ceiling.map_or(tier, |ceiling| tier.min(ceiling))
    }
}
