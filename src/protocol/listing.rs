//! [`with_auto`]: a provider's list of models with `auto` before them, for clients that choose from the list alone.
//!
//! Invariant: every byte of the provider's stays, in its order; a list of another form stays as it is.

use serde::Deserialize;
use serde_json::value::RawValue;

use crate::domain::operation::Dialect;
use crate::domain::routing::AUTO;

/// The lists of all dialects.
#[derive(Deserialize)]
struct Listing<'a> {
    #[serde(borrow)]
    data: Option<&'a RawValue>,
    #[serde(borrow)]
    models: Option<&'a RawValue>,
}

/// `body` with `auto` as the first of its models; `None` where it is no list, or names it already.
#[must_use]
pub fn with_auto(dialect: Dialect, body: &[u8]) -> Option<Vec<u8>> {
    let listing: Listing<'_> = serde_json::from_slice(body).ok()?;
    let list = if dialect == Dialect::Gemini { listing.models } else { listing.data }?.get();
    let rest = list.strip_prefix('[')?;
    let (id, name) = (format!("\"id\":\"{AUTO}\""), format!("\"models/{AUTO}\""));
    if list.replace([' ', '\n'], "").contains(&id) || list.contains(&name) {
        return None;
    }
    let entry = match dialect {
        Dialect::OpenAi => format!(r#"{{{id},"object":"model","created":0,"owned_by":"tollgate"}}"#),
        Dialect::Anthropic => {
            format!(r#"{{"type":"model",{id},"display_name":"Auto","created_at":"1970-01-01T00:00:00Z"}}"#)
        }
        Dialect::Gemini => format!(
            r#"{{"name":{name},"displayName":"Auto","supportedGenerationMethods":["generateContent","countTokens"]}}"#
        ),
    };
    // The list is a part of the body, which the offset of its bytes tells.
    let at = (rest.as_ptr() as usize).checked_sub(body.as_ptr() as usize)?;
    let comma = if rest.trim_start().starts_with(']') { "" } else { "," };
    let (before, behind) = body.split_at_checked(at)?;
    Some([before, entry.as_bytes(), comma.as_bytes(), behind].concat())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn auto_comes_first_and_the_rest_stays() {
        for (dialect, body, expect) in [
            (
                Dialect::OpenAi,
                "{ \"object\":\"list\",\n\"data\": [ {\"id\":\"a\"} ] }",
                Some(r#"{"id":"auto","object":"model","created":0,"owned_by":"tollgate"},"#),
            ),
            (
                Dialect::OpenAi,
                "{\"data\":[]}",
                Some(r#"{"id":"auto","object":"model","created":0,"owned_by":"tollgate"}"#),
            ),
            (
                Dialect::Anthropic,
                "{\"data\":[{\"id\":\"a\"}],\"has_more\":false}",
                Some(r#"{"type":"model","id":"auto","display_name":"Auto","created_at":"1970-01-01T00:00:00Z"},"#),
            ),
            (
                Dialect::Gemini,
                "{\"models\":[{\"name\":\"models/a\"}]}",
                Some(
                    r#"{"name":"models/auto","displayName":"Auto","supportedGenerationMethods":["generateContent","countTokens"]},"#,
                ),
            ),
            (Dialect::OpenAi, "{\"data\":[{\"id\": \"auto\"}]}", None),
            (Dialect::OpenAi, "{\"data\":{}}", None),
            (Dialect::Gemini, "{\"data\":[]}", None),
            (Dialect::OpenAi, "[", None),
        ] {
            let made = with_auto(dialect, body.as_bytes()).map(|made| String::from_utf8(made).unwrap());
            let whole = expect.map(|entry| {
                let at = body.find('[').unwrap() + 1;
                format!("{}{entry}{}", &body[..at], &body[at..])
            });
            assert_eq!(made, whole, "{body}");
            assert!(made.is_none_or(|made| serde_json::from_str::<serde_json::Value>(&made).is_ok()));
        }
    }
}
