//! What routing saved, against what a provider would have billed without it.

use http::StatusCode;
use serde_json::json;
use tollgate::domain::entry::difference;
use tollgate::domain::money::Usd;
use tollgate::domain::sums::Sums;

use crate::world::World;

pub const ENFORCE: &str = "[routing]\nmode = \"enforce\"\nroutable = [\"*\"]\n";
pub const OFF: &str = "[routing]\nmode = \"off\"\n";

const OPUS: &str = "claude-opus-5-5";
const SOL: &str = "gpt-6.1-sol";

/// One request of the day: its path, its body, and a header of the client.
pub struct Sent {
    pub path: &'static str,
    pub body: String,
    pub tier: Option<&'static str>,
}

/// Jobs of one long template that the provider caches, of which some are hard: each is a conversation of its own.
fn long_jobs() -> impl Iterator<Item = Sent> {
    let system =
        format!("You sort tickets by the rules of the house. {}", "Mind the old rules, and the new. ".repeat(200));
    (0..16).map(move |number| {
        let ask = format!("Classify the sentiment of this review as positive or negative: I love it. Job {number}");
        let messages = json!([{"role": "system", "content": system}, {"role": "user", "content": ask}]);
        let tier = ["simple", "simple", "medium", "complex"][number % 4];
        Sent {
            path: "/v1/chat/completions",
            body: json!({"model": SOL, "messages": messages}).to_string(),
            tier: Some(tier),
        }
    })
}

/// A chat whose long prompt OpenAI caches by itself; from its fifth turn on the client wants the best.
pub fn long_chat(topic: &str) -> Vec<Sent> {
    let system = format!("You talk about {topic}. {}", "The river follows the old bridge. ".repeat(200));
    let mut messages = vec![json!({"role": "system", "content": system})];
    let turn = |number: usize| {
        let ask = format!("Classify the sentiment of this review as positive or negative: I love it. {topic} {number}");
        messages.push(json!({"role": "user", "content": ask}));
        let tier = if number >= 4 { "complex" } else { "simple" };
        let body = json!({"model": SOL, "messages": messages}).to_string();
        messages.push(json!({"role": "assistant", "content": format!("I see, {number}.")}));
        Sent { path: "/v1/chat/completions", body, tier: Some(tier) }
    };
    (0..8).map(turn).collect()
}

/// An agent of the Responses API: its prompt grows by tools' results.
fn long_agent() -> Vec<Sent> {
    let tools = json!([{"type": "function", "name": "read", "parameters": {"type": "object", "properties": {}}}]);
    let instructions = "You are a coding agent. Follow the rules of the repository. ".repeat(150);
    let mut input = vec![json!({"type": "message", "role": "user", "content": "Rename the function, as before."})];
    let mut turns = Vec::new();
    for turn in 0..10 {
        let body = json!({"model": SOL, "instructions": instructions, "tools": tools, "input": input, "store": false});
        turns.push(Sent { path: "/v1/responses", body: body.to_string(), tier: None });
        let id = format!("c{turn}");
        input.push(
            json!({"type": "function_call", "call_id": id, "name": "read", "arguments": format!("{{\"n\":{turn}}}")}),
        );
        let text = format!("file {turn}: {}", "let value = compute(value); ".repeat(60));
        input.push(json!({"type": "function_call_output", "call_id": id, "output": text}));
    }
    turns
}

/// Jobs of one template; each is asked once.
pub fn jobs() -> impl Iterator<Item = Sent> {
    let system = "Classify the ticket as billing, technical or other. Answer with one word.";
    (0..20).map(move |number| {
        let ticket =
            format!("Ticket {number}: is this review positive or negative? I like it. mock:tokens={}", 3 + number % 5);
        let messages = json!([{"role": "system", "content": system}, {"role": "user", "content": ticket}]);
        Sent { path: "/v1/chat/completions", body: json!({"model": SOL, "messages": messages}).to_string(), tier: None }
    })
}

