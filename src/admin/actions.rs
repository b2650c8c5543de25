//! What operators did: keys, corrections, top-ups and configs, as they stand in the same hash-chained journal as the money.
//!
//! It reads the journal of the time that is asked for, and changes nothing.

use std::path::Path;
use std::sync::Arc;

use http::StatusCode;

use super::query::pairs;
use super::report::{flushed, unreadable};
use super::zone::Zone;
use super::{Answer, reply};
use crate::app::App;
use crate::domain::adjustment::{Adjustment, TopUp};
use crate::domain::json_text::Object;
use crate::domain::key::KeyEvent;
use crate::domain::utc::Moment;
use crate::store::{ReadError, Reader, Record, Reloaded};

/// The time that is asked for, unix milliseconds.
pub type Range = std::ops::Range<u64>;

/// Reads `since` and `until`; what is not said is everything.
///
/// # Errors
/// What is wrong with them.
pub fn range<'a>(
    said: impl IntoIterator<Item = (&'a str, &'a str)>,
    zone: &Zone,
    now_ms: u64,
) -> Result<Range, String> {
    let mut range = 0..u64::MAX;
    for (name, value) in said {
        let moment = || zone.moment(value, now_ms).map_err(|error| format!("{name}: {error}"));
        match name {
            "since" => range.start = moment()?,
            "until" => range.end = moment()?,
            other => return Err(format!("{other}: known are since and until")),
        }
    }
    Ok(range)
}

/// Every action of that time as JSON, the oldest first.
///
/// # Errors
/// The journal is damaged or cannot be read.
pub fn list(folder: &Path, range: &Range) -> Result<String, ReadError> {
    let mut out = String::new();
    {
        let mut object = Object::open(&mut out);
        let mut list = object.list("actions");
        for located in Reader::open(folder).range(range.start, range.end)? {
            let located = located?;
            match &located.record {
                Record::Key(event) => write_key(event, located.seq, &mut list.object()),
                Record::Adjustment(adjustment) => write_adjustment(adjustment, located.seq, &mut list.object()),
                Record::TopUp(top_up) => write_top_up(top_up, located.seq, &mut list.object()),
                Record::Reloaded(reloaded) => write_reloaded(reloaded, located.seq, &mut list.object()),
                Record::Open(_)
                | Record::Close(_)
                | Record::Entry(_)
                | Record::Rate(_)
                | Record::Lesson(_)
                | Record::Start(_)
                | Record::Unsettled(_)
                | Record::Dropped(_) => {}
            }
        }
    }
    Ok(out + "\n")
}

/// `GET /admin/v1/actions`
pub(super) async fn answer(app: &Arc<App>, query: &str) -> Answer {
    let bad = |message: &str| reply::error(StatusCode::BAD_REQUEST, "bad_request", message);
    let said = match pairs(query) {
        Ok(said) => said,
        Err(error) => return bad(&error.to_string()),
    };
    let config = app.snapshot.load_full().config.clone();
    let said = said.iter().map(|(name, value)| (name.as_str(), value.as_str()));
    let range = match range(said, &Zone::of(config.money.time_zone.clone()), app.clock.now_ms()) {
        Ok(range) => range,
        Err(why) => return bad(&why),
    };
    flushed(app).await;
    match tokio::task::spawn_blocking(move || list(&config.store.path, &range)).await {
        Ok(Ok(text)) => reply::text(reply::JSON, text),
        Ok(Err(error)) => unreadable(&error),
        Err(_) => reply::error(StatusCode::INTERNAL_SERVER_ERROR, "ledger_unreadable", "the reader failed"),
    }
}

fn write_key(event: &KeyEvent, seq: u64, object: &mut Object<'_>) {
    begin(event.at_ms, event.act.name(), &event.actor, &event.reason, seq, object);
    object.text("key", &event.key);
}

fn write_adjustment(adjustment: &Adjustment, seq: u64, object: &mut Object<'_>) {
    begin(adjustment.at_ms, "adjustment", &adjustment.actor, &adjustment.reason, seq, object);
    object.text("direction", adjustment.direction.name()).shown("amount_usd", adjustment.amount.fixed());
    object.text_or_null("request_id", adjustment.request.map(|id| id.to_string()).as_deref());
    let account = &adjustment.account;
    object.text_or_null("team", account.team.as_deref()).text_or_null("user", account.user.as_deref());
    object.text("key", &account.key);
}

fn write_top_up(top_up: &TopUp, seq: u64, object: &mut Object<'_>) {
    begin(top_up.at_ms, "top_up", &top_up.actor, &top_up.reason, seq, object);
    object.text("scope", top_up.scope.kind()).text("name", top_up.scope.name());
    object.shown("amount_usd", top_up.amount.fixed());
}

fn write_reloaded(reloaded: &Reloaded, seq: u64, object: &mut Object<'_>) {
    begin(reloaded.at_ms, "config_loaded", &reloaded.actor, &reloaded.reason, seq, object);
    object.text("config", &reloaded.config);
}

fn begin(at_ms: u64, action: &str, actor: &str, reason: &str, seq: u64, object: &mut Object<'_>) {
    object.shown("at", Moment(at_ms)).text("action", action).text("actor", actor).text("reason", reason);
    object.number("record", seq);
}
