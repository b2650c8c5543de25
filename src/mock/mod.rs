//! THE MOCK: a provider that speaks all dialects, behind `tollgate demo` and behind the tests.
//!
//! It answers like a provider as far as a client can tell: text, streams, tools, embeddings, output limits, a prompt
//! cache, errors; it keeps a bill of its own, and it fails in every way that it is asked to. Everything it knows of a
//! request it learns from the request, so that nothing has to be set up.
//!
//! | `x-mock-` header | effect | | path | |
//! |---|---|---|---|---|
//! | `tokens`, `reasoning-tokens` | length of the answer | | `GET /_mock/bill?last=N` | sums and lines |
//! | `tool` | which of the client's tools is called, or `none` | | | |
//! | `served-model`, `served-tier` | what the answer and the bill name | | | |
//! | `ttft-ms`, `chunk-ms`, `latency-ms`, `chunks` | pace | | `GET /_mock/requests?last=N` | requests as they came |
//! | `gate`, `gate-after` | stop until the gate opens | | `POST /_mock/gate/NAME`, `GET …?arrived=N` | open; wait |
//! | `fault`, `fault-after`, `-every`, `-times`, `-key`, `-model`, `retry-after` | what goes wrong | | `GET`, `POST /_mock/config` | for all requests |
//! | | | | `POST /_mock/reset`, `GET /_mock/stats` | |
//!
//! Invariant: the bill shares no code with Tollgate's metering and pricing, only the arithmetic of money.
//! Invariant: no request makes it panic or keeps more than the limits in [`Options`] in memory.

mod server;
mod exchange;
mod route;
mod coding;
mod settings;
mod ask;
mod schema;
mod brain;
mod memory;
mod openai;
mod responses;
mod anthropic;
mod gemini;
mod vectors;
mod sse;
mod problem;
mod faults;
mod script;
mod gate;
mod bill;
mod prices;
mod seen;
mod control;

pub use bill::{Bill, Counted, Line};
pub use gate::Gate;
pub use seen::Request;
pub use settings::{Coding, Fault, Settings};

use bill::Bill as Ledger;
use brain::Answer;
use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

/// Keys of faults that are counted at once.
const FAULT_KEYS_MAX: usize = 10_000;

/// Says what time it is, in unix milliseconds.
pub type Now = Arc<dyn Fn() -> u64 + Send + Sync>;

/// What a mock is built from.
#[derive(Clone)]
pub struct Options {
    /// The time, for `created` fields and the lifetime of the prompt cache.
    pub now_ms: Now,
    /// What holds for every request that says nothing else.
    pub settings: Settings,
    /// Bytes of a request's body, also after decompression.
    pub body_bytes_max: usize,
    /// Lines that the bill keeps; its sums hold all.
    pub bill_lines_max: usize,
    /// Requests that are kept to be looked at; 0 keeps none.
    pub requests_max: usize,
    /// Bytes of their bodies together.
    pub requests_bytes_max: usize,
    /// Connections at once; more wait.
    pub connections_max: usize,
}

/// The provider.
pub struct Mock {
    options: Options,
    settings: Mutex<Settings>,
    /// How often each fault key was met.
    faults: Mutex<HashMap<String, u64>>,
    bill: Arc<Ledger>,
    memory: memory::Memory,
    seen: seen::Seen,
    gates: gate::Gates,
    stats: Stats,
}

/// Counts since the start.
#[derive(Debug, Default)]
struct Stats {
    requests: AtomicU64,
    streams: AtomicU64,
    faults: AtomicU64,
    bytes_in: AtomicU64,
    in_flight: AtomicU64,
    connections: AtomicU64,
}

/// What a dialect renders an answer from.
struct Sheet<'a> {
    number: u64,
    created_s: u64,
    model: &'a str,
    service_tier: Option<&'a str>,
    answer: &'a Answer,
    /// `None` if the answer must not say it.
    usage: Option<&'a Counted>,
    chunks: Option<usize>,
}

impl Options {
    /// The usual limits, with this clock.
    #[must_use]
    pub fn new(now_ms: Now) -> Self {
        Self {
            now_ms,
            settings: Settings::default(),
            body_bytes_max: 128 << 20,
            bill_lines_max: 100_000,
            requests_max: 10_000,
            requests_bytes_max: 64 << 20,
            connections_max: 10_000,
        }
    }
}

impl Mock {
    /// A mock that has seen nothing yet.
    #[must_use]
    pub fn new(options: Options) -> Arc<Self> {
        Arc::new(Self {
            settings: Mutex::new(options.settings.clone()),
            faults: Mutex::default(),
            bill: Arc::new(Ledger::new(options.bill_lines_max)),
            memory: memory::Memory::default(),
            seen: seen::Seen::new(options.requests_max, options.requests_bytes_max),
            gates: gate::Gates::default(),
            stats: Stats::default(),
            options,
        })
    }

    /// The bill.
    #[must_use]
    pub fn bill(&self) -> &Bill {
        &self.bill
    }

    /// The last requests as they arrived, oldest first.
    #[must_use]
    pub fn requests(&self) -> Vec<Request> {
        self.seen.list()
    }

    /// How many requests have arrived since the mock was built, whether kept or not.
    #[must_use]
    pub fn requests_total(&self) -> u64 {
        self.stats.requests.load(Ordering::Relaxed)
    }

    /// The gate of this name.
    #[must_use]
    pub fn gate(&self, name: &str) -> Arc<Gate> {
        self.gates.get(name)
    }

    /// What holds for requests that say nothing else.
    #[must_use]
    pub fn settings(&self) -> Settings {
        self.settings.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Changes that.
    pub fn set(&self, settings: Settings) {
        *self.settings.lock().unwrap_or_else(PoisonError::into_inner) = settings;
    }

    /// Forgets requests, bill, prompt cache and settings, and opens all gates.
    pub fn reset(&self) {
        self.set(self.options.settings.clone());
        self.faults.lock().unwrap_or_else(PoisonError::into_inner).clear();
        self.bill.clear();
        self.memory.clear();
        self.seen.clear();
        self.gates.clear();
    }

    /// The fault that strikes a request for `model`, if one does; counts the meeting.
    fn struck(&self, settings: &Settings, model: &str) -> Option<Fault> {
        let fault = settings.fault.filter(|_| model.starts_with(&settings.fault_model))?;
        let mut met = self.faults.lock().unwrap_or_else(PoisonError::into_inner);
        if met.len() >= FAULT_KEYS_MAX && !met.contains_key(&settings.fault_key) {
            met.clear();
        }
        let times = met.entry(settings.fault_key.clone()).or_default();
        *times += 1;
        let turn = settings.fault_every.is_none_or(|every| times.is_multiple_of(every.max(1)));
        let strikes = turn && settings.fault_times.is_none_or(|most| *times <= most);
        strikes.then(|| {
            self.stats.faults.fetch_add(1, Ordering::Relaxed);
            fault
        })
    }
}

impl Sheet<'_> {
    fn id(&self, prefix: &str) -> String {
        format!("{prefix}{:016x}", self.number)
    }

    fn call_id(&self, index: usize) -> String {
        format!("call_mock{:012x}{index:04x}", self.number)
    }

    fn tool_use_id(&self) -> String {
        self.id("toolu_mock")
    }
}
