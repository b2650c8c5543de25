//! [`Keeper`]: keeps what caps have counted in a file, so that a start with caps on months and totals reads the end of the
//! journal and not all of it.
//!
//! The clerk lets it work between its own rounds. It counts durable records by itself, as a start would, and asks nothing of
//! the sums that requests are held against.
//!
//! Invariant: what is kept is what a start would count up to the same place; holds and requests in flight are not in it.

use std::path::PathBuf;
use std::sync::{Arc, Mutex};

use super::adopt::fingerprint;
use super::local::Local;
use super::{lock, rebuild};
use crate::config::Config;
use crate::store::{Counted, Follow, ReadError, Spent, Watch, archives};

/// Records that are counted before they are kept, so that a start has no more to read than these.
const RECORDS_KEPT: u64 = 1 << 15;

/// Records that are counted in one round at most: the clerk has other work, and a stop waits for it.
const RECORDS_A_ROUND: u64 = 1 << 19;

/// What the config says, as it is at any time.
pub(super) type InForce = Arc<Mutex<Arc<Config>>>;

/// Counts beside the clerk.
#[derive(Debug)]
pub(super) struct Keeper {
    pub folder: PathBuf,
    pub config: InForce,
    pub state: Option<State>,
}

/// How far it has come.
#[derive(Debug)]
pub(super) struct State {
    shape: [u8; 32],
    local: Local,
    follow: Follow,
    /// The number of the next record when it was last kept.
    kept_seq: u64,
}

/// What caps of `config` had counted, and the journal from there on; `None` where everything has to be read.
pub(super) fn resume(config: &Config) -> Option<(Local, Follow)> {
    let folder = &config.store.path;
    let counted = Counted::read(folder).filter(|counted| counted.shape == fingerprint(config))?;
    let follow = Follow::resume(folder, &counted.place).ok().flatten()?;
    let local = rebuild::empty(config);
    local.import(counted.scopes, |scope| config.policy_of(scope).cloned());
    Some((local, follow))
}

impl Watch for Keeper {
    fn round(&mut self, until_seq: u64, stop: bool) {
        let config = lock(&self.config).clone();
        if config.caps.is_empty() {
            self.state = None;
            return;
        }
        // Whatever goes wrong is told where the journal is read; here it only costs time at the next start.
        if let Err(error) = self.count(&config, until_seq, stop) {
            tracing::debug!(%error, "what caps have counted cannot be kept");
            self.state = None;
        }
    }
}

impl Keeper {
    fn count(&mut self, config: &Config, until_seq: u64, stop: bool) -> Result<(), ReadError> {
        let shape = fingerprint(config);
        let mut state = match self.state.take().filter(|state| state.shape == shape) {
            Some(state) => state,
            // A process that ends has no time to read everything.
            None if stop => return Ok(()),
            None => match self.begin(config, shape)? {
                Some(state) => state,
                None => return Ok(()),
            },
        };
        let behind = until_seq.saturating_sub(state.follow.next_seq());
        if behind >= RECORDS_KEPT || stop && until_seq > state.kept_seq {
            let until_seq = until_seq.min(state.follow.next_seq() + RECORDS_A_ROUND);
            let local = &state.local;
            let mut counter = rebuild::Counter::new(local, config);
            while state.follow.counted(until_seq, &mut |counts| counter.count(&counts))? {}
            if state.follow.next_seq() < until_seq {
                // The rest of a segment that is gone by now is nowhere to be found from here.
                return Ok(());
            }
            self.keep(&mut state);
        }
        self.state = Some(state);
        Ok(())
    }

    fn begin(&self, config: &Config, shape: [u8; 32]) -> Result<Option<State>, ReadError> {
        if let Some((local, follow)) = resume(config) {
            return Ok(Some(State { shape, local, kept_seq: follow.next_seq(), follow }));
        }
        let local = rebuild::empty(config);
        // Nobody but the clerk drops segments, and it waits.
        archives(&self.folder, 0, &mut |spent| {
            if let Spent::Archive(archive) = spent {
                rebuild::archived(&local, config, archive);
            }
        })?;
        let follow = Follow::from_start(&self.folder)?;
        Ok(follow.map(|follow| State { shape, local, follow: follow.unchained(), kept_seq: 0 }))
    }

    fn keep(&self, state: &mut State) {
        let scopes = state.local.export();
        // Hashes are not computed on the way; that of the last frame is.
        let Some(place) = state.follow.place_hashed() else { return };
        state.kept_seq = place.next_seq;
        if let Err(error) = (Counted { shape: state.shape, place, scopes }).write(&self.folder) {
            tracing::debug!(%error, "what caps have counted cannot be kept");
        }
    }
}
