//! [`Flights`]: identical requests at the same time share one call of the upstream.
//!
//! The first leads: its errand asks the upstream and puts what comes into one buffer, from which all read, the leader among
//! them. While the leader is alone it runs its errand itself; the first who follows gives the errand a task of its own. So
//! nobody waits for another, and whoever leaves hurts nobody; when all have left, the errand is ended.
//!
//! Invariant: a buffer holds at most the limit and one piece. Beyond it nobody boards any more; who falls behind is cut, but
//! for the leader, who pays: for it the upstream waits, and only so long as nobody else is kept waiting by that.
//! Invariant: a lead that is dropped ends its flight, so that nobody waits for ever.

mod aboard;
mod seat;

use std::borrow::Cow;
use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::task::{Context, Poll, Waker};

use bytes::Bytes;
use http::{HeaderMap, StatusCode};
use tokio::task::AbortHandle;

pub use aboard::Work;
use aboard::{Aboard, Ran};

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
    /// Who has answered.
    pub by: By,
}

/// Who has answered, and why that one was asked.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct By {
    /// The upstream.
    pub upstream: Arc<str>,
    /// The model that was sent.
    pub model: Arc<str>,
    /// The rule that chose it.
    pub reason: Cow<'static, str>,
}

/// How an answer ended that is waited for to its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Waited {
    /// All of it is there.
    Whole,
    /// It was broken off.
    Broken,
    /// It is more than the buffer holds.
    TooLong,
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
    aboard: Aboard,
    state: Mutex<State>,
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
    /// The leader has kept others waiting, and is one of them from now on.
    is_equal: bool,
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
        let (paid, aboard, state) = (Paid::default(), Aboard::default(), Mutex::default());
        let flight = Arc::new(Flight { key, bytes_max, paid, aboard, state });
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
        let all = state.all();
        if state.bytes <= self.flight.bytes_max || !state.waits_for_leader(all) {
            return Poll::Ready(());
        }
        state.pump = Some(context.waker().clone());
        Poll::Pending
    }

    /// Waits for the leader no longer, if others wait for it.
    pub fn overtake(&self) {
        let mut state = self.flight.state();
        let all = state.all();
        state.is_equal |= state.seats.iter().skip(1).any(|seat| seat.is_taken && seat.at == all);
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

impl Flight {
    fn state(&self) -> MutexGuard<'_, State> {
        lock(&self.state)
    }

    /// Somebody follows: the errand must not wait for the leader's client any more.
    fn hand_over(&self) {
        if let Some(errand) = self.aboard.hand_over() {
            self.give_task(errand);
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

    /// All pieces that have come.
    fn all(&self) -> usize {
        self.gone + self.pieces.len()
    }

    /// Whether the leader has yet to read what came before this piece, and has a right to be waited for.
    fn waits_for_leader(&self, piece: usize) -> bool {
        !self.is_equal && self.seats.get(LEADER).is_some_and(|leader| leader.is_taken && leader.at < piece)
    }

    /// Gives up what is too much, but nothing that the leader has not read.
    fn trim(&mut self, bytes_max: usize) {
        while self.bytes > bytes_max {
            if self.waits_for_leader(self.gone + 1) || self.pieces.len() <= 1 {
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
mod tests;
