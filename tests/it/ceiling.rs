//! The ceiling as a seeded simulation: random requests, endings, clock steps and crashes against a real journal, with the
//! invariant checked after every step. A failing run prints its seed.

use std::collections::HashMap;
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use tempfile::TempDir;
use tollgate::app::{App, Surroundings};
use tollgate::bank::debt::{Closing, Debt};
use tollgate::bank::local::Standing;
use tollgate::bank::tab::{NotOpened, Presence, Tab};
use tollgate::bank::windows::Windows;
use tollgate::clock::Clock;
use tollgate::config::{Config, Environment};
use tollgate::domain::account::Scope;
use tollgate::domain::calendar::parse_instant_ms;
use tollgate::domain::cap::Window;
use tollgate::domain::entry::{Attempt, Entry, Outcome};
use tollgate::domain::money::Usd;
use tollgate::domain::tokens::UsageSource;
use tollgate::store::disk::{Disk, LogFile, RealDisk};
use tollgate::store::{Reader, Record};

const CONFIG: &str = r#"
[server]
admin_token = { env = "TOKEN" }
[money]
time_zone = "Europe/Berlin"
[organisation]
caps = { month = "40", week = "15", total = "300" }
[teams.search]
caps = { day = "3", rolling = [{ usd = "1.5", hours = 5 }] }
[teams.shop]
[users.ada]
caps = { day = "2" }
[keys.a]
secret = { env = "KEY_A" }
team = "search"
user = "ada"
tags = { feature = "find" }
[keys.b]
secret = { env = "KEY_B" }
team = "shop"
caps = { week = "4" }
[defaults.key]
caps = { day = "1" }
[models."big-*"]
caps = { day = "2.5" }
[tags."feature=find"]
caps = { month = "20" }
"#;

const STEPS: u64 = 3_000;

/// Chance, from a seed.
struct Dice(u64);

/// A disk that never waits for the platter: what is written survives a killed process all the same.
#[derive(Debug)]
struct Quick;

#[derive(Debug)]
struct QuickFile(Box<dyn LogFile>);

struct World {
    app: Arc<App>,
    folder: TempDir,
    now_us: Arc<AtomicU64>,
    debts: Vec<(Debt, u64)>,
    latest_ms: u64,
    opened: u64,
    refused: u64,
    crashes: u64,
}

impl Dice {
    /// splitmix64.
    fn roll(&mut self, below: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % below
    }
}

impl Disk for Quick {
    fn create(&self, path: &Path) -> io::Result<Box<dyn LogFile>> {
        Ok(Box::new(QuickFile(RealDisk.create(path)?)))
    }

    fn append(&self, path: &Path) -> io::Result<Box<dyn LogFile>> {
        Ok(Box::new(QuickFile(RealDisk.append(path)?)))
    }

    fn sync_folder(&self, _: &Path) -> io::Result<()> {
        Ok(())
    }
}

impl LogFile for QuickFile {
    fn write(&self, bytes: &[u8]) -> io::Result<usize> {
        self.0.write(bytes)
    }

    fn sync(&self) -> io::Result<()> {
        Ok(())
    }
}

fn open(folder: &Path, now_us: &Arc<AtomicU64>) -> Arc<App> {
    let text = format!("{CONFIG}\n[store]\npath = {:?}\n[log]\nlevel = \"error\"\n", folder.join("data"));
    let secret = |name: &str, value: &str| (name.to_owned(), value.to_owned());
    let env: Environment = [
        secret("TOKEN", "tga_for_tests_only"),
        secret("KEY_A", "tg_aaaaaaaaaaaaaaaaaaaaaaaa"),
        secret("KEY_B", "tg_bbbbbbbbbbbbbbbbbbbbbbbb"),
    ]
    .into();
    let config = Config::parse(&text, "test.toml", &env).unwrap_or_else(|errors| panic!("{errors}"));
    let surroundings =
        Surroundings { clock: Clock::Manual(now_us.clone()), disk: Arc::new(Quick), ..Surroundings::default() };
    Arc::new(App::open(config, surroundings).unwrap())
}

fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let path = entry.unwrap().path();
        let target = to.join(path.file_name().unwrap());
        if path.is_dir() {
            copy(&path, &target);
        } else if std::fs::symlink_metadata(&path).unwrap().is_file() {
            std::fs::copy(&path, &target).unwrap();
        }
    }
}

impl World {
    fn now_ms(&self) -> u64 {
        self.now_us.load(Ordering::Relaxed) / 1000
    }

