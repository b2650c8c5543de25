//! Metered caps over real sockets: many agents at once, streams that are cut, and how far the bill may pass the cap.

use std::sync::Arc;

use http_body_util::BodyExt;
use serde_json::Value;
use tollgate::domain::entry::{Entry, Outcome};
use tollgate::domain::money::Usd;
use tollgate::domain::tokens::UsageSource;
use tollgate::protocol::facts::Ending;
use tollgate::protocol::meter::{Head, Meter};

use super::world::World;

const METERED: &str = "enforcement = \"metered\"\n";

fn usd(text: &str) -> Usd {
    Usd::parse(text).unwrap()
}

/// A path, a body, and what the mock is told.
type Stream = (&'static str, String, Vec<(&'static str, String)>);

/// A stream of each dialect that would like to be so long, with one token an event.
fn streams(max: u64, wanted: u64) -> Vec<Stream> {
    let mock = vec![("x-mock-tokens", wanted.to_string()), ("x-mock-chunks", wanted.to_string())];
    let hi = r#""messages":[{"role":"user","content":"hi"}]"#;
    vec![
        (
            "/v1/chat/completions",
            format!(r#"{{"model":"gpt-4o","max_tokens":{max},"stream":true,{hi}}}"#),
            mock.clone(),
        ),
        (
            "/v1/responses",
            format!(r#"{{"model":"gpt-4o","max_output_tokens":{max},"stream":true,"input":"hi"}}"#),
            mock.clone(),
        ),
        (
            "/v1/messages",
            format!(r#"{{"model":"claude-haiku-4-5","max_tokens":{max},"stream":true,{hi}}}"#),
            mock.clone(),
        ),
        (
            "/v1beta/models/gemini-2.5-flash-lite:streamGenerateContent?alt=sse",
            format!(
                r#"{{"contents":[{{"role":"user","parts":[{{"text":"hi"}}]}}],"generationConfig":{{"maxOutputTokens":{max}}}}}"#
            ),
            mock,
        ),
    ]
}

fn post(
    world: &World,
    path: &str,
    body: &str,
    headers: &[(&'static str, String)],
) -> http::Request<http_body_util::Full<bytes::Bytes>> {
    let mut request = world.post(path, body.to_owned());
    request.headers_mut().insert("anthropic-version", "2023-06-01".parse().unwrap());
    for (name, value) in headers {
        request.headers_mut().insert(*name, value.parse().unwrap());
    }
    request
}

/// 64 streams of a model at $25 a million output tokens, open at once: how many are served, and a refusal.
async fn agents(enforcement: &str) -> (World, usize, Option<Value>) {
    let world = World::start(&format!("[organisation]\ncaps = {{ day = \"25\" }}\n{enforcement}")).await;
    let body =
        r#"{"model":"claude-opus-4-8","max_tokens":64000,"stream":true,"messages":[{"role":"user","content":"work"}]}"#;
    let headers: Vec<(&str, String)> =
        [("x-mock-tokens", "1000"), ("x-mock-chunks", "40"), ("x-mock-gate", "all"), ("x-mock-gate-after", "30")]
            .map(|(name, value)| (name, value.to_owned()))
            .into();
    let (mut open, mut refusal) = (Vec::new(), None);
    for _ in 0..64 {
        let response = world.open(post(&world, "/v1/messages", body, &headers)).await;
        match response.status().as_u16() {
            200 => open.push(response),
            400 => {
                refusal =
                    Some(serde_json::from_slice(&response.into_body().collect().await.unwrap().to_bytes()).unwrap())
            }
            other => panic!("{other}"),
        }
    }
    world.mock.gate("all").open();
    let served = open.len();
    for response in open {
        let text = response.into_body().collect().await.unwrap().to_bytes();
        assert!(String::from_utf8_lossy(&text).contains("\"end_turn\""), "cut: {}", String::from_utf8_lossy(&text));
    }
    (world, served, refusal)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sixty_four_agents_stream_at_once_under_a_metered_cap() {
    let (world, served, refusal) = agents(METERED).await;
    assert_eq!((served, refusal), (64, None));
    let entries = world.entries().await;
    assert!(entries.iter().all(|entry| entry.usage.output == 1_000 && entry.outcome == Outcome::Complete));
    let standing = world.app.bank.standings().remove(0);
    assert_eq!((standing.spent, standing.held), (world.mock.bill().total(), Usd::ZERO));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_ceiling_refuses_most_of_them_and_says_why() {
    let (_world, served, refusal) = agents("").await;
    assert!((10..20).contains(&served), "{served}");
    let refusal = refusal.unwrap();
    let message = refusal["error"]["message"].as_str().unwrap();
    for part in ["organisation", "$25", "may cost up to $1.7", "$0 spent", "held for requests in flight"] {
        assert!(message.contains(part), "{part}: {message}");
    }
}

/// How far a stream came: its events with text, how it ended, and its text as it was sent.
async fn outcome(
    world: &World,
    request: http::Request<http_body_util::Full<bytes::Bytes>>,
    path: &str,
) -> (u64, Option<Ending>) {
    let response = world.open(request).await;
    if response.status() == 400 {
        return (0, None);
    }
    assert_eq!(response.status(), 200);
    let text = response.into_body().collect().await.expect("a stream was reset").to_bytes();
    let operation =
        tollgate::protocol::endpoint::Endpoint::of("POST", path.split('?').next().unwrap(), Default::default());
    let mut meter = Meter::new(
        operation.unwrap().operation,
        Head { status: 200, content_type: "text/event-stream", ..Head::default() },
    );
    let mut events = 0;
    meter.feed_events(&text, &mut |_| events += 1);
    let facts = meter.end();
    assert!(!facts.broken && facts.terminal && facts.error.is_none(), "{path}: {facts:?}");
    (events, facts.ending)
}

fn is_cut(entry: &Entry) -> bool {
    &*entry.reason == "metered_cut"
}

/// What the mock generated and Tollgate never saw, over all streams: at most this is billed above the holds.
fn in_flight(world: &World, entries: &[Entry], rate_pico: u128) -> Usd {
    // One byte of text or more stands for each token that was seen.
    let seen: u64 = entries.iter().map(|entry| entry.usage.output).sum();
    let generated: u64 = world.mock.bill().lines().iter().map(|line| line.counted.output).sum();
    Usd::from_pico(u128::from(generated.saturating_sub(seen)) * rate_pico)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn where_the_money_ends_a_stream_ends_as_at_its_limit() {
    for (path, body, headers) in streams(16_000, 8_000) {
        let world = World::start(&format!("[organisation]\ncaps = {{ day = \"0.04\" }}\n{METERED}")).await;
        let (events, ending) = outcome(&world, post(&world, path, &body, &headers), path).await;
        let entry = world.entries().await.remove(0);
        let standing = world.app.bank.standings().remove(0);
        if path.contains("gemini") {
            // It is so cheap that all of it fits.
            assert!(standing.spent == world.mock.bill().total() && !is_cut(&entry));
            continue;
        }
        assert_eq!(ending, Some(Ending::Length), "{path}");
        assert!(
            events > 100 && is_cut(&entry) && entry.usage_source == UsageSource::Counted,
            "{path}: {events} {entry:?}"
        );
        assert_eq!((standing.spent, standing.held), (entry.cost.unwrap(), Usd::ZERO));
        assert!(standing.spent <= standing.cap && standing.spent >= usd("0.004"), "{path}: {}", standing.spent);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_bill_passes_a_metered_cap_by_no_more_than_what_was_on_its_way() {
    let cap = usd("0.6");
    let world = Arc::new(World::start(&format!("[organisation]\ncaps = {{ day = \"{cap}\" }}\n{METERED}")).await);
    let (path, body, mut headers) = streams(16_000, 6_000).remove(0);
    headers.push(("x-mock-chunk-ms", "1".to_owned()));
    let tasks: Vec<_> = (0..24)
        .map(|number| {
            let (world, body, headers) = (world.clone(), body.clone(), headers.clone());
            tokio::spawn(async move {
                let request = post(&world, path, &body, &headers);
                if number % 4 == 3 {
                    // Leaves in the middle; the rest is read for its usage, and held for, all the same.
                    let mut body = world.open(request).await.into_body();
                    let _first = body.frame().await;
                    return;
                }
                let (_, ending) = outcome(&world, request, path).await;
                assert!(matches!(ending, None | Some(Ending::Length | Ending::Stop)), "{ending:?}");
            })
        })
        .collect();
    for task in tasks {
        task.await.unwrap();
    }
    let entries = world.entries().await;
    let (billed, standing) = (world.mock.bill().total(), world.app.bank.standings().remove(0));
    assert_eq!(standing.held, Usd::ZERO);
    let cut = entries.iter().filter(|entry| is_cut(entry)).count();
    // gpt-4o: $10 for a million tokens.
    let flying = in_flight(&world, &entries, 10_000_000);
    println!(
        "{} streams, {cut} cut, billed {billed}, spent {}, on its way {flying}, cap {cap}",
        entries.len(),
        standing.spent
    );
    assert!(cut > 0, "no stream was cut");
    assert!(standing.spent <= cap.plus(world.app.bank.overshoot()), "spent {}", standing.spent);
    assert!(billed <= cap.plus(flying), "billed {billed}, cap {cap}, on its way {flying}");
}

/// Many tokens at once are the worst for a hold that follows what it sees: the bill is driven past the cap, and to no more than
/// what the documentation says.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_overshoot_is_driven_to_its_bound_and_never_past_it() {
    const STREAMS: u64 = 12;
    const BURST: u64 = 2_000;
    let (path, body, mut headers) = streams(16_000, 4 * BURST).remove(0);
    headers.retain(|(name, _)| *name != "x-mock-chunks");
    // All are held before the first text passes.
    headers.extend(
        [("x-mock-chunks", "4"), ("x-mock-gate", "all"), ("x-mock-gate-after", "1")]
            .map(|(name, value)| (name, value.to_owned())),
    );
    let first = {
        let world = World::start(&format!("[organisation]\ncaps = {{ day = \"9\" }}\n{METERED}")).await;
        let response = world.open(post(&world, path, &body, &headers)).await;
        let held = world.app.bank.standings()[0].held;
        drop(response);
        held
    };
    // Each has its first slice, and there is nothing left to grow into.
    let cap = Usd::from_pico(first.pico() * u128::from(STREAMS));
    let world = Arc::new(World::start(&format!("[organisation]\ncaps = {{ day = \"{cap}\" }}\n{METERED}")).await);
    let mut open = Vec::new();
    for _ in 0..STREAMS {
        open.push(world.open(post(&world, path, &body, &headers)).await);
    }
    assert_eq!(world.open(post(&world, path, &body, &headers)).await.status(), 400, "the cap is full");
    world.mock.gate("all").open();
    for response in open {
        let text = response.into_body().collect().await.unwrap().to_bytes();
        assert!(String::from_utf8_lossy(&text).contains("\"finish_reason\":\"length\""), "not cut");
    }
    world.settled().await;
    let billed = async {
        while world.mock.bill().lines().len() < usize::try_from(STREAMS).unwrap() {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(crate::world::PATIENCE, billed).await.expect("a stream was never billed");
    let (billed, standing) = (world.mock.bill().total(), world.app.bank.standings().remove(0));
    let beyond = billed.less(cap);
    // $10 a million tokens; half a slice of 1,024 is always held for.
    let generated = world.mock.bill().lines().iter().map(|line| line.counted.output).collect::<Vec<_>>();
    let late: u64 = generated.iter().map(|tokens| tokens.saturating_sub(512)).sum();
    let bound = Usd::from_pico(u128::from(late) * 10_000_000);
    assert!(generated.iter().all(|tokens| *tokens >= BURST), "{generated:?}");
    println!("billed {billed}, cap {cap}: {beyond} beyond, at most {bound}");
    assert!(beyond > Usd::ZERO, "billed {billed}, cap {cap}");
    assert!(beyond <= bound, "{beyond} beyond, at most {bound}");
    assert!(standing.held == Usd::ZERO && standing.spent <= cap.plus(world.app.bank.overshoot()));
    assert_eq!(world.entries().await.iter().filter(|entry| is_cut(entry)).count() as u64, STREAMS);
}

#[tokio::test]
async fn what_cannot_be_seen_passing_is_held_in_full() {
    let extra = format!("[organisation]\ncaps = {{ day = \"1\" }}\n{METERED}");
    for (body, share) in [
        (r#"{"model":"gpt-4o","max_tokens":16000,"stream":true,"messages":[]}"#, false),
        (r#"{"model":"gpt-4o","max_tokens":16000,"messages":[]}"#, true),
        (r#"{"model":"gpt-4o","max_tokens":16000,"stream":true,"n":2,"messages":[]}"#, true),
        (r#"{"model":"gpt-5","max_completion_tokens":16000,"stream":true,"messages":[]}"#, true),
        (r#"{"model":"gpt-4o","max_tokens":16000,"stream":true,"reasoning_effort":"high","messages":[]}"#, true),
        (
            r#"{"model":"gpt-4o","max_tokens":16000,"stream":true,"prediction":{"type":"content","content":"x"},"messages":[]}"#,
            true,
        ),
    ] {
        let world = World::start(&extra).await;
        let body = body.replace("\"messages\":[]", r#""messages":[{"role":"user","content":"hi"}]"#);
        let headers = [("x-mock-gate", "held".to_owned())];
        let request = post(&world, "/v1/chat/completions", &body, &headers);
        let client = world.client.clone();
        let asked = tokio::spawn(client.request(request));
        world.mock.gate("held").wait_for_arrivals(1).await;
        let held = world.app.bank.standings()[0].held;
        assert_eq!(held >= usd("0.16"), share, "{body}: {held}");
        world.mock.gate("held").open();
        let _whole = asked.await.unwrap().unwrap().into_body().collect().await;
    }
}

#[tokio::test]
async fn a_ceiling_beside_a_metered_cap_holds_in_full() {
    let extra =
        format!("[organisation]\ncaps = {{ day = \"10\" }}\n[models.\"gpt-*\"]\ncaps = {{ day = \"1\" }}\n{METERED}");
    let world = World::start(&extra).await;
    let (path, body, mut headers) = streams(16_000, 100).remove(0);
    headers.push(("x-mock-gate", "held".to_owned()));
    let response = world.open(post(&world, path, &body, &headers)).await;
    let held = |kind: &str| world.app.bank.standings().iter().find(|now| now.scope.kind() == kind).unwrap().held;
    assert!(
        held("organisation") >= usd("0.16") && held("model") < usd("0.03"),
        "{} {}",
        held("organisation"),
        held("model")
    );
    drop(response);
    world.mock.gate("held").open();
    world.settled().await;
    assert!(held("organisation") == Usd::ZERO && held("model") == Usd::ZERO);
}
