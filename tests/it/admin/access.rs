//! Who may come in.

use std::net::IpAddr;

use http::{Method, StatusCode};
use proptest::prelude::*;
use tollgate::admin::{self, Door};

use super::CONFIG;
use crate::harness::{House, TOKEN, app, read, request};

const HERE: &str = "127.0.0.1";
const FAR: &str = "192.0.2.7";

const PATHS: [&str; 9] = [
    "/",
    "/livez",
    "/readyz",
    "/metrics",
    "/admin/v1/report",
    "/admin/v1/requests/01kam3v2x8e9qh5t7c4rwz0ybn",
    "/admin/v1/config",
    "/admin/v1/openapi.json",
    "/nowhere",
];

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap()
}

async fn status(house: &House, peer: &str, target: &str, headers: &[(&str, &str)]) -> u16 {
    let door = Door::Tcp { peer: peer.parse::<IpAddr>().unwrap() };
    admin::answer(&house.app, door, request(target, headers)).await.status().as_u16()
}

#[tokio::test]
async fn everything_but_probes_needs_the_token() {
    let house = app(CONFIG);
    let bearer = format!("Bearer {TOKEN}");
    for (path, without_here, without_far, with) in [
        (PATHS[0], 200, 401, 200),
        (PATHS[1], 200, 200, 200),
        (PATHS[2], 200, 200, 200),
        (PATHS[3], 200, 401, 200),
        (PATHS[4], 401, 401, 200),
        (PATHS[5], 401, 401, 404),
        (PATHS[6], 401, 401, 200),
        (PATHS[7], 401, 401, 200),
        (PATHS[8], 401, 401, 404),
    ] {
        assert_eq!(status(&house, HERE, path, &[]).await, without_here, "{path}");
        assert_eq!(status(&house, "::ffff:127.0.0.1", path, &[]).await, without_here, "{path}");
        assert_eq!(status(&house, FAR, path, &[]).await, without_far, "{path}");
        for peer in [HERE, FAR, "2001:db8::1"] {
            assert_eq!(status(&house, peer, path, &[("authorization", &bearer)]).await, with, "{path} {peer}");
        }
        let over_socket = admin::answer(&house.app, Door::Socket, request(path, &[("host", "x")])).await;
        assert_eq!(over_socket.status().as_u16(), with, "{path}");
    }
}

#[tokio::test]
async fn only_the_token_itself_opens() {
    let house = app(CONFIG);
    for wrong in [
        "",
        "Bearer",
        "Bearer ",
        TOKEN,
        &format!("Basic {TOKEN}"),
        &format!("Bearer {TOKEN}x"),
        &format!("Bearer {}", &TOKEN[1..]),
        &format!("Bearer {}", TOKEN.to_uppercase()),
        &format!("Bearer Bearer {TOKEN}"),
        "Bearer tg_for_tests_only_and_nobody_else",
    ] {
        assert_eq!(status(&house, HERE, "/admin/v1/report", &[("authorization", wrong)]).await, 401, "{wrong:?}");
    }
    let bearer = format!("Bearer {TOKEN}");
    assert_eq!(status(&house, HERE, "/admin/v1/report", &[("authorization", &format!("bEARER  {TOKEN}"))]).await, 200);
    let two = [("authorization", bearer.as_str()), ("authorization", bearer.as_str())];
    assert_eq!(status(&house, HERE, "/admin/v1/report", &two).await, 401, "which of them would count?");
    assert_eq!(status(&house, HERE, "/admin/v1/report?token=x", &[("x-api-key", TOKEN)]).await, 401);
}

#[tokio::test]
async fn foreign_names_and_pages_are_refused() {
    let house = app(CONFIG);
    let bearer = format!("Bearer {TOKEN}");
    for (host, origin, expect) in [
        ("127.0.0.1:4001", None, 200),
        ("localhost:4001", None, 200),
        ("LOCALHOST", None, 200),
        ("[::1]:4001", None, 200),
        ("10.1.2.3:4001", None, 200),
        ("evil.example", None, 403),
        ("evil.example:4001", None, 403),
        ("localhost.evil.example", None, 403),
        ("127.0.0.1.evil.example", None, 403),
        ("evil@127.0.0.1", None, 403),
        ("127.0.0.1/livez", None, 403),
        ("", None, 403),
        ("localhost:4001", Some("http://localhost:4001"), 200),
        ("127.0.0.1:4001", Some("https://127.0.0.1:4001"), 200),
        ("localhost:4001", Some("http://localhost:8080"), 403),
        ("localhost:4001", Some("http://127.0.0.1:4001"), 403),
        ("localhost:4001", Some("http://evil.example"), 403),
        ("localhost:4001", Some("null"), 403),
        ("localhost:4001", Some(""), 403),
    ] {
        let mut headers = vec![("host", host), ("authorization", &bearer)];
        headers.extend(origin.map(|origin| ("origin", origin)));
        for path in ["/livez", "/metrics", "/admin/v1/report"] {
            assert_eq!(status(&house, HERE, path, &headers).await, expect, "{host} {origin:?} {path}");
        }
    }
    let two = [("host", "localhost"), ("host", "localhost"), ("authorization", bearer.as_str())];
    assert_eq!(status(&house, HERE, "/livez", &two).await, 403);
    assert_eq!(status(&house, HERE, "http://evil.example/livez", &[]).await, 403);
    assert_eq!(status(&house, HERE, "http://localhost/livez", &[]).await, 200);
}

