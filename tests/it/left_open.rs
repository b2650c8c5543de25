//! What a dead process left open: it counts at its quote from the next start on, is entered as unsettled when it is old
//! enough, and only a correction makes it less.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use jiff::tz::TimeZone;
use serde_json::Value;
use tollgate::app::Surroundings;
use tollgate::bank::local::{Held, Local, Wish};
use tollgate::clock::Clock;
use tollgate::domain::account::Scope;
use tollgate::domain::calendar::parse_instant_ms;
use tollgate::domain::cap::{Capped, Limit, Policy, Share, Window};
use tollgate::domain::entry::Outcome;
use tollgate::domain::money::Usd;
use tollgate::store::disk::RealDisk;

use super::world::{World, copy};

const CHAT: &str = "/v1/chat/completions";
const STREAM: &str =
    r#"{"model":"gpt-4o","max_tokens":1000,"stream":true,"messages":[{"role":"user","content":"hi"}]}"#;
const CAP: &str = "[organisation]\ncaps = { day = \"1\" }\n[money]\nhold_expiry_s = 60";

fn at(now_us: &Arc<AtomicU64>) -> Surroundings {
    Surroundings { clock: Clock::Manual(now_us.clone()), disk: Arc::new(RealDisk), ..Surroundings::default() }
}

fn spent(world: &World) -> Usd {
    world.app.bank.standings()[0].spent
}

/// A world that died while it waited for two streams, and lives again.
async fn risen(now_us: &Arc<AtomicU64>, extra: &str) -> World {
    let world = World::on(extra, at(now_us)).await;
    let mut streams = Vec::new();
    for _ in 0..2 {
        let mut request = world.post(CHAT, STREAM);
        request.headers_mut().insert("x-mock-gate", "held".parse().unwrap());
        streams.push(world.open(request).await);
    }
    let held = world.app.bank.standings()[0].held;
    world.app.bank.flush().await.unwrap();
    let folder = tempfile::tempdir().unwrap();
    copy(world.folder.path(), folder.path());
    let again = World::in_folder(world.provider, world.mock.clone(), extra, at(now_us), folder).await;
    assert!(held > Usd::ZERO && spent(&again) == held, "{held} held, {} spent", spent(&again));
    again
}

async fn adjust(world: &World, body: &Value) -> u16 {
    let mut request = world.post("/admin/v1/adjustments", body.to_string());
    *request.uri_mut() = format!("http://{}/admin/v1/adjustments", world.admin).parse().unwrap();
    let token = format!("Bearer {}", world.app.admin_token.load().expose());
    request.headers_mut().insert("authorization", token.parse().unwrap());
    world.send(request).await.status.as_u16()
}

#[tokio::test]
async fn it_counts_at_its_quote_until_it_expires_and_until_it_is_corrected() {
    let now_us = Arc::new(AtomicU64::new(parse_instant_ms("2026-03-10T12:00:00Z").unwrap() * 1000));
    let world = risen(&now_us, CAP).await;
    let owed = spent(&world);
    assert_eq!((world.app.bank.left_open(), world.entries().await.len()), (2, 0));
    now_us.fetch_add(59_000_000, Ordering::Relaxed);
    world.app.bank.tick();
    assert_eq!(world.app.bank.left_open(), 2, "it is not old enough");
    now_us.fetch_add(1_000_000, Ordering::Relaxed);
    world.app.bank.tick();
    let entries = world.entries().await;
    assert_eq!((world.app.bank.left_open(), entries.len(), spent(&world)), (0, 2, owed), "expiry frees no money");
    for entry in entries {
        assert!(entry.outcome == Outcome::Unsettled && entry.cost == entry.quote, "{entry:?}");
        let (amount, before) = (entry.cost.unwrap(), spent(&world));
        let id = entry.id.to_string();
        let body = serde_json::json!({"direction": "credit", "amount_usd": amount.fixed(), "actor": "ada", "reason": "never ran", "request_id": id});
        assert_eq!(adjust(&world, &body).await, 201);
        assert_eq!(spent(&world), before.less(amount));
    }
    assert_eq!(spent(&world), Usd::ZERO);
    let again = world.again(CAP).await;
    assert_eq!(again.app.bank.left_open(), 0, "each has one entry");
}

