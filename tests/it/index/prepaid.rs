//! What retention has dropped still counts: in prepaid caps for ever, in other caps until their window ends.

use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use tollgate::app::{App, Surroundings};
use tollgate::bank::local::Standing;
use tollgate::clock::Clock;
use tollgate::config::Config;
use tollgate::domain::account::Scope;
use tollgate::domain::adjustment::{Adjustment, Direction};
use tollgate::domain::cap::Window;
use tollgate::domain::entry::{Attempt, Entry};
use tollgate::domain::ids::RequestId;
use tollgate::domain::money::Usd;
use tollgate::store::clerk::open_sled;
use tollgate::store::{Record, Unsettled, verify};

use super::sample::{Kept, keep};
use crate::harness::environment;
use crate::journal::sample::{NOW_MS, close, entry, folder, open, small};

const DAY_MS: u64 = 86_400_000;
const UNTIL_MS: u64 = NOW_MS + 10 * DAY_MS;

/// Every kind of scope and window, prepaid or not.
const CAPS: &str = r#"
[organisation]
caps = { total = "50", day = "50", week = "50", month = "50", rolling = [{ usd = "50", hours = 7 }, { usd = "50", hours = 200 }] }
[teams.search]
caps = { total = "50", month = "50" }
[users."ada"]
caps = { total = "50", rolling = [{ usd = "50", hours = 100 }] }
[keys.key1]
secret = { env = "KEY" }
tags = { feature = "search" }
caps = { total = "50", week = "50" }
[models."gpt-5*"]
caps = { total = "50", month = "50" }
[models."*-dear"]
caps = { total = "50" }
[models."*"]
caps = { total = "50" }
[tags."feature=search"]
caps = { total = "50", month = "50" }
[defaults.key]
caps = { total = "50" }
"#;

fn config(folder: &Path, caps: &str) -> Config {
    let text = format!(
        "{caps}\n[money]\ntime_zone = \"Asia/Kathmandu\"\n[store]\npath = {folder:?}\nretention_days = 3\n[log]\nlevel = \"error\"\n"
    );
    Config::parse(&text, "tollgate.toml", &environment()).unwrap()
}

fn clock() -> Surroundings {
    Surroundings { clock: Clock::Manual(Arc::new(AtomicU64::new(UNTIL_MS * 1000))), ..Surroundings::default() }
}

/// What a start says of every cap.
fn standings(folder: &Path) -> Vec<Standing> {
    App::open(config(folder, CAPS), clock()).unwrap().bank.standings()
}

/// Request `number`: some were tried with a dearer model before, some have no price, some are free.
fn tried(number: u64) -> Entry {
    let mut open = open(number + 1_000_000);
    open.at_ms = NOW_MS + number * 10 * DAY_MS / 900;
    open.attempt.request = RequestId::new(open.at_ms, number.into());
    open.account.team = (!number.is_multiple_of(3)).then(|| "search".into());
    let mut entry = entry(&open);
    let first = Attempt { model: "gpt-4-dear".into(), cost: Some(Usd::from_pico(777)), ..entry.attempts[0].clone() };
    match number % 5 {
        1 => {
            entry.attempts.insert(0, first);
            entry.cost = entry.attempts.iter().map(|attempt| attempt.cost).sum();
        }
        // One attempt has no price, and so the whole has none; the other one counts.
        2 => {
            entry.attempts.insert(0, first);
            entry.attempts[1].cost = None;
            entry.cost = None;
        }
        3 => entry.attempts.clear(),
        _ => {}
    }
    assert!(entry.attempts.is_empty() || close(&open).cost > Some(Usd::ZERO));
    entry
}

fn fill(kept: &Kept) {
    let entries: Vec<Entry> = (0..900).map(tried).collect();
    for (number, some) in (0..).zip(entries.chunks(10)) {
        kept.post(some.iter().cloned());
        let at_ms = some[9].at_ms;
        let adjustment = |direction, request: Option<RequestId>, model: &str, pico| {
            Record::Adjustment(Box::new(Adjustment {
                id: RequestId::new(at_ms, pico),
                at_ms,
                account: some[3].account.clone(),
                upstream: "openai".into(),
                model: model.into(),
                direction,
                amount: Usd::from_pico(pico),
                actor: "ada".into(),
                reason: "the invoice says less".into(),
                request,
            }))
        };
        let earlier = entries[usize::try_from(number).unwrap() * 5].id;
        let unsettled = |scope| Record::Unsettled(Unsettled { at_ms, scope, amount: Usd::from_pico(31) });
        for record in [
            adjustment(Direction::Credit, Some(earlier), "gpt-5-mini", 5_003),
            adjustment(Direction::Charge, Some(earlier), "", 2_011),
            adjustment(Direction::Charge, None, "", 97),
            unsettled(Scope::Organisation),
            unsettled(Scope::Key("key1".into())),
        ] {
            kept.journal.post(&record).unwrap();
        }
    }
}

