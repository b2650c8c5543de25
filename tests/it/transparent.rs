//! Requests arrive at the upstream as the client sent them, but for what Tollgate says that it changes.

use std::time::Duration;

use bytes::Bytes;
use tollgate::domain::tokens::UsageSource;

use crate::wire::{self, Fake, Reply};
use crate::world::{KEY, World};

const CHAT: &str = "{ \"model\" :\"gpt-5-mini\",\n \"messages\":[{\"role\":\"user\",\"content\":\"h\\u00e9llo\"}], \"big\": 1.50e+02, \"\\u006eew\":[null]}";
const MESSAGES: &str = "{\"max_tokens\":64,\r\n\t\"messages\":[{\"content\":\"hi\",\"role\":\"user\"}],\"model\":\"claude-haiku-4-5\",\"x\":{\"a\":1,\"a\":2}}";
const GEMINI: &str = "{\"contents\" : [{\"parts\":[{\"text\":\"hi\"}]}],\"unknown\":-0.0}";

/// An upstream without a key of its own for each dialect.
const OPEN: &str = r#"
[upstreams.open]
dialect = "openai"
provider = "openai"
base_url = "http://PROVIDER/base"
[upstreams.opengemini]
dialect = "gemini"
base_url = "http://PROVIDER"
[upstreams.openanthropic]
dialect = "anthropic"
base_url = "http://PROVIDER"
[upstreams.azure]
dialect = "openai"
provider = "azure"
api_key = { env = "PROVIDER_KEY" }
base_url = "http://PROVIDER"
"#;

fn bearer() -> String {
    format!("authorization: Bearer {KEY}")
}

/// A Tollgate before an upstream that says `{}` to all.
async fn world() -> (World, Fake) {
    let fake = Fake::start(|_| Reply::whole("200 OK", "content-type: application/json\r\n", "{}")).await;
    let mock = crate::world::provider().await.1;
    (World::before(fake.address, mock, OPEN, Duration::from_secs(60)).await, fake)
}

#[tokio::test]
async fn a_request_passes_byte_for_byte() {
    let (world, fake) = world().await;
    for (target, body) in [
        ("/v1/chat/completions?a=1&&b=%2F%20+&a=2&c", CHAT),
        ("/v1/messages?beta=true", MESSAGES),
        ("/v1beta/models/gemini-2.5-flash:generateContent?alt=json&$fields=x", GEMINI),
        ("/v1/embeddings?", "{\"input\":\"x\",\"model\":\"text-embedding-3-small\",\"x\":1}"),
    ] {
        let lines = [
            "x-mixed-Case: one",
            "anthropic-beta: a,b",
            "user-agent: Some/1.0 (x; y)",
            "x-mixed-case: two",
            "accept: application/json, text/event-stream",
            "anthropic-beta:  c",
            "content-type: application/json; charset=UTF-8",
            "x-stainless-retry-count: 0",
            "cookie: a=b; c",
            "idempotency-key: k",
            "traceparent: 00-1-2-01",
            "x-request-id: theirs",
            "openai-organization: org",
            "connection: keep-alive, x-hop",
            "x-hop: gone",
            "keep-alive: timeout=5",
            "te: trailers",
            "proxy-authorization: Basic x",
            "proxy-connection: keep-alive",
            "upgrade: h2c",
            "expect: 100-continue",
            "x-tollgate-tags: a=b",
            "x-tollgate-anything-new: c",
            &bearer(),
        ];
        let got = wire::ask(world.address, &format!("POST {target}"), &lines, body).await;
        assert_eq!(got.status, 200, "{target}: {got:?}");
        let seen = fake.seen().pop().unwrap();
        assert_eq!((seen.method.as_str(), seen.target.as_str()), ("POST", target));
        assert_eq!(String::from_utf8(seen.body.clone()).unwrap(), body);
        let kept = |line: &&str| {
            let (name, value) = line.split_once(':').unwrap();
            (name.to_lowercase(), value.trim().to_owned())
        };
        let mut expect: Vec<_> = lines.iter().take(13).map(kept).collect();
        expect.push(("content-length".into(), body.len().to_string()));
        expect.push(("host".into(), fake.address.to_string()));
        let generates = !target.contains("embeddings");
        expect.extend(generates.then(|| ("accept-encoding".into(), "identity".into())));
        let (name, value) = match target {
            _ if target.contains("messages") => ("x-api-key", "sk-provider"),
            _ if target.contains("gemini") => ("x-goog-api-key", "sk-provider"),
            _ => ("authorization", "Bearer sk-provider"),
        };
        expect.push((name.into(), value.into()));
        let mut found = seen.headers;
        // Names may move; the values of one name may not.
        found.sort_by(|left, right| left.0.cmp(&right.0));
        expect.sort_by(|left, right| left.0.cmp(&right.0));
        assert_eq!(found, expect, "{target}");
    }
}

