//! [`declared`]: the tools that a body declares by name, for callers who may not use all of them.
//!
//! Only bodies of such callers are read again for this, once they are in memory; nobody else pays for it.
//!
//! Invariant: what cannot be read, or is kept where the body does not show it, is [`Untold`] and never no tool.

use std::fmt;

use serde::Deserialize;
use serde_json::Value;
use serde_json::value::RawValue;

use super::ask::runs_at_client;
use crate::domain::operation::Operation;

/// Names of tools.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Declared {
    /// Those that the client runs, by name.
    pub client: Vec<Box<str>>,
    /// Those that the provider runs, by type; Gemini's by the name of their field, in camel case.
    pub server: Vec<Box<str>>,
}

/// Why nobody can tell which tools a request declares.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Untold {
    /// Their list has a form that cannot be read.
    Odd,
    /// It names something stored that may hold tools.
    Stored,
    /// The operation's body is not looked at.
    Unread,
}

/// The fields that declare tools. A field that stands there twice is an error, since parsers differ on which one counts.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Body<'a> {
    #[serde(borrow)]
    tools: Option<&'a RawValue>,
    #[serde(borrow)]
    functions: Option<&'a RawValue>,
    #[serde(borrow)]
    messages: Option<&'a RawValue>,
    #[serde(borrow)]
    input: Option<&'a RawValue>,
    #[serde(borrow)]
    web_search_options: Option<&'a RawValue>,
    #[serde(borrow)]
    plugins: Option<&'a RawValue>,
    #[serde(borrow)]
    mcp_servers: Option<&'a RawValue>,
    #[serde(borrow)]
    agent: Option<&'a RawValue>,
    #[serde(borrow)]
    prompt: Option<&'a RawValue>,
    #[serde(borrow, alias = "cachedContent")]
    cached_content: Option<&'a RawValue>,
}

/// A message or item, which may declare tools as well.
#[derive(Debug, Deserialize)]
struct Item {
    #[serde(default)]
    tools: Option<Vec<Value>>,
}

/// The tools that `body` (decoded, whole) declares.
///
/// # Errors
/// They cannot be told.
pub fn declared(operation: Operation, body: &[u8]) -> Result<Declared, Untold> {
    let is_gemini = match operation {
        Operation::ChatCompletions
        | Operation::Responses
        | Operation::ResponsesInputTokens
        | Operation::Messages
        | Operation::CountTokens
        | Operation::Interactions => false,
        Operation::GenerateContent | Operation::GeminiCountTokens | Operation::CachedContents => true,
        Operation::Batches | Operation::Unknown => return Err(Untold::Unread),
        Operation::Embeddings
        | Operation::EmbedContent
        | Operation::Completions
        | Operation::ImageGenerations
        | Operation::ImageEdits
        | Operation::ImageVariations
        | Operation::Transcriptions
        | Operation::Translations
        | Operation::Speech
        | Operation::Moderations
        | Operation::Files
        | Operation::FileContent
        | Operation::StoredBatch
        | Operation::BatchResults
        | Operation::StoredCache
        | Operation::StoredInteraction
        | Operation::StoredResponse
        | Operation::Models => return Ok(Declared::default()),
    };
    let body: Body<'_> = serde_json::from_slice(body).map_err(|_| Untold::Odd)?;
    if body.prompt.is_some() || body.cached_content.is_some() {
        return Err(Untold::Stored);
    }
    let mut found = Declared::default();
    let hidden = [
        (body.web_search_options, "web_search_options"),
        (body.plugins, "plugins"),
        (body.mcp_servers, "mcp_servers"),
        (body.agent, "agent"),
    ];
    found.server.extend(hidden.into_iter().filter(|(value, _)| value.is_some()).map(|(_, name)| name.into()));
    for list in [body.tools, body.functions].into_iter().flatten() {
        let list: Vec<Value> = serde_json::from_str(list.get()).map_err(|_| Untold::Odd)?;
        found.add(&list, is_gemini)?;
    }
    for list in [body.messages, body.input].into_iter().flatten().filter(|list| list.get().starts_with('[')) {
        // An input may also be a list of texts or numbers, which declare nothing.
        let Ok(items) = serde_json::from_str::<Vec<&RawValue>>(list.get()) else { return Err(Untold::Odd) };
        for item in items.into_iter().filter(|item| item.get().starts_with('{')) {
            let item: Item = serde_json::from_str(item.get()).map_err(|_| Untold::Odd)?;
            found.add(&item.tools.unwrap_or_default(), is_gemini)?;
        }
    }
    Ok(found)
}

impl Declared {
    fn add(&mut self, tools: &[Value], is_gemini: bool) -> Result<(), Untold> {
        tools.iter().try_for_each(|tool| if is_gemini { self.gemini(tool) } else { self.typed(tool) })
    }

    /// A tool whose `type` tells what it is; without one, it is a function.
    fn typed(&mut self, tool: &Value) -> Result<(), Untold> {
        let tool = tool.as_object().ok_or(Untold::Odd)?;
        let kind = match tool.get("type") {
            None | Some(Value::Null) => "function",
            Some(kind) => kind.as_str().ok_or(Untold::Odd)?,
        };
        if !runs_at_client(kind) {
            self.server.push(kind.into());
            return Ok(());
        }
        if kind == "namespace" {
            let inner = tool.get("tools").and_then(Value::as_array).ok_or(Untold::Odd)?;
            return inner.iter().try_for_each(|tool| self.typed(tool));
        }
        let nested = ["function", "custom"].into_iter().find_map(|key| tool.get(key));
        let name = nested.map_or_else(|| tool.get("name"), |nested| nested.get("name"));
        match name {
            Some(name) => self.client.push(name.as_str().ok_or(Untold::Odd)?.into()),
            None if kind != "function" => self.client.push(kind.into()),
            None => return Err(Untold::Odd),
        }
        Ok(())
    }

