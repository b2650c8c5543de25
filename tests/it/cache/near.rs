//! Near-identical questions through a whole Tollgate: what is answered from the cache, what never is, and how it is checked.

use serde_json::{Value, json};
use tollgate::domain::entry::{CacheUse, Outcome};
use tollgate::domain::money::Usd;
use tollgate::domain::near::{canonical, depends_on_time};

use super::{CHAT, VERSION, ask, ask_with, with, world};
use crate::wire::{Fake, Reply};
use crate::world::{self, World};

const NEAR: &str = "[cache]\nmode = \"near\"\n";

/// Questions that differ in nothing that matters.
const ONE: &str = "What is the capital of France and of Spain?";
const OTHER: &str = "please,  what  is  the capital of France and of Spain";

fn chat(text: &str) -> String {
    json!({"model": "gpt-4o", "temperature": 0, "messages": [{"role": "user", "content": text}]}).to_string()
}

async fn check(path: &str, one: &Value, other: &Value, expect: &str) {
    let (world, _) = world(NEAR).await;
    let (first, answer) = ask(&world, path, &one.to_string()).await;
    assert_eq!((&*first, answer.status.as_u16()), ("miss", 200), "{one} {answer:?}");
    let (cache, again) = ask(&world, path, &other.to_string()).await;
    assert_eq!(cache, expect, "{path} {one} {other}");
    assert_eq!(again.body == answer.body, expect == "near");
}

#[tokio::test]
async fn every_dialect_answers_the_same_question_in_other_words() {
    let said = |text: &str| json!([{"role": "user", "content": text}]);
    let parts = |text: &str| json!([{"role": "user", "content": [{"type": "text", "text": text}]}]);
    let system = |text: &str| json!([{"role": "system", "content": "Be brief."}, {"role": "user", "content": text}]);
    for messages in [said, parts, system] {
        for stream in [false, true] {
            let body =
                |text| json!({"model": "gpt-4o", "temperature": 0, "stream": stream, "messages": messages(text)});
            check(CHAT, &body(ONE), &body(OTHER), "near").await;
        }
    }
    for stream in [false, true] {
        let body = |text| json!({"model": "claude-haiku-4-5", "temperature": 0, "max_tokens": 500, "stream": stream, "system": "Be brief.", "messages": said(text)});
        check("/v1/messages", &body(ONE), &body(OTHER), "near").await;
        let body = |text: &str| json!({"model": "gpt-4o", "temperature": 0, "stream": stream, "input": text});
        check("/v1/responses", &body(ONE), &body(OTHER), "near").await;
        let body = |text| json!({"model": "gpt-4o", "temperature": 0, "stream": stream, "input": said(text)});
        check("/v1/responses", &body(ONE), &body(OTHER), "near").await;
    }
    let body = |text: &str| json!({"contents": [{"role": "user", "parts": [{"text": text}]}], "generationConfig": {"temperature": 0}});
    for path in [
        "/v1beta/models/gemini-2.5-flash:generateContent",
        "/v1beta/models/gemini-2.5-flash:streamGenerateContent?alt=sse",
    ] {
        check(path, &body(ONE), &body(OTHER), "near").await;
    }
}

