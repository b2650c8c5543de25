//! [`Gates`]: places at which answers stop until a test lets them go on, so that no test has to sleep.
//!
//! Invariant: an opened gate stays open until the next reset; a reset opens all, so that nobody waits for ever.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use tokio::sync::watch;

/// Gates that may exist at once.
const GATES_MAX: usize = 10_000;

/// All gates, by name.
#[derive(Debug, Default)]
pub(super) struct Gates {
    by_name: Mutex<HashMap<String, Arc<Gate>>>,
}

/// One gate.
#[derive(Debug)]
pub struct Gate {
    state: watch::Sender<State>,
}

#[derive(Clone, Copy, Debug, Default)]
struct State {
    open: bool,
    arrived: u64,
}

impl Gates {
    /// The gate of this name, made if need be.
    pub(super) fn get(&self, name: &str) -> Arc<Gate> {
        let mut gates = self.by_name.lock().unwrap_or_else(PoisonError::into_inner);
        if gates.len() >= GATES_MAX && !gates.contains_key(name) {
            gates.drain().for_each(|(_, gate)| gate.open());
        }
        Arc::clone(gates.entry(name.to_owned()).or_insert_with(|| Arc::new(Gate { state: watch::Sender::default() })))
    }

    /// Opens and forgets all.
    pub(super) fn clear(&self) {
        let mut gates = self.by_name.lock().unwrap_or_else(PoisonError::into_inner);
        gates.drain().for_each(|(_, gate)| gate.open());
    }
}

impl Gate {
    /// Lets everybody pass, now and later.
    pub fn open(&self) {
        self.state.send_modify(|state| state.open = true);
    }

    /// Whether it is open.
    #[must_use]
    pub fn is_open(&self) -> bool {
        self.state.borrow().open
    }

    /// How many answers have come to it since it was made.
    #[must_use]
    pub fn arrived(&self) -> u64 {
        self.state.borrow().arrived
    }

    /// Waits until so many answers have come to it.
    pub async fn wait_for_arrivals(&self, count: u64) {
        let mut state = self.state.subscribe();
        // The sender lives as long as `self`, so that this cannot fail.
        let _state = state.wait_for(|state| state.arrived >= count).await;
    }

    /// Comes to it and waits until it is open.
    pub(super) async fn pass(&self) {
        let mut state = self.state.subscribe();
        self.state.send_modify(|state| state.arrived += 1);
        let _state = state.wait_for(|state| state.open).await;
    }
}
