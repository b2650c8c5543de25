//! A disk that fails while requests run: nothing more is spent, whoever asks is told why, and nothing is lost.

use std::io;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use http_body_util::BodyExt;
use tollgate::app::Surroundings;
use tollgate::bank::unwritten::KEY;
use tollgate::domain::entry::Outcome;
use tollgate::domain::money::Usd;
use tollgate::store::disk::{Disk, LogFile, RealDisk};
use tollgate::store::{Reader, Record, verify};

use super::raw::{PATHS, ask, check_refusal};
use super::world::{Answer, World};

const CHAT: &str = r#"{"model":"gpt-4o-mini","max_tokens":50,"messages":[{"role":"user","content":"hello"}]}"#;
const ANY: &str = r#"{"model":"claude-haiku-5-5","max_tokens":50,"messages":[{"role":"user","content":"hello"}]}"#;

/// Fails once it is told to: writes, or syncs, or both.
#[derive(Clone, Debug, Default)]
struct Breakable(Arc<[AtomicBool; 2]>);

#[derive(Debug)]
struct BreakableFile(Breakable, Box<dyn LogFile>);

/// Everybody has a cap, so that nobody may spend what cannot be written down.
const CAPPED: &str =
    "[organisation]\ncaps = { day = \"1000\" }\n[prices.\"claude-haiku-5-5\"]\ninput = \"1\"\noutput = \"5\"";

const WRITES: usize = 0;
const SYNCS: usize = 1;

impl Breakable {
    fn pass(&self, what: usize) -> io::Result<()> {
        if self.0[what].load(Ordering::SeqCst) { Err(io::Error::other("no space left on device")) } else { Ok(()) }
    }
}

impl Disk for Breakable {
    fn create(&self, path: &Path) -> io::Result<Box<dyn LogFile>> {
        self.pass(WRITES)?;
        Ok(Box::new(BreakableFile(self.clone(), RealDisk.create(path)?)))
    }

    fn append(&self, path: &Path) -> io::Result<Box<dyn LogFile>> {
        self.pass(WRITES)?;
        Ok(Box::new(BreakableFile(self.clone(), RealDisk.append(path)?)))
    }

    fn sync_folder(&self, path: &Path) -> io::Result<()> {
        self.pass(SYNCS)?;
        RealDisk.sync_folder(path)
    }
}

impl LogFile for BreakableFile {
    fn write(&self, bytes: &[u8]) -> io::Result<usize> {
        self.0.pass(WRITES)?;
        self.1.write(bytes)
    }

    fn sync(&self) -> io::Result<()> {
        self.0.pass(SYNCS)?;
        self.1.sync()
    }
}

async fn check(what: usize) {
    let disk = Breakable::default();
    let world = World::on(CAPPED, Surroundings { disk: Arc::new(disk.clone()), ..Surroundings::default() }).await;
    for _ in 0..3 {
        assert_eq!(world.send(world.post("/v1/chat/completions", CHAT)).await.status, 200);
    }
    assert_eq!(world.entries().await.len(), 3);
    let mut request = world.post("/v1/chat/completions", CHAT.replace("\"max", "\"stream\":true,\"max"));
    request.headers_mut().insert("x-mock-gate", "held".parse().unwrap());
    let stream = world.open(request).await;
    disk.0[what].store(true, Ordering::SeqCst);
    let (mut asked, mut refused) = (4, 0);
    // A failed sync is noticed a moment after the write that it belongs to.
    while world.app.bank.health().failed.is_none() {
        let is_served = world.send(world.post("/v1/chat/completions", CHAT)).await.status == 200;
        (asked, refused) = (asked + u64::from(is_served), refused + u64::from(!is_served));
    }
    for (dialect, path) in PATHS {
        let answer = world.send(world.post(path, ANY)).await;
        check_refusal(dialect, &answer, 503);
        assert_eq!(answer.header("retry-after"), "5");
        assert!(answer.text().contains("no space left on device"), "{}", answer.text());
    }
    let probe =
        |path: &str| format!("GET {path} HTTP/1.1\r\nhost: 127.0.0.1\r\nconnection: close\r\n\r\n").into_bytes();
    let ready = ask(world.address, &probe("/readyz")).await;
    let said = String::from_utf8(ready.body).unwrap();
    assert!(ready.status == 503 && said.contains("no space left on device"), "{said}");
    assert_eq!(ask(world.address, &probe("/livez")).await.status, 200, "it is no use to restart it");
    world.mock.gate("held").open();
    let text = stream.into_body().collect().await.unwrap().to_bytes();
    assert!(text.ends_with(b"data: [DONE]\n\n"), "what was begun is delivered");
    assert_eq!(world.mock.requests_total(), asked, "nothing is sent that cannot be written down");
    // Refusals go on, and are not kept without end.
    for _ in 0..50 {
        assert_eq!(world.send(world.post("/v1/embeddings", "{")).await.status, 400);
    }
    check_afterwards(&world, asked, refused + PATHS.len() as u64 + 50).await;
}

