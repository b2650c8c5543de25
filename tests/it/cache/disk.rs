//! Answers that outlive the process: after a power cut, a kill and a purge, and for nobody else than before.

use std::path::Path;

use http::StatusCode;
use http_body_util::BodyExt;
use serde_json::{Value, json};

use super::purge::purge;
use super::{CHAT, VERSION, ask, ask_with, chat};
use crate::child::{Place, Served, pause};
use crate::world::World;

const DISK: &str = "[cache]\nmode = \"near\"\ndisk_mib = 4\n";

const TENANTS: &str = "env.OTHER_KEY=tg_other_0123456789abcdef\n[teams.two]\n[keys.other]\nsecret = { env = \"OTHER_KEY\" }\nteam = \"two\"\n";

fn files(folder: &Path) -> usize {
    let parts = std::fs::read_dir(folder.join("cache")).into_iter().flatten().map(|part| part.unwrap().path());
    parts.filter(|part| part.is_dir()).map(|part| std::fs::read_dir(part).unwrap().count()).sum()
}

#[tokio::test]
async fn answers_outlive_a_power_cut_and_stay_with_their_tenant() {
    let extra = format!("{DISK}{TENANTS}");
    let world = World::start(&extra).await;
    let question = chat("what is the first of all the things here");
    let stream = question.replacen('{', r#"{"stream":true,"#, 1);
    let embedding = r#"{"model":"text-embedding-3-small","input":"hello"}"#.to_owned();
    let asked = [(CHAT, question.clone()), (CHAT, stream), ("/v1/embeddings", embedding)];
    let mut first = Vec::new();
    for (path, body) in &asked {
        assert_eq!(ask(&world, path, body).await.0, "miss", "{body}");
        let (cache, hit) = ask(&world, path, body).await;
        assert_eq!(cache, "hit");
        first.push(hit);
    }
    world.app.cache.disk().unwrap().rest();
    let again = world.again(&extra).await;
    let others = ("authorization", "Bearer tg_other_0123456789abcdef");
    for ((path, body), first) in asked.iter().zip(&first) {
        assert_eq!(
            ask_with(&again, path, body, &[others, ("x-tollgate-cache", "only")]).await.1.status,
            StatusCode::GATEWAY_TIMEOUT
        );
        let (cache, hit) = ask(&again, path, body).await;
        assert_eq!(
            (&*cache, &hit.body, hit.header("content-type")),
            ("hit", &first.body, first.header("content-type"))
        );
    }
    // In other words, from the disk of another copy, where it is in nobody's memory.
    let near = world.again(&extra).await;
    near.app.cache.disk().unwrap().rest();
    let (cache, other) = ask(&near, CHAT, &chat("What is the first of all the things here?")).await;
    assert_eq!((&*cache, &other.body), ("near", &first[0].body));
    assert_eq!(world.mock.requests_total(), 3);
    let (before, after) = (world.entries().await, again.entries().await);
    let saved =
        |entries: &[tollgate::domain::entry::Entry]| entries.iter().rev().take(1).map(|entry| entry.saved).next();
    assert_eq!(saved(&before), saved(&after), "what is saved is told by what the answer tells");
    assert!(before[1].saved > tollgate::domain::money::Usd::ZERO && before[1].saved == after[after.len() - 5].saved);
}

#[tokio::test]
async fn a_purge_reaches_what_another_process_has_left() {
    let world = World::start(DISK).await;
    for text in ["x = 1", "x = 2", "x = 3"] {
        ask(&world, CHAT, &chat(text)).await;
    }
    world.app.cache.disk().unwrap().rest();
    let again = world.again(DISK).await;
    assert_eq!(ask(&again, CHAT, &chat("x = 1")).await.0, "hit");
    assert_eq!(purge(&again, json!({"team": "other"})).await, 0);
    assert_eq!((purge(&again, json!({"team": "search"})).await, files(again.folder.path())), (3, 0));
    for text in ["x = 1", "x = 2", "x = 3"] {
        assert_eq!(ask(&again, CHAT, &chat(text)).await.0, "miss", "{text}");
    }
    again.app.cache.disk().unwrap().rest();
    let stats = again.app.cache.disk().unwrap().filled();
    assert_eq!((stats.fill.answers, stats.skipped, stats.damaged, stats.is_read), (3, 0, 0, true));
    let without = again.again("[cache]\nmode = \"exact\"\n").await;
    assert_eq!(
        (ask(&without, CHAT, &chat("x = 1")).await.0, without.folder.path().join("cache").exists()),
        ("miss".to_owned(), false)
    );
}

async fn asked(place: &Place, served: &Served) -> (String, bytes::Bytes) {
    let mut request = served.post(CHAT, &chat("x = 1"));
    request.headers_mut().insert(VERSION.0, VERSION.1.parse().unwrap());
    let (head, body) = place.client.request(request).await.unwrap().into_parts();
    (head.headers["x-tollgate-cache"].to_str().unwrap().to_owned(), body.collect().await.unwrap().to_bytes())
}

#[tokio::test]
async fn a_killed_process_leaves_its_answers_to_the_next_and_to_the_command() {
    let place = Place::new("[cache]\nmode = \"exact\"\ndisk_mib = 4\n").await;
    let config = place.config();
    let command = |what: &str, more: &[&str]| {
        let all: Vec<String> = ["cache", what, "--config", config.to_str().unwrap()]
            .iter()
            .chain(more)
            .map(|&word| word.to_owned())
            .collect();
        let place = &place;
        async move { place.run(&all.iter().map(String::as_str).collect::<Vec<_>>()).await }
    };
    let none = command("stats", &[]).await;
    assert!(!none.status.success() && String::from_utf8_lossy(&none.stderr).contains("disk_mib"), "{none:?}");
    let mut served = place.serve().await;
    let first = asked(&place, &served).await;
    assert_eq!(first.0, "miss");
    while files(place.folder.path()) == 0 {
        pause().await;
    }
    served.signal("KILL");
    served.end().await;
    let mut served = place.serve().await;
    assert_eq!(asked(&place, &served).await, ("hit".to_owned(), first.1));
    served.signal("KILL");
    served.end().await;
    let said = |output: &std::process::Output| serde_json::from_slice::<Value>(&output.stdout).unwrap();
    assert_eq!(said(&command("stats", &[]).await)["disk"]["answers"], 1);
    assert_eq!(said(&command("purge", &["--team", "other"]).await)["purged"], 0);
    assert_eq!(said(&command("purge", &["--team", "search"]).await)["purged"], 1);
    let served = place.serve().await;
    assert_eq!((asked(&place, &served).await.0, place.mock.requests_total()), ("miss".to_owned(), 2));
}
