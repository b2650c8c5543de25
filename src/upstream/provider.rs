//! [`Provider`]: an upstream ready to be called: its place, its credential, its connections.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use arc_swap::ArcSwap;
use http::header::{AUTHORIZATION, HeaderName, HeaderValue};
use http::uri::PathAndQuery;
use http::{Request, Uri};

use super::balance::{Busy, Load};
use super::breaker::Breakers;
use super::budget::Budget;
use super::client::{Client, ClientOptions, ResponseFuture};
use super::credentials::Credentials;
use super::headers::{API_KEY, KEY_PREFIX, X_API_KEY, X_GOOG_API_KEY, query_without_key};
use super::names::Names;
use super::rope::Rope;
use crate::config::{ApiKey, Upstream};
use crate::domain::operation::Dialect;

/// The price book's name for Azure, whose key stands in a header of its own.
const AZURE: &str = "azure";

/// An upstream with its connections.
#[derive(Debug)]
pub struct Provider {
    /// What config says of it.
    pub config: Arc<Upstream>,
    /// Which of its models fail.
    pub breakers: Arc<Breakers>,
    /// How many requests may be sent again.
    pub budget: Arc<Budget>,
    /// Its credentials.
    pub credentials: Credentials,
    /// How busy it is, where it has equals.
    pub load: Arc<Load>,
    client: ArcSwap<Client>,
    names: Names,
    /// When its connections are left behind, on the clock's ticks; 0: it has not been looked at.
    stale_at_us: AtomicU64,
}

/// Why a request cannot be addressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BadTarget;

impl Provider {
    /// Connections to `config`, whose name `names` know.
    ///
    /// # Errors
    /// A certificate or key that cannot be used, or the credential cannot stand in a header.
    pub fn new(config: Arc<Upstream>, names: Names) -> Result<Self, Box<dyn std::error::Error + Send + Sync>> {
        let client = Client::new(options(&config), &config.base_url, &config.way, names.clone())?;
        Self::over(client, config, names, None)
    }

    /// The same upstream with another `config`, over the connections that there are if it is reached as before.
    ///
    /// # Errors
    /// As [`Provider::new`].
    pub fn renewed(&self, config: Arc<Upstream>) -> Result<Self, Box<dyn std::error::Error + Send + Sync>> {
        let reached = |config: &Upstream| (options(config), config.base_url.clone(), config.way.clone());
        match reached(&self.config) == reached(&config) {
            true => Self::over(Client::clone(&self.client.load()), config, self.names.clone(), Some(self)),
            false => Self::new(config, self.names.clone()),
        }
    }

    /// What was found out of the same upstream `before` stays known.
    fn over(
        client: Client,
        config: Arc<Upstream>,
        names: Names,
        before: Option<&Self>,
    ) -> Result<Self, Box<dyn std::error::Error + Send + Sync>> {
        let key = |key: &ApiKey| {
            let header = credential(&config, key.secret.expose())?;
            Ok::<_, http::header::InvalidHeaderValue>((header, key.secret.origin().into(), key.weight))
        };
        let (sharing, keys) = (&config.sharing, config.api_keys.iter().map(key).collect::<Result<Vec<_>, _>>()?);
        let known = before.map(|before| &before.credentials);
        let credentials = Credentials::new(&config.name, keys, sharing.balance, sharing.cooldown, known);
        let breakers = match before.filter(|before| before.config.breaking == config.breaking) {
            Some(before) => before.breakers.clone(),
            None => Arc::new(Breakers::new(config.name.clone(), config.breaking)),
        };
        let percent = config.retries.budget_percent;
        let budget = match before.filter(|before| before.config.retries.budget_percent == percent) {
            Some(before) => before.budget.clone(),
            None => Arc::new(Budget::new(percent)),
        };
        let load = match before.filter(|before| before.config.sharing.weight == sharing.weight) {
            Some(before) => before.load.clone(),
            None => Arc::new(Load::new(sharing.weight)),
        };
        let (client, stale_at_us) = (ArcSwap::from_pointee(client), AtomicU64::new(0));
        Ok(Self { config, breakers, budget, credentials, load, client, names, stale_at_us })
    }

