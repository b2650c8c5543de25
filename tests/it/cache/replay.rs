//! What is given again: the same bytes, at no cost, and one entry for each who asks.

use tollgate::domain::entry::{CacheUse, Outcome};
use tollgate::domain::money::Usd;
use tollgate::domain::tokens::{Usage, UsageSource};

use super::{CHAT, ON, ask, chat, world};

/// A question in each dialect and each way to answer it.
fn questions() -> Vec<(&'static str, String)> {
    let chat = |rest: &str| {
        format!(r#"{{"model":"gpt-4o","temperature":0,"messages":[{{"role":"user","content":"hello"}}]{rest}}}"#)
    };
    let messages = |stream: bool| {
        format!(
            r#"{{"model":"claude-haiku-4-5","temperature":0,"max_tokens":500,"stream":{stream},"messages":[{{"role":"user","content":"hello"}}]}}"#
        )
    };
    let responses = |stream: bool| {
        format!(r#"{{"model":"gpt-4o","temperature":0,"stream":{stream},"input":"hello","metadata":{{"a":"b"}}}}"#)
    };
    let gemini = r#"{"contents":[{"role":"user","parts":[{"text":"hello"}]}],"generationConfig":{"temperature":0}}"#;
    vec![
        (CHAT, chat("")),
        (CHAT, chat(r#","stream":true"#)),
        (CHAT, chat(r#","seed":1,"stream":true,"stream_options":{"include_usage":true}"#)),
        (CHAT, chat(r#","stream":true,"stream_options":{"include_usage":false}"#)),
        ("/v1/messages", messages(false)),
        ("/v1/messages", messages(true)),
        ("/v1/responses", responses(false)),
        ("/v1/responses", responses(true)),
        ("/v1/embeddings", r#"{"model":"text-embedding-3-small","input":["hello","there"]}"#.to_owned()),
        ("/v1beta/models/gemini-2.5-flash:generateContent", gemini.to_owned()),
        ("/v1beta/models/gemini-2.5-flash:streamGenerateContent?alt=sse", gemini.to_owned()),
        ("/v1beta/models/gemini-2.5-flash:streamGenerateContent", gemini.to_owned()),
    ]
}

#[tokio::test]
async fn every_dialect_is_answered_again_byte_for_byte() {
    let (world, _) = world(ON).await;
    let questions = questions();
    for (index, (path, body)) in questions.iter().enumerate() {
        let (first_use, first) = ask(&world, path, body).await;
        assert_eq!((&*first_use, first.status.as_u16()), ("miss", 200), "{path} {body} {first:?}");
        let asked = world.mock.requests_total();
        for _ in 0..2 {
            let (again_use, again) = ask(&world, path, body).await;
            assert_eq!(again_use, "hit", "{path} {body}");
            assert_eq!((again.status, &again.body), (first.status, &first.body), "{path} {body}");
            assert_eq!(again.header("content-type"), first.header("content-type"));
            assert_eq!(again.header("x-tollgate-cost-usd"), "0.000000000000");
            assert_eq!(again.header("x-tollgate-model"), first.header("x-tollgate-model"));
            assert_ne!(again.header("x-tollgate-request-id"), first.header("x-tollgate-request-id"));
        }
        assert_eq!(world.mock.requests_total(), asked, "{path} {body}");
        let entries = world.entries().await;
        let [.., paid, hit, other] = &entries[..] else { panic!("{entries:?}") };
        assert_eq!(entries.len(), 3 * (index + 1));
        assert_eq!((paid.cache, paid.outcome, paid.saved), (CacheUse::Miss, Outcome::Complete, Usd::ZERO));
        for hit in [hit, other] {
            assert_eq!((hit.cache, hit.outcome, hit.status), (CacheUse::Hit, Outcome::CacheHit, 200));
            assert_eq!((hit.cost, hit.saved), (Some(Usd::ZERO), paid.cost.unwrap()), "{path} {body}");
            assert_eq!((&hit.usage, hit.usage_source), (&Usage::default(), UsageSource::None));
            assert_eq!((&hit.served_model, &hit.upstream), (&paid.served_model, &paid.upstream));
            assert!(hit.attempts.is_empty() && hit.saved > Usd::ZERO && hit.stream == paid.stream);
        }
    }
    assert_eq!(world.mock.requests_total(), questions.len() as u64);
}

#[tokio::test]
async fn a_stream_whose_usage_was_asked_for_serves_those_who_did_not_ask_and_the_reverse() {
    let (world, _) = world(ON).await;
    let stream = |options: &str| chat("hello").replacen('{', &format!(r#"{{"stream":true{options},"#), 1);
    let (plain, asking) = (stream(""), stream(r#","stream_options":{"include_usage":true}"#));
    let (_, without) = ask(&world, CHAT, &plain).await;
    let (again, with) = ask(&world, CHAT, &asking).await;
    assert_eq!(again, "hit");
    assert!(!without.text().contains(r#""choices":[]"#) && with.text().contains(r#""choices":[]"#));
    let (again, same) = ask(&world, CHAT, &stream(r#","stream_options":null"#)).await;
    assert_eq!((&*again, same.body), ("hit", without.body));
    // One who refuses usage is answered by another stream, in which nothing is taken out.
    let (again, refusing) = ask(&world, CHAT, &stream(r#","stream_options":{"include_usage":false}"#)).await;
    assert_eq!(again, "miss");
    assert!(!refusing.text().contains(r#""choices":[]"#));
    assert_eq!(world.mock.requests_total(), 2);
}

#[tokio::test]
async fn spelling_names_and_credentials_do_not_matter() {
    let (world, _) = world(ON).await;
    let (_, first) = ask(&world, CHAT, &chat("hello")).await;
    for body in [
        r#" { "messages" : [ { "content":"hel\u006co" , "role":"user" } ], "temperature":0.0, "model":"gpt-4o" } "#,
        r#"{"user":"u-7","metadata":{"run":"8"},"prompt_cache_key":"k","model":"gpt-4o","temperature":0,"messages":[{"role":"user","content":"hello"}]}"#,
        r#"{"stream":false,"model":"gpt-4o","temperature":0,"messages":[{"role":"user","content":"hello"}]}"#,
    ] {
        let (again, answer) = ask(&world, CHAT, body).await;
        assert_eq!((&*again, &answer.body), ("hit", &first.body), "{body}");
    }
    assert_eq!(ask(&world, "/chat/completions", &chat("hello")).await.0, "miss", "another path is another request");
    assert!(world.app.scribe.catch_up(std::time::Duration::from_secs(20)));
    let metrics = world.app.metrics.render();
    assert!(
        metrics.contains(r#"tollgate_cache_requests_total{result="hit",model="gpt-4o",team="search"} 3"#),
        "{metrics}"
    );
    assert!(metrics.contains(r#"tollgate_saved_usd_total{by="cache",model="gpt-4o",team="search"} "#), "{metrics}");
}
