//! [`App::open`]: from a config to everything that requests share. Opens files and a thread, and no listener.

use std::fmt;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use arc_swap::ArcSwap;
use tokio::sync::Semaphore;

use super::reload::Reloads;
use super::routes::{Routes, fingerprint_key};
use super::{App, DRAINS_MAX, Snapshot, kept};
use crate::alerts::Alerts;
use crate::bank::Bank;
use crate::bank::booked::Booked;
use crate::cache::{self, Room};
use crate::clock::{Clock, Mint};
use crate::config::{Config, Log, LogLevel, Secret, Store};
use crate::drain::Drain;
use crate::limits::Limiter;
use crate::limits::gate::Gate;
use crate::limits::queue::Queue;
use crate::store::clerk;
use crate::store::disk::{Disk, RealDisk};
use crate::store::{Clerk, Journal, OpenError, Options, ReadError, Record, Recovered, Start, StoreError};
use crate::telemetry::metrics::Metrics;
use crate::telemetry::scribe::{Destination, Observer, Scribe};
use crate::upstream::names::Names;

/// The kernel's name for the time since the machine was switched on.
const BOOT_ID: &str = "/proc/sys/kernel/random/boot_id";

/// What an app stands on; tests bring their own.
#[derive(Clone, Debug)]
pub struct Surroundings {
    /// The time.
    pub clock: Clock,
    /// The file system that the journal writes to.
    pub disk: Arc<dyn Disk>,
    /// Who knows where upstreams are.
    pub names: Names,
    /// Set once nobody waits for the store any more, which may be another process's.
    pub given_up: Arc<AtomicBool>,
}

/// Why an app cannot be opened.
#[derive(Debug)]
pub enum AppError {
    /// The journal.
    Store(OpenError),
    /// The journal was opened, and what caps count cannot be read from it.
    Unreadable(ReadError),
    /// The journal was opened and then took no record.
    Unwritable(StoreError),
    /// An upstream cannot be prepared, or a certificate cannot be used.
    Upstream(Box<dyn std::error::Error + Send + Sync>),
    /// A file that cannot be read or made.
    File {
        /// Which.
        path: PathBuf,
        /// Why.
        error: io::Error,
    },
    /// A kept secret that is not whole.
    Damaged(PathBuf),
    /// The log or its thread.
    Log(io::Error),
    /// The system has no random numbers.
    NoRandomness,
}

impl Default for Surroundings {
    fn default() -> Self {
        Self { clock: Clock::system(), disk: Arc::new(RealDisk), names: Names::System, given_up: Arc::default() }
    }
}

impl App {
    /// Prepares what config names, opens the journal in the store's folder, and settles what a dead process left open.
    ///
    /// # Errors
    /// The first thing that cannot be had. The journal's lock keeps a second process from everything after it.
    pub fn open(config: Config, surroundings: Surroundings) -> Result<Self, AppError> {
        let Surroundings { clock, disk, names, given_up } = surroundings;
        let snapshot = Snapshot::new(config, names).map_err(AppError::Upstream)?;
        let config = &snapshot.config;
        let (now_ms, folder) = (clock.now_ms(), config.store.path.clone());
        let (journal, recovered) = Journal::open(&folder, options(&config.store, disk, given_up), now_ms)?;
        tell(&recovered);
        let start = start(now_ms);
        let boot_id = start.boot_id.clone();
        journal.post(&Record::Start(start))?;
        let mint = Mint::random().map_err(|_| AppError::NoRandomness)?;
        let pepper = super::keys::pepper(&folder, &mint)?;
        tell_unusable(&config.ring.fill(recovered.keys.clone()));
        let admin_token = match &config.server.admin_token {
            Some(token) => token.clone(),
            None => {
                let path = folder.join("admin-token");
                Secret::new(&kept::admin_token(&path, &mint)?, &format!("file {}", path.display()))
            }
        };
        let metrics = Arc::new(Metrics::new(now_ms));
        let alerts = Alerts::new(config, &snapshot.book, clock.clone(), &folder).map_err(AppError::Upstream)?;
        let alerts = Arc::new(alerts);
        let watching = alerts.clone();
        let observer: Observer = Box::new(move |record| watching.watch(record));
        let scribe = Scribe::start(destination(&config.log), metrics.clone(), Some(observer)).map_err(AppError::Log)?;
        let scribe = Arc::new(scribe);
        let keeping = clerk::Options {
            retention_days: config.store.retention_days,
            open: clerk::open_sled,
            clock: clock.clone(),
        };
        let tip = journal.tip();
        let bank = Bank::new(journal, &recovered, scribe.clone(), clock.clone(), config, &boot_id)?;
        let clerk = Clerk::watched(&folder, tip, keeping, Some(bank.keeper(&folder))).map_err(AppError::Log)?;
        let limiter = Limiter::local(clock.clone());
        super::recalled::recall(config, &recovered, &limiter, now_ms)?;
        let server = &config.server;
        Ok(Self {
            cache: Arc::new(Room::new(config.cache.memory_bytes, cache_disk(config, &folder, &clock)?)),
            flights: Arc::default(),
            limiter,
            clock,
            mint,
            connections: Gate::new(server.connections_max),
            requests: Queue::new(server.in_flight_max.unwrap_or(usize::MAX)),
            body_memory: Gate::new(usize::try_from(server.body_memory_bytes).unwrap_or(usize::MAX)),
            drains: Gate::new(DRAINS_MAX),
            decoders: Arc::new(Semaphore::new(cores())),
            snapshot: ArcSwap::from_pointee(snapshot),
            clerk,
            bank: Arc::new(bank),
            booked: Booked::new(&folder),
            metrics,
            alerts,
            scribe,
            drain: Drain::default(),
            pins: Arc::default(),
            scores: super::scores::Scores::default(),
            routes: Arc::new(Routes::new(fingerprint_key(&pepper), recovered.lessons)),
            judge: super::judge::Judge::default(),
            pepper,
            admin_token: ArcSwap::from_pointee(admin_token),
            reloads: Reloads::new(now_ms),
        })
    }
}

