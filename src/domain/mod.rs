//! THE LAW: what things are and what they cost. No I/O, no async, no clock, no float.

#![deny(clippy::float_arithmetic, clippy::cast_possible_truncation)]

pub mod money;
pub mod tokens;
pub mod ids;
pub mod operation;
pub mod account;
pub mod features;
pub mod entry;
pub mod refusal;
