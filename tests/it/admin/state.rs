//! Readiness, numbers, the config, and what describes the interface.

use std::sync::Arc;

use http::StatusCode;
use serde_json::Value;
use tollgate::admin::{self, Door};
use tollgate::app::Surroundings;
use tollgate::drain::Phase;

use super::CONFIG;
use super::ledger::{closing, entry};
use crate::harness::{Breakable, House, KEY, TOKEN, app, app_in, request};

async fn readiness(house: &House) -> (StatusCode, Value) {
    let (status, text) = house.get("/readyz").await;
    (status, serde_json::from_str(&text).unwrap())
}

#[tokio::test]
async fn ready_means_that_requests_can_be_recorded() {
    let disk = Breakable::default();
    // Somebody has a cap, and must not be served by a process that cannot record.
    let text = format!("{CONFIG}\n[organisation]\ncaps = {{ day = \"1000\" }}\n");
    let house = app_in(&text, Surroundings { disk: Arc::new(disk.clone()), ..Surroundings::default() });
    let (status, said) = readiness(&house).await;
    assert_eq!((status, &said["ready"], &said["store"]["writable"]), (StatusCode::OK, &true.into(), &true.into()));
    assert_eq!(said["config"].as_str().unwrap(), house.app.snapshot.load().config.hash());
    assert_eq!(said["version"], env!("CARGO_PKG_VERSION"));
    assert!(said["scope"].as_str().unwrap().contains("owns its ledger"));

    let id = house.settle(entry("search", 5), closing(5)).await;
    house.app.bank.flush().await.unwrap();
    disk.fail();
    house.settle_into_the_void(entry("search", 5)).await;
    assert!(house.app.bank.flush().await.is_err());
    let (status, said) = readiness(&house).await;
    assert_eq!((status, &said["ready"]), (StatusCode::SERVICE_UNAVAILABLE, &false.into()));
    assert!(said["store"]["failed"].as_str().unwrap().contains("the disk is gone"), "{said}");
    assert_eq!(house.get("/livez").await, (StatusCode::OK, "ok\n".to_owned()));
    assert!(house.get("/metrics").await.1.contains("\ntollgate_journal_failed 1\n"));
    assert_eq!(house.get(&format!("/admin/v1/requests/{id}")).await.0, StatusCode::OK, "what is written can be read");
}

#[tokio::test]
async fn a_process_that_ends_is_live_and_not_ready() {
    let house = app(CONFIG);
    house.app.drain.advance(Phase::Draining);
    let (status, said) = readiness(&house).await;
    assert_eq!((status, &said["phase"]), (StatusCode::SERVICE_UNAVAILABLE, &"draining".into()));
    assert_eq!(said["store"]["writable"], true);
    assert_eq!(house.get("/livez").await.0, StatusCode::OK);
}

#[tokio::test]
async fn metrics_are_what_prometheus_reads() {
    let house = app(CONFIG);
    house.settle(entry("search", 1_000_000_000_000), closing(1_000_000_000_000)).await;
    assert!(house.app.scribe.catch_up(std::time::Duration::from_secs(10)));
    house.app.bank.flush().await.unwrap();
    let _place = house.app.connections.take().unwrap();
    let (_, text) = house.get("/metrics").await;
    let mut typed = std::collections::HashSet::new();
    for line in text.lines() {
        if let Some(rest) = line.strip_prefix("# TYPE ") {
            assert!(typed.insert(rest.split(' ').next().unwrap()), "twice: {line}");
        } else if !line.starts_with('#') {
            let (series, value) = line.rsplit_once(' ').unwrap();
            let name = series.split('{').next().unwrap();
            let family = ["_bucket", "_sum", "_count"].iter().find_map(|end| name.strip_suffix(end)).unwrap_or(name);
            assert!(typed.contains(name) || typed.contains(family), "{line}");
            assert!(value.parse::<f64>().is_ok(), "{line}");
        }
    }
    for line in ["tollgate_journal_failed 0", "tollgate_connections 1", "tollgate_journal_lag_records 0"] {
        assert!(text.lines().any(|known| known == line), "{line}");
    }
    assert!(text.lines().any(|line| line.starts_with("tollgate_requests_total{") && line.ends_with(" 1")), "{text}");
}

#[tokio::test]
async fn the_config_is_shown_without_its_secrets() {
    let house = app(CONFIG);
    let (status, text) = house.get("/admin/v1/config").await;
    assert_eq!(status, StatusCode::OK);
    assert!(text.contains("time_zone = \"Europe/Berlin\"") && text.contains("[keys.ci]"), "{text}");
    assert!(!text.contains(TOKEN) && !text.contains(KEY), "{text}");
}

#[tokio::test]
async fn what_is_described_is_there() {
    let house = app(CONFIG);
    let (_, text) = house.get("/admin/v1/openapi.json").await;
    let said: Value = serde_json::from_str(&text).unwrap();
    assert_eq!(said["info"]["version"], env!("CARGO_PKG_VERSION"));
    let id = house.settle(entry("search", 5), closing(5)).await;
    for (path, methods) in said["paths"].as_object().unwrap() {
        if methods["post"].is_object() && !methods["get"].is_object() {
            assert_eq!(house.get(path).await.0, StatusCode::METHOD_NOT_ALLOWED, "{path}");
            continue;
        }
        assert!(methods["get"]["responses"]["200"].is_object(), "{path}");
        let (status, body) = house.get(&path.replace("{id}", &id.to_string()).replace("{name}", "ci")).await;
        assert_eq!(status, StatusCode::OK, "{path}: {body}");
    }
    let schema = &said["components"]["schemas"];
    for (target, name) in [("/readyz", "Readiness"), ("/admin/v1/report?by=team", "Report")] {
        let answer: Value = serde_json::from_str(&house.get(target).await.1).unwrap();
        let known: Vec<_> = schema[name]["properties"].as_object().unwrap().keys().collect();
        assert_eq!(answer.as_object().unwrap().keys().collect::<Vec<_>>(), known, "{target}");
        assert!(
            schema[name]["required"]
                .as_array()
                .unwrap()
                .iter()
                .all(|field| answer.get(field.as_str().unwrap()).is_some())
        );
    }
}

#[tokio::test]
async fn the_page_comes_with_its_policy() {
    let house = app(CONFIG);
    let door = Door::Tcp { peer: [127, 0, 0, 1].into() };
    let answer = admin::answer(&house.app, door, request("/", &[])).await;
    let policy = answer.headers()["content-security-policy"].to_str().unwrap();
    assert!(policy.starts_with("default-src 'none'; script-src 'sha256-"), "{policy}");
    assert_eq!(answer.headers()["content-type"], "text/html; charset=utf-8");
}