#[tokio::test]
async fn refusals_say_what_is_wrong_and_nothing_is_kept() {
    let house = app(CONFIG);
    let door = Door::Tcp { peer: HERE.parse().unwrap() };
    let bearer = format!("Bearer {TOKEN}");
    let with = [("authorization", bearer.as_str())];
    let mut post = request("/admin/v1/report", &with);
    *post.method_mut() = Method::POST;
    for (asked, expect, code) in [
        (request("/admin/v1/config", &[]), 401, "unauthorized"),
        (request("/livez", &[("host", "evil.example")]), 403, "forbidden"),
        (request("/admin/v1/kyes", &with), 404, "not_found"),
        (request("/admin/v1/keys/none", &with), 404, "not_found"),
        (request("/admin/v1/requests/a/b", &with), 404, "not_found"),
        (request("/admin/v1/requests/12", &with), 400, "bad_request"),
        (request("/admin/v1/report?by=price", &with), 400, "bad_request"),
        (post, 405, "method_not_allowed"),
    ] {
        let answer = admin::answer(&house.app, door, asked).await;
        assert_eq!(answer.headers()["cache-control"], "private, no-store");
        assert_eq!(answer.headers().contains_key("www-authenticate"), expect == 401);
        assert_eq!(answer.headers().contains_key("allow"), expect == 405);
        let (status, text) = read(answer).await;
        let said: serde_json::Value = serde_json::from_str(&text).unwrap();
        assert_eq!((status.as_u16(), said["error"]["code"].as_str()), (expect, Some(code)));
        assert!(said["error"]["message"].as_str().is_some_and(|message| message.len() > 10), "{text}");
    }
}

#[tokio::test]
async fn a_token_is_made_where_none_is_configured() {
    let house = app("");
    let kept = std::fs::read_to_string(house.folder.path().join("data/admin-token")).unwrap();
    let bearer = format!("Bearer {}", kept.trim_end());
    assert_eq!(status(&house, HERE, "/admin/v1/config", &[("authorization", &bearer)]).await, 200);
    assert_eq!(status(&house, HERE, "/admin/v1/config", &[("authorization", "Bearer ")]).await, 401);
    assert!(house.app.admin_token.load().origin().ends_with("data/admin-token"));
}

#[test]
fn no_spelling_of_a_path_opens_without_the_token() {
    let (house, runtime) = (app(CONFIG), runtime());
    let some_path = prop_oneof![
        "/[ -~]{0,40}",
        (prop::sample::select(PATHS.to_vec()), "[/.%;a-zA-Z0-9?#\\\\]{1,8}")
            .prop_map(|(path, more)| path.to_owned() + &more),
        ("[/.%;a-zA-Z0-9]{1,8}", prop::sample::select(PATHS.to_vec()))
            .prop_map(|(before, path)| format!("/{before}{path}")),
        prop::sample::select(PATHS.to_vec()).prop_map(str::to_uppercase),
    ];
    let methods = prop::sample::select(vec!["GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS", "TRACE", "BREW"]);
    proptest!(ProptestConfig::with_cases(4096), |(path in some_path, method in methods, far: bool)| {
        let Ok(uri) = path.parse::<http::Uri>() else { return Ok(()) };
        let open = ["/livez", "/readyz"].contains(&uri.path()) || !far && ["/", "/metrics"].contains(&uri.path());
        prop_assume!(!open);
        let mut asked = request("/", &[]);
        (*asked.uri_mut(), *asked.method_mut()) = (uri, method.parse().unwrap());
        let door = Door::Tcp { peer: if far { FAR } else { HERE }.parse().unwrap() };
        let answer = runtime.block_on(admin::answer(&house.app, door, asked));
        prop_assert_eq!(answer.status(), StatusCode::UNAUTHORIZED, "{} {}", method, path);
    });
}
