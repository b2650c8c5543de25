//! [`Cell`]: one window of one scope, and what lies in its parts.
//!
//! It does not know the time: who asks names the part.
//!
//! Invariant: a part in which anything is held is never forgotten.

use std::collections::BTreeMap;

use super::windows::{PARTS, Windows};
use crate::domain::cap::Window;
use crate::domain::money::Usd;

/// Windows that are kept for late requests and for a clock that is set back.
const WINDOWS_KEPT: u64 = 4;

/// One window of one scope.
#[derive(Debug)]
pub(super) struct Cell {
    /// Which.
    pub window: Window,
    /// How much.
    pub cap: Usd,
    /// By the names of its parts.
    pub parts: BTreeMap<u64, Sums>,
}

/// What lies in a part of a window.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Sums {
    pub charged: Usd,
    pub credited: Usd,
    pub held: Usd,
}

impl Cell {
    /// What counts together with `part`. Of a rolling window also the parts after it: a clock may have been set back,
    /// and no later window may hold more than the cap either.
    pub fn sum(&self, part: u64) -> Sums {
        let from = match self.window {
            Window::Rolling { .. } => part.saturating_sub(PARTS),
            Window::Day | Window::Week | Window::Month | Window::Total => {
                return self.parts.get(&part).copied().unwrap_or_default();
            }
        };
        self.parts.range(from..).fold(Sums::default(), |sum, (_, next)| Sums {
            charged: sum.charged.plus(next.charged),
            credited: sum.credited.plus(next.credited),
            held: sum.held.plus(next.held),
        })
    }

    /// Windows long past need no memory.
    pub fn forget_old(&mut self) {
        let kept = match self.window {
            Window::Rolling { .. } => WINDOWS_KEPT * (PARTS + 1),
            Window::Day | Window::Week | Window::Month | Window::Total => WINDOWS_KEPT,
        };
        while self.parts.len() as u64 > kept {
            let Some(first) = self.parts.first_entry() else { return };
            if first.get().held > Usd::ZERO {
                return;
            }
            first.remove();
        }
    }

    pub fn resets(&self, windows: &mut Windows, at_ms: u64) -> Option<u64> {
        match self.window {
            Window::Rolling { .. } => {
                let part = windows.part(self.window, at_ms);
                let oldest = self.parts.range(part.saturating_sub(PARTS)..).next().map_or(part, |(oldest, _)| *oldest);
                Windows::leaves_ms(self.window, oldest)
            }
            Window::Day | Window::Week | Window::Month | Window::Total => windows.end(self.window, at_ms),
        }
    }
}
