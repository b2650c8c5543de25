//! [`Tally`]: what one scope has used of its limits.
//!
//! It keeps windows and no limits: those come with each request, so that a reload applies to what was counted before.

use super::window::{Taken, Window};
use super::{Need, covered};
use crate::config::limits::Limits;
use crate::domain::limit::{Level, Standing};

const MINUTE_S: u64 = 60;
const DAY_S: u64 = 86_400;

/// Nobody can know when a request in flight ends; asking again after a second costs little.
const IN_FLIGHT_WAIT_US: u64 = 1_000_000;

/// What one scope has used.
#[derive(Debug)]
pub(super) struct Tally {
    /// Requests admitted and not settled, whether or not they are limited: while there is one, the tally stays.
    pub in_flight: u64,
    /// Whether the config names the scope.
    pub is_named: bool,
    minute: Window,
    day: Window,
    tokens: Window,
    operations: Vec<(Box<str>, Window)>,
}

/// The limit that stands in the way of a request for the longest time.
#[derive(Debug)]
pub(super) struct Blocked {
    pub wait_us: u64,
    pub name: Box<str>,
    pub level: Level,
}

/// Tokens that a request has reserved of one limit.
#[derive(Clone, Copy, Debug)]
pub(super) struct Reserved {
    pub taken: Taken,
    pub amount: u64,
    pub cached_percent: u64,
}

impl Tally {
    pub const fn new(is_named: bool) -> Self {
        Self {
            in_flight: 0,
            is_named,
            minute: Window::new(MINUTE_S),
            day: Window::new(DAY_S),
            tokens: Window::new(MINUTE_S),
            operations: Vec::new(),
        }
    }

    /// Forgets what is over.
    pub fn turn(&mut self, now_us: u64) {
        self.minute.turn(now_us);
        self.day.turn(now_us);
        self.tokens.turn(now_us);
        self.operations.iter_mut().for_each(|(_, window)| window.turn(now_us));
    }

    /// Whether it says no more than a new one, once it has turned.
    pub fn is_idle(&self) -> bool {
        let windows = self.operations.iter().map(|(_, window)| window);
        self.in_flight == 0 && windows.chain([&self.minute, &self.day, &self.tokens]).all(Window::is_empty)
    }

    /// What stands in the way of `need`, of all limits the one that takes the longest. It takes nothing.
    pub fn blocked(&self, limits: &Limits, need: Need, now_us: u64) -> Option<Blocked> {
        let mut worst: Option<Blocked> = None;
        let mut check = |name: &dyn Fn() -> Box<str>, wait_us: u64, level: &dyn Fn() -> Level| {
            if wait_us > 0 && worst.as_ref().is_none_or(|known| wait_us > known.wait_us) {
                worst = Some(Blocked { wait_us, name: name(), level: level() });
            }
        };
        for (name, window, limit, amount) in [
            ("requests_per_minute", &self.minute, limits.requests_per_minute, 1),
            ("requests_per_day", &self.day, limits.requests_per_day, 1),
            ("tokens_per_minute", &self.tokens, limits.tokens_per_minute, need.tokens()),
        ] {
            // Whoever needs no tokens waits for no debt of them.
            let Some(limit) = limit.filter(|_| amount > 0) else { continue };
            let wait_us = window.wait_us(amount.min(limit), limit, now_us);
            check(&|| name.into(), wait_us, &|| level(window, limit, now_us));
        }
        for (word, limit) in covered(limits, need.operation) {
            let Some((_, window)) = self.operations.iter().find(|(known, _)| **known == *word) else { continue };
            let name = || format!("operations.{word}").into();
            check(&name, window.wait_us(1, limit, now_us), &|| level(window, limit, now_us));
        }
        if let Some(limit) = limits.in_flight
            && self.in_flight >= limit
        {
            check(&|| "in_flight".into(), IN_FLIGHT_WAIT_US, &|| in_flight(self.in_flight, limit));
        }
        worst
    }

