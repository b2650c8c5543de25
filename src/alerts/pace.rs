//! [`Pace`]: how fast something that repeats may go on: so many at once, and then one after the other in even steps.
//!
//! A bucket that refills (GCRA, by governor) is right here, where the point is to slow down and nothing is promised of any
//! span of time; limits of callers are windows for that reason (`limits`). Places are as many as there are, however many
//! requests are told apart: two that share one take it from each other, so that one may pass too early, never too late.
//!
//! Invariant: whether a request passes, and that it has, is decided in one locking.

use std::fmt;
use std::num::NonZeroU32;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use governor::clock::Clock as Ticking;
use governor::nanos::Nanos;
use governor::state::StateStore;
use governor::{Quota, RateLimiter};

use crate::clock::Clock;

/// Places, each with a lock of its own.
const PLACES: usize = 8192;

/// Lets requests pass that look alike, as fast as they may.
pub(super) struct Pace {
    quota: Quota,
    limiter: RateLimiter<u64, Places, Ticks>,
}

/// When requests that look alike are due, by what they look like.
struct Places(Vec<Mutex<(u64, Nanos)>>);

/// The process's clock, as governor reads it.
struct Ticks(Clock);

impl Pace {
    /// `most` at once, and as many within each further `window`; none where that is no pace.
    pub(super) fn new(most: u64, window: Duration, clock: Clock) -> Option<Self> {
        let burst = NonZeroU32::new(u32::try_from(most).unwrap_or(u32::MAX))?;
        let quota = Quota::with_period(window / burst.get())?.allow_burst(burst);
        let places = Places((0..PLACES).map(|_| Mutex::default()).collect());
        Some(Self { quota, limiter: RateLimiter::new(quota, places, Ticks(clock)) })
    }

    /// Whether both go at the same pace, so that one may go on in the other's place.
    pub(super) fn is_like(&self, other: &Self) -> bool {
        self.quota == other.quota
    }

    /// Lets a request pass, or says after how many milliseconds it may.
    ///
    /// # Errors
    /// It has to wait.
    pub(super) fn pass(&self, print: u64) -> Result<(), u64> {
        self.limiter.check_key(&print).map_err(|until| {
            let wait = until.wait_time_from(self.limiter.clock().now());
            u64::try_from(wait.as_nanos().div_ceil(1_000_000)).unwrap_or(u64::MAX)
        })
    }
}

impl StateStore for Places {
    type Key = u64;

    fn measure_and_replace<T, F, E>(&self, print: &u64, decide: F) -> Result<T, E>
    where
        F: Fn(Option<Nanos>) -> Result<(T, Nanos), E>,
    {
        let mut place = self.place(*print);
        let (known, due) = *place;
        let (passed, due) = decide((known == *print).then_some(due))?;
        *place = (*print, due);
        Ok(passed)
    }
}

impl Places {
    fn place(&self, print: u64) -> MutexGuard<'_, (u64, Nanos)> {
        let index = usize::try_from(print % PLACES as u64).unwrap_or(0);
        self.0[index].lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Ticking for Ticks {
    type Instant = Nanos;

    fn now(&self) -> Nanos {
        Duration::from_micros(self.0.ticks_us()).into()
    }
}

impl fmt::Debug for Pace {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "Pace({:?})", self.quota)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicU64, Ordering};

    use super::*;

    #[test]
    fn a_few_pass_at_once_and_then_one_after_the_other() {
        let now_us = Arc::new(AtomicU64::new(1_795_000_000_000_000));
        let pace = Pace::new(3, Duration::from_secs(60), Clock::Manual(now_us.clone())).unwrap();
        assert_eq!([pace.pass(7), pace.pass(7), pace.pass(7)], [Ok(()); 3]);
        assert_eq!((pace.pass(7), pace.pass(8)), (Err(20_000), Ok(())), "others have a pace of their own");
        now_us.fetch_add(19_999_999, Ordering::Relaxed);
        assert_eq!(pace.pass(7), Err(1), "a refusal puts nothing off");
        now_us.fetch_add(1, Ordering::Relaxed);
        assert_eq!((pace.pass(7), pace.pass(7)), (Ok(()), Err(20_000)));
        now_us.fetch_add(60_000_000, Ordering::Relaxed);
        assert_eq!([pace.pass(7), pace.pass(7), pace.pass(7)], [Ok(()); 3], "after a rest all of it is there again");
    }

    #[test]
    fn requests_that_come_at_the_same_time_pass_no_more_often() {
        let now_us = Arc::new(AtomicU64::new(1_795_000_000_000_000));
        let pace = Pace::new(5, Duration::from_secs(60), Clock::Manual(now_us)).unwrap();
        let passed = AtomicU64::new(0);
        std::thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| {
                    let own = (0..200).filter(|_| pace.pass(9).is_ok()).count();
                    passed.fetch_add(own as u64, Ordering::Relaxed);
                });
            }
        });
        assert_eq!(passed.into_inner(), 5);
    }

    #[test]
    fn what_is_no_pace_holds_nobody() {
        let clock = || Clock::Manual(Arc::default());
        assert!(Pace::new(0, Duration::from_secs(1), clock()).is_none());
        assert!(Pace::new(3, Duration::ZERO, clock()).is_none());
    }
}
