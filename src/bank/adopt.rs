//! Adopt: another config's caps, while requests are in flight.
//!
//! Amounts and policies are asked of the config at each hold, and change between two of them. Where caps count another
//! scope or window than before, what was spent in it is counted from the ledger, as a start would. That is done twice: first
//! all of it while requests go on, then the little that was added meanwhile, while new holds wait.
//!
//! Invariant: after it, every attempt that was ever opened counts in every window in which it should: closed ones at their
//! cost, open ones at their quote until they are closed.

use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use ring::digest;
use tokio::sync::Notify;

use super::local::Local;
use super::{Bank, lock, rebuild};
use crate::config::Config;
use crate::domain::account::Scope;
use crate::domain::adjustment::Direction;
use crate::domain::cap::{Capped, Policy, Window};
use crate::domain::ids::AttemptId;
use crate::domain::money::Usd;
use crate::store::{Close, Open, ReadError, Reader, Record, Spent, StoreError, spent};

/// How long a hold that was under way when new ones began to wait is waited for. It takes less than a microsecond.
const PAUSE: Duration = Duration::from_micros(50);

/// Holds wait here while the caps change, and attempts that were open then wait here for their cost.
#[derive(Debug, Default)]
pub(super) struct Adoption {
    /// Held while caps change or the books are corrected.
    pub turn: tokio::sync::Mutex<()>,
    /// How often what caps count has changed.
    mark: AtomicU64,
    is_closed: AtomicBool,
    /// Holds under way.
    holding: AtomicUsize,
    opened: Notify,
    /// Whether there is anything in `late`.
    has_late: AtomicBool,
    late: Mutex<Late>,
    /// What caps count now: keys that are made at run time change it as well.
    shape: Mutex<Shape>,
}

/// A hold under way.
#[derive(Debug)]
pub(super) struct Holding<'a>(&'a Adoption);

/// Closes the way to holds until it is dropped.
struct Closed<'a>(&'a Adoption);

/// Attempts that were open when the caps changed.
#[derive(Debug, Default)]
struct Late {
    /// What attempts have cost that were closed while the ledger was read.
    closed: Option<HashMap<AttemptId, Usd>>,
    /// Attempts that count at their quote, and where.
    open: HashMap<AttemptId, Quoted>,
}

#[derive(Debug)]
struct Quoted {
    capped: Vec<Capped>,
    at_ms: u64,
    quote: Usd,
}

/// What caps count, without their amounts: equal if the same spend counts in the same windows.
#[derive(Debug, Default, PartialEq, Eq)]
struct Shape {
    /// Scopes, `*` for the defaults of their kind, and their windows.
    windows: BTreeMap<(&'static str, String), Vec<Window>>,
    /// Keys and users that the config names, who do not get the defaults; and the keys' tags, which caps count by.
    named: Vec<String>,
}

/// The ledger as far as it has been read.
struct Recount {
    config: Arc<Config>,
    local: Local,
    /// Attempts without an entry.
    open: HashMap<AttemptId, (Open, Option<Close>)>,
    next_seq: u64,
}

/// Why the caps stay as they are.
#[derive(Debug)]
pub enum NotAdopted {
    /// What was spent cannot be read.
    Unreadable(ReadError),
    /// What was spent cannot be written down.
    Unwritten(StoreError),
    /// The reading broke off.
    BrokenOff,
}

impl Bank {
    /// Goes over to the caps of `config`, which `publish` shows to requests. Holds stay as they are.
    ///
    /// # Errors
    /// The ledger cannot be read, from which new caps take what was spent.
    pub async fn adopt(&self, config: &Arc<Config>, publish: impl FnOnce()) -> Result<(), NotAdopted> {
        let _turn = self.adoption.turn.lock().await;
        self.go_over(config, publish).await
    }

    /// Counts anew if a key that was made means that caps count more than they did; `config` gives the one in force.
    ///
    /// # Errors
    /// The ledger cannot be read, from which caps take what was spent.
    pub async fn recount(&self, config: impl FnOnce() -> Arc<Config>) -> Result<(), NotAdopted> {
        let _turn = self.adoption.turn.lock().await;
        self.go_over(&config(), || ()).await
    }

