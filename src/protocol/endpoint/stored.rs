//! Paths of things that a provider keeps: responses, files, batches, caches and interactions.
//!
//! Sources: OpenAI's openapi.json 2.3.0, the resources of anthropic-sdk-python, and ai.google.dev/api.

use crate::domain::operation::{Dialect, Operation};

/// What a path behind its version asks for: the methods that it takes, the operation of this method if it is one of them,
/// and the dialect where only one has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Stored {
    pub(super) allow: &'static str,
    pub(super) operation: Option<Operation>,
    pub(super) dialect: Option<Dialect>,
}

/// Everything that stands behind these words is something stored.
const ROOTS: [&str; 6] = ["/messages/batches", "/batches", "/files", "/cachedContents", "/interactions", "/responses/"];

/// Finds the operation on something stored.
pub(super) fn stored(method: &str, rest: &str) -> Option<Stored> {
    if let Some(rest) = rest.strip_prefix("messages/batches") {
        return batches(method, rest).map(|found| found.only(Dialect::Anthropic));
    }
    if matches!(rest, "upload/v1beta/files" | "upload/v1/files") {
        let found = of(method, "POST, PUT", &[("POST", Operation::Files), ("PUT", Operation::Files)]);
        return Some(found.only(Dialect::Gemini));
    }
    let (root, tail) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
    match root {
        "responses" => responses(method, tail).map(|found| found.only(Dialect::OpenAi)),
        "batches" => batches(method, tail).map(|found| found.only(Dialect::OpenAi)),
        "files" => files(method, tail),
        "cachedContents" => caches(method, tail).map(|found| found.only(Dialect::Gemini)),
        "interactions" => interactions(method, tail).map(|found| found.only(Dialect::Gemini)),
        _ => None,
    }
}

/// The same within the path of a named upstream, where anything may stand in front.
pub(super) fn stored_within(method: &str, path: &str, dialect: Dialect) -> Option<Operation> {
    let start = ROOTS.iter().find_map(|root| {
        let at = path.rfind(root)?;
        let behind = path.as_bytes().get(at + root.len());
        let is_whole = root.ends_with('/') || behind.is_none_or(|byte| *byte == b'/');
        (is_whole && (*root == "/responses/" || is_version(&path[..at]))).then_some(at + 1)
    })?;
    let found = stored(method, &path[start..])?;
    found.operation.filter(|_| found.dialect.is_none_or(|only| only == dialect))
}

/// Whether a path ends with a version or a provider's own beginning, and not with another thing that holds files.
fn is_version(path: &str) -> bool {
    let last = path.rsplit('/').next().unwrap_or_default();
    let is_number = last.strip_prefix('v').is_some_and(|rest| rest.starts_with(|first: char| first.is_ascii_digit()));
    is_number || matches!(last, "" | "openai" | "api" | "beta")
}

impl Stored {
    /// Whether Google's versions have it.
    pub(super) const fn in_v1beta(self) -> bool {
        matches!(self.dialect, None | Some(Dialect::Gemini))
    }

    const fn only(self, dialect: Dialect) -> Self {
        Self { dialect: Some(dialect), ..self }
    }
}

fn of(method: &str, allow: &'static str, known: &[(&str, Operation)]) -> Stored {
    let operation = known.iter().find(|(name, _)| *name == method).map(|(_, operation)| *operation);
    Stored { allow, operation, dialect: None }
}

/// The steps of `/ID/verb`, each of which may be missing.
fn steps(tail: &str) -> Option<(Option<&str>, Option<&str>)> {
    let Some(tail) = tail.strip_prefix('/') else { return tail.is_empty().then_some((None, None)) };
    match tail.split_once('/') {
        None => Some((Some(tail), None)),
        Some((id, verb)) => (!verb.contains('/')).then_some((Some(id), Some(verb))),
    }
}

/// `responses/ID`, `responses/ID/cancel`, `responses/ID/input_items`.
fn responses(method: &str, tail: &str) -> Option<Stored> {
    let kept = Operation::StoredResponse;
    Some(match steps(tail)? {
        (Some(_), None) => of(method, "GET, DELETE", &[("GET", kept), ("DELETE", kept)]),
        (Some(_), Some("input_items")) => of(method, "GET", &[("GET", kept)]),
        (Some(_), Some("cancel")) => of(method, "POST", &[("POST", kept)]),
        (Some(_), Some(_)) | (None, _) => return None,
    })
}

fn batches(method: &str, tail: &str) -> Option<Stored> {
    let kept = Operation::StoredBatch;
    Some(match steps(tail)? {
        (None, _) => of(method, "GET, POST", &[("GET", kept), ("POST", Operation::Batches)]),
        (Some(_), None) => of(method, "GET, DELETE", &[("GET", kept), ("DELETE", kept)]),
        (Some(_), Some("cancel")) => of(method, "POST", &[("POST", kept)]),
        (Some(_), Some("results")) => of(method, "GET", &[("GET", Operation::BatchResults)]),
        (Some(_), Some(_)) => return None,
    })
}

fn files(method: &str, tail: &str) -> Option<Stored> {
    let files = Operation::Files;
    Some(match steps(tail)? {
        (None, _) => of(method, "GET, POST", &[("GET", files), ("POST", files)]),
        (Some(_), None) => of(method, "GET, DELETE", &[("GET", files), ("DELETE", files)]),
        (Some(_), Some("content")) => of(method, "GET", &[("GET", Operation::FileContent)]),
        (Some(_), Some(_)) => return None,
    })
}

fn caches(method: &str, tail: &str) -> Option<Stored> {
    let kept = Operation::StoredCache;
    Some(match steps(tail)? {
        (None, _) => of(method, "GET, POST", &[("GET", kept), ("POST", Operation::CachedContents)]),
        // Another lifetime costs like a new cache: each token is paid by the hour.
        (Some(_), None) => {
            let lives_on = ("PATCH", Operation::CachedContents);
            of(method, "GET, PATCH, DELETE", &[("GET", kept), lives_on, ("DELETE", kept)])
        }
        (Some(_), Some(_)) => return None,
    })
}

fn interactions(method: &str, tail: &str) -> Option<Stored> {
    let kept = Operation::StoredInteraction;
    Some(match steps(tail)? {
        (None, _) => of(method, "POST", &[("POST", Operation::Interactions)]),
        (Some(_), None) => of(method, "GET, DELETE", &[("GET", kept), ("DELETE", kept)]),
        (Some(_), Some("cancel")) => of(method, "POST", &[("POST", kept)]),
        (Some(_), Some(_)) => return None,
    })
}
