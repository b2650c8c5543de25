//! WHICH MODEL ANSWERS: rules first, then what was learned, then what the request looks like.
//!
//! Everything here is a pure function of what it is given; who gives it reads headers, bodies, pins and tables elsewhere.
//! Reading order: [`Policy`] says what may be done, [`Needs`] what a request takes, [`Kit`] what a model can, [`Lineup`]
//! which models there are, [`Evidence`] how hard the request is, [`Pin`] where its conversation is, and [`decide`] puts
//! them together.
//!
//! Invariant: a model that is not known to be able to do what a request asks for is never put in the place of the one
//! that was asked for.
//! Invariant: nothing that costs more replaces the model that was asked for, but for an escalation.

mod policy;
mod needs;
mod kit;
mod pin;
mod case;
mod decide;

pub use case::{Case, Evidence, Judged, Verdict};
pub use decide::{
    Considered, Decision, Estimate, NoCandidate, Rule, above, considered, decide, explicit, hangs_on_judge,
};
pub use kit::{Contender, Kit, Lack, Lineup, endpoints};
pub use needs::{Extras, Needs};
pub use pin::{Pin, Turns, pays};
pub use policy::{AUTO, Bounds, Classifier, Mode, Policy};

#[cfg(test)]
mod tests;
