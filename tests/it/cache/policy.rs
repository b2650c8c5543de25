//! What is kept, for how long, and what clients may say about it.

use std::sync::atomic::Ordering;

use tollgate::domain::entry::{CacheUse, Outcome};
use tollgate::domain::money::Usd;

use super::{CHAT, ON, arrived, ask, ask_with, chat, with, world};
use crate::again::{GOOD, backup};
use crate::wire::{Fake, Reply};
use crate::world::{self, World};

const SAMPLED: &str = "[cache]\nmode = \"exact\"\nstore_sampled = true\n";

async fn check(world: &World, path: &str, body: &str, headers: &[(&'static str, &str)], expect: [&str; 2]) {
    for expect in expect {
        let (cache, answer) = ask_with(world, path, body, headers).await;
        assert_eq!(cache, expect, "{path} {body} {headers:?} {}", answer.text());
    }
}

fn body(rest: &str) -> String {
    format!(r#"{{"model":"gpt-4o","messages":[{{"role":"user","content":"hi {}"}}]{rest}}}"#, rest.len())
}

#[tokio::test]
async fn off_is_off_and_says_nothing() {
    let (world, _) = world("").await;
    check(&world, CHAT, &chat("a"), &[], ["", ""]).await;
    assert_eq!(world.entries().await[0].cache, CacheUse::Bypass);
    let (_, refused) = ask_with(&world, CHAT, &chat("a"), &[("x-tollgate-cache", "only")]).await;
    assert_eq!((refused.status.as_u16(), refused.header("x-tollgate-refused")), (504, "not_cached"));
}

#[tokio::test]
async fn chance_is_kept_only_where_config_welcomes_it() {
    let (strict, _) = world(ON).await;
    let (welcoming, _) = world(SAMPLED).await;
    for rest in ["", r#","temperature":0.7"#, r#","temperature":null,"top_p":0"#] {
        check(&strict, CHAT, &body(rest), &[], ["bypass", "bypass"]).await;
        check(&welcoming, CHAT, &body(rest), &[], ["miss", "hit"]).await;
    }
}

#[tokio::test]
async fn what_does_not_end_by_itself_is_not_kept() {
    let (world, _) = world(SAMPLED).await;
    let tools = r#","tools":[{"type":"function","function":{"name":"f","parameters":{"type":"object"}}}]"#;
    for stream in ["", r#","stream":true"#] {
        let cases: [(String, &[(&'static str, &str)]); 6] = [
            (format!("{tools}{stream}"), &[]),
            (format!(r#","max_tokens":3{stream}"#), &[("x-mock-tokens", "9")]),
            (format!(r#","seed":1{stream}"#), &[("x-mock-fault", "500")]),
            (format!(r#","seed":2{stream}"#), &[("x-mock-fault", "429")]),
            (format!(r#","seed":3{stream}"#), &[("x-mock-fault", "cut")]),
            (format!(r#","seed":4{stream}"#), &[("x-mock-fault", "error-in-stream")]),
        ];
        for (rest, headers) in cases {
            if stream.is_empty() && rest.contains("seed\":4") {
                continue;
            }
            for _ in 0..2 {
                let request = super::with(world.post(CHAT, body(&rest)), headers);
                let response = world.open(request).await;
                let cache = response.headers().get("x-tollgate-cache").map(|value| value.to_str().unwrap().to_owned());
                let _whole = http_body_util::BodyExt::collect(response.into_body()).await;
                world.settled().await;
                assert!(cache.is_none_or(|cache| cache == "miss"), "{rest} {headers:?}");
            }
        }
    }
    assert_eq!(world.app.cache.fill().answers, 0);
    let entries = world.entries().await;
    assert_eq!(entries.len(), 22);
    assert!(entries.iter().all(|entry| entry.cache == CacheUse::Miss && !entry.attempts.is_empty()));
}

#[tokio::test]
async fn what_lies_elsewhere_is_not_looked_up() {
    let (world, _) = world(SAMPLED).await;
    let image = r#"{"model":"gpt-4o","messages":[{"role":"user","content":[{"type":"image_url","image_url":{"url":"https://x/y.png"}}]}]}"#;
    for (path, body) in [
        (CHAT, image.to_owned()),
        (CHAT, body(r#","n":2"#)),
        (CHAT, body(r#","web_search_options":{}"#)),
        (CHAT, body(r#","search_parameters":{"mode":"auto"}"#)),
        (CHAT, body(r#","enable_search":true"#)),
        (CHAT, body(r#","data_sources":[{"type":"azure_search","parameters":{}}]"#)),
        (CHAT, body("").replace("gpt-4o", "gpt-4o-search-preview")),
        (CHAT, body("").replace("gpt-4o", "gpt-4o:online")),
        (CHAT, body(r#","store":true"#)),
        (CHAT, body(r#","a":1,"a":2"#)),
        (CHAT, body(r#","seed":01"#)),
        ("/v1/responses", r#"{"model":"gpt-4o","input":"hi","store":true}"#.to_owned()),
        ("/v1/responses", r#"{"model":"gpt-4o","input":"hi","previous_response_id":"resp_1"}"#.to_owned()),
        ("/v1/responses", r#"{"model":"gpt-4o","input":"hi","conversation":"conv_1"}"#.to_owned()),
        ("/v1/responses", r#"{"model":"gpt-4o","input":"hi","tools":[{"type":"web_search"}]}"#.to_owned()),
    ] {
        let (cache, _) = ask(&world, path, &body).await;
        assert_eq!(cache, "bypass", "{path} {body}");
    }
    let inline = image.replace("https://x/y.png", "data:image/png;base64,AAAA");
    check(&world, CHAT, &inline, &[], ["miss", "hit"]).await;
    check(&world, CHAT, &body(r#","store":false"#), &[], ["miss", "hit"]).await;
    check(&world, "/v1/responses", r#"{"model":"gpt-4o","input":"hi"}"#, &[], ["miss", "hit"]).await;
}

#[tokio::test]
async fn a_client_says_what_it_wants() {
    let (world, _) = world(ON).await;
    let only = [("x-tollgate-cache", "only")];
    let (cache, refused) = ask_with(&world, CHAT, &chat("a"), &only).await;
    assert_eq!((&*cache, refused.status.as_u16()), ("", 504));
    assert_eq!(refused.header("x-should-retry"), "false");
    let (_, first) = ask(&world, CHAT, &chat("a")).await;
    let (cache, hit) = ask_with(&world, CHAT, &chat("a"), &only).await;
    assert_eq!((&*cache, &hit.body), ("hit", &first.body));
    for off in [("x-tollgate-cache", "off"), ("cache-control", "private, No-Store")] {
        let (cache, other) = ask_with(&world, CHAT, &chat("a"), &[off]).await;
        assert_eq!(cache, "bypass");
        assert_ne!(other.body, first.body, "it has an id of its own");
    }
    assert_eq!(ask(&world, CHAT, &chat("a")).await.1.body, first.body);
    for refresh in [("x-tollgate-cache", "refresh"), ("cache-control", "no-cache"), ("cache-control", "max-age=0")] {
        let (cache, newer) = ask_with(&world, CHAT, &chat("a"), &[refresh]).await;
        assert_eq!(cache, "miss");
        assert_eq!(ask(&world, CHAT, &chat("a")).await.1.body, newer.body);
    }
    let (_, odd) = ask_with(&world, CHAT, &chat("a"), &[("x-tollgate-cache", "yes")]).await;
    assert_eq!(odd.status, 400);
    let seen = world.mock.requests();
    assert!(seen.iter().all(|request| request.headers.iter().all(|(name, _)| !name.starts_with("x-tollgate"))));
}

#[tokio::test]
async fn what_a_client_says_on_several_lines_is_heard() {
    let (world, _) = world(ON).await;
    ask(&world, CHAT, &chat("a")).await;
    let lines = async |name: &'static str, values: [&'static str; 2]| {
        let mut request = super::with(world.post(CHAT, chat("a")), &[super::VERSION]);
        for value in values {
            request.headers_mut().append(name, value.parse().unwrap());
        }
        let answer = world.send(request).await;
        (answer.status.as_u16(), answer.header("x-tollgate-cache").to_owned())
    };
    assert_eq!(lines("cache-control", ["private", "no-transform"]).await, (200, "hit".to_owned()));
    assert_eq!(lines("cache-control", ["private", "no-store"]).await, (200, "bypass".to_owned()));
    assert_eq!(lines("cache-control", ["max-age=0", "no-store"]).await, (200, "bypass".to_owned()));
    assert_eq!(lines("cache-control", ["private", "x, no-cache"]).await, (200, "miss".to_owned()));
    assert_eq!(lines("x-tollgate-cache", ["only", "only"]).await, (200, "hit".to_owned()));
    assert_eq!(lines("x-tollgate-cache", ["only", "off"]).await, (400, String::new()));
}

#[tokio::test]
async fn an_answer_has_its_time() {
    let (world, now_us) = world("[cache]\nmode = \"exact\"\nttl_s = 60\n").await;
    assert_eq!(ask(&world, CHAT, &chat("a")).await.0, "miss");
    now_us.fetch_add(59_999_000, Ordering::Relaxed);
    assert_eq!(ask(&world, CHAT, &chat("a")).await.0, "hit");
    now_us.fetch_add(1_000, Ordering::Relaxed);
    assert_eq!(ask(&world, CHAT, &chat("a")).await.0, "miss");
    assert_eq!(ask(&world, CHAT, &chat("a")).await.0, "hit");
}

#[tokio::test]
async fn rules_differ_by_model_operation_and_team() {
    let rules = r#"
[cache]
mode = "off"
[[cache.rules]]
models = ["gpt-4o-mini"]
mode = "exact"
ttl_s = 10
[[cache.rules]]
operations = ["embeddings"]
teams = ["search"]
mode = "exact"
[[cache.rules]]
models = ["gpt-*"]
operations = ["responses"]
upstreams = ["openai"]
store_sampled = true
mode = "exact"
"#;
    let (world, now_us) = world(rules).await;
    let mini = chat("a").replace("gpt-4o", "gpt-4o-mini");
    check(&world, CHAT, &chat("a"), &[], ["bypass", "bypass"]).await;
    check(&world, CHAT, &mini, &[], ["miss", "hit"]).await;
    let embeddings = r#"{"model":"text-embedding-3-small","input":"a"}"#;
    check(&world, "/v1/embeddings", embeddings, &[], ["miss", "hit"]).await;
    check(&world, "/v1/responses", r#"{"model":"gpt-4o","input":"a"}"#, &[], ["miss", "hit"]).await;
    now_us.fetch_add(10_000_000, Ordering::Relaxed);
    check(&world, CHAT, &mini, &[], ["miss", "hit"]).await;
    check(&world, "/v1/embeddings", embeddings, &[], ["hit", "hit"]).await;
}

#[tokio::test]
async fn hits_count_as_requests_and_as_nothing_else() {
    let limits = "[keys.ci.limits]\nrequests_per_minute = 4\ntokens_per_minute = 3000\n";
    let (world, _) = world(&format!("{ON}{limits}")).await;
    let left = |answer: &crate::world::Answer, what: &str| {
        answer.header(&format!("x-tollgate-ratelimit-remaining-{what}")).to_owned()
    };
    ask(&world, CHAT, &chat("a")).await;
    let (_, second) = ask(&world, CHAT, &chat("a")).await;
    let (_, third) = ask(&world, CHAT, &chat("a")).await;
    assert_eq!((left(&second, "requests"), left(&third, "requests")), ("2".to_owned(), "1".to_owned()));
    assert_eq!(left(&second, "tokens"), left(&third, "tokens"));
    ask(&world, CHAT, &chat("a")).await;
    let (_, refused) = ask(&world, CHAT, &chat("a")).await;
    assert_eq!(refused.status, 429);
    let entries = world.entries().await;
    assert_eq!(entries.iter().filter(|entry| entry.outcome == Outcome::CacheHit).count(), 3);
}

#[tokio::test]
async fn a_spent_cap_does_not_keep_an_answer_from_who_has_paid_for_it() {
    let (world, _) = world(&format!("{ON}[keys.ci.caps]\nday = \"0.01\"\n")).await;
    let small = chat("a").replacen('{', r#"{"max_tokens":20,"#, 1);
    assert_eq!(ask_with(&world, CHAT, &small, &[("x-mock-tokens", "9")]).await.0, "miss");
    let other = chat("b").replacen('{', r#"{"max_tokens":2000,"#, 1);
    assert_eq!(ask(&world, CHAT, &other).await.1.status, 400);
    let spent = world.app.bank.standings()[0].spent;
    let (cache, hit) = ask_with(&world, CHAT, &small, &[("x-tollgate-max-cost-usd", "0")]).await;
    assert_eq!((&*cache, hit.status.as_u16()), ("hit", 200));
    assert_eq!(world.app.bank.standings()[0].spent, spent);
}

#[tokio::test]
async fn what_a_fallback_says_is_kept_as_its_own_where_config_wants_that() {
    const JSON: &str = "content-type: application/json\r\n";
    for keeps in [false, true] {
        let first = Fake::start(|_| Reply::whole("500 Broken", JSON, r#"{"error":{"message":"no"}}"#)).await;
        let second = Fake::start(|_| Reply::whole("200 OK", JSON, GOOD)).await;
        let extra = format!("{ON}keep_fallbacks = {keeps}\n{}", backup(second.address));
        let world = World::before(first.address, world::provider().await.1, &extra, world::PATIENCE).await;
        // Never as the answer of the one that was asked.
        for _ in 0..2 {
            let (cache, answer) = ask(&world, CHAT, &chat("hello")).await;
            assert_eq!(
                (&*cache, answer.header("x-tollgate-reason"), &*answer.body),
                ("miss", "fallback", GOOD.as_bytes())
            );
        }
        let (cache, answer) = ask(&world, "/u/backup/v1/chat/completions", &chat("hello")).await;
        assert_eq!((&*cache, &*answer.body), (if keeps { "hit" } else { "miss" }, GOOD.as_bytes()));
        let last = world.entries().await.pop().unwrap();
        assert_eq!((&*last.upstream, last.saved > Usd::ZERO), ("backup", keeps));
    }
}

#[tokio::test]
async fn a_kept_answer_takes_no_tokens_and_a_new_one_does() {
    let key = "tg_tight_0123456789abcdef";
    let limits = "limits = { tokens_per_minute = 1100, requests_per_day = 4 }";
    let config = format!("{ON}env.TIGHT={key}\n[keys.tight]\nsecret = {{ env = \"TIGHT\" }}\n{limits}\n");
    let (world, _) = world(&config).await;
    let bearer = format!("Bearer {key}");
    let by = |body: String| with(world.post(CHAT, body), &[("authorization", &bearer)]);
    assert_eq!(world.send(by(chat("kept"))).await.header("x-tollgate-cache"), "miss");
    world.settled().await;
    // This one holds all that is left until it is answered.
    let held = tokio::spawn(world.client.request(with(by(chat("held")), &[("x-mock-gate", "here")])));
    arrived(&world, 1).await;
    let kept = world.send(by(chat("kept"))).await;
    assert_eq!((kept.status.as_u16(), kept.header("x-tollgate-cache")), (200, "hit"));
    for _ in 0..3 {
        let new = world.send(by(chat("new"))).await;
        assert_eq!((new.status.as_u16(), new.header("x-tollgate-refused")), (429, "rate_limited"), "{}", new.text());
        assert_eq!(new.header("x-tollgate-ratelimit-limit-tokens"), "1100");
        assert_eq!(new.header("x-tollgate-ratelimit-remaining-requests-day"), "1", "what is refused is not counted");
    }
    assert_eq!(world.send(by(chat("kept"))).await.header("x-tollgate-cache"), "hit");
    let last = world.send(by(chat("kept"))).await;
    assert_eq!((last.status.as_u16(), last.header("x-tollgate-refused")), (429, "rate_limited"), "a day has four");
    world.mock.gate("here").open();
    assert_eq!(held.await.unwrap().unwrap().status(), 200);
    assert_eq!(world.mock.requests_total(), 2);
    world.settled().await;
    let metrics = world.app.metrics.render();
    assert!(metrics.contains(r#"tollgate_rate_limited_total{scope="key",limit="tokens_per_minute"} 3"#), "{metrics}");
}

#[tokio::test]
async fn nobody_is_given_what_is_older_than_its_own_policy_lets_it_be() {
    let key = "tg_hasty_0123456789abcdef";
    let config = format!(
        "[cache]\nmode = \"exact\"\nscope = \"shared\"\nttl_s = 3600\n[[cache.rules]]\nteams = [\"news\"]\nttl_s = 10\n\
         env.HASTY={key}\n[teams.news]\n[keys.hasty]\nsecret = {{ env = \"HASTY\" }}\nteam = \"news\"\n"
    );
    let (world, now_us) = world(&config).await;
    let bearer = format!("Bearer {key}");
    let hasty = [("authorization", &*bearer)];
    check(&world, CHAT, &chat("a"), &[], ["miss", "hit"]).await;
    now_us.fetch_add(9_000_000, Ordering::Relaxed);
    assert_eq!(ask_with(&world, CHAT, &chat("a"), &hasty).await.0, "hit");
    now_us.fetch_add(1_000_000, Ordering::Relaxed);
    assert_eq!(ask_with(&world, CHAT, &chat("a"), &hasty).await.0, "miss");
}