async fn check_afterwards(world: &World, asked: u64, refused: u64) {
    world.app.bank.close().await.unwrap_err();
    let again = world.again("[money]\nhold_expiry_s = 0").await;
    assert_eq!(again.send(again.post("/v1/chat/completions", CHAT)).await.status, 200);
    let entries = again.entries().await;
    let (lost, entries): (Vec<_>, Vec<_>) = entries.into_iter().partition(|entry| &*entry.account.key == KEY);
    let counted: u64 = lost.iter().map(|entry| u64::from(entry.requests)).sum();
    assert!((refused - 1..=refused).contains(&counted), "{counted} of {refused}: {lost:?}");
    let complete = entries.iter().filter(|entry| entry.outcome == Outcome::Complete).count() as u64;
    let unsettled: Vec<_> = entries.iter().filter(|entry| entry.outcome == Outcome::Unsettled).collect();
    assert!(complete >= 4 && complete + unsettled.len() as u64 == asked + 1, "{complete} {unsettled:?}");
    assert!(!unsettled.is_empty() && unsettled.iter().all(|entry| entry.cost == entry.quote && entry.cost.is_some()));
    let report = verify(again.folder.path()).unwrap();
    assert!(report.unfinished.is_empty() && report.odd_records == 0, "{report:?}");
    let opens = Reader::open(again.folder.path()).records().unwrap();
    let opens = opens.filter(|located| matches!(located.as_ref().unwrap().record, Record::Open(_))).count() as u64;
    assert_eq!(opens, asked + 1 + lost.len() as u64, "every request that left has its open record");
}

/// Without caps everybody is served; the next start says how many requests could not be written down, and their cost.
#[tokio::test]
async fn whoever_has_no_cap_goes_on_and_is_counted() {
    let disk = Breakable::default();
    let world = World::on("", Surroundings { disk: Arc::new(disk.clone()), ..Surroundings::default() }).await;
    disk.0[WRITES].store(true, Ordering::SeqCst);
    let paid = |answer: &Answer| Usd::parse(answer.header("x-tollgate-cost-usd")).unwrap_or_default();
    let mut cost = Usd::ZERO;
    while world.app.bank.health().failed.is_none() {
        cost = cost.plus(paid(&world.send(world.post("/v1/chat/completions", CHAT)).await));
    }
    let before = world.app.bank.unwritten();
    for _ in 0..5 {
        let answer = world.send(world.post("/v1/chat/completions", CHAT)).await;
        assert_eq!(answer.status, 200, "{}", answer.text());
        cost = cost.plus(paid(&answer));
    }
    assert_eq!(world.app.bank.unwritten(), before + 5);
    let probe = b"GET /readyz HTTP/1.1\r\nhost: 127.0.0.1\r\nconnection: close\r\n\r\n";
    let ready = ask(world.address, probe).await;
    let said = String::from_utf8(ready.body).unwrap();
    assert_eq!(ready.status, 200, "{said}");
    let numbers = tollgate::admin::state::metrics(&world.app);
    let unwritten = format!("\ntollgate_unwritten_requests_total {}\n", before + 5);
    assert!(numbers.contains("\ntollgate_journal_failed 1\n") && numbers.contains(&unwritten), "{numbers}");
    let again = world.again("").await;
    let lost = again.entries().await;
    assert_eq!((lost.len(), u64::from(lost[0].requests)), (1, before + 5), "{lost:?}");
    assert!(&*lost[0].account.key == KEY && lost[0].cost == Some(cost), "{cost}: {lost:?}");
    again.app.bank.tick();
    let third = again.again("").await;
    assert_eq!(third.entries().await.len(), 1, "it is entered once");
}

#[tokio::test]
async fn a_write_that_fails_stops_spending() {
    check(WRITES).await;
}

#[tokio::test]
async fn a_sync_that_fails_stops_spending() {
    check(SYNCS).await;
}
