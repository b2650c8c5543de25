//! Reload: another config while the process runs, whole or not at all.
//!
//! Whatever asks for it (a signal, a changed file, the admin interface), the same happens: everything is read and
//! validated as at a start, and then takes the place of the old. Requests that have arrived keep the config they came
//! with; counts of rate limits, holds and connections to unchanged upstreams stay as they are.
//!
//! Invariant: a config that cannot be used changes nothing; it is told in the log, the metrics, `/readyz` and the config's
//! page until one that can be used is loaded.

use std::collections::HashMap;
use std::fmt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use super::{App, Snapshot};
use crate::config::{Config, LoadOptions, Loaded};
use crate::store::Reloaded;

/// How long an upstream's credential is not looked up again once it was.
const DOUBT_US: u64 = 60_000_000;

/// How the config is read again, and what came of it.
#[derive(Debug)]
pub struct Reloads {
    source: OnceLock<Source>,
    /// Held while one is read, so that they come one after another.
    turn: tokio::sync::Mutex<()>,
    state: Mutex<State>,
    /// When each upstream has last turned its credential down, microseconds on the clock's ticks.
    doubts: Mutex<HashMap<Arc<str>, u64>>,
}

/// How the last reloads went.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Standing {
    /// When the config in force was loaded, unix milliseconds.
    pub loaded_ms: u64,
    /// How many reloads were applied.
    pub done: u64,
    /// How many were not.
    pub failed: u64,
    /// What is wrong with the config that was read last, if it could not be used.
    pub trouble: Option<Arc<str>>,
    /// Keys whose new values wait for a restart.
    pub waiting: Vec<&'static str>,
}

/// Why a reload was not applied.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NotReloaded {
    /// This process was not started from anything that could be read again.
    NoSource,
    /// What was read cannot be used.
    Wrong(Arc<str>),
}

/// Notices that a file of the config has changed.
#[derive(Debug, Default)]
pub struct Watch {
    /// What was seen last, if it differs from what was loaded.
    seen: Option<Vec<Option<Stamp>>>,
}

/// Who asks for a reload, and why.
#[derive(Clone, Debug)]
pub struct Asked {
    /// An operator, or what it was noticed by.
    pub actor: Box<str>,
    /// In a few words.
    pub reason: Box<str>,
    /// Whether it is written down although nothing has changed.
    pub is_told: bool,
}

/// What the config is read from. The variables among it hold secrets.
struct Source(LoadOptions);

#[derive(Debug)]
struct State {
    standing: Standing,
    /// The files of the config, as they were when it was read.
    files: Vec<(PathBuf, Option<Stamp>)>,
}

/// What changes when a file does: device, number, size, and the time of its last change in seconds and nanoseconds.
type Stamp = [i128; 5];

/// Files by their paths.
type Stamps = HashMap<PathBuf, Option<Stamp>>;

impl Reloads {
    pub(super) fn new(loaded_ms: u64) -> Self {
        let standing = Standing { loaded_ms, done: 0, failed: 0, trouble: None, waiting: Vec::new() };
        let state = State { standing, files: Vec::new() };
        let state = Mutex::new(state);
        Self { source: OnceLock::new(), turn: tokio::sync::Mutex::default(), state, doubts: Mutex::default() }
    }

    /// From now on the config is read again from `options`; it was last read from `files`. Said once, at the start.
    pub fn follow(&self, mut options: LoadOptions, config: &Config, files: Vec<PathBuf>) {
        // A file that vanishes is an error: its absence must not mean that everything is as without one.
        options.file = options.file.or_else(|| config.file.clone());
        self.lock().files = files.into_iter().map(|path| (path.clone(), stamp(&path))).collect();
        // A second source is a mistake of ours, and the first one stays.
        let _first = self.source.set(Source(options));
    }

    /// The process ends: what is being read again has no use any more, and its secrets' commands are ended.
    pub fn end(&self) {
        if let Some(Source(options)) = self.source.get() {
            options.given_up.store(true, Ordering::Relaxed);
        }
    }

    /// How the last reloads went.
    #[must_use]
    pub fn standing(&self) -> Standing {
        self.lock().standing.clone()
    }

