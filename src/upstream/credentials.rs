//! [`Credentials`]: the credentials of one upstream, which of them is used next, and which are left alone for a while.
//!
//! What a provider says of a credential decides: a rate limit rests it for that model and as long as the provider asks,
//! a limit that is nearly used up until there is more, a credential that is turned down or has no money for its cooldown.
//! A rest steers and never refuses: where all rest, the one whose rest ends first is used all the same.
//!
//! Invariant: no secret is logged or shown; outside, a credential is its number.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use http::header::{HeaderMap, HeaderName, HeaderValue};

use super::balance::{Busy, Load, home_of, sort};
use super::headers::drop_credentials;
use crate::config::Balance;
use crate::protocol::quota;

/// Models whose rests are told apart, for each credential.
const MODELS_MAX: usize = 1_000;

/// The rest after a 429 that does not say how long.
const RATE_LIMIT_US: u64 = 1_000_000;

/// The longest rest that a provider can ask for.
const REST_US_MAX: u64 = 3_600_000_000;

/// The longest rest of a credential whose limit is nearly used up: limits fill up again all the time.
const NEAR_US_MAX: u64 = 10_000_000;

/// A header that holds a credential.
pub type Header = (HeaderName, HeaderValue);

/// What config says of a credential: its header, where it came from, and its weight.
pub type Said = (Header, Box<str>, u32);

/// All credentials of an upstream.
#[derive(Debug)]
pub struct Credentials {
    all: Vec<Arc<Credential>>,
    balance: Balance,
}

/// One of them.
#[derive(Debug)]
pub struct Credential {
    upstream: Arc<str>,
    /// From 1 on, in the order of the config.
    number: usize,
    /// Where it came from, such as `env OPENAI_API_KEY`.
    origin: Box<str>,
    header: Header,
    load: Arc<Load>,
    cooldown_us: u64,
    /// How many rests there are, so that a credential without any takes no lock.
    resting: AtomicUsize,
    begun: AtomicU64,
    /// By model; all models under no name.
    rests: Mutex<HashMap<Arc<str>, Rest>>,
}

/// A time in which a credential is left alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rest {
    /// When it is over, on the clock's ticks.
    pub until_us: u64,
    /// Why.
    pub why: Why,
}

/// Why a credential is left alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Why {
    /// A limit is nearly used up, as the provider's headers say.
    NearLimit,
    /// The provider has answered 429.
    RateLimited,
    /// The account has no money.
    Exhausted,
    /// It is not accepted.
    TurnedDown,
}

/// Which credential a request prefers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Turn {
    /// The first: what the request goes on from may be stored there.
    Home,
    /// That of its conversation, whose prompt its account has cached.
    Talk(u64),
    /// Whichever is free.
    Any,
}

/// A credential in use.
#[derive(Debug)]
pub struct Lease {
    credential: Arc<Credential>,
    _busy: Busy,
}

/// Credentials that a request has tried, by their numbers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tried(u64);

impl Credentials {
    /// These headers with their origins and weights, in the order of the config. Those that are `known` keep their rests.
    #[must_use]
    pub fn new(
        upstream: &Arc<str>,
        headers: Vec<Said>,
        balance: Balance,
        cooldown: Duration,
        known: Option<&Self>,
    ) -> Self {
        let cooldown_us = micros(cooldown);
        let make = |(at, (header, origin, weight)): (usize, Said)| {
            let number = at + 1;
            let is_same = |old: &&Arc<Credential>| {
                old.header == header
                    && (old.number, old.cooldown_us) == (number, cooldown_us)
                    && old.load.weight() == u64::from(weight)
            };
            let kept = known.and_then(|known| known.all.iter().find(is_same));
            kept.cloned().unwrap_or_else(|| {
                let load = Arc::new(Load::new(weight));
                let (upstream, resting, begun) = (upstream.clone(), AtomicUsize::new(0), AtomicU64::new(0));
                Arc::new(Credential {
                    upstream,
                    number,
                    origin,
                    header,
                    load,
                    cooldown_us,
                    resting,
                    begun,
                    rests: Mutex::default(),
                })
            })
        };
        Self { all: headers.into_iter().enumerate().map(make).collect(), balance }
    }

