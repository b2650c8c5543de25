//! The index: whatever becomes of it, the ledger says the same.

mod sample;
mod laws;
mod power;
mod broken;
mod retention;
mod scale;
mod kill;
