//! Outages under load: when the breaker opens, what is added to the traffic, who answers, and when it is seen to be over.
//! `cargo nextest run outage --no-capture` prints the numbers that stand in the README.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use tokio::net::{TcpListener, TcpSocket};
use tollgate::app::Surroundings;
use tollgate::clock::Clock;
use tollgate::domain::entry::Entry;

use crate::again::{GOOD, backup};
use crate::wire::{Fake, Reply};
use crate::world::{self, World};

const BODY: &str = r#"{"model":"gpt-4o-mini","messages":[{"role":"user","content":"Say hello."}]}"#;
const JSON: &str = "content-type: application/json\r\n";

/// Requests of an outage, how many at once, and the time from one to the next: 50 a second.
const TRAFFIC: u64 = 2_000;
const AT_ONCE: u64 = 16;
const STEP_US: u64 = 20_000;

/// How the first upstream is down.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Way {
    /// It answers 503.
    Says503,
    /// Nobody listens at its address.
    Refuses,
}

/// The first upstream.
struct First {
    address: SocketAddr,
    is_down: Arc<AtomicU64>,
    /// Its address, while nobody listens there.
    closed: Option<TcpSocket>,
    fake: Option<Fake>,
}

impl First {
    async fn new(way: Way) -> Self {
        let is_down = Arc::new(AtomicU64::new(0));
        match way {
            Way::Refuses => {
                let closed = TcpSocket::new_v4().unwrap();
                closed.bind(SocketAddr::from(([127, 0, 0, 1], 0))).unwrap();
                Self { address: closed.local_addr().unwrap(), is_down, closed: Some(closed), fake: None }
            }
            Way::Says503 => {
                let fake = Self::on(TcpListener::bind("127.0.0.1:0").await.unwrap(), is_down.clone());
                Self { address: fake.address, is_down, closed: None, fake: Some(fake) }
            }
        }
    }

    fn on(listener: TcpListener, is_down: Arc<AtomicU64>) -> Fake {
        Fake::on(listener, move |_| match is_down.load(Ordering::Relaxed) {
            0 => Reply::whole("200 OK", JSON, GOOD),
            _ => Reply::whole("503 No", "", "{}"),
        })
    }

    fn is_back(&mut self) {
        self.is_down.store(0, Ordering::Relaxed);
        if let Some(closed) = self.closed.take() {
            self.fake = Some(Self::on(closed.listen(1024).unwrap(), self.is_down.clone()));
        }
    }
}

/// Sends `count` requests, some at once; all are answered.
async fn send(world: &Arc<World>, now_us: &Arc<AtomicU64>, count: u64) {
    let workers: Vec<_> = (0..AT_ONCE)
        .map(|worker| {
            let (world, now_us) = (world.clone(), now_us.clone());
            tokio::spawn(async move {
                for _ in (worker..count).step_by(usize::try_from(AT_ONCE).unwrap()) {
                    now_us.fetch_add(STEP_US, Ordering::Relaxed);
                    let answer = world.send(world.post("/v1/chat/completions", BODY)).await;
                    assert_eq!(answer.status, 200, "{}", answer.text());
                }
            })
        })
        .collect();
    for worker in workers {
        worker.await.unwrap();
    }
}

fn attempts_at(entries: &[Entry], upstream: &str) -> u64 {
    let attempts = entries.iter().flat_map(|entry| &entry.attempts);
    attempts.filter(|attempt| &*attempt.upstream == upstream).count() as u64
}

