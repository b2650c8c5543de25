//! A model that took the place of a dearer one fails at a request, and the request is asked again one tier up.

use http::StatusCode;
use serde_json::{Value, json};
use tollgate::domain::entry::{Entry, Tier};
use tollgate::domain::money::Usd;

use crate::wire::{Fake, Reply, Seen};
use crate::world::{Answer, PATIENCE, World, provider};

const ENFORCE: &str =
    "[routing]\nmode = \"enforce\"\nroutable = [\"*\"]\n[routing.teams.search]\nceiling = \"medium\"\n";

const SMALL: &str = "gpt-6-luna";
const MIDDLE: &str = "gpt-6.1-terra";
const LARGE: &str = "gpt-6.1-sol";

/// What a small model can do, as a request for `model`, with what else it asks for.
fn body(model: &str, more: &Value) -> String {
    let ask = "Classify the sentiment of this review as positive or negative: I love it.";
    let messages = json!([{"role": "system", "content": "You classify."}, {"role": "user", "content": ask}]);
    let mut body = json!({"model": model, "messages": messages});
    body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    body.to_string()
}

fn message(message: &Value, finish: &str, tokens: u64) -> Value {
    let usage = json!({"prompt_tokens": 40, "completion_tokens": tokens, "total_tokens": 40 + tokens});
    json!({"id": "x", "choices": [{"index": 0, "message": message, "finish_reason": finish}], "usage": usage})
}

fn words(text: &str) -> Value {
    message(&json!({"role": "assistant", "content": text}), "stop", 5)
}

fn call(arguments: &str) -> Value {
    let call = json!({"id": "c", "type": "function", "function": {"name": "f", "arguments": arguments}});
    message(&json!({"role": "assistant", "content": null, "tool_calls": [call]}), "tool_calls", 5)
}

/// An answer as a provider frames it: with its length, or without.
fn reply(status: u16, body: &Value, has_length: bool) -> Reply {
    let body = body.to_string();
    let framing = match has_length {
        true => format!("content-length: {}\r\n\r\n{body}", body.len()),
        false => format!("transfer-encoding: chunked\r\n\r\n{:x}\r\n{body}\r\n0\r\n\r\n", body.len()),
    };
    let whole = format!("HTTP/1.1 {status} X\r\ncontent-type: application/json\r\n{framing}");
    Reply { pieces: vec![whole.into_bytes()], closes: false }
}

fn model_of(seen: &Seen) -> String {
    let body: Value = serde_json::from_slice(&seen.body).unwrap();
    body["model"].as_str().unwrap().to_owned()
}

/// A Tollgate before an upstream whose small model answers `small`, and whose others answer `other`.
async fn world(extra: &str, small: Value, other: (u16, Value), has_length: bool) -> (World, Fake) {
    let fake = Fake::start(move |seen| match model_of(seen) == SMALL {
        true => reply(200, &small, has_length),
        false => reply(other.0, &other.1, has_length),
    });
    let fake = fake.await;
    let (_, mock) = provider().await;
    (World::before(fake.address, mock, extra, PATIENCE).await, fake)
}

