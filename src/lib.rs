//! Tollgate: a cost-aware reverse proxy for LLM APIs.

pub mod domain;
pub mod protocol;
pub mod config;
pub mod clock;
pub mod drain;
pub mod telemetry;
pub mod store;
pub mod upstream;
pub mod mock;
pub mod bank;
pub mod app;
pub mod admin;
pub mod cli;
