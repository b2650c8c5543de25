//! The judge from outside: what it is asked, what it costs, what becomes of requests when it fails.

use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use bytes::Bytes;
use http::{Request, StatusCode};
use http_body_util::Full;
use tollgate::app::Surroundings;
use tollgate::clock::Clock;
use tollgate::domain::classify::{View, Weights, traits};
use tollgate::domain::entry::{Entry, Outcome, Tier};
use tollgate::domain::features::Features;
use tollgate::domain::money::Usd;
use tollgate::domain::tokens::UsageSource;
use tollgate::mock::{Fault, Settings};
use tollgate::store::Record;

use crate::world::World;

/// Everything may be replaced, and a judge says by what.
const LLM: &str = "[routing]\nmode = \"enforce\"\nroutable = [\"*\"]\nclassifier = \"llm\"\n";

/// A judge with a model that nobody else asks.
const JUDGE: &str = "[routing.judge]\nupstream = \"openai\"\nmodel = \"gpt-5-mini\"\ndeadline_ms = 20000\n";

fn request(world: &World, path: &str, model: &str, text: &str) -> Request<Full<Bytes>> {
    let body = match path {
        "/v1/messages" => {
            format!(r#"{{"model":"{model}","max_tokens":64,"messages":[{{"role":"user","content":"{text}"}}]}}"#)
        }
        "/v1/chat/completions" => format!(r#"{{"model":"{model}","messages":[{{"role":"user","content":"{text}"}}]}}"#),
        _ => format!(r#"{{"contents":[{{"parts":[{{"text":"{text}"}}]}}]}}"#),
    };
    let mut request = world.post(path, body);
    request.headers_mut().insert("anthropic-version", "2023-06-01".parse().unwrap());
    request
}

/// The only entry that is new, with the records of its attempts.
async fn last(world: &World) -> (Entry, usize, usize) {
    let records = world.records().await;
    let entry = records.iter().rev().find_map(|record| match record {
        Record::Entry(entry) => Some((**entry).clone()),
        _ => None,
    });
    let entry = entry.unwrap();
    let opens =
        records.iter().filter(|record| matches!(record, Record::Open(open) if open.attempt.request == entry.id));
    let closes =
        records.iter().filter(|record| matches!(record, Record::Close(close) if close.attempt.request == entry.id));
    let counts = (opens.count(), closes.count());
    (entry, counts.0, counts.1)
}

fn models(entry: &Entry) -> Vec<&str> {
    entry.attempts.iter().map(|attempt| &*attempt.model).collect()
}

#[tokio::test]
async fn one_word_decides_and_is_paid_once_in_the_requests_entry() {
    for judge in ["", JUDGE] {
        let world = World::start(&format!("{LLM}{judge}")).await;
        for (path, asked, own, sent) in [
            (
                "/v1/messages",
                "claude-opus-5-5",
                "claude-haiku-5-5",
                ["claude-haiku-5-5", "claude-sonnet-5-5", "claude-opus-5-5"],
            ),
            ("/v1/chat/completions", "auto", "gpt-6-luna", ["gpt-6-luna", "gpt-6.1-terra", "gpt-6.1-sol"]),
            (
                "/v1beta/models/auto:generateContent",
                "auto",
                "gemini-3.5-flash-lite",
                ["gemini-3.5-flash-lite", "gemini-3.8-flash", "gemini-4-argon"],
            ),
        ] {
            for (tier, sent) in Tier::ALL.iter().zip(sent) {
                let text = format!("{} mock:say:{}", &path[1..9], tier.name());
                let answer = world.send(request(&world, path, asked, &text)).await;
                assert_eq!(answer.status, StatusCode::OK, "{}", answer.text());
                let told = ["x-tollgate-model", "x-tollgate-tier", "x-tollgate-reason"].map(|name| answer.header(name));
                assert_eq!(told, [sent, tier.name(), "judge"], "{path}");
                let (entry, opens, closes) = last(&world).await;
                let judge = if judge.is_empty() { own } else { "gpt-5-mini" };
                assert_eq!((models(&entry), opens, closes), (vec![judge, sent], 2, 2));
                assert_eq!((&*entry.reason, &*entry.model, entry.outcome), ("judge", sent, Outcome::Complete));
                let billed: Usd = world.mock.bill().lines().iter().rev().take(2).map(|line| line.cost).sum();
                assert_eq!(entry.cost, Some(billed));
                assert_eq!(answer.header("x-tollgate-cost-usd"), billed.fixed());
            }
        }
        let total: Usd = world.entries().await.iter().filter_map(|entry| entry.cost).sum();
        assert_eq!(total, world.mock.bill().total());
        let metrics = world.app.metrics.render();
        assert!(metrics.contains("tollgate_judge_total{result=\"complex\"} 3"), "{metrics}");
    }
}

#[tokio::test]
async fn what_was_said_of_an_ask_is_remembered_within_its_tenant() {
    let world = World::start(&format!("{LLM}{JUDGE}")).await;
    let asks = [
        ("What does the capital gains form say, mock:say:simple I mean in general?", 2),
        ("what  does  the capital gains form say, mock:say:simple I mean in general?", 1),
        ("what does the capital gains form say, mock:say:complex I mean in general?", 2),
    ];
    for (text, attempts) in asks {
        let answer = world.send(request(&world, "/v1/chat/completions", "auto", text)).await;
        assert_eq!(answer.header("x-tollgate-reason"), "judge", "{text}");
        assert_eq!(last(&world).await.0.attempts.len(), attempts, "{text}");
    }
    assert!(world.app.metrics.render().contains("tollgate_judge_total{result=\"remembered\"} 1"));
}

/// An ask of which the local model cannot say how hard it is, with `end` behind it.
fn unsure(end: &str) -> String {
    const PARTS: [&str; 8] = [
        "and compare both",
        "Write a function to",
        "what is the capital",
        "in three steps",
        "the total cost",
        "a list of 3 tuples",
        "Explain why",
        "the treaty of 1812",
    ];
    let features = Features::default();
    let is_unsure = |text: &String| {
        let view = View { text: text.as_bytes(), whole_bytes: text.len(), features: &features, turns: 1 };
        !Weights::builtin().score(&traits(view)).is_sure
    };
    let part = |number: usize| PARTS[number % PARTS.len()];
    let asks = (0..512).map(|number| format!("{} {} {} {end}", part(number), part(number / 8), part(number / 64)));
    asks.into_iter().find(is_unsure).unwrap()
}

#[tokio::test]
async fn a_judge_is_asked_only_where_its_word_matters() {
    let hybrid = LLM.replace("\"llm\"", "\"hybrid\"");
    let world = World::start(&format!("{hybrid}{JUDGE}[routing.teams.search]\nceiling = \"complex\"\n")).await;
    let sure = "Classify the sentiment of this review as positive or negative: I love it. mock:say:complex";
    let unsure = &*unsure("mock:say:complex");
    for (model, text, header, attempts) in [
        ("auto", sure, None, 1),
        ("auto", unsure, None, 2),
        // It limits its own cost, keeps its model, or is housekeeping: nothing is left to be said.
        ("auto", "mock:say:complex again", Some(("x-tollgate-max-cost-usd", "1")), 1),
        ("gpt-6.1-sol", "mock:say:complex once more", Some(("x-tollgate-route", "off")), 1),
        ("auto", "mock:say:complex then", Some(("x-tollgate-tier", "complex")), 1),
    ] {
        let mut request = request(&world, "/v1/chat/completions", model, text);
        if let Some((name, value)) = header {
            request.headers_mut().insert(name, value.parse().unwrap());
        }
        let answer = world.send(request).await;
        assert_eq!(answer.status, StatusCode::OK, "{}", answer.text());
        let (entry, ..) = last(&world).await;
        assert_eq!(entry.attempts.len(), attempts, "{text} {} {:?}", entry.reason, models(&entry));
    }
    let watching = World::start("[routing]\nclassifier = \"llm\"\n").await;
    watching.send(request(&watching, "/v1/chat/completions", "gpt-6.1-sol", "mock:say:simple")).await;
    assert_eq!(last(&watching).await.0.attempts.len(), 1, "observing costs nothing");
}

#[tokio::test]
async fn a_judge_that_fails_costs_what_it_may_bill_and_medium_answers() {
    let world = World::start(&format!("{LLM}{}", JUDGE.replace("20000", "3000"))).await;
    let nano = |fault| Settings { fault: Some(fault), fault_model: "gpt-5-mini".to_owned(), ..Settings::default() };
    world.mock.set(nano(Fault::Hang));
    let answer = world.send(request(&world, "/v1/chat/completions", "auto", "hang on")).await;
    assert_eq!((answer.header("x-tollgate-model"), answer.header("x-tollgate-reason")), ("gpt-6.1-terra", "unsure"));
    let (entry, opens, closes) = last(&world).await;
    assert_eq!((opens, closes, entry.outcome, entry.usage_source), (2, 2, Outcome::Complete, UsageSource::Assumed));
    assert!(entry.attempts[0].cost.is_some_and(|cost| cost > Usd::ZERO), "it may have been billed");

    // On a clock that stands, so that no rest is over.
    let clock = Clock::Manual(Arc::new(AtomicU64::new(1_795_000_000_000_000)));
    let world = World::on(&format!("{LLM}{JUDGE}"), Surroundings { clock, ..Surroundings::default() }).await;
    world.mock.set(nano(Fault::Status(StatusCode::SERVICE_UNAVAILABLE)));
    for number in 0..8 {
        let answer = world.send(request(&world, "/v1/chat/completions", "auto", &format!("number {number}"))).await;
        assert_eq!((answer.status, answer.header("x-tollgate-model")), (StatusCode::OK, "gpt-6.1-terra"));
        let (entry, ..) = last(&world).await;
        // Five failures, and the judge is left alone; its model's own requests are another matter.
        assert_eq!(entry.attempts.len(), if number < 5 { 2 } else { 1 }, "{number}");
        assert_eq!(entry.cost, Some(world.mock.bill().lines().pop().unwrap().cost));
    }
    let states = world.app.snapshot.load().provider("openai").unwrap().breakers.states(u64::MAX);
    assert!(states.is_empty(), "{states:?}");
    world.mock.set(Settings { fault: None, ..Settings::default() });
    assert!(world.app.metrics.render().contains("tollgate_judge_total{result=\"left alone\"} 3"));
}

#[tokio::test]
async fn under_a_cap_the_judge_is_held_and_never_passes_it() {
    // A request holds less than a ten-thousandth of a dollar with a small limit; the judge alone holds more than is left.
    let world = World::start(&format!(
        "{LLM}{}[organisation]\ncaps = {{ total = \"0.0200\" }}\n",
        "[routing.judge]\nupstream = \"openai\"\nmodel = \"gpt-6.1-sol\"\ndeadline_ms = 20000\n"
    ))
    .await;
    let small = |number: usize| {
        let body = format!(
            r#"{{"model":"auto","max_tokens":8,"messages":[{{"role":"user","content":"mock:say:simple {number}"}}]}}"#
        );
        world.post("/v1/chat/completions", body)
    };
    let (mut judged, mut refused) = (0, 0);
    for number in 0..60 {
        let answer = world.send(small(number)).await;
        let (entry, opens, closes) = last(&world).await;
        assert_eq!((opens, closes), (entry.attempts.len(), entry.attempts.len()));
        judged += usize::from(entry.attempts.iter().any(|attempt| &*attempt.model == "gpt-6.1-sol"));
        refused += usize::from(answer.status == StatusCode::BAD_REQUEST);
        assert!(world.mock.bill().total() <= Usd::parse("0.02").unwrap());
    }
    assert!(judged > 0 && judged < 60, "{judged} judged, {refused} refused");
    assert!(world.app.metrics.render().contains("result=\"not affordable\""), "{judged} {refused}");
    let spent: Usd = world.entries().await.iter().filter_map(|entry| entry.cost).sum();
    assert_eq!(spent, world.mock.bill().total());
}
