//! [`Flights`]: identical requests at the same time share one call of the upstream.
//!
//! The first leads: its errand asks the upstream and puts what comes into one buffer, from which all read, the leader among
//! them. While the leader is alone it runs its errand itself; the first who follows gives the errand a task of its own. So
//! nobody waits for another, and whoever leaves hurts nobody; when all have left, the errand is ended.
//!
//! Invariant: a buffer holds at most the limit and one piece. Beyond it nobody boards any more; who falls behind is cut, but
//! for the leader, who pays: for it the upstream waits.
//! Invariant: a lead that is dropped ends its flight, so that nobody waits for ever.

use std::collections::{HashMap, VecDeque};
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::task::{Context, Poll, Waker};

use bytes::Bytes;
use http::{HeaderMap, StatusCode};
use tokio::task::AbortHandle;

use super::Key;
use super::key::KeyHashes;
use crate::domain::money::Usd;
use crate::domain::refusal::Refusal;

/// Parts of the table of flights, each with a lock of its own.
const SHARDS: usize = 16;

/// The leader's seat.
const LEADER: usize = 0;

/// All flights.
#[derive(Debug, Default)]
pub struct Flights {
    shards: [Mutex<HashMap<Key, Arc<Flight>, KeyHashes>>; SHARDS],
}

/// Where a request finds itself.
#[derive(Debug)]
pub enum Boarding {
    /// It is the first, and asks the upstream.
    Lead(Lead, Seat),
    /// Somebody asks already.
    Follow(Seat),
}

/// The head of an answer.
#[derive(Clone, Debug)]
pub struct Head {
    /// The upstream's status.
    pub status: StatusCode,
    /// Its headers, with those of the leader's request.
    pub headers: HeaderMap,
    /// What is saved by the answer, where it is an old one that nobody paid for.
    pub stale: Option<Usd>,
}

/// What came of a flight before there was a head.
#[derive(Clone, Debug)]
pub enum Start {
    /// There is an answer.
    Head(Arc<Head>),
    /// The leader was refused by what concerns it alone: somebody else has to lead.
    HandedOn(Refusal),
    /// There will be no answer, for anybody.
    Failed(Refusal),
}

/// What comes next for a seat.
#[derive(Debug)]
pub enum Next {
    /// A piece of the body.
    Piece(Bytes),
    /// The last piece.
    Last(Bytes),
    /// Nothing more.
    Over,
    /// The answer was broken off.
    Broken,
    /// The seat has fallen too far behind.
    Cut,
}

/// What brings the answer.
pub type Work = Pin<Box<dyn Future<Output = ()> + Send>>;

/// What the answer cost the leader, once it is known that it is whole and good.
pub type Paid = Arc<OnceLock<Option<Usd>>>;

/// The right and the duty to bring the answer.
#[derive(Debug)]
pub struct Lead {
    flights: Arc<Flights>,
    flight: Arc<Flight>,
}

/// A place from which the answer is read.
#[derive(Debug)]
pub struct Seat {
    flights: Arc<Flights>,
    flight: Arc<Flight>,
    index: usize,
}

#[derive(Debug)]
struct Flight {
    key: Key,
    bytes_max: usize,
    paid: Paid,
    aboard: Mutex<Aboard>,
    state: Mutex<State>,
}

/// The errand, as long as the leader runs it. Locked before the state, and never while a shard is locked or the errand runs.
#[derive(Default)]
struct Aboard {
    errand: Option<Work>,
    /// The leader, to be told that somebody else runs it.
    leader: Option<Waker>,
    /// Somebody follows, so that the errand gets a task.
    is_followed: bool,
}

#[derive(Debug, Default)]
struct State {
    start: Option<Start>,
    pieces: VecDeque<Bytes>,
    /// How many pieces have been given up in front of those.
    gone: usize,
    bytes: usize,
    ended: Option<Ended>,
    seats: Vec<Place>,
    taken: usize,
    /// Waits for the leader to read on.
    pump: Option<Waker>,
    task: Option<AbortHandle>,
    /// Nobody can board any more.
    is_closed: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Ended {
    Over,
    Broken,
}

#[derive(Debug)]
struct Place {
    at: usize,
    waker: Option<Waker>,
    is_taken: bool,
}

impl Flights {
    /// Takes a seat for the request called `key`. `bytes_max` bounds the buffer of a new flight.
    #[must_use]
    pub fn board(self: &Arc<Self>, key: Key, bytes_max: usize) -> Boarding {
        let mut shard = self.shard(&key);
        let known = shard.get(&key).and_then(|flight| Some((flight.clone(), flight.state().seat()?)));
        if let Some((flight, index)) = known {
            drop(shard);
            flight.hand_over();
            return Boarding::Follow(Seat { flights: self.clone(), flight, index });
        }
        let (aboard, state) = (Mutex::default(), Mutex::default());
        let flight = Arc::new(Flight { key, bytes_max, paid: Paid::default(), aboard, state });
        let index = flight.state().seat().unwrap_or(LEADER);
        shard.insert(key, flight.clone());
        let seat = Seat { flights: self.clone(), flight: flight.clone(), index };
        Boarding::Lead(Lead { flights: self.clone(), flight }, seat)
    }

