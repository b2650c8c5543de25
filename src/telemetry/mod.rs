//! WHAT IS SAID ABOUT REQUESTS: numbers for dashboards, a line for each request, and what Tollgate says of itself.
//!
//! Nothing here decides anything, and nothing here makes a request wait.

pub mod family;
mod labels;
mod resident;
mod routed;
mod places;
mod entries;
pub mod metrics;
pub mod line;
pub mod scribe;
pub mod log;
