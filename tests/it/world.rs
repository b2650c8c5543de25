//! A whole Tollgate on free ports: real sockets, a mock provider behind it, its own store in a folder of its own.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, Method, Request, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use tempfile::TempDir;
use tokio::net::TcpListener;
use tollgate::app::{App, Surroundings};
use tollgate::clock::Clock;
use tollgate::config::{Config, Environment};
use tollgate::domain::entry::Entry;
use tollgate::drain::Phase;
use tollgate::mock::{self, Mock};
use tollgate::server::{accept, surfaces};
use tollgate::store::{Reader, Record};

/// A key that every world knows, as `ci` of the team `search`.
pub const KEY: &str = "tg_0123456789abcdefghij";

/// How long upstreams may be silent where a test does not care.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// What configs may name.
const SECRETS: [(&str, &str); 4] = [
    ("TEST_KEY", KEY),
    ("PROVIDER_KEY", "sk-provider"),
    ("PLAIN_KEY", "tg_plain_0123456789abcdef"),
    ("BROAD_KEY", "tg_broad_0123456789abcdef"),
];

/// A Tollgate, its provider and a client.
pub struct World {
    pub app: Arc<App>,
    pub address: SocketAddr,
    pub admin: SocketAddr,
    pub mock: Arc<Mock>,
    pub provider: SocketAddr,
    pub client: Client<HttpConnector, Full<Bytes>>,
    pub folder: TempDir,
}

/// An answer that has been read to its end.
#[derive(Debug)]
pub struct Answer {
    pub status: StatusCode,
    pub headers: HeaderMap,
    pub body: Bytes,
}

impl World {
    /// A Tollgate with the mock behind the upstreams `openai`, `anthropic` and `gemini`, and `extra` in its config.
    pub async fn start(extra: &str) -> Self {
        Self::impatient(extra, PATIENCE).await
    }

    /// The same with upstreams that may be silent for so long, before and within an answer.
    pub async fn impatient(extra: &str, silence_max: Duration) -> Self {
        let (address, mock) = provider().await;
        Self::before(address, mock, extra, silence_max).await
    }

    /// The same with a clock or a disk of the test's own.
    pub async fn on(extra: &str, surroundings: Surroundings) -> Self {
        let (address, mock) = provider().await;
        Self::in_folder(address, mock, extra, surroundings, tempfile::tempdir().unwrap()).await
    }

    /// The same with upstreams that may be silent for no longer than `extra` says.
    pub async fn hasty(extra: &str, surroundings: Surroundings) -> Self {
        let ((address, mock), folder) = (provider().await, tempfile::tempdir().unwrap());
        let config = config(address, &folder, extra, Duration::from_secs(1));
        Self::of(config, address, mock, surroundings, folder).await
    }

    /// A Tollgate whose upstreams are at `provider`; `mock` is only looked at.
    pub async fn before(provider: SocketAddr, mock: Arc<Mock>, extra: &str, silence_max: Duration) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let config = config(provider, &folder, extra, silence_max);
        Self::of(config, provider, mock, Surroundings::default(), folder).await
    }

    /// A Tollgate with its store in `folder`, where another may have been before.
    pub async fn in_folder(
        provider: SocketAddr,
        mock: Arc<Mock>,
        extra: &str,
        surroundings: Surroundings,
        folder: TempDir,
    ) -> Self {
        let config = config(provider, &folder, extra, PATIENCE);
        Self::of(config, provider, mock, surroundings, folder).await
    }

    async fn of(
        config: Config,
        provider: SocketAddr,
        mock: Arc<Mock>,
        surroundings: Surroundings,
        folder: TempDir,
    ) -> Self {
        let app = Arc::new(App::open(config, surroundings).unwrap());
        let clients = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let operators = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let (address, admin) = (clients.local_addr().unwrap(), operators.local_addr().unwrap());
        tokio::spawn(accept::tcp(app.clone(), clients, surfaces::client));
        tokio::spawn(accept::operators(app.clone(), operators, surfaces::admin));
        let client = Client::builder(TokioExecutor::new()).build_http();
        Self { app, address, admin, mock, provider, client, folder }
    }

    /// Sends a request to Tollgate and gives the answer as it begins.
    pub async fn open(&self, request: Request<Full<Bytes>>) -> http::Response<Incoming> {
        self.client.request(request).await.unwrap()
    }

    /// Sends a request to Tollgate and reads the answer to its end.
    pub async fn send(&self, request: Request<Full<Bytes>>) -> Answer {
        let (head, body) = self.open(request).await.into_parts();
        Answer { status: head.status, headers: head.headers, body: body.collect().await.unwrap().to_bytes() }
    }

    /// A request with the key of this world and a JSON body.
    pub fn post(&self, path: &str, body: impl Into<Bytes>) -> Request<Full<Bytes>> {
        Request::builder()
            .method(Method::POST)
            .uri(format!("http://{}{path}", self.address))
            .header("authorization", format!("Bearer {KEY}"))
            .header("content-type", "application/json")
            .body(Full::new(body.into()))
            .unwrap()
    }

    /// Every record of the journal, once nothing is in flight.
    pub async fn records(&self) -> Vec<Record> {
        self.settled().await;
        let records = Reader::open(self.folder.path()).records().unwrap();
        records.map(|located| located.unwrap().record).collect()
    }

    /// Every entry of the ledger, once nothing is in flight.
    pub async fn entries(&self) -> Vec<Entry> {
        let entries = self.records().await.into_iter().filter_map(|record| match record {
            Record::Entry(entry) => Some(*entry),
            _ => None,
        });
        entries.collect()
    }

    /// The same Tollgate after a power cut: another one, with its store in a copy of this one's.
    pub async fn again(&self, extra: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        copy(self.folder.path(), folder.path());
        Self::in_folder(self.provider, self.mock.clone(), extra, Surroundings::default(), folder).await
    }

    /// Waits until every request is settled and written.
    pub async fn settled(&self) {
        let idle = async {
            while self.app.metrics.in_flight.get() > 0 {
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(Duration::from_secs(20), idle).await.expect("a request was never settled");
        self.app.bank.flush().await.unwrap();
    }
}

impl Drop for World {
    fn drop(&mut self) {
        self.app.drain.advance(Phase::Cutting);
    }
}

impl Answer {
    /// The body as text.
    pub fn text(&self) -> &str {
        std::str::from_utf8(&self.body).unwrap()
    }

    /// A header's value, empty without one.
    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }
}