    /// How many are under way.
    #[must_use]
    pub fn count(&self) -> usize {
        self.shards.iter().map(|shard| lock(shard).len()).sum()
    }

    fn shard(&self, key: &Key) -> MutexGuard<'_, HashMap<Key, Arc<Flight>, KeyHashes>> {
        lock(&self.shards[key.first() % SHARDS])
    }

    /// Lets nobody else board.
    fn close(&self, flight: &Arc<Flight>) {
        let mut shard = self.shard(&flight.key);
        if shard.get(&flight.key).is_some_and(|known| Arc::ptr_eq(known, flight)) {
            shard.remove(&flight.key);
        }
    }
}

impl Lead {
    /// Where the leader's cost is told.
    #[must_use]
    pub fn paid(&self) -> Paid {
        self.flight.paid.clone()
    }

    /// There is an answer, or there will be none.
    pub fn start(&self, start: Start) {
        let is_closed = !matches!(start, Start::Head(_));
        let wakers = {
            let mut state = self.flight.state();
            state.start = Some(start);
            state.is_closed |= is_closed;
            state.wakers()
        };
        if is_closed {
            self.flights.close(&self.flight);
        }
        wakers.into_iter().for_each(Waker::wake);
    }

    /// Ready when there is room for another piece.
    pub fn poll_room(&self, context: &Context<'_>) -> Poll<()> {
        let mut state = self.flight.state();
        let all = state.gone + state.pieces.len();
        let waits = state.bytes > self.flight.bytes_max
            && state.seats.get(LEADER).is_some_and(|leader| leader.is_taken && leader.at < all);
        if !waits {
            return Poll::Ready(());
        }
        state.pump = Some(context.waker().clone());
        Poll::Pending
    }

    /// A piece has come; `is_last` where it is known that nothing follows.
    pub fn push(&self, piece: Bytes, is_last: bool) {
        let mut closes = is_last;
        let wakers = {
            let mut state = self.flight.state();
            state.bytes += piece.len();
            state.pieces.push_back(piece);
            if is_last {
                state.ended = Some(Ended::Over);
            }
            state.trim(self.flight.bytes_max);
            closes |= state.bytes > self.flight.bytes_max || state.gone > 0;
            state.is_closed |= closes;
            state.wakers()
        };
        if closes {
            self.flights.close(&self.flight);
        }
        wakers.into_iter().for_each(Waker::wake);
    }

    /// Nothing more comes.
    pub fn end(self, is_whole: bool) {
        self.finish(if is_whole { Ended::Over } else { Ended::Broken });
    }

    fn finish(&self, ended: Ended) {
        let wakers = {
            let mut state = self.flight.state();
            state.ended.get_or_insert(ended);
            state.is_closed = true;
            state.wakers()
        };
        self.flights.close(&self.flight);
        wakers.into_iter().for_each(Waker::wake);
    }
}

impl Drop for Lead {
    fn drop(&mut self) {
        self.finish(Ended::Broken);
    }
}

impl Seat {
    /// What the leader paid, once it is known that the answer is whole and good.
    #[must_use]
    pub fn paid(&self) -> Option<Option<Usd>> {
        self.flight.paid.get().copied()
    }

    /// Brings the answer by `errand`: the leader runs it, unless others follow already.
    pub fn run(&self, errand: Work) {
        let mut aboard = lock(&self.flight.aboard);
        if aboard.is_followed {
            drop(aboard);
            self.flight.give_task(errand);
        } else {
            aboard.errand = Some(errand);
        }
    }

