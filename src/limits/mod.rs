//! What may be in use at once.

pub mod gate;
