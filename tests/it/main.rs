//! One binary for every test that looks at the whole from outside.

mod ask;
