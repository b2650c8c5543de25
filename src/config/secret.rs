//! [`Secret`]: a text that is never printed, and how it is fetched from a variable, a file or a command.
//!
//! A secret is never written into the config itself: files are shared, logged and committed.
//!
//! Invariant: `Debug` and `Display` print stars, and comparison takes the same time for every wrong guess.

use std::cell::RefCell;
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use ring::digest::{SHA256, digest};

use super::raw::Value;
use super::read::Section;
use super::{Environment, command, schema};

/// How a secret is named, for messages.
const SOURCES: &str = "{ env = \"NAME\" }, { file = \"PATH\" } or { command = [\"PROGRAM\", ...] }";

/// How long a command may take: unless it is said, and at most.
const COMMAND_S: u64 = 10;
const COMMAND_S_MAX: u64 = 120;

/// A credential from the environment, a file or a command.
#[derive(Clone)]
pub struct Secret {
    text: Box<str>,
    origin: Box<str>,
}

/// The SHA-256 of a secret: what presented credentials are looked up by.
pub(super) type Digest = [u8; 32];

impl Secret {
    /// A secret that did not come from the config, such as a generated admin token; `origin` says where it is kept.
    #[must_use]
    pub fn new(text: &str, origin: &str) -> Self {
        Self { text: text.into(), origin: origin.into() }
    }

    /// The text itself, for a header and nothing else.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.text
    }

    /// Where it came from, as in `env OPENAI_API_KEY`.
    #[must_use]
    pub fn origin(&self) -> &str {
        &self.origin
    }

    /// Whether `presented` is this secret. Both are hashed first, so that time tells neither letters nor length.
    #[must_use]
    pub fn matches(&self, presented: &str) -> bool {
        let pairs = digest_of(&self.text).into_iter().zip(digest_of(presented));
        std::hint::black_box(pairs.fold(0, |difference, (ours, theirs)| difference | (ours ^ theirs))) == 0
    }
}

impl PartialEq for Secret {
    fn eq(&self, other: &Self) -> bool {
        self.origin == other.origin && self.matches(&other.text)
    }
}

impl Eq for Secret {}

impl fmt::Debug for Secret {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("Secret(***)")
    }
}

impl fmt::Display for Secret {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.pad("***")
    }
}

/// The SHA-256 of `text`.
pub(super) fn digest_of(text: &str) -> Digest {
    let mut out = [0; 32];
    out.copy_from_slice(digest(&SHA256, text.as_bytes()).as_ref());
    out
}

/// Where secrets are fetched from.
pub(super) struct Vault<'a> {
    /// Environment variables.
    pub env: &'a Environment,
    /// The folder that relative paths start from: that of the config file.
    pub folder: &'a Path,
    /// Whether they are fetched at all.
    pub secrets: Secrets,
    /// The files that were asked for.
    pub files: &'a RefCell<Vec<PathBuf>>,
    /// Set once nobody waits for them any more.
    pub given_up: &'a AtomicBool,
}

/// Whether secrets are fetched.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Secrets {
    /// Each must be there.
    #[default]
    Needed,
    /// None is read: for commands that look into the ledger, in a shell that does not have them.
    LeftOut,
}

