//! Keys that are made, rotated and revoked while the process runs, by the admin interface and by the commands.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use http::{Method, Request};
use http_body_util::Full;
use serde_json::{Value, json};
use tollgate::app::Surroundings;
use tollgate::clock::Clock;
use tollgate::domain::account::Scope;
use tollgate::domain::adjustment::TopUp;
use tollgate::domain::key::{Digest, Grant, KeyAct, KeyEvent, Lists};
use tollgate::domain::money::Usd;
use tollgate::store::{Record, verify};

use super::admin::commands::{run, serving};
use super::harness::app;
use super::journal::sample::{NOW_MS, folder, id, reopen, serve};
use super::world::{Answer, World};

const CHAT: &str = r#"{"model":"gpt-4o-mini","max_tokens":5,"messages":[{"role":"user","content":"hello"}]}"#;

async fn admin(world: &World, method: Method, path: &str, body: &Value) -> (u16, Value) {
    let token = format!("Bearer {}", world.app.admin_token.load().expose());
    let request = Request::builder().method(method).uri(format!("http://{}{path}", world.admin));
    let body = if body.is_null() { String::new() } else { body.to_string() };
    let answer = world.send(request.header("authorization", token).body(Full::new(body.into())).unwrap()).await;
    (answer.status.as_u16(), serde_json::from_slice(&answer.body).unwrap_or_default())
}

async fn make(world: &World, body: Value) -> String {
    let (status, made) = admin(world, Method::POST, "/admin/v1/keys", &body).await;
    assert_eq!(status, 201, "{made}");
    let secret = made["secret"].as_str().unwrap();
    assert!(secret.starts_with("tg_") && secret.len() == 51, "{made}");
    secret.to_owned()
}

async fn chat(world: &World, secret: &str) -> Answer {
    let request = Request::post(format!("http://{}/v1/chat/completions", world.address));
    world.send(request.header("authorization", format!("Bearer {secret}")).body(Full::new(CHAT.into())).unwrap()).await
}

#[tokio::test]
async fn a_key_works_from_the_answer_that_made_it_to_the_one_that_revoked_it() {
    let world = World::start("[users.\"ada@example.com\"]\nteam = \"search\"\n").await;
    let secret = make(&world, json!({"name": "ada", "user": "ada@example.com", "tags": {"feature": "x"}})).await;
    assert_eq!(chat(&world, &secret).await.status, 200);
    let account = world.entries().await.pop().unwrap().account;
    assert_eq!((&*account.key, account.user.as_deref()), ("ada", Some("ada@example.com")));
    assert_eq!((account.team.as_deref(), account.tags.len()), (Some("search"), 1), "the user's team pays");
    assert!(!world.mock.requests()[0].headers.iter().any(|(_, value)| value.ends_with(&secret.as_bytes()[3..])));
    let (status, said) = admin(&world, Method::DELETE, "/admin/v1/keys/ada", &Value::Null).await;
    assert_eq!((status, &said["status"]), (200, &json!("revoked")));
    let refused = chat(&world, &secret).await;
    super::raw::check_refusal(tollgate::domain::operation::Dialect::OpenAi, &refused, 401);
    assert!(refused.text().contains("was revoked"), "{}", refused.text());
    assert_eq!(admin(&world, Method::DELETE, "/admin/v1/keys/ada", &Value::Null).await.0, 409);
}

