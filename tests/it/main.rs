//! One binary for every test that looks at the whole from outside.

#[cfg(test)]
mod ask;
