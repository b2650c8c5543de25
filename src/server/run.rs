//! Run: from bound listeners to a settled ledger.
//!
//! SIGHUP, or a changed file of the config, loads the config anew. The first SIGTERM or SIGINT stops new work and lets open streams end; after `drain_s`, or on a second signal, they
//! are cut with their dialect's error. Then the ledger is made durable and the log written.

use std::fs::Permissions;
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use tokio::net::{TcpListener, UnixListener};
use tokio::signal::unix::{Signal, SignalKind, signal};

use super::clients::Clients;
use super::inherit::Inherited;
use super::{accept, surfaces};
use crate::app::App;
use crate::app::reload::{Asked, Watch, reload};
use crate::config::Server;
use crate::drain::Phase;

/// The control socket in the store's folder.
pub const CONTROL_SOCKET: &str = "control.sock";

/// How long streams have to end themselves once they are cut.
const CUT: Duration = Duration::from_secs(5);

/// How long the log may take to be written at the end.
const LAST_LINES: Duration = Duration::from_secs(5);

/// How often what is held back for a minute is looked at.
const TICK: Duration = Duration::from_secs(1);

/// How often the files of the config are looked at.
const WATCH: Duration = Duration::from_secs(1);

/// Bound and not yet served.
#[derive(Debug)]
pub struct Listeners {
    /// Clients.
    pub clients: Clients,
    /// Operators.
    pub admin: TcpListener,
    control: UnixListener,
    control_path: PathBuf,
}

/// A listener that cannot be bound.
#[derive(Debug)]
pub struct BindError {
    /// The address or path.
    pub place: String,
    /// Why not.
    pub error: io::Error,
}

/// What ends the process.
#[derive(Debug)]
pub struct Signals {
    terminate: Signal,
    interrupt: Signal,
    hangup: Signal,
}

impl Listeners {
    /// Takes what was handed over and binds what else config names, and the control socket in `folder`.
    ///
    /// # Errors
    /// The first address that cannot be bound.
    pub async fn bind(server: &Server, folder: &Path, mut inherited: Inherited) -> Result<Self, BindError> {
        let clients = Clients::bind(server, &mut inherited).await;
        let clients = clients.map_err(|error| BindError::new(&server.listen, error))?;
        let admin = match inherited.admin() {
            Ok(None) => TcpListener::bind(server.admin_listen).await,
            Ok(Some(listener)) => Ok(listener),
            Err(error) => Err(error),
        };
        let admin = admin.map_err(|error| BindError::new(server.admin_listen, error))?;
        let control_path = folder.join(CONTROL_SOCKET);
        let control = control(&control_path).map_err(|error| BindError::new(control_path.display(), error))?;
        Ok(Self { clients, admin, control, control_path })
    }
}

/// The journal's lock says that no other process serves this folder, so that a socket in it is a dead one's.
fn control(path: &Path) -> io::Result<UnixListener> {
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        Ok(()) | Err(_) => {}
    }
    let listener = UnixListener::bind(path)?;
    std::fs::set_permissions(path, Permissions::from_mode(0o600))?;
    Ok(listener)
}

impl Signals {
    /// Takes over SIGTERM, SIGINT and SIGHUP.
    ///
    /// # Errors
    /// The system refuses.
    pub fn listen() -> io::Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            hangup: signal(SignalKind::hangup())?,
        })
    }

    /// Waits for what ends the process, where there is nothing yet that could be read again.
    pub async fn end(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }

    /// Waits for what ends the process, and meanwhile reads the config again when it is told to.
    async fn next(&mut self, app: &Arc<App>) {
        loop {
            tokio::select! {
                _ = self.terminate.recv() => return,
                _ = self.interrupt.recv() => return,
                _ = self.hangup.recv() => {
                    let app = app.clone();
                    // Apart from the wait for the end, which must not wait for a secret's command.
                    tokio::spawn(async move { reload(&app, Asked::by("signal", "SIGHUP")).await });
                }
            }
        }
    }
}

/// Serves until a signal ends it.
///
/// # Errors
/// The last records may not be on the disk.
pub async fn run(app: Arc<App>, listeners: Listeners, mut signals: Signals) -> Result<(), crate::store::StoreError> {
    let Listeners { clients, admin, control, control_path } = listeners;
    let _clients = clients.serve(app.clone());
    tokio::spawn(accept::operators(app.clone(), admin, surfaces::admin));
    let control = tokio::spawn(accept::unix(app.clone(), control, surfaces::control));
    let ticking = tokio::spawn(tick(app.clone()));
    let telling = tokio::spawn(app.alerts.clone().deliver());
    let watching = tokio::spawn(watch(app.clone()));
    signals.next(&app).await;
    watching.abort();
    drain(&app, &mut signals).await;
    app.reloads.end();
    control.abort();
    ticking.abort();
    telling.abort();
    app.keep_lessons();
    let closed = app.bank.close().await;
    let keeping = app.clone();
    // It waits for a thread, which an async worker must not.
    let _kept = tokio::task::spawn_blocking(move || keeping.clerk.stop()).await;
    let scribe = app.scribe.clone();
    // It waits for a thread, which an async worker must not.
    let _lines = tokio::task::spawn_blocking(move || scribe.finish(LAST_LINES)).await;
    // Left behind, it would only be removed at the next start.
    let _removed = std::fs::remove_file(control_path);
    closed
}

async fn drain(app: &Arc<App>, signals: &mut Signals) {
    let longest = app.snapshot.load().config.server.drain;
    tracing::info!(open = app.drain.open(), longest_s = longest.as_secs(), "draining");
    app.drain.advance(Phase::Draining);
    tokio::select! {
        () = app.drain.idle() => return,
        () = tokio::time::sleep(longest) => {}
        () = signals.next(app) => {}
    }
    tracing::warn!(open = app.drain.open(), "cutting what is still open");
    app.drain.advance(Phase::Cutting);
    let _ended = tokio::time::timeout(CUT, app.drain.idle()).await;
}

async fn tick(app: Arc<App>) {
    let mut ticks = tokio::time::interval(TICK);
    loop {
        ticks.tick().await;
        app.bank.tick();
        app.renew_connections();
        let looking = app.clone();
        // It may write a file.
        let _looked = tokio::task::spawn_blocking(move || {
            looking.look_at_caps();
            looking.keep_lessons();
        })
        .await;
    }
}

async fn watch(app: Arc<App>) {
    let (mut ticks, mut watch) = (tokio::time::interval(WATCH), Watch::default());
    loop {
        ticks.tick().await;
        watch.look(&app).await;
    }
}

impl BindError {
    fn new(place: impl std::fmt::Display, error: io::Error) -> Self {
        Self { place: place.to_string(), error }
    }
}

impl std::fmt::Display for BindError {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(out, "cannot listen on {}: {}", self.place, self.error)
    }
}

impl std::error::Error for BindError {}
