//! `tollgate serve`: clients, operators and the ledger, until a signal.

use std::io;
use std::net::SocketAddr;
use std::process::ExitCode;
use std::sync::Arc;

use tokio::runtime::{Builder, Runtime};

use super::args::{EXIT_CONFIG, EXIT_FAILED, EXIT_OK, Serve};
use crate::app::{App, Surroundings};
use crate::config::{self, Config, Listen, Loaded, LogFormat, LogLevel};
use crate::server::inherit::Inherited;
use crate::server::run::{Listeners, Signals, run};
use crate::telemetry::log;

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
    match runtime(threads).map(|runtime| {
        runtime.block_on(until_signal(config, inherited, |app, _, _| {
            app.reloads.follow(options, &app.snapshot.load().config, files)
        }))
    }) {
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
    let signals = Signals::listen()?;
    let (server, folder) = (config.server.clone(), config.store.path.clone());
    let hash = config.hash();
    let app = Arc::new(App::open(config, Surroundings::default())?);
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

/// One thread runs everything where one is asked for: a sidecar then stays on one core.
pub(super) fn runtime(threads: Option<usize>) -> io::Result<Runtime> {
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