    /// Whether there are any.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.all.is_empty()
    }

    /// Whether there is more than one.
    #[must_use]
    pub const fn has_choice(&self) -> bool {
        self.all.len() > 1
    }

    /// All of them.
    pub fn iter(&self) -> impl Iterator<Item = &Credential> {
        self.all.iter().map(|credential| &**credential)
    }

    /// A credential for `model` that does not rest and has not been tried; nothing if there is none.
    #[must_use]
    pub fn lease(&self, model: &str, turn: Turn, tried: Tried, now_us: u64) -> Option<Lease> {
        let is_open = |credential: &&Arc<Credential>| {
            !tried.has(credential.number)
                && credential.rest(model, now_us).is_none_or(|rest| rest.why == Why::NearLimit)
        };
        if let [only] = &self.all[..] {
            return Some(only).filter(is_open).map(Credential::lease);
        }
        let mut open: Vec<&Arc<Credential>> = self.all.iter().filter(is_open).collect();
        let has_room = |credential: &&Arc<Credential>| credential.rest(model, now_us).is_none();
        if open.iter().any(has_room) {
            open.retain(has_room);
        }
        let home = match turn {
            Turn::Home => Some(0),
            Turn::Talk(talk) => Some(home_of(talk, self.all.iter().map(|credential| credential.load.weight()))),
            Turn::Any => None,
        };
        let at_home = home.and_then(|home| open.iter().find(|credential| credential.number == home + 1).copied());
        sort(&mut open, |credential| &credential.load, self.balance);
        at_home.or(open.first().copied()).map(Credential::lease)
    }

    /// The credential whose rest for `model` ends first.
    #[must_use]
    pub fn lease_anyway(&self, model: &str, now_us: u64) -> Option<Lease> {
        let rest = |credential: &&Arc<Credential>| credential.rest(model, now_us).map_or(0, |rest| rest.until_us);
        self.all.iter().min_by_key(rest).map(Credential::lease)
    }

    /// Any credential for `model`, one that does not rest if there is one.
    #[must_use]
    pub fn lease_any(&self, model: &str, now_us: u64) -> Option<Lease> {
        self.lease(model, Turn::Any, Tried::default(), now_us).or_else(|| self.lease_anyway(model, now_us))
    }

    /// In how many microseconds one is there for `model`; 0 if one is.
    #[must_use]
    pub fn wait_us(&self, model: &str, now_us: u64) -> u64 {
        let wait = |credential: &Arc<Credential>| match credential.rest(model, now_us) {
            Some(rest) if rest.why != Why::NearLimit => rest.until_us - now_us,
            Some(_) | None => 0,
        };
        self.all.iter().map(wait).min().unwrap_or(0)
    }
}

impl Credential {
    fn lease(self: &Arc<Self>) -> Lease {
        Lease { credential: self.clone(), _busy: self.load.begin() }
    }

    /// Its place in the config, from 1 on.
    #[must_use]
    pub const fn number(&self) -> usize {
        self.number
    }

    /// How often it was left alone.
    #[must_use]
    pub fn begun(&self) -> u64 {
        self.begun.load(Ordering::Relaxed)
    }

    /// Requests that it is used for.
    #[must_use]
    pub fn busy(&self) -> usize {
        self.load.busy()
    }

    /// What it rests of, by model.
    #[must_use]
    pub fn rests(&self, now_us: u64) -> Vec<(Arc<str>, Rest)> {
        let mut all: Vec<_> = self.lock().iter().map(|(model, rest)| (model.clone(), *rest)).collect();
        all.retain(|(_, rest)| rest.until_us > now_us);
        all.sort_by(|a, b| a.0.cmp(&b.0));
        all
    }

