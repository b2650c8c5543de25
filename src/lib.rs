//! Tollgate: a cost-aware reverse proxy for LLM APIs.

pub mod domain;
pub mod protocol;
pub mod clock;
pub mod telemetry;
pub mod upstream;
pub mod admin;
