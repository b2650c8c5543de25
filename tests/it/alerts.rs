//! Alerts over real sockets: what operators are told, where, how often, and what becomes of loops.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use http::{Request, StatusCode};
use http_body_util::Full;
use serde_json::Value;
use tokio::sync::Notify;
use tollgate::app::Surroundings;
use tollgate::clock::Clock;
use tollgate::domain::entry::Outcome;

use crate::config::check;
use crate::wire::{Fake, Reply};
use crate::world::World;

const CHAT: &str = "/v1/chat/completions";

fn chat(text: &str) -> String {
    format!(r#"{{"model":"gpt-4o","max_tokens":100,"messages":[{{"role":"user","content":"{text}"}}]}}"#)
}

/// The kinds that are shown, the oldest first.
async fn kinds(world: &World) -> Vec<String> {
    world.settled().await;
    assert!(world.app.scribe.catch_up(crate::world::PATIENCE));
    world.app.look_at_caps();
    world.app.alerts.shown().iter().rev().map(|alert| alert.kind.name().to_owned()).collect()
}

#[tokio::test]
async fn a_part_of_a_cap_is_told_once_and_everywhere() {
    let bodies: Arc<Mutex<Vec<(String, String)>>> = Arc::default();
    let came = Arc::new(Notify::new());
    let (theirs, coming) = (bodies.clone(), came.clone());
    let failures = Mutex::new(1);
    let hook = Fake::start(move |seen| {
        let body = String::from_utf8_lossy(&seen.body).into_owned();
        theirs.lock().unwrap().push((seen.header("x-tollgate-signature").to_owned(), body));
        coming.notify_one();
        let mut left = failures.lock().unwrap();
        let status = if *left > 0 { "503 Busy" } else { "200 OK" };
        *left -= i32::from(*left > 0);
        Reply::whole(status, "", "")
    })
    .await;
    let world = World::start(&format!(
        "[organisation]\ncaps = {{ day = \"0.01\" }}\nalerts = [0.5, 0.1]\n\n[[alerts.webhooks]]\nurl = \"http://{}/hook\"\n\
         secret = {{ env = \"PROVIDER_KEY\" }}\n",
        hook.address
    ))
    .await;
    assert_eq!(kinds(&world).await, Vec::<String>::new());
    for number in 0..2 {
        assert_eq!(world.send(world.post(CHAT, chat(&number.to_string()))).await.status, StatusCode::OK);
    }
    assert_eq!(kinds(&world).await, ["cap_share"]);
    assert_eq!(kinds(&world).await, ["cap_share"], "once");
    let delivering = tokio::spawn(world.app.alerts.clone().deliver());
    while world.app.alerts.deliveries()[0] != ("taken", 1) {
        tokio::select! {
            () = came.notified() => {}
            () = tokio::task::yield_now() => {}
        }
    }
    delivering.abort();
    let bodies = bodies.lock().unwrap().clone();
    assert_eq!(bodies.len(), 2, "the first was not taken");
    let (signature, body) = &bodies[1];
    let (time, tag) = signature.strip_prefix("t=").unwrap().split_once(",v1=").unwrap();
    let key = ring::hmac::Key::new(ring::hmac::HMAC_SHA256, b"sk-provider");
    let tag: Vec<u8> = (0..tag.len()).step_by(2).map(|at| u8::from_str_radix(&tag[at..at + 2], 16).unwrap()).collect();
    ring::hmac::verify(&key, format!("{time}.{body}").as_bytes(), &tag).unwrap();
    let told: Value = serde_json::from_str(body).unwrap();
    assert_eq!(
        ["event", "kind", "scope", "name", "threshold"].map(|name| told[name].as_str().unwrap()),
        ["alert", "cap_share", "organisation", "", "0.001"]
    );
}

#[tokio::test]
async fn a_loop_is_told_and_refused_where_config_says_so() {
    let world = World::start("[alerts]\nrepeats = 3\non_repeat = \"refuse\"\n").await;
    for _ in 0..3 {
        assert_eq!(world.send(world.post(CHAT, chat("again"))).await.status, StatusCode::OK);
    }
    for _ in 0..2 {
        let refused = world.send(world.post(CHAT, chat("again"))).await;
        assert_eq!((refused.status, refused.header("x-should-retry")), (StatusCode::TOO_MANY_REQUESTS, "false"));
        assert_eq!(refused.header("x-tollgate-refused"), "request_loop");
        let wait_s: u64 = refused.header("retry-after").parse().unwrap();
        assert!((1..=600).contains(&wait_s), "{wait_s}");
        let error: Value = serde_json::from_str(refused.text()).unwrap();
        assert_eq!(
            (&error["error"]["code"], &error["error"]["type"]),
            (&"request_loop".into(), &"rate_limit_error".into())
        );
    }
    assert_eq!(world.send(world.post(CHAT, chat("another"))).await.status, StatusCode::OK);
    assert_eq!(kinds(&world).await, ["repeats"], "once");
    assert_eq!((world.mock.requests_total(), world.app.alerts.loops_refused()), (4, 2));
    let refused = world.entries().await.into_iter().filter(|entry| entry.outcome == Outcome::Refused).count();
    assert_eq!(refused, 2);
}

#[tokio::test]
async fn a_loop_is_slowed_down_where_config_says_so() {
    let now_us = Arc::new(AtomicU64::new(1_795_000_000_000_000));
    let surroundings = Surroundings { clock: Clock::Manual(now_us.clone()), ..Surroundings::default() };
    let extra = "[alerts]\nrepeats = 3\nrepeat_window_s = 60\non_repeat = \"throttle\"\n";
    let world = World::on(extra, surroundings).await;
    let again = async || {
        let answer = world.send(world.post(CHAT, chat("again"))).await;
        (answer.status.as_u16(), answer.header("retry-after").to_owned())
    };
    let (passed, wait) = ((200, String::new()), |seconds: &str| (429, seconds.to_owned()));
    for _ in 0..3 {
        assert_eq!(again().await, passed);
    }
    assert_eq!((again().await, again().await), (wait("20"), wait("20")));
    // One every 20 seconds, however often it is asked for, and however many windows go by.
    for _ in 0..9 {
        now_us.fetch_add(20_000_000, Ordering::SeqCst);
        assert_eq!((again().await, again().await), (passed.clone(), wait("20")));
    }
    assert_eq!(world.send(world.post(CHAT, chat("another"))).await.status, StatusCode::OK);
    assert_eq!((world.mock.requests_total(), world.app.alerts.loops_refused()), (13, 11));
}

#[tokio::test]
async fn a_loop_passes_where_only_an_alert_is_asked_for() {
    let world = World::start("[alerts]\nrepeats = 2\nrequest_usd = \"0.0000001\"\nagain_after_s = 60\n").await;
    for _ in 0..6 {
        assert_eq!(world.send(world.post(CHAT, chat("again"))).await.status, StatusCode::OK);
    }
    let mut kinds = kinds(&world).await;
    kinds.sort_unstable();
    assert_eq!(kinds, ["repeats", "request_cost"], "each once");
}

#[tokio::test]
async fn feedback_counts_for_requests_that_there_are() {
    let world = World::start("[alerts]\nrequests_min = 2\n").await;
    let answer = world.send(world.post(CHAT, chat("hello"))).await;
    let id = answer.header("x-tollgate-request-id").to_owned();
    world.settled().await;
    for (id, outcome, score, status) in [
        (&*id, "escalated", "1", 200),
        (&*id, "bad", "0.5", 200),
        (&*id, "good", "1.5", 400),
        (&*id, "fine", "1", 400),
        ("01kam3v2x8e9qh5t7c4rwz0ybn", "good", "1", 404),
    ] {
        let body = format!(r#"{{"request_id":"{id}","outcome":"{outcome}","score":{score}}}"#);
        let request = Request::post(format!("http://{}/admin/v1/feedback", world.admin))
            .header("authorization", format!("Bearer {}", world.app.admin_token.load().expose()))
            .body(Full::new(Bytes::from(body)))
            .unwrap();
        assert_eq!(world.send(request).await.status, status, "{outcome} {score}");
    }
    assert_eq!(kinds(&world).await, ["completion", "escalations"]);
}

#[test]
fn alerts_are_checked() {
    check(&[
        ("[teams.a]\nalerts = [0.5]", "2:10: teams.a.alerts: there are no caps here that they could be parts of"),
        (
            "[teams.a]\ncaps = { day = \"5\" }\nalerts = [0.5, 1.5]",
            "3:16: teams.a.alerts: must be a decimal from 0 to 1, such as 0.01",
        ),
        ("[alerts]\nerror_percent = 101", "2:17: alerts.error_percent: must be from 0 to 100"),
        ("[alerts]\non_repeat = \"stop\"", "2:13: alerts.on_repeat: must be \"alert\" or \"throttle\" or \"refuse\""),
        (
            "[[alerts.webhooks]]\nurl = \"example.com\"",
            "2:7: alerts.webhooks.url: must be http:// or https:// with a host and no password",
        ),
    ]);
}

/// A conversation in which the model calls `look_up` with each of `asked` in turn.
fn calls(opening: &str, asked: &[&str]) -> String {
    let mut messages = vec![serde_json::json!({"role": "user", "content": opening})];
    for (number, argument) in asked.iter().enumerate() {
        let (id, arguments) = (format!("c{number}"), serde_json::json!({"q": argument}).to_string());
        let function = serde_json::json!({"name": "look_up", "arguments": arguments});
        messages.push(serde_json::json!({"role": "assistant", "tool_calls": [{"id": id, "type": "function", "function": function}]}));
        messages.push(serde_json::json!({"role": "tool", "tool_call_id": id, "content": format!("nothing {number}")}));
    }
    serde_json::json!({"model": "gpt-4o", "max_tokens": 10, "messages": messages}).to_string()
}

#[tokio::test]
async fn the_same_call_again_and_again_in_a_growing_conversation_is_a_loop() {
    let world = World::start("[alerts]\nrepeats = 3\non_repeat = \"refuse\"\n").await;
    let mut asked = Vec::new();
    let mut statuses = Vec::new();
    for _ in 0..6 {
        asked.push("weather");
        statuses.push(world.send(world.post(CHAT, calls("work", &asked))).await.status.as_u16());
    }
    // The first is no repetition, and three may come.
    assert_eq!(statuses, [200, 200, 200, 200, 429, 429]);
    let refused = world.send(world.post(CHAT, calls("work", &asked))).await;
    assert!(refused.text().contains("the same call of a tool"), "{}", refused.text());
    assert_eq!(kinds(&world).await, ["repeats"]);
    // Another conversation, and calls that differ, are no part of it.
    assert_eq!(world.send(world.post(CHAT, calls("other work", &["weather", "weather"]))).await.status, StatusCode::OK);
    for number in 1..8 {
        let different: Vec<String> = (0..number).map(|number| format!("page {number}")).collect();
        let different: Vec<&str> = different.iter().map(String::as_str).collect();
        assert_eq!(world.send(world.post(CHAT, calls("work", &different))).await.status, StatusCode::OK);
    }
}
