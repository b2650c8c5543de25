//! Several credentials of one upstream and several equal upstreams: who is asked, who is left alone, and for how long.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use http::Request;
use http_body_util::{BodyExt, Full};
use tollgate::app::{Snapshot, Surroundings};
use tollgate::clock::Clock;
use tollgate::config::{Config, Environment};
use tollgate::domain::entry::Outcome;
use tollgate::domain::operation::Operation;
use tollgate::upstream::breaker::{Health, Topic};
use tollgate::upstream::names::Names;

use crate::again::{GOOD, backup};
use crate::wire::{Fake, Reply, Seen};
use crate::world::{self, World};

const WHOLE: &str = r#"{"model":"gpt-4o-mini","messages":[{"role":"user","content":"Say hello."}]}"#;
const JSON: &str = "content-type: application/json\r\n";

/// Three credentials of one upstream.
const SEVERAL: &str = "env.KEY_1=sk-1\nenv.KEY_2=sk-2\nenv.KEY_3=sk-3\n[upstreams.several]\ndialect = \"openai\"\n\
    provider = \"openai\"\nmodels = [\"gpt-*\"]\nretries = 0\nbase_url = \"http://PROVIDER\"\n\
    api_keys = [{ env = \"KEY_1\" }, { env = \"KEY_2\" }, { env = \"KEY_3\" }]\n";

/// A world whose clock stands until it is moved.
async fn at_rest(provider: SocketAddr, extra: &str) -> (World, Arc<AtomicU64>) {
    let now_us = Arc::new(AtomicU64::new(1_795_000_000_000_000));
    let surroundings = Surroundings { clock: Clock::Manual(now_us.clone()), ..Surroundings::default() };
    let (mock, folder) = (world::provider().await.1, tempfile::tempdir().unwrap());
    (World::in_folder(provider, mock, extra, surroundings, folder).await, now_us)
}

fn chat(world: &World) -> Request<Full<bytes::Bytes>> {
    world.post("/v1/chat/completions", WHOLE)
}

/// The last letter of the credential of each request.
fn keys(fake: &Fake) -> String {
    fake.seen().iter().filter_map(|seen| seen.header("authorization").chars().last()).collect()
}

/// An upstream that answers as `answer` says of the credential, and well where it says nothing.
async fn by_key(answer: impl Fn(&str, &Seen) -> Option<Reply> + Send + Sync + 'static) -> Fake {
    Fake::start(move |seen| {
        let key = seen.header("authorization").strip_prefix("Bearer ").unwrap_or_default().to_owned();
        answer(&key, seen).unwrap_or_else(|| Reply::whole("200 OK", JSON, GOOD))
    })
    .await
}

async fn readiness(world: &World) -> String {
    let ready = tollgate::admin::state::ready(&world.app);
    String::from_utf8(ready.into_body().collect().await.unwrap().to_bytes().to_vec()).unwrap()
}