    async fn go_over(&self, config: &Arc<Config>, publish: impl FnOnce()) -> Result<(), NotAdopted> {
        let shape = Shape::of(config);
        if config.caps.is_empty() || *lock(&self.adoption.shape) == shape {
            // Whoever has asked for the amounts before, and is not held by them yet, asks again.
            let closed = self.adoption.close().await;
            publish();
            self.configure(config);
            self.adoption.know(shape);
            self.adoption.mark.fetch_add(1, Ordering::SeqCst);
            drop(closed);
            return Ok(());
        }
        let (begun, now_ms) = (Recount::new(config.clone()), self.now_ms());
        let recount = off(move || begun.read_all(now_ms)).await?;
        let closed = self.adoption.close().await;
        lock(&self.adoption.late).begin();
        self.adoption.has_late.store(true, Ordering::SeqCst);
        let counted = async {
            self.journal.flush().await.map_err(NotAdopted::Unwritten)?;
            off(move || recount.read_rest()).await
        };
        let recount = match counted.await {
            Ok(recount) => recount,
            Err(error) => {
                lock(&self.adoption.late).closed = None;
                return Err(error);
            }
        };
        publish();
        self.take_over(recount);
        self.configure(config);
        self.adoption.know(shape);
        self.adoption.mark.fetch_add(1, Ordering::SeqCst);
        drop(closed);
        Ok(())
    }

    /// By which caps a hold is taken; asked before the config is, so that it changes after it at the latest.
    #[must_use]
    pub fn mark(&self) -> u64 {
        self.adoption.mark.load(Ordering::SeqCst)
    }

    /// An attempt has cost so much, which may have counted at its quote.
    pub(super) fn note_cost(&self, attempt: AttemptId, cost: Usd) {
        if !self.adoption.has_late.load(Ordering::SeqCst) {
            return;
        }
        let mut late = lock(&self.adoption.late);
        if let Some(closed) = &mut late.closed {
            closed.insert(attempt, cost);
        }
        if let Some(Quoted { capped, at_ms, quote }) = late.open.remove(&attempt) {
            // The cost first: what is free for a moment in between could be taken.
            self.local.post(&capped, at_ms, cost, Direction::Charge);
            self.local.post(&capped, at_ms, quote, Direction::Credit);
        }
        let is_over = late.closed.is_none() && late.open.is_empty();
        self.adoption.has_late.store(!is_over, Ordering::SeqCst);
    }

    /// Counts by what was read, and what of it is still open.
    fn take_over(&self, recount: Recount) {
        let Recount { config, local, open, .. } = recount;
        let mut late = lock(&self.adoption.late);
        let closed = late.closed.take().unwrap_or_default();
        late.open.clear();
        for (attempt, (open, close)) in open {
            let capped = config.capped(&open.account, &open.model);
            let quote = open.quote.unwrap_or_default();
            let cost = close.map(|close| close.cost.unwrap_or_default()).or_else(|| closed.get(&attempt).copied());
            local.post(&capped, open.at_ms, cost.unwrap_or(quote), Direction::Charge);
            if cost.is_none() && !capped.is_empty() {
                late.open.insert(attempt, Quoted { capped, at_ms: open.at_ms, quote });
            }
        }
        self.local.replace(local);
    }
}

impl Adoption {
    /// For caps that count what `config` says.
    pub fn of(config: &Config) -> Self {
        Self { shape: Mutex::new(Shape::of(config)), ..Self::default() }
    }

    fn know(&self, shape: Shape) {
        *lock(&self.shape) = shape;
    }

    /// Begins a hold; `None` if it has to wait, or counts by caps of another `mark`.
    pub fn begin(&self, mark: Option<u64>) -> Option<Holding<'_>> {
        self.holding.fetch_add(1, Ordering::SeqCst);
        let holding = Holding(self);
        let is_closed = self.is_closed.load(Ordering::SeqCst);
        let is_new = mark.is_some_and(|mark| mark != self.mark.load(Ordering::SeqCst));
        (!is_closed && !is_new).then_some(holding)
    }

    /// Waits until holds can begin.
    pub async fn opened(&self) {
        loop {
            let opened = self.opened.notified();
            if !self.is_closed.load(Ordering::SeqCst) {
                return;
            }
            opened.await;
        }
    }

    /// No hold begins any more, and none is under way.
    async fn close(&self) -> Closed<'_> {
        self.is_closed.store(true, Ordering::SeqCst);
        let closed = Closed(self);
        while self.holding.load(Ordering::SeqCst) > 0 {
            tokio::time::sleep(PAUSE).await;
        }
        closed
    }
}

impl Drop for Holding<'_> {
    fn drop(&mut self) {
        self.0.holding.fetch_sub(1, Ordering::SeqCst);
    }
}

impl Drop for Closed<'_> {
    fn drop(&mut self) {
        self.0.is_closed.store(false, Ordering::SeqCst);
        self.0.opened.notify_waiters();
    }
}

