//! Each kind of scope, with each kind of window: its cap refuses, and says which it is.

use http::{Method, Request};
use http_body_util::Full;
use serde_json::{Value, json};
use tollgate::domain::account::Scope;
use tollgate::domain::money::Usd;

use super::{CHAT, chat};
use crate::world::World;

/// Windows as they stand in the file and in refusals, and whether they end.
const WINDOWS: [(&str, &str, bool); 5] = [
    ("day = \"0.001\"", "day", true),
    ("week = \"0.001\"", "week", true),
    ("month = \"0.001\"", "month", true),
    ("rolling = [{ usd = \"0.001\", hours = 5 }]", "rolling_5h", true),
    ("total = \"0.001\"", "total", false),
];

/// Sections, and the scope whose caps stand in them.
fn sections() -> Vec<(&'static str, Scope)> {
    vec![
        ("[organisation.caps]", Scope::Organisation),
        ("[teams.search.caps]", Scope::Team("search".into())),
        ("[users.ada.caps]", Scope::User("ada".into())),
        ("[defaults.user.caps]", Scope::User("ada".into())),
        ("[keys.ci.caps]", Scope::Key("ci".into())),
        ("[models.\"gpt-*\".caps]", Scope::Model("gpt-*".into())),
        ("[keys.ci.tags]\nfeature = \"find\"\n[tags.\"feature=find\".caps]", Scope::Tag("feature=find".into())),
    ]
}

#[tokio::test]
async fn the_cap_of_each_scope_and_window_refuses_and_says_so() {
    for (section, scope) in sections() {
        for (cap, window, ends) in WINDOWS {
            let world = World::start(&format!("{section}\n{cap}\n")).await;
            let mut request = world.post(CHAT, chat(2_000, false));
            request.headers_mut().insert("x-tollgate-user", "ada".parse().unwrap());
            let answer = world.send(request).await;
            let about = format!("{section} {window}: {}", answer.text());
            assert_eq!((answer.status.as_u16(), world.mock.requests_total()), (400, 0), "{about}");
            let body: Value = serde_json::from_slice(&answer.body).unwrap();
            let told = &body["error"]["tollgate"];
            assert_eq!((&told["scope"], &told["name"]), (&json!(scope.kind()), &json!(scope.name())), "{about}");
            assert_eq!((&told["window"], &told["cap_usd"]), (&json!(window), &json!("0.001")), "{about}");
            assert_eq!((&told["spent_usd"], &told["held_usd"]), (&json!("0"), &json!("0")), "{about}");
            let message = body["error"]["message"].as_str().unwrap();
            assert_eq!(told["resets_at"].as_str().is_some_and(|at| message.contains(at)), ends, "{about}");
            assert!(message.contains(answer.header("x-tollgate-request-id")), "{about}");
            let standing = world.app.bank.standings().into_iter().find(|now| now.scope == scope);
            assert!(standing.is_none_or(|now| now.held == Usd::ZERO && now.spent == Usd::ZERO), "{about}");
        }
    }
}

#[tokio::test]
async fn keys_made_at_run_time_have_the_default_caps() {
    let world = World::start("[defaults.key.caps]\nday = \"0.001\"\n").await;
    let token = world.app.admin_token.load().expose().to_owned();
    let made = Request::builder()
        .method(Method::POST)
        .uri(format!("http://{}/admin/v1/keys", world.admin))
        .header("authorization", format!("Bearer {token}"))
        .body(Full::new(json!({"name": "laptop"}).to_string().into()))
        .unwrap();
    let made: Value = serde_json::from_slice(&world.send(made).await.body).unwrap();
    let by = |secret: &str| {
        let mut request = world.post(CHAT, chat(2_000, false));
        request.headers_mut().insert("authorization", format!("Bearer {secret}").parse().unwrap());
        request
    };
    let refused = world.send(by(made["secret"].as_str().unwrap())).await;
    let body: Value = serde_json::from_slice(&refused.body).unwrap();
    assert_eq!((refused.status.as_u16(), &body["error"]["tollgate"]["name"]), (400, &json!("laptop")));
    assert_eq!(world.send(world.post(CHAT, chat(2_000, false))).await.status, 200, "a key of the file has its own");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn as_many_as_fit_are_sent_and_not_one_more() {
    let world = World::start("[organisation]\ncaps = { day = \"1000\" }").await;
    assert_eq!(world.send(world.post(CHAT, chat(500, false))).await.status, 200);
    let quote = world.entries().await[0].quote.unwrap();
    let room = Usd::from_pico(quote.pico() * 7 + quote.pico() / 2);
    let world = World::start(&format!("[organisation]\ncaps = {{ day = \"{room}\" }}")).await;
    let ask = || {
        let mut request = world.post(CHAT, chat(500, false));
        request.headers_mut().insert("x-mock-gate", "shut".parse().unwrap());
        tokio::spawn(world.client.request(request))
    };
    let mut waiting: Vec<_> = (0..50).map(|_| ask()).collect();
    while waiting.len() > 7 {
        let (over, rest): (Vec<_>, Vec<_>) = waiting.into_iter().partition(|call| call.is_finished());
        waiting = rest;
        for call in over {
            assert_eq!(call.await.unwrap().unwrap().status(), 400);
        }
        tokio::task::yield_now().await;
    }
    world.mock.gate("shut").wait_for_arrivals(7).await;
    let held = world.app.bank.standings().remove(0).held;
    assert_eq!(held, Usd::from_pico(quote.pico() * 7));
    world.mock.gate("shut").open();
    for call in waiting {
        assert_eq!(call.await.unwrap().unwrap().status(), 200);
    }
    world.settled().await;
    let standing = world.app.bank.standings().remove(0);
    assert_eq!((world.mock.requests_total(), standing.held), (7, Usd::ZERO));
    assert!(world.mock.bill().total() <= standing.spent && standing.spent <= room);
}
