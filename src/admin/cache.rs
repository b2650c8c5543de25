//! The cache: how full it is and what it did, and how answers are forgotten before their time.
//!
//! Invariant: a purge says whom it is for; nothing is forgotten by an empty question.

use std::path::Path;
use std::sync::Arc;

use http::StatusCode;
use serde::{Deserialize, Serialize};

use super::{Answer, reply};
use crate::app::App;
use crate::cache::disk::{self, Disk};
use crate::cache::{Kept, Key};
use crate::config::Glob;
use crate::domain::entry::CacheUse;
use crate::domain::json_text::Object;

/// Which answers are to be forgotten: those for which all holds that is said.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Eq, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct Asked {
    /// Every answer.
    pub all: bool,
    /// Those that this key has paid for.
    pub key: Option<String>,
    /// Those that keys of this team have paid for.
    pub team: Option<String>,
    /// Those of these models, by the name that was sent; a pattern with `*`.
    pub model: Option<String>,
    /// Those that are older, seconds.
    pub older_than_s: Option<u64>,
    /// The one under this key of the cache, in hexadecimal digits.
    pub cache_key: Option<String>,
}

/// A purge that makes sense.
struct Purge {
    asked: Asked,
    model: Option<Glob>,
    cache_key: Option<Key>,
    before_ms: Option<u64>,
}

impl Purge {
    fn of(asked: Asked, now_ms: u64) -> Result<Self, String> {
        let says = asked.key.is_some() || asked.team.is_some() || asked.model.is_some() || asked.cache_key.is_some();
        if asked.all == (says || asked.older_than_s.is_some()) {
            return Err("say either all, or whose: key, team, model, older_than_s, cache_key".to_owned());
        }
        let model = asked.model.as_deref().map(Glob::parse).transpose().map_err(|error| error.to_string())?;
        let cache_key = asked
            .cache_key
            .as_deref()
            .map(|text| Key::parse(text).ok_or_else(|| "cache_key must be 64 hexadecimal digits".to_owned()));
        let before_ms = asked.older_than_s.map(|age_s| now_ms.saturating_sub(age_s.saturating_mul(1000)));
        Ok(Self { model, cache_key: cache_key.transpose()?, before_ms, asked })
    }

    fn takes(&self, key: &Key, kept: &Kept) -> bool {
        let about = &kept.about;
        self.asked.key.as_deref().is_none_or(|name| *name == *about.key)
            && self.asked.team.as_deref().is_none_or(|name| about.team.as_deref() == Some(name))
            && self.model.as_ref().is_none_or(|model| model.matches(&about.model))
            && self.before_ms.is_none_or(|before_ms| kept.kept_ms < before_ms)
            && self.cache_key.as_ref().is_none_or(|one| one == key)
    }
}

/// `POST /admin/v1/cache/purge`
pub(super) async fn purge(app: &App, body: &[u8]) -> Answer {
    let bad = |message: &str| reply::error(StatusCode::BAD_REQUEST, "bad_request", message);
    let asked: Asked = match serde_json::from_slice(body) {
        Ok(asked) => asked,
        Err(error) => return bad(&error.to_string()),
    };
    let purge = match Purge::of(asked, app.clock.now_ms()) {
        Ok(purge) => purge,
        Err(why) => return bad(&why),
    };
    let purge = Arc::new(purge);
    let theirs = purge.clone();
    let purged = app.cache.purge(Arc::new(move |key, kept| theirs.takes(key, kept))).await;
    tracing::info!(purged, asked = ?purge.asked, "answers were purged from the cache");
    reply::text(reply::JSON, told(purged))
}

/// The same for the answers on the disk below `store`, on which no server runs.
///
/// # Errors
/// The question makes no sense, or a file cannot be removed.
pub fn purge_disk(store: &Path, asked: Asked, now_ms: u64) -> Result<String, String> {
    let purge = Purge::of(asked, now_ms)?;
    disk::purge(store, |key, kept| purge.takes(key, kept)).map(told).map_err(|error| error.to_string())
}

/// How full the disk below `store` is, on which no server runs; `None` if nothing is kept there.
#[must_use]
pub fn disk_stats(store: &Path) -> Option<String> {
    let fill = disk::fill(store)?;
    let mut out = String::new();
    let mut object = Object::open(&mut out);
    object.object("disk").number("answers", fill.answers).number("bytes", fill.bytes);
    drop(object);
    Some(out + "\n")
}

fn told(purged: u64) -> String {
    let mut out = String::new();
    Object::open(&mut out).number("purged", purged);
    out + "\n"
}

/// `GET /admin/v1/cache`
pub(super) fn stats(app: &App) -> Answer {
    let (fill, counts) = (app.cache.fill(), app.metrics.cache_counts());
    let count = |cache: CacheUse| CacheUse::ALL.iter().position(|known| *known == cache).map_or(0, |at| counts[at]);
    let mut out = String::new();
    let mut object = Object::open(&mut out);
    object.number("answers", fill.answers).number("bytes", fill.bytes).number("budget_bytes", app.cache.budget_bytes());
    if let Some(filled) = app.cache.disk().map(Disk::filled) {
        let mut disk = object.object("disk");
        disk.number("answers", filled.fill.answers).number("bytes", filled.fill.bytes);
        disk.number("budget_bytes", filled.budget_bytes).number("skipped", filled.skipped);
        disk.number("damaged", filled.damaged);
    }
    object.number("flights", app.flights.count());
    let mut requests = object.object("requests");
    for (cache, count) in CacheUse::ALL.iter().zip(counts) {
        requests.number(cache.name(), count);
    }
    drop(requests);
    let served = [CacheUse::Hit, CacheUse::Near, CacheUse::Stale, CacheUse::Joined].map(count).iter().sum::<u64>();
    let (confirmed, wrong) = (count(CacheUse::Confirmed), count(CacheUse::FalseHit));
    object.text_or_null("served_percent", percent(served, served + count(CacheUse::Miss)).as_deref());
    object.text_or_null("false_hit_percent", percent(wrong, confirmed + wrong).as_deref());
    drop(object);
    reply::text(reply::JSON, out + "\n")
}

/// A part in percent with two decimals; `None` of nothing.
fn percent(part: u64, whole: u64) -> Option<String> {
    let hundredths = part.saturating_mul(10_000).checked_div(whole)?;
    Some(format!("{}.{:02}", hundredths / 100, hundredths % 100))
}
