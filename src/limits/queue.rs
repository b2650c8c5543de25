//! [`Queue`]: places for so many requests at once, and a bounded line in front of them that is fair between teams.
//!
//! A place that becomes free goes to the team whose turn it is, whichever way many of others wait. Where the line is full,
//! a team that has fewer in it gets a place of the one that has the most. As long as there is room and nobody waits, a place
//! is one atomic step and no lock.
//!
//! Invariant: a place is given back exactly once, by dropping it, also when whoever it was for has left meanwhile.

use std::collections::{HashMap, VecDeque};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::oneshot;

/// Places with a line in front of them.
#[derive(Clone, Debug)]
pub struct Queue(Arc<Inner>);

/// A place; given back when dropped.
#[derive(Debug)]
pub struct Place(Option<Arc<Inner>>);

/// A place in the line; left when dropped.
#[derive(Debug)]
pub struct Waiting {
    inner: Arc<Inner>,
    team: Arc<str>,
    number: u64,
    turn: oneshot::Receiver<Place>,
}

/// The line is full.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Full;

#[derive(Debug)]
struct Inner {
    used: AtomicUsize,
    max: AtomicUsize,
    /// Those in the line, beside the lock so that whoever leaves a place takes none.
    waiting: AtomicUsize,
    numbers: AtomicU64,
    line: Mutex<Line>,
}

#[derive(Debug, Default)]
struct Line {
    by_team: HashMap<Arc<str>, VecDeque<(u64, oneshot::Sender<Place>)>>,
    /// Whose turn it is.
    turns: VecDeque<Arc<str>>,
}

impl Queue {
    /// `max` places.
    #[must_use]
    pub fn new(max: usize) -> Self {
        Self(Arc::new(Inner {
            used: AtomicUsize::new(0),
            max: AtomicUsize::new(max),
            waiting: AtomicUsize::new(0),
            numbers: AtomicU64::new(0),
            line: Mutex::default(),
        }))
    }

    /// From now on there are `max` places; those in use stay so.
    pub fn resize(&self, max: usize) {
        self.0.max.store(max, Ordering::SeqCst);
        self.0.serve(&mut self.0.lock());
    }

    /// Takes a place, unless all are in use or somebody waits.
    #[must_use]
    pub fn take(&self) -> Option<Place> {
        (self.0.waiting.load(Ordering::SeqCst) == 0 && self.0.occupy()).then(|| Place(Some(self.0.clone())))
    }

    /// Gets into the line, behind those of the same team, if fewer than `line_max` wait; else in the place of the latest of the
    /// team that has the most, if that leaves it no fewer than this one has then.
    ///
    /// # Errors
    /// The line is full, and no team has more than its share.
    pub fn line_up(&self, team: &Arc<str>, line_max: usize) -> Result<Waiting, Full> {
        let inner = &self.0;
        let mut line = inner.lock();
        if inner.waiting.load(Ordering::SeqCst) >= line_max {
            line.make_room(team)?;
            inner.waiting.fetch_sub(1, Ordering::SeqCst);
        }
        let (sender, turn) = oneshot::channel();
        let number = inner.numbers.fetch_add(1, Ordering::Relaxed);
        let own = line.by_team.entry(team.clone()).or_default();
        let is_first = own.is_empty();
        own.push_back((number, sender));
        if is_first {
            line.turns.push_back(team.clone());
        }
        inner.waiting.fetch_add(1, Ordering::SeqCst);
        // A place may have become free before anybody was seen to wait.
        inner.serve(&mut line);
        Ok(Waiting { inner: inner.clone(), team: team.clone(), number, turn })
    }

    /// Places in use.
    #[must_use]
    pub fn used(&self) -> usize {
        self.0.used.load(Ordering::SeqCst)
    }

    /// Those in the line.
    #[must_use]
    pub fn waiting(&self) -> usize {
        self.0.waiting.load(Ordering::SeqCst)
    }
}

impl Waiting {
    /// Waits for a place; nothing if another team needed this one's.
    pub async fn turn(&mut self) -> Option<Place> {
        (&mut self.turn).await.ok()
    }
}

impl Inner {
    fn occupy(&self) -> bool {
        let before = self.used.fetch_add(1, Ordering::SeqCst);
        if before >= self.max.load(Ordering::SeqCst) {
            self.used.fetch_sub(1, Ordering::SeqCst);
            return false;
        }
        true
    }

