//! `POST /admin/v1/feedback`: what became of a request's task, as whoever used the answer says it.

use std::sync::Arc;

use http::StatusCode;
use serde::Deserialize;
use serde_json::Number;

use super::report::{flushed, unreadable};
use super::{Answer, lookup, reply};
use crate::alerts::Verdict;
use crate::app::App;
use crate::domain::ids::RequestId;

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
    fn read(&self) -> Result<(RequestId, Verdict), &'static str> {
        let id = self.request_id.parse().map_err(|_| "request_id is not a request id of 26 letters and digits")?;
        let is_part = |score: &Number| score.as_f64().is_some_and(|score| (0.0..=1.0).contains(&score));
        if !self.score.as_ref().is_none_or(is_part) {
            return Err("score must be from 0 to 1");
        }
        match &*self.outcome {
            "good" => Ok((id, Verdict::Good)),
            "bad" => Ok((id, Verdict::Bad)),
            "escalated" => Ok((id, Verdict::Escalated)),
            _ => Err("outcome must be good, bad or escalated"),
        }
    }
}

/// Counts it, if the request is in the ledger.
pub(super) async fn answer(app: &Arc<App>, body: &[u8]) -> Answer {
    let said = serde_json::from_slice::<Said>(body).map_err(|error| error.to_string());
    let read = said.and_then(|said| said.read().map_err(str::to_owned));
    let (id, verdict) = match read {
        Ok(read) => read,
        Err(message) => return reply::error(StatusCode::BAD_REQUEST, "bad_request", &message),
    };
    let ledger = app.ledger();
    flushed(app).await;
    match tokio::task::spawn_blocking(move || ledger.find(id)).await {
        Ok(Ok(Some(_))) => {
            app.alerts.feedback(verdict);
            reply::text(reply::JSON, format!("{{\"request_id\":\"{id}\"}}\n"))
        }
        Ok(Ok(None)) => reply::error(StatusCode::NOT_FOUND, "not_found", &lookup::absent(id)),
        Ok(Err(error)) => unreadable(&error),
        Err(_) => unreadable(&"the reader failed"),
    }
}