impl Late {
    fn begin(&mut self) {
        self.closed = Some(HashMap::new());
    }
}

impl Recount {
    fn new(config: Arc<Config>) -> Self {
        Self { local: rebuild::empty(&config), config, open: HashMap::new(), next_seq: 0 }
    }

    fn reader(&self) -> Reader {
        Reader::open(&self.config.store.path)
    }

    /// Counts everything that some window counts.
    fn read_all(mut self, now_ms: u64) -> Result<Self, ReadError> {
        let from_ms = rebuild::from_ms(&self.local, &self.config, now_ms);
        let folder = self.config.store.path.clone();
        spent(&folder, from_ms, &mut |spent| match spent {
            Spent::Record(located) => self.count(located.seq, &located.record),
            Spent::Archive(archive) => {
                self.next_seq = self.next_seq.max(archive.next_seq);
                rebuild::archived(&self.local, &self.config, archive);
            }
        })?;
        Ok(self)
    }

    /// Counts what has been added since.
    fn read_rest(mut self) -> Result<Self, ReadError> {
        for located in self.reader().from_seq(self.next_seq)? {
            let located = located?;
            if located.seq >= self.next_seq {
                self.count(located.seq, &located.record);
            }
        }
        Ok(self)
    }

    fn count(&mut self, seq: u64, record: &Record) {
        self.next_seq = seq + 1;
        match record {
            Record::Open(open) => drop(self.open.insert(open.attempt, (open.clone(), None))),
            Record::Close(close) => {
                if let Some((_, closed)) = self.open.get_mut(&close.attempt) {
                    *closed = Some(close.clone());
                }
            }
            other => {
                if let Record::Entry(entry) = other {
                    self.open.retain(|attempt, _| attempt.request != entry.id);
                }
                rebuild::count(&self.local, &self.config, other);
            }
        }
    }
}

/// Reads on another thread, since disks may be slow.
async fn off(read: impl FnOnce() -> Result<Recount, ReadError> + Send + 'static) -> Result<Recount, NotAdopted> {
    match tokio::task::spawn_blocking(read).await {
        Ok(read) => read.map_err(NotAdopted::Unreadable),
        Err(_) => Err(NotAdopted::BrokenOff),
    }
}

/// Names what the caps of `config` count: equal if the same spend counts in the same windows.
pub(super) fn fingerprint(config: &Config) -> [u8; 32] {
    let mut shape = Shape::of(config);
    shape.named.sort_unstable();
    let text = format!("{shape:?} {:?}", config.money.time_zone.iana_name());
    let mut name = [0; 32];
    name.copy_from_slice(digest::digest(&digest::SHA256, text.as_bytes()).as_ref());
    name
}

impl Shape {
    fn of(config: &Config) -> Self {
        let mut shape = Self::default();
        let caps = &config.caps;
        if caps.is_empty() {
            return shape;
        }
        for capped in caps.named() {
            shape.add(capped.scope.kind(), capped.scope.name(), &capped.policy);
        }
        for (kind, default) in
            [("key", &caps.default_key), ("user", &caps.default_user), ("passthrough", &caps.default_passthrough)]
        {
            if let Some(policy) = default {
                shape.add(kind, "*", policy);
            }
        }
        shape.named = config.keys.values().map(|key| format!("{:?} {:?}", key.account.key, key.account.tags)).collect();
        shape.named.extend(config.limits.users.keys().map(|user| format!("{:?}", Scope::User(user.clone()))));
        // Only those whose tags have a cap: other keys that are made change nothing that is counted.
        for (tag, key) in
            caps.tags.keys().flat_map(|tag| config.ring.tagged(tag).into_iter().map(move |key| (tag, key)))
        {
            shape.named.push(format!("{key:?} {tag:?}"));
        }
        shape
    }

    fn add(&mut self, kind: &'static str, name: &str, policy: &Policy) {
        let mut windows: Vec<Window> = policy.limits.iter().map(|limit| limit.window).collect();
        windows.sort_unstable();
        self.windows.insert((kind, name.to_owned()), windows);
    }
}

impl std::fmt::Display for NotAdopted {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Unreadable(error) => write!(out, "what was spent under the new caps cannot be read: {error}"),
            Self::Unwritten(error) => write!(out, "what is spent under the new caps cannot be written: {error}"),
            Self::BrokenOff => out.write_str("counting what was spent under the new caps broke off"),
        }
    }
}

impl std::error::Error for NotAdopted {}
