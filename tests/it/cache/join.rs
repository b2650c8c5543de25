//! Identical requests at the same time: one call of the provider, and the whole answer for each who asks.

use bytes::Bytes;
use http::{HeaderMap, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;
use tollgate::domain::entry::{CacheUse, Entry, Outcome};
use tollgate::domain::money::Usd;

use super::{CHAT, ON, arrived, chat, in_flight, with, world};
use crate::world::{Answer, KEY, World};

/// Clients that ask at once, and connections that they share.
const CLIENTS: usize = 500;
const CONNECTIONS: usize = 5;

fn stream(text: &str) -> String {
    chat(text).replacen('{', r#"{"stream":true,"#, 1)
}

const GATED: [(&str, &str); 3] = [("x-mock-gate", "here"), ("x-mock-gate-after", "2"), ("x-mock-chunks", "10")];

type Whole = (StatusCode, HeaderMap, Bytes);

fn uses(entries: &[Entry], cache: CacheUse) -> Vec<&Entry> {
    entries.iter().filter(|entry| entry.cache == cache).collect()
}

/// Asks over one connection for many.
async fn ask_all(world: &World, body: &str) -> Vec<tokio::task::JoinHandle<Whole>> {
    let mut tasks = Vec::new();
    for _ in 0..CONNECTIONS {
        let client = Client::builder(TokioExecutor::new()).http2_only(true).build_http::<Full<Bytes>>();
        for _ in 0..CLIENTS / CONNECTIONS {
            let (client, request) = (client.clone(), with(world.post(CHAT, body.to_owned()), &GATED));
            tasks.push(tokio::spawn(async move {
                let (head, body) = client.request(request).await.unwrap().into_parts();
                (head.status, head.headers, body.collect().await.unwrap().to_bytes())
            }));
        }
    }
    tasks
}

#[tokio::test]
async fn five_hundred_ask_and_one_is_answered_by_the_provider() {
    let (world, _) = world(ON).await;
    let tasks = ask_all(&world, &stream("hello")).await;
    in_flight(&world, i64::try_from(CLIENTS).unwrap()).await;
    world.mock.gate("here").open();
    let mut answers = Vec::new();
    for task in tasks {
        answers.push(task.await.unwrap());
    }
    let whole = &answers[0].2;
    assert!(whole.ends_with(b"data: [DONE]\n\n") && !whole.windows(12).any(|part| part == br#""choices":[]"#));
    assert!(answers.iter().all(|(status, _, body)| *status == 200 && body == whole));
    let headers = |cache: &str| answers.iter().filter(|(_, headers, _)| headers["x-tollgate-cache"] == cache).count();
    assert_eq!((headers("miss"), headers("joined")), (1, CLIENTS - 1));
    let mut names: Vec<_> = answers.iter().map(|(_, headers, _)| &headers["x-tollgate-request-id"]).collect();
    names.sort_unstable();
    names.dedup();
    assert_eq!(names.len(), CLIENTS);
    let entries = world.entries().await;
    let (paid, joined) = (uses(&entries, CacheUse::Miss), uses(&entries, CacheUse::Joined));
    assert_eq!((world.mock.requests_total(), paid.len(), joined.len()), (1, 1, CLIENTS - 1));
    assert_eq!((paid[0].outcome, paid[0].saved), (Outcome::Complete, Usd::ZERO));
    for entry in joined {
        assert_eq!((entry.outcome, entry.cost, entry.saved), (Outcome::Joined, Some(Usd::ZERO), paid[0].cost.unwrap()));
        assert!(entry.attempts.is_empty() && entry.status == 200);
    }
    assert_eq!(world.app.flights.count(), 0);
    let again = world.send(world.post(CHAT, stream("hello"))).await;
    assert_eq!((again.header("x-tollgate-cache"), &again.body), ("hit", whole));
}

#[tokio::test]
async fn a_leader_that_leaves_hurts_nobody() {
    let (world, _) = world(ON).await;
    let lead = world.open(with(world.post(CHAT, stream("hello")), &GATED)).await;
    assert_eq!(lead.headers()["x-tollgate-cache"], "miss");
    let mut lead = lead.into_body();
    let first = lead.frame().await.unwrap().unwrap().into_data().unwrap();
    // Late, and from the first byte on all the same.
    let late = world.open(world.post(CHAT, stream("hello"))).await;
    assert_eq!(late.headers()["x-tollgate-cache"], "joined");
    drop(lead);
    world.mock.gate("here").open();
    let whole = late.into_body().collect().await.unwrap().to_bytes();
    assert!(whole.starts_with(&first) && whole.ends_with(b"data: [DONE]\n\n"));
    let entries = world.entries().await;
    let (paid, joined) = (uses(&entries, CacheUse::Miss), uses(&entries, CacheUse::Joined));
    assert_eq!((world.mock.requests_total(), paid.len(), joined.len()), (1, 1, 1));
    assert_eq!((joined[0].outcome, joined[0].saved), (Outcome::Joined, paid[0].cost.unwrap()));
    assert_eq!(paid[0].cost, Some(world.mock.bill().total()));
    let again = world.send(world.post(CHAT, stream("hello"))).await;
    assert_eq!((again.header("x-tollgate-cache"), &again.body), ("hit", &whole));
}

#[tokio::test]
async fn when_all_have_left_it_is_as_if_one_had_asked() {
    let (world, _) = world(ON).await;
    let bodies = [(); 3].map(|()| with(world.post(CHAT, stream("hello")), &GATED));
    let mut open = Vec::new();
    for request in bodies {
        open.push(world.open(request).await);
    }
    drop(open);
    world.mock.gate("here").open();
    let entries = world.entries().await;
    let (paid, joined) = (uses(&entries, CacheUse::Miss), uses(&entries, CacheUse::Joined));
    assert_eq!((paid.len(), joined.len()), (1, 2));
    assert!(entries.iter().all(|entry| entry.outcome == Outcome::ClientAbort), "{entries:?}");
    assert_eq!(paid[0].cost, Some(world.mock.bill().total()));
    assert_eq!((world.app.flights.count(), world.app.cache.fill().answers), (0, 0));
}

#[tokio::test]
async fn what_the_provider_refuses_it_refuses_to_all() {
    let (world, _) = world(ON).await;
    let gated = [("x-mock-gate", "here"), ("x-mock-fault", "500")];
    let requests: Vec<_> = (0..4).map(|_| world.client.request(with(world.post(CHAT, chat("hi")), &gated))).collect();
    let tasks: Vec<_> = requests.into_iter().map(tokio::spawn).collect();
    in_flight(&world, 4).await;
    world.mock.gate("here").open();
    let mut bodies = Vec::new();
    for task in tasks {
        let (head, body) = task.await.unwrap().unwrap().into_parts();
        assert_eq!(head.status, 500);
        bodies.push(body.collect().await.unwrap().to_bytes());
    }
    assert!(bodies.windows(2).all(|two| two[0] == two[1]));
    let entries = world.entries().await;
    assert_eq!((world.mock.requests_total(), entries.len()), (1, 4));
    assert!(entries.iter().all(|entry| entry.outcome == Outcome::UpstreamError && entry.saved == Usd::ZERO));
}

#[tokio::test]
async fn a_cap_refuses_its_own_caller_only() {
    let caps = "env.POOR=tg_poor_0123456789abcdef\n[keys.poor]\nsecret = { env = \"POOR\" }\nteam = \"search\"\n\
                [keys.poor.caps]\nday = \"0.000001\"\n";
    let (world, _) = world(&format!("{ON}{caps}")).await;
    let poor = [("authorization", "Bearer tg_poor_0123456789abcdef")];
    let mut tasks = Vec::new();
    for number in 0..20 {
        let headers: &[_] = if number % 2 == 0 { &poor } else { &[] };
        tasks.push(tokio::spawn(world.client.request(with(world.post(CHAT, chat("hi")), headers))));
    }
    for (number, task) in tasks.into_iter().enumerate() {
        let answer = task.await.unwrap().unwrap();
        let (status, cache) = (answer.status(), answer.headers().get("x-tollgate-cache").cloned());
        // Whoever has no money is answered with what others have paid for, or refused.
        assert!(status == 200 || number % 2 == 0 && status == 400, "{number} {status} {cache:?}");
    }
    assert_eq!(world.mock.requests_total(), 1);
}

#[tokio::test]
async fn tools_refreshes_and_zero_are_not_shared() {
    let tools = r#","tools":[{"type":"function","function":{"name":"f","parameters":{"type":"object"}}}]"#;
    let with_tools = chat("hi").replacen(r#","messages""#, &format!(r#"{tools},"messages""#), 1);
    let refresh: &[(&'static str, &str)] = &[("x-mock-gate", "here"), ("x-tollgate-cache", "refresh")];
    for (extra, body, headers) in [
        ("", with_tools, &[("x-mock-gate", "here")][..]),
        ("", chat("hi"), refresh),
        ("join_kib_max = 0\n", chat("hi"), &[("x-mock-gate", "here")]),
        // Money that may shorten an answer is its owner's.
        ("[organisation]\ncaps = { day = \"9\" }\non_exceed = \"shrink\"\n", chat("hi"), &[("x-mock-gate", "here")]),
        // The same of who is asked behind the first.
        (
            "[models.\"gpt-4o\"]\nfallback = [\"gpt-4o-mini\"]\n[models.\"gpt-4o-mini\"]\ncaps = { day = \"9\" }\non_exceed = \"shrink\"\n",
            chat("hi"),
            &[("x-mock-gate", "here")],
        ),
    ] {
        let (world, _) = world(&format!("{ON}{extra}")).await;
        let requests: Vec<_> =
            (0..3).map(|_| world.client.request(with(world.post(CHAT, body.clone()), headers))).collect();
        let tasks: Vec<_> = requests.into_iter().map(tokio::spawn).collect();
        arrived(&world, 3).await;
        world.mock.gate("here").open();
        for task in tasks {
            assert_eq!(task.await.unwrap().unwrap().headers()["x-tollgate-cache"], "miss");
        }
    }
}

/// Asks the same as several keys, lets the provider answer once all wait, and says what each was given.
async fn ask_together(world: &World, keys: &[&str], body: &str, headers: &[(&'static str, &str)]) -> Vec<Answer> {
    let mut tasks = Vec::new();
    for key in keys {
        let bearer = format!("Bearer {key}");
        let request = with(with(world.post(CHAT, body.to_owned()), headers), &[("authorization", &bearer)]);
        tasks.push(tokio::spawn(world.client.request(request)));
    }
    in_flight(world, i64::try_from(keys.len()).unwrap()).await;
    arrived(world, 1).await;
    world.mock.gate("here").open();
    let mut answers = Vec::new();
    for task in tasks {
        let (head, body) = task.await.unwrap().unwrap().into_parts();
        let body = body.collect().await.unwrap().to_bytes();
        answers.push(Answer { status: head.status, headers: head.headers, body });
    }
    answers
}

const FAILING: [(&str, &str); 2] = [("x-mock-gate", "here"), ("x-mock-fault", "500")];

#[tokio::test]
async fn who_follows_is_told_who_has_answered() {
    for body in [chat("hello"), stream("hello")] {
        let other = crate::wire::Fake::start(|seen| {
            let is_stream = seen.body.windows(13).any(|part| part == br#""stream":true"#);
            let choice = r#""choices":[{"index":0,"delta":{"content":"hi"},"finish_reason":"stop"}]"#;
            let event = format!("data: {{\"id\":\"c\",\"object\":\"chat.completion.chunk\",\"model\":\"m\",{choice}}}\n\ndata: [DONE]\n\n");
            match is_stream {
                true => crate::wire::Reply::whole("200 OK", "content-type: text/event-stream\r\n", event),
                false => crate::wire::Reply::whole("200 OK", "content-type: application/json\r\n", crate::again::GOOD),
            }
        })
        .await;
        let (world, _) = world(&format!("{ON}upstream.retries = 0\n{}", crate::again::backup(other.address))).await;
        let answers = ask_together(&world, &[KEY; 3], &body, &FAILING).await;
        let mut uses: Vec<_> = answers.iter().map(|answer| answer.header("x-tollgate-cache").to_owned()).collect();
        uses.sort_unstable();
        assert_eq!((uses, other.seen().len()), (vec!["joined".into(), "joined".into(), "miss".to_owned()], 1));
        for answer in &answers {
            let told = (answer.status.as_u16(), answer.header("x-tollgate-reason"), &answer.body);
            assert_eq!(told, (200, "fallback", &answers[0].body), "{:?}", answer.headers);
        }
        let entries = world.entries().await;
        assert_eq!(entries.len(), 3);
        for entry in &entries {
            assert_eq!((&*entry.upstream, &*entry.reason), ("backup", "fallback"), "{:?}", entry.cache);
        }
    }
}

#[tokio::test]
async fn nobody_is_given_what_its_key_may_not_ask_for() {
    let other = crate::wire::Fake::start(|_| {
        crate::wire::Reply::whole("200 OK", "content-type: application/json\r\n", crate::again::GOOD)
    })
    .await;
    let narrow = "tg_narrow_0123456789abcdef";
    let config = format!(
        "{ON}upstream.retries = 0\nenv.NARROW={narrow}\n{}[keys.narrow]\nsecret = {{ env = \"NARROW\" }}\n\
         team = \"search\"\nupstreams = [\"openai\"]\n",
        crate::again::backup(other.address)
    );
    for keys in [[KEY, narrow, KEY], [narrow, KEY, narrow]] {
        let (world, _) = world(&config).await;
        let answers = ask_together(&world, &keys, &chat("hello"), &FAILING).await;
        for (key, answer) in keys.iter().zip(&answers) {
            assert_eq!(answer.status.as_u16(), if *key == narrow { 500 } else { 200 }, "{key}");
        }
        // Two flights, one for each who may ask others or not.
        assert_eq!(world.mock.requests_total(), 2);
    }
}

#[tokio::test]
async fn what_the_operator_has_written_is_marked_for_all() {
    let written = "[models.\"gpt-4o\"]\nfallback_answer = \"Come back later.\"\n";
    let (world, _) = world(&format!("{ON}upstream.retries = 0\n{written}")).await;
    let answers = ask_together(&world, &[KEY; 3], &chat("hello"), &FAILING).await;
    for answer in &answers {
        assert_eq!((answer.status.as_u16(), answer.header("x-tollgate-reason")), (200, "static answer"));
        assert_eq!(answer.header("x-tollgate-refused"), "upstream_unreachable", "{:?}", answer.headers);
    }
    let entries = world.entries().await;
    assert_eq!((entries.len(), world.mock.requests_total()), (3, 1));
    for entry in entries {
        assert_eq!((entry.outcome, &*entry.reason, entry.saved), (Outcome::UpstreamError, "static answer", Usd::ZERO));
    }
}

#[tokio::test]
async fn whoever_waited_for_what_broke_off_has_its_entry() {
    let half = "content-type: application/json\r\ncontent-length: 900\r\n";
    let fake = crate::wire::Fake::start(move |_| {
        let head = format!("HTTP/1.1 200 OK\r\n{half}\r\n{{\"id\":\"c\"");
        crate::wire::Reply { pieces: vec![head.into_bytes()], closes: true }
    })
    .await;
    let mock = crate::world::provider().await.1;
    let world = World::before(fake.address, mock, ON, crate::world::PATIENCE).await;
    let requests: Vec<_> = (0..15).map(|_| world.client.request(world.post(CHAT, chat("hello")))).collect();
    for task in requests.into_iter().map(tokio::spawn).collect::<Vec<_>>() {
        assert_eq!(task.await.unwrap().unwrap().status(), 502);
    }
    let entries = world.entries().await;
    assert_eq!(entries.len(), 15);
    assert!(
        entries.iter().all(|entry| (entry.outcome, entry.status, entry.requests) == (Outcome::UpstreamAborted, 502, 1))
    );
    assert!(fake.seen().len() < 15, "somebody followed");
}

#[tokio::test]
async fn what_is_too_long_to_be_shared_each_asks_for_itself() {
    let (world, _) = world(&format!("{ON}join_kib_max = 1\nanswer_kib_max = 1\n")).await;
    let long = [("x-mock-gate", "here"), ("x-mock-tokens", "3000")];
    let answers = ask_together(&world, &[KEY; 3], &chat("hello"), &long).await;
    assert!(answers[0].body.len() > 2_048, "{}", answers[0].body.len());
    for answer in &answers {
        assert_eq!((answer.status.as_u16(), answer.header("x-tollgate-cache")), (200, "miss"));
        assert!(serde_json::from_slice::<serde_json::Value>(&answer.body).is_ok(), "it is whole");
    }
    let entries = world.entries().await;
    assert_eq!((world.mock.requests_total(), entries.len()), (3, 3));
    assert!(entries.iter().all(|entry| entry.outcome == Outcome::Complete));
}

#[tokio::test]
async fn who_reads_too_slowly_is_ended_and_holds_up_nobody() {
    const PIECES: usize = 1_500;
    let event = |text: &str| {
        let choice = format!(r#"{{"index":0,"delta":{{"content":"{text}"}},"finish_reason":null}}"#);
        format!("data: {{\"id\":\"c\",\"object\":\"chat.completion.chunk\",\"model\":\"gpt-4o\",\"choices\":[{choice}]}}\n\n").into_bytes()
    };
    let end = br#"data: {"id":"c","object":"chat.completion.chunk","model":"gpt-4o","choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}

data: [DONE]

"#;
    let piece = event(&"x".repeat(16 << 10));
    let whole_bytes = piece.len() * PIECES + end.len();
    let fake = crate::wire::Fake::start(move |_| {
        let pieces = std::iter::repeat_n(&piece[..], PIECES).chain([&end[..]]);
        crate::wire::Reply::chunked("200 OK", "content-type: text/event-stream\r\n", pieces)
    })
    .await;
    let config = format!(
        "{ON}join_kib_max = 64\n[upstreams.plain]\ndialect = \"openai\"\nbase_url = \"http://{}\"\n",
        fake.address
    );
    let world = World::before(fake.address, crate::world::provider().await.1, &config, crate::world::PATIENCE).await;
    let lead = world.open(world.post(CHAT, stream("hello"))).await;
    assert_eq!(lead.headers()["x-tollgate-cache"], "miss");
    // The leader has not read yet, so that the upstream waits and others may still come.
    let lines = [format!("authorization: Bearer {}", crate::world::KEY), "content-type: application/json".to_owned()];
    let lines: Vec<&str> = lines.iter().map(|line| &**line).collect();
    let slow = crate::wire::send(world.address, &format!("POST {CHAT}"), &lines, stream("hello")).await;
    in_flight(&world, 2).await;
    let read = lead.into_body().collect().await.unwrap().to_bytes();
    assert_eq!(read.len(), whole_bytes, "the leader gets all of it, whoever else is slow");
    let got = crate::wire::receive(slow, false).await;
    let entries = world.entries().await;
    let (paid, joined) = (uses(&entries, CacheUse::Miss), uses(&entries, CacheUse::Joined));
    match joined[..] {
        [joined] => {
            assert_eq!((fake.seen().len(), paid.len(), joined.cost), (1, 1, Some(Usd::ZERO)));
            assert!(got.body.len() < whole_bytes && got.text().contains("reads too slowly"), "{}", got.body.len());
        }
        // It came when the buffer was already past its limit, and asked for itself.
        _ => assert_eq!((fake.seen().len(), paid.len(), got.body.len()), (2, 2, whole_bytes)),
    }
    assert_eq!(world.app.flights.count(), 0);
}
