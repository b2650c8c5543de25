//! What the store knows of routes, for commands that decide without serving: from the server that owns it, else from its files.

use std::path::Path;

use serde::Deserialize;

use super::control;
use crate::admin::ROUTES;
use crate::app::keys;
use crate::app::routes::{Routes, fingerprint_key};
use crate::clock::Mint;
use crate::domain::evidence::{Outcomes, WHOLE};
use crate::domain::lesson::{Learned, Lessons};
use crate::store::{Journal, Options};

/// What the server says.
#[derive(Deserialize)]
struct Told {
    routes: Vec<ToldRoute>,
}

#[derive(Deserialize)]
struct ToldRoute {
    route: String,
    at_ms: u64,
    simple: ToldOutcomes,
    medium: ToldOutcomes,
    complex: ToldOutcomes,
}

#[derive(Deserialize)]
struct ToldOutcomes {
    good: f64,
    bad: f64,
}

/// What was learned of routes in the store in `folder`; nothing if there is no store.
///
/// # Errors
/// A server or a store is there and cannot be asked.
pub async fn learned(folder: &Path, now_ms: u64) -> Result<Routes, String> {
    if !folder.join("pepper").exists() {
        return Ok(Routes::new([0; 2], Lessons::default()));
    }
    let mint = Mint::random().map_err(|_| "the system gives no random numbers".to_owned())?;
    let pepper = keys::pepper(folder, &mint).map_err(|error| error.to_string())?;
    let lessons = match control::ask(folder, ROUTES).await.map_err(|error| error.to_string())? {
        Some(answer) if answer.status.is_success() => told(&answer.body)?,
        Some(answer) => return Err(answer.message().to_string()),
        None => Journal::open(folder, Options::default(), now_ms).map_err(|error| error.to_string())?.1.lessons,
    };
    Ok(Routes::new(fingerprint_key(&pepper), lessons))
}

fn told(body: &[u8]) -> Result<Lessons, String> {
    let told: Told = serde_json::from_slice(body).map_err(|error| error.to_string())?;
    let mut lessons = Lessons::default();
    for route in told.routes {
        let number = u64::from_str_radix(&route.route, 16).map_err(|error| error.to_string())?;
        let outcomes = [route.simple, route.medium, route.complex].map(|of| of.read());
        lessons.put(number, Learned { outcomes, at_ms: route.at_ms });
    }
    Ok(lessons)
}

impl ToldOutcomes {
    fn read(&self) -> Outcomes {
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "a count below 2^32 that is not negative"
        )]
        let parts = |count: f64| (count * f64::from(WHOLE)).round() as u32;
        Outcomes { good: parts(self.good), bad: parts(self.bad) }
    }
}
