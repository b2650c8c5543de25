//! `tollgate explain` as a user runs it: a line for each request, and none of them sent.

use std::process::{Command, Output};

use serde_json::Value;
use tempfile::TempDir;

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
