//! The command line: what was asked for ([`args`]), and the points in time that it names ([`when`]).

pub mod args;
pub mod when;
pub mod serve;
pub mod demo;
