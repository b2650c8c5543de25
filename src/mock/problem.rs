//! [`Problem`]: why the mock refuses a request, free of any dialect; and the error body of each.

use super::{anthropic, gemini, openai};
use crate::domain::operation::Dialect;
use http::StatusCode;
use serde_json::Value;

/// A refusal.
#[derive(Debug)]
pub(super) struct Problem {
    /// The status.
    pub(super) status: StatusCode,
    /// OpenAI's `code`.
    pub(super) code: Option<&'static str>,
    /// OpenAI's `param`.
    pub(super) param: Option<&'static str>,
    /// For people.
    pub(super) message: String,
}

impl Problem {
    /// A request that makes no sense, because of the field `param` if that is known.
    pub(super) fn invalid(param: Option<&'static str>, message: impl Into<String>) -> Self {
        Self { status: StatusCode::BAD_REQUEST, code: None, param, message: message.into() }
    }

    /// A required field is missing or has the wrong type.
    pub(super) fn missing(param: &'static str) -> Self {
        Self {
            status: StatusCode::BAD_REQUEST,
            code: Some("missing_required_parameter"),
            param: Some(param),
            message: format!("Missing required parameter: '{param}'."),
        }
    }

    /// There is no such model.
    pub(super) fn unknown_model(model: &str) -> Self {
        Self {
            status: StatusCode::NOT_FOUND,
            code: Some("model_not_found"),
            param: None,
            message: format!("The model `{model}` does not exist or you do not have access to it."),
        }
    }

    /// There is no credential.
    pub(super) fn no_credential() -> Self {
        Self {
            status: StatusCode::UNAUTHORIZED,
            code: Some("invalid_api_key"),
            param: None,
            message: "You didn't provide an API key.".to_owned(),
        }
    }

    /// There is nothing at this path.
    pub(super) fn unknown_path(path: &str) -> Self {
        let message = format!("Invalid URL ({path})");
        Self { status: StatusCode::NOT_FOUND, code: Some("unknown_url"), param: None, message }
    }

    /// A failure that was asked for.
    pub(super) fn fault(status: StatusCode) -> Self {
        let code = match status.as_u16() {
            429 => Some("rate_limit_exceeded"),
            _ => None,
        };
        Self { status, code, param: None, message: format!("The mock provider was asked to fail with {status}.") }
    }

    /// The provider fails after it has sent its head.
    pub(super) fn late() -> Self {
        let message = "The mock provider was asked to fail inside its answer.".to_owned();
        Self { status: StatusCode::INTERNAL_SERVER_ERROR, code: None, param: None, message }
    }

    /// The dialect's error body.
    pub(super) fn body(&self, dialect: Dialect, request_id: &str) -> Value {
        match dialect {
            Dialect::OpenAi => openai::error(self),
            Dialect::Anthropic => anthropic::error(self, request_id),
            Dialect::Gemini => gemini::error(self),
        }
    }
}
