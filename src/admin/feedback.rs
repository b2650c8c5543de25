//! `POST /admin/v1/feedback`: what became of a request's task, as whoever used the answer says it.
//!
//! Alerts count it, and the request's route learns from it how well the tier did that answered.

use std::sync::Arc;

use http::StatusCode;
use serde::Deserialize;
use serde_json::Number;

use super::report::{flushed, unreadable};
use super::{Answer, lookup, reply};
use crate::alerts::Verdict;
use crate::app::App;
use crate::domain::entry::Entry;
use crate::domain::evidence::WHOLE;
use crate::domain::ids::RequestId;
use crate::domain::lesson::Lesson;
use crate::domain::stamp::Stamp;
use crate::pipeline::learn::tier_of;
use crate::store::StoreError;

/// What is said.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Said {
    request_id: String,
    outcome: String,
    /// From 0 to 1, if whoever says it has a measure.
    score: Option<Number>,
}

impl Said {
    fn read(&self) -> Result<(RequestId, Verdict, u32), &'static str> {
        let id = self.request_id.parse().map_err(|_| "request_id is not a request id of 26 letters and digits")?;
        let is_part = |score: &Number| score.as_f64().is_some_and(|score| (0.0..=1.0).contains(&score));
        if !self.score.as_ref().is_none_or(is_part) {
            return Err("score must be from 0 to 1");
        }
        let (verdict, good) = match &*self.outcome {
            "good" => (Verdict::Good, WHOLE),
            "bad" => (Verdict::Bad, 0),
            "escalated" => (Verdict::Escalated, 0),
            _ => return Err("outcome must be good, bad or escalated"),
        };
        Ok((id, verdict, self.score.as_ref().and_then(parts).unwrap_or(good)))
    }
}

/// A score from 0 to 1 in 256ths, rounded down.
fn parts(score: &Number) -> Option<u32> {
    let score = score.as_f64()?;
    (0..=WHOLE).rev().find(|parts| f64::from(*parts) / f64::from(WHOLE) <= score)
}

/// What the request's route learns; `None` if it is of no route, or no tier's model answered.
fn lesson(app: &App, entry: &Entry, good: u32) -> Option<Lesson> {
    let route = Stamp::read(&entry.features)?.route;
    let tier = tier_of(&app.snapshot.load(), &entry.upstream, &entry.model).filter(|_| route != 0)?;
    Some(Lesson { route, tier, good, bad: WHOLE.saturating_sub(good), at_ms: app.clock.now_ms() })
}

/// Learns, once for each request, and waits until that survives this process.
async fn learn(app: &App, entry: &Entry, good: u32) -> Result<(), StoreError> {
    let Some(lesson) = lesson(app, entry, good).filter(|_| app.routes.is_news(entry.id)) else { return Ok(()) };
    let seat = app.bank.learn(&lesson)?;
    app.routes.learn(&lesson);
    app.bank.written(seat).await
}

/// Counts it and learns from it, if the request is in the ledger.
pub(super) async fn answer(app: &Arc<App>, body: &[u8]) -> Answer {
    let said = serde_json::from_slice::<Said>(body).map_err(|error| error.to_string());
    let read = said.and_then(|said| said.read().map_err(str::to_owned));
    let (id, verdict, good) = match read {
        Ok(read) => read,
        Err(message) => return reply::error(StatusCode::BAD_REQUEST, "bad_request", &message),
    };
    let ledger = app.ledger();
    flushed(app).await;
    match tokio::task::spawn_blocking(move || ledger.find(id)).await {
        Ok(Ok(Some(found))) => {
            app.alerts.feedback(verdict);
            match learn(app, &found.entry, good).await {
                Ok(()) => reply::text(reply::JSON, format!("{{\"request_id\":\"{id}\"}}\n")),
                Err(error) => unreadable(&error),
            }
        }
        Ok(Ok(None)) => reply::error(StatusCode::NOT_FOUND, "not_found", &lookup::absent(id)),
        Ok(Err(error)) => unreadable(&error),
        Err(_) => unreadable(&"the reader failed"),
    }
}