    /// Whether it has a credential of its own, so that a client's never reaches it.
    #[must_use]
    pub const fn has_credential(&self) -> bool {
        !self.credentials.is_empty()
    }

    /// Whether an attempt for `model` makes sense: it is not known to fail, and a credential does not rest.
    #[must_use]
    pub fn is_open(&self, model: &str, now_us: u64) -> bool {
        self.breakers.lets_through(model, now_us) && self.credentials.wait_us(model, now_us) == 0
    }

    /// That the upstream works at a request, for its equals.
    #[must_use]
    pub fn begin(&self) -> Option<Busy> {
        self.config.sharing.group.as_ref().map(|_| self.load.begin())
    }

    /// See [`Upstream::residency`].
    #[must_use]
    pub fn residency(&self) -> Option<&str> {
        self.config.residency()
    }

    /// The address of `path` (with its query) here.
    ///
    /// # Errors
    /// The joined path is none.
    pub fn address(&self, path: &str, query: Option<&str>) -> Result<Uri, BadTarget> {
        let base = &self.config.base_url;
        let unversioned = path.strip_prefix("/v1").filter(|rest| self.config.drop_version && rest.starts_with('/'));
        let path = unversioned.unwrap_or(path);
        let drop_key = |key: &str| self.has_credential() || key.starts_with(KEY_PREFIX);
        let query = query.and_then(|query| query_without_key(query, drop_key));
        let target = match query {
            Some(query) => [&*base.prefix, path, "?", &query].concat(),
            None => [&*base.prefix, path].concat(),
        };
        let mut parts = http::uri::Parts::default();
        parts.scheme = Some(base.scheme.clone());
        parts.authority = Some(base.authority.clone());
        parts.path_and_query =
            Some(PathAndQuery::from_maybe_shared(bytes::Bytes::from(target)).map_err(|_| BadTarget)?);
        Uri::from_parts(parts).map_err(|_| BadTarget)
    }

    /// Leaves connections behind that are as old as config lets them grow, so that names are resolved anew: a provider that has
    /// moved would not be followed while its old place stays busy. What is under way on them goes on to its end.
    pub fn renew_connections(&self, now_us: u64) {
        let age_us = u64::try_from(self.config.pool_age.as_micros()).unwrap_or(u64::MAX);
        let stale_at_us = self.stale_at_us.load(Ordering::Relaxed);
        if age_us == 0 || now_us < stale_at_us {
            return;
        }
        self.stale_at_us.store(now_us.saturating_add(age_us), Ordering::Relaxed);
        if stale_at_us > 0 {
            self.client.store(Arc::new(self.client.load().emptied()));
        }
    }

    /// Sends a request that [`address`](Self::address) addressed.
    pub fn send(&self, request: Request<Rope>) -> ResponseFuture {
        self.client.load().send(request)
    }
}

fn options(config: &Upstream) -> ClientOptions {
    ClientOptions {
        connect_timeout: config.connect_timeout,
        idle_timeout: config.pool_idle,
        idle_max: config.pool_max_idle,
    }
}

fn credential(config: &Upstream, key: &str) -> Result<(HeaderName, HeaderValue), http::header::InvalidHeaderValue> {
    let (name, text) = match config.dialect {
        Dialect::OpenAi if &*config.provider == AZURE => (API_KEY, key.to_owned()),
        Dialect::OpenAi => (AUTHORIZATION, format!("Bearer {key}")),
        Dialect::Anthropic => (X_API_KEY, key.to_owned()),
        Dialect::Gemini => (X_GOOG_API_KEY, key.to_owned()),
    };
    let mut value = HeaderValue::try_from(text)?;
    value.set_sensitive(true);
    Ok((name, value))
}