#[tokio::test]
async fn only_generation_asks_for_plain_answers() {
    let (world, fake) = world().await;
    for (request, body, expect) in [
        ("POST /v1/chat/completions", CHAT, "identity"),
        ("POST /v1/responses", "{\"model\":\"gpt-5-mini\",\"input\":\"x\"}", "identity"),
        ("POST /v1/messages", MESSAGES, "identity"),
        ("POST /v1beta/models/g:streamGenerateContent?alt=sse", GEMINI, "identity"),
        ("POST /v1/messages/count_tokens", MESSAGES, "br;q=1, gzip"),
        ("POST /v1beta/models/g:countTokens", GEMINI, "br;q=1, gzip"),
        ("POST /v1/embeddings", "{\"input\":\"x\",\"model\":\"m\"}", "br;q=1, gzip"),
        ("GET /v1/models", "", "br;q=1, gzip"),
    ] {
        let got = wire::ask(world.address, request, &["accept-encoding: br;q=1, gzip", &bearer()], body).await;
        assert_eq!(got.status, 200, "{request}");
        assert_eq!(fake.seen().pop().unwrap().header("accept-encoding"), expect, "{request}");
    }
}

/// Sends `lines` to `target` and expects these credentials and this target at the upstream; none: Tollgate says 401.
async fn check_credentials(lines: &[&str], target: &str, expect: Option<(&[(&str, &str)], &str)>) {
    let (world, fake) = world().await;
    let body = if target.contains("emini") { GEMINI } else { CHAT };
    let lines: Vec<String> = lines.iter().map(|line| line.replace("KEY", KEY)).collect();
    let lines: Vec<&str> = lines.iter().map(|line| &**line).collect();
    let got = wire::ask(world.address, &format!("POST {}", target.replace("KEY", KEY)), &lines, body).await;
    let Some((credentials, expect_target)) = expect else {
        assert_eq!((got.status, fake.seen().len()), (401, 0), "{lines:?} {target}");
        return;
    };
    assert_eq!(got.status, 200, "{lines:?} {target}: {}", got.text());
    let seen = fake.seen().pop().unwrap();
    assert_eq!(seen.target, expect_target);
    let is_credential = |name: &str| ["authorization", "x-api-key", "x-goog-api-key", "api-key"].contains(&name);
    let mut found: Vec<_> =
        seen.headers.iter().filter(|(name, _)| is_credential(name)).map(|(name, value)| (&**name, &**value)).collect();
    found.sort_unstable();
    assert_eq!(found, credentials, "{lines:?} {target}");
    let all = format!("{seen:?}");
    assert!(!all.contains(KEY), "{all}");
}

#[tokio::test]
async fn credentials_go_where_they_belong_and_nowhere_else() {
    let (chat, provider) = ("/v1/chat/completions", [("authorization", "Bearer sk-provider")]);
    let ours = Some((&provider[..], chat));
    check_credentials(&["authorization: Bearer KEY"], chat, ours).await;
    check_credentials(&["authorization: bearer  KEY"], chat, ours).await;
    check_credentials(&["x-api-key: KEY"], chat, ours).await;
    check_credentials(&["api-key: KEY", "authorization: Bearer sk-theirs"], chat, ours).await;
    check_credentials(&["authorization: Bearer KEY", "x-goog-api-key: AIza", "x-other-key: KEY"], chat, ours).await;
    check_credentials(&[], "/v1/chat/completions?key=KEY&a=b", Some((&provider, "/v1/chat/completions?a=b"))).await;
    // A credential that is not Tollgate's buys nothing with Tollgate's own.
    check_credentials(&["authorization: Bearer sk-theirs"], chat, None).await;
    check_credentials(&["authorization: Bearer tg_0123456789abcdefghiX"], chat, None).await;
    check_credentials(&["authorization: Bearer tg_0123456789abcdefghiX", "x-api-key: KEY"], chat, None).await;
    check_credentials(&[], chat, None).await;
    let gemini = "/v1beta/models/gemini-2.5-flash:generateContent";
    let google: &[_] = &[("x-goog-api-key", "sk-provider")];
    check_credentials(&[], &format!("{gemini}?key=KEY"), Some((google, gemini))).await;
    check_credentials(&["x-goog-api-key: KEY"], &format!("{gemini}?key=AIza"), Some((google, gemini))).await;
    check_credentials(&[&bearer()], &format!("/u/azure{chat}"), Some((&[("api-key", "sk-provider")], chat))).await;
}

