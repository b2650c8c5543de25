//! [`Play`]: the body of every answer, a script of acts: send this, wait, stop at a gate, close, reset, hang.
//!
//! Faults are nothing but changes of the script. Invariant: each act that sends is a write of its own, as providers do
//! it, and the bill knows what was generated before the bytes that show it leave.

use super::bill::Tab;
use super::gate::Gate;
use bytes::Bytes;
use hyper::body::{Body, Frame};
use std::convert::Infallible;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::sync::Notify;

/// One thing that happens in the body of an answer.
#[derive(Debug)]
pub(super) enum Act {
    /// Sends bytes; by then so many tokens are generated.
    Send(Bytes, u64),
    /// Sends bytes one at a time.
    Drip(Bytes, u64),
    /// Waits.
    Wait(Duration),
    /// Waits for the gate.
    Gate(Arc<Gate>),
    /// Ends the connection.
    Pull(Pull),
    /// Never goes on; what was generated until here is billed.
    Hang,
}

/// How a connection is ended against the rules.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Pull {
    /// Closed (FIN), whatever was promised.
    Close,
    /// Reset (RST).
    Reset,
}

/// What ends a connection from inside an answer.
#[derive(Debug, Default)]
pub(super) struct Plug {
    how: Mutex<Option<Pull>>,
    pulled: Notify,
}

/// A body that plays a script.
pub(super) struct Play {
    acts: std::vec::IntoIter<Act>,
    dripping: Option<(Bytes, u64)>,
    waiting: Option<Pin<Box<dyn Future<Output = ()> + Send>>>,
    /// Whether hyper gets a turn to write what it has before the next bytes.
    turn: bool,
    tab: Option<Tab>,
    plug: Arc<Plug>,
}

impl Plug {
    /// Ends the connection, soon.
    pub(super) fn pull(&self, how: Pull) {
        *self.how.lock().unwrap_or_else(PoisonError::into_inner) = Some(how);
        self.pulled.notify_one();
    }

    /// Waits until somebody pulls it.
    pub(super) async fn pulled(&self) -> Pull {
        loop {
            if let Some(how) = *self.how.lock().unwrap_or_else(PoisonError::into_inner) {
                return how;
            }
            self.pulled.notified().await;
        }
    }
}

impl Play {
    /// Plays `acts`; `tab` is billed at the end.
    pub(super) fn new(acts: Vec<Act>, tab: Option<Tab>, plug: Arc<Plug>) -> Self {
        Self { acts: acts.into_iter(), dripping: None, waiting: None, turn: false, tab, plug }
    }

    /// The next bytes to send, or what to do instead.
    fn next(&mut self) -> Next {
        if let Some((rest, output)) = &mut self.dripping
            && !rest.is_empty()
        {
            let byte = rest.split_to(1);
            let output = *output;
            return self.sent(byte, output);
        }
        match self.acts.next() {
            None => Next::End,
            Some(Act::Send(bytes, output)) => self.sent(bytes, output),
            Some(Act::Drip(bytes, output)) => {
                self.dripping = Some((bytes, output));
                Next::Again
            }
            Some(Act::Wait(time)) => self.wait(tokio::time::sleep(time)),
            Some(Act::Gate(gate)) => self.wait(async move { gate.pass().await }),
            Some(Act::Pull(how)) => {
                self.tab.iter_mut().for_each(Tab::abort);
                self.plug.pull(how);
                self.wait(std::future::pending())
            }
            Some(Act::Hang) => {
                self.tab.iter_mut().for_each(Tab::abort);
                self.wait(std::future::pending())
            }
        }
    }

    fn sent(&mut self, bytes: Bytes, output: u64) -> Next {
        let last = self.acts.len() == 0 && self.dripping.as_ref().is_none_or(|(rest, _)| rest.is_empty());
        if let Some(tab) = &mut self.tab {
            tab.generated(output);
            if last {
                tab.complete();
            }
        }
        self.turn = true;
        Next::Bytes(bytes)
    }

    fn wait(&mut self, what: impl Future<Output = ()> + Send + 'static) -> Next {
        self.waiting = Some(Box::pin(what));
        Next::Again
    }
}

enum Next {
    Bytes(Bytes),
    Again,
    End,
}

impl Body for Play {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let this = self.get_mut();
        if std::mem::take(&mut this.turn) {
            // hyper flushes when a body has nothing for it; without this several events would share a write.
            context.waker().wake_by_ref();
            return Poll::Pending;
        }
        loop {
            if let Some(waiting) = &mut this.waiting {
                if waiting.as_mut().poll(context).is_pending() {
                    return Poll::Pending;
                }
                this.waiting = None;
            }
            match this.next() {
                Next::Bytes(bytes) => return Poll::Ready(Some(Ok(Frame::data(bytes)))),
                Next::Again => {}
                Next::End => return Poll::Ready(None),
            }
        }
    }
}
