//! [`Window`]: what was taken within the last minute or day, in slots of a sixtieth of it.
//!
//! Within any span at most the limit is taken, at whatever edge one looks: what is taken counts for a whole span, and up
//! to a sixtieth of one longer if more follows in the same slot. A bucket that refills (GCRA) would let twice its burst
//! through in the first span.
//!
//! Invariant: `sum` is the sum of the slots; there are at most 61 of them.

use std::collections::VecDeque;

/// Slots of one span.
const SLOTS: u64 = 60;

/// What was taken within the last span.
#[derive(Debug)]
pub(super) struct Window {
    span_us: u64,
    slots: VecDeque<Slot>,
    sum: u64,
}

/// What was taken within a sixtieth of a span.
#[derive(Debug)]
struct Slot {
    first_us: u64,
    last_us: u64,
    amount: u64,
}

/// Where something was taken, so that it can be given back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Taken(u64);

impl Window {
    /// A window of so many seconds, in which nothing was taken.
    pub const fn new(span_s: u64) -> Self {
        Self { span_us: span_s * 1_000_000, slots: VecDeque::new(), sum: 0 }
    }

    /// Forgets what is over.
    pub fn turn(&mut self, now_us: u64) {
        while let Some(slot) = self.slots.front()
            && slot.last_us + self.span_us <= now_us
        {
            self.sum -= slot.amount;
            self.slots.pop_front();
        }
    }

    /// Takes `amount`, whatever the limit.
    pub fn take(&mut self, amount: u64, now_us: u64) -> Taken {
        self.turn(now_us);
        self.sum = self.sum.saturating_add(amount);
        let width_us = self.span_us / SLOTS;
        match self.slots.back_mut() {
            Some(slot) if now_us < slot.first_us + width_us => {
                slot.amount = slot.amount.saturating_add(amount);
                // Times are read outside of the lock, so that they may come out of order.
                slot.last_us = slot.last_us.max(now_us);
                Taken(slot.first_us)
            }
            Some(_) | None => {
                self.slots.push_back(Slot { first_us: now_us, last_us: now_us, amount });
                Taken(now_us)
            }
        }
    }

    /// Gives back `amount` of what was taken there; what is over already has come back by itself.
    pub fn give_back(&mut self, taken: Taken, amount: u64) {
        let Ok(index) = self.slots.binary_search_by_key(&taken.0, |slot| slot.first_us) else { return };
        let slot = &mut self.slots[index];
        let amount = amount.min(slot.amount);
        slot.amount -= amount;
        self.sum -= amount;
    }

    /// What is left of `limit`.
    pub const fn remaining(&self, limit: u64) -> u64 {
        limit.saturating_sub(self.sum)
    }

    /// Microseconds until `amount` fits under `limit`; 0 if it does now. `amount` is at most `limit`.
    pub fn wait_us(&self, amount: u64, limit: u64, now_us: u64) -> u64 {
        let mut excess = self.sum.saturating_add(amount).saturating_sub(limit);
        if excess == 0 {
            return 0;
        }
        for slot in &self.slots {
            excess = excess.saturating_sub(slot.amount);
            if excess == 0 {
                return (slot.last_us + self.span_us).saturating_sub(now_us);
            }
        }
        self.span_us
    }

    /// Microseconds until nothing counts any more.
    pub fn reset_us(&self, now_us: u64) -> u64 {
        let last = self.slots.iter().rev().find(|slot| slot.amount > 0);
        last.map_or(0, |slot| (slot.last_us + self.span_us).saturating_sub(now_us))
    }

    /// Whether nothing counts.
    pub fn is_empty(&self) -> bool {
        self.slots.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const MINUTE_US: u64 = 60_000_000;

    #[test]
    fn a_span_holds_the_limit_at_its_edges() {
        let mut window = Window::new(60);
        for second in 0..60 {
            assert_eq!(window.wait_us(1, 60, second * 1_000_000), 0, "{second}");
            window.take(1, second * 1_000_000);
        }
        window.turn(MINUTE_US - 1);
        assert_eq!(window.wait_us(1, 60, MINUTE_US - 1), 1);
        window.turn(MINUTE_US);
        assert_eq!((window.wait_us(1, 60, MINUTE_US), window.remaining(60)), (0, 1));
        assert_eq!(window.wait_us(2, 60, MINUTE_US), 1_000_000);
    }

    #[test]
    fn what_is_given_back_comes_back_once_and_not_from_another_slot() {
        let mut window = Window::new(60);
        let first = window.take(40, 0);
        window.take(50, 30_000_000);
        window.give_back(first, 30);
        assert_eq!(window.remaining(100), 40);
        window.give_back(first, 30);
        assert_eq!(window.remaining(100), 50);
        window.turn(MINUTE_US);
        window.give_back(first, 30);
        assert_eq!(window.remaining(100), 50);
        window.turn(30_000_000 + MINUTE_US);
        assert!(window.is_empty() && window.remaining(100) == 100);
    }

    proptest! {
        /// Beside a list of everything that was ever admitted.
        #[test]
        fn no_span_holds_more_than_the_limit_and_a_wait_is_true(
            limit in 1_u64..40,
            asks in prop::collection::vec((0_u64..4_000_000, 1_u64..10), 1..300),
        ) {
            let (mut window, mut admitted, mut now_us) = (Window::new(60), Vec::<(u64, u64)>::new(), 0);
            for (pause_us, amount) in asks {
                now_us += pause_us;
                let amount = amount.min(limit);
                window.turn(now_us);
                let wait_us = window.wait_us(amount, limit, now_us);
                if wait_us > 0 {
                    // Refused one microsecond before it, admitted at it.
                    window.turn(now_us + wait_us - 1);
                    prop_assert!(window.wait_us(amount, limit, now_us + wait_us - 1) > 0);
                    now_us += wait_us;
                    window.turn(now_us);
                    prop_assert_eq!(window.wait_us(amount, limit, now_us), 0);
                }
                window.take(amount, now_us);
                admitted.push((now_us, amount));
                let within: u64 =
                    admitted.iter().filter(|(at_us, _)| at_us + MINUTE_US > now_us).map(|(_, amount)| amount).sum();
                prop_assert!(within <= limit, "{} of {}", within, limit);
                // What counts too long does so for a slot at most.
                let longer: u64 = admitted
                    .iter()
                    .filter(|(at_us, _)| at_us + MINUTE_US + 1_000_000 > now_us)
                    .map(|(_, amount)| amount)
                    .sum();
                prop_assert!(limit - window.remaining(limit) <= longer);
                prop_assert!(window.slots.len() <= 61);
            }
        }
    }
}
