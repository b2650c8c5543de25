//! Tests of the whole from outside, a file per theme.

#[cfg(test)]
mod ask;
mod bad_body;
mod bad_head;
mod child;
mod config;
mod failing_disk;
mod identity;
mod journal;
mod mock;
mod prices;
mod process;
mod raw;
mod recordings_meter;
mod secrets;
mod tidy;
#[cfg(test)]
mod world;
