//! A disk that fails: writing ends for good, with the cause, and what was acknowledged stays.

use std::io;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use tollgate::domain::ids::RequestId;
use tollgate::store::disk::{Disk, LogFile, RealDisk};
use tollgate::store::{Journal, Options, StoreError};

use super::sample::{NOW_MS, close, entry, folder, holding, id, open, small};

/// What goes wrong.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Fault {
    Error,
    ShortWrite,
}

/// Fails the operation number `at`, and counts what is asked of it afterwards.
#[derive(Debug)]
struct Failing {
    at: u64,
    fault: Fault,
    count: AtomicU64,
}

#[derive(Debug)]
struct FailingDisk(Arc<Failing>);

#[derive(Debug)]
struct FailingFile(Arc<Failing>, Box<dyn LogFile>);

impl Failing {
    fn pass(&self) -> io::Result<()> {
        if self.count.fetch_add(1, Ordering::SeqCst) == self.at {
            return Err(io::Error::other("no space left on device"));
        }
        Ok(())
    }
}

impl Disk for FailingDisk {
    fn create(&self, path: &Path) -> io::Result<Box<dyn LogFile>> {
        self.0.pass()?;
        Ok(Box::new(FailingFile(self.0.clone(), RealDisk.create(path)?)))
    }

    fn append(&self, path: &Path) -> io::Result<Box<dyn LogFile>> {
        self.0.pass()?;
        Ok(Box::new(FailingFile(self.0.clone(), RealDisk.append(path)?)))
    }

    fn sync_folder(&self, path: &Path) -> io::Result<()> {
        self.0.pass()?;
        RealDisk.sync_folder(path)
    }
}

impl LogFile for FailingFile {
    fn write(&self, bytes: &[u8]) -> io::Result<usize> {
        match (self.0.pass(), self.0.fault) {
            (Ok(()), _) => self.1.write(bytes),
            (Err(_), Fault::ShortWrite) => self.1.write(&bytes[..bytes.len() / 2]),
            (Err(error), Fault::Error) => Err(error),
        }
    }

    fn sync(&self) -> io::Result<()> {
        self.0.pass()?;
        self.1.sync()
    }
}

/// Serves requests until something fails; returns those whose open and whose entry were acknowledged.
async fn serve_until_failure(journal: &Journal) -> (Vec<RequestId>, Vec<RequestId>) {
    let (mut opens, mut entries) = (Vec::new(), Vec::new());
    for number in 0..60 {
        let open = open(number);
        let Ok(seat) = journal.admit(&open) else { break };
        if journal.written(seat).await.is_ok() {
            opens.push(id(number));
        }
        let seat = journal.settle(&close(&open), &entry(&open));
        if journal.synced(seat).await.is_ok() {
            entries.push(id(number));
        }
    }
    (opens, entries)
}

async fn check(at: u64, fault: Fault) -> bool {
    let folder = folder();
    let failing = Arc::new(Failing { at, fault, count: AtomicU64::new(0) });
    let options = Options { disk: Arc::new(FailingDisk(failing.clone())), ..small() };
    let Ok((journal, _)) = Journal::open(folder.path(), options, NOW_MS) else { return true };
    let (opens, entries) = serve_until_failure(&journal).await;
    let health = journal.health();
    if let Some(cause) = &health.failed {
        assert!(cause.contains("no space left") || cause.contains("short write"), "{cause}");
        assert_eq!(journal.admit(&open(100)), Err(StoreError::Failed(cause.clone())));
        let before = failing.count.load(Ordering::SeqCst);
        let seat = journal.settle(&close(&open(0)), &entry(&open(0)));
        assert_eq!(journal.written(seat).await, Err(StoreError::Failed(cause.clone())));
        assert_eq!(journal.synced(seat).await, Err(StoreError::Failed(cause.clone())));
        assert!(journal.shut_down().is_err());
        assert_eq!(failing.count.load(Ordering::SeqCst), before, "nothing is tried again after a failure");
    } else {
        // The last words at a clean end may fail as well.
        drop(journal);
    }
    let holding = holding(folder.path());
    assert!(opens.iter().all(|id| holding.opens.contains(id)), "{at} {fault:?}: an acknowledged open is lost");
    assert!(entries.iter().all(|id| holding.entries.contains(id)), "{at} {fault:?}: an acknowledged entry is lost");
    failing.count.load(Ordering::SeqCst) > at
}

#[tokio::test]
async fn every_operation_may_fail() {
    for fault in [Fault::Error, Fault::ShortWrite] {
        let mut at = 0;
        while check(at, fault).await {
            at += 1;
        }
        assert!(at > 100, "{at} operations failed one by one");
    }
}
