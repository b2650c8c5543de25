//! The journal: what it promises to whoever got an acknowledgement, whatever then happens to process and disk.

pub mod sample;
mod codec;
mod group;
mod reading;
mod tamper;
mod torn;
mod faults;
mod power;
mod kill;