    /// Takes what `need` needs of each limit. It was checked before, under the same lock.
    pub fn take(&mut self, limits: &Limits, need: Need, now_us: u64) -> Option<Reserved> {
        self.in_flight += 1;
        if limits.requests_per_minute.is_some() {
            self.minute.take(1, now_us);
        }
        if limits.requests_per_day.is_some() {
            self.day.take(1, now_us);
        }
        for (word, _) in covered(limits, need.operation) {
            self.operation(word).take(1, now_us);
        }
        let amount = need.tokens().min(limits.tokens_per_minute?);
        let taken = self.tokens.take(amount, now_us);
        Some(Reserved { taken, amount, cached_percent: limits.cached_token_percent })
    }

    /// Counts a request of some time ago among those of its day.
    pub fn recall(&mut self, at_us: u64) {
        self.day.take(1, at_us);
    }

    /// Puts the tokens that were used in the place of those that were reserved. What goes beyond counts from now on.
    pub fn correct(&mut self, reserved: Reserved, used: u64, now_us: u64) {
        if used > reserved.amount {
            self.tokens.take(used - reserved.amount, now_us);
        } else {
            self.tokens.give_back(reserved.taken, reserved.amount - used);
        }
    }

    /// Adds how the limits of this scope stand.
    pub fn describe(&self, limits: &Limits, need: Need, now_us: u64, standing: &mut Standing) {
        if let Some(limit) = limits.requests_per_minute {
            Standing::note(&mut standing.requests, level(&self.minute, limit, now_us));
        }
        for (word, limit) in covered(limits, need.operation) {
            if let Some((_, window)) = self.operations.iter().find(|(known, _)| **known == *word) {
                Standing::note(&mut standing.requests, level(window, limit, now_us));
            }
        }
        if let Some(limit) = limits.requests_per_day {
            Standing::note(&mut standing.requests_day, level(&self.day, limit, now_us));
        }
        if let Some(limit) = limits.tokens_per_minute {
            Standing::note(&mut standing.tokens, level(&self.tokens, limit, now_us));
        }
        if let Some(limit) = limits.in_flight {
            Standing::note(&mut standing.in_flight, in_flight(self.in_flight, limit));
        }
    }

    /// How each limit stands, by its key in the config.
    pub fn levels(&self, limits: &Limits, now_us: u64) -> Vec<(Box<str>, Level)> {
        let mut all: Vec<(Box<str>, Level)> = Vec::new();
        for (name, window, limit) in [
            ("requests_per_minute", &self.minute, limits.requests_per_minute),
            ("requests_per_day", &self.day, limits.requests_per_day),
            ("tokens_per_minute", &self.tokens, limits.tokens_per_minute),
        ] {
            all.extend(limit.map(|limit| (name.into(), level(window, limit, now_us))));
        }
        all.extend(limits.in_flight.map(|limit| ("in_flight".into(), in_flight(self.in_flight, limit))));
        for (word, limit) in &limits.operations {
            let window = self.operations.iter().find(|(known, _)| known == word).map(|(_, window)| window);
            let whole = Level { limit: *limit, remaining: *limit, reset_ms: 0 };
            let level = window.map_or(whole, |window| level(window, *limit, now_us));
            all.push((format!("operations.{word}").into(), level));
        }
        all
    }

    fn operation(&mut self, word: &str) -> &mut Window {
        let at = self.operations.iter().position(|(known, _)| **known == *word).unwrap_or_else(|| {
            self.operations.push((word.into(), Window::new(MINUTE_S)));
            self.operations.len() - 1
        });
        &mut self.operations[at].1
    }
}

fn level(window: &Window, limit: u64, now_us: u64) -> Level {
    Level { limit, remaining: window.remaining(limit), reset_ms: window.reset_us(now_us).div_ceil(1000) }
}

const fn in_flight(now: u64, limit: u64) -> Level {
    Level { limit, remaining: limit.saturating_sub(now), reset_ms: 0 }
}
