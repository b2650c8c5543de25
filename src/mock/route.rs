//! [`Target`]: which dialect and operation a path asks for; paths are those of the real providers and no others.

use super::gemini::Frames;
use super::problem::Problem;
use crate::domain::operation::Dialect;
use http::request::Parts;
use http::{HeaderMap, Method, header};

/// What a path asks for.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Target {
    /// The wire API.
    pub(super) dialect: Dialect,
    /// What is to be done.
    pub(super) work: Work,
    /// The model, where the path names it.
    pub(super) model: Option<String>,
}

/// What a provider does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Work {
    /// Generates an answer.
    Answer(Api),
    /// Counts tokens.
    Count,
    /// Embeds.
    Embed,
    /// Lists models, or shows one.
    Models,
}

/// How an answer is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Api {
    /// OpenAI's chat completions.
    Chat,
    /// OpenAI's responses.
    Responses,
    /// Anthropic's messages.
    Messages,
    /// Gemini, whole.
    Gemini,
    /// Gemini, streamed.
    GeminiStream(Frames),
}

impl Target {
    /// Reads method and path; a refusal comes with the nearest dialect.
    pub(super) fn of(head: &Parts) -> Result<Self, (Dialect, Problem)> {
        let path = head.uri.path();
        let found = match head.method {
            Method::GET => reading(head, path),
            Method::POST => writing(path, head.uri.query().unwrap_or("")),
            _ => None,
        };
        found.ok_or_else(|| (nearest(head, path), Problem::unknown_path(path)))
    }

    fn new(dialect: Dialect, work: Work) -> Self {
        Self { dialect, work, model: None }
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
    Some(Target { model, ..Target::new(dialect, Work::Models) })
}

fn writing(path: &str, query: &str) -> Option<Target> {
    let known = match path {
        "/v1/chat/completions" => Target::new(Dialect::OpenAi, Work::Answer(Api::Chat)),
        "/v1/responses" => Target::new(Dialect::OpenAi, Work::Answer(Api::Responses)),
        "/v1/embeddings" => Target::new(Dialect::OpenAi, Work::Embed),
        "/v1/messages" => Target::new(Dialect::Anthropic, Work::Answer(Api::Messages)),
        "/v1/messages/count_tokens" => Target::new(Dialect::Anthropic, Work::Count),
        _ => return gemini(path, query),
    };
    Some(known)
}

fn gemini(path: &str, query: &str) -> Option<Target> {
    let rest = path.strip_prefix("/v1beta/models/").or_else(|| path.strip_prefix("/v1/models/"))?;
    let (model, verb) = rest.rsplit_once(':')?;
    let events = parameter(query, "alt") == Some("sse");
    let work = match verb {
        "generateContent" => Work::Answer(Api::Gemini),
        "streamGenerateContent" if events => Work::Answer(Api::GeminiStream(Frames::Events)),
        "streamGenerateContent" => Work::Answer(Api::GeminiStream(Frames::Array)),
        "countTokens" => Work::Count,
        "embedContent" | "batchEmbedContents" => Work::Embed,
        _ => return None,
    };
    Some(Target { model: Some(model.to_owned()), ..Target::new(Dialect::Gemini, work) })
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

    fn check(request: &str, headers: &[&str], expect: Option<(Dialect, Work, Option<&str>)>) {
        let (method, target) = request.split_once(' ').unwrap();
        let mut builder = http::Request::builder().method(method).uri(target);
        for name in headers {
            builder = builder.header(*name, "x");
        }
        let (head, ()) = builder.body(()).unwrap().into_parts();
        let expect = expect.map(|(dialect, work, model)| Target { dialect, work, model: model.map(str::to_owned) });
        assert_eq!(Target::of(&head).ok(), expect, "{request}");
    }

    #[test]
    fn paths_of_the_providers() {
        use Dialect::{Anthropic, Gemini, OpenAi};
        let streamed = |frames| Work::Answer(Api::GeminiStream(frames));
        check("POST /v1/chat/completions", &[], Some((OpenAi, Work::Answer(Api::Chat), None)));
        check("POST /v1/messages?beta=true", &[], Some((Anthropic, Work::Answer(Api::Messages), None)));
        check("GET /v1/models", &[], Some((OpenAi, Work::Models, None)));
        check("GET /v1/models/x", &["anthropic-version"], Some((Anthropic, Work::Models, Some("x"))));
        check("GET /v1/models?key=k", &[], Some((Gemini, Work::Models, None)));
        let array = Some((Gemini, streamed(Frames::Array), Some("m")));
        check("POST /v1beta/models/m:streamGenerateContent", &[], array);
        let events = Some((Gemini, streamed(Frames::Events), Some("m")));
        check("POST /v1/models/m:streamGenerateContent?alt=sse", &[], events);
        check("POST /v1beta/models/m:batchEmbedContents", &[], Some((Gemini, Work::Embed, Some("m"))));
        check("POST /v1beta/models/m:predict", &[], None);
        check("GET /v1/chat/completions", &[], None);
        check("GET /v1/modelsX", &[], None);
        check("POST /chat/completions", &[], None);
    }
}
