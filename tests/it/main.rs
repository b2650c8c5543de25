//! Tests of the whole from outside, a file per theme.

mod admin;
mod ask;
mod config;
mod harness;
mod journal;
mod mock;
mod prices;
mod tidy;