impl Vault<'_> {
    /// The secret that `key` of `section` names; complains and returns nothing if it cannot be had.
    pub(super) fn secret(&self, section: &Section<'_>, key: &str) -> Option<Secret> {
        let node = section.find(key)?;
        if !matches!(node.value, Value::Table(_)) {
            section.complain(key, format!("a secret is not written into the config; use {SOURCES}"));
            return None;
        }
        self.fetch(section, key, &section.section(key, &schema::SECRET))
    }

    /// The secrets that `key` names: one, or a list of those that are good at the same time.
    pub(super) fn secrets(&self, section: &Section<'_>, key: &str) -> Vec<Secret> {
        match section.find(key).map(|node| &node.value) {
            Some(Value::List(items)) if items.is_empty() => {
                section.complain(key, format!("an empty list; name at least one {SOURCES}"));
                Vec::new()
            }
            Some(Value::List(_)) => {
                let tables = section.tables(key, &schema::SECRET);
                tables.iter().filter_map(|table| self.fetch(section, key, table)).collect()
            }
            Some(_) | None => self.secret(section, key).into_iter().collect(),
        }
    }

    /// The secret that `table` names, for `key` of `section`; complains and returns nothing if it cannot be had.
    pub(super) fn fetch(&self, section: &Section<'_>, key: &str, table: &Section<'_>) -> Option<Secret> {
        let command = table.find("command").map(|_| table.texts("command"));
        match (table.text("env"), table.text("file"), command) {
            (Some(name), None, None) | (None, Some(name), None) if self.secrets == Secrets::LeftOut => {
                Some(Secret::new(&format!("tg_left_out_of_this_command_{name}"), name))
            }
            (None, None, Some(words)) if self.secrets == Secrets::LeftOut => {
                let name: Vec<&str> = words.iter().map(|(word, _)| *word).collect();
                Some(Secret::new(&format!("tg_left_out_of_this_command_{}", name.join("_")), "command"))
            }
            (Some(name), None, None) => self.variable(section, key, name),
            (None, Some(path), None) => self.file(section, key, path),
            (None, None, Some(words)) => {
                let longest = Duration::from_secs(table.number("timeout_s", COMMAND_S, 1..=COMMAND_S_MAX));
                self.run(section, key, &words.iter().map(|(word, _)| *word).collect::<Vec<_>>(), longest)
            }
            _ => {
                section.complain(key, format!("needs one of {SOURCES}"));
                None
            }
        }
    }

    /// Where a file that the config names is; whoever asks is about to read it.
    pub(super) fn path(&self, named: &str) -> PathBuf {
        let path = self.folder.join(named);
        self.files.borrow_mut().push(path.clone());
        path
    }

    fn variable(&self, section: &Section<'_>, key: &str, name: &str) -> Option<Secret> {
        let Some(text) = self.env.get(name) else {
            section.complain(key, format!("environment variable {name} is not set"));
            return None;
        };
        usable(section, key, text, &format!("env {name}"))
    }

    fn file(&self, section: &Section<'_>, key: &str, path: &str) -> Option<Secret> {
        match std::fs::read_to_string(self.path(path)) {
            Ok(text) => usable(section, key, &text, &format!("file {path}")),
            Err(error) => {
                section.complain(key, format!("file {path} cannot be read: {error}"));
                None
            }
        }
    }

    /// The secret that a command prints. Its program is named and its arguments are not: they may say where secrets are.
    fn run(&self, section: &Section<'_>, key: &str, words: &[&str], longest: Duration) -> Option<Secret> {
        let origin = format!("command {}", words.first().copied().unwrap_or_default());
        match command::output(words, longest, self.given_up) {
            Ok(text) => usable(section, key, &text, &origin),
            Err(error) => {
                section.complain(key, format!("{origin} {error}"));
                None
            }
        }
    }
}

/// The secret in `text` without its last line break, if a header can carry it.
fn usable(section: &Section<'_>, key: &str, text: &str, origin: &str) -> Option<Secret> {
    let text = text.trim_end_matches(['\r', '\n']);
    if text.is_empty() {
        section.complain(key, format!("{origin} is empty"));
        return None;
    }
    if !text.bytes().all(|byte| byte.is_ascii_graphic()) {
        section.complain(key, format!("{origin} holds a space or a character that a header cannot carry"));
        return None;
    }
    Some(Secret::new(text, origin))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_is_never_printed_and_compares_whole() {
        let secret = Secret::new("tg_canary", "env X");
        assert_eq!(format!("{secret} {secret:?} {:?}", Some(&secret)), "*** Secret(***) Some(Secret(***))");
        assert!(secret.matches("tg_canary"));
        for wrong in ["", "tg_canar", "tg_canary ", "tg_canarY"] {
            assert!(!secret.matches(wrong), "{wrong}");
        }
    }
}