/// Where answers outlive the process, if config wants that; if not, what is left of them is removed.
fn cache_disk(config: &Config, folder: &Path, clock: &Clock) -> Result<Option<cache::disk::Disk>, AppError> {
    let (bytes, grace) = (config.cache.disk_bytes, config.cache.grace());
    if bytes == 0 {
        cache::disk::clear(folder);
        return Ok(None);
    }
    let failed = |error| AppError::File { path: folder.join(cache::disk::FOLDER), error };
    cache::disk::Disk::open(folder, bytes, grace, clock.clone()).map(Some).map_err(failed)
}

/// Threads that work at the same time.
fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, std::num::NonZero::get)
}

fn options(store: &Store, disk: Arc<dyn Disk>, given_up: Arc<AtomicBool>) -> Options {
    Options {
        sync_interval_ms: u64::try_from(store.sync_interval.as_millis()).unwrap_or(u64::MAX),
        segment_bytes: store.segment_bytes,
        unsynced_records_max: u64::try_from(store.unsynced_records_max).unwrap_or(u64::MAX),
        lock_wait: store.lock_wait,
        given_up,
        disk,
        ..Options::default()
    }
}

/// Requests are logged from level `info` on.
fn destination(log: &Log) -> Destination {
    match &log.path {
        _ if log.level < LogLevel::Info => Destination::Nowhere,
        Some(path) => Destination::File(path.clone()),
        None => Destination::StandardError,
    }
}

fn start(at_ms: u64) -> Start {
    // Where the kernel has no such file, a power loss cannot be told from a killed process.
    let boot_id = fs::read_to_string(BOOT_ID).unwrap_or_default();
    let (version, pid) = (env!("CARGO_PKG_VERSION").into(), std::process::id());
    Start { at_ms, boot_id: boot_id.trim().into(), version, pid }
}

fn tell_unusable(keys: &[Arc<str>]) {
    if !keys.is_empty() {
        tracing::warn!(keys = keys.join(", "), "these keys say what they may be used for in a way that cannot be read");
    }
}

fn tell(recovered: &Recovered) {
    if let Some(cut) = &recovered.cut {
        tracing::warn!(?cut, "an interrupted write was cut off the journal; nothing acknowledged was in it");
    }
    if !recovered.unfinished.is_empty() {
        let requests = recovered.unfinished.len();
        tracing::warn!(
            requests,
            "requests that a dead process left open count at their quotes until they are corrected"
        );
    }
}

impl From<OpenError> for AppError {
    fn from(error: OpenError) -> Self {
        Self::Store(error)
    }
}

impl From<ReadError> for AppError {
    fn from(error: ReadError) -> Self {
        Self::Unreadable(error)
    }
}

impl From<StoreError> for AppError {
    fn from(error: StoreError) -> Self {
        Self::Unwritable(error)
    }
}

impl fmt::Display for AppError {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Store(error) => write!(out, "{error}"),
            Self::Unreadable(error) => write!(out, "what was spent under caps cannot be read: {error}"),
            Self::Unwritable(error) => write!(out, "the ledger cannot be written: {error}"),
            Self::Upstream(error) => write!(out, "the config cannot be put to use: {error}"),
            Self::File { path, error } => write!(out, "{} cannot be kept: {error}", path.display()),
            Self::Damaged(path) => {
                write!(out, "{} is damaged; restore it, or remove it to have a new one made", path.display())
            }
            Self::Log(error) => write!(out, "the log cannot be opened: {error}"),
            Self::NoRandomness => out.write_str("the system gives no random numbers"),
        }
    }
}

impl std::error::Error for AppError {}
