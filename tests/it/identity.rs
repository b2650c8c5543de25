//! Who calls, who pays, and whose credential is used.

use http::{HeaderName, Request};
use http_body_util::Full;
use tollgate::domain::entry::Entry;
use tollgate::domain::operation::Dialect;

use super::raw::check_refusal;
use super::world::{Answer, KEY, World};

const CHAT: &str = r#"{"model":"gpt-4o-mini","max_tokens":50,"messages":[{"role":"user","content":"hello"}]}"#;

/// An upstream without a key of its own, before the others so that it is the dialect's first.
const OPEN: &str = r#"
[upstreams.bare]
dialect = "openai"
provider = "openai"
models = ["bare-*", "gpt-*"]
base_url = "http://PROVIDER"
"#;

/// A world with the upstream of [`OPEN`], and more config.
async fn world(more: &str) -> World {
    let provider = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = provider.local_addr().unwrap();
    let mock = tollgate::mock::Mock::new(tollgate::mock::Options::new(std::sync::Arc::new(|| 1_795_000_000_000)));
    let serving = mock.clone();
    tokio::spawn(async move { serving.serve(provider, std::future::pending()).await });
    let extra = format!("{more}{}", OPEN.replace("PROVIDER", &address.to_string()));
    World::before(address, mock, &extra, crate::world::PATIENCE).await
}

async fn send(world: &World, target: &str, headers: &[(&str, &str)]) -> Answer {
    let mut request = Request::post(format!("http://{}{target}", world.address));
    for (name, value) in headers {
        request = request.header(name.parse::<HeaderName>().unwrap(), *value);
    }
    world.send(request.body(Full::new(CHAT.into())).unwrap()).await
}

async fn last(world: &World) -> Entry {
    world.entries().await.pop().unwrap()
}

#[tokio::test]
async fn a_key_is_known_wherever_it_stands_and_never_leaves() {
    let world = world("").await;
    let bearer = format!("Bearer {KEY}");
    let lower = format!("bearer   {KEY}");
    let chat = "/v1/chat/completions";
    let query = format!("{chat}?key={KEY}&a=b");
    let hidden = format!("{chat}?a=b&k%65y=%74g_{}", &KEY[3..]);
    for (target, headers) in [
        (chat, &[("authorization", &*bearer)][..]),
        (chat, &[("authorization", &*lower)]),
        (chat, &[("authorization", KEY)]),
        (chat, &[("x-api-key", KEY)]),
        (chat, &[("x-goog-api-key", KEY)]),
        (chat, &[("api-key", KEY)]),
        (chat, &[("authorization", "Bearer sk-theirs"), ("x-api-key", KEY)]),
        (&query, &[]),
        (&hidden, &[]),
    ] {
        // Once with an upstream that has its own key, once with one that has none.
        for prefix in ["/u/openai", "/u/bare"] {
            send(&world, &format!("{prefix}{target}"), headers).await;
            let entry = last(&world).await;
            assert_eq!(
                (&*entry.account.key, entry.account.team.as_deref()),
                ("ci", Some("search")),
                "{target} {headers:?}"
            );
            let seen = world.mock.requests().pop().unwrap();
            let whole = format!(
                "{} {:?}",
                seen.target,
                seen.headers.iter().map(|(_, value)| String::from_utf8_lossy(value)).collect::<Vec<_>>()
            );
            assert!(!whole.contains("g_0123456789"), "{whole}");
            let given = seen.header_values("authorization");
            let expect: &[&str] = match (prefix, headers.len()) {
                ("/u/openai", _) => &["Bearer sk-provider"],
                (_, 2) => &["Bearer sk-theirs"],
                _ => &[],
            };
            assert_eq!(given, expect, "{prefix}{target} {headers:?}");
        }
    }
}

#[tokio::test]
async fn an_unknown_key_is_the_end() {
    let world = world("server.anonymous = \"loopback\"").await;
    for headers in [
        &[("authorization", "Bearer tg_unknown")][..],
        &[("x-api-key", "tg_unknown")],
        &[("authorization", "Bearer sk-good"), ("x-api-key", "tg_unknown")],
        &[("x-api-key", "tg_"), ("authorization", "Bearer sk-good")],
        &[("authorization", "tg_unknown")],
    ] {
        check_refusal(Dialect::OpenAi, &send(&world, "/u/bare/v1/chat/completions", headers).await, 401);
    }
    check_refusal(Dialect::OpenAi, &send(&world, "/u/bare/v1/chat/completions?key=%74g_unknown", &[]).await, 401);
    assert!(world.entries().await.is_empty());
    assert_eq!(world.mock.requests_total(), 0);
}

#[tokio::test]
async fn a_credential_that_passes_names_its_caller_and_is_never_written() {
    let world = world("").await;
    let secret = "sk-a-client-of-its-own";
    let bearer = format!("Bearer {secret}");
    let answer = send(&world, "/u/bare/v1/chat/completions", &[("authorization", &bearer)]).await;
    assert_eq!(answer.status, 200, "{answer:?}");
    assert_eq!(world.mock.requests()[0].header_values("authorization"), [&*bearer], "untouched");
    let first = last(&world).await.account.key;
    assert!(first.starts_with("pass:") && first.len() == 21 && !first.contains("client"), "{first}");
    // Another header beside it does not make another caller; another credential does.
    send(&world, "/u/bare/v1/chat/completions", &[("authorization", &bearer), ("x-api-key", "junk")]).await;
    assert_eq!(last(&world).await.account.key, first);
    send(&world, "/u/bare/v1/chat/completions", &[("authorization", "Bearer sk-another")]).await;
    assert_ne!(last(&world).await.account.key, first);
    let again = world.again(&OPEN.replace("PROVIDER", &world.provider.to_string())).await;
    send(&again, "/u/bare/v1/chat/completions", &[("authorization", &bearer)]).await;
    assert_eq!(last(&again).await.account.key, first, "the name outlives the process");
}

