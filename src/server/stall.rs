//! Stall: whether the client of an HTTP/2 stream takes what it is sent.
//!
//! A client that opens no window for its stream would hold an upstream's answer and its own place for ever, while its
//! connection looks alive. What HTTP/1.1 shows on the socket shows here only on the body: nobody asks it for more.

use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use http_body::{Body, Frame, SizeHint};
use tokio::time::Instant;

tokio::task_local! {
    /// Of the stream whose task this is.
    static STALL: Stall;
}

/// Since when the client has taken nothing of what is there for it.
#[derive(Clone, Debug, Default)]
struct Stall(Arc<Mutex<Option<Instant>>>);

/// A body that is watched.
#[derive(Debug)]
pub struct Watched<B>(B);

/// Runs the task of a stream so that its stalls are seen.
pub fn watch<F: Future>(stream: F) -> impl Future<Output = F::Output> {
    STALL.scope(Stall::default(), stream)
}

/// Ends once the client of this task's stream has taken nothing for `longest`.
pub async fn longer_than(longest: Duration) {
    let stall = STALL.with(Clone::clone);
    loop {
        let since = stall.since().unwrap_or_else(Instant::now);
        tokio::time::sleep_until(since + longest).await;
        if stall.since().is_some_and(|since| since.elapsed() >= longest) {
            return;
        }
    }
}

fn note(since: Option<Instant>) {
    // Outside of a stream's task there is nobody to tell.
    let _told = STALL.try_with(|stall| *stall.0.lock().unwrap_or_else(PoisonError::into_inner) = since);
}

impl Stall {
    fn since(&self) -> Option<Instant> {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<B> Watched<B> {
    /// Watches `body`, which nobody has asked for anything yet.
    pub fn new(body: B) -> Self {
        note(Some(Instant::now()));
        Self(body)
    }
}

impl<B: Body + Unpin> Body for Watched<B> {
    type Data = B::Data;
    type Error = B::Error;

    fn poll_frame(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Frame<B::Data>, B::Error>>> {
        let frame = Pin::new(&mut self.get_mut().0).poll_frame(context);
        // What is there waits for the client; what is not there yet waits for the upstream.
        note(frame.is_ready().then(Instant::now));
        frame
    }

    fn is_end_stream(&self) -> bool {
        self.0.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.0.size_hint()
    }
}

#[cfg(test)]
mod tests {
    use http_body_util::{BodyExt, Full};

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn only_a_client_that_takes_nothing_is_given_up() {
        let longest = Duration::from_secs(300);
        watch(async {
            let begin = Instant::now();
            let mut body = Watched::new(Full::new(bytes::Bytes::from_static(b"x")));
            longer_than(longest).await;
            assert_eq!(begin.elapsed(), longest);
            let _frame = body.frame().await;
            note(None);
            assert!(
                tokio::time::timeout(longest * 9, longer_than(longest)).await.is_err(),
                "it waits for its upstream"
            );
        })
        .await;
    }
}
