//! No answer crosses a tenant: every scope, against a matrix of tenants and requests.

use std::collections::HashMap;

use http::HeaderValue;
use tollgate::domain::entry::{CacheUse, Entry};

use super::{CHAT, chat, world};

const TENANTS: &str = r#"
env.KEY_A=tg_tenant_a_0123456789
env.KEY_B=tg_tenant_b_0123456789
env.KEY_C=tg_tenant_c_0123456789
env.KEY_D=tg_tenant_d_0123456789
env.KEY_E=tg_tenant_e_0123456789
[teams.one]
[teams.two]
[keys.a]
secret = { env = "KEY_A" }
team = "one"
[keys.b]
secret = { env = "KEY_B" }
team = "one"
attribute = true
[keys.c]
secret = { env = "KEY_C" }
team = "two"
[keys.d]
secret = { env = "KEY_D" }
[keys.e]
secret = { env = "KEY_E" }
[upstreams.open]
dialect = "openai"
base_url = "http://PROVIDER"
"#;

/// The credential of each tenant, and the upstream that it uses.
const CALLERS: [(&str, &str); 7] = [
    ("a", "tg_tenant_a_0123456789"),
    ("b", "tg_tenant_b_0123456789"),
    ("c", "tg_tenant_c_0123456789"),
    ("d", "tg_tenant_d_0123456789"),
    ("e", "tg_tenant_e_0123456789"),
    ("x", "sk-passed-through-one"),
    ("y", "sk-passed-through-two"),
];

/// Who may share what was kept for somebody else.
fn realm(scope: &str, name: &str) -> String {
    match (scope, name) {
        (_, "x" | "y") | ("key", _) | ("team", "d" | "e") => name.to_owned(),
        ("team", "a" | "b") => "one".to_owned(),
        ("team", _) => "two".to_owned(),
        _ => "all".to_owned(),
    }
}

/// Bodies that differ in one thing each, and paths.
fn requests() -> Vec<(&'static str, String)> {
    let base = chat("hello");
    let mut requests: Vec<_> = [
        base.clone(),
        base.replace("gpt-4o", "gpt-4o-mini"),
        base.replace("hello", "hello "),
        base.replace("\"user\"", "\"system\""),
        base.replacen('{', r#"{"stream":true,"#, 1),
        base.replacen('{', r#"{"seed":1,"#, 1),
        base.replacen('{', r#"{"max_tokens":700,"#, 1),
        base.replacen('{', r#"{"response_format":{"type":"json_object"},"#, 1),
        base.replacen('{', r#"{"reasoning_effort":"low","#, 1),
        base.replacen('{', r#"{"tool_choice":"none","tools":[{"type":"function","function":{"name":"f"}}],"#, 1),
        base.replacen('[', r#"[{"role":"system","content":"be brief"},"#, 1),
    ]
    .into_iter()
    .map(|body| (CHAT, body))
    .collect();
    requests.push(("/v1/responses", r#"{"model":"gpt-4o","temperature":0,"input":"hello"}"#.to_owned()));
    requests
}

async fn check(scope: &str) {
    let (world, _) = world(&format!("[cache]\nmode = \"exact\"\nscope = \"{scope}\"\n{TENANTS}")).await;
    let mut first: HashMap<(String, usize), Vec<u8>> = HashMap::new();
    for round in 0..2 {
        for (name, credential) in CALLERS {
            for (number, (path, body)) in requests().into_iter().enumerate() {
                // A credential of one's own needs an upstream that has none, and there the requests are others.
                let path = if "xy".contains(name) { format!("/u/open{path}") } else { path.to_owned() };
                let mut request = world.post(&path, body);
                let value = HeaderValue::try_from(format!("Bearer {credential}")).unwrap();
                request.headers_mut().insert("authorization", value);
                let answer = world.send(request).await;
                world.settled().await;
                assert_eq!(answer.status, 200, "{answer:?}");
                let (cache, place) = (answer.header("x-tollgate-cache").to_owned(), (realm(scope, name), number));
                match first.get(&place) {
                    None => {
                        assert_eq!(cache, "miss", "{scope} {name} {number}");
                        assert!(first.values().all(|known| *known != answer.body), "{scope} {name} {number}");
                        first.insert(place, answer.body.to_vec());
                    }
                    Some(known) => {
                        assert_eq!(cache, "hit", "{scope} {name} {number} {round}");
                        assert_eq!(*known, answer.body, "{scope} {name} {number}");
                    }
                }
            }
        }
    }
    let entries: Vec<Entry> = world.entries().await;
    let hits = entries.iter().filter(|entry| entry.cache == CacheUse::Hit).count();
    assert_eq!((entries.len(), hits), (2 * 7 * 12, 2 * 7 * 12 - first.len()));
    assert_eq!(world.mock.requests_total(), first.len() as u64);
}

#[tokio::test]
async fn no_answer_leaves_its_key() {
    check("key").await;
}

#[tokio::test]
async fn no_answer_leaves_its_team() {
    check("team").await;
}

#[tokio::test]
async fn shared_answers_are_shared_by_tollgate_keys_only() {
    check("shared").await;
}

#[tokio::test]
async fn no_answer_is_given_for_another_value_of_a_header() {
    let (world, _) = world(super::ON).await;
    let ask = async |header: Option<(&'static str, &str)>| {
        super::ask_with(&world, CHAT, &chat("hello"), header.as_slice()).await.0
    };
    assert_eq!(ask(None).await, "miss");
    for name in [
        "x-portkey-config",
        "extra-parameters",
        "api-version",
        "x-inference-provider",
        "cf-aig-metadata",
        "groq-beta",
        "accept-language",
        "anthropic-beta",
        "openai-organization",
        "x-goog-user-project",
        "cookie",
        "x-http-method-override-of-somebody",
    ] {
        let seen = [ask(Some((name, "1"))).await, ask(Some((name, "1"))).await, ask(Some((name, "2"))).await];
        assert_eq!(seen, ["miss", "hit", "miss"], "{name}");
    }
    for name in ["user-agent", "accept", "x-stainless-retry-count", "traceparent", "idempotency-key", "x-request-id"] {
        assert_eq!([ask(Some((name, "1"))).await, ask(Some((name, "2"))).await], ["hit", "hit"], "{name}");
    }
}
