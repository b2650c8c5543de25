//! Tollgate: a cost-aware reverse proxy for LLM APIs.
//!
//! A client changes its base URL and nothing else. Each request is identified, read once, sent on with its bytes
//! untouched, metered as its answer passes, and written into a ledger that adds up.
//!
//! # The life of a request
//!
//! [`pipeline`] is its story, one stage a file: arrive, identify, read, route, reserve, dispatch, deliver. Read
//! `pipeline/mod.rs` next; everything else is what those stages use.
//!
//! # The rooms, in reading order
//!
//! A room uses only rooms above its line, and none on its own; `tests/it/tidy.rs` keeps watch.
//!
//! - `domain`: the law of money, tokens and prices; no I/O, no clock, no float
//! - `protocol`: the dialects, bytes in and facts out
//! - `config`, `clock`, `drain`, `telemetry`: what was said, the time, the way to the end, what is told
//! - `store`, `limits`, `cache`, `upstream`, `mock`: the journal, what may be in use at once, answers that are kept, the
//!   way to providers, and one of our own
//! - `bank`: the only door to money
//! - `alerts`: what operators should know without looking
//! - `app`: everything that requests share
//! - `pipeline`: the life of a request
//! - `admin`: what the operator sees
//! - `server`: who connects, and how the process ends
//! - `cli`: the commands
//! - `main`: the binary
//!
//! # What always holds
//!
//! - Each identified request has exactly one ledger entry, each dispatched attempt exactly one open and one close record.
//!   Ownership sees to it: a [`bank::tab::Tab`] or [`bank::debt::Debt`] that is dropped settles itself.
//! - The open record survives a killed process before the first byte leaves ([`store`]).
//! - Bytes pass as they came, outside of what was spliced on purpose ([`protocol::splice`], [`protocol::strip`]).
//! - Money is integers; what is unknown is never zero ([`domain::price`]).
//! - No secret is logged, journaled or shown ([`config::Secret`]).
//!
//! # Lexicon
//!
//! *dialect* the wire API spoken. *upstream* a provider endpoint with its credential. *caller* key, user and team.
//! *scope* what a total counts. *attempt* one dispatch to one upstream. *quote* the worst-case price before the call.
//! *tab* a request's line in the ledger before it is written. *debt* an attempt that has been written down and may be
//! billed. *charge* the price of known usage. *entry* one ledger row. *estimated* usage that was counted or assumed.
//! *refusal* our own no, free of HTTP until `pipeline::respond` renders it. *seat* a place in the journal's queue.

pub mod domain;
pub mod protocol;
pub mod config;
pub mod clock;
pub mod drain;
pub mod telemetry;
pub mod store;
pub mod limits;
pub mod cache;
pub mod upstream;
pub mod mock;
pub mod bank;
pub mod alerts;
pub mod app;
pub mod pipeline;
pub mod admin;
pub mod server;
pub mod cli;

/// What lives long (kept answers) lies among what lives for a request, and both come and go at once; this allocator lets the
/// one hold on to little of the other. In the library, so that tests and benches measure with it.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;
