//! The config: what was said ([`raw`]), what is meant ([`parts`]), and the only validator between them ([`resolve`]).
//!
//! A file, variables and flags become one [`Config`] or a list of everything that is wrong, each with its place.
//! Keys that this version does not enforce are refused, never ignored. A reload keeps what is fixed while a process runs.
//!
//! Invariant: no secret is ever printed; a [`Secret`] has no other way out than [`Secret::expose`].

mod error;
mod raw;
mod overrides;
mod schema;
mod read;
mod command;
mod secret;
mod glob;
mod subnet;
mod rights;
pub mod ring;
pub mod moment;
mod hosts;
mod presets;
mod connections;
mod parts;
pub mod limits;
mod caps;
pub mod alerts;
mod routing;
mod resilience;
mod cache;
mod resolve;
mod render;
mod fixed;

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

pub use cache::{CACHED, Cache, CacheCase, CacheMode, CachePolicy, CacheRule, CacheScope};
pub use caps::Caps;
pub use connections::{Authorities, Identity, KeyPair, Listen, Network, Proxy, ProxyUse, ServerTls, Way};
pub use error::{Complaint, Errors, Place};
pub use glob::{Glob, GlobError};
pub use parts::{
    Anonymous, BaseUrl, Config, IncludeUsage, Key, Log, LogFormat, LogLevel, Money, OnClientAbort, Server, Store,
    TAG_BYTES_MAX, TAGS_MAX, UnknownPaths, Upstream,
};
pub use resilience::{ApiKey, Balance, Breaking, Fallback, Fallbacks, Patience, Retries, Sharing};
pub use rights::{DefaultRights, Permit, Rights};
pub use routing::{Judge, Routing};
pub use secret::{Secret, Secrets};
pub use subnet::{Subnet, SubnetError};

use error::Complaints;
use raw::{Entry, Node, Value};
use resolve::Setting;
use secret::Vault;

/// The file that is read when none is named, if it exists.
pub const DEFAULT_FILE: &str = "config/tollgate.toml";

/// Environment variables by name.
pub type Environment = BTreeMap<String, String>;

/// What a config is read from, besides the secrets' own files.
#[derive(Clone, Debug, Default)]
pub struct LoadOptions {
    /// The file; without one, [`DEFAULT_FILE`] if it exists, else the built-in defaults.
    pub file: Option<PathBuf>,
    /// `KEY=VALUE` texts of `--set`, in their order.
    pub sets: Vec<String>,
    /// Variables, for secrets and for overrides such as `TOLLGATE_SERVER__LISTEN`.
    pub env: Environment,
    /// Whether secrets are fetched.
    pub secrets: Secrets,
    /// Set once nobody waits for the config any more: then the command of a secret is ended.
    pub given_up: Arc<AtomicBool>,
}

/// What came of reading a config.
#[derive(Debug)]
pub struct Loaded {
    /// The config, or everything that is wrong with it.
    pub config: Result<Config, Errors>,
    /// The files that were read, or should have been: the config's own, certificates and secrets.
    pub files: Vec<PathBuf>,
}

/// The variables of this process whose names and values are UTF-8.
#[must_use]
pub fn environment() -> Environment {
    std::env::vars_os()
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
        .collect()
}

impl Config {
    /// Reads and validates what `options` name.
    ///
    /// # Errors
    /// Everything that is wrong, each thing with its place.
    pub fn load(options: &LoadOptions) -> Result<Self, Errors> {
        Self::load_all(options).config
    }

    /// The same, together with the files that it depends on.
    #[must_use]
    pub fn load_all(options: &LoadOptions) -> Loaded {
        let default = || Some(PathBuf::from(DEFAULT_FILE)).filter(|path| path.exists());
        let file = options.file.clone().or_else(default);
        let files = RefCell::new(Vec::from_iter(file.clone()));
        let config = Self::load_file(options, file, &files);
        Loaded { config, files: files.into_inner() }
    }

    fn load_file(options: &LoadOptions, file: Option<PathBuf>, files: &RefCell<Vec<PathBuf>>) -> Result<Self, Errors> {
        let name = file.as_deref().unwrap_or(Path::new(DEFAULT_FILE)).display().to_string();
        let text = match &file {
            Some(path) => std::fs::read_to_string(path)
                .map_err(|error| Errors::whole(&name, format!("cannot be read: {error}")))?,
            None => String::new(),
        };
        let (sets, secrets, given_up) = (&options.sets, options.secrets, &*options.given_up);
        let said = Said { text: file.as_ref().map(|_| text.as_str()), name: &name, sets, secrets, files, given_up };
        let mut config = said.resolve(&options.env, true)?;
        config.file = file;
        Ok(config)
    }

