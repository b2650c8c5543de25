//! The index: whatever becomes of it, the ledger says the same.

mod sample;
mod laws;
mod groups;
mod power;
mod broken;
mod retention;
mod prepaid;
mod scale;
mod kill;
