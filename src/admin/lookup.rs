//! One request of the ledger, as JSON.

use std::sync::Arc;

use http::StatusCode;

use super::report::{flushed, unreadable};
use super::{Answer, reply};
use crate::app::App;
use crate::domain::entry_json::write_entry;
use crate::domain::ids::RequestId;
use crate::store::{Ledger, ReadError};

/// The entry of a request as one line of JSON with its end.
///
/// # Errors
/// The journal is damaged or cannot be read.
pub fn find(ledger: &Ledger, id: RequestId) -> Result<Option<String>, ReadError> {
    let found = ledger.find(id)?;
    Ok(found.map(|found| {
        let mut line = String::new();
        write_entry(&found.entry, &found.hash, &mut line);
        line + "\n"
    }))
}

/// Why a request was not found.
#[must_use]
pub fn absent(id: RequestId) -> String {
    format!("no entry for request {id}; one that has not ended has none yet")
}

/// `GET /admin/v1/requests/{id}`.
pub(super) async fn answer(app: &Arc<App>, id: &str) -> Answer {
    let Ok(id) = id.parse::<RequestId>() else {
        return reply::error(StatusCode::BAD_REQUEST, "bad_request", "not a request id of 26 letters and digits");
    };
    let ledger = app.ledger();
    flushed(app).await;
    match tokio::task::spawn_blocking(move || find(&ledger, id)).await {
        Ok(Ok(Some(line))) => reply::text(reply::JSON, line),
        Ok(Ok(None)) => reply::error(StatusCode::NOT_FOUND, "not_found", &absent(id)),
        Ok(Err(error)) => unreadable(&error),
        Err(_) => unreadable(&"the reader failed"),
    }
}
