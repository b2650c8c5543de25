//! `tollgate demo`: the whole product on this machine, with the built-in mock provider behind it.
//!
//! It differs from `serve` in its config alone: the upstreams are the mock, each with a key that only the mock takes, and
//! callers from this machine need no key.

use std::io::Write;
use std::net::SocketAddr;
use std::sync::Arc;

use tokio::net::TcpListener;

use super::args::{Demo, EXIT_CONFIG, EXIT_OK};
use super::serve::{block_on, failed, start_log, until_signal};
use crate::app::App;
use crate::clock::Clock;
use crate::config::{Config, Environment, Listen, LogLevel};
use crate::mock::{self, Mock};
use crate::server::inherit::Inherited;
use crate::server::run::BindError;

/// Where the demo keeps its ledger.
const STORE: &str = "data/demo";

/// Where the config finds the key of its upstreams, and the key: the mock takes any.
const PROVIDER_KEY: (&str, &str) = ("TOLLGATE_DEMO_PROVIDER_KEY", "mock");

/// Upstreams of the demo: name and dialect, and whose prices apply.
const UPSTREAMS: [(&str, &str); 3] = [("openai", "openai"), ("anthropic", "anthropic"), ("gemini", "google")];

/// Runs the demo; gives the exit code.
#[must_use]
pub fn demo(args: &Demo) -> u8 {
    match block_on(None, until_stopped(args)) {
        Ok(Ok(code)) => code,
        Ok(Err(error)) => {
            let code = failed(&*error);
            if error.is::<BindError>() {
                eprintln!("other addresses: --listen 127.0.0.1:4002 --admin-listen 127.0.0.1:4003");
            }
            code
        }
        Err(error) => failed(&error),
    }
}

async fn until_stopped(args: &Demo) -> Result<u8, Box<dyn std::error::Error + Send + Sync>> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let provider = listener.local_addr()?;
    let environment: Environment = [(PROVIDER_KEY.0.to_owned(), PROVIDER_KEY.1.to_owned())].into();
    let config = match Config::parse(&text(args, provider), "demo", &environment) {
        Ok(config) => config,
        Err(errors) => {
            eprintln!("{errors}");
            return Ok(EXIT_CONFIG);
        }
    };
    // What it says of itself is between the page and the prompt, so only what goes wrong; requests go to their file.
    let mut talk = config.clone();
    talk.log.level = LogLevel::Warn;
    start_log(&talk);
    let clock = Clock::system();
    let mock = Mock::new(mock::Options::new(Arc::new(move || clock.now_ms())));
    let serving = tokio::spawn(async move { mock.serve(listener, std::future::pending()).await });
    let outcome = until_signal(config, Inherited::default(), |app, client, admin| {
        // Nobody may be reading, as after `| head`; the demo goes on all the same.
        let _told = std::io::stdout().write_all(welcome(app, client, admin, provider).as_bytes());
    })
    .await;
    serving.abort();
    outcome.map(|()| EXIT_OK)
}

fn text(args: &Demo, provider: SocketAddr) -> String {
    let mut text = format!(
        "[server]\nlisten = \"{}\"\nadmin_listen = \"{}\"\nanonymous = \"loopback\"\n\n[store]\npath = \"{STORE}\"\n\n\
         [log]\nformat = \"text\"\npath = \"{STORE}/requests.log\"\n",
        args.listen, args.admin_listen
    );
    for (name, book) in UPSTREAMS {
        text.push_str(&format!(
            "\n[upstreams.{name}]\ndialect = \"{name}\"\nbase_url = \"http://{provider}\"\nprovider = \"{book}\"\n\
             api_key = {{ env = \"{}\" }}\n",
            PROVIDER_KEY.0
        ));
    }
    text.push_str("\n[routing]\nmode = \"enforce\"\nroutable = [\"auto\", \"claude-opus-*\"]\n");
    text
}

/// One request to paste.
struct Paste {
    /// Empty where it belongs to the one before.
    title: &'static str,
    path: &'static str,
    header: Option<&'static str>,
    body: &'static str,
}

