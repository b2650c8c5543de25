//! What is meant: the validated parts of a config, in plain types.
//!
//! Sizes are bytes and times are [`Duration`]s here, whatever unit the file uses.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use http::uri::{Authority, Scheme};
use jiff::tz::TimeZone;

use super::alerts::Alerts;
use super::cache::Cache;
use super::caps::Caps;
use super::connections::{Listen, Network, ServerTls, Way};
use super::glob::Glob;
use super::limits::LimitBook;
use super::resilience::{ApiKey, Breaking, Fallbacks, Patience, Retries, Sharing};
use super::rights::{DefaultRights, Permit, Rights};
use super::routing::Routing;
use super::secret::{Digest, Secret, digest_of};
use crate::domain::account::Account;
use crate::domain::cap::Share;
use crate::domain::operation::Dialect;
use crate::domain::price::Override;

/// Tags that one key or one request may carry.
pub const TAGS_MAX: usize = 8;

/// Bytes of one tag, written as `name=value`.
pub const TAG_BYTES_MAX: usize = 64;

/// A whole, valid config. It never changes; a reload makes another one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// The file it was read from; nothing for the built-in defaults.
    pub file: Option<PathBuf>,
    /// Listeners and their bounds.
    pub server: Server,
    /// The journal and its index.
    pub store: Store,
    /// What concerns money everywhere.
    pub money: Money,
    /// The log.
    pub log: Log,
    /// What holds for all upstreams.
    pub network: Network,
    /// Provider endpoints in the order of the file.
    pub upstreams: Vec<Arc<Upstream>>,
    /// Declared teams.
    pub teams: BTreeSet<Arc<str>>,
    /// Users, declared or named by a key, and their team.
    pub users: BTreeMap<Arc<str>, Option<Arc<str>>>,
    /// Keys by id.
    pub keys: BTreeMap<Arc<str>, Arc<Key>>,
    /// Who may ask how often.
    pub limits: LimitBook,
    /// Prices by model, laid field by field over the built-in book.
    pub prices: BTreeMap<Box<str>, Override>,
    /// Who may spend how much.
    pub caps: Caps,
    /// `[alerts]`.
    pub alerts: Alerts,
    /// Which model answers.
    pub routing: Routing,
    /// Who is asked where an upstream has failed.
    pub fallbacks: Fallbacks,
    /// Which answers are kept.
    pub cache: Cache,
    /// What callers may do whom no section names.
    pub default_rights: DefaultRights,
    /// Keys that were made at run time.
    pub ring: super::ring::Lent,
    /// Keys by the digest of their secret.
    pub(super) by_digest: KeyIndex,
}

/// Keys by the digest of their secret; it prints neither.
#[derive(Clone, Default, PartialEq, Eq)]
pub(super) struct KeyIndex(pub HashMap<Digest, Arc<Key>>);

/// `[server]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Server {
    /// Where clients connect.
    pub listen: Listen,
    /// TLS for clients; without it, they connect in plain text.
    pub tls: Option<ServerTls>,
    /// Permissions of a socket in the file system.
    pub socket_mode: u32,
    /// Where the admin interface answers.
    pub admin_listen: SocketAddr,
    /// The admin token; without one, a token is made at start.
    pub admin_token: Option<Secret>,
    /// Whether a credential that is no Tollgate key is forwarded to an upstream without an `api_key`.
    pub allow_passthrough_credentials: bool,
    /// Who may call without a Tollgate key and use the upstream's own.
    pub anonymous: Anonymous,
    /// What happens to paths that Tollgate does not know.
    pub unknown_paths: UnknownPaths,
    /// Bytes of one request body.
    pub body_limit_bytes: u64,
    /// Bytes of all request bodies in memory.
    pub body_memory_bytes: u64,
    /// Longest silence while a request body is read.
    pub body_timeout: Duration,
    /// Open client connections.
    pub connections_max: usize,
    /// Requests at once; nothing is no limit.
    pub in_flight_max: Option<usize>,
    /// Requests that may wait for one of those to end.
    pub queue_max: usize,
    /// How long each of them may wait.
    pub queue_wait: Duration,
    /// Longest wait for a whole request head, on a new connection or one kept alive: slow heads and idle time.
    pub header_timeout: Duration,
    /// Bytes of a request head.
    pub header_bytes_max: usize,
    /// Requests at once on one HTTP/2 connection.
    pub http2_streams_max: u32,
    /// Longest time in which a client may take nothing of its answer.
    pub write_timeout: Duration,
    /// How long requests may finish after SIGTERM.
    pub drain: Duration,
    /// Worker threads; nothing is one for each core.
    pub threads: Option<usize>,
}

