//! Tests of the whole from outside, a file per theme.

mod admin;
#[cfg(test)]
mod ask;
mod config;
mod harness;
mod journal;
mod mock;
mod prices;
mod recordings_meter;
mod tidy;
#[cfg(test)]
mod world;
