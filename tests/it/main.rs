//! Tests of the whole from outside, a file per theme.

#![cfg(test)]

mod abort;
mod admin;
mod ask;
mod bad_body;
mod bad_head;
mod breadth;
mod cache;
mod caps;
mod ceiling;
mod child;
mod config;
mod demo;
mod doors;
mod explain;
mod failing_disk;
mod harness;
mod identity;
mod index;
mod journal;
mod left_open;
mod limits;
mod metered;
mod mock;
mod near;
mod packed;
mod papers;
mod prices;
mod process;
mod raw;
mod recordings;
mod recordings_ledger;
mod recordings_meter;
mod reload;
mod responses;
mod rights;
mod routing;
mod sdk;
mod secrets;
mod tapes;
mod tidy;
mod transparent;
mod ways;
mod wire;
mod world;
