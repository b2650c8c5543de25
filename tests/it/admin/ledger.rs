//! Reports and single requests over HTTP.

use http::StatusCode;
use proptest::prelude::*;
use serde_json::Value;
use tollgate::bank::debt::Closing;
use tollgate::domain::entry::{Entry, Outcome};
use tollgate::domain::money::Usd;
use tollgate::domain::tokens::UsageSource;

use super::CONFIG;
use crate::harness::{House, app};

/// 2026-11-22T13:00:00Z
pub const NOW_MS: u64 = 1_795_352_400_000;

/// What a request of `team` says of itself before it is dispatched.
pub fn entry(team: &str, input: u64) -> Entry {
    let mut entry = Entry::blank();
    entry.at_ms = NOW_MS;
    (entry.account.key, entry.account.team) = ("ci".into(), Some(team.into()).filter(|_| !team.is_empty()));
    (entry.model, entry.upstream) = ("gpt-5-mini".into(), "openai".into());
    (entry.status, entry.usage.input) = (200, input);
    entry
}

/// A complete answer that costs so many pico-dollars.
pub fn closing(pico: u128) -> Closing {
    let cost = Some(Usd::from_pico(pico));
    Closing { status: 200, outcome: Outcome::Complete, usage_source: UsageSource::Reported, cost }
}

async fn json(house: &House, target: &str) -> Value {
    let (status, text) = house.get(target).await;
    assert_eq!(status, StatusCode::OK, "{target}: {text}");
    serde_json::from_str(&text).unwrap()
}

fn pico(row: &Value) -> u128 {
    Usd::parse(row["spend_usd"].as_str().unwrap()).unwrap().pico()
}

prop_compose! {
    fn some_request()(
        team in prop::sample::select(vec!["", "search", "chat", "=x()"]), user in prop::option::of(0..3_u8), key in 0..3_u8,
        model in 0..3_u8, hours in 0..72_u64, cost in prop::option::of(0..1_u128 << 60), input in 0..1_u64 << 30, counted: bool,
    ) -> (Entry, Closing) {
        let mut entry = entry(team, input);
        (entry.account.user, entry.account.key) = (user.map(|user| format!("u{user}").into()), format!("k{key}").into());
        (entry.model, entry.at_ms) = (format!("m{model}").into(), NOW_MS + hours * 3_600_000);
        let source = if counted { UsageSource::Counted } else { UsageSource::Reported };
        (entry, Closing { cost: cost.map(Usd::from_pico), usage_source: source, ..closing(0) })
    }
}

#[test]
fn every_grouping_of_a_report_adds_up_to_the_ledger() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    proptest!(ProptestConfig::with_cases(12), |(requests in prop::collection::vec(some_request(), 1..30))| {
        runtime.block_on(async {
            let house = app(CONFIG);
            let (mut spend, mut input, mut unpriced) = (0, 0, 0);
            for (entry, closing) in &requests {
                (spend, input) = (spend + closing.cost.unwrap_or_default().pico(), input + entry.usage.input);
                unpriced += u64::from(closing.cost.is_none());
                house.settle(entry.clone(), *closing).await;
            }
            for by in ["", "team", "user", "key", "model", "day", "team,model", "day,key,user", "team,user,key,model,day"] {
                let report = json(&house, &format!("/admin/v1/report?by={by}")).await;
                let (rows, total) = (report["rows"].as_array().unwrap(), &report["total"]);
                assert_eq!((pico(total), &total["input_tokens"]), (spend, &input.into()), "{by}");
                assert_eq!((&total["requests"], &total["unpriced_requests"]), (&requests.len().into(), &unpriced.into()));
                assert_eq!(report["incomplete"], unpriced > 0);
                let sums = (rows.iter().map(pico).sum::<u128>(), rows.iter().map(|row| row["requests"].as_u64().unwrap()).sum::<u64>());
                assert!(by.is_empty() || sums == (spend, requests.len() as u64), "{by}: {sums:?}");
            }
        });
    });
}

