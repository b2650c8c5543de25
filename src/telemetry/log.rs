//! What Tollgate says of itself on standard error, through `tracing`: text for people or JSON for machines.
//!
//! Levels go by consequence: error, a request was not served because of us; warn, recovered; info, start, stop and
//! config. Requests have their own lines, see [`super::scribe`]. Never a prompt, never a secret.
//!
//! Invariant: an event is one line; control characters in it are written as escapes, so that nothing that came from
//! outside can forge a line or steer a terminal.

use std::fmt;
use std::io::{self, Write};

use tracing::Subscriber;
use tracing::level_filters::LevelFilter;
use tracing_subscriber::fmt::MakeWriter;

/// How events are written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum LogFormat {
    /// One line of text.
    #[default]
    Text,
    /// One line of JSON, with the event's fields beside `timestamp`, `level`, `target` and `message`.
    Json,
}

/// There is a log already.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AlreadyStarted;

/// A writer whose lines hold no control characters. It relies on getting each event in one call.
#[derive(Debug)]
struct OneLine<Writer>(Writer);

impl LogFormat {
    /// All of them.
    pub const ALL: [Self; 2] = [Self::Text, Self::Json];

    /// The word in config.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Text => "text",
            Self::Json => "json",
        }
    }
}

/// Starts the log of this process on standard error, with events of `level` and graver ones.
pub fn start(format: LogFormat, level: LevelFilter) -> Result<(), AlreadyStarted> {
    let subscriber = subscriber(format, level, || OneLine(io::stderr()));
    tracing::subscriber::set_global_default(subscriber).map_err(|_| AlreadyStarted)
}

fn subscriber<Make>(format: LogFormat, level: LevelFilter, make: Make) -> Box<dyn Subscriber + Send + Sync>
where
    Make: for<'a> MakeWriter<'a> + Send + Sync + 'static,
{
    let builder = tracing_subscriber::fmt().with_max_level(level).with_ansi(false).with_writer(make);
    match format {
        LogFormat::Text => Box::new(builder.finish()),
        LogFormat::Json => Box::new(builder.json().flatten_event(true).with_current_span(false).finish()),
    }
}

impl<Writer: Write> Write for OneLine<Writer> {
    fn write(&mut self, event: &[u8]) -> io::Result<usize> {
        let text = String::from_utf8_lossy(event);
        let line = text.strip_suffix('\n').unwrap_or(&text);
        if line.contains(char::is_control) {
            self.0.write_all((escaped(line) + "\n").as_bytes())?;
        } else {
            self.0.write_all(event)?;
        }
        Ok(event.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}

impl fmt::Display for AlreadyStarted {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("the log was started before")
    }
}

impl std::error::Error for AlreadyStarted {}

fn escaped(line: &str) -> String {
    let mut plain = String::with_capacity(line.len() + 16);
    for letter in line.chars() {
        if letter.is_control() { plain.extend(letter.escape_default()) } else { plain.push(letter) }
    }
    plain
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use super::*;

    #[derive(Clone, Default)]
    struct Kept(Arc<Mutex<Vec<u8>>>);

    impl Write for Kept {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().write(bytes)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn said(format: LogFormat, level: LevelFilter, say: impl FnOnce()) -> String {
        let kept = Kept::default();
        let theirs = kept.clone();
        tracing::subscriber::with_default(subscriber(format, level, move || OneLine(theirs.clone())), say);
        let bytes = kept.0.lock().unwrap().clone();
        String::from_utf8(bytes).unwrap()
    }

    #[test]
    fn an_event_is_one_line_whatever_is_in_it() {
        let evil = "x\n2026-11-22 ERROR forged\r\u{1b}[2J\u{9b}31m\u{7f}";
        for format in LogFormat::ALL {
            let text = said(format, LevelFilter::INFO, || tracing::warn!(model = %evil, "odd {evil}"));
            let line = text.strip_suffix('\n').unwrap();
            assert!(!line.contains(char::is_control) && line.contains("forged"), "{line:?}");
        }
    }

    #[test]
    fn json_events_have_their_fields_at_the_top() {
        let text = said(LogFormat::Json, LevelFilter::INFO, || tracing::info!(port = 4_000, "listening"));
        let value: serde_json::Value = serde_json::from_str(&text).unwrap();
        assert_eq!(
            (&value["level"], &value["message"], &value["port"]),
            (&"INFO".into(), &"listening".into(), &4_000.into())
        );
    }

    #[test]
    fn what_is_less_grave_than_the_level_is_not_said() {
        let text = said(LogFormat::Text, LevelFilter::WARN, || {
            tracing::info!("quiet");
            tracing::error!("loud");
        });
        assert!(!text.contains("quiet") && text.contains("loud"));
    }
}
