//! Caps that come into force while requests are in flight count what was spent before them, and what is under way.

use std::sync::Arc;

use http_body_util::BodyExt;
use tollgate::app::Snapshot;
use tollgate::bank::local::Standing;
use tollgate::config::Config;
use tollgate::domain::account::Scope;
use tollgate::domain::money::Usd;
use tollgate::store::{Reader, Record};

use super::{CHAT, STREAM, WHOLE};
use crate::raw::LONG;
use crate::world::{KEY, World, config_text};

/// Has `world` go over to a config with `extra`.
async fn adopt(world: &World, extra: &str) {
    let env = [("TEST_KEY", KEY), ("PROVIDER_KEY", "sk-provider")].map(|(name, value)| (name.into(), value.into()));
    let text = config_text(world.provider, &world.folder, extra);
    let config = Config::parse(&text, "t", &env.into()).unwrap_or_else(|errors| panic!("{errors}"));
    let before = world.app.snapshot.load_full();
    let after = Snapshot::after(&before, config).unwrap();
    let config = after.config.clone();
    world.app.bank.adopt(&config, || world.app.snapshot.store(Arc::new(after))).await.unwrap();
}

fn organisation(world: &World) -> Standing {
    let mut standings = world.app.bank.standings();
    standings.retain(|standing| standing.scope == Scope::Organisation);
    standings.pop().unwrap()
}

fn cap(usd: &str) -> String {
    format!("[organisation]\ncaps = {{ total = \"{usd}\" }}")
}

#[tokio::test]
async fn a_new_cap_counts_what_was_spent_and_what_is_under_way() {
    let world = World::start("").await;
    assert_eq!(world.send(world.post(CHAT, WHOLE)).await.status, 200);
    let mut held = world.post(CHAT, STREAM);
    held.headers_mut().insert("x-mock-gate", "held".parse().unwrap());
    let held = world.open(held).await;
    let spent: Usd = entries(&world).iter().map(|entry| entry.1).sum();
    assert!(spent > Usd::ZERO);

    adopt(&world, &cap("100")).await;
    let quoted = organisation(&world);
    assert!(quoted.spent > spent, "the stream counts at its quote: {quoted:?}");
    // No room beyond that, so that nothing else goes.
    adopt(&world, &cap(&quoted.spent.to_string())).await;
    assert_eq!(world.send(world.post(CHAT, WHOLE)).await.status, 400);
    world.mock.gate("held").open();
    held.into_body().collect().await.unwrap();
    world.settled().await;
    let all: Usd = entries(&world).iter().map(|entry| entry.1).sum();
    let standing = organisation(&world);
    assert_eq!((standing.spent, standing.held), (all, Usd::ZERO));
    assert!(all < quoted.spent);
}

#[tokio::test(flavor = "multi_thread")]
async fn caps_come_and_go_under_load_and_the_books_stay_right() {
    let world = Arc::new(World::start("").await);
    let ask = async |world: Arc<World>, turn: usize| {
        for round in 0..12 {
            let body = if (turn + round).is_multiple_of(2) { WHOLE } else { STREAM };
            let answer = world.send(world.post(CHAT, body)).await;
            assert_eq!(answer.status, 200, "{}", answer.text());
        }
    };
    let clients: Vec<_> = (0..8).map(|turn| tokio::spawn(ask(world.clone(), turn))).collect();
    let busy = || clients.iter().any(|client| !client.is_finished());
    let mut turns = 0;
    while busy() {
        let team = format!("[teams.other]\n[users.u]\ncaps = {{ day = \"9\" }}\n{}", cap("100"));
        for extra in ["", &cap("100"), &team, &cap("200")] {
            adopt(&world, extra).await;
            turns += 1;
        }
    }
    for client in clients {
        tokio::time::timeout(LONG, client).await.unwrap().unwrap();
    }
    world.settled().await;
    let all: Usd = entries(&world).iter().map(|entry| entry.1).sum();
    let standing = organisation(&world);
    assert_eq!((standing.spent, standing.held, entries(&world).len()), (all, Usd::ZERO, 96), "{turns} changes");
    let again = World::again(&world, &cap("200")).await;
    assert_eq!(organisation(&again).spent, all);
    println!("{turns} changes of caps under 96 requests");
}

/// Every entry with its cost, as far as they are written.
fn entries(world: &World) -> Vec<(String, Usd)> {
    let records = Reader::open(world.folder.path()).records().unwrap();
    let entry = |record| match record {
        Record::Entry(entry) => Some((entry.id.to_string(), entry.cost.unwrap_or_default())),
        _ => None,
    };
    records.filter_map(|located| entry(located.unwrap().record)).collect()
}
