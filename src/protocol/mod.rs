//! DIALECTS: bytes in, facts out. No I/O, no async, no clock.

#![deny(clippy::float_arithmetic)]

pub mod scan;
pub mod endpoint;
pub mod ask;
pub mod splice;
pub mod bounds;
pub mod error_body;