#[tokio::test]
async fn days_and_times_are_of_the_zone_that_is_asked_for() {
    let house = app(CONFIG);
    // 23:30 in Berlin, 22:30 in UTC; then half past midnight in Berlin, still the same day in UTC.
    for at_ms in [NOW_MS + 34_200_000, NOW_MS + 37_800_000] {
        house.settle(Entry { at_ms, ..entry("search", 1) }, closing(7)).await;
    }
    let days = async |more: &str| {
        let report = json(&house, &format!("/admin/v1/report?by=day{more}")).await;
        let day = |row: &Value| format!("{} {}", row["day"].as_str().unwrap(), row["requests"]);
        report["rows"].as_array().unwrap().iter().map(day).collect::<Vec<_>>()
    };
    assert_eq!(days("").await, ["2026-11-22 1", "2026-11-23 1"], "the zone of the config");
    assert_eq!(days("&tz=UTC").await, ["2026-11-22 2"]);
    assert_eq!(days("&since=2026-11-23").await, ["2026-11-23 1"]);
    assert_eq!(days("&until=2026-11-23").await, ["2026-11-22 1"]);
    assert_eq!(days("&since=2026-11-23&tz=UTC").await, Vec::<String>::new());
    assert_eq!(days("&since=2026-11-23T00:00:00%2B01:00").await, ["2026-11-23 1"]);
    assert_eq!(days("&since=2026-11-23T00:00:00+01:00").await, ["2026-11-23 1"]);
}

#[tokio::test]
async fn formats_are_those_of_the_command() {
    let house = app(CONFIG);
    house.settle(entry("search", 5), closing(1_500_000_000_000)).await;
    let (_, csv) = house.get("/admin/v1/report?by=team&format=csv").await;
    assert!(
        csv.starts_with("team,requests,errors,spend_usd,") && csv.contains("\r\nsearch,1,0,1.500000000000,5,"),
        "{csv}"
    );
    let (_, table) = house.get("/admin/v1/report?by=team&format=table").await;
    assert!(table.contains("days in Europe/Berlin"), "{table}");
}

#[tokio::test]
async fn a_request_is_found_as_soon_as_it_has_ended() {
    let house = app(CONFIG);
    for number in 0..20 {
        let id = house.settle(entry("search", number), closing(u128::from(number))).await;
        let found = json(&house, &format!("/admin/v1/requests/{id}")).await;
        assert_eq!(found["request_id"], id.to_string());
        assert_eq!(found["cost_usd"], Usd::from_pico(u128::from(number)).fixed());
        assert_eq!((&found["usage"]["input"], &found["team"]), (&number.into(), &"search".into()));
        assert_eq!(found["attempts"].as_array().unwrap().len(), 1);
        assert_eq!(found["entry_hash"].as_str().unwrap().len(), 64);
    }
    let other = house.app.mint.request_id(NOW_MS);
    let (status, text) = house.get(&format!("/admin/v1/requests/{other}")).await;
    assert_eq!(status, StatusCode::NOT_FOUND);
    assert!(text.contains(&other.to_string()), "{text}");
}

#[tokio::test]
async fn a_damaged_ledger_is_an_error_and_no_small_sum() {
    let house = app(CONFIG);
    for _ in 0..3 {
        house.settle(entry("search", 5), closing(5)).await;
        house.app.bank.flush().await.unwrap();
    }
    let segments = house.folder.path().join("data/journal");
    let segment = std::fs::read_dir(segments).unwrap().next().unwrap().unwrap().path();
    let mut bytes = std::fs::read(&segment).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 0xff;
    std::fs::write(&segment, bytes).unwrap();
    let (status, text) = house.get("/admin/v1/report?format=json").await;
    // The index may have summed all of it before the damage, and may then answer; nothing answers with a part.
    match status {
        StatusCode::OK => assert!(text.contains(r#""requests":3"#), "{text}"),
        status => assert!(status == StatusCode::INTERNAL_SERVER_ERROR && text.contains("ledger_unreadable"), "{text}"),
    }
}
