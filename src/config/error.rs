//! [`Errors`]: everything that is wrong with a config, with the place where each thing was said.
//!
//! Invariant: a message never holds a secret, nor the value of a flag or a variable that might be one.

use std::cell::RefCell;
use std::fmt;
use std::sync::Arc;

/// Where a part of the config was said.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Place {
    /// The file as a whole.
    File,
    /// A line and a column of the file, both from 1.
    Line(usize, usize),
    /// An environment variable by name.
    Variable(Arc<str>),
    /// A `--set` flag by the key it sets.
    Flag(Arc<str>),
    /// Tollgate's own defaults.
    BuiltIn,
}

/// One thing that is wrong.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Complaint {
    /// Where it was said.
    pub place: Place,
    /// What is wrong and, where that is known, what to write instead.
    pub message: String,
}

/// All that is wrong with a config; printed as one line for each complaint.
#[derive(Debug, PartialEq, Eq)]
pub struct Errors {
    file: Box<str>,
    complaints: Vec<Complaint>,
}

impl Errors {
    /// The complaints, in the order of the file, then variables, then flags.
    #[must_use]
    pub fn complaints(&self) -> &[Complaint] {
        &self.complaints
    }

    /// An error about the file as a whole.
    pub(super) fn whole(file: &str, message: String) -> Self {
        Self { file: file.into(), complaints: vec![Complaint { place: Place::File, message }] }
    }
}

impl fmt::Display for Errors {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, Complaint { place, message }) in self.complaints.iter().enumerate() {
            if index > 0 {
                out.write_str("\n")?;
            }
            match place {
                Place::File => write!(out, "{}: {message}", self.file)?,
                Place::Line(line, column) => write!(out, "{}:{line}:{column}: {message}", self.file)?,
                Place::Variable(name) => write!(out, "{name}: {message}")?,
                Place::Flag(key) => write!(out, "--set {key}: {message}")?,
                Place::BuiltIn => write!(out, "built-in defaults: {message}")?,
            }
        }
        Ok(())
    }
}

impl std::error::Error for Errors {}

/// Collects complaints while the whole config is read, so that one run shows them all.
#[derive(Default)]
pub(super) struct Complaints(RefCell<Vec<Complaint>>);

impl Complaints {
    /// Notes that something at `place` is wrong.
    pub(super) fn add(&self, place: &Place, message: impl Into<String>) {
        self.0.borrow_mut().push(Complaint { place: place.clone(), message: message.into() });
    }

    /// All of them, in order, each once.
    pub(super) fn into_errors(self, file: &str) -> Errors {
        let mut complaints = self.0.into_inner();
        complaints.sort();
        complaints.dedup();
        Errors { file: file.into(), complaints }
    }

    /// Whether something was wrong so far.
    pub(super) fn any(&self) -> bool {
        !self.0.borrow().is_empty()
    }
}
