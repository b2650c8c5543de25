//! [`Target`]: which dialect and operation a path asks for; paths are those of the real providers and no others.

use super::gemini::Frames;
use super::problem::Problem;
use crate::domain::operation::{Dialect, Operation};
use http::request::Parts;
use http::{HeaderMap, Method, header};

/// What a path asks for.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Target {
    /// The wire API.
    pub(super) dialect: Dialect,
    /// The operation.
    pub(super) operation: Operation,
    /// The model, where the path names it.
    pub(super) model: Option<String>,
    /// How a Gemini stream is framed, if it is one.
    pub(super) frames: Option<Frames>,
}

impl Target {
    /// Reads method and path; a refusal comes with the nearest dialect.
    pub(super) fn of(head: &Parts) -> Result<Self, (Dialect, Problem)> {
        let path = head.uri.path();
        let found = match &head.method {
            &Method::GET => reading(head, path),
            &Method::POST => writing(path, head.uri.query().unwrap_or("")),
            _ => None,
        };
        found.ok_or_else(|| (nearest(head, path), Problem::unknown_path(path)))
    }

    fn new(dialect: Dialect, operation: Operation) -> Self {
        Self { dialect, operation, model: None, frames: None }
    }
}

/// Whether a request carries what its provider takes for a credential; any will do.
pub(super) fn has_credential(head: &Parts, dialect: Dialect) -> bool {
    let filled = |name: &str| head.headers.get(name).is_some_and(|value| !value.is_empty());
    let bearer = head.headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok());
    let bearer = bearer.and_then(|value| value.split_once(' ')).is_some_and(|(_, token)| !token.trim().is_empty());
    bearer
        || match dialect {
            Dialect::OpenAi => filled("api-key"),
            Dialect::Anthropic => filled("x-api-key"),
            Dialect::Gemini => filled("x-goog-api-key") || query(head, "key").is_some_and(|key| !key.is_empty()),
        }
}

/// A parameter of the query, as it is written.
pub(super) fn query<'a>(head: &'a Parts, name: &str) -> Option<&'a str> {
    parameter(head.uri.query().unwrap_or(""), name)
}

fn parameter<'a>(query: &'a str, name: &str) -> Option<&'a str> {
    query.split('&').filter_map(|pair| pair.split_once('=')).find(|(known, _)| *known == name).map(|(_, value)| value)
}

fn reading(head: &Parts, path: &str) -> Option<Target> {
    let dialect = nearest(head, path);
    let rest = match dialect {
        Dialect::Gemini => path.strip_prefix("/v1beta/models").or_else(|| path.strip_prefix("/v1/models"))?,
        Dialect::OpenAi | Dialect::Anthropic => path.strip_prefix("/v1/models")?,
    };
    let model = match rest.strip_prefix('/') {
        None if rest.is_empty() => None,
        None | Some("") => return None,
        Some(model) => Some(model.to_owned()),
    };
    Some(Target { model, ..Target::new(dialect, Operation::Models) })
}

fn writing(path: &str, query: &str) -> Option<Target> {
    let known = match path {
        "/v1/chat/completions" => Target::new(Dialect::OpenAi, Operation::ChatCompletions),
        "/v1/responses" => Target::new(Dialect::OpenAi, Operation::Responses),
        "/v1/embeddings" => Target::new(Dialect::OpenAi, Operation::Embeddings),
        "/v1/messages" => Target::new(Dialect::Anthropic, Operation::Messages),
        "/v1/messages/count_tokens" => Target::new(Dialect::Anthropic, Operation::CountTokens),
        _ => return gemini(path, query),
    };
    Some(known)
}

fn gemini(path: &str, query: &str) -> Option<Target> {
    let rest = path.strip_prefix("/v1beta/models/").or_else(|| path.strip_prefix("/v1/models/"))?;
    let (model, verb) = rest.rsplit_once(':')?;
    let events = parameter(query, "alt") == Some("sse");
    let (operation, frames) = match verb {
        "generateContent" => (Operation::GenerateContent, None),
        "streamGenerateContent" if events => (Operation::GenerateContent, Some(Frames::Events)),
        "streamGenerateContent" => (Operation::GenerateContent, Some(Frames::Array)),
        "countTokens" => (Operation::GeminiCountTokens, None),
        "embedContent" | "batchEmbedContents" => (Operation::EmbedContent, None),
        _ => return None,
    };
    Some(Target { model: Some(model.to_owned()), frames, ..Target::new(Dialect::Gemini, operation) })
}

/// The dialect in which a path is meant, also one that is not known.
fn nearest(head: &Parts, path: &str) -> Dialect {
    let has = |headers: &HeaderMap, name: &str| headers.contains_key(name);
    if path.starts_with("/v1beta/") || has(&head.headers, "x-goog-api-key") || query(head, "key").is_some() {
        Dialect::Gemini
    } else if path.starts_with("/v1/messages") || has(&head.headers, "anthropic-version") {
        Dialect::Anthropic
    } else {
        Dialect::OpenAi
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(request: &str, headers: &[&str], expect: Option<(Dialect, Operation, Option<&str>, Option<Frames>)>) {
        let (method, target) = request.split_once(' ').unwrap();
        let mut builder = http::Request::builder().method(method).uri(target);
        for name in headers {
            builder = builder.header(*name, "x");
        }
        let (head, ()) = builder.body(()).unwrap().into_parts();
        let expect = expect.map(|(dialect, operation, model, frames)| Target {
            model: model.map(str::to_owned),
            frames,
            ..Target::new(dialect, operation)
        });
        assert_eq!(Target::of(&head).ok(), expect, "{request}");
    }

    #[test]
    fn paths_of_the_providers() {
        let gemini = |operation, model, frames| Some((Dialect::Gemini, operation, model, frames));
        check("POST /v1/chat/completions", &[], Some((Dialect::OpenAi, Operation::ChatCompletions, None, None)));
        check("POST /v1/messages?beta=true", &[], Some((Dialect::Anthropic, Operation::Messages, None, None)));
        check("GET /v1/models", &[], Some((Dialect::OpenAi, Operation::Models, None, None)));
        check(
            "GET /v1/models/x",
            &["anthropic-version"],
            Some((Dialect::Anthropic, Operation::Models, Some("x"), None)),
        );
        check("GET /v1/models?key=k", &[], gemini(Operation::Models, None, None));
        let streamed = Operation::GenerateContent;
        check("POST /v1beta/models/m:streamGenerateContent", &[], gemini(streamed, Some("m"), Some(Frames::Array)));
        check(
            "POST /v1/models/m:streamGenerateContent?alt=sse",
            &[],
            gemini(streamed, Some("m"), Some(Frames::Events)),
        );
        check("POST /v1beta/models/m:batchEmbedContents", &[], gemini(Operation::EmbedContent, Some("m"), None));
        check("POST /v1beta/models/m:predict", &[], None);
        check("GET /v1/chat/completions", &[], None);
        check("GET /v1/modelsX", &[], None);
        check("POST /chat/completions", &[], None);
    }
}
