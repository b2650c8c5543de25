//! Tests of the whole from outside, a file per theme.

mod config;
mod prices;
mod tidy;
