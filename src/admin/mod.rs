//! What the operator sees: reports, lookups, keys.

pub mod zone;