#[tokio::test]
async fn a_correction_need_not_wait_and_makes_room_in_its_own_window_only() {
    let now_us = Arc::new(AtomicU64::new(parse_instant_ms("2026-03-10T23:59:50Z").unwrap() * 1000));
    let extra = CAP.replace("day = \"1\"", "day = \"1\", total = \"5\"");
    let world = risen(&now_us, &extra).await;
    let records = world.records().await;
    let open = records.iter().find_map(|record| match record {
        tollgate::store::Record::Open(open) => Some(open.clone()),
        _ => None,
    });
    let open = open.unwrap();
    now_us.fetch_add(30_000_000, Ordering::Relaxed);
    let [day, total] = [0, 1].map(|at| world.app.bank.standings()[at].spent);
    assert!(day == Usd::ZERO && total > Usd::ZERO, "yesterday's is not today's: {day} {total}");
    let quote = open.quote.unwrap();
    let body = serde_json::json!({"direction": "credit", "amount_usd": quote.fixed(), "actor": "ada", "reason": "never ran", "request_id": open.attempt.request.to_string()});
    assert_eq!(adjust(&world, &body).await, 201);
    assert_eq!(world.app.bank.left_open(), 1, "the corrected one has its entry now");
    for world in [&world, &world.again(&extra).await] {
        let standings = world.app.bank.standings();
        let today: Vec<_> = standings.iter().filter(|now| now.window == Window::Day).collect();
        let ever = standings.iter().find(|now| now.window == Window::Total).unwrap();
        assert_eq!(ever.spent, total.less(quote));
        assert!(today.iter().all(|now| now.spent == Usd::ZERO));
    }
    // Had it been counted today, a charge of today would have been hidden behind it.
    let charge = serde_json::json!({"direction": "charge", "amount_usd": "1", "actor": "ada", "reason": "billed"});
    assert_eq!(adjust(&world, &charge).await, 201);
    assert_eq!(world.send(world.post(CHAT, STREAM)).await.status, 400);
}

#[test]
fn holds_wait_for_the_disk_beyond_their_share_of_a_cap() {
    let scope = Scope::Key("a".into());
    let limits = vec![Limit { window: Window::Total, usd: Usd::parse("100").unwrap() }];
    let policy = Arc::new(Policy { limits, ..Policy::default() });
    let capped = [Capped { scope, policy }];
    let check = |share: &str, quotes: &[(&str, bool)]| {
        let local = Local::new(TimeZone::UTC, &capped, Share::parse(share).unwrap());
        let mut all: Vec<Held> = Vec::new();
        // The first one makes the scope known, and is durable by the second.
        for (number, (quote, waits)) in [("1", true)].iter().chain(quotes).enumerate() {
            let number = number as u64 + 1;
            let wish =
                Wish { capped: &capped, at_ms: 0, quote: Usd::parse(quote).unwrap(), metered: None, unsynced: 2 };
            let (held, ()) = local.hold(wish, || Ok::<_, ()>((number, ()))).unwrap();
            assert_eq!(held.must_sync, *waits, "{share}: hold {number} of {quote}");
            all.push(held);
        }
        all.into_iter().for_each(|held| local.settle(held, Usd::ZERO));
    };
    check("0.01", &[("0.5", false), ("0.5", false), ("0.000001", true)]);
    check("0.2", &[("15", false), ("5", false), ("0.1", true)]);
    check("1", &[("40", false), ("50", false)]);
    check("0", &[("0.000001", true), ("0.000001", true)]);
}
