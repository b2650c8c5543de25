//! The real program as a child of the test, with a mock provider in the test's own process.

use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::process::{ExitStatus, Output, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::Request;
use http_body_util::Full;
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::process::{Child, Command};
use tollgate::clock::Clock;
use tollgate::domain::entry::Entry;
use tollgate::mock::{self, Mock};
use tollgate::store::{Reader, Record};

use super::raw::LONG;
use super::world::{KEY, config_text};

/// A client with a pool of connections.
pub type HttpClient = Client<HttpConnector, Full<Bytes>>;

/// A folder with a config and a store, and a mock provider.
pub struct Place {
    pub mock: Arc<Mock>,
    pub folder: TempDir,
    pub client: HttpClient,
}

/// A running `tollgate serve`.
pub struct Served {
    pub process: Child,
    pub address: SocketAddr,
    pub admin: SocketAddr,
    pub start: Duration,
    /// What it wrote to standard error.
    pub said: Arc<Mutex<String>>,
}

/// Gives a process a moment before it is asked again.
pub async fn pause() {
    tokio::time::sleep(Duration::from_millis(20)).await;
}

impl Place {
    /// A place whose config holds `extra`.
    pub async fn new(extra: &str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let provider = listener.local_addr().unwrap();
        let clock = Clock::system();
        let mock = Mock::new(mock::Options::new(Arc::new(move || clock.now_ms())));
        let serving = mock.clone();
        tokio::spawn(async move { serving.serve(listener, std::future::pending()).await });
        let folder = tempfile::tempdir().unwrap();
        let place = Self { mock, folder, client: Client::builder(TokioExecutor::new()).build_http() };
        std::fs::write(place.config(), config_text(provider, &place.folder, extra)).unwrap();
        place
    }

    /// The config file.
    pub fn config(&self) -> PathBuf {
        self.folder.path().join("tollgate.toml")
    }

    /// The program with these arguments, not yet started.
    pub fn command(&self, arguments: &[&str]) -> Command {
        let mut command = self.environment(Command::new(env!("CARGO_BIN_EXE_tollgate")));
        command.args(arguments).stdin(Stdio::null());
        command
    }

    fn environment(&self, mut command: Command) -> Command {
        command.env("TEST_KEY", KEY).env("PROVIDER_KEY", "sk-provider").kill_on_drop(true);
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }

    /// Runs the program to its end.
    pub async fn run(&self, arguments: &[&str]) -> Output {
        tokio::time::timeout(LONG, self.command(arguments).output())
            .await
            .unwrap_or_else(|_| panic!("{arguments:?} hangs"))
            .unwrap()
    }

    /// Starts `tollgate serve` and waits until it serves.
    pub async fn serve(&self) -> Served {
        self.served(self.command(&["serve", "--config", self.config().to_str().unwrap()])).await
    }

    /// The same as under a supervisor that holds `socket` and hands it over (sd_listen_fds(3)).
    pub async fn serve_on(&self, socket: &std::net::TcpListener) -> Served {
        self.served(self.handed(socket)).await
    }

    /// The command line of [`Place::serve_on`], not yet started.
    pub fn handed(&self, socket: &std::net::TcpListener) -> Command {
        let hand_over = "export LISTEN_PID=$$ LISTEN_FDS=1; exec 3<&0 </dev/null; exec \"$@\"";
        let config = self.config();
        let ours =
            ["-c", hand_over, "sh", env!("CARGO_BIN_EXE_tollgate"), "serve", "--config", config.to_str().unwrap()];
        let mut command = self.environment(Command::new("sh"));
        command.args(ours).stdin(Stdio::from(OwnedFd::from(socket.try_clone().unwrap())));
        command
    }

    /// Starts a server and waits until it serves.
    pub async fn served(&self, mut command: Command) -> Served {
        let before = Instant::now();
        let mut process = command.spawn().unwrap();
        let mut lines = BufReader::new(process.stderr.take().unwrap()).lines();
        let said = Arc::new(Mutex::new(String::new()));
        let [address, admin] = loop {
            let line = tokio::time::timeout(LONG, lines.next_line())
                .await
                .unwrap_or_else(|_| panic!("it never serves"))
                .unwrap();
            let line = line.unwrap_or_else(|| panic!("it ended: {}", said.lock().unwrap()));
            said.lock().unwrap().push_str(&(line.clone() + "\n"));
            let line: serde_json::Value = serde_json::from_str(&line).unwrap_or_default();
            if line["message"] == "serving" {
                break ["listen", "admin_listen"].map(|name| line[name].as_str().unwrap().parse().unwrap());
            }
        };
        let start = before.elapsed();
        let theirs = said.clone();
        tokio::spawn(async move {
            while let Ok(Some(line)) = lines.next_line().await {
                theirs.lock().unwrap().push_str(&(line + "\n"));
            }
        });
        Served { process, address, admin, start, said }
    }

    /// Every entry of the ledger.
    pub fn entries(&self) -> Vec<Entry> {
        let records = Reader::open(self.folder.path()).records().unwrap();
        let entry = |record| if let Record::Entry(entry) = record { Some(*entry) } else { None };
        records.filter_map(|located| entry(located.unwrap().record)).collect()
    }
}

impl Served {
    /// Sends it a signal.
    pub fn signal(&self, name: &str) {
        let id = self.process.id().unwrap().to_string();
        let sent = std::process::Command::new("kill").args([&format!("-{name}"), &id]).status().unwrap();
        assert!(sent.success());
    }

    /// Waits until it takes no more connections.
    pub async fn refuses(&self) {
        let deadline = Instant::now() + LONG;
        while TcpStream::connect(self.address).await.is_ok() {
            assert!(Instant::now() < deadline, "it still takes connections: {}", self.said.lock().unwrap());
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    /// Waits for its end.
    pub async fn end(&mut self) -> ExitStatus {
        match tokio::time::timeout(LONG, self.process.wait()).await {
            Ok(status) => status.unwrap(),
            Err(_) => panic!("it never ends: {}", self.said.lock().unwrap()),
        }
    }

    /// A request with the key `ci` and a JSON body.
    pub fn post(&self, path: &str, body: &str) -> Request<Full<Bytes>> {
        let request = Request::post(format!("http://{}{path}", self.address));
        let request =
            request.header("authorization", format!("Bearer {KEY}")).header("content-type", "application/json");
        let request = request.header("anthropic-version", "2023-06-01");
        request.body(Full::new(Bytes::from(body.to_owned()))).unwrap()
    }
}
