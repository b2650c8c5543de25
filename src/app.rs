//! [`App`]: everything that requests share, built once from the config, and the order in which it ends.

pub mod keys;
mod kept;
pub mod door;
pub mod judge;
mod open;
mod recalled;
pub mod pins;
pub mod routes;
pub mod scores;
pub mod reload;

pub use open::{AppError, Surroundings};

use std::collections::HashMap;
use std::sync::Arc;

use arc_swap::ArcSwap;
use tokio::sync::Semaphore;

use crate::alerts::Alerts;
use crate::bank::Bank;
use crate::bank::booked::Booked;
use crate::cache::Room;
use crate::cache::flight::Flights;
use crate::clock::{Clock, Mint};
use crate::config::{Config, Secret, Upstream};
use crate::domain::operation::Dialect;
use crate::domain::price::Book;
use crate::domain::routing::{Contender, Kit, Lineup};
use crate::drain::Drain;
use crate::limits::Limiter;
use crate::limits::gate::Gate;
use crate::limits::queue::Queue;
use crate::store::{Clerk, Ledger};
use crate::telemetry::metrics::Metrics;
use crate::telemetry::scribe::Scribe;
use crate::upstream::client::SetupError;
use crate::upstream::names::Names;
use crate::upstream::provider::Provider;
use door::Door;
use reload::Reloads;

/// Clients' abandoned answers that are read out at once; those beyond are cut.
const DRAINS_MAX: usize = 1024;

/// What requests share.
#[derive(Debug)]
pub struct App {
    /// The time.
    pub clock: Clock,
    /// Ids.
    pub mint: Mint,
    /// What config says now; a request keeps the one it arrived with.
    pub snapshot: ArcSwap<Snapshot>,
    /// Keeps the index of the journal.
    pub clerk: Clerk,
    /// The only door to money.
    pub bank: Arc<Bank>,
    /// The batches that have been billed.
    pub booked: Booked,
    /// Counters for `/metrics`.
    pub metrics: Arc<Metrics>,
    /// Tells operators what they should know.
    pub alerts: Arc<Alerts>,
    /// Writes the log and counts, off the requests' path.
    pub scribe: Arc<Scribe>,
    /// How far the end has come.
    pub drain: Drain,
    /// Open client connections.
    pub connections: Gate,
    /// Requests in flight, and those that wait for a place.
    pub requests: Queue,
    /// Requests and tokens a minute, and the like.
    pub limiter: Limiter,
    /// Answers that are kept.
    pub cache: Arc<Room>,
    /// Answers that several wait for.
    pub flights: Arc<Flights>,
    /// Bytes of request bodies in memory.
    pub body_memory: Gate,
    /// Abandoned answers that are being read out.
    pub drains: Gate,
    /// Compressed bodies that may be decoded at once.
    pub decoders: Arc<Semaphore>,
    /// Makes the name of a caller whose credential passes through.
    pub pepper: ring::hmac::Key,
    /// Which model each conversation is on.
    pub pins: Arc<pins::Pins>,
    /// What the classifier said of asks.
    pub scores: scores::Scores,
    /// What was learned of routes.
    pub routes: Arc<routes::Routes>,
    /// What is remembered of judges.
    pub judge: judge::Judge,
    /// What the admin interface asks for, over TCP.
    pub admin_token: ArcSwap<Secret>,
    /// How the config is read again, and what came of it.
    pub reloads: Reloads,
}

impl App {
    /// Tells operators of caps that are nearly spent, and of what is wrong with traffic.
    pub fn look_at_caps(&self) {
        let config = &self.snapshot.load().config;
        let standings = match config.caps.policies().any(|policy| !policy.alerts.is_empty()) {
            true => self.bank.standings(),
            false => Vec::new(),
        };
        self.alerts.tick(
            standings
                .iter()
                .filter_map(|standing| config.policy_of(&standing.scope).map(|policy| (standing, &policy.alerts[..]))),
        );
    }

    /// Leaves connections to upstreams behind that are too old.
    pub fn renew_connections(&self) {
        let now_us = self.clock.ticks_us();
        self.snapshot.load().providers.iter().for_each(|provider| provider.renew_connections(now_us));
    }

