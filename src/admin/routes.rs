//! `GET /admin/v1/routes`: what was learned of routes, for `tollgate explain` and whoever wonders why a model was chosen.
//!
//! Routes are hashes; nothing of a prompt can be told from them.

use super::{Answer, reply};
use crate::app::App;
use crate::domain::evidence::{Outcomes, WHOLE};
use crate::domain::json_text::Object;
use crate::domain::lesson::Learned;

/// All routes, as a JSON object.
pub(super) fn answer(app: &App) -> Answer {
    let mut text = String::new();
    let mut object = Object::open(&mut text);
    let mut routes = object.list("routes");
    for (route, learned) in app.routes.all() {
        write(&mut routes.object(), route, &learned);
    }
    drop(routes);
    drop(object);
    text.push('\n');
    reply::text(reply::JSON, text)
}

fn write(object: &mut Object<'_>, route: u64, learned: &Learned) {
    object.text("route", &format!("{route:012x}"));
    object.number("at_ms", learned.at_ms);
    for (name, outcomes) in ["simple", "medium", "complex"].into_iter().zip(learned.outcomes) {
        write_outcomes(object, name, outcomes);
    }
}

/// Outcomes by tier, in whole ones with two decimals.
pub fn write_outcomes(object: &mut Object<'_>, name: &str, outcomes: Outcomes) {
    let hundredths = |parts: u32| u64::from(parts) * 100 / u64::from(WHOLE);
    let shown = |parts| format!("{}.{:02}", hundredths(parts) / 100, hundredths(parts) % 100);
    let mut of = object.object(name);
    of.number("good", shown(outcomes.good)).number("bad", shown(outcomes.bad));
}

/// How many routes are known.
pub(super) fn write_metrics(app: &App, out: &mut String) {
    let routes = app.routes.len();
    out.push_str("# HELP tollgate_routes Routes of which something was learned\n# TYPE tollgate_routes gauge\n");
    out.push_str(&format!("tollgate_routes {routes}\n"));
}
