//! `tollgate replay` as a user runs it, over a past that was really served: what it says another config would have cost, against
//! what that config did cost.

use std::process::{Command, Output};

use serde_json::Value;
use tollgate::domain::money::Usd;

use crate::savings::{ENFORCE, OFF, Sent, day, jobs, long_chat, send};
use crate::world::World;

const OBSERVE: &str = "[routing]\nmode = \"observe\"\n";

fn replay(world: &World, config: &str, flags: &[&str]) -> Output {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("new.toml"), config).unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_tollgate"));
    command.current_dir(folder.path()).args(["replay", "--config", "new.toml", "--store"]).arg(world.folder.path());
    command.args(flags).output().unwrap()
}

/// The total of a replay, as JSON.
fn total(world: &World, config: &str) -> (Value, Value) {
    let output = replay(world, config, &["--format", "json", "--since", "1d"]);
    let text = String::from_utf8_lossy(&output.stdout);
    let told: Value = serde_json::from_str(&text).unwrap_or_else(|_| panic!("{output:?}"));
    (told["total"].clone(), told["uncertain"].clone())
}

fn usd(total: &Value, name: &str) -> Usd {
    Usd::parse(total[name].as_str().unwrap()).unwrap()
}

/// What a day of `sent` costs under a config, and its Tollgate.
async fn cost(config: &str, sent: impl Iterator<Item = Sent>) -> (World, Usd) {
    let world = World::start(config).await;
    for sent in sent {
        send(&world, sent).await;
    }
    world.settled().await;
    let total = world.mock.bill().total();
    (world, total)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_observed_is_replayed_as_it_would_have_been_enforced() {
    // Also a conversation goes on where it was moved, and finds its prompt in the cache there.
    let sent = || jobs().chain(long_chat("Lanterns").into_iter().map(|sent| Sent { tier: None, ..sent }));
    let (observed, spent) = cost(OBSERVE, sent()).await;
    let (_, enforced) = cost(ENFORCE, sent()).await;
    let (total, doubts) = total(&observed, ENFORCE);
    assert_eq!((usd(&total, "spend_usd"), usd(&total, "replayed_usd")), (spent, enforced), "{total}");
    assert_eq!((&total["requests"], &total["moved_requests"]), (&28.into(), &28.into()), "{total}");
    assert_eq!((&doubts["routed"], &doubts["unseen"], &doubts["untold"]), (&28.into(), &0.into(), &0.into()));
    // A tier that is dear and an upstream without prices are told as such.
    let dear = "[routing]\nmode = \"enforce\"\nroutable = [\"*\"]\n[routing.tiers.openai]\nsimple = \"gpt-6.1-sol\"\n";
    assert_eq!(self::total(&observed, dear).0["moved_requests"], 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_same_config_comes_to_the_same_and_another_lies_within_the_range() {
    let (routed, unrouted) = (World::start(ENFORCE).await, World::start(OFF).await);
    let (spent, before) = (day(&routed).await, day(&unrouted).await);
    routed.settled().await;
    let (same, _) = total(&routed, ENFORCE);
    // Tiers that the client asked for in a header are not recorded, so that such requests would go elsewhere.
    assert_eq!(usd(&same, "spend_usd"), spent);
    let (off, _) = total(&routed, OFF);
    let [least, likely, most] = ["least_usd", "replayed_usd", "most_usd"].map(|name| usd(&off, name));
    assert_eq!(likely, before, "{off}");
    assert!(least <= likely && likely < most, "{off}");
    let table = replay(&routed, OFF, &["--by", "requested_model,model", "--since", "1d"]);
    let table = String::from_utf8(table.stdout).unwrap();
    assert!(
        table.contains("replayed USD") && table.contains("uncertain:") && table.contains("answers are as long"),
        "{table}"
    );
    let csv = replay(&routed, OFF, &["--by", "day", "--format", "csv"]);
    assert!(String::from_utf8(csv.stdout).unwrap().starts_with("day,requests,moved_requests,spend_usd,replayed_usd,"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_not_recorded_is_counted_as_a_doubt() {
    let (off, spent) = cost(OFF, long_chat("Lanterns").into_iter()).await;
    let (told, doubts) = total(&off, ENFORCE);
    assert_eq!((&doubts["unseen"], usd(&told, "replayed_usd")), (&8.into(), spent), "{told} {doubts}");
    let (observed, _) = cost(OBSERVE, long_chat("Lanterns").into_iter()).await;
    let (_, doubts) = total(&observed, ENFORCE);
    assert!(doubts["untold"] == 0 && doubts["unseen"] == 0, "{doubts}");
    for (flags, code) in [(&["--format", "focus"][..], 64), (&["--by", "price"], 64), (&["--since", "yesterday"], 64)] {
        assert_eq!(replay(&observed, ENFORCE, flags).status.code(), Some(code), "{flags:?}");
    }
}
