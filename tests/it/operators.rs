//! What operators do and see: top-ups, the list of their actions, the sheet of a key, and counts that outlive a restart.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use http::{Method, Request};
use http_body_util::Full;
use serde_json::{Value, json};
use tollgate::app::Surroundings;
use tollgate::clock::Clock;
use tollgate::config::Config;
use tollgate::domain::account::Scope;
use tollgate::domain::money::Usd;

use super::child::Place;
use super::raw::LONG;
use super::world::{self, KEY, World};

const CHAT: &str = r#"{"model":"gpt-4o-mini","max_tokens":5,"messages":[{"role":"user","content":"hello"}]}"#;

async fn admin(world: &World, method: Method, path: &str, body: &Value) -> (u16, Value) {
    let token = format!("Bearer {}", world.app.admin_token.load().expose());
    let request = Request::builder().method(method).uri(format!("http://{}{path}", world.admin));
    let body = if body.is_null() { String::new() } else { body.to_string() };
    let answer = world.send(request.header("authorization", token).body(Full::new(body.into())).unwrap()).await;
    (answer.status.as_u16(), serde_json::from_slice(&answer.body).unwrap_or_default())
}

async fn ask(world: &World, secret: &str) -> u16 {
    let mut request = world.post("/v1/chat/completions", CHAT);
    request.headers_mut().insert("authorization", format!("Bearer {secret}").parse().unwrap());
    world.send(request).await.status.as_u16()
}

const PREPAID: &str = "[keys.ci.caps]\ntotal = \"0.0000001\"\n[defaults.key]\ncaps = { total = \"0\" }";

#[tokio::test]
async fn a_prepaid_cap_is_raised_by_a_top_up_and_stays_so() {
    let world = World::start(PREPAID).await;
    assert_eq!(ask(&world, KEY).await, 400);
    let top_up = json!({"scope": "key", "name": "ci", "amount_usd": "0.5", "actor": "ada", "reason": "invoice 7"});
    let (status, said) = admin(&world, Method::POST, "/admin/v1/top-ups", &top_up).await;
    assert_eq!((status, &said["amount_usd"], &said["actor"]), (201, &json!("0.500000000000"), &json!("ada")), "{said}");
    assert_eq!(ask(&world, KEY).await, 200);
    let caps = async |world: &World| {
        let caps = admin(world, Method::GET, "/admin/v1/caps", &Value::Null).await.1;
        caps["caps"].as_array().unwrap().iter().find(|row| row["name"] == "ci").unwrap()["cap_usd"].clone()
    };
    assert_eq!(caps(&world).await, "0.5000001");
    world.settled().await;
    let again = world.again(PREPAID).await;
    assert_eq!((caps(&again).await, ask(&again, KEY).await), (json!("0.5000001"), 200));
    // A key that has no section of its own has the cap of the defaults, and its own money.
    let made = admin(&world, Method::POST, "/admin/v1/keys", &json!({"name": "guest"})).await.1;
    let secret = made["secret"].as_str().unwrap();
    assert_eq!(ask(&world, secret).await, 400);
    let guest = json!({"scope": "key", "name": "guest", "amount_usd": "1", "actor": "ada", "reason": "trial"});
    assert_eq!(admin(&world, Method::POST, "/admin/v1/top-ups", &guest).await.0, 201);
    assert_eq!(ask(&world, secret).await, 200);
}

