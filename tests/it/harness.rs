//! An app in a folder of its own, and what tests do with one.

use std::convert::Infallible;
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use bytes::Bytes;
use http::{Method, Request, StatusCode};
use http_body_util::{BodyExt, Empty};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tempfile::TempDir;
use tokio::io::{AsyncRead, AsyncWrite};
use tollgate::admin::{self, Answer, Door};
use tollgate::app::{App, Surroundings};
use tollgate::bank::debt::Closing;
use tollgate::bank::tab::{NotOpened, Presence, Tab};
use tollgate::config::{Config, Environment};
use tollgate::domain::entry::Entry;
use tollgate::domain::ids::RequestId;
use tollgate::store::disk::{Disk, LogFile, RealDisk};

/// The admin token of every app here.
pub const TOKEN: &str = "tga_for_tests_only";

/// The secret of the key `ci`.
pub const KEY: &str = "tg_for_tests_only_and_nobody_else";

/// An app and the folder that its store is in.
#[derive(Debug)]
pub struct House {
    pub app: Arc<App>,
    pub folder: TempDir,
}

/// A file system that fails from the moment it is told to.
#[derive(Clone, Debug, Default)]
pub struct Breakable(Arc<AtomicBool>);

#[derive(Debug)]
struct BreakableFile(Breakable, Box<dyn LogFile>);

/// An app of `config_text`, to which a store and a quiet log are added.
pub fn app(config_text: &str) -> House {
    app_in(config_text, Surroundings::default())
}

/// The same with a clock or a disk of the test's own.
pub fn app_in(config_text: &str, surroundings: Surroundings) -> House {
    let folder = TempDir::new().unwrap();
    let text = config_of(config_text, folder.path());
    std::fs::write(folder.path().join("tollgate.toml"), &text).unwrap();
    let config = Config::parse(&text, "tollgate.toml", &environment()).unwrap();
    House { app: Arc::new(App::open(config, surroundings).unwrap()), folder }
}

/// What the secrets of these configs are.
pub fn environment() -> Environment {
    let pairs = [("TOKEN", TOKEN), ("KEY", KEY)];
    pairs.into_iter().map(|(name, value)| (name.to_owned(), value.to_owned())).collect()
}

fn config_of(text: &str, folder: &Path) -> String {
    format!("{text}\n[store]\npath = {:?}\n[log]\nlevel = \"error\"\n", folder.join("data"))
}

impl House {
    /// A place among the requests in flight.
    pub fn presence(&self) -> Presence {
        Presence { gauge: self.app.metrics.in_flight.enter(), place: self.app.requests.take() }
    }

    /// Lets `entry`, without attempts of its own, run through the bank with one attempt that ends as `closing`.
    pub async fn settle(&self, mut entry: Entry, closing: Closing) -> RequestId {
        entry.id = self.app.mint.request_id(entry.at_ms);
        let id = entry.id;
        let tab = Tab::new(self.app.bank.clone(), Box::new(entry), 0, self.presence());
        let mut debt = tab.open(closing.cost, &[]).await.unwrap();
        debt.depart();
        debt.settle(closing);
        id
    }

    /// Lets `entry` run through a bank that may be unable to write it.
    pub async fn settle_into_the_void(&self, entry: Entry) {
        match Tab::new(self.app.bank.clone(), Box::new(entry), 0, self.presence()).open(None, &[]).await {
            Err(NotOpened::Unwritten(tab, refusal)) => tab.refuse(&refusal),
            Ok(_) | Err(NotOpened::Exceeded(..) | NotOpened::Refused(_) | NotOpened::Changed(_)) => {}
        }
    }

    /// Asks the admin listener from this machine, with the token.
    pub async fn get(&self, target: &str) -> (StatusCode, String) {
        let request = request(target, &[("authorization", &format!("Bearer {TOKEN}"))]);
        read(admin::answer(&self.app, Door::Tcp { peer: [127, 0, 0, 1].into() }, request).await).await
    }

    /// Answers over one connection, as a server would.
    pub async fn serve<S: AsyncRead + AsyncWrite + Unpin>(&self, stream: S, door: Door) {
        let service = service_fn(|request| {
            let app = self.app.clone();
            async move { Ok::<_, Infallible>(admin::answer(&app, door, request).await) }
        });
        let _ended = http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
    }
}

/// A GET with headers, the Host among them if it is not given.
pub fn request(target: &str, headers: &[(&str, &str)]) -> Request<Empty<Bytes>> {
    let mut request = Request::builder().method(Method::GET).uri(target);
    if !headers.iter().any(|(name, _)| *name == "host") {
        request = request.header("host", "127.0.0.1:4001");
    }
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    request.body(Empty::new()).unwrap()
}

/// An answer's status and text.
pub async fn read(answer: Answer) -> (StatusCode, String) {
    let (head, body) = answer.into_parts();
    (head.status, String::from_utf8(body.collect().await.unwrap().to_bytes().to_vec()).unwrap())
}

impl Breakable {
    /// From now on nothing works.
    pub fn fail(&self) {
        self.0.store(true, Ordering::SeqCst);
    }

    fn pass(&self) -> io::Result<()> {
        if self.0.load(Ordering::SeqCst) { Err(io::Error::other("the disk is gone")) } else { Ok(()) }
    }
}

impl Disk for Breakable {
    fn create(&self, path: &Path) -> io::Result<Box<dyn LogFile>> {
        self.pass()?;
        Ok(Box::new(BreakableFile(self.clone(), RealDisk.create(path)?)))
    }

    fn append(&self, path: &Path) -> io::Result<Box<dyn LogFile>> {
        self.pass()?;
        Ok(Box::new(BreakableFile(self.clone(), RealDisk.append(path)?)))
    }

    fn sync_folder(&self, path: &Path) -> io::Result<()> {
        self.pass()?;
        RealDisk.sync_folder(path)
    }
}

impl LogFile for BreakableFile {
    fn write(&self, bytes: &[u8]) -> io::Result<usize> {
        self.0.pass()?;
        self.1.write(bytes)
    }

    fn sync(&self) -> io::Result<()> {
        self.0.pass()?;
        self.1.sync()
    }
}
