//! Top-ups: prepaid money, by which the `total` cap of a scope becomes higher, as new lines of the ledger.
//!
//! Invariant: a cap is raised only after the line that says so is durable.

use std::sync::Arc;

use http::StatusCode;
use serde::{Deserialize, Serialize};

use super::{Answer, reply};
use crate::app::App;
use crate::config::Config;
use crate::domain::account::Scope;
use crate::domain::adjustment::TopUp;
use crate::domain::cap::Window;
use crate::domain::ids::RequestId;
use crate::domain::json_text::Object;
use crate::domain::money::Usd;
use crate::domain::utc::Moment;

/// What is asked for.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct Asked {
    /// `organisation`, `team`, `user`, `key`, `model` or `tag`.
    pub scope: String,
    /// Its name, as in the config; empty for the organisation.
    pub name: String,
    /// Dollars, above zero.
    pub amount_usd: String,
    /// Who asks.
    pub actor: String,
    /// Why.
    pub reason: String,
}

impl Asked {
    /// The top-up that is asked for, with the name `id`, posted at `at_ms`.
    ///
    /// # Errors
    /// It makes no sense, or `config` has no total cap that it could raise.
    pub fn top_up(&self, config: &Config, id: RequestId, at_ms: u64) -> Result<TopUp, String> {
        let scope = Scope::named(&self.scope, &self.name).ok_or(
            "scope must be organisation, team, user, key, model or tag, with a name for all but the organisation",
        )?;
        let amount = Usd::parse(&self.amount_usd).ok().filter(|amount| *amount > Usd::ZERO);
        let amount = amount.ok_or("amount_usd must be an amount above zero such as \"12.50\"")?;
        if self.actor.trim().is_empty() || self.reason.trim().is_empty() {
            return Err("actor and reason must say who tops up, and why".to_owned());
        }
        if total_cap(config, &scope).is_none() {
            let whose = format!("{} {}", scope.kind(), scope.name());
            return Err(format!("the config has no total cap of the {} that could be raised", whose.trim_end()));
        }
        Ok(TopUp { id, at_ms, scope, amount, actor: self.actor.trim().into(), reason: self.reason.trim().into() })
    }
}

/// The top-up as one line of JSON.
#[must_use]
pub fn print(top_up: &TopUp) -> String {
    let mut out = String::new();
    let mut object = Object::open(&mut out);
    object.shown("top_up_id", top_up.id).shown("at", Moment(top_up.at_ms));
    object.text("scope", top_up.scope.kind()).text("name", top_up.scope.name());
    object.shown("amount_usd", top_up.amount.fixed());
    object.text("actor", &top_up.actor).text("reason", &top_up.reason);
    drop(object);
    out + "\n"
}

/// `POST /admin/v1/top-ups`
pub(super) async fn answer(app: &Arc<App>, body: &[u8]) -> Answer {
    let bad = |message: &str| reply::error(StatusCode::BAD_REQUEST, "bad_request", message);
    let asked: Asked = match serde_json::from_slice(body) {
        Ok(asked) => asked,
        Err(error) => return bad(&error.to_string()),
    };
    let at_ms = app.clock.now_ms();
    let made = asked.top_up(&app.snapshot.load().config, app.mint.request_id(at_ms), at_ms);
    let top_up = match made {
        Ok(top_up) => Arc::new(top_up),
        Err(why) => return bad(&why),
    };
    // In a task of its own: who hangs up in the middle must not leave a line in the ledger that raises no cap.
    let (bank, posted) = (app.bank.clone(), top_up.clone());
    match tokio::spawn(async move { bank.top_up(&posted).await }).await {
        Ok(Ok(())) => {
            let mut answer = reply::text(reply::JSON, print(&top_up));
            *answer.status_mut() = StatusCode::CREATED;
            answer
        }
        Ok(Err(error)) => {
            let message = format!("the ledger cannot be written: {error}");
            reply::error(StatusCode::SERVICE_UNAVAILABLE, "store_unavailable", &message)
        }
        Err(_) => reply::error(StatusCode::SERVICE_UNAVAILABLE, "draining", "tollgate is shutting down"),
    }
}

fn total_cap(config: &Config, scope: &Scope) -> Option<Usd> {
    let policy = config.policy_of(scope)?;
    policy.limits.iter().find(|limit| limit.window == Window::Total).map(|limit| limit.usd)
}
