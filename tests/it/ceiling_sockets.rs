//! The ceiling over real sockets: the real program, 200 clients at once, and the bill that the mock keeps for itself.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use serde_json::Value;
use tollgate::domain::entry::{Entry, Outcome};
use tollgate::domain::money::Usd;

use super::child::{HttpClient, Place, Served};
use super::raw::LONG;
use super::world::KEY;

const CLIENTS: u64 = 200;

/// How many clients got what.
#[derive(Default)]
struct Tally {
    served: AtomicU64,
    refused: AtomicU64,
}

fn usd(text: &str) -> Usd {
    Usd::parse(text).unwrap()
}

fn chat(address: SocketAddr, turn: u64) -> Request<Full<Bytes>> {
    let stream = turn.is_multiple_of(2);
    let body = format!(
        r#"{{"model":"gpt-4o","max_tokens":300,"service_tier":"default","stream":{stream},"messages":[{{"role":"user","content":"count"}}]}}"#
    );
    Request::post(format!("http://{address}/v1/chat/completions"))
        .header("authorization", format!("Bearer {KEY}"))
        .header("content-type", "application/json")
        .header("x-mock-tokens", (100 + turn * 37 % 400).to_string())
        .header("x-mock-chunks", "6")
        .body(Full::new(Bytes::from(body)))
        .unwrap()
}

/// Asks until a cap refuses, the server is gone, or it has asked `turns` times. Leaves some streams in the middle.
async fn ask(client: HttpClient, address: SocketAddr, first: u64, turns: u64, tally: Arc<Tally>) {
    for turn in first..first + turns {
        let Ok(response) = client.request(chat(address, turn)).await else { return };
        let status = response.status().as_u16();
        let mut body = response.into_body();
        if status == 400 {
            tally.refused.fetch_add(1, Ordering::Relaxed);
            return;
        }
        assert_eq!(status, 200);
        if turn % 10 == 4 {
            let _first = body.frame().await;
            continue;
        }
        if body.collect().await.is_ok() {
            tally.served.fetch_add(1, Ordering::Relaxed);
        }
    }
}

fn crowd(place: &Place, served: &Served, turns: u64, tally: &Arc<Tally>) -> Vec<tokio::task::JoinHandle<()>> {
    let one = |number| tokio::spawn(ask(place.client.clone(), served.address, number * 7, turns, tally.clone()));
    (0..CLIENTS).map(one).collect()
}

async fn join(crowd: Vec<tokio::task::JoinHandle<()>>) {
    for client in crowd {
        tokio::time::timeout(LONG * 4, client).await.expect("a client hangs").unwrap();
    }
}

async fn admin(place: &Place, served: &Served, path: &str, body: Option<String>) -> (u16, String) {
    let token = std::fs::read_to_string(place.folder.path().join("admin-token")).unwrap();
    let method = if body.is_some() { "POST" } else { "GET" };
    let request = Request::builder()
        .method(method)
        .uri(format!("http://{}{path}", served.admin))
        .header("authorization", format!("Bearer {}", token.trim()))
        .body(Full::new(Bytes::from(body.unwrap_or_default())))
        .unwrap();
    let (head, body): (_, Incoming) = place.client.request(request).await.map(Response::into_parts).unwrap();
    (head.status.as_u16(), String::from_utf8(body.collect().await.unwrap().to_bytes().to_vec()).unwrap())
}

/// Spent and held under the organisation's cap.
async fn standing(place: &Place, served: &Served) -> (Usd, Usd) {
    let (_, text) = admin(place, served, "/admin/v1/caps", None).await;
    let caps: Value = serde_json::from_str(&text).unwrap();
    let cap = &caps["caps"][0];
    (usd(cap["spent_usd"].as_str().unwrap()), usd(cap["held_usd"].as_str().unwrap()))
}

