//! Every route that can use a provider's key, under a cap: bounded and held, free, or refused with the reason.

use std::collections::BTreeSet;

use http::Method;
use tollgate::domain::money::Usd;
use tollgate::domain::operation::Operation;
use tollgate::protocol::endpoint::Endpoint;

use crate::world::World;

/// What becomes of a request under a cap.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Fate {
    /// Its worst case is held.
    Held,
    /// It costs nothing.
    Free,
    /// It is refused however much money there is, for this reason.
    Unbounded(&'static str),
}

use Fate::{Free, Held, Unbounded};

const USER: &str = r#""messages":[{"role":"user","content":"hi"}]"#;
const PARTS: &str = r#""contents":[{"role":"user","parts":[{"text":"hi"}]}]"#;

type Route = (&'static str, &'static str, String, Fate);

fn chat(more: &str) -> String {
    format!(r#"{{"model":"gpt-4o","max_tokens":9,{USER}{more}}}"#)
}

fn responses(more: &str) -> String {
    format!(r#"{{"model":"gpt-4o","input":"hi","max_output_tokens":16{more}}}"#)
}

fn messages(more: &str) -> String {
    format!(r#"{{"model":"claude-haiku-4-5","max_tokens":9,{USER}{more}}}"#)
}

fn contents(more: &str) -> String {
    format!(r#"{{{PARTS}{more}}}"#)
}

/// What generates: plain, and with all that runs or is billed beside it.
fn generating() -> Vec<Route> {
    let search = |uses: &str| {
        messages(&format!(r#","tools":[{{"type":"web_search_20250305","name":"web_search"{uses}}}]"#))
            .replace("haiku-4-5", "haiku-5-5")
    };
    let gemini = "/v1beta/models/gemini-2.5-pro:generateContent";
    vec![
        ("POST", "/v1/chat/completions", chat(""), Held),
        ("POST", "/chat/completions", chat(""), Held),
        ("POST", "/u/openai/v1/chat/completions", chat(""), Held),
        ("POST", "/v1/chat/completions", chat(r#","web_search_options":{}"#), Unbounded("server_tools")),
        ("POST", "/v1/completions", r#"{"model":"gpt-3.5-turbo-instruct","prompt":"hi","max_tokens":9}"#.into(), Held),
        ("POST", "/v1/responses", responses(""), Held),
        ("POST", "/v1/responses/compact", responses(""), Held),
        ("POST", "/v1/responses", responses(r#","background":true"#), Unbounded("background")),
        ("POST", "/v1/responses", responses(r#","tools":[{"type":"web_search"}]"#), Unbounded("server_tools")),
        (
            "POST",
            "/v1/responses",
            responses(r#","tools":[{"type":"web_search"}],"max_tool_calls":2"#).replace("gpt-4o", "gpt-5.6-sol"),
            Held,
        ),
        ("POST", "/v1/responses", responses(r#","tools":[{"type":"image_generation"}]"#), Unbounded("server_tools")),
        ("POST", "/v1/responses", responses(r#","previous_response_id":"resp_1""#), Held),
        ("POST", "/v1/messages", messages(""), Held),
        ("POST", "/v1/messages", search(""), Unbounded("server_tools")),
        ("POST", "/v1/messages", search(r#","max_uses":2"#), Held),
        ("POST", gemini, contents(""), Held),
        ("POST", "/v1beta/models/gemini-2.5-pro:streamGenerateContent", contents(""), Held),
        ("POST", gemini, contents(r#","tools":[{"googleSearch":{}}]"#), Unbounded("server_tools")),
        (
            "POST",
            "/v1beta/interactions",
            r#"{"model":"gemini-2.5-pro","input":"hi"}"#.into(),
            Unbounded("interactions"),
        ),
    ]
}

/// Everything else.
fn others() -> Vec<Route> {
    let image = r#"{"model":"gpt-image-1","prompt":"x"}"#;
    let embed = r#"{"content":{"parts":[{"text":"hi"}]}}"#;
    let counted = r#"{"model":"claude-haiku-4-5","messages":[{"role":"user","content":"hi"}]}"#;
    let empty = String::new;
    vec![
        ("POST", "/v1/embeddings", r#"{"model":"text-embedding-3-small","input":"hi"}"#.into(), Held),
        ("POST", "/v1beta/models/gemini-embedding-001:embedContent", embed.into(), Held),
        ("POST", "/v1beta/models/gemini-embedding-001:batchEmbedContents", r#"{"requests":[]}"#.into(), Held),
        ("POST", "/v1/images/generations", image.into(), Unbounded("media")),
        ("POST", "/v1/images/edits", image.into(), Unbounded("media")),
        ("POST", "/v1/images/variations", image.into(), Unbounded("media")),
        ("POST", "/v1/audio/speech", r#"{"model":"tts-1","input":"x","voice":"alloy"}"#.into(), Unbounded("media")),
        ("POST", "/v1/audio/transcriptions", r#"{"model":"whisper-1","file":"x"}"#.into(), Unbounded("media")),
        ("POST", "/v1/audio/translations", r#"{"model":"whisper-1","file":"x"}"#.into(), Unbounded("media")),
        ("POST", "/v1/batches", "{}".into(), Unbounded("batch")),
        ("POST", "/v1/messages/batches", "{}".into(), Unbounded("batch")),
        ("GET", "/v1/messages/batches/b1/results", empty(), Unbounded("batch")),
        ("GET", "/v1/files/file-1/content", empty(), Unbounded("batch")),
        ("POST", "/v1beta/cachedContents", r#"{"model":"models/gemini-2.5-pro"}"#.into(), Unbounded("stored_cache")),
        ("POST", "/v1/anything", "{}".into(), Unbounded("unknown_path")),
        ("POST", "/u/openai/v1/anything", "{}".into(), Unbounded("unknown_path")),
        ("GET", "/v1/responses/resp_1", empty(), Free),
        ("POST", "/v1/responses/input_tokens", r#"{"model":"gpt-4o","input":"hi"}"#.into(), Free),
        ("POST", "/v1/messages/count_tokens", counted.into(), Free),
        ("POST", "/v1beta/models/gemini-2.5-pro:countTokens", contents(""), Free),
        ("POST", "/v1/moderations", r#"{"input":"hi"}"#.into(), Free),
        ("GET", "/v1/models", empty(), Free),
        ("GET", "/v1/files", empty(), Free),
        ("GET", "/v1/batches/b1", empty(), Free),
        ("PATCH", "/v1beta/cachedContents/c", r#"{"ttl":"600s"}"#.into(), Unbounded("stored_cache")),
        ("GET", "/v1beta/cachedContents/c", empty(), Free),
        ("GET", "/v1beta/interactions/i", empty(), Free),
    ]
}

/// Asks for each route in turn; gives what it was refused with, and whether an upstream was asked.
async fn ask(world: &World, (method, path, body, _): &Route) -> (String, String, bool) {
    let before = world.mock.requests_total();
    let mut request = world.post(path, body.clone());
    *request.method_mut() = method.parse::<Method>().unwrap();
    request.headers_mut().insert("anthropic-version", "2023-06-01".parse().unwrap());
    let answer = world.send(request).await;
    let text = String::from_utf8_lossy(&answer.body).into_owned();
    (answer.header("x-tollgate-refused").to_owned(), text, world.mock.requests_total() > before)
}

fn config(cap: &str) -> String {
    format!("server.unknown_paths = \"forward\"\n[organisation]\ncaps = {{ total = \"{cap}\" }}")
}

#[tokio::test]
async fn with_money_each_route_is_held_for_free_or_refused() {
    for route in generating().into_iter().chain(others()) {
        let world = World::start(&config("1000000")).await;
        let (refused, text, asked) = ask(&world, &route).await;
        let quote = world.entries().await.pop().and_then(|entry| entry.quote);
        let about = format!("{} {} {}: {refused} {text}", route.0, route.1, route.2);
        match route.3 {
            Held => assert!(asked && refused.is_empty() && quote.is_some_and(|quote| quote > Usd::ZERO), "{about}"),
            Free => assert!(asked && refused.is_empty() && quote.unwrap_or_default() == Usd::ZERO, "{about}"),
            Unbounded(why) => {
                let says = text.contains(&format!("unbounded: {why}")) && refused == "unbounded";
                assert!(!asked && says, "{about}");
            }
        }
    }
}

#[tokio::test]
async fn without_money_no_route_that_costs_reaches_an_upstream() {
    let world = World::start(&config("0")).await;
    for route in generating().into_iter().chain(others()) {
        let (refused, text, asked) = ask(&world, &route).await;
        let about = format!("{} {}: {refused} {text}", route.0, route.1);
        match route.3 {
            Held => assert!(!asked && refused == "cap_exceeded", "{about}"),
            Free => assert!(asked && refused.is_empty(), "{about}"),
            Unbounded(_) => assert!(!asked && refused == "unbounded", "{about}"),
        }
    }
}

#[test]
fn every_operation_is_in_the_table() {
    let operation = |route: &Route| {
        let path = route.1.strip_prefix("/u/openai").unwrap_or(route.1);
        Endpoint::of(route.0, path, Default::default()).map_or(Operation::Unknown, |endpoint| endpoint.operation)
    };
    let named: BTreeSet<Operation> = generating().iter().chain(&others()).map(operation).collect();
    let missing: Vec<_> = Operation::ALL.into_iter().filter(|operation| !named.contains(operation)).collect();
    assert_eq!(missing, []);
}
