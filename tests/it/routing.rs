//! Routing from outside: what is sent upstream, what the client and the ledger are told.

use bytes::Bytes;
use http::{Request, StatusCode};
use http_body_util::Full;
use tollgate::domain::entry::{Outcome, Tier};

use crate::world::World;

/// Everything may be replaced.
const ENFORCE: &str = "[routing]\nmode = \"enforce\"\nroutable = [\"*\"]\n";

/// Whatever the words, the tier is medium.
const MEDIUM: &str = "[routing.teams.search]\nfloor = \"medium\"\nceiling = \"medium\"\n";

/// A request's path and body, with `MODEL` where the model stands; each in its dialect's own odd spacing.
const SHAPES: [(&str, &str); 4] = [
    (
        "/v1/messages",
        "{ \"max_tokens\":64,\r\n \"model\" : \"MODEL\",\"messages\":[{\"content\":\"hi\",\"role\":\"user\"}], \"x\":{\"a\":1.50e+02} }",
    ),
    ("/v1/chat/completions", "{\"messages\":[{\"role\":\"user\",\"content\":\"h\\u00e9llo\"}],\"model\":\"MODEL\"}"),
    ("/v1/responses", "{\"model\":\"MODEL\" , \"input\":\"hi\",\"\\u006eew\":[null]}"),
    ("/v1beta/models/MODEL:generateContent", "{\"contents\" : [{\"parts\":[{\"text\":\"hi\"}]}],\"unknown\":-0.0}"),
];