    /// Gives free places to those whose turn it is.
    fn serve(self: &Arc<Self>, line: &mut Line) {
        while !line.turns.is_empty() && self.occupy() {
            let Some(sender) = line.next() else {
                self.used.fetch_sub(1, Ordering::SeqCst);
                return;
            };
            self.waiting.fetch_sub(1, Ordering::SeqCst);
            if let Err(mut unwanted) = sender.send(Place(Some(self.clone()))) {
                // Dropped, it would ask for the lock that is held here.
                unwanted.0 = None;
                self.used.fetch_sub(1, Ordering::SeqCst);
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, Line> {
        // What is poisoned is whole after each step.
        self.line.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Line {
    /// Sends away the latest of the team that has the most, if it has at least two more than `team`.
    fn make_room(&mut self, team: &Arc<str>) -> Result<(), Full> {
        let own = self.by_team.get(team).map_or(0, VecDeque::len);
        // Of several that have as many, always the same: the order of the map is none.
        let most = self.by_team.iter_mut().max_by(|a, b| (a.1.len(), a.0).cmp(&(b.1.len(), b.0)));
        let (_, most) = most.filter(|(_, most)| most.len() >= own + 2).ok_or(Full)?;
        most.pop_back().map(drop).ok_or(Full)
    }

    /// The next of the team whose turn it is; the team goes to the end.
    fn next(&mut self) -> Option<oneshot::Sender<Place>> {
        let team = self.turns.pop_front()?;
        let own = self.by_team.get_mut(&team)?;
        let (_, sender) = own.pop_front()?;
        if own.is_empty() {
            self.by_team.remove(&team);
        } else {
            self.turns.push_back(team);
        }
        Some(sender)
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        let mut line = self.inner.lock();
        let Some(own) = line.by_team.get_mut(&self.team) else { return };
        let before = own.len();
        own.retain(|(number, _)| *number != self.number);
        if own.len() < before {
            self.inner.waiting.fetch_sub(1, Ordering::SeqCst);
        }
        if own.is_empty() {
            line.by_team.remove(&self.team);
            line.turns.retain(|team| *team != self.team);
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let Some(inner) = self.0.take() else { return };
        inner.used.fetch_sub(1, Ordering::SeqCst);
        if inner.waiting.load(Ordering::SeqCst) > 0 {
            inner.serve(&mut inner.lock());
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn ready(waiting: &mut Waiting) -> Option<Place> {
        waiting.turn.try_recv().ok()
    }

    #[test]
    fn a_free_place_goes_to_the_team_whose_turn_it_is() {
        let queue = Queue::new(1);
        let mut place = queue.take();
        let teams: [Arc<str>; 3] = ["loud".into(), "quiet".into(), "late".into()];
        let line = [0, 0, 0, 0, 1, 1, 2];
        let mut waiting: Vec<_> =
            line.iter().map(|team| (*team, Some(queue.line_up(&teams[*team], 7).unwrap()))).collect();
        assert_eq!(queue.line_up(&teams[0], 7).map(drop), Err(Full));
        assert!(queue.take().is_none());
        let mut order = Vec::new();
        while order.len() < line.len() {
            drop(place.take());
            let next = waiting.iter_mut().find_map(|(team, slot)| Some((*team, ready(slot.as_mut()?)?)));
            let (team, given) = next.unwrap();
            (place, order) = (Some(given), [order, vec![team]].concat());
        }
        assert_eq!(order, [0, 1, 2, 0, 1, 0, 0]);
        drop((place, waiting));
        assert_eq!((queue.used(), queue.waiting()), (0, 0));
    }

    /// Teams of one letter that get into a line of six, and who waits then.
    fn check_shares(arrivals: &str, expect: &str) {
        let queue = Queue::new(0);
        let line_up = |team: char| Some((team, queue.line_up(&team.to_string().into(), 6).ok()?));
        let mut waiting: Vec<_> = arrivals.chars().filter_map(line_up).collect();
        assert_eq!(queue.waiting(), expect.len(), "{arrivals}");
        let closed = Err(oneshot::error::TryRecvError::Closed);
        let sent_away = |waiting: &mut Waiting| waiting.turn.try_recv().map(drop) == closed;
        waiting.retain_mut(|(_, waiting)| !sent_away(waiting));
        let left: String = waiting.iter().map(|(team, _)| *team).collect();
        assert_eq!(left, expect, "{arrivals}");
        drop(waiting);
        let line = queue.0.lock();
        assert!(queue.waiting() == 0 && line.by_team.is_empty() && line.turns.is_empty());
    }

    #[test]
    fn a_full_line_is_shared_between_teams() {
        check_shares("aaaaaaaaa", "aaaaaa");
        check_shares("aaaaaab", "aaaaab");
        // The latest of the loud one gives way until both have as many, and takes nothing back.
        check_shares("aaaaaabbbbaaab", "aaabbb");
        check_shares("aaaaaabcbcbc", "aabcbc");
        check_shares("abcdefg", "abcdef");
        check_shares("aabcdefg", "abcdef");
    }

    #[test]
    fn more_places_are_given_at_once() {
        let queue = Queue::new(0);
        let mut waiting: Vec<Waiting> = (0..3).map(|_| queue.line_up(&"t".into(), 9).unwrap()).collect();
        queue.resize(2);
        let got: Vec<bool> = waiting.iter_mut().map(|waiting| ready(waiting).is_some()).collect();
        // The first place was dropped at once, and went on to the third.
        assert_eq!(got, [true, true, true]);
    }

    proptest! {
        #[test]
        fn nothing_is_lost_whatever_happens(steps in proptest::collection::vec((0_u8..4, 0_usize..3, 0_usize..8), 1..200)) {
            let queue = Queue::new(2);
            let teams: [Arc<str>; 3] = ["a".into(), "b".into(), "c".into()];
            let (mut places, mut waiting) = (Vec::new(), Vec::new());
            for (step, team, at) in steps {
                match step {
                    0 => match queue.take() {
                        Some(place) => places.push(place),
                        None => waiting.extend(queue.line_up(&teams[team], 5)),
                    },
                    1 if at < places.len() => drop(places.swap_remove(at)),
                    2 if at < waiting.len() => drop(waiting.swap_remove(at)),
                    _ => waiting.retain_mut(|waiting: &mut Waiting| match ready(waiting) {
                        Some(place) => {
                            places.push(place);
                            false
                        }
                        None => true,
                    }),
                }
                prop_assert!(queue.used() <= 2 && queue.waiting() <= 5);
                // Nobody waits while there is room.
                prop_assert!(queue.waiting() == 0 || queue.used() == 2);
            }
            drop((places, waiting));
            prop_assert_eq!((queue.used(), queue.waiting()), (0, 0));
        }
    }
}