    /// The whole answer with this head, if it is there at once and the leader is alone with it; else the head again.
    ///
    /// # Errors
    /// More of the answer may follow, or others follow.
    pub fn whole(&self, head: Arc<Head>) -> Result<(Head, Bytes), Arc<Head>> {
        let mut state = self.flight.state();
        let is_alone = state.is_closed && state.taken == 1 && state.ended == Some(Ended::Over);
        if !is_alone || state.gone > 0 || state.pieces.len() > 1 {
            return Err(head);
        }
        state.start = None;
        Ok((Arc::unwrap_or_clone(head), state.pieces.pop_front().unwrap_or_default()))
    }

    /// What came of the call; `None` where the errand is gone.
    pub async fn start(&mut self) -> Option<Start> {
        std::future::poll_fn(|context| {
            let is_mine = self.run_on(context);
            let mut state = self.flight.state();
            if let Some(start) = &state.start {
                return Poll::Ready(Some(start.clone()));
            }
            if state.ended.is_some() {
                return Poll::Ready(None);
            }
            state.wait(self.index, is_mine, context);
            Poll::Pending
        })
        .await
    }

    /// What comes next.
    pub fn poll_next(&mut self, context: &mut Context<'_>) -> Poll<Next> {
        let is_mine = self.run_on(context);
        let mut state = self.flight.state();
        let at = state.seats[self.index].at;
        let Some(index) = at.checked_sub(state.gone) else { return Poll::Ready(Next::Cut) };
        let Some(piece) = state.pieces.get(index).cloned() else {
            return match state.ended {
                Some(Ended::Over) => Poll::Ready(Next::Over),
                Some(Ended::Broken) => Poll::Ready(Next::Broken),
                None => {
                    state.wait(self.index, is_mine, context);
                    Poll::Pending
                }
            };
        };
        let is_last = index + 1 == state.pieces.len() && state.ended == Some(Ended::Over);
        state.seats[self.index].at += 1;
        let pump = self.read_on(&mut state);
        drop(state);
        pump.into_iter().for_each(Waker::wake);
        Poll::Ready(if is_last { Next::Last(piece) } else { Next::Piece(piece) })
    }

    /// Whether everything has been read, and it was whole.
    #[must_use]
    pub fn has_read_all(&self) -> bool {
        let state = self.flight.state();
        state.ended == Some(Ended::Over) && state.seats[self.index].at == state.gone + state.pieces.len()
    }

    /// Runs the errand, if it is the leader's to run; says whether it goes on being so.
    fn run_on(&self, context: &mut Context<'_>) -> bool {
        if self.index != LEADER {
            return false;
        }
        let Some(mut errand) = lock(&self.flight.aboard).errand.take() else { return false };
        if errand.as_mut().poll(context).is_ready() {
            return false;
        }
        let mut aboard = lock(&self.flight.aboard);
        if aboard.is_followed {
            drop(aboard);
            self.flight.give_task(errand);
            return false;
        }
        aboard.errand = Some(errand);
        if !aboard.leader.as_ref().is_some_and(|waker| waker.will_wake(context.waker())) {
            aboard.leader = Some(context.waker().clone());
        }
        true
    }

    fn read_on(&self, state: &mut State) -> Option<Waker> {
        if self.index != LEADER {
            return None;
        }
        state.trim(self.flight.bytes_max);
        state.pump.take()
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        let mut state = self.flight.state();
        let place = &mut state.seats[self.index];
        (place.is_taken, place.waker) = (false, None);
        state.taken -= 1;
        let pump = self.read_on(&mut state);
        let is_empty = state.taken == 0;
        state.is_closed |= is_empty;
        // A task that has brought everything ends by itself.
        let task = state.task.take_if(|_| is_empty);
        drop(state);
        pump.into_iter().for_each(Waker::wake);
        if is_empty {
            self.flights.close(&self.flight);
            let errand = lock(&self.flight.aboard).errand.take();
            drop(errand);
        }
        task.into_iter().for_each(|task| task.abort());
    }
}

impl Flight {
    fn state(&self) -> MutexGuard<'_, State> {
        lock(&self.state)
    }

    /// Somebody follows: the errand must not wait for the leader's client any more.
    fn hand_over(&self) {
        let (errand, leader) = {
            let mut aboard = lock(&self.aboard);
            aboard.is_followed = true;
            (aboard.errand.take(), aboard.leader.take())
        };
        if let Some(errand) = errand {
            self.give_task(errand);
            leader.into_iter().for_each(Waker::wake);
        }
    }

    /// Gives the errand a task, which is ended when nobody wants the answer any more.
    fn give_task(&self, errand: Work) {
        let task = tokio::spawn(errand).abort_handle();
        let mut state = self.state();
        if state.taken == 0 {
            task.abort();
        }
        state.task = Some(task);
    }
}