#[tokio::test]
async fn only_one_turn_of_prose_is_compared_and_all_else_is_exact() {
    let said = |text: &str| json!({"role": "user", "content": text});
    let chat = |messages: Value| json!({"model": "gpt-4o", "temperature": 0, "messages": messages});
    let turns = |text: &str| chat(json!([said("Hello there"), {"role": "assistant", "content": "Hi"}, said(text)]));
    check(CHAT, &turns(ONE), &turns(OTHER), "miss").await;
    let system = |rules: &str, text: &str| chat(json!([{"role": "system", "content": rules}, said(text)]));
    check(CHAT, &system("Be brief.", ONE), &system("be brief", OTHER), "miss").await;
    let with = |name: &str, value: Value, text: &str| {
        let mut body = chat(json!([said(text)]));
        body[name] = value;
        body
    };
    let tools = json!([{"type": "function", "function": {"name": "f", "parameters": {"type": "object"}}}]);
    check(CHAT, &with("tool_choice", json!("none"), ONE), &chat(json!([said(OTHER)])), "miss").await;
    check(CHAT, &with("seed", json!(1), ONE), &with("seed", json!(2), OTHER), "miss").await;
    check(CHAT, &with("max_tokens", json!(700), ONE), &with("max_tokens", json!(701), OTHER), "miss").await;
    check(CHAT, &with("stream", json!(true), ONE), &with("stream", json!(false), OTHER), "miss").await;
    let mut offered = [with("tools", tools.clone(), ONE), with("tools", tools, OTHER)];
    offered.iter_mut().for_each(|body| body["tool_choice"] = json!("none"));
    check(CHAT, &offered[0], &offered[1], "miss").await;
    let input = |text: &str| json!({"model": "text-embedding-3-small", "input": text});
    check("/v1/embeddings", &input(ONE), &input(OTHER), "miss").await;
    for (one, other) in [
        ("What's the weather in Rome today for a picnic?", "what is the weather in rome today for a picnic"),
        ("Who is the current president of the board?", "who is the current president of the board"),
        ("How do I enable two factor login on the site?", "how do I disable two factor login on the site"),
        ("Is it true that 5 is larger than 3 there?", "is it true that 5 is larger than 4 there"),
        ("What does f(x) = 5 mean to you and to me?", "what does f(x) = 5 mean to you and to me"),
    ] {
        check(CHAT, &chat(json!([said(one)])), &chat(json!([said(other)])), "miss").await;
    }
}

