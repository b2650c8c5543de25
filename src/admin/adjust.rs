//! Adjustments: corrections that are new lines of the ledger, with who made them and why.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use http::StatusCode;
use serde::Deserialize;

use super::report::{flushed, unreadable};
use super::{Answer, reply};
use crate::app::App;
use crate::domain::account::Account;
use crate::domain::adjustment::{Adjustment, Direction};
use crate::domain::ids::RequestId;
use crate::domain::json_text::Object;
use crate::domain::money::Usd;
use crate::domain::utc::Moment;
use crate::store::{Ledger, ReadError};

/// What is asked for. Where a request is named, its account, model and upstream are taken from its entry.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Asked {
    /// `charge` or `credit`.
    pub direction: String,
    /// Dollars, above zero.
    pub amount_usd: String,
    /// Who asks.
    pub actor: String,
    /// Why.
    pub reason: String,
    /// The request that is corrected.
    pub request_id: Option<String>,
    /// Whose spend it is; all may be left out, for the organisation's.
    pub team: Option<String>,
    /// See `team`.
    pub user: Option<String>,
    /// See `team`.
    pub key: Option<String>,
    /// What it was spent on.
    pub model: Option<String>,
    /// Where it was spent.
    pub upstream: Option<String>,
    /// Tags by name.
    pub tags: BTreeMap<String, String>,
}

/// Why there is no adjustment.
#[derive(Debug)]
pub enum NoAdjustment {
    /// What was asked for makes no sense.
    Bad(&'static str),
    /// There is no such request.
    Absent(RequestId),
    /// The ledger cannot be read.
    Unreadable(ReadError),
}

impl Asked {
    /// The adjustment that is asked for, with the name `id`, posted at `at_ms`.
    ///
    /// # Errors
    /// It makes no sense, or the request that it names is not in `ledger`.
    pub fn adjustment(&self, ledger: &Ledger, id: RequestId, at_ms: u64) -> Result<Adjustment, NoAdjustment> {
        let direction =
            Direction::named(&self.direction).ok_or(NoAdjustment::Bad("direction must be charge or credit"))?;
        let amount = Usd::parse(&self.amount_usd).ok().filter(|amount| *amount > Usd::ZERO);
        let amount = amount.ok_or(NoAdjustment::Bad("amount_usd must be an amount above zero such as \"12.50\""))?;
        if self.actor.trim().is_empty() || self.reason.trim().is_empty() {
            return Err(NoAdjustment::Bad("actor and reason must say who adjusts, and why"));
        }
        let text = |text: &Option<String>| text.as_deref().unwrap_or_default().into();
        let name = |text: &Option<String>| text.as_deref().filter(|text| !text.is_empty()).map(Into::into);
        let tags = self.tags.iter().map(|(name, value)| (name.as_str().into(), value.as_str().into())).collect();
        let account = Account { key: text(&self.key), user: name(&self.user), team: name(&self.team), tags };
        let mut adjustment = Adjustment {
            id,
            at_ms,
            account,
            upstream: text(&self.upstream),
            model: text(&self.model),
            direction,
            amount,
            actor: self.actor.trim().into(),
            reason: self.reason.trim().into(),
            request: None,
        };
        if let Some(text) = &self.request_id {
            self.about(text, ledger, &mut adjustment)?;
        }
        Ok(adjustment)
    }

    /// The request that is named.
    #[must_use]
    pub fn request(&self) -> Option<RequestId> {
        self.request_id.as_deref()?.parse().ok()
    }

    fn about(&self, id: &str, ledger: &Ledger, adjustment: &mut Adjustment) -> Result<(), NoAdjustment> {
        let id: RequestId = id.parse().map_err(|_| NoAdjustment::Bad("request_id must have 26 letters and digits"))?;
        let names = [&self.team, &self.user, &self.key, &self.model, &self.upstream];
        if names.iter().any(|name| name.is_some()) || !self.tags.is_empty() {
            return Err(NoAdjustment::Bad("a request_id says already whose spend it is, and on what"));
        }
        let found = ledger.find(id).map_err(NoAdjustment::Unreadable)?.ok_or(NoAdjustment::Absent(id))?;
        adjustment.request = Some(id);
        adjustment.account = found.entry.account;
        (adjustment.model, adjustment.upstream) = (found.entry.model, found.entry.upstream);
        Ok(())
    }
}

/// The adjustment as one line of JSON.
#[must_use]
pub fn print(adjustment: &Adjustment) -> String {
    let (mut out, account) = (String::new(), &adjustment.account);
    let mut object = Object::open(&mut out);
    object.shown("adjustment_id", adjustment.id).shown("at", Moment(adjustment.at_ms));
    object.text("direction", adjustment.direction.name()).shown("amount_usd", adjustment.amount.fixed());
    object.text("actor", &adjustment.actor).text("reason", &adjustment.reason);
    object.text_or_null("request_id", adjustment.request.map(|id| id.to_string()).as_deref());
    crate::domain::entry_json::write_account(account, &mut object);
    object.text("upstream", &adjustment.upstream).text("model", &adjustment.model);
    drop(object);
    out + "\n"
}

/// `POST /admin/v1/adjustments`
pub(super) async fn answer(app: &Arc<App>, body: &[u8]) -> Answer {
    let bad = |message: &str| reply::error(StatusCode::BAD_REQUEST, "bad_request", message);
    let asked: Asked = match serde_json::from_slice(body) {
        Ok(asked) => asked,
        Err(error) => return bad(&error.to_string()),
    };
    let adjustment = match adjustment_of(app, asked).await {
        Ok(adjustment) => adjustment,
        Err(NoAdjustment::Unreadable(error)) => return unreadable(&error),
        Err(error @ NoAdjustment::Absent(_)) => {
            return reply::error(StatusCode::NOT_FOUND, "not_found", &error.to_string());
        }
        Err(error @ NoAdjustment::Bad(_)) => return bad(&error.to_string()),
    };
    match app.bank.adjust(&adjustment, &app.snapshot.load().config).await {
        Ok(()) => {
            let mut answer = reply::text(reply::JSON, print(&adjustment));
            *answer.status_mut() = StatusCode::CREATED;
            answer
        }
        Err(error) => {
            let message = format!("the ledger cannot be written: {error}");
            reply::error(StatusCode::SERVICE_UNAVAILABLE, "store_unavailable", &message)
        }
    }
}

/// The adjustment that is asked for. A request that a dead process left open gets its entry first, as unsettled.
async fn adjustment_of(app: &Arc<App>, asked: Asked) -> Result<Adjustment, NoAdjustment> {
    if let Some(id) = asked.request() {
        app.bank.expire_now(id);
        // A request whose answer has just ended may be corrected at once.
        flushed(app).await;
    }
    let (ledger, at_ms) = (app.ledger(), app.clock.now_ms());
    let id = app.mint.request_id(at_ms);
    let made = tokio::task::spawn_blocking(move || asked.adjustment(&ledger, id, at_ms)).await;
    made.unwrap_or(Err(NoAdjustment::Bad("the reader of the ledger failed")))
}

impl fmt::Display for NoAdjustment {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Bad(why) => out.write_str(why),
            Self::Absent(id) => write!(out, "no entry for request {id}"),
            Self::Unreadable(error) => write!(out, "{error}"),
        }
    }
}

impl std::error::Error for NoAdjustment {}
