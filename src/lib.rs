//! Tollgate: a cost-aware reverse proxy for LLM APIs.

pub mod domain;
pub mod mock;
