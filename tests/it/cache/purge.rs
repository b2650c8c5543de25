//! Answers that are forgotten before their time, over the admin interface and by command.

use std::sync::atomic::Ordering;

use http::{Method, Request};
use serde_json::{Value, json};

use super::{CHAT, VERSION, ask, chat, with, world};
use crate::world::World;

async fn admin(world: &World, method: Method, target: &str, body: &str) -> (u16, Value) {
    let token = std::fs::read_to_string(world.folder.path().join("admin-token")).unwrap();
    let request = Request::builder().method(method).uri(format!("http://{}{target}", world.admin));
    let request = request.header("authorization", format!("Bearer {}", token.trim()));
    let answer = world.send(request.body(body.to_owned().into()).unwrap()).await;
    (answer.status.as_u16(), serde_json::from_slice(&answer.body).unwrap())
}

pub async fn purge(world: &World, body: Value) -> u64 {
    let (status, said) = admin(world, Method::POST, "/admin/v1/cache/purge", &body.to_string()).await;
    assert_eq!(status, 200, "{said}");
    said["purged"].as_u64().unwrap()
}

#[tokio::test]
async fn answers_are_purged_by_what_they_are() {
    let (world, now_us) = world("[cache]\nmode = \"near\"\n").await;
    let mini = |text: &str| chat(text).replace("gpt-4o", "gpt-4o-mini");
    let fill = async || {
        for text in ["what is the first of all things here", "what is the second of all things here"] {
            ask(&world, CHAT, &chat(text)).await;
            ask(&world, CHAT, &mini(text)).await;
        }
    };
    fill().await;
    for (body, expect) in [
        (json!({"model": "gpt-5*"}), 0),
        (json!({"key": "other"}), 0),
        (json!({"team": "other", "model": "*"}), 0),
        (json!({"older_than_s": 60}), 0),
        (json!({"model": "gpt-4o"}), 2),
        (json!({"model": "*-mini", "key": "ci", "team": "search"}), 2),
    ] {
        assert_eq!(purge(&world, body.clone()).await, expect, "{body}");
    }
    fill().await;
    now_us.fetch_add(61_000_000, Ordering::Relaxed);
    ask(&world, CHAT, &chat("and one more of all things here")).await;
    assert_eq!(purge(&world, json!({"older_than_s": 60})).await, 4);
    assert_eq!(ask(&world, CHAT, &chat("what is the first of all things here")).await.0, "miss");
    assert_eq!(ask(&world, CHAT, &chat("and one more of all things here")).await.0, "hit");
    assert_eq!(purge(&world, json!({"all": true})).await, 2);
    assert_eq!(world.app.cache.fill().answers, 0);
    for body in ["{}", r#"{"all":true,"key":"ci"}"#, r#"{"keys":"ci"}"#, r#"{"cache_key":"12"}"#, "x"] {
        assert_eq!(admin(&world, Method::POST, "/admin/v1/cache/purge", body).await.0, 400, "{body}");
    }
}

#[tokio::test]
async fn the_cache_says_how_full_it_is_and_what_it_did() {
    let (world, _) = world("[cache]\nmode = \"near\"\nmemory_mib = 64\n").await;
    for text in
        ["What is the first of all things?", "what is the first of all things", "what is the first of all things"]
    {
        ask(&world, CHAT, &chat(text)).await;
    }
    ask(&world, CHAT, &chat("x = 5")).await;
    assert!(world.app.scribe.catch_up(std::time::Duration::from_secs(20)));
    let (_, said) = admin(&world, Method::GET, "/admin/v1/cache", "").await;
    assert_eq!((&said["answers"], &said["budget_bytes"]), (&json!(2), &json!(64 << 20)));
    assert!(said["bytes"].as_u64().unwrap() > 1_000);
    assert_eq!((&said["requests"]["near"], &said["requests"]["miss"]), (&json!(2), &json!(2)));
    assert_eq!((&said["served_percent"], &said["false_hit_percent"]), (&json!("50.00"), &Value::Null));
}

#[tokio::test]
async fn what_was_on_its_way_when_all_was_purged_is_not_kept() {
    let (world, _) = world(super::ON).await;
    let gated = with(world.post(CHAT, chat("a")), &[VERSION, ("x-mock-gate", "here")]);
    let asked = tokio::spawn(world.client.request(gated));
    while world.mock.requests_total() == 0 {
        tokio::task::yield_now().await;
    }
    assert_eq!(purge(&world, json!({"all": true})).await, 0);
    world.mock.gate("here").open();
    let body = asked.await.unwrap().unwrap().into_body();
    http_body_util::BodyExt::collect(body).await.unwrap();
    world.settled().await;
    assert_eq!(ask(&world, CHAT, &chat("a")).await.0, "miss");
    assert_eq!(ask(&world, CHAT, &chat("a")).await.0, "hit");
}
