//! `tollgate serve`: clients, operators and the ledger, until a signal.

use std::io;
use std::net::SocketAddr;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::runtime::{Builder, Runtime};

use super::args::{EXIT_CONFIG, EXIT_FAILED, EXIT_OK, Serve};
use crate::app::{App, Surroundings};
use crate::config::{self, Config, Listen, Loaded, LogFormat, LogLevel};
use crate::server::inherit::Inherited;
use crate::server::run::{Listeners, Signals, run};
use crate::telemetry::log;

/// How long work that nobody needs any more may go on when the process ends.
const LEFT_OVER: Duration = Duration::from_secs(1);

/// Serves; gives the exit code.
#[must_use]
pub fn serve(args: &Serve) -> u8 {
    // Before anything else: a secret's command must not get the sockets.
    let inherited = match Inherited::take() {
        Ok(inherited) => inherited,
        Err(error) => return failed(&error),
    };
    let options = args.load_options(config::environment());
    let Loaded { config, files } = Config::load_all(&options);
    let config = match config {
        Ok(config) => config,
        Err(errors) => {
            eprintln!("{errors}");
            return EXIT_CONFIG;
        }
    };
    start_log(&config);
    let threads = config.server.threads;
    let serving = until_signal(config, inherited, |app, _, _| {
        app.reloads.follow(options, &app.snapshot.load().config, files);
    });
    match block_on(threads, serving) {
        Ok(Ok(())) => EXIT_OK,
        Ok(Err(error)) => failed(&*error),
        Err(error) => failed(&error),
    }
}

/// What went wrong, and its exit code.
pub(super) fn failed(error: &dyn std::error::Error) -> u8 {
    eprintln!("tollgate: {error}");
    EXIT_FAILED
}

/// Opens everything, tells `ready` the addresses of clients and operators, and serves until a signal.
pub(super) async fn until_signal(
    config: Config,
    inherited: Inherited,
    ready: impl FnOnce(&App, &Listen, SocketAddr),
) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
    let mut signals = Signals::listen()?;
    let (server, folder) = (config.server.clone(), config.store.path.clone());
    let hash = config.hash();
    let Some(app) = open(config, &mut signals).await? else {
        tracing::info!("stopped before it served");
        return Ok(());
    };
    let app = Arc::new(app);
    let listeners = Listeners::bind(&server, &folder, inherited).await?;
    let (client, admin) = (listeners.clients.place()?, listeners.admin.local_addr()?);
    tracing::info!(
        version = env!("CARGO_PKG_VERSION"),
        listen = %client,
        admin_listen = %admin,
        store = %folder.display(),
        config = hash,
        scope = "this process owns its ledger; totals are not shared with other processes",
        "serving"
    );
    ready(&app, &client, admin);
    run(app, listeners, signals).await?;
    tracing::info!("stopped");
    Ok(())
}

/// Opens the app, unless a signal comes meanwhile: another process may have the store for long.
async fn open(config: Config, signals: &mut Signals) -> Result<Option<App>, Box<dyn std::error::Error + Send + Sync>> {
    let surroundings = Surroundings::default();
    let given_up = surroundings.given_up.clone();
    // It waits for a lock and reads files, which an async worker must not.
    let mut opening = tokio::task::spawn_blocking(move || App::open(config, surroundings));
    tokio::select! {
        opened = &mut opening => return Ok(Some(opened??)),
        () = signals.end() => given_up.store(true, Ordering::Relaxed),
    }
    // Without the store there is nothing to be said of it; with it, what was written at the start is made durable.
    if let Ok(app) = opening.await? {
        app.bank.close().await?;
    }
    Ok(None)
}

/// Runs `work` to its end. What then still runs on a thread of its own, such as the look-up of a name, is waited for no longer
/// than a moment.
pub(super) fn block_on<W: Future>(threads: Option<usize>, work: W) -> io::Result<W::Output> {
    let runtime = runtime(threads)?;
    let outcome = runtime.block_on(work);
    runtime.shutdown_timeout(LEFT_OVER);
    Ok(outcome)
}

/// One thread runs everything where one is asked for: a sidecar then stays on one core.
fn runtime(threads: Option<usize>) -> io::Result<Runtime> {
    match threads {
        Some(1) => Builder::new_current_thread().enable_all().build(),
        Some(threads) => Builder::new_multi_thread().worker_threads(threads).enable_all().build(),
        None => Builder::new_multi_thread().enable_all().build(),
    }
}

pub(super) fn start_log(config: &Config) {
    let format = match config.log.format {
        LogFormat::Json => log::LogFormat::Json,
        LogFormat::Text => log::LogFormat::Text,
    };
    let level = match config.log.level {
        LogLevel::Error => tracing_subscriber::filter::LevelFilter::ERROR,
        LogLevel::Warn => tracing_subscriber::filter::LevelFilter::WARN,
        LogLevel::Info => tracing_subscriber::filter::LevelFilter::INFO,
        LogLevel::Debug => tracing_subscriber::filter::LevelFilter::DEBUG,
    };
    // A second start within one process, as in tests, keeps the first one's log.
    let _already = log::start(format, level);
}

/// The exit code as the system takes it.
#[must_use]
pub fn exit(code: u8) -> ExitCode {
    ExitCode::from(code)
}