    /// Validates `text` as the file `name`; `env` serves its secrets and overrides nothing.
    ///
    /// # Errors
    /// Everything that is wrong, each thing with its place.
    pub fn parse(text: &str, name: &str, env: &Environment) -> Result<Self, Errors> {
        Said::alone(Some(text), name, &RefCell::default(), &AtomicBool::new(false)).resolve(env, false)
    }

    /// What `serve` uses without a file: OpenAI, Anthropic and Gemini, each with the API key that `env` has for it.
    ///
    /// # Errors
    /// An API key in `env` that no header can carry.
    pub fn builtin(env: &Environment) -> Result<Self, Errors> {
        Said::alone(None, "built-in defaults", &RefCell::default(), &AtomicBool::new(false)).resolve(env, false)
    }

    /// The config as TOML, with stars for secrets.
    #[must_use]
    pub fn render_starred(&self) -> String {
        render::starred(self)
    }

    /// Twelve hex digits that change with the config; secrets do not count, so that none can be guessed from logs.
    #[must_use]
    pub fn hash(&self) -> String {
        secret::digest_of(&self.render_starred()).iter().take(6).map(|byte| format!("{byte:02x}")).collect()
    }
}

/// A file and what is laid over it.
struct Said<'a> {
    text: Option<&'a str>,
    name: &'a str,
    sets: &'a [String],
    secrets: Secrets,
    /// Gathers what else is read.
    files: &'a RefCell<Vec<PathBuf>>,
    given_up: &'a AtomicBool,
}

impl<'a> Said<'a> {
    /// With nothing laid over it.
    const fn alone(
        text: Option<&'a str>,
        name: &'a str,
        files: &'a RefCell<Vec<PathBuf>>,
        given_up: &'a AtomicBool,
    ) -> Self {
        Self { text, name, sets: &[], secrets: Secrets::Needed, files, given_up }
    }

    fn resolve(&self, env: &Environment, with_variables: bool) -> Result<Config, Errors> {
        let complaints = Complaints::default();
        let mut tree = raw::document(self.text.unwrap_or_default(), &complaints);
        if complaints.any() {
            // What follows a syntax error may be read wrongly, and complaints about it would mislead.
            return Err(complaints.into_errors(self.name));
        }
        add_built_in_upstreams(&mut tree, env);
        if with_variables {
            overrides::from_environment(&mut tree, env, &complaints);
        }
        overrides::from_flags(&mut tree, self.sets, &complaints);
        let folder = self.text.and(Path::new(self.name).parent()).unwrap_or(Path::new(""));
        let vault = Vault { env, folder, secrets: self.secrets, files: self.files, given_up: self.given_up };
        let setting = Setting { without_file: self.text.is_none(), vault };
        let config = resolve::config(&tree, &setting, &complaints);
        if complaints.any() { Err(complaints.into_errors(self.name)) } else { Ok(config) }
    }
}

/// Adds the upstreams that a file without any has: an API key only where its variable holds one.
fn add_built_in_upstreams(tree: &mut Vec<Entry>, env: &Environment) {
    let says_none = |entry: &Entry| entry.node.value.table().is_some_and(<[Entry]>::is_empty);
    tree.retain(|entry| &*entry.name != "upstreams" || !says_none(entry));
    if tree.iter().any(|entry| &*entry.name == "upstreams") {
        return;
    }
    let upstream = |(name, url, variable): &(&str, &str, &str)| {
        let text = |text: &str| Value::Text(text.to_owned());
        let mut keys = vec![entry("base_url", text(url))];
        if env.get(*variable).is_some_and(|key| !key.is_empty()) {
            keys.push(entry("api_key", Value::Table(vec![entry("env", text(variable))])));
        }
        entry(name, Value::Table(keys))
    };
    tree.push(entry("upstreams", Value::Table(hosts::BUILT_IN.iter().map(upstream).collect())));
}

fn entry(name: &str, value: Value) -> Entry {
    Entry { name: name.into(), place: Place::BuiltIn, node: Node { place: Place::BuiltIn, value } }
}
