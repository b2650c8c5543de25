//! [`Endpoint`]: which operation of which dialect a method and a path ask for.
//!
//! Paths are matched as they came, never decoded first and never tidied: a path with empty, dotted or encoded
//! segments matches nothing, so that Tollgate and the upstream cannot read it differently. The query is not looked at.
//!
//! Invariant: a range in [`Endpoint::model_in_path`] lies within the path that was matched.

mod stored;

use std::borrow::Cow;
use std::ops::Range;

use stored::{stored, stored_within};

use crate::domain::operation::{Dialect, Operation};

/// What a path asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Endpoint {
    /// The wire API that the client speaks.
    pub dialect: Dialect,
    /// What it asks for.
    pub operation: Operation,
    /// Where the model stands in the path, if it stands there, still percent-encoded.
    pub model_in_path: Option<Range<usize>>,
    /// Whether the path alone says that the answer is streamed.
    pub streams_by_path: bool,
}

/// Headers and parameters that tell dialects apart where they share a path.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Hints {
    /// `anthropic-version` was sent.
    pub anthropic_version: bool,
    /// `x-goog-api-key` or `?key=` was sent.
    pub goog_key: bool,
}

/// No operation has this method and path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Miss {
    /// The dialect in which to say so.
    pub dialect: Dialect,
    /// The method with which the path would have been known, for the `allow` header of a 405.
    pub allow: Option<&'static str>,
}

impl Endpoint {
    /// Finds the operation of a method and a path without its query.
    ///
    /// # Errors
    /// Nothing is known by this name: says in which dialect to answer, and whether only the method was wrong.
    pub fn of(method: &str, path: &str, hints: Hints) -> Result<Self, Miss> {
        let (version, rest) = version(path);
        let dialect = nearest(version, rest, hints);
        let miss = Miss { dialect, allow: None };
        let Some(rest) = rest.filter(|rest| is_plain(rest)) else { return Err(miss) };
        if version != Some("v1beta")
            && let Some(operation) = fixed(rest)
        {
            let dialect = dialect_of(operation);
            return if method == "POST" {
                Ok(Self::plain(dialect, operation))
            } else {
                Err(Miss { dialect, allow: Some("POST") })
            };
        }
        if let Some(found) = stored(method, rest).filter(|found| version != Some("v1beta") || found.in_v1beta()) {
            let dialect = found.dialect.unwrap_or(dialect);
            return match found.operation {
                Some(operation) => Ok(Self::plain(dialect, operation)),
                None => Err(Miss { dialect, allow: Some(found.allow) }),
            };
        }
        let start = path.len() - rest.len();
        if let Some(endpoint) = Self::gemini(path, start) {
            return if method == "POST" { Ok(endpoint) } else { Err(Miss { allow: Some("POST"), ..miss }) };
        }
        if rest == "models" || rest.strip_prefix("models/").is_some_and(|name| !name.is_empty() && !name.contains(':'))
        {
            return if method == "GET" {
                Ok(Self::plain(dialect, Operation::Models))
            } else {
                Err(Miss { allow: Some("GET"), ..miss })
            };
        }
        Err(miss)
    }

    /// Finds the operation of a path that was addressed to one upstream, by the path's tail: in the upstream's dialect, else
    /// in another, since many providers speak a second one below a path of its own.
    ///
    /// Whatever is not known is [`Operation::Unknown`].
    #[must_use]
    pub fn of_upstream(method: &str, path: &str, dialect: Dialect) -> Self {
        let is_plain = is_plain(path.strip_prefix('/').unwrap_or(path));
        let found = [dialect].into_iter().chain(Dialect::ALL).filter(|_| is_plain);
        let mut found = found.filter_map(|dialect| Self::by_tail(method, path, dialect));
        found.next().unwrap_or_else(|| Self::plain(dialect, Operation::Unknown))
    }

