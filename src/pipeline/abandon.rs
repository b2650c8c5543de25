//! Abandon: the client has left, and the upstream still works for it.
//!
//! What it does will be billed, and the usage stands at the end. So the rest is read in the background, within bounds;
//! beyond them, or where config says `cancel`, the connection is closed and what was seen is counted.

use std::sync::Arc;

use tokio::time::Instant;

use crate::app::App;
use crate::config::OnClientAbort;
use crate::drain::Work;
use crate::limits::gate::Place;

/// Leave to read on in the background.
#[derive(Debug)]
pub struct Permit {
    /// Until when.
    pub deadline: Instant,
    /// How much.
    pub bytes_max: u64,
    /// One of the places for it, and the end of the process waits for it.
    _held: (Place, Work),
}

/// Leave to read on, if config gives it and not too many do so already.
#[must_use]
pub fn permit(app: &Arc<App>) -> Option<Permit> {
    let snapshot = app.snapshot.load();
    let money = &snapshot.config.money;
    match money.on_client_abort {
        OnClientAbort::Cancel => None,
        OnClientAbort::Drain => Some(Permit {
            deadline: Instant::now() + money.drain_max,
            bytes_max: money.drain_bytes_max,
            _held: (app.drains.take()?, app.drain.work()),
        }),
    }
}
