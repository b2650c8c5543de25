//! What a key may be used for: models, upstreams, operations, tools, networks, and until when, in each dialect.

use http::Request;
use http_body_util::Full;
use tollgate::domain::operation::Dialect;

use super::raw::check_refusal;
use super::world::{Answer, World};

const CHAT: &str = "/v1/chat/completions";
const MESSAGES: &str = "/v1/messages";
const GEMINI: &str = "/v1beta/models/gemini-2.5-flash:generateContent";
const KEY: &str = "tg_plain_0123456789abcdef";

/// A world whose key `plain` may only do what `lines` say.
async fn world(lines: &str) -> World {
    World::start(&format!("[keys.plain]\nsecret = {{ env = \"PLAIN_KEY\" }}\n{lines}")).await
}

async fn send(world: &World, path: &str, body: &str) -> Answer {
    let request = Request::post(format!("http://{}{path}", world.address))
        .header("x-api-key", KEY)
        .header("anthropic-version", "2023-06-01");
    world.send(request.body(Full::new(body.to_owned().into())).unwrap()).await
}

fn dialect(path: &str) -> Dialect {
    match path {
        path if path.contains("messages") => Dialect::Anthropic,
        path if path.starts_with("/v1beta") => Dialect::Gemini,
        _ => Dialect::OpenAi,
    }
}