#[tokio::test]
async fn a_top_up_that_would_raise_nothing_is_refused() {
    let world = World::start(PREPAID).await;
    let good = json!({"scope": "key", "name": "ci", "amount_usd": "1", "actor": "ada", "reason": "why"});
    for (field, value, says) in [
        ("scope", "team", "the config has no total cap of the team ci"),
        ("scope", "planet", "scope must be organisation, team"),
        ("name", "", "scope must be organisation, team"),
        ("amount_usd", "0", "amount_usd must be an amount above zero"),
        ("amount_usd", "-5", "amount_usd must be an amount above zero"),
        ("reason", " ", "actor and reason must say who tops up, and why"),
        ("more", "x", "unknown field `more`"),
    ] {
        let mut asked = good.clone();
        asked[field] = value.into();
        let (status, said) = admin(&world, Method::POST, "/admin/v1/top-ups", &asked).await;
        assert_eq!(status, 400, "{asked}");
        assert!(said["error"]["message"].as_str().unwrap().contains(says), "{says}: {said}");
    }
    let actions = admin(&world, Method::GET, "/admin/v1/actions", &Value::Null).await.1;
    assert_eq!(actions["actions"], json!([]));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_operators_did_is_listed_with_and_without_a_server() {
    let place = Place::new("[keys.ci.caps]\ntotal = \"1\"\n[organisation]\nlimits = { requests_per_day = 9 }").await;
    let config = place.config().to_str().unwrap().to_owned();
    let run = async |line: &str| {
        let mut words: Vec<&str> = line.split_whitespace().collect();
        words.extend(["--config", &config]);
        let output = place.run(&words).await;
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        (output.status.code(), text(&output.stdout), text(&output.stderr))
    };
    let mut served = place.serve().await;
    assert_eq!(run("keys create laptop --team search --actor ada --reason new").await.0, Some(0));
    assert_eq!(run("keys rotate laptop --actor bob").await.0, Some(0));
    let (exit, said, talk) = run("ledger top-up 2.5 --key ci --actor ada --reason invoice").await;
    assert_eq!(exit, Some(0), "{said}{talk}");
    assert_eq!(run("ledger adjust credit 0.25 --team search --actor ada --reason refund").await.0, Some(0));
    assert_eq!(run("ledger top-up 2.5 --team search --actor ada --reason invoice").await.0, Some(64));
    let request = place.client.request(served.post("/v1/chat/completions", CHAT)).await.unwrap();
    assert_eq!(request.status(), 200);
    drop(request);
    let text = std::fs::read_to_string(place.config()).unwrap();
    std::fs::write(place.config(), text.replace("requests_per_day = 9", "requests_per_day = 8")).unwrap();
    let (exit, _, talk) = run("reload --actor carol --reason tighter").await;
    assert_eq!(exit, Some(0), "{talk}");

    let (exit, sheet, talk) = run("check --key ci").await;
    assert_eq!(exit, Some(0), "{talk}");
    for line in ["status     live", "team       search", "now        organisation: requests_per_day: 7 of 8 left"] {
        assert!(sheet.lines().any(|known| known == line), "{line}\n{sheet}");
    }
    let cap = sheet.lines().find(|line| line.starts_with("cap ")).unwrap();
    assert!(cap.contains("key ci, total: $3.5, $0.0") && cap.ends_with(" left; then refused"), "{cap}");
    assert!(!sheet.contains(KEY));
    let (_, made, _) = run("check --key laptop").await;
    assert!(made.contains("made at run time") && made.contains("team       search"), "{made}");

    let (exit, listed, _) = run("ledger actions --json").await;
    assert_eq!(exit, Some(0));
    let said: Value = serde_json::from_str(&listed).unwrap();
    let actions: Vec<_> =
        said["actions"].as_array().unwrap().iter().map(|one| (&one["action"], &one["actor"])).collect();
    let expect = [
        ("key_created", "ada"),
        ("key_rotated", "bob"),
        ("top_up", "ada"),
        ("adjustment", "ada"),
        ("config_loaded", "carol"),
    ];
    let expect = expect.map(|(action, actor)| (json!(action), json!(actor)));
    assert_eq!(actions, expect.iter().map(|(action, actor)| (action, actor)).collect::<Vec<_>>());
    served.signal("TERM");
    tokio::time::timeout(LONG, served.end()).await.unwrap();
    assert_eq!(run("ledger actions --json").await.1, listed);
    let (_, table, _) = run("ledger actions --since 1h").await;
    assert!(table.contains("top_up") && table.contains("key ci $2.5") && table.contains("tighter"), "{table}");
    assert_eq!(run("ledger top-up 0.5 --key ci --actor ada --reason more").await.0, Some(0));
    let (_, sheet, _) = run("check --key ci").await;
    assert!(sheet.contains("key ci, total: $4, $0.0"), "{sheet}");
    let (exit, verified, _) = run("ledger verify").await;
    assert_eq!(exit, Some(0), "{verified}");
    let (exit, _, talk) = run("check --key nobody").await;
    assert_eq!((exit, talk.contains("known: ci")), (Some(1), true), "{talk}");
}

#[tokio::test]
async fn the_day_of_a_limit_goes_on_after_a_restart() {
    let now_us = Arc::new(AtomicU64::new(1_795_000_000_000_000));
    let on = || Surroundings { clock: Clock::Manual(now_us.clone()), ..Surroundings::default() };
    let limits = "[teams.search.limits]\nrequests_per_day = 3";
    let first = World::on(limits, on()).await;
    assert_eq!([ask(&first, KEY).await, ask(&first, KEY).await], [200, 200]);
    first.settled().await;
    now_us.fetch_add(23 * 3_600_000_000, Ordering::Relaxed);
    let folder = tempfile::tempdir().unwrap();
    world::copy(first.folder.path(), folder.path());
    let second = World::in_folder(first.provider, first.mock.clone(), limits, on(), folder).await;
    assert_eq!([ask(&second, KEY).await, ask(&second, KEY).await], [200, 429]);
    now_us.fetch_add(3_700_000_000, Ordering::Relaxed);
    assert_eq!([ask(&second, KEY).await, ask(&second, KEY).await, ask(&second, KEY).await], [200, 200, 429]);
}

#[tokio::test]
async fn a_cap_on_a_tag_counts_the_past_of_a_name_that_becomes_a_key_with_that_tag() {
    let cap = "[tags.\"feature=search\"]\ncaps = { day = \"1\" }\n";
    let plain = "[keys.plain]\nsecret = { env = \"PLAIN_KEY\" }\n";
    let world = World::start(&format!("{cap}{plain}")).await;
    assert_eq!(ask(&world, "tg_plain_0123456789abcdef").await, 200);
    world.settled().await;
    let spent = async |world: &World| {
        world.settled().await;
        let mut all = world.app.bank.standings();
        all.retain(|standing| standing.scope == Scope::Tag("feature=search".into()));
        all[0].spent
    };
    assert_eq!(spent(&world).await, Usd::ZERO);
    // The config gives the name up, and somebody makes a key of that name.
    let env = [("TEST_KEY", KEY), ("PROVIDER_KEY", "sk-provider")].map(|(name, value)| (name.into(), value.into()));
    let text = world::config_text(world.provider, &world.folder, cap);
    let mut config = Config::parse(&text, "t", &env.into()).unwrap();
    let before = world.app.snapshot.load_full();
    config.ring = before.config.ring.clone();
    let after = tollgate::app::Snapshot::after(&before, config).unwrap();
    let config = after.config.clone();
    world.app.bank.adopt(&config, || world.app.snapshot.store(Arc::new(after))).await.unwrap();
    assert_eq!(spent(&world).await, Usd::ZERO);
    let made = json!({"name": "plain", "tags": {"feature": "search"}});
    let (status, made) = admin(&world, Method::POST, "/admin/v1/keys", &made).await;
    assert_eq!(status, 201, "{made}");
    let counted = spent(&world).await;
    assert!(counted > Usd::ZERO);
    assert_eq!(ask(&world, made["secret"].as_str().unwrap()).await, 200);
    let all = spent(&world).await;
    assert!(all > counted);
    assert_eq!(spent(&world.again(cap).await).await, all, "as a start counts it");
    let numbers = tollgate::admin::state::metrics(&world.app);
    for line in
        ["tollgate_keys{source=\"store\",status=\"live\"} 1", "tollgate_keys{source=\"config\",status=\"live\"} 1"]
    {
        assert!(numbers.lines().any(|known| known == line), "{line}");
    }
}