    /// A request of anybody, for any model, of any size. Some arrived a while before they are reserved.
    async fn request(&mut self, dice: &mut Dice) {
        let config = &self.app.snapshot.load_full().config;
        let who = ["a", "b", "stranger", "guest"][usize::try_from(dice.roll(4)).unwrap()];
        let account = match config.keys.get(who) {
            Some(key) => key.account.clone(),
            None => tollgate::domain::account::Account { key: who.into(), user: None, team: None, tags: [].into() },
        };
        let at_ms = self.now_ms() - dice.roll(2) * dice.roll(50_000);
        let id = self.app.mint.request_id(at_ms);
        let entry = Entry { id, at_ms, account, ..Entry::blank() };
        let presence = Presence { gauge: self.app.metrics.in_flight.enter(), place: self.app.requests.take() };
        self.attempt(Tab::new(self.app.bank.clone(), Box::new(entry), 0, presence), dice).await;
    }

    /// The first attempt of a request, or another one, maybe with another model.
    async fn attempt(&mut self, mut tab: Tab, dice: &mut Dice) {
        let model = ["big-one", "small", "free"][usize::try_from(dice.roll(3)).unwrap()];
        let quote =
            if model == "free" { Usd::ZERO } else { Usd::from_pico(u128::from(dice.roll(300_000_000_000) + 1)) };
        tab.entry().model = model.into();
        let capped = self.app.snapshot.load().config.capped(&tab.entry().account, model);
        let before = self.app.bank.standings();
        match tab.open(Some(quote), &capped).await {
            Ok(mut debt) => {
                if dice.roll(20) > 0 {
                    debt.depart();
                }
                self.opened += 1;
                self.debts.push((debt, u64::try_from(quote.pico()).unwrap()));
            }
            Err(NotOpened::Exceeded(tab, exceeded)) => {
                assert!(quote > exceeded.room(), "{exceeded}");
                assert_eq!(self.app.bank.standings(), before, "a refusal took something");
                if dice.roll(2) == 0 {
                    tab.finish()
                } else {
                    drop(tab)
                }
                self.refused += 1;
            }
            Err(NotOpened::Unwritten(_, refusal) | NotOpened::Refused(refusal)) => panic!("{refusal:?}"),
            Err(NotOpened::Changed(_)) => panic!("the caps are what they were"),
        }
    }

    /// One attempt ends: exactly known, without usage, or by being dropped; and its request with it, or another attempt
    /// follows.
    async fn end(&mut self, dice: &mut Dice) {
        if self.debts.is_empty() {
            return;
        }
        let at = usize::try_from(dice.roll(self.debts.len() as u64)).unwrap();
        let (mut debt, quote) = self.debts.swap_remove(at);
        let cost = match dice.roll(8) {
            0 => return drop(debt),
            1 => None,
            2 => Some(Usd::ZERO),
            _ => Some(Usd::from_pico(u128::from(dice.roll(quote + 1)))),
        };
        let closing = Closing { status: 200, outcome: Outcome::Complete, usage_source: UsageSource::Reported, cost };
        if dice.roll(3) == 0 {
            let tab = debt.close(closing).unwrap();
            return self.attempt(tab, dice).await;
        }
        debt.settle(closing);
        debt.settle(Closing { cost: Some(Usd::from_pico(1 << 60)), ..closing });
    }

    fn step_clock(&self, dice: &mut Dice) {
        match dice.roll(12) {
            0 => self.now_us.fetch_sub(dice.roll(2 * 3_600_000_000), Ordering::Relaxed),
            _ => self.now_us.fetch_add(dice.roll(3 * 3_600_000_000), Ordering::Relaxed),
        };
        self.app.bank.tick();
    }

    /// The process dies: what it has written is there, and nothing else of it.
    ///
    /// A settlement that was still in memory is lost with it, and then counts at its quote.
    async fn crash(&mut self, dice: &mut Dice) {
        let is_written = dice.roll(2) == 0;
        if is_written {
            self.app.bank.flush().await.unwrap();
        }
        let before = self.app.bank.standings();
        let folder = tempfile::tempdir().unwrap();
        copy(self.folder.path(), folder.path());
        let app = open(folder.path(), &self.now_us);
        let (debts, old) = (std::mem::take(&mut self.debts), std::mem::replace(&mut self.app, app));
        drop((debts, old));
        self.folder = folder;
        self.crashes += 1;
        let after: HashMap<(Scope, Window), Standing> =
            self.app.bank.standings().into_iter().map(|now| ((now.scope.clone(), now.window), now)).collect();
        for was in before {
            // Scopes that were never capped by name and never spent anything are forgotten.
            let Some(now) = after.get(&(was.scope.clone(), was.window)) else {
                assert_eq!(was.spent.plus(was.held), Usd::ZERO, "{was:?} was forgotten");
                continue;
            };
            let owed = was.spent.plus(was.held);
            assert!(now.held == Usd::ZERO && now.spent >= owed, "{was:?} became {now:?}");
            assert!(!is_written || now.spent == owed, "{was:?} became {now:?}");
        }
    }