/// A conversation whose prompt grows; from its fifth turn on the client wants the best.
fn chat(topic: &str, path: &'static str) -> Vec<Sent> {
    let (mut messages, mut turns) = (Vec::new(), Vec::new());
    for turn in 0..8 {
        let ask = format!("Classify the sentiment of this review as positive or negative: I love it. {topic} {turn}");
        let marked = json!([{"type": "text", "text": ask, "cache_control": {"type": "ephemeral"}}]);
        messages.push(json!({"role": "user", "content": if path == "/v1/messages" { marked } else { json!(ask) }}));
        let tier = if turn >= 4 { "complex" } else { "simple" };
        let body = match path {
            "/v1/messages" => {
                let system = format!("You talk. {}", "The river follows the old bridge. ".repeat(200));
                json!({"model": OPUS, "max_tokens": 300, "system": system, "messages": messages})
            }
            _ => json!({"model": SOL, "messages": messages}),
        };
        turns.push(Sent { path, body: body.to_string(), tier: Some(tier) });
        messages.push(json!({"role": "assistant", "content": format!("I see, {turn}.")}));
    }
    turns
}

/// An agent's loop: a human's turn, and tools' results.
fn agent() -> Vec<Sent> {
    let tools = json!([{"name": "Read", "description": "reads", "input_schema": {"type": "object"}}]);
    let system = "You are a coding agent. Follow the rules of the repository. ".repeat(120);
    let mut messages = vec![json!({"role": "user", "content": "Rename the function, as before."})];
    let mut turns = Vec::new();
    for turn in 0..12 {
        let system = json!([{"type": "text", "text": system, "cache_control": {"type": "ephemeral"}}]);
        let body = json!({"model": OPUS, "max_tokens": 400, "system": system, "tools": tools, "messages": messages});
        turns.push(Sent { path: "/v1/messages", body: body.to_string(), tier: None });
        let id = format!("t{turn}");
        let call = json!([{"type": "tool_use", "id": id, "name": "Read", "input": {"file": turn}}]);
        messages.push(json!({"role": "assistant", "content": call}));
        let text = format!("file {turn}: {}", "let value = compute(value); ".repeat(40));
        messages
            .push(json!({"role": "user", "content": [{"type": "tool_result", "tool_use_id": id, "content": text}]}));
    }
    turns
}

/// A day's requests, and what the provider bills for them.
pub async fn day(world: &World) -> Usd {
    let short = jobs().chain(chat("About rivers", "/v1/messages")).chain(chat("About bridges", "/v1/chat/completions"));
    let long = long_jobs().chain(long_chat("Bridges")).chain(long_chat("Harbours")).chain(long_agent());
    for sent in short.chain(agent()).chain(long) {
        send(world, sent).await;
    }
    world.mock.bill().total()
}

/// Sends one of them.
pub async fn send(world: &World, sent: Sent) {
    let mut request = world.post(sent.path, sent.body);
    request.headers_mut().insert("anthropic-version", "2023-06-01".parse().unwrap());
    if let Some(tier) = sent.tier {
        request.headers_mut().insert("x-tollgate-tier", tier.parse().unwrap());
    }
    let answer = world.send(request).await;
    assert_eq!(answer.status, StatusCode::OK, "{}", answer.text());
}

#[tokio::test]
async fn a_mixed_days_savings_are_the_difference_of_the_bills() {
    let (routed, unrouted) = (World::start(ENFORCE).await, World::start(OFF).await);
    let (cost, before) = (day(&routed).await, day(&unrouted).await);
    let entries = routed.entries().await;
    let mut sums = Sums::default();
    entries.iter().for_each(|entry| sums.add(entry));
    assert_eq!(sums.spend, cost);
    assert_eq!(sums.saved_by_routing(), difference(before, cost), "{sums:?}");
    // Some of it was a loss: a conversation that moves up finds a cold cache, and so does a job that is sent elsewhere.
    let is_loss = |entry: &&tollgate::domain::entry::Entry| entry.saved_in_all().1;
    assert!(entries.iter().filter(is_loss).count() >= 4, "{sums:?}");
    assert!(sums.saved_by_routing().0 > Usd::ZERO && !sums.saved_by_routing().1, "{sums:?}");
    assert!(sums.routed > 20 && sums.compared == sums.routed, "{sums:?}");
}