/// The first credential fails with `status`, `headers` and `body`: the next one answers, and the first is left alone for
/// `rest_s` seconds because it `rests`.
async fn check(reply: (&'static str, &'static str, &'static str), rests: &str, rest_s: u64) {
    let (status, headers, body) = reply;
    let fake = by_key(move |key, _| (key == "sk-1").then(|| Reply::whole(status, headers, body))).await;
    let (world, now_us) = at_rest(fake.address, SEVERAL).await;
    // A client that asks again by itself gets another credential all the same: this is no repetition.
    let mut request = chat(&world);
    request.headers_mut().insert("x-stainless-retry-count", "1".parse().unwrap());
    let answer = world.send(request).await;
    assert_eq!((answer.status.as_u16(), answer.text()), (200, GOOD), "{reply:?}");
    assert_eq!((answer.header("x-tollgate-attempts"), keys(&fake).as_str()), ("2", "12"), "{reply:?}");
    let entry = world.entries().await.pop().unwrap();
    let statuses: Vec<u16> = entry.attempts.iter().map(|attempt| attempt.status).collect();
    assert_eq!((statuses, entry.outcome), (vec![status[..3].parse().unwrap(), 200], Outcome::Complete));
    for _ in 0..4 {
        assert_eq!(world.send(chat(&world)).await.status, 200);
    }
    assert!(!keys(&fake)[2..].contains('1'), "{}", keys(&fake));
    let ready = readiness(&world).await;
    assert!(ready.contains(&format!("\"rests\":\"{rests}\",\"for_s\":{rest_s}")), "{ready}");
    assert!(!ready.contains("sk-") && !ready.contains("KEY_"), "{ready}");
    let metrics = tollgate::admin::state::metrics(&world.app);
    assert!(metrics.contains(r#"tollgate_credential_resting{upstream="several",credential="2"} 0"#), "{metrics}");
    assert!(!metrics.contains(r#"tollgate_credential_resting{upstream="several",credential="1"} 0"#), "{metrics}");
    assert!(metrics.contains(r#"tollgate_attempts_again_total{upstream="several",kind="credential"} 1"#), "{metrics}");
    now_us.fetch_add(rest_s * 1_000_000, Ordering::Relaxed);
    for _ in 0..3 {
        assert_eq!(world.send(chat(&world)).await.status, 200);
    }
    assert!(keys(&fake)[6..].contains('1'), "{}", keys(&fake));
}

#[tokio::test]
async fn a_credential_that_is_limited_or_turned_down_is_left_alone_and_another_is_asked() {
    check(("429 Slow down", "retry-after: 30\r\n", "{}"), "rate_limited", 30).await;
    check(("429 Slow down", "", "{}"), "rate_limited", 1).await;
    check(("429 No money", "", r#"{"error":{"code":"insufficient_quota"}}"#), "exhausted", 60).await;
    check(("401 Unknown", "", "{}"), "turned_down", 60).await;
    check(("402 Pay", "", "{}"), "exhausted", 60).await;
}

#[tokio::test]
async fn a_limit_that_is_nearly_used_up_is_steered_around() {
    let near =
        "x-ratelimit-limit-requests: 100\r\nx-ratelimit-remaining-requests: 1\r\nx-ratelimit-reset-requests: 6s\r\n";
    let fake =
        by_key(move |key, _| (key == "sk-1").then(|| Reply::whole("200 OK", &format!("{JSON}{near}"), GOOD))).await;
    let (world, now_us) = at_rest(fake.address, SEVERAL).await;
    for _ in 0..7 {
        let answer = world.send(chat(&world)).await;
        assert_eq!(answer.status, 200);
    }
    assert_eq!(keys(&fake).matches('1').count(), 1, "{}", keys(&fake));
    assert!(readiness(&world).await.contains(r#""rests":"near_limit","for_s":6"#));
    now_us.fetch_add(6_000_000, Ordering::Relaxed);
    for _ in 0..3 {
        world.send(chat(&world)).await;
    }
    assert_eq!(keys(&fake).matches('1').count(), 2, "{}", keys(&fake));
}

#[tokio::test]
async fn where_all_are_limited_the_client_gets_the_provider_s_own_answer() {
    let fake = by_key(|_, _| Some(Reply::whole("429 Slow down", "retry-after: 30\r\nx-its-own: 1\r\n", "{}"))).await;
    let (world, _) = at_rest(fake.address, SEVERAL).await;
    let answer = world.send(chat(&world)).await;
    assert_eq!((answer.status.as_u16(), answer.header("x-its-own"), keys(&fake).len()), (429, "1", 2));
    assert_eq!((world.send(chat(&world)).await.status.as_u16(), keys(&fake).len()), (429, 3));
    // All rest, and one is asked all the same: the provider knows best, and the answer is its own.
    let answer = world.send(chat(&world)).await;
    assert_eq!((answer.status.as_u16(), answer.header("retry-after"), keys(&fake).len()), (429, "30", 4));
}

/// One request to three credentials that are all turned away with `headers`, of a client that says `repeats`: so many calls.
async fn check_moves(retries: u32, headers: &'static str, repeats: &str, calls: usize) {
    let fake = by_key(move |_, _| Some(Reply::whole("429 Slow down", headers, "{}"))).await;
    let several = SEVERAL.replace("retries = 0", &format!("retries = {retries}"));
    let (world, _) = at_rest(fake.address, &several).await;
    let mut request = chat(&world);
    request.headers_mut().insert("x-stainless-retry-count", repeats.parse().unwrap());
    assert_eq!((world.send(request).await.status.as_u16(), keys(&fake).len()), (429, calls), "{retries} {headers}");
}

#[tokio::test]
async fn one_other_credential_is_asked_at_once_and_more_are_repetitions() {
    const WAIT: &str = "retry-after: 30\r\n";
    for (retries, calls) in [(0, 2), (1, 2), (2, 3), (9, 3)] {
        check_moves(retries, WAIT, "0", calls).await;
    }
    check_moves(9, WAIT, "1", 2).await;
    check_moves(9, "retry-after: 30\r\nx-should-retry: false\r\n", "0", 2).await;
}

#[tokio::test]
async fn other_credentials_do_not_multiply_an_outage_and_always_help_where_they_can() {
    // So short that no credential rests.
    let no = || Some(Reply::whole("429 Slow down", "retry-after: 0\r\n", "{}"));
    let fake = by_key(move |_, _| no()).await;
    let (world, _) = at_rest(fake.address, &format!("{SEVERAL}retry_budget_percent = 20\n")).await;
    for _ in 0..60 {
        assert_eq!(world.send(chat(&world)).await.status, 429);
    }
    // Ten that are there to begin with, and a fifth of sixty.
    assert_eq!(fake.seen().len(), 60 + 22);
    let metrics = tollgate::admin::state::metrics(&world.app);
    assert!(metrics.contains(r#"tollgate_attempts_again_total{upstream="several",kind="credential"} 22"#), "{metrics}");
    assert!(metrics.contains(r#"{upstream="several",kind="budget"} 38"#), "{metrics}");
    // One that is limited costs nobody an answer, however often that happens.
    let fake = by_key(move |key, _| (key == "sk-1").then(no).flatten()).await;
    let (world, _) = at_rest(fake.address, &format!("{SEVERAL}retry_budget_percent = 1\n")).await;
    for _ in 0..90 {
        assert_eq!(world.send(chat(&world)).await.status, 200);
    }
    assert!(fake.seen().len() >= 90 + 20, "{}", fake.seen().len());
}

#[tokio::test]
async fn while_a_credential_rests_a_fallback_answers_at_once() {
    let fake = by_key(|_, _| Some(Reply::whole("429 Slow down", "retry-after: 30\r\n", "{}"))).await;
    let other = by_key(|_, _| None).await;
    let (world, now_us) = at_rest(fake.address, &backup(other.address)).await;
    for attempts in ["2", "", ""] {
        let answer = world.send(chat(&world)).await;
        assert_eq!((answer.status.as_u16(), answer.header("x-tollgate-attempts")), (200, attempts));
        assert_eq!(answer.header("x-tollgate-reason"), "fallback");
    }
    assert_eq!((fake.seen().len(), other.seen().len()), (1, 3));
    now_us.fetch_add(30_000_000, Ordering::Relaxed);
    world.send(chat(&world)).await;
    assert_eq!((fake.seen().len(), other.seen().len()), (2, 4));
}

#[tokio::test]
async fn shares_are_those_of_the_weights_and_a_conversation_stays_with_its_credential() {
    let fake = by_key(|_, _| None).await;
    let weighted =
        SEVERAL.replace("{ env = \"KEY_1\" }", "{ env = \"KEY_1\", weight = 2 }") + "balance = \"weighted\"\n";
    let (world, _) = at_rest(fake.address, &weighted).await;
    for _ in 0..20 {
        world.send(chat(&world)).await;
    }
    let shares = ["1", "2", "3"].map(|key| keys(&fake).matches(key).count());
    assert_eq!(shares, [10, 5, 5]);
    let talk = |first: usize, turns: usize| {
        let more = r#",{"role":"assistant","content":"a"},{"role":"user","content":"b"}"#.repeat(turns);
        format!(r#"{{"model":"gpt-4o-mini","messages":[{{"role":"user","content":"talk {first}"}}{more}]}}"#)
    };
    let mut homes = String::new();
    for first in 0..12 {
        let before = keys(&fake).len();
        for turns in 1..4 {
            world.send(world.post("/v1/chat/completions", talk(first, turns))).await;
        }
        let used = keys(&fake)[before..].to_owned();
        assert_eq!(used, used[..1].repeat(3), "{used}");
        homes += &used[..1];
    }
    assert!(["1", "2", "3"].iter().filter(|key| homes.contains(**key)).count() > 1, "{homes}");
}

/// An equal of the others in the group `all`.
fn equal(name: &str, address: SocketAddr, more: &str) -> String {
    format!(
        "[upstreams.{name}]\ndialect = \"openai\"\nprovider = \"openai\"\nmodels = [\"gpt-*\"]\nretries = 0\ngroup = \"all\"\n\
         api_key = {{ env = \"PROVIDER_KEY\" }}\nbase_url = \"http://{address}\"\n{more}\n"
    )
}

#[tokio::test]
async fn equal_upstreams_share_the_work_and_stand_in_for_each_other() {
    let is_down = Arc::new(AtomicU64::new(0));
    let state = is_down.clone();
    let (left, right, third) = (
        by_key(move |_, _| (state.load(Ordering::Relaxed) > 0).then(|| Reply::whole("503 No", "", "{}"))).await,
        by_key(|_, _| None).await,
        by_key(|_, _| None).await,
    );
    let extra = format!(
        "env.NARROW_KEY=tg_narrow_0123456789abcdef\n[keys.narrow]\nsecret = {{ env = \"NARROW_KEY\" }}\nupstreams = [\"left\"]\n{}{}{}",
        equal("left", left.address, "balance = \"weighted\"\nbreaker_failures = 3"),
        equal("right", right.address, "weight = 2"),
        equal("other", third.address, "").replace("gpt-*", "o3*"),
    );
    let (world, now_us) = at_rest(left.address, &extra).await;
    for _ in 0..30 {
        assert_eq!(world.send(chat(&world)).await.status, 200);
    }
    assert_eq!((left.seen().len(), right.seen().len(), third.seen().len()), (10, 20, 0));
    is_down.store(1, Ordering::Relaxed);
    for _ in 0..30 {
        assert_eq!(world.send(chat(&world)).await.status, 200);
    }
    // Three failures open the breaker; from then on nobody is sent there at all.
    assert_eq!((left.seen().len(), right.seen().len()), (13, 50));
    let narrow = |world: &World| {
        let mut request = chat(world);
        request.headers_mut().insert("authorization", "Bearer tg_narrow_0123456789abcdef".parse().unwrap());
        request
    };
    assert_eq!(world.send(narrow(&world)).await.status, 503);
    is_down.store(0, Ordering::Relaxed);
    now_us.fetch_add(60_000_000, Ordering::Relaxed);
    for _ in 0..30 {
        assert_eq!(world.send(chat(&world)).await.header("x-tollgate-attempts"), "");
    }
    assert!((20..=26).contains(&left.seen().len()), "{}", left.seen().len());
    for _ in 0..4 {
        assert_eq!(world.send(narrow(&world)).await.status, 200);
    }
    assert_eq!(right.seen().len() + left.seen().len(), 30 + 33 + 30 + 4);
}

/// One that may use `right` alone, and one that may use neither of two equals.
const BOUND_KEYS: &str = "env.RIGHT_KEY=tg_right_0123456789abcdef\nenv.NONE_KEY=tg_none_0123456789abcdef\n\
    [keys.right]\nsecret = { env = \"RIGHT_KEY\" }\nupstreams = [\"right\"]\n\
    [keys.none]\nsecret = { env = \"NONE_KEY\" }\nupstreams = [\"anthropic\"]\n";

#[tokio::test]
async fn whoever_may_use_one_of_two_equals_is_sent_there() {
    let (left, right) = (by_key(|_, _| None).await, by_key(|_, _| None).await);
    let extra = format!("{BOUND_KEYS}{}{}", equal("left", left.address, ""), equal("right", right.address, ""));
    let (world, _) = at_rest(left.address, &extra).await;
    let ask = async |key: &str, body: &str| {
        let mut request = world.post("/v1/chat/completions", body.to_owned());
        request.headers_mut().insert("authorization", format!("Bearer {key}").parse().unwrap());
        world.send(request).await
    };
    // What goes on from something stored goes where the caller may go, too.
    let goes_on = WHOLE.replacen('{', r#"{"previous_response_id":"r1","#, 1);
    for body in [WHOLE, &goes_on] {
        for _ in 0..3 {
            assert_eq!(ask("tg_right_0123456789abcdef", body).await.status, 200);
        }
    }
    assert_eq!((left.seen().len(), right.seen().len()), (0, 6));
    let answer = ask("tg_none_0123456789abcdef", WHOLE).await;
    assert_eq!((answer.status.as_u16(), answer.header("x-tollgate-refused")), (403, "forbidden"));
    assert!(answer.text().contains("left"), "{}", answer.text());
}

#[tokio::test]
async fn weights_hold_where_one_request_comes_after_the_other() {
    let (left, right) = (by_key(|_, _| None).await, by_key(|_, _| None).await);
    let extra = equal("left", left.address, "") + &equal("right", right.address, "weight = 3");
    let (world, _) = at_rest(left.address, &extra).await;
    for _ in 0..40 {
        assert_eq!(world.send(chat(&world)).await.status, 200);
    }
    assert_eq!((left.seen().len(), right.seen().len()), (10, 30));
    let fake = by_key(|_, _| None).await;
    let weighted = SEVERAL.replace("{ env = \"KEY_1\" }", "{ env = \"KEY_1\", weight = 2 }");
    let (world, _) = at_rest(fake.address, &weighted).await;
    for _ in 0..20 {
        assert_eq!(world.send(chat(&world)).await.status, 200);
    }
    assert_eq!(["1", "2", "3"].map(|key| keys(&fake).matches(key).count()), [10, 5, 5]);
}

#[tokio::test]
async fn the_least_busy_of_equals_is_asked() {
    let (world, mock) = {
        let (address, mock) = world::provider().await;
        let (other, _) = world::provider().await;
        let extra = equal("left", address, "") + &equal("right", other, "");
        (World::before(address, mock.clone(), &extra, world::PATIENCE).await, mock)
    };
    let providers = ["left", "right"].map(|name| world.app.snapshot.load().provider(name).unwrap().clone());
    let mut request = world.post("/v1/chat/completions", WHOLE.replacen('{', "{\"stream\":true,", 1));
    request.headers_mut().insert("x-mock-gate", "held".parse().unwrap());
    let held = world.open(request).await;
    let busy = providers.each_ref().map(|provider| provider.load.busy());
    assert_eq!(busy, [1, 0]);
    for _ in 0..5 {
        assert_eq!(world.send(chat(&world)).await.status, 200);
    }
    mock.gate("held").open();
    held.into_body().collect().await.unwrap();
    let upstreams: Vec<_> = world.entries().await.into_iter().map(|entry| entry.upstream).collect();
    assert_eq!(upstreams.iter().filter(|name| &***name == "right").count(), 5, "{upstreams:?}");
    assert!(providers.iter().all(|provider| provider.load.busy() == 0));
}

#[test]
fn another_config_keeps_what_was_found_out() {
    let parse = |extra: &str| {
        let text = format!(
            "[upstreams.openai]\nbase_url = \"http://127.0.0.1:9\"\napi_keys = [{{ env = \"A\" }}, {{ env = \"B\" }}]\n{extra}"
        );
        let env =
            Environment::from([("A", "sk-a"), ("B", "sk-b")].map(|(name, key)| (name.to_owned(), key.to_owned())));
        Config::parse(&text, "t", &env).unwrap()
    };
    let before = Snapshot::new(parse(""), Names::System).unwrap();
    let (provider, model) = (&before.providers[0], Arc::from("gpt-4o-mini"));
    let topic = Topic { model: &model, operation: Operation::ChatCompletions };
    (0..5).for_each(|_| provider.breakers.note(topic, Health::Failing, None, 1));
    let lease = provider.credentials.lease(&model, tollgate::upstream::credentials::Turn::Home, Default::default(), 1);
    lease.unwrap().exhaust(1);
    let state = |snapshot: &Snapshot| {
        let provider = &snapshot.providers[0];
        let rests: Vec<usize> = provider.credentials.iter().map(|credential| credential.rests(2).len()).collect();
        (provider.breakers.opened(), provider.is_open(&model, 2), rests)
    };
    assert_eq!(state(&before), (1, false, vec![1, 0]));
    for extra in ["retries = 3\n", "idle_timeout_s = 7\n", "[teams.search]\n"] {
        let after = Snapshot::after(&before, parse(extra)).unwrap();
        assert_eq!(state(&after), (1, false, vec![1, 0]), "{extra}");
    }
    // Another place, or other rules for breakers, begin anew.
    let elsewhere = Snapshot::after(&before, parse("breaker_failures = 9\n")).unwrap();
    assert_eq!(state(&elsewhere).0, 0);
}

#[test]
fn what_is_said_twice_or_for_nothing_is_refused() {
    let check = |keys: &str, expect: &str| {
        let env = Environment::from([("A".to_owned(), "sk-a".to_owned())]);
        let errors = Config::parse(&format!("[upstreams.openai]\n{keys}\n"), "t", &env).unwrap_err().to_string();
        assert!(errors.contains(expect), "{keys}: {errors}");
    };
    check("api_key = { env = \"A\" }\napi_keys = [{ env = \"A\" }]", "there is an api_key as well");
    check("api_keys = [{ env = \"A\" }, { env = \"A\" }]", "the same credential");
    check("api_keys = []", "from 1 to 32");
    check("api_keys = [{ env = \"A\", weigth = 2 }]", "did you mean \"weight\"");
    check("weight = 2", "does nothing without group");
}
