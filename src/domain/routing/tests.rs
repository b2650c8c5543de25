//! The rules against requests of every kind.
