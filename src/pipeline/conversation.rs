//! Conversation: which of a caller's requests belong together, as a hash.
//!
//! The name that the client itself gives comes first; few give one, so that the first words of a conversation stand for it
//! otherwise. System prompt and tools always count: a coding agent's helpers share its session and are others.

use std::hash::{BuildHasher, Hash, Hasher};
use std::ops::Range;

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue};

use super::identify::Caller;
use super::read::Call;
use crate::app::pins::Pins;
use crate::app::scores::Scores;
use crate::domain::account::Account;
use crate::protocol::excerpt::slice;

/// Headers by which clients name a conversation: Claude Code's, and Codex's and others' (PROTOCOLS, "Clients").
static SESSIONS: [HeaderName; 4] = [
    HeaderName::from_static("x-claude-code-session-id"),
    HeaderName::from_static("session-id"),
    HeaderName::from_static("session_id"),
    HeaderName::from_static("x-session-id"),
];

/// Bytes of a text that are looked at: its beginning, and how long it is.
const TEXT_BYTES_MAX: usize = 2_048;

/// The conversation of a request.
pub fn conversation(pins: &Pins, headers: &HeaderMap, caller: &Caller, call: &Call) -> u64 {
    of(pins, headers, caller, call, opening(pins, call))
}

/// The conversation of a request, and the beginning of its prompt that others may share: those for the same model at the same
/// upstream, with the same system prompt and as many tools. Whoever brings a credential shares with nobody.
pub fn conversation_and_beginning(
    pins: &Pins,
    headers: &HeaderMap,
    caller: &Caller,
    call: &Call,
    (upstream, model): (&str, &str),
) -> (u64, u64) {
    let opening = opening(pins, call);
    let mut hasher = pins.hash.build_hasher();
    (opening, upstream, model).hash(&mut hasher);
    Some(&caller.account.key).filter(|_| !caller.is_trusted).hash(&mut hasher);
    (of(pins, headers, caller, call, opening), hasher.finish())
}

fn of(pins: &Pins, headers: &HeaderMap, caller: &Caller, call: &Call, opening: u64) -> u64 {
    let mut hasher = pins.hash.build_hasher();
    caller.account.key.hash(&mut hasher);
    caller.account.user.hash(&mut hasher);
    opening.hash(&mut hasher);
    let rope = call.plain.as_ref().unwrap_or(&call.pieces);
    let spoken = &call.ask.spoken;
    let named = SESSIONS.iter().find_map(|name| headers.get(name)).map(HeaderValue::as_bytes);
    match named.or(call.ask.session.as_deref().map(str::as_bytes)) {
        Some(name) => name.hash(&mut hasher),
        None => {
            let first = if spoken.opening.is_empty() { &spoken.ask } else { &spoken.opening };
            first.iter().for_each(|span| text(pins, rope, span).hash(&mut hasher));
        }
    }
    hasher.finish()
}

/// A hash of what a prompt opens with: the system prompt, and how many tools there are.
fn opening(pins: &Pins, call: &Call) -> u64 {
    let mut hasher = pins.hash.build_hasher();
    let rope = call.plain.as_ref().unwrap_or(&call.pieces);
    call.ask.features.tools.hash(&mut hasher);
    call.ask.features.tool_bytes.hash(&mut hasher);
    call.ask.spoken.system.iter().for_each(|span| text(pins, rope, span).hash(&mut hasher));
    hasher.finish()
}

/// A hash of what is asked now, to notice that it is asked again.
pub fn asked(pins: &Pins, call: &Call) -> u64 {
    let mut hasher = pins.hash.build_hasher();
    let rope = call.plain.as_ref().unwrap_or(&call.pieces);
    call.ask.features.messages.hash(&mut hasher);
    call.ask.spoken.ask.iter().for_each(|span| text(pins, rope, span).hash(&mut hasher));
    hasher.finish()
}