    /// A clock that is set back looks at a rolling window and at all that came behind it, which may be more than a cap.
    fn check(&mut self) {
        let is_latest = self.now_ms() >= self.latest_ms;
        self.latest_ms = self.latest_ms.max(self.now_ms());
        for now in self.app.bank.standings() {
            if matches!(now.window, Window::Rolling { .. }) && !is_latest {
                continue;
            }
            assert!(now.spent.plus(now.held) <= now.cap, "above the cap: {now:?}");
        }
    }

    /// Nothing is in flight: the windows are the sums of the ledger's entries, and each attempt was opened and closed.
    async fn check_at_rest(&mut self) {
        self.debts.clear();
        while self.app.bank.left_open() > 0 {
            self.now_us.fetch_add(3_600_000_000, Ordering::Relaxed);
            self.app.bank.tick();
        }
        self.app.bank.flush().await.unwrap();
        let (mut opens, mut closes, mut entries) = (HashMap::new(), HashMap::new(), Vec::new());
        for located in Reader::open(&self.folder.path().join("data")).records().unwrap() {
            match located.unwrap().record {
                Record::Open(open) => *opens.entry(open.attempt).or_insert(0) += 1,
                Record::Close(close) => *closes.entry(close.attempt).or_insert(0) += 1,
                Record::Entry(entry) => entries.push(*entry),
                _ => {}
            }
        }
        assert_eq!(opens, closes);
        assert!(opens.values().all(|times| *times == 1));
        assert_eq!(opens.len() as u64, self.opened);
        let config = &self.app.snapshot.load().config;
        let mut windows = Windows::new(config.money.time_zone.clone());
        for now in self.app.bank.standings() {
            assert_eq!(now.held, Usd::ZERO);
            let since = windows.since(now.window, self.now_ms());
            let until = windows.end(now.window, self.now_ms()).unwrap_or(u64::MAX);
            let within = entries.iter().filter(|entry| (since..until).contains(&entry.at_ms));
            let attempts = within.flat_map(|entry| entry.attempts.iter().map(move |attempt| (entry, attempt)));
            let counts = |(entry, attempt): &(&Entry, &Attempt)| {
                let capped = config.capped(&entry.account, &attempt.model);
                capped.iter().any(|capped| capped.scope == now.scope)
            };
            let sum: Usd = attempts.filter(counts).filter_map(|(_, attempt)| attempt.cost).sum();
            assert_eq!(now.spent, sum, "{:?} {}", now.scope, now.window);
        }
    }
}

fn simulate(seed: u64) -> (u64, u64, u64) {
    let mut dice = Dice(seed);
    let folder = tempfile::tempdir().unwrap();
    // A few days before clocks go back, and before the month ends.
    let start_ms = parse_instant_ms("2026-10-23T18:00:00Z").unwrap();
    let now_us = Arc::new(AtomicU64::new(start_ms * 1000));
    let app = open(folder.path(), &now_us);
    let mut world =
        World { app, folder, now_us, debts: Vec::new(), latest_ms: start_ms, opened: 0, refused: 0, crashes: 0 };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        for _ in 0..STEPS {
            match dice.roll(1_000) {
                0..=549 => world.request(&mut dice).await,
                550..=899 => world.end(&mut dice).await,
                900..=996 => world.step_clock(&mut dice),
                _ => world.crash(&mut dice).await,
            }
            world.check();
        }
        world.check_at_rest().await;
    });
    (world.opened, world.refused, world.crashes)
}

#[test]
fn no_interleaving_passes_a_cap() {
    let fixed = std::env::var("TOLLGATE_SEED").ok().and_then(|seed| seed.parse().ok());
    for seed in fixed.map_or(1..=4, |seed: u64| seed..=seed) {
        let run = std::panic::catch_unwind(|| simulate(seed));
        let Ok((opened, refused, crashes)) = run else {
            panic!("the ceiling broke; to see it again: TOLLGATE_SEED={seed} cargo test no_interleaving");
        };
        assert!(opened > 300 && refused > 100 && crashes > 2, "seed {seed}: {opened} {refused} {crashes}");
    }
}