/// Who may call without a Tollgate key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Anonymous {
    /// Nobody.
    Off,
    /// Whoever connects from this machine, as the caller `local`.
    Loopback,
}

/// What happens to a path that Tollgate does not know.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UnknownPaths {
    /// 404 in the nearest dialect.
    Refuse,
    /// Forwarded, authenticated and recorded.
    Forward,
}

/// `[store]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Store {
    /// The folder of the journal, the index and the control socket; relative to the working folder.
    pub path: PathBuf,
    /// How long a start waits for the process before it to let go of the folder.
    pub lock_wait: Duration,
    /// Longest wait of a record for its group's fdatasync.
    pub sync_interval: Duration,
    /// Bytes after which the journal starts another segment.
    pub segment_bytes: u64,
    /// Records that may wait for the disk; beyond, requests are refused with 503.
    pub unsynced_records_max: usize,
    /// Days after which journal files are dropped and only their sums kept; `None` keeps everything.
    pub retention_days: Option<u32>,
}

/// `[money]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Money {
    /// The zone of calendar days, weeks and months, by its IANA name.
    pub time_zone: TimeZone,
    /// The status of a request that a cap refuses: 400, 402, 403 or 429.
    pub refusal_status: u16,
    /// What happens upstream when a client leaves in mid-stream.
    pub on_client_abort: OnClientAbort,
    /// Longest time that an abandoned stream is read on for its usage.
    pub drain_max: Duration,
    /// Most bytes that are read from an abandoned stream.
    pub drain_bytes_max: u64,
    /// How old a hold must be that a dead process left, until its request is entered as unsettled.
    pub hold_expiry: Duration,
    /// The part of a cap that may be held without being durable.
    pub unsynced_share: Share,
    /// How many output tokens a metered hold is ahead of what has passed.
    pub metered_tokens: u64,
}

/// What happens upstream when a client leaves in mid-stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OnClientAbort {
    /// The rest is read for its usage, within bounds.
    Drain,
    /// The upstream connection is closed at once.
    Cancel,
}

/// `[log]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Log {
    /// How a line is written.
    pub format: LogFormat,
    /// The least important level that is written.
    pub level: LogLevel,
    /// The file it is appended to; nothing is stderr.
    pub path: Option<PathBuf>,
}

/// How a log line is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogFormat {
    /// One JSON object a line.
    Json,
    /// For people.
    Text,
}

/// How important a log line must be to be written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum LogLevel {
    /// A request was not served because of us.
    Error,
    /// Recovered.
    Warn,
    /// Start, stop, config, and one line for each request.
    Info,
    /// For developers.
    Debug,
}

/// `[upstreams.NAME]`: a provider endpoint.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Upstream {
    /// Its name in config, in `/u/NAME/` and in the ledger.
    pub name: Arc<str>,
    /// The wire API that it speaks.
    pub dialect: Dialect,
    /// Where it is.
    pub base_url: BaseUrl,
    /// Our credentials; without one, the client's own passes through.
    pub api_keys: Vec<ApiKey>,
    /// Requested models that are served here.
    pub models: Vec<Glob>,
    /// Whether `stream_options.include_usage` is added to streams that do not say.
    pub include_usage: IncludeUsage,
    /// The provider's name in the price book.
    pub provider: Arc<str>,
    /// Whether its models cost nothing, since they run on one's own machines.
    pub free: bool,
    /// Whether the `/v1` in front of a request's path is dropped here.
    pub drop_version: bool,
    /// How it is reached.
    pub way: Way,
    /// Longest time to connect, tunnel and TLS included.
    pub connect_timeout: Duration,
    /// Longest wait for the first byte of an answer.
    pub first_byte_timeout: Duration,
    /// Longest silence within an answer.
    pub idle_timeout: Duration,
    /// How long whole answers may take, and what clients of silent streams get.
    pub patience: Patience,
    /// How long an unused connection is kept; shorter than the provider keeps it.
    pub pool_idle: Duration,
    /// How long connections are used; zero: as long as they last.
    pub pool_age: Duration,
    /// Unused connections that are kept.
    pub pool_max_idle: usize,
    /// How often it is asked again.
    pub retries: Retries,
    /// When it is left alone.
    pub breaking: Breaking,
    /// How it shares work with its equals, and its credentials with each other.
    pub sharing: Sharing,
}