/// A hash of all that the classifier looks at, and of whose ask it is.
pub fn worded(scores: &Scores, account: &Account, call: &Call) -> u64 {
    let mut hasher = scores.hash.build_hasher();
    (account.team.is_some(), account.team.as_ref().unwrap_or(&account.key)).hash(&mut hasher);
    let (features, spoken) = (&call.ask.features, &call.ask.spoken);
    (features.tools, features.structured, features.images, features.system_bytes).hash(&mut hasher);
    spoken.turns.hash(&mut hasher);
    let rope = call.plain.as_ref().unwrap_or(&call.pieces);
    for span in &spoken.ask {
        span.len().hash(&mut hasher);
        beginning(rope, span, span.len(), |piece| hasher.write(piece));
    }
    hasher.finish()
}

/// A hash of a text: how long it is, and its beginning.
fn text(pins: &Pins, rope: &[Bytes], span: &Range<usize>) -> u64 {
    // In one piece, since it must not matter how they arrived.
    let beginning = span.start..span.end.min(span.start + TEXT_BYTES_MAX);
    pins.text.hash_one((span.len(), &*slice(rope, &beginning).unwrap_or_default()))
}

/// Shows the first bytes of what stands at a span of a body, piece by piece.
pub(super) fn beginning(rope: &[Bytes], span: &Range<usize>, bytes_max: usize, mut show: impl FnMut(&[u8])) {
    let (mut at, end) = (0, span.end.min(span.start + bytes_max));
    for piece in rope {
        let (from, to) = (span.start.max(at), end.min(at + piece.len()));
        if from < to {
            show(&piece[from - at..to - at]);
        }
        at += piece.len();
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::limits::gate::Gate;
    use crate::protocol::ask::Reader;
    use crate::protocol::endpoint::{Endpoint, Hints};

    fn call(body: &str) -> Call {
        let endpoint = Endpoint::of("POST", "/v1/chat/completions", Hints::default()).unwrap();
        let mut reader = Reader::new(&endpoint);
        reader.feed(body.as_bytes()).unwrap();
        let pieces = vec![Bytes::copy_from_slice(body.as_bytes())];
        Call { pieces, plain: None, ask: reader.finish().unwrap(), memory: Gate::new(0).empty() }
    }

    #[test]
    fn whatever_the_classifier_looks_at_and_whose_it_is_makes_another_ask() {
        let account = |key: &str, team: Option<&str>| Account {
            key: key.into(),
            user: None,
            team: team.map(Into::into),
            tags: Arc::default(),
        };
        let scores = Scores::default();
        let ask = r#"{"model":"m","messages":[{"role":"user","content":"What is a monad?"}]}"#;
        let mine = account("ci", Some("core"));
        let name = |account: &Account, body: &str| worded(&scores, account, &call(body));
        let same = ask.replace(r#""model":"m""#, r#""model":"other", "n": 1"#);
        assert_eq!(name(&mine, ask), name(&account("other", Some("core")), &same), "a team's ask of any model");
        let last = r#"{"role":"user","content":"What is a monad?"}"#;
        for (what, body) in [
            ("other words", ask.replace("monad", "gonad")),
            ("a longer text", ask.replace("monad?", "monad??")),
            ("another turn", ask.replace(last, &format!(r#"{last},{{"role":"assistant","content":"A."}},{last}"#))),
            ("a tool", ask.replace("]}", r#"],"tools":[{"type":"function","function":{"name":"f"}}]}"#)),
            ("a form", ask.replace("]}", r#"],"response_format":{"type":"json_object"}}"#)),
        ] {
            assert_ne!(body, ask);
            assert_ne!(name(&mine, ask), name(&mine, &body), "{what}");
        }
        let whose = [mine, account("ci", None), account("core", None), account("ci", Some("ops"))];
        let names: std::collections::HashSet<u64> = whose.iter().map(|account| name(account, ask)).collect();
        assert_eq!(names.len(), whose.len(), "nobody shares with others");
    }
}
