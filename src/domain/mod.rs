//! THE LAW: what things are and what they cost. No I/O, no async, no clock, no float.

#![deny(clippy::float_arithmetic, clippy::cast_possible_truncation)]

pub mod money;
pub mod tokens;
pub mod ids;
pub mod calendar;
pub mod price;
pub mod operation;
pub mod account;
pub mod key;
pub mod cap;
pub mod features;
pub mod stamp;
pub mod fingerprint;
pub mod entry;
pub mod routing;
pub mod classify;
pub mod evidence;
pub mod lesson;
pub mod fault;
pub mod limit;
pub mod refusal;
pub mod utc;
pub mod json_text;
pub mod entry_json;
pub mod adjustment;
pub mod subject;
pub mod sums;
pub mod dimension;
pub mod report;
pub mod report_text;
pub mod hindsight;
pub mod reconcile;
pub mod reconcile_text;
pub mod focus;
pub mod near;
pub mod alert;
pub mod entry_csv;
#[cfg(test)]
pub mod sample;