    fn by_tail(method: &str, path: &str, dialect: Dialect) -> Option<Self> {
        let tails: &[(&str, Operation)] = match dialect {
            Dialect::OpenAi => &[
                ("/chat/completions", Operation::ChatCompletions),
                ("/completions", Operation::Completions),
                ("/responses/input_tokens", Operation::ResponsesInputTokens),
                ("/responses/compact", Operation::Responses),
                ("/responses", Operation::Responses),
                ("/embeddings", Operation::Embeddings),
                ("/images/generations", Operation::ImageGenerations),
                ("/images/edits", Operation::ImageEdits),
                ("/images/variations", Operation::ImageVariations),
                ("/audio/transcriptions", Operation::Transcriptions),
                ("/audio/translations", Operation::Translations),
                ("/audio/speech", Operation::Speech),
                ("/moderations", Operation::Moderations),
            ],
            Dialect::Anthropic => {
                &[("/messages/count_tokens", Operation::CountTokens), ("/messages", Operation::Messages)]
            }
            Dialect::Gemini => &[],
        };
        let found = tails.iter().find(|(tail, _)| method == "POST" && path.ends_with(tail));
        if let Some((_, operation)) = found {
            return Some(Self { model_in_path: deployment(path), ..Self::plain(dialect, *operation) });
        }
        if let Some(operation) = stored_within(method, path, dialect) {
            return Some(Self::plain(dialect, operation));
        }
        let behind = |step: &str| path.rfind(step).map(|at| at + 1);
        match (dialect, behind("/models/")) {
            (Dialect::Gemini, Some(start)) if method == "POST" => Self::gemini(path, start),
            (_, models) if method == "GET" && (models.is_some() || path.ends_with("/models")) => {
                Some(Self::plain(dialect, Operation::Models))
            }
            (Dialect::OpenAi | Dialect::Anthropic | Dialect::Gemini, _) => None,
        }
    }

    /// The model that the path names, decoded.
    #[must_use]
    pub fn model<'p>(&self, path: &'p str) -> Option<Cow<'p, str>> {
        decoded(path.get(self.model_in_path.clone()?)?)
    }

    const fn plain(dialect: Dialect, operation: Operation) -> Self {
        Self { dialect, operation, model_in_path: None, streams_by_path: false }
    }

    /// Reads `models/M:verb` from `start` to the path's end.
    fn gemini(path: &str, start: usize) -> Option<Self> {
        let name = path.get(start..)?.strip_prefix("models/")?;
        let (model, verb) = name.rsplit_once(':')?;
        let (operation, streams_by_path) = match verb {
            "generateContent" => (Operation::GenerateContent, false),
            "streamGenerateContent" => (Operation::GenerateContent, true),
            "countTokens" => (Operation::GeminiCountTokens, false),
            "embedContent" | "batchEmbedContents" => (Operation::EmbedContent, false),
            _ => return None,
        };
        let clear = decoded(model)?;
        let is_name = !clear.is_empty() && !clear.contains(['/', '\\', '?', '#', '%']) && !clear.contains("..");
        let from = start + "models/".len();
        (is_name && !clear.contains(char::is_control)).then(|| Self {
            dialect: Dialect::Gemini,
            operation,
            model_in_path: Some(from..from + model.len()),
            streams_by_path,
        })
    }
}

/// Whether some server may read the path as one outside of the folder that it is put in.
#[must_use]
pub fn climbs(path: &str) -> bool {
    let odd = |byte: u8| byte <= b' ' || matches!(byte, b'\\' | b'#' | 0x7f);
    if path.bytes().any(odd) || !path.starts_with('/') {
        return true;
    }
    let is_dots = |segment: &str| matches!(segment, "." | "..");
    if !path.contains('%') {
        return path.split('/').any(is_dots);
    }
    let clear = path.to_ascii_lowercase().replace("%2e", ".").replace("%2f", "/").replace("%5c", "/");
    clear.split('/').any(is_dots)
}

/// The upstream that `/u/NAME/...` names, and the path that is left for it; `None` for other paths.
#[must_use]
pub fn strip_upstream_prefix(path: &str) -> Option<(&str, &str)> {
    let named = path.strip_prefix("/u/")?;
    let slash = named.find('/')?;
    let (name, rest) = named.split_at(slash);
    let is_name = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
    (!name.is_empty() && name.bytes().all(is_name)).then_some((name, rest))
}