fn request(world: &World, path: &str, body: &str, header: Option<(&'static str, &str)>) -> Request<Full<Bytes>> {
    let mut request = world.post(path, body.to_owned());
    request.headers_mut().insert("anthropic-version", "2023-06-01".parse().unwrap());
    if let Some((name, value)) = header {
        request.headers_mut().insert(name, value.parse().unwrap());
    }
    request
}

#[tokio::test]
async fn only_the_name_of_the_model_changes() {
    let world = World::start(&format!("{ENFORCE}{MEDIUM}")).await;
    for ((path, body), (asked, sent)) in SHAPES.iter().zip([
        ("claude-opus-5-5", "claude-sonnet-5-5"),
        ("gpt-5.6", "gpt-6.1-terra"),
        ("auto", "gpt-6.1-terra"),
        ("auto", "gemini-3.8-flash"),
    ]) {
        let answer =
            world.send(request(&world, &path.replace("MODEL", asked), &body.replace("MODEL", asked), None)).await;
        assert_eq!(answer.status, StatusCode::OK, "{}", answer.text());
        let seen = world.mock.requests().pop().unwrap();
        assert_eq!(seen.target, path.replace("MODEL", sent));
        assert_eq!(seen.body, body.replace("MODEL", sent).as_bytes());
        assert_eq!((answer.header("x-tollgate-model"), answer.header("x-tollgate-requested-model")), (sent, asked));
        let reason = answer.header("x-tollgate-reason");
        assert!(answer.header("x-tollgate-tier") == "medium" && ["tier", "unsure"].contains(&reason), "{reason}");
        assert!(answer.text().contains(sent), "{}", answer.text());
        let entry = world.entries().await.pop().unwrap();
        assert_eq!((&*entry.requested_model, &*entry.model), (asked, sent));
        assert_eq!((entry.tier, &*entry.reason), (Some(Tier::Medium), reason));
        assert_eq!(entry.cost, Some(world.mock.bill().lines().pop().unwrap().cost));
    }
}

#[tokio::test]
async fn observing_leaves_every_byte_and_says_what_would_be() {
    let world = World::start(MEDIUM).await;
    for ((path, body), (asked, told)) in SHAPES.iter().zip([
        ("claude-opus-5-5", "observed: claude-sonnet-5-5, "),
        ("gpt-5.6", "observed: gpt-6.1-terra, "),
        ("gpt-5-mini", "requested model"),
        ("gemini-4-argon", "observed: gemini-3.8-flash, "),
    ]) {
        let (path, body) = (path.replace("MODEL", asked), body.replace("MODEL", asked));
        let answer = world.send(request(&world, &path, &body, None)).await;
        let seen = world.mock.requests().pop().unwrap();
        assert_eq!((&seen.target, &seen.body[..]), (&path, body.as_bytes()));
        let reason = answer.header("x-tollgate-reason");
        assert!(answer.header("x-tollgate-model") == asked && reason.starts_with(told), "{reason}");
        let entry = world.entries().await.pop().unwrap();
        assert_eq!((&*entry.model, &*entry.reason, entry.tier), (asked, reason, Some(Tier::Medium)));
    }
}

#[tokio::test]
async fn clients_lanes_and_teams_have_their_say() {
    let extra = format!(
        "{ENFORCE}[routing.routes.\"lane=eval\"]\nmode = \"off\"\n[routing.teams.search]\nfloor = \"complex\"\n"
    );
    let world = World::start(&extra).await;
    let (path, body) = SHAPES[0];
    for (number, (asked, header, sent, reason)) in (0..).zip([
        ("claude-opus-4-8", None, "claude-opus-5-5", ""),
        ("claude-opus-4-8", Some(("x-tollgate-route", "off")), "claude-opus-4-8", "opt out"),
        ("claude-opus-4-8", Some(("x-tollgate-tags", "lane=eval")), "claude-opus-4-8", "lane"),
        ("auto", Some(("x-tollgate-tier", "simple")), "claude-opus-5-5", ""),
        ("claude-opus-4-8", Some(("anthropic-beta", "new-thing-2026")), "claude-opus-4-8", "no cheaper model"),
        ("claude-opus-4-8", Some(("anthropic-beta", "claude-code-1, oauth-2")), "claude-opus-5-5", ""),
    ]) {
        // Each is a conversation of its own.
        let number: u8 = number;
        let body = body.replace("MODEL", asked).replace("\"hi\"", &format!("\"hi {number}\""));
        let answer = world.send(request(&world, path, &body, header)).await;
        let told = answer.header("x-tollgate-reason");
        assert_eq!(answer.header("x-tollgate-model"), sent, "{header:?} {}", answer.text());
        assert!(reason.is_empty() || told == reason, "{header:?} {told}");
    }
}

#[tokio::test]
async fn what_cannot_be_chosen_is_refused_with_its_reason() {
    let extra = "[upstreams.own]\ndialect = \"openai\"\nbase_url = \"http://PROVIDER\"\n[routing.tiers.openai]\nsimple = \"o3-mini\"";
    let world = World::start(extra).await;
    let image = r#"{"model":"auto","messages":[{"role":"user","content":[{"type":"image_url","image_url":{"url":"https://x/y"}}]}]}"#;
    for (path, body, header, part) in [
        ("/v1/chat/completions", image, None, "vision"),
        ("/u/own/v1/chat/completions", r#"{"model":"auto","messages":[]}"#, None, "[routing.tiers]"),
        ("/v1/chat/completions", "{}", Some(("x-tollgate-route", "on")), "x-tollgate-route"),
        ("/v1/chat/completions", "{}", Some(("x-tollgate-tier", "hard")), "x-tollgate-tier"),
    ] {
        let answer = world.send(request(&world, path, body, header)).await;
        assert!(answer.status.is_client_error() && answer.text().contains(part), "{part}: {}", answer.text());
        let entry = world.entries().await.pop().unwrap();
        assert_eq!((entry.outcome, entry.attempts.len()), (Outcome::Refused, 0));
    }
    assert_eq!(world.mock.requests_total(), 0);
}

#[tokio::test]
async fn a_probe_goes_to_the_cheapest_and_tokens_are_counted_by_a_model() {
    let world = World::start(ENFORCE).await;
    let probe = r#"{"model":"claude-opus-5-5","max_tokens":1,"messages":[{"role":"user","content":"quota"}]}"#;
    let answer = world.send(request(&world, "/v1/messages", probe, None)).await;
    assert_eq!(
        (answer.header("x-tollgate-model"), answer.header("x-tollgate-reason")),
        ("claude-haiku-5-5", "housekeeping")
    );
    for (asked, counted) in [("auto", "claude-haiku-5-5"), ("claude-opus-5-5", "claude-opus-5-5")] {
        let body = format!(r#"{{"model":"{asked}","messages":[{{"role":"user","content":"hi"}}]}}"#);
        let answer = world.send(request(&world, "/v1/messages/count_tokens", &body, None)).await;
        assert_eq!((answer.status, answer.header("x-tollgate-model")), (StatusCode::OK, counted), "{}", answer.text());
    }
}

/// A coding agent's request: its system prompt and tools, and the conversation so far, cached up to its end.
fn agent(turns: usize) -> String {
    let mut messages = Vec::new();
    for turn in 0..=turns {
        let is_last = turn == turns;
        let cached = if is_last { r#","cache_control":{"type":"ephemeral"}"# } else { "" };
        let text = format!("file {turn}: {}", "let value = compute(value); ".repeat(40));
        messages.push(match turn % 4 {
            0 => format!(r#"{{"role":"user","content":[{{"type":"text","text":"Rename the next function too, as before. {text}"{cached}}}]}}"#),
            _ => format!(r#"{{"role":"user","content":[{{"type":"tool_result","tool_use_id":"t{turn}","content":"{text}"{cached}}}]}}"#),
        });
        if !is_last {
            messages.push(match (turn + 1) % 4 {
                0 => r#"{"role":"assistant","content":[{"type":"text","text":"Done."}]}"#.to_owned(),
                _ => format!(
                    r#"{{"role":"assistant","content":[{{"type":"tool_use","id":"t{}","name":"Read","input":{{"file":{turn}}}}}]}}"#,
                    turn + 1
                ),
            });
        }
    }
    let system = "You are a coding agent. Follow the rules of the repository. ".repeat(200);
    let tools = r#"[{"name":"Read","description":"reads","input_schema":{"type":"object"}}]"#;
    let messages = messages.join(",");
    format!(
        r#"{{"model":"claude-opus-5-5","max_tokens":400,"system":[{{"type":"text","text":"{system}","cache_control":{{"type":"ephemeral"}}}}],"tools":{tools},"messages":[{messages}]}}"#
    )
}

/// Twenty turns of one conversation, of which three of four are tools' results; the models that were sent.
async fn converse(world: &World, session: Option<&str>) -> Vec<String> {
    let mut models = Vec::new();
    for turn in 0..20 {
        let header = session.map(|session| ("x-claude-code-session-id", session));
        let mut request = request(world, "/v1/messages", &agent(turn), header);
        request.headers_mut().insert("user-agent", "claude-cli/2.1.0 (external, cli)".parse().unwrap());
        let answer = world.send(request).await;
        assert_eq!(answer.status, StatusCode::OK, "{}", answer.text());
        models.push(answer.header("x-tollgate-model").to_owned());
    }
    models
}

#[tokio::test]
async fn an_agents_conversation_stays_on_one_model_and_costs_no_more() {
    let unrouted = World::start("[routing]\nmode = \"off\"").await;
    let asked = converse(&unrouted, None).await;
    assert!(asked.iter().all(|model| model == "claude-opus-5-5"));
    for session in [None, Some("5f2c")] {
        let routed = World::start(&format!("{ENFORCE}{MEDIUM}")).await;
        let models = converse(&routed, session).await;
        assert!(models.iter().all(|model| *model == models[0]), "{models:?}");
        assert_eq!(models[0], "claude-sonnet-5-5");
        let (cost, before) = (routed.mock.bill().total(), unrouted.mock.bill().total());
        assert!(cost < before, "{cost} {before}");
        let read: u64 = routed.entries().await.iter().map(|entry| entry.usage.cache_read).sum();
        assert!(read > 0, "the provider's cache was used");
    }
}

#[tokio::test]
async fn a_conversation_that_tollgate_joins_late_stays_where_it_is_cached() {
    let world = World::start(&format!("{ENFORCE}{MEDIUM}")).await;
    // In the middle of a tool loop, and at a human's turn after a long conversation.
    for (turn, reason) in [(18, "tool loop"), (16, "pinned")] {
        let answer = world.send(request(&world, "/v1/messages", &agent(turn), None)).await;
        let told = (answer.header("x-tollgate-model"), answer.header("x-tollgate-reason"));
        assert_eq!(told, ("claude-opus-5-5", reason), "{turn}");
    }
}

#[tokio::test]
async fn lists_of_models_name_auto_only_where_config_wants_that() {
    let (plain, listing) = (World::start("").await, World::start("[routing]\nlist_auto = true\n").await);
    for (path, header, first) in [
        ("/v1/models", None, "/data/0/id"),
        ("/v1/models", Some(("anthropic-version", "2023-06-01")), "/data/0/id"),
        ("/v1beta/models", None, "/models/0/name"),
    ] {
        let get = |world: &World| {
            let mut request = world.post(path, "");
            *request.method_mut() = http::Method::GET;
            if let Some((name, value)) = header {
                request.headers_mut().insert(name, value.parse().unwrap());
            }
            request
        };
        let theirs = plain.send(get(&plain)).await;
        let ours = listing.send(get(&listing)).await;
        let read = |answer: &crate::world::Answer| serde_json::from_slice::<serde_json::Value>(&answer.body).unwrap();
        let (theirs_read, mut ours_read) = (read(&theirs), read(&ours));
        let name = ours_read.pointer(first).and_then(serde_json::Value::as_str).unwrap().to_owned();
        assert!(name == "auto" || name == "models/auto", "{path} {name}");
        assert_ne!(theirs_read.pointer(first).unwrap().as_str(), Some(&*name), "{path}");
        let list = if path == "/v1beta/models" { "models" } else { "data" };
        ours_read[list].as_array_mut().unwrap().remove(0);
        assert_eq!(ours_read, theirs_read, "{path}");
        let length =
            ours.headers.get("content-length").map(|length| length.to_str().unwrap().parse::<usize>().unwrap());
        assert!(length.is_none_or(|length| length == ours.body.len()));
    }
}
