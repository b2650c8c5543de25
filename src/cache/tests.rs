//! Answers are found by their own namespace, and what is in memory stays within its bounds.

use super::*;
use crate::domain::operation::Operation;
use crate::protocol::facts::Facts;

/// Keys that the room is churned with; the test of a million is one variable away.
const CHURN_VARIABLE: &str = "TOLLGATE_CACHE_CHURN";
const CHURN_KEYS: u64 = 50_000;

fn namespace(name: &str) -> Namespace {
    Namespace::Team(name.into())
}

fn kept(namespace: Namespace, bytes: usize) -> Kept {
    let about = About {
        namespace,
        key: "ci".into(),
        team: None,
        upstream: "openai".into(),
        model: "gpt".into(),
        operation: Operation::ChatCompletions,
    };
    Kept::new(about, vec![b'x'; bytes].into(), Facts::default(), 0, 10)
}

fn key(namespace: &Namespace, number: u64) -> Key {
    let mut maker = KeyMaker::new(namespace);
    maker.part(&number.to_be_bytes());
    maker.finish()
}

#[test]
fn an_answer_is_found_by_its_own_namespace_only() {
    let room = Room::new(1 << 20);
    let own = namespace("search");
    let name = key(&own, 1);
    room.keep(name, kept(own.clone(), 10));
    assert!(room.find(&name, &own).is_some_and(|kept| kept.is_fresh(9) && !kept.is_fresh(10)));
    // Even with the right key, which nobody else can have.
    for other in [namespace("other"), Namespace::Key("search".into()), Namespace::Shared] {
        assert!(room.find(&name, &other).is_none());
        assert_ne!(key(&other, 1), name);
    }
    room.forget(&name);
    assert!(room.find(&name, &own).is_none());
    assert_eq!(room.fill(), Fill::default());
}

#[test]
fn the_parts_of_a_key_do_not_run_together() {
    let of = |parts: &[&str]| {
        let mut maker = KeyMaker::new(&Namespace::Shared);
        parts.iter().for_each(|part| maker.part(part.as_bytes()));
        maker.finish()
    };
    assert_ne!(of(&["ab", "c"]), of(&["a", "bc"]));
    assert_ne!(of(&["a", ""]), of(&["a"]));
    assert_eq!(of(&["a", "b"]), of(&["a", "b"]));
    let text = of(&["a"]).to_string();
    assert_eq!((Key::parse(&text), Key::parse(&text[1..]), Key::parse("x")), (Some(of(&["a"])), None, None));
}

#[test]
fn what_is_wanted_is_purged() {
    let room = Room::new(1 << 20);
    for number in 0..20 {
        let namespace = namespace(if number % 2 == 0 { "even" } else { "odd" });
        room.keep(key(&namespace, number), kept(namespace, 100));
    }
    assert_eq!(room.purge(|_, kept| kept.about.namespace == namespace("even")), 10);
    assert_eq!(room.fill().answers, 10);
    assert!(room.find(&key(&namespace("even"), 4), &namespace("even")).is_none());
    assert!(room.find(&key(&namespace("odd"), 5), &namespace("odd")).is_some());
}

#[test]
fn memory_stays_within_its_budget_whatever_comes() {
    let budget = 4 << 20;
    let room = Arc::new(Room::new(budget));
    let keys = std::env::var(CHURN_VARIABLE).ok().and_then(|keys| keys.parse().ok()).unwrap_or(CHURN_KEYS);
    std::thread::scope(|scope| {
        for thread in 0..2 {
            let room = room.clone();
            scope.spawn(move || {
                for number in (thread..keys).step_by(2) {
                    let namespace = namespace(&format!("team-{}", number % 7));
                    let bytes = usize::try_from(number * 7_919 % 60_000).unwrap();
                    room.keep(key(&namespace, number), kept(namespace.clone(), bytes));
                    let found = room.find(&key(&namespace, number / 2), &namespace);
                    assert!(found.is_none_or(|kept| kept.about.namespace == namespace));
                    assert!(room.alive_bytes() <= budget + budget / 10, "{} at {number}", room.alive_bytes());
                }
            });
        }
    });
    let fill = room.fill();
    assert!(fill.bytes <= budget && fill.answers > 20, "{fill:?}");
    room.purge(|_, _| true);
    assert_eq!(room.fill(), Fill::default());
}
