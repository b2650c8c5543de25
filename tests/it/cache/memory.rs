//! The memory of a whole process whose cache is full and goes on being filled.

use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use http::HeaderValue;
use http_body_util::{BodyExt, Full};
use tokio::task::JoinSet;

use crate::child::{Place, Served};

/// What the cache may take.
const BUDGET_MIB: u64 = 48;

/// Requests before anything is kept, which warm up all else; requests whose answers are kept, half as many again as have
/// room; and those after them.
const WARM: u64 = 4_000;
const KEPT: u64 = 30_000;
const MORE: u64 = 15_000;

/// Requests at once.
const CLIENTS: u64 = 16;

/// How full the cache is at least, and what all else may grow by meanwhile: it was up to 1.7 MiB in 100,000 requests without a cache.
const FULL_PERCENT: u64 = 90;
const ELSE_MIB: u64 = 2;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_process_grows_by_no_more_than_its_cache_may_take() {
    let config = format!(
        "[routing]\nmode = \"off\"\n[cache]\nmode = \"exact\"\nstore_sampled = true\nmemory_mib = {BUDGET_MIB}\n"
    );
    let place = Place::new(&config).await;
    let served = place.serve().await;
    ask(&place, &served, "bypass", 0..WARM).await;
    let before = resident_kib(&served);
    ask(&place, &served, "miss", WARM..WARM + KEPT).await;
    let full = resident_kib(&served);
    let budget = BUDGET_MIB * 1024;
    let (least, most) = (budget * FULL_PERCENT / 100, budget * 110 / 100 + ELSE_MIB * 1024);
    let grown = full - before;
    assert!((least..=most).contains(&grown), "{before} KiB grew by {grown} KiB; {least} to {most} were meant");
    ask(&place, &served, "miss", WARM + KEPT..WARM + KEPT + MORE).await;
    let after = resident_kib(&served);
    assert!(after <= full + ELSE_MIB * 1024, "a full cache grew from {full} to {after} KiB");
}

/// Asks questions that nobody asked before; the cache says what is expected.
async fn ask(place: &Place, served: &Served, expect: &'static str, numbers: Range<u64>) {
    let next = Arc::new(AtomicU64::new(numbers.start));
    let clients: JoinSet<()> = (0..CLIENTS)
        .map(|_| {
            let (next, client, blank) = (next.clone(), place.client.clone(), served.post("/v1/chat/completions", ""));
            let end = numbers.end;
            async move {
                loop {
                    let number = next.fetch_add(1, Ordering::Relaxed);
                    if number >= end {
                        return;
                    }
                    let body = format!(r#"{{"model":"gpt-4o","messages":[{{"role":"user","content":"{number}"}}]}}"#);
                    let mut request = blank.clone();
                    *request.body_mut() = Full::new(body.into());
                    if expect == "bypass" {
                        request.headers_mut().insert("cache-control", HeaderValue::from_static("no-store"));
                    }
                    let answer = client.request(request).await.unwrap();
                    assert_eq!(answer.headers()["x-tollgate-cache"], expect);
                    answer.into_body().collect().await.unwrap();
                }
            }
        })
        .collect();
    clients.join_all().await;
}

fn resident_kib(served: &Served) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{}/status", served.process.id().unwrap())).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    line.trim().trim_end_matches(" kB").parse().unwrap()
}
