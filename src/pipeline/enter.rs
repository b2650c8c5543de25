//! Enter: a place among the requests at once; who finds none waits in a line that is fair between teams, for a while.
//!
//! It comes before the body is read, so that a waiting request costs no memory beside its head.

use std::sync::Arc;

use super::arrive::Arrival;
use crate::app::App;
use crate::bank::tab::Tab;
use crate::domain::account::Account;
use crate::domain::refusal::{Cause, Refusal};
use crate::drain::Phase;
use crate::limits::queue::Queue;

/// Takes a place, which the tab gives back when the request is settled.
///
/// # Errors
/// The line is full, another team needed this one's place in it, or none became free in time.
pub async fn enter(app: &App, arrival: &Arrival, account: &Account, tab: &mut Tab) -> Result<(), Refusal> {
    if let Some(place) = app.requests.take() {
        tab.enter(place);
        return Ok(());
    }
    wait(app, &app.requests, arrival, account, tab).await
}

async fn wait(app: &App, queue: &Queue, arrival: &Arrival, account: &Account, tab: &mut Tab) -> Result<(), Refusal> {
    let server = &arrival.snapshot.config.server;
    // Whoever has no team stands for himself.
    let team: &Arc<str> = account.team.as_ref().unwrap_or(&account.key);
    let refused = |how: &'static str, message: &'static str| {
        app.metrics.note_queued(account.team.as_deref(), how);
        let retry_s = u32::try_from(server.queue_wait.as_secs()).unwrap_or(u32::MAX).max(1);
        Err(Refusal::new(Cause::Overloaded, message).after(retry_s))
    };
    let Ok(mut waiting) = queue.line_up(team, server.queue_max) else {
        return refused("full", "too many requests are in flight, and too many wait; try again shortly");
    };
    let place = tokio::select! {
        // Those that are cut make room, which is for nobody any more.
        biased;
        () = app.drain.reached(Phase::Cutting) => {
            return Err(Refusal::new(Cause::Draining, "this server is shutting down; try again shortly").after(1));
        }
        place = tokio::time::timeout(server.queue_wait, waiting.turn()) => place,
    };
    match place {
        Ok(Some(place)) => {
            app.metrics.note_queued(account.team.as_deref(), "served");
            tab.enter(place);
            Ok(())
        }
        Ok(None) => refused(
            "displaced",
            "too many requests are in flight, and most that wait are of your team; try again shortly",
        ),
        Err(_) => refused("late", "too many requests are in flight, and none ended in time; try again shortly"),
    }
}
