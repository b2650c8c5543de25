//! What routes learn, from outside: feedback and what answers show, and which model the next request gets.

use bytes::Bytes;
use http::{Method, Request, StatusCode};
use http_body_util::Full;
use serde_json::json;
use tollgate::domain::stamp::Stamp;

use crate::world::World;

const ENFORCE: &str = "[routing]\nmode = \"enforce\"\nroutable = [\"*\"]\n\
     [teams.other]\n[keys.other]\nsecret = { env = \"PLAIN_KEY\" }\nteam = \"other\"\n";

const SMALL: &str = "gpt-6-luna";
const LARGE: &str = "gpt-6.1-sol";

/// A request of a route: its system prompt, and another ask each time.
fn body(model: &str, system: &str, number: usize) -> String {
    let ask = format!("Ticket {number}: sort it.");
    json!({"model": model, "messages": [{"role": "system", "content": system}, {"role": "user", "content": ask}]})
        .to_string()
}

/// Asks, and says which model answered and the request's id.
async fn ask(world: &World, key: Option<&str>, body: String, header: Option<(&'static str, &str)>) -> (String, String) {
    let mut request = world.post("/v1/chat/completions", body);
    if let Some(key) = key {
        request.headers_mut().insert("authorization", format!("Bearer {key}").parse().unwrap());
    }
    if let Some((name, value)) = header {
        request.headers_mut().insert(name, value.parse().unwrap());
    }
    let answer = world.send(request).await;
    assert_eq!(answer.status, StatusCode::OK, "{}", answer.text());
    (answer.header("x-tollgate-model").to_owned(), answer.header("x-tollgate-request-id").to_owned())
}

async fn tell(world: &World, id: &str, outcome: &str, score: Option<f64>) -> StatusCode {
    let said = match score {
        Some(score) => json!({"request_id": id, "outcome": outcome, "score": score}),
        None => json!({"request_id": id, "outcome": outcome}),
    };
    let request = Request::builder()
        .method(Method::POST)
        .uri(format!("http://{}/admin/v1/feedback", world.admin))
        .header("authorization", format!("Bearer {}", world.app.admin_token.load().expose()))
        .body(Full::new(Bytes::from(said.to_string())))
        .unwrap();
    world.send(request).await.status
}

/// Twenty requests for `model`, each told of as `outcome`.
async fn teach(world: &World, model: &str, system: &str, outcome: &str) {
    for number in 0..20 {
        let off = Some(("x-tollgate-route", "off"));
        let (sent, id) = ask(world, None, body(model, system, number), off).await;
        assert_eq!(sent, model);
        assert_eq!(tell(world, &id, outcome, None).await, StatusCode::OK);
    }
}

#[tokio::test]
async fn a_route_goes_where_feedback_says_that_it_does_well_and_remembers_it() {
    let world = World::start(ENFORCE).await;
    teach(&world, SMALL, "You sort tickets.", "good").await;
    teach(&world, SMALL, "You prove theorems.", "bad").await;
    teach(&world, "gpt-6.1-terra", "You prove theorems.", "bad").await;
    let again = world.again(ENFORCE).await;
    for world in [&world, &again] {
        let sent = |key, system| ask(world, key, body(LARGE, system, 99), None);
        assert_eq!(sent(None, "You sort tickets.").await.0, SMALL);
        assert_eq!(sent(None, "You prove theorems.").await.0, LARGE);
        // Nothing is learned across teams.
        let other = sent(Some("tg_plain_0123456789abcdef"), "You prove theorems.").await.0;
        assert_eq!(other, sent(Some("tg_plain_0123456789abcdef"), "You sort tickets.").await.0);
    }
    assert_eq!(world.app.routes.all().len(), 2);
    assert_eq!(world.app.routes.all(), again.app.routes.all());
}

#[tokio::test]
async fn a_request_counts_once_and_a_score_by_its_part() {
    let world = World::start(ENFORCE).await;
    let (_, id) = ask(&world, None, body(SMALL, "You sort tickets.", 1), None).await;
    for outcome in ["good", "bad"] {
        assert_eq!(tell(&world, &id, outcome, Some(0.25)).await, StatusCode::OK);
    }
    let entry = world.entries().await.pop().unwrap();
    let route = Stamp::read(&entry.features).unwrap().route;
    let [simple, medium, complex] = world.app.routes.of(route, world.app.clock.now_ms()).unwrap();
    assert_eq!((simple.good, simple.bad, medium.count(), complex.count()), (64, 192, 0, 0));
    // Words alone are no route.
    let plain = json!({"model": SMALL, "messages": [{"role": "user", "content": "hi"}]}).to_string();
    let (_, id) = ask(&world, None, plain, None).await;
    assert_eq!(tell(&world, &id, "bad", None).await, StatusCode::OK);
    assert_eq!(world.app.routes.all().len(), 1);
}

/// A tool loop of so many rounds, in which the same file is read; whether its reading fails.
fn tool_loop(rounds: usize, fails: bool, varies: bool) -> String {
    let mut messages = vec![json!({"role": "user", "content": "Read it."})];
    for round in 0..rounds {
        let path = if varies { format!("file-{round}") } else { "file".to_owned() };
        let id = format!("t{round}");
        messages.push(json!({"role": "assistant", "content": [{"type": "tool_use", "id": id, "name": "Read", "input": {"path": path}}]}));
        messages.push(json!({"role": "user", "content": [{"type": "tool_result", "tool_use_id": id, "is_error": fails, "content": "x"}]}));
    }
    let tools = json!([{"name": "Read", "input_schema": {"type": "object"}}]);
    json!({"model": "claude-haiku-5-5", "max_tokens": 400, "tools": tools, "messages": messages}).to_string()
}

#[tokio::test]
async fn tools_that_fail_and_calls_that_repeat_are_seen() {
    for (rounds, fails, varies, expect) in [
        (1, false, false, (32, 0)),
        (1, true, false, (0, 64)),
        (2, false, false, (32, 0)),
        (3, false, false, (32, 128)),
        (5, false, true, (32, 0)),
    ] {
        let world = World::start(ENFORCE).await;
        let mut request = world.post("/v1/messages", tool_loop(rounds, fails, varies));
        request.headers_mut().insert("anthropic-version", "2023-06-01".parse().unwrap());
        let answer = world.send(request).await;
        assert_eq!(answer.status, StatusCode::OK, "{}", answer.text());
        world.settled().await;
        let (_, learned) = world.app.routes.all().pop().unwrap();
        let [simple, _, _] = learned.outcomes;
        assert_eq!((simple.good, simple.bad), expect, "{rounds} {fails} {varies}");
        // What was only hinted at outlives the process once the tick has come.
        world.app.keep_lessons();
        world.app.bank.flush().await.unwrap();
        assert_eq!(world.again(ENFORCE).await.app.routes.all().pop().unwrap().1.outcomes, learned.outcomes);
    }
}
