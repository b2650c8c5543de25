//! Another config while the process runs: what takes effect, what waits, and that nothing half done ever does.

mod caps;

use std::sync::Arc;
use std::time::Instant;

use http::{Method, Request, StatusCode};
use http_body_util::BodyExt;
use serde_json::Value;
use tollgate::app::Snapshot;
use tollgate::config::Config;

use crate::child::{Place, Served, pause};
use crate::papers::Papers;
use crate::raw::LONG;

const CHAT: &str = "/v1/chat/completions";
const WHOLE: &str = r#"{"model":"gpt-4o-mini","max_tokens":9,"messages":[{"role":"user","content":"hello"}]}"#;
const STREAM: &str =
    r#"{"model":"gpt-4o-mini","stream":true,"max_tokens":90,"messages":[{"role":"user","content":"hello"}]}"#;

/// Asks the admin interface of `served`, with its token.
async fn admin(place: &Place, served: &Served, method: Method, path: &str) -> (StatusCode, String) {
    let token = std::fs::read_to_string(place.folder.path().join("admin-token")).unwrap();
    let request = Request::builder().method(method).uri(format!("http://{}{path}", served.admin));
    let request = request.header("authorization", format!("Bearer {}", token.trim())).body(Default::default()).unwrap();
    let (head, body) = place.client.request(request).await.unwrap().into_parts();
    (head.status, String::from_utf8(body.collect().await.unwrap().to_bytes().to_vec()).unwrap())
}

async fn readiness(place: &Place, served: &Served) -> Value {
    serde_json::from_str(&admin(place, served, Method::GET, "/readyz").await.1).unwrap()
}

/// Waits until `seen` is true of what `/readyz` says of reloads.
async fn until(place: &Place, served: &Served, seen: impl Fn(&Value) -> bool) -> Value {
    let deadline = Instant::now() + LONG;
    loop {
        let ready = readiness(place, served).await;
        if seen(&ready["reload"]) {
            return ready;
        }
        assert!(Instant::now() < deadline, "it never came: {ready}\n{}", served.said.lock().unwrap());
        pause().await;
    }
}

