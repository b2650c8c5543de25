//! No secret and no word of a conversation ends up where it does not belong.

use std::path::Path;

use http_body_util::BodyExt;

use super::child::{Place, Served};
use super::world::KEY;

const PASS: &str = "sk-canary-of-a-client";
const PROMPT: &str = "canaryprompt";
const TOOL_ARGUMENT: &str = "canaryargument";
const UNKNOWN_KEY: &str = "tg_canary_of_nobody_00000";

/// Where a secret was seen.
#[derive(Default)]
struct Seen(Vec<(String, Vec<u8>)>);

impl Seen {
    fn add(&mut self, place: impl Into<String>, bytes: impl Into<Vec<u8>>) {
        self.0.push((place.into(), bytes.into()));
    }

    fn check(&self, what: &str) {
        for (place, bytes) in &self.0 {
            let found = bytes.windows(what.len()).position(|window| window == what.as_bytes());
            let near =
                found.map(|at| String::from_utf8_lossy(&bytes[at.saturating_sub(80)..(at + 80).min(bytes.len())]));
            assert!(near.is_none(), "{what} in {place}: {}", near.unwrap_or_default());
        }
    }
}

/// Sends one request and keeps its answer; the body only of refusals, since answers belong to their client.
async fn ask(
    place: &Place,
    served: &Served,
    seen: &mut Seen,
    target: &str,
    headers: &[(&str, &str)],
    body: &str,
) -> Vec<u8> {
    let mut request = served.post(target, body);
    for (name, value) in headers {
        request.headers_mut().insert(name.parse::<http::HeaderName>().unwrap(), value.parse().unwrap());
    }
    let (head, body) = place.client.request(request).await.unwrap().into_parts();
    let body = body.collect().await.map_or_else(|_| Vec::new(), |body| body.to_bytes().to_vec());
    seen.add(format!("headers of {target}"), format!("{} {:?}", head.status, head.headers));
    if head.status.is_success() {
        return body;
    }
    seen.add(format!("body of {target}"), body);
    Vec::new()
}

async fn mix(place: &Place, served: &Served, seen: &mut Seen) -> String {
    let chat = format!(
        r#"{{"model":"gpt-4o-mini","max_tokens":60,"messages":[{{"role":"user","content":"{PROMPT}"}},
        {{"role":"assistant","tool_calls":[{{"id":"c1","type":"function","function":{{"name":"look_up","arguments":"{{\"a\":\"{TOOL_ARGUMENT}\"}}"}}}}]}},
        {{"role":"tool","tool_call_id":"c1","content":"{PROMPT}"}}]}}"#
    );
    let messages = format!(
        r#"{{"model":"claude-haiku-5-5","max_tokens":60,"messages":[{{"role":"user","content":"{PROMPT}"}}]}}"#
    );
    let contents = format!(r#"{{"contents":[{{"role":"user","parts":[{{"text":"{PROMPT}"}}]}}]}}"#);
    let gemini = "/v1beta/models/gemini-2.5-flash:generateContent";
    let answer = ask(place, served, seen, "/v1/chat/completions", &[], &chat).await;
    let answer: serde_json::Value = serde_json::from_slice(&answer).unwrap();
    let answer = answer["choices"][0]["message"]["content"].as_str().unwrap().to_owned();
    ask(place, served, seen, "/v1/messages", &[], &messages).await;
    ask(place, served, seen, gemini, &[], &contents).await;
    for fault in ["500", "429", "400", "reset", "cut", "garbage", "error-in-stream"] {
        ask(place, served, seen, "/v1/chat/completions", &[("x-mock-fault", fault)], &chat).await;
        ask(place, served, seen, "/v1/messages", &[("x-mock-fault", fault)], &messages).await;
        ask(place, served, seen, gemini, &[("x-mock-fault", fault)], &contents).await;
    }
    let bearer = format!("Bearer {PASS}");
    ask(place, served, seen, "/v1/chat/completions", &[("authorization", &bearer)], &chat).await;
    ask(place, served, seen, "/u/dead/v1/chat/completions", &[("authorization", &bearer)], &chat).await;
    ask(place, served, seen, "/u/dead/v1/chat/completions", &[], &chat).await;
    let unknown = format!("Bearer {UNKNOWN_KEY}");
    ask(place, served, seen, "/v1/chat/completions", &[("authorization", &unknown)], &chat).await;
    ask(place, served, seen, &format!("{gemini}?key={PASS}"), &[("authorization", "x")], &contents).await;
    ask(place, served, seen, &format!("/v1/what?key={PASS}"), &[], &contents).await;
    for broken in [&chat[..chat.len() - 3], &format!(r#"{{"model":["{PROMPT}"]}}"#), &format!(r#"{{"{PROMPT}" 1}}"#)] {
        ask(place, served, seen, "/v1/chat/completions", &[], broken).await;
        ask(place, served, seen, "/v1/messages", &[], broken).await;
    }
    ask(place, served, seen, "/v1/messages", &[("x-tollgate-tags", "nonsense")], &messages).await;
    answer
}

fn add_files(folder: &Path, seen: &mut Seen) {
    for item in std::fs::read_dir(folder).unwrap() {
        let path = item.unwrap().path();
        match path.file_name().and_then(|name| name.to_str()) {
            // Files whose purpose is to hold a secret, for their owner alone.
            Some("admin-token" | "pepper") => {}
            _ if path.is_dir() => add_files(&path, seen),
            _ if path.is_file() => seen.add(path.display().to_string(), std::fs::read(&path).unwrap()),
            _ => {}
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn secrets_and_conversations_stay_where_they_belong() {
    let dead = "[upstreams.dead]\ndialect = \"openai\"\nprovider = \"openai\"\nbase_url = \"http://127.0.0.1:1\"\n";
    let place = Place::new(dead).await;
    let config = std::fs::read_to_string(place.config()).unwrap();
    std::fs::write(place.config(), config.replace("[log]\n", "[log]\nlevel = \"debug\"\n")).unwrap();
    let mut served = place.serve().await;
    let mut seen = Seen::default();
    let answer = mix(&place, &served, &mut seen).await;
    let metrics = read_metrics(&place, &served).await;
    seen.add("metrics", metrics);
    served.signal("TERM");
    assert_eq!(served.end().await.code(), Some(0));
    seen.add("standard error", served.said.lock().unwrap().clone());
    add_files(place.folder.path(), &mut seen);
    let entries = place.entries();
    assert!(entries.len() > 25, "{}", entries.len());
    seen.add("entries", format!("{entries:?}"));
    assert!(
        seen.0.iter().any(|(place, bytes)| place.ends_with("requests.log") && bytes.len() > 10_000),
        "the log is full"
    );
    assert!(seen.0.iter().any(|(place, _)| place.contains("journal")), "the journal is read");
    let admin_token = std::fs::read_to_string(place.folder.path().join("admin-token")).unwrap();
    for what in [KEY, "sk-provider", PASS, UNKNOWN_KEY, PROMPT, TOOL_ARGUMENT, admin_token.trim()] {
        seen.check(what);
    }
    assert!(answer.len() > 20, "{answer}");
    seen.check(&answer[..20]);
}

/// What Prometheus would read.
async fn read_metrics(place: &Place, served: &Served) -> Vec<u8> {
    let request = http::Request::get(format!("http://{}/metrics", served.admin)).body(http_body_util::Full::default());
    let answer = place.client.request(request.unwrap()).await.unwrap();
    answer.into_body().collect().await.unwrap().to_bytes().to_vec()
}
