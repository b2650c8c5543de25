//! A secret from the output of a command, such as a vault's own client.
//!
//! The command is a list of words and no line for a shell, so that nothing in it is expanded. It gets this process's
//! environment and nothing to read, and what it says on standard error is not repeated: it may hold secrets.
//!
//! Invariant: neither its time nor its output is without a bound, and it ends when nobody waits for it any more.

use std::io::{self, Read};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread;
use std::time::{Duration, Instant};

/// Bytes of a secret, at most.
const OUTPUT_BYTES_MAX: u64 = 64 * 1024;

/// How often it is looked whether the command has ended.
const LOOK: Duration = Duration::from_millis(5);

/// How long it is waited for.
struct Patience<'a> {
    end: Instant,
    given_up: &'a AtomicBool,
}

/// Runs `words` for at most `longest` and until it is `given_up`, and gives what it printed.
///
/// # Errors
/// It cannot be run, fails, takes too long or prints too much; the message names no argument.
pub(super) fn output(words: &[&str], longest: Duration, given_up: &AtomicBool) -> Result<String, String> {
    let Some((program, arguments)) = words.split_first() else { return Err("names no program".to_owned()) };
    let mut command = Command::new(program);
    command.args(arguments).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null());
    let mut child = command.spawn().map_err(|error| format!("cannot be run: {error}"))?;
    let (tell, told) = mpsc::channel();
    if let Some(pipe) = child.stdout.take() {
        // Apart, since a grandchild may hold the pipe for longer than the command runs.
        thread::spawn(move || tell.send(read(pipe)));
    }
    let patience = Patience { end: Instant::now() + longest, given_up };
    let ended = patience.wait(&mut child);
    if !matches!(ended, Ok(Some(_))) {
        // It may have ended by itself in this moment; either way nothing of it is left.
        let _ended = (child.kill(), child.wait());
    }
    let too_slow = || match given_up.load(Ordering::Relaxed) {
        true => "was ended, since this process ends".to_owned(),
        false => format!("took longer than {} s", longest.as_secs()),
    };
    let status = ended.map_err(|error| error.to_string())?.ok_or_else(too_slow)?;
    if !status.success() {
        return Err(format!("failed with {status}; run it by hand to see why"));
    }
    loop {
        match told.recv_timeout(LOOK) {
            Ok(text) => return text,
            Err(RecvTimeoutError::Timeout) if patience.is_left() => {}
            Err(_) => return Err(too_slow()),
        }
    }
}

fn read(pipe: impl Read) -> Result<String, String> {
    let mut bytes = Vec::new();
    pipe.take(OUTPUT_BYTES_MAX + 1).read_to_end(&mut bytes).map_err(|error| error.to_string())?;
    if bytes.len() as u64 > OUTPUT_BYTES_MAX {
        return Err(format!("printed more than {OUTPUT_BYTES_MAX} bytes"));
    }
    String::from_utf8(bytes).map_err(|_| "printed something that is no text".to_owned())
}

impl Patience<'_> {
    fn is_left(&self) -> bool {
        Instant::now() < self.end && !self.given_up.load(Ordering::Relaxed)
    }

    /// How it ended, if it did in time.
    fn wait(&self, child: &mut Child) -> io::Result<Option<ExitStatus>> {
        loop {
            match child.try_wait()? {
                None if self.is_left() => thread::sleep(LOOK),
                ended => return Ok(ended),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(words: &[&str], expect: Result<&str, &str>) {
        let got = output(words, Duration::from_secs(20), &AtomicBool::new(false));
        match (got, expect) {
            (Ok(text), Ok(expect)) => assert_eq!(text, expect),
            (Err(error), Err(expect)) => assert!(error.contains(expect), "{error}"),
            (got, expect) => panic!("{got:?} instead of {expect:?}"),
        }
    }

    #[test]
    fn what_is_printed_is_taken_within_bounds() {
        check(&["echo", "$HOME", "x"], Ok("$HOME x\n"));
        check(&["sh", "-c", "echo canary >&2; exit 3"], Err("exit status: 3"));
        check(&["/nowhere/vault"], Err("cannot be run"));
        check(&[], Err("no program"));
        // It ends on a broken pipe, or goes on and is ended.
        check(&["sh", "-c", "head -c 100000 /dev/zero | tr '\\0' x; exit 0"], Err("more than 65536 bytes"));
    }

    #[test]
    fn one_that_never_ends_is_ended() {
        let error = output(&["sleep", "600"], Duration::from_secs(1), &AtomicBool::new(false)).unwrap_err();
        assert!(error.contains("longer than 1 s"), "{error}");
    }

    #[test]
    fn one_that_nobody_waits_for_is_ended() {
        // Also one that has ended, and whose output somebody else holds.
        for words in [&["sleep", "60"][..], &["sh", "-c", "sleep 60 & exit 0"]] {
            let (begun, given_up) = (Instant::now(), AtomicBool::new(false));
            let error = thread::scope(|scope| {
                let run = scope.spawn(|| output(words, Duration::from_secs(60), &given_up));
                given_up.store(true, Ordering::Relaxed);
                run.join().unwrap().unwrap_err()
            });
            assert!(error.contains("this process ends") && begun.elapsed() < Duration::from_secs(20), "{error}");
        }
    }
}