/// Splits off the version; the rest has no slash in front. `None`: the path has nothing behind its version.
fn version(path: &str) -> (Option<&str>, Option<&str>) {
    let Some(rest) = path.strip_prefix('/') else { return (None, None) };
    match rest.split_once('/') {
        Some((version @ ("v1" | "v1beta"), rest)) => (Some(version), Some(rest)),
        _ => (None, Some(rest)),
    }
}

/// Whether nobody can read the path in two ways.
fn is_plain(path: &str) -> bool {
    let odd = |byte: u8| byte <= b' ' || matches!(byte, b'\\' | b'?' | b'#' | 0x7f);
    let is_dots = |segment: &str| matches!(segment, "." | "..");
    if path.bytes().any(odd) || path.split('/').any(|segment| segment.is_empty() || is_dots(segment)) {
        return false;
    }
    if !path.contains('%') {
        return true;
    }
    let lower = path.to_ascii_lowercase();
    // A model's id may hold an encoded slash (`org%2Fname`) where it is only looked up.
    let is_lookup = path.starts_with("models/") && !path.contains(':');
    let is_split = !is_lookup && lower.contains("%2f") || lower.contains("%5c") || lower.contains("%00");
    !is_split && !lower.replace("%2e", ".").replace("%2f", "/").split('/').any(is_dots)
}

/// Operations whose path has no variable part; all of them are posted.
fn fixed(rest: &str) -> Option<Operation> {
    Some(match rest {
        "chat/completions" => Operation::ChatCompletions,
        "completions" => Operation::Completions,
        "responses" | "responses/compact" => Operation::Responses,
        "responses/input_tokens" => Operation::ResponsesInputTokens,
        "embeddings" => Operation::Embeddings,
        "images/generations" => Operation::ImageGenerations,
        "images/edits" => Operation::ImageEdits,
        "images/variations" => Operation::ImageVariations,
        "audio/transcriptions" => Operation::Transcriptions,
        "audio/translations" => Operation::Translations,
        "audio/speech" => Operation::Speech,
        "moderations" => Operation::Moderations,
        "messages" => Operation::Messages,
        "messages/count_tokens" => Operation::CountTokens,
        _ => return None,
    })
}

/// The dialect of an operation with a path of its own.
const fn dialect_of(operation: Operation) -> Dialect {
    if matches!(operation, Operation::Messages | Operation::CountTokens) { Dialect::Anthropic } else { Dialect::OpenAi }
}

/// The name of an Azure deployment, which stands for its model:
/// `/openai/deployments/NAME/chat/completions`.
fn deployment(path: &str) -> Option<Range<usize>> {
    const STEP: &str = "/deployments/";
    let start = path.find(STEP)? + STEP.len();
    let end = start + path.get(start..)?.find('/')?;
    decoded(path.get(start..end)?)?;
    (start < end).then_some(start..end)
}

/// The dialect that a path most likely means.
fn nearest(version: Option<&str>, rest: Option<&str>, hints: Hints) -> Dialect {
    let rest = rest.unwrap_or_default();
    if version == Some("v1beta")
        || hints.goog_key
        || rest.starts_with("v1beta")
        || rest.starts_with("models/") && rest.contains(':')
        || ["cachedContents", "interactions", "upload/"].iter().any(|root| rest.starts_with(root))
    {
        Dialect::Gemini
    } else if hints.anthropic_version || rest == "messages" || rest.starts_with("messages/") {
        Dialect::Anthropic
    } else {
        Dialect::OpenAi
    }
}

/// A path segment without its percent-encoding; `None` if that is broken or no UTF-8.
fn decoded(segment: &str) -> Option<Cow<'_, str>> {
    if !segment.contains('%') {
        return Some(Cow::Borrowed(segment));
    }
    let mut clear = Vec::with_capacity(segment.len());
    let mut bytes = segment.bytes();
    while let Some(byte) = bytes.next() {
        clear.push(if byte == b'%' { digit(bytes.next()?)? << 4 | digit(bytes.next()?)? } else { byte });
    }
    String::from_utf8(clear).ok().map(Cow::Owned)
}

fn digit(byte: u8) -> Option<u8> {
    char::from(byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok())
}

#[cfg(test)]
mod tests;