    fn files(&self) -> Vec<(PathBuf, Option<Stamp>)> {
        self.lock().files.clone()
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// An upstream has turned down the credential that config has for it, which may have been replaced in its file or vault.
/// Everything is read again in the background, once a minute for each upstream at most.
pub fn doubt(app: &Arc<App>, upstream: &Arc<str>) {
    let now_us = app.clock.ticks_us();
    {
        let mut doubts = app.reloads.doubts.lock().unwrap_or_else(PoisonError::into_inner);
        if doubts.get(upstream).is_some_and(|last_us| now_us < last_us.saturating_add(DOUBT_US)) {
            return;
        }
        doubts.insert(upstream.clone(), now_us);
    }
    tracing::warn!(%upstream, "the upstream turned down its credential; secrets are read again");
    let asked = Asked::noticed("upstream", &format!("{upstream} turned down its credential"));
    let app = app.clone();
    // What is wrong has been told.
    tokio::spawn(async move { reload(&app, asked).await });
}

/// Reads the config again and puts it in force. Gives the keys whose new values wait for a restart.
///
/// # Errors
/// It cannot be read or used; the old one stays in force.
pub async fn reload(app: &App, asked: Asked) -> Result<Vec<&'static str>, NotReloaded> {
    let options = app.reloads.source.get().ok_or(NotReloaded::NoSource)?.0.clone();
    let _turn = app.reloads.turn.lock().await;
    let known: Stamps = app.reloads.files().into_iter().map(|(path, _)| (path.clone(), stamp(&path))).collect();
    let before = app.snapshot.load().config.hash();
    // Files may be on a slow disk, and a secret's command takes its time.
    let loaded = tokio::task::spawn_blocking(move || Config::load_all(&options)).await;
    let outcome = match loaded {
        Ok(Loaded { config, files }) => {
            app.reloads.note_files(&known, files, config.is_err());
            match config {
                Ok(config) => apply(app, config).await.map_err(|error| error.to_string()),
                Err(errors) => Err(errors.to_string()),
            }
        }
        Err(_) => Err("reading the config broke off".to_owned()),
    };
    if outcome.is_ok() {
        note(app, asked, &before);
    }
    tell(app, outcome)
}

/// Writes down that a config came into force, unless nobody asked for it and it is the same as `before`.
fn note(app: &App, asked: Asked, before: &str) {
    let Asked { actor, reason, is_told } = asked;
    let config = app.snapshot.load().config.hash();
    if is_told || config != before {
        app.bank.note_reload(Reloaded { at_ms: app.clock.now_ms(), config: config.into(), actor, reason });
    }
}

async fn apply(app: &App, mut config: Config) -> Result<Vec<&'static str>, Box<dyn std::error::Error + Send + Sync>> {
    let before = app.snapshot.load_full();
    let waiting = config.keep_fixed(&before.config);
    let snapshot = Snapshot::after(&before, config)?;
    let alerts = app.alerts.prepare(&snapshot.config, &snapshot.book)?;
    let config = snapshot.config.clone();
    app.bank.adopt(&config, || app.snapshot.store(Arc::new(snapshot))).await?;
    app.alerts.adopt(alerts);
    let server = &config.server;
    app.connections.resize(server.connections_max);
    app.requests.resize(server.in_flight_max.unwrap_or(usize::MAX));
    app.body_memory.resize(usize::try_from(server.body_memory_bytes).unwrap_or(usize::MAX));
    app.cache.resize(config.cache.memory_bytes);
    if let Some(disk) = app.cache.disk() {
        disk.keep_for(config.cache.grace());
    }
    if let Some(token) = &server.admin_token {
        app.admin_token.store(Arc::new(token.clone()));
    }
    Ok(waiting)
}

/// Keeps what came of it, and says so in the log.
fn tell(app: &App, outcome: Result<Vec<&'static str>, String>) -> Result<Vec<&'static str>, NotReloaded> {
    let mut state = app.reloads.lock();
    let standing = &mut state.standing;
    match outcome {
        Ok(waiting) => {
            let hash = app.snapshot.load().config.hash();
            tracing::info!(config = hash, "the config was loaded");
            if !waiting.is_empty() {
                tracing::warn!(keys = waiting.join(", "), "these keys of the config change with a restart only");
            }
            standing.done += 1;
            (standing.loaded_ms, standing.trouble) = (app.clock.now_ms(), None);
            standing.waiting.clone_from(&waiting);
            Ok(waiting)
        }
        Err(error) => {
            tracing::warn!(error, "the config cannot be used; the one before stays in force");
            let error: Arc<str> = error.into();
            standing.failed += 1;
            standing.trouble = Some(error.clone());
            Err(NotReloaded::Wrong(error))
        }
    }
}

impl Reloads {
    /// Remembers of which files a config was read. What was read with errors may have missed some.
    fn note_files(&self, known: &Stamps, files: Vec<PathBuf>, keeps_old: bool) {
        let mut state = self.lock();
        let old = if keeps_old { std::mem::take(&mut state.files) } else { Vec::new() };
        let mut all: Vec<PathBuf> = files.into_iter().chain(old.into_iter().map(|(path, _)| path)).collect();
        all.sort();
        all.dedup();
        // A file that was changed while it was read is seen as changed the next time.
        let dated = |path: PathBuf| {
            let stamp = known.get(&path).copied().unwrap_or_else(|| stamp(&path));
            (path, stamp)
        };
        state.files = all.into_iter().map(dated).collect();
    }
}

impl Asked {
    /// An operator asks.
    #[must_use]
    pub fn by(actor: &str, reason: &str) -> Self {
        Self { actor: actor.into(), reason: reason.into(), is_told: true }
    }

    /// Something was noticed.
    #[must_use]
    pub fn noticed(by: &str, reason: &str) -> Self {
        Self { actor: by.into(), reason: reason.into(), is_told: false }
    }
}

impl Watch {
    /// Looks at the config's files, and loads them if they have changed and then stayed the same since the last look: most
    /// programs write a file in several steps, and half a config may be a valid one.
    pub async fn look(&mut self, app: &App) {
        let files = app.reloads.files();
        if files.is_empty() {
            return;
        }
        let paths: Vec<PathBuf> = files.iter().map(|(path, _)| path.clone()).collect();
        let look = move || paths.iter().map(|path| stamp(path)).collect::<Vec<_>>();
        let Ok(now) = tokio::task::spawn_blocking(look).await else { return };
        if now.iter().eq(files.iter().map(|(_, stamp)| stamp)) {
            self.seen = None;
        } else if self.seen.as_ref() == Some(&now) {
            self.seen = None;
            // Whatever is wrong has been told.
            let _told = reload(app, Asked::noticed("file", "a file of the config has changed")).await;
        } else {
            self.seen = Some(now);
        }
    }
}

fn stamp(path: &Path) -> Option<Stamp> {
    let file = std::fs::metadata(path).ok()?;
    Some([file.dev().into(), file.ino().into(), file.size().into(), file.mtime().into(), file.mtime_nsec().into()])
}

impl fmt::Debug for Source {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "Source({:?}, ***)", self.0.file)
    }
}

impl fmt::Display for NotReloaded {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoSource => out.write_str("this process has no config that could be read again"),
            Self::Wrong(error) => out.write_str(error),
        }
    }
}

impl std::error::Error for NotReloaded {}