#[tokio::test]
async fn a_near_hit_costs_nothing_and_is_marked_everywhere() {
    let (world, _) = world(NEAR).await;
    let (_, first) = ask(&world, CHAT, &chat(ONE)).await;
    let (cache, near) = ask_with(&world, CHAT, &chat(OTHER), &[("x-tollgate-cache", "only")]).await;
    assert_eq!((&*cache, &near.body, near.header("x-tollgate-cost-usd")), ("near", &first.body, "0.000000000000"));
    let entry = world.entries().await.pop().unwrap();
    assert_eq!((entry.cache, entry.outcome, entry.cost), (CacheUse::Near, Outcome::CacheHit, Some(Usd::ZERO)));
    assert!(entry.saved > Usd::ZERO && entry.attempts.is_empty());
    assert_eq!(ask(&world, CHAT, &chat(ONE)).await.0, "hit", "the same words are found first");
    for refresh in [("x-tollgate-cache", "refresh"), ("x-tollgate-cache", "off")] {
        assert_ne!(ask_with(&world, CHAT, &chat(OTHER), &[refresh]).await.1.body, first.body);
    }
    assert!(world.app.scribe.catch_up(std::time::Duration::from_secs(20)));
    let metrics = world.app.metrics.render();
    assert!(metrics.contains(r#"tollgate_cache_requests_total{result="near",model="gpt-4o",team="search"} 1"#));
}

#[tokio::test]
async fn rules_say_where_near_is_near_enough() {
    let rules = "[cache]\nmode = \"exact\"\n[[cache.rules]]\nmodels = [\"gpt-4o-mini\"]\nmode = \"near\"\n";
    let (world, _) = world(rules).await;
    let mini = |text: &str| chat(text).replace("gpt-4o", "gpt-4o-mini");
    for (body, expect) in [(chat(ONE), "miss"), (chat(OTHER), "miss"), (mini(ONE), "miss"), (mini(OTHER), "near")] {
        assert_eq!(ask(&world, CHAT, &body).await.0, expect, "{body}");
    }
}

/// Asks one question and then another that is near, of which each is asked again in the background.
async fn shadowed(world: &World, expect: CacheUse) {
    let (_, first) = ask(world, CHAT, &chat(ONE)).await;
    let (cache, near) = ask(world, CHAT, &chat(OTHER)).await;
    assert_eq!((&*cache, &near.body), ("near", &first.body));
    let entries = world.entries().await;
    let [paid, near, check] = &entries[..] else { panic!("{entries:?}") };
    assert_eq!(
        (near.cache, near.cost, check.cache, &*check.reason),
        (CacheUse::Near, Some(Usd::ZERO), expect, "cache_shadow")
    );
    assert_eq!((check.outcome, check.attempts.len(), check.saved), (Outcome::Complete, 1, Usd::ZERO));
    assert!(
        check.cost > Some(Usd::ZERO) && check.account == near.account && check.id != near.id && paid.id != check.id
    );
    // What was asked again is kept for those who ask in the same words.
    assert_eq!(ask(world, CHAT, &chat(OTHER)).await.0, "hit");
    assert!(world.app.scribe.catch_up(std::time::Duration::from_secs(20)));
    let line = format!(
        "tollgate_cache_checks_total{{result=\"{}\",operation=\"chat.completions\",upstream=\"openai\",model=\"gpt-4o\"}} 1",
        expect.name()
    );
    let metrics = world.app.metrics.render();
    assert!(metrics.contains(&line), "{metrics}");
    assert!(!metrics.contains(&format!("tollgate_cache_requests_total{{result=\"{}\"", expect.name())));
}

#[tokio::test]
async fn near_hits_are_asked_again_and_compared() {
    let shadow = format!("{NEAR}shadow_percent = 100\n");
    let answer = |text: &str| {
        let choice = json!({"index": 0, "message": {"role": "assistant", "content": text}, "finish_reason": "stop"});
        let usage = json!({"prompt_tokens": 9, "completion_tokens": 3, "total_tokens": 12});
        json!({"id": "c", "object": "chat.completion", "model": "gpt-4o", "choices": [choice], "usage": usage})
            .to_string()
    };
    for (second, expect) in [("paris, and Madrid", CacheUse::Confirmed), ("Lima and Quito.", CacheUse::FalseHit)] {
        let (first, second) = (answer("Paris and Madrid."), answer(second));
        let fake = Fake::start(move |seen| {
            let is_first = String::from_utf8_lossy(&seen.body).contains("What is");
            Reply::whole("200 OK", "content-type: application/json\r\n", if is_first { &first } else { &second })
        });
        let fake = fake.await;
        let world = World::before(fake.address, world::provider().await.1, &shadow, world::PATIENCE).await;
        shadowed(&world, expect).await;
    }
}

#[tokio::test]
async fn a_check_is_held_like_anything_else() {
    let caps = "[keys.ci.caps]\nday = \"0.02\"\n";
    let (world, _) = world(&format!("{NEAR}shadow_percent = 100\n{caps}")).await;
    let small = |text| chat(text).replacen('{', r#"{"max_tokens":900,"#, 1);
    ask_with(&world, CHAT, &small(ONE), &[("x-mock-tokens", "700")]).await;
    assert_eq!(ask(&world, CHAT, &small(OTHER)).await.0, "near");
    let entries = world.entries().await;
    assert_eq!((entries.len(), entries[1].cache, world.mock.requests_total()), (2, CacheUse::Near, 1));
}

#[tokio::test]
async fn the_pairs_behave_as_in_the_function() {
    let Some(pairs) = crate::near::pairs() else { return };
    let (world, _) = world(NEAR).await;
    let mut hits = 0;
    // Every seventh pair, each kind of edit among them; the function is graded on all.
    for (number, pair) in pairs.iter().enumerate().step_by(7) {
        let [a, b] = ["a", "b"].map(|name| pair[name].as_str().unwrap());
        let body = |text: &str| {
            let messages = json!([{"role": "user", "content": text}]);
            json!({"model": "gpt-4o", "temperature": 0, "seed": number, "messages": messages}).to_string()
        };
        let form = |text: &str| if depends_on_time(text) { None } else { canonical(text) };
        let expect = if a == b {
            "hit"
        } else if form(a).is_some() && form(a) == form(b) {
            "near"
        } else {
            "miss"
        };
        let mut seen = Vec::new();
        for text in [a, b] {
            let answer = world.send(with(world.post(CHAT, body(text)), &[VERSION, ("x-mock-tokens", "3")])).await;
            assert_eq!(answer.status, 200, "{answer:?}");
            seen.push(answer.header("x-tollgate-cache").to_owned());
        }
        hits += usize::from(expect == "near");
        assert_eq!(seen, ["miss", expect], "{pair}");
    }
    assert!(hits > 100, "{hits}");
}
