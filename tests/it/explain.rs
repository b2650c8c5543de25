//! `tollgate explain` as a user runs it: a line for each request, and none of them sent.

use std::process::{Command, Output};

use serde_json::Value;
use tempfile::TempDir;

use crate::world::World;

fn explain(folder: &TempDir, flags: &[&str], input: &str) -> Output {
    let file = folder.path().join("asks.jsonl");
    std::fs::write(&file, input).unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_tollgate"));
    command.current_dir(folder.path()).arg("explain").args(flags).arg(file).output().unwrap()
}

fn lines(output: &Output) -> Vec<Value> {
    output
        .stdout
        .split(|byte| *byte == b'\n')
        .filter(|line| !line.is_empty())
        .map(|line| serde_json::from_slice(line).unwrap())
        .collect()
}

const CHAT: &str = r#"{"id":"a","path":"/v1/chat/completions","body":{"model":"auto","messages":[{"role":"user","content":"who sang it"}]}}"#;
const TEXT: &str = r#"{"id":7,"path":"/v1/messages","body":"{\"model\":\"claude\",\"messages\":[{\"role\":\"user\",\"content\":\"Write a function to sort a list of 3 tuples\"}]}"}"#;

#[test]
fn each_request_gets_its_line() {
    let folder = tempfile::tempdir().unwrap();
    let output = explain(&folder, &["--batch"], &format!("{CHAT}\n\n{TEXT}\n"));
    let lines = lines(&output);
    assert!(output.status.success() && lines.len() == 2, "{output:?}");
    assert_eq!((&lines[0]["id"], &lines[1]["id"]), (&Value::from("a"), &Value::from(7)));
    for line in &lines {
        let score = line["score"].as_f64().unwrap();
        assert!(
            (0.0..=1.0).contains(&score) && ["simple", "medium", "complex"].contains(&line["tier"].as_str().unwrap())
        );
        assert!(!line["top"].as_array().unwrap().is_empty(), "{line}");
    }
    assert!(lines[1]["score"].as_f64() > lines[0]["score"].as_f64(), "{lines:?}");
    assert_eq!(self::lines(&explain(&folder, &["--request"], CHAT)), lines[..1]);
}

#[test]
fn what_cannot_be_read_is_said_on_its_line() {
    let folder = tempfile::tempdir().unwrap();
    let input = format!("{{\"id\":\"x\",\"path\":\"/nowhere\",\"body\":{{}}}}\nnot json\n{CHAT}\n");
    let output = explain(&folder, &["--batch"], &input);
    let lines = lines(&output);
    assert_eq!((output.status.code(), lines.len()), (Some(1), 3));
    assert!(lines[0]["error"].as_str().unwrap().contains("/nowhere") && lines[1]["error"].is_string());
    assert_eq!(lines[2]["id"], "a");
}

#[test]
fn weights_come_from_a_file_if_one_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let shipped = include_str!("../../config/routing-weights.json");
    let weights = folder.path().join("fold.json");
    for (text, code) in [(shipped, 0), ("{}", 1)] {
        std::fs::write(&weights, text).unwrap();
        let output = explain(&folder, &["--weights", "fold.json", "--batch"], CHAT);
        assert_eq!(output.status.code(), Some(code), "{output:?}");
    }
}

/// A config whose tiers and caps decide, and a request of each dialect with what the server would do with it.
const CONFIG: &str = r#"
[routing]
mode = "enforce"
routable = ["*"]
[routing.tiers.openai]
simple = "tiny-chat"
medium = "gpt-6.1-terra"
complex = "gpt-6.1-sol"
[prices."tiny-chat"]
input = "0.01"
output = "0.02"
context = 16000
max_output = 4000
can = ["sampling"]
endpoints = ["chat/completions"]
[cache]
mode = "near"
"#;