#[tokio::test]
async fn a_revoked_key_is_refused_at_once_also_under_load() {
    let world = Arc::new(World::start("").await);
    let secret: Arc<str> = make(&world, json!({"name": "busy"})).await.into();
    let revoked = Arc::new(AtomicBool::new(false));
    let served = Arc::new(AtomicU64::new(0));
    let clients: Vec<_> = (0..8)
        .map(|_| {
            let (world, secret, revoked, served) = (world.clone(), secret.clone(), revoked.clone(), served.clone());
            tokio::spawn(async move {
                loop {
                    let was_revoked = revoked.load(Ordering::SeqCst);
                    let status = chat(&world, &secret).await.status.as_u16();
                    match (was_revoked, status) {
                        (false, 200) => served.fetch_add(1, Ordering::SeqCst),
                        (_, 401) => break,
                        other => panic!("{other:?}"),
                    };
                }
            })
        })
        .collect();
    while served.load(Ordering::SeqCst) < 40 {
        tokio::task::yield_now().await;
    }
    assert_eq!(admin(&world, Method::DELETE, "/admin/v1/keys/busy", &Value::Null).await.0, 200);
    revoked.store(true, Ordering::SeqCst);
    for client in clients {
        client.await.unwrap();
    }
    assert_eq!(world.entries().await.len() as u64, world.mock.requests_total(), "what was served has its entry");
}

#[tokio::test]
async fn an_old_secret_is_good_for_the_overlap_and_no_longer() {
    let now_us = Arc::new(AtomicU64::new(1_795_000_000_000_000));
    let clock = Clock::Manual(now_us.clone());
    let world = World::on("", Surroundings { clock, ..Surroundings::default() }).await;
    let old = make(&world, json!({"name": "one", "expires": "2h"})).await;
    let (status, said) = admin(&world, Method::POST, "/admin/v1/keys/one/rotate", &json!({"overlap_s": 3600})).await;
    let new = said["secret"].as_str().unwrap().to_owned();
    assert!(status == 200 && new != old && said["old_secret_until"].is_string(), "{said}");
    let forward = |seconds: u64| now_us.fetch_add(seconds * 1_000_000, Ordering::SeqCst);
    for (seconds, old_status, new_status) in [(3_599, 200, 200), (1, 401, 200), (3_599, 401, 200), (1, 401, 401)] {
        forward(seconds);
        let got = (chat(&world, &old).await.status.as_u16(), chat(&world, &new).await.status.as_u16());
        assert_eq!(got, (old_status, new_status), "after {seconds} s more");
    }
    let (_, said) = admin(&world, Method::GET, "/admin/v1/keys/one", &Value::Null).await;
    assert_eq!(
        (&said["status"], &said["old_secret_until"], &said["secret"]),
        (&json!("expired"), &Value::Null, &Value::Null)
    );
}

