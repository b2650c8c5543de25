//! Routing from outside: what is sent upstream, what the client and the ledger are told.

use bytes::Bytes;
use http::{Request, StatusCode};
use http_body_util::Full;
use tollgate::domain::entry::{Outcome, Tier};

use crate::world::World;

/// Everything may be replaced.
const ENFORCE: &str = "[routing]\nmode = \"enforce\"\nroutable = [\"*\"]\n";

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
    let world = World::start(ENFORCE).await;
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
        assert_eq!((answer.header("x-tollgate-tier"), answer.header("x-tollgate-reason")), ("medium", "unsure"));
        assert!(answer.text().contains(sent), "{}", answer.text());
        let entry = world.entries().await.pop().unwrap();
        assert_eq!((&*entry.requested_model, &*entry.model), (asked, sent));
        assert_eq!((entry.tier, &*entry.reason), (Some(Tier::Medium), "unsure"));
        assert_eq!(entry.cost, Some(world.mock.bill().lines().pop().unwrap().cost));
    }
}

#[tokio::test]
async fn observing_leaves_every_byte_and_says_what_would_be() {
    let world = World::start("").await;
    for ((path, body), (asked, told)) in SHAPES.iter().zip([
        ("claude-opus-5-5", "observed: claude-sonnet-5-5, unsure"),
        ("gpt-5.6", "observed: gpt-6.1-terra, unsure"),
        ("gpt-5-mini", "requested model"),
        ("gemini-4-argon", "observed: gemini-3.8-flash, unsure"),
    ]) {
        let (path, body) = (path.replace("MODEL", asked), body.replace("MODEL", asked));
        let answer = world.send(request(&world, &path, &body, None)).await;
        let seen = world.mock.requests().pop().unwrap();
        assert_eq!((&seen.target, &seen.body[..]), (&path, body.as_bytes()));
        assert_eq!((answer.header("x-tollgate-model"), answer.header("x-tollgate-reason")), (asked, told));
        let entry = world.entries().await.pop().unwrap();
        assert_eq!((&*entry.model, &*entry.reason, entry.tier), (asked, told, Some(Tier::Medium)));
    }
}

#[tokio::test]
async fn clients_lanes_and_teams_have_their_say() {
    let extra = format!(
        "{ENFORCE}[routing.routes.\"lane=eval\"]\nmode = \"off\"\n[routing.teams.search]\nfloor = \"complex\"\n"
    );
    let world = World::start(&extra).await;
    let (path, body) = SHAPES[0];
    for (asked, header, sent, reason) in [
        ("claude-opus-4-8", None, "claude-opus-5-5", "unsure"),
        ("claude-opus-4-8", Some(("x-tollgate-route", "off")), "claude-opus-4-8", "opt out"),
        ("claude-opus-4-8", Some(("x-tollgate-tags", "lane=eval")), "claude-opus-4-8", "lane"),
        ("auto", Some(("x-tollgate-tier", "simple")), "claude-opus-5-5", "unsure"),
        ("claude-opus-4-8", Some(("anthropic-beta", "new-thing-2026")), "claude-opus-4-8", "no cheaper model"),
        ("claude-opus-4-8", Some(("anthropic-beta", "claude-code-1, oauth-2")), "claude-opus-5-5", "unsure"),
    ] {
        let answer = world.send(request(&world, path, &body.replace("MODEL", asked), header)).await;
        let told = (answer.header("x-tollgate-model"), answer.header("x-tollgate-reason"));
        assert_eq!(told, (sent, reason), "{header:?} {}", answer.text());
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