    /// Writes down what answers have hinted at of their routes.
    pub fn keep_lessons(&self) {
        for lesson in self.routes.take(self.clock.now_ms()) {
            // What the journal cannot take is known until the process ends.
            let _seat = self.bank.learn(&lesson);
        }
    }

    /// What the ledger says, with what has ended so far.
    #[must_use]
    pub fn ledger(&self) -> Ledger {
        Ledger::new(&self.snapshot.load().config.store.path, self.clerk.shelf())
    }
}

/// One state of the config, with what was derived from it.
#[derive(Debug)]
pub struct Snapshot {
    /// What was configured.
    pub config: Arc<Config>,
    /// Every upstream, in the order of the config.
    pub providers: Vec<Arc<Provider>>,
    /// Who knows where they are.
    pub names: Names,
    /// What things cost.
    pub book: Book,
    /// The models of each tier, by upstream.
    pub lineups: HashMap<Arc<str>, Lineup>,
    /// How clients shake hands, where they connect over TLS.
    pub door: Option<Door>,
}

impl Snapshot {
    /// Derives what requests need from `config`, whose upstreams `names` know.
    ///
    /// # Errors
    /// An upstream or a certificate that cannot be used.
    pub fn new(config: Config, names: Names) -> Result<Self, SetupError> {
        let provider = |upstream: &Arc<Upstream>| Provider::new(upstream.clone(), names.clone()).map(Arc::new);
        let providers = config.upstreams.iter().map(provider).collect::<Result<Vec<_>, _>>()?;
        let door = config.server.tls.as_ref().map(Door::new).transpose()?;
        Ok(Self::assemble(config, providers, names, door))
    }

    /// The same for a `config` that follows that of `before`, whose connections are kept where nothing has changed.
    ///
    /// # Errors
    /// An upstream or a certificate that cannot be used.
    pub fn after(before: &Self, config: Config) -> Result<Self, SetupError> {
        let provider = |upstream: &Arc<Upstream>| match before.provider(&upstream.name) {
            Some(known) if known.config == *upstream => Ok(known.clone()),
            Some(known) => known.renewed(upstream.clone()).map(Arc::new),
            None => Provider::new(upstream.clone(), before.names.clone()).map(Arc::new),
        };
        let providers = config.upstreams.iter().map(provider).collect::<Result<Vec<_>, _>>()?;
        let door = match config.server.tls.as_ref() {
            same if same == before.config.server.tls.as_ref() => before.door.clone(),
            tls => tls.map(Door::new).transpose()?,
        };
        Ok(Self::assemble(config, providers, before.names.clone(), door))
    }

    fn assemble(config: Config, providers: Vec<Arc<Provider>>, names: Names, door: Option<Door>) -> Self {
        let book = Book::builtin().with_overrides(config.prices.iter().map(|(name, price)| (&**name, price)));
        let lineups = config.upstreams.iter().filter_map(|upstream| lineup(&config, upstream, &book)).collect();
        Self { config: Arc::new(config), providers, names, book, lineups, door }
    }

    /// The upstream with this name.
    #[must_use]
    pub fn provider(&self, name: &str) -> Option<&Arc<Provider>> {
        self.providers.iter().find(|provider| &*provider.config.name == name)
    }

    /// The upstream that serves `model` in `dialect`: the first whose patterns match, else the dialect's first.
    #[must_use]
    pub fn provider_for(&self, dialect: Dialect, model: &str) -> Option<&Arc<Provider>> {
        let mut speaking = self.providers.iter().filter(|provider| provider.config.dialect == dialect);
        speaking.clone().find(|provider| provider.config.serves(model)).or_else(|| speaking.next())
    }
}

/// The models of an upstream's tiers, with what is known of them.
fn lineup(config: &Config, upstream: &Upstream, book: &Book) -> Option<(Arc<str>, Lineup)> {
    let tiers = config.routing.tiers.get(&upstream.name)?.clone().map(|name| {
        let name = name?;
        let model = book.find(&upstream.provider, None, &name);
        Some(Contender { kit: model.as_deref().map(Kit::of).unwrap_or_default(), name, model })
    });
    Some((upstream.name.clone(), Lineup::new(tiers, upstream.free)))
}
