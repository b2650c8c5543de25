//! One run with everything that is ever logged, at the finest level, and no secret and no word of a conversation in it.

use std::io;
use std::sync::{Arc, Mutex};

use http::{Method, Request};
use http_body_util::Full;
use serde_json::{Value, json};
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::fmt::format::FmtSpan;

use super::wire::{Fake, Reply};
use super::world::{KEY, World};

const PROMPT: &str = "canaryprompt";
const PROVIDER: &str = "sk-provider";
const PASS: &str = "sk-canary-of-a-client";
const HOOK_SECRET: &str = "canary-of-the-hook-secret";
const HOOK_PATH: &str = "canary-of-the-hook-path";

/// What is written, in memory.
#[derive(Clone, Default)]
struct Memory(Arc<Mutex<Vec<u8>>>);

impl io::Write for Memory {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl<'a> MakeWriter<'a> for Memory {
    type Writer = Self;

    fn make_writer(&'a self) -> Self {
        self.clone()
    }
}

/// Everything that was said, by where.
#[derive(Default)]
struct Seen(Vec<(String, Vec<u8>)>);

impl Seen {
    fn check(&self, what: &str) {
        for (place, bytes) in &self.0 {
            let found = bytes.windows(what.len()).position(|window| window == what.as_bytes());
            let near =
                found.map(|at| String::from_utf8_lossy(&bytes[at.saturating_sub(80)..(at + 60).min(bytes.len())]));
            assert!(near.is_none(), "{what} in {place}: {}", near.unwrap_or_default());
        }
    }

