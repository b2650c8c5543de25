//! Where commands write: data to stdout, talk to stderr.

use std::fmt::Display;
use std::io::{self, ErrorKind, Write};

use super::args::{EXIT_FAILED, EXIT_OK};

/// Writes data to stdout and returns the exit code. A reader such as `head` that has seen enough is no failure.
#[must_use]
pub fn print(data: impl AsRef<[u8]>) -> u8 {
    let mut stdout = io::stdout().lock();
    match stdout.write_all(data.as_ref()).and_then(|()| stdout.flush()) {
        Ok(()) => EXIT_OK,
        Err(error) if error.kind() == ErrorKind::BrokenPipe => EXIT_OK,
        Err(error) => {
            tell(&format!("cannot write: {error}"));
            EXIT_FAILED
        }
    }
}

/// Writes a line for people to stderr.
pub fn tell(line: &dyn Display) {
    // There is no other place to complain.
    let _ = writeln!(io::stderr(), "{line}");
}