/// Whether `stream_options.include_usage` is added where a client did not say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum IncludeUsage {
    /// Added upstream and removed downstream.
    Splice,
    /// Requests stay as they are.
    Keep,
}

/// Where an upstream is: no credentials, no query, no slash at the end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BaseUrl {
    /// `http` or `https`.
    pub scheme: Scheme,
    /// Host, and port where it is not the scheme's own.
    pub authority: Authority,
    /// What stands before the request's own path: empty, or with a slash in front and none at the end.
    pub prefix: Arc<str>,
}

/// `[keys.NAME]`: a Tollgate key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Key {
    /// Whom its requests are billed to. The key's own team goes before that of its user.
    pub account: Account,
    /// Whether `x-tollgate-user` may name the user.
    pub attribute: bool,
    /// What callers present: one of these, of which there are two while one takes the place of the other.
    pub secrets: Vec<Secret>,
    /// What it may be used for; nothing is everything.
    pub rights: Option<Arc<Rights>>,
    /// From when on it is refused, unix milliseconds.
    pub expires_ms: Option<u64>,
}

impl Config {
    /// The upstream called `name`.
    #[must_use]
    pub fn upstream(&self, name: &str) -> Option<&Arc<Upstream>> {
        self.upstreams.iter().find(|upstream| &*upstream.name == name)
    }

    /// Where a request for `model` goes: the first upstream of `dialect` that names the model, else its first.
    #[must_use]
    pub fn upstream_for(&self, dialect: Dialect, model: &str) -> Option<&Arc<Upstream>> {
        let mut speakers = self.upstreams.iter().filter(|upstream| upstream.dialect == dialect);
        let first = speakers.clone().next();
        speakers.find(|upstream| upstream.serves(model)).or(first)
    }

    /// The key whose secret is `presented`. Looked up by its SHA-256, so that time tells nothing about the secrets.
    #[must_use]
    pub fn key(&self, presented: &str) -> Option<&Arc<Key>> {
        self.by_digest.0.get(&digest_of(presented))
    }
}

impl Key {
    /// What its callers may do. It is named in the config, so that no default applies.
    #[must_use]
    pub fn permit(&self) -> Permit {
        Permit::new(self.rights.clone(), None)
    }

    /// Whether it has ended at `now_ms`.
    #[must_use]
    pub fn is_over(&self, now_ms: u64) -> bool {
        self.expires_ms.is_some_and(|expires_ms| expires_ms <= now_ms)
    }
}

impl Upstream {
    /// The region whose surcharge applies: that of OpenAI's regional hosts (`us.api.openai.com`), by
    /// <https://platform.openai.com/docs/guides/your-data#data-residency-controls>.
    #[must_use]
    pub fn residency(&self) -> Option<&str> {
        const OPENAI: &str = ".api.openai.com";
        let authority = &self.base_url.authority;
        // Each price asks, and nearly no host is one.
        let may_be = authority.as_str().as_bytes().windows(OPENAI.len()).any(|part| part == OPENAI.as_bytes());
        if may_be { authority.host().strip_suffix(OPENAI) } else { None }
    }

    /// Whether `models` names `model`.
    #[must_use]
    pub fn serves(&self, model: &str) -> bool {
        self.models.iter().any(|glob| glob.matches(model))
    }
}

impl fmt::Debug for KeyIndex {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "KeyIndex({})", self.0.len())
    }
}

impl fmt::Display for BaseUrl {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{}://{}{}", self.scheme, self.authority, self.prefix)
    }
}
