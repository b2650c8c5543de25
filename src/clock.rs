//! [`Clock`] and [`Mint`]: the only room that asks the time or rolls dice.
//!
//! Everything else takes time and chance as arguments, so that tests set both.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use ring::rand::{SecureRandom, SystemRandom};

use crate::domain::ids::RequestId;

/// Where ticks begin, so that the two days before the start have ticks as well.
const BEFORE_START_US: u64 = 2 * 86_400 * 1_000_000;

/// Tells the time.
#[derive(Clone, Debug)]
pub enum Clock {
    /// The machine's clock.
    System {
        /// Where the monotonic clock started.
        started: Instant,
    },
    /// Unix microseconds that a test sets.
    Manual(Arc<AtomicU64>),
}

/// Makes ids that no other process makes.
#[derive(Debug)]
pub struct Mint {
    /// 56 random bits of this process, then 24 bits of `next`.
    process: u128,
    next: AtomicU64,
    rolls: AtomicU64,
}

impl Clock {
    /// The machine's clock.
    #[must_use]
    pub fn system() -> Self {
        Self::System { started: Instant::now() }
    }

    /// Unix time in milliseconds, UTC.
    #[must_use]
    pub fn now_ms(&self) -> u64 {
        match self {
            Self::System { .. } => SystemTime::now()
                .duration_since(UNIX_EPOCH)
                .map_or(0, |since| u64::try_from(since.as_millis()).unwrap_or(u64::MAX)),
            Self::Manual(now_us) => now_us.load(Ordering::Relaxed) / 1000,
        }
    }

    /// Microseconds from an arbitrary start that never run backwards, for durations.
    #[must_use]
    pub fn ticks_us(&self) -> u64 {
        match self {
            Self::System { started } => {
                let elapsed_us = u64::try_from(started.elapsed().as_micros()).unwrap_or(u64::MAX);
                elapsed_us.saturating_add(BEFORE_START_US)
            }
            Self::Manual(now_us) => now_us.load(Ordering::Relaxed),
        }
    }
}

impl Mint {
    /// A mint with a random start.
    ///
    /// # Errors
    /// The system has no random numbers.
    pub fn random() -> Result<Self, ring::error::Unspecified> {
        let mut seed = [0; 8];
        SystemRandom::new().fill(&mut seed)?;
        Ok(Self::seeded(u64::from_le_bytes(seed)))
    }

    /// A mint that always makes the same ids, for tests.
    #[must_use]
    pub const fn seeded(seed: u64) -> Self {
        Self { process: (seed as u128 & ((1 << 56) - 1)) << 24, next: AtomicU64::new(0), rolls: AtomicU64::new(0) }
    }

    /// The next request id at `at_ms`.
    ///
    /// Ids repeat only if one process makes more than 16 million of them within one millisecond.
    #[must_use]
    pub fn request_id(&self, at_ms: u64) -> RequestId {
        let serial = u128::from(self.next.fetch_add(1, Ordering::Relaxed)) & ((1 << 24) - 1);
        RequestId::new(at_ms, self.process | serial)
    }

    /// A number that nobody can foretell but who knows the start: for waits, not for secrets.
    #[must_use]
    pub fn dice(&self) -> u64 {
        // SplitMix64 (Steele, Lea and Flood, 2014).
        let step =
            self.rolls.fetch_add(1, Ordering::Relaxed).wrapping_add(u64::try_from(self.process >> 24).unwrap_or(0));
        let mut mixed = step.wrapping_mul(0x9e37_79b9_7f4a_7c15);
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// Random bytes for a new secret.
    ///
    /// # Errors
    /// The system has no random numbers.
    pub fn secret<const N: usize>(&self) -> Result<[u8; N], ring::error::Unspecified> {
        let mut secret = [0; N];
        SystemRandom::new().fill(&mut secret)?;
        Ok(secret)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_of_one_mint_differ_and_carry_their_time() {
        let mint = Mint::seeded(u64::MAX);
        let (one, two) = (mint.request_id(5), mint.request_id(5));
        assert!(one < two);
        assert_eq!(two.at_ms(), 5);
    }

    #[test]
    fn a_manual_clock_stands_until_it_is_moved() {
        let now_us = Arc::new(AtomicU64::new(1_500));
        let clock = Clock::Manual(now_us.clone());
        assert_eq!((clock.now_ms(), clock.ticks_us()), (1, 1_500));
        now_us.store(2_000_000, Ordering::Relaxed);
        assert_eq!(clock.now_ms(), 2_000);
    }
}
