//! [`Load`]: how much is asked of one of several equals, and [`sort`], in which order they are asked.
//!
//! Invariant: one that was away for a while gets no burst when it is back: it is behind the others by a few turns at most.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use crate::config::Balance;

/// What one turn counts for one of weight 1.
const TURN: u64 = 1 << 20;

/// How far behind the others one may be, in turns of weight 1.
const BEHIND_MAX: u64 = 2 * TURN;

/// What is asked of one of several equals.
#[derive(Debug)]
pub struct Load {
    weight: u64,
    busy: AtomicUsize,
    /// Turns so far, by weight.
    turns: AtomicU64,
}

/// One request at one of several equals; over when dropped.
#[derive(Debug)]
pub struct Busy(Arc<Load>);

impl Load {
    /// Nothing yet, for one that takes `weight` times the share of one of weight 1.
    #[must_use]
    pub fn new(weight: u32) -> Self {
        Self { weight: u64::from(weight.max(1)), busy: AtomicUsize::new(0), turns: AtomicU64::new(0) }
    }

    /// Counts one more request.
    #[must_use]
    pub fn begin(self: &Arc<Self>) -> Busy {
        self.busy.fetch_add(1, Ordering::Relaxed);
        self.turns.fetch_add(TURN / self.weight, Ordering::Relaxed);
        Busy(self.clone())
    }

    /// Requests that it works at.
    #[must_use]
    pub fn busy(&self) -> usize {
        self.busy.load(Ordering::Relaxed)
    }

    /// Its share of a whole.
    #[must_use]
    pub const fn weight(&self) -> u64 {
        self.weight
    }
}

/// Brings equals into the order in which they are asked: by how busy they are for their weight or, where all are as busy or
/// `balance` says so, by their turns.
///
/// One is as busy as the one of the least weight until it has a whole share more to do: one of weight 3 beside one of weight 1
/// until it has three. So weights hold where there is little to do as well, when all of them are idle most of the time.
pub fn sort<T>(all: &mut [T], load: impl Fn(&T) -> &Load, balance: Balance) {
    let most = all.iter().map(|one| load(one).turns.load(Ordering::Relaxed)).max().unwrap_or(0);
    // Whoever was away begins not far behind the others.
    all.iter().for_each(|one| _ = load(one).turns.fetch_max(most.saturating_sub(BEHIND_MAX), Ordering::Relaxed));
    let least = all.iter().map(|one| load(one).weight).min().unwrap_or(1);
    let rank = |one: &T| {
        let load = load(one);
        let turns = load.turns.load(Ordering::Relaxed);
        let busy = match balance {
            Balance::LeastBusy => (load.busy() as u64).saturating_mul(least) / load.weight,
            Balance::Weighted => 0,
        };
        (busy, turns)
    };
    // Read once, since they change meanwhile.
    all.sort_by_cached_key(rank);
}

/// The place among weights that belongs to `talk`, always the same.
#[must_use]
pub fn home_of(talk: u64, weights: impl Iterator<Item = u64> + Clone) -> usize {
    let sum: u64 = weights.clone().sum();
    let mut left = talk % sum.max(1);
    let taken = weights.take_while(|weight| left.checked_sub(*weight).map(|rest| left = rest).is_some());
    taken.count()
}

impl Drop for Busy {
    fn drop(&mut self) {
        self.0.busy.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn first(loads: &[Arc<Load>], balance: Balance) -> usize {
        let mut order: Vec<(usize, Arc<Load>)> = loads.iter().cloned().enumerate().collect();
        sort(&mut order, |(_, load)| load, balance);
        order[0].0
    }

    fn check(weights: &[u32], balance: Balance, rounds: usize) -> Vec<usize> {
        let loads: Vec<Arc<Load>> = weights.iter().map(|weight| Arc::new(Load::new(*weight))).collect();
        let mut counts = vec![0; weights.len()];
        let mut held = Vec::new();
        for _ in 0..rounds {
            let at = first(&loads, balance);
            counts[at] += 1;
            held.push(loads[at].begin());
        }
        drop(held);
        assert!(loads.iter().all(|load| load.busy() == 0));
        counts
    }

    #[test]
    fn shares_are_those_of_the_weights() {
        assert_eq!(check(&[1, 1], Balance::Weighted, 10), [5, 5]);
        assert_eq!(check(&[3, 1], Balance::Weighted, 400), [300, 100]);
        assert_eq!(check(&[3, 1], Balance::LeastBusy, 400), [300, 100]);
    }

    /// How often each is asked of 1,200 times, with so many requests under way, of which the oldest ends first.
    fn check_at_work(weights: &[u32], under_way: usize, expect: &[usize]) {
        let loads: Vec<Arc<Load>> = weights.iter().map(|weight| Arc::new(Load::new(*weight))).collect();
        let (mut counts, mut held) = (vec![0; weights.len()], std::collections::VecDeque::new());
        for _ in 0..1_200 {
            let at = first(&loads, Balance::LeastBusy);
            counts[at] += 1;
            held.push_back(loads[at].begin());
            if held.len() >= under_way {
                held.pop_front();
            }
        }
        assert_eq!(counts, expect, "{weights:?}, {under_way} under way");
    }

    #[test]
    fn weights_hold_however_little_there_is_to_do() {
        for under_way in [1, 2, 3, 8, 40] {
            check_at_work(&[1, 1], under_way, &[600, 600]);
            check_at_work(&[1, 3], under_way, &[300, 900]);
            check_at_work(&[20, 10], under_way, &[800, 400]);
            check_at_work(&[1, 2, 3], under_way, &[200, 400, 600]);
        }
    }

    #[test]
    fn one_that_is_slow_gets_less_than_its_share() {
        let loads = [100, 100].map(|weight| Arc::new(Load::new(weight)));
        let _slow: Vec<Busy> = (0..2).map(|_| loads[0].begin()).collect();
        let fast = |_| first(&loads, Balance::LeastBusy) == 1;
        assert!((0..20).all(fast));
        let loads = [1, 3].map(|weight| Arc::new(Load::new(weight)));
        let _slow = loads[0].begin();
        let held: Vec<Busy> = (0..3)
            .map(|_| {
                assert_eq!(first(&loads, Balance::LeastBusy), 1);
                loads[1].begin()
            })
            .collect();
        assert_eq!(held.len(), 3);
    }

    #[test]
    fn the_least_busy_is_asked_and_whoever_is_back_gets_no_burst() {
        let loads = [1, 1].map(|weight| Arc::new(Load::new(weight)));
        let _busy: Vec<Busy> = (0..3).map(|_| loads[0].begin()).collect();
        assert_eq!(first(&loads, Balance::LeastBusy), 1);
        (0..1_000).for_each(|_| drop(loads[0].begin()));
        let turns: Vec<usize> = (0..6)
            .map(|_| {
                let at = first(&loads, Balance::Weighted);
                drop(loads[at].begin());
                at
            })
            .collect();
        assert!(turns[..3].contains(&1) && turns[3..].contains(&0), "{turns:?}");
    }

    #[test]
    fn a_conversation_has_one_home() {
        let weights = [2, 1, 1];
        let homes: Vec<usize> = (0..8).map(|talk| home_of(talk, weights.into_iter())).collect();
        assert_eq!(homes, [0, 0, 1, 2, 0, 0, 1, 2]);
    }
}
