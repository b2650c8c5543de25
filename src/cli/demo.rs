//! `tollgate demo`: the whole product on this machine, with the built-in mock provider behind it.
//!
//! It differs from `serve` in its config alone: the upstreams are the mock, and callers from this machine need no key.

use std::sync::Arc;

use tokio::net::TcpListener;

use super::args::{Demo, EXIT_CONFIG, EXIT_OK};
use super::serve::{failed, runtime, start_log, until_signal};
use crate::app::App;
use crate::clock::Clock;
use crate::config::{Config, Environment};
use crate::mock::{self, Mock};

/// Where the demo keeps its ledger.
const STORE: &str = "data/demo";

/// Runs the demo; gives the exit code.
#[must_use]
pub fn demo(args: &Demo) -> u8 {
    match runtime(None).map(|runtime| runtime.block_on(until_stopped(args))) {
        Ok(Ok(code)) => code,
        Ok(Err(error)) => failed(&*error),
        Err(error) => failed(&error),
    }
}

async fn until_stopped(args: &Demo) -> Result<u8, Box<dyn std::error::Error + Send + Sync>> {
    let provider = TcpListener::bind("127.0.0.1:0").await?;
    let address = provider.local_addr()?;
    let config = match Config::parse(&text(args, &address.to_string()), "demo", &Environment::new()) {
        Ok(config) => config,
        Err(errors) => {
            eprintln!("{errors}");
            return Ok(EXIT_CONFIG);
        }
    };
    start_log(&config);
    let clock = Clock::system();
    let mock = Mock::new(mock::Options::new(Arc::new(move || clock.now_ms())));
    let serving = tokio::spawn(async move { mock.serve(provider, std::future::pending()).await });
    let provider = format!("http://{address}");
    let outcome = until_signal(config, |app| print!("{}", welcome(args, app, &provider))).await;
    serving.abort();
    outcome.map(|()| EXIT_OK)
}

fn text(args: &Demo, provider: &str) -> String {
    let mut text = format!(
        "[server]\nlisten = \"{}\"\nadmin_listen = \"{}\"\nanonymous = \"loopback\"\n\n[store]\npath = \"{STORE}\"\n\n\
         [log]\npath = \"{STORE}/requests.log\"\n",
        args.listen, args.admin_listen
    );
    for (name, dialect, book) in
        [("openai", "openai", "openai"), ("anthropic", "anthropic", "anthropic"), ("gemini", "gemini", "google")]
    {
        text.push_str(&format!(
            "\n[upstreams.{name}]\ndialect = \"{dialect}\"\nbase_url = \"http://{provider}\"\nprovider = \"{book}\"\n"
        ));
    }
    text
}

fn welcome(args: &Demo, app: &App, provider: &str) -> String {
    let (client, admin) = (args.listen, args.admin_listen);
    let token = app.admin_token.expose();
    format!(
        r#"Tollgate is running with a built-in mock provider: no key, no network, no real money.

  export OPENAI_BASE_URL=http://{client}/v1
  export ANTHROPIC_BASE_URL=http://{client}
  export GOOGLE_GEMINI_BASE_URL=http://{client}

Paste one (add "stream": true, or use :streamGenerateContent?alt=sse, for a stream):

  curl http://{client}/v1/chat/completions -H 'content-type: application/json' -H 'authorization: Bearer any' \
    -d '{{"model":"gpt-4o-mini","messages":[{{"role":"user","content":"Say hello."}}]}}'

  curl http://{client}/v1/responses -H 'content-type: application/json' -H 'authorization: Bearer any' \
    -d '{{"model":"gpt-5.4","input":"Say hello."}}'

  curl http://{client}/v1/messages -H 'content-type: application/json' -H 'x-api-key: any' -H 'anthropic-version: 2023-06-01' \
    -d '{{"model":"claude-haiku-5-5","max_tokens":100,"messages":[{{"role":"user","content":"Say hello."}}]}}'

  curl http://{client}/v1beta/models/gemini-2.5-flash:generateContent -H 'content-type: application/json' -H 'x-goog-api-key: any' \
    -d '{{"contents":[{{"role":"user","parts":[{{"text":"Say hello."}}]}}]}}'

What it cost:

  cargo run --release -- report --by model --set store.path={STORE}
  open http://{admin}/   (admin token: {token})
  curl {provider}/_mock/bill          the mock provider's own, independent bill

Requests are logged to {STORE}/requests.log. Stop with Ctrl-C.
"#
    )
}