#[tokio::test]
async fn a_credential_passes_through_where_the_upstream_has_none() {
    let (open, there) = ("/u/open/v1/chat/completions", "/base/v1/chat/completions");
    let theirs: &[_] = &[("authorization", "Bearer sk-theirs")];
    check_credentials(&["authorization: Bearer sk-theirs"], open, Some((theirs, there))).await;
    let odd: &[_] = &[("authorization", "Custom a=b,  c")];
    check_credentials(&["authorization: Custom a=b,  c", "x-api-key: KEY"], open, Some((odd, there))).await;
    let both: &[_] = &[("api-key", "sk-b"), ("x-api-key", "sk-a")];
    check_credentials(&["x-api-key: sk-a", "api-key: sk-b"], open, Some((both, there))).await;
    check_credentials(&["authorization: Bearer KEY"], open, Some((&[], there))).await;
    check_credentials(&["authorization: KEY", "x-api-key: KEY"], open, Some((&[], there))).await;
    let gemini = "/v1beta/models/gemini-2.5-flash:generateContent";
    let named = format!("/u/opengemini{gemini}?key=AIza&alt=json");
    check_credentials(&[], &named, Some((&[], &format!("{gemini}?key=AIza&alt=json")))).await;
}

#[tokio::test]
async fn an_anonymous_caller_on_this_machine_uses_the_upstreams_key() {
    let fake = Fake::start(|_| Reply::whole("200 OK", "", "{}")).await;
    let extra = "server.anonymous = \"loopback\"";
    let mock = crate::world::provider().await.1;
    let world = World::before(fake.address, mock, extra, Duration::from_secs(60)).await;
    for lines in [&["authorization: Bearer sk-dummy"][..], &["x-api-key: dummy"], &[]] {
        assert_eq!(wire::ask(world.address, "POST /v1/chat/completions", lines, CHAT).await.status, 200);
        let seen = fake.seen().pop().unwrap();
        assert_eq!((seen.header("authorization"), seen.header("x-api-key")), ("Bearer sk-provider", ""));
    }
    let lines = ["authorization: Bearer tg_0123456789abcdefghiX"];
    assert_eq!(wire::ask(world.address, "POST /v1/chat/completions", &lines, CHAT).await.status, 401);
    assert_eq!(world.entries().await[0].account.key.as_ref(), "local");
}

#[tokio::test]
async fn paths_lead_where_the_table_says() {
    let (world, fake) = world().await;
    for (request, expect) in [
        ("POST /chat/completions", Ok("/chat/completions")),
        ("POST /messages", Ok("/messages")),
        ("POST /models/gemini-2.5-flash:generateContent", Ok("/models/gemini-2.5-flash:generateContent")),
        ("POST /v1/models/g:countTokens", Ok("/v1/models/g:countTokens")),
        ("POST /u/open/v9/chat/completions?x", Ok("/base/v9/chat/completions?x")),
        ("POST /u/open/anything/at%20all", Ok("/base/anything/at%20all")),
        ("GET /u/openanthropic/v1/models", Ok("/v1/models")),
        ("DELETE /v1/responses/resp_1", Ok("/v1/responses/resp_1")),
        ("POST /u/nobody/v1/chat/completions", Err(404)),
        ("POST /v1/nothing", Err(404)),
        ("GET /v1/chat/completions", Err(405)),
        ("POST /v1/../v1/chat/completions", Err(404)),
    ] {
        let before = fake.seen().len();
        let body = if request.starts_with("POST") { CHAT } else { "" };
        let got = wire::ask(world.address, request, &[&bearer()], body).await;
        match expect {
            Ok(target) => {
                assert_eq!(got.status, 200, "{request}: {}", got.text());
                let seen = fake.seen();
                assert_eq!((seen.len(), &*seen.last().unwrap().target), (before + 1, target), "{request}");
            }
            Err(status) => assert_eq!((got.status, fake.seen().len()), (status, before), "{request}"),
        }
    }
}