/// Waits until a page of the admin listener satisfies `is_there`.
async fn until(place: &Place, served: &Served, path: &str, is_there: impl Fn(&str) -> bool) {
    let there = async {
        while !is_there(&admin(place, served, path, None).await.1) {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(LONG * 2, there).await.unwrap_or_else(|_| panic!("{path} never came to it"));
}

/// Waits until nothing is in flight: also what clients have left is read to its end.
async fn idle(place: &Place, served: &Served) {
    until(place, served, "/metrics", |text| text.contains("\ntollgate_in_flight 0\n")).await;
}

fn sum(entries: &[Entry]) -> Usd {
    entries.iter().filter_map(|entry| entry.cost).sum()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_hundred_clients_and_a_kill_never_pass_a_dollar() {
    let place = Place::new("[organisation]\ncaps = { day = \"1\" }\n[money]\nhold_expiry_s = 2").await;
    let (tally, mut served) = (Arc::new(Tally::default()), place.serve().await);
    let clients = crowd(&place, &served, 50, &tally);
    let busy = async {
        while tally.served.load(Ordering::Relaxed) < 40 {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(LONG, busy).await.expect("it answers nothing");
    served.process.start_kill().unwrap();
    served.end().await;
    join(clients).await;
    let served = place.serve().await;
    join(crowd(&place, &served, 50, &tally)).await;
    idle(&place, &served).await;
    until(&place, &served, "/metrics", |text| text.contains("\ntollgate_requests_left_open 0\n")).await;
    until(&place, &served, "/metrics", |text| text.contains("\ntollgate_journal_unsynced_bytes 0\n")).await;
    let (bill, (spent, held), entries) = (place.mock.bill().total(), standing(&place, &served).await, place.entries());
    let unsettled: Vec<&Entry> = entries.iter().filter(|entry| entry.outcome == Outcome::Unsettled).collect();
    println!(
        "{} served, {} refused, {} unsettled, billed {bill}, spent {spent}",
        tally.served.load(Ordering::Relaxed),
        tally.refused.load(Ordering::Relaxed),
        unsettled.len()
    );
    assert!(bill <= usd("1") && spent <= usd("1"), "billed {bill}, spent {spent}");
    assert!(bill <= spent && held == Usd::ZERO && spent == sum(&entries), "{bill} {spent} {held} {}", sum(&entries));
    assert!(tally.refused.load(Ordering::Relaxed) > 0 && !unsettled.is_empty());
    free(&place, &served, &unsettled, spent).await;
}

/// One correction each takes what is unsettled off the cap.
async fn free(place: &Place, served: &Served, unsettled: &[&Entry], mut spent: Usd) {
    let config = place.config().display().to_string();
    for (number, entry) in unsettled.iter().enumerate() {
        assert_eq!(entry.cost, entry.quote);
        let (amount, id) = (entry.cost.unwrap().fixed(), entry.id.to_string());
        if number < 2 {
            let output = place
                .run(&[
                    "ledger",
                    "adjust",
                    "credit",
                    &amount,
                    "--request",
                    &id,
                    "--actor",
                    "ada",
                    "--reason",
                    "x",
                    "--config",
                    &config,
                ])
                .await;
            assert!(output.status.success(), "{output:?}");
        } else {
            let body = serde_json::json!({"direction": "credit", "amount_usd": amount, "actor": "ada", "reason": "x", "request_id": id});
            let (status, text) = admin(place, served, "/admin/v1/adjustments", Some(body.to_string())).await;
            assert_eq!(status, 201, "{text}");
        }
        spent = spent.less(entry.cost.unwrap());
        assert_eq!(standing(place, served).await.0, spent);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_hundred_clients_use_nearly_all_of_a_dollar() {
    let place = Place::new("[organisation]\ncaps = { day = \"1\" }\non_exceed = \"shrink\"").await;
    let (tally, served) = (Arc::new(Tally::default()), place.serve().await);
    join(crowd(&place, &served, 50, &tally)).await;
    idle(&place, &served).await;
    // Those who were refused while others held the money would ask again; one of them takes what is left.
    let refused = tally.refused.load(Ordering::Relaxed);
    while tally.refused.load(Ordering::Relaxed) == refused {
        ask(place.client.clone(), served.address, 1, 1, tally.clone()).await;
    }
    idle(&place, &served).await;
    let (bill, (spent, held)) = (place.mock.bill().total(), standing(&place, &served).await);
    until(&place, &served, "/metrics", |text| text.contains("\ntollgate_journal_unsynced_bytes 0\n")).await;
    let most = place.entries().iter().filter_map(|entry| entry.quote).max().unwrap();
    println!("{} served, billed {bill}, spent {spent}, quotes up to {most}", tally.served.load(Ordering::Relaxed));
    assert!(most <= usd("0.005"), "a quote of {most} is more than half a percent of the cap");
    assert!(bill <= usd("1") && spent <= usd("1") && held == Usd::ZERO, "billed {bill}, spent {spent}");
    assert!(spent >= usd("0.97"), "spent {spent}");
}
