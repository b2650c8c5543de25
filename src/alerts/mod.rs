//! ALERTS: what operators should know without looking, told to the log, the metrics and webhooks.
//!
//! Everything is learned off the requests' path, from ended requests and from the bank's totals once a second; only
//! repetitions are counted while a request waits, in a table of fixed size. No alert holds a prompt or a secret.
//!
//! Invariant: whatever is told, it is told once: per window for caps, per hour for keys, per `again_after_s` for the rest.

mod traffic;
mod habits;
mod repeats;
mod pace;
mod thresholds;
mod webhook;

use std::collections::{HashMap, VecDeque};
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use arc_swap::ArcSwap;
use tokio::sync::mpsc;

use crate::bank::local::Standing;
use crate::clock::Clock;
use crate::config::Config;
use crate::config::alerts::{Alerts as Rules, OnRepeat};
use crate::domain::alert::{Alert, Kind};
use crate::domain::cap::Share;
use crate::domain::entry::Entry;
use crate::domain::fault::Fault;
use crate::domain::price::Book;
use crate::telemetry::scribe::Record;
use crate::upstream::client::SetupError;
use habits::Habits;
use pace::Pace;
use repeats::Repeats;
use thresholds::Thresholds;
pub use traffic::Verdict;
use traffic::{Finding, Traffic};
use webhook::{Counts, Line, WAITING_MAX};

/// Alerts that `/admin/v1/alerts` shows.
const SHOWN_MAX: usize = 200;

/// Subjects of which is known when they were told last; of more, all are forgotten.
const TOLD_MAX: usize = 4096;

/// Notices what is out of the ordinary.
#[derive(Debug)]
pub struct Alerts {
    rules: ArcSwap<InForce>,
    clock: Clock,
    repeats: Repeats,
    state: Mutex<State>,
    counts: [AtomicU64; Kind::ALL.len()],
    /// Requests that were refused as loops.
    refused: AtomicU64,
    outbox: mpsc::Sender<Alert>,
    inbox: Mutex<Option<mpsc::Receiver<Alert>>>,
    deliveries: Arc<Counts>,
}

/// What config says now, with what was derived from it.
#[derive(Debug)]
pub struct InForce {
    rules: Rules,
    lines: Arc<Vec<Arc<Line>>>,
    book: Book,
    /// The price book's name for each upstream.
    providers: HashMap<Arc<str>, Arc<str>>,
    /// How fast loops may go on, where they are slowed down.
    pace: Option<Arc<Pace>>,
}

#[derive(Debug)]
struct State {
    traffic: Traffic,
    habits: Habits,
    thresholds: Thresholds,
    told: HashMap<(Kind, Box<str>), u64>,
    shown: VecDeque<Alert>,
}

/// A request that comes again and again, and may not pass now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Loop {
    /// How often it has come.
    pub count: u64,
    /// Within how many seconds.
    pub window_s: u64,
    /// After how many seconds it may pass.
    pub wait_s: u32,
}

impl Alerts {
    /// Alerts under `config`; what was told of caps is kept in `folder`.
    ///
    /// # Errors
    /// A webhook that cannot be prepared.
    pub fn new(config: &Config, book: &Book, clock: Clock, folder: &Path) -> Result<Self, SetupError> {
        let (outbox, inbox) = mpsc::channel(WAITING_MAX);
        let state = State {
            traffic: Traffic::new(),
            habits: Habits::default(),
            thresholds: Thresholds::read(folder.join("alerts.json")),
            told: HashMap::new(),
            shown: VecDeque::new(),
        };
        Ok(Self {
            rules: ArcSwap::from_pointee(InForce::new(config, book, pace_of(&config.alerts, &clock))?),
            clock,
            repeats: Repeats::new(),
            state: Mutex::new(state),
            counts: [const { AtomicU64::new(0) }; Kind::ALL.len()],
            refused: AtomicU64::new(0),
            outbox,
            inbox: Mutex::new(Some(inbox)),
            deliveries: Arc::default(),
        })
    }

    /// Derives what another config needs.
    ///
    /// # Errors
    /// A webhook that cannot be prepared.
    pub fn prepare(&self, config: &Config, book: &Book) -> Result<InForce, SetupError> {
        let before = self.rules.load().pace.clone();
        let pace = pace_of(&config.alerts, &self.clock);
        // What goes on at the same pace goes on from where it was.
        let stays = before.as_ref().zip(pace.as_ref()).is_some_and(|(before, pace)| before.is_like(pace));
        InForce::new(config, book, if stays { before } else { pace })
    }

    /// Puts another config in force. What was counted stays.
    pub fn adopt(&self, in_force: InForce) {
        self.rules.store(Arc::new(in_force));
    }

    /// Sends alerts to webhooks for as long as it is polled. A second call does nothing.
    pub async fn deliver(self: Arc<Self>) {
        let inbox = self.inbox.lock().unwrap_or_else(PoisonError::into_inner).take();
        let Some(inbox) = inbox else { return };
        let (clock, counts) = (self.clock.clone(), self.deliveries.clone());
        webhook::run(inbox, || self.rules.load().lines.clone(), clock, counts).await;
    }