    /// A tool whose members tell what it is.
    fn gemini(&mut self, tool: &Value) -> Result<(), Untold> {
        for (member, value) in tool.as_object().ok_or(Untold::Odd)? {
            match camel(member) {
                member if &*member == "functionDeclarations" => {
                    for function in value.as_array().ok_or(Untold::Odd)? {
                        let name = function.get("name").and_then(Value::as_str).ok_or(Untold::Odd)?;
                        self.client.push(name.into());
                    }
                }
                member if &*member == "computerUse" => self.client.push(member),
                member => self.server.push(member),
            }
        }
        Ok(())
    }
}

/// A field's name as Google writes it; its parser takes both spellings.
fn camel(name: &str) -> Box<str> {
    let mut words = name.split('_');
    let mut out = String::from(words.next().unwrap_or_default());
    for word in words {
        let mut letters = word.chars();
        out.extend(letters.next().map(|first| first.to_ascii_uppercase()));
        out.push_str(letters.as_str());
    }
    out.into()
}

impl fmt::Display for Untold {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(match self {
            Self::Odd => "its list of tools cannot be read",
            Self::Stored => "it names something stored that may hold tools",
            Self::Unread => "its tools are not looked at",
        })
    }
}

impl std::error::Error for Untold {}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(operation: Operation, body: &str, client: &[&str], server: &[&str]) {
        let found = declared(operation, body.as_bytes()).unwrap();
        let names = |names: &[Box<str>]| names.iter().map(|name| name.to_string()).collect::<Vec<_>>();
        assert_eq!((names(&found.client), names(&found.server)), (to(client), to(server)), "{body}");
    }

    fn to(names: &[&str]) -> Vec<String> {
        names.iter().map(|name| (*name).to_owned()).collect()
    }

    #[test]
    fn tools_of_each_dialect_are_named() {
        use Operation::{ChatCompletions, GenerateContent, Interactions, Messages, Responses};
        check(ChatCompletions, r#"{"model":"m","messages":[]}"#, &[], &[]);
        check(ChatCompletions, r#"{"tools":null,"messages":[{"role":"user","content":"hi"}]}"#, &[], &[]);
        check(
            ChatCompletions,
            r#"{"tools":[{"type":"function","function":{"name":"a"}},{"type":"custom","custom":{"name":"b"}}]}"#,
            &["a", "b"],
            &[],
        );
        check(
            ChatCompletions,
            r#"{"functions":[{"name":"old"}],"web_search_options":{}}"#,
            &["old"],
            &["web_search_options"],
        );
        check(
            Responses,
            r#"{"input":"x","tools":[{"type":"function","name":"a"},{"type":"web_search"},{"type":"mcp","server_label":"s"},{"type":"local_shell"}]}"#,
            &["a", "local_shell"],
            &["web_search", "mcp"],
        );
        check(
            Responses,
            r#"{"input":["x",1,{"type":"additional_tools","tools":[{"type":"namespace","tools":[{"type":"function","name":"in"}]}]}]}"#,
            &["in"],
            &[],
        );
        check(
            Messages,
            r#"{"tools":[{"name":"w","input_schema":{}},{"type":"web_search_20250305","name":"web_search"},{"type":"bash_20250124","name":"bash"}],"mcp_servers":[{}]}"#,
            &["w", "bash"],
            &["mcp_servers", "web_search_20250305"],
        );
        check(
            GenerateContent,
            r#"{"tools":[{"function_declarations":[{"name":"f"}]},{"google_search":{}},{"codeExecution":{}}]}"#,
            &["f"],
            &["googleSearch", "codeExecution"],
        );
        check(Interactions, r#"{"agent":"deep","tools":[{"type":"google_search"}]}"#, &[], &["agent", "google_search"]);
        check(Operation::Embeddings, r#"{"input":"x"}"#, &[], &[]);
    }

    #[test]
    fn what_cannot_be_told_is_not_nothing() {
        use Operation::{Batches, ChatCompletions, GenerateContent, Responses};
        for (operation, body, why) in [
            (ChatCompletions, r#"{"tools":{}}"#, Untold::Odd),
            (ChatCompletions, r#"{"tools":[],"tools":[{"type":"function","function":{"name":"a"}}]}"#, Untold::Odd),
            (ChatCompletions, r#"{"tools":[{"type":"function","function":{}}]}"#, Untold::Odd),
            (ChatCompletions, r#"{"tools":[{"type":1}]}"#, Untold::Odd),
            (Responses, r#"{"prompt":{"id":"pmpt_1"}}"#, Untold::Stored),
            (GenerateContent, r#"{"cachedContent":"cachedContents/1"}"#, Untold::Stored),
            (GenerateContent, r#"{"tools":[{"functionDeclarations":{}}]}"#, Untold::Odd),
            (Batches, "", Untold::Unread),
        ] {
            assert_eq!(declared(operation, body.as_bytes()), Err(why), "{body}");
        }
    }
}