#[tokio::test]
async fn a_websocket_is_refused_at_once_and_probes_are_ours() {
    let (world, fake) = world().await;
    let upgrade = ["connection: upgrade", "upgrade: websocket", "sec-websocket-version: 13"];
    for path in ["/v1/responses", "/responses", "/v1/realtime"] {
        assert_eq!(wire::ask(world.address, &format!("GET {path}"), &upgrade, "").await.status, 426, "{path}");
    }
    for request in ["GET /livez", "GET /readyz", "GET /health", "HEAD /"] {
        assert_eq!(wire::ask(world.address, request, &[], "").await.status, 200, "{request}");
    }
    assert!(fake.seen().is_empty());
}

/// Sends `body` as a stream of chat completions and says what arrived, and what came back.
async fn check_splice(body: &str, expect_sent: &str, has_usage_event: bool, source: UsageSource) {
    let world = World::start("").await;
    let answer = world.send(world.post("/v1/chat/completions", Bytes::copy_from_slice(body.as_bytes()))).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    assert_eq!(String::from_utf8(world.mock.requests()[0].body.to_vec()).unwrap(), expect_sent);
    let usage_events = answer.text().matches("\"choices\":[],").count();
    assert_eq!(usage_events, usize::from(has_usage_event), "{}", answer.text());
    assert!(answer.text().ends_with("data: [DONE]\n\n"));
    let entry = &world.entries().await[0];
    assert_eq!(entry.usage_source, source, "{body}");
    if source == UsageSource::Reported {
        assert_eq!(entry.cost, Some(world.mock.bill().total()));
    } else {
        assert!(entry.cost >= Some(world.mock.bill().total()), "{entry:?}");
    }
}

#[tokio::test]
async fn usage_is_asked_for_and_taken_out_again() {
    use UsageSource::{Counted, Reported};
    let rest = r#""model":"gpt-4o","stream":true,"messages":[{"role":"user","content":"hello"}]}"#;
    let with = |member: &str| format!("{{{member}{rest}");
    let asked = with(r#""stream_options":{"include_usage":true},"#);
    check_splice(&with(""), &asked, false, Reported).await;
    check_splice(&with(r#""stream_options":null,"#), &asked, false, Reported).await;
    check_splice(&with(r#""stream_options":{},"#), &asked, false, Reported).await;
    let other = r#""stream_options":{"include_usage":true,"include_obfuscation":false},"#;
    check_splice(&with(r#""stream_options":{"include_obfuscation":false},"#), &with(other), false, Reported).await;
    check_splice(&asked, &asked, true, Reported).await;
    let declined = with(r#""stream_options": {"include_usage" : false},"#);
    check_splice(&declined, &declined, false, Counted).await;
}

#[tokio::test]
async fn nothing_is_asked_where_config_keeps_requests() {
    let fake = Fake::start(|_| Reply::whole("200 OK", "", "{}")).await;
    let mock = crate::world::provider().await.1;
    let extra = "[upstreams.other]\ndialect = \"openai\"\nbase_url = \"http://PROVIDER\"";
    let world = World::before(fake.address, mock, extra, Duration::from_secs(60)).await;
    let body = r#"{"model":"gpt-4o","stream":true,"messages":[]}"#;
    for path in ["/u/other/v1/chat/completions", "/v1/responses"] {
        wire::ask(world.address, &format!("POST {path}"), &[&bearer()], body).await;
        assert_eq!(fake.seen().pop().unwrap().body, body.as_bytes(), "{path}");
    }
}

#[tokio::test]
async fn a_length_beside_chunks_goes_no_further() {
    let fake = Fake::start(|_| {
        let both = "content-type: application/json\r\ncontent-length: 5\r\nconnection: transfer-encoding\r\n";
        Reply::chunked("200 OK", both, [&b"{\"choices\":"[..], b"[]}"])
    })
    .await;
    let mock = crate::world::provider().await.1;
    let world = World::before(fake.address, mock, "", Duration::from_secs(60)).await;
    let got = wire::ask(world.address, "POST /v1/chat/completions", &[&bearer()], CHAT).await;
    assert_eq!((got.status, got.end, &got.body[..]), (200, wire::End::Whole, &b"{\"choices\":[]}"[..]));
}
