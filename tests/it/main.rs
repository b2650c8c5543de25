//! One test binary, a file per theme.

mod recordings_meter;