impl fmt::Debug for Aboard {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(if self.errand.is_some() { "Aboard" } else { "Aboard, none" })
    }
}

impl State {
    /// A new seat, unless nobody can board any more.
    fn seat(&mut self) -> Option<usize> {
        if self.is_closed {
            return None;
        }
        self.seats.push(Place { at: 0, waker: None, is_taken: true });
        self.taken += 1;
        Some(self.seats.len() - 1)
    }

    /// Gives up what is too much, but nothing that the leader has not read.
    fn trim(&mut self, bytes_max: usize) {
        while self.bytes > bytes_max {
            let is_kept = self.seats.get(LEADER).is_some_and(|leader| leader.is_taken && leader.at <= self.gone);
            if is_kept || self.pieces.len() <= 1 {
                return;
            }
            let Some(piece) = self.pieces.pop_front() else { return };
            self.bytes -= piece.len();
            self.gone += 1;
        }
    }

    /// Has a seat woken when something has come, unless its own running of the errand will bring it.
    fn wait(&mut self, index: usize, is_mine: bool, context: &Context<'_>) {
        self.seats[index].waker = (!is_mine).then(|| context.waker().clone());
    }

    fn wakers(&mut self) -> Vec<Waker> {
        self.seats.iter_mut().filter_map(|seat| seat.waker.take()).collect()
    }
}