#[tokio::test]
async fn keys_and_what_they_spend_outlive_the_process() {
    let tags = "[tags.\"feature=x\"]\ncaps = { total = \"100\" }\n[defaults.key]\nmodels = [\"gpt-*\"]\n";
    let world = World::start(tags).await;
    let secret =
        make(&world, json!({"name": "a", "team": "search", "tags": {"feature": "x"}, "operations": ["chat"]})).await;
    let gone = make(&world, json!({"name": "b", "tags": {"feature": "x"}})).await;
    for secret in [&secret, &gone] {
        assert_eq!(chat(&world, secret).await.status, 200);
    }
    assert_eq!(
        admin(&world, Method::DELETE, "/admin/v1/keys/b", &json!({"actor": "ada", "reason": "old"})).await.0,
        200
    );
    world.settled().await;
    let spent = |caps: &Value| caps["caps"][0]["spent_usd"].as_str().unwrap().to_owned();
    let (_, before) = admin(&world, Method::GET, "/admin/v1/caps", &Value::Null).await;
    let again = world.again(tags).await;
    let (_, after) = admin(&again, Method::GET, "/admin/v1/caps", &Value::Null).await;
    assert_eq!(spent(&before), spent(&after), "the tag's cap counts both keys, also the one that was revoked");
    assert_ne!(spent(&after), "0");
    assert_eq!(chat(&again, &secret).await.status, 200);
    assert_eq!(chat(&again, &gone).await.status, 401);
    let entries = again.entries().await;
    let last = entries.last().unwrap();
    assert_eq!((&*last.account.key, last.account.team.as_deref()), ("a", Some("search")));
    let request = again.post("/v1/embeddings", r#"{"model":"text-embedding-3-small","input":"x"}"#);
    let (mut head, body) = request.into_parts();
    head.headers.insert("authorization", format!("Bearer {secret}").parse().unwrap());
    assert_eq!(again.send(Request::from_parts(head, body)).await.status, 403);
    assert!(verify(again.folder.path()).unwrap().odd.is_empty());
}

#[tokio::test]
async fn what_cannot_be_done_says_why() {
    let world = World::start("").await;
    make(&world, json!({"name": "taken"})).await;
    let keys = "/admin/v1/keys";
    for (method, path, body, status, says) in [
        (Method::POST, keys, json!({"name": "taken"}), 409, "take another name"),
        (Method::POST, keys, json!({"name": "ci"}), 400, "the config has a key"),
        (Method::POST, keys, json!({"name": "local"}), 400, "callers without a key"),
        (Method::POST, keys, json!({"name": "a/b"}), 400, "letters, digits"),
        (Method::POST, keys, json!({"name": "x", "modles": []}), 400, "unknown field"),
        (Method::POST, keys, json!({"name": "x", "secret": "tg_mine"}), 400, "unknown field"),
        (Method::POST, keys, json!({"name": "x", "team": "none"}), 400, "no team"),
        (Method::POST, keys, json!({"name": "x", "expires": "2020-01-01"}), 400, "over already"),
        (Method::POST, keys, json!({"name": "x", "expires": "soon"}), 400, "90d"),
        (Method::POST, keys, json!({"name": "x", "networks": ["home"]}), 400, "is no network"),
        (Method::POST, keys, json!({"name": "x", "tags": {"a": "b,c"}}), 400, "NAME=VALUE"),
        (Method::DELETE, "/admin/v1/keys/none", Value::Null, 404, "no key of this name"),
        (Method::DELETE, "/admin/v1/keys/ci", Value::Null, 409, "one of the config"),
        (Method::DELETE, "/admin/v1/keys/taken", json!({"overlap_s": 1}), 400, "at once"),
        (Method::POST, "/admin/v1/keys/taken/rotate", json!({"overlap_s": 99_999_999}), 400, "at most"),
        (Method::PUT, "/admin/v1/keys/taken", Value::Null, 405, "GET, HEAD, DELETE"),
        (Method::GET, "/admin/v1/keys/taken/rotate", Value::Null, 405, "POST"),
        (Method::GET, "/admin/v1/keys/none", Value::Null, 404, "no key of this name"),
    ] {
        let (got, said) = admin(&world, method.clone(), path, &body).await;
        let message = said["error"]["message"].as_str().unwrap_or_default();
        assert!(got == status && message.contains(says), "{method} {path} {body}: {got} {said}");
    }
    let (_, list) = admin(&world, Method::GET, keys, &Value::Null).await;
    let names: Vec<&str> = list["keys"].as_array().unwrap().iter().map(|key| key["key"].as_str().unwrap()).collect();
    assert_eq!(names, ["ci", "taken"], "nothing was half made");
    assert_eq!((&list["keys"][0]["source"], &list["keys"][1]["source"]), (&json!("config"), &json!("store")));
}

#[tokio::test]
async fn keys_and_top_ups_are_known_without_the_segments_that_tell_of_them() {
    let folder = folder();
    let (journal, _) = reopen(folder.path());
    let scope = Scope::Key("old".into());
    let amount = Usd::from_pico(7);
    let top_up =
        TopUp { id: id(0), at_ms: NOW_MS, scope: scope.clone(), amount, actor: "ada".into(), reason: "".into() };
    let lists = Lists::default();
    let (user, team, tags, digest) = (None, None, Arc::default(), Digest([3; 32]));
    let grant = Grant { user, team, tags, attribute: false, expires_ms: None, lists, digest };
    let act = KeyAct::Made(Box::new(grant));
    let event = KeyEvent { at_ms: NOW_MS, key: "old".into(), actor: "ada".into(), reason: "".into(), act };
    journal.post(&Record::Key(Box::new(event))).unwrap();
    journal.post(&Record::TopUp(Box::new(top_up.clone()))).unwrap();
    journal.post(&Record::TopUp(Box::new(top_up))).unwrap();
    let segments = || {
        let files = std::fs::read_dir(folder.path().join("journal")).unwrap();
        let mut files: Vec<_> = files.map(|file| file.unwrap().path()).collect();
        files.sort();
        files
    };
    let mut number = 1;
    while segments().len() < 3 {
        serve(&journal, number).await;
        journal.flush().await.unwrap();
        number += 1;
    }
    journal.shut_down().unwrap();
    let segments = segments();
    std::fs::remove_file(&segments[0]).unwrap();
    let (_journal, recovered) = reopen(folder.path());
    assert_eq!(recovered.keys.0["old"].grant.digest, Digest([3; 32]));
    assert_eq!(recovered.top_ups[&scope], Usd::from_pico(14));
}

const CONFIG: &str = "[teams.search]\n[keys.ci]\nsecret = { env = \"KEY\" }\nteam = \"search\"\n";
const FILE: &str = "--config tollgate.toml";

#[tokio::test]
async fn commands_do_the_same_with_and_without_a_server() {
    let house = app(CONFIG);
    let folder = house.folder.path().to_owned();
    let create = format!("keys create served --team search --model gpt-* --server-tool= --actor ada {FILE}");
    let made = serving(&house, async {
        let made = run(&folder, &create).await;
        let (exit, out, talk) = run(&folder, &create).await;
        assert_eq!((exit, &*out), (1, ""), "{talk}");
        assert!(talk.contains("take another name"), "{talk}");
        made
    })
    .await;
    let check_made = |(exit, out, talk): &(i32, String, String)| {
        assert_eq!(*exit, 0, "{talk}");
        assert!(out.starts_with("tg_") && out.trim_end().len() == 51 && out.lines().count() == 1, "{out}");
        assert!(talk.contains("is not shown again") && !talk.contains(out.trim_end()), "{talk}");
    };
    check_made(&made);
    drop(house.app);
    // The lock is free as soon as no other process shares it.
    let alone = async |line: String| loop {
        let done = run(&folder, &line).await;
        if !done.2.contains("used by another process") {
            break done;
        }
    };
    check_made(&alone(format!("keys create alone --expires 90d {FILE}")).await);
    check_made(&alone(format!("keys rotate served --overlap 1h {FILE}")).await);
    let (exit, _, talk) = alone(format!("keys revoke alone {FILE}")).await;
    assert!(exit == 0 && talk.contains("refused from now on"), "{talk}");
    let (exit, table, _) = alone(format!("keys list {FILE}")).await;
    let rows: Vec<Vec<&str>> = table.lines().map(|line| line.split_whitespace().collect()).collect();
    assert_eq!(exit, 0);
    assert_eq!(rows[0], ["KEY", "SOURCE", "STATUS", "TEAM", "USER", "EXPIRES", "ONLY"]);
    assert_eq!(rows[1], ["ci", "config", "live", "search", "-", "-"]);
    assert_eq!((rows[2][0], rows[2][2]), ("alone", "revoked"));
    assert_eq!(rows[3], ["served", "store", "live", "search", "-", "-", "models=gpt-*", "server_tools=none"]);
    for (line, exit, says) in [
        (format!("keys revoke ci {FILE}"), 1, "one of the config"),
        (format!("keys rotate none {FILE}"), 1, "no key of this name"),
        (format!("keys create x --expires soon {FILE}"), 64, "90d"),
        (format!("keys create x --tag y {FILE}"), 64, "NAME=VALUE"),
    ] {
        let (got, out, talk) = alone(line.clone()).await;
        assert!(got == exit && out.is_empty() && talk.contains(says), "{line}: {got} {talk}");
    }
}
