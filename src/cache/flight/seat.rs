//! [`Seat`]: what those who wait for an answer read of it.

use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use bytes::Bytes;

use super::{Ended, Head, LEADER, Next, Ran, Seat, Start, State, Waited, Work};
use crate::domain::money::Usd;

impl Seat {
    /// What the leader paid, once it is known that the answer is whole and good.
    #[must_use]
    pub fn paid(&self) -> Option<Option<Usd>> {
        self.flight.paid.get().copied()
    }

    /// Brings the answer by `errand`: the leader runs it, unless others follow already.
    pub fn run(&self, errand: Work) {
        if let Some(errand) = self.flight.aboard.put(errand) {
            self.flight.give_task(errand);
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

    /// Whether the buffer holds so many bytes.
    #[must_use]
    pub fn holds(&self, bytes: u64) -> bool {
        bytes <= self.flight.bytes_max as u64
    }

    /// Waits until all of the answer is there, or it is known that it never will be. For one who follows.
    pub async fn wait(&self) -> Waited {
        std::future::poll_fn(|context| {
            let mut state = self.flight.state();
            if state.gone > 0 || state.bytes > self.flight.bytes_max {
                return Poll::Ready(Waited::TooLong);
            }
            match state.ended {
                Some(Ended::Over) => Poll::Ready(Waited::Whole),
                Some(Ended::Broken) => Poll::Ready(Waited::Broken),
                None => {
                    state.wait(self.index, false, context);
                    Poll::Pending
                }
            }
        })
        .await
    }

    /// Runs the errand, if it is the leader's to run; says whether it goes on being so.
    fn run_on(&self, context: &mut Context<'_>) -> bool {
        if self.index != LEADER {
            return false;
        }
        match self.flight.aboard.run(context) {
            Ran::Over => false,
            Ran::GoesOn => true,
            Ran::Followed(errand) => {
                self.flight.give_task(errand);
                false
            }
        }
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
            self.flight.aboard.clear();
        }
        task.into_iter().for_each(|task| task.abort());
    }
}
