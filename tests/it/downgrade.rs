//! Near a cap: a cheaper model in the place of the one that does not fit.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use http::{Request, StatusCode};
use http_body_util::Full;
use serde_json::Value;
use tollgate::domain::entry::Outcome;
use tollgate::domain::money::Usd;

use super::wire::{Fake, Reply};
use super::world::{self, Answer, KEY, World};

const CHAT: &str = "/v1/chat/completions";

/// A quote of five cents, where the smaller model's is a third of one.
const DEAR: &str = r#"{"model":"gpt-4o","max_tokens":5000,"messages":[{"role":"user","content":"count"}]}"#;

/// A cap of two cents.
const SMALL: &str = "[organisation]\ncaps = { day = \"0.02\" }\non_exceed = \"downgrade:gpt-4o-mini\"";

fn about(world: &World, path: &str, body: &str) -> Request<Full<bytes::Bytes>> {
    let mut request = world.post(path, body.to_owned());
    if path == "/v1/messages" {
        request.headers_mut().insert("anthropic-version", "2023-06-01".parse().unwrap());
    }
    request
}

fn message(answer: &Answer) -> String {
    let body: Value = serde_json::from_slice(&answer.body).unwrap();
    body.pointer("/error/message").unwrap().as_str().unwrap().to_owned()
}

