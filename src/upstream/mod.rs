//! The way out: connections to providers, and which headers go along.

pub mod trust;
pub mod names;
pub mod wire;
pub mod connect;
pub mod client;
pub mod headers;
pub mod rope;
pub mod budget;
pub mod breaker;
pub mod balance;
pub mod credentials;
pub mod provider;