/// The mock on a free port.
pub async fn provider() -> (SocketAddr, Arc<Mock>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let clock = Clock::system();
    let mock = Mock::new(mock::Options::new(Arc::new(move || clock.now_ms())));
    let serving = mock.clone();
    tokio::spawn(async move { serving.serve(listener, std::future::pending()).await });
    (address, mock)
}

fn config(provider: SocketAddr, folder: &TempDir, extra: &str, silence_max: Duration) -> Config {
    let text = config_text(provider, folder, extra);
    let mut env: Environment = SECRETS.map(|(name, secret)| (name.to_owned(), secret.to_owned())).into();
    let variables = extra.lines().filter_map(|line| line.strip_prefix("env.")?.split_once('='));
    env.extend(variables.map(|(name, value)| (name.to_owned(), value.to_owned())));
    let mut config = Config::parse(&text, "test.toml", &env).unwrap_or_else(|errors| panic!("{errors}\n{text}"));
    for upstream in &mut config.upstreams {
        let upstream = Arc::get_mut(upstream).unwrap();
        (upstream.first_byte_timeout, upstream.idle_timeout) = (silence_max, silence_max);
    }
    config
}

/// Copies a folder with all in it.
pub fn copy(from: &Path, to: &Path) {
    for item in std::fs::read_dir(from).unwrap() {
        let (path, target) = item.map(|item| (item.path(), to.join(item.file_name()))).unwrap();
        if path.is_dir() {
            std::fs::create_dir(&target).unwrap();
            copy(&path, &target);
        } else {
            std::fs::copy(&path, &target).unwrap();
        }
    }
}

/// A config with the mock behind the upstreams `openai`, `anthropic` and `gemini`; lines of `extra` that begin with
/// `server.` go into that section, those with `upstream.` into each of the three, `env.NAME=VALUE` is a variable, and `//PROVIDER` in it stands for the provider's address.
pub fn config_text(provider: SocketAddr, folder: &TempDir, extra: &str) -> String {
    let extra = extra.replace("//PROVIDER", &format!("//{provider}"));
    let said = |line: &str| line.strip_prefix("upstream.").map(|line| format!("{line}\n"));
    // What a test does not ask for neither repeats its requests nor refuses them.
    let quiet = ["retries = 0", "breaker_failures = 0"];
    let quiet = quiet.iter().filter(|line| !extra.contains(&format!("upstream.{} ", line.split(' ').next().unwrap())));
    let each: String = quiet.map(|line| format!("{line}\n")).chain(extra.lines().filter_map(said)).collect();
    format!(
        r#"
[server]
listen = "127.0.0.1:0"
admin_listen = "127.0.0.1:0"
{extra_server}
[store]
path = "{path}"
[log]
path = "{path}/requests.log"
[teams.search]
[keys.ci]
secret = {{ env = "TEST_KEY" }}
team = "search"
attribute = true
[upstreams.openai]
dialect = "openai"
provider = "openai"
include_usage = "splice"
api_key = {{ env = "PROVIDER_KEY" }}
base_url = "http://{provider}"
{each}[upstreams.anthropic]
dialect = "anthropic"
provider = "anthropic"
api_key = {{ env = "PROVIDER_KEY" }}
base_url = "http://{provider}"
{each}[upstreams.gemini]
dialect = "gemini"
provider = "google"
api_key = {{ env = "PROVIDER_KEY" }}
base_url = "http://{provider}"
{each}{extra}
"#,
        path = folder.path().display(),
        extra_server = extra
            .lines()
            .filter(|line| line.starts_with("server."))
            .map(|line| line.replacen("server.", "", 1) + "\n")
            .collect::<String>(),
        extra = extra
            .lines()
            .filter(|line| !["server.", "upstream.", "env."].iter().any(|start| line.starts_with(start)))
            .collect::<Vec<_>>()
            .join("\n"),
    )
}
