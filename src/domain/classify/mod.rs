//! HOW HARD IS IT: an ask's words as numbers, and a linear model that makes a chance and a tier of them, in microseconds
//! and in integers. No tokenizer, no network, no embedding.
//!
//! [`traits()`] counts; [`Weights::score`] weighs. The weights are a versioned file inside the binary
//! (`config/routing-weights.json`), made by `config/build/weights.py`, which also writes into it where they come from and
//! how well they did on data that they had not seen.
//!
//! Invariant: it never decides alone: what it is unsure of is medium, and rules and what was learned of a route go first.

mod words;
mod count;
mod curve;
mod traits;
mod weights;

pub use traits::{TRAIT_MAX, TRAITS, Traits, View, name, traits};
pub use weights::{BadWeights, Part, Score, Weights};