/// A path, a body and headers.
type Asked = (&'static str, Value, Vec<(&'static str, &'static str)>);

fn asked() -> Vec<Asked> {
    let chat = "/v1/chat/completions";
    let say = |text: &str| serde_json::json!([{"role": "user", "content": text}]);
    let easy = say("Classify the sentiment of this review as positive or negative: I love it.");
    let tools = serde_json::json!([{"type": "function", "function": {"name": "f", "parameters": {"type": "object"}}}]);
    let all = vec![
        (chat, serde_json::json!({"model": "auto", "temperature": 0, "messages": easy}), vec![]),
        (chat, serde_json::json!({"model": "gpt-6.1-sol", "messages": easy}), vec![]),
        (chat, serde_json::json!({"model": "gpt-6.1-sol", "messages": easy}), vec![("x-tollgate-route", "off")]),
        (chat, serde_json::json!({"model": "auto", "messages": easy, "tools": tools}), vec![]),
        (
            "/v1/messages",
            serde_json::json!({"model": "claude-opus-5-5", "max_tokens": 1, "messages": easy}),
            vec![("anthropic-version", "2023-06-01")],
        ),
        (
            "/v1/messages",
            serde_json::json!({"model": "claude-opus-5-5", "max_tokens": 300, "messages": say("Prove it.")}),
            vec![("anthropic-version", "2023-06-01"), ("x-tollgate-tier", "complex")],
        ),
        ("/v1beta/models/auto:generateContent", serde_json::json!({"contents": [{"parts": [{"text": "hi"}]}]}), vec![]),
    ];
    // Each is a conversation of its own.
    let of_its_own = |(number, (path, body, headers)): (usize, Asked)| {
        let body = body.to_string().replace("I love it.", &format!("I love it {number}."));
        (path, serde_json::from_str(&body).unwrap(), headers)
    };
    all.into_iter().enumerate().map(of_its_own).collect()
}

/// What the server does with them: model, rule, tier and the quote that it held.
async fn served() -> Vec<[String; 4]> {
    let world = World::start(CONFIG).await;
    let mut all = Vec::new();
    for (path, body, headers) in asked() {
        let mut request = world.post(path, body.to_string());
        for (name, value) in headers {
            request.headers_mut().insert(name, value.parse().unwrap());
        }
        let answer = world.send(request).await;
        assert_eq!(answer.status, http::StatusCode::OK, "{}", answer.text());
        let entry = world.entries().await.pop().unwrap();
        let header = |name| answer.header(name).to_owned();
        let quote = entry.quote.unwrap().fixed();
        all.push([header("x-tollgate-model"), header("x-tollgate-reason"), header("x-tollgate-tier"), quote]);
    }
    all
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_explained_is_what_is_served() {
    let folder = tempfile::tempdir().unwrap();
    let own = "[keys.ci]\nsecret = { env = \"TEST_KEY\" }\nteam = \"search\"\n[teams.search]\n";
    std::fs::write(folder.path().join("tollgate.toml"), format!("{CONFIG}{own}")).unwrap();
    let line = |(number, (path, body, headers)): (usize, Asked)| {
        let headers: std::collections::BTreeMap<_, _> = headers.into_iter().collect();
        serde_json::json!({"id": number, "path": path, "body": body, "headers": headers}).to_string()
    };
    let input: Vec<String> = asked().into_iter().enumerate().map(line).collect();
    let flags = ["--config", "tollgate.toml", "--key", "ci", "--batch"];
    let output = explain(&folder, &flags, &input.join("\n"));
    assert!(output.status.success(), "{output:?}");
    let (explained, served) = (lines(&output), served().await);
    assert_eq!(explained.len(), served.len());
    for (line, [model, rule, tier, quote]) in explained.iter().zip(&served) {
        assert_eq!((&line["model"], &line["rule"]), (&Value::from(&**model), &Value::from(&**rule)), "{line}");
        assert!(tier.is_empty() || line["tier"] == **tier, "{line} {tier}");
        assert_eq!(line["quote_usd"], **quote, "{line}");
        assert!(line["candidates"].as_array().unwrap().len() == 3, "{line}");
    }
    let lack = |number: usize| explained[number]["candidates"][0]["lack"].clone();
    assert_eq!((lack(0), lack(3)), (Value::Null, Value::from("is not known to take tools")));
    assert!(explained[0]["cached"] == true && explained[1]["cached"] == false, "sampled answers are not kept");
    assert!(explained[0]["cache_key"].is_string() && explained[0]["near_key"].is_string());
    assert_ne!(explained[0]["cache_key"], explained[1]["cache_key"]);
}

#[test]
fn what_would_be_refused_is_said_with_the_reason() {
    let folder = tempfile::tempdir().unwrap();
    let input = r#"{"id":1,"path":"/v1/chat/completions","body":{"model":"auto","messages":[{"role":"user","content":"hi"}],"logprobs":true}}"#;
    let output = explain(&folder, &["--request"], input);
    let line = lines(&output).pop().unwrap();
    assert!(output.status.success() && line["model"].is_null() && line["rule"].is_null(), "{line}");
    assert!(line["refused"].as_str().unwrap().contains("log probabilities"), "{line}");
}
