//! Tests of the whole from outside, a file per theme.

mod admin;
#[cfg(test)]
mod ask;
mod bad_body;
mod bad_head;
mod child;
mod config;
mod harness;
mod journal;
mod mock;
mod prices;
mod process;
mod raw;
mod recordings_meter;
#[cfg(test)]
mod responses;
mod tidy;
#[cfg(test)]
mod transparent;
#[cfg(test)]
mod wire;
#[cfg(test)]
mod world;