    fn rest(&self, model: &str, now_us: u64) -> Option<Rest> {
        if self.resting.load(Ordering::Relaxed) == 0 {
            return None;
        }
        let mut rests = self.lock();
        rests.retain(|_, rest| rest.until_us > now_us);
        self.resting.store(rests.len(), Ordering::Relaxed);
        let found = [rests.get("").copied(), rests.get(model).copied()];
        found.into_iter().flatten().max_by_key(|rest| (rest.why != Why::NearLimit, rest.until_us))
    }

    fn begin_rest(&self, model: &Arc<str>, rest: Rest, now_us: u64) {
        let mut rests = self.lock();
        rests.retain(|_, rest| rest.until_us > now_us);
        let shared = rests.len() >= MODELS_MAX && !rests.contains_key(model);
        let model = if shared { Arc::default() } else { model.clone() };
        let is_new = rests.get(&model).is_none_or(|known| known.why != rest.why);
        if rests.get(&model).is_none_or(|known| known.until_us < rest.until_us || known.why == Why::NearLimit) {
            rests.insert(model.clone(), rest);
        }
        self.resting.store(rests.len(), Ordering::Relaxed);
        drop(rests);
        if is_new {
            self.begun.fetch_add(1, Ordering::Relaxed);
            let (credential, rest_ms, why) =
                (self.number, rest.until_us.saturating_sub(now_us) / 1_000, rest.why.name());
            tracing::warn!(upstream = %self.upstream, credential, origin = %self.origin, model = %model, why, rest_ms, "a credential is left alone");
        }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Arc<str>, Rest>> {
        // What is poisoned holds rests that are whole after each step.
        self.rests.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Lease {
    /// Puts the credential in place of the client's.
    pub fn authorize(&self, headers: &mut HeaderMap) {
        drop_credentials(headers);
        let (name, value) = &self.credential.header;
        headers.insert(name.clone(), value.clone());
    }

    /// The same credential once more.
    #[must_use]
    pub fn again(&self) -> Self {
        self.credential.lease()
    }

    /// Marks it as tried.
    pub fn note(&self, tried: &mut Tried) {
        tried.0 |= 1 << (self.credential.number % 64);
    }

    /// Learns from the head of an answer about `model`; `now` is unix milliseconds and the clock's ticks.
    pub fn learn(&self, model: &Arc<str>, status: u16, headers: &HeaderMap, now: (u64, u64)) {
        let (now_ms, now_us) = now;
        let header = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
        let rest = |wait_us: u64, why| Rest { until_us: now_us.saturating_add(wait_us), why };
        match status {
            401 => self.whole(rest(self.credential.cooldown_us, Why::TurnedDown), now_us),
            402 => self.whole(rest(self.credential.cooldown_us, Why::Exhausted), now_us),
            429 => {
                let said = crate::protocol::again::after_ms(now_ms, &header);
                let wait_us = said.map_or(RATE_LIMIT_US, |wait_ms| wait_ms.saturating_mul(1_000).min(REST_US_MAX));
                self.credential.begin_rest(model, rest(wait_us, Why::RateLimited), now_us);
            }
            _ => {
                let told = || {
                    let told = headers.iter().filter(|(name, _)| quota::tells_limit(name.as_str()));
                    told.filter_map(|(name, value)| Some((name.as_str(), value.to_str().ok()?)))
                };
                if let Some(wait_ms) = quota::nearly_spent(now_ms, told) {
                    let wait_us = wait_ms.saturating_mul(1_000).min(NEAR_US_MAX);
                    self.credential.begin_rest(model, rest(wait_us, Why::NearLimit), now_us);
                }
            }
        }
    }

    /// The account has no money, as the body of an error says.
    pub fn exhaust(&self, now_us: u64) {
        let until_us = now_us.saturating_add(self.credential.cooldown_us);
        self.whole(Rest { until_us, why: Why::Exhausted }, now_us);
    }

    fn whole(&self, rest: Rest, now_us: u64) {
        self.credential.begin_rest(&Arc::default(), rest, now_us);
    }
}

impl Tried {
    const fn has(self, number: usize) -> bool {
        self.0 & (1 << (number % 64)) != 0
    }
}

impl Why {
    /// The word in `/readyz`, metrics and log.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::NearLimit => "near_limit",
            Self::RateLimited => "rate_limited",
            Self::Exhausted => "exhausted",
            Self::TurnedDown => "turned_down",
        }
    }
}

fn micros(time: Duration) -> u64 {
    u64::try_from(time.as_micros()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: u64 = 1_000_000;

    fn credentials(count: usize) -> Credentials {
        let header = |at| (HeaderName::from_static("x-api-key"), HeaderValue::from_str(&format!("k{at}")).unwrap());
        let headers = (0..count).map(|at| (header(at), "env K".into(), 1)).collect();
        Credentials::new(&"u".into(), headers, Balance::LeastBusy, Duration::from_secs(60), None)
    }

    fn answer(lease: &Lease, status: u16, headers: &[(&'static str, &'static str)], now_us: u64) {
        let headers =
            headers.iter().map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_static(value)));
        lease.learn(&"m".into(), status, &headers.collect(), (now_us / 1_000, now_us));
    }

