//! `tollgate demo` as a newcomer meets it: what it prints is pasted, word for word, and works.

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};

use serde_json::Value;
use tollgate::domain::money::Usd;
use tollgate::store::{Reader, Record};

/// What each request that the page offers must be answered with, in the order of the page.
const ANSWERS: [(&str, &str); 10] = [
    ("/v1/chat/completions", r#""finish_reason":"stop""#),
    ("/v1/chat/completions", "data: [DONE]"),
    ("/v1/responses", r#""status":"completed""#),
    ("/v1/responses", "event: response.completed"),
    ("/v1/messages", r#""stop_reason":"end_turn""#),
    ("/v1/messages", "event: message_stop"),
    (":generateContent", r#""finishReason": "STOP""#),
    (":streamGenerateContent?alt=sse", r#""finishReason":"STOP""#),
    ("/v1/messages", r#""model":"claude-"#),
    ("/v1/embeddings", r#""embedding":["#),
];

/// A demo of its own, in a folder of its own; killed if the test fails.
struct Demo {
    child: Child,
    page: String,
    folder: tempfile::TempDir,
}

impl Demo {
    fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let mut child = Command::new(env!("CARGO_BIN_EXE_tollgate"))
            .args(["demo", "--listen", "127.0.0.1:0", "--admin-listen", "127.0.0.1:0"])
            .current_dir(folder.path())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut page = String::new();
        for line in BufReader::new(child.stdout.take().unwrap()).lines() {
            let line = line.unwrap();
            page.push_str(&line);
            page.push('\n');
            if line.ends_with("Ctrl-C stops.") {
                break;
            }
        }
        Self { child, page, folder }
    }

    /// The commands that start with `word`, with the lines that they go on over.
    fn commands(&self, word: &str) -> Vec<String> {
        let mut commands: Vec<String> = Vec::new();
        for line in self.page.lines() {
            match commands.last_mut().filter(|command| command.ends_with('\\')) {
                Some(command) => *command += &format!("\n{line}"),
                None if line.trim_start().starts_with(word) => commands.push(line.to_owned()),
                None => {}
            }
        }
        commands
    }

    /// What a shell in the demo's folder prints.
    fn paste(&self, command: &str) -> String {
        let mut shell = Command::new("sh");
        shell.args(["-c", command]).current_dir(self.folder.path()).env("NO_PROXY", "*");
        let output = shell.output().unwrap();
        let talk = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{command}\n{talk}");
        String::from_utf8(output.stdout).unwrap()
    }
}

impl Drop for Demo {
    fn drop(&mut self) {
        let _gone = self.child.kill();
        let _code = self.child.wait();
    }
}

#[test]
fn what_the_demo_prints_can_be_pasted() {
    if Command::new("curl").arg("--version").output().is_err() {
        println!("not run: there is no curl to paste into");
        return;
    }
    let mut demo = Demo::start();
    let mut requests = demo.commands("curl");
    assert_eq!(requests.len(), ANSWERS.len() + 1, "{}", demo.page);
    let bill = requests.pop().unwrap();
    for (request, (path, expect)) in requests.iter().zip(ANSWERS) {
        assert!(request.contains(&format!("{path}'")), "{request}");
        let answer = demo.paste(request);
        assert!(answer.contains(expect), "{request}\n{answer}");
    }
    let bill: Value = serde_json::from_str(&demo.paste(&bill)).unwrap();

    let program = env!("CARGO_BIN_EXE_tollgate");
    let report = demo.paste(&demo.commands(program).remove(0));
    for model in ["gpt-5-mini", "claude-haiku-4-5", "gemini-2.5-flash", "text-embedding-3-small"] {
        assert!(report.contains(model), "{report}");
    }

    // The way that Ctrl-C goes.
    demo.paste(&format!("kill -INT {}", demo.child.id()));
    assert!(demo.child.wait().unwrap().success());
    let (count, cost) = ledger(&demo);
    assert_eq!((count, cost.fixed().as_str()), (ANSWERS.len(), bill["total_usd"].as_str().unwrap()));
}

/// How many entries the demo's ledger has, and their cost.
fn ledger(demo: &Demo) -> (usize, Usd) {
    let records = Reader::open(&demo.folder.path().join("data/demo")).records().unwrap();
    let costs = records.filter_map(|located| match located.unwrap().record {
        Record::Entry(entry) => Some(entry.cost.unwrap()),
        _ => None,
    });
    let costs: Vec<Usd> = costs.collect();
    (costs.len(), costs.into_iter().fold(Usd::ZERO, Usd::plus))
}