const CHAT: &str = "/v1/chat/completions";
const VERSION: Option<&str> = Some("anthropic-version: 2023-06-01");

const PASTES: [Paste; 10] = [
    Paste {
        title: "OpenAI chat completions, whole and streamed",
        path: CHAT,
        header: None,
        body: r#"{"model":"gpt-5-mini","messages":[{"role":"user","content":"Say hello."}]}"#,
    },
    Paste {
        title: "",
        path: CHAT,
        header: None,
        body: r#"{"model":"gpt-5-mini","stream":true,"messages":[{"role":"user","content":"Say hello."}]}"#,
    },
    Paste {
        title: "OpenAI responses",
        path: "/v1/responses",
        header: None,
        body: r#"{"model":"gpt-5-mini","input":"Say hello."}"#,
    },
    Paste {
        title: "",
        path: "/v1/responses",
        header: None,
        body: r#"{"model":"gpt-5-mini","input":"Say hello.","stream":true}"#,
    },
    Paste {
        title: "Anthropic messages",
        path: "/v1/messages",
        header: VERSION,
        body: r#"{"model":"claude-haiku-4-5","max_tokens":200,"messages":[{"role":"user","content":"Say hello."}]}"#,
    },
    Paste {
        title: "",
        path: "/v1/messages",
        header: VERSION,
        body: r#"{"model":"claude-haiku-4-5","max_tokens":200,"stream":true,"messages":[{"role":"user","content":"Say hello."}]}"#,
    },
    Paste {
        title: "Gemini",
        path: "/v1beta/models/gemini-2.5-flash:generateContent",
        header: None,
        body: r#"{"contents":[{"parts":[{"text":"Say hello."}]}]}"#,
    },
    Paste {
        title: "",
        path: "/v1beta/models/gemini-2.5-flash:streamGenerateContent?alt=sse",
        header: None,
        body: r#"{"contents":[{"parts":[{"text":"Say hello."}]}]}"#,
    },
    Paste {
        title: "Whichever model is right for it",
        path: "/v1/messages",
        header: VERSION,
        body: r#"{"model":"auto","max_tokens":200,"messages":[{"role":"user","content":"Say hello."}]}"#,
    },
    Paste {
        title: "Embeddings",
        path: "/v1/embeddings",
        header: None,
        body: r#"{"model":"text-embedding-3-small","input":"Say hello.","dimensions":4}"#,
    },
];

impl Paste {
    fn line(&self, client: &Listen) -> String {
        let title = if self.title.is_empty() { String::new() } else { format!("\n  # {}\n", self.title) };
        let header = self.header.map_or_else(String::new, |header| format!(" -H '{header}'"));
        let (path, body) = (self.path, self.body);
        format!(
            "{title}  curl -N 'http://{client}{path}' -H 'content-type: application/json'{header} \\\n    -d '{body}'\n"
        )
    }
}

fn welcome(app: &App, client: &Listen, admin: SocketAddr, provider: SocketAddr) -> String {
    let token = app.admin_token.load();
    let token = token.expose();
    let requests: String = PASTES.iter().map(|paste| paste.line(client)).collect();
    // As it was started, so that the line can be pasted.
    let program = std::env::args().next().unwrap_or_else(|| "tollgate".to_owned());
    format!(
        "Tollgate is running with a built-in mock provider behind it: no key, no network, no real money.

Point a client at it. Any key will do, since callers on this machine need none:

  export OPENAI_BASE_URL=http://{client}/v1 OPENAI_API_KEY=demo
  export ANTHROPIC_BASE_URL=http://{client} ANTHROPIC_API_KEY=demo
  export GOOGLE_GEMINI_BASE_URL=http://{client} GEMINI_API_KEY=demo

Or paste a request into another terminal:
{requests}
See what it cost, and what the mock provider bills by its own count:

  {program} report --by model --set store.path={STORE}
  curl 'http://{provider}/_mock/bill?last=3'

Or open http://{admin}/ with the admin token {token}

Each request is a line of {STORE}/requests.log. Ctrl-C stops.
"
    )
}