/// Of rolling windows a dropped charge may count a little longer than it must, and never shorter.
fn check(before: &[Standing], after: &[Standing]) {
    assert_eq!(before.len(), after.len());
    for (before, after) in before.iter().zip(after) {
        assert_eq!((&before.scope, before.window, before.held), (&after.scope, after.window, after.held));
        let is_kept = match before.window {
            Window::Rolling { .. } => before.spent <= after.spent,
            _ => before.spent == after.spent,
        };
        assert!(is_kept, "{:?} {}: {} was {}", before.scope, before.window, after.spent, before.spent);
    }
}

#[test]
fn what_retention_drops_still_counts_in_caps() {
    let folder = folder();
    let kept = keep(folder.path(), small(), open_sled, None, UNTIL_MS);
    fill(&kept);
    kept.stop();
    let before = keep_all(folder.path());
    assert!(before.iter().any(|one| one.window == Window::Total && one.scope == Scope::Model("*-dear".into())));
    assert!(before.iter().filter(|one| one.window == Window::Total).all(|one| one.spent > Usd::ZERO));

    let kept = keep(folder.path(), small(), open_sled, Some(3), UNTIL_MS);
    kept.clerk.retain();
    let state = kept.clerk.state();
    assert!(state.dropped >= 4 || verify(folder.path()).unwrap().archives >= 4, "{state:?}");
    kept.stop();
    check(&before, &standings(folder.path()));
    // An index that is lost changes nothing, and neither does the next start.
    fs::remove_dir_all(folder.path().join("index")).unwrap();
    check(&before, &standings(folder.path()));
    check(&before, &standings(folder.path()));

    // Caps that come by a reload count the same.
    let uncapped = config(folder.path(), "[keys.key1]\nsecret = { env = \"KEY\" }\ntags = { feature = \"search\" }");
    let app = App::open(uncapped, clock()).unwrap();
    let capped = Arc::new(config(folder.path(), CAPS));
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(app.bank.adopt(&capped, || {})).unwrap();
    check(&before, &app.bank.standings());
}

/// What a start says while nothing is dropped.
fn keep_all(folder: &Path) -> Vec<Standing> {
    let mut config = config(folder, CAPS);
    config.store.retention_days = None;
    App::open(config, clock()).unwrap().bank.standings()
}

/// Starts, lets the clerk make a round, and stops in order.
fn round(folder: &Path, config: Config) -> Vec<Standing> {
    let app = App::open(config, clock()).unwrap();
    let standings = app.bank.standings();
    app.clerk.round();
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    runtime.block_on(app.bank.close()).unwrap();
    app.clerk.stop();
    assert!(folder.join("caps").is_file());
    standings
}

fn kept_for_ever(folder: &Path) -> Config {
    let mut config = config(folder, CAPS);
    config.store.retention_days = None;
    config
}

/// Removes all segments but the last, and gives them back.
fn without_old_segments<T>(folder: &Path, work: impl FnOnce() -> T) -> T {
    let (journal, aside) = (folder.join("journal"), folder.join("aside"));
    let mut paths: Vec<_> = journal.read_dir().unwrap().map(|file| file.unwrap().path()).collect();
    paths.sort();
    fs::create_dir(&aside).unwrap();
    let old = &paths[..paths.len() - 1];
    let moved: Vec<_> = old.iter().map(|path| (path.clone(), aside.join(path.file_name().unwrap()))).collect();
    moved.iter().for_each(|(path, beside)| fs::rename(path, beside).unwrap());
    let done = work();
    moved.iter().for_each(|(path, beside)| fs::rename(beside, path).unwrap());
    fs::remove_dir(aside).unwrap();
    done
}

#[test]
fn a_start_goes_on_from_what_was_kept() {
    let folder = folder();
    let kept = keep(folder.path(), small(), open_sled, None, UNTIL_MS);
    fill(&kept);
    kept.stop();
    let before = round(folder.path(), kept_for_ever(folder.path()));
    assert!(before.iter().filter(|one| one.window == Window::Total).all(|one| one.spent > Usd::ZERO));
    // The journal before the last segment is not read.
    check(&before, &without_old_segments(folder.path(), || standings(folder.path())));
    // What comes later is added, and what is kept for other caps, cut or garbled is not believed.
    let kept = keep(folder.path(), small(), open_sled, None, UNTIL_MS);
    kept.post((900..960).map(tried));
    kept.stop();
    fs::copy(folder.path().join("caps"), folder.path().join("caps.old")).unwrap();
    let after = standings(folder.path());
    let spent = |all: &[Standing]| {
        all.iter().find(|one| one.scope == Scope::Organisation && one.window == Window::Total).unwrap().spent
    };
    assert!(spent(&after) > spent(&before));
    fs::remove_file(folder.path().join("caps")).unwrap();
    assert_eq!(after, standings(folder.path()));
    let other = CAPS.replace("day = \"50\", ", "").replace("hours = 7 }", "hours = 8 }");
    let mut other = config(folder.path(), &other);
    other.store.retention_days = None;
    round(folder.path(), other);
    assert_eq!(after, standings(folder.path()));
    let whole = fs::read(folder.path().join("caps.old")).unwrap();
    fs::write(folder.path().join("caps"), &whole[..whole.len() / 2]).unwrap();
    assert_eq!(after, standings(folder.path()));
    fs::write(folder.path().join("caps"), whole).unwrap();
    assert_eq!(after, standings(folder.path()));
}
