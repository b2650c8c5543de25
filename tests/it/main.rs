//! The one test binary: a file per theme.

mod mock;
