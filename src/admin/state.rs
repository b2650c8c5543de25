//! How the process is: whether it lives, whether it can serve, and its numbers.
//!
//! It asks the journal's own counters and nobody else: no provider, no disk. So it answers at once, also under load.

use http::StatusCode;

use super::{Answer, alerts, caps, keys, reload, reply, routes, upstreams};
use crate::app::App;
use crate::cache::disk::Disk;
use crate::domain::json_text::Object;
use crate::drain::Phase;
use crate::telemetry::family::Title;

/// What the numbers of this process are true for, since another process may stand beside it.
pub const SCOPE: &str = "this process owns its ledger alone; another Tollgate with another store has its own";

/// The process runs; nothing else is asked.
#[must_use]
pub fn live() -> Answer {
    reply::text("text/plain; charset=utf-8", "ok\n")
}

/// Whether requests can be served and recorded, with 200 or 503 and the reasons.
#[must_use]
pub fn ready(app: &App) -> Answer {
    let health = app.bank.health();
    let (config, version) = {
        let snapshot = app.snapshot.load();
        (snapshot.config.hash(), env!("CARGO_PKG_VERSION"))
    };
    let unsynced_max = app.snapshot.load().config.store.unsynced_records_max as u64;
    let behind = health.unsynced_records >= unsynced_max;
    let (phase, serving) = match app.drain.phase() {
        Phase::Serving => ("serving", true),
        Phase::Draining => ("draining", false),
        Phase::Cutting => ("cutting", false),
    };
    let writable = health.failed.is_none() && !behind;
    // Whoever has no cap is served even by a journal that has failed.
    let can_serve = writable || !behind && app.snapshot.load().config.caps.is_empty();
    let mut out = String::new();
    {
        let mut object = Object::open(&mut out);
        object.truth("ready", can_serve && serving).text("phase", phase);
        let mut store = object.object("store");
        store.truth("writable", writable).text_or_null("failed", health.failed.as_deref()).truth("behind", behind);
        store.number("unwritten_requests", app.bank.unwritten());
        store.number("unsynced_records", health.unsynced_records).number("next_seq", health.next_seq);
        drop(store);
        let index = app.clerk.state();
        let mut object_of_index = object.object("index");
        object_of_index.truth("ready", index.is_ready).number("next_seq", index.next_seq);
        object_of_index.number("set_aside", index.set_aside).text_or_null("trouble", index.trouble.as_deref());
        drop(object_of_index);
        reload::describe(app, &mut object);
        upstreams::describe(app, &mut object);
        object.text("config", &config).text("version", version).text("scope", SCOPE);
    }
    let mut answer = reply::text(reply::JSON, out + "\n");
    if !(can_serve && serving) {
        *answer.status_mut() = StatusCode::SERVICE_UNAVAILABLE;
    }
    answer
}

/// All numbers, for Prometheus.
#[must_use]
pub fn metrics(app: &App) -> String {
    let health = app.bank.health();
    let fill = app.cache.fill();
    app.metrics.cache_answers.set(fill.answers);
    app.metrics.cache_bytes.set(fill.bytes);
    if let Some(filled) = app.cache.disk().map(Disk::filled) {
        app.metrics.cache_disk_answers.set(filled.fill.answers);
        app.metrics.cache_disk_bytes.set(filled.fill.bytes);
        app.metrics.cache_disk_skipped.set(filled.skipped);
        app.metrics.cache_disk_damaged.set(filled.damaged);
    }
    app.metrics.journal_lag.set(health.unwritten_records);
    app.metrics.journal_unsynced_bytes.set(health.unsynced_bytes);
    app.metrics.journal_failed.set(u64::from(health.failed.is_some()));
    let index = app.clerk.state();
    app.metrics.index_ready.set(u64::from(index.is_ready));
    app.metrics.index_lag.set(health.next_seq.saturating_sub(index.next_seq));
    app.metrics.index_set_aside.set(index.set_aside);
    app.metrics.journal_bytes.set(index.journal_bytes);
    app.metrics.index_bytes.set(index.index_bytes);
    app.metrics.archive_bytes.set(index.archive_bytes);
    app.metrics.connections.set(app.connections.used() as u64);
    app.metrics.waiting.set(app.requests.waiting() as u64);
    let mut out = app.metrics.render();
    if let Ok(runtime) = tokio::runtime::Handle::try_current() {
        let help = "Tasks of the process that have not ended";
        Title { name: "tollgate_tasks", kind: "gauge", help }
            .write_alone(runtime.metrics().num_alive_tasks(), &mut out);
    }
    caps::write_metrics(app, &mut out);
    keys::write_metrics(app, &mut out);
    alerts::write_metrics(app, &mut out);
    reload::write_metrics(app, &mut out);
    upstreams::write_metrics(app, &mut out);
    routes::write_metrics(app, &mut out);
    out
}
