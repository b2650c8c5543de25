//! `tollgate serve` on one thread, with a key, so that identification is paid for too.

use std::error::Error;
use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use super::cases::Features;
use super::process::memory_kib;
use super::programs::{PROXY_CORE, Running, pinned};

/// What clients present.
pub const KEY: &str = "tg_overhead_benchmark_key";

/// One that runs until it is dropped; its store goes with it.
pub struct Tollgate {
    running: Running,
    store: PathBuf,
    /// Where clients reach it.
    pub address: String,
    /// From its start to the end of its first answer.
    pub first_answer: Duration,
}

impl Tollgate {
    /// Starts one in front of `provider` and waits for its first answer. The port after `port` is the operators'.
    pub fn start(features: Features, port: u16, provider: &str) -> Result<Self, Box<dyn Error>> {
        let store = std::env::temp_dir().join(format!("tollgate-overhead-{}-{port}", std::process::id()));
        fs::create_dir_all(&store)?;
        let (config, address) = (store.join("tollgate.toml"), format!("127.0.0.1:{port}"));
        fs::write(
            &config,
            format!(
                "[server]\nlisten = \"{address}\"\nadmin_listen = \"127.0.0.1:{}\"\n\n[store]\npath = {store:?}\n\n\
                 [log]\npath = {:?}\n\n{}[upstreams.openai]\ndialect = \"openai\"\nprovider = \"openai\"\n\
                 base_url = \"http://{provider}\"\ninclude_usage = \"splice\"\n\
                 api_key = {{ env = \"OVERHEAD_PROVIDER_KEY\" }}\n{}",
                port + 1,
                store.join("requests.log"),
                features.config(),
                features.upstream(),
            ),
        )?;
        let mut command = pinned(PROXY_CORE);
        command.arg(env!("CARGO_BIN_EXE_tollgate")).args(["serve", "--threads", "1", "--config"]).arg(config);
        command.env("OVERHEAD_KEY", KEY).env("OVERHEAD_PROVIDER_KEY", "sk-overhead");
        let began = Instant::now();
        let (running, _) = Running::start(command, &address)?;
        let mut tollgate = Self { running, store, address, first_answer: Duration::ZERO };
        tollgate.ask()?;
        tollgate.first_answer = began.elapsed();
        Ok(tollgate)
    }

    /// Its process id.
    pub fn pid(&self) -> u32 {
        self.running.pid()
    }

    /// Its resident memory, MiB.
    pub fn rss_mib(&self) -> f64 {
        memory_kib(self.pid(), "VmRSS:").unwrap_or_default() as f64 / 1024.0
    }

    /// One request on a connection of its own.
    fn ask(&self) -> Result<(), Box<dyn Error>> {
        let body = r#"{"model":"gpt-4o-mini","messages":[{"role":"user","content":"Are you there?"}]}"#;
        let mut stream = TcpStream::connect(&self.address)?;
        write!(
            stream,
            "POST /v1/chat/completions HTTP/1.1\r\nhost: {}\r\nauthorization: Bearer {KEY}\r\n\
             content-type: application/json\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{body}",
            self.address,
            body.len(),
        )?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer)?;
        if answer.starts_with("HTTP/1.1 200 ") {
            return Ok(());
        }
        Err(format!("Tollgate answers {:?}", answer.lines().next().unwrap_or_default()).into())
    }
}

impl Drop for Tollgate {
    fn drop(&mut self) {
        self.running.end();
        // What is left behind is in the system's folder for such things.
        let _gone = fs::remove_dir_all(&self.store);
    }
}