async fn check(way: Way) {
    let mut first = First::new(way).await;
    let other = Fake::start(|_| Reply::whole("200 OK", JSON, GOOD)).await;
    let now_us = Arc::new(AtomicU64::new(1_795_000_000_000_000));
    let surroundings = Surroundings { clock: Clock::Manual(now_us.clone()), ..Surroundings::default() };
    let extra = format!(
        "upstream.retries = 2\nupstream.breaker_failures = 5\n{}[routing]\nmode = \"off\"\n",
        backup(other.address)
    );
    let (mock, folder) = (world::provider().await.1, tempfile::tempdir().unwrap());
    let world = Arc::new(World::in_folder(first.address, mock, &extra, surroundings, folder).await);
    let mut before = 0;
    if way == Way::Says503 {
        // What went well just before does not put it off.
        send(&world, &now_us, 500).await;
        before = 500;
        first.is_down.store(1, Ordering::Relaxed);
    }
    let began_us = now_us.load(Ordering::Relaxed);
    let breakers = world.app.snapshot.load().provider("openai").unwrap().breakers.clone();
    let mut opened_us = None;
    for _ in 0..TRAFFIC / 100 {
        send(&world, &now_us, 100).await;
        if breakers.opened() > 0 && opened_us.is_none() {
            opened_us = Some(now_us.load(Ordering::Relaxed) - began_us);
        }
    }
    let entries = world.entries().await.split_off(before);
    assert_eq!(entries.len() as u64, TRAFFIC);
    let (asked, answered) = (attempts_at(&entries, "openai"), attempts_at(&entries, "backup"));
    let opened_s = opened_us.expect("it never opens").div_ceil(1_000_000);
    assert!(
        opened_s <= 30 && breakers.opened() == 1,
        "{way:?}: opened {} times, after {opened_s} s",
        breakers.opened()
    );
    assert_eq!(answered, TRAFFIC, "{way:?}: each is answered by the other once");
    // Those that open it, those under way with them, their repetitions, and one for each rest.
    assert!(asked * 10 <= TRAFFIC, "{way:?}: {asked} calls were added to {TRAFFIC}");
    first.is_back();
    let back_us = now_us.load(Ordering::Relaxed);
    let back_s = loop {
        now_us.fetch_add(500_000, Ordering::Relaxed);
        let answer = world.send(world.post("/v1/chat/completions", BODY)).await;
        assert_eq!(answer.status, 200);
        let passed_us = now_us.load(Ordering::Relaxed) - back_us;
        if answer.header("x-tollgate-reason") != "fallback" {
            break passed_us.div_ceil(1_000_000);
        }
        assert!(passed_us <= 60_000_000, "{way:?}: not back within a cooldown");
    };
    let asked_again = other.seen().len();
    send(&world, &now_us, 100).await;
    assert_eq!(other.seen().len(), asked_again, "{way:?}: the first one answers all again");
    let percent = asked as f64 * 100.0 / TRAFFIC as f64;
    println!(
        "{way:?}, {TRAFFIC} requests at 50 a second: open within {opened_s} s, {asked} calls added ({percent:.1}%), \
         all answered by the fallback; the first is asked again {back_s} s after it is back"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_outage_costs_few_calls_and_is_over_when_it_is_over() {
    for way in [Way::Says503, Way::Refuses] {
        check(way).await;
    }
}

#[tokio::test]
async fn a_long_outage_is_asked_about_ever_more_rarely() {
    let mut first = First::new(Way::Says503).await;
    first.is_down.store(1, Ordering::Relaxed);
    let other = Fake::start(|_| Reply::whole("200 OK", JSON, GOOD)).await;
    let now_us = Arc::new(AtomicU64::new(1_795_000_000_000_000));
    let surroundings = Surroundings { clock: Clock::Manual(now_us.clone()), ..Surroundings::default() };
    let extra = format!("upstream.breaker_failures = 5\n{}", backup(other.address));
    let (mock, folder) = (world::provider().await.1, tempfile::tempdir().unwrap());
    let world = World::in_folder(first.address, mock, &extra, surroundings, folder).await;
    for _ in 0..600 {
        now_us.fetch_add(1_000_000, Ordering::Relaxed);
        assert_eq!(world.send(world.post("/v1/chat/completions", BODY)).await.status, 200);
    }
    let asked = first.fake.as_ref().unwrap().seen().len();
    assert!((5 + 10..=5 + 16).contains(&asked), "{asked} attempts in ten minutes");
    first.is_back();
    now_us.fetch_add(60_000_000, Ordering::Relaxed);
    let answer = world.send(world.post("/v1/chat/completions", BODY)).await;
    assert_ne!(answer.header("x-tollgate-reason"), "fallback");
}
