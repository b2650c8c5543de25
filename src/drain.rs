//! [`Drain`]: how the process ends. First new work stops, then open streams get their time, then they are cut.

use std::sync::Arc;
use std::sync::atomic::{AtomicU8, AtomicUsize, Ordering};

use tokio::sync::Notify;
use tokio::sync::watch;

/// How far the end has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Phase {
    /// All is served.
    Serving = 0,
    /// No new connection is taken; open ones finish what they have begun.
    Draining = 1,
    /// Streams that are still open end with their dialect's error.
    Cutting = 2,
}

/// The shared switch.
#[derive(Clone, Debug)]
pub struct Drain {
    phase: watch::Sender<Phase>,
    open: Arc<Open>,
}

#[derive(Debug, Default)]
struct Open {
    count: AtomicUsize,
    changed: Notify,
    /// The phase, for those who only look, without the lock of the switch.
    phase: AtomicU8,
}

/// One piece of work that the end waits for.
#[derive(Debug)]
pub struct Work(Arc<Open>);

impl Default for Drain {
    fn default() -> Self {
        Self { phase: watch::Sender::new(Phase::Serving), open: Arc::default() }
    }
}

impl Drain {
    /// The phase now.
    #[must_use]
    pub fn phase(&self) -> Phase {
        match self.open.phase.load(Ordering::Acquire) {
            0 => Phase::Serving,
            1 => Phase::Draining,
            _ => Phase::Cutting,
        }
    }

    /// Goes on to `phase`; never back.
    pub fn advance(&self, phase: Phase) {
        // Before anybody is woken by the switch.
        self.open.phase.fetch_max(phase as u8, Ordering::AcqRel);
        self.phase.send_if_modified(|now| {
            let later = phase > *now;
            *now = phase.max(*now);
            later
        });
    }

    /// Waits until the phase is at least `phase`.
    pub async fn reached(&self, phase: Phase) {
        let mut changes = self.phase.subscribe();
        // The sender lives as long as `self`, so that the wait can only end with the phase.
        let _ended = changes.wait_for(|now| *now >= phase).await;
    }

    /// Counts one more piece of work.
    #[must_use]
    pub fn work(&self) -> Work {
        self.open.count.fetch_add(1, Ordering::AcqRel);
        Work(self.open.clone())
    }

    /// How much work is open.
    #[must_use]
    pub fn open(&self) -> usize {
        self.open.count.load(Ordering::Acquire)
    }

    /// Waits until no work is open.
    pub async fn idle(&self) {
        loop {
            let changed = self.open.changed.notified();
            if self.open() == 0 {
                return;
            }
            changed.await;
        }
    }
}

impl Drop for Work {
    fn drop(&mut self) {
        if self.0.count.fetch_sub(1, Ordering::AcqRel) == 1 {
            self.0.changed.notify_waiters();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_end_waits_for_open_work_and_phases_only_rise() {
        let drain = Drain::default();
        let work = drain.work();
        drain.advance(Phase::Cutting);
        drain.advance(Phase::Draining);
        assert_eq!(drain.phase(), Phase::Cutting);
        drain.reached(Phase::Draining).await;
        let idle = tokio::spawn({
            let drain = drain.clone();
            async move { drain.idle().await }
        });
        assert_eq!(drain.open(), 1);
        drop(work);
        idle.await.unwrap();
    }
}
