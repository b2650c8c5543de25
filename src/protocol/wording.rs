//! [`asked`]: the only question of a request apart from everything else in it, for requests that differ in spelling alone.
//!
//! What stands around the question stays as exact as in [`canonical`]; only the words of the human are folded, and only if they
//! are prose, are the only turn, and do not depend on when they are asked. Who offers tools may mean more than an answer.

use super::ask::Ask;
use super::canonical::{Omissions, canonical};
use crate::domain::near;
use crate::domain::operation::Operation;

/// Members that name the end user or the conversation to the provider, in chat completions and their like, where no
/// answer repeats them. Responses repeats them, so that there they count.
const NAMES: [&str; 7] =
    ["model", "stream", "user", "safety_identifier", "prompt_cache_key", "prompt_cache_retention", "metadata"];

/// The same in messages, whose only metadata is the user's id.
const MESSAGES: [&str; 3] = ["model", "stream", "metadata"];

/// What stands in the key by itself.
const PLAIN: [&str; 2] = ["model", "stream"];

/// A question and what stands around it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wording {
    /// The form that all harmless spellings of the question have.
    pub form: String,
    /// The one form of the request without the question.
    pub around: Vec<u8>,
}

/// What is left out of a request's form, since it cannot change the answer or stands in the key by itself.
#[must_use]
pub const fn omissions(operation: Operation) -> Omissions<'static> {
    let members: &[&str] = match operation {
        Operation::ChatCompletions | Operation::Completions | Operation::Embeddings => &NAMES,
        Operation::Messages => &MESSAGES,
        _ => &PLAIN,
    };
    Omissions { members, inner: Some(("stream_options", "include_usage")) }
}

/// The only question in `body`, of which `ask` was learned; `None` where only the same request may have the same answer.
#[must_use]
pub fn asked(operation: Operation, body: &[u8], ask: &Ask) -> Option<Wording> {
    let (spoken, features) = (&ask.spoken, &ask.features);
    let converses = matches!(
        operation,
        Operation::ChatCompletions | Operation::Responses | Operation::Messages | Operation::GenerateContent
    );
    let is_single = spoken.turns == 1 && features.messages as usize <= spoken.system.len() + 1;
    let has_more = features.tools + features.calls + features.results + features.images + features.documents > 0
        || features.audios + features.videos > 0;
    let [span] = &spoken.ask[..] else { return None };
    if !converses || !is_single || has_more {
        return None;
    }
    let text: String = serde_json::from_slice(body.get(span.clone())?).ok()?;
    if near::depends_on_time(&text) {
        return None;
    }
    let form = near::canonical(&text)?;
    let without = [body.get(..span.start)?, b"\"\"", body.get(span.end..)?].concat();
    Some(Wording { form, around: canonical(&without, omissions(operation))?.form() })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::ask::Reader;
    use crate::protocol::endpoint::{Endpoint, Hints};

    fn wording(messages: &str) -> Option<Wording> {
        let endpoint = Endpoint::of("POST", "/v1/chat/completions", Hints::default()).unwrap();
        let body = format!(r#"{{"model":"g","messages":[{messages}]}}"#);
        let mut reader = Reader::new(&endpoint);
        reader.feed(body.as_bytes()).unwrap();
        asked(Operation::ChatCompletions, body.as_bytes(), &reader.finish().unwrap())
    }

    #[test]
    fn a_question_is_folded_and_what_stands_around_it_is_not() {
        let said = |text: &str| format!(r#"{{"role":"user","content":"{text}"}}"#);
        let one = wording(&said("What is the capital of France and of Spain?")).unwrap();
        assert_eq!(wording(&said("please, what is the capital of\\u0020France and of Spain")), Some(one.clone()));
        let ruled = wording(&format!(
            r#"{{"role":"system","content":"Be brief."}},{}"#,
            said("what is the capital of France and of Spain")
        ));
        assert!(ruled.is_some_and(|ruled| ruled.form == one.form && ruled.around != one.around));
        for messages in [
            said("what is the weather in rome now and here"),
            said("what is 5 + 3 in the end for you"),
            format!("{},{}", said("what is the capital of france and of spain"), said("and what of italy and of greece then")),
            r#"{"role":"user","content":[{"type":"text","text":"what is in this picture of a cat"},{"type":"image_url","image_url":{"url":"data:image/png;base64,AA"}}]}"#.to_owned(),
        ] {
            assert_eq!(wording(&messages), None, "{messages}");
        }
    }
}