#[tokio::test]
async fn nobody_without_a_key_spends_the_house_s_own_credential() {
    let world = world("").await;
    for target in ["/u/openai/v1/chat/completions", "/u/anthropic/v1/messages"] {
        let answer = send(&world, target, &[("authorization", "Bearer sk-theirs"), ("x-api-key", "sk-theirs")]).await;
        assert_eq!((answer.status.as_u16(), answer.header("x-should-retry")), (401, "false"));
        assert_eq!(send(&world, target, &[]).await.status, 401);
    }
    assert_eq!(world.mock.requests_total(), 0);
    let closed = self::world("server.allow_passthrough_credentials = false").await;
    let answer = send(&closed, "/u/bare/v1/chat/completions", &[("authorization", "Bearer sk-theirs")]).await;
    check_refusal(Dialect::OpenAi, &answer, 401);
    assert_eq!(closed.mock.requests_total(), 0);
}

#[tokio::test]
async fn a_program_on_this_machine_needs_no_key_and_a_web_page_does() {
    let world = world("server.anonymous = \"loopback\"").await;
    for headers in [&[][..], &[("authorization", "Bearer any")], &[("origin", "http://localhost:3000")]] {
        let answer = send(&world, "/u/openai/v1/chat/completions", headers).await;
        assert_eq!(answer.status, 200, "{headers:?}");
        assert_eq!(&*last(&world).await.account.key, "local");
        let seen = world.mock.requests().pop().unwrap();
        assert_eq!(seen.header_values("authorization"), ["Bearer sk-provider"]);
    }
    for headers in [
        &[("origin", "https://evil.example")][..],
        &[("host", "evil.example")],
        &[("x-forwarded-for", "192.0.2.1")],
        &[("via", "1.1 proxy"), ("authorization", "Bearer any")],
    ] {
        assert_eq!(send(&world, "/u/openai/v1/chat/completions", headers).await.status, 401, "{headers:?}");
    }
    let off = self::world("").await;
    assert_eq!(send(&off, "/u/openai/v1/chat/completions", &[]).await.status, 401);
}

/// Keys with and without the right to name a user.
const KEYS: &str = r#"
[users."ada@example.com"]
team = "search"
[keys.plain]
secret = { env = "PLAIN_KEY" }
tags = { feature = "search", env = "prod" }
[keys.broad]
secret = { env = "BROAD_KEY" }
attribute = true
"#;

#[tokio::test]
async fn only_keys_that_may_name_users_do() {
    let world = world(KEYS).await;
    let chat = "/u/openai/v1/chat/completions";
    let user = ("x-tollgate-user", "ada@example.com");
    send(&world, chat, &[("authorization", "Bearer tg_plain_0123456789abcdef"), user]).await;
    let entry = last(&world).await;
    assert_eq!((&*entry.account.key, entry.account.user, entry.account.team), ("plain", None, None));
    send(&world, chat, &[("authorization", "Bearer tg_broad_0123456789abcdef"), user]).await;
    let entry = last(&world).await;
    assert_eq!(entry.account.user.as_deref(), Some("ada@example.com"));
    assert_eq!(entry.account.team.as_deref(), Some("search"), "the user's team pays where the key has none");
    send(&world, "/u/bare/v1/chat/completions", &[("authorization", "Bearer sk-theirs"), user]).await;
    assert_eq!(last(&world).await.account.user, None);
    for seen in world.mock.requests() {
        assert!(seen.headers.iter().all(|(name, _)| !name.starts_with("x-tollgate-")), "{:?}", seen.headers);
    }
}

#[tokio::test]
async fn tags_of_the_key_win_and_those_of_the_request_are_added() {
    let world = world(KEYS).await;
    let headers = [
        ("authorization", "Bearer tg_plain_0123456789abcdef"),
        ("x-tollgate-tags", "feature=forged, run=7 ,,"),
        ("x-tollgate-tags", "step=a=b"),
    ];
    assert_eq!(send(&world, "/u/openai/v1/chat/completions", &headers).await.status, 200);
    let tags = last(&world).await.account.tags;
    let tags: Vec<(&str, &str)> = tags.iter().map(|(name, value)| (&**name, &**value)).collect();
    assert_eq!(tags, [("env", "prod"), ("feature", "search"), ("run", "7"), ("step", "a=b")]);
    for (count, status) in [(6, 200), (7, 400)] {
        let tags = (0..count).map(|number| format!("t{number}={}", "v".repeat(61))).collect::<Vec<_>>().join(",");
        let headers = [("authorization", "Bearer tg_plain_0123456789abcdef"), ("x-tollgate-tags", &*tags)];
        assert_eq!(send(&world, "/u/openai/v1/chat/completions", &headers).await.status, status);
    }
}
