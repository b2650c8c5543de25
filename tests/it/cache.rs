//! The cache as clients meet it: the same answer again, byte for byte, to those who may have it and to nobody else.

mod disk;
mod isolation;
mod join;
mod memory;
mod near;
mod never;
mod policy;
mod purge;
mod replay;
mod stale;

use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use bytes::Bytes;
use http::Request;
use http_body_util::Full;
use tollgate::app::Surroundings;
use tollgate::clock::Clock;

use crate::world::{Answer, World};

/// A cache that keeps what is certain.
const ON: &str = "[cache]\nmode = \"exact\"\n";

/// A Sunday in 2026.
const START_US: u64 = 1_795_000_000_000_000;

/// A header that is in the key; those who ask the same have to send the same.
const VERSION: (&str, &str) = ("anthropic-version", "2023-06-01");

const CHAT: &str = "/v1/chat/completions";

/// A world and the hands of its clock.
async fn world(extra: &str) -> (World, Arc<AtomicU64>) {
    let now_us = Arc::new(AtomicU64::new(START_US));
    let surroundings = Surroundings { clock: Clock::Manual(now_us.clone()), ..Surroundings::default() };
    (World::on(extra, surroundings).await, now_us)
}

/// A question whose answer is certain.
fn chat(text: &str) -> String {
    format!(r#"{{"model":"gpt-4o","temperature":0,"messages":[{{"role":"user","content":"{text}"}}]}}"#)
}

fn with(mut request: Request<Full<Bytes>>, headers: &[(&'static str, &str)]) -> Request<Full<Bytes>> {
    for (name, value) in headers {
        request.headers_mut().insert(*name, value.parse().unwrap());
    }
    request
}

/// Asks, and says what the cache did.
async fn ask(world: &World, path: &str, body: &str) -> (String, Answer) {
    ask_with(world, path, body, &[]).await
}

async fn ask_with(world: &World, path: &str, body: &str, headers: &[(&'static str, &str)]) -> (String, Answer) {
    let request = with(world.post(path, body.to_owned()), &[VERSION]);
    let answer = world.send(with(request, headers)).await;
    // The entry is written with the last byte, which the client may have before that.
    world.settled().await;
    (answer.header("x-tollgate-cache").to_owned(), answer)
}

/// Waits until so many requests are in flight.
async fn in_flight(world: &World, count: i64) {
    let waiting = async {
        while world.app.metrics.in_flight.get() != count {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(std::time::Duration::from_secs(60), waiting).await.expect("requests that do not come");
}

/// Waits until so many requests stand before the gate of the provider; a failure of the test where they never come.
async fn arrived(world: &World, count: u64) {
    let gate = world.mock.gate("here");
    let waiting = gate.wait_for_arrivals(count);
    tokio::time::timeout(std::time::Duration::from_secs(60), waiting).await.expect("requests that are not sent");
}