async fn ask(place: &Place, served: &Served) -> StatusCode {
    place.client.request(served.post(CHAT, WHOLE)).await.unwrap().status()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_changed_file_takes_effect_and_a_bad_one_changes_nothing() {
    let place = Place::new("").await;
    let mut served = place.serve().await;
    let text = std::fs::read_to_string(place.config()).unwrap();
    let mut held = served.post(CHAT, STREAM);
    held.headers_mut().insert("x-mock-gate", "held".parse().unwrap());
    let held = place.client.request(held).await.unwrap();
    let first = readiness(&place, &served).await;

    let other = text.replace("[teams.search]", "[teams.search]\nlimits = { requests_per_day = 1 }");
    let other = other.replace("[server]", "[server]\nthreads = 3");
    std::fs::write(place.config(), &other).unwrap();
    let ready = until(&place, &served, |reload| reload["waiting_for_restart"][0] == "server.threads").await;
    assert_ne!(ready["config"], first["config"]);
    assert_eq!(ready["reload"]["failed"], Value::Null);
    // The stream came before there was a limit, and counts in none.
    assert_eq!([ask(&place, &served).await, ask(&place, &served).await], [200, 429]);

    std::fs::write(place.config(), other.replace("requests_per_day = 1", "requests_per_dya = 9")).unwrap();
    let bad = until(&place, &served, |reload| reload["failed"].is_string()).await;
    let said = bad["reload"]["failed"].as_str().unwrap();
    let line = 1 + other.lines().position(|line| line.contains("requests_per_day")).unwrap();
    assert!(said.contains(&format!("tollgate.toml:{line}:")) && said.contains("requests_per_dya"), "{said}");
    assert_eq!(bad["config"], ready["config"]);
    assert_eq!(bad["ready"], true);
    assert_eq!(ask(&place, &served).await, 429);
    let (_, shown) = admin(&place, &served, Method::GET, "/admin/v1/config").await;
    assert!(
        shown.starts_with("# The config in the file cannot be used") && shown.contains("requests_per_dya"),
        "{shown}"
    );
    let (status, answer) = admin(&place, &served, Method::POST, "/admin/v1/reload").await;
    assert_eq!((status, answer.contains("requests_per_dya")), (StatusCode::UNPROCESSABLE_ENTITY, true), "{answer}");
    let (_, numbers) = admin(&place, &served, Method::GET, "/metrics").await;
    for line in ["tollgate_config_reloads_total{result=\"ok\"} 1", "tollgate_config_keys_waiting 1"] {
        assert!(numbers.lines().any(|known| known == line), "{line}\n{numbers}");
    }

    std::fs::write(place.config(), other.replace("requests_per_day = 1", "requests_per_day = 3")).unwrap();
    let reloaded = place.run(&["reload", "--config", place.config().to_str().unwrap()]).await;
    assert_eq!(reloaded.status.code(), Some(0), "{}", String::from_utf8_lossy(&reloaded.stderr));
    // What was counted before is still counted: the refused ones were not.
    assert_eq!([ask(&place, &served).await, ask(&place, &served).await, ask(&place, &served).await], [200, 200, 429]);

    place.mock.gate("held").open();
    let streamed = held.into_body().collect().await.unwrap().to_bytes();
    assert!(streamed.ends_with(b"data: [DONE]\n\n"));
    served.signal("TERM");
    assert_eq!(served.end().await.code(), Some(0));
    let said = served.said.lock().unwrap().clone();
    assert!(said.contains("the one before stays in force") && said.contains("change with a restart only"), "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_cache_is_made_larger_and_smaller_and_keeps_what_fits() {
    let place = Place::new("[cache]\nmode = \"exact\"\nstore_sampled = true\nmemory_mib = 8\n").await;
    let served = place.serve().await;
    let whole = WHOLE.replace("\"max_tokens\":9,", "");
    let cached = async || {
        let response = place.client.request(served.post(CHAT, &whole)).await.unwrap();
        let cache = response.headers()["x-tollgate-cache"].to_str().unwrap().to_owned();
        response.into_body().collect().await.unwrap();
        cache
    };
    assert_eq!(cached().await, "miss");
    let text = std::fs::read_to_string(place.config()).unwrap();
    for mib in [64_u64, 2] {
        std::fs::write(place.config(), text.replace("memory_mib = 8", &format!("memory_mib = {mib}"))).unwrap();
        let reloaded = place.run(&["reload", "--config", place.config().to_str().unwrap()]).await;
        assert_eq!(reloaded.status.code(), Some(0), "{}", String::from_utf8_lossy(&reloaded.stderr));
        let (_, stats) = admin(&place, &served, Method::GET, "/admin/v1/cache").await;
        let stats: Value = serde_json::from_str(&stats).unwrap();
        assert_eq!((stats["budget_bytes"].as_u64(), stats["answers"].as_u64()), (Some(mib << 20), Some(1)));
        assert_eq!(cached().await, "hit");
    }
    assert!(readiness(&place, &served).await["reload"]["waiting_for_restart"].as_array().unwrap().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_signal_and_a_secret_that_changed_load_it_again() {
    let place = Place::new("").await;
    let file = place.folder.path().join("key");
    std::fs::write(&file, "tg_first_0123456789abcdef").unwrap();
    let text = std::fs::read_to_string(place.config()).unwrap();
    std::fs::write(place.config(), format!("{text}\n[keys.other]\nsecret = {{ file = \"key\" }}\n")).unwrap();
    let mut served = place.serve().await;
    let with = |key: &str| {
        let mut request = served.post(CHAT, WHOLE);
        request.headers_mut().insert("authorization", format!("Bearer {key}").parse().unwrap());
        place.client.request(request)
    };
    assert_eq!(with("tg_first_0123456789abcdef").await.unwrap().status(), 200);
    let loaded = readiness(&place, &served).await["reload"]["loaded_at"].clone();
    std::fs::write(&file, "tg_second_0123456789abcdef").unwrap();
    until(&place, &served, |reload| reload["loaded_at"] != loaded).await;
    assert_eq!(with("tg_first_0123456789abcdef").await.unwrap().status(), 401);
    assert_eq!(with("tg_second_0123456789abcdef").await.unwrap().status(), 200);
    let loaded = readiness(&place, &served).await["reload"]["loaded_at"].clone();
    served.signal("HUP");
    until(&place, &served, |reload| reload["loaded_at"] != loaded).await;
    std::fs::remove_file(place.config()).unwrap();
    served.signal("HUP");
    until(&place, &served, |reload| reload["failed"].is_string()).await;
    assert_eq!(with("tg_second_0123456789abcdef").await.unwrap().status(), 200);
    served.signal("TERM");
    assert_eq!(served.end().await.code(), Some(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_end_does_not_wait_for_the_command_of_a_secret() {
    let place = Place::new("").await;
    let path = |name: &str| place.folder.path().join(name);
    let (vault, pid) = (path("vault"), path("pid"));
    std::fs::write(&vault, "echo tg_new_0123456789abcdef").unwrap();
    let text = std::fs::read_to_string(place.config()).unwrap();
    let secret = format!("{{ command = [\"sh\", {vault:?}], timeout_s = 120 }}");
    std::fs::write(place.config(), format!("{text}\n[keys.two]\nsecret = {secret}\n")).unwrap();
    let mut served = place.serve().await;
    // It begins to write before it has written all.
    std::fs::write(&vault, format!("echo $$ > {0}.part; mv {0}.part {0}; exec sleep 600", pid.display())).unwrap();
    served.signal("HUP");
    let deadline = Instant::now() + LONG;
    while !pid.exists() {
        assert!(Instant::now() < deadline, "it never ran: {}", served.said.lock().unwrap());
        pause().await;
    }
    served.signal("TERM");
    assert_eq!(served.end().await.code(), Some(0));
    let pid = std::fs::read_to_string(pid).unwrap();
    assert!(!std::path::Path::new("/proc").join(pid.trim()).exists(), "it still runs");
}

#[tokio::test(flavor = "multi_thread")]
async fn secrets_overlap_and_are_asked_for_again_when_an_upstream_turns_one_down() {
    let place = Place::new("").await;
    let path = |name: &str| place.folder.path().join(name);
    std::fs::write(path("old"), "tg_old_0123456789abcdef").unwrap();
    std::fs::write(path("vault"), "tg_new_0123456789abcdef").unwrap();
    let text = std::fs::read_to_string(place.config()).unwrap();
    let vault = path("vault").display().to_string();
    let secrets = format!("[{{ file = \"old\" }}, {{ command = [\"cat\", \"{vault}\"] }}]");
    std::fs::write(place.config(), format!("{text}\n[keys.two]\nsecret = {secrets}\n")).unwrap();
    let mut served = place.serve().await;
    let with = async |key: &str, fault: Option<&'static str>| {
        let mut request = served.post(CHAT, WHOLE);
        request.headers_mut().insert("authorization", format!("Bearer {key}").parse().unwrap());
        if let Some(fault) = fault {
            request.headers_mut().insert("x-mock-fault", fault.parse().unwrap());
        }
        place.client.request(request).await.unwrap().status().as_u16()
    };
    assert_eq!(with("tg_old_0123456789abcdef", None).await, 200);
    assert_eq!(with("tg_new_0123456789abcdef", None).await, 200);
    std::fs::write(path("vault"), "tg_newer_0123456789abcdef").unwrap();
    assert_eq!(with("tg_newer_0123456789abcdef", None).await, 401);
    let loaded = readiness(&place, &served).await["reload"]["loaded_at"].clone();
    // The upstream's own no goes to the client as it is.
    assert_eq!(with("tg_old_0123456789abcdef", Some("401")).await, 401);
    until(&place, &served, |reload| reload["loaded_at"] != loaded).await;
    assert_eq!(with("tg_newer_0123456789abcdef", Some("401")).await, 401);
    assert_eq!(
        [with("tg_newer_0123456789abcdef", None).await, with("tg_new_0123456789abcdef", None).await],
        [200, 401]
    );
    let (_, numbers) = admin(&place, &served, Method::GET, "/metrics").await;
    let once = "tollgate_config_reloads_total{result=\"ok\"} 1";
    assert!(numbers.lines().any(|line| line == once), "once a minute at most: {numbers}");
    served.signal("TERM");
    assert_eq!(served.end().await.code(), Some(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn certificates_are_renewed_while_it_serves() {
    let (papers, renewed) = (Papers::new(), Papers::new());
    let tls =
        format!("[server.tls]\ncert = \"{}\"\nkey = \"{}\"", papers.path("server.pem"), papers.path("server.key"));
    let place = Place::new(&tls).await;
    let mut served = place.serve().await;
    let address = served.address;
    papers.connect(address, &[], None).await.unwrap();
    assert!(renewed.connect(address, &[], None).await.is_err());
    // A key that does not fit its certificate is not put in force.
    std::fs::copy(renewed.path("server.pem"), papers.path("server.pem")).unwrap();
    until(&place, &served, |reload| reload["failed"].is_string()).await;
    papers.connect(address, &[], None).await.unwrap();
    std::fs::copy(renewed.path("server.key"), papers.path("server.key")).unwrap();
    until(&place, &served, |reload| reload["failed"].is_null()).await;
    renewed.connect(address, &[], None).await.unwrap();
    assert!(papers.connect(address, &[], None).await.is_err());
    served.signal("TERM");
    assert_eq!(served.end().await.code(), Some(0));
}

#[test]
fn connections_to_upstreams_that_did_not_change_are_kept() {
    let config = |more: &str| {
        let text = format!(
            "[upstreams.one]\nbase_url = \"http://127.0.0.1:1\"\n[upstreams.two]\nbase_url = \"http://127.0.0.1:2\"\n{more}"
        );
        Config::parse(&text, "t", &Default::default()).unwrap()
    };
    let before = Snapshot::new(config(""), tollgate::upstream::names::Names::System).unwrap();
    let after = Snapshot::after(&before, config("models = [\"x\"]\n[teams.new]")).unwrap();
    let kept = |name: &str| Arc::ptr_eq(before.provider(name).unwrap(), after.provider(name).unwrap());
    assert_eq!([kept("one"), kept("two")], [true, false]);
    assert!(after.provider("two").unwrap().config.serves("x"));
}
