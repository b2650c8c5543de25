//! Tollgate: a cost-aware reverse proxy for LLM APIs.
//!
//! The rooms in reading order. A room uses only rooms above its line; `tests/it/tidy.rs` keeps watch.
//!
//! - `domain`: the law of money, tokens and prices
//! - `protocol`: the dialects, bytes in and facts out
//! - `config`, `clock`, `drain`, `telemetry`: what was said, the time, the way out, what is told
//! - `store`, `limits`, `upstream`, `mock`: the journal, what may be in use at once, the providers, and one of our own
//! - `bank`: the only door to money
//! - `app`: everything that requests share
//! - `pipeline`: the life of a request
//! - `admin`: reports and their zones
//! - `server`: who connects
//! - `cli`: the commands
//! - `main`: the binary

pub mod domain;
pub mod protocol;
pub mod config;
pub mod clock;
pub mod drain;
pub mod telemetry;
pub mod store;
pub mod limits;
pub mod upstream;
pub mod mock;
pub mod bank;
pub mod app;
pub mod pipeline;
pub mod admin;
pub mod server;
pub mod cli;
