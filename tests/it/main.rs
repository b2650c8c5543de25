//! Tests of the whole from outside, a file per theme.

mod admin;
#[cfg(test)]
mod ask;
mod config;
#[cfg(test)]
mod demo;
mod harness;
mod journal;
mod mock;
mod prices;
mod recordings_meter;
#[cfg(test)]
mod sdk;
mod tidy;
#[cfg(test)]
mod world;