/// A poisoned lock holds data that is whole after each step.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cache::{KeyMaker, Namespace};
    use crate::domain::refusal::Cause;

    fn key() -> Key {
        KeyMaker::new(&Namespace::Shared).finish()
    }

    fn lead(flights: &Arc<Flights>, bytes_max: usize) -> (Lead, Seat) {
        let Boarding::Lead(lead, seat) = flights.board(key(), bytes_max) else { panic!("somebody leads already") };
        (lead, seat)
    }

    fn follow(flights: &Arc<Flights>) -> Seat {
        let Boarding::Follow(seat) = flights.board(key(), 0) else { panic!("nobody leads") };
        seat
    }

    fn next(seat: &mut Seat) -> Option<Next> {
        match seat.poll_next(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(next) => Some(next),
            Poll::Pending => None,
        }
    }

    fn has_room(lead: &Lead) -> bool {
        lead.poll_room(&Context::from_waker(Waker::noop())).is_ready()
    }

    fn piece(bytes: usize) -> Bytes {
        vec![b'x'; bytes].into()
    }

    #[test]
    fn all_read_the_same_and_the_late_from_the_start() {
        let flights = Arc::new(Flights::default());
        let (bring, mut leader) = lead(&flights, 100);
        let mut early = follow(&flights);
        assert!(next(&mut early).is_none());
        bring.push(piece(10), false);
        let mut late = follow(&flights);
        bring.push(piece(20), true);
        assert_eq!(flights.count(), 0);
        for seat in [&mut leader, &mut early, &mut late] {
            assert!(matches!(next(seat), Some(Next::Piece(piece)) if piece.len() == 10) && !seat.has_read_all());
            assert!(matches!(next(seat), Some(Next::Last(piece)) if piece.len() == 20) && seat.has_read_all());
            assert!(matches!(next(seat), Some(Next::Over)));
        }
        bring.end(true);
    }

    #[test]
    fn who_falls_behind_is_cut_and_the_leader_is_waited_for() {
        let flights = Arc::new(Flights::default());
        let (bring, mut leader) = lead(&flights, 100);
        let mut slow = follow(&flights);
        for _ in 0..3 {
            bring.push(piece(50), false);
        }
        assert!(!has_room(&bring) && flights.count() == 0, "nobody boards a flight whose start may be gone soon");
        assert!(matches!(next(&mut leader), Some(Next::Piece(_))) && has_room(&bring));
        for _ in 0..1_000 {
            while next(&mut leader).is_some() {}
            assert!(has_room(&bring));
            bring.push(piece(50), false);
            assert!(bring.flight.state().bytes <= 150);
        }
        assert!(matches!(next(&mut slow), Some(Next::Cut)));
        drop(leader);
        for _ in 0..100 {
            bring.push(piece(50), false);
            assert!(has_room(&bring) && bring.flight.state().bytes <= 100, "without a leader nobody is waited for");
        }
        // A piece beyond the limit passes alone.
        bring.push(piece(500), false);
        assert_eq!(bring.flight.state().pieces.len(), 1);
    }

    #[tokio::test]
    async fn a_lead_is_handed_on_and_a_failure_is_shared() {
        let flights = Arc::new(Flights::default());
        let (first, mut leader) = lead(&flights, 100);
        let mut other = follow(&flights);
        first.start(Start::HandedOn(Refusal::new(Cause::CapExceeded, "x")));
        assert!(matches!(leader.start().await, Some(Start::HandedOn(_))));
        assert!(matches!(other.start().await, Some(Start::HandedOn(_))));
        let (second, _seat) = lead(&flights, 100);
        let mut waiting = follow(&flights);
        drop(first);
        assert_eq!(flights.count(), 1, "the end of one flight is not that of the next");
        second.start(Start::Failed(Refusal::new(Cause::UpstreamTimeout, "x")));
        assert!(matches!(waiting.start().await, Some(Start::Failed(_))));
        let (third, _seat) = lead(&flights, 100);
        let mut waiting = follow(&flights);
        drop(third);
        assert!(waiting.start().await.is_none());
        assert!(matches!(next(&mut waiting), Some(Next::Broken)));
    }

    /// An errand that never comes to an end, and tells when it is dropped.
    fn endless() -> (Work, Arc<()>) {
        let alive = Arc::new(());
        let held = alive.clone();
        let errand = async move {
            std::future::pending::<()>().await;
            drop(held);
        };
        (Box::pin(errand), alive)
    }

    #[tokio::test]
    async fn an_errand_that_nobody_waits_for_is_ended() {
        let flights = Arc::new(Flights::default());
        let (_bring, leader) = lead(&flights, 100);
        let (errand, alive) = endless();
        leader.run(errand);
        let follower = follow(&flights);
        drop(leader);
        tokio::task::yield_now().await;
        assert_eq!(Arc::strong_count(&alive), 2, "somebody waits still");
        drop(follower);
        tokio::task::yield_now().await;
        assert_eq!((Arc::strong_count(&alive), flights.count()), (1, 0));
    }

    #[tokio::test]
    async fn a_leader_that_is_alone_runs_its_errand_and_ends_it_by_leaving() {
        let flights = Arc::new(Flights::default());
        let (bring, mut leader) = lead(&flights, 100);
        leader.run(Box::pin(async move {
            let head = Head { status: StatusCode::OK, headers: HeaderMap::new(), stale: None };
            bring.start(Start::Head(Arc::new(head)));
            bring.push(piece(10), true);
            bring.end(true);
        }));
        let Some(Start::Head(head)) = leader.start().await else { panic!("there is an answer") };
        assert!(matches!(leader.whole(head), Ok((head, body)) if head.status == StatusCode::OK && body.len() == 10));

        let (_bring, leader) = lead(&flights, 100);
        let (errand, alive) = endless();
        leader.run(errand);
        drop(leader);
        assert_eq!((Arc::strong_count(&alive), flights.count()), (1, 0));
    }

    #[tokio::test]
    async fn whoever_follows_needs_no_leader_that_reads() {
        let flights = Arc::new(Flights::default());
        let (bring, mut leader) = lead(&flights, 100);
        let (go, mut gone) = tokio::sync::mpsc::channel::<()>(1);
        leader.run(Box::pin(async move {
            bring.start(Start::Head(Arc::new(Head { status: StatusCode::OK, headers: HeaderMap::new(), stale: None })));
            let _signal = gone.recv().await;
            bring.push(piece(10), false);
            bring.push(piece(20), true);
            bring.end(true);
        }));
        let Some(Start::Head(head)) = leader.start().await else { panic!("there is an answer") };
        assert!(leader.whole(head).is_err(), "more is to come");
        assert!(next(&mut leader).is_none());
        let mut follower = follow(&flights);
        go.send(()).await.unwrap();
        let mut lengths = Vec::new();
        while let Next::Piece(piece) | Next::Last(piece) =
            std::future::poll_fn(|context| follower.poll_next(context)).await
        {
            lengths.push(piece.len());
        }
        assert_eq!(lengths, [10, 20], "though the leader was not asked for anything");
        assert!(matches!(next(&mut leader), Some(Next::Piece(piece)) if piece.len() == 10));
    }
}
