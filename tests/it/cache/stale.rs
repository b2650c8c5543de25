//! Old answers: given where nobody else answers, always marked, and never in place of what the client did wrong.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use tollgate::app::Surroundings;
use tollgate::clock::Clock;
use tollgate::domain::entry::{CacheUse, Entry, Outcome};
use tollgate::domain::money::Usd;
use tollgate::mock::Fault;

use super::{CHAT, VERSION, ask, ask_with, chat, with, world};
use crate::again::{GOOD, backup};
use crate::wire::{Fake, Reply};
use crate::world::{self, Answer, World};

/// Answers of a minute that may be given for an hour more.
const STALE: &str = "[cache]\nmode = \"exact\"\nttl_s = 60\nstale_if_error_s = 3600\n";

const MINUTE_US: u64 = 60_000_000;

fn stream(text: &str) -> String {
    chat(text).replacen('{', r#"{"stream":true,"#, 1)
}

fn kept(answer: &Answer, first: &Answer, entry: &Entry, what: &str) {
    assert_eq!((answer.status.as_u16(), &answer.body), (200, &first.body), "{what}");
    assert_eq!(answer.header("content-type"), first.header("content-type"), "{what}");
    assert_eq!((entry.cache, entry.outcome, entry.status), (CacheUse::Stale, Outcome::CacheHit, 200), "{what}");
    assert!(entry.saved > Usd::ZERO && entry.served_model.is_some(), "{what} {entry:?}");
    assert!(!answer.headers.contains_key("x-tollgate-refused"), "{what}");
}

#[tokio::test]
async fn what_fails_is_covered_by_an_old_answer() {
    let (world, now_us) = world(STALE).await;
    for body in [chat("hello"), stream("hello")] {
        let (_, first) = ask(&world, CHAT, &body).await;
        now_us.fetch_add(MINUTE_US, Ordering::Relaxed);
        let mut faults = vec!["408", "429", "500", "503", "529", "401", "402", "403", "reset", "reset-before"];
        // A stream that broke off has begun, and its client has a part of it.
        faults.extend(Some("cut").filter(|_| !body.contains("stream")));
        for fault in faults {
            let asked = world.mock.requests_total();
            let (cache, answer) = ask_with(&world, CHAT, &body, &[("x-mock-fault", fault)]).await;
            assert_eq!(cache, "stale", "{fault} {answer:?}");
            let entries = world.entries().await;
            kept(&answer, &first, entries.last().unwrap(), fault);
            assert_eq!(entries.last().unwrap().attempts.len(), 1, "{fault}");
            assert!(world.mock.requests_total() <= asked + 1, "{fault}");
        }
        for fault in ["400", "404", "413", "422"] {
            let (cache, answer) = ask_with(&world, CHAT, &body, &[("x-mock-fault", fault)]).await;
            assert_eq!((&*cache, answer.status.as_str()), ("miss", fault));
        }
        for header in [("x-tollgate-cache", "refresh"), ("x-tollgate-cache", "off")] {
            let (_, answer) = ask_with(&world, CHAT, &body, &[("x-mock-fault", "500"), header]).await;
            assert_eq!(answer.status, 500, "who wants a new answer gets no old one");
        }
        now_us.fetch_add(60 * MINUTE_US, Ordering::Relaxed);
        let (cache, answer) = ask_with(&world, CHAT, &body, &[("x-mock-fault", "500")]).await;
        assert_eq!((&*cache, answer.status.as_u16()), ("miss", 500), "too old");
        let (cache, newer) = ask(&world, CHAT, &body).await;
        assert_eq!(cache, "miss");
        assert_ne!(newer.body, first.body);
        assert_eq!(ask(&world, CHAT, &body).await.0, "hit");
    }
}

#[tokio::test]
async fn without_an_age_nothing_old_is_given() {
    let (world, now_us) = world("[cache]\nmode = \"exact\"\nttl_s = 60\n").await;
    ask(&world, CHAT, &chat("a")).await;
    now_us.fetch_add(MINUTE_US, Ordering::Relaxed);
    let (cache, answer) = ask_with(&world, CHAT, &chat("a"), &[("x-mock-fault", "500")]).await;
    assert_eq!((&*cache, answer.status.as_u16()), ("miss", 500));
}

#[tokio::test]
async fn an_upstream_that_is_left_alone_is_not_asked() {
    let (world, now_us) = world(&format!("upstream.breaker_failures = 2\n{STALE}")).await;
    let (_, first) = ask(&world, CHAT, &chat("a")).await;
    now_us.fetch_add(MINUTE_US, Ordering::Relaxed);
    for _ in 0..3 {
        ask_with(&world, CHAT, &chat("b"), &[("x-mock-fault", "500")]).await;
    }
    let asked = world.mock.requests_total();
    let (cache, answer) = ask(&world, CHAT, &chat("a")).await;
    assert_eq!(cache, "stale", "{answer:?}");
    let entries = world.entries().await;
    kept(&answer, &first, entries.last().unwrap(), "breaker");
    assert!(entries.last().unwrap().attempts.is_empty());
    let (_, other) = ask(&world, CHAT, &chat("c")).await;
    assert_eq!((other.status.as_u16(), world.mock.requests_total()), (503, asked));
}

#[tokio::test]
async fn a_failed_attempt_that_was_billed_stays_billed() {
    let (world, now_us) = world(STALE).await;
    ask(&world, CHAT, &chat("a")).await;
    now_us.fetch_add(MINUTE_US, Ordering::Relaxed);
    let (cache, answer) = ask_with(&world, CHAT, &chat("a"), &[("x-mock-fault", "reset")]).await;
    assert_eq!(cache, "stale");
    let entries = world.entries().await;
    let last = entries.last().unwrap();
    let cost = last.cost.unwrap();
    assert!(cost > Usd::ZERO && last.attempts[0].cost == Some(cost), "it was sent, and may be billed");
    assert_eq!(answer.header("x-tollgate-cost-usd"), cost.fixed());
}

#[tokio::test]
async fn header_and_ledger_tell_the_same_of_an_old_answer() {
    const JSON: &str = "content-type: application/json\r\n";
    let is_down = Arc::new(AtomicBool::new(false));
    let broken = || Reply::whole("500 Broken", JSON, r#"{"error":{"message":"no"}}"#);
    let down = is_down.clone();
    let good = move || if down.load(Ordering::Relaxed) { broken() } else { Reply::whole("200 OK", JSON, GOOD) };
    let first = Fake::start(move |_| good()).await;
    let second = Fake::start(move |_| broken()).await;
    let now_us = Arc::new(AtomicU64::new(super::START_US));
    let mock = world::provider().await.1;
    for (extra, attempts) in [(String::new(), "1"), (backup(second.address), "2")] {
        is_down.store(false, Ordering::Relaxed);
        let (folder, extra) = (tempfile::tempdir().unwrap(), format!("{STALE}{extra}"));
        let surroundings = Surroundings { clock: Clock::Manual(now_us.clone()), ..Surroundings::default() };
        let world = World::in_folder(first.address, mock.clone(), &extra, surroundings, folder).await;
        let (_, fresh) = ask(&world, CHAT, &chat("a")).await;
        assert_eq!(fresh.header("x-tollgate-attempts"), "");
        is_down.store(true, Ordering::Relaxed);
        now_us.fetch_add(MINUTE_US, Ordering::Relaxed);
        let (cache, answer) = ask(&world, CHAT, &chat("a")).await;
        let entry = world.entries().await.pop().unwrap();
        assert_eq!((&*cache, answer.header("x-tollgate-attempts"), &answer.body), ("stale", attempts, &fresh.body));
        assert_eq!(entry.attempts.len().to_string(), attempts);
        assert_eq!((&*entry.reason, &*entry.upstream), (answer.header("x-tollgate-reason"), "openai"));
        assert_eq!(&*entry.model, answer.header("x-tollgate-model"));
    }
}

#[tokio::test]
async fn those_who_share_a_call_share_the_old_answer() {
    let (world, now_us) = world(STALE).await;
    let (_, first) = ask(&world, CHAT, &stream("a")).await;
    now_us.fetch_add(MINUTE_US, Ordering::Relaxed);
    let gated = [("x-mock-gate", "here"), ("x-mock-fault", "500"), VERSION];
    let requests: Vec<_> = (0..5).map(|_| world.client.request(with(world.post(CHAT, stream("a")), &gated))).collect();
    let tasks: Vec<_> = requests.into_iter().map(tokio::spawn).collect();
    super::in_flight(&world, 5).await;
    world.mock.gate("here").open();
    for task in tasks {
        let (head, body) = task.await.unwrap().unwrap().into_parts();
        assert_eq!((head.status.as_u16(), &head.headers["x-tollgate-cache"]), (200, &"stale".parse().unwrap()));
        assert_eq!(http_body_util::BodyExt::collect(body).await.unwrap().to_bytes(), first.body);
    }
    let entries = world.entries().await;
    let stale: Vec<_> = entries.iter().filter(|entry| entry.cache == CacheUse::Stale).collect();
    assert_eq!((entries.len(), stale.len(), world.mock.requests_total()), (6, 5, 2));
    assert!(stale.iter().all(|entry| entry.outcome == Outcome::CacheHit && entry.saved > Usd::ZERO));
    assert_eq!(stale.iter().filter(|entry| entry.attempts.is_empty()).count(), 4);
}

#[tokio::test]
async fn an_old_answer_is_given_at_once_while_one_other_is_asked_for() {
    let (world, now_us) = world("[cache]\nmode = \"exact\"\nttl_s = 60\nstale_while_revalidate_s = 60\n").await;
    let (_, first) = ask(&world, CHAT, &chat("a")).await;
    now_us.fetch_add(MINUTE_US, Ordering::Relaxed);
    let gated = [("x-mock-gate", "here"), VERSION];
    for _ in 0..10 {
        let answer = world.send(with(world.post(CHAT, chat("a")), &gated)).await;
        assert_eq!((answer.header("x-tollgate-cache"), &answer.body), ("stale", &first.body));
    }
    world.mock.gate("here").open();
    let entries = world.entries().await;
    let (stale, renewed): (Vec<_>, Vec<_>) =
        entries[1..].iter().partition(|entry: &&Entry| entry.cache == CacheUse::Stale);
    assert_eq!((stale.len(), renewed.len(), world.mock.requests_total()), (10, 1, 2));
    let renewed = renewed[0];
    assert_eq!(
        (&*renewed.reason, renewed.cache, renewed.outcome),
        ("cache_revalidate", CacheUse::Miss, Outcome::Complete)
    );
    assert_eq!((renewed.account.key.as_ref(), renewed.cost), ("ci", entries[0].cost));
    assert!(stale.iter().all(|entry| entry.cost == Some(Usd::ZERO) && entry.id != renewed.id));
    let (cache, newer) = ask(&world, CHAT, &chat("a")).await;
    assert_eq!(cache, "hit");
    assert_ne!(newer.body, first.body);
    now_us.fetch_add(2 * MINUTE_US, Ordering::Relaxed);
    assert_eq!(ask(&world, CHAT, &chat("a")).await.0, "miss", "too old to be given");
}

#[tokio::test]
async fn what_is_asked_in_the_background_is_held_like_anything_else() {
    let config =
        "[cache]\nmode = \"exact\"\nttl_s = 60\nstale_while_revalidate_s = 600\n[keys.ci.caps]\nday = \"0.02\"\n";
    let (world, now_us) = world(config).await;
    let small = chat("a").replacen('{', r#"{"max_tokens":900,"#, 1);
    let (_, first) = ask_with(&world, CHAT, &small, &[("x-mock-tokens", "700")]).await;
    assert_eq!(first.status, 200);
    now_us.fetch_add(MINUTE_US, Ordering::Relaxed);
    let (cache, again) = ask(&world, CHAT, &small).await;
    assert_eq!((&*cache, &again.body), ("stale", &first.body));
    assert_eq!(
        (ask(&world, CHAT, &small).await.0.as_str(), ask(&world, CHAT, &small).await.0.as_str()),
        ("stale", "stale")
    );
    // What has no room was nobody's request: no error is told to whoever reads the ledger.
    let entries = world.entries().await;
    assert!(entries.iter().all(|entry| entry.status == 200 && entry.outcome != Outcome::Refused), "{entries:?}");
    assert_eq!((entries.len(), world.mock.requests_total()), (4, 1));
    // A client's own is.
    let (cache, refused) = ask_with(&world, CHAT, &small, &[("x-tollgate-cache", "refresh")]).await;
    assert_eq!((&*cache, refused.status.as_u16()), ("", 400));
    let refused = world.entries().await.pop().unwrap();
    assert_eq!((refused.outcome, &*refused.reason), (Outcome::Refused, "cap_exceeded"));
}

#[tokio::test]
async fn a_spent_cap_may_leave_the_cache_alone() {
    for (on_exceed, expect) in [("cache-only", ["stale", ""]), ("refuse", ["", ""])] {
        let caps = format!("[teams.capped]\ncaps = {{ day = \"0.02\" }}\non_exceed = \"{on_exceed}\"\n");
        let key =
            "env.CAPPED=tg_capped_0123456789abcdef\n[keys.capped]\nsecret = { env = \"CAPPED\" }\nteam = \"capped\"\n";
        let (world, now_us) = world(&format!("{STALE}{caps}{key}")).await;
        let mine = ("authorization", "Bearer tg_capped_0123456789abcdef");
        let small = |text: &str| chat(text).replacen('{', r#"{"max_tokens":900,"#, 1);
        let (_, first) = ask_with(&world, CHAT, &small("a"), &[mine, ("x-mock-tokens", "700")]).await;
        now_us.fetch_add(MINUTE_US, Ordering::Relaxed);
        let spent = world.app.bank.standings()[0].spent;
        for (text, expect) in ["a", "b"].into_iter().zip(expect) {
            let (cache, answer) = ask_with(&world, CHAT, &small(text), &[mine]).await;
            assert_eq!(cache, expect, "{on_exceed} {text} {answer:?}");
            match expect {
                "stale" => kept(&answer, &first, world.entries().await.last().unwrap(), on_exceed),
                _ => assert_eq!((answer.status.as_u16(), answer.header("x-tollgate-refused")), (400, "cap_exceeded")),
            }
        }
        assert_eq!((world.app.bank.standings()[0].spent, world.mock.requests_total()), (spent, 1));
    }
}

#[tokio::test]
async fn while_the_upstream_is_down_what_is_kept_goes_on_and_nothing_else_succeeds() {
    const CLIENTS: usize = 16;
    const EACH: usize = 60;
    let (world, now_us) = world(&format!("upstream.breaker_failures = 20\n{STALE}")).await;
    let mut kept = Vec::new();
    for number in 0..8 {
        kept.push(ask(&world, CHAT, &chat(&format!("kept {number}"))).await.1.body);
    }
    now_us.fetch_add(MINUTE_US, Ordering::Relaxed);
    let asked = world.entries().await.len();
    world.mock.set(tollgate::mock::Settings { fault: Some(Fault::ResetBefore), ..world.mock.settings() });
    let (world, kept) = (&world, &kept);
    let client = async |client: usize| {
        for turn in 0..EACH {
            let number = (client + turn) % 8;
            let is_kept = (client + turn).is_multiple_of(2);
            let text = if is_kept { format!("kept {number}") } else { format!("new {client} {turn}") };
            let answer = world.send(with(world.post(CHAT, chat(&text)), &[VERSION])).await;
            match is_kept {
                true => {
                    assert_eq!((answer.status.as_u16(), answer.header("x-tollgate-cache")), (200, "stale"));
                    assert_eq!(answer.body, kept[number]);
                }
                false => assert!(matches!(answer.status.as_u16(), 502 | 503), "{answer:?}"),
            }
        }
    };
    let all: Vec<_> = (0..CLIENTS).map(client).collect();
    let mut all: Vec<_> = all.into_iter().map(Box::pin).collect();
    std::future::poll_fn(|context| {
        all.retain_mut(|one| one.as_mut().poll(context).is_pending());
        if all.is_empty() { std::task::Poll::Ready(()) } else { std::task::Poll::Pending }
    })
    .await;
    let entries = world.entries().await.split_off(asked);
    let stale = entries.iter().filter(|entry| entry.cache == CacheUse::Stale).count();
    // Of the refusals beyond ten a minute, one entry will be written.
    assert!(stale == CLIENTS * EACH / 2 && entries.len() > stale);
    assert!(entries.iter().all(|entry| (entry.status == 200) == (entry.cache == CacheUse::Stale)));
}