    fn add_files(&mut self, folder: &std::path::Path) {
        for item in std::fs::read_dir(folder).unwrap() {
            let path = item.unwrap().path();
            match path.file_name().and_then(|name| name.to_str()) {
                Some("admin-token" | "pepper") => {}
                _ if path.is_dir() => self.add_files(&path),
                _ => self.0.push((path.display().to_string(), std::fs::read(&path).unwrap())),
            }
        }
    }
}

async fn admin(world: &World, seen: &mut Seen, method: Method, path: &str, body: Value) -> Value {
    let token = format!("Bearer {}", world.app.admin_token.load().expose());
    let request = Request::builder().method(method).uri(format!("http://{}{path}", world.admin));
    let body = if body.is_null() { String::new() } else { body.to_string() };
    let answer = world.send(request.header("authorization", token).body(Full::new(body.into())).unwrap()).await;
    let said: Value = serde_json::from_slice(&answer.body).unwrap_or_default();
    // A secret is in the one answer that made it.
    if said["secret"].is_null() {
        seen.0.push((path.to_owned(), answer.body.to_vec()));
    }
    seen.0.push((format!("headers of {path}"), format!("{:?}", answer.headers).into_bytes()));
    said
}

async fn ask(
    world: &World,
    seen: &mut Seen,
    key: &str,
    headers: &[(&'static str, &str)],
    path: &str,
    body: String,
) -> u16 {
    let mut request = world.post(path, body);
    request.headers_mut().insert("authorization", format!("Bearer {key}").parse().unwrap());
    for (name, value) in headers {
        request.headers_mut().insert(*name, value.parse().unwrap());
    }
    let answer = world.send(request).await;
    seen.0.push((format!("headers of {path}"), format!("{:?}", answer.headers).into_bytes()));
    if !answer.status.is_success() {
        seen.0.push((format!("refusal of {path}"), answer.body.to_vec()));
    }
    answer.status.as_u16()
}

fn chat(tokens: u64) -> String {
    format!(r#"{{"model":"gpt-4o","max_tokens":{tokens},"messages":[{{"role":"user","content":"{PROMPT}"}}]}}"#)
}

fn config(hook: std::net::SocketAddr) -> String {
    format!(
        "env.HOOK_URL=http://{hook}/{HOOK_PATH}\nenv.HOOK_SECRET={HOOK_SECRET}\n[organisation]\n\
         caps = {{ day = \"0.02\", total = \"1\" }}\nalerts = [0.01]\n\
         [defaults.key]\nlimits = {{ requests_per_day = 4 }}\n\
         [upstreams.dead]\ndialect = \"openai\"\nprovider = \"openai\"\nbase_url = \"http://127.0.0.1:1\"\n\
         api_key = {{ env = \"PROVIDER_KEY\" }}\n\
         [[alerts.webhooks]]\nurl = {{ env = \"HOOK_URL\" }}\nsecret = {{ env = \"HOOK_SECRET\" }}\n"
    )
}

/// Traffic, refusals, keys, money and alerts; gives the secrets that were made.
async fn run(world: &World, seen: &mut Seen) -> Vec<String> {
    let keys = "/admin/v1/keys";
    let made = admin(world, seen, Method::POST, keys, json!({"name": "laptop", "actor": "ada"})).await;
    let first = made["secret"].as_str().unwrap().to_owned();
    assert_eq!(ask(world, seen, &first, &[], "/v1/chat/completions", chat(20)).await, 200);
    let rotated = admin(world, seen, Method::POST, &format!("{keys}/laptop/rotate"), Value::Null).await;
    let second = rotated["secret"].as_str().unwrap().to_owned();
    assert_eq!(ask(world, seen, &first, &[], "/v1/chat/completions", chat(20)).await, 401);
    assert_eq!(ask(world, seen, &second, &[], "/v1/chat/completions", chat(20)).await, 200);
    // Above the cap, above the limit, without a bound, with a credential of another kind, at an upstream that is gone.
    assert_eq!(ask(world, seen, KEY, &[], "/v1/chat/completions", chat(16_000)).await, 400);
    assert_eq!(
        ask(world, seen, KEY, &[("x-tollgate-max-cost-usd", "0.0001")], "/v1/chat/completions", chat(900)).await,
        400
    );
    for _ in 0..4 {
        ask(world, seen, &second, &[], "/v1/chat/completions", chat(20)).await;
    }
    assert_eq!(ask(world, seen, &second, &[], "/v1/chat/completions", chat(20)).await, 429);
    assert_eq!(ask(world, seen, PASS, &[], "/v1/chat/completions", chat(20)).await, 401);
    assert_eq!(ask(world, seen, KEY, &[], "/u/dead/v1/chat/completions", chat(20)).await, 502);
    for fault in ["500", "429", "reset", "cut", "garbage"] {
        ask(world, seen, KEY, &[("x-mock-fault", fault)], "/v1/chat/completions", chat(20)).await;
    }
    let image = format!(r#"{{"model":"gpt-image-1","prompt":"{PROMPT}"}}"#);
    assert_eq!(ask(world, seen, KEY, &[], "/v1/images/generations", image).await, 400);
    let broken = format!(r#"{{"model":"gpt-4o","{PROMPT}" 1}}"#);
    assert_eq!(ask(world, seen, KEY, &[], "/v1/chat/completions", broken).await, 400);
    let top_up = json!({"scope": "organisation", "amount_usd": "1", "actor": "ada", "reason": "invoice"});
    admin(world, seen, Method::POST, "/admin/v1/top-ups", top_up).await;
    let credit = json!({"direction": "credit", "amount_usd": "0.001", "actor": "ada", "reason": "refund"});
    admin(world, seen, Method::POST, "/admin/v1/adjustments", credit).await;
    admin(world, seen, Method::DELETE, &format!("{keys}/laptop"), Value::Null).await;
    vec![first, second]
}

#[tokio::test]
async fn nothing_that_is_ever_said_holds_a_key_a_prompt_or_a_credential() {
    let memory = Memory::default();
    let subscriber = tracing_subscriber::fmt()
        .with_max_level(tracing::Level::TRACE)
        .with_span_events(FmtSpan::FULL)
        .with_writer(memory.clone())
        .finish();
    // All tasks of this runtime run on this thread.
    let _heard = tracing::subscriber::set_default(subscriber);
    let hook = Fake::start(|_| Reply::whole("200 OK", "", "")).await;
    let world = World::start(&config(hook.address)).await;
    let mut seen = Seen::default();
    let mut secrets = run(&world, &mut seen).await;
    world.settled().await;
    assert!(world.app.scribe.catch_up(crate::world::PATIENCE));
    world.app.look_at_caps();
    let delivering = tokio::spawn(world.app.alerts.clone().deliver());
    let taken = async {
        while world.app.alerts.deliveries()[0].1 == 0 {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(crate::world::PATIENCE, taken).await.expect("no webhook was taken");
    delivering.abort();
    for path in ["keys", "caps", "actions", "alerts", "report?by=key", "report?rows=json", "config", "keys/laptop"] {
        admin(&world, &mut seen, Method::GET, &format!("/admin/v1/{path}"), Value::Null).await;
    }
    for path in ["/metrics", "/readyz"] {
        admin(&world, &mut seen, Method::GET, path, Value::Null).await;
    }
    let hooks = hook.seen();
    assert!(!hooks.is_empty() && hooks[0].target.contains(HOOK_PATH));
    seen.0.extend(hooks.iter().map(|hook| ("webhook".to_owned(), hook.body.clone())));
    seen.add_files(world.folder.path());
    let heard = memory.0.lock().unwrap().clone();
    assert!(heard.len() > 1_000 && String::from_utf8_lossy(&heard).contains("TRACE"), "{} bytes heard", heard.len());
    seen.0.push(("the log at its finest".to_owned(), heard));
    secrets.extend([KEY, PROVIDER, PASS, HOOK_SECRET, HOOK_PATH, PROMPT].map(str::to_owned));
    secrets.push(world.app.admin_token.load().expose().to_owned());
    for what in &secrets {
        seen.check(what);
    }
}