fn chat(model: &str, more: &str) -> String {
    format!(r#"{{"model":"{model}","max_tokens":20,"messages":[{{"role":"user","content":"hello"}}]{more}}}"#)
}

const CONTENTS: &str = r#""contents":[{"role":"user","parts":[{"text":"hello"}]}]"#;

/// Sends requests of a key that may do what `lines` say; nothing stands for a request that is served, a text for what the
/// refusal of another names.
async fn check(lines: &str, cases: &[(&str, String, Option<&str>)]) {
    let world = world(lines).await;
    for (path, body, refused) in cases {
        let sent = world.mock.requests_total();
        let answer = send(&world, path, body).await;
        let Some(names) = refused else {
            assert_eq!(answer.status, 200, "{lines}: {path} {body}: {}", answer.text());
            continue;
        };
        check_refusal(dialect(path), &answer, 403);
        assert_eq!(answer.header("x-tollgate-refused"), "forbidden");
        assert!(answer.text().contains(names), "{lines}: {path} {body}: {}", answer.text());
        assert_eq!(world.mock.requests_total(), sent, "nothing was sent");
        assert!(!answer.text().contains("allowed-only"), "what is on a list stays unknown: {}", answer.text());
    }
    let entries = world.entries().await;
    assert_eq!(entries.len(), cases.len(), "each has its entry");
    assert!(entries.iter().all(|entry| &*entry.account.key == "plain"));
}

#[tokio::test]
async fn only_some_models() {
    let world = "models = [\"gpt-4o*\", \"claude-*\", \"gemini-2.5-*\", \"allowed-only\"]";
    check(
        world,
        &[
            (CHAT, chat("gpt-4o-mini", ""), None),
            (CHAT, chat("gpt-4.1", ""), Some("gpt-4.1")),
            (CHAT, chat("auto", ""), Some("auto")),
            (CHAT, chat("gpt-4o-mini", ",\"models\":[\"o3\"]"), Some("passes of others")),
            (MESSAGES, chat("claude-sonnet-4-5", ""), None),
            (MESSAGES, chat("gpt-4.1", ""), Some("gpt-4.1")),
            (GEMINI, format!("{{{CONTENTS}}}"), None),
            ("/v1beta/models/gemini-3-pro:generateContent", format!("{{{CONTENTS}}}"), Some("gemini-3-pro")),
            ("/v1/batches", "{}".to_owned(), Some("batches")),
            ("/v1/responses", "{\"input\":\"x\",\"prompt\":{\"id\":\"p\"}}".to_owned(), Some("names none")),
        ],
    )
    .await;
}

#[tokio::test]
async fn only_some_operations_and_upstreams() {
    let embedding = "{\"model\":\"text-embedding-3-small\",\"input\":\"x\"}".to_owned();
    check(
        "operations = [\"embeddings\", \"messages\"]",
        &[
            ("/v1/embeddings", embedding.clone(), None),
            (MESSAGES, chat("claude-sonnet-4-5", ""), None),
            (CHAT, chat("gpt-4o-mini", ""), Some("chat.completions")),
            (GEMINI, format!("{{{CONTENTS}}}"), Some("generateContent")),
        ],
    )
    .await;
    check(
        "upstreams = [\"open*\"]",
        &[
            (CHAT, chat("gpt-4o-mini", ""), None),
            (MESSAGES, chat("claude-sonnet-4-5", ""), Some("anthropic")),
            (GEMINI, format!("{{{CONTENTS}}}"), Some("gemini")),
        ],
    )
    .await;
}

#[tokio::test]
async fn only_some_tools() {
    let function = |name: &str| {
        format!(
            ",\"tools\":[{{\"type\":\"function\",\"function\":{{\"name\":\"{name}\",\"parameters\":{{\"type\":\"object\"}}}}}}]"
        )
    };
    let claude = |name: &str| format!(",\"tools\":[{{\"name\":\"{name}\",\"input_schema\":{{\"type\":\"object\"}}}}]");
    let search = ",\"tools\":[{\"type\":\"web_search_20250305\",\"name\":\"web_search\"}]";
    check(
        "tools = [\"get_*\", \"allowed-only\"]\nserver_tools = []",
        &[
            (CHAT, chat("gpt-4o-mini", ""), None),
            (CHAT, chat("gpt-4o-mini", &function("get_weather")), None),
            (CHAT, chat("gpt-4o-mini", &function("delete_all")), Some("delete_all")),
            (CHAT, chat("gpt-4o-mini", ",\"tools\":[],\"tools\":[]"), Some("cannot be read")),
            (MESSAGES, chat("claude-sonnet-4-5", &claude("get_weather")), None),
            (MESSAGES, chat("claude-sonnet-4-5", &claude("rm")), Some("rm")),
            (MESSAGES, chat("claude-sonnet-4-5", search), Some("web_search_20250305")),
            (GEMINI, format!("{{{CONTENTS},\"tools\":[{{\"google_search\":{{}}}}]}}"), Some("googleSearch")),
            (GEMINI, format!("{{{CONTENTS},\"cachedContent\":\"cachedContents/1\"}}"), Some("stored")),
        ],
    )
    .await;
}

#[tokio::test]
async fn only_from_some_networks() {
    check("networks = [\"127.0.0.0/8\"]", &[(CHAT, chat("gpt-4o-mini", ""), None)]).await;
    check("networks = [\"10.0.0.0/8\"]", &[(CHAT, chat("gpt-4o-mini", ""), Some("from 127.0.0.1"))]).await;
}

#[tokio::test]
async fn a_key_that_has_expired_is_no_key() {
    let over = world("expires = \"2020-01-01\"").await;
    for (path, body) in [(CHAT, chat("gpt-4o", "")), (MESSAGES, chat("claude-x", "")), (GEMINI, "{}".to_owned())] {
        let answer = send(&over, path, &body).await;
        check_refusal(dialect(path), &answer, 401);
        assert!(answer.text().contains("expired"), "{}", answer.text());
    }
    assert!(over.entries().await.is_empty());
    let fresh = world("expires = \"2999-12-31T00:00:00Z\"").await;
    assert_eq!(send(&fresh, CHAT, &chat("gpt-4o-mini", "")).await.status, 200);
}

#[tokio::test]
async fn callers_without_a_section_have_the_defaults() {
    let extra = "server.anonymous = \"loopback\"\n[defaults.key]\nmodels = [\"gpt-4o-mini\"]\n";
    let world = World::start(extra).await;
    for (model, status) in [("gpt-4o-mini", 200), ("gpt-4.1", 403)] {
        let request = Request::post(format!("http://{}{CHAT}", world.address));
        let answer = world.send(request.body(Full::new(chat(model, "").into())).unwrap()).await;
        assert_eq!(answer.status, status, "{model}");
        // A key that the config names has its own section and no defaults.
        assert_eq!(world.send(world.post(CHAT, chat(model, ""))).await.status, 200, "{model}");
    }
}