    fn number(all: &Credentials, model: &str, now_us: u64) -> Option<usize> {
        all.lease(model, Turn::Home, Tried::default(), now_us).map(|lease| lease.credential.number)
    }

    #[test]
    fn a_rate_limit_rests_one_model_and_no_money_all() {
        let all = credentials(2);
        let first = all.lease("m", Turn::Home, Tried::default(), 0).unwrap();
        answer(&first, 429, &[("retry-after", "30")], SECOND);
        assert_eq!([number(&all, "m", 2 * SECOND), number(&all, "other", 2 * SECOND)], [Some(2), Some(1)]);
        assert_eq!(number(&all, "m", 31 * SECOND), Some(1));
        answer(&first, 402, &[], 40 * SECOND);
        assert_eq!([number(&all, "m", 41 * SECOND), number(&all, "other", 41 * SECOND)], [Some(2); 2]);
        let second = all.lease("m", Turn::Home, Tried::default(), 41 * SECOND).unwrap();
        second.exhaust(50 * SECOND);
        assert_eq!(number(&all, "m", 51 * SECOND), None);
        assert_eq!(all.wait_us("m", 51 * SECOND), 49 * SECOND);
        // Where all rest, the one that is back first is used all the same.
        assert_eq!(all.lease_anyway("m", 51 * SECOND).unwrap().credential.number, 1);
        assert_eq!(number(&all, "m", 100 * SECOND), Some(1));
    }

    #[test]
    fn a_limit_that_is_nearly_used_up_steers_and_never_stops() {
        let all = credentials(2);
        let first = all.lease("m", Turn::Home, Tried::default(), 0).unwrap();
        let near = [("x-ratelimit-remaining-requests", "0"), ("x-ratelimit-reset-requests", "5s")];
        answer(&first, 200, &near, 0);
        assert_eq!(number(&all, "m", SECOND), Some(2));
        answer(&all.lease("m", Turn::Home, Tried::default(), SECOND).unwrap(), 200, &near, SECOND);
        assert_eq!((number(&all, "m", SECOND), all.wait_us("m", SECOND)), (Some(1), 0));
        let mut tried = Tried::default();
        first.note(&mut tried);
        assert_eq!(all.lease("m", Turn::Home, tried, SECOND).map(|lease| lease.credential.number), Some(2));
    }

    #[test]
    fn free_ones_take_turns_and_what_is_known_stays_known() {
        let all = credentials(3);
        let leases: Vec<Lease> = (0..6).filter_map(|_| all.lease("m", Turn::Any, Tried::default(), 0)).collect();
        assert!(all.iter().all(|credential| credential.busy() == 2));
        leases[0].exhaust(0);
        let header = |at| (HeaderName::from_static("x-api-key"), HeaderValue::from_str(&format!("k{at}")).unwrap());
        let headers = [0, 9].map(|at| (header(at), "env K".into(), 1)).into();
        let after = Credentials::new(&"u".into(), headers, Balance::Weighted, Duration::from_secs(60), Some(&all));
        let known: Vec<bool> = after.iter().map(|credential| !credential.rests(1).is_empty()).collect();
        assert_eq!(known, [true, false]);
    }
}
