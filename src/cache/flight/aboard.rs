//! [`Aboard`]: the errand of a flight, as long as the leader runs it.
//!
//! Its lock is never held while the errand runs, so that whoever follows waits for nothing.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Mutex, MutexGuard};
use std::task::{Context, Waker};

use super::lock;

/// What brings the answer.
pub type Work = Pin<Box<dyn Future<Output = ()> + Send>>;

/// The errand.
#[derive(Default)]
pub(super) struct Aboard(Mutex<Place>);

#[derive(Default)]
struct Place {
    /// Nowhere while it runs.
    errand: Option<Work>,
    /// The leader, to be told that somebody else runs it.
    leader: Option<Waker>,
    /// Somebody follows, so that the errand gets a task.
    is_followed: bool,
}

/// What came of running it.
pub(super) enum Ran {
    /// There is nothing to run any more.
    Over,
    /// The leader has to run it again when it is woken.
    GoesOn,
    /// Somebody follows since: it needs a task.
    Followed(Work),
}

impl Aboard {
    /// Takes the errand on; gives it back where somebody follows already, since it needs a task then.
    pub(super) fn put(&self, errand: Work) -> Option<Work> {
        let mut place = self.place();
        if place.is_followed {
            return Some(errand);
        }
        place.errand = Some(errand);
        None
    }

    /// Runs the errand for the leader, who is woken when it can go on.
    pub(super) fn run(&self, context: &mut Context<'_>) -> Ran {
        let Some(mut errand) = self.place().errand.take() else { return Ran::Over };
        if errand.as_mut().poll(context).is_ready() {
            return Ran::Over;
        }
        let mut place = self.place();
        if place.is_followed {
            return Ran::Followed(errand);
        }
        place.errand = Some(errand);
        if !place.leader.as_ref().is_some_and(|leader| leader.will_wake(context.waker())) {
            place.leader = Some(context.waker().clone());
        }
        Ran::GoesOn
    }

    /// Somebody follows: the errand, if the leader does not run it just now, and the leader is told.
    pub(super) fn hand_over(&self) -> Option<Work> {
        let (errand, leader) = {
            let mut place = self.place();
            place.is_followed = true;
            (place.errand.take(), place.leader.take())
        };
        leader.into_iter().for_each(Waker::wake);
        errand
    }

    /// Drops the errand.
    pub(super) fn clear(&self) {
        let errand = self.place().errand.take();
        drop(errand);
    }

    fn place(&self) -> MutexGuard<'_, Place> {
        lock(&self.0)
    }
}

impl fmt::Debug for Aboard {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("Aboard")
    }
}
