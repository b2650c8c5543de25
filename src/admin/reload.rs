//! The config on request: read again, and shown with how that went.

use std::fmt::Write;

use http::StatusCode;

use super::{Answer, keys, reply};
use crate::app::App;
use crate::app::reload::{self, Asked, NotReloaded};
use crate::domain::json_text::Object;
use crate::domain::utc::Moment;
use crate::telemetry::family::{Title, write_sample};

/// Reads the config again.
pub async fn answer(app: &App, body: &[u8]) -> Answer {
    let asked = match keys::parsed::<keys::ToChange>(body) {
        Ok(keys::ToChange { overlap_s: None, actor, reason }) => {
            let actor = actor.as_deref().map(str::trim).filter(|actor| !actor.is_empty());
            Asked::by(actor.unwrap_or(keys::ACTOR), reason.unwrap_or_default().trim())
        }
        Ok(_) => return keys::bad("overlap_s: a config has none"),
        Err(why) => return keys::bad(&why),
    };
    match reload::reload(app, asked).await {
        Ok(waiting) => {
            let mut out = String::new();
            let hash = app.snapshot.load().config.hash();
            let mut object = Object::open(&mut out);
            object.text("config", &hash);
            list(&waiting, &mut object);
            drop(object);
            reply::text(reply::JSON, out + "\n")
        }
        Err(error @ NotReloaded::NoSource) => reply::error(StatusCode::CONFLICT, "no_config", &error.to_string()),
        Err(NotReloaded::Wrong(errors)) => reply::error(StatusCode::UNPROCESSABLE_ENTITY, "bad_config", &errors),
    }
}

/// The config in force, with what is wrong with the one in the file in front.
pub fn config(app: &App) -> Answer {
    let standing = app.reloads.standing();
    let mut out = String::new();
    if let Some(trouble) = &standing.trouble {
        out.push_str("# The config in the file cannot be used; this is the one before, which stays in force.\n");
        // Writing into a String cannot fail.
        for line in trouble.lines() {
            let _done = writeln!(out, "# {line}");
        }
    }
    if !standing.waiting.is_empty() {
        let _done = writeln!(out, "# Keys of the file that wait for a restart: {}", standing.waiting.join(", "));
    }
    out.push_str(&app.snapshot.load().config.render_starred());
    reply::text("application/toml; charset=utf-8", out)
}

/// How the last reloads went, as a member of the readiness.
pub(super) fn describe(app: &App, object: &mut Object<'_>) {
    let standing = app.reloads.standing();
    let mut reload = object.object("reload");
    reload.shown("loaded_at", Moment(standing.loaded_ms)).text_or_null("failed", standing.trouble.as_deref());
    list(&standing.waiting, &mut reload);
}

/// Adds the numbers of reloads.
pub(super) fn write_metrics(app: &App, out: &mut String) {
    let standing = app.reloads.standing();
    let (name, help) = ("tollgate_config_reloads_total", "Times that the config was read again, by what came of it");
    let title = Title { name, kind: "counter", help };
    title.write(out);
    write_sample(name, "result=\"ok\"", standing.done, out);
    write_sample(name, "result=\"failed\"", standing.failed, out);
    let (name, help) =
        ("tollgate_config_loaded_timestamp_seconds", "When the config in force was loaded, in unix seconds");
    let loaded = format!("{}.{:03}", standing.loaded_ms / 1_000, standing.loaded_ms % 1_000);
    Title { name, kind: "gauge", help }.write_alone(loaded, out);
    let (name, help) = ("tollgate_config_keys_waiting", "Keys of the config whose new values wait for a restart");
    Title { name, kind: "gauge", help }.write_alone(standing.waiting.len(), out);
}

fn list(waiting: &[&str], object: &mut Object<'_>) {
    let mut keys = object.list("waiting_for_restart");
    for key in waiting {
        keys.text(key);
    }
}
