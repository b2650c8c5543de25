//! Afresh: a request that was answered with what is kept is asked once more, in the background, as a request of its own.
//!
//! It has an id, a hold and an entry of its own, whose reason says why it was made. It counts for the caps of the caller
//! who came by, and not for its rate limits. Where it is refused before anything was sent, since a cap has no room, it leaves no
//! entry: it was nobody's request, and is no error.
//!
//! Invariant: identical requests at the same time are asked once, and whoever waits for nothing is never kept waiting.

use std::borrow::Cow;
use std::pin::Pin;
use std::sync::Arc;

use http_body::Body as _;

use super::arrive::Arrival;
use super::identify::Caller;
use super::join::{self, Errand};
use super::keep::Recording;
use super::read::Call;
use super::respond::Told;
use super::route::Decision;
use super::{admit::Admission, describe, open_tab};
use crate::app::App;
use crate::bank::tab::Presence;
use crate::cache::Key;
use crate::cache::flight::Boarding;
use crate::domain::entry::CacheUse;
use crate::drain::Phase;

/// The reason in the ledger of a request whose answer takes the place of an old one.
pub const REVALIDATE: &str = "cache_revalidate";

/// The reason in the ledger of a request whose answer is compared with the one that a near-identical question was given.
pub const SHADOW: &str = "cache_shadow";

/// A request that is asked once more.
#[derive(Debug)]
pub struct Afresh {
    /// Keeps its answer.
    pub recording: Box<Recording>,
    /// The name of identical requests in flight.
    pub name: Key,
    /// Why, for the ledger.
    pub reason: &'static str,
}

/// Asks in the background, unless somebody asks the same already or there is no room for another request.
pub fn ask(app: &Arc<App>, mut arrival: Arrival, caller: &Caller, call: Call, mut decision: Decision, afresh: Afresh) {
    if app.drain.phase() != Phase::Serving {
        return;
    }
    let Some(place) = app.requests.take() else { return };
    let bytes_max = arrival.snapshot.config.cache.answer_bytes_max;
    let name = join::name(afresh.name, &arrival, caller, &decision, Some(&afresh.recording)).unwrap_or(afresh.name);
    let Boarding::Lead(lead, seat) = app.flights.board(name, bytes_max) else { return };
    (arrival.at_ms, arrival.at_us) = (app.clock.now_ms(), app.clock.ticks_us());
    arrival.id = app.mint.request_id(arrival.at_ms);
    let mut tab =
        open_tab(app, &arrival, caller, Presence { gauge: app.metrics.in_flight.enter(), place: Some(place) });
    tab.note_unasked();
    describe(&call, &mut tab);
    decision.first.reason = Cow::Borrowed(afresh.reason);
    let entry = tab.entry();
    (entry.requested_model, entry.tier) = (decision.requested.clone(), decision.tier);
    entry.cache = CacheUse::Miss;
    decision.first.note(entry);
    let told = Told::of(arrival.id, &decision, Admission::default());
    let errand = Errand { arrival, call, decision, told, tab, recording: Some(afresh.recording) };
    let app = app.clone();
    tokio::spawn(async move {
        // Whoever is refused has said so where that is told.
        let Ok(response) = join::lead(&app, errand, lead, seat).await else { return };
        let mut body = response.into_body();
        while let Some(Ok(_)) = std::future::poll_fn(|context| Pin::new(&mut body).poll_frame(context)).await {}
    });
}