async fn ask(world: &World, body: String, headers: &[(&'static str, &str)]) -> (Answer, Entry) {
    let mut request = world.post("/v1/chat/completions", body);
    for (name, value) in headers {
        request.headers_mut().insert(*name, value.parse().unwrap());
    }
    let answer = world.send(request).await;
    (answer, world.entries().await.pop().unwrap())
}

fn models(fake: &Fake) -> Vec<String> {
    fake.seen().iter().map(model_of).collect()
}

/// What tools and formats a request asks for.
fn tools() -> Value {
    json!({"tools": [{"type": "function", "function": {"name": "f", "parameters": {"type": "object"}}}]})
}

fn schema() -> Value {
    let schema = json!({"type": "object", "properties": {"a": {"type": "string"}}, "required": ["a"]});
    json!({"response_format": {"type": "json_schema", "json_schema": {"name": "r", "strict": true, "schema": schema}}})
}

#[tokio::test]
async fn an_answer_that_is_none_is_asked_for_one_tier_up() {
    let empty = message(&json!({"role": "assistant", "content": ""}), "stop", 0);
    let refused = message(&json!({"role": "assistant", "content": null, "refusal": "no"}), "content_filter", 5);
    for (what, more, small, good) in [
        ("empty", json!({}), empty, words("positive")),
        ("refused", json!({}), refused, words("positive")),
        ("cut", json!({}), message(&json!({"content": "posi"}), "length", 5), words("positive")),
        ("arguments", tools(), call("{\"a\":"), call("{\"a\":1}")),
        ("no JSON", schema(), words("Sure! {\"a\":\"x\"}"), words("{\"a\":\"x\"}")),
        ("a field is missing", schema(), words("{\"b\":\"x\"}"), words("{\"a\":\"x\"}")),
    ] {
        for (asked, has_length) in [("auto", true), (LARGE, false)] {
            let (world, fake) = world(ENFORCE, small.clone(), (200, good.clone()), has_length).await;
            let (answer, entry) = ask(&world, body(asked, &more), &[]).await;
            assert_eq!((answer.status, answer.text()), (StatusCode::OK, &*good.to_string()), "{what}");
            assert_eq!(models(&fake), [SMALL, MIDDLE], "{what}");
            let told = ["model", "reason", "tier", "attempts"].map(|it| answer.header(&format!("x-tollgate-{it}")));
            assert_eq!(told, [MIDDLE, "escalated", "medium", "2"], "{what}");
            assert_eq!((&*entry.model, &*entry.reason, entry.tier), (MIDDLE, "escalated", Some(Tier::Medium)));
            let attempts: Vec<_> = entry.attempts.iter().map(|attempt| (&*attempt.model, attempt.status)).collect();
            assert_eq!(attempts, [(SMALL, 200), (MIDDLE, 200)], "{what}");
            let sum: Option<Usd> = entry.attempts.iter().map(|attempt| attempt.cost).sum();
            assert!(entry.cost == sum && entry.attempts.iter().all(|it| it.cost > Some(Usd::ZERO)), "{what}");
            assert_eq!(entry.baseline.is_some(), asked == LARGE, "{what}");
            // It is learned of the route, and the conversation goes on where it was answered.
            let [simple, medium, _] = world.app.routes.all().pop().unwrap().1.outcomes;
            assert!(simple.bad > 0 && simple.good == 0 && medium.bad == 0, "{what}: {simple:?} {medium:?}");
        }
    }
}

#[tokio::test]
async fn what_was_not_routed_down_is_never_asked_twice() {
    let off = format!("{ENFORCE}\n").replace("[routing]\n", "[routing]\nescalate = false\n");
    let observe = ENFORCE.replace("enforce", "observe");
    for (what, extra, asked, more, header) in [
        ("an explicit choice", ENFORCE, SMALL, schema(), None),
        ("an opt-out", ENFORCE, SMALL, schema(), Some(("x-tollgate-route", "off"))),
        ("a limited cost", ENFORCE, LARGE, schema(), Some(("x-tollgate-max-cost-usd", "5"))),
        ("escalation is off", &off, LARGE, schema(), None),
        ("nothing is routed", &observe, SMALL, schema(), None),
        ("the ceiling is low", "[routing.teams.search]\nceiling = \"simple\"\n", "auto", schema(), None),
        ("a limit of its own", ENFORCE, LARGE, json!({"max_tokens": 5}), None),
    ] {
        let small =
            if what == "a limit of its own" { message(&json!({"content": "p"}), "length", 5) } else { words("?") };
        let (world, fake) = world(extra, small.clone(), (200, words("{\"a\":\"x\"}")), true).await;
        let headers: Vec<_> = header.into_iter().collect();
        let (answer, entry) = ask(&world, body(asked, &more), &headers).await;
        assert_eq!((answer.status, answer.text()), (StatusCode::OK, &*small.to_string()), "{what}");
        assert_eq!((models(&fake), entry.attempts.len()), (vec![SMALL.to_owned()], 1), "{what}");
    }
    // A good answer is asked for once, and so is one that is too long to be read ahead.
    for text in ["positive".to_owned(), "long ".repeat(20_000)] {
        let (world, fake) = world(ENFORCE, words(&text), (200, words("?")), false).await;
        let (answer, entry) = ask(&world, body(LARGE, &json!({})), &[]).await;
        assert_eq!((answer.text(), &*entry.model), (&*words(&text).to_string(), SMALL));
        assert_eq!((models(&fake).len(), entry.attempts.len()), (1, 1));
    }
}

#[tokio::test]
async fn where_the_tier_above_comes_to_nothing_the_first_answer_stands() {
    let error = json!({"error": {"message": "overloaded", "type": "server_error", "code": "x"}});
    let cap = "[organisation]\ncaps = { total = \"0.2\" }\n";
    for (what, extra, other, asked_twice) in
        [("an error", "", (503, error), true), ("no room under a cap", cap, (200, words("positive")), false)]
    {
        let (world, fake) = world(&format!("{ENFORCE}{extra}"), words("?"), other, true).await;
        let (answer, entry) = ask(&world, body("auto", &schema()), &[]).await;
        assert_eq!((answer.status, answer.text()), (StatusCode::OK, &*words("?").to_string()), "{what}");
        assert_eq!((answer.header("x-tollgate-model"), entry.status, &*entry.model), (SMALL, 200, SMALL), "{what}");
        assert_eq!(models(&fake).len() > 1, asked_twice, "{what}");
        assert_eq!(entry.cost, entry.attempts[0].cost, "{what}");
    }
}

#[tokio::test]
async fn the_form_of_answers_is_learned_also_of_streams() {
    let events = |arguments: &[&str]| {
        let piece = |(index, arguments): (usize, &&str)| {
            let name = if index == 0 { json!("f") } else { Value::Null };
            let call = json!({"index": 0, "id": "c", "function": {"name": name, "arguments": arguments}});
            json!({"choices": [{"index": 0, "delta": {"tool_calls": [call]}, "finish_reason": null}]})
        };
        let mut all: Vec<Value> = arguments.iter().enumerate().map(piece).collect();
        all.push(json!({"choices": [{"index": 0, "delta": {}, "finish_reason": "tool_calls"}]}));
        all.push(json!({"choices": [], "usage": {"prompt_tokens": 9, "completion_tokens": 5, "total_tokens": 14}}));
        let all: String = all.iter().map(|event| format!("data: {event}\n\n")).collect();
        let body = format!("{all}data: [DONE]\n\n");
        let head =
            format!("HTTP/1.1 200 X\r\ncontent-type: text/event-stream\r\ncontent-length: {}\r\n\r\n", body.len());
        Reply { pieces: vec![head.into_bytes(), body.into_bytes()], closes: false }
    };
    for (arguments, expect) in [(["{\"a\"", ":1}"], (64, 0)), (["{\"a\"", ":1"], (0, 256))] {
        let fake = Fake::start(move |_| events(&arguments)).await;
        let (_, mock) = provider().await;
        let world = World::before(fake.address, mock, ENFORCE, PATIENCE).await;
        let mut more = tools();
        more["stream"] = json!(true);
        let (answer, entry) = ask(&world, body(SMALL, &more), &[]).await;
        assert_eq!((answer.status, entry.attempts.len()), (StatusCode::OK, 1), "{}", answer.text());
        let [simple, _, _] = world.app.routes.all().pop().unwrap().1.outcomes;
        assert_eq!((simple.good, simple.bad), expect);
    }
}