    /// Counts a request before it is sent: how it ends, who sends it, and whether it may pass.
    ///
    /// # Errors
    /// It is a loop, and the policy refuses loops or slows them down.
    pub fn repeat<'a>(
        &self,
        key: &str,
        path: &str,
        body: impl DoubleEndedIterator<Item = &'a [u8]> + Clone,
    ) -> Result<(), Loop> {
        match self.rules.load().rules.repeats {
            Some(_) => self.repeated(key, self.repeats.print(key, path, body), "sent the same request"),
            None => Ok(()),
        }
    }

    /// Counts a request that follows a call of a tool, by its `place`: its conversation and the tool's name.
    ///
    /// # Errors
    /// See [`Alerts::repeat`].
    pub fn repeat_call(&self, key: &str, place: (u64, u64), arguments: &[u8]) -> Result<(), Loop> {
        self.repeated(key, self.repeats.print_call(key, place, arguments), "had its model make the same call of a tool")
    }

    fn repeated(&self, key: &str, print: u64, what: &str) -> Result<(), Loop> {
        let in_force = self.rules.load();
        let rules = &in_force.rules;
        let Some(most) = rules.repeats else { return Ok(()) };
        let now_ms = self.clock.now_ms();
        let window_ms = u64::try_from(rules.repeat_window.as_millis()).unwrap_or(u64::MAX);
        let seen = self.repeats.count(print, now_ms, window_ms);
        if seen.count == most + 1 {
            self.tell("key", key, looping(key, what, seen.count, rules));
        }
        let wait_ms = match rules.on_repeat {
            OnRepeat::Alert => 0,
            OnRepeat::Throttle => in_force.pace.as_ref().map_or(0, |pace| pace.pass(print).err().unwrap_or(0)),
            OnRepeat::Refuse if seen.count <= most => 0,
            OnRepeat::Refuse => seen.ends_ms.saturating_sub(now_ms),
        };
        if wait_ms == 0 {
            return Ok(());
        }
        self.refused.fetch_add(1, Ordering::Relaxed);
        let wait_s = u32::try_from(wait_ms.div_ceil(1000)).unwrap_or(u32::MAX);
        Err(Loop { count: seen.count, window_s: rules.repeat_window.as_secs(), wait_s })
    }

    /// Learns from an ended request.
    pub fn watch(&self, record: &Record) {
        let in_force = self.rules.load();
        let (entry, rules) = (&*record.entry, &in_force.rules);
        let now_ms = self.clock.now_ms();
        let mut found: Vec<Finding> = Vec::new();
        {
            let mut state = self.state();
            state.traffic.turn(now_ms, rules);
            let is_error = matches!(Fault::of(entry), Some(Fault::Upstream | Fault::Tollgate));
            state.traffic.request(u64::from(entry.latency_ms), is_error);
            record.tools.iter().for_each(|tool| state.traffic.tool(tool.success));
            if !entry.account.key.is_empty() {
                let cost = entry.cost.unwrap_or_default();
                let tokens = entry.usage.input_total().saturating_add(entry.usage.output);
                found = state.habits.note(&entry.account.key, entry.at_ms, cost, tokens, rules);
            }
        }
        found
            .extend(in_force.of_request(entry).filter(|finding| self.is_news(finding.kind, &entry.account.key, rules)));
        found.into_iter().for_each(|finding| self.tell("key", &entry.account.key, finding));
    }

    /// Learns what became of a task.
    pub fn feedback(&self, verdict: Verdict) {
        let in_force = self.rules.load();
        let mut state = self.state();
        state.traffic.turn(self.clock.now_ms(), &in_force.rules);
        state.traffic.task(verdict);
    }

    /// Looks at traffic and caps; once a second. It may write a small file.
    pub fn tick<'a>(&self, standings: impl Iterator<Item = (&'a Standing, &'a [Share])>) {
        let in_force = self.rules.load();
        let (rules, now_ms) = (&in_force.rules, self.clock.now_ms());
        let (traffic, caps) = {
            let mut state = self.state();
            state.traffic.turn(now_ms, rules);
            let traffic = state.traffic.findings(rules);
            let look = |(standing, shares): (&'a Standing, &[Share])| {
                Some((&standing.scope, state.thresholds.look(standing, shares)?))
            };
            let caps: Vec<_> = standings.filter_map(look).collect();
            state.thresholds.keep();
            (traffic, caps)
        };
        for finding in traffic.into_iter().filter(|finding| self.is_news(finding.kind, "", rules)) {
            self.tell("all", "", finding);
        }
        caps.into_iter().for_each(|(scope, finding)| self.tell(scope.kind(), scope.name(), finding));
    }

    /// The last alerts, the newest first.
    #[must_use]
    pub fn shown(&self) -> Vec<Alert> {
        self.state().shown.iter().rev().cloned().collect()
    }

    /// How many there were of each kind, since the start.
    pub fn counts(&self) -> impl Iterator<Item = (Kind, u64)> {
        Kind::ALL.into_iter().zip(&self.counts).map(|(kind, count)| (kind, count.load(Ordering::Relaxed)))
    }

    /// Requests that were refused as loops.
    #[must_use]
    pub fn loops_refused(&self) -> u64 {
        self.refused.load(Ordering::Relaxed)
    }

    /// What became of deliveries to webhooks: taken, given up, and dropped because too many waited.
    #[must_use]
    pub fn deliveries(&self) -> [(&'static str, u64); 3] {
        let counts = &self.deliveries;
        let load = |count: &AtomicU64| count.load(Ordering::Relaxed);
        [("taken", load(&counts.delivered)), ("failed", load(&counts.failed)), ("dropped", load(&counts.dropped))]
    }

    /// Whether this was not told within `again_after_s`; if so, it counts as told now.
    fn is_news(&self, kind: Kind, name: &str, rules: &Rules) -> bool {
        let now_ms = self.clock.now_ms();
        let again_ms = u64::try_from(rules.again_after.as_millis()).unwrap_or(u64::MAX);
        let mut state = self.state();
        if state.told.len() >= TOLD_MAX {
            state.told.clear();
        }
        let at_ms = state.told.entry((kind, name.into())).or_insert(0);
        let is_news = *at_ms == 0 || now_ms.saturating_sub(*at_ms) >= again_ms;
        if is_news {
            *at_ms = now_ms;
        }
        is_news
    }

    fn tell(&self, scope: &'static str, name: &str, finding: Finding) {
        let Finding { kind, message, value, threshold } = finding;
        let alert = Alert { kind, at_ms: self.clock.now_ms(), scope, name: name.into(), message, value, threshold };
        tracing::warn!(
            kind = kind.name(),
            scope,
            name,
            value = alert.value,
            threshold = alert.threshold,
            "{}",
            alert.message
        );
        if let Some(place) = Kind::ALL.iter().position(|known| *known == kind) {
            self.counts[place].fetch_add(1, Ordering::Relaxed);
        }
        let mut state = self.state();
        if state.shown.len() >= SHOWN_MAX {
            state.shown.pop_front();
        }
        state.shown.push_back(alert.clone());
        drop(state);
        if !self.rules.load().lines.is_empty() && self.outbox.try_send(alert).is_err() {
            self.deliveries.dropped.fetch_add(1, Ordering::Relaxed);
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl InForce {
    fn new(config: &Config, book: &Book, pace: Option<Arc<Pace>>) -> Result<Self, SetupError> {
        let lines =
            config.alerts.webhooks.iter().map(|webhook| Line::new(webhook).map(Arc::new)).collect::<Result<_, _>>()?;
        let providers =
            config.upstreams.iter().map(|upstream| (upstream.name.clone(), upstream.provider.clone())).collect();
        Ok(Self { rules: config.alerts.clone(), lines: Arc::new(lines), book: book.clone(), providers, pace })
    }

    /// What is remarkable about a single request.
    fn of_request(&self, entry: &Entry) -> impl Iterator<Item = Finding> {
        [self.expensive(entry), self.crowded(entry)].into_iter().flatten()
    }

    fn expensive(&self, entry: &Entry) -> Option<Finding> {
        let (limit, cost) = (self.rules.request_usd?, entry.cost?);
        // Entries of many refusals, and of batches, are not one request.
        (cost > limit && entry.requests == 1 && !entry.operation.may_tell_a_batch()).then(|| Finding {
            kind: Kind::RequestCost,
            message: format!("a request of the key {:?} for {:?} cost ${cost}", entry.account.key, entry.model),
            value: cost.to_string(),
            threshold: limit.to_string(),
        })
    }

    fn crowded(&self, entry: &Entry) -> Option<Finding> {
        let percent = self.rules.context_percent?;
        let input = entry.usage.input_total();
        let provider = self.providers.get(&entry.upstream).filter(|_| input > 0)?;
        let model = self.book.find(provider, entry.served_model.as_deref(), &entry.model)?;
        let window = model.context_window().or(model.context_total())?;
        (input.saturating_mul(100) > window.saturating_mul(percent)).then(|| Finding {
            kind: Kind::Context,
            message: format!(
                "a request of the key {:?} fills {}% of the context window of {:?}",
                entry.account.key,
                input.saturating_mul(100) / window.max(1),
                entry.model
            ),
            value: input.to_string(),
            threshold: window.saturating_mul(percent).div_euclid(100).to_string(),
        })
    }
}

/// How fast loops may go on under `rules`.
fn pace_of(rules: &Rules, clock: &Clock) -> Option<Arc<Pace>> {
    let most = rules.repeats.filter(|_| rules.on_repeat == OnRepeat::Throttle)?;
    Pace::new(most, rules.repeat_window, clock.clone()).map(Arc::new)
}

fn looping(key: &str, what: &str, count: u64, rules: &Rules) -> Finding {
    let window_s = rules.repeat_window.as_secs();
    Finding {
        kind: Kind::Repeats,
        message: format!("the key {key:?} has {what} {count} times within {window_s} s"),
        value: count.to_string(),
        threshold: rules.repeats.unwrap_or(0).to_string(),
    }
}
