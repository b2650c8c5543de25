//! Tests of the whole from outside, a file per theme.

#![cfg(test)]

mod admin;
mod ask;
mod bad_body;
mod bad_head;
mod caps;
mod ceiling;
mod child;
mod config;
mod demo;
mod harness;
mod journal;
mod mock;
mod prices;
mod process;
mod raw;
mod recordings_meter;
mod responses;
mod sdk;
mod tidy;
mod transparent;
mod wire;
mod world;