#[tokio::test]
async fn what_does_not_fit_is_sent_for_a_cheaper_model_in_every_dialect() {
    for (model, path, body, dear) in [
        ("gpt-4o-mini", CHAT, DEAR, "gpt-4o"),
        ("gpt-4o-mini", "/v1/responses", r#"{"model":"gpt-4o","input":"hi","max_output_tokens":5000}"#, "gpt-4o"),
        (
            "claude-haiku-4-5",
            "/v1/messages",
            r#"{"model":"claude-opus-4-5","max_tokens":2000,"messages":[{"role":"user","content":"hi"}]}"#,
            "claude-opus-4-5",
        ),
        (
            "gemini-2.5-flash-lite",
            "/v1beta/models/gemini-2.5-pro:generateContent",
            r#"{"contents":[{"role":"user","parts":[{"text":"hi"}]}],"generationConfig":{"maxOutputTokens":5000}}"#,
            "gemini-2.5-pro",
        ),
    ] {
        let world = World::start(&SMALL.replace("gpt-4o-mini", model)).await;
        let answer = world.send(about(&world, path, body)).await;
        assert_eq!(answer.status, 200, "{path}: {}", answer.text());
        assert_eq!(answer.header("x-tollgate-model"), model, "{path}");
        assert_eq!(answer.header("x-tollgate-requested-model"), dear, "{path}");
        assert_eq!(answer.header("x-tollgate-reason"), "downgraded: organisation cap, day", "{path}");
        let sent = &world.mock.requests()[0];
        let named: Value = serde_json::from_slice(&sent.body).unwrap();
        match named.get("model") {
            Some(named) => assert_eq!(named, model, "{path}"),
            None => assert!(sent.target.contains(&format!("/{model}:")), "{}", sent.target),
        }
        let entry = world.entries().await.pop().unwrap();
        assert_eq!((&*entry.requested_model, &*entry.model), (dear, model));
        assert_eq!((&*entry.reason, entry.attempts.len()), ("downgraded: organisation cap, day", 1));
        assert_eq!(entry.cost, Some(world.mock.bill().total()), "{path}");
        assert_eq!(world.app.bank.cap_counts(), [0, 0, 0, 1]);
    }
}

#[tokio::test]
async fn what_fits_stays_as_it_is() {
    let world = World::start(&SMALL.replace("0.02", "0.2")).await;
    let answer = world.send(about(&world, CHAT, DEAR)).await;
    assert_eq!((answer.status, answer.header("x-tollgate-model")), (StatusCode::OK, "gpt-4o"));
    assert_eq!(world.mock.requests()[0].body, DEAR.as_bytes());
}

/// Sends `body` with `key` under `config`; expects a refusal that says `why`, and nothing sent.
async fn refused(config: &str, key: &str, body: &str, why: &str) {
    let world = World::start(config).await;
    let mut request = about(&world, CHAT, body);
    request.headers_mut().insert("authorization", format!("Bearer {key}").parse().unwrap());
    let answer = world.send(request).await;
    assert_eq!(answer.status, 400, "{config} {body}: {}", answer.text());
    assert_eq!((answer.header("x-should-retry"), answer.header("x-tollgate-refused")), ("false", "cap_exceeded"));
    let message = message(&answer);
    assert!(message.starts_with("the spend cap of the organisation (day, $0"), "{message}");
    assert!(message.contains(why), "{message}");
    assert_eq!(world.mock.requests_total(), 0, "{why}");
    let entry = world.entries().await.pop().unwrap();
    assert_eq!((entry.outcome, entry.cost), (Outcome::Refused, Some(Usd::ZERO)));
    assert_eq!(world.app.bank.standings()[0].held, Usd::ZERO);
}

#[tokio::test]
async fn a_cheaper_model_that_cannot_help_is_told_beside_the_cap() {
    let help = "\"gpt-4o-mini\", which the cap names for that, does not help: the spend cap of the organisation";
    refused(&SMALL.replace("0.02", "0.001"), KEY, DEAR, help).await;
    let narrow = format!("{SMALL}\n[keys.plain]\nsecret = {{ env = \"PLAIN_KEY\" }}\nmodels = [\"gpt-4o\"]");
    refused(&narrow, "tg_plain_0123456789abcdef", DEAR, "may not be used with this key").await;
    refused(&SMALL.replace("gpt-4o-mini", "claude-haiku-4-5"), KEY, DEAR, "is not in the price book").await;
    refused(&SMALL.replace("gpt-4o-mini", "gpt-4"), KEY, DEAR, "gives shorter answers than max_tokens asks for").await;
    let odd = DEAR.replace("\"max_tokens\"", "\"logprobs\":true,\"max_tokens\"");
    refused(SMALL, KEY, &odd, "is not known to take log probabilities").await;
    refused(&SMALL.replace("gpt-4o-mini", "gpt-4o"), KEY, DEAR, "is what was asked for").await;
}

#[tokio::test]
async fn where_several_caps_have_no_room_a_cheaper_model_has_to_fit_them_all() {
    let user =
        |usd: &str, near: &str| format!("{SMALL}\n[users.ada]\ncaps = {{ day = \"{usd}\" }}\non_exceed = \"{near}\"");
    for (config, status, told) in [
        (user("0.02", "refuse"), 200, ""),
        (user("0.001", "refuse"), 400, "the spend cap of the user \"ada\""),
        (user("0.003", "shrink"), 200, ""),
    ] {
        let world = World::start(&config).await;
        let mut request = about(&world, CHAT, DEAR);
        request.headers_mut().insert("x-tollgate-user", "ada".parse().unwrap());
        let answer = world.send(request).await;
        assert_eq!(answer.status, status, "{config}: {}", answer.text());
        assert!(answer.text().contains(&told.replace('"', "\\\"")), "{told}: {}", answer.text());
        if status == 200 {
            assert_eq!(answer.header("x-tollgate-model"), "gpt-4o-mini");
        }
        assert_eq!(!answer.header("x-tollgate-max-tokens").is_empty(), config.contains("shrink"), "{config}");
    }
}

#[tokio::test]
async fn the_cheaper_model_is_asked_again_when_its_upstream_fails() {
    const GOOD: &str = r#"{"id":"c","object":"chat.completion","model":"gpt-4o-mini","choices":[],"usage":{"prompt_tokens":9,"completion_tokens":1,"total_tokens":10}}"#;
    let asked = AtomicUsize::new(0);
    let fake = Fake::start(move |_| match asked.fetch_add(1, Ordering::Relaxed) {
        0 => Reply::whole("503 Service Unavailable", "", "{}"),
        _ => Reply::whole("200 OK", "content-type: application/json\r\n", GOOD),
    })
    .await;
    let extra = format!("{SMALL}\nupstream.retries = 1");
    let world = World::before(fake.address, world::provider().await.1, &extra, world::PATIENCE).await;
    let answer = world.send(about(&world, CHAT, DEAR)).await;
    assert_eq!((answer.status, answer.header("x-tollgate-attempts")), (StatusCode::OK, "2"), "{}", answer.text());
    assert!(fake.seen().iter().all(|seen| String::from_utf8_lossy(&seen.body).contains("gpt-4o-mini")));
    assert_eq!(world.app.bank.cap_counts(), [0, 0, 0, 1]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn many_clients_never_pass_a_cap_that_downgrades() {
    let world = Arc::new(World::start(&SMALL.replace("0.02", "0.2")).await);
    let clients: Vec<_> = (0..32)
        .map(|client| {
            let world = world.clone();
            tokio::spawn(async move {
                let mut models = Vec::new();
                for number in 0..16 {
                    let mut request = about(&world, CHAT, DEAR);
                    let wanted = (400 * (1 + (client + number) % 3)).to_string();
                    request.headers_mut().insert("x-mock-tokens", wanted.parse().unwrap());
                    models.push(world.send(request).await.header("x-tollgate-model").to_owned());
                }
                models
            })
        })
        .collect();
    let mut models = Vec::new();
    for client in clients {
        models.extend(client.await.unwrap());
    }
    world.settled().await;
    let count = |model: &str| models.iter().filter(|seen| *seen == model).count();
    let (dear, cheap, refused) = (count("gpt-4o"), count("gpt-4o-mini"), count(""));
    assert!(dear > 0 && cheap > 20 && refused > 20, "{dear} dear, {cheap} cheap, {refused} refused");
    let (billed, standing) = (world.mock.bill().total(), world.app.bank.standings().remove(0));
    assert!(billed <= standing.spent && standing.spent <= standing.cap, "billed {billed}, {standing:?}");
    assert_eq!(standing.held, Usd::ZERO);
}
